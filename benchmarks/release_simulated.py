"""Early release, simulated: node-seconds held, and the search's length, by rule, for log-normal durations.

The program's own table of nodes, choice of nodes for the last round and choice of nodes to give back run against a
clock that jumps from end to end: starting an evaluation and giving a node back take no time here. Compared are

* hold: nodes stay to the end;
* fullest: what is left goes to the first node and the fullest ones once it is smaller than the free slots;
* tail: what the driver does (hpcsearch/allocation/tail.py);
* clairvoyant: durations are known, the longest begin first, and slots that end together share a node.

Each is divided by ``least_held_s``, which no run can be below.

    python benchmarks/release_simulated.py [--seeds 50] [--first-seed 1000] [--nodes 4,16,64] [--rounds 0,1,4]
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

from common import median, table

from hpcsearch.allocation.durations import Durations
from hpcsearch.allocation.nodes import NodeTable, Placement
from hpcsearch.allocation.release import surplus
from hpcsearch.allocation.tail import ROUND, Tail

FIRST = "n0"
#: Seconds: longer than what a driver does between two events.
MEDIAN_S = 60.0
SIGMAS, SLOTS, BUDGETS = (0.5, 1.0, 1.5), (1, 2, 4, 8), (4, 8, 16)

#: Names the nodes that take what is left, by the table, where evaluations run since when, what is left, the durations
#: and the time; None: all do.
Rule = Callable[[NodeTable, dict[Placement, float], int, Durations, float], list[str] | None]


def least_held_s(seconds: Sequence[float], slots: int) -> float:
    """Node-seconds that any run of these durations holds at least, whatever it knows and however long it takes.

    The first node is held to the end, so for no less than the longest evaluation takes. While it is held it can do
    ``slots`` times as many slot-seconds; all others are done on other nodes, each of which does ``slots`` a second at
    most. Hence the busy slot-seconds divided by the slots of a node, plus what the first node must be held for beyond
    its own share of them: nothing, unless the longest takes more than that quotient. ``clairvoyant`` shows how nearly
    it can be reached.
    """
    return max(sum(seconds) / slots, max(seconds))


def clairvoyant(seconds: Sequence[float], nodes: int, slots: int) -> tuple[float, float]:
    """Node-seconds held and length of a run that knows all durations, and is to be as short as can be.

    The longest evaluation takes the slot that is free first; then slots are sorted by their ends, and those that end
    last are the first node's.
    """
    ends = [0.0] * (nodes * slots)
    for duration_s in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + duration_s)
    ends.sort(reverse=True)
    return sum(ends[::slots]), ends[0]


def simulate(seconds: Sequence[float], nodes: int, slots: int, rule: Rule) -> tuple[float, float]:
    """Node-seconds held and length (seconds) of a run whose evaluations take so long, in this order."""
    nodes_held = NodeTable()
    for number in range(nodes):
        nodes_held.add(f"n{number}", slots)
    durations, now_s, held_s = Durations(), 0.0, 0.0
    waiting, ends, begun_s = list(reversed(seconds)), list[tuple[float, int, Placement]](), dict[Placement, float]()
    while True:
        takers = rule(nodes_held, begun_s, len(waiting), durations, now_s)
        while waiting:
            placement = nodes_held.place(1) if takers is None else nodes_held.place_on(takers)
            if placement is None:
                break
            begun_s[placement] = now_s
            heapq.heappush(ends, (now_s + waiting.pop(), len(waiting), placement))
        takers = rule(nodes_held, begun_s, len(waiting), durations, now_s)
        for name in [] if takers is None else surplus(nodes_held, takers):
            held_s += now_s
            nodes_held.remove(name)
        if not ends:
            return held_s + now_s * len(nodes_held.nodes), now_s
        now_s, _, placement = heapq.heappop(ends)
        nodes_held.leave(placement)
        durations.add(now_s - begun_s.pop(placement))


def hold(*_: object) -> list[str] | None:
    """Nodes stay to the end."""
    return None


def fullest(nodes: NodeTable, begun_s: object, left: int, durations: object, now_s: object) -> list[str] | None:
    """The first node and the fullest ones, once fewer evaluations are left than slots are free."""
    if left >= max(1, nodes.free):
        return None
    order = [node.name for node in sorted(nodes.nodes.values(), key=lambda node: (node.name != FIRST, -node.busy))]
    free = itertools.accumulate(nodes.nodes[name].slots - nodes.nodes[name].busy for name in order)
    return order[: 1 + sum(count < left for count in free)]


def tail(round_: float) -> Rule:
    """What the driver does."""
    policy = Tail(FIRST, round_)
    return lambda nodes, begun_s, left, durations, now_s: policy.takers(nodes, begun_s.items(), left, durations, now_s)


def draw(seed: int, count: int, sigma: float) -> list[float]:
    """Log-normal durations (seconds)."""
    source = random.Random(f"{seed}/{count}/{sigma}")
    return [MEDIAN_S * math.exp(sigma * source.gauss(0, 1)) for _ in range(count)]


def mean(values: Sequence[float]) -> float:
    """The mean."""
    return sum(values) / len(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=1000, help="the rule was chosen on those below 1000")
    parser.add_argument("--nodes", default="4,16,64")
    parser.add_argument("--rounds", default=str(ROUND), help="evaluations a slot with which the last round begins")
    chosen = parser.parse_args()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    rounds = [float(word) for word in chosen.rounds.split(",")]
    names = ["hold", "fullest", *(f"tail {round_:g}" for round_ in rounds), "clairvoyant"]
    for sigma in SIGMAS:
        held: dict[tuple[int, int, str], list[float]] = defaultdict(list)
        spans: dict[tuple[int, int, str], list[float]] = defaultdict(list)
        for nodes, slots, budget, seed in itertools.product(
            [int(word) for word in chosen.nodes.split(",")], SLOTS, BUDGETS, seeds
        ):
            seconds = draw(seed, budget * nodes * slots, sigma)
            least_s = least_held_s(seconds, slots)
            runs = [simulate(seconds, nodes, slots, rule) for rule in (hold, fullest, *map(tail, rounds))]
            for name, (held_s, span_s) in zip(names, [*runs, clairvoyant(seconds, nodes, slots)], strict=True):
                assert held_s > 0.999999 * least_s
                held[nodes, slots, name].append(held_s / least_s)
                spans[nodes, slots, name].append(span_s / runs[0][1])
        keys = list(dict.fromkeys(key[:2] for key in held))
        table(
            f"sigma {sigma}, {chosen.seeds} seeds, budgets of {BUDGETS} evaluations a slot: node-seconds held / least "
            "(mean; median), and length / length of hold (mean)",
            ["nodes", "slots", *(f"{name}" for name in names), *(f"length {name}" for name in names[2:])],
            [
                [
                    *key,
                    *(f"{mean(held[*key, name]):.3f}; {median(held[*key, name]):.3f}" for name in names),
                    *(f"{mean(spans[*key, name]):.3f}" for name in names[2:]),
                ]
                for key in keys
            ],
        )


if __name__ == "__main__":
    main()
