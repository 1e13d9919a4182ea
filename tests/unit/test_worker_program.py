"""Programs, run as a slot runs them."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hpcsearch
from hpcsearch.evaluation import Result, State
from hpcsearch.program import Command, ProgramError, ProgramTimeout
from hpcsearch.runfunction import failure_from, normalise
from hpcsearch.worker import context, program
from hpcsearch.worker.processes import descendants, kill_descendants
from hpcsearch.worker.program import as_evaluated, run_program
from hpcsearch.worker.stopping import Ending

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command as evaluation 7."""
    directory = tmp_path / "evaluations" / "7"
    current = context.CurrentEvaluation(7, 1, 0, {"x": 0.5}, str(directory), math.inf)
    monkeypatch.setattr(context._Context, "current", current)
    yield lambda *argv, **values: run_program(Command(argv, **values), {"x": 0.5}, str(tmp_path))
    assert descendants(os.getpid()) == []


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_compiled_program_is_told_its_configuration_and_tells_its_objective(run: Run, tmp_path: Path) -> None:
    (tmp_path / "solver.c").write_text(
        r"""
        #include <stdio.h>
        #include <stdlib.h>
        int main(int argc, char **argv) {
            double x = atof(argv[1]);
            FILE *file = fopen(getenv("HPCSEARCH_RESULT"), "w");
            fprintf(file, "{\"objective\": %g, \"threads\": \"%s\"}", -x * x, getenv("OMP_NUM_THREADS"));
            fclose(file);
            printf("fitness: 99\n");
            return 0;
        }
        """
    )
    subprocess.run(["cc", "-o", tmp_path / "solver", tmp_path / "solver.c"], check=True)
    assert run("./solver", "-3", threads_per_rank=2) == Result(-9.0, {"threads": "2"})


def test_a_program_is_called_without_a_shell(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    run("printf", "%s\\n", "$HOME; *", "fitness: 1")
    assert capfd.readouterr().out == "$HOME; *\nfitness: 1\n"


def test_it_runs_in_the_evaluations_directory_or_where_it_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    say = 'echo $PWD > "$HPCSEARCH_DIRECTORY/where"; echo fitness: 1'
    run("sh", "-c", say)
    assert (tmp_path / "evaluations/7/where").read_text().strip() == str(tmp_path / "evaluations/7")
    run("sh", "-c", say, cwd="case")
    assert (tmp_path / "evaluations/7/where").read_text().strip() == str(tmp_path / "case")


def test_a_result_that_an_earlier_attempt_left_does_not_count(run: Run, tmp_path: Path) -> None:
    assert run("sh", "-c", "echo 5 > $HPCSEARCH_RESULT").objective == 5.0
    with pytest.raises(ProgramError, match="gave no objective"):
        run("true")


@pytest.mark.parametrize(
    ("argv", "values", "words"),
    [
        (["sh", "-c", "exit 2"], {}, "^sh ended with exit code 2$"),
        (["sh", "-c", "kill -KILL $$"], {}, r"^sh was killed by signal 9 \(SIGKILL\)$"),
        (["sh", "-c", "kill -40 $$"], {}, "^sh was killed by signal 40$"),
        (["no-such-solver"], {}, "^no-such-solver cannot be started: there is no such program$"),
        (["./missing"], {}, "/missing cannot be started: there is no such program$"),
        (["./plain.txt"], {}, "/plain.txt cannot be started: it is not executable$"),
        (["./broken"], {}, "/broken cannot be started: the interpreter that its first line names is not there$"),
        (["./text"], {}, "/text cannot be started: it is no program for this machine"),
        (["true"], {"cwd": "nowhere"}, "its folder, .*/nowhere, is not there$"),
        (["true"], {"nodes": 2}, "true wants to be started by a launcher, with 2 nodes and 1 processes"),
        (["true"], {"launcher": "mpi"}, "job mode serial has none"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(
    run: Run, tmp_path: Path, argv: list[str], values: dict[str, Any], words: str
) -> None:
    (tmp_path / "plain.txt").write_text("text")
    script(tmp_path / "broken", "#!/no/such/interpreter\n")
    script(tmp_path / "text", "just text\n")
    with pytest.raises(ProgramError) as caught:
        run(*argv, **values)
    assert re.search(words, caught.value.message)


def test_a_failure_keeps_what_was_printed_last_on_standard_error(run: Run) -> None:
    with pytest.raises(ProgramError) as caught:
        run("sh", "-c", "seq 1 100000 >&2; echo on standard output; echo the mesh is torn >&2; exit 1")
    failure = failure_from(caught.value)
    assert failure.kind == "ProgramError"
    assert failure.message == "sh ended with exit code 1: the mesh is torn"
    assert failure.traceback.splitlines() == [str(n) for n in range(99_992, 100_001)] + ["the mesh is torn"]


def test_a_program_may_take_only_so_long(run: Run) -> None:
    with pytest.raises(ProgramTimeout, match=r"sleep ran longer than its time limit of 0\.1 s"):
        run("sleep", "600", timeout=0.1)
    assert run("echo", "fitness: 1", timeout=60).objective == 1.0


def test_the_end_of_a_program_that_took_too_long_is_not_the_end_of_the_next(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*args: Any, **values: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.3)
        kill_descendants(*args, **values)

    monkeypatch.setattr(program, "kill_descendants", slow)
    with pytest.raises(ProgramTimeout):
        run("sleep", "600", timeout=0.1)
    assert run("sh", "-c", "sleep 1; echo fitness: 1").objective == 1.0


def test_each_number_is_reported_while_it_runs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[float | None, dict[str, Any]]] = []

    def reporter(step: float | None, metrics: dict[str, Any]) -> None:
        told.append((step, metrics))
        (tmp_path / "evaluations/7/go").touch()

    monkeypatch.setattr(context._Context, "reporter", staticmethod(reporter))
    waiting = "echo fitness: 1; while [ ! -e go ]; do sleep 0.02; done; echo fitness: 2"
    assert run("sh", "-c", waiting).objective == 2.0
    assert told == [(1, {"objective": 1.0}), (2, {"objective": 2.0})]


@pytest.mark.parametrize("raising", [False, True])
def test_a_stopping_rule_ends_a_program_with_what_it_announced_last(
    run: Run, monkeypatch: pytest.MonkeyPatch, raising: bool
) -> None:
    told: list[float] = []
    ending = Ending(lambda: State.STOPPED if len(told) == 2 else None, raising=raising)
    monkeypatch.setattr(context._Context, "ending", ending)
    monkeypatch.setattr(
        context._Context, "reporter", staticmethod(lambda _, metrics: told.append(metrics["objective"]))
    )
    assert run("sh", "-c", "echo fitness: 1; echo fitness: 2; sleep 600").objective == 2.0
    assert ending.told is State.STOPPED


def test_a_container_is_run_by_what_the_node_has(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(ProgramError, match="this node has no apptainer nor singularity"):
        run("solver", container="image.sif")
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin/singularity", '#!/bin/sh\necho "$@"\necho fitness: 1\n')
    assert run("solver", "-v", container="image.sif").objective == 1.0
    directory = tmp_path / "evaluations/7"
    expected = f"exec --bind {directory} --pwd {directory} {tmp_path}/image.sif solver -v"
    assert capfd.readouterr().out.splitlines()[0] == expected


@pytest.mark.parametrize("names", [None, ["x"]])
def test_marked_functions_are_run_as_programs_and_others_called(run: Run, names: list[str] | None) -> None:
    marked = hpcsearch.command(lambda x: Command([shutil.which("echo") or "echo", f"fitness: {x}"]))
    evaluate = as_evaluated(marked, names or ["x"])
    assert normalise(evaluate({"x": 0.25})).objective == 0.25
    assert as_evaluated(lambda x: x, ["x"])({"x": 0.25}) == 0.25
