"""Giving nodes back: Slurm's refusals as it words them, the names that are sent to it, and what other sites say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch import schedulers
from hpcsearch.schedulers import slurm_release
from hpcsearch.schedulers.command import Completed
from hpcsearch.schedulers.hostlist import compress
from hpcsearch.sites import Site
from hpcsearch.sites.find import find_site

SLURM = Site("hill", "slurm", release="slurm")

RESIZE = """\
export SLURM_NODELIST="sn[1,3]"
export SLURM_JOB_NODELIST="sn[1,3]"
export SLURM_NNODES=2
export SLURM_JOB_NUM_NODES=2
export SLURM_JOB_CPUS_PER_NODE="4(x2)"
unset SLURM_NPROCS
unset SLURM_NTASKS
unset SLURM_TASKS_PER_NODE
"""


class Scontrol:
    """Stands for scontrol: answers ``update`` as told, and ``show config`` with the accounting there is."""

    def __init__(self, said: str = "", accounting: str = "accounting_storage/none") -> None:
        self.said, self.accounting = said, accounting
        self.argv: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str], timeout_s: float, *, cwd: Path | None = None, **_: Any) -> Completed:
        self.argv.append(argv)
        if argv[1] == "show":
            return Completed(tuple(argv), 0, f"AccountingStorageType   = {self.accounting}\n", "")
        if not self.said:
            assert cwd is not None
            (cwd / "slurm_job_7_resize.sh").write_text(RESIZE)
        return Completed(tuple(argv), int(bool(self.said)), "", self.said)


def test_a_release_names_what_stays_and_tells_what_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol = Scontrol()
    monkeypatch.setattr(slurm_release, "run", scontrol)
    outcome = schedulers.release(SLURM, "7", ["sn1", "sn3"], ["sn2", "sn4"], tmp_path)
    assert scontrol.argv == [["scontrol", "update", "JobId=7", "NodeList=sn[1,3]"]]
    assert outcome.released
    assert outcome.environment["SLURM_JOB_NODELIST"] == "sn[1,3]"
    assert outcome.environment["SLURM_JOB_CPUS_PER_NODE"] == "4(x2)"
    assert outcome.environment["SLURM_NTASKS"] is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "words", "again"),
    [
        ("Invalid node name specified for job 7", "its first node always stays", False),
        ("Requested operation not supported on this system for job 7", "disable_job_shrink", False),
        ("Invalid user id for job 7", "another user", False),
        ("Access/permission denied for job 7", "does not permit", False),
        ("Invalid job id specified for job 7", "no such job", False),
        ("Job/step already completing or completed for job 7", "Job/step already completing", False),
        ("Unable to contact slurm controller (connect failure)", "does not answer", True),
        ("Something new", "Slurm refused: Something new", False),
    ],
)
def test_a_refusal_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, words: str, again: bool
) -> None:
    monkeypatch.setattr(slurm_release, "run", Scontrol(said))
    outcome = schedulers.release(SLURM, "7", ["sn1"], ["sn2"], tmp_path)
    assert (outcome.released, outcome.again) == (False, again)
    assert words in outcome.sentence


@pytest.mark.parametrize(
    ("accounting", "words", "again"),
    [
        ("accounting_storage/none", "without slurmdbd, Slurm changes the size of a job only once", False),
        ("accounting_storage/slurmdbd", "has not recorded", True),
    ],
)
def test_a_second_resize_depends_on_the_accounting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accounting: str, words: str, again: bool
) -> None:
    said = "Job update not available right now, the DB index is being set, try again in a bit for job 7"
    monkeypatch.setattr(slurm_release, "run", Scontrol(said, accounting))
    outcome = schedulers.release(SLURM, "7", ["sn1"], ["sn2"], tmp_path)
    assert (outcome.released, outcome.again) == (False, again)
    assert words in outcome.sentence


def test_a_scheduler_that_is_not_there_is_an_outcome_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = schedulers.release(SLURM, "7", ["sn1"], ["sn2"], tmp_path)
    assert (outcome.released, outcome.again) == (False, True)
    assert "scontrol is not on this machine" in outcome.sentence
    assert not schedulers.release(SLURM, "7", ["sn1"], ["sn2"], tmp_path / "gone").released


def test_nothing_to_give_back_and_sites_that_take_nothing_back(tmp_path: Path) -> None:
    assert schedulers.release(SLURM, "7", ["sn1"], [], tmp_path).released
    assert not schedulers.release(SLURM, "7", [], ["sn1"], tmp_path).released
    for name in ("local", "polaris"):
        outcome = schedulers.release(find_site(name), "7", ["a"], ["b"], tmp_path)
        assert (outcome.released, outcome.again) == (False, False)
        assert f"site {name} takes no nodes back" in outcome.sentence


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        (["sn1"], "sn1"),
        (["sn3", "sn1", "sn2", "sn7"], "sn[1-3,7]"),
        (["n9", "n10", "n11"], "n[10-11],n9"),
        (["n009", "n010"], "n[009-010]"),
        (["login", "x1000c0s0b0n0", "x1000c0s0b0n1"], "login,x1000c0s0b0n[0-1]"),
        (["7", "8"], "[7-8]"),
    ],
)
def test_hosts_are_compressed_as_slurm_writes_them(hosts: list[str], text: str) -> None:
    assert compress(hosts) == text


def expand(text: str) -> set[str]:
    hosts, rest = set(), text
    while rest:
        head, bracket, tail = rest.partition("[")
        *whole, prefix = head.split(",")
        hosts.update(name for name in whole if name)
        if not bracket:
            return hosts | ({prefix} if prefix else set())
        inside, _, rest = tail.partition("]")
        for span in inside.split(","):
            low, _, high = span.partition("-")
            hosts.update(f"{prefix}{n:0{len(low)}d}" for n in range(int(low), int(high or low) + 1))
        rest = rest.removeprefix(",")
    return hosts


@given(st.sets(st.from_regex(r"[a-z]{0,3}[a-z0-9-]{0,3}[0-9]{1,4}", fullmatch=True), max_size=30))
def test_compressed_hosts_are_the_same_hosts(hosts: set[str]) -> None:
    assert expand(compress(hosts)) == hosts


def test_thousands_of_hosts_fit_into_an_argument() -> None:
    assert len(compress(f"frontier{number:05d}" for number in range(1, 9857))) < 40


def test_a_node_that_the_job_has_lost_meanwhile_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def answer(argv: Sequence[str], timeout_s: float, **_: Any) -> Completed:
        if argv[0] == "squeue":
            return Completed(tuple(argv), 0, "sn[1-2,4]\n", "")
        if argv[1] == "show":
            return Completed(tuple(argv), 0, "sn1\nsn2\nsn4\n", "")
        sent.append(argv[-1])
        bad = "sn3" in argv[-1] or "," in argv[-1]
        return Completed(tuple(argv), int(bad), "", "Invalid node name specified for job 7" if bad else "")

    monkeypatch.setattr(slurm_release, "run", answer)
    outcome = schedulers.release(SLURM, "7", ["sn1", "sn3"], ["sn2", "sn4"], tmp_path)
    assert outcome.released
    assert sent == ["NodeList=sn[1,3]", "NodeList=sn1"]
