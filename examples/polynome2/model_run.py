"""The run function: trains a network with one hidden layer and returns its R2 on the validation data."""

import functools

import numpy as np
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from load_data import load_data

# As scikit-learn has them
ACTIVATIONS = {"identity": "identity", "relu": "relu", "sigmoid": "logistic", "tanh": "tanh"}
MAX_EPOCHS = 60
PATIENCE = 10  # epochs without a better validation R2, after which training stops


@functools.cache  # one process runs many evaluations
def scaled_data():
    """The data with inputs and outputs of mean 0 and variance 1 in the training part."""
    (train_X, train_y), (valid_X, valid_y) = load_data()
    scale_X, scale_y = StandardScaler().fit(train_X), StandardScaler().fit(train_y)
    train = scale_X.transform(train_X), scale_y.transform(train_y).ravel()
    valid = scale_X.transform(valid_X), scale_y.transform(valid_y).ravel()
    return train, valid


def run(point):
    """The best validation R2 while training with point["units"], point["activation"] and point["lr"]."""
    (train_X, train_y), (valid_X, valid_y) = scaled_data()
    model = MLPRegressor(
        hidden_layer_sizes=(point["units"],),
        activation=ACTIVATIONS[point["activation"]],
        learning_rate_init=point["lr"],
        random_state=2018,
    )
    best_r2, best_epoch = -np.inf, 0
    for epoch in range(MAX_EPOCHS):
        model.partial_fit(train_X, train_y)  # one epoch
        r2 = r2_score(valid_y, model.predict(valid_X))
        if r2 > best_r2:
            best_r2, best_epoch = r2, epoch
        if epoch - best_epoch >= PATIENCE:
            print(f"Epoch {epoch + 1}: early stopping")
            break
    return best_r2
