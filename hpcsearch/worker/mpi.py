"""A run function under MPI: every rank calls it with the same configuration, and rank 0's value is the objective."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any, NoReturn

from hpcsearch.errors import HpcsearchError
from hpcsearch.evaluation import State
from hpcsearch.reference import Reference, load, text_of
from hpcsearch.runfunction import as_run_function
from hpcsearch.worker import context, telling
from hpcsearch.worker.evaluating import evaluate
from hpcsearch.worker.rank import ABORT_AFTER_S, TOLD, _failure
from hpcsearch.worker.stopping import Ending, SharedFlag, ending
from hpcsearch.worker.worldsize import in_world_of


class _Rank:
    """This process among the others.

    Args:
        orders: the evaluation's.
        rank: its number.
        host: its node.
    """

    def __init__(self, orders: dict[str, Any], rank: int, host: str) -> None:
        self._rank, self._host = rank, host
        # Standard output is for what is told; what the run function prints goes where errors go.
        self._told = os.dup(1)
        os.dup2(2, 1)
        for stream in (sys.stdout, sys.stderr):  # whole lines: those of all ranks come together
            getattr(stream, "reconfigure", lambda **_: None)(line_buffering=True, write_through=False)
        if rank == 0:
            self.tell([telling.PRESENT])
        self.comm = self._world(orders["size"], orders["launcher"])

    def _world(self, size: int, launcher: str) -> Any:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            self.fail("ImportError", f"mpi4py cannot be used: {text_of(error)}; type pip install 'hpcsearch[mpi]'")
        comm = MPI.COMM_WORLD
        if comm.size != size:
            library = MPI.Get_library_version().splitlines()[0].strip("\0 ")
            self.fail(
                "WorldSizeError",
                f"MPI has {comm.size} rank{'s' * (comm.size != 1)} where the evaluation has {size}: the launcher "
                f"{launcher} does not fit this MPI library ({library}). {telling.FITTING}",
            )
        return comm

    def tell(self, message: list[Any]) -> None:
        telling.say(self._told, message)

    def fail(self, kind: str, message: str, traceback: str = "") -> NoReturn:
        """Ends the evaluation, on all ranks."""
        self.tell([telling.FAILED, self._rank, self._host, {**_failure(kind, message), "traceback": traceback}])
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(ABORT_AFTER_S)
        module = sys.modules.get("mpi4py.MPI")
        if module is not None:
            module.COMM_WORLD.Abort(TOLD)
        os._exit(TOLD)

    def ending(self, orders: dict[str, Any]) -> Ending:
        """All ranks ask at the same steps, and get rank 0's answer."""
        comm = self.comm
        if self._rank:
            return Ending(lambda: _state(comm.bcast(None)), raising=orders["stop_raises"])
        own = ending(
            SharedFlag(orders["flag"]).of(orders["id"]),
            time.monotonic() + orders["time_left_s"],
            orders["timeout_s"],
            orders["stop_margin_s"],
            orders["stop_raises"],
        )

        def flag() -> State | None:
            state = own.flag()
            if state is None and time.monotonic() >= own.at_s:
                state = own.at_state
            return _state(comm.bcast(state))

        return Ending(flag, raising=orders["stop_raises"])


def _state(value: str | None) -> State | None:
    return None if value is None else State(value)


def work(orders: dict[str, Any], rank: int, local_rank: int, host: str) -> None:
    """Evaluates with all other ranks; does not return where that fails."""
    me = _Rank(orders, rank, host)
    comm = me.comm
    text = None
    if rank == 0:
        with open(orders["configuration"], encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs more to import
            text = file.read()
    configuration = json.loads(comm.bcast(text))
    os.chdir(orders["cwd"])
    try:
        loaded = load(Reference.parse(orders["run"], "run", orders["cwd"]))
        run = as_run_function(loaded, orders["names"] or None, comm)
    except HpcsearchError as error:
        me.fail(type(error).__name__, error.message, error.hint)
    ends_at_s = time.monotonic() + min(orders["time_left_s"], orders["timeout_s"] or math.inf)
    stop = me.ending(orders)
    nodes = orders["hosts"]
    node_rank = nodes.index(host) if host in nodes else rank // orders["per_node"]
    context.enter(
        context.CurrentEvaluation(
            orders["id"], orders["attempt"], orders["slot"], configuration, orders["directory"], ends_at_s
        ),
        (lambda step, metrics: me.tell([telling.REPORT, step, time.time(), metrics])) if rank == 0 else _nowhere,
        context.World(rank, orders["size"], local_rank, orders["per_node"], node_rank, tuple(nodes)),
        stop,
    )
    if rank == 0:
        me.tell([telling.BEGUN, time.time()])
    comm.Barrier()  # before rank 0 has told this, no other rank may die of what the run function does
    end = evaluate(in_world_of(orders["size"], run, rank == 0), configuration, stop)
    state, failure = end[0], end[-1]
    if state == State.FAILED.value:
        me.fail(failure["kind"], failure["message"], failure["traceback"])
    comm.Barrier()  # where another rank fails, this is where the others are ended
    if rank == 0:
        me.tell([telling.ENDED, *end])


def _nowhere(_step: float | None, _metrics: dict[str, Any]) -> None:
    """The reports of other ranks than the first do not count."""
