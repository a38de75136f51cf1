"""A Metropolis loop of one's own with the array kernels: parallel tempering across two far modes."""

import numpy as np

from micropolis.densities import GaussianMixture
from micropolis.kernels import metropolis_accept

density = GaussianMixture(np.array([[-6.0, 0.0], [6.0, 0.0]]), np.array([np.eye(2), np.eye(2)]), [0.3, 0.7])
rng = np.random.default_rng(1)
temperatures = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
replicas, sweeps = 32, 4000

x = rng.standard_normal((len(temperatures), replicas, 2))
logp = density(x)
right = []
for sweep in range(sweeps):
    # a random-walk move of every chain at its own temperature
    proposal = x + np.sqrt(temperatures)[:, None, None] * rng.standard_normal(x.shape)
    logp_proposal = density(proposal)
    accept = metropolis_accept(logp, logp_proposal, rng, temperature=temperatures[:, None])
    x = np.where(accept[..., None], proposal, x)
    logp = np.where(accept, logp_proposal, logp)

    # neighbours exchange places: even and odd pairs in turn
    cold = np.arange(sweep % 2, len(temperatures) - 1, 2)
    hot = cold + 1
    gain = (logp[hot] - logp[cold]) * (1 / temperatures[cold] - 1 / temperatures[hot])[:, None]
    swap = metropolis_accept(np.zeros_like(gain), gain, rng)
    x[cold], x[hot] = np.where(swap[..., None], x[hot], x[cold]), np.where(swap[..., None], x[cold], x[hot])
    logp[cold], logp[hot] = np.where(swap, logp[hot], logp[cold]), np.where(swap, logp[cold], logp[hot])
    if sweep >= sweeps // 10:
        right.append(np.mean(x[0, :, 0] > 0))

print(f"weight of the right mode: {np.mean(right):.3f}, exactly 0.700")
assert abs(np.mean(right) - 0.7) < 0.05
