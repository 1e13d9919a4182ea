from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.errors import LoadError
from hpcsearch.evaluation import Result
from hpcsearch.objectives import told
from hpcsearch.runfunction import BadResultError, Reference, as_run_function, failure_from, load, normalise

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def load_text(text: str, folder: Path, default_name: str = "run") -> Any:
    return load(Reference.parse(text, default_name, folder))


# References


@pytest.mark.parametrize(
    ("text", "printed", "search_path"),
    [
        ("model.py", "/home/me/model.py:run", "/home/me"),
        ("a/b/model.py", "/home/me/a/b/model.py:run", "/home/me/a/b"),
        ("../x/./model.py:train", "/home/x/model.py:train", "/home/x"),
        ("/abs/model.py:train", "/abs/model.py:train", "/abs"),
        ("odd:name/model.py", "/home/me/odd:name/model.py:run", "/home/me/odd:name"),
        ("my-model.v2.py", "/home/me/my-model.v2.py:run", "/home/me"),
        ("pkg.module:train", "pkg.module:train", "/home/me"),
        ("pkg.module.train", "pkg.module.train", "/home/me"),
        ("module", "module", "/home/me"),
    ],
)
def test_references(text: str, printed: str, search_path: str) -> None:
    reference = Reference.parse(text, "run", "/home/me")
    assert (str(reference), reference.search_path) == (printed, search_path)
    assert Reference.parse(printed, "run", search_path) == reference


def test_a_files_reference_is_the_same_from_everywhere() -> None:
    reference = Reference.parse("~/model.py", "run", "/somewhere")
    assert reference.source == str(Path.home() / "model.py")
    assert Reference.parse(str(reference), "other", "/elsewhere") == reference


names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@given(st.lists(names, min_size=1, max_size=4), names, st.sampled_from([".", ":", "/", ".py:", "/x.py:"]))
def test_what_is_parsed_prints_and_parses_again(parts: list[str], name: str, joint: str) -> None:
    text = f"{'/'.join(parts)}{joint}{name}.py" if joint == "/" else f"{'.'.join(parts)}{joint}{name}"
    reference = Reference.parse(text, "run", "/home/me")
    assert Reference.parse(str(reference), "run", reference.search_path) == reference


@pytest.mark.parametrize("text", ["", "models/run", "a..b", "pkg.module:my-run", "model.py:a b", "1st", "a:b:c"])
def test_texts_that_are_no_references(text: str) -> None:
    with pytest.raises(LoadError, match=r"give pkg.module:name"):
        Reference.parse(text, "run", "/home/me")


# Loading


def test_two_files_of_one_name_do_not_clash(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model_run.py").write_text(f"def run(config): return {folder!r}\n")
    one, two = (load_text(f"{folder}/model_run.py", tmp_path) for folder in ("one", "two"))
    assert (one({}), two({})) == ("one", "two")
    assert one.__module__ != two.__module__
    assert sys.modules[one.__module__].run is one
    assert load_text("one/model_run.py", tmp_path) is one


def test_a_files_folder_is_importable_and_on_the_search_path_once(tmp_path: Path) -> None:
    (tmp_path / "helper_of_this_test.py").write_text("VALUE = 42\n")
    (tmp_path / "model.py").write_text("from helper_of_this_test import VALUE\nrun = train = lambda config: VALUE\n")
    assert load_text("model.py", tmp_path)({}) == 42
    load_text("model.py:train", tmp_path)
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_dataclasses_in_a_loaded_file_find_their_module(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "@dataclass\nclass Point:\n    x: int\n    y: ClassVar[int] = 1\n"
    )
    assert load_text("model.py:Point", tmp_path)(1).x == 1


def test_modules(tmp_path: Path) -> None:
    package = tmp_path / "package_of_this_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text("from . import __name__ as package\ndef run(config): return package\ntrain = 5\n")
    for text in ("model", "model.run", "model:run"):
        assert load_text(f"package_of_this_test.{text}", tmp_path)({}) == "package_of_this_test"
    assert load_text("package_of_this_test.model.train", tmp_path) == 5
    with pytest.raises(LoadError, match=r"model.py has no 'rnu'.*\n.*'run'"):
        load_text("package_of_this_test.model.rnu", tmp_path)
    with pytest.raises(LoadError, match=r"no module 'package_of_this_test.modle'.*\n.*'model'"):
        load_text("package_of_this_test.modle:run", tmp_path)
    with pytest.raises(LoadError, match=r"no module 'package_of_this_tset'.*\n.*'package_of_this_test'"):
        load_text("package_of_this_tset.model.run", tmp_path)


def test_problem_may_be_written_small(tmp_path: Path) -> None:
    (tmp_path / "problem.py").write_text("problem = 'the problem'\n")
    assert load_text("problem.py", tmp_path, "Problem") == "the problem"
    with pytest.raises(LoadError, match="has no 'run'"):
        load_text("problem.py", tmp_path, "run")


def test_what_a_file_has_imported_is_not_what_is_meant(tmp_path: Path) -> None:
    (tmp_path / "several.py").write_text(
        "import os\nfrom hpcsearch import HpProblem\nA = HpProblem()\nB = HpProblem()\n"
    )
    with pytest.raises(LoadError, match=r"has no 'Problem'\nthere are: A, B$"):
        load_text("several.py", tmp_path, "Problem")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "problem.py").mkdir()
    with pytest.raises(LoadError, match=r"problem\.py is a folder, not a Python file$"):
        load_text("problem.py", tmp_path, "Problem")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "model_run.py").touch()
    with pytest.raises(LoadError, match=r"no file .*/modelrun.py\ndid you mean 'model_run.py'"):
        load_text("modelrun.py", tmp_path)
    with pytest.raises(LoadError, match="nor its folder"):
        load_text("nowhere/model_run.py", tmp_path)


IMPORT_ERRORS = [
    ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'", "install it for"),
    ("def run(:\n", "SyntaxError", "def run(:"),
    ("from .other import x\n", "attempted relative import", "pkg.module:name"),
    ("import sys; sys.exit('go away')\n", "it called sys.exit('go away')", "import sys"),
    ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError", "return 1 / 0"),
    ("class E(Exception):\n    def __str__(self): return 1 / 0\nraise E\n", ": E\n", "raise E"),
]


@pytest.mark.parametrize(("code", "message", "shown"), IMPORT_ERRORS)
def test_a_file_that_fails_shows_the_users_own_lines_only(tmp_path: Path, code: str, message: str, shown: str) -> None:
    (tmp_path / "model.py").write_text(code)
    for _ in range(2):  # a failed import leaves no half-made module behind
        with pytest.raises(LoadError) as caught:
            load_text("model.py", tmp_path)
        text = str(caught.value)
        assert text.startswith(f"cannot import {tmp_path}/model.py: ")
        assert message in text and shown in text
        own = text.replace(sys.executable, "")  # which lies in a folder hpcsearch/ where a clone is called so
        assert "importlib" not in own and "hpcsearch/" not in own


def test_a_module_that_fails_is_told_apart_from_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "broken_module_of_this_test.py").write_text("import no_such_library\n")
    with pytest.raises(LoadError, match=r"cannot import broken_module_of_this_test.run: .*'no_such_library'"):
        load_text("broken_module_of_this_test.run", tmp_path)


def test_a_mistake_in_a_problem_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "problem.py").write_text(
        "from hpcsearch import HpProblem\nProblem = HpProblem()\nProblem.add_dim('x', (3, 1))\n"
    )
    with pytest.raises(LoadError, match=r"problem.py, line 3: x: the lower bound .*\nwrite \(1, 3\)"):
        load_text("problem.py", tmp_path, "Problem")


# Calling


def of_dict(config: dict[str, Any]) -> Any:
    return ("dict", config)


class Model:
    def __call__(self, config: dict[str, Any]) -> Any:
        return ("dict", config)

    def train(self, x: float, y: float) -> Any:
        return ("keywords", {"x": x, "y": y})


def forwarding(*args: Any, **kwargs: Any) -> Any:
    return of_dict(*args, **kwargs)


TAKES_DICT: list[Callable[..., Any]] = [
    of_dict,
    lambda anything: ("dict", anything),
    lambda config, /: ("dict", config),
    lambda config, epochs=10: ("dict", config),
    lambda config, **extra: ("dict", config),
    lambda config, *, epochs=10: ("dict", config),
    lambda *configs: ("dict", configs[0]),
    lambda config=None: ("dict", config),
    forwarding,
    functools.partial(lambda epochs, config: ("dict", config), 10),
    Model(),
]

TAKES_KEYWORDS: list[Callable[..., Any]] = [
    lambda x, y: ("keywords", {"x": x, "y": y}),
    lambda y, x, epochs=10: ("keywords", {"x": x, "y": y}),
    lambda *, x, y: ("keywords", {"x": x, "y": y}),
    lambda x=0, y=0: ("keywords", {"x": x, "y": y}),
    lambda **config: ("keywords", config),
    Model().train,
]


@pytest.mark.parametrize("names", [None, ["x", "y"]])
def test_how_functions_are_called(names: list[str] | None) -> None:
    config = {"x": 1, "y": 2}
    for function in TAKES_DICT:
        assert as_run_function(function, names)(config) == ("dict", config)
    for function in TAKES_KEYWORDS:
        assert as_run_function(function, names)(config) == ("keywords", config)


def test_how_functions_are_called_when_only_the_names_tell() -> None:
    assert as_run_function(lambda x, y=5: (x, y), ["x", "y"])({"x": 1, "y": 2}) == (1, 2)
    assert as_run_function(lambda x, y=5: (x, y), ["a", "b"])({"a": 1}) == ({"a": 1}, 5)
    assert as_run_function(lambda x, **others: (x, others), ["x", "y"])({"x": 1, "y": 2}) == (1, {"y": 2})
    assert as_run_function(lambda x: x, ["x"])({"x": 1}) == 1
    assert as_run_function(lambda x: x, ["y"])({"y": 1}) == {"y": 1}
    assert as_run_function(lambda y=3: y, ["y"])({"y": 1}) == 1


def test_functions_without_a_signature_get_the_dict() -> None:
    assert as_run_function(max)({"x": 1}) == "x"


def missing_one(x: float) -> float:
    return x


async def coroutine(config: dict[str, Any]) -> float:
    return 0.0


REFUSED: list[tuple[Any, list[str] | None, str]] = [
    (5, None, r"is 5 \(int\)"),
    (None, None, r"is None \(NoneType\)"),
    (Model, None, "not a function"),
    (coroutine, None, "an async function"),
    (lambda: 1, None, "neither one configuration nor"),
    (lambda: 1, ["x"], "neither one configuration nor exactly the hyperparameters x"),
    (lambda a, b: 1, ["x", "y"], "neither one configuration nor exactly the hyperparameters x, y"),
    (lambda a, b, /: 1, None, "neither one configuration"),
    (lambda x, y, z: 1, ["x", "y"], "neither one configuration"),
    (missing_one, ["x", "y"], r"missing_one\(x: 'float'\) -> 'float' takes neither"),
]


@pytest.mark.parametrize(("obj", "names", "message"), REFUSED)
def test_what_cannot_be_called_is_refused(obj: Any, names: list[str] | None, message: str) -> None:
    with pytest.raises(LoadError, match=message) as caught:
        as_run_function(obj, names)
    assert "run(config)" in caught.value.hint


# Results


@pytest.mark.parametrize(
    "value",
    [0.5, np.float64(0.5), np.float32(0.5), np.array(0.5), np.array([0.5]), Decimal("0.5"), {"objective": 0.5}],
)
def test_numbers_are_objectives(value: Any) -> None:
    result = normalise(value)
    assert result == Result(0.5)
    assert type(result.objective) is float


def test_whole_numbers_become_floats() -> None:
    for value in (3, np.int64(3), {"objective": np.int8(3)}):
        assert type(normalise(value).objective) is float


def test_metadata_is_plain() -> None:
    value = {
        "objective": 1,
        "a": np.float32(0.5),
        "b": np.arange(2),
        "c": (1, {"d": None}),
        "e": math.nan,
        "f": "x",
        "g": True,
    }
    expected = {"a": 0.5, "b": [0, 1], "c": [1, {"d": None}], "e": None, "f": "x", "g": True}
    metadata = normalise(value).metadata
    assert metadata == expected and list(metadata) == list(expected)
    json.dumps(metadata, allow_nan=False)


BAD_RESULTS = [
    (None, r"None \(NoneType\), not one number"),
    (True, r"True \(bool\), not one number"),
    (np.bool_(True), "not one number"),
    ("0.5", r"'0.5' \(str\), not one number"),
    ("F_oom", "'F_oom'"),
    ([0.5], "not one number"),
    (1j, "not one number"),
    (np.array([1.0, 2.0]), "not one number"),
    (10**400, "not one number"),
    (math.nan, "nan, not a finite number"),
    (-math.inf, "-inf, not a finite number"),
    (np.float32("nan"), "nan, not a finite number"),
    ({"objectve": 1}, "without 'objective'; its keys: 'objectve'"),
    ({}, "its keys: none"),
    ({"objective": None}, r"None \(NoneType\)"),
    ({"objective": math.nan}, "nan, not a finite number"),
    ({"objective": 1, "model": object()}, "metadata 'model' holds .*object.*JSON"),
    ({"objective": 1, "history": [1, {2}]}, r"metadata 'history' holds \{2\}"),
    ({"objective": 1, "by_epoch": {1: 2}}, "metadata 'by_epoch'"),
    ({"objective": {}}, "a dict without entries"),
    ({"objective": {"loss": 1.0, "latency": "slow"}}, "objective 'latency' is 'slow'"),
    ({"objective": {"loss": math.inf}}, "objective 'loss' is inf"),
    ({"objective": {"loss": 1.0}, "loss": 2.0}, "'loss' is among the objectives and beside them"),
    ({"objective": {"loss": 1.0, "size:min": 2}, "size": 3}, "'size' is among the objectives and beside them"),
    ({"objective": {"loss": 1.0, "size": 2}, "objectives": 3}, "'objectives' is among the objectives and beside them"),
    ({"objective": {"loss": 1.0, "loss:min": 2}}, "an objective is called 'loss', like another"),
    ({"objective": {"loss:min": 1.0, "size": 2}}, "the first objective 'loss' has a sense of its own"),
]


def test_several_objectives_are_kept_by_name_and_the_first_one_is_searched_by() -> None:
    result = normalise({"objective": {"accuracy": np.float32(0.5), "latency": 3}, "epochs": 7})
    assert result.objective == 0.5
    names = {"objectives": ["accuracy", "latency"]}
    assert result.metadata == {"accuracy": 0.5, "latency": 3.0, "epochs": 7, **names}
    assert told(result.objective, result.metadata) == {"accuracy": 0.5, "latency": 3.0}


def test_an_objective_may_carry_a_sense_of_its_own() -> None:
    result = normalise({"objective": {"accuracy": 0.5, "latency:min": 3}})
    assert result.metadata == {"accuracy": 0.5, "latency": 3.0, "objectives": ["accuracy", "latency:min"]}
    assert told(result.objective, result.metadata) == {"accuracy": 0.5, "latency:min": 3.0}


def test_one_named_objective_is_one() -> None:
    result = normalise({"objective": {"accuracy": 0.5}})
    assert (result.metadata, told(result.objective, result.metadata)) == ({"accuracy": 0.5}, 0.5)


@pytest.mark.parametrize(
    "metadata",
    [{"objectives": "several"}, {"objectives": ["a"], "a": 0.5}, {"objectives": ["a", "b"], "a": 0.1, "b": 0.5}],
)
def test_what_a_run_function_calls_objectives_itself_are_none(metadata: dict[str, Any]) -> None:
    result = normalise({"objective": 0.5, **metadata})
    assert told(result.objective, result.metadata) == 0.5


@pytest.mark.parametrize(("value", "message"), BAD_RESULTS)
def test_what_is_no_result(value: Any, message: str) -> None:
    with pytest.raises(BadResultError, match=message):
        normalise(value)


def test_metadata_that_holds_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(BadResultError, match="'loop'"):
        normalise({"objective": 1, "loop": loop})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_comes_back_unchanged(value: float) -> None:
    assert normalise(value).objective == value


def test_little_is_done_for_a_float() -> None:
    called: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    try:
        normalise(0.5)
    finally:
        sys.setprofile(before)
    assert called == ["normalise", "__init__"]  # of what it returns


# Failures


def test_a_failure_has_the_users_own_frames_only(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "from hpcsearch.runfunction import normalise\n"
        "def run(config):\n    try:\n        return {}['lr']\n"
        "    except KeyError as exc:\n        raise ValueError('no lr') from exc\n"
        "def bad(config):\n    return normalise(None)\n"
    )
    run = as_run_function(load_text("model.py", tmp_path), None)
    with pytest.raises(ValueError, match="no lr") as caught:
        run({})
    failure = failure_from(caught.value)
    assert (failure.kind, failure.message) == ("ValueError", "no lr")
    assert f'File "{tmp_path}/model.py", line 4, in run' in failure.traceback
    assert "KeyError: 'lr'" in failure.traceback and failure.traceback.endswith("ValueError: no lr\n")

    with pytest.raises(BadResultError) as refused:
        load_text("model.py:bad", tmp_path)({})
    failure = failure_from(refused.value)
    assert failure.kind == "BadResultError"
    assert "line 8, in bad" in failure.traceback
    assert "in normalise" not in failure.traceback
    assert "\n" not in failure.message


def test_failures_without_words() -> None:
    assert failure_from(MemoryError()).message == "MemoryError"
    assert failure_from(SystemExit(3)).message == "the run function called sys.exit(3)"
    assert failure_from(KeyboardInterrupt()).kind == "KeyboardInterrupt"
    assert failure_from(BadResultError("the objective is None", "hint")).traceback == ""


def test_failures_are_bounded() -> None:
    assert len(failure_from(ValueError("x" * 10**6)).message) == 2_000
    try:
        raise ValueError("x" * 10**6)
    except ValueError as exc:
        assert len(failure_from(exc).traceback) == 20_000


def test_the_module_needs_the_standard_library_only() -> None:
    code = (
        "import sys, hpcsearch.runfunction\n"
        "packages = {name.partition('.')[0] for name in sys.modules} - {'hpcsearch', '__main__'}\n"
        "ours = sorted(name for name in sys.modules if name.startswith('hpcsearch.'))\n"
        "print(packages - sys.stdlib_module_names, ours)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    modules = [f"hpcsearch.{name}" for name in ("errors", "evaluation", "objectives", "reference", "runfunction")]
    assert done.stdout == f"set() {modules}\n"
