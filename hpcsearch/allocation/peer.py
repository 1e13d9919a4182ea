"""A child process of the driver that speaks JSON lines with it over its standard input and output."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpcsearch.allocation.loop import Loop
from hpcsearch.worker.channel import Channel, ClosedError
from hpcsearch.worker.processes import kill_descendants

log = logging.getLogger(__name__)


def _log_noise(line: str) -> None:
    """A launcher may say something of its own where its process speaks."""
    if line.strip():
        log.warning("a process of the driver says: %s", line)


class Peer:
    """Starts a process and holds the conversation with it.

    Args:
        loop: who watches its pipes.
        argv: what to run.
        on_message: called with each message that it sends.
        on_end: called once, when it has closed its output; the process may take a moment longer to end.
        environment: its whole environment; None for this process's own.
        own_session: whether it is out of reach of signals that are sent to this process's whole session.
    """

    def __init__(
        self,
        loop: Loop,
        argv: Sequence[str],
        on_message: Callable[[Any], None],
        on_end: Callable[[], None],
        environment: Mapping[str, str] | None = None,
        *,
        own_session: bool = False,
    ) -> None:
        self._loop = loop
        self._on_message = on_message
        self._on_end = on_end
        self._writing = False
        self.ended = False
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
            start_new_session=own_session,
            process_group=None if own_session else 0,
        )
        loop.children.add(self.process.pid)
        assert self.process.stdin is not None and self.process.stdout is not None
        # The descriptors belong to the channel from here on; Popen's own files would close them a second time.
        self._channel = Channel(os.dup(self.process.stdout.fileno()), os.dup(self.process.stdin.fileno()), _log_noise)
        self.process.stdin.close()
        self.process.stdout.close()
        loop.watch(self._channel.read_fd, self._receive)

    def send(self, message: Any) -> None:
        """Sends a message, now or as soon as the process takes it."""
        if self.ended:
            return
        self._channel.send(message)
        if not self._writing:
            self._flush()

    def _flush(self) -> None:
        try:
            done = self._channel.flush()
        except ClosedError:
            return  # its end is noticed where its output ends
        if done == self._writing:
            self._writing = not done
            if self._writing:
                self._loop.watch(self._channel.write_fd, self._flush, writing=True)
            else:
                self._loop.forget(self._channel.write_fd)

    def _receive(self) -> None:
        try:
            messages = self._channel.receive()
        except ClosedError:
            self._end()
            return
        for message in messages:
            self._on_message(message)

    def _end(self) -> None:
        self._close()
        self._on_end()

    def _close(self) -> None:
        self.ended = True
        self._loop.forget(self._channel.read_fd)
        self._loop.forget(self._channel.write_fd)
        self._channel.close()

    def hang_up(self) -> None:
        """Says no more: the process finds its input at an end. What it has not been sent yet is dropped."""
        if not self.ended:
            self._loop.forget(self._channel.write_fd)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._channel.write_fd)
            os.close(null)

    def stop(self, patience_s: float) -> int:
        """Closes the conversation, waits for the process to end by itself, and kills it when it does not.

        Returns:
            its exit status, as ``subprocess`` gives it.
        """
        if not self.ended:
            self._close()
        try:
            status = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._loop.children.discard(self.process.pid)
        # This driver inherits what a process that was killed has left behind.
        kill_descendants(os.getpid(), spare=frozenset(self._loop.children))
        return status
