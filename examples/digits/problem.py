"""The search space for a network that reads handwritten digits: five hyperparameters and one conditional one."""

import ConfigSpace

from hpcsearch import HpProblem

Problem = HpProblem()

Problem.add_hyperparameter((8, 256, "log-uniform"), "units")
Problem.add_hyperparameter(["relu", "tanh", "logistic"], "activation")
Problem.add_hyperparameter((1e-4, 1e-1, "log-uniform"), "lr")
Problem.add_hyperparameter([16, 32, 64, 128], "batch_size")
solver = Problem.add_hyperparameter(["adam", "sgd"], "solver")
momentum = Problem.add_hyperparameter((0.0, 0.99), "momentum", default_value=0.9)

# Only stochastic gradient descent has a momentum.
Problem.add_condition(ConfigSpace.EqualsCondition(momentum, solver, "sgd"))

Problem.add_starting_point(units=32, activation="relu", lr=0.001, batch_size=32, solver="adam")

if __name__ == "__main__":
    print(Problem)
