"""Two moons told apart by a network whose weights do a random walk: 2000 accept/reject decisions, no gradients."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import moons
from ..errors import MissingExtraError
from ..metropolis.history import History
from ..metropolis.optimizer import MH
from ..neural.layers import Linear, ReLU
from ..neural.network import Sequential
from . import end_if

PICTURE = "micropolis_moons.png"
POINTS, NOISE, LR, TEMPERATURE, STEPS = 500, 0.1, 0.1, 3 / 500, 2000
REPEATS = 5


class Training(NamedTuple):
    """One training: the data, the network before it, what the chain did."""

    X: NDArray[np.float64]
    y: NDArray[np.int64]
    before: Sequential
    history: History


def network(seed: int) -> Sequential:
    """2-10-10-2 with ReLU, 162 parameters."""
    return Sequential(Linear(2, 10), ReLU(), Linear(10, 10), ReLU(), Linear(10, 2), seed=seed)


def train(seed: int = 0, early_rejection: bool = False) -> Training:
    """Train the 2-10-10-2 network on the moons of `seed`."""
    X, y = moons(POINTS, NOISE, seed)
    net = network(seed)
    before = net.copy()
    opt = MH(net, lr=LR, T=TEMPERATURE, seed=seed, early_rejection=early_rejection)
    history = opt.run(X, y, steps=STEPS)
    end_if(history.interrupted)
    return Training(X, y, before, history)


def accuracy(net: Sequential, X: Any, y: Any) -> float:
    """Fraction of the rows whose largest output is that of their label."""
    return float(np.mean(np.argmax(net(X), axis=1) == y))


def run(seed: int) -> None:
    """Train, print what came of it, write a picture."""
    result = train(seed)
    X, y, before, history = result
    best = history.best_model
    assert best is not None
    start = float(before.losses(X, y).mean())
    size = before.n_parameters
    print(f"Two moons, {POINTS} points: a network of {size} weights, {STEPS} Metropolis steps, no gradients.")
    print(f"  acceptance {history.acceptance:.3f}, loss {start:.3f} -> {history.best_nll:.4f} (best), "
          f"accuracy {accuracy(before, X, y):.3f} -> {accuracy(best, X, y):.3f}")  # fmt: skip
    full, early = (microseconds(seed, option) for option in (False, True))
    print(f"  {full:.2f} us a step; {early:.2f} us for the same chain with early rejection")
    try:
        picture(result, start).savefig(PICTURE, dpi=110)
        print(f"  Boundaries and losses: {Path(PICTURE).resolve()}")
    except MissingExtraError as error:
        print(f"  No picture: {error}")
    print()


def microseconds(seed: int, early_rejection: bool) -> float:
    """Least time of a step over a few runs, in microseconds."""
    X, y = moons(POINTS, NOISE, seed)
    times = []
    for _ in range(REPEATS):
        net = network(seed)
        opt = MH(net, lr=LR, T=TEMPERATURE, seed=seed, early_rejection=early_rejection)
        began = time.perf_counter()
        end_if(opt.run(X, y, steps=STEPS).interrupted)
        times.append(time.perf_counter() - began)
    return min(times) / STEPS * 1e6


def picture(result: Training, start: float) -> Any:
    """Initial boundary, best boundary, losses of samples and proposals."""
    from .. import checks, plots

    X, y, before, history = result
    best = history.best_model
    assert best is not None
    figure = checks.extra("matplotlib.figure", "plots", "micropolis.plots").Figure((13.0, 3.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.15])
    plots.decision_boundary(before, X, y, left, f"initial weights: accuracy {accuracy(before, X, y):.3f}")
    left.legend(fontsize=9, loc="upper right", markerscale=1.6)
    plots.decision_boundary(best, X, y, middle, f"best of {len(history)} steps: accuracy {accuracy(best, X, y):.3f}")
    plots.loss_curves(history, right, f"loss, acceptance {history.acceptance:.3f}", start)
    return figure
