"""The pages build without a warning, and say all that they have to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hpcsearch

ROOT = Path(__file__).parents[2]


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", str(ROOT / "docs")]
    done = subprocess.run([*build, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tutorial.html").is_file()


def test_every_public_name_is_documented() -> None:
    page = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    assert [name for name in hpcsearch.__all__ if f":: hpcsearch.{name}\n" not in page] == []
