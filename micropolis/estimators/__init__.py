"""scikit-learn estimators on the samplers and optimisers of the package."""

from __future__ import annotations

from .bayesian import BayesianMLPClassifier, BayesianMLPRegressor
from .metropolis import MetropolisClassifier

__all__ = ["BayesianMLPClassifier", "BayesianMLPRegressor", "MetropolisClassifier"]
