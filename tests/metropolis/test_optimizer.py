"""MH: the decisions of a NumPy loop, early rejection, continuation, priors, temperatures, chains in threads."""

import math
import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest
from laws.weight_loops import full_batch, moons, row_losses
from scipy import stats

import micropolis as mp
from micropolis.errors import InputError, InputTypeError, KernelError
from micropolis.metropolis import runs
from micropolis.metropolis.optimizer import run_chains
from micropolis.neural import Linear, ReLU, Sequential, Tanh

LEVEL = 1e-6
PER_STEP = ("accept", "proposal_nll", "sample_nll", "log_ratio", "rows_used", "variance", "non_finite")


X, Y = moons()
PLAN = {"lr": 0.1, "T": 3 / 500, "seed": 7}


def network(seed=0, dtype="float64"):
    return Sequential(Linear(2, 10), ReLU(), Linear(10, 10), ReLU(), Linear(10, 2), seed=seed, dtype=dtype)


def assert_same(history, other, fields=PER_STEP):
    for name in fields:
        np.testing.assert_array_equal(getattr(history, name), getattr(other, name), err_msg=name)


def joined(histories):
    return replace(histories[0], records=np.concatenate([history.records for history in histories]))


# -- against the NumPy loop ------------------------------------------------------------------------------------------


def test_decisions_of_the_numpy_loop():
    net = network()
    accepted, losses, theta = full_batch(net, X, Y, 0.1, 3 / 500, 1000, seed=7)
    history = mp.MH(net, **PLAN).run(X, Y, steps=1000)
    np.testing.assert_array_equal(history.accept, accepted)
    np.testing.assert_allclose(history.sample_nll, losses, rtol=1e-12)
    np.testing.assert_array_equal(net.parameters, theta)  # the proposal has NumPy's bits
    assert 0.05 < history.acceptance < 0.5
    assert history.best_nll == history.sample_nll.min() < 0.3
    best = history.best_model
    assert row_losses(best, best.parameters, X, Y).mean() == pytest.approx(history.best_nll, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", ["multiclass", "binary", "regression", "poisson"])
def test_every_loss(loss, dtype):
    rng = np.random.default_rng(2)
    inputs = rng.standard_normal((131, 3))
    y = rng.integers(0, 2, (131, 2)).astype(float)
    if loss == "multiclass":
        y = y[:, 0].astype(int)
    if loss == "regression":
        y = rng.standard_normal((131, 2))
    net = Sequential(Linear(3, 5), Tanh(), Linear(5, 2), seed=1, dtype=dtype)
    plan = {"lr": 0.1, "T": 0.02, "seed": 3, "loss": loss, "tau": 0.5}
    accepted, losses, theta = full_batch(net, inputs, y, 0.1, 0.02, 300, seed=3, loss=loss, tau=0.5)
    history = mp.MH(net, **plan).run(inputs, y, steps=300)
    np.testing.assert_array_equal(history.accept, accepted)
    np.testing.assert_allclose(history.sample_nll, losses, rtol=1e-12 if dtype == "float64" else 1e-4)
    np.testing.assert_array_equal(net.parameters, theta)


def test_sums():
    net, other = network(), network()
    mean = mp.MH(net, **PLAN).run(X, Y, steps=400)
    total = mp.MH(other, lr=0.1, T=3.0, seed=7, reduction="sum").run(X, Y, steps=400)
    np.testing.assert_array_equal(total.accept, mean.accept)
    np.testing.assert_allclose(total.sample_nll, 500 * mean.sample_nll, rtol=1e-14)
    np.testing.assert_allclose(total.log_ratio, mean.log_ratio, rtol=1e-9)
    assert total.best_nll == total.sample_nll.min()


# -- early rejection, steps and continuation -------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [None, 2.0])
def test_early_rejection_changes_nothing(tau):
    net, other = network(), network()
    early = mp.MH(net, **PLAN, tau=tau).run(X, Y, steps=2000)
    full = mp.MH(other, **PLAN, tau=tau, early_rejection=False).run(X, Y, steps=2000)
    assert_same(early, full, ("accept", "sample_nll"))
    np.testing.assert_array_equal(net.parameters, other.parameters)
    known = early.rows_used == 500
    assert np.all(np.isnan(early.proposal_nll[~known])) and not np.any(np.isnan(full.proposal_nll))
    np.testing.assert_array_equal(early.proposal_nll[known], full.proposal_nll[known])
    np.testing.assert_array_equal(early.log_ratio[known], full.log_ratio[known])
    assert np.all(known[early.accept]) and np.all(full.rows_used == 500)
    assert early.rows_used.mean() < 400


def test_only_losses_without_negative_values_are_given_up():
    """With tau_out > 2 pi the normal density exceeds 1, so that a running sum can fall again."""
    rng = np.random.default_rng(0)
    inputs, y = rng.standard_normal((640, 1)), rng.standard_normal(640) / 10
    for tau_out, early in ((1.0, True), (6.2, True), (100.0, False)):
        nets = [Sequential(Linear(1, 1), seed=1) for _ in range(2)]
        plan = {"lr": 0.3, "T": 0.05, "seed": 1, "loss": "regression", "tau_out": tau_out}
        history = mp.MH(nets[0], **plan).run(inputs, y, steps=300)
        full = mp.MH(nets[1], **plan, early_rejection=False).run(inputs, y, steps=300)
        assert_same(history, full, ("accept", "sample_nll"))
        assert (history.rows_used.min() < 640) == early


def test_data_too_large_to_copy(monkeypatch):
    """They stay where they are and in their order: sums are rounded otherwise, decisions are the same."""
    copied = mp.MH(network(), **PLAN).run(X, Y, steps=500)
    monkeypatch.setattr("micropolis._metropolis.LARGEST_COPY", 0)
    large = mp.MH(network(), **PLAN)
    history = large.run(X, Y, steps=500)
    np.testing.assert_array_equal(history.accept, copied.accept)
    np.testing.assert_allclose(history.sample_nll, copied.sample_nll, rtol=1e-12)
    assert history.rows_used.sum() > 1.3 * copied.rows_used.sum()  # what the order saves
    again = pickle.loads(pickle.dumps(large))
    assert_same(again.run(X, Y, steps=50), large.run(X, Y, steps=50))


def test_steps_are_the_run():
    net, other = network(), network()
    opt, whole = mp.MH(net, **PLAN), mp.MH(other, **PLAN).run(X, Y, steps=300)
    steps = [opt.step(X, Y) for _ in range(300)]
    for name in PER_STEP:
        np.testing.assert_array_equal([getattr(step, name) for step in steps], getattr(whole, name), err_msg=name)
    assert opt.steps == 300 and isinstance(steps[0].accept, bool)
    assert opt.best_nll == whole.best_nll
    np.testing.assert_array_equal(opt.best_model.parameters, whole.best_model.parameters)


@pytest.mark.parametrize("way", ["run", "pickle", "save", "save before the first step"])
def test_goes_on_where_it_stopped(way, tmp_path):
    schedule = np.geomspace(0.1, 0.001, 400)
    plan = {"lr": lambda t: 0.1 / (1 + t / 100), "T": schedule, "seed": np.random.default_rng(3)}
    if way == "pickle":
        plan["lr"] = 0.1 / (1 + np.arange(500) / 100)
    whole = mp.MH(network(), **plan | {"seed": np.random.default_rng(3)})
    expected = whole.run(X, Y, steps=450)
    opt = mp.MH(network(), **plan)
    first = 0 if way == "save before the first step" else 170
    parts = [opt.run(X, Y, steps=first)] if first else []
    if way == "pickle":
        opt = pickle.loads(pickle.dumps(opt))
    elif way != "run":
        opt.save(tmp_path / "opt.npz")
        opt = mp.MH(network(seed=9), **plan | {"seed": 0})
        opt.restore(tmp_path / "opt.npz")
    parts.append(opt.run(X, Y, steps=450 - first))
    assert_same(joined(parts), expected)
    assert parts[-1].best_nll == expected.best_nll and opt.steps == 450
    np.testing.assert_array_equal(parts[-1].best_model.parameters, expected.best_model.parameters)
    np.testing.assert_array_equal(opt.net.parameters, whole.net.parameters)


def test_a_restored_state_knows_the_best_model_elsewhere():
    """Weights assigned between a restart and the next run are where the chain goes on."""
    opt, start = mp.MH(network(), **PLAN), network(seed=4).parameters
    best = opt.run(X, Y, steps=300).best_nll
    for walk in (pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(opt)))), opt):
        walk.net.parameters = start
        history = walk.run(X, Y, steps=20)
        assert history.best_nll == best < history.sample_nll.min()
        expected = row_losses(walk.net, walk.net.parameters, X, Y).mean()
        assert history.sample_nll[-1] == pytest.approx(expected, rel=1e-12)
    opt.net.parameters = network(seed=5).parameters
    other, third = pickle.loads(pickle.dumps(opt)), pickle.loads(pickle.dumps(opt))
    assert_same(other.run(X, Y, steps=50), opt.run(X, Y, steps=50))
    assert other.best_nll == opt.best_nll == best
    assert third.run(X[:-1], Y[:-1], steps=5).best_nll != best  # of other data


def test_files_of_others(tmp_path):
    path = tmp_path / "opt.npz"
    mp.MH(network(), **PLAN).save(path)
    with pytest.raises(InputError, match="made for 162 parameters of float64, this network has 162 of float32"):
        mp.MH(network(dtype="float32"), **PLAN).restore(path)
    with pytest.raises(InputError, match="not a saved MMH"):
        mp.MMH(network(), **PLAN).restore(path)
    with pytest.raises(mp.errors.TraceFileError):
        mp.MH(network(), **PLAN).restore(tmp_path / "none.npz")


# -- data and weights that change ------------------------------------------------------------------------------------


def test_other_data_have_a_loss_of_their_own():
    net = network()
    opt = mp.MH(net, **PLAN)
    opt.run(X, Y, steps=100)
    theta, flipped = net.parameters.copy(), 1 - Y
    now = opt.step(X, flipped)
    losses = row_losses(net, theta, X, flipped).mean(), row_losses(net, net.parameters, X, flipped).mean()
    assert now.sample_nll == pytest.approx(losses[1], rel=1e-12)
    if not math.isnan(now.log_ratio):
        assert now.log_ratio == pytest.approx((losses[0] - now.proposal_nll) / PLAN["T"], rel=1e-9)
    assert opt.best_nll <= losses[0] + 1e-12 and opt.best_nll > 0.5  # not that of the other labels
    half = opt.step(X[:250], Y[:250])
    assert half.sample_nll == pytest.approx(row_losses(net, net.parameters, X[:250], Y[:250]).mean(), rel=1e-12)


def test_weights_set_from_outside():
    net, start = network(), network(seed=4).parameters
    opt = mp.MH(net, **PLAN)
    best = opt.run(X, Y, steps=500).best_nll
    net.parameters = start
    history = opt.run(X, Y, steps=1)
    assert not history.accept[0] or history.log_ratio[0] > -50
    expected = row_losses(net, net.parameters, X, Y).mean()
    assert history.sample_nll[0] == pytest.approx(expected, rel=1e-12)
    assert history.best_nll == best < expected


# -- what is sampled -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [None, 15.0])
def test_posterior_of_a_mean(tau):
    """One weight, inputs 1, unit noise: the posterior is Normal(n ybar / (n + tau), 1 / (n + tau))."""
    rng = np.random.default_rng(5)
    ones, y = np.ones((20, 1)), 1.0 + rng.standard_normal(20)
    precision = 20 + (tau or 0.0)
    plan = {"lr": 2.4 / math.sqrt(precision), "T": 1.0, "tau": tau, "loss": "regression", "reduction": "sum"}
    opts = [mp.MH(Sequential(Linear(1, 1, bias=False), seed=i), seed=i, **plan) for i in range(2000)]
    run_chains(opts, ones, y, steps=60)  # a Metropolis chain of this scale forgets its start in some ten steps
    draws = np.array([opt.net.parameters[0] for opt in opts])
    truth = stats.norm(y.sum() / precision, 1 / math.sqrt(precision))
    assert stats.kstest(draws, truth.cdf).pvalue > LEVEL


def test_zero_temperature_only_descends():
    history = mp.MH(network(), lr=0.1, T=0.0, seed=1, early_rejection=False, tau=1.0).run(X, Y, steps=400)
    before = np.concatenate([[row_losses(network(), network().parameters, X, Y).mean()], history.sample_nll[:-1]])
    np.testing.assert_array_equal(history.accept, history.proposal_nll < before)
    np.testing.assert_array_equal(history.log_ratio, np.where(history.accept, np.inf, -np.inf))
    assert history.sample_nll[-1] == history.best_nll
    early = mp.MH(network(), lr=0.1, T=0.0, seed=1, tau=1.0).run(X, Y, steps=400)
    assert_same(early, history, ("accept", "sample_nll"))


def test_schedules():
    """An array's last value stays, and a callable is asked once for every step."""
    constant = mp.MH(network(), **PLAN).run(X, Y, steps=50)
    asked = []

    def lr(step):
        asked.append(step)
        return 0.1

    opt = mp.MH(network(), lr=lr, T=[3 / 500], seed=7)
    assert_same(joined([opt.run(X, Y, steps=30), opt.run(X, Y, steps=20)]), constant)
    assert asked == list(range(50))
    cold = mp.MH(network(), lr=0.1, T=[1e9] * 10 + [0.0], seed=7).run(X, Y, steps=100)
    assert cold.accept[:10].all() and np.all(np.diff(cold.sample_nll[9:]) <= 0)


# -- many chains, interruption, progress -----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5, None])
def test_chains_in_threads(workers):
    def build():
        return [mp.MH(network(seed=i), lr=0.1, T=3 / 500, seed=i) for i in range(5)]

    alone = build()
    expected = [opt.run(X, Y, steps=200) for opt in alone]
    together = build()
    for a, b, one, other in zip(
        run_chains(together, X, Y, steps=200, workers=workers), expected, together, alone, strict=True
    ):
        assert_same(a, b)
        np.testing.assert_array_equal(one.net.parameters, other.net.parameters)
    with pytest.raises(InputError, match="two share one"):
        run_chains([together[0], together[0]], X, Y, steps=1)
    with pytest.raises(InputTypeError, match="number 0 is Sequential"):
        run_chains([network()], X, Y, steps=1)
    with pytest.raises(InputTypeError, match="optimizers: expected a sequence of MH or MMH, got one MH"):
        run_chains(together[0], X, Y, steps=1)
    with pytest.raises(InputTypeError, match="unexpected argument 'batch_size'"):
        run_chains(together, X, Y, steps=1, batch_size=3)
    assert run_chains([], X, Y, steps=1) == []


def test_ctrl_c_keeps_the_history(monkeypatch):
    real, pressed = runs.wait, []

    def wait(futures, timeout=None):
        if timeout is not None and not pressed:
            pressed.append(True)
            raise KeyboardInterrupt
        return real(futures, timeout)

    opt = mp.MH(network(), **PLAN)
    opt.run(X, Y, steps=5)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "wait", wait)
        history = opt.run(X, Y, steps=10**6)
    assert pressed and len(history) < 10**6 and opt.steps == 5 + len(history)
    rest = opt.run(X, Y, steps=20)
    assert history.interrupted and not rest.interrupted
    whole = mp.MH(network(), **PLAN).run(X, Y, steps=opt.steps)
    assert_same(joined([history, rest]), replace(whole, records=whole.records[5:]))


def test_ctrl_c_when_all_is_done_is_told(monkeypatch):
    """A loop over short runs would not see it otherwise."""
    real, pressed = runs.wait, []

    def wait(futures, timeout=None):
        if timeout is None and not pressed:  # the last wait
            pressed.append(True)
            raise KeyboardInterrupt
        return real(futures, timeout)

    monkeypatch.setattr(runs, "wait", wait)
    history = mp.MH(network(), **PLAN).run(X, Y, steps=5)
    assert len(history) == 5 and history.interrupted


def test_progress(capsys):
    pytest.importorskip("tqdm")
    mp.MH(network(), **PLAN).run(X, Y, steps=100, progress=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "accepted=" in captured.err and "step" in captured.err
    with pytest.raises(InputTypeError, match="progress"):
        mp.MH(network(), **PLAN).run(X, Y, steps=100, progress=3)


def test_one_thread_at_a_time(monkeypatch):
    opt, histories = mp.MH(network(), **PLAN), []
    begun, go_on, work = threading.Event(), threading.Event(), runs.Run.work

    def wait_and_work(run):
        begun.set()
        assert go_on.wait(60)
        work(run)

    monkeypatch.setattr(runs.Run, "work", wait_and_work)
    thread = threading.Thread(target=lambda: histories.append(opt.run(X, Y, steps=200)))
    thread.start()
    assert begun.wait(60)
    with pytest.raises(KernelError, match="running in another thread"):
        opt.step(X, Y)
    go_on.set()
    thread.join()
    assert len(histories[0]) == opt.steps == 200
