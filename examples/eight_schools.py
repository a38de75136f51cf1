"""Eight schools (Rubin 1981): a plain NumPy log density on named, constrained parameters, sampled by NUTS."""

import numpy as np

import micropolis as mp

effect = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
error = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def log_density(mu, tau, z):
    """Each school's effect is mu + tau * z: without the funnel that theta itself would have."""
    prior = -0.5 * (mu / 5) ** 2 - np.log1p((tau / 5) ** 2) - 0.5 * np.sum(z**2)
    return prior - 0.5 * np.sum(((effect - mu - tau * z) / error) ** 2)


density = mp.Density.from_numpy(log_density, {"mu": mp.Real(), "tau": mp.Positive(), "z": mp.Real(8)})
trace = mp.sample(density, mp.NUTS(target_accept=0.95), seed=1)
theta = trace["mu"][..., None] + trace["tau"][..., None] * trace["z"]

print(trace)
print(f"mu  {trace['mu'].mean():5.2f} +- {trace['mu'].std():.2f}")
print(f"tau {trace['tau'].mean():5.2f} +- {trace['tau'].std():.2f}")
for school, (mean, sd) in enumerate(zip(theta.mean(axis=(0, 1)), theta.std(axis=(0, 1)), strict=True)):
    print(f"school {school}: {mean:5.2f} +- {sd:.2f}")

# the reference draws of posteriordb have mean 4.36 and 3.59
assert abs(trace["mu"].mean() - 4.36) < 0.5
assert abs(trace["tau"].mean() - 3.59) < 0.5
