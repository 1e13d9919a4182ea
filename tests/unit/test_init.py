"""The public names, each in a fresh interpreter, because what was imported before matters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hpcsearch

ROOT = Path(__file__).parents[2]

# The real homes of these functions import much, and evaluation() needs a running one; these stand in for them.
STAND_IN = """
import sys, types
for home, names in {
    "worker.context": ("artifact", "evaluation", "log", "num_gpus", "report", "save_array", "should_stop", "world"),
    "submission": ("submit",),
    "workflow": ("open_workflow",),
}.items():
    module = sys.modules["hpcsearch." + home] = types.ModuleType(home)
    for name in names:
        setattr(module, name, lambda name=name: "the " + name)
"""


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import hpcsearch; print(sorted(set(sys.modules) - before))"
    assert python(code) == "['hpcsearch']"


@pytest.mark.parametrize(
    "code",
    [
        "import hpcsearch; print(hpcsearch.evaluation())",
        "import hpcsearch.evaluation; print(hpcsearch.evaluation())",
        "from hpcsearch import evaluation; print(evaluation())",
        "import hpcsearch.evaluation; from hpcsearch import evaluation; print(evaluation())",
        "from hpcsearch.evaluation import State; import hpcsearch; State.RUNNING; print(hpcsearch.evaluation())",
        "from hpcsearch import evaluation; from hpcsearch.evaluation import State; State.RUNNING; print(evaluation())",
        "import hpcsearch; hpcsearch.Resources; hpcsearch.report(); print(hpcsearch.evaluation())",
        "import hpcsearch.runfunction; print(hpcsearch.evaluation())",
        "from hpcsearch import *; print(evaluation())",
    ],
)
def test_evaluation_is_a_function_and_a_module_in_every_order(code: str) -> None:
    assert python(f"{STAND_IN}{code}") == "the evaluation"


def test_evaluation_stays_a_module() -> None:
    code = "import hpcsearch.evaluation, pickle; m = hpcsearch.evaluation; assert m.State.RUNNING is m.State('RUNNING')"
    python(f"{code}; assert pickle.loads(pickle.dumps(m.State.RUNNING)) is m.State.RUNNING")


def test_names() -> None:
    from hpcsearch.evaluation import Resources
    from hpcsearch.problem import HpProblem

    assert hpcsearch.HpProblem is HpProblem
    assert hpcsearch.Resources is Resources
    assert set(hpcsearch.__all__) <= set(dir(hpcsearch))
    assert set(hpcsearch.__all__) == {*hpcsearch._HOMES, *hpcsearch._MODULES}
    with pytest.raises(AttributeError, match="no attribute 'HpProblme'"):
        hpcsearch.HpProblme  # noqa: B018


def test_version_is_the_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", {"hpcsearch": "1.2.3"}.__getitem__)
    assert hpcsearch.__version__ == "1.2.3"
