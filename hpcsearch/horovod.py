"""What the Horovod of this environment was built with; asked for in a process of its own, since it loads PyTorch."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from typing import Any

from hpcsearch.errors import HpcsearchError
from hpcsearch.schedulers.command import run

_LIMIT_S = 120.0

_ASK = """
import importlib, json
import horovod
frameworks, built = [], {}
for name in ("torch", "tensorflow", "mxnet"):
    try:
        library = importlib.import_module("horovod." + name)
    except ImportError:
        continue
    frameworks.append(name)
    built = {how: bool(getattr(library, how + "_built")()) for how in ("gloo", "mpi", "nccl")}
print(json.dumps({"version": horovod.__version__, "frameworks": frameworks, "built": built}))
"""

_TITLES = {
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "mxnet": "MXNet",
    "gloo": "Gloo",
    "mpi": "MPI",
    "nccl": "NCCL",
}

_HINT = "tools/install-horovod builds it for the PyTorch that is here: see docs/horovod.rst"


class HorovodError(HpcsearchError):
    """Horovod is not there, or cannot be used."""


@dataclass(frozen=True)
class Build:
    """A Horovod: which frameworks can use it, and how its ranks find and reach each other."""

    version: str
    frameworks: tuple[str, ...]
    gloo: bool
    mpi: bool
    nccl: bool

    def __str__(self) -> str:
        has = [name for name in ("gloo", "mpi", "nccl") if getattr(self, name)]
        lacks = [name for name in ("gloo", "mpi", "nccl") if not getattr(self, name)]
        without = f", without {_listed(lacks)}" if lacks else ""
        return f"Horovod {self.version} for {_listed(self.frameworks)}, built with {_listed(has)}{without}"


def _listed(names: Any) -> str:
    return " and ".join(_TITLES[name] for name in names)


def is_installed() -> bool:
    """Whether it is there at all; nothing is loaded."""
    return importlib.util.find_spec("horovod") is not None


def build() -> Build:
    """Asks Horovod; takes some seconds.

    Raises:
        HorovodError: it is not installed, or works with no framework that is here.
    """
    if not is_installed():
        raise HorovodError("Horovod is not installed here.", _HINT)
    done = run([sys.executable, "-c", _ASK], _LIMIT_S)
    lines = done.stdout.strip().splitlines()
    if done.status or not lines:
        raise HorovodError(
            f"Horovod cannot be loaded: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}", _HINT
        )
    facts = json.loads(lines[-1])
    if not facts["frameworks"]:
        raise HorovodError(f"Horovod {facts['version']} cannot be loaded by any framework that is here.", _HINT)
    return Build(facts["version"], tuple(facts["frameworks"]), **facts["built"])
