"""What the command line runs: networks trained by Metropolis, posteriors by NUTS, the funnel by Riemannian HMC."""

from __future__ import annotations


def end_if(interrupted: bool) -> None:
    """A run that meets Ctrl-C keeps what it made and returns; a demo has to end there."""
    if interrupted:
        raise KeyboardInterrupt
