"""Pictures of traces: what each chain did, and its marginal distribution over a reference."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks
from .errors import InputError
from .trace import Trace

CHAIN_COLOURS = ("#1b6ca8", "#57a0d3", "#0f3d63", "#8fc1e3")
MARGINAL, REFERENCE = "#0f3d63", "#f2b872"
BINS, MAX_QUANTITIES, MAX_POINTS = 30, 12, 1000


class Quantity(NamedTuple):
    """A scalar to draw: its name, its draws (chains, draws), and reference draws (n,) or None."""

    name: str
    draws: NDArray[Any]
    reference: NDArray[Any] | None = None


def overview(trace: Trace, names: Sequence[str] | None = None, reference: Mapping[str, ArrayLike] | None = None) -> Any:
    """Traces and marginal distributions of some parameters.

    Parameters
    ----------
    trace : Trace
    names : sequence of str, optional
        What to draw: parameters or single elements (``"theta[2]"``); a parameter with several elements gives a row for
        each. Default: the first 12 scalars.
    reference : mapping of str to array_like, optional
        Reference draws of some of the scalars, by name, to lay the marginals over.

    Returns
    -------
    matplotlib.figure.Figure
        With ``savefig``; one row per scalar.

    Raises
    ------
    MissingExtraError
        Without Matplotlib, with the pip command.
    InputError
        If the trace has no draws, or a name that it does not have is asked for.

    Examples
    --------
    >>> import micropolis as mp
    >>> trace = mp.sample(mp.densities.Gaussian([0.0, 1.0]), draws=200, warmup=200, seed=1)
    >>> mp.plots.overview(trace).savefig("overview.png")  # doctest: +SKIP
    """
    known = {} if reference is None else {name: np.ravel(np.asarray(draws)) for name, draws in reference.items()}
    quantities = []
    for name in trace.keys() if names is None else names:
        draws = trace[name]
        for index in itertools.product(*(range(n) for n in draws.shape[2:])):
            label = f"{name}[{','.join(map(str, index))}]" if index else name
            where: tuple[Any, ...] = (slice(None), slice(None), *index)
            quantities.append(Quantity(label, draws[where], known.get(label)))
    if unknown := sorted(known.keys() - {quantity.name for quantity in quantities}):
        raise InputError(f"reference: no such scalars among those drawn: {', '.join(unknown)}")
    if names is None:
        quantities = quantities[:MAX_QUANTITIES]
    return gallery([("", [quantity]) for quantity in quantities], width=9.0)


def gallery(rows: Sequence[tuple[str, Sequence[Quantity]]], width: float = 13.0) -> Any:
    """A figure with one titled row per group of quantities: for each a trace and a marginal distribution.

    Parameters
    ----------
    rows : sequence of (title, quantities)
        Every row with the same number of quantities.
    width : float
        Inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    matplotlib = checks.extra("matplotlib.figure", "plots", "micropolis.plots")
    if not rows or not all(quantity.draws.size for _, quantities in rows for quantity in quantities):
        raise InputError("trace: there are no draws to plot")
    columns = len(rows[0][1])
    titled = any(title for title, _ in rows)
    height = (1.75 if titled else 1.45) * len(rows) + 0.75
    figure = matplotlib.Figure(figsize=(width, height), layout="constrained")
    bands = np.atleast_1d(figure.subfigures(len(rows), 1, hspace=0.0))
    for band, (title, quantities) in zip(bands, rows, strict=True):
        if title:
            band.suptitle(title, x=0.012, ha="left", fontsize=10, fontweight="bold")
        axes = band.subplots(1, 2 * columns, width_ratios=[2.6, 1.0] * columns)
        for i, quantity in enumerate(quantities):
            _draw(axes[2 * i], axes[2 * i + 1], quantity)
            if band is bands[-1]:
                axes[2 * i].set_xlabel("draw", fontsize=9)
    _legend(bands[0], any(quantity.reference is not None for _, quantities in rows for quantity in quantities))
    return figure


def funnel(rows: Sequence[tuple[str, NDArray[Any], NDArray[Any]]], sd: float = 3.0) -> Any:
    """Neal's funnel by several samplers: for each the draws of (v, x_1) and the marginal of v against N(0, sd^2).

    Parameters
    ----------
    rows : sequence of (title, v, x)
        Draws (n,) of v and of x_1, whose variance given v is exp(-v).
    sd : float
        Of v.

    Returns
    -------
    matplotlib.figure.Figure
    """
    matplotlib = checks.extra("matplotlib.figure", "plots", "micropolis.plots")
    if not rows or not all(len(v) for _, v, _ in rows):
        raise InputError("rows: there are no draws to plot")
    figure = matplotlib.Figure(figsize=(9.0, 2.5 * len(rows) + 0.4), layout="constrained")
    panels = figure.subplots(len(rows), 2, squeeze=False, sharex="col", width_ratios=[1.5, 1.0])
    grid = np.linspace(-4.0 * sd, 4.0 * sd, 401)
    edges = np.linspace(-4.0 * sd, 4.0 * sd, 2 * BINS + 1)
    for (title, v, x), (left, right) in zip(rows, panels, strict=True):
        stride = -(-len(v) // (5 * MAX_POINTS))
        left.plot(x[::stride], v[::stride], ".", color=CHAIN_COLOURS[0], markersize=1.6, alpha=0.5)
        for side in (-2.0, 2.0):
            left.plot(side * np.exp(-0.5 * grid), grid, color=REFERENCE, linewidth=1.2)
        left.set_xscale("symlog", linthresh=1.0, linscale=0.6)
        left.set_xlim(-2000.0, 2000.0)
        left.set_xticks(
            [-1000, -100, -10, -1, 0, 1, 10, 100, 1000], ["-1000", "", "-10", "", "0", "", "10", "", "1000"]
        )
        left.set_ylim(grid[0], grid[-1])
        left.set_ylabel("v", fontsize=9)
        left.set_title(title, fontsize=9.5, loc="left", fontweight="bold")
        right.hist(v, edges, density=True, color=CHAIN_COLOURS[3])
        right.plot(grid, np.exp(-0.5 * (grid / sd) ** 2) / (sd * np.sqrt(2 * np.pi)), color=MARGINAL, linewidth=1.3)
        right.set_yticks([])
        right.spines["left"].set_visible(False)
        for axes in (left, right):
            axes.tick_params(labelsize=7.5, length=2.5)
            axes.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("x_1, lines at two conditional standard deviations", fontsize=9)
    panels[-1, 1].set_xlabel(f"v, line N(0, {sd * sd:.0f})", fontsize=9)
    return figure


def _draw(left: Any, right: Any, quantity: Quantity) -> None:
    draws = quantity.draws
    stride = -(-draws.shape[1] // MAX_POINTS)
    for chain, colour in zip(draws, itertools.cycle(CHAIN_COLOURS), strict=False):
        left.plot(np.arange(0, draws.shape[1], stride), chain[::stride], color=colour, linewidth=0.45, alpha=0.75)
    left.set_ylabel(quantity.name, fontsize=9)
    left.set_xlim(0, max(1, draws.shape[1] - 1))

    sample = np.ravel(draws)
    shown = sample if quantity.reference is None else np.concatenate([sample, quantity.reference])
    low, high = np.quantile(shown, [0.001, 0.999])
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    if quantity.reference is not None:
        right.hist(quantity.reference, edges, density=True, color=REFERENCE, edgecolor="none")
    right.hist(sample, edges, density=True, histtype="step", color=MARGINAL, linewidth=1.3)
    right.set_yticks([])
    right.set_xlim(edges[0], edges[-1])
    right.locator_params(axis="x", nbins=4)
    for axes in (left, right):
        axes.tick_params(labelsize=7.5, length=2.5)
        axes.spines[["top", "right"]].set_visible(False)
    right.spines["left"].set_visible(False)


def _legend(band: Any, with_reference: bool) -> None:
    patches = checks.extra("matplotlib.patches", "plots", "micropolis.plots")
    handles = [patches.Patch(facecolor="none", edgecolor=MARGINAL, linewidth=1.3, label="micropolis, all chains")]
    if with_reference:
        handles.append(patches.Patch(facecolor=REFERENCE, label="reference draws"))
        band.legend(handles=handles, loc="upper right", ncols=2, fontsize=8.5, frameon=False)
