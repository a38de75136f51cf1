"""The public names for type checkers and editors; at run time they are loaded on first use."""

from .bayesian import BayesianMLPClassifier as BayesianMLPClassifier
from .bayesian import BayesianMLPRegressor as BayesianMLPRegressor
from .metropolis import MetropolisClassifier as MetropolisClassifier
