"""The correction of the Barker test: its distribution, how it is drawn, and the script that makes the table."""

import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from micropolis._metropolis import barker_correction, bounded
from micropolis.errors import InputError
from micropolis.metropolis.barker import correction, sample_correction

SCRIPT = Path(__file__).parents[2] / "csrc" / "metropolis" / "make_barker_correction.py"


def upper_tail(x):
    """P(Normal(0, 1) + X_corr > x) by math.erfc, atom by atom."""
    atoms, weights = correction()
    return sum(
        0.25 * p * (math.erfc((x - g) / math.sqrt(2)) + math.erfc((x + g) / math.sqrt(2)))
        for g, p in zip(atoms, weights, strict=True)
    )


def test_the_sum_is_logistic():
    grid = np.arange(0.0, 45.0, 0.0037)  # symmetric, so x >= 0 says it all; not the grid of the script
    error = max(abs(upper_tail(x) - 1 / (1 + math.exp(x))) for x in grid)
    assert error < 6e-8


def test_moments():
    atoms, weights = correction()
    assert np.all(weights > 0) and np.all(np.diff(atoms) > 0) and atoms[0] >= 0
    assert abs(sum(map(Fraction, weights.tolist())) - 1) < 1e-15
    assert float(weights @ atoms**2) == pytest.approx(math.pi**2 / 3 - 1, abs=2e-5)
    # the fourth moment of the sum: k4 of a logistic is 2 pi^4 / 15, that of the normal part 0
    fourth = float(weights @ atoms**4) - 3 * float(weights @ atoms**2) ** 2
    assert fourth == pytest.approx(2 * math.pi**4 / 15, rel=1e-3)


def test_draws():
    """The quantile function hits every atom with its weight, in C as in NumPy."""
    atoms, weights = correction()
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    x = barker_correction(u)
    np.testing.assert_array_equal(x, sample_correction(u))
    for g, p in zip(atoms, weights, strict=True):
        for sign in (1, -1):
            share = p if g == 0 else p / 2
            assert np.mean(x == sign * g) == pytest.approx(share, abs=2e-6)
    edges = np.array([0.0, 0.5 - 2**-54, 0.5, 1 - 2**-53])
    np.testing.assert_array_equal(barker_correction(edges), [0.0, atoms[-1], 0.0, -atoms[-1]])
    np.testing.assert_array_equal(sample_correction(edges), barker_correction(edges))


def test_sums_of_draws_are_logistic():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(10**6) + sample_correction(rng.random(10**6))
    assert stats.kstest(x, "logistic").pvalue > 1e-6


@pytest.mark.parametrize("value", [-0.1, 1.0, math.nan])
def test_faults(value):
    with pytest.raises(InputError, match="uniform: expected numbers in"):
        sample_correction(value)
    with pytest.raises(ValueError, match="uniforms: expected numbers in"):
        barker_correction(np.array([value]))


@pytest.mark.skipif(not SCRIPT.exists(), reason="an installed package has no sources")
def test_the_script_makes_the_table():
    """Another SciPy may end at another vertex, but not at a worse one."""
    text = subprocess.run([sys.executable, "-P", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert "Largest error of the distribution function: 5.3" in text
    assert (SCRIPT.parent / "barker_correction.h").exists()


@pytest.mark.parametrize("bound", [1, 2, 7, 500, 3 * 2**62, 2**64 - 1])
def test_bounded(bound):
    """All numbers with the same chance, and none beyond; 3 * 2**62 rejects every fourth raw number."""
    out = np.empty(20_000, dtype=np.uint64)
    bounded(np.random.SFC64(3), bound, out)
    assert int(out.max()) < bound
    bins = min(bound, 12)
    counts = np.bincount([int(v) * bins // bound for v in out], minlength=bins)
    sizes = np.array([-(-bound * (k + 1) // bins) - -(-bound * k // bins) for k in range(bins)], dtype=float)
    assert bins == 1 or stats.chisquare(counts, sizes / sizes.sum() * len(out)).pvalue > 1e-6
