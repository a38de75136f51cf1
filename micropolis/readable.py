"""The readable chain: the loop over draws in Python, interpreted or compiled by Numba, same chain as the C one.

A kernel hands over its readable source as a factory, ``make_step(jit, density, random)``. The step it makes is
``step(options, scale, table, data, rng, state, work, info) -> status`` under every compiler, with

- ``options`` one record of the kernel's OPTIONS, ``scale`` the metric's S, flat, ``table`` the kernel's own numbers;
- ``data`` the third argument of the density, ``rng`` the stream that ``random`` draws from;
- ``state`` the tuple of the state's buffers, ``work`` (n_work, dim) scratch, ``info`` the record to fill.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import checks
from .adaptation.rule import ADAPTATION
from .adaptation.windows import make_warmup, memory_size, work_size
from .density import Density
from .errors import InputError, KernelError
from .hamiltonian.integrators import make_leapfrog
from .jit import Evaluate, Random, pointer_calls, pointer_data
from .protocol import BAD_START, BROKEN_OFF, CANCEL, CANCELLED, DENSITY_FATAL, OK, Kernel, own_flags

COMPILERS = ("python", "numba")


class Chain(NamedTuple):
    """What drives a kernel, under one compiler."""

    start: Callable[..., Any]  # warm-up before the first draw
    warm: Callable[..., Any]  # draws of warm-up
    sample: Callable[..., Any]  # draws


def make_flags(jit: Callable[..., Any], names: tuple[str, ...]) -> tuple[Any, Any]:
    """Functions that read the named booleans of a record into the bits of a number, and write them back."""

    @jit
    def read(info):  # type: ignore[no-untyped-def]
        return 0

    @jit
    def write(info, bits):  # type: ignore[no-untyped-def]
        pass

    def one_more(before: Any, after: Any, name: str, bit: int) -> tuple[Any, Any]:
        @jit
        def read(info):  # type: ignore[no-untyped-def]
            return before(info) | (bit if info[name] else 0)

        @jit
        def write(info, bits):  # type: ignore[no-untyped-def]
            after(info, bits)
            info[name] = bits & bit != 0

        return read, write

    for k, name in enumerate(names):
        read, write = one_more(read, write, name, 1 << k)
    return read, write


def make_chain(
    jit: Callable[..., Any], entry: Callable[..., Any], kernel: type[Kernel], density: Evaluate, random: Random
) -> Chain:
    """Warm-up and the loop over draws around the readable step of `kernel`: the readable csrc/common/chain.c.

    `jit` compiles what is called from inside, `entry` the outermost functions.
    """
    assert kernel.make_step is not None
    step = kernel.make_step(jit, density, random)

    @jit
    def no_limit(rule, k, info, options, memory):  # type: ignore[no-untyped-def]
        pass

    limit = no_limit if kernel.make_limit is None else kernel.make_limit(jit)
    warmup = make_warmup(jit, make_leapfrog(jit, density.logp_grad), random, limit)
    warmup_start, warmup_update, accept = warmup.start, warmup.update, kernel.accept_statistic
    read_flags, write_flags = make_flags(jit, own_flags(kernel.INFO))

    # compilers type the branches of warm-up that look at a gradient, which no rule takes without one
    if len(kernel.BUFFERS) > 2:

        @jit
        def complete(state):  # type: ignore[no-untyped-def]
            return state

    else:

        @jit
        def complete(state):  # type: ignore[no-untyped-def]
            return state[0], state[1], state[0]

    @entry
    def start(rule, options, scale, data, rng, state, memory, work):  # type: ignore[no-untyped-def]
        return warmup_start(rule, options, scale, data, rng, complete(state), memory, work)

    @jit
    def adapt(rule, k, info, options, scale, data, rng, state, memory, work):  # type: ignore[no-untyped-def]
        return warmup_update(rule, k, info[accept], info, options, scale, data, rng, complete(state), memory, work)

    @jit
    def keep(rule, k, info, options, scale, data, rng, state, memory, work):  # type: ignore[no-untyped-def]
        return OK

    def make_run(between: Callable[..., Any]) -> Any:
        @entry
        def run(  # type: ignore[no-untyped-def]
            options, scale, table, data, rng, state, work, rule, memory, warmup_work, thin, draws, stats, first,
            start, stop, control, progress,
        ):  # fmt: skip
            """Draws start .. stop - 1; draw k goes to row k - first."""
            for draw in range(start, stop):
                if control[0] != 0:
                    return CANCELLED
                info = stats[draw - first]
                n_grad, divergent, accepted, kept, flags = 0, False, False, OK, 0
                for i in range(thin):
                    if i > 0 and control[0] == CANCEL:
                        return BROKEN_OFF
                    status = step(options, scale, table, data, rng, state, work, info)
                    if status < 0:
                        return status
                    n_grad += info.n_grad
                    divergent = divergent or info.divergent
                    accepted = accepted or info.accepted
                    flags |= read_flags(info)
                    if kept == OK:
                        kept = info.status
                # the record of a kept draw answers for the steps behind it
                info.n_grad = n_grad
                info.divergent = divergent
                info.accepted = accepted
                info.status = kept
                write_flags(info, flags)
                status = between(rule, draw, info, options, scale, data, rng, state, memory, warmup_work)
                if status < 0:
                    return status
                for i in range(draws.shape[1]):
                    draws[draw - first, i] = state[0][i]
                progress[0] = draw + 1
                if divergent:
                    progress[1] += 1
            return OK

        return run

    return Chain(start, make_run(adapt), make_run(keep))


# -- the compilers ---------------------------------------------------------------------------------------------------


def identity(function: Any) -> Any:
    """The compiler that leaves a function as it is."""
    return function


@functools.lru_cache(maxsize=1)
def numba_compilers() -> tuple[Any, Any]:
    """numba.njit without the GIL, 1 / 0 = inf as in C: for functions called from compiled code, and from Python."""
    numba = checks.extra("numba", "numba", "backend='numba'")
    entry = functools.partial(numba.njit, nogil=True, error_model="numpy")
    return functools.partial(entry, no_cpython_wrapper=True, no_cfunc_wrapper=True), entry


@functools.lru_cache(maxsize=8)
def generator_random(jit: Callable[..., Any]) -> Random:
    """Random numbers from a numpy Generator."""

    @jit
    def normal(rng):  # type: ignore[no-untyped-def]
        return rng.standard_normal()

    @jit
    def uniform(rng):  # type: ignore[no-untyped-def]
        return rng.random()

    return Random(normal, uniform)


def with_code(jit: Callable[..., Any], function: Any) -> Evaluate:
    """A compiled density (x, grad, data) -> logp in the form that the kernels call."""

    @jit
    def logp_grad(x, grad, data):  # type: ignore[no-untyped-def]
        return 0, function(x, grad, data)

    return Evaluate(logp_grad, logp_grad)


def _interpreted(handle: Any) -> Evaluate:
    functions = handle.functions
    available = (1 if functions["hessian"] else 0) + (2 if functions["third_product"] else 0)
    return Evaluate(
        lambda x, grad, data: handle.call_logp_grad(x, grad),
        lambda x, scratch, data: handle.call_value(x, scratch),
        lambda x, out, data: handle.call_hessian(x, out),
        lambda x, m, product, data: handle.call_third_product(x, m, product),
        lambda data: available,
        block=lambda x, number, grad, data: handle.call_block(x, number, grad),
        n_blocks=lambda data: handle.n_blocks,
    )


@functools.lru_cache(maxsize=64)
def _numba_chain(kernel: type[Kernel], function: Any) -> Chain:
    """The compiled chain of a kernel class and a density's `numba_function` (None: called by its pointers)."""
    jit, entry = numba_compilers()
    density = pointer_calls() if function is None else with_code(jit, function)
    return make_chain(jit, entry, kernel, density, generator_random(jit))


class ReadableChain:
    """One chain of one kernel, run by its readable source; takes the place of the C `Chain`.

    Parameters
    ----------
    kernel : Kernel
    options : structured array (1,)
        The kernel's OPTIONS record.
    scale : array
        The metric's S, which ``options["scale"]`` points to: dim numbers, or dim * dim where it is or becomes dense.
    density : Density
    handle : CDensity
        `density` bound for this chain.
    bit_generator : numpy.random.BitGenerator
    buffers : list of array
        The state's buffers in the order in which the kernel declares them.
    adaptation : structured array (1,) or None
        The ADAPTATION record of the warm-up rule.
    memory : array or None
        What the warm-up remembers; allocated here when None.
    compiler : "python" or "numba"

    Attributes
    ----------
    memory : array or None
    error : BaseException or None
        The exception behind a fatal status, where the density raised one through the readable source.
    """

    def __init__(
        self, kernel: Kernel, options: NDArray[Any], scale: NDArray[np.float64], density: Density, handle: Any,
        bit_generator: np.random.BitGenerator, buffers: list[NDArray[Any]], adaptation: NDArray[Any] | None = None,
        memory: NDArray[np.float64] | None = None, compiler: str = "python",
    ) -> None:  # fmt: skip
        if compiler not in COMPILERS:
            raise InputError(f"compiler: expected one of {', '.join(map(repr, COMPILERS))}, got {compiler!r}")
        if kernel.make_step is None:
            raise KernelError(f"{type(kernel).__name__} has no readable source: use backend='c'")
        kernel.check_backend(compiler)
        self._kernel, self._density, self._handle, self._compiler = kernel, density, handle, compiler
        self._options, self._scale, self._rule = options, scale, adaptation
        self._state, self._rng = tuple(buffers), np.random.Generator(bit_generator)
        if adaptation is not None:
            size = memory_size(int(adaptation[0]["metric_rule"]), density.dim)
            memory = np.zeros(size) if memory is None else memory
            if memory.shape != (size,):
                raise InputError(f"memory: expected shape ({size},), got {memory.shape}")
        self.memory = memory
        self.error: BaseException | None = None

    def init_state(self, grad: NDArray[np.float64]) -> int:
        """Fill logp and grad from x; `grad` is the state's buffer or scratch. An mp_status."""
        x, logp = self._state[:2]
        code, logp[0] = self._handle.call_logp_grad(x, grad)
        if code < 0:
            return DENSITY_FATAL
        return OK if code == 0 and np.isfinite(logp[0]) and np.all(np.isfinite(grad)) else BAD_START

    def start_adaptation(self) -> int:
        """Metric and step size from the initial point. An mp_status."""
        assert self._rule is not None
        return self._run(
            lambda chain, data: chain.start(
                self._record(self._rule), self._record(self._options), self._scale, data, self._rng, self._state,
                self.memory, np.empty(work_size(self._density.dim)),
            )
        )  # fmt: skip

    def run_block(
        self, start: int, stop: int, draws: NDArray[Any] | None, stats: NDArray[Any], control: NDArray[np.int32],
        progress: NDArray[np.int64], thin: int = 1,
    ) -> int:  # fmt: skip
        """Draws start .. stop - 1 into this chain's rows `draws` (n, dim) or None, and `stats` (n,). An mp_status."""
        dim, warm = self._density.dim, self._rule is not None
        rule = self._rule if warm else np.zeros(1, dtype=ADAPTATION)
        memory = self.memory if warm else np.empty(0)
        kept = np.empty((0, 0)) if draws is None else draws
        records = stats if self._compiler == "numba" else stats.view(np.recarray)
        return self._run(
            lambda chain, data: (chain.warm if warm else chain.sample)(
                self._record(self._options), self._scale, self._kernel.table(), data, self._rng, self._state,
                np.empty((self._kernel.work_rows(dim), dim)), self._record(rule), memory,
                np.empty(work_size(dim) if warm else 0), thin, kept, records, 0, start, stop, control, progress,
            )
        )  # fmt: skip

    def _record(self, array: Any) -> Any:
        """The element of a structured array (1,), by reference, its fields as attributes."""
        return array.view(np.recarray)[0]

    def _run(self, call: Callable[[Chain, Any], Any]) -> int:
        if self._compiler == "python":
            density = _interpreted(self._handle)
            chain = make_chain(identity, identity, type(self._kernel), density, generator_random(identity))
            with np.errstate(all="ignore"):
                return int(call(chain, None))
        from numba.core.errors import NumbaError

        function = getattr(self._density, "numba_function", None)
        data = pointer_data(self._handle) if function is None else self._density.data  # type: ignore[attr-defined]
        try:
            return int(call(_numba_chain(type(self._kernel), function), data))
        except NumbaError:
            raise
        except Exception as error:  # of the density: nothing else in a kernel raises
            self.error = error
            return DENSITY_FATAL
