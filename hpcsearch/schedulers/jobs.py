"""What our submitit executors share: they submit an allocation's script and give a submitit Job for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from submitit.core.core import Job
from submitit.core.utils import JobPaths

from hpcsearch.errors import SchedulerError, UsageError
from hpcsearch.schedulers.base import AllocationState, AllocationStatus
from hpcsearch.schedulers.request import AllocationRequest
from hpcsearch.schedulers.result import result_file
from hpcsearch.sites.load import dump_site
from hpcsearch.sites.model import Site


class AllocationPaths(JobPaths):
    """An allocation's files under submitit's names for them."""

    @property
    def submission_file(self) -> Path:
        return self.folder / "job.sh"

    @property
    def stdout(self) -> Path:
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        return self.folder / "stderr"

    @property
    def result_pickle(self) -> Path:
        return result_file(self.folder, str(self.job_id))

    def _format_id(self, path: Path | str) -> Path:
        # An allocation's folder is a plain path: %j in it is a name, not a pattern
        return Path(path)


class AllocationJob(Job[Any]):
    """A submitit Job for an allocation, whose state is asked through this package."""

    #: Seconds between two looks in wait().
    _wait_s: ClassVar[float] = 1.0

    def __init__(self, folder: Path | str, job_id: str, site: Site) -> None:
        self._site = site
        super().__init__(folder, job_id)
        self._paths = AllocationPaths(folder, job_id=job_id)

    def _register_in_watcher(self) -> None:
        """Nothing: submitit's watchers ask sacct, which not every machine has."""

    def status(self) -> AllocationStatus:
        """The allocation's status in words; raises SchedulerError."""
        from hpcsearch import schedulers

        return schedulers.status(self._site, [self.job_id])[self.job_id]

    @property
    def state(self) -> str:
        status = self.status()
        return status.word or str(status.state)

    def get_info(self, mode: str = "force") -> dict[str, str]:
        return {"JobID": self.job_id, "State": self.state}

    def done(self, force_check: bool = False) -> bool:
        return self.paths.result_pickle.exists() or self.status().state is AllocationState.ENDED

    def wait(self) -> None:
        while not self.done():
            time.sleep(self._wait_s)

    def cancel(self, check: bool = True) -> None:
        from hpcsearch import schedulers

        try:
            schedulers.cancel(self._site, self.job_id)
        except SchedulerError:
            if check:
                raise

    def __del__(self) -> None:
        if self._cancel_at_deletion and not self.done():
            self.cancel(check=False)


class ScriptExecutor:
    """Mixed into a submitit executor: submits a script of ours as it is, instead of a pickled function."""

    site: Site

    def submit_script(self, text: str, request: AllocationRequest) -> AllocationJob:
        """Writes the script and the site beside it, submits it, and gives its job.

        Raises UsageError when the folder holds an allocation already, and SchedulerError when the scheduler refuses;
        then the files that were written are gone again.
        """
        written = write_files(request, {request.script: text, request.folder / "site.json": dump_site(request.site)})
        try:
            return self._start(request)
        except BaseException:
            for file in written:
                file.unlink()
            raise

    def _start(self, request: AllocationRequest) -> AllocationJob:
        raise NotImplementedError


def write_files(request: AllocationRequest, texts: Mapping[Path, str]) -> list[Path]:
    """Writes new files that only their owner may read or run; raises UsageError when one is there."""
    request.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written: list[Path] = []
    for file, text in texts.items():
        try:
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            for earlier in written:
                earlier.unlink()
            raise UsageError(f"{request.folder} holds an allocation already: {file.name} is there") from None
        file.chmod(0o700)
        written.append(file)
    return written
