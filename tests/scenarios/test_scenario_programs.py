"""Evaluations that are programs, through the front door."""

from __future__ import annotations

import pytest
from scenario_bed import Bed

from hpcsearch.evaluation import State

PROGRAMS = """\
import sys
import hpcsearch

SCRIPTS = {
    "good": "echo fitness: 1; echo fitness: -2.5",
    "file": 'echo "{\\\\"objective\\\\": 3, \\\\"cores\\\\": $(nproc)}" > $HPCSEARCH_RESULT',
    "exit": "echo the mesh is torn >&2; exit 3",
    "signal": "kill -TERM $$",
    "silent": "true",
    "nan": "echo fitness: nan",
    "slow": "sleep 600",
    "timeout": "sleep 600",
}

@hpcsearch.command
def run(what):
    return hpcsearch.Command(["sh", "-c", SCRIPTS[what]], timeout=0.2 if what == "timeout" else None)
"""

PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter(["good", "file", "exit", "signal", "silent", "nan", "slow", "timeout"], "what")
"""

#: What a program does -> the state of its evaluation, its objective, and what its failure says.
ENDS = {
    "good": (State.FINISHED, -2.5, ""),
    "file": (State.FINISHED, 3.0, ""),
    "exit": (State.FAILED, None, "sh ended with exit code 3: the mesh is torn"),
    "signal": (State.FAILED, None, "sh was killed by signal 15 (SIGTERM)"),
    "silent": (State.FAILED, None, "sh ended well but gave no objective"),
    "nan": (State.FAILED, None, "the objective is nan, not a finite number"),
    "slow": (State.TIMED_OUT, None, "it ran longer than its time limit of 4 s"),
    "timeout": (State.TIMED_OUT, None, "sh ran longer than its time limit of 0.2 s"),
}


@pytest.mark.beds("local", "slurm")
def test_programs_are_evaluated_like_functions(bed: Bed) -> None:
    bed.nodes = 1
    search = bed.submit(PROGRAMS, "--search", "grid", "--eval-timeout", 4, problem=PROBLEM)
    records = {record.config["what"]: record for record in search.check(len(ENDS))}
    for what, (state, objective, message) in ENDS.items():
        failure = records[what].failure
        told = failure.message if failure else ""
        assert (records[what].state, records[what].objective, told) == (state, objective, message)
    assert set(records["file"].metadata) == {"cores"}
    assert search.printed(records["good"].id) == b"fitness: 1\nfitness: -2.5\n"


@pytest.mark.parametrize(("argv", "status", "words"), [("true", 10, "gave no objective"), ("echo", 0, "It gave 0.5")])
def test_a_program_is_tried_out_first(bed: Bed, argv: str, status: int, words: str) -> None:
    run = f"return hpcsearch.Command([{argv!r}, 'fitness: .5'])"
    text = f"import hpcsearch\n\n@hpcsearch.command\ndef run(config):\n    {run}\n"
    search = bed.submit(text, "--smoke", "--max-evals", 1, status=status)
    assert words in search.output
