"""Cheap convergence checks in NumPy, run after every sampling: split R-hat, batch-means ESS, E-BFMI, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .protocol import Kernel

R_HAT_LIMIT = 1.01  # Vehtari et al. 2021, Rank-normalization, folding, and localization
ESS_PER_CHAIN = 100  # the same
BFMI_LIMIT = 0.3  # Betancourt 2016, Diagnosing suboptimal cotangent disintegrations
BLOCK = 1 << 22  # numbers looked at together: draws may be a memory map larger than memory


def split_r_hat(draws: NDArray[Any]) -> NDArray[np.float64]:
    """Classic split R-hat, without rank normalisation (Gelman et al. 2013, Bayesian Data Analysis, 11.4).

    Parameters
    ----------
    draws : ndarray (chains, draws, ...)
        At least 4 draws; of an odd number the middle one is left out.

    Returns
    -------
    ndarray (...)
        NaN where all draws are equal, inf where each half chain stands still at a place of its own.

    Examples
    --------
    >>> import numpy as np
    >>> split_r_hat(np.array([[0.0, 2.0, 0.0, 2.0], [1.0, 3.0, 1.0, 3.0]])).round(4)
    np.float64(0.8165)
    """
    half = draws.shape[1] // 2
    halves = (draws[:, :half], draws[:, draws.shape[1] - half :])
    means = np.concatenate([np.mean(x, axis=1, dtype=np.float64) for x in halves])
    within = np.concatenate([np.var(x, axis=1, ddof=1, dtype=np.float64) for x in halves]).mean(axis=0)
    between = np.var(means, axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r_hat: NDArray[np.float64] = np.sqrt((half - 1) / half + between / within)
    return r_hat


def batch_ess(draws: NDArray[Any]) -> NDArray[np.float64]:
    """Effective sample size by batch means of length sqrt(draws) (Flegal and Jones 2010): quick and rough.

    Means are taken around the grand mean, so chains that disagree lower the result.

    Parameters
    ----------
    draws : ndarray (chains, draws, ...)
        At least 4 draws; the first ones that fill no batch are left out.

    Returns
    -------
    ndarray (...)
        Relative error about sqrt(2 / (chains * sqrt(draws))); NaN where all draws are equal.
    """
    chains, n = draws.shape[:2]
    length = int(np.sqrt(n))
    count = n // length
    used = draws[:, n - length * count :]
    # splitting an axis is a view, merging two is not
    batches = used.reshape(chains, count, length, *draws.shape[2:]).mean(axis=2, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.var(used, axis=(0, 1), ddof=1, dtype=np.float64)
        ratio = spread / (length * np.var(batches, axis=(0, 1), ddof=1))
    ess: NDArray[np.float64] = chains * n * ratio
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
    if n >= 4:
        stuck = [str(chain) for chain in range(chains) if not stats["accepted"][chain].any()]
        if stuck:
            found.append(f"{_chains(stuck)} never moved: the steps are too large, or the start is not a good one.")
        r_hat, ess = _by_coordinate(draws)
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


def _by_coordinate(draws: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Split R-hat and batch-means ESS of every coordinate, block by block."""
    chains, n, dim = draws.shape
    width = max(1, BLOCK // (chains * n))
    r_hat, ess = np.empty(dim), np.empty(dim)
    for start in range(0, dim, width):
        block = slice(start, start + width)
        # one chain of one coordinate in a row: sums over draws run along memory
        x = np.ascontiguousarray(draws[:, :, block].transpose(0, 2, 1), dtype=np.float64).transpose(0, 2, 1)
        r_hat[block], ess[block] = split_r_hat(x), batch_ess(x)
    return r_hat, ess


def _percent(part: int, total: int) -> str:
    return f"{100 * part / total:.2g} %"


def _chains(numbers: list[str]) -> str:
    return f"Chain {numbers[0]}" if len(numbers) == 1 else f"Chains {', '.join(numbers)}"
