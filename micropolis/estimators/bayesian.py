"""Bayesian multilayer perceptrons: predictions averaged over draws from the posterior of the weights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks, diagnostics
from ..bayes import predict_model
from ..chains import ascend
from ..density import Density
from ..errors import InputError, SamplingWarning
from ..hamiltonian.nuts import NUTS
from ..neural.network import Sequential
from ..neural.posterior import Posterior
from ..sampling import sample
from . import common
from .predictive import UnknownNoise, mixture_quantiles

BLOCK = 2**21  # outputs held at once
DEPTH = 7  # of the default kernel: longer trajectories cost more than they gain for such posteriors
WATCHED = 100  # rows whose predictions are compared between chains
R_HAT_LIMIT = 1.05


class _BayesianMLP(common.base.BaseEstimator):  # type: ignore[misc]
    """Options, sampling and checks of both; subclasses say what is measured and how outputs become predictions."""

    def __init__(
        self,
        hidden: Any = (10, 10),
        activation: str = "tanh",
        tau: Any = None,
        *,
        kernel: Any = None,
        warmup: int = 300,
        draws: int = 300,
        chains: int = 4,
        standardize: bool = True,
        threads: int | None = None,
        dtype: str = "float64",
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.tau = tau
        self.kernel = kernel
        self.warmup = warmup
        self.draws = draws
        self.chains = chains
        self.standardize = standardize
        self.threads = threads
        self.dtype = dtype
        self.random_state = random_state

    def _networks(self, n_inputs: int, n_outputs: int, seed: np.random.SeedSequence) -> list[Sequential]:
        """One for each chain, with initial weights of its own."""
        chains, rng = checks.integer("chains", self.chains, least=1), np.random.default_rng(seed)
        return [common.build(n_inputs, self.hidden, n_outputs, self.activation, self.dtype, rng) for _ in range(chains)]

    def _precisions(self, net: Sequential) -> Any:
        """`tau`, or one for each tensor."""
        if self.tau is not None:
            return self.tau
        precisions = [float(shape[1]) if len(shape) == 2 else 1.0 for _, shape in net.layout.values()]
        if len(precisions) > 2:  # units of the first layer turn anywhere in data of scale 1, and more than once
            precisions[:2] = [precisions[0] / 4, precisions[1] / 4]
        return precisions

    def _sample(self, density: Density, nets: list[Sequential], seed: np.random.SeedSequence) -> None:
        """Set `net_` and `trace_`; warnings on single weights are kept back: units may change places (see `_watch`)."""
        checks.integer("draws", self.draws, least=1)
        init = np.array([net.parameters for net in nets], dtype=np.float64)
        for point in init:  # of many rows random weights make a cliff, at whose foot no metric is learned
            ascend(density._bind(), point)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)
            trace = sample(
                density,
                NUTS(max_depth=DEPTH) if self.kernel is None else self.kernel,
                draws=self.draws,
                warmup=self.warmup,
                chains=len(nets),
                init=init,
                seed=seed,
                threads=self.threads,
                progress=False,
                dtype=nets[0].dtype.name,
            )
        if trace.n_draws < self.draws:  # Ctrl-C
            if trace.n_draws == 0:
                raise KeyboardInterrupt
            got = f"{type(self).__name__}: interrupted, {trace.n_draws} of {self.draws} draws"
            warnings.warn(got, SamplingWarning, stacklevel=4)
        self.net_, self.trace_ = nets[0], trace

    def _watch(self, rows: NDArray[np.float64]) -> None:
        """Set `r_hat_` and warn where chains predict different things."""
        parts = self._outputs(rows[:: math.ceil(len(rows) / WATCHED)])
        predicted = np.concatenate([self._predictions(part) for _, part in parts], axis=1)
        self.r_hat_ = math.nan
        if self.trace_.n_draws >= 4:
            r_hat = diagnostics.r_hat_and_ess(predicted.reshape(self.trace_.n_chains, self.trace_.n_draws, -1))[0]
            self.r_hat_ = float(np.nanmax(r_hat)) if not np.all(np.isnan(r_hat)) else math.nan
        divergent = int(self.trace_.stats["divergent"].sum())
        if self.r_hat_ > R_HAT_LIMIT or divergent:
            warnings.warn(
                f"{type(self).__name__}: predictions have R-hat {self.r_hat_:.3g} (at most {R_HAT_LIMIT} is good), "
                f"{divergent} of {self.trace_.stats.size} draws are divergent: take more warmup and draws",
                SamplingWarning,
                stacklevel=4,
            )

    def _predictions(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """What the outputs (S, rows, n_outputs) of the network predict."""
        raise NotImplementedError

    def _outputs(self, rows: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Outputs (S, some rows, n_outputs) for all draws, block by block."""
        draws = self.trace_.draws
        size = max(1, BLOCK // (draws.shape[0] * draws.shape[1] * self.net_.bind().n_outputs))
        for start in range(0, len(rows), size):
            part = slice(start, min(start + size, len(rows)))
            outputs, _ = predict_model(self.net_, draws, rows[part], threads=self.threads)
            yield part, common.checked_outputs(outputs).astype(np.float64)

    def _scales(self, values: NDArray[np.float64]) -> tuple[Any, Any]:
        """(mean, standard deviation) by column, 0 and 1 where nothing is to be standardised; constants keep scale 1."""
        if not self.standardize:
            return np.zeros(values.shape[1:])[()], np.ones(values.shape[1:])[()]
        return common.scales(values)

    def _rows(self, X: ArrayLike) -> NDArray[np.float64]:
        """X as the network sees it."""
        common.validation.check_is_fitted(self, "net_")
        rows = common.validation.validate_data(self, X, dtype=np.float64, order="C", reset=False)
        with np.errstate(over="ignore"):
            return common.checked_rows((rows - self.mean_) / self.scale_, np.dtype(self.dtype))


class BayesianMLPClassifier(common.base.ClassifierMixin, _BayesianMLP):  # type: ignore[misc]
    """Multilayer perceptron whose predictions average over the posterior of its weights.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers; () is logistic regression.
    activation : "relu", "selu", "sigmoid" or "tanh"
    tau : float or sequence of float, optional
        Precision of the Gaussian prior, one for all weights or one for each tensor (weights and biases of the first
        layer, of the second, ...). None: the number of inputs of its layer for a weight, 1 for a bias; a quarter of
        that in the first of several layers.
    kernel : Kernel, optional
        Default ``NUTS(max_depth=7)``.
    warmup, draws, chains : int
        Of each chain; each begins at random weights of its own, or uphill of them where the posterior is steep.
    standardize : bool
        Bring the features to mean 0 and standard deviation 1 first, the scale that the prior is meant for.
    threads : int, optional
        Default one per available core. Results do not depend on it.
    dtype : "float64" or "float32"
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray, where X has column names
    mean_, scale_ : ndarray (n_features,)
        Taken off the features, and what they are divided by.
    trace_ : micropolis.Trace
        Draws of the weights of `net_`.
    net_ : micropolis.neural.Sequential
    r_hat_ : float
        Largest split R-hat of the predicted probabilities on (up to 100) training rows; fit warns above 1.05. That of
        single weights says nothing, since units may change places.

    Examples
    --------
    >>> import micropolis as mp
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(n_samples=100, noise=0.1, random_state=0)
    >>> model = mp.estimators.BayesianMLPClassifier((5,), warmup=200, draws=100, chains=2, random_state=0).fit(X, y)
    >>> model.predict_proba(X).shape, bool(model.score(X, y) > 0.9)
    ((100, 2), True)
    """

    @common.whole
    def fit(self, X: ArrayLike, y: ArrayLike) -> BayesianMLPClassifier:
        """Sample the posterior.

        Parameters
        ----------
        X : array_like (n, n_features)
        y : array_like (n,)
            Labels of any type, at least two different ones.

        Returns
        -------
        BayesianMLPClassifier
            Itself.

        Raises
        ------
        ValueError
            Data that scikit-learn does not take, or an option (an InputError, which names it).
        """
        rows, answers = common.validation.validate_data(self, X, y, dtype=np.float64, order="C")
        self.classes_, labels = common.encode(answers)
        self.mean_, self.scale_ = self._scales(rows)
        rows = (rows - self.mean_) / self.scale_
        initial, chains = common.streams(self.random_state, 2)
        nets = self._networks(rows.shape[1], len(self.classes_), initial)
        self._sample(Posterior(nets[0], rows, labels, tau=self._precisions(nets[0])), nets, chains)
        self._watch(rows)
        return self

    def _predictions(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        from scipy.special import softmax

        return softmax(outputs, axis=-1)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Posterior predictive probabilities (n, n_classes), columns in the order of ``classes_``."""
        rows = self._rows(X)
        return np.concatenate([self._predictions(outputs).mean(axis=0) for _, outputs in self._outputs(rows)])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of every row, (n,)."""
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]


class BayesianMLPRegressor(common.base.RegressorMixin, _BayesianMLP):  # type: ignore[misc]
    """Multilayer perceptron with Gaussian noise, whose predictions average over the posterior of its weights.

    A noise precision that is not given is learned: under a Gamma prior it is integrated out of the posterior of the
    weights, p(theta | y) ~ p(theta) (rate + S(theta) / 2)^-(shape + n / 2) with S the residual sum of squares, and for
    each draw of the weights one is drawn from Gamma(shape + n / 2, rate + S / 2). Both together are exact draws from
    the joint posterior, and no chain has to walk along the noise scale.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers; () is linear regression.
    activation : "relu", "selu", "sigmoid" or "tanh"
    tau : float or sequence of float, optional
        Precision of the Gaussian prior, as for `BayesianMLPClassifier`.
    tau_out : float, optional
        Precision of the noise, in the units of y (1 / variance). None: learned.
    noise_prior : tuple of float
        (shape, rate) of the Gamma prior of a learned precision, for the standardised y: worth 2 shape observations
        with a residual sum of squares of 2 rate.
    kernel, warmup, draws, chains, threads, dtype, random_state
        As for `BayesianMLPClassifier`.
    standardize : bool
        Bring features and y to mean 0 and standard deviation 1 first, the scale that the priors are meant for;
        predictions are in the units of y.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray, where X has column names
    mean_, scale_ : ndarray (n_features,)
    y_mean_, y_scale_ : float
        Taken off the features and y, and what they are divided by.
    tau_out_ : ndarray (chains * draws,)
        Noise precision of every draw, in the units of y.
    trace_, net_, r_hat_
        As for `BayesianMLPClassifier`; `r_hat_` is that of the network's outputs.

    Examples
    --------
    >>> import micropolis as mp, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2, 2, (80, 1))
    >>> y = np.sin(2 * X[:, 0]) + 0.1 * rng.standard_normal(80)
    >>> model = mp.estimators.BayesianMLPRegressor((8,), warmup=200, draws=100, chains=2, random_state=0).fit(X, y)
    >>> mean, sd = model.predict(X, return_std=True)
    >>> mean.shape, bool(0.08 < sd.mean() < 0.15), model.predict_quantiles(X, [0.05, 0.95]).shape
    ((80,), True, (80, 2))
    """

    def __init__(
        self,
        hidden: Any = (10, 10),
        activation: str = "tanh",
        tau: Any = None,
        *,
        tau_out: float | None = None,
        noise_prior: Any = (1.0, 1e-3),
        kernel: Any = None,
        warmup: int = 300,
        draws: int = 300,
        chains: int = 4,
        standardize: bool = True,
        threads: int | None = None,
        dtype: str = "float64",
        random_state: Any = None,
    ) -> None:
        super().__init__(
            hidden, activation, tau, kernel=kernel, warmup=warmup, draws=draws, chains=chains, standardize=standardize,
            threads=threads, dtype=dtype, random_state=random_state,
        )  # fmt: skip
        self.tau_out = tau_out
        self.noise_prior = noise_prior

    @common.whole
    def fit(self, X: ArrayLike, y: ArrayLike) -> BayesianMLPRegressor:
        """Sample the posterior.

        Parameters
        ----------
        X : array_like (n, n_features)
        y : array_like (n,)

        Returns
        -------
        BayesianMLPRegressor
            Itself.

        Raises
        ------
        ValueError
            Data that scikit-learn does not take, or an option (an InputError, which names it).
        """
        rows, targets = common.validation.validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True)
        targets = checks.numbers("y", targets)
        self.mean_, self.scale_ = self._scales(rows)
        mean, scale = self._scales(targets)
        self.y_mean_, self.y_scale_ = float(mean), float(scale)
        common.check_scale(self.y_scale_)
        rows, targets = (rows - self.mean_) / self.scale_, (targets - self.y_mean_) / self.y_scale_
        initial, chains, noise = common.streams(self.random_state, 3)
        nets = self._networks(rows.shape[1], 1, initial)
        precisions = self._precisions(nets[0])
        if self.tau_out is None:
            unknown = UnknownNoise(nets[0], rows, targets, precisions, self.noise_prior)
            self._sample(unknown, nets, chains)
            learned = unknown.draw(self.trace_.draws, np.random.default_rng(noise))
            self.tau_out_ = learned / self.y_scale_**2
        else:
            given = checks.real("tau_out", self.tau_out, above=0)
            scaled = given * self.y_scale_**2
            density = Posterior(nets[0], rows, targets, loss="regression", tau=precisions, tau_out=scaled)
            self._sample(density, nets, chains)
            self.tau_out_ = np.full(self.trace_.n_chains * self.trace_.n_draws, given)
        self._watch(rows)
        return self

    def _predictions(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        return self.y_mean_ + self.y_scale_ * outputs[..., 0]

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Posterior predictive mean, and on request its standard deviation.

        Parameters
        ----------
        X : array_like (n, n_features)
        return_std : bool

        Returns
        -------
        mean : ndarray (n,)
        sd : ndarray (n,)
            Of a new observation: noise included. Only with `return_std`.
        """
        rows = self._rows(X)
        mean, variance = np.empty(len(rows)), np.empty(len(rows))
        for part, outputs in self._outputs(rows):
            predicted = self._predictions(outputs)
            mean[part], variance[part] = predicted.mean(axis=0), predicted.var(axis=0)
        return (mean, np.sqrt(variance + np.mean(1 / self.tau_out_))) if return_std else mean

    def predict_quantiles(self, X: ArrayLike, q: ArrayLike) -> NDArray[np.float64]:
        """Quantiles of a new observation: of the mixture of normals, one for each draw, noise included.

        Parameters
        ----------
        X : array_like (n, n_features)
        q : float or array_like (k,)
            Probabilities, in (0, 1).

        Returns
        -------
        ndarray (n,) or (n, k)
        """
        rows = self._rows(X)
        levels = checks.numbers("q", q)
        if not np.all((levels > 0) & (levels < 1)):
            raise InputError(f"q: expected probabilities between 0 and 1, got {q!r}")
        result = np.empty((len(rows), levels.size))
        for part, outputs in self._outputs(rows):
            result[part] = mixture_quantiles(self._predictions(outputs), 1 / np.sqrt(self.tau_out_), levels.ravel())
        return result.reshape(len(rows), *levels.shape)
