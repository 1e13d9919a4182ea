"""The process that asks the user's code what each evaluation needs: ``python -P -m hpcsearch.worker.sizer``.

It speaks JSON lines: first its orders, then ``[id, configuration]`` for each evaluation, answered in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, astuple
from typing import Any

from hpcsearch.errors import HpcsearchError
from hpcsearch.evaluation import Failure, Resources
from hpcsearch.program import resources_of
from hpcsearch.runfunction import Reference, failure_from, load
from hpcsearch.worker.channel import ClosedError, standard_channel


def _answer(run: Any, names: list[str], configuration: dict[str, Any], default: Resources) -> Mapping[str, Any]:
    try:
        resources, program = resources_of(run, names or None, configuration, default)
    except HpcsearchError as error:
        return {"failure": asdict(Failure(type(error).__name__, error.message, error.hint))}
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises is that evaluation's failure
        return {"failure": asdict(failure_from(error))}
    return {"resources": astuple(resources), "program": program}


def main() -> None:
    """Answers until the driver has gone."""
    driver = standard_channel()
    messages = driver.wait()
    orders = messages.pop(0)
    os.chdir(orders["cwd"])
    default = Resources(*orders["resources"])
    run: Any = None
    failure: Mapping[str, Any] | None = None
    try:
        run = load(Reference.parse(orders["run"], "run", orders["cwd"]))
    except HpcsearchError as error:
        failure = {"failure": asdict(Failure(type(error).__name__, error.message, error.hint))}
    while True:
        for identity, configuration in messages:
            driver.send({"id": identity, **(failure or _answer(run, orders["names"], configuration, default))})
            driver.deliver()
        messages = driver.wait()


if __name__ == "__main__":
    with suppress(ClosedError):
        main()
