"""Ctrl-C at a known place of a run: what these tests see does not depend on how busy the machine is."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time

LIMIT = 120.0  # seconds: of waits whose end is a failed test


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def wait_until(condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(1e-3)


def press_until(noticed, press=press_ctrl_c):
    """Press Ctrl-C and wait until every chain was told to stop (fixture `noticed`)."""
    noticed.clear()
    press()
    assert noticed.wait(LIMIT)


def pressing(f, call, noticed, press=press_ctrl_c):
    """`f` with a Ctrl-C in its call number `call`, which ends when every chain was told to stop."""
    calls = itertools.count()

    def logp(x):
        if next(calls) == call:
            press_until(noticed, press)
        return f(x)

    return logp


class SlowFrom:
    """`f` that calls `then` in its call number `call` and takes some seconds from there on."""

    def __init__(self, f, call, then, seconds=0.002):
        self.f, self.calls, self.call, self.then, self.seconds = f, 0, call, then, seconds

    def __call__(self, x):
        self.calls += 1
        if self.calls == self.call + 1:
            self.then()
        if self.calls > self.call:
            time.sleep(self.seconds)
        return self.f(x)


@contextlib.contextmanager
def ctrl_c_when(condition, later=0.0):
    """Press Ctrl-C some seconds after `condition()` holds, unless the block has ended."""
    ended = threading.Event()

    def watch():
        while not condition():
            if ended.wait(1e-3):
                return
        if not ended.wait(later):
            press_ctrl_c()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
