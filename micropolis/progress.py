"""The progress bar of a run: tqdm's, shown late so that short runs print nothing."""

from __future__ import annotations

import sys
import time
from typing import Any

from . import checks
from .errors import MissingExtraError

PATIENCE = 0.5  # seconds before an unasked-for bar appears


class Bar:
    """Draws done of `total`, with the number of divergences.

    Parameters
    ----------
    wanted : bool or None
        None: only in a terminal or a notebook, after half a second, and where tqdm is installed.
    total : int
    """

    def __init__(self, wanted: bool | None, total: int) -> None:
        self.began, self.total = time.monotonic(), total
        self.bar: Any = None
        self.wanted = wanted
        if wanted:
            self._open()
        elif wanted is None and not (sys.stderr.isatty() or "ipykernel" in sys.modules):
            self.wanted = False

    def _open(self) -> None:
        tqdm = checks.extra("tqdm.auto", "all", "progress=True")
        self.bar = tqdm.tqdm(total=self.total, unit="draw", desc="micropolis", leave=bool(self.wanted))

    def update(self, done: int, divergent: int) -> None:
        """Move the bar to `done`."""
        if self.bar is None:
            if self.wanted is False or time.monotonic() - self.began < PATIENCE:
                return
            try:
                self._open()
            except MissingExtraError:
                self.wanted = False
                return
        self.bar.set_postfix(divergent=divergent, refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()
