"""From the resources that an evaluation asks for to the slots that it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpcsearch.allocation.nodes import Need
from hpcsearch.errors import AllocationError
from hpcsearch.evaluation import Resources

#: Where memory is asked for, this share of a node's is not given away: it is the system's.
SYSTEMS_MEMORY = 0.05


class Needs:
    """Knows how large a slot is: as large as on the smallest node that has come up.

    Args:
        nodes: how many nodes the allocation has.
        slots: how many slots each of them has.
    """

    def __init__(self, nodes: int, slots: int) -> None:
        self._nodes = nodes
        self._slots = slots
        self._per_slot: dict[str, float] = {}  # cores, gpus, memory_mb

    def node_up(self, facts: Mapping[str, Any]) -> None:
        """A node came up: what its agent found there."""
        gpus = len(facts["gpus"])
        has = {
            "cores": len(facts["cores"]) / self._slots,
            # Where there are fewer GPUs than slots, neighbours share one.
            "gpus": max(1.0, gpus / self._slots) if gpus else 0.0,
            "memory_mb": facts["memory_mb"] * (1 - SYSTEMS_MEMORY) / self._slots,
        }
        self._per_slot = {name: min(amount, self._per_slot.get(name, amount)) for name, amount in has.items()}

    def of(self, resources: Resources) -> Need:
        """The slots that an evaluation takes.

        One on several nodes takes all of each; one on a single node takes as many slots as have its cores, GPUs and
        memory, and one where it names none of them.

        Raises:
            AllocationError: this allocation could never hold it; the message says why.
        """
        if resources.nodes > self._nodes:
            raise AllocationError(f"it asks for {resources.nodes} nodes, and the allocation has {self._nodes}")
        ranks = resources.ranks_per_node
        asked = {"cores": ranks * resources.cores, "gpus": ranks * resources.gpus, "memory_mb": resources.memory_mb}
        slots = max([1, *(self._slots_for(name, amount) for name, amount in asked.items() if amount)])
        return Need(resources.nodes, 0 if resources.nodes > 1 or slots == self._slots else slots)

    def _slots_for(self, name: str, amount: int) -> int:
        if not self._per_slot:
            return 1  # no node is up yet
        each = self._per_slot[name]
        slots = math.ceil(amount / each - 1e-9) if each else self._slots + 1
        if slots > self._slots:
            has = each * self._slots
            raise AllocationError(f"it asks for {amount} {_IN_WORDS[name]} on a node, and a node has {has:.0f}")
        return slots


_IN_WORDS: Mapping[str, str] = {"cores": "cores", "gpus": "GPUs", "memory_mb": "MB of memory"}
