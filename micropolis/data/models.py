"""Five posteriors of posteriordb as plain NumPy log densities on named parameters, with their reference summaries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..density import Density
from ..errors import InputError
from ..parameters import Parameter, Positive, Real

Array = NDArray[np.float64]
Data = dict[str, Any]
Model = tuple[Callable[..., Any], dict[str, Parameter]]

FOLDER = Path(__file__).parent / "posteriordb"


def _normal(x: Any, mean: Any, sd: Any) -> Any:
    """Log density of a normal, without the constant; `sd` is one number."""
    z = (x - mean) / sd
    return -0.5 * np.sum(z * z) - np.size(x) * np.log(sd)


def _half_cauchy(x: Any, scale: float) -> Any:
    return -np.log1p((x / scale) ** 2)


def _autoregression(data: Data) -> Model:
    y, order = np.array(data["y"], dtype=float), data["K"]
    past = np.column_stack([y[order - k : len(y) - k] for k in range(1, order + 1)])

    def log_density(alpha: Any, beta: Any, sigma: Any) -> Any:
        prior = _normal(alpha, 0.0, 10.0) + _normal(beta, 0.0, 10.0) + _half_cauchy(sigma, 2.5)
        return prior + _normal(y[order:], alpha + past @ beta, sigma)

    return log_density, {"alpha": Real(), "beta": Real(order), "sigma": Positive()}


def _earnings(data: Data) -> Model:
    height, male = np.array(data["height"], dtype=float), np.array(data["male"], dtype=float)
    x, y = np.column_stack([np.ones_like(height), height, male, height * male]), np.log(data["earn"])

    def log_density(beta: Any, sigma: Any) -> Any:
        return _normal(y, x @ beta, sigma)

    return log_density, {"beta": Real(4), "sigma": Positive()}


def _eight_schools(data: Data) -> Model:
    y, sigma = np.array(data["y"], dtype=float), np.array(data["sigma"], dtype=float)

    def log_density(theta_trans: Any, mu: Any, tau: Any) -> Any:
        prior = _normal(theta_trans, 0.0, 1.0) + _normal(mu, 0.0, 5.0) + _half_cauchy(tau, 5.0)
        return prior - 0.5 * np.sum(((y - (mu + tau * theta_trans)) / sigma) ** 2)

    return log_density, {"theta_trans": Real(len(y)), "mu": Real(), "tau": Positive()}


def _kidscore(data: Data) -> Model:
    school, iq = np.array(data["mom_hs"], dtype=float), np.array(data["mom_iq"], dtype=float)
    x, y = np.column_stack([np.ones_like(iq), school, iq, school * iq]), np.array(data["kid_score"], dtype=float)

    def log_density(beta: Any, sigma: Any) -> Any:
        return _half_cauchy(sigma, 2.5) + _normal(y, x @ beta, sigma)

    return log_density, {"beta": Real(4), "sigma": Positive()}


def _linear(data: Data) -> Model:
    x, y = np.array(data["X"], dtype=float), np.array(data["y"], dtype=float)

    def log_density(beta: Any, sigma: Any) -> Any:
        return _normal(beta, 0.0, 10.0) + _normal(sigma, 0.0, 10.0) + _normal(y, x @ beta, sigma)

    return log_density, {"beta": Real(x.shape[1]), "sigma": Positive()}


MODELS: dict[str, Callable[[Data], Model]] = {
    "arK-arK": _autoregression,
    "earnings-logearn_interaction": _earnings,
    "eight_schools-eight_schools_noncentered": _eight_schools,
    "kidiq-kidscore_interaction": _kidscore,
    "sblri-blr": _linear,
}
NAMES = tuple(MODELS)


@dataclass(frozen=True)
class Reference:
    """Summary of the reference draws of a posterior.

    Attributes
    ----------
    names : tuple of str
        Names of the k quantities, as posteriordb writes them.
    mean, sd, mean_error, sd_error : ndarray (k,)
        Posterior means and standard deviations and the Monte Carlo standard errors of both.
    draws : ndarray (1000, k)
        A thinned part of the draws, for pictures.
    """

    names: tuple[str, ...]
    mean: Array
    sd: Array
    mean_error: Array
    sd_error: Array
    draws: Array


class Posterior:
    """A model of posteriordb, its data, its log density and its reference.

    Attributes
    ----------
    name : str
    data : dict
    log_density : callable
        Plain NumPy function of the named, constrained parameters.
    parameters : dict of str to Parameter
    names : tuple of str
        Names of the reference quantities.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.data: Data = json.loads((FOLDER / name / "data.json").read_text())
        self.log_density, self.parameters = MODELS[name](self.data)

    def __repr__(self) -> str:
        return f"posteriordb({self.name!r})"

    @cached_property
    def density(self) -> Density:
        """The log density over unconstrained coordinates."""
        return Density.from_numpy(self.log_density, self.parameters)

    @cached_property
    def reference(self) -> Reference:
        """Means, standard deviations, their errors, and some draws."""
        with np.load(FOLDER / self.name / "reference.npz") as stored:
            arrays = {key: stored[key].astype(np.float64) for key in ("mean", "sd", "mean_error", "sd_error", "draws")}
            return Reference(names=tuple(map(str, stored["names"])), **arrays)

    @property
    def names(self) -> tuple[str, ...]:
        return self.reference.names

    def to_reference(self, values: Mapping[str, ArrayLike]) -> Array:
        """Reference quantities (..., k), in the order of `names`, of parameter values {name: (..., *shape)}.

        Anything that is indexed by parameter names will do, a Trace too.
        """
        arrays = {name: np.asarray(values[name], dtype=np.float64) for name in self.parameters}
        if "theta_trans" in arrays:  # the reference has the schools' effects themselves
            arrays["theta_trans"] = arrays["mu"][..., None] + arrays["tau"][..., None] * arrays["theta_trans"]
        columns = [v if self.parameters[name].shape else v[..., None] for name, v in arrays.items()]
        return np.concatenate(columns, axis=-1)

    def from_reference(self, draws: ArrayLike) -> dict[str, Array]:
        """Parameter values {name: (..., *shape)} of reference quantities (..., k): the inverse of `to_reference`."""
        array = np.asarray(draws, dtype=np.float64)
        values, start = {}, 0
        for name, parameter in self.parameters.items():
            part = array[..., start : start + parameter.size]
            values[name], start = (part if parameter.shape else part[..., 0]), start + parameter.size
        if "theta_trans" in values:
            values["theta_trans"] = (values["theta_trans"] - values["mu"][..., None]) / values["tau"][..., None]
        return values


def posteriordb(name: str) -> Posterior:
    """A posterior of posteriordb that ships with micropolis.

    Parameters
    ----------
    name : str
        One of `micropolis.data.NAMES`.

    Returns
    -------
    Posterior

    Examples
    --------
    >>> import micropolis as mp
    >>> from micropolis.data import posteriordb
    >>> posteriordb("sblri-blr").names[-1]
    'sigma'
    """
    if name not in MODELS:
        raise InputError(f"name: expected one of {', '.join(NAMES)}, got {name!r}")
    return Posterior(name)
