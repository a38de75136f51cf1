"""Cheap convergence checks, run after every sampling: split R-hat, batch-means ESS, E-BFMI, sentences."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import workers
from ._diagnostics import convergence
from .protocol import Kernel

UNSOLVED_LIMIT = 0.01  # steps with several solutions begin to bias the draws
R_HAT_LIMIT = 1.01  # Vehtari et al. 2021, Rank-normalization, folding, and localization
ESS_PER_CHAIN = 100  # the same
BFMI_LIMIT = 0.3  # Betancourt 2016, Diagnosing suboptimal cotangent disintegrations
LARGE = 1 << 22  # numbers in a trace; a pass over fewer takes some milliseconds


def r_hat_and_ess(draws: NDArray[Any], threads: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Split R-hat (dim,) and effective sample size (dim,) of draws (chains, draws, dim), at least 4 draws.

    Each half chain is a remainder that fills no batch, and batches of length sqrt(draws); the middle one of an odd
    number of draws is left out.

    R-hat is the classic one, without rank normalisation (Gelman et al. 2013, Bayesian Data Analysis, 11.4): NaN where
    all draws are equal, inf where each half chain stands still at a place of its own. The effective sample size is that
    of batch means around the grand mean (Flegal and Jones 2010), so chains that disagree lower it: quick and rough, of
    relative error about sqrt(2 / (chains * sqrt(draws))); NaN where all draws are equal.
    """
    if draws.strides[2] != draws.itemsize:
        draws = draws.copy()
    threads = min(threads, workers.available())
    if threads == 1 or draws.size < LARGE:
        return convergence(draws)
    edges = np.linspace(0, draws.shape[2], threads + 1).astype(int)
    with workers.pool(threads) as pool:
        parts = list(pool.map(convergence, [draws[:, :, start:stop] for start, stop in itertools.pairwise(edges)]))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def bfmi(energy: NDArray[Any]) -> NDArray[np.float64]:
    """Energy Bayesian fraction of missing information of each chain (Betancourt 2016); energy is (chains, draws)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction: NDArray[np.float64] = np.mean(np.diff(energy, axis=1) ** 2, axis=1) / np.var(energy, axis=1)
    return fraction


def warnings(
    draws: NDArray[Any], stats: NDArray[Any], kernels: Sequence[Kernel], names: Sequence[str], threads: int = 1
) -> list[str]:
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
        r_hat, ess = r_hat_and_ess(draws, threads)
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
