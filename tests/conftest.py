"""Signals as in a terminal: a shell that starts the tests in the background has them ignore Ctrl-C."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
