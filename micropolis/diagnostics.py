"""Cheap convergence checks, run after every sampling: split R-hat, batch-means ESS, E-BFMI, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._diagnostics import batch_moments
from .protocol import Kernel

UNSOLVED_LIMIT = 0.01  # steps with several solutions begin to bias the draws
R_HAT_LIMIT = 1.01  # Vehtari et al. 2021, Rank-normalization, folding, and localization
ESS_PER_CHAIN = 100  # the same
BFMI_LIMIT = 0.3  # Betancourt 2016, Diagnosing suboptimal cotangent disintegrations
COORDINATES = 8192  # looked at together: the sums of many more would be a second trace in memory


class Moments(NamedTuple):
    """Sums over the batches of every chain of draws minus one common center, whose place removes nothing but rounding.

    Each half chain is a remainder that fills no batch, and batches of length sqrt(draws).
    """

    length: int
    half: int
    sums: NDArray[np.float64]  # (chains, 2, 1 + batches of a half, dim)
    squares: NDArray[np.float64]


def moments(draws: NDArray[Any]) -> Moments:
    """Batch sums of draws (chains, draws, dim), at least 4 draws; the middle one of an odd number is left out."""
    chains, n, dim = draws.shape
    length, half = int(np.sqrt(n)), n // 2
    first = np.concatenate([[0], np.arange(half % length, half + 1, length)])
    last = n - half + first
    center = np.array(draws[0, 0], dtype=np.float64)
    sums = np.empty((chains, 2, len(first) - 1, dim))
    squares = np.empty_like(sums)
    for chain in range(chains):
        for part, edges in enumerate((first, last)):
            sums[chain, part], squares[chain, part] = batch_moments(np.ascontiguousarray(draws[chain]), edges, center)
    return Moments(length, half, sums, squares)


def split_r_hat(batches: Moments) -> NDArray[np.float64]:
    """Classic split R-hat, without rank normalisation (Gelman et al. 2013, Bayesian Data Analysis, 11.4).

    NaN where all draws are equal, inf where each half chain stands still at a place of its own.
    """
    half = batches.half
    means = batches.sums.sum(axis=2) / half
    within = (batches.squares.sum(axis=2) / half - means**2).mean(axis=(0, 1)) * (half / (half - 1))
    between = np.var(means, axis=(0, 1), ddof=1)
    # what rounding leaves of a chain that stands still is no variance
    within = np.where(within > 1e-14 * np.max(means**2, axis=(0, 1)), within, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r_hat: NDArray[np.float64] = np.sqrt((half - 1) / half + between / within)
    return r_hat


def batch_ess(batches: Moments) -> NDArray[np.float64]:
    """Effective sample size by batch means of length sqrt(draws) (Flegal and Jones 2010): quick and rough.

    Means are taken around the grand mean, so chains that disagree lower the result. Relative error about
    sqrt(2 / (chains * sqrt(draws))); NaN where all draws are equal.
    """
    total = batches.sums.shape[0] * 2 * batches.half
    means = batches.sums[:, :, 1:] / batches.length
    mean = batches.sums.sum(axis=(0, 1, 2)) / total
    spread = batches.squares.sum(axis=(0, 1, 2)) / total - mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        ess: NDArray[np.float64] = total * spread / (batches.length * np.var(means, axis=(0, 1, 2), ddof=1))
    return ess


def bfmi(energy: NDArray[Any]) -> NDArray[np.float64]:
    """Energy Bayesian fraction of missing information of each chain (Betancourt 2016); energy is (chains, draws)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction: NDArray[np.float64] = np.mean(np.diff(energy, axis=1) ** 2, axis=1) / np.var(energy, axis=1)
    return fraction


def warnings(draws: NDArray[Any], stats: NDArray[Any], kernels: Sequence[Kernel], names: Sequence[str]) -> list[str]:
    """What the draws (chains, draws, dim) and info records (chains, draws) of a run give reason to doubt."""
    chains, n, dim = draws.shape
    total, found, fields = chains * n, [], stats.dtype.names or ()
    if total == 0:
        return []
    if divergent := int(np.count_nonzero(stats["divergent"])):
        remedy = "raise target_accept or" if hasattr(kernels[0], "target_accept") else "take smaller steps or"
        found.append(
            f"{divergent} of {total} draws ({_percent(divergent, total)}) diverged, so the estimates may be biased: "
            f"{remedy} reparametrise the model."
        )
    unsolved = int(np.count_nonzero(stats["not_converged"])) if "not_converged" in fields else 0
    if unsolved > UNSOLVED_LIMIT * total:
        found.append(
            f"{unsolved} of {total} draws ({_percent(unsolved, total)}) met a step whose equations were not solved: "
            "take smaller steps, a smoother metric, or a larger fixed_point_tol where gradients are inexact."
        )
    if n >= 4:
        stuck = [str(chain) for chain in range(chains) if not stats["accepted"][chain].any()]
        if stuck:
            found.append(f"{_chains(stuck)} never moved: the steps are too large, or the start is not a good one.")
        r_hat, ess = np.empty(dim), np.empty(dim)
        for start in range(0, dim, COORDINATES):
            some = slice(start, start + COORDINATES)
            batches = moments(draws[:, :, some])
            r_hat[some], ess[some] = split_r_hat(batches), batch_ess(batches)
        if (above := r_hat > R_HAT_LIMIT).any():
            worst = int(np.nanargmax(r_hat))
            found.append(
                f"R-hat is above {R_HAT_LIMIT} for {np.count_nonzero(above)} of {dim} coordinates (largest "
                f"{r_hat[worst]:.3g} at {names[worst]}), so the chains do not agree yet: run longer or reparametrise."
            )
        if (ess < ESS_PER_CHAIN * chains).any():
            worst = int(np.nanargmin(ess))
            found.append(
                f"The effective sample size is low (about {ess[worst]:.0f} of {total} draws at {names[worst]}, wanted "
                f"{ESS_PER_CHAIN * chains}), so means and quantiles are imprecise: run longer or reparametrise."
            )
        if "energy" in fields and ((fraction := bfmi(stats["energy"])) < BFMI_LIMIT).any():
            low = [str(chain) for chain in np.flatnonzero(fraction < BFMI_LIMIT)]
            found.append(
                f"E-BFMI is below {BFMI_LIMIT} in {_chains(low).lower()} (lowest {np.nanmin(fraction):.2g}), so the "
                "tails are explored slowly: reparametrise the model."
            )
    if "depth" in fields and hasattr(kernels[0], "max_depth"):
        deepest = np.array([[kernel.max_depth] for kernel in kernels])  # type: ignore[attr-defined]
        if saturated := int(np.count_nonzero(stats["depth"] >= deepest)):
            found.append(
                f"{saturated} of {total} draws ({_percent(saturated, total)}) reached the maximal tree depth, which "
                "costs efficiency but not correctness: raise max_depth or rescale the coordinates."
            )
    return found


def _percent(part: int, total: int) -> str:
    return f"{100 * part / total:.2g} %"


def _chains(numbers: list[str]) -> str:
    return f"Chain {numbers[0]}" if len(numbers) == 1 else f"Chains {', '.join(numbers)}"
