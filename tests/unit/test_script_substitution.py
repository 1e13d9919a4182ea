"""Values in place of names: where a name is read, and nowhere else."""

from __future__ import annotations

import ast
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcsearch.errors import UsageError
from hpcsearch.script.substitution import find_places, substitute, substitute_text

SEED = """\
lr=0.01
print('learning rate = {}'.format(lr))
model.compile(loss='categorical_crossentropy', optimizer=optimizers.SGD(lr=lr))
"""


def test_the_seeds_example() -> None:
    assert substitute(SEED, {"lr": 0.05}).splitlines() == [
        "lr=0.01",
        "print('learning rate = {}'.format(0.05))",
        "model.compile(loss='categorical_crossentropy', optimizer=optimizers.SGD(lr=0.05))",
    ]
    assert substitute(SEED, {"lr": 0.05}) == substitute_text(SEED, {"lr": 0.05})


#: From Python 3.12 on a string inside an f-string may have the same quotes.
NESTED = "print(f'{'relu'}')" if sys.version_info >= (3, 12) else "print(f'{\"relu\"}')"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # What the original's regular expression got wrong.
        ("f(lr, n=3)", "f(0.5, n=3)"),
        ("x = foo(lr) if a == b else lr", "x = foo(0.5) if a == b else 0.5"),
        ("print(lr)", "print(0.5)"),  # without an end of line
        ("# lr is the rate\nprint(lr)  # lr\n", "# lr is the rate\nprint(0.5)  # lr\n"),
        ("for lr in grid:\n    print(lr)\n", "for lr in grid:\n    print(lr)\n"),
        ("print('lr', \"lr\", '''\nlr\n''')\n", "print('lr', \"lr\", '''\nlr\n''')\n"),
        # What it got right.
        ("lr2 = lr*2\n", "lr2 = 0.5*2\n"),
        ("lr = 0.1\n", "lr = 0.1\n"),
        ("lr: float = 0.1\n", "lr: float = 0.1\n"),
        # Other things of the same name.
        ("SGD(lr=0.1)", "SGD(lr=0.1)"),
        ("self.lr = lr", "self.lr = 0.5"),
        ("opt.lr", "opt.lr"),
        ("def f(lr):\n    return lr\n", "def f(lr):\n    return lr\n"),
        ("def f(lr=lr):\n    return lr\n", "def f(lr=0.5):\n    return lr\n"),
        ("def f(*, a: lr = 1):\n    return lr\n", "def f(*, a: 0.5 = 1):\n    return 0.5\n"),
        ("lambda lr: lr", "lambda lr: lr"),
        ("lambda x: lr", "lambda x: 0.5"),
        ("[lr for lr in lr]", "[lr for lr in 0.5]"),
        ("{lr: x for x in y if lr}", "{0.5: x for x in y if 0.5}"),
        ("from settings import lr\nprint(lr)\n", "from settings import lr\nprint(lr)\n"),
        ("import lr.x\nprint(lr)\n", "import lr.x\nprint(lr)\n"),
        ("with open(f) as lr:\n    print(lr)\n", "with open(f) as lr:\n    print(lr)\n"),
        ("try:\n    pass\nexcept E as lr:\n    print(lr)\n", "try:\n    pass\nexcept E as lr:\n    print(lr)\n"),
        ("match x:\n    case {'lr': lr}:\n        print(lr)\n", "match x:\n    case {'lr': lr}:\n        print(lr)\n"),
        ("def lr(): pass\nlr()\n", "def lr(): pass\nlr()\n"),
        (
            "def f():\n    for lr in g:\n        pass\n    print(lr)\nprint(lr)\n",
            "def f():\n    for lr in g:\n        pass\n    print(lr)\nprint(0.5)\n",
        ),
        ("lr = 1\ndef f():\n    return lr\n", "lr = 1\ndef f():\n    return 0.5\n"),
        ("def f():\n    global lr\n    lr = 3\n    g(lr)\n", "def f():\n    global lr\n    lr = 3\n    g(0.5)\n"),
        (
            "class A:\n    for lr in x: pass\n    def f(self): g(lr)\n",
            "class A:\n    for lr in x: pass\n    def f(self): g(0.5)\n",
        ),
        # Places that need care.
        ("print(f'{lr} lr {lr:.2f}')", "print(f'{0.5} lr {0.5:.2f}')"),
        ("print(lr.hex())", "print((0.5).hex())"),
        ("é = 'é'; print(é, lr)", "é = 'é'; print(é, 0.5)"),
        ("print(lr)\r\nprint(lr)\r\n", "print(0.5)\r\nprint(0.5)\r\n"),
        ("print(lr); print(lr)", "print(0.5); print(0.5)"),
        (
            "# a form feed \x0c and a separator \u2028 end no line\nprint(lr)",
            "# a form feed \x0c and a separator \u2028 end no line\nprint(0.5)",
        ),
        ("if 1:\n\tprint(lr)", "if 1:\n\tprint(0.5)"),
        ("lr *= 0.9\n", "lr *= 0.9\n"),
        ("del lr\n", "del lr\n"),
    ],
)
def test_a_name_is_replaced_where_it_is_read(before: str, after: str) -> None:
    assert substitute(before, {"lr": 0.5}) == after


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("x = 2 - lr ** 2", -1, "x = 2 - (-1) ** 2"),
        ("print(lr.real)", 3, "print((3).real)"),
        ("f(lr)", "relu", "f('relu')"),
        ("f(lr.upper())", "relu", "f('relu'.upper())"),
        ("f(lr)", True, "f(True)"),
        ("f(lr)", "it's", 'f("it\'s")'),
        ("range(lr)", 3, "range(3)"),
        ("print(f'{lr}')", "relu", NESTED),
        ('print(f"{lr}")', "relu", "print(f\"{'relu'}\")"),
    ],
)
def test_a_value_is_written_so_that_it_means_the_same(before: str, value: Any, after: str) -> None:
    assert substitute(before, {"lr": value}) == after


def test_several_names_are_replaced_at_once() -> None:
    assert substitute("f(a, b, a + b)", {"a": 1, "b": 2.5}) == "f(1, 2.5, 1 + 2.5)"
    assert substitute("f(a)", {"a": "b", "b": "a"}) == "f('b')"


def test_what_changes_its_value_is_told() -> None:
    places = find_places("lr = 1\nlr *= 0.9\nprint(lr)\n", ["lr"], "train.py")
    assert places.changes == (("lr", 2),)
    assert [read[1] for read in places.reads] == [2]
    assert find_places("def f(lr):\n    lr *= 0.9\n", ["lr"], "train.py").changes == ()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("print 'fitness: %s' % lr\n", "--inject regex"),
        ("def f(:\n", "--inject regex"),
        ("x = '\udcff'\n", "UTF-8"),
        ("x = \0", ""),
    ],
)
def test_what_is_no_python_is_refused(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=r"train\.py.* is no Python") as caught:
        substitute(text, {"lr": 1}, "train.py")
    assert hint in caught.value.hint


@given(
    st.text(alphabet="lr =+(),:'\"#\n\t[]{}f0.\\é", max_size=60),
    st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | st.integers(),
)
def test_whatever_the_text_the_result_is_python_and_only_names_have_gone(text: str, value: Any) -> None:
    try:
        before = ast.parse(text)
        after = ast.parse(substitute(text, {"lr": value}))
    except (SyntaxError, ValueError, UsageError):
        return

    class Put(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return (
                ast.parse(repr(value), mode="eval").body if isinstance(node.ctx, ast.Load) and node.id == "lr" else node
            )

    # Nothing that binds the name in another scope can be spelled with these letters.
    expected = Put().visit(before)
    if not any(isinstance(node, ast.FormattedValue) for node in ast.walk(expected)):
        assert ast.dump(after) == ast.dump(expected)
