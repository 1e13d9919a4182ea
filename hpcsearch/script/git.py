"""What git knows of a script's folder."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

_LIMIT_S = 20.0


def state(folder: Path) -> dict[str, Any]:
    """The commit, whether what is there differs from it, and where it comes from; empty where git is not used."""
    commit = _asked(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _asked(folder, "status", "--porcelain", "--", ".") or ""
    return {
        "commit": commit,
        "dirty": bool(changed),
        "changed": changed.splitlines()[:100],
        "origin": _asked(folder, "config", "--get", "remote.origin.url") or "",
    }


def sentence(state: dict[str, Any]) -> str:
    """What is recorded, for the reader; empty where git is not used."""
    if not state:
        return ""
    changes = f", with {len(state['changed'])} uncommitted changes" if state["dirty"] else ""
    return f"git: commit {state['commit'][:12]}{changes}"


def _asked(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.rstrip() if done.returncode == 0 else None
