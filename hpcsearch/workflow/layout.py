"""Where things lie in a workflow's directory, and how such a directory comes to be and is found again."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpcsearch import settings
from hpcsearch.errors import DatabaseError, NameTakenError, NotFoundError, UsageError

#: More workflows than this are counted, not named.
_LISTED = 10

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Layout:
    """The files of one workflow, by what they hold. ``root`` is the workflow's own directory."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def typed(self) -> str:
        """What to type for the workflow: its name where that is enough, else its path."""
        return self.name if self.root.parent == workflows_root() else shlex.quote(str(self.root))

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

    @property
    def evaluations(self) -> Path:
        return self.root / "evaluations"

    @property
    def source(self) -> Path:
        """The files that were made for this search; not there when it was submitted with the user's own."""
        return self.root / "source"

    def allocation(self, number: int) -> Path:
        return self.root / "allocations" / str(number)

    def plan(self, number: int) -> Path:
        return self.allocation(number) / "plan.json"

    def cancelled(self, number: int) -> Path:
        """Appears when somebody has told the allocation to end; its time is when."""
        return self.allocation(number) / "cancelled"

    def stopped(self, number: int) -> Path:
        """Appears when somebody wants the allocation to start nothing more; its time is when."""
        return self.allocation(number) / "stopped"

    def evaluation(self, evaluation_id: int) -> Path:
        return self.evaluations / str(evaluation_id)

    def output(self, evaluation_id: int, rank: int | None = None) -> Path:
        """What the evaluation has printed, or another of its ranks; not there when that is nothing."""
        return self.evaluation(evaluation_id) / ("log" if rank is None else f"log.rank{rank}")


def check_name(name: str) -> str:
    """Returns ``name`` when it can name a workflow, else raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a workflow: it becomes a directory and part of the job's name.",
            "Use up to 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit.",
        )
    return name


def free_name(root: Path, name: str) -> str:
    """``name``, with a number behind it when there is a workflow of that name."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in names if not os.path.lexists(root / one))


def workflows_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the workflows: ``root``, else the user's default, else ./workflows.

    Raises:
        UsageError: the user's file of defaults is wrong.
    """
    if not root:
        default = settings.default("root")
        root = default.value if default else "workflows"
    return Path(root).absolute()


def find_layout(name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Layout:
    """The layout of an existing workflow, given by its name under the root or by the path of its directory.

    Raises:
        NotFoundError: there is no workflow of that name or path.
        DatabaseError: it is somebody else's, who keeps it closed.
    """
    folder = workflows_root(root)
    for candidate in places(name, root):
        if _is_workflow(candidate):
            return Layout(Path(os.path.abspath(candidate)))  # noqa: PTH100 - a link keeps its own name
        if os.path.isdir(candidate) and not os.access(candidate, os.X_OK):  # noqa: PTH112 - a name may be too long
            raise DatabaseError(
                f"The folder {candidate} is closed to you: it belongs to user {candidate.stat().st_uid}.",
                "Ask its owner for results, such as 'hpcsearch results -o FILE' writes them.",
            )
    raise NotFoundError(
        f"There is no workflow {os.fspath(name)!r} in {folder}{_known(Path(name).name, list_layouts(root))}",
        "Give a workflow's name, the path of its directory, or another folder with --root.",
    )


def places(name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> tuple[Path, Path]:
    """Where a workflow may be: under the root by its name, or at the path of its directory."""
    return workflows_root(root) / name, Path(name)


def _known(name: str, layouts: Sequence[Layout]) -> str:
    """The workflows that may be meant, else some of those there are."""
    names = [layout.name for layout in layouts]
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f" (workflows there: {', '.join(names[:_LISTED]) or 'none yet'}{more})."


def _is_workflow(folder: Path) -> bool:
    try:
        return (folder / "workflow.db").is_file()
    except OSError:  # a name too long for a file, or a folder that is not for this user
        return False


def list_layouts(root: str | os.PathLike[str] | None = None) -> list[Layout]:
    """The workflows under ``root``, by name.

    Raises:
        DatabaseError: the folder cannot be read.
    """
    folder = workflows_root(root)
    try:
        entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]  # those are drafts
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DatabaseError(
            f"The folder of workflows {folder} cannot be read: {error.strerror}.", "Give another one with --root."
        ) from None
    return [Layout(entry) for entry in entries if _is_workflow(entry)]


def refuse_taken(layout: Layout) -> None:
    """Raises NameTakenError when the workflow's directory exists already."""
    if os.path.lexists(layout.root):  # a folder that is closed to this user has no answer, and is told of when written
        raise NameTakenError(
            f"The workflow {layout.name!r} exists already, in {layout.root}.",
            f"Continue it with 'hpcsearch resume {layout.typed}', or choose another name.",
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
    except OSError as error:
        raise DatabaseError(
            f"The workflow's directory {layout.root} cannot be written: {error.strerror}.",
            "Make room there, or give another folder with --root.",
        ) from None
    finally:
        shutil.rmtree(draft.root, ignore_errors=True)


def remove_directory(layout: Layout) -> Path | None:
    """Takes a workflow's directory away: out of sight in one step, then file by file; links are not followed.

    Returns:
        where what could not be deleted is now; None when nothing is left.

    Raises:
        OSError: it cannot be taken away; then it is as it was.
    """
    grave = layout.root.with_name(f".{layout.name}.{secrets.token_hex(4)}")
    layout.root.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)
    return grave if os.path.lexists(grave) else None
