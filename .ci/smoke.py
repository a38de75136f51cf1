"""Smoke test of an installed wheel with no extras: it samples, and says what is missing where something is."""

import numpy as np

import micropolis as mp
from micropolis.__main__ import main
from micropolis.errors import MissingExtraError

trace = mp.sample(mp.densities.Gaussian([1.0, -1.0], std=[1.0, 2.0]), mp.NUTS(), seed=1)
draws = trace.draws.reshape(-1, 2)
# 4000 draws, nearly independent: five standard errors
assert np.all(np.abs(draws.mean(axis=0) - [1.0, -1.0]) < 5 * np.array([1.0, 2.0]) / np.sqrt(2000)), draws.mean(axis=0)
assert np.all(np.abs(draws.std(axis=0) - [1.0, 2.0]) < 5 * np.array([1.0, 2.0]) / np.sqrt(2000)), draws.std(axis=0)

callable_density = mp.Density.from_callable(lambda x: (-0.5 * x @ x, -x), dim=2)
trace = mp.sample(callable_density, mp.HMC(step_size=0.5, n_steps=3), draws=200, warmup=100, chains=2, seed=1)
assert trace.draws.shape == (2, 200, 2)
assert np.all(np.isfinite(trace.draws))
trace.save("smoke.npz")
assert np.array_equal(mp.Trace.load("smoke.npz").draws, trace.draws)

traced = mp.Density.from_numpy(lambda x: -0.5 * np.sum(x**2), dim=2)
assert np.array_equal(traced.grad([1.0, 2.0]), [-1.0, -2.0])
assert mp.sample(traced, mp.NUTS(), draws=200, warmup=200, chains=2, seed=1).draws.shape == (2, 200, 2)

for name, call in {
    "numba": lambda: mp.Density.from_numba(lambda x, grad: 0.0, dim=2),
    "arviz": trace.summary,
    "plots": lambda: mp.plots.overview(trace),
    "sklearn": lambda: mp.estimators.MetropolisClassifier(),
}.items():
    try:
        call()
        said = "nothing: it is installed, so this is no bare environment"
    except MissingExtraError as error:
        said = str(error)
    print(said)
    assert f"pip install 'micropolis[{name}]'" in said, name
assert main(["demo"]) == 0
assert main(["info"]) == 0
print("smoke test passed")
