"""A good configuration, found by a search; put your own search's best one here."""

from model_run import run

if __name__ == "__main__":
    point = {"units": 62, "activation": "tanh", "lr": 0.0305}
    print(f"objective: {run(point):.4f}")
