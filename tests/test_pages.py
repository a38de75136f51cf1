"""Memory made ready ahead of a chain: a little of it, without touching what is there, and the draws are the same."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

import micropolis as mp
from micropolis import pages
from micropolis.errors import SamplingWarning

MEGA = 1 << 20


def resident():
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "micropolis pages"]


def settled():
    """What is resident once the thread has nothing to do for the moment."""
    before = -1
    while before != (now := resident()):
        before = now
        time.sleep(0.1)
    return now


@pytest.fixture
def populates():
    draws = np.empty((1, 40, MEGA))
    with pages.made_ready(draws, [np.zeros(2, np.int64)]):
        time.sleep(0.1)
        if not threads():
            pytest.skip("this kernel has no MADV_POPULATE_WRITE")


def test_a_little_ahead_of_each_chain(populates):
    before, draws = resident(), np.empty((2, 20, MEGA))
    progress = [np.zeros(2, np.int64) for _ in range(2)]
    with pages.made_ready(draws, progress):
        slack = 12 * MEGA  # huge pages at both ends, and what else the process does
        for done in (0, 3):
            progress[1][0] = done
            assert abs(settled() - before - 2 * pages.AHEAD - done * 8 * MEGA) <= slack
    assert not threads()


def test_what_is_there_stays(populates):
    draws = np.random.default_rng(1).random((2, 3, MEGA))
    expected, progress = draws.copy(), [np.full(2, 1), np.full(2, 3)]
    with pages.made_ready(draws, progress):
        settled()
    np.testing.assert_array_equal(draws, expected)


def test_short_draws_files_and_no_draws_need_no_thread(tmp_path):
    progress = [np.zeros(2, np.int64)]
    mapped = np.lib.format.open_memmap(tmp_path / "draws.npy", "w+", np.float64, (1, 4, MEGA))
    for draws in (np.empty((1, 100, 1000)), np.empty((1, 0, MEGA)), mapped):
        with pages.made_ready(draws, progress):
            assert not threads()


def test_an_error_ends_the_thread():
    with pytest.raises(KeyboardInterrupt), pages.made_ready(np.empty((1, 40, MEGA)), [np.zeros(2, np.int64)]):
        raise KeyboardInterrupt
    assert not threads()


def test_the_same_draws_with_and_without(monkeypatch):
    density = mp.densities.Gaussian(np.zeros(pages.LONG_DRAW // 8))

    def run():
        with pytest.warns(SamplingWarning):  # 20 draws are few
            return mp.sample(density, mp.HMC(0.1, 2), draws=20, warmup=0, chains=2, seed=1, progress=False).draws

    ahead = run()
    monkeypatch.setattr(pages, "LONG_DRAW", 1 << 60)
    np.testing.assert_array_equal(ahead, run())
