"""The data: y = -(x_1^2 + ... + x_n^2) at random points x, split into training and validation."""

import numpy as np


def load_data(dim=10, a=-50, b=50, size=10_000, training_share=0.8, seed=2018):
    """Returns ((train_X, train_y), (valid_X, valid_y)) for x drawn evenly from [a, b]^dim."""
    random = np.random.RandomState(seed)
    X = a + (b - a) * random.random_sample((size, dim))
    y = -np.sum(X**2, axis=1, keepdims=True)

    split = int(training_share * size)
    train_X, valid_X = X[:split], X[split:]
    train_y, valid_y = y[:split], y[split:]

    print(f"train_X shape: {train_X.shape}")
    print(f"train_y shape: {train_y.shape}")
    print(f"valid_X shape: {valid_X.shape}")
    print(f"valid_y shape: {valid_y.shape}")
    return (train_X, train_y), (valid_X, valid_y)


if __name__ == "__main__":
    load_data()
