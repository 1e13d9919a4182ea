"""Calls of the clients of a real OpenPBS 23.06, with what they answered."""

from __future__ import annotations

import json
from pathlib import Path

from hpcsearch.schedulers.command import Completed

_FILE = Path(__file__).parents[1] / "recorded" / "pbs.jsonl"


def _read() -> dict[str, Completed]:
    calls = (json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines())
    return {
        call["name"]: Completed(tuple(call["command"].split()), call["exit_code"], call["stdout"], call["stderr"])
        for call in calls
    }


RECORDED = _read()
