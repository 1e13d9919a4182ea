"""The fixtures of the bed for every test here."""

from __future__ import annotations

from terminal_bed import search, terminal, tmux

__all__ = ["search", "terminal", "tmux"]
