"""docs/sites.rst: every key is in it, and its example is a site file that passes the check."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from hpcsearch.schedulers import AllocationRequest
from hpcsearch.sites import Detect, Fact, Launcher, NodeShape, Queue, Site, Tier
from hpcsearch.sites.check import check_file, sample_requests
from hpcsearch.sites.find import data_folder, find_site
from hpcsearch.sites.render import render_job_script, words

TEXT = (Path(__file__).parents[2] / "docs" / "sites.rst").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", TEXT, re.MULTILINE)
    assert found
    return textwrap.dedent(found[1])


@pytest.mark.parametrize("table", [Site, NodeShape, Launcher, Queue, Tier, Detect, Fact])
def test_every_key_is_documented(table: Any) -> None:
    for field in dataclasses.fields(table):
        key = field.name.removesuffix("_s") if field.metadata.get("duration") else field.name
        tables = {"detect", "node", "launcher", "queues", "facts", "name"}
        assert f"``{key}``" in TEXT or (key in tables and f"[{key}" in TEXT), key


def test_the_example_passes_the_check(tmp_path: Path) -> None:
    file = tmp_path / "hill-centre.toml"
    file.write_text(block("toml"))
    checked = check_file(file)
    assert checked.advice == ()
    assert f"queues: {len(checked.site.queues)}, job scripts rendered: {checked.scripts}" in TEXT
    wrong = file.read_text().replace("gpu_variable", "gpu_varable")
    assert f"line {1 + wrong[: wrong.index('gpu_varable')].count(chr(10))}: unknown key 'gpu_varable'" in TEXT


def test_the_example_of_a_template_renders(tmp_path: Path) -> None:
    (tmp_path / "own.sh.j2").write_text(block("jinja"))
    site = dataclasses.replace(find_site("slurm"), template=str(tmp_path / "own.sh.j2"))
    request = next(iter(sample_requests(site)))
    assert 'export TMPDIR="/local/$SLURM_JOB_ID"' in render_job_script(request)


def test_every_word_and_block_of_a_template_is_documented() -> None:
    request: AllocationRequest = next(iter(sample_requests(find_site("slurm"))))
    for name in words(request):
        assert f"``{name}``" in TEXT, name
    blocks = {
        name
        for file in data_folder("jobscripts").glob("*.j2")
        for name in re.findall(r"{% block (\w+) %}", file.read_text())
    }
    for name in blocks:
        assert f"``{name}``" in TEXT, name
