"""Where data come from: files that this machine sees, and whatever fsspec reads."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hpcsearch.errors import HpcsearchError, NotFoundError

#: What tells whether something at a URL is what it was; each file system knows some of these.
_MARKS = ("size", "mtime", "LastModified", "last_modified", "created", "ETag", "etag", "Content-MD5", "Digest")

#: The status of a web server's answer.
_NOT_FOUND = 404


@dataclass(frozen=True)
class State:
    """What a source is at a moment: its size, and something that changes when it does."""

    size: int
    mark: str


class Source(Protocol):
    """A file or folder to be copied."""

    @property
    def name(self) -> str:
        """Its own name, without the folders above it."""

    def __str__(self) -> str: ...

    def look(self) -> State:
        """What it is now; raises HpcsearchError where it cannot be read."""

    def fetch(self, target: Path) -> None:
        """Copies it to ``target``, which is not there; raises OSError, and HpcsearchError."""


def source_of(text: str) -> Source:
    """The source at a path or URL.

    Raises:
        HpcsearchError: fsspec, or what it needs for this kind of URL, is not installed.
    """
    return Remote.of(text) if "://" in text else Local(Path(text))


@dataclass(frozen=True)
class Local:
    """A file or folder that this machine sees."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.resolve().name if self.path.name in ("", "..") else self.path.name

    def __str__(self) -> str:
        return str(self.path)

    def look(self) -> State:
        try:
            parts = sorted(self._parts())
        except FileNotFoundError as error:
            raise NotFoundError(
                f"There is no {error.filename}.", "Paths are relative to the project's folder."
            ) from None
        except OSError as error:
            raise HpcsearchError(f"{error.filename or self.path} cannot be read: {error.strerror}.") from None
        return State(sum(size for _, size, _ in parts), repr(parts))

    def fetch(self, target: Path) -> None:
        if self.path.is_dir():
            shutil.copytree(self.path, target)
        else:
            shutil.copy2(self.path, target)

    def _parts(self) -> Iterator[tuple[str, int, int]]:
        """Each file, by its path, size and time; raises OSError."""
        status = self.path.stat()
        if not stat.S_ISDIR(status.st_mode):
            yield "", status.st_size, status.st_mtime_ns
            return
        for folder, _, files in os.walk(self.path, followlinks=True, onerror=_raise):
            for file in files:
                path = Path(folder, file)
                status = path.stat()
                yield str(path.relative_to(self.path)), status.st_size, status.st_mtime_ns


def _raise(error: OSError) -> None:
    raise error


@dataclass(frozen=True)
class Remote:
    """A file or folder at a URL, read with fsspec."""

    url: str
    files: Any  # fsspec's file system
    path: str  # there

    @classmethod
    def of(cls, url: str) -> Remote:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise HpcsearchError(
                f"To read {url}, fsspec is needed.", "Install it: pip install 'hpcsearch[data]'."
            ) from None
        try:
            files, path = url_to_fs(url)
        except (ImportError, ValueError) as error:  # fsspec says which package, or that there is no such protocol
            raise HpcsearchError(f"{url} cannot be read: {error}.", "Install what it needs, or mend the URL.") from None
        return cls(url, files, path)

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2] or "data"

    def __str__(self) -> str:
        return self.url

    def look(self) -> State:
        with self._errors():
            self.files.invalidate_cache()
            about = self.files.info(self.path)
            found = {self.path: about}
            if about["type"] == "directory":
                found = self.files.find(self.path, detail=True)
        marks = sorted(
            (path, [(mark, str(one[mark])) for mark in _MARKS if mark in one]) for path, one in found.items()
        )
        return State(sum(one.get("size") or 0 for one in found.values()), repr(marks))

    def fetch(self, target: Path) -> None:
        with self._errors():
            if self.files.isdir(self.path):
                self.files.get(self.path.rstrip("/") + "/", f"{target}/", recursive=True)
            else:
                self.files.get_file(self.path, str(target))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """An error of the network or of a service as a sentence; those of this machine's disk as they are."""
        try:
            yield
        except Exception as error:
            # To fsspec a server that is away is a file that is not there, with the reason behind it
            why = (error.__cause__ or error) if isinstance(error, FileNotFoundError) else error
            if isinstance(why, FileNotFoundError) or getattr(why, "status", None) == _NOT_FOUND:
                raise NotFoundError(f"There is nothing at {self.url}.") from None
            if why is error and isinstance(error, OSError) and error.errno is not None:
                raise
            said = str(why) or type(why).__name__
            raise HpcsearchError(f"{self.url} cannot be read: {said}.", "Try it with fsspec by hand.") from error
