"""What a kernel is: options, declared state buffers, an info record, a step; and the registry that tests walk."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import checks
from .errors import InputError, KernelError

# The head of every info record, mp_info of csrc/include/micropolis/kernel.h: 24 bytes.
INFO_HEAD = [
    ("logp", "f8"),
    ("accept_prob", "f8"),
    ("n_grad", "i4"),
    ("accepted", "?"),
    ("divergent", "?"),
    ("status", "i2"),
]
# The head of every options struct, mp_tuning.
OPTIONS_HEAD = [("step_size", "f8"), ("metric", "i8"), ("scale", "u8")]

DIAGONAL, DENSE = 0, 1

OK, NON_FINITE, ENERGY_ERROR, DENSITY_REJECTED = 0, 1, 2, 3
DENSITY_FATAL, CANCELLED, BAD_START, BROKEN_OFF = -1, -2, -3, -4
MOST_FLAGS = 8  # MP_MAX_FLAGS of common/chain.h
RUN, CANCEL = 0, 1  # what the main thread asks of a chain; anything but RUN is answered between two draws
METRIC_INDEFINITE, NOT_CONVERGED, NON_REVERSIBLE = 4, 5, 6


def own_flags(info: np.dtype[Any]) -> tuple[str, ...]:
    """The booleans of an info record behind its head: of a thinned draw, whether any step of it had them."""
    names = tuple(name for name in (info.names or ())[len(INFO_HEAD) :] if info[name] == np.bool_)
    if len(names) > MOST_FLAGS:
        raise KernelError(f"INFO: expected at most {MOST_FLAGS} booleans behind the head, got {', '.join(names)}")
    return names


class Buffer(NamedTuple):
    """A named piece of a kernel's state; `shape` is a function of dim."""

    name: str
    dtype: str
    shape: Callable[[int], tuple[int, ...]]


X = Buffer("x", "f8", lambda dim: (dim,))
LOGP = Buffer("logp", "f8", lambda dim: (1,))
GRAD = Buffer("grad", "f8", lambda dim: (dim,))


class Tuning(NamedTuple):
    """Step size and metric as the kernels use them; `scale` is S, with inverse mass (or proposal covariance) S S'."""

    step_size: float
    metric: int
    scale: NDArray[np.float64]


class Kernel(abc.ABC):
    """Base of the frozen dataclasses that describe a Markov kernel.

    A subclass is one algorithm: its fields are the user's options, its class attributes say how the compiled step
    sees them. Options never change while a chain runs; adaptation returns a new kernel (`tuned`).
    """

    name: ClassVar[str]
    family: ClassVar[str]  # the extension module micropolis._<family> has the compiled step
    OPTIONS: ClassVar[np.dtype[Any]]
    INFO: ClassVar[np.dtype[Any]]
    BUFFERS: ClassVar[tuple[Buffer, ...]]
    accept_statistic: ClassVar[str] = "accept_prob"  # the info field that warm-up steers to its target
    # the readable source: make_step(jit, density, random) -> step, see micropolis.readable
    make_step: ClassVar[Callable[..., Any] | None] = None
    # make_limit(jit) -> limit(rule, k, info, options, memory): what warm-up changes in the kernel's own options
    make_limit: ClassVar[Callable[..., Any] | None] = None

    @abc.abstractmethod
    def tuning(self, dim: int) -> Tuning:
        """Step size and scale to start from."""

    def fill_options(self, options: np.void, dim: int) -> object:
        """Write the kernel's own fields of the C options; returns what must stay alive."""

    def n_work(self) -> int:
        """How many vectors of scratch the readable step takes."""
        return 0

    def work_rows(self, dim: int) -> int:
        """The same where it depends on the dimension."""
        return self.n_work()

    def prepare(self, density: Any) -> None:
        """Make ready what the kernel wants of a density beyond its gradient, before it is bound."""

    def check_backend(self, backend: str) -> None:
        """Raise a KernelError where the readable source cannot run under this compiler."""

    def table(self) -> NDArray[np.float64]:
        """The numbers behind the kernel's own pointers in its options, for the readable step; none for most."""
        return np.empty(0)

    def adaptation(self, dim: int, n_warmup: int) -> Any:
        """The warm-up rule, an ADAPTATION record (see micropolis.adaptation), or None to keep the tuning."""

    @abc.abstractmethod
    def tuned(self, tuning: Tuning) -> Kernel:
        """This kernel with the step size and scale that warm-up found."""


KERNELS: dict[str, type[Kernel]] = {}


def register(cls: type[Kernel]) -> type[Kernel]:
    """Add a kernel class to the registry: it then inherits the law, twin and protocol tests."""
    KERNELS[cls.name] = cls
    return cls


def info_dtype(*fields: tuple[str, str]) -> np.dtype[Any]:
    """The info dtype of a kernel, laid out as its C record."""
    return np.dtype([*INFO_HEAD, *fields], align=True)


def options_dtype(*fields: tuple[str, str]) -> np.dtype[Any]:
    """The options dtype of a kernel, laid out as its C struct."""
    return np.dtype([*OPTIONS_HEAD, *fields], align=True)


def hamiltonian_tuning(step_size: float | None, inverse_mass: Any, dim: int) -> Tuning:
    """Tuning of a kernel with an inverse mass: None, a variance per coordinate, or a covariance matrix."""
    step = 0.1 if step_size is None else step_size
    if inverse_mass is None:
        return Tuning(step, DIAGONAL, np.ones(dim))
    mass = checks.numbers("inverse_mass", inverse_mass)
    if mass.shape == (dim,):
        if not (np.all(np.isfinite(mass)) and np.all(mass > 0)):
            raise InputError("inverse_mass: expected positive finite variances")
        return Tuning(step, DIAGONAL, np.sqrt(mass))
    if mass.shape != (dim, dim):
        raise InputError(f"inverse_mass: expected shape ({dim},) or ({dim}, {dim}), got {mass.shape}")
    # np.linalg.inv leaves what is zero in one triangle at 1e-17 in the other: measured by the variances
    size = np.sqrt(np.abs(np.outer(np.diag(mass), np.diag(mass))))
    try:
        if not (np.all(np.isfinite(mass)) and np.all(np.abs(mass - mass.T) <= 1e-10 * size)):
            raise np.linalg.LinAlgError
        return Tuning(step, DENSE, np.linalg.cholesky(mass).astype(np.float64))
    except np.linalg.LinAlgError:
        raise InputError("inverse_mass: expected a symmetric positive definite matrix") from None


def inverse_mass(tuning: Tuning) -> NDArray[np.float64]:
    """The inverse mass behind a tuning: (dim,) variances or a (dim, dim) matrix."""
    return tuning.scale**2 if tuning.metric == DIAGONAL else tuning.scale @ tuning.scale.T


def options_as_dict(kernel: Kernel) -> dict[str, Any]:
    """The user's options of a kernel by name, records (a metric) as trees of plain values."""
    options = {field.name: getattr(kernel, field.name) for field in dataclasses.fields(kernel)}  # type: ignore[arg-type]
    return {name: value.to_tree() if hasattr(value, "to_tree") else value for name, value in options.items()}
