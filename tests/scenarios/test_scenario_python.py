"""A search from Python: what ``hpcsearch.submit`` gives has submitit's Job interface."""

from __future__ import annotations

import subprocess
import sys

from scenario_bed import PROBLEM, Bed

SCRIPT = """
import hpcsearch
job = hpcsearch.submit("poly", "problem.py", "run.py", walltime_s=600, max_evals=3, search="random")
print(job.result())
assert job.done() and job.exception() is None
print([record.id for record in job.workflow.records()], job.workflow.best(1)[0].objective <= 10)
"""


def test_a_job_has_a_result(bed: Bed) -> None:
    (bed.folder / "problem.py").write_text(PROBLEM)
    (bed.folder / "run.py").write_text("def run(config):\n    return config['x']\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=bed.folder,
        env=bed.environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the budget of evaluations is spent", "[1, 2, 3] True"]
