"""The corrected Barker test: a discrete X_corr with Normal(0, 1) + X_corr logistic to 5.3e-8 (Seita et al. 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from .._metropolis import barker_table
from ..errors import InputError

Array = NDArray[np.float64]


def correction() -> tuple[Array, Array]:
    """The distribution of X_corr: the values +-atoms[k], each sign with half of the weight.

    The table is made by csrc/metropolis/make_barker_correction.py.

    Returns
    -------
    atoms : ndarray (20,)
        Increasing, from 0.
    weights : ndarray (20,)
        Positive, with sum 1.

    References
    ----------
    Seita, Pan, Chen & Canny (2017), "An efficient minibatch acceptance test for Metropolis-Hastings".

    Examples
    --------
    >>> atoms, weights = correction()
    >>> round(float(weights @ atoms**2), 5)  # pi^2 / 3 - 1 = 2.28987
    2.28986
    """
    return barker_table()


def sample_correction(uniform: ArrayLike) -> Array:
    """X_corr from uniform numbers: the first half of the interval gives the atoms, the second their negatives.

    Parameters
    ----------
    uniform : array_like
        In [0, 1).

    Returns
    -------
    ndarray
        Of the same shape.

    Examples
    --------
    >>> sample_correction([0.0, 0.45, 0.95])
    array([ 0. ,  2.4, -2.4])
    """
    u = checks.numbers("uniform", uniform)
    if not np.all((u >= 0) & (u < 1)):
        raise InputError("uniform: expected numbers in [0, 1)")
    atoms, weights = correction()
    cumulative = np.cumsum(weights)
    cumulative[-1] = 1.0
    stretched = np.where(u < 0.5, 2 * u, 2 * u - 1)
    return np.where(u < 0.5, 1.0, -1.0) * atoms[np.searchsorted(cumulative, stretched, side="right")]
