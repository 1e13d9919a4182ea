"""A script that calls the run function once more with the best configuration."""

from __future__ import annotations

import json
import pprint

from hpcsearch.figures.study import Study

_SCRIPT = '''\
"""Evaluation {id} of the workflow {name} once more. Its objective was {objective!r}."""

import os

from hpcsearch.runfunction import Reference, as_run_function, load, normalise

config = {config}

os.chdir({cwd!r})
run = as_run_function(load(Reference.parse({run!r}, "run", os.getcwd())), {names!r})
print(normalise(run(config)).objective)
'''


def rerun_script(study: Study) -> str:
    """The script, which prints the objective; empty while nothing has finished."""
    if not len(study.ranked):
        return ""
    index = int(study.ranked[0])
    row = study.row
    return _SCRIPT.format(
        id=int(study.ids[index]),
        name=ascii(study.snapshot.name)[1:-1],
        objective=float(study.objective[index]),
        config=pprint.pformat(study.configuration(index), width=100),
        cwd=row["cwd"],
        run=row["run"],
        names=json.loads(row["names"]),
    )
