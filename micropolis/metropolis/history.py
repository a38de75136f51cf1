"""What weight walks are told and what they tell: schedules in, steps and histories out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..errors import InputError
from ..neural.network import Sequential

Array = NDArray[np.float64]
Scheduled = float | ArrayLike | Callable[[int], float]


class Schedule:
    """A number for every step: a constant, an array whose last number stays, or a function of the step.

    Parameters
    ----------
    name : str
        Of the argument.
    value : float, array_like (n,) or callable
    zero : bool
        Whether it may be zero.
    why : str
        Added to the message when a zero comes that may not.
    """

    def __init__(self, name: str, value: Any, zero: bool = False, why: str = "") -> None:
        self.name, self.value, self.zero, self.why = name, value, zero, why
        if not callable(value):
            self.array = np.atleast_1d(checks.numbers(name, value)).copy()
            if self.array.ndim != 1 or self.array.size == 0:
                raise InputError(f"{name}: expected a number, (steps,) or a function, got shape {np.shape(value)}")
            self._check(self.array, 0)

    def _check(self, values: Array, first: int) -> None:
        bad = ~(np.isfinite(values) & ((values >= 0) if self.zero else (values > 0)))
        if bad.any():
            at = int(np.argmax(bad))
            where = "" if values.size == 1 and not callable(self.value) else f" for step {first + at}"
            why = self.why if values[at] == 0 else ""
            raise InputError(f"{self.name}: expected a finite number {'>=' if self.zero else '>'} 0, "
                             f"got {values[at]:g}{where}{why}")  # fmt: skip

    def table(self, first: int, steps: int) -> tuple[Array, int]:
        """(numbers, the step of the first of them) that cover `steps` steps from step `first` on."""
        if not callable(self.value):
            return self.array, 0
        steps = max(steps, 1)
        values = np.array([checks.real(f"{self.name}({t})", self.value(t)) for t in range(first, first + steps)])
        self._check(values, first)
        return values, first


class Step(NamedTuple):
    """What one step did.

    Attributes
    ----------
    accept : bool
    proposal_nll : float
        Loss of the proposal; NaN where it was rejected before all rows had been looked at.
    sample_nll : float
        Loss of the model after the step. Both are means over the rows, or sums with ``reduction="sum"``.
    log_ratio : float
        Of the acceptance test, prior included; NaN likewise.
    rows_used : int
        Rows looked at.
    variance : float
        Of `log_ratio` as an estimate: 0 where all rows were used.
    non_finite : bool
        The proposal's loss was infinite or NaN, which is a rejection.
    """

    accept: bool
    proposal_nll: float
    sample_nll: float
    log_ratio: float
    rows_used: int
    variance: float
    non_finite: bool


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """What a run did, step by step.

    Attributes
    ----------
    accept, proposal_nll, sample_nll, log_ratio, rows_used, variance, non_finite : ndarray (steps,)
        As in `Step`.
    acceptance : float
        Fraction of accepted proposals; NaN for a run without steps.
    best_nll : float
        Least loss on the whole data set seen so far, by this run or those before on the same data; NaN where no
        losses on the whole data set were computed.
    best_model : Sequential or None
        The network that has it.
    evaluated_steps, evaluated_nll : ndarray
        With ``evaluate_every``: after how many steps the loss on the whole data set was computed, and what it was.
    interrupted : bool
        Whether Ctrl-C was pressed meanwhile: steps may be missing, and a loop over runs should end.
    """

    records: NDArray[Any]
    best_nll: float
    best_parameters: NDArray[Any] | None
    net: Sequential
    evaluated_steps: NDArray[np.int64]
    evaluated_nll: Array
    interrupted: bool

    @property
    def accept(self) -> NDArray[np.bool_]:
        return self.records["accept"]

    @property
    def proposal_nll(self) -> Array:
        return self.records["proposal_nll"]

    @property
    def sample_nll(self) -> Array:
        return self.records["sample_nll"]

    @property
    def log_ratio(self) -> Array:
        return self.records["log_ratio"]

    @property
    def rows_used(self) -> NDArray[np.int64]:
        return self.records["rows_used"]

    @property
    def variance(self) -> Array:
        return self.records["variance"]

    @property
    def non_finite(self) -> NDArray[np.bool_]:
        return self.records["non_finite"]

    @property
    def acceptance(self) -> float:
        return float(self.accept.mean()) if len(self) else float("nan")

    @property
    def best_model(self) -> Sequential | None:
        if self.best_parameters is None:
            return None
        model = self.net.copy()
        model.parameters = self.best_parameters
        return model

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        best = "" if np.isnan(self.best_nll) else f", best nll {self.best_nll:.4g}"
        return f"<History: {len(self)} steps, acceptance {self.acceptance:.3g}{best}>"
