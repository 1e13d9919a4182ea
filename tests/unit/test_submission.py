"""Submitting: what is refused, that a refused one leaves nothing, and what an accepted one leaves."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import math
import os
import pprint
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpcsearch
from hpcsearch.allocation.plan import Plan
from hpcsearch.errors import (
    HpcsearchError,
    LimitError,
    LoadError,
    NameTakenError,
    ProblemError,
    SchedulerError,
    SearchError,
    SiteError,
    SmokeError,
    UsageError,
)
from hpcsearch.evaluation import State
from hpcsearch.hyperparameter import RESERVED
from hpcsearch.sites.find import find_site
from hpcsearch.sites.model import NodeShape, Queue
from hpcsearch.submission import api
from hpcsearch.submission.announcing import say_dropped
from hpcsearch.submission.api import dry_run, submit_request
from hpcsearch.submission.child import design_size
from hpcsearch.submission.creating import SETTINGS, Orders, created
from hpcsearch.submission.request import Request
from hpcsearch.submission.size import confirm_size
from hpcsearch.submission.steps import Steps, banner, facts_block
from hpcsearch.submission.validation import Checked, Validation
from hpcsearch.workflow import database, open_workflow, queries
from hpcsearch.workflow.layout import Layout
from hpcsearch.workflow.results.csv_file import FIXED_COLUMNS


def request(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "workflow": "poly",
        "problem": "problem.py",
        "run": "model_run.py",
        "nodes": 1,
        "walltime_s": 1800,
        "queue": "local",
        "account": "none",
        "search": "random",
        "site": "local",
    }
    return Request(**(values | changes))


def left_in(folder: Path) -> list[str]:
    root = folder / "workflows"
    return sorted(entry.name for entry in root.iterdir()) if root.exists() else []


def tried(asked: Request) -> str:
    out = io.StringIO()
    dry_run(asked, Steps(out))
    return out.getvalue()


def test_a_dry_run_prints_script_and_command_and_leaves_nothing(search_files: Path) -> None:
    output = tried(request())
    assert output.startswith("Validating Problem...OK\nValidating run...OK\n")
    script = search_files / "workflows" / "poly" / "allocations" / "1" / "job.sh"
    assert "#!/bin/bash" in output
    assert f"The command: bash {script}\n" in output
    assert sorted(entry.name for entry in search_files.iterdir()) == ["model_run.py", "problem.py"]


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        ({"workflow": "../poly"}, UsageError, "cannot be the name"),
        ({"nodes": 0}, UsageError, "nodes 0"),
        ({"evals_per_node": 0}, UsageError, "evals-per-node 0"),
        ({"max_evals": 0}, UsageError, "max-evals 0"),
        ({"max_evals": True}, UsageError, "max-evals True"),
        ({"eval_timeout_s": 0.0}, UsageError, "eval-timeout-s 0.0"),
        ({"slot_reuse": "sometimes"}, UsageError, "slot-reuse 'sometimes'"),
        ({"ranks_per_node": 2}, UsageError, "no meaning in job mode serial"),
        ({"job_mode": "mpi", "nodes_per_eval": 9}, UsageError, "more than the"),
        ({"data_parallel": "mxnet"}, UsageError, "no library that ranks find each other with"),
        ({"data_parallel": "torch", "num_ps": 1}, UsageError, "which only TensorFlow has"),
        ({"data_parallel": "tensorflow", "ranks_per_node": 2, "num_ps": 2}, UsageError, "none of an evaluation's 2"),
        ({"data_parallel": "tensorflow", "num_ps": -1}, UsageError, "no number of parameter servers"),
        ({"queue": "debug"}, UsageError, "no queue 'debug'"),
        ({"nodes": 2}, LimitError, "at most 1 node"),
        ({"chain": 0}, UsageError, "chain 0"),
        ({"chain": 2}, UsageError, "do not follow each other"),
        ({"site": "polaris", "queue": "debug", "account": "a", "nodes": 4}, LimitError, "at most 2 nodes"),
        (
            {"site": "polaris", "queue": "debug", "account": "a", "ranks_per_node": 8, "threads_per_rank": 9}
            | {"job_mode": "mpi"},
            LimitError,
            "8 ranks with 9 cores each need 72 cores; a node of polaris has 32",
        ),
        (
            {"site": "polaris", "queue": "debug", "account": "a", "gpus_per_rank": 5, "job_mode": "mpi"},
            LimitError,
            "1 rank with 5 GPUs each need 5 GPUs; a node of polaris has 4",
        ),
        ({"site": "frontier", "queue": "debug", "account": "a", "chain": 3}, LimitError, "3 are asked for"),
        ({"site": "nowhere"}, SiteError, "nowhere"),
        ({"problem": "problm.py"}, LoadError, "problem.py"),
        ({"problem": "model_run.py:run"}, ProblemError, "of type function, not HpProblem"),
        ({"run": "model_run.py:rum"}, LoadError, "'run'"),
        ({"run": "problem.py:Problem"}, LoadError, "run function"),
        ({"search": "radom"}, SearchError, "random"),
        ({"search_arguments": {"kappa": "1"}}, SearchError, "kappa"),
        ({"search_arguments": {"kappa": "1"}, "no_import": True}, SearchError, "kappa"),
        ({"max_success": 0}, UsageError, "max-success 0"),
        ({"max_attempts": 0}, UsageError, "max-attempts 0"),
        ({"smoke": True, "no_import": True}, UsageError, "--no-import nothing is imported"),
        ({"smoke": True, "run": "problem.py:Problem"}, LoadError, "run function"),
        ({"search": "grid"}, SearchError, "how many points to take of lr, units"),
        ({"search": "grid", "search_arguments": {"points": 40}}, UsageError, "1,600 configurations"),
    ],
)
def test_what_is_refused_leaves_nothing(
    search_files: Path, changes: dict[str, Any], error: type[HpcsearchError], expected: str
) -> None:
    with pytest.raises(error) as caught:
        submit_request(request(**changes), Steps(None))
    assert expected in str(caught.value)
    assert caught.value.hint
    assert left_in(search_files) == []


def test_a_used_name_is_refused_before_anything_is_run(search_files: Path) -> None:
    (search_files / "workflows" / "poly").mkdir(parents=True)
    (search_files / "problem.py").write_text("open('touched', 'w')")
    with pytest.raises(NameTakenError, match="resume poly"):
        submit_request(request(), Steps(None))
    assert not (search_files / "touched").exists()


def test_a_scheduler_that_cannot_be_asked_leaves_nothing(search_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(search_files))
    out = io.StringIO()
    with pytest.raises(SchedulerError, match="not on this machine"):
        submit_request(request(site="slurm", queue="debug", account=""), Steps(out))
    assert "Performing job submission...failed\n" in out.getvalue()
    assert left_in(search_files) == []


def ended(pid: int) -> bool:
    """Whether a process is gone, given a moment."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_an_import_that_hangs_is_killed_with_what_it_started(search_files: Path) -> None:
    (search_files / "problem.py").write_text(
        "import pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "pathlib.Path('pid').write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(LoadError, match=r"not imported within 1\.5 s"):
        submit_request(request(import_limit_s=1.5), Steps(None))
    assert ended(int((search_files / "pid").read_text()))
    assert left_in(search_files) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("os._exit(7)", "exit code 7"),
        ("os.kill(os.getpid(), 11)", "signal SIGSEGV"),
        ("sys.exit('no')", "sys.exit('no')"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_an_import_that_ends_badly_says_how(search_files: Path, line: str, expected: str) -> None:
    (search_files / "model_run.py").write_text(f"import os, sys\n{line}\ndef run(config): return 1.0\n")
    with pytest.raises(LoadError) as caught:
        submit_request(request(), Steps(None))
    assert expected in caught.value.message


def test_what_is_printed_while_importing_disturbs_nothing(search_files: Path) -> None:
    noise = "import os\nprint('{\"names\": []}')\nos.write(1, b'noise')\n"
    for name in ("problem.py", "model_run.py"):
        file = search_files / name
        file.write_text(noise + file.read_text())
    assert "Validating run...OK" in tried(request())


def test_both_files_are_imported_at_the_same_time(search_files: Path) -> None:
    for mine, other in (("problem.py", "model_run.py"), ("model_run.py", "problem.py")):
        file = search_files / mine
        wait = (
            "import pathlib, time\n"
            f"pathlib.Path('{mine}.here').touch()\n"
            f"while not pathlib.Path('{other}.here').exists(): time.sleep(0.01)\n"
        )
        file.write_text(wait + file.read_text())
    assert "Validating run...OK" in tried(request(import_limit_s=30))


def test_a_run_function_must_take_the_hyperparameters(search_files: Path) -> None:
    (search_files / "model_run.py").write_text("def run(lr): return lr\n")
    with pytest.raises(LoadError, match="units"):
        submit_request(request(), Steps(None))


def test_without_import_only_the_names_are_looked_for(search_files: Path) -> None:
    for name in ("problem.py", "model_run.py"):
        file = search_files / name
        file.write_text("import a_module_that_login_nodes_lack\n" + file.read_text())
    assert "Validating run (names only)...OK" in tried(request(no_import=True))
    modules = request(no_import=True, run="model_run", problem="problem.Problem")
    assert "Validating run (names only)...OK" in tried(modules)
    with pytest.raises(LoadError, match="Did you mean run"):
        tried(request(no_import=True, run="model_run.py:runn"))
    with pytest.raises(LoadError, match="no file"):
        tried(request(no_import=True, run="model_rum.py"))


def test_a_hyperparameter_must_not_take_the_name_of_a_column_of_results(search_files: Path) -> None:
    file = search_files / "problem.py"
    file.write_text(file.read_text().replace('"units"', '"node"'))
    with pytest.raises(LoadError, match=r"'node' cannot be the name .* results\.csv has a column of that name"):
        submit_request(request(), Steps(None))
    assert left_in(search_files) == []
    assert set(FIXED_COLUMNS) == RESERVED


def test_the_initial_design_has_the_starting_points_first_and_fits_the_budget(search_files: Path) -> None:
    with Validation(request(evals_per_node=3, seed=1), search_files) as children:
        answer = children.problem()
    assert answer["names"] == ["lr", "units"]
    assert answer["design"][0] == {"lr": 0.01, "units": 10}
    assert len(answer["design"]) == design_size(1, 3, None) > 3
    with Validation(request(max_evals=2), search_files) as children:
        assert len(children.problem()["design"]) == 2


@given(st.integers(0, 500), st.integers(1, 5000), st.none() | st.integers(1, 10_000))
def test_the_design_fills_every_slot_and_never_exceeds_the_budget(
    points: int, slots: int, max_evals: int | None
) -> None:
    size = design_size(points, slots, max_evals)
    budget = max_evals if max_evals is not None else size
    assert min(budget, max(points, slots)) <= size <= budget


CHECKED = Checked("/x/problem.py:Problem", "/x/model_run.py:run", ("lr", "units"), False, ({"lr": 0.1, "units": 1},))


@pytest.fixture
def poly(search_files: Path) -> Layout:
    return Layout(search_files / "workflows" / "poly")


def creating(layout: Layout) -> contextlib.AbstractContextManager[None]:
    asked = request(max_evals=9, eval_timeout_s=5.0)
    orders = Orders(layout, find_site("local"), CHECKED.run, CHECKED.names, Path("/x"), {**vars(asked), "sized": False})
    return created(orders, asked, CHECKED)


def test_a_new_workflow_has_its_design_its_plan_and_its_owner(poly: Layout) -> None:
    with creating(poly):
        pass
    assert stat.S_IMODE(poly.root.stat().st_mode) == 0o700
    opened = open_workflow(poly.root)
    assert opened.counts() == {State.PROPOSED: 1}
    assert opened.records()[0].config == {"lr": 0.1, "units": 1}
    plan = Plan.load(poly.plan(1))
    assert (plan.directory, plan.run, plan.names) == (str(poly.root), CHECKED.run, CHECKED.names)
    assert (plan.eval_timeout_s, plan.cwd, plan.walltime_s) == (5.0, "/x", 1800)
    assert os.listdir(poly.root.parent) == ["poly"]


@pytest.mark.parametrize("error", [SchedulerError("no"), KeyboardInterrupt(), RuntimeError()])
def test_a_workflow_goes_when_its_submission_fails(poly: Layout, error: BaseException) -> None:
    with pytest.raises(type(error)), creating(poly):
        assert poly.database.exists()
        raise error
    assert os.listdir(poly.root.parent) == []


def test_the_one_who_comes_second_takes_nothing_away(poly: Layout) -> None:
    with creating(poly):
        inside = sorted(poly.root.rglob("*"))
        with pytest.raises(NameTakenError), creating(poly):
            pytest.fail("the name is taken")
        assert sorted(poly.root.rglob("*")) == inside


def test_two_who_submit_the_same_name_at_once(search_files: Path) -> None:
    """Both have passed the first look at the name before either makes the directory."""
    file = search_files / "problem.py"
    meet = (
        "import os, pathlib, time\n"
        "pathlib.Path(f'{os.getpid()}.here').touch()\n"
        "while len(list(pathlib.Path().glob('*.here'))) < 2: time.sleep(0.01)\n"
    )
    file.write_text(meet + file.read_text())
    code = (
        "import dataclasses, sys\n"
        "from hpcsearch.cli.main import hpcsearch_command, run\n"
        "from hpcsearch.submission.creating import Orders\n"
        "make = Orders.request\n"
        "Orders.request = lambda *given: dataclasses.replace(make(*given), python='/bin/true')\n"
        "sys.exit(run(hpcsearch_command, sys.argv[1:], 'hpcsearch'))\n"
    )
    command = "submit hps poly -p problem.py -r model_run.py -n 1 -t 1 -q local -A none --search random".split()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ends = [(*process.communicate(timeout=60), process.returncode) for process in both]
    (_, won, first), (_, lost, second) = sorted(ends, key=lambda end: end[2])
    assert (first, second, won) == (0, 2, "")
    assert "exists already" in lost
    assert left_in(search_files) == ["poly"]
    assert open_workflow("poly").counts()


def test_an_accepted_submission_prints_its_steps_and_facts(search_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Orders.request
    monkeypatch.setattr(Orders, "request", lambda *given: dataclasses.replace(make(*given), python="/bin/true"))
    out = io.StringIO()
    submitted = submit_request(request(search="ambs", walltime_s=5400), Steps(out))
    lines = out.getvalue().splitlines()
    assert lines[:5] == [
        "Validating Problem...OK",
        "Validating run...OK",
        "Creating workflow database...OK",
        "Creating HPS(AMBS) workflow...OK",
        "Performing job submission...OK",
    ]
    assert lines[5].startswith("Submit OK: Allocation {   'command': ")
    facts = ast.literal_eval(out.getvalue().partition("Allocation ")[2].partition("}")[0] + "}")
    assert list(facts) == sorted(facts)
    assert facts["wall_minutes"] == 90
    assert facts["scheduler_id"] == submitted.job_id
    assert f" Success. The search will run at: {search_files / 'workflows' / 'poly'}" in lines
    submitted.wait()
    assert submitted.done()
    assert submitted.workflow.name == "poly"


def test_the_python_form_knows_its_options(search_files: Path) -> None:
    with pytest.raises(TypeError, match="max_eval"):
        hpcsearch.submit("poly", "problem.py", "model_run.py", max_eval=3)
    with pytest.raises(UsageError, match="max-evals 0"):
        hpcsearch.submit("poly", "problem.py", "model_run.py", max_evals=0)


def test_facts_look_as_pprint_shows_them() -> None:
    facts = {"workflow": "poly", "command": "/a/long/path/" + "x" * 60, "id": 1, "nodes": 4}
    assert facts_block(facts) == "Submit OK: Allocation " + pprint.pformat(facts, indent=4)


def test_the_banner_is_as_wide_as_its_text() -> None:
    stars, text, again = banner("Success.").splitlines()
    assert (stars, text, again) == ("*" * 12, " Success.", "*" * 12)


def test_a_step_that_fails_ends_its_line() -> None:
    out = io.StringIO()
    with pytest.raises(KeyError), Steps(out).step("Validating run"):
        raise KeyError
    assert out.getvalue() == "Validating run...failed\n"


@pytest.mark.parametrize(("margin_s", "grace_s"), [(None, Plan.grace_s), (25, 25.0)])
def test_a_site_s_own_drain_margin_is_kept_free_at_the_end(poly: Layout, margin_s: int | None, grace_s: float) -> None:
    site = find_site("slurm")
    if margin_s is not None:
        site = dataclasses.replace(site, drain_margin_s=margin_s)
    orders = Orders(poly, site, "run", (), Path("/x"), {**vars(request(queue="debug")), "sized": False})
    assert orders.plan(1).grace_s == grace_s


def test_the_plan_has_the_nodes_of_its_queue(poly: Layout) -> None:
    site = find_site("slurm")
    site = dataclasses.replace(
        site,
        node=NodeShape(cores=64, gpus=4),
        queues=(Queue("fat", node=NodeShape(cores=128, reserved_cores=(0, 1))), Queue("thin")),
    )
    cores = {
        name: Orders(poly, site, "run", (), Path("/x"), {**vars(request(queue=name)), "sized": False}).plan(1).cores
        for name in FAT
    }
    assert cores == FAT


FAT = {"fat": 126, "thin": 64}


def test_many_variables_that_are_not_passed_on_are_counted(poly: Layout) -> None:
    out = io.StringIO()
    asked = {**vars(request(site="slurm", queue="debug", account="lab")), "sized": False}
    allocation = Orders(poly, find_site("slurm"), CHECKED.run, CHECKED.names, Path("/x"), asked).request(1)
    say_dropped(Steps(out), allocation, {"SBATCH_PARTITION": "x", "SLURM_CONF": "y", "PATH": "z"})
    assert out.getvalue() == "Not passed on, because they would override the job script: SBATCH_PARTITION.\n"
    say_dropped(Steps(out), allocation, {f"SLURM_{number}": "x" for number in range(20)})
    assert out.getvalue().endswith("the job script: 20 variables SLURM_*.\n")
    say_dropped(Steps(out), allocation, {"PATH": "z"})
    assert out.getvalue().count("\n") == 2
    # What the script says is no news, as where the default was taken from there
    say_dropped(Steps(out), allocation, {"SBATCH_ACCOUNT": "lab", "SBATCH_PARTITION": "debug"})
    assert out.getvalue().count("\n") == 2
    say_dropped(Steps(out), allocation, {"SBATCH_ACCOUNT": "another"})
    assert out.getvalue().endswith("the job script: SBATCH_ACCOUNT.\n")


@pytest.mark.parametrize(
    ("size", "code", "sentence"),
    [(4_000, 4, "It said last: OSError: [Errno 27] File too large"), (24_000, 7, "database cannot be written: ")],
)
def test_a_disk_that_is_full_leaves_nothing(search_files: Path, size: int, code: int, sentence: str) -> None:
    program = (
        "import resource, sys\n"
        "from hpcsearch.cli.main import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "sys.argv[1:] = 'submit hps poly -p problem.py -r model_run.py -n 1 -t 5 -q local'.split()\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith("Error: ")
    assert sentence in re.sub(r"/\S+ ", "", done.stderr)
    assert "Traceback" not in done.stderr
    assert left_in(search_files) == []


def test_a_module_that_is_not_there(search_files: Path) -> None:
    with pytest.raises(LoadError, match="there is no module 'nowhere' in "):
        tried(request(problem="nowhere.problem:Problem"))


def test_settings_reach_the_plan_and_the_database(poly: Layout) -> None:
    asked = request(max_success=5, max_attempts=2, retry_failed=True)
    orders = Orders(poly, find_site("local"), CHECKED.run, CHECKED.names, Path("/x"), {**vars(asked), "sized": False})
    with created(orders, asked, CHECKED):
        pass
    plan = Plan.load(poly.plan(1))
    assert (plan.max_success, plan.max_attempts, plan.retry_failed, plan.smoke) == (5, 2, True, False)
    with database.reading(poly.database) as connection:
        settings = json.loads(queries.workflow_row(connection)["settings"])
    assert {name: getattr(plan, name) for name in SETTINGS} == settings


def test_no_more_is_proposed_than_has_to_succeed(search_files: Path) -> None:
    with Validation(request(evals_per_node=9, max_success=3), search_files) as children:
        assert len(children.problem()["design"]) == 3


GRID = {"search": "grid", "search_arguments": {"points": "40"}}  # 1600 configurations


@pytest.mark.parametrize(
    ("max_evals", "expected"),
    [
        (None, "The grid has 1,600 configurations.\n"),
        (7, "The grid has 1,600 configurations. The first 7 of them are evaluated (--max-evals).\n"),
        (1600, "The grid has 1,600 configurations.\n"),
        (
            9999,
            "configurations. These are fewer than --max-evals 9,999: the search is done when all have been evaluated.",
        ),
    ],
)
def test_the_size_of_a_grid_is_announced(search_files: Path, max_evals: int | None, expected: str) -> None:
    assert expected in tried(request(**GRID, max_evals=max_evals))


def test_a_large_grid_is_asked_about_where_somebody_can_answer(search_files: Path) -> None:
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(UsageError, match="Nothing was submitted"):
        submit_request(request(**GRID), Steps(None), no)
    assert asked == ["Evaluate 1,600 configurations?"]
    with pytest.raises(UsageError, match="not confirmed") as caught:
        submit_request(request(**GRID), Steps(None))
    assert "Type --yes" in caught.value.hint
    for few in ({"max_evals": 1000}, {"yes": True}):
        confirm_size(request(**GRID, **few), 1600, None)
    with pytest.raises(UsageError, match="more configurations than can be counted"):
        confirm_size(request(**GRID), math.inf, None)
    confirm_size(request(), None, None)
    assert left_in(search_files) == []


def test_a_smoke_test_runs_the_starting_point_else_the_default(search_files: Path) -> None:
    (search_files / "model_run.py").write_text("def run(config):\n    raise ValueError(dict(config))\n")
    with pytest.raises(SmokeError, match=r"ValueError: \{'lr': 0\.01, 'units': 10\}\. Nothing was submitted") as caught:
        submit_request(request(smoke=True), Steps(None))
    assert caught.value.exit_code == 10 and "without --smoke" in caught.value.hint
    problem = search_files / "problem.py"
    problem.write_text(problem.read_text().replace("Problem.add_starting_point", "dict"))
    with pytest.raises(SmokeError, match="'units': 50"):
        submit_request(request(smoke=True), Steps(None))
    with Validation(request(smoke=True, max_evals=5), search_files) as children:
        design = children.problem()["design"]
    assert design[0]["units"] == 50 and len({tuple(one.items()) for one in design}) == len(design) == 5
    assert left_in(search_files) == []


def test_a_smoke_test_is_an_evaluation_to_what_runs_in_it(search_files: Path) -> None:
    (search_files / "model_run.py").write_text(
        "import hpcsearch, pathlib\n"
        "def run(config):\n"
        "    now = hpcsearch.evaluation()\n"
        "    (now.directory / 'model').touch()\n"
        "    hpcsearch.report(step=1, loss=0.5)\n"
        "    assert now.config == config and 0 < now.time_left_s <= 90 and now.attempt == 1\n"
        "    pathlib.Path('where').write_text(str(now.directory))\n"
        "    raise SystemExit(4)\n"
    )
    with pytest.raises(SmokeError, match=r"sys\.exit\(4\)"):
        submit_request(request(smoke=True, eval_timeout_s=90.0), Steps(None))
    assert not Path((search_files / "where").read_text()).parent.exists()


def test_where_an_allocation_runs_elsewhere_it_does_the_smoke_test(
    search_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(search_files))
    (search_files / "model_run.py").write_text("def run(config):\n    open('touched', 'w')\n")
    with pytest.raises(SchedulerError, match="not on this machine"):  # it came as far as that
        submit_request(request(smoke=True, site="slurm", queue="debug", account=""), Steps(None))
    assert not (search_files / "touched").exists()
    assert orders_of(request(smoke=True, site="slurm", queue="debug", account="")).plan(1).smoke
    assert not orders_of(request(smoke=True)).plan(1).smoke


def orders_of(asked: Request) -> Orders:
    return api._orders(asked, *api.refuse_early(asked), Steps(None))[0]
