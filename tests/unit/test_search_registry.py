"""Finding strategies and checking their arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hpcsearch.errors import LoadError, SearchError
from hpcsearch.problem import HpProblem
from hpcsearch.search import create, known_strategies
from hpcsearch.search.ambs import AmbsSearch
from hpcsearch.search.arguments import check_arguments
from hpcsearch.search.registry import STRATEGY, find

OWN = """
class Own:
    def __init__(self, setting, start: int = 0, step: float = 1.5, loud: bool = False, name: str | None = "x"):
        self.settings = start, step, loud, name
        self.next = start
    def ask(self, n):
        self.next += n
        return [{"x": 1.0 / (i + 1)} for i in range(self.next - n, self.next)]
    def pending(self, configurations): pass
    def tell(self, results): pass

class Needy(Own):
    def __init__(self, setting, *rest, height: int, **others): ...

class NoTell:
    def ask(self, n): ...
"""


@pytest.fixture
def problem() -> HpProblem:
    made = HpProblem()
    made.add_hyperparameter((0.0, 1.0), "x")
    return made


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return str(path)


def test_the_known_strategies() -> None:
    assert {"ambs", "random"} <= known_strategies().keys()
    assert find("ambs") is AmbsSearch


def test_an_unknown_strategy_is_met_with_the_nearest_and_all(problem: HpProblem) -> None:
    with pytest.raises(SearchError) as caught:
        create("randon", problem)
    assert "randon" in caught.value.message and "Did you mean random?" in caught.value.message
    assert ", ".join(sorted(known_strategies())) in caught.value.hint and "file.py:Class" in caught.value.hint


def test_a_strategy_from_a_file(problem: HpProblem, own: str) -> None:
    search = create(f"{own}:Own", problem, start="3", step="0.25", loud="yes", name="none")
    assert search.strategy.settings == (3, 0.25, True, None)  # type: ignore[attr-defined]
    assert search.ask(2) == [{"x": 0.25}, {"x": 0.2}]


def test_files_and_classes_that_do_not_do(problem: HpProblem, own: str) -> None:
    with pytest.raises(SearchError, match="ask, pending and tell"):
        create(f"{own}:NoTell", problem)
    with pytest.raises(LoadError, match="Owm"):
        create(f"{own}:Owm", problem)
    with pytest.raises(LoadError, match="nowhere"):
        create("nowhere.py:Own", problem)


def test_an_unknown_argument_is_met_with_the_known_ones_and_their_defaults(problem: HpProblem) -> None:
    with pytest.raises(SearchError) as caught:
        create("ambs", problem, kapa=1)
    assert "Did you mean kappa?" in caught.value.message
    assert "kappa=1.0" in caught.value.hint and "n_initial=none" in caught.value.hint
    with pytest.raises(SearchError) as caught:
        create("random", problem, kappa=1)
    assert "no arguments" in caught.value.hint


def test_what_a_strategy_needs_must_be_given(problem: HpProblem, own: str) -> None:
    with pytest.raises(SearchError, match="needs a value for height") as caught:
        create(f"{own}:Needy", problem, other="1")
    assert "height" in caught.value.hint and "others" not in caught.value.hint


@pytest.mark.parametrize("text", ["lots", "", "nan", "inf"])
def test_text_that_is_not_of_the_type(text: str) -> None:
    with pytest.raises(SearchError, match="is not of type float"):
        check_arguments(STRATEGY, "ambs", AmbsSearch, {"kappa": text})


def test_text_is_converted_and_values_are_kept() -> None:
    given = {"n_initial": "12", "kappa": "2", "n_candidates": 30}
    assert check_arguments(STRATEGY, "ambs", AmbsSearch, given) == {"n_initial": 12, "kappa": 2.0, "n_candidates": 30}
    assert check_arguments(STRATEGY, "ambs", AmbsSearch, {"n_initial": "none"}) == {"n_initial": None}
    for wrong in ("some", 1.5, float("inf"), True, [3]):
        with pytest.raises(SearchError, match="int or none"):
            check_arguments(STRATEGY, "ambs", AmbsSearch, {"n_initial": wrong})
    kept = {"n_initial": None, "kappa": 2, "max_points": 30.0}
    assert check_arguments(STRATEGY, "ambs", AmbsSearch, kept) == {"n_initial": None, "kappa": 2.0, "max_points": 30}


@pytest.mark.parametrize("arguments", [{"n_initial": 0}, {"kappa": 0.0}, {"n_candidates": 1}, {"max_points": 1}])
def test_values_that_ambs_cannot_use(problem: HpProblem, arguments: dict[str, float]) -> None:
    with pytest.raises(SearchError, match=next(iter(arguments))):
        create("ambs", problem, **arguments)


def test_a_negative_seed_is_refused(problem: HpProblem) -> None:
    with pytest.raises(SearchError, match="seed=-1"):
        create("random", problem, seed=-1)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, hpcsearch.search; print([m for m in ('numpy', 'ConfigSpace', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
