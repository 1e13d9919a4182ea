"""A search of several objectives, from the run function to the Pareto front, over two allocations."""

from __future__ import annotations

import json
import statistics

import pytest
from scenario_bed import Bed, said

PROBLEM = """\
from hpcsearch import HpProblem

Problem = HpProblem()
Problem.add_hyperparameter((0.0, 1.0), "a")
Problem.add_hyperparameter((0.0, 1.0), "b")
"""

#: Good for the one is what is near 0.2, for the other what is near 0.8: the front is the line between them.
TWO = """\
def run(config):
    near, far = (sum((value - middle) ** 2 for value in config.values()) for middle in (0.2, 0.8))
    return {"objective": {"near": 1.0 - near, "far:min": far}, "note": "both"}
"""

#: How far a proposal drawn at random is from the line at the median.
RANDOM = 0.29


def distances(configurations: list[dict[str, float]]) -> list[float]:
    return [abs(one["a"] - one["b"]) for one in configurations]


def test_the_search_goes_by_all_objectives_and_learns_them_again_when_it_is_resumed(bed: Bed) -> None:
    bed.nodes = 1  # with one slot and a seed every run is the same
    search = bed.submit(TWO, "--max-evals", 30, "--seed", 2, "--search", "ambs", problem=PROBLEM, slots=1)
    search.check(30)
    search.resume("--max-evals", 55)
    records = search.check(55)
    resumed = [record.config for record in records[30:]]
    assert statistics.median(distances(resumed)) < RANDOM / 2
    places = [(config["a"] + config["b"]) / 2 for config in resumed]
    assert min(places) < 0.4 and max(places) > 0.55
    shown = bed.command("results", search.name, "--pareto", "--format", "json")
    assert shown.returncode == 0, said(shown)
    front = json.loads(shown.stdout)
    assert len(front) > 8
    pairs = [(entry["metadata"]["near"], entry["metadata"]["far"]) for entry in front]
    assert pairs == sorted(pairs, reverse=True)  # what is worse in the one is better in the other
    assert [far for _, far in pairs] == sorted((far for _, far in pairs), reverse=True)
    assert "ambs goes by all the objectives near, far." in bed.command("results", search.name).stdout


@pytest.mark.parametrize("strategy", ["random", "de"])
def test_other_strategies_keep_all_and_say_what_they_go_by(bed: Bed, strategy: str) -> None:
    search = bed.submit(TWO, "--max-evals", 8, "--search", strategy, problem=PROBLEM)
    assert all(set(record.metadata) == {"near", "far", "objectives", "note"} for record in search.check(8))
    shown = bed.command("results", search.name).stdout
    assert {"random": "random goes by none", "de": "de searches by the first"}[strategy] in shown
