"""Cheap diagnostics against hand-computed values, ArviZ and known autoregressions; sentences for each trouble."""

from __future__ import annotations

import types
import warnings

import numpy as np
import pytest

from micropolis import diagnostics
from micropolis.protocol import info_dtype


def split_r_hat(draws):
    """Of one coordinate (chains, draws)."""
    return float(diagnostics.r_hat_and_ess(draws[:, :, None])[0][0])


def readable(draws):
    """Split R-hat and batch-means ESS of draws (chains, draws, dim), from the definitions."""
    n = draws.shape[1]
    half, length = n // 2, int(np.sqrt(n))
    halves = np.concatenate([draws[:, :half], draws[:, n - half :]]).astype(np.float64)
    within, between = halves.var(axis=1, ddof=1).mean(axis=0), halves.mean(axis=1).var(axis=0, ddof=1)
    batched = halves[:, half % length :].reshape(-1, length, draws.shape[2])
    spread, variance = batched.mean(axis=1).var(axis=0, ddof=1), batched.var(axis=(0, 1))
    return np.sqrt((half - 1) / half + between / within), len(halves) * half * variance / (length * spread)


NAMES = tuple(f"x[{i}]" for i in range(4))


class Run:
    """Independent normal draws, 4 chains x 1000 x 4, and blameless records."""

    def __init__(self, *fields, **options):
        rng = np.random.default_rng(0)
        self.draws = rng.standard_normal((4, 1000, 4))
        self.stats = np.zeros((4, 1000), info_dtype(*fields))
        self.stats["accepted"] = True
        if "energy" in self.stats.dtype.names:
            self.stats["energy"] = rng.standard_normal((4, 1000))
        self.kernels = (types.SimpleNamespace(**options),) * 4

    def diagnose(self):
        return diagnostics.warnings(self.draws, self.stats, self.kernels, NAMES)


def nuts():
    return Run(("energy", "f8"), ("depth", "i4"), target_accept=0.8, max_depth=10)


def test_split_r_hat_of_known_arrays():
    # halves (0, 2), (0, 2), (1, 3), (1, 3): W = 2, variance of the means 1, 1, 2, 2 is 1/3, so R = sqrt(1/2 + 1/6)
    x = np.array([[0.0, 2.0, 0.0, 2.0], [1.0, 3.0, 1.0, 3.0]])
    assert split_r_hat(x) == pytest.approx(np.sqrt(2 / 3), rel=1e-12)
    # an odd number of draws: the middle one is left out
    assert split_r_hat(np.insert(x, 2, 1e9, axis=1)) == pytest.approx(np.sqrt(2 / 3), rel=1e-12)
    stands = np.repeat([[0.0], [1.0]], 8, axis=1)
    assert split_r_hat(stands) == np.inf and np.isnan(split_r_hat(stands * 0))


def test_split_r_hat_is_arviz_split():
    arviz = pytest.importorskip("arviz")
    draws = np.random.default_rng(3).standard_normal((4, 100, 4)).cumsum(axis=1)
    expected = [float(arviz.rhat(draws[:, :, i], method="split")) for i in range(4)]
    np.testing.assert_allclose(diagnostics.r_hat_and_ess(draws)[0], expected, rtol=1e-10)


def test_a_far_start_outside_the_batches_is_no_large_sample_size():
    draws = np.random.default_rng(4).standard_normal((4, 1000, 1))
    usual = diagnostics.r_hat_and_ess(draws)[1]
    draws[0, 0] = 1e9  # 500 = 4 + 16 batches of 31
    assert diagnostics.r_hat_and_ess(draws)[1] == pytest.approx(usual, rel=1e-9)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_batch_ess_of_an_autoregression(correlation):
    # AR(1): ESS = N (1 - r) / (1 + r). Batches of b = 100: relative bias 2 r / (b (1 - r^2)) < 2 %, sd
    # sqrt(2 / 400) = 7 % by the chi-square of 4 x 100 batches; 4 sd and the bias: 30 %.
    rng, n = np.random.default_rng(2), 10_000
    x = rng.standard_normal((4, n, 3))
    x[:, 0] /= np.sqrt(1 - correlation**2)
    for t in range(1, n):
        x[:, t] += correlation * x[:, t - 1]
    expected = 4 * n * (1 - correlation) / (1 + correlation)
    np.testing.assert_allclose(diagnostics.r_hat_and_ess(x)[1], expected, rtol=0.30)


def test_a_good_run_has_no_warnings():
    assert nuts().diagnose() == []


@pytest.mark.parametrize("dim", [1, 2, 511, 513])
@pytest.mark.parametrize("n", [4, 5, 7, 100, 1001])
def test_the_pass_over_the_draws_is_its_readable_twin(n, dim):
    # 1e6 standard deviations from the origin, in single precision too: the sums are around a draw
    draws = 1e6 + np.random.default_rng(n).standard_normal((3, n, dim))
    for x in (draws, draws.astype(np.float32), draws[:, ::-1], np.asfortranarray(draws)):
        for got, expected in zip(diagnostics.r_hat_and_ess(x), readable(x), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-8)


def test_threads_share_the_coordinates(monkeypatch):
    monkeypatch.setattr(diagnostics, "LARGE", 0)
    monkeypatch.setattr(diagnostics.workers, "available", lambda: 3)
    for dim in (1, 2, 1000):
        draws = np.random.default_rng(dim).standard_normal((2, 20, dim))
        for got, expected in zip(diagnostics.r_hat_and_ess(draws, 3), diagnostics.r_hat_and_ess(draws), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_the_pass_over_the_draws_leaves_others_alone():
    # a trace that is not full: the rows behind its draws are not read
    draws = np.random.default_rng(1).standard_normal((2, 30, 5))
    draws[:, 20:] = np.nan
    for got, expected in zip(diagnostics.r_hat_and_ess(draws[:, :20]), readable(draws[:, :20]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_each_trouble_is_one_sentence():
    def only(run, *words):
        (sentence,) = run.diagnose()
        assert all(word in sentence for word in words), sentence
        assert sentence.endswith(".") and "\n" not in sentence

    run = nuts()
    run.stats["divergent"][1, :8] = True
    only(run, "8 of 4000 draws (0.2 %) diverged", "target_accept")

    run = nuts()
    run.draws[2, :, 1] += 2.0
    run.draws[3, :, 3] += 3.0
    r_hat, ess = run.diagnose()
    assert "R-hat is above 1.01 for 2 of 4 coordinates" in r_hat and "at x[3]" in r_hat
    assert "effective sample size is low" in ess and "at x[3]" in ess

    run = nuts()
    run.stats["depth"][0, :40] = 10
    only(run, "40 of 4000 draws (1 %)", "max_depth")

    run = nuts()
    run.stats["energy"][1] = np.linspace(0, 1, 1000)
    only(run, "E-BFMI is below 0.3 in chain 1 (")

    run = nuts()
    run.stats["accepted"][[0, 2]] = False
    only(run, "Chains 0, 2 never moved")


def test_records_without_optional_fields_are_diagnosed():
    run = Run()
    run.stats["divergent"][0, 0] = True
    (sentence,) = run.diagnose()
    assert "1 of 4000 draws" in sentence and "target_accept" not in sentence


def test_too_few_draws_say_nothing():
    run = nuts()
    for n in (0, 1, 3):
        assert diagnostics.warnings(run.draws[:, :n], run.stats[:, :n], run.kernels, NAMES) == []


def test_diagnosing_constant_draws_is_silent_about_them():
    run = nuts()
    run.draws[:, :, 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.diagnose() == []
