"""Ctrl-C, full disks and killed processes: what was drawn is kept, and a resumed run goes on bit for bit."""

from __future__ import annotations

import _thread
import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from laws.contract import LOGP_GRAD
from laws.interrupts import LIMIT, SlowFrom, ctrl_c_when, press_ctrl_c, press_until, pressing, wait_until

import micropolis as mp
from micropolis.errors import SamplingWarning

pytestmark = pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")

KERNEL = mp.HMC(step_size=0.3, n_steps=2, target_accept=0.8)
LONG = mp.HMC(step_size=0.05, n_steps=40, target_accept=0.8)  # a hundred microseconds a draw of DENSE
DENSE = mp.densities.Gaussian(np.zeros(100), cov=0.5 * np.eye(100) + 0.5)  # 100 x 100: microseconds a call

STARTS = 3 * 13


def normal(x):
    return -0.5 * (x @ x), -x


# calls: 13 for each of 3 starts (ten of them uphill), then for each chain the step search, 60 warm-up and 40 kept draws
# of 2 steps each
@pytest.mark.parametrize("interrupt", [press_ctrl_c, _thread.interrupt_main], ids=["kill", "interrupt_main"])
@pytest.mark.parametrize(
    ("call", "where"),
    [
        (STARTS + 50, "warm-up of chain 0"),
        (STARTS + 150, "chain 0"),
        (STARTS + 250, "warm-up of chain 1"),
        (STARTS + 545, "chain 2"),
    ],
)
def test_ctrl_c_in_a_python_density(interrupt, call, where, noticed):
    plan = {"warmup": 60, "chains": 3, "seed": 3, "progress": False}
    density = mp.Density.from_callable(pressing(normal, call, noticed, interrupt), dim=2)
    trace = mp.sample(density, KERNEL, draws=40, **plan)
    lengths = [trace.n_draws + len(chain["draws"]) for chain in trace.ragged] or [0, 0, 0]
    warm = [state["warmup_done"] for state in trace.adaptation]
    if where == "warm-up of chain 0":
        assert 0 < warm[0] < 60 and warm[1:] == [0, 0] and lengths == [0, 0, 0]
    elif where == "chain 0":
        assert warm == [60, 0, 0] and 0 < lengths[0] < 40 and lengths[1:] == [0, 0] and trace.n_draws == 0
    elif where == "warm-up of chain 1":
        assert warm[0] == 60 and 0 < warm[1] < 60 and warm[2] == 0 and lengths == [40, 0, 0]
    else:
        assert warm == [60, 60, 60] and lengths[:2] == [40, 40] and 0 < lengths[2] < 40
        assert trace.n_draws == lengths[2]
    fast = mp.Density.from_callable(normal, dim=2)
    whole = mp.sample(fast, KERNEL, draws=50, **plan)
    for chain, n in enumerate(lengths):
        np.testing.assert_array_equal(trace.draws[chain], whole.draws[chain, : trace.n_draws])
        if trace.ragged:
            np.testing.assert_array_equal(trace.ragged[chain]["draws"], whole.draws[chain, trace.n_draws : n])
    rest = mp.resume(trace, density=fast)
    np.testing.assert_array_equal(rest.draws, whole.draws[:, trace.n_draws : 40])
    np.testing.assert_array_equal(rest.stats, whole.stats[:, trace.n_draws : 40])
    if trace.warmup_done < 60:
        np.testing.assert_array_equal(rest.warmup_stats, whole.warmup_stats)
    more = mp.resume(rest, draws=10, density=fast)
    np.testing.assert_array_equal(more.draws, whole.draws[:, 40:])


@pytest.mark.parametrize("warmup", [0, 10**5])
def test_ctrl_c_in_compiled_chains(warmup, tmp_path, begun):
    """Of ten seconds each."""
    plan = {"warmup": warmup, "chains": 3, "threads": 2, "seed": 4, "progress": False}
    with ctrl_c_when(lambda: len(begun) == 2 and all(job.progress[0] > 10 for job in begun)):
        trace = mp.sample(DENSE, LONG, draws=10**5, store=tmp_path / "draws.npy", **plan)
    if warmup:
        assert trace.n_draws == 0 and 0 < max(state["warmup_done"] for state in trace.adaptation) < warmup
        return
    lengths = [trace.n_draws + len(chain["draws"]) for chain in trace.ragged]
    assert 0 < lengths[0] < 10**5 and 0 < lengths[1] < 10**5 and lengths[2] == trace.n_draws == 0
    trace.save(tmp_path / "run.npz")
    rest = mp.resume(mp.Trace.load(tmp_path / "run.npz"), max(lengths) + 20)
    whole = mp.sample(DENSE, LONG, draws=max(lengths) + 20, **plan)
    np.testing.assert_array_equal(rest.draws, whole.draws)
    np.testing.assert_array_equal(rest.stats, whole.stats)


def test_ctrl_c_in_a_long_thinned_draw(begun):
    """Of twenty seconds."""
    plan = {"warmup": 0, "chains": 2, "threads": 2, "seed": 4, "progress": False}
    with ctrl_c_when(lambda: len(begun) == 2, later=0.1):
        trace = mp.sample(DENSE, LONG, draws=3, thin=2 * 10**5, **plan)
    assert trace.n_draws == 0 and trace.ragged == []
    np.testing.assert_array_equal(trace.states[0]["x"], mp.sample(DENSE, LONG, draws=0, **plan).states[0]["x"])


@pytest.mark.parametrize("warmup", [0, 60])
@pytest.mark.parametrize(("backend", "terms"), [("c", 1), ("c", 2), ("numba", 1), ("python", 1)])
def test_ctrl_c_in_a_long_step(warmup, backend, terms, noticed):
    """It is broken off: its thousand evaluations would take five seconds. Those before it are not made again."""
    kernel = mp.HMC(step_size=0.002, n_steps=1000, target_accept=0.8)
    plan = {"draws": 3, "warmup": warmup, "chains": 1, "seed": 3, "backend": backend, "progress": False}

    def build(f):
        one = mp.Density.from_callable(f, dim=2)
        return one if terms == 1 else mp.Density.from_blocks([mp.Density.from_callable(normal, dim=2), one])

    fast = build(normal)
    whole = mp.sample(fast, kernel, **plan)
    calls = int(whole.warmup_stats["n_grad"].sum() + whole.stats["n_grad"][0, 0])
    calls += 60  # more than it takes to start and to find the step size

    slow = SlowFrom(normal, calls, lambda: press_until(noticed), 0.005)
    trace = mp.sample(build(slow), kernel, **plan)
    assert trace.n_draws == 1 and slow.calls - calls < 900
    rest = mp.resume(trace, density=fast)
    np.testing.assert_array_equal(rest.draws, whole.draws[:, trace.n_draws :])
    np.testing.assert_array_equal(rest.stats, whole.stats[:, trace.n_draws :])


def test_ctrl_c_twice(noticed):
    """The second while draws before the one that was broken off are made again, which goes on: 240 calls of 5 ms."""
    kernel, plan = mp.HMC(step_size=0.01, n_steps=240), {"draws": 10, "warmup": 0, "chains": 1, "seed": 3}

    slow = SlowFrom(normal, 5 * 240 + 20, lambda: press_until(noticed), 0.005)

    def f(x):
        if slow.calls == slow.call + 130:
            press_ctrl_c()
        return slow(x)

    trace = mp.sample(mp.Density.from_callable(f, dim=2), kernel, progress=False, **plan)
    n = trace.n_draws  # 5 if the main thread wakes within half a second of its time
    assert 5 <= n < 10
    fast = mp.Density.from_callable(normal, dim=2)
    np.testing.assert_array_equal(mp.resume(trace, density=fast).draws, mp.sample(fast, kernel, **plan).draws[:, n:])


@pytest.mark.parametrize("backend", ["c", "python"])
@pytest.mark.parametrize("kernel", [mp.HMC(step_size=0.002, n_steps=1000), mp.NUTS(step_size=0.002)], ids=repr)
def test_ctrl_c_in_a_long_step_of_a_compiled_density(kernel, backend, noticed):
    """A thousand evaluations, or a tree of them."""

    def pointer(f):
        @LOGP_GRAD
        def logp_grad(dim, x, grad, logp, user_data):
            logp[0], (grad[0], grad[1]) = f(np.array([x[0], x[1]]))
            return 0

        return mp.Density.from_pointer(logp_grad, 2)

    plan = {"draws": 2, "warmup": 0, "chains": 1, "seed": 3, "backend": backend, "progress": False}
    slow = SlowFrom(normal, 60, lambda: press_until(noticed), 0.005)
    trace = mp.sample(pointer(slow), kernel, **plan)
    assert trace.n_draws == 0 and slow.calls < 900
    whole = mp.sample(pointer(normal), kernel, **plan)
    assert whole.stats["n_grad"][0, 0] >= 1000
    np.testing.assert_array_equal(mp.resume(trace, density=pointer(normal)).draws, whole.draws)


@pytest.mark.parametrize("period", [0.0, 0.25])
def test_a_thinned_draw_that_was_broken_off_is_made_again(period, noticed, monkeypatch):
    monkeypatch.setattr(mp.chains, "MARK_PERIOD", period)
    plan = {"warmup": 30, "chains": 2, "thin": 5, "seed": 3, "progress": False}
    slow = mp.Density.from_callable(pressing(normal, STARTS + 150, noticed), dim=2)
    trace = mp.sample(slow, KERNEL, draws=40, **plan)
    assert 0 < len(trace.ragged[0]["draws"]) < 40
    fast = mp.Density.from_callable(normal, dim=2)
    whole = mp.sample(fast, KERNEL, draws=40, **plan)
    rest = mp.resume(trace, density=fast)
    np.testing.assert_array_equal(rest.draws, whole.draws[:, trace.n_draws :])
    np.testing.assert_array_equal(rest.stats, whole.stats[:, trace.n_draws :])


def test_ctrl_c_at_the_start_is_a_keyboard_interrupt():
    """Before there are chains there is nothing to keep."""
    density = mp.Density.from_callable(SlowFrom(normal, 0, press_ctrl_c), dim=2)
    with pytest.raises(KeyboardInterrupt):
        mp.sample(density, KERNEL, draws=10)


def test_ctrl_c_in_step_is_a_keyboard_interrupt():
    density = mp.Density.from_callable(SlowFrom(normal, 3, press_ctrl_c), dim=2)
    state, rng = mp.init(density, [0.0, 0.0]), np.random.default_rng(1)
    state, _ = mp.step(KERNEL, density, rng, state)
    with pytest.raises(KeyboardInterrupt):
        mp.step(KERNEL, density, rng, state)


CHILD = """
import sys, time, numpy as np, micropolis as mp, micropolis.sampling as sampling
sampling.CHECKPOINT_PERIOD = 0.05
def normal(x):
    return -0.5 * (x @ x), -x
class Slow:
    calls = 0
    def __call__(self, x):
        self.calls += 1
        if self.calls > {fast_calls}:
            if self.calls == {fast_calls} + 1:
                print("slow", flush=True)
            time.sleep(0.1)
        return normal(x)
dense = mp.densities.Gaussian(np.zeros(100), cov=0.5 * np.eye(100) + 0.5)
long = {fast_calls} < 0
kernel = mp.HMC(step_size=0.05 if long else 0.3, n_steps=40 if long else 2, target_accept=0.8)
density = dense if {fast_calls} < 0 else mp.Density.from_callable(Slow(), dim=2)
print("ready", flush=True)
trace = mp.sample(density, kernel, progress=False, checkpoint=sys.argv[1], **{plan})
print("returned", repr(trace), flush=True)
trace.save(sys.argv[1] + ".end")
"""


def child(path, fast_calls, plan):
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-c", CHILD.format(fast_calls=fast_calls, plan=plan), path],
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_file_after(path, moment):
    wait_until(lambda: os.path.exists(path) and os.stat(path).st_mtime > moment)


def test_sigint_to_a_process(tmp_path):
    path, plan = str(tmp_path / "run.npz"), {"draws": 10**5, "warmup": 0, "chains": 3, "seed": 5, "threads": 2}
    process = child(path, -1, plan)
    assert process.stdout.readline() == "ready\n"
    wait_for_file_after(path, 0)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline().startswith("returned <Trace of HMC: 3 chains x 0 draws, dim 100, interrupted")
    assert process.wait(LIMIT) == 0
    end = mp.Trace.load(path + ".end")
    lengths = [len(chain["draws"]) for chain in end.ragged]
    rest = mp.resume(end, max(lengths))
    np.testing.assert_array_equal(rest.draws, mp.sample(DENSE, LONG, **plan | {"draws": max(lengths)}).draws)


@pytest.mark.parametrize(
    ("fast_calls", "where"),
    [(STARTS + 50, "warm-up of chain 0"), (STARTS + 250, "warm-up of chain 1"), (STARTS + 545, "chain 2")],
)
def test_killed_process_leaves_a_checkpoint(fast_calls, where, tmp_path):
    """Of three chains one after another: done, in warm-up, in sampling, not begun."""
    path, plan = str(tmp_path / "run.npz"), {"draws": 40, "warmup": 60, "chains": 3, "seed": 3}
    process = child(path, fast_calls, plan)
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "slow\n"]
    wait_for_file_after(path, time.time() + 0.1)
    process.kill()
    assert process.wait(LIMIT) == -signal.SIGKILL
    trace = mp.Trace.load(path)
    warm = [state["warmup_done"] for state in trace.adaptation]
    assert {
        "warm-up of chain 0": 0 < warm[0] < 60 and warm[1:] == [0, 0],
        "warm-up of chain 1": warm[0] == 60 and 0 < warm[1] < 60 and warm[2] == 0,
        "chain 2": warm == [60, 60, 60] and 0 < trace.n_draws < 40,
    }[where]
    density = mp.Density.from_callable(normal, dim=2)
    whole = mp.sample(density, KERNEL, progress=False, **plan)
    rest = mp.resume(trace, density=density)
    np.testing.assert_array_equal(rest.draws, whole.draws[:, trace.n_draws :])
    np.testing.assert_array_equal(rest.stats, whole.stats[:, trace.n_draws :])


def test_killed_process_with_chains_in_threads(tmp_path):
    path, plan = str(tmp_path / "run.npz"), {"draws": 5000, "warmup": 2000, "chains": 3, "seed": 6, "threads": 2}
    process = child(path, -1, plan | {"draws": 10**6})
    wait_for_file_after(path, 0)
    wait_for_file_after(path, os.stat(path).st_mtime)
    process.kill()
    process.wait(LIMIT)
    process.stdout.close()
    trace = mp.Trace.load(path)
    done = max((len(chain["draws"]) for chain in trace.ragged), default=0)
    rest = mp.resume(trace, done + 50, threads=1)
    whole = mp.sample(DENSE, LONG, progress=False, **plan | {"draws": done + 50})
    np.testing.assert_array_equal(rest.draws, whole.draws)


def test_checkpoints_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(mp.sampling, "CHECKPOINT_PERIOD", 0.0)
    plan = {"draws": 3000, "warmup": 1000, "chains": 5, "threads": 3, "seed": 8, "progress": False}
    whole = mp.sample(DENSE, KERNEL, **plan)
    trace = mp.sample(DENSE, KERNEL, checkpoint=tmp_path / "run.npz", **plan)
    np.testing.assert_array_equal(trace.draws, whole.draws)
    np.testing.assert_array_equal(trace.stats, whole.stats)
    np.testing.assert_array_equal(mp.Trace.load(tmp_path / "run.npz").draws, whole.draws)


@pytest.mark.parametrize("period", [0.0, 60.0])
def test_a_checkpoint_that_cannot_be_written_loses_nothing(period, tmp_path, monkeypatch):
    monkeypatch.setattr(mp.sampling, "CHECKPOINT_PERIOD", period)
    plan = {"draws": 300, "warmup": 0, "chains": 2, "seed": 9, "progress": False}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(SamplingWarning, match=r"checkpoint: .*run.npz: cannot be written: No space left on device"):
        trace = mp.sample(DENSE, KERNEL, checkpoint=tmp_path / "run.npz", **plan)
    np.testing.assert_array_equal(trace.draws, mp.sample(DENSE, KERNEL, **plan).draws)
    assert list(tmp_path.iterdir()) == []


# -- every kernel ----------------------------------------------------------------------------------------------------


def ridge(x):
    """Narrow and curved: long trajectories, so that what warm-up does to their length shows."""
    y, across = np.array([x[0], x[1] + 0.1 * x[0] ** 2, x[2] / 30.0]), (x[0] - x[2]) / 0.05
    logp = -0.5 * (y @ y) - 0.5 * across**2
    return logp, np.array([-y[0] - 0.2 * y[1] * x[0] - across / 0.05, -y[1], -y[2] / 30.0 + across / 0.05])


@pytest.mark.parametrize(
    "kernel",
    [
        mp.NUTS(), mp.NUTS(metric="dense"), mp.NUTS(metric="unit", max_depth=5), mp.MALA(),
        mp.RandomWalk(covariance="dense", temperature=lambda step: 1.0 + 1.0 / (1 + step)),
        mp.RandomWalk(covariance="diag"), mp.HMC(0.02, 5, target_accept=0.8, jitter=0.5),
    ],
    ids=lambda kernel: repr(kernel)[:40],
)  # fmt: skip
def test_resumed_from_any_phase_of_warm_up(kernel, begun, tmp_path, monkeypatch):
    """Checkpoints asked for in fifty places of 100 warm-up draws and 20 draws."""
    plan = {"draws": 20, "warmup": 100, "chains": 1, "seed": 3, "progress": False}
    density = mp.Density.from_callable(ridge, 3)
    whole = mp.sample(density, kernel, **plan)
    traces: list[mp.Trace] = []
    pause = max(1, int(whole.warmup_stats["n_grad"].sum()) // 50)
    calls = itertools.count(1)
    begun.clear()

    def keep(self, path):
        traces.append(self)

    def waiting(x):
        """Until the chain is asked to stop for a checkpoint, which it does before its next draw."""
        if begun and next(calls) % pause == 0:
            wait_until(lambda: begun[0].control[0] == mp.chains.PAUSE)
        return ridge(x)

    monkeypatch.setattr(mp.sampling, "CHECKPOINT_PERIOD", 0.0)
    monkeypatch.setattr(mp.sampling, "TICK", 0.001)
    with monkeypatch.context() as patch:
        patch.setattr(mp.Trace, "save", keep)
        mp.sample(mp.Density.from_callable(waiting, 3), kernel, checkpoint=tmp_path / "run.npz", **plan)
    warm = {trace.warmup_done for trace in traces}
    assert len(warm) > 10
    for trace in traces[:: len(traces) // 10]:
        rest = mp.resume(trace, 20 - trace.n_draws, density)
        np.testing.assert_array_equal(rest.draws, whole.draws[:, trace.n_draws :])
        np.testing.assert_array_equal(rest.stats, whole.stats[:, trace.n_draws :])
