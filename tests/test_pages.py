"""Memory made ready ahead of a chain: a little of it, without touching what is there, and the draws are the same."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time

import numpy as np
import pytest
from laws.interrupts import wait_until

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


@pytest.fixture
def populates():
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), pages.POPULATE_WRITE):
        pytest.skip("this kernel has no MADV_POPULATE_WRITE")


def test_a_little_ahead_of_each_chain(populates):
    # memory that nobody asked huge pages for, and draws much smaller than those
    size = pages.LONG_DRAW // 8
    before, draws = resident(), np.frombuffer(mmap.mmap(-1, 2 * 400 * 8 * size)).reshape(2, 400, size)
    made, slack = [0, 0], 12 * MEGA  # slack: what else the process does
    with pages.made_ready(draws, lambda: made):
        for done in range(0, 201, 2):
            made[1] = done
            time.sleep(1.5 * pages.PAUSE)
            assert resident() < before + 2 * pages.AHEAD + done * 8 * size + slack
        wait_until(lambda: resident() > before + 2 * pages.AHEAD + made[1] * 8 * size - slack)
    wait_until(lambda: not threads())


def test_what_is_there_stays(populates):
    draws = np.random.default_rng(1).random((2, 3, MEGA))
    expected = draws.copy()
    with pages.made_ready(draws, lambda: [1, 3]):
        wait_until(lambda: not threads())  # all is ready
    np.testing.assert_array_equal(draws, expected)


def test_short_draws_files_and_no_draws_need_no_thread(tmp_path):
    wait_until(lambda: not threads())
    mapped = np.lib.format.open_memmap(tmp_path / "draws.npy", "w+", np.float64, (1, 4, MEGA))
    for draws in (np.empty((1, 100, 1000)), np.empty((1, 0, MEGA)), mapped):
        with pages.made_ready(draws, lambda: [0]):
            assert not threads()


def test_an_error_ends_the_thread():
    with pytest.raises(KeyboardInterrupt), pages.made_ready(np.empty((1, 40, MEGA)), lambda: [0]):
        raise KeyboardInterrupt
    wait_until(lambda: not threads())


def test_the_same_draws_with_and_without(monkeypatch):
    density = mp.densities.Gaussian(np.zeros(pages.LONG_DRAW // 8))

    def run():
        with pytest.warns(SamplingWarning):  # 20 draws are few
            return mp.sample(density, mp.HMC(0.1, 2), draws=20, warmup=0, chains=2, seed=1, progress=False).draws

    ahead = run()
    monkeypatch.setattr(pages, "LONG_DRAW", 1 << 60)
    np.testing.assert_array_equal(ahead, run())
