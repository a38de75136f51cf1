"""The five posteriordb models from plain NumPy: NUTS agrees with the 10,000 reference draws of each.

Every mean and standard deviation within 4 Monte Carlo standard errors (of both sides together, ArviZ's), R-hat below
1.01, no divergence, as in the reference. At 4 standard errors a new seed fails with a probability of 6e-5 a comparison;
there are 66.
"""

from pathlib import Path

import numpy as np
import pytest
from laws.kernels import run

import micropolis as mp
from micropolis import data

arviz = pytest.importorskip("arviz")

DRAWS = 2500  # a chain: as many in all as the reference has
REFERENCES = Path(__file__).parent / "data" / "posteriordb"


def errors(draws):
    """Monte Carlo standard errors of mean and sd of draws (chains, draws), as ArviZ has them.

    Its own mcse(method="sd") fails in version 0.x under NumPy 2.4 where Numba is installed.
    """
    squares = (draws - draws.mean()) ** 2
    variance = squares.mean()
    of_mean = np.sqrt(variance / float(arviz.ess(draws, method="mean")))
    return of_mean, np.sqrt(squares.var() / float(arviz.ess(squares, method="mean")) / (4 * variance))


@pytest.mark.parametrize("name", data.NAMES)
def test_agrees_with_the_reference(name):
    posterior = data.posteriordb(name)
    with np.load(REFERENCES / name / "reference_draws.npz") as stored:
        reference, names = stored["draws"], tuple(map(str, stored["names"]))
    # hierarchical scales want small steps
    kernel = mp.NUTS(target_accept=0.95) if name.startswith("eight_schools") else mp.NUTS()
    trace = run(posterior.density, kernel, draws=DRAWS, warmup=1000, chains=4, seed=1)
    draws = posterior.to_reference(trace)
    assert draws.shape == (4, DRAWS, len(names))
    assert reference.size // len(names) == 10_000
    assert not trace.stats["divergent"].any()
    for i, quantity in enumerate(names):
        ours, theirs = draws[..., i], reference[..., i]
        assert arviz.rhat(ours) < 1.01, quantity
        for statistic, mine, yours in zip((np.mean, np.std), errors(ours), errors(theirs), strict=True):
            score = (statistic(ours) - statistic(theirs)) / np.hypot(mine, yours)
            assert abs(score) < 4, f"{statistic.__name__} of {quantity}: {score:.2f} standard errors away"
