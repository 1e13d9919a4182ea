"""What all tests share: in CI nothing is skipped unnoticed, and workflows with recorded results to look at."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from hpcsearch.workflow.layout import Layout

# Who runs the tests in the background may have these ignored, and all processes after it; but they are tested, too.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# How long an example takes is the machine's affair: a test that depends on it fails under load alone.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Matrices here are small, and tests run side by side: threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The defaults of whoever runs the tests are none of theirs.
_DEFAULTS = ("HPCSEARCH_ACCOUNT", "HPCSEARCH_QUEUE", "HPCSEARCH_SITE", "SBATCH_ACCOUNT", "SBATCH_PARTITION")
for _name in (*_DEFAULTS, "COLUMNS", "LINES"):  # nor is the size of their terminal
    os.environ.pop(_name, None)
os.environ["XDG_CONFIG_HOME"] = "/nonexistent"
# matplotlib would make that folder.
os.environ["MPLCONFIGDIR"] = str(Path(tempfile.gettempdir(), "hpcsearch-tests-matplotlib"))

#: The one reason for which CI may leave a test out.
_ALLOWED_SKIP = "GPU"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # -> TestReport, but a wrapper is a generator
    report = yield
    _fail_when_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    _fail_when_skipped(report)
    return report


def _fail_when_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if _ALLOWED_SKIP not in reason:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where only a missing {_ALLOWED_SKIP} is a reason: {reason}"


PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter((1, 100), "units")
Problem.add_hyperparameter((1e-4, 1.0, "log-uniform"), "lr")
Problem.add_starting_point(units=10, lr=0.01)
"""

RUN = """\
def run(config):
    return config["units"] - config["lr"]
"""


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one; workflows go to its folder workflows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPCSEARCH_ROOT", raising=False)
    return tmp_path


@pytest.fixture
def search_files(own_folder: Path) -> Path:
    """The current folder, with problem.py and model_run.py in it."""
    (own_folder / "problem.py").write_text(PROBLEM)
    (own_folder / "model_run.py").write_text(RUN)
    return own_folder


@pytest.fixture
def make_workflow(tmp_path: Path) -> Callable[..., Layout]:
    """Makes a workflow in tmp_path/workflows whose evaluations have ended as told; no process works on it."""
    from hpcsearch.evaluation import State
    from hpcsearch.workflow import database, layout, lease, store

    def make(
        name: str = "poly", objectives: tuple[float | None, ...] = (), proposed: int = 0, max_evals: int | None = 50
    ) -> Layout:
        made = Layout(tmp_path / "workflows" / name)
        total = len(objectives) + proposed
        row = {
            "name": name,
            "problem": str(tmp_path / "problem.py") + ":Problem",
            "run": str(tmp_path / "model_run.py") + ":run",
            "cwd": str(tmp_path),
            "names": json.dumps(["lr", "units"]),
            "minimize": 0,
            "search": "random",
            "search_arguments": "{}",
            "max_evals": max_evals,
            "settings": json.dumps(
                {"evals_per_node": 2, "eval_timeout_s": None, "resumable": False, "slot_reuse": "auto", "bind": True}
            ),
        }
        with layout.new_directory(made) as draft:
            engine = database.writer(draft.database, create=True)
            store.create(engine, row, 5.0, [{"lr": 0.5 / number, "units": number} for number in range(1, total + 1)])
            store.add_allocation(engine, _ALLOCATION)
            with engine.connect() as connection:
                free = lease.holder(connection)
            token = lease.take(engine, 1, os.getpid(), free)
            assert token is not None
            now = time.time()
            batch = store.Batch()
            for number, objective in enumerate(objectives, start=1):
                failed = objective is None
                place = {"allocation": 1, "node": "n1", "slot": 0, "nodes": None, "slots": 1}
                times = {"state": State.RUNNING.value, "started_at": now + number}
                start = {"evaluation": number, "attempt": 1, **place, **times}
                batch.started.append(start)
                batch.ended.append(
                    {
                        **start,
                        "state": (State.FAILED if failed else State.FINISHED).value,
                        "failures": int(failed),
                        "ended_at": now + number + 0.5,
                        "duration_s": 0.5,
                        "objective": objective,
                        "metadata": json.dumps({"loss": 1.0}),
                        "error_kind": "ValueError" if failed else None,
                        "error_message": "it diverged" if failed else None,
                        "traceback": None,
                        "gathered_at": now + number + 0.6,
                    }
                )
                batch.reports.append(
                    {"evaluation": number, "attempt": 1, "step": 1.0, "at": now, "metrics": json.dumps({"loss": 2.0})}
                )
            store.commit(engine, token, 1, [batch])
            lease.release(engine, token)
            engine.dispose()
            draft.allocation(1).mkdir(parents=True)
        return made

    return make


_ALLOCATION = {
    "number": 1,
    "site": "local",
    "scheduler": "local",
    "queue": "local",
    "account": "none",
    "nodes": 1,
    "walltime_s": 1800.0,
    "job_mode": "serial",
}
