"""Files that were made for one search: they become part of its workflow, which goes by them alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import hpcsearch
from hpcsearch.errors import LoadError


def submit(source: Path) -> hpcsearch.submission.api.Submitted:
    problem, run = source / "problem.py", source / "model_run.py"
    return hpcsearch.submit("poly", str(problem), str(run), walltime_s=600, search="list", source=str(source))


def test_the_files_move_in_with_the_workflow(search_files: Path) -> None:
    source = search_files / "made"
    source.mkdir()
    for name in ("problem.py", "model_run.py"):
        (search_files / name).rename(source / name)
    (source / "parts").mkdir()
    (source / "parts" / "units.txt").write_text("1")
    (source / "model_run.py").write_text(
        "from pathlib import Path\n"
        "def run(config):\n"
        "    return float(Path(__file__).with_name('parts').joinpath('units.txt').read_text()) + config['units']\n"
    )
    submitted = submit(source)
    shutil.rmtree(source)  # whoever made them need not keep them
    submitted.wait()
    workflow = submitted.workflow
    assert [(record.config, record.objective) for record in workflow.records()] == [({"units": 10, "lr": 0.01}, 11.0)]
    assert sorted(path.name for path in (workflow.directory / "source").iterdir()) == [
        *("model_run.py", "parts", "problem.py")
    ]


def test_what_is_refused_leaves_the_files_where_they_were(search_files: Path) -> None:
    (search_files / "model_run.py").write_text("def run(config):\n    return unknown\nraise ValueError('no')\n")
    with pytest.raises(LoadError, match="ValueError: no"):
        submit(search_files)
    assert (search_files / "problem.py").exists() and not (search_files / "workflows").exists()
