"""What a program gave: its objective, in its result file or among what it has printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from hpcsearch.evaluation import Result
from hpcsearch.program import RESULT_FILE, Command, ProgramError, name_of
from hpcsearch.runfunction import normalise

#: What a program may print in front of its objective, and the objective.
_ANNOUNCED = re.compile(
    rb"\s*(?:HPCSEARCH-OUTPUT|DH-OUTPUT|fitness|objective)\s*:\s*"
    rb"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?))\s*",
    re.IGNORECASE,
)
_LONGEST_LINE_BYTES = 4096  # longer ones announce nothing

_RESULT_FORMS = (
    "The objective is a number, or an object with 'objective', in the JSON file $HPCSEARCH_RESULT; "
    "or the last line HPCSEARCH-OUTPUT: <number> on standard output."
)


class Announced:
    """Follows what a program prints, piece by piece: ``last`` is the objective that it announced last, if any.

    Args:
        on_number: called with each number announced.
    """

    def __init__(self, on_number: Callable[[float], None] | None = None) -> None:
        self.last: float | None = None
        self._on_number = on_number
        self._line = b""

    def feed(self, data: bytes) -> None:
        """Takes the next piece of output."""
        *lines, self._line = (self._line + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._line) > _LONGEST_LINE_BYTES:
            self._line = self._line[:1] + self._line[-_LONGEST_LINE_BYTES:]

    def close(self) -> None:
        """Nothing more will come: what is left is a line, too."""
        self._take(self._line)
        self._line = b""

    def _take(self, line: bytes) -> None:
        match = _ANNOUNCED.fullmatch(line) if len(line) <= _LONGEST_LINE_BYTES else None
        if match:
            self.last = float(match[1])
            if self._on_number:
                self._on_number(self.last)


def result_of(command: Command, directory: str, last: float | None) -> Result:
    """What a program that has ended well gave: what its result file says, else the number it announced last.

    Raises:
        ProgramError: it gave no objective.
        BadResultError: what it gave is no finite number.
    """
    file = Path(directory, RESULT_FILE)
    if file.exists():
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ProgramError(f"the result file of {name_of(command)}, {file}, is not JSON: {error}") from None
        return normalise(value)
    if last is None:
        raise ProgramError(f"{name_of(command)} ended well but gave no objective", _RESULT_FORMS)
    return normalise(last)
