"""The progress bar: where it is drawn, and runs that it must not break."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from laws.interrupts import SlowFrom

import micropolis as mp

pytestmark = pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")

KERNEL = mp.HMC(step_size=0.3, n_steps=2, target_accept=0.8)
DENSE = mp.densities.Gaussian(np.zeros(100), cov=0.5 * np.eye(100) + 0.5)


def slow_from(call, then):
    return mp.Density.from_callable(SlowFrom(lambda x: (-0.5 * (x @ x), -x), call, then), dim=2)


PLAN = {"draws": 50, "warmup": 0, "chains": 2, "progress": False}


def test_progress_goes_to_stderr(capsys):
    pytest.importorskip("tqdm")
    density = slow_from(60, lambda: None)
    mp.sample(density, KERNEL, **PLAN | {"chains": 1, "progress": True}, seed=1)
    captured = capsys.readouterr()
    assert captured.out == "" and "micropolis" in captured.err and "divergent=0" in captured.err
    mp.sample(DENSE, KERNEL, **PLAN | {"progress": None}, seed=1)  # stderr is no terminal
    assert capsys.readouterr().err == ""


def test_a_bar_that_cannot_be_drawn_loses_nothing(monkeypatch):
    pytest.importorskip("tqdm")

    class Closed:
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

        flush = isatty = lambda self: False

    density = slow_from(60, lambda: monkeypatch.setattr(sys, "stderr", Closed()))
    trace = mp.sample(density, KERNEL, **PLAN | {"chains": 1, "progress": True}, seed=1)
    assert trace.n_draws == 50
    monkeypatch.setattr(sys, "stderr", Closed())
    trace = mp.sample(DENSE, KERNEL, **PLAN | {"progress": True}, seed=1)
    assert trace.n_draws == 50


def test_no_terminal_at_all(monkeypatch):
    """In a process without a console stderr may be None."""
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", None)
    for progress in (None, False, True):
        assert mp.sample(DENSE, KERNEL, **PLAN | {"progress": progress}, seed=1).n_draws == 50
