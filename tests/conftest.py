"""Signals as in a terminal, and fixtures that tell where a run is."""

from __future__ import annotations

import signal
import threading

import pytest

# a shell that starts the tests in the background has them ignore Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def noticed(monkeypatch):
    """An event: the main thread has told every chain of a run to stop."""
    from micropolis import sampling

    event, cancel = threading.Event(), sampling._Run._cancel

    def cancel_and_tell(run):
        cancel(run)
        event.set()

    monkeypatch.setattr(sampling._Run, "_cancel", cancel_and_tell)
    return event


@pytest.fixture
def begun(monkeypatch):
    """The chains that have begun, in this order."""
    from micropolis.chains import ChainJob

    jobs, run = [], ChainJob.run

    def note_and_run(job, *arguments):
        jobs.append(job)
        run(job, *arguments)

    monkeypatch.setattr(ChainJob, "run", note_and_run)
    return jobs
