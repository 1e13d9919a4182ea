"""Asks the scheduler to take nodes back, beside the driver: the scheduler may take seconds to answer.

``python -P -m hpcsearch.allocation.releaser <folder of the allocation> <id of the job>``, JSON lines: out first
``{"once": ...}``, whether the scheduler takes nodes back only once; then in ``{"keep": [...], "leave": [...]}``, out
what ``hpcsearch.schedulers.release`` answers.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path

from hpcsearch import schedulers
from hpcsearch.sites.load import read_site
from hpcsearch.worker.channel import ClosedError, standard_channel


def main(folder: Path, job_id: str) -> None:
    """Serves one driver, until that has gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    driver = standard_channel()
    site = read_site(folder / "site.json")
    driver.send({"once": schedulers.releases_once(site)})
    driver.deliver()
    while True:
        try:
            messages = driver.wait()
        except ClosedError:
            return
        for message in messages:
            outcome = schedulers.release(site, job_id, message["keep"], message["leave"], folder)
            driver.send(dataclasses.asdict(outcome))
            driver.deliver()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
