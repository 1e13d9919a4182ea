"""Hyperparameter search on supercomputers.

The public names are loaded when they are first used, so that importing the package costs nothing.
"""

import sys

TYPE_CHECKING = False  # True for type checkers; to import typing for its own would cost more than all of this module
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from hpcsearch import allreduce, data, devices, experiment, tensorboard, util
    from hpcsearch.evaluation import Resources
    from hpcsearch.problem import HpProblem
    from hpcsearch.program import Command, command
    from hpcsearch.runfunction import resources
    from hpcsearch.submission import submit
    from hpcsearch.worker.context import artifact, evaluation, log, num_gpus, report, save_array, world
    from hpcsearch.workflow import open_workflow

    __version__: str
else:
    ModuleType = type(sys)

__all__ = [
    "Command",
    "HpProblem",
    "Resources",
    "Stopped",
    "allreduce",
    "artifact",
    "command",
    "data",
    "devices",
    "evaluation",
    "experiment",
    "log",
    "num_gpus",
    "open_workflow",
    "report",
    "resources",
    "save_array",
    "should_stop",
    "submit",
    "tensorboard",
    "util",
    "world",
]

#: Public names and the modules that have them.
_HOMES = {
    "Command": "hpcsearch.program",
    "HpProblem": "hpcsearch.problem",
    "Resources": "hpcsearch.evaluation",
    "Stopped": "hpcsearch.worker.stopping",
    "artifact": "hpcsearch.worker.context",
    "command": "hpcsearch.program",
    "evaluation": "hpcsearch.worker.context",
    "log": "hpcsearch.worker.context",
    "num_gpus": "hpcsearch.worker.context",
    "open_workflow": "hpcsearch.workflow",
    "report": "hpcsearch.worker.context",
    "resources": "hpcsearch.runfunction",
    "save_array": "hpcsearch.worker.context",
    "should_stop": "hpcsearch.worker.context",
    "submit": "hpcsearch.submission",
    "world": "hpcsearch.worker.context",
}

#: Public names that are modules.
_MODULES = frozenset({"allreduce", "data", "devices", "experiment", "tensorboard", "util"})

#: Public functions that share their name with a submodule.
_SHARED = frozenset({"evaluation"})


class _CallableModule(ModuleType):
    """A submodule that is also the public function of the same name."""

    def __call__(self) -> object:
        return _public(self.__name__.rpartition(".")[2])()


class _Package(ModuleType):
    """This package. Importing a submodule sets it as an attribute here, over whatever has the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _SHARED and isinstance(value, ModuleType):
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    if name in _SHARED | _MODULES:
        return _module(f"{__name__}.{name}")
    if name in _HOMES:
        return _public(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def _public(name: str) -> "Any":
    return getattr(_module(_HOMES[name]), name)


def _module(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]
