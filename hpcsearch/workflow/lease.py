"""The lease that lets one driver write, and fences off those that held it before.

The holder's commits all carry its token; taking the lease over means writing a new token, after which the old holder's
commits change no row and fail. Whether a holder may be taken over is decided by what is known of it, never by
comparing clocks of different hosts.
"""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select, update

from hpcsearch.errors import LeaseLostError
from hpcsearch.workflow import schema

_lease = schema.lease


@dataclass(frozen=True)
class Holder:
    """Who holds the lease, and how often it has committed."""

    token: str | None
    allocation: int | None
    host: str | None
    pid: int | None
    counter: int
    period_s: float
    beat_at: float | None = None  # by the holder's clock: for people to read, never to decide by


def fence(connection: Connection, token: str) -> None:
    """Counts one commit of the holder, in its own transaction.

    Raises:
        LeaseLostError: another driver has taken the lease over; the transaction must not write.
    """
    beat = update(_lease).where(_lease.c.token == token).values(counter=_lease.c.counter + 1, beat_at=time.time())
    if connection.execute(beat).rowcount == 0:
        raise LeaseLostError(
            "Another driver works on this workflow now, so this one stops and writes nothing.",
            "See who with 'hpcsearch status'.",
        )


def holder(connection: Connection) -> Holder:
    """Who holds the lease now; its token is None when it is free."""
    names = ("token", "allocation", "host", "pid", "counter", "period_s", "beat_at")
    return Holder(*connection.execute(select(*(_lease.c[name] for name in names))).one())


def take(engine: Engine, allocation: int, pid: int, expected: Holder) -> str | None:
    """Takes the lease from ``expected``, or leaves it when somebody else has moved it meanwhile.

    Returns:
        the new token, or None.
    """
    token = secrets.token_hex(16)
    with engine.begin() as connection:
        current = holder(connection)
        if current.token is not None and (current.token, current.counter) != (expected.token, expected.counter):
            return None
        connection.execute(
            update(_lease).values(
                token=token, allocation=allocation, host=socket.gethostname(), pid=pid, counter=current.counter + 1
            )
        )
    return token


def release(engine: Engine, token: str) -> None:
    """Gives the lease back; the next driver takes it at once."""
    with engine.begin() as connection:
        connection.execute(update(_lease).where(_lease.c.token == token).values(token=None, pid=None))


class StillnessWatch:
    """Tells when a holder's counter has stood still for two of its periods, by this process's own monotonic clock."""

    PERIODS = 2.0

    def __init__(self) -> None:
        self._seen: tuple[str | None, int] | None = None
        self._since_s = 0.0

    def dead(self, current: Holder, now_s: float) -> bool:
        """Whether ``current`` has not committed since it was first seen so, two periods ago or longer.

        Args:
            current: the holder as just read.
            now_s: this process's monotonic clock.
        """
        mark = (current.token, current.counter)
        if mark != self._seen:
            self._seen, self._since_s = mark, now_s
        return now_s - self._since_s >= self.PERIODS * current.period_s
