"""Pictures of networks: decision boundaries, losses along a chain, confusion matrices, sizes of minibatches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks
from .errors import InputError, InputTypeError
from .neural.network import Sequential

# Okabe & Ito's palette, which colour-blind readers can tell apart
BLUE, ORANGE, INK = "#0072b2", "#d55e00", "#222222"
CLASS_COLOURS = (BLUE, ORANGE)
GRID, MARGIN, MAX_POINTS = 200, 0.35, 4000

Array = NDArray[Any]


def decision_boundary(
    model: Sequential | Callable[[Array], ArrayLike], X: ArrayLike, y: ArrayLike, axes: Any = None, title: str = "",
    values: str = "probability",
) -> Any:  # fmt: skip
    """What a classifier of two classes says in the plane, and the points it is about.

    Parameters
    ----------
    model : Sequential or callable
        A network of two inputs with two logits or one, or a function from points (m, 2) to numbers in [0, 1] (m,), the
        probability of class 1.
    X, y : array_like (n, 2) and (n,)
        Points and their labels, 0 or 1.
    axes : matplotlib Axes, optional
        Where to draw; default, a figure of its own.
    title : str
    values : "probability" or "uncertainty"
        Of the numbers shown: the probability of class 1, with a line at 1/2; or anything else in [0, 1], such as the
        standard deviation of a prediction, from white to dark.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        Without Matplotlib, with the pip command.
    InputError
        Points that are not in the plane, labels but 0 and 1, or a model with other outputs.

    Examples
    --------
    >>> import micropolis as mp
    >>> X, y = mp.data.moons(100)
    >>> net = mp.neural.Sequential(mp.neural.Linear(2, 2), seed=0)
    >>> mp.plots.decision_boundary(net, X, y).savefig("boundary.png")  # doctest: +SKIP
    """
    points, labels = checks.points("X", X, 2), np.ravel(checks.numbers("y", y))
    if points.ndim != 2 or len(points) == 0 or not np.isfinite(points).all():
        raise InputError(f"X: expected finite points (n, 2), got shape {points.shape}")
    if len(labels) != len(points) or not np.isin(labels, (0, 1)).all():
        got = f"{len(labels)} from {labels.min():g} to {labels.max():g}" if len(labels) else "none"
        raise InputError(f"y: expected {len(points)} labels 0 or 1, got {got}")
    checks.choice("values", values, ("probability", "uncertainty"))
    low, high = points.min(axis=0) - MARGIN, points.max(axis=0) + MARGIN
    x1, x2 = (np.linspace(a, b, GRID) for a, b in zip(low, high, strict=True))
    plane = np.column_stack([np.tile(x1, GRID), np.repeat(x2, GRID)])
    height = _probability(model, plane).reshape(GRID, GRID)

    figure, axes = _panel(axes, (5.0, 4.2))
    if values == "probability":
        levels = np.linspace(0, 1, 13)
        shade = axes.contourf(x1, x2, height, levels, cmap=_diverging())
        if height.min() < 0.5 < height.max():
            axes.contour(x1, x2, height, [0.5], colors=INK, linewidths=1.6)
    else:
        shade = axes.contourf(x1, x2, height, 12, cmap="Greys")
        bar = figure.colorbar(shade, ax=axes, shrink=0.85, pad=0.02)
        bar.ax.tick_params(labelsize=8)
    shade.set_edgecolor("face")  # no gaps between bands in vector formats
    for label, marker in ((0, "o"), (1, "^")):
        here = points[labels == label]
        axes.scatter(*here.T, s=12, marker=marker, color=CLASS_COLOURS[label], edgecolor="white", linewidth=0.35,
                     label=f"class {label}")  # fmt: skip
    axes.set_aspect("equal")
    _finish(axes, title, "", "")
    return figure


def loss_curves(history: Any, axes: Any = None, title: str = "", start: float | None = None) -> Any:
    """Loss of the current model and of every proposal, step by step.

    Parameters
    ----------
    history : History
        Of ``MH.run`` or ``MMH.run``; with ``early_rejection=False`` where all proposals shall be seen.
    axes, title
        As for `decision_boundary`.
    start : float, optional
        Loss before the first step, to begin the curve with.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import micropolis as mp
    >>> X, y = mp.data.moons(100)
    >>> net = mp.neural.Sequential(mp.neural.Linear(2, 2), seed=0)
    >>> history = mp.MH(net, lr=0.1, T=0.01, seed=0, early_rejection=False).run(X, y, steps=200)
    >>> mp.plots.loss_curves(history).savefig("losses.png")  # doctest: +SKIP
    """
    sample = np.asarray(history.sample_nll, dtype=float)
    if sample.size == 0:
        raise InputError("history: there are no steps to plot")
    proposal = np.asarray(history.proposal_nll, dtype=float)
    stride = -(-len(sample) // MAX_POINTS)
    steps = np.arange(1, len(sample) + 1)
    figure, axes = _panel(axes, (6.0, 3.4))
    shown = proposal[::stride]
    axes.plot(steps[::stride], shown, ".", color=ORANGE, markersize=2.2, alpha=0.55, label="proposal", zorder=1)
    curve, at = sample[::stride], steps[::stride]
    if start is not None:
        curve, at = np.concatenate([[start], curve]), np.concatenate([[0], at])
    axes.plot(at, curve, color=BLUE, linewidth=1.4, label="sample", zorder=2)
    # a few absurd proposals must not squeeze everything else
    finite = shown[np.isfinite(shown)]
    top = max(curve.max(), np.quantile(finite, 0.995) if finite.size else 0.0)
    if curve.min() > 0:
        axes.set_yscale("log")
        axes.set_ylim(curve.min() / 1.25, top * 1.25)
        _plain_numbers(axes.yaxis)
    axes.set_xlim(0, len(sample))
    axes.legend(fontsize=9, markerscale=4, loc="best")
    _finish(axes, title, "step", "mean negative log likelihood")
    return figure


def confusion_matrix(actual: ArrayLike, predicted: ArrayLike, axes: Any = None, title: str = "") -> Any:
    """How often each class was taken for each other one.

    Parameters
    ----------
    actual, predicted : array_like (n,)
        Labels 0, 1, ...
    axes, title
        As for `decision_boundary`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Labels that are not integers from 0 on, or of different number.

    Examples
    --------
    >>> import micropolis as mp
    >>> figure = mp.plots.confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2])  # doctest: +SKIP
    """
    rows, columns = _labels("actual", actual), _labels("predicted", predicted)
    if len(rows) != len(columns):
        raise InputError(f"predicted: expected {len(rows)} labels, got {len(columns)}")
    classes = int(max(rows.max(), columns.max())) + 1
    counts = np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _panel(axes, (4.0, 4.0))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        if count:
            axes.text(j, i, str(count), ha="center", va="center", fontsize=7.5,
                      color="white" if share[i, j] > 0.5 else INK)  # fmt: skip
    axes.set_xticks(range(classes))
    axes.set_yticks(range(classes))
    _finish(axes, title, "predicted", "actual")
    axes.spines[:].set_visible(True)
    return figure


def minibatch_sizes(sizes: Mapping[str, ArrayLike], n: int, axes: Any = None, title: str = "",
                    colour: str = BLUE) -> Any:  # fmt: skip
    """Histogram of the rows that minibatch tests looked at.

    Parameters
    ----------
    sizes : mapping of str to array_like (steps,)
        ``history.rows_used`` of one or more runs, by the name for the legend.
    n : int
        Rows of the data set: the right end of the axis.
    axes, title
        As for `decision_boundary`.
    colour : str
        Of all runs; lines are full, dashed, dotted in turn.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import micropolis as mp
    >>> figure = mp.plots.minibatch_sizes({"exact": [64, 64, 128]}, n=500)  # doctest: +SKIP
    """
    if not sizes:
        raise InputError("sizes: there are no runs to plot")
    n = checks.integer("n", n, least=1)
    edges = np.unique(np.round(np.geomspace(1, n + 1, 28)).astype(int)) - 0.5
    figure, axes = _panel(axes, (5.0, 3.2))
    for number, (name, values) in enumerate(sizes.items()):
        rows = np.ravel(checks.numbers(f"sizes[{name!r}]", values))
        if rows.size == 0 or rows.min() < 1 or rows.max() > n:
            raise InputError(f"sizes[{name!r}]: expected numbers in 1..{n}, at least one of them")
        share = np.histogram(rows, edges)[0] / rows.size
        label = f"{name} (mean {rows.mean():.0f})"
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(share, edges, color=colour, linewidth=1.5, linestyle=("-", "--", ":")[number % 3], label=label)
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    _plain_numbers(axes.xaxis)
    axes.set_ylim(top=axes.get_ylim()[1] * (1.05 + 0.08 * len(sizes)))  # room for the legend
    axes.legend(fontsize=8.5, frameon=False, loc="upper right")
    _finish(axes, title, "rows of a step", "fraction of steps")
    return figure


def _probability(model: Any, plane: Array) -> Array:
    """Probability of class 1 (m,), or whatever a function puts in its place."""
    if not isinstance(model, Sequential):
        if not callable(model):
            raise InputTypeError(f"model: expected a Sequential or a function, got {type(model).__name__}")
        answer = checks.numbers("model", model(plane))
        if answer.shape != (len(plane),) or not np.all((answer >= 0) & (answer <= 1)):
            raise InputError(f"model: expected it to return ({len(plane)},) numbers in [0, 1] for ({len(plane)}, 2) "
                             f"points, got shape {answer.shape}")  # fmt: skip
        return answer
    outputs = model(plane)
    if outputs.ndim != 2 or outputs.shape[1] not in (1, 2):
        raise InputError(f"model: expected a network with 1 or 2 outputs, got output shape {outputs.shape[1:]}")
    logit = outputs[:, -1] - (outputs[:, 0] if outputs.shape[1] == 2 else 0)
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logit.astype(np.float64))))


def _labels(name: str, values: Any) -> NDArray[np.int64]:
    array = np.ravel(checks.numbers(name, values))
    if array.size == 0 or not np.all((array >= 0) & (array == np.floor(array))):
        raise InputError(f"{name}: expected labels 0, 1, ..., at least one of them")
    return array.astype(np.int64)


def _panel(axes: Any, size: tuple[float, float]) -> tuple[Any, Any]:
    """(figure, axes): those given, or new ones."""
    matplotlib = checks.extra("matplotlib.figure", "plots", "micropolis.plots")
    if axes is not None:
        return axes.figure, axes
    figure = matplotlib.Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def _diverging() -> Any:
    """From blue, class 0, over white at one half to orange, paler than the points."""
    colours = checks.extra("matplotlib.colors", "plots", "micropolis.plots")
    return colours.LinearSegmentedColormap.from_list("classes", ["#5ba4cf", "#f7f7f7", "#e8935a"])


def _plain_numbers(axis: Any) -> None:
    """0.1 and 100 on a logarithmic axis, for powers of ten."""
    ticker = checks.extra("matplotlib.ticker", "plots", "micropolis.plots")
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _finish(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)
