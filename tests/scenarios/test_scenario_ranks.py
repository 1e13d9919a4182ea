"""Evaluations with several ranks: real training with Horovod and PyTorch, and what goes wrong there."""

from __future__ import annotations

from typing import Any

import pytest
from scenario_bed import Bed, Search, until

from hpcsearch.evaluation import State
from hpcsearch.workflow.workflow import Record

#: A small model on scikit-learn's digits. Trained on all rows by one process, it is what ranks must come to that each
#: have a part of the rows, as long as they average their gradients.
TRAINING = """
import os, signal, time
import hpcsearch
import numpy as np
import torch
from sklearn.datasets import load_digits

ROWS, STEPS = 1280, 4
digits = load_digits()
x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)

def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10))

def train(model, optimizer, rows):
    for step in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()

def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)

def weights(model):
    return torch.cat([each.detach().flatten() for each in model.parameters()])

def outcome(model, everybodys):
    alone = network(0)
    train(alone, sgd(alone), slice(0, ROWS))
    return {
        "objective": (model(x[ROWS:]).argmax(1) == y[ROWS:]).float().mean(),
        "identical": all(torch.equal(one, everybodys[0]) for one in everybodys),
        "distance": (weights(model) - weights(alone)).abs().max(),
        "size": hpcsearch.world().size, "hosts": hpcsearch.world().hosts,
    }
"""

HOROVOD = (
    TRAINING
    + """
os.environ["HOROVOD_GLOO_TIMEOUT_SECONDS"] = "5"
import horovod.torch as hvd

def run(config):
    how = config["how"]
    hvd.init()
    print("rank", hvd.rank(), "of", hvd.size())
    if hvd.rank() == 1 and how == "raise":
        raise ValueError("no luck")
    if hvd.rank() == 1 and how in ("SIGKILL", "SIGSTOP"):
        os.kill(os.getpid(), getattr(signal, how))
    if how == "hang":
        hvd.allreduce(torch.ones(1), name=f"only rank {hvd.rank()} has this")
    model = network(hvd.rank())
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    optimizer = sgd(model)
    if how != "alone":
        optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
    train(model, optimizer, slice(hvd.rank(), ROWS, hvd.size()))
    gathered = hvd.allgather(weights(model)[None], name="weights")
    return outcome(model, list(gathered)) if hvd.rank() == 0 else "nothing of interest"
"""
)

TORCH = (
    TRAINING
    + """
import torch.distributed as dist

def run(config):
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    model = network(rank)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    train(parallel, sgd(model), slice(rank, ROWS, size))
    gathered = [torch.zeros_like(weights(model)) for _ in range(size)]
    dist.all_gather(gathered, weights(model))
    return outcome(model, gathered)
"""
)

#: Each rank listens where TF_CONFIG says, and connects to all others: what TensorFlow's servers do, which is not here.
ROLES = """
import json, os, socket, time
import hpcsearch

def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)

def run(config):
    here = json.loads(os.environ["TF_CONFIG"])
    cluster, role, index = here["cluster"], here["task"]["type"], here["task"]["index"]
    print(role, index)
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address(cluster[role][index]))
    server.listen()
    everybody = [each for addresses in cluster.values() for each in addresses]
    for other in everybody:
        while True:
            try:
                socket.create_connection(address(other)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
    for _ in everybody:
        server.accept()
    if role == "ps":
        time.sleep(600)
    return {"objective": hpcsearch.world().rank, "roles": {name: len(each) for name, each in cluster.items()}}
"""


def problem(**choices: list[Any]) -> str:
    lines = [f"Problem.add_hyperparameter({values!r}, {name!r})" for name, values in choices.items()]
    return "\n".join(["from hpcsearch import HpProblem", "Problem = HpProblem()", *lines, ""])


def ranks(bed: Bed, library: str) -> list[object]:
    """The options for two ranks: on two of four nodes, or on the one that there is."""
    shape = ["--nodes-per-eval", 2] if bed.nodes > 1 else ["--ranks-per-node", 2, "--no-bind"]
    return ["--data-parallel", library, *shape, "--search", "grid", "--max-attempts", 1]


def failure(record: Record) -> tuple[str, str]:
    assert record.failure is not None
    return record.failure.kind, record.failure.message


def at_once(search: Search) -> int:
    """How many evaluations ran at the same time."""
    rows = search.rows("evaluation")
    return max(
        sum(other["started_at"] <= row["started_at"] < other["ended_at"] for other in rows)
        for row in rows
        if row["started_at"]
    )


@pytest.mark.horovod
@pytest.mark.timeout(300)
@pytest.mark.beds("local", "slurm")
def test_ranks_of_horovod_train_together_and_end_together(bed: Bed) -> None:
    # Each takes seconds to import PyTorch: one bed has what takes time, the other what ends at once.
    ways = ["averaged", "alone", *(["SIGKILL", "raise"] if bed.nodes > 1 else ["SIGSTOP", "hang"])]
    options = [*ranks(bed, "horovod"), "--eval-timeout", 30]
    search = bed.submit(HOROVOD, *options, problem=problem(how=ways), slots=1, wait=False)
    until(lambda: search.ended() == len(ways), f"all have ended:\n{search.log()}", limit_s=240.0)
    search.await_exit()
    found = {record.config["how"]: record for record in search.check(len(ways))}

    averaged = found["averaged"]
    assert averaged.state is State.FINISHED, averaged.failure
    assert averaged.metadata["size"] == 2 and averaged.metadata["identical"] is True
    assert averaged.metadata["distance"] < 1e-5 and averaged.objective is not None and averaged.objective > 0.3
    assert len(averaged.metadata["hosts"]) == min(2, bed.nodes)
    alone = found["alone"]  # the same without DistributedOptimizer: what is compared here would tell
    assert alone.metadata["identical"] is False and alone.metadata["distance"] > 1e-3
    for how, (kind, words) in _FAILURES.items():
        if how in found:
            assert failure(found[how])[0] == kind and words in failure(found[how])[1], failure(found[how])
            assert "rank 1 on " in failure(found[how])[1] or how == "hang"

    assert search.printed(averaged.id) == b"rank 0 of 2\n"
    assert (search.layout.evaluation(averaged.id) / "log.rank1").read_bytes() == b"rank 1 of 2\n"
    assert at_once(search) == (2 if bed.nodes > 1 else 1)


#: What is said of each: the kind of failure, and some of its words.
_FAILURES = {
    "raise": ("ValueError", "no luck"),
    "SIGKILL": ("SIGKILL", "killed by signal 9"),
    "SIGSTOP": ("HorovodInternalError", "had not ended: it may have been stopped"),
    "hang": ("Timeout", "longer than its time limit of 30 s"),
}


@pytest.mark.horovod
@pytest.mark.beds("local")
def test_ranks_of_pytorch_come_to_the_same(bed: Bed) -> None:
    search = bed.submit(TORCH, *ranks(bed, "torch"), problem=problem(how=["averaged"]), slots=1)
    (record,) = search.check(1)
    assert record.state is State.FINISHED, record.failure
    assert record.metadata["identical"] is True and record.metadata["distance"] < 1e-5


@pytest.mark.beds("local", "slurm")
def test_ranks_of_tensorflow_have_roles_and_addresses(bed: Bed) -> None:
    options = [*ranks(bed, "tensorflow"), "--num-ps", 1]
    if bed.nodes > 1:
        options += ["--ranks-per-node", 2]
    search = bed.submit(ROLES, *options, problem=problem(how=["a", "b"]), slots=1)
    for record in search.check(2):
        assert (record.state, record.objective) == (State.FINISHED, 1.0), record.failure
        size = 4 if bed.nodes > 1 else 2
        others = {"worker": size - 2} if size > 2 else {}
        assert record.metadata["roles"] == {"ps": 1, "chief": 1, **others}
        assert search.printed(record.id) == b"chief 0\n"
        assert (search.layout.evaluation(record.id) / "log.rank0").read_bytes() == b"ps 0\n"
