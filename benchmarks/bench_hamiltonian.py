"""Nanoseconds of one leapfrog step of NUTS beyond its density, and of one draw beyond its leapfrogs, on N(0, I).

    pytest benchmarks/bench_hamiltonian.py

Floor, per leapfrog with a diagonal metric, in streams of dim doubles through L1 (dim 1000: L2, since a deep tree
keeps several points). First kick and drift, fused: read p, grad, q, scale; write p, q: 6. Density: read q, write
grad: 2, not counted here. Second kick with the kinetic energy: read p, grad, scale; write p: 4. U-turn checks: a
balanced tree makes about one check per leaf and Stan's two extra ones, each a few dot products of the summed momenta
with the momenta at the ends: 4-8 streams, plus the running sum of p (read p, sum; write sum: 3). Keeping the proposal
copies q and grad (4 streams) on about one leaf in two. Some 20 streams of 8 dim bytes: 1.6 kB, 16 kB, 160 kB at dim
10, 100, 1000, that is 25, 250, 2500 cycles at 64 bytes a cycle, and about 20 dim flops. One exp for the weight and
one uniform are 10-20 ns. To reach, density subtracted, dim 10 / 100 / 1000: 110 / 170 / 1500 ns (nutpie 160 / 218 /
1565); one draw beyond its leapfrogs, mainly dim normals, the copy out and the record: 1 microsecond at dim 10.

Two ways to the figure. `usual trees`: the step that gives acceptance near 0.8 in a standard normal, total time over
total gradients, density subtracted, so that it carries each draw's own cost. `slope` and `per draw`: runs with trees
of one leaf and of 63 leaves, solved for a cost per leapfrog and a cost per draw.
"""

from __future__ import annotations

import numpy as np
import pytest
from models import standard_normal
from timing import least_seconds, pointer_seconds

import micropolis as mp

LEAPFROG = {10: 110.0, 100: 170.0, 1000: 1500.0}
PER_DRAW = {10: 1000.0, 100: None, 1000: None}
# acceptance near 0.8 on N(0, I): the energy error of a step grows as dim^(1/4)
STEP_SIZE = {10: 0.90, 100: 0.55, 1000: 0.30}
DRAWS = {10: 20_000, 100: 5_000, 1000: 500}
DEEP = 6


def density_of(dim):
    model = standard_normal(dim)
    return mp.Density.from_numba(model.logp_grad, model.dim)


def sample(density, draws, **options):
    kernel = mp.NUTS(inverse_mass=np.ones(density.dim), **options)
    return mp.sample(
        density,
        kernel,
        draws=draws,
        warmup=0,
        chains=1,
        threads=1,
        init=np.full(density.dim, 0.5),
        seed=1,
        progress=False,
    )


@pytest.mark.parametrize("dim", list(LEAPFROG))
def test_leapfrog_usual_trees(benchmark, figure, dim):
    density = density_of(dim)
    options = {"step_size": STEP_SIZE[dim]}
    trace = benchmark.pedantic(sample, args=(density, DRAWS[dim]), kwargs=options, rounds=7, warmup_rounds=1)
    assert 0.6 < np.mean(trace.stats["accept_prob"]) < 0.95
    if benchmark.stats is None:
        return
    fixed = least_seconds(lambda: sample(density, 1, **options))
    n_grad = int(np.sum(trace.stats["n_grad"]))
    alone = pointer_seconds(density, 20_000)
    figure(f"density alone, dim {dim}", 1e9 * alone, "ns")
    with_density = (benchmark.stats.stats.min - fixed) / n_grad
    figure(f"leapfrog, density subtracted, usual trees, dim {dim}", 1e9 * (with_density - alone), "ns", LEAPFROG[dim])


@pytest.mark.parametrize("dim", list(LEAPFROG))
def test_leapfrog_and_draw(benchmark, figure, dim):
    density = density_of(dim)
    deep, shallow = ({"step_size": 1e-3, "max_depth": depth} for depth in (DEEP, 1))
    draws = DRAWS[dim] // 4
    trace = benchmark.pedantic(sample, args=(density, draws), kwargs=deep, rounds=7, warmup_rounds=1)
    leaves = 2**DEEP - 1
    # a step this small never turns back: each tree is full
    assert np.all(trace.stats["n_grad"] == leaves)
    if benchmark.stats is None:
        return
    fixed = least_seconds(lambda: sample(density, 1, **shallow))
    many = (benchmark.stats.stats.min - fixed) / draws
    one = (least_seconds(lambda: sample(density, draws, **shallow)) - fixed) / draws
    slope = (many - one) / (leaves - 1)
    alone = pointer_seconds(density, 20_000)
    figure(f"leapfrog, density subtracted, slope, dim {dim}", 1e9 * (slope - alone), "ns")
    figure(f"draw beyond its leapfrogs, dim {dim}", 1e9 * (one - slope), "ns", PER_DRAW[dim])
