"""MH with bad data, options, schedules and losses: an error that names the argument, or a rejection that is counted."""

import math

import numpy as np
import pytest
from laws.weight_loops import moons

import micropolis as mp
from micropolis.errors import InputError, InputTypeError, KernelError
from micropolis.metropolis.optimizer import run_chains
from micropolis.neural import Linear, ReLU, Sequential, Tanh
from micropolis.progress import Bar

X, Y = moons()
PLAN = {"lr": 0.1, "T": 3 / 500, "seed": 7}


def network(dtype="float64"):
    return Sequential(Linear(2, 10), ReLU(), Linear(10, 10), ReLU(), Linear(10, 2), seed=0, dtype=dtype)


def test_overflow_is_a_rejection_that_is_counted():
    for early in (True, False):
        net = network(dtype="float32")
        before = net.parameters.copy()
        opt = mp.MH(net, lr=1e30, T=0.1, seed=1, early_rejection=early)
        history = opt.run(X, Y, steps=50)
        assert history.non_finite.all() and not history.accept.any()
        np.testing.assert_array_equal(net.parameters, before)
        assert np.all(history.sample_nll == history.best_nll)
    net.parameters[:] = 1e30
    with pytest.raises(InputError, match=r"net: expected a finite loss at its parameters, got"):
        mp.MH(net, lr=0.1, T=0.1).step(X, Y)
    net.parameters.setflags(write=False)
    with pytest.raises(InputError, match="net: expected parameters that can be written to"):
        mp.MH(net, lr=0.1, T=0.1).run(X, Y, steps=5)
    net.parameters.setflags(write=True)
    net.parameters[3] = np.nan
    with pytest.raises(InputError, match="net: expected finite parameters"):
        mp.MH(net, lr=0.1, T=0.1).step(X, Y)


def test_values_changed_in_place_are_not_seen():
    """Rows are put in another order at steps 16, 32, ...: in the copy, not from arrays that are no longer the same."""
    inputs, labels = X.copy(), Y.copy()
    opt = mp.MH(network(), **PLAN)
    opt.run(inputs, labels, steps=10)
    inputs[:], labels[:] = np.nan, 77
    history = opt.run(inputs, labels, steps=300)
    expected = mp.MH(network(), **PLAN).run(X, Y, steps=310)
    for field in expected.records.dtype.names:
        np.testing.assert_array_equal(history.records[field], expected.records[field][10:])


@pytest.mark.parametrize("kind", ["MH", "MMH"])
def test_a_step_that_ctrl_c_breaks_off_is_made(kind, monkeypatch):
    def build():
        return getattr(mp, kind)(network(), **PLAN)

    opt, expected = build(), build().run(X, Y, steps=60)
    original, steps = opt._work, []

    def broken(run):
        original(run)
        raise KeyboardInterrupt

    for number in range(60):
        if number % 7 == 3:
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(opt, "_work", broken)
                opt.step(X, Y)
            steps.append(None)
        else:
            steps.append(opt.step(X, Y))
        assert opt.steps == number + 1
    for step, record in zip(steps, expected.records, strict=True):
        assert step is None or step.sample_nll == record["sample_nll"]


def test_parameters_that_cannot_be_written_do_not_lock_the_optimiser(monkeypatch):
    opts = [mp.MH(network(), **PLAN) for _ in range(3)]

    def work_and_lock(run):
        mp.MH._work(opts[1], run)
        opts[1].net.parameters.setflags(write=False)

    with monkeypatch.context() as patch:
        patch.setattr(opts[1], "_work", work_and_lock)
        with pytest.raises(ValueError, match="read-only"):
            run_chains(opts, X, Y, 20)
    assert [opt.steps for opt in opts] == [20, 0, 20]
    with pytest.raises(InputError, match="net: expected parameters that can be written to"):
        opts[1].step(X, Y)
    opts[1].net.parameters.setflags(write=True)
    assert all(opt.run(X, Y, steps=3).records.size == 3 for opt in opts)


@pytest.mark.parametrize("together", [False, True])
def test_a_run_that_fails_leaves_the_steps_it_made(together, monkeypatch, tmp_path):
    """And parameters assigned afterwards are where the chain goes on."""
    opts = [mp.MH(network(), **PLAN) for _ in range(2)]

    def broken(*_):
        raise BrokenPipeError

    with monkeypatch.context() as patch, pytest.raises(BrokenPipeError):
        patch.setattr(Bar, "update", broken)
        _ = run_chains(opts, X, Y, 10**5) if together else opts[0].run(X, Y, steps=10**5)
    made = opts[0].steps
    assert made > 0
    expected = mp.MH(network(), **PLAN)
    expected.run(X, Y, steps=made)
    np.testing.assert_array_equal(opts[0].net.parameters, expected.net.parameters)
    opts[0].save(tmp_path / "state.npz")
    other = mp.MH(network(), **PLAN)
    other.restore(tmp_path / "state.npz")
    np.testing.assert_array_equal(
        other.run(X, Y, steps=100).records["accept"], opts[0].run(X, Y, steps=100).records["accept"]
    )
    opts[0].net.parameters = np.full(162, 0.123)
    opts[0].step(X, Y)
    assert np.abs(opts[0].net.parameters - 0.123).max() < 1  # a step of 0.1


def test_a_state_is_not_restored_under_a_run(tmp_path, monkeypatch):
    opt = mp.MH(network(), **PLAN)
    opt.step(X, Y)
    opt.save(tmp_path / "state.npz")
    monkeypatch.setitem(opt._user, "now", "another")
    for forbidden in (opt.restore, opt.save):
        with pytest.raises(KernelError, match="running in another thread"):
            forbidden(tmp_path / "state.npz")


@pytest.mark.parametrize(
    ("inputs", "targets", "match"),
    [
        (X, np.where(Y == 1, 2, 0), "y: expected integer labels in 0..1"),
        (X, -Y, "y: expected integer labels in 0..1"),
        (X, Y[:-1], r"y: expected shape \(500,\)"),
        (np.where(X > 1, np.nan, X), Y, "X: expected finite numbers"),
        (X[:, :1], Y, r"X: expected shape \(n, 2\)"),
        (X[:0], Y[:0], "X: expected at least one row"),
        (X, None, "y: expected the labels"),
    ],
)
def test_bad_data(inputs, targets, match):
    opt = mp.MH(network(), **PLAN)
    opt.step(X, Y)
    for call in (opt.step, lambda a, b: opt.run(a, b, steps=5)):
        with pytest.raises((InputError, InputTypeError), match=match):
            call(inputs, targets)
    opt.step(X, Y)
    assert opt.steps == 2


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"lr": 0.0}, "lr: expected a finite number > 0, got 0"),
        ({"lr": [0.1, np.inf]}, "lr: expected a finite number > 0, got inf for step 1"),
        ({"lr": []}, r"lr: expected a number, \(steps,\) or a function, got shape \(0,\)"),
        ({"lr": [[0.1]]}, "lr: expected a number"),
        ({"T": -1.0}, "T: expected a finite number >= 0, got -1"),
        ({"T": math.nan}, "T: expected a finite number >= 0"),
        ({"T": "hot"}, "T: expected an array of real numbers"),
        ({"tau": 0.0}, "tau: expected a finite number > 0"),
        ({"tau_out": -1.0}, "tau_out: expected a finite number > 0"),
        ({"loss": "hinge"}, "loss: expected one of"),
        ({"loss": 3}, "loss: expected one of"),
        ({"reduction": "none"}, "reduction: expected one of"),
        ({"early_rejection": "no"}, "early_rejection: expected True or False"),
        ({"seed": -1}, "seed: expected"),
        ({"net": np.zeros(3)}, "net: expected a micropolis.neural.Sequential"),
    ],
)
def test_bad_options(arguments, match):
    with pytest.raises((InputError, InputTypeError), match=match):
        mp.MH(**{"net": network(), **PLAN, **arguments})


@pytest.mark.parametrize(
    ("schedule", "match"),
    [(lambda t: 1.0 - t, r"T: expected a finite number >= 0, got -1 for step 2"), (lambda t: "x", r"T\(0\): expected")],
)
def test_bad_schedules(schedule, match):
    opt = mp.MH(network(), lr=0.1, T=schedule)
    with pytest.raises((InputError, InputTypeError), match=match):
        opt.run(X, Y, steps=10)
    assert opt.steps == 0


@pytest.mark.parametrize("steps", [-1, 2.5, 10**10])
def test_bad_steps(steps):
    with pytest.raises((InputError, InputTypeError), match="steps"):
        mp.MH(network(), **PLAN).run(X, Y, steps=steps)
    assert math.isnan(mp.MH(network(), **PLAN).run(X, Y, steps=0).acceptance)


def test_user_loss():
    pytest.importorskip("numba")

    def absolute(output, target, gradient):
        gradient[0] = math.copysign(1.0, output[0] - target[0])
        return abs(output[0] - target[0])

    def two(output, target, gradient):
        gradient[:] = 0.0
        return output - target

    rng = np.random.default_rng(1)
    inputs, y = rng.standard_normal((50, 1)), rng.standard_normal(50)
    net = Sequential(Linear(1, 1), seed=0)
    history = mp.MH(net, lr=0.3, T=0.02, seed=1, loss=absolute).run(inputs, y, steps=500)
    expected = np.abs(net(inputs)[:, 0] - y).mean()
    assert history.sample_nll[-1] == pytest.approx(expected, rel=1e-12)
    assert np.all(history.rows_used == 50) and history.best_nll < history.proposal_nll[0]
    with pytest.raises((InputError, InputTypeError), match="loss: .*expected it to return a float"):
        mp.MH(net, lr=0.3, T=0.02, loss=two).step(inputs, y)


def test_a_user_loss_needs_no_gradient():
    pytest.importorskip("numba")
    rng, net = np.random.default_rng(1), Sequential(Linear(1, 1), seed=0)
    inputs, y = rng.standard_normal((50, 1)), rng.standard_normal(50)
    plan = {"lr": 0.3, "T": 0.02, "seed": 1, "loss": lambda output, target, _: abs(output[0] - target[0])}
    mp.MMH(net, **plan).run(inputs, y, steps=100, batch_size=20)
    last = mp.MH(net, **plan).run(inputs, y, steps=100).sample_nll[-1]
    assert last == pytest.approx(np.abs(net(inputs)[:, 0] - y).mean(), rel=1e-12)
    with pytest.raises(InputError, match=r"gradient\[0\] is not assigned"):
        net.value_and_grad(inputs, y, loss=plan["loss"])


def test_assigned_options_count():
    """As one does with other libraries' optimisers; a value that is stored and not used would be a silent fault."""
    plain, changed = (mp.MH(network(), **PLAN) for _ in range(2))
    changed.lr, changed.T = 0.5, [1.0, 2.0]
    expected = mp.MH(network(), lr=0.5, T=[1.0, 2.0], seed=7).run(X, Y, steps=20)
    np.testing.assert_array_equal(changed.run(X, Y, steps=20).sample_nll, expected.sample_nll)
    assert changed.lr == 0.5
    with pytest.raises(InputError, match="lr: expected a finite number > 0"):
        plain.lr = -1.0
    exact = mp.MMH(network(), 0.1, 0.1, test="exact")
    with pytest.raises(InputError, match="T: .* test='exact' divides by T"):
        exact.T = 0.0
    assert exact.T == 0.1


@pytest.mark.parametrize("make", [mp.MH, mp.MMH])
def test_a_prior_that_overflows_is_an_error(make):
    """Every proposal would be rejected, for its log ratio is NaN."""
    net = Sequential(Linear(2, 2), Tanh(), Linear(2, 2))
    net.parameters[:6] = 1e160
    with pytest.raises(InputError, match=r"net: expected parameters whose squares times tau=1\.0 are finite"):
        make(net, lr=0.1, T=0.1, tau=1.0).run(X, Y, 5)
