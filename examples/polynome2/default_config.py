"""The baseline: the objective of the problem's starting point."""

from model_run import run

if __name__ == "__main__":
    point = {"units": 10, "activation": "identity", "lr": 0.01}
    print(f"objective: {run(point):.3f}")
