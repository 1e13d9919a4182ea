"""Trains a network on handwritten digits, for as many epochs as its argument says. It knows nothing of hpcsearch."""

import sys

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_like import SGD, CSVLogger, Sequential

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.25, random_state=0)

lr = 0.01
units = 32
print("learning rate = {}".format(lr))  # noqa: UP032
model = Sequential([units])
model.compile(loss="categorical_crossentropy", optimizer=SGD(lr=lr))
model.fit(
    x_train,
    y_train,
    validation_data=(x_test, y_test),
    epochs=int(sys.argv[1]),
    callbacks=[CSVLogger("training.csv")],
)
