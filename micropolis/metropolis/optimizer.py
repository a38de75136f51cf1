"""MH: a network's weights moved by Metropolis-Hastings on the whole data set, without gradients."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._metropolis import Optimizer
from .._neural import CData, CLoss, CNetwork
from ..errors import InputError, InputTypeError
from ..neural.losses import Loss
from ..neural.network import Sequential
from .history import History, Scheduled, Step
from .runs import Run
from .weight_walk import WeightWalk, run_chains

__all__ = ["MH", "History", "Step", "run_chains"]


class MH(WeightWalk):
    """Metropolis-Hastings on the weights of a network: the loss is the energy.

    A step proposes theta' = theta + lr * Normal(0, I) and accepts when log u < (l(theta) - l(theta')) / T, with u
    uniform and l the mean (or sum) of the losses. The chain samples exp(-l(theta) / T); T -> 0 optimises. With n rows
    and the mean, T = 1 / n samples the posterior under a flat prior, which is improper where the data are separable:
    `tau` adds a Gaussian one, whose log ratio is added as it is, whatever T.

    Parameters
    ----------
    net : Sequential
        Its parameters are where the chain begins, and follow it.
    lr : float, array or callable
        Standard deviation of the proposal, > 0. An array gives the value of each step (the last one stays), a callable
        is ``lr(step) -> float``.
    T : float, array or callable
        Temperature, >= 0; 0 accepts what lowers the loss and nothing else, whatever the prior.
    seed : None, int, SeedSequence or Generator
    loss : "multiclass", "binary", "regression", "poisson" or callable
        Negative log likelihood of a row, see `micropolis.neural.losses.as_loss`; no gradient need be written.
    tau : float, optional
        Precision of the prior Normal(0, 1 / tau) of every weight; None for none.
    tau_out : float
        Precision of the noise, for "regression".
    reduction : "mean" or "sum"
        Which of the two T and all reported losses are meant by.
    early_rejection : bool
        Give a proposal up as soon as its running sum of losses says that it will be rejected. The chain is the same bit
        for bit, and faster, but `Step.proposal_nll` is not known then. Done only for losses that cannot be negative:
        "multiclass", "binary", and "regression" with tau_out <= 2 pi.

    Notes
    -----
    The loss of the current model is kept from step to step. It is computed again when X or y is another object, or has
    another shape, than in the last step, and when the network's parameters have been changed from outside. Values
    changed inside the same arrays are not seen, for inputs up to 256 MiB are copied: pass a new array. Larger ones are
    read where they are and must not change.

    Rows are looked at in the order of the losses that they had some steps ago, greatest first, which about halves the
    rows that a rejection takes. The order is the same without early rejection.

    References
    ----------
    Metropolis et al. (1953), "Equation of state calculations by fast computing machines".

    Examples
    --------
    >>> import numpy as np
    >>> import micropolis as mp
    >>> from micropolis.neural import Linear, Sequential
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> net = Sequential(Linear(1, 2), seed=0)
    >>> opt = mp.MH(net, lr=0.5, T=0.01, seed=0)
    >>> history = opt.run(X, X[:, 0] > 0, steps=500)
    >>> bool(history.best_nll < 0.2), len(history)
    (True, 500)
    """

    name: ClassVar[str] = "MH"

    def __init__(
        self,
        net: Sequential,
        lr: Scheduled,
        T: Scheduled,
        *,
        seed: Any = None,
        loss: Loss = "multiclass",
        tau: float | None = None,
        tau_out: float = 1.0,
        reduction: str = "mean",
        early_rejection: bool = True,
    ) -> None:
        super().__init__(net, lr, T, seed=seed, loss=loss, tau=tau, tau_out=tau_out, reduction=reduction)
        if not isinstance(early_rejection, bool | np.bool_):
            raise InputTypeError(f"early_rejection: expected True or False, got {early_rejection!r}")
        self.early_rejection = bool(early_rejection)
        self._seen: dict[str, Any] | None = None  # what a state restored says of its data

    def step(self, X: Any, y: Any) -> Step:
        """One step; `net` has the result.

        Parameters
        ----------
        X, y : array_like
            As for `micropolis.neural.Sequential.data`.

        Returns
        -------
        Step

        Raises
        ------
        InputError
            Data that do not fit, or a loss at the present weights that is not finite.
        """
        return self._step(X, y)

    def run(self, X: Any, y: Any, steps: int, *, progress: bool | None = None) -> History:
        """Many steps, compiled: the same chain as `step` makes; `net` has the result.

        Parameters
        ----------
        X, y : array_like
            As for `step`.
        steps : int
        progress : bool, optional
            As for `micropolis.sample`.

        Returns
        -------
        History
            After Ctrl-C with the steps that were made; another run goes on from there.

        Raises
        ------
        InputError
            As for `step`.
        """
        return self._run(X, y, steps, progress)

    @property
    def best_nll(self) -> float:
        """Least loss so far on the present data; NaN before the first step."""
        return math.nan if self._loop is None else self._loop.best[1] / self._unit

    @property
    def best_model(self) -> Sequential | None:
        """A copy of the network with the weights that have it; None before the first step."""
        if self._loop is None:
            return None
        model = self.net.copy()
        model.parameters = self._loop.best[0]
        return model

    @property
    def _unit(self) -> float:
        return 1.0 if self.reduction == "sum" else float(self._loop.n)

    def _make_loop(self, network: CNetwork, loss: CLoss, data: CData) -> Optimizer:
        seen, self._seen = self._seen, None
        if seen is not None and seen["rows"] == data.n:
            loop = self._loop_of(network, loss, data, seen["order"], int(seen["age"]))
            loop.place(seen["at"])
            if loop.start() == seen["now"]:  # the data that the saved state had
                self._seen = seen
                return loop
        return self._loop_of(network, loss, data, None, 0)

    def _loop_of(
        self, network: CNetwork, loss: CLoss, data: CData, order: NDArray[np.int64] | None, age: int
    ) -> Optimizer:
        stream, tau, sums = self._bit_generator, self.tau or 0.0, self.reduction == "sum"
        return Optimizer(
            network, loss, data, stream, tau, sums, self._position, self.early_rejection, order=order, age=age
        )

    def _started(self, loop: Optimizer, same_data: bool) -> None:
        best = loop.best if same_data else None
        total = loop.start()
        if not math.isfinite(total):
            raise InputError(f"net: expected a finite loss at its parameters, got {total:g}")
        if self._seen is not None:
            if np.array_equal(self._seen["at"], self.net.parameters):
                loop.sum = float(self._seen["sum"])
            best = np.asarray(self._seen["best"]), float(self._seen["best_sum"])
        if best is not None and best[1] < total:
            loop.best = best
        self._seen = None

    def _work(self, run: Run) -> None:
        self._loop.run(run.records, run.control, run.progress)

    def _best(self, run: Run) -> tuple[float, NDArray[Any] | None]:
        weights, total = self._loop.best
        return total / self._unit, weights

    def _memory(self) -> dict[str, Any]:
        if self._loop is None:
            return {"seen": self._seen}
        weights, total = self._loop.best
        loop = self._loop
        seen = {"rows": loop.n, "order": loop.order, "age": loop.age, "sum": loop.sum, "now": loop.loss_sum()}
        return {"seen": {**seen, "at": loop.theta.copy(), "best": weights, "best_sum": total}}

    def _recall(self, memory: dict[str, Any]) -> None:
        self._seen = memory["seen"]
