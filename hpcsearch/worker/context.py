"""What a run function can ask while it runs: which evaluation it is, where its directory is, how much time is left.

The same calls work where a run function is called by hand: then there is no evaluation, reports go nowhere, and the
time is unlimited.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcsearch.errors import NotFoundError
from hpcsearch.evaluation import Configuration
from hpcsearch.worker.stopping import Ending

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class CurrentEvaluation:
    """The evaluation that this process is working on.

    ``attempt`` counts from 1, and is higher when the evaluation was cut off before: it then finds its own earlier
    files in ``directory``. ``id`` and ``attempt`` are 0 when the run function was called by hand.
    """

    id: int = 0
    attempt: int = 0
    slot: int = 0
    config: Configuration = field(default_factory=dict)
    directory_path: str = "."
    ends_at_s: float = math.inf  # on this host's monotonic clock

    @property
    def directory(self) -> Path:
        """The evaluation's own directory, the same in every attempt; made when first asked for."""
        from pathlib import Path  # the ranks of a launch are waited for: they import what they need

        path = Path(self.directory_path).absolute()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @property
    def time_left_s(self) -> float:
        """Seconds until this evaluation is ended by its time limit or by the walltime; infinite when neither is set."""
        return self.ends_at_s - time.monotonic()


@dataclass(frozen=True)
class World:
    """This process's place among those that work on the evaluation together: by itself it is rank 0 of 1.

    ``hosts`` are the evaluation's nodes, of which this rank's is ``hosts[node_rank]``.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    node_rank: int = 0
    hosts: tuple[str, ...] = field(default_factory=lambda: (os.uname().nodename,))


#: The GPUs that are a rank's own, where all ranks of a node see the same ones.
OWN_GPUS = "HPCSEARCH_OWN_GPUS"

Reporter = Callable[[float | None, dict[str, Any]], None]

_BY_HAND = CurrentEvaluation()

#: In an evaluation's directory: the hyperparameters that are arrays, as files.
ARTIFACTS = "artifacts"


class _Context:
    """The evaluation at hand, where its reports go, when it is to end: set by the slot, read by the calls below."""

    current: CurrentEvaluation = _BY_HAND
    reporter: Reporter | None = None
    world: World | None = None
    ending: Ending = Ending()


def enter(
    current: CurrentEvaluation, reporter: Reporter, world: World | None = None, ending: Ending | None = None
) -> None:
    """Makes ``current`` the evaluation at hand.

    Args:
        current: the evaluation.
        reporter: where its reports go.
        world: this process's place in it, where it has others.
        ending: when it is to end early, and how it learns so; by default never.
    """
    _Context.current, _Context.reporter, _Context.world = current, reporter, world
    _Context.ending = ending or Ending()


def evaluation() -> CurrentEvaluation:
    """The evaluation that the calling process is working on; in a program of an evaluation, too."""
    if _Context.current is _BY_HAND and "HPCSEARCH_DIRECTORY" in os.environ:
        number, configuration = int(os.environ["HPCSEARCH_EVALUATION"]), json.loads(os.environ["HPCSEARCH_CONFIG"])
        return CurrentEvaluation(number, 1, 0, configuration, os.environ["HPCSEARCH_DIRECTORY"])
    return _Context.current


def world() -> World:
    """This process's place among the ranks of its evaluation; the same call works where there is only one."""
    return _Context.world or World()


def num_gpus() -> int:
    """How many GPUs are this process's own: those that its slot or rank was given, or all that the node has."""
    own = os.environ.get(OWN_GPUS)
    if own is not None:
        return len([gpu for gpu in own.split(",") if gpu])
    from hpcsearch.worker.environment import visible_gpus

    return len(visible_gpus(os.environ))


def report(step: float | None = None, **metrics: Any) -> None:
    """Tells how the evaluation is doing: stored with it, soon visible in the database, and read by a stopping rule.

    It costs some microseconds. Of several ranks the first one's reports count.

    Args:
        step: epoch, iteration or any other measure of progress.
        metrics: named values that JSON can hold; numpy scalars are taken as numbers.

    Raises:
        Stopped: a stopping rule has ended this evaluation, and ``--stopping raise`` is how it is told. The run function
            may catch it to clean up, and return or raise it again: the evaluation is STOPPED either way.
    """
    if _Context.reporter is not None:
        _Context.reporter(step, metrics)
    _Context.ending.raise_if_stopped()


def should_stop() -> bool:
    """Whether this evaluation is to end now: a stopping rule has decided so, or its time is about to end.

    What the run function returns after a rule's decision counts as the last value of a STOPPED evaluation. It asks at
    every step, at a cost below a microsecond. Where time is about to end there is enough left to save a checkpoint
    (``--stop-margin``): after that a run function returns what it has, or raises :class:`Stopped` to go on from there
    in another allocation. By hand this is never true.
    """
    return _Context.ending.asked()


def log(text: str) -> None:
    """Writes a line to the evaluation's log, with the time, and with the rank where the evaluation has several.

    Lines of several threads and ranks stay whole. Where a run function is called by hand it is printed.

    Args:
        text: what is written; further lines of it are indented.
    """
    place = f" [rank {_Context.world.rank}]" if _Context.world is not None and _Context.world.size > 1 else ""
    lines = str(text).rstrip("\n").replace("\n", "\n    ")
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')}{place} {lines}\n"
    if _Context.current is _BY_HAND:
        print(line, end="", flush=True)
        return
    sys.stdout.flush()  # what was printed before comes before
    os.write(1, line.encode(errors="backslashreplace"))  # also where something has taken sys.stdout's place


def is_stopped() -> bool:
    """Whether a stopping rule has decided that this evaluation is to end: for what runs a program, and can end it."""
    return _Context.ending.stopped()


def artifact(name: str) -> str:
    """The file of a hyperparameter that is an array, for ``numpy.load``, in a script that a search runs.

    Raises:
        NotFoundError: there is none of that name, or no search runs this script.
    """
    folder = os.environ.get("HPCSEARCH_ARTIFACTS", "")
    path = os.path.join(folder, f"{name}.npy")  # noqa: PTH118
    if not folder or not os.path.exists(path):  # noqa: PTH110
        message = f"There is no array {name!r} for this script."
        raise NotFoundError(message, f"Submit it with an array hyperparameter, as in --hyperparam {name}=0:1:10:a.")
    return path


def save_array(name: str, array: Any) -> None:
    """Keeps an array with the evaluation, in place of one that it saved under that name before.

    The array can be read while the search runs, with ``open_workflow(...).array(evaluation, name)``; results.h5 links
    it. Where a run function is called by hand nothing is saved, and a warning says so.

    Args:
        name: up to 100 letters, digits, dots, dashes and underscores.
        array: whatever numpy makes an array of numbers, truth values or text of.

    Raises:
        UsageError: the name or the array cannot be saved.
    """
    current = evaluation()
    if current is _BY_HAND:
        import warnings

        warnings.warn(f"The array {name!r} is not saved: no evaluation is running here.", stacklevel=2)
        return
    from hpcsearch import arrays  # imports numpy and h5py, which most run functions do without

    arrays.save(current.directory, name, array)
