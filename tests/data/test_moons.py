"""The moons are scikit-learn's."""

import numpy as np
import pytest

from micropolis.data import moons
from micropolis.errors import InputError, InputTypeError


@pytest.mark.parametrize(("n", "noise", "seed"), [(500, 0.1, 0), (501, 0.3, 7), (2, 0.0, 1), (40, 1e-3, 2**32 - 1)])
def test_the_same_numbers_as_scikit_learns(n, noise, seed):
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.make_moons(n, noise=noise, random_state=seed)
    ours_X, ours_y = moons(n, noise, seed)
    np.testing.assert_array_equal(ours_X, X)
    np.testing.assert_array_equal(ours_y, y)


def test_without_noise_the_points_lie_on_two_circles():
    X, y = moons(101, noise=0.0, seed=3)
    centre = np.where(y[:, None] == 0, [0.0, 0.0], [1.0, 0.5])
    np.testing.assert_allclose(np.hypot(*(X - centre).T), 1, rtol=1e-14)
    assert np.count_nonzero(y == 0) == 50
    assert np.all(X[y == 0, 1] >= 0) and np.all(X[y == 1, 1] <= 0.5)


def test_faults():
    with pytest.raises(InputError, match="n: expected an integer >= 2, got 1"):
        moons(1)
    with pytest.raises(InputError, match="noise: expected a finite number >= 0, got -0.1"):
        moons(10, noise=-0.1)
    with pytest.raises(InputTypeError, match="seed: expected an integer"):
        moons(10, seed=None)
