"""Nanoseconds of one random-walk Metropolis step on N(0, I), against a Numba loop with everything inlined.

    pytest benchmarks/bench_metropolis.py

Floor. A step draws d normals and one uniform, and makes 2 d flops for the proposal and 2 d for the density. It moves
four streams of d doubles through L1 (reads x, writes and reads the proposal, writes x when accepted). At dim 100 that
is 3.2 kB and 400 flops, some 20-30 ns of SIMD work, while 100 ziggurat normals at 2.6 ns are 260 ns: random numbers
are what limits the step. To reach: 25 / 48 / 360 ns at dim 2 / 10 / 100 (the Numba loop: 29 / 59 / 475).

A sample call has a fixed cost and keeps draws; both drop out, since each figure is the difference of a long and a
short run that keep the same few draws (thinning), over the difference of their steps.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from models import standard_normal
from timing import least_seconds

import micropolis as mp

LIMITS = {2: 25.0, 10: 48.0, 100: 360.0, 1000: None}
KEPT = 100
STEPS = {2: 2_000_000, 10: 1_000_000, 100: 200_000, 1000: 20_000}

# -- the loop to beat: xoshiro256++ (Blackman & Vigna 2021) and a 256-layer ziggurat (Marsaglia & Tsang 2000) in Numba

EDGE, AREA = 3.6541528853610088, 4.92867323399e-3


def ziggurat_edges():
    """Right edges of the layers, from the widest (the base, with the tail folded in) to 0."""
    edges = np.zeros(257)
    edges[0], edges[1] = AREA * math.exp(0.5 * EDGE**2), EDGE
    for i in range(2, 256):
        edges[i] = math.sqrt(-2 * math.log(AREA / edges[i - 1] + math.exp(-0.5 * edges[i - 1] ** 2)))
    return edges


EDGES = ziggurat_edges()


@numba.njit(inline="always")
def next_bits(state):
    a, b, c, d = state[0], state[1], state[2], state[3]
    total = a + d
    bits = ((total << np.uint64(23)) | (total >> np.uint64(41))) + a
    shifted = b << np.uint64(17)
    c ^= a
    d ^= b
    state[1] = b ^ c
    state[0] = a ^ d
    state[2] = c ^ shifted
    state[3] = (d << np.uint64(45)) | (d >> np.uint64(19))
    return bits


@numba.njit(inline="always")
def uniform(state):
    return (next_bits(state) >> np.uint64(11)) * 2.0**-53


@numba.njit
def rare_normal(state, layer, z):
    """The one draw in a hundred that misses the rectangle: the value, or NaN to draw again."""
    if layer == 0:
        while True:
            tail = -math.log1p(-uniform(state)) / EDGE
            if -2 * math.log1p(-uniform(state)) > tail * tail:
                return math.copysign(EDGE + tail, z)
    upper = math.exp(-0.5 * (EDGES[layer + 1] ** 2 - z * z))
    lower = math.exp(-0.5 * (EDGES[layer] ** 2 - z * z))
    return z if lower + uniform(state) * (upper - lower) < 1 else math.nan


@numba.njit(inline="always")
def normal(state):
    while True:
        bits = next_bits(state)
        layer = np.int64(bits & np.uint64(255))
        z = (np.int64(bits) >> 8) * 2.0**-55 * EDGES[layer]  # signed: no branch on the sign
        if abs(z) < EDGES[layer + 1]:
            return z
        z = rare_normal(state, layer, z)
        if not math.isnan(z):
            return z


@numba.njit
def numba_loop(steps, x, scale, state):
    """Steps of the random walk on N(0, I) from x, in place; the number accepted."""
    dim = x.size
    proposal = np.empty(dim)
    logp, accepted = -0.5 * np.sum(x * x), 0
    for _ in range(steps):
        total = 0.0
        for i in range(dim):
            z = x[i] + scale * normal(state)
            proposal[i] = z
            total += z * z
        difference = -0.5 * total - logp
        if difference >= 0 or uniform(state) < math.exp(difference):
            for i in range(dim):
                x[i] = proposal[i]
            logp = -0.5 * total
            accepted += 1
    return accepted


def generator_state():
    return np.random.default_rng(1).integers(1, 2**63, size=4).astype(np.uint64)


@numba.njit
def many_normals(n, state):
    out = np.empty(n)
    for i in range(n):
        out[i] = normal(state)
    return out


def test_normals_of_the_loop_are_normal(benchmark, figure):
    n = 1_000_000
    z = benchmark.pedantic(many_normals, args=(n, generator_state()), rounds=5, warmup_rounds=1)
    # standard errors of mean, variance, fourth moment and P(|z| > 3.7) of n normals; five of them allowed
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 5 * math.sqrt(96 / n)
    tail = math.erfc(3.7 / math.sqrt(2))
    assert abs((abs(z) > 3.7).mean() - tail) < 5 * math.sqrt(tail / n)
    if benchmark.stats is not None:
        figure("one normal of the Numba loop", 1e9 * benchmark.stats.stats.min / n, "ns")


@pytest.mark.parametrize("dim", list(STEPS))
def test_numba_loop(benchmark, figure, dim):
    state, scale, steps = generator_state(), 2.38 / math.sqrt(dim), STEPS[dim]
    accepted = benchmark.pedantic(numba_loop, args=(steps, np.zeros(dim), scale, state), rounds=7, warmup_rounds=1)
    assert 0.1 < accepted / steps < 0.5
    if benchmark.stats is not None:
        figure(f"random-walk step, inlined Numba loop, dim {dim}", 1e9 * benchmark.stats.stats.min / steps, "ns")


def sample(density, steps):
    return mp.sample(
        density,
        mp.RandomWalk(scale=2.38 / math.sqrt(density.dim)),
        draws=KEPT,
        thin=steps // KEPT,
        warmup=0,
        chains=1,
        threads=1,
        init=np.zeros(density.dim),
        seed=1,
        progress=False,
    )


@pytest.mark.parametrize("way", ["library", "cfunc"])
@pytest.mark.parametrize("dim", list(STEPS))
def test_random_walk(benchmark, figure, dim, way):
    if way == "library":
        density = mp.densities.Gaussian(np.zeros(dim), std=np.ones(dim))
    else:
        model = standard_normal(dim)
        density = mp.Density.from_numba(model.logp_grad, model.dim)
    long, short = STEPS[dim], STEPS[dim] // 10
    benchmark.pedantic(sample, args=(density, long), rounds=7, warmup_rounds=1)
    if benchmark.stats is not None:
        step = (benchmark.stats.stats.min - least_seconds(lambda: sample(density, short))) / (long - short)
        limit = LIMITS[dim] if way == "library" else None
        figure(f"random-walk step, micropolis, {way} Gaussian, dim {dim}", 1e9 * step, "ns", limit)
