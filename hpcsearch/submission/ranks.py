"""What data-parallel evaluations need of this machine's environment, which nodes share."""

from __future__ import annotations

import importlib.util

from hpcsearch import horovod
from hpcsearch.errors import UsageError
from hpcsearch.submission.request import Request

#: The packages that have to be there, and how one gets them. Not only TensorFlow itself reads TF_CONFIG.
_PACKAGES = {
    "horovod": ("Horovod", "tools/install-horovod in hpcsearch's repository builds it: see docs/horovod.rst."),
    "torch": ("PyTorch", "Type pip install torch."),
}


def refuse_missing_library(request: Request) -> None:
    """Raises UsageError where the library that is to find an evaluation's ranks is not installed."""
    title, hint = _PACKAGES.get(request.data_parallel or "", ("", ""))
    if title and importlib.util.find_spec(request.data_parallel or "") is None:
        raise UsageError(f"--data-parallel {request.data_parallel} needs {title}, which is not installed here.", hint)


def started_by_mpi(request: Request) -> bool:
    """Whether job mode mpi starts the ranks: of a Horovod that was built with MPI, which needs nothing else then."""
    if request.job_mode != "mpi" or request.data_parallel != "horovod":
        return False
    return horovod.build().mpi
