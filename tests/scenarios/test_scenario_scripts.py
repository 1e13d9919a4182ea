"""Scripts that know nothing of hpcsearch, through the front door: every example of seed 004, as it is written there."""

from __future__ import annotations

import json
import math
import subprocess

import pytest
from scenario_bed import Bed, Search, said

import hpcsearch
from hpcsearch.evaluation import State
from hpcsearch.workflow.layout import Layout

#: The snippet of the seed, with a model that needs no library.
TRAIN = """\
import sys

class SGD:
    def __init__(self, lr):
        self.lr = lr

lr=0.01
print('learning rate = {}'.format(lr))
optimizer = SGD(lr=lr)
for epoch in range(int(sys.argv[1])):
    loss = (optimizer.lr - 0.05) ** 2 + 1.0 / (epoch + 1)
print("fitness: %s" % -loss)
"""

ARRAY = """\
import numpy as np
import hpcsearch

lr = np.load(hpcsearch.artifact('lr'))
assert hpcsearch.evaluation().config['lr[0]'] == lr[0]

print("fitness: %s" % np.sum(lr))
"""


def search(bed: Bed, script: str, *options: object, file: str = "train.py", status: int = 0) -> Search:
    """Submits a script; ``options`` end with its own arguments behind ``--``, if it has any."""
    folder = bed.folder / "user"
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(script)
    own = [*map(str, options)]
    at = own.index("--") if "--" in own else len(own)
    arguments = [*bed.options(2), "-t", 30, "--wait", *own[:at], folder / file, *own[at + 1 :]]
    done = bed.command("submit", "script", "poly", *arguments)
    assert done.returncode == status, said(done)
    return Search(bed, Layout(bed.root / "poly"), said(done))


# ---- the seed


@pytest.mark.beds("local", "slurm")
def test_ten_learning_rates(bed: Bed) -> None:
    bed.nodes = 1
    found = search(bed, TRAIN, "--hyperparam=lr=0.01:0.01:0.1", "--", 30)
    assert "The grid has 10 configurations." in found.output
    records = found.check(10)
    rates = sorted(record.config["lr"] for record in records)
    assert rates == [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1]
    for record in records:
        assert found.printed(record.id).decode().splitlines()[0] == f"learning rate = {record.config['lr']}"
        assert record.objective == pytest.approx(-((record.config["lr"] - 0.05) ** 2) - 1 / 30)
    assert (bed.folder / "user/train.py").read_text() == TRAIN
    assert sorted(path.name for path in (bed.folder / "user").iterdir()) == ["train.py"]


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("1e-5:l5:0.1", [1e-5, 1e-4, 1e-3, 0.01, 0.1]),
        ("0:3", [0, 1, 2, 3]),
        (":3", [0, 1, 2, 3]),
        ("0.1", [0.1]),
        ("2,5,6", [2, 5, 6]),
    ],
)
def test_the_other_ranges(bed: Bed, spec: str, values: list[float]) -> None:
    found = search(bed, "lr = 7\nprint(repr(lr))\nprint('fitness:', lr)\n", "-hp", f"lr={spec}")
    records = sorted(found.check(len(values)), key=lambda record: record.config["lr"])
    assert [record.config["lr"] for record in records] == values
    assert [record.objective for record in records] == values
    assert [found.printed(record.id).splitlines()[0].decode() for record in records] == [
        repr(value) for value in values
    ]


@pytest.mark.parametrize("spec", ["lr=0:1:10:urla", "lr=5:5:10:alu"])
def test_arrays_for_a_plug_in(bed: Bed, spec: str) -> None:
    (bed.folder / "plugin.py").write_text(PLUGIN)
    found = search(bed, ARRAY, "--optimizer", bed.folder / "plugin.py", "--hp", spec)
    records = found.check(12)
    for record in records:
        assert len(record.config) == 10
        assert record.objective == pytest.approx(sum(record.config.values()))
    if spec == "lr=5:5:10:alu":
        assert all(math.isclose(value, 5.0, rel_tol=1e-9) for record in records for value in record.config.values())
    assert "generation 3" in (found.layout.allocation(1) / "stderr").read_text()


PLUGIN = """\
import copy
import sys
import numpy as np

class Optimizer:
    def __init__(self, hyperparameters, config, logger):
        self.hyperparameters, self.generation = hyperparameters, 0

    def ask(self):
        population = []
        for _ in range(4):
            member = [copy.copy(one) for one in self.hyperparameters]
            for one in member:
                width = max(one.max_range - one.min_range, 1e-12)
                values = np.random.normal((one.min_range + one.max_range) / 2, width, one.array_length)
                one.values = np.exp(values) if one.is_log else values
            population.append(member)
        return population

    def tell(self, population, fitnesses):
        assert len(population) == len(fitnesses) == 4
        self.generation += 1

    def stop(self):
        return self.generation >= 3

    def disp(self):
        print("generation", self.generation, file=sys.stderr)
"""


def test_a_strategy_of_ours_takes_the_same_bounds(bed: Bed) -> None:
    found = search(bed, ARRAY, "--optimizer", "cmaes", "--hp", "lr=0:1:3:a", "--max-evals", 8)
    records = found.check(8)
    assert records[0].config == {"lr[0]": 0.5, "lr[1]": 0.5, "lr[2]": 0.5}  # not random: it begins in the middle
    assert all(0 <= value <= 1 for record in records for value in record.config.values())


def test_any_strategy_takes_the_ranges_as_bounds(bed: Bed) -> None:
    script = "lr = units = act = 0\nprint(units, act)\nprint('objective:', lr)\n"
    options = ["--search", "ambs", "--max-evals", 10, "--direction", "min"]
    found = search(bed, script, *options, "-hp", "lr=1e-5:l5:0.1", "-hp", "units=1:64", "-hp", "act=relu,tanh")
    for record in found.check(10):
        assert 1e-5 <= record.config["lr"] <= 0.1 and record.config["lr"] == record.objective
        assert isinstance(record.config["units"], int) and record.config["act"] in ("relu", "tanh")


@pytest.mark.parametrize("how", ["grid", "plug-in"])
def test_it_goes_on_where_it_was(bed: Bed, how: str) -> None:
    (bed.folder / "plugin.py").write_text(PLUGIN)
    options = ["-hp", "lr=0:11"] if how == "grid" else ["-hp", "lr=0:1:10:a", "-opt", bed.folder / "plugin.py"]
    script = "lr = 1\nprint('fitness:', lr)\n" if how == "grid" else ARRAY
    found = search(bed, script, *options, "--max-evals", 7)
    found.check(7)
    (bed.folder / "user/train.py").unlink()  # the workflow has its own
    found.resume("--max-evals", 50)
    records = found.check(12)
    if how == "plug-in":
        printed = (found.layout.allocation(2) / "stderr").read_text()
        assert [line for line in printed.splitlines() if line.startswith("generation")][-1] == "generation 3"
    assert all(record.state is State.FINISHED for record in records)


# ---- how it gets its values


@pytest.mark.parametrize(
    ("inject", "arguments", "printed"),
    [
        ("args", [7], ["7", "--lr", "0.5"]),
        ("args", ["--rate={lr}", "{lr}"], ["--rate=0.5", "0.5"]),
        ("env", [7], ["7"]),
    ],
)
def test_any_program_gets_its_values(bed: Bed, inject: str, arguments: list[object], printed: list[str]) -> None:
    (bed.folder / "user").mkdir()
    (bed.folder / "user/run.sh").touch(0o755)
    script = '#!/bin/sh\nprintf \'%s\\n\' "$@"\necho "rate ${HPCSEARCH_LR:-none}"\necho fitness: 1\n'
    found = search(bed, script, "-hp", "lr=0.5", "--inject", inject, "--", *arguments, file="run.sh")
    rate = "rate 0.5" if inject == "env" else "rate none"
    assert found.printed(1).decode().splitlines() == [*printed, rate, "fitness: 1"]


def test_python_of_another_version_goes_by_text(bed: Bed) -> None:
    script = "import os\nlr = 1\nif lr == 0.5: os.write(1, b'no')\nprint(lr)\nprint('fitness:', 1)\n"
    found = search(bed, script, "-hp", "lr=0.25,0.5", "--inject", "regex")
    assert sorted(found.printed(number).splitlines()[0] for number in (1, 2)) == [b"0.25", b"0.5"]


# ---- the objective

METRICS = """\
import csv, json, os, sys
lr = 0.0
kind = sys.argv[1]
losses = [3.0 - lr, 0.0, 1.0 + lr]
if kind == "csv":
    with open("log.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "loss", "val_loss"])
        for epoch, loss in enumerate(losses):
            writer.writerow([epoch, 0.5, loss])
elif kind == "lines":
    with open("log.csv", "w") as file:
        for epoch, loss in enumerate(losses):
            file.write(json.dumps({"epoch": epoch, "val_loss": loss}) + "\\n")
elif kind == "tensorboard":
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    import hpcsearch
    import time
    writer = EventFileWriter(hpcsearch.tensorboard.logdir() if lr else "logs")
    for epoch, loss in enumerate(losses):
        value = Summary.Value(tag="val_loss", simple_value=loss)
        writer.add_event(Event(wall_time=time.time(), step=epoch, summary=Summary(value=[value])))
    writer.close()
print("fitness: 99")
"""


@pytest.mark.parametrize("kind", ["csv", "lines", "tensorboard"])
@pytest.mark.parametrize(("metric", "at"), [("val_loss:min", [0.0, 0.0]), ("val_loss:max", [3.0, 2.5])])
def test_a_metric_is_the_objective(bed: Bed, kind: str, metric: str, at: list[float]) -> None:
    file = [] if kind == "tensorboard" else ["--metric-file", "log.csv"]
    found = search(bed, METRICS, "-hp", "lr=0.0,0.5", "--metric", metric, *file, "--", kind)
    records = sorted(found.check(2), key=lambda record: record.config["lr"])
    assert [record.objective for record in records] == at
    (best,) = hpcsearch.open_workflow(found.layout.root).best()
    assert best.objective == (min(at) if metric.endswith("min") else max(at))
    kept = [*found.layout.evaluations.glob("*/tensorboard/lr=*/**/*tfevents*")]
    assert len(kept) == (2 if kind == "tensorboard" else 0)
    reports = found.rows("report")
    assert {json.loads(row["metrics"])["val_loss"] for row in reports} >= {0.0, 3.0}


def test_the_last_value_needs_a_direction(bed: Bed) -> None:
    options = ["-hp", "lr=0.0,0.5", "--metric", "val_loss", "--metric-file", "log.csv"]
    refused = search(bed, METRICS, *options, "--", "csv", status=2)
    assert "Nobody knows whether more or less of val_loss is better" in refused.output
    assert not refused.layout.root.exists()
    found = search(bed, METRICS, *options, "--direction", "min", "--", "csv")
    assert sorted(record.objective or 0.0 for record in found.check(2)) == [1.0, 1.5]


SLOW = """\
import time
quality = 1.0
with open("log.jsonl", "w", buffering=1) as file:
    for step in range(1, 401):
        file.write('{"step": %d, "acc": %f}\\n' % (step, quality * step))
        time.sleep(0.15)
"""


def test_a_stopping_rule_ends_a_script_by_its_metric(bed: Bed) -> None:
    options = ["--stopper", "asha", "--stopper-arg", "eta=2", "--stopper-arg", "first=4", "--metric", "acc:max"]
    script = SLOW.replace("401", "(60 if quality > 1.5 else 2000)")
    found = search(bed, script, "-hp", "quality=2.0,1.0", *options, "--metric-file", "log.jsonl")
    states = {record.config["quality"]: record.state for record in found.records()}
    assert states == {2.0: State.FINISHED, 1.0: State.STOPPED}


# ---- its folder


def test_it_runs_in_a_copy_of_its_folder(bed: Bed) -> None:
    folder = bed.folder / "user"
    (folder / "data").mkdir(parents=True)
    (folder / "data/rows.csv").write_text("1\n2\n")
    (folder / "helper.py").write_text("def total(path):\n    return sum(map(int, open(path)))\n")
    (folder / "secret.bin").write_bytes(b"x" * 100)
    (folder / ".hpcsearchignore").write_text("*.bin\n")
    script = (
        "import os, helper\nlr = 1\nassert not os.path.exists('secret.bin')\n"
        "open('data/rows.csv', 'a').write('%d\\n' % lr)\nos.makedirs('out/deep')\n"
        "open('out/deep/model.txt', 'w').write(str(lr))\nprint('fitness:', helper.total('data/rows.csv'))\n"
    )
    found = search(bed, script, "-hp", "lr=10,20", "--capture", "out", "--capture", "missing.txt")
    records = {record.config["lr"]: record for record in found.check(2)}
    assert {lr: record.objective for lr, record in records.items()} == {10: 13.0, 20: 23.0}
    assert (folder / "data/rows.csv").read_text() == "1\n2\n"
    for lr, record in records.items():
        directory = found.layout.evaluation(record.id)
        assert (directory / "captured/out/deep/model.txt").read_text() == str(lr)
        assert not (directory / "work").exists()
        assert b"nothing to capture by the name of missing.txt" in found.printed(record.id)


def test_what_a_script_that_failed_has_left_stays(bed: Bed) -> None:
    found = search(bed, "lr = 1\nopen('trace', 'w').write('at %s' % lr)\n1 / 0\n", "-hp", "lr=3", status=1)
    (record,) = found.check(1)
    assert record.failure is not None and record.failure.message == (
        "train.py ended with exit code 1: ZeroDivisionError: division by zero"
    )
    assert "line 3" in record.failure.traceback
    assert (found.layout.evaluation(1) / "work/trace").read_text() == "at 3"


def test_what_git_knows_is_recorded(bed: Bed) -> None:
    folder = bed.folder / "user"
    folder.mkdir()
    (folder / "train.py").write_text("lr = 1\n")
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    found = search(bed, "lr = 1\nprint('fitness:', lr)\n", "-hp", "lr=3")
    assert f"git: commit {commit[:12]}, with 1 uncommitted change" in found.output
    facts = json.loads((found.layout.source / "script.json").read_text())["git"]
    assert (facts["commit"], facts["dirty"], facts["changed"]) == (commit, True, [" M train.py"])
    assert not (found.layout.source / "project/.git").exists()


# ---- what is asked and refused


def test_what_would_be_run_is_shown(bed: Bed) -> None:
    folder = bed.folder / "user"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    options = [*bed.options(1), "-t", 30, "--dry-run", "--hyperparam", "lr=0.01:0.01:0.1"]
    done = bed.command("submit", "script", "poly", *options, folder / "train.py", 30)
    assert done.returncode == 0, said(done)
    for line in ("+print('learning rate = {}'.format(0.01))", "-optimizer = SGD(lr=lr)", "+optimizer = SGD(lr=0.01)"):
        assert line in done.stdout.splitlines()
    assert "The script is run as: python -u train.py 30" in done.stdout
    assert "Nothing was submitted" in done.stdout and not bed.root.exists()


def test_a_large_grid_is_confirmed(bed: Bed) -> None:
    refused = search(bed, "a = b = 1\nprint(a, b)\n", "-hp", "a=0:99", "-hp", "b=0:99", status=2)
    assert "The grid has 10,000 configurations." in refused.output
    assert "that was not confirmed" in refused.output and "--yes" in refused.output


def test_it_takes_as_many_cores_as_it_asks_for(bed: Bed) -> None:
    script = "import os\nlr = 1\nprint(lr)\nprint('fitness:', len(os.sched_getaffinity(0)))\n"
    (bed.folder / "user").mkdir()
    (bed.folder / "user/train.py").write_text(script)
    options = ["--site", bed.name, "-q", bed.queue, "-n", 1, "-t", 30, "--cpus", bed.cores, "--mem", "100M", "--wait"]
    done = bed.command("submit", "script", "poly", *options, "-hp", "lr=1,2", bed.folder / "user/train.py")
    assert done.returncode == 0, said(done)
    found = Search(bed, Layout(bed.root / "poly"), said(done))
    assert [record.objective for record in found.check(2)] == [float(bed.cores)] * 2


def test_a_script_that_takes_too_long_is_ended(bed: Bed) -> None:
    found = search(bed, "import time\nlr = 1\ntime.sleep(lr)\n", "-hp", "lr=600", "--max-duration", "2s", status=1)
    assert [record.state for record in found.check(1)] == [State.TIMED_OUT]
