"""Asks the scheduler to take nodes back, beside the driver: the scheduler may take seconds to answer.

``python -P -m hpcsearch.allocation.releaser <folder of the allocation> <id of the job>``, JSON lines: out first
``{"once": ..., "dead_too": ...}``, whether the scheduler takes nodes back only once, and has to be given those that
died; then in ``{"keep": [...], "leave": [...]}``, out what ``hpcsearch.schedulers.release`` answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
from pathlib import Path

from hpcsearch import schedulers
from hpcsearch.allocation import shrunk
from hpcsearch.sites.load import read_site
from hpcsearch.worker.channel import ClosedError, standard_channel


def main(folder: Path, job_id: str) -> None:
    """Serves one driver, until that has gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    driver = standard_channel()
    site = read_site(folder / "site.json")
    with contextlib.suppress(ClosedError):  # the driver has gone
        driver.send({"once": schedulers.releases_once(site), "dead_too": schedulers.releases_dead_too(site)})
        driver.deliver()
        while True:
            for message in driver.wait():
                outcome = schedulers.release(site, job_id, message["keep"], message["leave"], folder)
                if outcome.released:
                    with contextlib.suppress(OSError):  # then a driver that is started again tries them in vain
                        shrunk.note(folder, message["leave"], outcome.environment)
                driver.send(dataclasses.asdict(outcome))
                driver.deliver()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
