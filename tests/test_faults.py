"""Bad input and densities that fail: each ends in an error that says what is wrong, with nothing lost."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import micropolis as mp
from micropolis.errors import DensityError, InputError, InputTypeError, MicropolisError, MissingExtraError

pytestmark = pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")

GAUSSIAN = mp.densities.Gaussian([0.0, 0.0])
SHORT = {"draws": 5, "warmup": 0, "chains": 2, "seed": 1, "progress": False}
STEP = mp.HMC(step_size=0.5, n_steps=3)


def half_line(x):
    """log x - x on x > 0, in one coordinate: -inf outside."""
    return (np.log(x[0]) - x[0], np.array([1.0 / x[0] - 1.0])) if x[0] > 0.0 else (-np.inf, np.zeros(1))


def normal(x):
    return -0.5 * (x @ x), -x


# -- the start -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        ([0.0, 0.0, 0.0], InputError, r"init: expected shape \(\.\.\., 2\), got \(3,\)"),
        (1.0, InputError, r"init: expected shape \(\.\.\., 2\), got \(\)"),
        (np.zeros((3, 2)), InputError, r"init: expected shape \(2,\) or \(2, 2\), got \(3, 2\)"),
        (np.zeros((1, 2, 2)), InputError, r"init: expected shape \(2,\) or \(2, 2\)"),
        (["a", "b"], InputTypeError, "init: expected an array of real numbers, got dtype <U1"),
        ([1j, 0.0], InputTypeError, "init: expected an array of real numbers, got dtype complex128"),
        ([None, 0.0], InputTypeError, "init: expected an array of real numbers, got dtype object"),
        ([[0.0], [0.0, 1.0]], InputError, "init: expected an array of real numbers"),
        ([0.0, np.nan], InputError, r"init: expected finite numbers, got \[ 0\. nan\] for chain 0"),
        ([[0.0, 0.0], [np.inf, 0.0]], InputError, r"init: expected finite numbers, got \[inf  0\.\] for chain 1"),
        ({"mu": 0.0}, InputTypeError, "init: a mapping needs a density with named parameters"),
    ],
)
def test_start_of_a_wrong_kind(init, error, message):
    with pytest.raises(error, match=message):
        mp.sample(GAUSSIAN, STEP, **SHORT | {"init": init})


def test_start_out_of_support_is_named_with_its_value():
    density = mp.Density.from_callable(half_line, dim=1)
    with pytest.raises(InputError, match=r"chain 1 cannot start at \[-3\.\], where the log density is -inf: outside"):
        mp.sample(density, STEP, **SHORT | {"init": [[1.0], [-3.0]]})
    with pytest.raises(InputError, match=r"x: the log density is -inf .* at \[-3\.\]; both must be finite"):
        mp.init(density, [-3.0])


@pytest.mark.parametrize(
    ("value", "slope", "message"),
    [
        (np.nan, 0.0, r"cannot start at \[1\.\], where the log density is nan: it must be finite"),
        (np.inf, 0.0, r"cannot start at \[1\.\], where the log density is inf: it must be finite"),
        (-1.5, np.nan, r"cannot start at \[1\.\], where the log density is -1.5: its gradient is not finite"),
        (-1.5, -np.inf, r"cannot start at \[1\.\], where the log density is -1.5: its gradient is not finite"),
    ],
)
@pytest.mark.parametrize("kernel", [mp.RandomWalk(), mp.NUTS()], ids=repr)
def test_start_where_the_density_is_not_finite(value, slope, message, kernel):
    density = mp.Density.from_callable(lambda x: (value, np.array([slope])), dim=1)
    with pytest.raises(InputError, match=message):
        mp.sample(density, kernel, **SHORT | {"init": [1.0]})


def test_no_start_found():
    density = mp.Density.from_callable(lambda x: (-np.inf, np.zeros(1)), dim=1)
    with pytest.raises(InputError, match="init: no point with a finite log density and gradient found for chain 0"):
        mp.sample(density, STEP, **SHORT)


def test_start_by_name():
    density = mp.Density.from_numpy(lambda mu, tau: -0.5 * mu**2 - tau, {"mu": mp.Real(), "tau": mp.Positive()})
    one = mp.sample(density, STEP, **SHORT | {"init": {"mu": 0.5, "tau": 2.0}})
    again = mp.sample(density, STEP, **SHORT | {"init": density.parameters.unconstrain({"mu": 0.5, "tau": 2.0})})
    np.testing.assert_array_equal(one.draws, again.draws)
    each = mp.sample(density, STEP, **SHORT | {"init": {"mu": [0.5, 0.1], "tau": [2.0, 3.0]}})
    np.testing.assert_array_equal(each.draws[0], one.draws[0])
    for bad, message in [
        ({"mu": 0.5}, "init: .*expected the names"),
        ({"mu": 0.5, "tau": -1.0}, "init: .*tau"),
        ({"mu": np.nan, "tau": 1.0}, "init: "),
        ({"mu": [0.0, 0.0, 0.0], "tau": 1.0}, r"init: expected shape \(2,\) or \(2, 2\), got \(3, 2\)"),
    ]:
        with pytest.raises(InputError, match=message):
            mp.sample(density, STEP, **SHORT | {"init": bad})


# -- densities that fail ---------------------------------------------------------------------------------------------


def failing_at(call, failure):
    """A normal log density whose call number `call` (from 0) fails, and the points it was called at."""
    calls = []

    def f(x):
        calls.append(x.copy())
        return failure(x) if len(calls) == call + 1 else normal(x)

    return mp.Density.from_callable(f, dim=2), calls


class Broken(Exception):
    pass


def raise_broken(x):
    raise Broken("no more")


def test_raises_in_chain_3_at_draw_500():
    # one call for each start, then one for each of the 600 draws of chains 0, 1, 2 and 500 of chain 3
    call = 5 + 3 * 600 + 500
    density, calls = failing_at(call, raise_broken)
    with pytest.raises(DensityError) as caught:
        mp.sample(density, mp.HMC(0.5, 1), draws=600, warmup=0, chains=5, seed=2, threads=4, progress=False)
    error, trace = caught.value, caught.value.trace
    assert isinstance(error.__cause__, Broken)
    assert str(error) == (
        f"the log density failed in chain 3 at draw 500 at x = {np.array2string(calls[call], threshold=10)}: "
        "Broken: no more"
    )
    # chain 4 had not begun: nothing in common, everything in ragged
    assert trace.n_draws == 0 and [len(chain["draws"]) for chain in trace.ragged] == [600, 600, 600, 500, 0]
    whole = mp.sample(
        mp.Density.from_callable(normal, dim=2), mp.HMC(0.5, 1), draws=600, warmup=0, chains=5, seed=2, progress=False
    )
    for chain, n in enumerate([600, 600, 600, 500]):
        np.testing.assert_array_equal(trace.ragged[chain]["draws"], whole.draws[chain, :n])
        np.testing.assert_array_equal(trace.ragged[chain]["stats"], whole.stats[chain, :n])


def test_raises_in_the_last_chain_keeps_the_common_draws():
    density, _ = failing_at(2 + 20 + 7, raise_broken)
    with pytest.raises(DensityError, match="in chain 1 at draw 7 at x") as caught:
        mp.sample(density, mp.HMC(0.5, 1), **SHORT | {"draws": 20})
    assert caught.value.trace.draws.shape == (2, 7, 2)
    assert len(caught.value.trace.ragged[0]["draws"]) == 13


def test_raises_in_warm_up():
    density, _ = failing_at(2 + 30 + 12, raise_broken)
    with pytest.raises(DensityError, match="in chain 1 at warm-up draw 12 at x") as caught:
        mp.sample(density, mp.HMC(0.5, 1), **SHORT | {"warmup": 20, "draws": 10})
    assert caught.value.trace.warmup_done == 12
    assert isinstance(caught.value.__cause__, Broken)


def test_raises_at_the_start():
    density, _ = failing_at(1, raise_broken)
    with pytest.raises(DensityError, match="in chain 1 at its initial point at x = .*Broken: no more") as caught:
        mp.sample(density, STEP, **SHORT)
    assert isinstance(caught.value.__cause__, Broken)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((0.0, np.zeros(3)), r"the gradient of the log density has shape \(3,\) dtype float64, expected \(2,\)"),
        ((0.0, np.zeros((1, 2))), r"has shape \(1, 2\)"),
        ((0.0, None), r"has shape \(\) dtype object"),
        ((0.0, np.zeros(2, complex)), "dtype complex128"),
        ((0.0, ["0", "0"]), "dtype <U1"),
        ((0.0, np.zeros(2), 1), r"returned a tuple of 3, expected \(logp, grad\)"),
        (None, "dtype object, expected one real number"),
        ("0.0", "dtype <U3, expected one real number"),
        (0j, "dtype complex128, expected one real number"),
        (np.zeros(2), r"shape \(2,\) dtype float64, expected one real number"),
    ],
)
def test_returns_something_else(result, message):
    density, _ = failing_at(2 + 4, lambda x: result)
    with pytest.raises(DensityError, match=f"in chain 0 at draw 4 at x = .*{message}") as caught:
        mp.sample(density, mp.HMC(0.5, 1), **SHORT)
    assert len(caught.value.trace.ragged[0]["draws"]) == 4


@pytest.mark.parametrize("kernel", [mp.RandomWalk(0.5), mp.MALA(0.5), STEP, mp.NUTS(step_size=0.5)], ids=repr)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_rejected(kernel, value):
    """The chain stays in x[0] < 1 and goes on: the rest of the plane looks like the best place there is."""

    def f(x):
        return normal(x) if x[0] < 1.0 else (value, np.zeros(2))

    with pytest.warns(mp.errors.SamplingWarning):
        trace = mp.sample(mp.Density.from_callable(f, 2), kernel, **SHORT | {"draws": 200, "init": [0.0, 0.0]})
    assert np.all(np.isfinite(trace.draws)) and np.all(np.isfinite(trace.stats["logp"]))
    assert np.all(trace.draws[..., 0] < 1.0)
    assert np.all(trace.stats["divergent"] == (trace.stats["status"] == 1))
    assert trace.stats["divergent"].any() and trace.stats["accepted"].any()


@pytest.mark.parametrize("kernel", [mp.MALA(0.5), STEP, mp.NUTS(step_size=0.5)], ids=repr)
@pytest.mark.parametrize("slope", [np.nan, np.inf])
def test_gradients_that_are_not_finite_are_rejected(kernel, slope):
    def f(x):
        return normal(x) if x[0] < 1.0 else (0.0, np.array([slope, 0.0]))

    with pytest.warns(mp.errors.SamplingWarning):
        trace = mp.sample(mp.Density.from_callable(f, 2), kernel, **SHORT | {"draws": 200, "init": [0.0, 0.0]})
    assert np.all(trace.draws[..., 0] < 1.0) and trace.stats["divergent"].any()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, StopIteration])
def test_any_exception_of_the_function_keeps_the_draws(failure):
    density, _ = failing_at(2 + 5 + 3, lambda x: (_ for _ in ()).throw(failure("mine")))
    with pytest.raises(DensityError, match="in chain 1 at draw 3") as caught:
        mp.sample(density, mp.HMC(0.5, 1), **SHORT)
    assert caught.value.trace.n_draws == 3
    cause = caught.value.__cause__
    assert isinstance(cause, failure) or isinstance(cause.__cause__, failure)  # a generator wraps StopIteration


def test_an_error_of_micropolis_in_the_function_keeps_the_draws():
    inner = mp.densities.Gaussian([0.0])
    density, _ = failing_at(2 + 5 + 3, lambda x: inner(x))  # of another dimension
    with pytest.raises(DensityError, match=r"in chain 1 at draw 3 .*InputError: x: expected shape") as caught:
        mp.sample(density, mp.HMC(0.5, 1), **SHORT)
    assert caught.value.trace.n_draws == 3 and isinstance(caught.value.__cause__, InputError)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: np.float32(value),
        lambda value: np.array(value),
        lambda value: np.array([value]),
        lambda value: [value],
    ],
    ids=["float32", "0-d", "(1,)", "list"],
)
def test_other_forms_of_a_number(change):
    density = mp.Density.from_callable(lambda x: (change(normal(x)[0]), list(-x)), dim=2)
    trace = mp.sample(density, STEP, **SHORT)
    plain = mp.sample(mp.Density.from_callable(normal, dim=2), STEP, **SHORT)
    np.testing.assert_allclose(trace.draws, plain.draws, rtol=1e-6)


def test_differences_of_a_float32_log_density_are_wide():
    """With float64's steps they were rounding. Error: 6e-8 of the value over the step of 5e-3, and its square."""
    density = mp.Density.from_callable(lambda x: np.float32(np.sum(np.cos(x))), dim=4)
    x = np.array([0.3, 1.0, -2.0, 4.0])
    np.testing.assert_allclose(density.grad(x), -np.sin(x), rtol=0, atol=4 * 6e-8 / 5e-3 + (4 * 5e-3) ** 2 / 6)


@pytest.mark.parametrize("with_grad", [False, True])
def test_a_function_may_change_its_argument(with_grad):
    def f(x):
        logp = -0.5 * (x @ x)
        x[:] = 1e9
        return logp

    def grad(x):
        x *= -1.0
        return x

    density = mp.Density.from_callable(f, dim=2, grad=grad if with_grad else None)
    for kernel in (STEP, mp.RandomWalk(0.5)):
        trace = mp.sample(density, kernel, **SHORT)
        plain = mp.sample(mp.Density.from_callable(normal, dim=2), kernel, **SHORT)
        np.testing.assert_allclose(trace.draws, plain.draws, rtol=1e-6)
    point = np.ones(2)
    density(point), density.grad(point)
    np.testing.assert_array_equal(point, 1.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what Numba makes of it
def test_a_throwing_cfunc():
    numba = pytest.importorskip("numba")
    from numba import types

    p = types.CPointer(types.float64)

    @numba.cfunc(types.int32(types.uintp, p, p, p, types.voidptr))
    def f(dim, x, grad, logp, user_data):
        if x[0] > 1.0:
            raise ValueError
        logp[0] = -0.5 * x[0] * x[0]
        grad[0] = -x[0]
        return 0

    with pytest.warns(mp.errors.SamplingWarning, match="diverged"):
        trace = mp.sample(mp.Density.from_pointer(f, dim=1), STEP, **SHORT | {"draws": 200, "init": [0.0]})
    assert trace.draws.max() <= 1.0 and trace.stats["accepted"].any()


# -- missing extras --------------------------------------------------------------------------------------------------


class Blocker:
    """A finder that finds no package of these names."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def without(monkeypatch):
    def block(*names):
        for module in list(sys.modules):
            if module.split(".")[0] in names:
                monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "meta_path", [Blocker(*names), *sys.meta_path])

    return block


@pytest.mark.parametrize(
    ("package", "extra", "call"),
    [
        ("tqdm", "all", lambda: mp.sample(GAUSSIAN, STEP, **SHORT | {"progress": True})),
        ("numba", "numba", lambda: mp.sample(GAUSSIAN, STEP, **SHORT | {"backend": "numba"})),
        ("numba", "numba", lambda: mp.sample(GAUSSIAN, STEP, **SHORT | {"backend": "cuda"})),
        ("arviz", "arviz", lambda: mp.sample(GAUSSIAN, STEP, **SHORT).summary()),
    ],
)
def test_missing_extra(without, package, extra, call):
    without(package)
    with pytest.raises(MissingExtraError, match=rf"needs {package}.*pip install 'micropolis\[{extra}\]'") as caught:
        call()
    assert isinstance(caught.value, MicropolisError) and isinstance(caught.value, ImportError)


def test_no_bar_without_tqdm(without):
    without("tqdm")
    assert mp.sample(GAUSSIAN, STEP, **SHORT | {"progress": None}).n_draws == 5
