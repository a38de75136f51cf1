"""Two interleaved half circles with noise, the toy of two-class classifiers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import InputError


def moons(n: int = 500, noise: float = 0.1, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points on two half circles, shuffled, with normal noise added.

    The same numbers as ``sklearn.datasets.make_moons(n, noise=noise, random_state=seed)``, without scikit-learn.

    Parameters
    ----------
    n : int
        Number of points, at least 2; half of them on each circle.
    noise : float
        Standard deviation of the noise in each coordinate, >= 0.
    seed : int

    Returns
    -------
    X : ndarray (n, 2)
    y : ndarray (n,)
        0 for the upper half circle around (0, 0), 1 for the lower one around (1, 0.5); both have radius 1.

    Examples
    --------
    >>> import micropolis as mp
    >>> X, y = mp.data.moons(500, noise=0.1, seed=1)
    >>> X.shape, int(y.sum())
    ((500, 2), 250)
    """
    n = checks.integer("n", n, least=2)
    noise = checks.real("noise", noise)
    if noise < 0:
        raise InputError(f"noise: expected a finite number >= 0, got {noise:g}")
    # scikit-learn draws from NumPy's legacy generator
    rng = np.random.RandomState(checks.integer("seed", seed, least=0, most=2**32 - 1))
    upper, lower = np.linspace(0, np.pi, n // 2), np.linspace(0, np.pi, n - n // 2)
    X = np.concatenate(
        [
            np.column_stack([np.cos(upper), np.sin(upper)]),
            np.column_stack([1 - np.cos(lower), 1 - np.sin(lower) - 0.5]),
        ]
    )
    order = np.arange(n)
    rng.shuffle(order)
    X = X[order] + rng.normal(scale=noise, size=X.shape)
    return X, np.repeat([0, 1], [len(upper), len(lower)])[order]
