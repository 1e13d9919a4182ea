"""Requests against queues: what is refused, and what is said instead."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.errors import LimitError, UsageError
from hpcsearch.sites import NodeShape, Queue, Site, Tier, limits
from hpcsearch.sites.duration import format_duration, parse_duration

HOUR = 3600
POLARIS = Site(
    name="polaris",
    scheduler="pbs",
    required=("account",),
    queues=(
        Queue("debug", tiers=(Tier(1, 2, HOUR),), min_walltime_s=300),
        Queue("debug-scaling", tiers=(Tier(1, 10, HOUR),)),
        Queue("prod", tiers=(Tier(10, 24, 3 * HOUR), Tier(25, 99, 6 * HOUR), Tier(100, 496, 24 * HOUR))),
        Queue("demand", tiers=(Tier(1, 56, 99 * HOUR),), by_request=True),
    ),
)


@pytest.mark.parametrize(
    ("queue", "nodes", "walltime_s", "message"),
    [
        (
            "debug",
            4,
            1800,
            "queue debug takes at most 2 nodes on polaris; for 4 nodes use debug-scaling (up to 1:00:00)",
        ),
        (
            "prod",
            1,
            1800,
            "queue prod takes at least 10 nodes on polaris; "
            "for 1 node use debug (up to 1:00:00) or debug-scaling (up to 1:00:00)",
        ),
        (
            "debug-scaling",
            10,
            2 * HOUR,
            "queue debug-scaling runs 10 nodes for at most 1:00:00 on polaris; for 2:00:00 use prod (up to 3:00:00)",
        ),
        (
            "debug",
            4,
            2 * HOUR,
            "queue debug takes at most 2 nodes on polaris; "
            "for 4 nodes use debug-scaling (up to 1:00:00), but not for 2:00:00",
        ),
        (
            "prod",
            24,
            6 * HOUR,
            "queue prod runs 24 nodes for at most 3:00:00 on polaris; no queue of polaris takes 24 nodes for 6:00:00",
        ),
        (
            "prod",
            600,
            HOUR,
            "queue prod takes at most 496 nodes on polaris; no queue of polaris takes 600 nodes for 1:00:00",
        ),
        ("debug", 1, 60, "queue debug takes no walltime below 0:05:00 on polaris; 0:01:00 is asked for"),
    ],
)
def test_a_refusal_says_what_the_queue_takes_and_which_one_would(
    queue: str, nodes: int, walltime_s: int, message: str
) -> None:
    with pytest.raises(LimitError) as error:
        limits.check_request(POLARIS, queue, nodes, walltime_s, "proj")
    assert error.value.message == message
    assert error.value.hint


@pytest.mark.parametrize(("nodes", "walltime_s"), [(10, 3 * HOUR), (25, 6 * HOUR), (99, 6 * HOUR), (496, 24 * HOUR)])
def test_every_tier_has_its_own_walltime(nodes: int, walltime_s: int) -> None:
    limits.check_request(POLARIS, "prod", nodes, walltime_s, "proj")
    with pytest.raises(LimitError):
        limits.check_request(POLARIS, "prod", nodes, walltime_s + 1, "proj")


def test_a_gap_between_tiers_is_named() -> None:
    site = Site("gap", "slurm", queues=(Queue("q", tiers=(Tier(1, 2, 60), Tier(8, 0, 60))),))
    with pytest.raises(LimitError, match="queue q takes 1 to 2 or 8 and more nodes on gap"):
        limits.check_request(site, "q", 4, 60, "proj")


def test_an_unknown_queue_names_the_nearest_and_all() -> None:
    with pytest.raises(UsageError) as error:
        POLARIS.queue("degub")
    assert "did you mean 'debug'" in error.value.message
    assert "debug, debug-scaling, prod, demand" in error.value.message


def test_a_site_with_open_queues_takes_any_queue() -> None:
    assert Site("slurm", "slurm", open_queues=True).queue("night") == Queue("night", partition="night")


def test_a_required_account_and_senseless_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="account"):
        limits.check_request(POLARIS, "debug", 1, HOUR, account="")
    for nodes, walltime_s in ((0, 60), (1, 0)):
        with pytest.raises(UsageError):
            limits.check_request(POLARIS, "debug", nodes, walltime_s, "proj")


@given(nodes=st.integers(1, 700), walltime_s=st.integers(300, 100 * HOUR), name=st.sampled_from(["debug", "prod"]))
def test_a_queue_that_a_refusal_recommends_takes_the_request(nodes: int, walltime_s: int, name: str) -> None:
    try:
        limits.check_request(POLARIS, name, nodes, walltime_s, "proj")
    except LimitError as error:
        if " use " in error.message and "but not" not in error.message:
            recommended = error.message.split(" use ")[1].split(" (")[0]
            limits.check_request(POLARIS, recommended, nodes, walltime_s, "proj")
            assert recommended != "demand"


@given(st.integers(0, 10**8))
def test_durations_go_round(duration_s: int) -> None:
    assert parse_duration(format_duration(duration_s)) == duration_s


def test_durations_with_days_and_without_sense() -> None:
    assert parse_duration("2-00:30:00") == 2 * 86400 + 1800
    for text in ("90", "1:90:00", "", "1:00", "-1:00:00"):
        with pytest.raises(ValueError, match="duration"):
            parse_duration(text)


def test_chains_are_checked_against_the_queue() -> None:
    queues = (Queue("debug", chain=False), Queue("few", max_jobs=2), Queue("one", max_jobs=1), Queue("any"))
    site = Site("hill", "slurm", queues=queues)
    limits.check_chain(site, "debug", 1)
    limits.check_chain(site, "few", 2)
    limits.check_chain(site, "any", 9)
    refusals = {"debug": "is not for allocations that follow", "few": "takes 2 jobs", "one": "takes 1 job of"}
    for queue, words in refusals.items():
        with pytest.raises(LimitError, match=words):
            limits.check_chain(site, queue, 3)


def test_a_node_has_a_cpu_for_each_evaluation() -> None:
    """Of what the site file says, and on site local of what this machine has; unknown is what no file says."""
    queue = Queue("q")
    site = Site("hill", "slurm", queues=(queue,), node=NodeShape(cores=4, threads_per_core=2, reserved_cores=(0, 4)))
    limits.check_slots(site, "q", 6, True)
    with pytest.raises(
        LimitError, match=r"7 evaluations at once on one node need 7 CPUs; a node of hill has 6"
    ) as caught:
        limits.check_slots(site, "q", 7, True)
    assert "--no-bind" in caught.value.hint and "--evals-per-node 6" in caught.value.hint
    limits.check_slots(site, "q", 7, False)
    limits.check_slots(replace(site, node=NodeShape()), "q", 700, True)
    here = replace(site, scheduler="local", node=NodeShape())
    limits.check_slots(here, "q", len(os.sched_getaffinity(0)), True)
    with pytest.raises(LimitError):
        limits.check_slots(here, "q", len(os.sched_getaffinity(0)) + 1, True)
