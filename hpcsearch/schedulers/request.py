"""What is asked of a scheduler: one allocation for a workflow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hpcsearch.errors import UsageError
from hpcsearch.sites.model import Site

#: What queues and accounts are made of on every scheduler; nothing in it means anything to a shell.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+:,/-]{0,254}")
_SCHEDULER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class AllocationRequest:
    """One batch job to be. Paths are absolute; ``folder`` is where its script, output and result go.

    ``after`` is the scheduler's id of an allocation that has to end first, however it ends. Site local, which starts
    everything at once, leaves that to the driver, which waits for the workflow to become free.

    Raises UsageError when a name or path could not be written into a script or a scheduler's option.
    """

    workflow: str
    directory: Path
    number: int
    folder: Path
    site: Site
    queue: str
    account: str
    nodes: int
    walltime_s: int
    job_mode: str
    python: str
    cwd: Path
    job_name: str
    after: str = ""

    def __post_init__(self) -> None:
        for label, name in (("queue", self.queue), ("account", self.account)):
            if name and not _NAME.fullmatch(name):
                raise UsageError(
                    f"{label} {name!r} is no name that a scheduler takes",
                    "Names are made of letters, digits and _ . @ + : , / - and start with a letter or digit.",
                )
        if self.after and not _SCHEDULER_ID.fullmatch(self.after):
            raise UsageError(f"{self.after!r} is no id of an allocation to wait for")
        lines = {
            "workflow name": self.workflow,
            "job name": self.job_name,
            "job mode": self.job_mode,
            "Python": self.python,
            "workflow directory": str(self.directory),
            "folder": str(self.folder),
            "working directory": str(self.cwd),
        }
        for label, text in lines.items():
            if not text or not text.isprintable():
                raise UsageError(f"{label} {text!r} cannot be written into a job script", "Use printable characters.")
        for path in (self.directory, self.folder, self.cwd):
            if not path.is_absolute():
                raise UsageError(f"the path {path} of an allocation must be absolute")
            if "\\" in str(path):
                raise UsageError(f"the path {path} holds a backslash, which Slurm leaves out of file names")
        if self.site.scheduler == "pbs" and not str(self.folder).isascii():
            raise UsageError(
                f"the path {self.folder} has letters that PBS does not take in the name of an output",
                "Keep workflows where every folder has a plain name: --root names another place.",
            )

    @property
    def script(self) -> Path:
        return self.folder / "job.sh"

    @property
    def stdout(self) -> Path:
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        return self.folder / "stderr"

    @property
    def scheduler_job_name(self) -> str:
        """The job name with what every scheduler takes: no blanks, a letter first, not long."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.job_name)
        return (name if name[0].isalpha() else f"h{name}")[:200]
