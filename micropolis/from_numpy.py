"""Densities from plain NumPy code: traced once into an array program, differentiated, and run in C."""

from __future__ import annotations

import copy
import inspect
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks
from ._density import CDensity, library
from .density import Density
from .errors import DensityError, InputTypeError, SamplingWarning, outside
from .parameters import ParameterSpace
from .tracing.arrays import NeedsArrays, Traced, Untraceable
from .tracing.derivatives import gradient, tangent
from .tracing.explain import Explanation, explanation
from .tracing.graph import Graph, Node, described, reachable, restored
from .tracing.loops import rerolled
from .tracing.program import CALL, LANES, Program

Array = NDArray[np.float64]

# Elements that a program computes up to which eight points at once beat one after another (measured).
SHORT = 4096
# The calls of a density in the order of the C record.
PROGRAMS = (
    "value", "logp_grad", "hvp", "third", "value_lanes", "logp_grad_lanes", "hvp_lanes", "third_lanes",
)  # fmt: skip
# Scalar operations of a program above which a density says what made it long.
WARN_SCALARS = 100_000
# Random points at which the traced value is compared with the function's own, and the largest relative difference.
CHECKS, CHECK_TOLERANCE = 2, 1e-9
# Scales of the points at which traced and plain values must agree in being numbers.
FAR_OUT = (3.0, 30.0)


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

    def log_density(x: Any) -> Any:
        if space is None:
            return f(x)
        values, log_jacobian = space.constrain(x)
        return f(**values) + log_jacobian

    points, plain = _plain_values(f, log_density, size)
    density = TracedDensity(_trace(f, log_density, size), size, space)
    for point, expected in zip(points, plain, strict=True):
        _compare(density, point, expected)
    if np.isfinite(plain[0]):
        _compare_slope(density, log_density, points[0])
    _compare_far_out(density, log_density, size)
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
    """A density traced from NumPy code; see `Density.from_numpy`."""

    def __init__(self, value: Node, dim: int, space: ParameterSpace | None) -> None:
        super().__init__(dim, space.names if space is not None else None)
        self.parameters = space
        self._outputs: dict[str, list[Node]] = {"value": [value]}
        self._programs: dict[str, Program] = {}
        self._input = value.graph.input("x", dim)
        self._outputs["logp_grad"] = [value, *gradient(value, [self._input])]
        self._readable: Any = None
        self._compiled: Any = None  # value and gradient under Numba
        self._twin: TracedDensity | None = None  # this density with them
        self._build("value", "logp_grad")
        self._lines = dict(value.graph.lines)
        if (scalars := self._programs["logp_grad"].scalars) > WARN_SCALARS:
            (file, line), count = max(self._lines.items(), key=lambda item: item[1])
            warnings.warn(
                f"the log density became {scalars:,} scalar operations, {count:,} of its own from {file}:{line}: it "
                "will be slow; write that loop as array operations (see density.explain())",
                SamplingWarning,
                stacklevel=outside(),
            )

    def _build(self, *names: str) -> None:
        inputs = {"hvp": ("x", "v"), "third": ("x", "u", "v")}
        for name in names:
            kind = name.removesuffix("_lanes")
            sizes = dict.fromkeys(inputs.get(kind, ("x",)), self.dim)
            self._programs[name] = Program(self._nodes(kind), sizes, LANES if "_lanes" in name else 1)
        self._handles = {}

    def _nodes(self, kind: str) -> list[Node]:
        """The outputs of a program: Hessian products move the gradient along v, third derivatives move them on."""
        if kind not in self._outputs:
            below = self._nodes("logp_grad" if kind == "hvp" else "hvp")[-1]
            direction = below.graph.input("v" if kind == "hvp" else "u", self.dim)
            self._outputs[kind] = tangent([below], {self._input: direction})
        return self._outputs[kind]

    @property
    def _is_short(self) -> bool:
        """Whether eight points at once are faster than one after another: vectors of one point are not full."""
        return self._programs["logp_grad"].counts[1] <= SHORT

    def prepare(self, *names: str) -> None:
        """See `Density.prepare`; "batch" as well."""
        wanted: list[str] = []
        for name in names:
            if name == "batch":
                wanted += ["value_lanes", "logp_grad_lanes"] if self._is_short else []
            else:
                kind = "third" if name == "third_product" else "hvp"
                wanted += [kind, *([f"{kind}_lanes"] if name != "hvp" and self._is_short else [])]
        if missing := [name for name in wanted if name not in self._programs]:
            self._build(*missing)

    def __call__(self, x: ArrayLike) -> Any:
        """See `Density.__call__`; many points at once, eight in the lanes of a vector where the program is short."""
        rows, shape = self._rows(x)
        if len(rows) < LANES:
            return super().__call__(x)
        self.prepare("batch")
        return self._c.batch(rows, False)[0].reshape(shape)

    def value_and_grad(self, x: ArrayLike) -> tuple[Any, Array]:
        """See `Density.value_and_grad`; many points at once."""
        rows, shape = self._rows(x)
        if len(rows) < LANES:
            return super().value_and_grad(x)
        self.prepare("batch")
        logp, grad = self._c.batch(rows, True)
        assert grad is not None
        return logp.reshape(shape), grad.reshape(*shape, self.dim)

    def hessian(self, x: ArrayLike) -> Array:
        self.prepare("hessian")
        return super().hessian(x)

    def hvp(self, x: ArrayLike, v: ArrayLike) -> Array:
        self.prepare("hvp")
        return super().hvp(x, v)

    def third_derivative_product(self, x: ArrayLike, m: ArrayLike) -> Array:
        self.prepare("third_product")
        return super().third_derivative_product(x, m)

    @property
    def readable(self) -> Any:  # type: ignore[override]
        """``(logp_grad, data)``: emitted source, see `micropolis.jit_source`."""
        if self._readable is None:
            from .jit_source import readable

            self._readable = readable(*self._outputs["logp_grad"])
        return self._readable

    def explain(self) -> Explanation:
        """See `Density.explain`."""
        return explanation(self._programs["logp_grad"], self._lines)

    def compile(self) -> Density:
        """See `Density.compile`: a copy whose value with gradient is compiled, all else as it was."""
        if self._compiled is not None:
            return self
        if self._twin is None:
            from .jit_source import Compiled

            compiled = Compiled(*self._outputs["logp_grad"])
            self._twin = copy.copy(self)
            self._twin._compiled = compiled
            self._twin._programs, self._twin._handles = dict(self._programs), {}
        return self._twin

    def _bind(self) -> CDensity:
        template = CDensity(self.dim, template=library()["array_program"]).functions
        # laid out as array_density in csrc/densities/array_program.c; behind it what compiled source reads
        words, n = [] if self._compiled is None else self._compiled.words, len(PROGRAMS) * CALL.itemsize // 8
        memory = np.zeros(n + len(words), dtype=np.int64)
        memory[n:] = words
        record, alive = memory[:n].view(CALL), [memory, self._compiled]
        for i, name in enumerate(PROGRAMS):
            if name in self._programs:
                record[i : i + 1], held = self._programs[name].bind()
                alive.append(held)
        functions = ["value", "logp_grad", "batch"]
        if "hvp" in self._programs:
            functions += ["hvp"]
        if "hvp_lanes" in self._programs or ("hvp" in self._programs and not self._is_short):
            functions += ["hessian"]
        if "third" in self._programs:
            functions += ["third_product"]
        addresses = {name: template[name] for name in functions}
        if self._compiled is not None:
            addresses["logp_grad"] = self._compiled.entry(n).address
        return CDensity(
            self.dim, user_data=record.ctypes.data, keep_alive=(record, alive), **addresses,  # type: ignore[arg-type]
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        left = ("_outputs", "_programs", "_input", "_readable", "_compiled", "_twin")
        state = {key: value for key, value in super().__getstate__().items() if key not in left}
        saved, built = described(self._outputs["logp_grad"]), list(self._programs)
        return state | {"_saved": saved, "_built": built, "_is_compiled": self._compiled is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved, built, is_compiled = state.pop("_saved"), state.pop("_built"), state.pop("_is_compiled")
        self.__dict__.update(state)
        self._readable = self._compiled = self._twin = None
        value, gradient_of = restored(saved)
        self._outputs, self._programs = {"value": [value], "logp_grad": [value, gradient_of]}, {}
        self._input = value.graph.input("x", self.dim)
        self._build(*built)
        if is_compiled:
            from .jit_source import Compiled

            self._compiled = Compiled(value, gradient_of)


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


def _trace(f: Callable[..., Any], log_density: Callable[[Any], Any], dim: int) -> Node:
    """The log density as a node; code that NumPy's own functions stop is run again with ours."""
    from .tracing.makers import fillable, namespaces_of, stand_ins

    try:
        return _node(f, log_density, dim)
    except Exception as error:
        first = last = error
    namespaces: list[dict[str, Any]] = []
    while found := [names for names in namespaces_of(last.__traceback__) if not any(n is names for n in namespaces)]:
        namespaces += found  # a call into one more module may show the next
        graph = Graph(raw=True)
        try:
            with stand_ins(graph, namespaces):
                return _node(f, fillable(log_density), dim, graph)
        except Exception as error:
            last = error
    # what stopped the first run for a reason that no stand-in mends is what the user must know
    mended = isinstance(first, NeedsArrays) or not isinstance(first, Untraceable) or _in_scipy(first)
    cause = last if mended else first
    raise DensityError(
        f"{_name(f)} cannot be traced{_where(cause)}: {_reason(cause)}. Density.from_callable takes any Python "
        "function (slower)"
    ) from cause


def _node(f: Callable[..., Any], log_density: Callable[[Any], Any], dim: int, graph: Graph | None = None) -> Node:
    from .tracing import composed, functions, linalg  # noqa: F401  fill the tables of Traced

    graph = Graph(raw=True) if graph is None else graph
    with np.errstate(all="ignore"):  # constants are computed by NumPy
        result = log_density(Traced.argument(graph.input("x", dim)))
    if isinstance(result, np.ndarray) and result.dtype == object and result.size == 1:
        result = result.reshape(-1)[0]
    if not isinstance(result, Traced):
        return graph.constant(_real_scalar(f, result))
    if result.size != 1:
        raise Untraceable(f"the traced value has shape {result.shape}")
    value = rerolled(result.flat)
    value.graph.lines = graph.lines
    return value


def _compare(density: Density, point: Array, expected: float) -> None:
    """The traced value against the function's own."""
    traced = density(point)
    if traced == expected or (np.isnan(traced) and np.isnan(expected)):
        return
    if not abs(traced - expected) <= CHECK_TOLERANCE * max(1.0, abs(expected)):
        _disagree(point, expected, traced)


def _disagree(point: Array, expected: float, traced: float) -> None:
    raise DensityError(
        f"the traced log density is {traced!r} where the function gives {expected!r}, at x = {point!r}: the "
        "function is random, changes its arguments, or does what cannot be traced. Density.from_callable takes it as "
        "it is (slower)"
    )


def _value(log_density: Callable[[Any], Any], point: Array) -> float | None:
    """The function's own value, None where it has no Cholesky factor."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(np.asarray(log_density(point.copy())).reshape(()))
    except np.linalg.LinAlgError:
        return None


def _compare_slope(density: Density, log_density: Callable[[Any], Any], point: Array) -> None:
    """The gradient along a random direction against central differences of the function itself.

    Two steps tell how good the differences are: where they disagree, as at kinks, nothing can be said.
    """
    direction = np.random.default_rng(21).choice([-1.0, 1.0], size=point.size) * np.maximum(1.0, np.abs(point))
    slopes, largest = [], 1.0  # terms that cancel are of order 1 at least
    for step in (1e-5, 5e-6):
        ahead, behind = (_value(log_density, point + sign * step * direction) for sign in (1.0, -1.0))
        if ahead is None or behind is None:
            return
        slopes.append((ahead - behind) / (2 * step))
        largest = max(largest, abs(ahead), abs(behind))
    gradient_there = density.grad(point)
    slope, size = float(gradient_there @ direction), float(np.abs(gradient_there) @ np.abs(direction))
    rounding = 1e3 * np.finfo(np.float64).eps * largest / 5e-6
    bound = 10 * abs(slopes[0] - slopes[1]) + 1e-4 * size + rounding
    if np.isfinite(slopes).all() and not abs(slope - slopes[1]) <= bound:
        raise DensityError(
            f"the traced log density has the slope {slope!r} along {direction!r} where differences of the function "
            f"give {slopes[1]!r}, at x = {point!r}: please report it. Density.from_callable takes the function as it "
            "is (slower)"
        )


def _compare_far_out(density: TracedDensity, log_density: Callable[[Any], Any], dim: int) -> None:
    """Where the function is NaN the traced value is, at points that are likely to lie outside of a support."""
    rng = np.random.default_rng(22)
    if any(node.op in ("cholesky", "lu", "eigh") for node in reachable(density._outputs["value"])):
        return  # a matrix that is definite for one rounding is not for another
    for scale in FAR_OUT:
        point = scale * rng.normal(size=dim)
        expected, traced = _value(log_density, point), density(point)
        if expected is None:
            continue
        if (np.isnan(expected) and np.isfinite(traced)) or (np.isfinite(expected) and np.isnan(traced)):
            _disagree(point, expected, traced)


def _name(f: Callable[..., Any]) -> str:
    return f"the log density {getattr(f, '__name__', type(f).__name__)!r}"


def _frames(error: BaseException) -> tuple[list[traceback.FrameSummary], list[traceback.FrameSummary]]:
    """Frames of a traceback that are the user's, and those of the libraries called from the last of them."""
    ours, site = Path(__file__).parent, Path(np.__file__).parent.parent
    libraries = [ours, *(site / name for name in ("numpy", "scipy"))]
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
