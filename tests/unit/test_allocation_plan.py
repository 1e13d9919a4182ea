"""The orders of an allocation."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.allocation.plan import Launch, Plan
from hpcsearch.errors import AllocationError

PLAN = Plan("poly", "/w/poly", 1, "local", "run.py:run", ("x",), "/w", "serial", 1, 600.0)
TEXT = st.text(max_size=8)
SECONDS = st.floats(0.1, 1e6)

PLANS = st.builds(
    Plan,
    workflow=TEXT,
    directory=TEXT,
    allocation=st.integers(1, 99),
    site=TEXT,
    run=TEXT,
    names=st.lists(TEXT, max_size=3).map(tuple),
    cwd=TEXT,
    job_mode=st.sampled_from(["serial", "mpi"]),
    nodes=st.integers(1, 9999),
    walltime_s=SECONDS,
    launch=st.builds(Launch, TEXT, st.lists(TEXT, max_size=3).map(tuple), TEXT),
    evals_per_node=st.integers(1, 256),
    bind=st.booleans(),
    eval_timeout_s=st.none() | SECONDS,
    resumable=st.booleans(),
    reserved_cores=st.lists(st.integers(0, 99), max_size=3).map(tuple),
    gpu_order=st.lists(st.integers(0, 7), max_size=3).map(tuple),
    spares=st.lists(st.dictionaries(TEXT, TEXT | st.integers() | st.booleans(), max_size=2), max_size=2).map(tuple),
)


@given(PLANS)
def test_what_is_written_is_read_again(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        plan.save(path)
        assert Plan.load(path) == plan


def test_what_is_left_out_has_its_usual_value(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    PLAN.save(path)
    values = json.loads(path.read_text())
    del values["bind"], values["grace_s"]
    path.write_text(json.dumps(values))
    assert Plan.load(path) == PLAN


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "{}", '{"launch": {}}', "\ud800".encode("utf-8", "surrogatepass")]
)
def test_what_cannot_be_read_is_said_in_words(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AllocationError, match=r"plan\.json, cannot be read") as caught:
        Plan.load(path)
    assert "hpcsearch resume" in caught.value.hint


def test_orders_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(dataclasses.asdict(PLAN) | {"warp": 9}))
    with pytest.raises(AllocationError, match="warp"):
        Plan.load(path)
