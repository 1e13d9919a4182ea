"""A little of Keras's interface over scikit-learn, so that the example beside it runs without TensorFlow."""

import numpy as np
from sklearn.neural_network import MLPClassifier


class SGD:
    """Gradient descent with momentum."""

    def __init__(self, lr=0.01, momentum=0.9):
        self.lr, self.momentum = lr, momentum


class CSVLogger:
    """Writes what each epoch came to as a line of a CSV file."""

    def __init__(self, filename):
        self.filename = filename

    def on_epoch_end(self, epoch, logs):
        with open(self.filename, "w" if epoch == 0 else "a") as file:  # noqa: PTH123 - as Keras does
            if epoch == 0:
                print("epoch", *logs, sep=",", file=file)
            print(epoch, *logs.values(), sep=",", file=file)


class Sequential:
    """A network of dense layers for classification."""

    def __init__(self, units):
        self.units = units

    def compile(self, loss, optimizer):
        assert loss == "categorical_crossentropy"
        self.model = MLPClassifier(
            hidden_layer_sizes=self.units,
            solver="sgd",
            learning_rate_init=optimizer.lr,
            momentum=optimizer.momentum,
            random_state=0,
        )

    def fit(self, x, y, validation_data, epochs, callbacks=()):
        for epoch in range(epochs):
            self.model.partial_fit(x, y, classes=np.unique(y))
            valid_x, valid_y = validation_data
            likelihood = self.model.predict_proba(valid_x)[np.arange(len(valid_y)), valid_y]
            logs = {
                "loss": self.model.loss_,
                "val_loss": float(-np.log(np.clip(likelihood, 1e-12, 1)).mean()),
                "val_accuracy": self.model.score(valid_x, valid_y),
            }
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs)
