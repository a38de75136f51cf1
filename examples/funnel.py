"""Neal's funnel written in NumPy, sampled by Riemannian HMC: the marginal of v is right where NUTS cannot reach it."""

import warnings

import numpy as np

import micropolis as mp

warnings.simplefilter("ignore", mp.errors.SamplingWarning)  # NUTS diverges here, as it must


def funnel(v, x):
    """v ~ N(0, 3^2), x_i | v ~ N(0, exp(-v)) (variance)."""
    return -(v**2) / 18 + 0.5 * x.size * v - 0.5 * np.exp(v) * np.sum(x**2)


density = mp.Density.from_numpy(funnel, {"v": mp.Real(), "x": mp.Real(10)})
kernel = mp.RMHMC(step_size=0.15, n_steps=25, metric=mp.SoftAbs(alpha=1e6), jitter=0.3)
trace = mp.sample(density, kernel, draws=2500, warmup=50, chains=4, seed=1)
nuts = mp.sample(density, mp.NUTS(), draws=2500, chains=4, seed=1)

print("                  mean v    sd v   lowest  highest  divergent")
for name, run in (("truth", None), ("RMHMC", trace), ("NUTS", nuts)):
    v = np.random.default_rng(1).normal(0, 3, 10_000) if run is None else run["v"]
    divergent = 0 if run is None else np.count_nonzero(run.stats["divergent"])
    print(f"{name:<14} {v.mean():9.2f} {v.std():7.2f} {v.min():8.1f} {v.max():8.1f} {divergent:10d}")
assert abs(trace["v"].mean()) < 0.5
assert abs(trace["v"].std() - 3) < 0.3
