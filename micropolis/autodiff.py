"""Densities from plain NumPy code: trace it once, let CasADi differentiate the expression, call the result from C."""

from __future__ import annotations

import ctypes
import inspect
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks
from ._density import CDensity, library
from .density import Density
from .errors import DensityError, InputTypeError
from .parameters import ParameterSpace
from .tracing import NeedsArrays, NeedsScalars, Traced, Untraceable

Array = NDArray[np.float64]

# Array graphs (MX) are expanded into scalar graphs (SX) up to this many elements.
SCALAR_LIMIT = 60_000
# Seconds, measured: a scalar instruction; an array instruction; an element of one. They decide which graph is kept. A
# clock would decide better, but differently from run to run, and with it the last bits of every chain.
SCALAR_COST, ARRAY_COST, ELEMENT_COST = 2.6e-9, 12e-9, 0.6e-9
# Random points at which the traced value is compared with the function's own, and the largest relative difference.
CHECKS, CHECK_TOLERANCE = 2, 1e-9
# Built on first use.
DERIVATIVES = ("hessian", "hvp", "third_product")


def from_numpy(f: Callable[..., Any], dim: int | Mapping[str, Any] | ParameterSpace) -> Density:
    """See `Density.from_numpy`."""
    if not callable(f):
        raise InputTypeError(f"f: expected a callable, got {type(f).__name__}")
    space = None
    if isinstance(dim, ParameterSpace):
        space = dim
    elif isinstance(dim, Mapping):
        space = ParameterSpace(dim)
    size = space.dim if space is not None else checks.integer("dim", dim, least=1)
    _check_arguments(f, space)
    _casadi()

    def log_density(x: Any) -> Any:
        if space is None:
            return f(x)
        values, log_jacobian = space.constrain(x)
        return f(**values) + log_jacobian

    points, plain = _plain_values(f, log_density, size)
    value, logp_grad = _build(f, log_density, size)
    density = TracedDensity(value, logp_grad, size, space)
    for point, expected in zip(points, plain, strict=True):
        _compare(density, point, expected)
    return density


def _check_arguments(f: Callable[..., Any], space: ParameterSpace | None) -> None:
    """The function must take the parameters by their names, or one vector."""
    names = () if space is None else tuple(space.parameters)
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # a builtin that does not tell
        return
    try:
        signature.bind(*(() if names else (None,)), **dict.fromkeys(names))
    except TypeError as error:
        given = f"the parameters are named {', '.join(names)}" if names else "it is called with one vector x"
        raise InputTypeError(f"f: {_name(f)} takes {signature}, {given}: {error}") from None


class TracedDensity(Density):
    """A density traced from NumPy code; see `Density.from_numpy`.

    Attributes
    ----------
    graph : str
        ``"scalar"`` (CasADi SX) or ``"array"`` (MX): the kind of expression graph that was kept.
    """

    def __init__(self, value: Any, logp_grad: Any, dim: int, space: ParameterSpace | None) -> None:
        super().__init__(dim, space.names if space is not None else None)
        self.parameters = space
        self.graph = "scalar" if value.class_name() == "SXFunction" else "array"
        self._functions: dict[str, Any] = {"value": value, "logp_grad": logp_grad}

    def prepare(self, *names: str) -> None:
        """Build derivatives ("hessian", "hvp", "third_product") so that C densities bound from now on have them."""
        ca = _casadi()
        for name in names:
            if name in self._functions:
                continue
            kind = ca.SX if self.graph == "scalar" else ca.MX
            x = kind.sym("x", self.dim)
            gradient = self._functions["logp_grad"].call([x], True)[1]  # inlined
            inputs = [x]
            if name == "hessian":
                output = ca.jacobian(gradient, x)
            elif name == "hvp":
                v = kind.sym("v", self.dim)
                inputs, output = [x, v], ca.jtimes(gradient, x, v, True)
            else:
                m = kind.sym("m", self.dim, self.dim)
                contracted = ca.sum1(ca.vec(m * ca.jacobian(gradient, x)))
                inputs, output = [x, m], ca.gradient(contracted, x)
            self._functions[name] = ca.Function(name, inputs, [ca.densify(output)])
            self._handles = {}

    def hessian(self, x: ArrayLike) -> Array:
        self.prepare("hessian")
        return super().hessian(x)

    def hvp(self, x: ArrayLike, v: ArrayLike) -> Array:
        self.prepare("hvp")
        return super().hvp(x, v)

    def third_derivative_product(self, x: ArrayLike, m: ArrayLike) -> Array:
        self.prepare("third_product")
        return super().third_derivative_product(x, m)

    def _bind(self) -> CDensity:
        template = CDensity(self.dim, template=library()["casadi"]).functions
        evaluate, status = _entry_points()
        record, alive = [evaluate, status], []
        for name in ("value", "logp_grad", *DERIVATIVES):
            if name in self._functions:
                addresses, held = _buffer(self._functions[name])
                record += addresses
                alive.append(held)
            else:
                record += [0] * 5
        # laid out as casadi_density in csrc/densities/casadi.c
        data = np.array(record, dtype=np.uintp)
        return CDensity(
            self.dim,
            user_data=data.ctypes.data,
            keep_alive=(data, alive),
            **{name: template[name] for name in self._functions},  # type: ignore[arg-type]
        )

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_functions": {k: v.serialize() for k, v in self._functions.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        load = _casadi().Function.deserialize
        self.__dict__.update(state, _functions={name: load(text) for name, text in state["_functions"].items()})


# -- CasADi ----------------------------------------------------------------------------------------------------------


def _casadi() -> Any:
    return checks.extra("casadi", "autodiff", "Density.from_numpy")


@cache
def _entry_points() -> tuple[int, int]:
    """Addresses of casadi::_function_buffer_eval(void*) and casadi::FunctionBuffer::ret()."""
    loaded = ctypes.CDLL(_casadi()._casadi.__file__)
    symbols = ("_ZN6casadi21_function_buffer_evalEPv", "_ZN6casadi14FunctionBuffer3retEv")
    try:
        evaluate, status = (ctypes.cast(getattr(loaded, s), ctypes.c_void_p).value or 0 for s in symbols)
    except AttributeError as error:
        raise DensityError(f"this build of CasADi does not export what Density.from_numpy calls: {error}") from None
    return evaluate, status


def _address(capsule: Any) -> int:
    """The pointer in a PyCapsule."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(get(capsule, None))


def _buffer(function: Any) -> tuple[list[int], tuple[Any, ...]]:
    """A fresh function buffer as a casadi_call record of addresses, and the objects behind it."""
    buffer, _ = function.buffer()
    inputs = [np.zeros(function.nnz_in(i)) for i in range(function.n_in())]
    outputs = [np.zeros(function.nnz_out(i)) for i in range(function.n_out())]
    for i, array in enumerate(inputs):
        buffer.set_arg(i, array.data)
    for i, array in enumerate(outputs):
        buffer.set_res(i, array.data)
    slots = [a[i].ctypes.data if i < len(a) else 0 for a in (inputs, outputs) for i in range(2)]
    return [_address(buffer._self()), *slots], (function, buffer, inputs, outputs)


# -- building --------------------------------------------------------------------------------------------------------


def _plain_values(
    f: Callable[..., Any], log_density: Callable[[Any], Any], dim: int
) -> tuple[list[Array], list[float]]:
    """Random points and the function's own values there; an error of the function itself ends here."""
    rng = np.random.default_rng(20)
    points: list[Array] = []
    values: list[float] = []
    for attempt in range(20):
        point = rng.normal(scale=0.7 * 0.8**attempt, size=dim)
        try:
            with np.errstate(all="ignore"):
                result = log_density(point.copy())
        except Exception as error:
            if isinstance(error, np.linalg.LinAlgError) and (points or attempt < 19):
                continue  # outside the support: no Cholesky factor, where the trace has NaN
            raise DensityError(f"the log density failed on NumPy numbers{_where(error)}: {error!r}") from error
        value = _real_scalar(f, result)
        if np.isfinite(value) or attempt == 19:
            points.append(point)
            values.append(value)
        if len(points) == CHECKS:
            break
    return points, values


def _real_scalar(f: Callable[..., Any], result: Any) -> float:
    array = np.asarray(result)
    if array.dtype.kind not in "fiub" or array.size != 1:
        got = "None" if result is None else f"shape {array.shape} dtype {array.dtype}"
        raise DensityError(f"{_name(f)} returned {got}, expected one real number: is a np.sum missing, or a return?")
    return float(array.reshape(()))


def _build(f: Callable[..., Any], log_density: Callable[[Any], Any], dim: int) -> tuple[Any, Any]:
    """CasADi functions x -> value and x -> (value, gradient)."""
    ca = _casadi()
    try:
        x = ca.MX.sym("x", dim)
        value = _trace(f, log_density, x)
    except NeedsScalars:
        x = ca.SX.sym("x", dim)
        return _functions(x, _trace(f, log_density, x))
    array = ca.Function("value", [x], [value])
    elements = _elements(array)

    def scalar() -> tuple[Any, Any]:
        s = ca.SX.sym("x", dim)
        return _functions(s, array(s))

    # scalar code in all but name: nothing to gain from arrays
    if elements <= SCALAR_LIMIT and elements < 4 * array.n_instructions():
        return scalar()
    arrays = _functions(x, value)
    cost = ARRAY_COST * arrays[1].n_instructions() + ELEMENT_COST * _elements(arrays[1])
    if elements > SCALAR_LIMIT or SCALAR_COST * elements >= cost:
        return arrays
    scalars = scalar()
    return scalars if SCALAR_COST * scalars[1].n_instructions() <= cost else arrays


def _functions(x: Any, value: Any) -> tuple[Any, Any]:
    ca = _casadi()
    value = ca.densify(value)
    gradient = ca.densify(ca.gradient(value, x))
    return ca.Function("value", [x], [value]), ca.Function("logp_grad", [x], [value, gradient])


def _elements(function: Any) -> int:
    """Scalar operations of an MX function, roughly: elements that its instructions write, products by their terms."""
    ca = _casadi()
    total = 0
    for k in range(function.n_instructions()):
        if function.instruction_id(k) in (ca.OP_INPUT, ca.OP_OUTPUT):
            continue
        node = function.instruction_MX(k)
        terms = node.dep(1).shape[1] if function.instruction_id(k) == ca.OP_MTIMES else 1
        total += node.numel() * terms
    return int(total)


def _trace(f: Callable[..., Any], log_density: Callable[[Any], Any], x: Any) -> Any:
    """The log density as an expression of x; code that NumPy's own functions stop is run again with ours."""
    from .tracing_makers import namespaces_of, stand_ins

    try:
        return _expression(f, log_density, x)
    except NeedsScalars:
        raise
    except Exception as error:
        first = last = error
    namespaces: list[dict[str, Any]] = []
    while found := [names for names in namespaces_of(last.__traceback__) if not any(n is names for n in namespaces)]:
        namespaces += found  # a call into one more module may show the next
        try:
            with stand_ins(type(x), namespaces):
                return _expression(f, log_density, x)
        except NeedsScalars:
            raise
        except Exception as error:
            last = error
    # what stopped the first run for a reason that no stand-in mends is what the user must know
    mended = isinstance(first, NeedsArrays) or not isinstance(first, Untraceable) or _in_scipy(first)
    cause = last if mended else first
    raise DensityError(
        f"{_name(f)} cannot be traced{_where(cause)}: {_reason(cause)}. Density.from_callable takes any Python "
        "function (slower)"
    ) from cause


def _expression(f: Callable[..., Any], log_density: Callable[[Any], Any], x: Any) -> Any:
    from . import tracing_composed, tracing_functions, tracing_linalg  # noqa: F401  fill the tables of Traced

    with np.errstate(all="ignore"):  # CasADi's own arithmetic inside NumPy's loops over objects
        result = log_density(Traced(x, (x.shape[0],)))
    if isinstance(result, np.ndarray) and result.dtype == object and result.size == 1:
        result = result.reshape(-1)[0]
    if not isinstance(result, Traced):
        return type(x)(_real_scalar(f, result))
    if result.size != 1:
        raise Untraceable(f"the traced value has shape {result.shape}")
    return result.flat


def _compare(density: Density, point: Array, expected: float) -> None:
    """The traced value against the function's own."""
    traced = density(point)
    if traced == expected or (np.isnan(traced) and np.isnan(expected)):
        return
    if not abs(traced - expected) <= CHECK_TOLERANCE * max(1.0, abs(expected)):
        raise DensityError(
            f"the traced log density is {traced!r} where the function gives {expected!r}, at x = {point!r}: the "
            "function is random, changes its arguments, writes into a view of an array (y = x[0]; y += 1), or does "
            "what cannot be traced. Density.from_callable takes it as it is (slower)"
        )


def _name(f: Callable[..., Any]) -> str:
    return f"the log density {getattr(f, '__name__', type(f).__name__)!r}"


def _frames(error: BaseException) -> tuple[list[traceback.FrameSummary], list[traceback.FrameSummary]]:
    """Frames of a traceback that are the user's, and those of the libraries called from the last of them."""
    ours, site = Path(__file__).parent, Path(np.__file__).parent.parent
    libraries = [ours, *(site / name for name in ("numpy", "scipy", "casadi"))]
    users: list[traceback.FrameSummary] = []
    below: list[traceback.FrameSummary] = []
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if any(path.is_relative_to(folder) for folder in libraries) and not path.is_relative_to(ours / "data"):
            below.append(frame)
        else:
            users.append(frame)
            below.clear()
    return users, below


def _where(error: BaseException) -> str:
    """' at file:line `code`' of the user's line, if there is one."""
    users, _ = _frames(error)
    if not users:
        return ""
    return f" at {users[-1].filename}:{users[-1].lineno}" + (f" `{users[-1].line}`" if users[-1].line else "")


def _in_scipy(error: BaseException) -> list[str]:
    """The functions of SciPy that a traceback ends in, from the one that was called."""
    folder = Path(np.__file__).parent.parent / "scipy"
    return [frame.name for frame in _frames(error)[1] if Path(frame.filename).is_relative_to(folder)]


def _reason(error: BaseException) -> str:
    """Why the trace ended."""
    if scipy := _in_scipy(error):
        return f"SciPy's {scipy[0]} takes numbers alone, write it with np.* functions"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Untraceable):  # NumPy wraps what it meets in an assignment
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return str(cause)
    if isinstance(error, TypeError) and ("for the input types" in str(error) or "dtype('O')" in str(error)):
        return (
            "make a list of values that depend on the parameters an array, np.array([...]), before a function takes it"
        )
    return f"{type(error).__name__}: {error}"
