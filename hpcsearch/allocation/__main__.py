"""``python -P -m hpcsearch.allocation <workflow directory> <allocation number>``: what a job script runs.

Exit codes: 0 when the driver ended in good order; those of ``hpcsearch.errors`` when it ended with a reason; 70 when
it met an error of its own, after which the job script starts it again.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path

from hpcsearch.allocation.driver import Driver
from hpcsearch.allocation.loop import GARBAGE_THRESHOLD
from hpcsearch.allocation.plan import Plan
from hpcsearch.errors import HpcsearchError
from hpcsearch.worker.processes import become_subreaper, name_process, reap_children

#: After this the job script starts the driver again.
INTERNAL_ERROR = 70

#: Orphans that were killed are waited for so long (seconds).
REAP_LIMIT_S = 1.0

_FORMAT = "%(asctime)s|%(process)d|%(levelname)s|%(name)s:%(lineno)s] %(message)s"

log = logging.getLogger("hpcsearch.allocation")


def main(arguments: list[str]) -> int:
    """Runs one allocation's driver; returns the exit code."""
    directory, number = Path(arguments[0]), int(arguments[1])
    name_process("hpcsearch-drive")
    become_subreaper()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    handlers: list[logging.Handler] = [logging.FileHandler(directory / "hpcsearch.log"), logging.StreamHandler()]
    logging.basicConfig(level=logging.INFO, format=_FORMAT, datefmt="%Y-%m-%d %H:%M:%S", handlers=handlers)
    try:
        driver = Driver(Plan.load(directory / "allocations" / str(number) / "plan.json"))
        try:
            outcome = driver.run()
        finally:
            if driver.ends_chain:
                _cancel_followers(directory, number, driver.ends_chain)
        _write_result(directory / "allocations" / str(number), outcome)
    except HpcsearchError as error:
        log.error("%s", error)
        return error.exit_code
    except Exception:
        log.exception("the driver met an error of its own (host %s)", os.uname().nodename)
        return INTERNAL_ERROR
    finally:
        reap_children(REAP_LIMIT_S)
    log.info("allocation %d has ended: %s", number, outcome)
    return 0


def _write_result(folder: Path, outcome: str) -> None:
    """Leaves why the allocation ended where submitit's ``Job.result()`` looks for it."""
    from hpcsearch.schedulers.result import write_result

    job_id = os.environ.get("HPCSEARCH_SCHEDULER_ID")
    if job_id:
        write_result(folder, job_id, outcome)


def _cancel_followers(directory: Path, number: int, why: str) -> None:
    from hpcsearch.allocation.followers import cancel_followers  # imports the database, which the driver does without
    from hpcsearch.workflow.layout import Layout

    cancel_followers(Layout(directory), number, why)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
