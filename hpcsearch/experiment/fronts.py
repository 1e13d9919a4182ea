"""The experiments: each makes a plan of what is asked for, and begins it."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from hpcsearch.errors import UsageError
from hpcsearch.experiment import space as spaces
from hpcsearch.experiment.place import Place, check_options, current
from hpcsearch.experiment.program import program_of
from hpcsearch.experiment.result import Experiment
from hpcsearch.experiment.running import Plan, begin

Front = TypeVar("Front", bound=Callable[..., Experiment])
Training = Callable[..., Any]
Values = Mapping[str, Sequence[Any]]

#: What old notebooks say and nothing here needs.
_OLD = ("local_logdir", "versioned_resources", "description", "cleanup_generations")


#: Old names of parameters.
_ALSO = ("popsize",)


def _front(front: Front) -> Front:
    """Accepts what old calls have: a Spark session before everything else, and options that mean nothing here."""

    @functools.wraps(front)
    def call(*arguments: Any, **options: Any) -> Experiment:
        if arguments and _is_session(arguments[0]):
            arguments = arguments[1:]
        for name in _OLD:
            if name in options:
                print(f"{front.__name__}: {name} means nothing here.", flush=True)
                del options[name]
        if options.get("name") == "no-name":
            del options["name"]
        check_options(options, (*inspect.signature(front).parameters, *_ALSO))
        return front(*arguments, **options)

    return cast("Front", call)


def _is_session(value: Any) -> bool:
    ours = (str, bytes, os.PathLike, Mapping, Sequence, int, float, type(None))
    return not callable(value) and not isinstance(value, ours)


def _place(options: Mapping[str, Any]) -> Place:
    return current().but(**options)


@_front
def launch(function: Training, args_dict: Values | None = None, direction: str = "max", **options: Any) -> Experiment:
    """Calls a function once, or once for each position of some lists: all first values, all second values, and so on.

    Args:
        function: what to call; it may return a metric.
        args_dict: the function's arguments, a list for each, all of the same length.
        direction: whether a ``"max"`` or ``"min"`` metric is best.
        options: those of :func:`on`, for this call.

    Raises:
        HpcsearchError: it was refused, or every call has failed.
    """
    space = spaces.zipped(args_dict) if args_dict is not None else spaces.single(getattr(function, "__name__", "call"))
    plan = Plan("Launch", space, "list", len(space.points), direction, needs_metric=False)
    return begin(function, plan, _place(options))


@_front
def grid_search(function: Training, args_dict: Values, direction: str = "max", **options: Any) -> Experiment:
    """Calls a function with every combination of values, the last key's fastest.

    Args:
        function: returns the metric.
        args_dict: the function's arguments, a list of values for each.
        direction: whether a ``"max"`` or ``"min"`` metric is best.
        options: those of :func:`on`, for this call.

    Raises:
        HpcsearchError: it was refused, or every call has failed.
    """
    space = spaces.product(args_dict)
    return begin(function, Plan("Grid search", space, "list", len(space.points), direction), _place(options))


@_front
def random_search(
    function: Training, boundary_dict: Values, direction: str = "max", samples: int = 10, **options: Any
) -> Experiment:
    """Calls a function with configurations drawn at random, no two of them the same.

    Args:
        function: returns the metric.
        boundary_dict: for each argument ``[lower, upper]``, ``[lower, upper, "log"]``, or a list of choices.
        direction: whether a ``"max"`` or ``"min"`` metric is best.
        samples: how many.
        options: those of :func:`on`, for this call.

    Raises:
        HpcsearchError: it was refused, or every call has failed.
    """
    _at_least("samples", samples, 1)
    plan = Plan("Random search", spaces.bounded(boundary_dict), "random", samples, direction)
    return begin(function, plan, _place(options))


@_front
def differential_evolution(
    function: Training,
    boundary_dict: Values,
    direction: str = "max",
    generations: int = 10,
    population: int = 10,
    mutation: float = 0.5,
    crossover: float = 0.7,
    **options: Any,
) -> Experiment:
    """Evolves a population of configurations; there is no waiting for the end of a generation.

    Args:
        function: returns the metric.
        boundary_dict: for each argument ``[lower, upper]``, ``[lower, upper, "log"]``, or a list of choices.
        direction: whether a ``"max"`` or ``"min"`` metric is best.
        generations: how many times ``population`` configurations are tried, those at the beginning included.
        population: how many configurations live at a time; 4 at least.
        mutation: how far the difference of two is added to a third one.
        crossover: how probably an argument comes from there.
        options: those of :func:`on`, for this call; ``popsize`` is the old name of ``population``.

    Raises:
        HpcsearchError: it was refused, or every call has failed.
    """
    population = options.pop("popsize", population)
    _at_least("generations", generations, 1)
    _at_least("population", population, 4)
    arguments = {"population": population, "mutation": mutation, "crossover": crossover}
    space = spaces.bounded(boundary_dict)
    plan = Plan("Differential evolution", space, "de", generations * population, direction, arguments)
    return begin(function, plan, _place(options))


evolutionary_search = differential_evolution


@_front
def allreduce(
    function: Training | str | os.PathLike[str],
    ranks: int | None = None,
    nodes: int | None = None,
    library: str = "horovod",
    **options: Any,
) -> Experiment:
    """Runs a function, a notebook or a program once, as several ranks that train one model together.

    Each rank finds the others as the library does: after ``hvd.init()``, for one. What the first one returns, if
    anything, is the metric.

    Args:
        function: what to run, or the path of a notebook (``.ipynb``) or program (``.py``).
        ranks: how many, on all nodes together; by default one on each node, and here as many as GPUs or cores.
        nodes: how many nodes; by default those of the place that experiments run on.
        library: what the ranks find each other with: ``horovod``, ``torch`` or ``tensorflow``.
        options: those of :func:`on`, for this call.

    Raises:
        HpcsearchError: it was refused, or it has failed.
    """
    return _together("Allreduce", function, ranks, nodes, {"data_parallel": library, **options})


@_front
def parameter_server(
    function: Training | str | os.PathLike[str],
    num_ps: int = 1,
    ranks: int | None = None,
    nodes: int | None = None,
    **options: Any,
) -> Experiment:
    """Runs a function once, as several ranks of TensorFlow of which some hold the parameters; ``TF_CONFIG`` says which.

    Args:
        function: what to run, or the path of a notebook or program.
        num_ps: how many of the ranks are parameter servers; they end with the others.
        ranks: how many in all; by default two beside the parameter servers, in all a multiple of ``nodes``.
        nodes: how many nodes; by default those of the place that experiments run on.
        options: those of :func:`on`, for this call.

    Raises:
        HpcsearchError: it was refused, or it has failed.
    """
    nodes = current().nodes if nodes is None else nodes
    _at_least("num_ps", num_ps, 1)
    _at_least("nodes", nodes, 1)
    ranks = math.ceil((num_ps + 2) / nodes) * nodes if ranks is None else ranks
    if ranks <= num_ps:
        raise UsageError(f"Of {ranks} ranks {num_ps} cannot be parameter servers: one at least has to train.")
    more = {"data_parallel": "tensorflow", "num_ps": num_ps, **options}
    return _together("Parameter server", function, ranks, nodes, more)


def _together(title: str, what: Any, ranks: int | None, nodes: int | None, options: Mapping[str, Any]) -> Experiment:
    place = current()
    nodes = place.nodes if nodes is None else nodes
    _at_least("nodes", nodes, 1)
    if ranks is None:
        ranks = nodes * (max(2, place.at_once) if place.here else 1)
    _at_least("ranks", ranks, 1)
    if ranks % nodes:
        even = math.ceil(ranks / nodes) * nodes
        raise UsageError(f"{ranks} ranks cannot be shared evenly by {nodes} nodes.", f"Write ranks={even}.")
    function = program_of(what) if isinstance(what, str | os.PathLike) else what
    plan = Plan(title, spaces.single(title.lower()), "list", 1, needs_metric=False)
    shape = {"nodes": nodes, "nodes_per_eval": nodes, "ranks_per_node": ranks // nodes, "evals_per_node": 1}
    return begin(function, plan, place.but(**{**shape, **options}))


def _at_least(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name}={value!r} makes no sense: it must be a whole number, {least} or more.")
