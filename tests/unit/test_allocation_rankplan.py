"""What ranks are told: their environment, and their parts of a node."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from hpcsearch.allocation.rankplan import LIBRARIES, Address, Shape, ranks_of
from hpcsearch.allocation.rankshares import divided, joined
from hpcsearch.errors import AllocationError
from hpcsearch.worker.context import OWN_GPUS
from hpcsearch.worker.protocol import Share

HOSTS = ["n1", "n2"]
SHARE = Share((0, 4, 1, 5, 2, 6, 3, 7), 4, ("0", "1", "2", "3"), True)


def environments(library: str, shape: Shape, at: list[Address], hosts: list[str] = HOSTS) -> list[dict[str, str]]:
    """Of all ranks in turn."""
    ranks = [ranks_of(LIBRARIES[library], shape, node, hosts, at, SHARE) for node in range(shape.nodes)]
    return [rank.environment for each in ranks for rank in each]


@pytest.mark.horovod
@pytest.mark.parametrize("shape", [Shape(1, 1), Shape(2, 1), Shape(1, 2), Shape(2, 3)])
def test_horovods_ranks_get_the_variables_that_its_own_launcher_would_give_them(shape: Shape) -> None:
    hosts: Any = importlib.import_module("horovod.runner.common.util.hosts")
    launcher: Any = importlib.import_module("horovod.runner.gloo_run")
    names = HOSTS[: shape.nodes]
    infos = [hosts.HostInfo(name, shape.ranks_per_node) for name in names]
    theirs = [launcher.create_slot_env_vars(slot) for slot in hosts.get_host_assignments(infos, shape.size)]
    ours = environments("horovod", shape, [Address("10.0.0.1", [4321])] * shape.nodes, names)
    more = {
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": "10.0.0.1",
        "HOROVOD_GLOO_RENDEZVOUS_PORT": "4321",
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
    }
    for own, other in zip(ours, theirs, strict=True):
        del own[OWN_GPUS]
        assert own == {**other, **more}


def test_torchs_ranks_meet_at_the_first() -> None:
    found = environments("torch", Shape(2, 2), [Address("10.0.0.1", [4321]), Address("10.0.0.2")])
    assert {(one["MASTER_ADDR"], one["MASTER_PORT"], one["WORLD_SIZE"]) for one in found} == {("10.0.0.1", "4321", "4")}
    assert [(one["RANK"], one["LOCAL_RANK"], one["GROUP_RANK"]) for one in found] == [
        ("0", "0", "0"),
        ("1", "1", "0"),
        ("2", "0", "1"),
        ("3", "1", "1"),
    ]


def test_tensorflows_ranks_are_a_chief_and_workers() -> None:
    at = [Address("10.0.0.1", [11, 12]), Address("10.0.0.2", [21, 22])]
    found = [json.loads(one["TF_CONFIG"]) for one in environments("tensorflow", Shape(2, 2), at)]
    cluster = {"chief": ["10.0.0.1:11"], "worker": ["10.0.0.1:12", "10.0.0.2:21", "10.0.0.2:22"]}
    assert [one["cluster"] for one in found] == [cluster] * 4
    assert [(one["task"]["type"], one["task"]["index"]) for one in found] == [
        ("chief", 0),
        ("worker", 0),
        ("worker", 1),
        ("worker", 2),
    ]


def test_the_first_ranks_can_be_parameter_servers() -> None:
    at = [Address("10.0.0.1", [11, 12]), Address("10.0.0.2", [21, 22])]
    shape = Shape(2, 2, servers=2)
    found = [json.loads(one["TF_CONFIG"]) for one in environments("tensorflow", shape, at)]
    assert found[0]["cluster"] == {
        "ps": ["10.0.0.1:11", "10.0.0.1:12"],
        "chief": ["10.0.0.2:21"],
        "worker": ["10.0.0.2:22"],
    }
    assert [one["task"]["type"] for one in found] == ["ps", "ps", "chief", "worker"]
    assert shape.chief == 2


def test_parameter_servers_leave_a_rank_to_train() -> None:
    with pytest.raises(AllocationError, match="2 parameter servers leave none of 2 ranks"):
        environments("tensorflow", Shape(1, 2, servers=2), [Address("10.0.0.1", [1, 2])])


def test_ranks_divide_the_cores_of_their_node() -> None:
    first, second = ranks_of(LIBRARIES["torch"], Shape(1, 2), 0, ["n1"], [Address("10.0.0.1", [1])], SHARE)
    assert (first.share.cpus, second.share.cpus) == ((0, 4, 1, 5), (2, 6, 3, 7))
    assert (first.share.threads, second.share.threads) == (2, 2)
    assert (first.rank, second.rank, first.local_rank, second.local_rank) == (0, 1, 0, 1)


def test_a_script_that_takes_its_gpu_by_local_rank_sees_all_of_the_node() -> None:
    ranks = ranks_of(LIBRARIES["horovod"], Shape(1, 2), 0, ["n1"], [Address("10.0.0.1", [1])], SHARE)
    assert [rank.share.gpus for rank in ranks] == [("0", "1", "2", "3")] * 2
    assert [rank.environment[OWN_GPUS] for rank in ranks] == ["0,1", "2,3"]


def test_one_of_tensorflow_which_takes_all_that_it_sees_sees_its_own() -> None:
    ranks = ranks_of(LIBRARIES["tensorflow"], Shape(1, 2), 0, ["n1"], [Address("10.0.0.1", [1, 2])], SHARE)
    assert [rank.share.gpus for rank in ranks] == [("0", "1"), ("2", "3")]


def test_a_share_with_too_few_cpus_for_its_ranks() -> None:
    with pytest.raises(AllocationError, match="3"):
        divided(Share((0, 1), 2, (), True), 3)


def test_shares_that_are_not_bound_stay_so() -> None:
    assert divided(Share((0, 1), 2, (), False), 3) == [Share((0, 1), 1, (), False)] * 3


def test_slots_of_one_node_become_one_share() -> None:
    assert joined([Share((0, 1), 2, ("0",), True), Share((2, 3), 2, ("1",), True)]) == Share(
        (0, 1, 2, 3), 4, ("0", "1"), True
    )
