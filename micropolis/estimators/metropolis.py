"""MetropolisClassifier: a network trained without gradients, by accepting or rejecting random steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..metropolis.minibatch import MMH, TESTS
from ..metropolis.optimizer import MH
from . import common

EVALUATIONS = 100  # of the loss on all rows during a minibatch run, to find its best model


class MetropolisClassifier(common.base.ClassifierMixin, common.base.BaseEstimator):  # type: ignore[misc]
    """Multilayer perceptron trained by Metropolis-Hastings on its weights.

    The weights move by random steps, accepted by the change of the mean cross-entropy at temperature T; predictions are
    those of the best model that was seen. Scale the features to about one: steps and initial weights are of that size.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers; () is logistic regression.
    lr : float, array or callable
        Standard deviation of the proposals.
    T : float, array or callable, optional
        Temperature, for the mean of the losses: 1 / n samples the posterior of n rows under a flat prior. None: 3 / n.
    steps : int
    tau : float, optional
        Precision of a Gaussian prior on every weight; None for none.
    activation : "relu", "selu", "sigmoid" or "tanh"
    test : None, "naive", "barker" or "exact"
        None looks at all rows in every step (`micropolis.MH`), the others at minibatches (`micropolis.MMH`).
    batch_size : int
        Rows of a minibatch, at most all there are; not used with ``test=None``.
    dtype : "float64" or "float32"
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray, where X has column names
    net_ : micropolis.neural.Sequential
        The best model: of all steps with ``test=None``, else of 100 that were evaluated on all rows.
    loss_ : float
        Its mean cross-entropy on the training data.
    history_ : micropolis.metropolis.history.History
        Step by step: losses, acceptance, rows used.

    Examples
    --------
    >>> import micropolis as mp
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(n_samples=500, noise=0.1, random_state=0)
    >>> model = mp.estimators.MetropolisClassifier(random_state=0).fit(X, y)
    >>> model.predict_proba(X).shape, bool(model.score(X, y) > 0.95)
    ((500, 2), True)
    """

    def __init__(
        self,
        hidden: Any = (10, 10),
        lr: Any = 0.1,
        T: Any = None,
        steps: int = 2000,
        *,
        tau: float | None = None,
        activation: str = "relu",
        test: str | None = None,
        batch_size: int = 64,
        dtype: str = "float64",
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.lr = lr
        self.T = T
        self.steps = steps
        self.tau = tau
        self.activation = activation
        self.test = test
        self.batch_size = batch_size
        self.dtype = dtype
        self.random_state = random_state

    @common.whole
    def fit(self, X: ArrayLike, y: ArrayLike) -> MetropolisClassifier:
        """Train.

        Parameters
        ----------
        X : array_like (n, n_features)
        y : array_like (n,)
            Labels of any type, at least two different ones.

        Returns
        -------
        MetropolisClassifier
            Itself.

        Raises
        ------
        ValueError
            Data that scikit-learn does not take, or an option (an InputError, which names it).
        """
        steps = checks.integer("steps", self.steps, least=1)
        size = checks.integer("batch_size", self.batch_size, least=1)
        if self.test is not None:
            checks.choice("test", self.test, TESTS)
        rows, answers = common.validation.validate_data(self, X, y, dtype=np.float64, order="C")
        self.classes_, labels = common.encode(answers)
        initial, walk = common.streams(self.random_state, 2)
        net = common.build(
            rows.shape[1], self.hidden, len(self.classes_), self.activation, self.dtype, np.random.default_rng(initial)
        )
        temperature = 3 / len(rows) if self.T is None else self.T
        if self.test is None:
            full = MH(net, self.lr, temperature, seed=walk, tau=self.tau)
            self.history_ = full.run(rows, labels, steps, progress=False)
        else:
            mini = MMH(net, self.lr, temperature, self.test, seed=walk, tau=self.tau)
            every = max(1, steps // EVALUATIONS)
            self.history_ = mini.run(rows, labels, steps, min(size, len(rows)), evaluate_every=every, progress=False)
        best = self.history_.best_model
        if best is None:  # not even the loss of the initial weights was computed
            raise KeyboardInterrupt
        self.net_, self.loss_ = best, self.history_.best_nll
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities (n, n_classes), columns in the order of ``classes_``."""
        from scipy.special import softmax

        common.validation.check_is_fitted(self, "net_")
        rows = common.validation.validate_data(self, X, dtype=np.float64, order="C", reset=False)
        return softmax(common.checked_outputs(self.net_(rows)).astype(np.float64), axis=1)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of every row, (n,)."""
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]
