"""A search as a process of its own: ``python -m hpcsearch.search.server``, JSON lines on standard input and output.

The driver starts it, so that importing ConfigSpace and fitting models never hold its loop. Messages,
each one line::

    {"op": "start", "problem": reference, "cwd": folder, "search": name, "arguments": {}, "seed": 0, "background": true}
    {"op": "pending", "configurations": [configuration, ...]}
    {"op": "tell", "results": [[configuration, value, whether it was stopped early], ...]}
    {"op": "progress", "results": [[configuration, what it has come to so far], ...]}
    {"op": "ask", "n": 8}

A told value is the objective, null for a failure, or an object of several objectives by name
(:data:`hpcsearch.objectives.Told`).

Answers, in the order of what they answer::

    {"op": "ready", "names": ["lr", ...], "minimize": false}
    {"op": "proposed", "configurations": [configuration, ...], "exhausted": false}
    {"op": "failed", "kind": "SearchError", "message": "...", "hint": "..."}

``ready`` answers start, ``proposed`` answers ask, and after ``failed``, which may answer anything, it exits with 1.

The end of standard input ends it. What a problem file or a library prints goes to standard error.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hpcsearch.errors import HpcsearchError, SearchError
from hpcsearch.search import create
from hpcsearch.worker.channel import ClosedError, standard_channel

if TYPE_CHECKING:
    from hpcsearch.search.asktell import Search

Message = Mapping[str, Any]
Reply = dict[str, Any]


class Server:
    """Answers messages; knows nothing of descriptors."""

    def __init__(self) -> None:
        self._search: Search | None = None

    def handle(self, message: Message) -> Reply | None:
        """Does what a message says and returns the answer, None where there is none.

        Raises:
            HpcsearchError: the message is unknown or out of order, or the problem or the search fail.
        """
        operation = message.get("op")
        handler = _HANDLERS.get(operation) if isinstance(operation, str) else None
        if handler is None:
            raise SearchError(f"There is no message {operation!r} to a search.", f"Known: {', '.join(_HANDLERS)}.")
        return handler(self, message)

    def start(self, message: Message) -> Reply:
        from hpcsearch.runfunction import Reference, load

        os.chdir(message["cwd"])
        problem = load(Reference.parse(message["problem"], "Problem", message["cwd"]))
        self._search = create(
            message["search"],
            problem,
            seed=message.get("seed"),
            background=message.get("background", True),
            **message.get("arguments", {}),
        )
        return {"op": "ready", "names": problem.names, "minimize": problem.minimize}

    def pending(self, message: Message) -> None:
        self._started.pending(message["configurations"])

    def tell(self, message: Message) -> None:
        ended: tuple[list[Any], list[Any]] = [], []
        for configuration, value, *stopped in message["results"]:
            ended[any(stopped)].append((configuration, value))
        self._started.tell(ended[False])
        self._started.tell_stopped(ended[True])

    def progress(self, message: Message) -> None:
        self._started.progress([(configuration, value) for configuration, value in message["results"]])

    def ask(self, message: Message) -> Reply:
        configurations = self._started.ask(message["n"])
        return {"op": "proposed", "configurations": configurations, "exhausted": self._started.exhausted}

    @property
    def _started(self) -> Search:
        if self._search is None:
            raise SearchError("A search was spoken to before its start message.")
        return self._search


#: How long a model that is being fitted may keep the interpreter from answering (seconds).
SWITCH_S = 0.0005

_HANDLERS: Mapping[str, Callable[[Server, Message], Reply | None]] = {
    "start": Server.start,
    "pending": Server.pending,
    "tell": Server.tell,
    "progress": Server.progress,
    "ask": Server.ask,
}


def main() -> int:
    """Serves until standard input ends; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the driver hears them, and closes the conversation in its time
    sys.setswitchinterval(SWITCH_S)
    driver, server = standard_channel(), Server()
    try:
        while True:
            for message in driver.wait():
                reply = _answer(server, message)
                if reply is not None:
                    driver.send(reply)
                    if reply["op"] == "failed":
                        driver.deliver()
                        return 1
            driver.deliver()
    except ClosedError:  # the driver has gone, or needs no more
        return 0


def _answer(server: Server, message: Message) -> Reply | None:
    try:
        return server.handle(message)
    except Exception as error:  # noqa: BLE001 - whatever a problem or a strategy raises is for the driver to know
        kind = type(error).__name__
        if isinstance(error, HpcsearchError):
            return {"op": "failed", "kind": kind, "message": error.message, "hint": error.hint}
        traceback.print_exc()
        return {"op": "failed", "kind": kind, "message": f"The search failed: {kind}: {error}", "hint": ""}


if __name__ == "__main__":
    sys.exit(main())
