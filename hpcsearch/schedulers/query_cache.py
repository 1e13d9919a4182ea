"""One scheduler query per interval, shared by all workflows and watchers of a user through a file.

The file also remembers how allocations ended, for schedulers that forget it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcsearch.errors import SchedulerError
from hpcsearch.schedulers.base import AllocationState, AllocationStatus, EndCause
from hpcsearch.sites.model import Site

Query = Callable[[Collection[str]], dict[str, AllocationStatus]]

#: Seconds after which an allocation that nobody asked about leaves the file.
_FORGET_S = 7 * 86400.0


@dataclass
class _Entry:
    status: AllocationStatus
    seen: float  # epoch seconds of the query that told it
    asked: float  # epoch seconds when somebody last wanted it


@dataclass
class _Cache:
    queried: float = 0.0
    error: str = ""
    entries: dict[str, _Entry] = field(default_factory=dict)


def statuses(site: Site, ids: Collection[str], query: Query) -> dict[str, AllocationStatus]:
    """Every id's status, not older than the site's poll interval where that can be had with one query per interval.

    An id that was never asked for is queried for at once. Raises SchedulerError, from memory too within the interval.
    """
    file = cache_file(site)
    with _locked(file):
        cache = _read(file)
        now = time.time()
        unseen = [identifier for identifier in ids if identifier not in cache.entries]
        stale = not 0 <= now - cache.queried < site.poll_interval_s
        open_ids = [each for each in ids if each not in unseen and not _ended(cache.entries[each])]
        if (stale and open_ids) or (unseen and (stale or not cache.error)):
            wanted = sorted({*unseen, *open_ids, *_watched(cache, now, site)} if stale else unseen)
            _ask(cache, wanted, query, now, whole=stale)
        for identifier in ids:
            if identifier in cache.entries:
                cache.entries[identifier].asked = now
        _write(file, cache, now)
        if cache.error and (open_ids or unseen):
            raise SchedulerError(cache.error, "The scheduler is busy or down; hpcsearch asks again by itself.")
        return {identifier: _aged(cache.entries[identifier], now) for identifier in ids}


def first_look(site: Site, identifier: str, query: Query) -> AllocationStatus:
    """The status of a noted id from a query now, if the interval allows one; else as it was noted. Never raises."""
    file = cache_file(site)
    with _locked(file):
        cache, now = _read(file), time.time()
        if not 0 <= now - cache.queried < site.poll_interval_s:
            _ask(cache, sorted({identifier, *_watched(cache, now, site)}), query, now, whole=True)
            _write(file, cache, now)
        entry = cache.entries.get(identifier)
    return entry.status if entry else AllocationStatus(AllocationState.UNKNOWN, "The scheduler was not asked yet.")


def note(site: Site, identifier: str, status: AllocationStatus) -> None:
    """Remembers a status that is known without a query, such as that of an allocation just submitted."""
    file = cache_file(site)
    with _locked(file):
        cache, now = _read(file), time.time()
        cache.entries[identifier] = _Entry(status, now, now)
        _write(file, cache, now)


def forget(site: Site, identifier: str) -> None:
    """Drops what is remembered of an allocation, which has just been cancelled: the next who asks is told anew."""
    file = cache_file(site)
    if not file.exists():
        return
    with _locked(file):
        cache = _read(file)
        if cache.entries.pop(identifier, None) is not None:
            _write(file, cache, time.time())


def cache_file(site: Site) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "hpcsearch", f"{site.name}-{site.scheduler}.json")


def _watched(cache: _Cache, now: float, site: Site) -> list[str]:
    """What somebody has asked about lately and has not ended: the one query answers for all of them."""
    recent_s = 4.0 * site.poll_interval_s
    return [each for each, entry in cache.entries.items() if not _ended(entry) and now - entry.asked < recent_s]


def _ask(cache: _Cache, ids: Collection[str], query: Query, now: float, *, whole: bool) -> None:
    try:
        found = query(ids)
        cache.error = ""
    except SchedulerError as error:
        found, cache.error = {}, error.message
    for identifier, status in found.items():
        cache.entries[identifier] = _Entry(status, now, now)
    if whole or cache.error:
        cache.queried = now


def _ended(entry: _Entry) -> bool:
    # One that was preempted or lost a node may be put back into the queue
    again = (EndCause.PREEMPTED, EndCause.NODE_FAILURE)
    return entry.status.state is AllocationState.ENDED and entry.status.cause not in again


def _aged(entry: _Entry, now: float) -> AllocationStatus:
    status = entry.status
    if status.time_left_s is None:
        return status
    left_s = max(0, status.time_left_s - int(now - entry.seen))
    return AllocationStatus(status.state, status.reason, status.word, status.cause, left_s, status.can_run)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Holds the file's lock while it is read, the scheduler asked and the file written."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        # A file system without locks costs a query too many, not the answer
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(file: Path) -> _Cache:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        entries = {
            key: _Entry(_status(each["status"]), each["seen"], each["asked"]) for key, each in table["ids"].items()
        }
        return _Cache(table["queried"], table["error"], entries)
    except (OSError, ValueError, KeyError, TypeError):
        # Not there yet, or written by another version: it is only a memory
        return _Cache()


def _status(table: dict[str, Any]) -> AllocationStatus:
    return AllocationStatus(
        AllocationState(table["state"]),
        table["reason"],
        table["word"],
        EndCause(table["cause"]),
        table["time_left_s"],
        table["can_run"],
    )


def _write(file: Path, cache: _Cache, now: float) -> None:
    kept = {key: entry for key, entry in cache.entries.items() if now - entry.asked < _FORGET_S}
    ids = {key: {"status": vars(each.status), "seen": each.seen, "asked": each.asked} for key, each in kept.items()}
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"queried": cache.queried, "error": cache.error, "ids": ids}), encoding="utf-8")
    part.replace(file)
