"""Draws in a memory-mapped file: room on the disk is there before the run, and no run takes the file of another."""

from __future__ import annotations

import os

import numpy as np
import pytest
from laws.contract import LOGP_GRAD

import micropolis as mp
from micropolis.errors import InputError
from micropolis.neural import Linear, Posterior, Sequential

pytestmark = pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")

KERNEL = mp.HMC(step_size=0.3, n_steps=2, target_accept=0.8)
DENSE = mp.densities.Gaussian(np.zeros(100), cov=0.5 * np.eye(100) + 0.5)
PLAN = {"draws": 50, "warmup": 0, "chains": 2, "progress": False}


def test_store_on_a_full_disk(tmp_path, monkeypatch):
    """The room is reserved, or the run is refused and the file that was there stays."""
    path = tmp_path / "draws.npy"
    old = mp.sample(DENSE, KERNEL, store=path, seed=1, **PLAN).draws.copy()

    def full(descriptor, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"store: no room for draws of shape \(2, 50, 100\).*No space left on device"):
        mp.sample(DENSE, KERNEL, store=path, seed=2, **PLAN)
    np.testing.assert_array_equal(np.load(path), old)
    assert list(tmp_path.iterdir()) == [path]


def test_store_leaves_no_holes(tmp_path):
    trace = mp.sample(DENSE, KERNEL, store=tmp_path / "draws.npy", seed=1, **PLAN | {"draws": 1000})
    status = os.stat(tmp_path / "draws.npy")
    assert status.st_blocks * 512 >= trace.draws.nbytes
    np.testing.assert_array_equal(np.load(tmp_path / "draws.npy"), trace.draws)


def test_store_over_a_file_in_use(tmp_path):
    """A second run into the same file must not change the draws of the first, nor pull the file from under it."""
    path = tmp_path / "draws.npy"
    first = mp.sample(DENSE, KERNEL, store=path, seed=1, **PLAN)
    kept = first.draws.copy()
    second = mp.sample(DENSE, KERNEL, store=path, seed=2, **PLAN | {"draws": 10})
    np.testing.assert_array_equal(first.draws, kept)
    np.testing.assert_array_equal(np.load(path), second.draws)
    assert second.draws.shape == (2, 10, 100)


def test_resume_into_the_checkpoint_of_the_run_itself(tmp_path, monkeypatch):
    """A killed run's draws are in its checkpoint and nowhere else."""
    path = tmp_path / "run.npz"
    first = mp.sample(DENSE, KERNEL, checkpoint=path, seed=1, **PLAN)
    monkeypatch.chdir(tmp_path)
    for trace in (first, mp.Trace.load("run.npz")):
        with pytest.raises(InputError, match=r"checkpoint: .*run.npz holds the draws of the run to be resumed"):
            mp.resume(trace, 10, checkpoint="run.npz")
    np.testing.assert_array_equal(mp.Trace.load(path).draws, first.draws)
    more = mp.resume(mp.Trace.load(path), 10, checkpoint="more.npz")
    np.testing.assert_array_equal(mp.Trace.load("more.npz").draws, more.draws)
    assert mp.Trace.load(path).n_draws == first.n_draws


def test_resume_into_the_file_of_the_run_itself(tmp_path, monkeypatch):
    """The new draws alone would take the place of those that are there."""
    path = tmp_path / "draws.npy"
    first = mp.sample(DENSE, KERNEL, store=path, seed=1, **PLAN)
    monkeypatch.chdir(tmp_path)
    for name in (path, "draws.npy"):
        with pytest.raises(InputError, match=r"store: .*draws.npy holds the draws of the run to be resumed"):
            mp.resume(first, 10, store=name)
    np.testing.assert_array_equal(np.load(path), first.draws)
    more = mp.resume(first, 10, store=tmp_path / "more.npy")
    with pytest.raises(InputError, match="more.npy holds the draws"):
        mp.resume(more, 10, store=tmp_path / "more.npy")
    mp.resume(more, 10, store=path)  # no longer needed


def test_store_where_nothing_may_be_written(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(np.lib.format, "open_memmap", refuse)
    with pytest.raises(InputError, match="store: no room .*Permission denied"):
        mp.sample(DENSE, KERNEL, store=tmp_path / "draws.npy", seed=1, **PLAN)


def normal(x, grad, data):
    total = 0.0
    for i in range(len(x)):
        grad[i] = -x[i]
        total -= 0.5 * x[i] * x[i]
    return total + 0.0 * data[0].sum()


@LOGP_GRAD
def flat(dim, x, grad, logp, user_data):
    grad[0] = grad[1] = logp[0] = 0.0
    return 0


READERS = {
    "Posterior, inputs": lambda x: Posterior(Sequential(Linear(2, 2)), x, np.zeros(6, int)),
    "Posterior, targets": lambda x: Posterior(Sequential(Linear(2, 2)), np.ones((6, 2)), x, "regression"),
    "blocks": lambda x: mp.Density.from_blocks([Posterior(Sequential(Linear(2, 2)), x, np.zeros(6, int))]),
    "Numba": lambda x: mp.Density.from_numba(normal, 2, {"a": x, "b": 1.0}),
    "pointer": lambda x: mp.Density.from_pointer(flat, 2, user_data=x),
    "logistic regression": lambda x: mp.densities.LogisticRegression(x, [0, 1] * 3),
}


@pytest.mark.parametrize("name", ["store", "checkpoint"])
@pytest.mark.parametrize("reader", READERS)
def test_the_files_of_the_data_are_not_replaced(reader, name, tmp_path, monkeypatch):
    if reader == "Numba":
        pytest.importorskip("numba")
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(1).random((6, 2))
    np.save("data.npy", x)
    density = READERS[reader](np.asarray(np.load("data.npy", mmap_mode="r+")[:]))
    with pytest.raises(InputError, match=f"{name}: .*data.npy holds the data of the log density, expected another"):
        mp.sample(density, KERNEL, **PLAN, **{name: tmp_path / "data.npy"})
    np.testing.assert_array_equal(np.load("data.npy"), x)
    trace = mp.sample(density, KERNEL, seed=1, **PLAN)
    with pytest.raises(InputError, match=f"{name}: .*data.npy holds the data of the log density, expected another"):
        mp.resume(trace, 10, density, **{name: tmp_path / "data.npy"})
