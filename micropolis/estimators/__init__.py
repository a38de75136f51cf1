"""scikit-learn estimators on the samplers and optimisers of the package; they need scikit-learn."""

from __future__ import annotations

import importlib
from typing import Any

# public name -> module of this package that has it; loaded on first use
_PUBLIC = {
    "MetropolisClassifier": "metropolis",
    "BayesianMLPClassifier": "bayesian",
    "BayesianMLPRegressor": "bayesian",
}

__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
