"""The options of early stopping: what is refused, and what of them reaches the orders of an allocation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_bed import finished

from hpcsearch.allocation.plan import Plan
from hpcsearch.submission.resume import _DEFAULTS
from hpcsearch.submission.stopping import changed_stopper, located

SUBMIT = ("submit", "hps", "w", "-p", "problem.py", "-r", "model_run.py", "-n", "1", "-t", "5", "-q", "local")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stopper", "ashaa"], "There is no stopping rule 'ashaa'. Did you mean asha?"),
        (["--stopper", "asha", "--stopper-arg", "etta=3"], "has no argument 'etta'. Did you mean eta?"),
        (["--stopper", "asha", "--stopper-arg", "eta"], "is not of the form name=value"),
        (["--stopper", "asha", "--stopper-arg", "eta=3", "--stopper-arg", "eta=4"], "'eta' is given twice"),
        (["--stopper-arg", "eta=3"], "Choose one with --stopper: asha, median"),
        (["--stopper-metric", "loss:up"], "'loss:up' is no metric to stop by"),
        (["--stopping", "maybe"], "is not one of 'raise', 'ask'"),
        (["--stop-grace", "-1"], "is no time in seconds"),
        (["--stop-margin", "-2"], "is no time in seconds"),
        (["--no-import", "--stopper", "asha"], "Type --stopper-metric NAME:max or NAME:min"),
        (["--stopper", "nowhere.py:Rule"], "there is no file"),
        (["--stopper", "model_run.py:run"], "not a class with the methods tell and ended"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(search_files: Path, options: list[str], said: str) -> None:
    done = finished(*SUBMIT, *options)
    assert done.returncode in (2, 4) and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not (search_files / "workflows" / "w").exists()


def test_what_was_asked_for_is_in_the_orders(search_files: Path) -> None:
    (search_files / "rules.py").write_text(
        "class Rule:\n"
        "    def __init__(self, limit: float = 0.0):\n        pass\n\n"
        "    def tell(self, evaluation, step, value):\n        return False\n\n"
        "    def ended(self, evaluation, finished):\n        pass\n"
    )
    own = ["--stopper", "rules.py:Rule", "--stopper-arg", "limit=2", "--stopper-metric", "loss:min"]
    done = finished(*SUBMIT, "--max-evals", "1", *own, "--stopping", "ask", "--stop-margin", "3", "--wait")
    assert done.returncode == 0, done.stderr
    plan = Plan.load(search_files / "workflows" / "w" / "allocations" / "1" / "plan.json")
    assert plan.stopper == f"{search_files / 'rules.py'}:Rule" and plan.stopper_arguments == {"limit": "2"}
    assert (plan.stopper_metric, plan.stopping) == ("loss:min", "ask")
    assert (plan.stop_grace_s, plan.stop_margin_s) == (60.0, 3.0)


def test_resume_changes_a_rule_with_its_settings() -> None:
    before = {**_DEFAULTS, "stopper": "asha", "stopper_arguments": {"eta": "4", "first": "2"}}
    assert changed_stopper({"nodes": 2}, before) == {}
    changed = changed_stopper({"stopper_arguments": {"eta": "3"}}, before)
    assert changed == {"stopper": "asha", "stopper_arguments": {"eta": "3", "first": "2"}}
    assert changed_stopper({"stopper": "median"}, before) == {"stopper": "median", "stopper_arguments": {}}
    assert changed_stopper({"stopper": "none"}, before) == {"stopper": "none", "stopper_arguments": {}}


def test_a_workflow_of_an_older_version_has_no_rule() -> None:
    assert json.loads(json.dumps(_DEFAULTS))["stopper"] == "none" and _DEFAULTS["stopper_arguments"] == {}


def test_a_rule_in_a_file_is_found_from_anywhere(tmp_path: Path) -> None:
    assert located("asha", tmp_path) == "asha"
    assert located("rules.py:Rule", tmp_path) == f"{tmp_path}/rules.py:Rule"
