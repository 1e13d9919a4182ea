"""The run function: trains a classifier on scikit-learn's handwritten digits and returns its validation accuracy."""

import functools

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

EPOCHS = 40


@functools.cache  # one process runs many evaluations
def data():
    """Returns train_X, valid_X, train_y, valid_y: 1,797 images of 8 x 8 pixels, a quarter of them for validation."""
    images, digits = load_digits(return_X_y=True)
    return train_test_split(images / 16, digits, test_size=0.25, random_state=0, stratify=digits)


def run(config):
    """The validation accuracy after training for EPOCHS epochs, with the loss as metadata."""
    train_X, valid_X, train_y, valid_y = data()
    model = MLPClassifier(
        hidden_layer_sizes=(config["units"],),
        activation=config["activation"],
        learning_rate_init=config["lr"],
        batch_size=config["batch_size"],
        solver=config["solver"],
        momentum=config.get("momentum", 0.9),  # absent unless the solver is sgd
        random_state=0,
    )
    for _ in range(EPOCHS):
        model.partial_fit(train_X, train_y, classes=range(10))  # one epoch
    return {"objective": model.score(valid_X, valid_y), "training_loss": model.loss_}
