"""Who may import whom, and what a node has to import before a run function is loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hpcsearch

PACKAGE = Path(hpcsearch.__file__).parent

#: Modules at the bottom, which stand on the standard library alone: every node imports them.
BASE = {"errors", "evaluation", "objectives", "program", "reference", "runfunction"}

#: Part of the package -> the parts that it may import, beside itself and ``errors``.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "evaluation": set(),
    "objectives": set(),
    "reference": set(),
    "runfunction": {"evaluation", "objectives", "reference"},
    "hyperparameter": {"evaluation"},
    "program": {"evaluation", "runfunction"},
    "problem": {"evaluation", "hyperparameter"},
    "drafts": set(),
    "arrays": {"drafts"},
    "worker": {*BASE, "arrays"},
    "search": {*BASE, "problem", "hyperparameter", "worker.channel"},
    "tensorboard": {"evaluation", "worker.context"},
    "settings": {"sites.lines", "sites.model"},  # both for its messages alone
    "workflow": {"evaluation", "objectives", "settings", "arrays", "drafts"},
    "sites": {"schedulers.request", "settings"},
    "schedulers": {"sites"},
    "allocation": {*BASE, "worker", "problem", "search", "workflow", "sites", "schedulers"},
    "monitor": {"evaluation", "objectives", "workflow", "sites", "schedulers"},
    "figures": {"evaluation", "workflow", "monitor"},
    "dashboards": {"evaluation", "workflow", "tensorboard", "figures.scale"},
    "submission": {
        *(*BASE, "problem", "search", "workflow", "sites", "schedulers", "monitor"),
        *("allocation.plan", "worker.context", "worker.program", "settings", "horovod"),
    },
    "experiment": {*BASE, "submission", "workflow", "sites", "settings", "worker.environment", "tensorboard"},
    "allreduce": {"experiment"},
    "util": {"worker.context", "experiment.place", "experiment.space"},
    "data": {"project", "worker.storage"},
    "devices": {"worker.context"},
    "horovod": {"schedulers.command"},
    "script": {*BASE, "problem", "search", "sites", "submission", "tensorboard", "worker"},
    "doctor": {"sites", "schedulers", "horovod", "submission", "workflow", "worker.environment"},
    "project": set(),
    "cli": {
        *(*BASE, "project", "settings", "workflow", "sites", "schedulers", "monitor", "submission", "doctor"),
        *("script", "search.registry", "figures", "dashboards"),
    },
}

#: Known to type checkers only, and loaded when first used: the public names.
FRONT_DOOR = "__init__"


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != FRONT_DOOR:
            yield name, path


def imported(path: Path) -> Iterator[str]:
    """Absolute names of what a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom(level=level) if level:
                yield "." * level


def part_of(name: str) -> str:
    return name.partition(".")[0]


MODULES = dict(modules())


def test_every_part_has_its_rule() -> None:
    assert {part_of(name) for name in MODULES} <= MAY_IMPORT.keys()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_part_may(name: str) -> None:
    own = part_of(name)
    allowed = {own, "errors", *MAY_IMPORT[own]}
    public = {"hpcsearch", *(f"hpcsearch.{name}" for name in hpcsearch.__all__)}
    for full in imported(MODULES[name]):
        assert not full.startswith("."), f"{name} imports relatively"
        if part_of(full) != "hpcsearch" or full in public:
            continue
        inner = full.removeprefix("hpcsearch.")
        assert any(inner == rule or inner.startswith(f"{rule}.") for rule in allowed), f"{name} must not import {full}"


@pytest.mark.parametrize("name", [name for name in MODULES if part_of(name) in {*BASE, "worker"}])
def test_what_nodes_import_needs_the_standard_library_alone(name: str) -> None:
    tops = {part_of(full) for full in imported(MODULES[name])}
    mpi = {"mpi4py"} if name == "worker.mpi" else set()  # which is loaded where a launcher has started ranks
    assert tops <= {"hpcsearch", *sys.stdlib_module_names, *mpi}


@pytest.mark.parametrize(
    "module", ["hpcsearch.worker.agent", "hpcsearch.worker.slot", "hpcsearch.worker.rank", "hpcsearch.worker.sizer"]
)
def test_what_a_node_really_imports(module: str) -> None:
    """At run time, in a fresh interpreter: also what is imported by what is imported."""
    code = f"import sys; before = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - before))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in output if part_of(name) == "hpcsearch"}
    assert {part_of(name) for name in output} <= {"hpcsearch", *sys.stdlib_module_names}
    assert ours <= {"hpcsearch", *(f"hpcsearch.{name}" for name in BASE), *(n for n in ours if "hpcsearch.worker" in n)}
    assert module in ours


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import hpcsearch; print(*sorted(set(sys.modules) - before))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in output if not name.startswith("_")} == {"hpcsearch"}
