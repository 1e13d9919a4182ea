"""Whether a library of ranks has found as many ranks as the evaluation has.

Where it has not, each part has computed something else than was asked for, and nothing else would tell: Horovod
without MPI, for one, makes a world of each process that MPI starts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from hpcsearch.errors import HpcsearchError

#: Module -> its functions that tell whether it has begun, and how many ranks it has found.
_LIBRARIES: Mapping[str, tuple[str, str]] = {
    "horovod.torch": ("is_initialized", "size"),
    "horovod.tensorflow": ("is_initialized", "size"),
    "horovod.mxnet": ("is_initialized", "size"),
    "torch.distributed": ("is_initialized", "get_world_size"),
}

_HINT = "Its environment variables were changed, or it was built for another way of starting ranks: hpcsearch doctor"


class WorldSizeError(HpcsearchError):
    """Ranks have not found each other, and went on by themselves."""


def in_world_of(size: int, run: Callable[[dict[str, Any]], Any], valued: bool) -> Callable[[dict[str, Any]], Any]:
    """``run``, and an error instead of its value where a library that it has used found another number of ranks.

    A rank that is not ``valued`` may return anything.
    """

    def checked(configuration: dict[str, Any]) -> Any:
        value = run(configuration)
        for name, (begun, count) in _LIBRARIES.items():
            library = sys.modules.get(name)
            if library is None or not getattr(library, begun, bool)():
                continue
            found = getattr(library, count)()
            if found != size:
                raise WorldSizeError(f"{name} has found {found} of {size} ranks", _HINT)
        return value if valued else 0.0

    return checked
