"""What the command line runs: networks trained by Metropolis, posteriors by NUTS, the funnel by Riemannian HMC."""

from __future__ import annotations


def check_complete(made: int, wanted: int) -> None:
    """A run that Ctrl-C has cut short keeps what it made and returns; a demo has to stop there."""
    if made < wanted:
        raise KeyboardInterrupt
