"""Laws of a run, for every registered kernel: records are honest, streams are the chain's own, and how a run is cut up,
threaded, thinned or stored never changes a draw."""

import dataclasses
import importlib
import itertools
import pickle

import numpy as np
import pytest
from laws.interrupts import pressing
from laws.kernels import (
    BACKENDS,
    EXAMPLES,
    ONE_EACH,
    WITH_GRADIENT,
    assert_same_end,
    assert_same_run,
    resume,
    run,
)
from laws.library import examples
from laws.targets import TRUTHS

import micropolis as mp
from micropolis import protocol
from micropolis.errors import KernelError
from micropolis.protocol import KERNELS

DENSITY = TRUTHS["banana"].density
DIM = DENSITY.dim
# Kernels that learn in warm-up all that they can; others are there with their first option set.
ADAPTIVE = {
    **{name: make(DIM) for name, make in ONE_EACH.items()},
    "random_walk": mp.RandomWalk(covariance="dense"),
    "random_walk diagonal": mp.RandomWalk(covariance="diag"),
    "langevin": mp.MALA(),
    "hmc": mp.HMC(0.1, 5, target_accept=0.8, jitter=0.3),
    "riemannian": mp.RMHMC(0.2, 3, metric=mp.SoftAbs(1.0), target_accept=0.9),
    "nuts": mp.NUTS(),
    "nuts dense": mp.NUTS(metric="dense"),
    "nuts unit": mp.NUTS(metric="unit", target_accept=0.9),
    "nuts of deep trees": mp.NUTS(target_accept=0.99),  # warm-up limits their depth for a while
}


@pytest.mark.parametrize("name", KERNELS)
def test_records_begin_with_the_common_head(name):
    info = KERNELS[name].INFO
    head = np.dtype(protocol.INFO_HEAD)
    assert head.itemsize == 24
    for field, _ in protocol.INFO_HEAD:
        assert info.fields[field] == head.fields[field]
    assert KERNELS[name].OPTIONS.names[:3] == ("step_size", "metric", "scale")
    assert [b.name for b in KERNELS[name].BUFFERS][:2] == ["x", "logp"]


@pytest.mark.parametrize("name", KERNELS)
def test_records_are_those_of_c(name):
    """The compiled module is asked for its sizes, and refuses records of any other."""
    cls = KERNELS[name]
    module = importlib.import_module(f"micropolis._{cls.family}")
    _, _, options_size, info_size = module.kernels()[name]
    assert (cls.OPTIONS.itemsize, cls.INFO.itemsize) == (options_size, info_size)
    buffers = [np.zeros(b.shape(DIM), b.dtype) for b in cls.BUFFERS]
    longer = np.zeros(1, np.dtype([*cls.OPTIONS.descr, ("one_more", "f8")]))
    with pytest.raises(ValueError, match="the C struct has"):
        module.Chain(name, longer, DENSITY._c, np.random.SFC64(0), buffers)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_record_describes_the_draw(name, backend):
    trace = run(DENSITY, ONE_EACH[name](DIM), draws=300, warmup=0, chains=3, seed=1, backend=backend)
    draws, stats = trace.draws, trace.stats
    assert stats.dtype == KERNELS[name].INFO
    np.testing.assert_array_equal(stats["logp"], DENSITY(draws))
    moved = np.any(draws[:, 1:] != draws[:, :-1], axis=2)
    np.testing.assert_array_equal(moved, stats["accepted"][:, 1:])
    # an implicit first step that is not solved has evaluated nothing but the metric
    assert np.all(stats["n_grad"][~stats["divergent"]] >= 1)
    assert np.all((stats["accept_prob"] >= 0) & (stats["accept_prob"] <= 1))
    np.testing.assert_array_equal(stats["divergent"], stats["status"] != protocol.OK)
    for chain, state in enumerate(trace.states):
        np.testing.assert_array_equal(state["x"], draws[chain, -1])
        assert state["logp"] == stats["logp"][chain, -1]
        if name in WITH_GRADIENT:
            np.testing.assert_array_equal(state["grad"], DENSITY.grad(state["x"]))


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.startswith(("random_walk", "langevin", "hmc"))])
def test_number_of_evaluations(example):
    kernel = EXAMPLES[example](DIM)
    trace = run(DENSITY, kernel, draws=300, warmup=0, chains=2, seed=2)
    n_grad = trace.stats["n_grad"][~trace.stats["divergent"]]
    if isinstance(
        kernel, mp.SplitHMC
    ):  # the start, every step, and the value at the end; a law of its own counts blocks
        assert np.all(n_grad == trace.stats["n_block_grad"][~trace.stats["divergent"]] + 1)
        assert np.all((n_grad >= 3) & (n_grad <= 2 + 1.5 * kernel.n_steps))
    elif not isinstance(kernel, mp.HMC):
        assert np.all(n_grad == 1)
    elif kernel.jitter == 0:
        assert np.all(n_grad == kernel.n_steps)
    else:  # every length in the range, each as often: 6 (1 -+ 0.9) holds 1 .. 11
        counts = np.bincount(n_grad, minlength=12)
        assert counts[0] == 0 and counts.size == 12
        # 11 binomial counts, 6 standard deviations each: 2e-9 times 11
        mean = n_grad.size / 11
        assert np.all(np.abs(counts[1:] - mean) < 6 * np.sqrt(mean))


def test_evaluations_are_what_the_density_counts():
    """The density's own count: the start, and n_grad of every record; a search for the step size is extra."""
    for name, make in ONE_EACH.items():
        calls = itertools.count()

        def logp_and_grad(x, calls=calls):
            next(calls)
            return -0.5 * x @ x, -x

        density = mp.Density.from_callable(logp_and_grad, dim=2)
        trace = run(density, make(2), draws=50, warmup=20, chains=1, init=np.ones(2), seed=3)
        made = next(calls)
        assert made == 1 + trace.stats["n_grad"].sum() + trace.warmup_stats["n_grad"].sum(), name


@pytest.mark.parametrize("max_depth", [1, 2, 4, 10])
@pytest.mark.parametrize("step_size", [0.02, 0.3, 1.5])
def test_trees_of_nuts(max_depth, step_size):
    """A tree of depth d was built by d doublings that were kept, and at most one that was not."""
    kernel = mp.NUTS(step_size=step_size, max_depth=max_depth)
    stats = run(TRUTHS["gaussian"].density, kernel, draws=200, warmup=0, chains=2, seed=4).stats
    depth, n_grad = stats["depth"], stats["n_grad"]
    assert np.all((depth >= 0) & (depth <= max_depth))
    assert np.all(n_grad <= 2**max_depth - 1)
    kept = 2**depth - 1
    assert np.all((n_grad >= kept) & (n_grad <= 2 * kept + 1))
    # ended by a doubling that was kept: it made the trajectory turn, or was the last allowed
    whole = n_grad == kept
    assert np.all(whole[depth == max_depth])
    assert np.all(depth[~whole] < max_depth)
    np.testing.assert_allclose(stats["energy_error"][~stats["accepted"]], 0.0, atol=0)
    assert np.all(stats["accept_prob_symmetric"] <= 1)
    if step_size == 0.02:
        assert np.all((depth == max_depth) | (depth > 4))


@pytest.mark.parametrize("name", ADAPTIVE)
def test_threads_do_not_change_draws(name):
    runs = [
        run(DENSITY, ADAPTIVE[name], draws=60, warmup=120, chains=5, seed=5, threads=threads) for threads in (1, 2, 4)
    ]
    for other in runs[1:]:
        assert_same_run(runs[0], other)
        assert_same_end(runs[0], other)
        for field in other.warmup_stats.dtype.names:
            np.testing.assert_array_equal(runs[0].warmup_stats[field], other.warmup_stats[field], err_msg=field)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_seeds(name):
    """A seed gives the same run again; chains and seeds differ from each other; a chain does not see its neighbours."""
    options = {"draws": 40, "warmup": 60, "init": np.full(DIM, 0.3)}
    one = run(DENSITY, ADAPTIVE[name], chains=3, seed=6, **options)
    assert_same_run(one, run(DENSITY, ADAPTIVE[name], chains=3, seed=6, **options))
    assert_same_run(one, run(DENSITY, ADAPTIVE[name], chains=3, seed=np.random.default_rng(6), **options))
    fewer = run(DENSITY, ADAPTIVE[name], chains=2, seed=6, **options)
    np.testing.assert_array_equal(fewer.draws, one.draws[:2])
    others = run(DENSITY, ADAPTIVE[name], chains=3, seed=7, **options)
    first_moves = np.concatenate([one.draws[:, -1], others.draws[:, -1]])
    assert len(np.unique(first_moves, axis=0)) == 6
    streams = [state["state"]["state"].tobytes() for state in one.rng_states]
    assert len(set(streams)) == 3


@pytest.mark.parametrize("name", KERNELS)
def test_chains_are_uncorrelated(name):
    """Correlation between chains of one run, each from an exact draw, pair by pair over many runs."""
    truth = TRUTHS["independent"]
    start = truth.density.sample_exact(np.random.default_rng(8), 600)
    trace = run(truth.density, ONE_EACH[name](truth.dim), draws=50, warmup=0, chains=600, init=start, seed=9)
    z = truth.standardise(trace.draws).mean(axis=1)
    product = z[0::2] * z[1::2]
    score = product.mean(axis=0) / (product.std(axis=0, ddof=1) / np.sqrt(len(product)))
    # Student with 299 degrees of freedom: 1e-7 beyond 5.45 in each of 9 coordinates
    assert np.max(np.abs(score)) < 5.45


@pytest.mark.parametrize("name", ADAPTIVE)
def test_thinning_keeps_every_third_draw(name):
    options = {"warmup": 50, "chains": 2, "seed": 10}
    all_draws = run(DENSITY, ADAPTIVE[name], draws=90, **options)
    thinned = run(DENSITY, ADAPTIVE[name], draws=30, thin=3, **options)
    np.testing.assert_array_equal(thinned.draws, all_draws.draws[:, 2::3])
    for field in ("logp", "accept_prob"):
        np.testing.assert_array_equal(thinned.stats[field], all_draws.stats[field][:, 2::3])
    groups = all_draws.stats.reshape(2, 30, 3)
    # the first status that says something
    first = np.argmax(groups["status"] != 0, axis=2)[..., None]
    np.testing.assert_array_equal(thinned.stats["status"], np.take_along_axis(groups["status"], first, axis=2)[..., 0])
    np.testing.assert_array_equal(thinned.stats["n_grad"], groups["n_grad"].sum(axis=2))
    np.testing.assert_array_equal(thinned.stats["accepted"], groups["accepted"].any(axis=2))
    np.testing.assert_array_equal(thinned.stats["divergent"], groups["divergent"].any(axis=2))
    for field in protocol.own_flags(thinned.stats.dtype):
        np.testing.assert_array_equal(thinned.stats[field], groups[field].any(axis=2))
    assert_same_end(thinned, all_draws)
    np.testing.assert_array_equal(resume(thinned, 5).draws, resume(all_draws, 15).draws[:, 2::3])


@pytest.mark.parametrize("name", KERNELS)
def test_storage_does_not_change_draws(name, tmp_path):
    options = {"draws": 40, "warmup": 20, "chains": 2, "seed": 11}
    memory = run(DENSITY, ONE_EACH[name](DIM), **options)
    single = run(DENSITY, ONE_EACH[name](DIM), dtype="float32", **options)
    assert single.draws.dtype == np.float32
    np.testing.assert_array_equal(single.draws, memory.draws.astype(np.float32))
    assert_same_end(single, memory)
    for dtype, expected in (("float64", memory), ("float32", single)):
        path = tmp_path / f"{dtype}.npy"
        stored = run(DENSITY, ONE_EACH[name](DIM), dtype=dtype, store=path, **options)
        assert isinstance(stored.draws, np.memmap)
        assert_same_run(stored, expected)
        stored.draws.flush()
        np.testing.assert_array_equal(np.load(path), expected.draws)


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_run_is_a_loop_of_steps(example):
    """`mp.step` from the stream of a chain gives its draws and records, bit for bit."""
    truth = TRUTHS["gaussian"]
    kernel = EXAMPLES[example](truth.dim)
    trace = run(truth.density, kernel, draws=40, warmup=0, chains=2, init=np.zeros(truth.dim), seed=12)
    for chain, child in enumerate(np.random.SeedSequence(12).spawn(2)):
        rng, state = np.random.Generator(np.random.SFC64(child)), mp.init(truth.density, np.zeros(truth.dim))
        for draw in range(40):
            state, info = mp.step(kernel, truth.density, rng, state)
            np.testing.assert_array_equal(state.x, trace.draws[chain, draw])
            assert info == trace.stats[chain, draw]
        np.testing.assert_equal(rng.bit_generator.state, trace.rng_states[chain])


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("warmup", [0, 150])
def test_resume_is_one_longer_run(name, warmup, tmp_path):
    options = {"warmup": warmup, "chains": 3, "seed": 13}
    whole = run(DENSITY, ADAPTIVE[name], draws=80, **options)
    first = run(DENSITY, ADAPTIVE[name], draws=30, **options)
    assert_same_run(first, whole, second=slice(0, 30))
    more = resume(first, 50)
    assert_same_run(more, whole, second=slice(30, 80))
    assert_same_end(more, whole)
    # through a file, in two pieces, with the density rebuilt or given
    first.save(tmp_path / "first.npz")
    loaded = mp.Trace.load(tmp_path / "first.npz")
    assert_same_run(resume(loaded, 50, DENSITY, threads=1), more)
    second = resume(loaded, 20)
    second.save(tmp_path / "second.npz")
    third = resume(mp.Trace.load(tmp_path / "second.npz"), 30)
    assert_same_run(third, whole, second=slice(50, 80))
    assert_same_end(third, whole)
    for kernel, other in zip(third.kernels, whole.kernels, strict=True):
        assert pickle.dumps(dataclasses.asdict(kernel)) == pickle.dumps(dataclasses.asdict(other))


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("share", [0.02, 0.4, 0.7, 0.95])
def test_resume_after_an_interruption(name, share, noticed, tmp_path):
    """Cut in warm-up or in sampling, written to a file: what was owed comes as if nothing had happened.

    Chains of a Python function run one after another, so the second chain had not begun.
    """
    options = {"draws": 40, "warmup": 100, "chains": 2, "init": np.zeros(DIM), "seed": 14}
    density = mp.Density.from_callable(DENSITY.value_and_grad, DIM)
    whole = run(density, ADAPTIVE[name], **options)
    evaluations = whole.stats["n_grad"][0].sum() + whole.warmup_stats["n_grad"][0].sum()
    interrupted = pressing(DENSITY.value_and_grad, int(share * evaluations), noticed)
    cut = run(mp.Density.from_callable(interrupted, DIM), ADAPTIVE[name], **options)
    assert cut.n_draws == 0 and cut.warmup_done == 0
    extra = [len(chain["draws"]) for chain in cut.ragged] or [0, 0]
    done = [(chain["warmup_done"], n) for chain, n in zip(cut.adaptation, extra, strict=True)]
    assert done[1] == (0, 0)
    assert sum(done[0]) < 140 and (share < 0.1 or sum(done[0]) > 0)  # early, it was still looking for a step size
    cut.save(tmp_path / "cut.npz")
    rest = resume(mp.Trace.load(tmp_path / "cut.npz"), density=density)
    assert_same_run(rest, whole)
    assert_same_end(rest, whole)
    for field in whole.warmup_stats.dtype.names:
        np.testing.assert_array_equal(rest.warmup_stats[field], whole.warmup_stats[field], err_msg=field)


@pytest.mark.parametrize("example", EXAMPLES)
def test_kernels_pickle(example):
    kernel = EXAMPLES[example](DIM)
    twin = pickle.loads(pickle.dumps(kernel))
    assert type(twin) is type(kernel)
    options = {"draws": 20, "warmup": 10, "chains": 1, "seed": 15}
    assert_same_run(run(DENSITY, kernel, **options), run(DENSITY, twin, **options))


@pytest.mark.parametrize("name", examples())
def test_densities_and_traces_pickle(name):
    density = examples()[name]
    options = {"draws": 20, "warmup": 10, "chains": 2, "seed": 16}
    trace = run(density, mp.NUTS(step_size=0.1, metric="unit"), **options)
    twin = pickle.loads(pickle.dumps(density))
    assert_same_run(run(twin, mp.NUTS(step_size=0.1, metric="unit"), **options), trace)
    copied = pickle.loads(pickle.dumps(trace))
    assert_same_run(resume(copied, 10), resume(trace, 10, twin))


@pytest.mark.parametrize("name", KERNELS)
def test_options_do_not_change_while_a_chain_runs(name):
    kernel = ADAPTIVE[name]
    before = pickle.dumps(kernel)
    trace = run(DENSITY, kernel, draws=20, warmup=50, chains=1, seed=17)
    assert pickle.dumps(kernel) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        trace.kernels[0].new_option = 1


def test_flags_of_a_record_are_counted():
    """The C loop has room for eight; one more would be written beside it."""
    assert protocol.own_flags(protocol.info_dtype(*[(f"flag_{i}", "?") for i in range(8)], ("step_size", "f8")))
    with pytest.raises(KernelError, match="at most 8 booleans behind the head, got flag_0, "):
        protocol.own_flags(protocol.info_dtype(*[(f"flag_{i}", "?") for i in range(9)]))
