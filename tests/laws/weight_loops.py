"""Metropolis on a network's weights as plain NumPy loops, for the decisions of the compiled ones."""

from __future__ import annotations

import math

import numpy as np

from micropolis.metropolis.barker import sample_correction
from micropolis.neural.losses import reference


def moons(n=500, seed=0):
    """Two interleaved half circles with noise 0.1, as scikit-learn's make_moons."""
    rng = np.random.default_rng(seed)
    angle, y = np.linspace(0, np.pi, n // 2), np.repeat([0, 1], n // 2)
    upper, lower = (np.cos(angle), np.sin(angle)), (1 - np.cos(angle), 0.5 - np.sin(angle))
    X = np.concatenate([np.stack(upper, axis=1), np.stack(lower, axis=1)]) + 0.1 * rng.standard_normal((n, 2))
    order = rng.permutation(n)
    return X[order], y[order]


def row_losses(net, theta, X, y, loss="multiclass", scale=1.0):
    """Loss of every row at `theta`, by the NumPy reference of the network."""
    model = net.copy()
    model.parameters = theta
    return reference(loss, model.reference(X).astype(np.float64), y, scale)[0]


def propose(theta, lr, rng):
    """Theta + lr z in double, stored in theta's dtype."""
    with np.errstate(over="ignore"):
        return (theta.astype(np.float64) + lr * rng.standard_normal(len(theta))).astype(theta.dtype)


def full_batch(net, X, y, lr, T, steps, seed, *, loss="multiclass", tau=0.0, reduction="mean"):
    """(accepted, loss after the step, weights at the end) of Metropolis-Hastings on all rows."""
    rng = np.random.Generator(np.random.SFC64(seed))

    def energy(theta):
        rows = row_losses(net, theta, X, y, loss)
        prior = 0.5 * tau * float(np.sum(theta.astype(np.float64) ** 2))
        return (rows.mean() if reduction == "mean" else rows.sum()), prior

    theta = net.parameters.copy()
    current, prior = energy(theta)
    accepted, trace = [], []
    for _ in range(steps):
        u = rng.random()
        proposal = propose(theta, lr, rng)
        proposed, new_prior = energy(proposal)
        accept = math.log(u) < (current - proposed) / T + prior - new_prior
        if accept:
            theta, current, prior = proposal, proposed, new_prior
        accepted.append(accept)
        trace.append(current)
    return np.array(accepted), np.array(trace), theta


def bounded(bit_generator, bound):
    """An integer in 0 .. bound - 1 without bias: the high word of a 128-bit product (Lemire 2019)."""
    product = bit_generator.random_raw() * bound
    while product % 2**64 < 2**64 % bound:
        product = bit_generator.random_raw() * bound
    return product >> 64


def minibatch(
    net, X, y, lr, T, steps, batch_size, test, seed, *, loss="multiclass", tau=0.0, reduction="mean", noise=1.0
):
    """(accepted, rows used, log ratios, variances, weights at the end) of the minibatch tests."""
    stream = np.random.SFC64(seed)
    rng = np.random.Generator(stream)
    n = len(X)
    rows, c = np.arange(n), (1.0 if reduction == "mean" else float(n))
    theta, records = net.parameters.copy(), []
    for _ in range(steps):
        proposal = propose(theta, lr, rng)
        prior = 0.5 * tau * float(np.sum(theta**2) - np.sum(proposal**2))
        looked, wanted = 0, batch_size
        while True:
            for i in range(looked, wanted):
                j = i + bounded(stream, n - i)
                rows[i], rows[j] = rows[j], rows[i]
            batch = rows[:wanted]
            looked = wanted
            d = row_losses(net, theta, X[batch], y[batch], loss) - row_losses(net, proposal, X[batch], y[batch], loss)
            row_variance = (c / T) ** 2 * d.var(ddof=1) if T > 0 else 0.0
            variance = (1 - looked / n) * row_variance / looked
            if test != "exact" or variance <= 1:
                break
            needed = math.ceil(n * row_variance / (n + row_variance))
            wanted = min(max(min(needed, 2 * looked), looked + batch_size), n)
        energy = c * d.mean()
        if test == "naive":
            ratio = energy / T + prior
            accept = math.log(rng.random()) < ratio
        elif test == "barker":
            ratio = energy / T + prior if T > 0 else math.copysign(math.inf, energy)
            accept = energy + T * (prior + noise * rng.standard_normal()) > 0
        else:
            ratio = energy / T + prior
            scatter = math.sqrt(1 - variance) * rng.standard_normal()
            accept = ratio + scatter + float(sample_correction(rng.random())) > 0
        if accept:
            theta = proposal
        records.append((accept, looked, ratio, variance))
    accepted, used, ratios, variances = (np.array(column) for column in zip(*records, strict=True))
    return accepted, used, ratios, variances, theta
