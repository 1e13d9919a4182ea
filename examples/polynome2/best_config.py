"""The best configuration that a search has found, trained once more: give its results.csv, or be where it is."""

import csv
import sys
from pathlib import Path

from model_run import run


def best_point(results):
    """The configuration with the largest objective in the file ``results``; failed evaluations have no objective."""
    with results.open(newline="") as file:
        finished = [row for row in csv.DictReader(file) if row["objective"]]
    if not finished:
        sys.exit(f"No evaluation in {results} has finished.")
    best = max(finished, key=lambda row: float(row["objective"]))
    return {"units": int(best["units"]), "activation": best["activation"], "lr": float(best["lr"])}


if __name__ == "__main__":
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "results.csv")
    if not results.is_file():
        sys.exit(f"There is no {results}: run a search first, or give the path of its results.csv.")
    point = best_point(results)
    print(point)
    print(f"objective:  {run(point):.4f}")
