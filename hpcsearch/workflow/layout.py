"""Where things lie in a workflow's directory, and how such a directory comes to be and is found again."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpcsearch.errors import DatabaseError, NameTakenError, NotFoundError, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Layout:
    """The files of one workflow, by what they hold. ``root`` is the workflow's own directory."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def database(self) -> Path:
        return self.root / "workflow.db"

    @property
    def results(self) -> Path:
        return self.root / "results.csv"

    @property
    def arrays(self) -> Path:
        return self.root / "results.h5"

    @property
    def log(self) -> Path:
        return self.root / "hpcsearch.log"

    def allocation(self, number: int) -> Path:
        return self.root / "allocations" / str(number)

    def plan(self, number: int) -> Path:
        return self.allocation(number) / "plan.json"

    def evaluation(self, evaluation_id: int) -> Path:
        return self.root / "evaluations" / str(evaluation_id)


def check_name(name: str) -> str:
    """Returns ``name`` when it can name a workflow, else raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a workflow: it becomes a directory and part of the job's name.",
            "Use up to 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit.",
        )
    return name


def workflows_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the workflows: ``root``, else $HPCSEARCH_ROOT, else ./workflows."""
    return Path(root or os.environ.get("HPCSEARCH_ROOT") or "workflows").absolute()


def find_layout(name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Layout:
    """The layout of an existing workflow, given by its name under the root or by the path of its directory.

    Raises:
        NotFoundError: there is no workflow of that name or path.
    """
    folder = workflows_root(root)
    candidates = [folder / name, Path(name).absolute()]
    for candidate in candidates:
        if (candidate / "workflow.db").is_file():
            return Layout(candidate)
    known = ", ".join(layout.name for layout in list_layouts(root)) or "none yet"
    raise NotFoundError(
        f"There is no workflow {os.fspath(name)!r} in {folder} (workflows there: {known}).",
        "Give one of these names, the path of a workflow's directory, or another folder with --root.",
    )


def list_layouts(root: str | os.PathLike[str] | None = None) -> list[Layout]:
    """The workflows under ``root``, by name."""
    folder = workflows_root(root)
    if not folder.is_dir():
        return []
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]  # those are drafts
    return [Layout(entry) for entry in entries if (entry / "workflow.db").is_file()]


def refuse_taken(layout: Layout) -> None:
    """Raises NameTakenError when the workflow's directory exists already."""
    if layout.root.exists():
        raise NameTakenError(
            f"The workflow {layout.name!r} exists already, in {layout.root}.",
            f"Continue it with 'hpcsearch resume {layout.name}', or choose another name.",
        )


@contextmanager
def new_directory(layout: Layout) -> Iterator[Layout]:
    """Makes a workflow's directory in one step: whole, or not at all.

    The block fills a hidden folder beside the final one, which then gets its name by one rename. Two who do this for
    the same name at the same instant cannot both succeed: a rename onto a folder with content fails.

    Raises:
        NameTakenError: the name is taken, before the block or by somebody else while it ran.
        DatabaseError: the folder cannot be written.
    """
    refuse_taken(layout)
    draft = Layout(layout.root.with_name(f".{layout.name}.{secrets.token_hex(4)}"))
    try:
        layout.root.parent.mkdir(parents=True, exist_ok=True)
        draft.root.mkdir(mode=0o700)
    except OSError as error:
        raise DatabaseError(
            f"The workflow's directory {layout.root} cannot be made: {error.strerror}.",
            "Give a folder that you can write to with --root, or set HPCSEARCH_ROOT.",
        ) from None
    try:
        yield draft
        try:
            draft.root.rename(layout.root)
        except OSError:
            refuse_taken(layout)
            raise
    finally:
        shutil.rmtree(draft.root, ignore_errors=True)


def remove_directory(layout: Layout) -> None:
    """Takes a workflow's directory away: out of sight in one step, then file by file."""
    grave = layout.root.with_name(f".{layout.name}.{secrets.token_hex(4)}")
    layout.root.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)
