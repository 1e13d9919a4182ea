"""Searches: ask/tell strategies that propose configurations and learn from results.

``create`` makes one; :mod:`hpcsearch.search.base` is the contract for writing another. Importing this package is cheap:
NumPy, SciPy and ConfigSpace come with the first search that needs them.
"""

from hpcsearch.search.registry import create, known_strategies

__all__ = ["create", "known_strategies"]
