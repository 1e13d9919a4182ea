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
BASE = {"errors", "evaluation", "program", "reference", "runfunction"}

#: Part of the package -> the parts that it may import, beside itself and ``errors``.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "evaluation": set(),
    "reference": set(),
    "runfunction": {"evaluation", "reference"},
    "hyperparameter": {"evaluation"},
    "program": {"evaluation", "runfunction"},
    "problem": {"evaluation", "hyperparameter"},
    "drafts": set(),
    "arrays": {"drafts"},
    "worker": {*BASE, "arrays"},
    "search": {*BASE, "problem", "hyperparameter", "worker.channel"},
    "tensorboard": {"evaluation", "worker.context"},
    "settings": {"sites.lines", "sites.model"},  # both for its messages alone
    "workflow": {"evaluation", "settings", "arrays", "drafts"},
    "sites": {"schedulers.request", "settings"},
    "schedulers": {"sites"},
    "allocation": {*BASE, "worker", "problem", "search", "workflow", "sites", "schedulers"},
    "monitor": {"evaluation", "workflow", "sites", "schedulers"},
    "figures": {"evaluation", "workflow", "monitor"},
    "dashboards": {"evaluation", "workflow", "tensorboard", "figures.scale"},
    "submission": {
        *(*BASE, "problem", "search", "workflow", "sites", "schedulers", "monitor"),
        *("allocation.plan", "worker.context", "worker.program", "settings", "horovod"),
    },
    "experiment": {*BASE, "submission", "workflow", "sites", "settings", "worker.environment"},
    "data": {"project", "worker.storage"},
    "devices": {"worker.context"},
    "doctor": {"sites", "schedulers"},
