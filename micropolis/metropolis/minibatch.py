"""MMH: a network's weights moved by Metropolis-Hastings tests on random minibatches."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import checks
from .._metropolis import Minibatch
from .._neural import CData, CLoss, CNetwork
from ..errors import InputError
from ..neural.losses import Loss
from ..neural.network import Sequential
from .history import History, Scheduled, Step
from .runs import Run
from .weight_walk import WeightWalk

TESTS = ("naive", "barker", "exact")


class MMH(WeightWalk):
    """Minibatch Metropolis-Hastings on the weights of a network.

    A step proposes theta' = theta + lr * Normal(0, I) and looks at b rows, drawn without replacement. With
    d_i = loss_i(theta) - loss_i(theta') and c = 1 (``reduction="mean"``) or n ("sum") it accepts, for `test`

    - "naive": when log u < c mean(d) / T. The Metropolis test with an estimate in the place of the ratio: biased,
      kept as the baseline.
    - "barker": when c mean(d) + T `noise` Normal(0, 1) > 0. Barker's rule but for a normal in the place of a logistic
      variable, and the minibatch's own scatter on top.
    - "exact": Barker's rule, with the minibatch's scatter as part of its noise. The minibatch grows until the variance
      of c mean(d) / T, s^2 = (c / T)^2 (1 - b / n) var(d) / b, is at most 1; then Normal(0, 1 - s^2) and a correction
      make the whole a logistic variable to 5.3e-8. At b = n it is the exact full-batch Barker test.

    A prior's log ratio is added to the log ratio as it is.

    Parameters
    ----------
    net : Sequential
        Its parameters are where the chain begins, and follow it.
    lr, T : float, array or callable
        As for `MH`. T = 0 is for "barker" alone and accepts when mean(d) > 0. For a posterior take T = 1 and
        ``reduction="sum"``.
    test : "naive", "barker" or "exact"
    seed, loss, tau, tau_out, reduction
        As for `MH`.
    noise : float
        Standard deviation of the "barker" test's normal, > 0: at 1 its acceptance differs from Barker's by up to
        0.117, at 1.702 by up to 0.0095.

    Notes
    -----
    "exact" trusts the variance of the rows it starts from. From a handful it is now and then far too small, and
    acceptance is off by 0.02 to 0.04: start from at least 64 rows. It also takes the minibatch mean for normal.

    The data are read where they are, and must not change between steps.

    References
    ----------
    Bardenet, Doucet & Holmes (2017), "On Markov chain Monte Carlo methods for tall data".
    Seita, Pan, Chen & Canny (2017), "An efficient minibatch acceptance test for Metropolis-Hastings".

    Examples
    --------
    >>> import numpy as np
    >>> import micropolis as mp
    >>> from micropolis.neural import Linear, Sequential
    >>> X = np.linspace(-1, 1, 500)[:, None]
    >>> opt = mp.MMH(Sequential(Linear(1, 2), seed=0), lr=0.1, T=0.01, test="exact", seed=0)
    >>> history = opt.run(X, X[:, 0] > 0, steps=300, batch_size=64)
    >>> int(history.rows_used.min()), bool(history.rows_used.mean() < 400)
    (64, True)
    """

    name: ClassVar[str] = "MMH"

    def __init__(
        self,
        net: Sequential,
        lr: Scheduled,
        T: Scheduled,
        test: str = "exact",
        *,
        seed: Any = None,
        loss: Loss = "multiclass",
        tau: float | None = None,
        tau_out: float = 1.0,
        reduction: str = "mean",
        noise: float = 1.0,
    ) -> None:
        self.test = checks.choice("test", test, TESTS)
        zero = test == "barker"
        why = f": test={test!r} divides by T; test='barker' takes T = 0"
        super().__init__(
            net, lr, T, seed=seed, loss=loss, tau=tau, tau_out=tau_out, reduction=reduction, zero=zero, why=why
        )
        self.noise = checks.real("noise", noise, above=0)
        self._permutation: NDArray[np.int64] | None = None
        self._found: tuple[float, NDArray[Any]] | None = None  # (sum, weights) of the best model evaluated
        self._seen: dict[str, Any] | None = None  # what a state restored says of its best model

    def step(self, X: Any, y: Any, batch_size: int = 64) -> Step:
        """One step; `net` has the result.

        Parameters
        ----------
        X, y : array_like
            As for `micropolis.neural.Sequential.data`.
        batch_size : int
            Rows of the minibatch, 1..n; at least 2 for "exact", which may enlarge it.

        Returns
        -------
        Step
            Losses are those of the minibatch.

        Raises
        ------
        InputError
            Data that do not fit, or fewer rows than `batch_size`.
        """
        return self._step(X, y, batch_size=batch_size)

    def run(
        self, X: Any, y: Any, steps: int, batch_size: int = 64, *, evaluate_every: int | None = None,
        progress: bool | None = None,
    ) -> History:  # fmt: skip
        """Many steps, compiled: the same chain as `step` makes; `net` has the result.

        Parameters
        ----------
        X, y : array_like
            As for `step`.
        steps : int
        batch_size : int
            As for `step`.
        evaluate_every : int, optional
            Compute the loss on the whole data set at the start, after every so many steps and at the end; the history
            then has these losses and the best model among those evaluated. None: no step looks at more rows than its
            test does.
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
        return self._run(X, y, steps, progress, batch_size=batch_size, evaluate_every=evaluate_every)

    def _options(self, batch_size: Any = 64, evaluate_every: Any = None, **options: Any) -> dict[str, Any]:
        super()._options(**options)
        n = self._loop.n
        least = 2 if self.test == "exact" and n > 1 else 1
        size = checks.integer("batch_size", batch_size, least=1)
        if not least <= size <= n:
            raise InputError(f"batch_size: expected an integer in {least}..{n} (the rows of X), got {size}")
        every = None if evaluate_every is None else checks.integer("evaluate_every", evaluate_every, least=1)
        return {"batch_size": size, "evaluate_every": every, "evaluated": []}

    def _make_loop(self, network: CNetwork, loss: CLoss, data: CData) -> Minibatch:
        permutation = self._permutation
        if permutation is None or len(permutation) != data.n:
            permutation = np.arange(data.n)
        sums = self.reduction == "sum"
        return Minibatch(
            network, loss, data, self._bit_generator, self.tau or 0.0, sums, self._position, self.test, self.noise,
            permutation,
        )  # fmt: skip

    def _started(self, loop: Minibatch, same_data: bool) -> None:
        self._permutation = loop.permutation
        if not same_data:
            seen, self._found, self._seen = self._seen, None, None
            if seen is not None and seen["rows"] == loop.n:
                loop.place(seen["weights"])
                if loop.loss_sum() == seen["sum"]:  # the data are the same
                    self._found = float(seen["sum"]), np.asarray(seen["weights"])
                loop.place(self.net.parameters)

    def _work(self, run: Run) -> None:
        every, total = run.options["evaluate_every"], len(run.records)
        self._evaluate(run)
        for start in range(0, total, every or max(total, 1)):
            stop = min(start + (every or total), total)
            self._loop.run(run.records[start:stop], run.options["batch_size"], run.control, run.progress)
            if run.progress[0] < stop:
                break
            self._evaluate(run)

    def _evaluate(self, run: Run) -> None:
        if run.options["evaluate_every"] is None:
            return
        weights = self._loop.theta.copy()
        total = self._loop.loss_sum()
        unit = 1.0 if self.reduction == "sum" else float(self._loop.n)
        run.options["evaluated"].append((int(run.progress[0]), total / unit))
        if self._found is None or not self._found[0] <= total:
            self._found = total, weights

    def _best(self, run: Run) -> tuple[float, NDArray[Any] | None]:
        if self._found is None:
            return math.nan, None
        return self._found[0] / (1.0 if self.reduction == "sum" else float(self._loop.n)), self._found[1]

    def _memory(self) -> dict[str, Any]:
        permutation, seen = self._permutation, self._seen
        if self._loop is not None and self._found is not None:
            total, weights = self._found
            seen = {"rows": self._loop.n, "sum": total, "weights": weights}
        return {"permutation": None if permutation is None else permutation.copy(), "seen": seen}

    def _recall(self, memory: dict[str, Any]) -> None:
        permutation = memory["permutation"]
        self._permutation = None if permutation is None else np.asarray(permutation)
        self._found, self._seen = None, memory["seen"]
