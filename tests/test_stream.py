"""Kernels draw the numbers that NumPy's own generator would draw, whether they inline it or call it."""

import numpy as np
import pytest

from micropolis import _hamiltonian, _metropolis


@pytest.mark.parametrize("module", [_metropolis, _hamiltonian])
def test_sfc64_is_recognised(module):
    """A NumPy whose SFC64 looks different would be served by calls, correctly; this one is to be inlined."""
    assert module.inlines_sfc64()


@pytest.mark.parametrize("generator", [np.random.SFC64, np.random.PCG64, np.random.MT19937])
@pytest.mark.parametrize("n", [1, 7, 300_000])
def test_normals_are_those_of_numpy(generator, n):
    """300,000 normals leave the inner rectangles 3600 times and reach the tail 80 times."""
    assert _metropolis.inlines_sfc64()
    ours, numpys, out = generator(5), generator(5), np.empty(n)
    _metropolis.standard_normal(ours, out)
    np.testing.assert_array_equal(out, np.random.Generator(numpys).standard_normal(n))
    assert ours.random_raw() == numpys.random_raw()
