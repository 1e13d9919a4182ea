"""How a script gets its values, and what is said where it would not."""

from __future__ import annotations

from typing import Any

import pytest

from hpcsearch.errors import UsageError
from hpcsearch.script.injecting import check, inject, variable
from hpcsearch.script.script import Dimension, Script

TEXT = "lr = 0.1\nprint(lr)\n"


def script(inject: str, *names: str, name: str = "train.py", arguments: tuple[str, ...] = ("30",)) -> Script:
    return Script(name, arguments, tuple(Dimension(one, (1,)) for one in names or ("lr",)), inject)


@pytest.mark.parametrize(
    ("arguments", "values", "expected"),
    [
        (("30",), {"lr": 0.01}, ("30", "--lr", "0.01")),
        (("--rate={lr}", "30"), {"lr": 0.01}, ("--rate=0.01", "30")),
        (
            ("{lr}", "{lr}{units}", "{other}"),
            {"lr": 1, "units": 2, "act": "relu"},
            ("1", "12", "{other}", "--act", "relu"),
        ),
        ((), {"lr": -1}, ("--lr", "-1")),
    ],
)
def test_values_as_arguments(arguments: tuple[str, ...], values: dict[str, Any], expected: tuple[str, ...]) -> None:
    injected = inject(script("args", *values, name="solver", arguments=arguments), "", values)
    assert (injected.arguments, injected.env) == (expected, {})


def test_values_as_variables() -> None:
    injected = inject(script("env", "lr", "opt.name"), TEXT, {"lr": 0.5, "opt.name": "adam"})
    assert injected.env == {"HPCSEARCH_LR": "0.5", "HPCSEARCH_OPT_NAME": "adam"}
    assert (injected.text, injected.arguments) == (TEXT, ("30",))
    assert variable("weight-decay") == "HPCSEARCH_WEIGHT_DECAY"


@pytest.mark.parametrize("how", ["substitute", "regex"])
def test_values_in_the_text(how: str) -> None:
    injected = inject(script(how), TEXT, {"lr": 0.5})
    assert (injected.text, injected.arguments, injected.env) == ("lr = 0.1\nprint(0.5)\n", ("30",), {})


def test_an_array_is_a_file_and_not_put_in() -> None:
    array = Script("train.py", (), (Dimension("lr", (), 0.0, 1.0, length=2),), "substitute")
    assert inject(array, TEXT, {"lr": [1.0, 2.0]}).text == TEXT
    assert check(array, "lr = np.load(hpcsearch.artifact('lr'))\n") == []


@pytest.mark.parametrize(
    ("searched", "text", "words"),
    [
        (script("substitute", "rate"), TEXT, "train.py never reads rate"),
        (script("substitute", "a", "b"), TEXT, "never reads a nor b"),
        (script("regex", "rate"), TEXT, "train.py never reads rate"),
        (script("substitute", name="run.sh"), TEXT, "run.sh is no Python script"),
        (script("substitute"), "print lr", "train.py, line 1 is no Python"),
        (script("env", "config"), TEXT, "HPCSEARCH_CONFIG means something else"),
    ],
)
def test_a_value_that_would_change_nothing_is_refused(searched: Script, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check(searched, text)


def test_python_of_another_version_goes_by_text() -> None:
    assert check(script("regex"), 'print "fitness: %s" % lr\n') == []


def test_a_change_that_has_no_effect_is_told() -> None:
    (note,) = check(script("substitute"), "lr = 1\nlr *= 0.9\nprint(lr)\n")
    assert note.startswith("train.py, line 2, changes lr: that has no effect")
