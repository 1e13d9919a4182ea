"""What the ranks of an evaluation are told, by the library that is to find them: pure functions and one table.

Ranks are numbered node by node. They share their nodes' cores evenly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hpcsearch.allocation.rankshares import divided
from hpcsearch.errors import AllocationError
from hpcsearch.worker.context import OWN_GPUS
from hpcsearch.worker.protocol import Rank, Share


@dataclass(frozen=True)
class Address:
    """Where a node can be reached, and the ports that its agent keeps free there."""

    host: str
    ports: Sequence[int] = ()


@dataclass(frozen=True)
class Place:
    """A rank's numbers: in the evaluation, on its node, and its node's."""

    rank: int
    local_rank: int
    node: int


@dataclass(frozen=True)
class Shape:
    """``nodes`` x ``ranks_per_node`` ranks, of which the first ``servers`` are parameter servers."""

    nodes: int
    ranks_per_node: int
    servers: int = 0

    @property
    def size(self) -> int:
        return self.nodes * self.ranks_per_node

    @property
    def chief(self) -> int:
        """The rank whose value is the objective."""
        return self.servers

    def places(self) -> list[Place]:
        each = self.ranks_per_node
        return [Place(rank, rank % each, rank // each) for rank in range(self.size)]


def _horovod(shape: Shape, place: Place, hosts: Sequence[str], at: Sequence[Address]) -> dict[str, str]:
    return {
        "HOROVOD_HOSTNAME": hosts[place.node],
        "HOROVOD_RANK": str(place.rank),
        "HOROVOD_SIZE": str(shape.size),
        "HOROVOD_LOCAL_RANK": str(place.local_rank),
        "HOROVOD_LOCAL_SIZE": str(shape.ranks_per_node),
        "HOROVOD_CROSS_RANK": str(place.node),
        "HOROVOD_CROSS_SIZE": str(shape.nodes),
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": at[0].host,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(at[0].ports[0]),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
    }


def _torch(shape: Shape, place: Place, hosts: Sequence[str], at: Sequence[Address]) -> dict[str, str]:
    return {
        "MASTER_ADDR": at[0].host,
        "MASTER_PORT": str(at[0].ports[0]),
        "RANK": str(place.rank),
        "WORLD_SIZE": str(shape.size),
        "LOCAL_RANK": str(place.local_rank),
        "LOCAL_WORLD_SIZE": str(shape.ranks_per_node),
        "GROUP_RANK": str(place.node),
    }


def _tensorflow(shape: Shape, place: Place, hosts: Sequence[str], at: Sequence[Address]) -> dict[str, str]:
    where = [f"{at[each.node].host}:{at[each.node].ports[each.local_rank]}" for each in shape.places()]
    roles = {"ps": range(shape.servers), "chief": [shape.chief], "worker": range(shape.chief + 1, shape.size)}
    cluster = {role: [where[rank] for rank in ranks] for role, ranks in roles.items() if ranks}
    role, index = next((role, list(ranks).index(place.rank)) for role, ranks in roles.items() if place.rank in ranks)
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": role, "index": index}})}


@dataclass(frozen=True)
class Library:
    """A library of ranks.

    Args:
        title: its name, as people write it.
        package: what has to be importable.
        served: whether its ranks meet at a server, beside their first node's agent.
        ports: of a node by its number, how many ports to keep free for its ranks.
        parted_gpus: whether a rank is shown its own GPUs alone. Scripts for the others choose theirs among those of the
            node by their local rank, and so must see all of them.
        environment: of a rank, what tells it where the others are.
    """

    title: str
    package: str
    served: bool
    ports: Callable[[Shape, int], int]
    parted_gpus: bool
    environment: Callable[[Shape, Place, Sequence[str], Sequence[Address]], dict[str, str]]


LIBRARIES: Mapping[str, Library] = {
    "horovod": Library("Horovod", "horovod", True, lambda shape, node: 0, False, _horovod),
    "torch": Library("PyTorch", "torch", False, lambda shape, node: int(node == 0), False, _torch),
    "tensorflow": Library(
        "TensorFlow", "tensorflow", False, lambda shape, node: shape.ranks_per_node, True, _tensorflow
    ),
}


def ranks_of(
    library: Library, shape: Shape, node: int, hosts: Sequence[str], at: Sequence[Address], share: Share
) -> list[Rank]:
    """One node's ranks: their places, their parts of the node's share, and their environment.

    Raises:
        AllocationError: the node has too little for them, or parameter servers leave no rank to train.
    """
    if shape.servers >= shape.size:
        raise AllocationError(
            f"{shape.servers} parameter servers leave none of {shape.size} ranks to train.",
            "Ask for more ranks, or for fewer servers with --num-ps.",
        )
    parts = divided(share, shape.ranks_per_node)
    ranks = []
    for place in shape.places():
        if place.node == node:
            own = parts[place.local_rank]
            seen = own.gpus if library.parted_gpus else share.gpus
            environment = {**library.environment(shape, place, hosts, at), OWN_GPUS: ",".join(own.gpus)}
            if not share.gpus:
                del environment[OWN_GPUS]
            part = Share(own.cpus, own.threads, seen, own.bound)
            ranks.append(Rank(place.rank, place.local_rank, part, environment))
    return ranks
