"""Arguments of sample, resume, init, step and the kernels: what is wrong is named before anything runs."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

import micropolis as mp
from micropolis.errors import InputError, InputTypeError, SamplingWarning

pytestmark = pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")

GAUSSIAN = mp.densities.Gaussian([0.0, 0.0])
SHORT = {"draws": 5, "warmup": 0, "chains": 2, "seed": 1, "progress": False}
STEP = mp.HMC(step_size=0.5, n_steps=3)


class Counting(mp.Density):
    """A density that must not be evaluated."""

    def __init__(self):
        super().__init__(2)

    def _bind(self):
        raise AssertionError("evaluated")


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("chains", 0, InputError, "chains: expected an integer >= 1, got 0"),
        ("chains", -1, InputError, "chains: expected an integer >= 1, got -1"),
        ("chains", 2.0, InputTypeError, "chains: expected an integer >= 1, got 2.0"),
        ("chains", True, InputTypeError, "chains: .* got True"),
        ("chains", 10**9, InputError, "draws, warmup, chains: .* GiB of memory, this machine has"),
        ("draws", -1, InputError, "draws: expected an integer >= 0, got -1"),
        ("draws", "10", InputTypeError, "draws: expected an integer >= 0, got '10'"),
        ("draws", None, InputTypeError, "draws: expected an integer >= 0, got None"),
        ("draws", 10**12, InputError, r"dimension 2 need .* GiB of memory, this machine has .* GiB"),
        ("draws", 10**30, InputError, "GiB of memory, this machine has"),
        ("warmup", -5, InputError, "warmup: expected an integer >= 0, got -5"),
        ("warmup", 10**12, InputError, "GiB of memory, this machine has"),
        ("warmup", np.nan, InputTypeError, "warmup: expected an integer >= 0, got nan"),
        ("thin", 0, InputError, "thin: expected an integer in 1..2147483647, got 0"),
        ("thin", 10**30, InputError, "thin: expected an integer in 1..2147483647"),
        ("threads", 0, InputError, "threads: expected an integer >= 1, got 0"),
        ("threads", "all", InputTypeError, "threads: expected an integer >= 1, got 'all'"),
        ("backend", "fortran", InputError, "backend: expected one of 'auto', 'c', 'numba', 'python', 'cuda', got "),
        ("backend", None, InputError, "backend: expected one of"),
        ("backend", ["c"], InputError, "backend: expected one of"),
        ("dtype", "float16", InputError, "dtype: expected 'float64' or 'float32', got 'float16'"),
        ("dtype", 8, InputError, "dtype: expected 'float64' or 'float32', got 8"),
        ("dtype", "real", InputError, "dtype: expected 'float64' or 'float32', got 'real'"),
        ("dtype", None, InputError, "dtype: expected 'float64' or 'float32', got None"),
        ("dtype", np.int64, InputError, "dtype: expected 'float64' or 'float32', got <class 'numpy.int64'>"),
        ("progress", "yes", InputTypeError, "progress: expected True, False or None, got 'yes'"),
        ("seed", -1, InputError, "seed: expected None, a non-negative integer or a NumPy generator, got -1"),
        ("seed", 1.5, InputError, "seed: expected None, a non-negative integer"),
        ("seed", "one", InputError, "seed: expected None, a non-negative integer"),
        ("seed", np.random.RandomState(1), InputError, "seed: expected None, a non-negative integer"),
        ("seed", {"a": 1}, InputError, "seed: expected None, a non-negative integer"),
        ("store", 5, InputTypeError, "store: expected a path, got int"),
        ("store", "/no such folder/draws.npy", InputError, "store: the folder of /no such folder/draws.npy does not"),
        ("store", os.sep, InputError, "store: / is a folder, expected a file"),
        ("checkpoint", 1.5, InputTypeError, "checkpoint: expected a path, got float"),
        ("checkpoint", "/no such folder/run.npz", InputError, "checkpoint: the folder of .* does not exist"),
        ("kernel", "nuts", InputTypeError, r"kernel: expected a kernel such as NUTS\(\), got str"),
        ("kernel", mp.NUTS, InputTypeError, r"kernel: expected a kernel such as NUTS\(\), got the class NUTS"),
        ("density", np.sum, InputTypeError, "density: expected a Density, got .*wrap a function by Density.from_numpy"),
        ("init", np.zeros(3), InputError, r"init: expected shape \(\.\.\., 2\), got \(3,\)"),
    ],
)
def test_sample(argument, value, error, message):
    call = SHORT | {"density": Counting(), "kernel": STEP, argument: value}
    with pytest.raises(error, match=message):
        mp.sample(**call)


def test_the_missing_argument_and_unknown_ones():
    with pytest.raises(TypeError):
        mp.sample()
    with pytest.raises(TypeError, match="tune"):
        mp.sample(GAUSSIAN, STEP, tune=100)


@pytest.mark.parametrize("integer", [np.int64, np.uint8, np.int32, np.array])
def test_numpy_integers(integer):
    counts = {"draws": 5, "warmup": 3, "chains": 2, "thin": 2, "threads": 1}
    counts = {name: integer(count) for name, count in counts.items()}
    trace = mp.sample(GAUSSIAN, mp.HMC(np.float32(0.5), integer(3)), **SHORT | counts)
    plain = mp.sample(GAUSSIAN, STEP, **SHORT | {"warmup": 3, "thin": 2})
    np.testing.assert_array_equal(trace.draws, plain.draws)


@pytest.mark.parametrize("dtype", ["float32", "f4", np.float32, np.dtype("float32")])
def test_dtypes_as_numpy_takes_them(dtype, tmp_path):
    store = tmp_path / "draws.npy"
    assert mp.sample(GAUSSIAN, draws=2, warmup=0, chains=1, dtype=dtype, store=store).draws.dtype == np.float32
    assert mp.sample(GAUSSIAN, draws=2, warmup=0, chains=1, dtype=float).draws.dtype == np.float64


def test_seeds_of_each_kind():
    def draws(seed):
        return mp.sample(GAUSSIAN, STEP, **SHORT | {"seed": seed}).draws

    assert not np.array_equal(draws(None), draws(None))
    for kind in (
        lambda: 7,
        lambda: np.uint64(7),
        lambda: [7, 8],
        lambda: np.array([7, 8], dtype=np.uint32),
        lambda: np.random.SeedSequence(7),
        lambda: np.random.PCG64(7),
        lambda: np.random.default_rng(7),
        lambda: np.random.Generator(np.random.MT19937(7)),
    ):
        np.testing.assert_array_equal(draws(kind()), draws(kind()))
    np.testing.assert_array_equal(draws(7), draws(np.random.SeedSequence(7)))
    np.testing.assert_array_equal(draws(7), draws(np.random.default_rng(7)))
    rng = np.random.default_rng(7)
    assert not np.array_equal(draws(rng), draws(rng))  # one generator, two runs: not the same draws twice
    assert not np.array_equal(*draws(7))  # nor two chains


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mp.HMC(step_size=np.inf), "step_size: expected a finite number > 0, got inf"),
        (lambda: mp.HMC(step_size=np.nan), "step_size: expected a finite number > 0, got nan"),
        (lambda: mp.HMC(step_size=0.0), "step_size"),
        (lambda: mp.HMC(step_size="0.1"), "step_size: expected a finite number > 0, got '0.1'"),
        (lambda: mp.HMC(step_size=None), "step_size"),
        (lambda: mp.HMC(step_size=[0.1, 0.2]), "step_size"),
        (lambda: mp.HMC(n_steps=0), "n_steps: expected an integer in 1..1073741824, got 0"),
        (lambda: mp.HMC(n_steps=2**31), "n_steps"),
        (lambda: mp.HMC(n_steps=10.0), "n_steps"),
        (lambda: mp.HMC(jitter=1.0), "jitter"),
        (lambda: mp.HMC(jitter=-0.1), "jitter"),
        (lambda: mp.HMC(jitter=np.nan), "jitter"),
        (lambda: mp.HMC(target_accept=1.0), "target_accept: expected a finite number > 0 and < 1, got 1.0"),
        (lambda: mp.NUTS(max_depth=21), r"max_depth: expected an integer in 1..20, got 21"),
        (lambda: mp.NUTS(max_depth=0), "max_depth"),
        (lambda: mp.NUTS(max_depth=10.0), "max_depth"),
        (lambda: mp.NUTS(target_accept=np.nan), "target_accept"),
        (lambda: mp.NUTS(target_accept=None), "target_accept"),
        (lambda: mp.NUTS(step_size=-0.1), "step_size"),
        (lambda: mp.NUTS(metric="full"), "metric: expected one of 'diag', 'dense', 'unit', got 'full'"),
        (lambda: mp.NUTS(metric=np.eye(2)), "metric: expected one of"),
        (lambda: mp.MALA(step_size=np.inf), "step_size"),
        (lambda: mp.MALA(target_accept=2.0), "target_accept"),
        (lambda: mp.RandomWalk(scale=0.0), "scale"),
        (lambda: mp.RandomWalk(scale=np.nan), "scale"),
        (lambda: mp.RandomWalk(scale=[1.0, np.inf]), "scale"),
        (lambda: mp.RandomWalk(scale="wide"), "scale"),
        (lambda: mp.RandomWalk(scale=np.ones((2, 2, 2))), "scale"),
        (lambda: mp.RandomWalk(scale=np.ones((2, 3))), "scale: expected a finite lower triangular matrix"),
        (lambda: mp.RandomWalk(scale=np.ones((2, 2))), "scale: expected a finite lower triangular matrix"),
        (lambda: mp.RandomWalk(scale=[[1.0, 0.0], [np.nan, 1.0]]), "scale: expected a finite lower triangular matrix"),
        (lambda: mp.RandomWalk(temperature=0.0), "temperature: expected positive finite numbers, got 0.0"),
        (lambda: mp.RandomWalk(temperature=[1.0, np.nan]), "temperature"),
        (lambda: mp.RandomWalk(temperature=[]), "temperature"),
        (lambda: mp.RandomWalk(temperature=lambda step: -1.0), "temperature"),
        (lambda: mp.RandomWalk(temperature=lambda step: None), "temperature"),
        (lambda: mp.RandomWalk(target_accept="high"), "target_accept"),
        (lambda: mp.RandomWalk(target_accept=[0.2, 0.3]), "target_accept"),
        (lambda: mp.RandomWalk(covariance="full"), "covariance"),
        (lambda: mp.RandomWalk(covariance=np.eye(2)), "covariance"),
        (lambda: mp.RandomWalk(schedule_steps=0), "schedule_steps"),
    ],
)
def test_options_of_kernels(make, message):
    with pytest.raises((InputError, InputTypeError), match=message):
        make()


@pytest.mark.parametrize("kernel", [mp.HMC, mp.NUTS, mp.MALA])
@pytest.mark.parametrize(
    "mass",
    [
        [1.0, 1.0, 1.0], [1.0, -1.0], [1.0, 0.0], [1.0, np.nan], [np.inf, 1.0], np.eye(3), -np.eye(2), np.ones((2, 2)),
        [[1.0, 0.5], [0.4, 1.0]], [[1.0, np.nan], [np.nan, 1.0]], [[np.inf, 0.0], [0.0, 1.0]], 2.0, "unit", [1j, 1.0],
        [[1.0], [1.0, 2.0]],
    ],
)  # fmt: skip
def test_inverse_mass(kernel, mass):
    with pytest.raises((InputError, InputTypeError), match="inverse_mass"):
        mp.sample(GAUSSIAN, kernel(inverse_mass=mass), **SHORT)


def test_scale_of_another_dimension():
    for scale in (np.ones(3), np.eye(3)):
        with pytest.raises(InputError, match=r"scale: expected a number, \(2,\) or \(2, 2\), got shape"):
            mp.sample(GAUSSIAN, mp.RandomWalk(scale=scale), **SHORT)


def test_init_and_step():
    rng, state = np.random.default_rng(1), mp.init(GAUSSIAN, [0.0, 0.0])
    for call, message in [
        (lambda: mp.init(np.sum, [0.0, 0.0]), "density: expected a Density, got"),
        (lambda: mp.init(GAUSSIAN, [0.0]), r"x: expected shape \(\.\.\., 2\), got \(1,\)"),
        (lambda: mp.init(GAUSSIAN, np.zeros((1, 2))), r"x: expected shape \(2,\), got \(1, 2\)"),
        (lambda: mp.init(GAUSSIAN, ["a", "b"]), "x: expected an array of real numbers"),
        (lambda: mp.init(GAUSSIAN, [np.nan, 0.0]), "x: the log density is nan"),
        (lambda: mp.init(GAUSSIAN, [np.inf, 0.0]), "x: the log density is -inf"),
        (lambda: mp.step("hmc", GAUSSIAN, rng, state), "kernel: expected a kernel"),
        (lambda: mp.step(STEP, np.sum, rng, state), "density: expected a Density, got"),
        (lambda: mp.step(STEP, GAUSSIAN, 1, state), "rng: expected a numpy.random.Generator, got int"),
        (lambda: mp.step(STEP, GAUSSIAN, np.random, state), "rng: expected a numpy.random.Generator, got module"),
        (lambda: mp.step(STEP, GAUSSIAN, rng, state.x), "state: expected a State, made by init, got ndarray"),
        (
            lambda: mp.step(STEP, mp.densities.Gaussian(np.zeros(3)), rng, state),
            r"state: expected x and grad of shape \(3,\), got \(2,\) and \(2,\)",
        ),
        (lambda: mp.step(mp.NUTS(inverse_mass=[1.0]), GAUSSIAN, rng, state), "inverse_mass: expected shape"),
    ]:
        with pytest.raises((InputError, InputTypeError), match=message):
            call()


def test_resume():
    trace = mp.sample(GAUSSIAN, STEP, **SHORT)
    other = mp.sample(mp.Density.from_callable(lambda x: (-0.5 * x @ x, -x), 2), STEP, **SHORT)
    hand_made = mp.Trace(
        draws=trace.draws, stats=trace.stats, warmup_stats=trace.warmup_stats, kernels=trace.kernels,
        names=trace.names, states=trace.states, rng_states=trace.rng_states,
    )  # fmt: skip
    for call, message in [
        (lambda: mp.resume("run.npz", 5), "trace: expected a Trace, got str; load a file by Trace.load"),
        (lambda: mp.resume(hand_made, 5), "trace: expected one that sample or resume made"),
        (lambda: mp.resume(trace), "draws: the run was complete; say how many more draws to make"),
        (lambda: mp.resume(trace, -1), "draws: expected an integer >= 0, got -1"),
        (lambda: mp.resume(trace, 10**12), "GiB of memory, this machine has"),
        (lambda: mp.resume(trace, 5, threads=0), "threads: expected an integer >= 1"),
        (lambda: mp.resume(trace, 5, progress=3), "progress: expected True, False or None"),
        (lambda: mp.resume(trace, 5, store="/no such folder/x.npy"), "store: the folder of"),
        (lambda: mp.resume(trace, 5, checkpoint="/no such folder/x.npz"), "checkpoint: the folder of"),
        (lambda: mp.resume(trace, 5, mp.densities.Gaussian(np.zeros(3))), "density: expected a Density of dimension 2"),
        (lambda: mp.resume(trace, 5, np.sum), "density: expected a Density of dimension 2"),
        (
            lambda: mp.resume(trace, 5, mp.densities.Gaussian([0.0, 1e-3])),
            "density: not the one the trace was made with: at the last point of chain 0 it is",
        ),
        (lambda: mp.resume(other, 5), "density: the trace cannot rebuild its density; pass the one it was made with"),
    ]:
        with pytest.raises((InputError, InputTypeError), match=message):
            call()
    assert mp.resume(other, 3, GAUSSIAN_AS_CALLABLE).n_draws == 3


GAUSSIAN_AS_CALLABLE = mp.Density.from_callable(lambda x: (-0.5 * x @ x, -x), 2)


# -- requests at the edges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [STEP, mp.NUTS(), mp.MALA(), mp.RandomWalk(covariance="dense")], ids=repr)
@pytest.mark.parametrize(("draws", "warmup"), [(0, 0), (0, 5), (1, 0), (1, 1), (5, 2), (2, 9)])
def test_empty_and_tiny_runs(kernel, draws, warmup, tmp_path):
    trace = mp.sample(GAUSSIAN, kernel, **SHORT | {"draws": draws, "warmup": warmup, "store": tmp_path / "draws.npy"})
    assert trace.draws.shape == (2, draws, 2) and trace.warmup_stats.shape == (2, warmup)
    assert np.all(np.isfinite(trace.draws))
    trace.save(tmp_path / "run.npz")
    more = mp.resume(mp.Trace.load(tmp_path / "run.npz"), 4)
    whole = mp.sample(GAUSSIAN, kernel, **SHORT | {"draws": draws + 4, "warmup": warmup})
    np.testing.assert_array_equal(more.draws, whole.draws[:, draws:])


@pytest.mark.parametrize("kernel", [STEP, mp.NUTS(), mp.RandomWalk()], ids=repr)
def test_thinning_leaves_warm_up_alone(kernel):
    """Every third draw of the same chain: warm-up steps are never skipped."""
    thinned = mp.sample(GAUSSIAN, kernel, **SHORT | {"draws": 20, "warmup": 30, "thin": 3})
    every = mp.sample(GAUSSIAN, kernel, **SHORT | {"draws": 60, "warmup": 30})
    np.testing.assert_array_equal(thinned.draws, every.draws[:, 2::3])
    np.testing.assert_array_equal(thinned.warmup_stats, every.warmup_stats)
    np.testing.assert_array_equal(thinned.stats["n_grad"], every.stats["n_grad"].reshape(2, 20, 3).sum(axis=2))


def test_many_coordinates():
    dim = 100_000
    trace = mp.sample(mp.densities.Gaussian(np.zeros(dim)), mp.HMC(0.05, 2), **SHORT | {"draws": 2, "chains": 1})
    assert trace.draws.shape == (1, 2, dim) and np.all(np.isfinite(trace.draws))
    density = mp.densities.Gaussian(np.zeros(4_000_000))
    with pytest.raises(InputError, match="kernel: no memory for 1 chains of dimension 4000000"):
        mp.sample(density, mp.NUTS(metric="dense"), **SHORT | {"chains": 1, "warmup": 5})


def test_warnings_come_once_and_can_be_read():
    """Two far modes and a cliff: chains that disagree, and divergences."""

    def f(x):
        if abs(x[0]) < 1.0:
            return -np.inf, np.zeros(1)
        return -0.5 * (abs(x[0]) - 3.0) ** 2, -(np.abs(x) - 3.0) * np.sign(x)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mp.sample(
            mp.Density.from_callable(f, 1), mp.NUTS(step_size=0.5), draws=200, warmup=0, chains=2,
            init=[[-3.0], [3.0]], seed=1,
        )  # fmt: skip
    ours = [record for record in caught if issubclass(record.category, SamplingWarning)]
    sentences = [str(record.message) for record in ours]
    assert len(set(sentences)) == len(sentences)
    assert sum("diverged" in sentence for sentence in sentences) == 1
    assert sum("R-hat" in sentence for sentence in sentences) == 1
    assert all(not sentence[0].islower() and sentence.endswith(".") and "\n" not in sentence for sentence in sentences)
    assert {record.filename for record in ours} == {__file__}
