"""The progress bar of a run: tqdm's, shown late so that short runs print nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import checks
from .errors import InputTypeError, MissingExtraError

PATIENCE = 0.5  # seconds before an unasked-for bar appears


def check(wanted: Any) -> None:
    """Raise unless a bar can be had as `wanted`."""
    if not isinstance(wanted, bool | np.bool_ | None):
        raise InputTypeError(f"progress: expected True, False or None, got {wanted!r}")
    if wanted:
        checks.extra("tqdm.auto", "all", "progress=True")


class Bar:
    """Draws done of `total`, with the number of those that had something happen to them, by default a divergence.

    Parameters
    ----------
    wanted : bool or None
        None: only in a terminal or a notebook, after half a second, and where tqdm is installed.
    total : int
    unit, event : str
        What a draw and what happens to it are called.
    """

    def __init__(self, wanted: bool | None, total: int, unit: str = "draw", event: str = "divergent") -> None:
        self.began, self.total, self.unit, self.event = time.monotonic(), total, unit, event
        self.bar: Any = None
        self.wanted = wanted
        if sys.stderr is None:  # a process without a console
            self.wanted = False
        elif wanted:
            self._open()
        elif wanted is None and not (sys.stderr.isatty() or "ipykernel" in sys.modules):
            self.wanted = False

    def _open(self) -> None:
        tqdm = checks.extra("tqdm.auto", "all", "progress=True")
        with self._harmless():
            self.bar = tqdm.tqdm(total=self.total, unit=self.unit, desc="micropolis", leave=bool(self.wanted))

    def update(self, done: int, events: int) -> None:
        """Move the bar to `done`."""
        if self.wanted is False:
            return
        if self.bar is None:
            if time.monotonic() - self.began < PATIENCE:
                return
            try:
                self._open()
            except MissingExtraError:
                self.wanted = False
        if self.bar is not None:
            with self._harmless():
                self.bar.set_postfix({self.event: events}, refresh=False)
                self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            with self._harmless():
                self.bar.close()

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        """A closed stderr ends the bar, not the run."""
        try:
            yield
        except (OSError, ValueError):
            self.bar, self.wanted = None, False
