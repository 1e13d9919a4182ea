"""Every command in the pages is run, in an empty directory and in its order, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blocks import Command, File, printed_as_told, read
from shell import Shell

if TYPE_CHECKING:
    from pbs_cluster import PbsCluster

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.rst",
    "docs/quickstart.rst",
    "docs/tutorial.rst",
    "docs/wrongturns.rst",
    "docs/projects.rst",
    "docs/runfunctions.rst",
    "docs/programs.rst",
    "docs/scripts.rst",
    "docs/experiments.rst",
    "docs/data.rst",
    "docs/search.rst",
    "docs/stopping.rst",
    "docs/checkpoints.rst",
    "docs/horovod.rst",
    "docs/watching.rst",
    "docs/report.rst",
)


@pytest.mark.timeout(600)  # a minute in all, where nothing else runs
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    follow(page, read(ROOT / page), tmp_path)


@pytest.mark.slurm
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("slurm")
def test_so_does_every_block_for_slurm(tmp_path: Path) -> None:
    page = "docs/tutorial.rst"
    follow(page, read(ROOT / page, "slurm"), tmp_path)


@pytest.mark.timeout(600)
def test_so_does_every_block_for_pbs(tmp_path: Path, pbs: PbsCluster) -> None:
    page = "docs/tutorial.rst"
    follow(page, read(ROOT / page, "pbs"), tmp_path, programs=pbs.bin, HPCSEARCH_SITE="pbs")


def follow(page: str, steps: list[Command | File], home: Path, **shell_options: Any) -> None:
    """Does what a page says, and compares."""
    assert any(isinstance(step, Command) for step in steps)
    with Shell(home, **shell_options) as shell:
        for step in steps:
            if isinstance(step, File):
                (shell.folder / step.name).write_text(step.text)
                continue
            printed, code = shell.type(step.text)
            where = f"{page}, block in line {step.line}:\n$ {step.text}\n"
            assert printed_as_told(step, printed), f"{where}prints:\n{printed}\nand not:\n{step.output}"
            assert (code != 0) == bool(re.search("^Error: ", step.output, re.MULTILINE)), f"{where}exit code {code}"


def told(output: str, varies: bool = False) -> Command:
    return Command(1, "true", output, varies)


@pytest.mark.parametrize(
    ("output", "printed"),
    [
        ("12 of 12, best 0.97", "12 of 12, best 0.9"),
        ("a  b\n1  2.5", "a    b\n1    2.75"),
        ("first\n...\nlast", "first\nsecond\nthird\nlast"),
        ("at 2026-01-01 10:00:00", "at 2027-12-31 23:59:59"),
        ("******", "**********"),
    ],
)
def test_what_varies_by_itself(output: str, printed: str) -> None:
    assert printed_as_told(told(output), printed)


@pytest.mark.parametrize(("output", "printed"), [("12 of 12", "12 of 13"), ("best", "the best"), ("relu", "tanh")])
def test_everything_else_is_compared(output: str, printed: str) -> None:
    assert not printed_as_told(told(output), printed)


def test_what_a_search_decides_varies_where_a_block_says_so() -> None:
    assert printed_as_told(told("7  0.97  relu  32", varies=True), "12  0.98  tanh  64")
    assert not printed_as_told(told("7  0.97  relu  32", varies=True), "12  0.98  tanh  many")


def test_a_page_is_read_in_its_order(tmp_path: Path) -> None:
    page = tmp_path / "page.rst"
    page.write_text(
        """\
Write ``a.py``:

.. code-block:: python
   :caption: a.py

   print("hello")

.. code-block:: console

   $ python \\
         a.py
   hello

   $ true

.. code-block:: console
   :class: slurm

   $ squeue
"""
    )
    file, first, second = read(page)
    assert file == File("a.py", 'print("hello")\n')
    assert first == Command(8, "python \\\n      a.py", "hello", False)
    assert second == Command(8, "true", "", False)
    assert [step.text for step in read(page, "slurm") if isinstance(step, Command)] == ["squeue"]
