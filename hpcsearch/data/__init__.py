"""Data of evaluations: where the project is, and copies on the node's own storage.

``from hpcsearch import data``
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["copy_to_local", "project_name", "project_path"]


def project_path() -> str:
    """The project's folder, with a slash behind it: ``project_path() + "Resources/train.tfrecords"``.

    It is what ``HPCSEARCH_PROJECT_PATH`` says, else the folder of the project that the current one lies in (made with
    ``hpcsearch start-project``), else the current folder itself. Evaluations begin in the folder of the submission.
    """
    from hpcsearch.project.project import find_project

    named = os.environ.get("HPCSEARCH_PROJECT_PATH")
    if named:
        return os.path.join(named if "://" in named else Path(named).absolute(), "")  # noqa: PTH118 - a URL is no path
    project = find_project(Path.cwd())
    return f"{Path.cwd() if project is None else project.root}/"


def project_name() -> str:
    """The name of the project's folder."""
    return project_path().rstrip("/").rpartition("/")[2]


def copy_to_local(path: str | os.PathLike[str], local_path: str = "") -> str:
    """Copies a file or folder to the node's own storage, once for all processes on the node; gives where it is there.

    The others wait for the one that copies. What has the same size and time as before is not copied again. The copies
    go when the allocation has ended; in a process that is started by hand, with the last one on this machine.

    Args:
        path: a path, relative to :func:`project_path`, or a URL of what fsspec can read: ``s3://``, ``hdfs://``,
            ``http://`` and so on.
        local_path: old calls have it; here the node's storage is the only place.

    Raises:
        HpcsearchError: there is no such file, it cannot be read, or the node's storage has no room for it.
    """
    from hpcsearch.data.sources import source_of
    from hpcsearch.data.staging import staged

    text = os.fspath(path)
    if "://" not in text and not Path(text).is_absolute():
        text = project_path() + text
    return staged(source_of(text))
