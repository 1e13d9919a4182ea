"""Evaluations that are programs: what is checked, what is started, and what their output says."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpcsearch
from hpcsearch.errors import LoadError, UsageError
from hpcsearch.program import (
    Command,
    ProgramError,
    argv_of,
    as_commands,
    environment_of,
    is_command,
    name_of,
    working_directory,
)
from hpcsearch.runfunction import BadResultError, normalise
from hpcsearch.worker.result import Announced, result_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)
MARKERS = st.sampled_from(["HPCSEARCH-OUTPUT", "DH-OUTPUT", "dh-output", "fitness", "Fitness", "objective"])


def test_the_public_names_are_these() -> None:
    assert hpcsearch.Command is Command
    assert is_command(hpcsearch.command(lambda config: Command(["true"])))
    assert not is_command(lambda config: 1.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"argv": "solver -x 1"}, "no shell splits it"),
        ({"argv": []}, "names no program"),
        ({"argv": [""]}, "names no program"),
        ({"argv": 3}, "not a list of texts"),
        ({"argv": ["a\0b"]}, "null character"),
        ({"nodes": 0}, "nodes=0 of a Command is not a number of nodes"),
        ({"ranks_per_node": True}, "ranks_per_node=True"),
        ({"threads_per_rank": 1.5}, "threads_per_rank=1.5"),
        ({"gpus_per_rank": -1}, "gpus_per_rank=-1"),
        ({"launcher": "srun"}, "launcher='srun' of a Command is not 'mpi' or 'none'"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": math.inf}, "timeout=inf"),
        ({"cwd": ""}, "cwd=''"),
        ({"container": 7}, "container=7"),
        ({"env": ["A"]}, "not a dict of variables"),
        ({"env": {"A=B": "1"}}, "is no variable"),
        ({"env": {"A": "\0"}}, "is no variable"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        Command(**{"argv": ["solver"], **values})


@given(
    argv=st.lists(st.text(st.characters(exclude_characters="\0")).filter(bool), min_size=1),
    env=st.dictionaries(st.from_regex("[A-Z_]+", fullmatch=True), st.integers()),
    nodes=st.none() | st.integers(1, 9),
    container=st.none() | st.just(Path("image.sif")),
    timeout=st.none() | st.floats(0.1, 1e6),
)
def test_another_process_reads_the_same(argv: list[str], env: dict[str, Any], **values: Any) -> None:
    command = Command(argv, env, **values)
    assert Command.from_json(command.to_json()) == command
    assert json.loads(command.to_json())["argv"] == argv


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({}, False),
        ({"nodes": 1}, False),
        ({"launcher": "none"}, False),
        ({"launcher": "mpi"}, True),
        ({"nodes": 2}, True),
        ({"ranks_per_node": 2}, True),
    ],
)
def test_several_processes_need_a_launcher(values: dict[str, Any], needed: bool) -> None:
    assert Command(["solver"], **values).needs_launcher == needed


def test_only_functions_are_marked() -> None:
    with pytest.raises(LoadError, match="not a function"):
        hpcsearch.command(Command(["true"]))  # type: ignore[arg-type]
    with pytest.raises(LoadError, match="not a function"):
        hpcsearch.command(Command)


def test_a_marked_function_is_called_like_any_other_and_must_return_a_command() -> None:
    run = as_commands(hpcsearch.command(lambda x, units: Command(["echo", x, units])), ["x", "units"])
    assert run({"x": 0.5, "units": 3}).argv == ("echo", "0.5", "3")
    with pytest.raises(ProgramError, match=r"returned 1\.0 \(float\), not a Command"):
        as_commands(hpcsearch.command(lambda config: 1.0))({})
    with pytest.raises(LoadError):
        as_commands(hpcsearch.command(lambda x: Command(["true"])), ["x", "y"])


def test_a_function_that_was_not_marked_is_told_how() -> None:
    with pytest.raises(BadResultError, match=r"marked with @hpcsearch.command"):
        normalise(Command(["true"]))


def test_relative_paths_begin_where_the_search_was_submitted() -> None:
    assert argv_of(Command(["./solver", "./in"]), "/w/7", "/home/me") == ["/home/me/solver", "./in"]
    assert argv_of(Command(["bin/solver"]), "/w/7", "/home/me") == ["/home/me/bin/solver"]
    assert argv_of(Command(["/opt/solver"]), "/w/7", "/home/me") == ["/opt/solver"]
    assert argv_of(Command(["solver"]), "/w/7", "/home/me") == ["solver"]
    assert working_directory(Command(["solver"]), "/w/7", "/home/me") == "/w/7"
    assert working_directory(Command(["solver"], cwd="case"), "/w/7", "/home/me") == "/home/me/case"


@pytest.mark.parametrize(
    ("values", "more", "expected"),
    [
        ({}, {}, ["apptainer", "exec", "--bind", "/w/7", "--pwd", "/w/7", "/home/me/image.sif", "./solver"]),
        (
            {"cwd": "case"},
            {},
            "apptainer exec --bind /w/7 --bind /home/me/case --pwd /home/me/case /home/me/image.sif ./solver".split(),
        ),
        (
            {"container": "docker://debian"},
            {"runtime": "singularity", "gpu_variables": {"CUDA_VISIBLE_DEVICES": "0"}},
            ["singularity", "exec", "--nv", "--bind", "/w/7", "--pwd", "/w/7", "docker://debian", "./solver"],
        ),
        (
            {},
            {"gpu_variables": ["ROCR_VISIBLE_DEVICES"]},
            ["apptainer", "exec", "--rocm", "--bind", "/w/7", "--pwd", "/w/7", "/home/me/image.sif", "./solver"],
        ),
    ],
)
def test_a_container_sees_the_evaluations_directory(
    values: dict[str, Any], more: dict[str, Any], expected: list[str]
) -> None:
    command = Command(["./solver"], **{"container": "image.sif", **values})
    assert argv_of(command, "/w/7", "/home/me", **more) == expected


def test_the_program_is_told_its_configuration() -> None:
    command = Command(["solver"], env={"MODE": "fast", "OMP_NUM_THREADS": "7"}, threads_per_rank=4)
    environment = environment_of(command, {"lr": 0.1, "act": "é"}, 7, "/w/7", {"PATH": "/bin", "MODE": "slow"})
    assert json.loads(environment.pop("HPCSEARCH_CONFIG")) == {"lr": 0.1, "act": "é"}
    assert environment == {
        "PATH": "/bin",
        "MODE": "fast",
        "OMP_NUM_THREADS": "7",
        "HPCSEARCH_RESULT": "/w/7/result.json",
        "HPCSEARCH_EVALUATION": "7",
        "HPCSEARCH_DIRECTORY": "/w/7",
    }
    without = environment_of(dataclasses.replace(command, env={}), {}, 7, "/w/7", {})
    assert without["OMP_NUM_THREADS"] == "4"


def announced(output: bytes) -> float | None:
    """The objective that a program's whole standard output announces last."""
    reader = Announced()
    reader.feed(output)
    reader.close()
    return reader.last


@given(numbers=st.lists(FINITE, min_size=1), marker=MARKERS, noise=st.text().filter(lambda text: ":" not in text))
def test_the_last_number_announced_counts(numbers: list[float], marker: str, noise: str) -> None:
    text = "".join(f"{noise}\n{marker}: {number!r}\n" for number in numbers) + noise
    assert announced(text.encode()) == numbers[-1]


@given(number=FINITE, cuts=st.lists(st.integers(0, 60)), end=st.sampled_from(["", "\n", "\r", "\r\n", "\nepoch 3\n"]))
def test_output_may_come_in_pieces(number: float, cuts: list[int], end: str) -> None:
    data = f"warming up\r  fitness:{number!r}  {end}".encode()
    told: list[float] = []
    reader = Announced(told.append)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        reader.feed(data[start:stop])
    reader.close()
    assert told == [number] == [reader.last]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("fitness: -0.25", -0.25),  # StudioML made it 0
        ("DH-OUTPUT: 1\nDH-OUTPUT: 2e-3\n", 0.002),
        ("HPCSEARCH-OUTPUT: .5", 0.5),
        ("fitness: 1\nfitness: still training\n", 1.0),
        ("the fitness: 3", None),
        ("fitness: 3 of 4", None),
        ("fitness 3", None),
        ("", None),
    ],
)
def test_what_counts_as_announced(output: str, expected: float | None) -> None:
    assert announced(output.encode()) == expected


def test_a_line_without_end_takes_no_memory_and_announces_nothing() -> None:
    reader = Announced()
    for _ in range(100):
        reader.feed(b"fitness: " + b"1" * 10_000)
    assert len(reader._line) < 30_000
    reader.close()
    assert reader.last is None


@pytest.mark.parametrize(
    ("text", "objective", "metadata"),
    [("0.5\n", 0.5, {}), ("-3", -3.0, {}), ('{"objective": 2, "epochs": 7}', 2.0, {"epochs": 7})],
)
def test_the_result_file_goes_before_what_was_printed(
    tmp_path: Path, text: str, objective: float, metadata: dict[str, Any]
) -> None:
    (tmp_path / "result.json").write_text(text)
    result = result_of(Command(["solver"]), str(tmp_path), 99.0)
    assert (result.objective, result.metadata) == (objective, metadata)


@pytest.mark.parametrize(
    ("text", "last", "kind", "words"),
    [
        ("0.5 and more", 1.0, ProgramError, "is not JSON"),
        ("NaN", 1.0, BadResultError, "not a finite number"),
        ('{"loss": 1}', 1.0, BadResultError, "without 'objective'"),
        ('"good"', 1.0, BadResultError, "not one number"),
        (None, math.nan, BadResultError, "not a finite number"),
        (None, -math.inf, BadResultError, "not a finite number"),
        (None, None, ProgramError, "solver ended well but gave no objective"),
    ],
)
def test_without_a_finite_number_it_has_failed(
    tmp_path: Path, text: str | None, last: float | None, kind: type[Exception], words: str
) -> None:
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    with pytest.raises(kind, match=words):
        result_of(Command(["/opt/solver"]), str(tmp_path), last)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["/opt/solver", "x.py"], "solver"),
        (["/usr/bin/python3.11", "-u", "sub/train.py", "other.py"], "train.py"),
        (["python", "-m", "train"], "python"),
    ],
)
def test_what_a_program_is_called_in_messages(argv: list[str], name: str) -> None:
    assert name_of(Command(argv)) == name
