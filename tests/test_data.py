"""The posteriordb models: gradients that average to zero under the reference draws, and summaries of those draws."""

from pathlib import Path

import numpy as np
import pytest

from micropolis import data
from micropolis.errors import InputError

REFERENCES = Path(__file__).parent / "data" / "posteriordb"


def reference(name):
    with np.load(REFERENCES / name / "reference_draws.npz") as stored:
        return stored["draws"], tuple(map(str, stored["names"]))


@pytest.mark.parametrize("name", data.NAMES)
def test_stein_identity(name):
    """E grad log p = 0 for any density of full support: a wrong prior, likelihood or Jacobian shifts a mean."""
    posterior = data.posteriordb(name)
    draws, _ = reference(name)
    points = posterior.density.parameters.unconstrain(posterior.from_reference(draws.reshape(-1, draws.shape[-1])))
    gradient = posterior.density.grad(points)
    # the reference draws are close to independent; 32 coordinates in all, beyond 4.5 once in 5000 such tests
    score = np.mean(gradient, axis=0) / (np.std(gradient, axis=0) / np.sqrt(len(gradient)))
    assert np.max(np.abs(score)) < 4.5, score
    # E x_i d_j log p = -delta_ij: the scale is right too
    centred = points - np.mean(points, axis=0)
    for i in range(points.shape[1]):
        product = centred[:, i] * gradient[:, i] + 1
        assert abs(np.mean(product)) < 4.5 * np.std(product) / np.sqrt(len(product))


@pytest.mark.parametrize("name", data.NAMES)
def test_summary_is_that_of_the_reference_draws(name):
    posterior = data.posteriordb(name)
    draws, names = reference(name)
    flat = draws.reshape(-1, draws.shape[-1])
    assert posterior.names == names
    summary = posterior.reference
    np.testing.assert_allclose(summary.mean, flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(summary.sd, flat.std(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(summary.draws, flat[::10], rtol=1e-7)
    # the draws were thinned until nearly independent
    assert np.all(summary.mean_error < 1.3 * summary.sd / 100)
    assert np.all(summary.mean_error > 0.8 * summary.sd / 100)
    assert np.all((summary.sd_error > 0.8 * summary.sd / 141) & (summary.sd_error < 3 * summary.sd / 141))


@pytest.mark.parametrize("name", data.NAMES)
def test_to_reference_and_back(name):
    posterior = data.posteriordb(name)
    draws = posterior.reference.draws.reshape(2, 500, -1)
    values = posterior.from_reference(draws)
    assert {k: v.shape for k, v in values.items()} == {k: (2, 500, *p.shape) for k, p in posterior.parameters.items()}
    np.testing.assert_allclose(posterior.to_reference(values), draws, rtol=1e-12, atol=1e-12)


def test_unknown_name():
    with pytest.raises(InputError, match="expected one of arK-arK, .* got 'radon'"):
        data.posteriordb("radon")


def test_the_shipped_files_are_small_and_licensed():
    folder = Path(data.__file__).parent
    assert sum(path.stat().st_size for path in folder.rglob("reference.npz")) < 200_000
    assert "BSD 3-Clause" in (folder / "posteriordb" / "LICENSE").read_text()
