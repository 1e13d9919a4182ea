"""Notebooks: the one in examples/ runs from its first cell to its last, with bars that are outputs of their cells."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpcsearch.submission.notebook import Bar, in_notebook

NOTEBOOK = Path(__file__).parents[2] / "examples" / "experiments" / "digits.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is printed below each cell, by the beginning of the cell."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copy(NOTEBOOK, folder)
    convert = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout", NOTEBOOK.name]
    done = subprocess.run(convert, cwd=folder, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    cells = [cell for cell in json.loads(done.stdout)["cells"] if cell["cell_type"] == "code"]
    return {"".join(cell["source"]): "".join(map(shown, cell["outputs"])) for cell in cells}


def shown(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    return "".join(output.get("text") or data.get("text/html") or data["text/plain"])


def below(outputs: dict[str, str], beginning: str) -> str:
    (found,) = (text for source, text in outputs.items() if source.startswith(beginning))
    return found


@pytest.mark.timeout(420)
def test_the_searches_of_the_example(outputs: dict[str, str]) -> None:
    grid = below(outputs, "args_dict")
    assert "Grid search: 6 evaluations" in grid
    assert '<progress value="6" max="6"></progress> 6 of 6, 0 running, best 0.' in grid
    assert "------ Grid search results ------ direction(max)\nBEST combination learning_rate=0.03, activation=" in grid
    assert below(outputs, "grid.best").startswith("({'learning_rate': 0.03, 'activation': ")
    assert below(outputs, "for evaluation").count("'units': 32} 0.") == 6
    evolved = below(outputs, "boundary_dict")
    assert '<progress value="18" max="18"></progress>' in evolved and "Differential evolution results" in evolved
    assert below(outputs, "training(**evolved.best)") == "True"


def test_the_example_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_a_bar_is_a_sentence_where_there_is_no_html() -> None:
    assert repr(Bar(3, 6, "1 running")) == "3 of 6, 1 running"
    assert Bar(3, None, "<1>")._repr_html_() == '<progress value="3"></progress> 3, &lt;1&gt;'
    assert not in_notebook()
