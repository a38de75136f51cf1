"""The ufuncs of NumPy and scipy.special that Traced knows, as nodes, with NumPy's rules on booleans and integers.

An entry of UFUNCS is called as ``implementation(graph, dtypes of the operands, *nodes)``, after NumPy's own resolution
of dtypes and broadcasting. Importing this fills the table.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arrays import BOOL, FUNCTIONS, UFUNCS, Untraceable, apply, graph_of, lift
from .elementwise import ELEMENTWISE
from .graph import Graph, Node

Expression = Callable[..., Node]


def f(name: str) -> Expression:
    """The elementwise operation `name` of nodes."""

    def of(*operands: Any) -> Node:
        graph = next(x.graph for x in operands if isinstance(x, Node))
        return graph.apply(name, *operands)

    return of


absolute, ceil, copysign, exp, expm1, floor, gammaln, isnan, log, log1p, sin, sqrt, square = map(f, [
    "absolute", "ceil", "copysign", "exp", "expm1", "floor", "gammaln", "isnan", "log", "log1p", "sin",
    "sqrt", "square",
])  # fmt: skip
equal, greater, greater_equal, less, less_equal, logical_and, logical_or, power, remainder, where = map(f, [
    "equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or", "power", "remainder",
    "where",
])  # fmt: skip


def _primitive(name: str) -> Callable[..., Node]:
    def implementation(graph: Graph, dtypes: Sequence[Any], *nodes: Node) -> Node:
        return graph.apply(name, *nodes)

    return implementation


def _expression(of: Expression) -> Callable[..., Node]:
    def implementation(graph: Graph, dtypes: Sequence[Any], *nodes: Node) -> Node:
        return of(*nodes)

    return implementation


# -- arithmetic on booleans and integers -----------------------------------------------------------------------------


def _integral(dtypes: Sequence[Any]) -> bool:
    return all(dtype.kind in "iub" for dtype in dtypes)


def _of_booleans(logical: str, other: str | None) -> Callable[..., Node]:
    """`logical` of two arrays of booleans, `other` of any others."""

    def implementation(graph: Graph, dtypes: Sequence[Any], x: Node, y: Node) -> Node:
        if dtypes[0] == BOOL and dtypes[1] == BOOL:
            return graph.apply(logical, x, y)
        if other is None:
            raise Untraceable("operations on the bits of integers that depend on the parameters cannot be traced")
        return graph.apply(other, x, y)

    return implementation


def _invert(graph: Graph, dtypes: Sequence[Any], x: Node) -> Node:
    if dtypes[0] != BOOL:
        raise Untraceable("operations on the bits of integers that depend on the parameters cannot be traced")
    return graph.apply("logical_not", x)


def _quotient(name: str) -> Callable[..., Node]:
    """Integers divided by 0 are 0."""

    def implementation(graph: Graph, dtypes: Sequence[Any], x: Node, y: Node) -> Node:
        value = graph.apply(name, x, y)
        return graph.where(graph.apply("equal", y, 0.0), 0.0, value) if _integral(dtypes) else value

    return implementation


def _power(graph: Graph, dtypes: Sequence[Any], x: Node, y: Node) -> Node:
    if _integral(dtypes) and y.is_constant and np.any(y.data < 0):
        raise ValueError("Integers to negative integer powers are not allowed.")
    return graph.apply("power", x, y)


def _reciprocal(graph: Graph, dtypes: Sequence[Any], x: Node) -> Node:
    if _integral(dtypes):
        raise Untraceable("np.reciprocal of integers that depend on the parameters cannot be traced")
    return graph.apply("reciprocal", x)


def _round(graph: Graph, dtypes: Sequence[Any], x: Node) -> Node:
    raise Untraceable("rounding a value that depends on the parameters has no derivative")


# -- compositions ----------------------------------------------------------------------------------------------------


def polynomial(x: Node, *coefficients: float) -> Node:
    """c0 + c1 x + c2 x^2 + ..."""
    total: Any = coefficients[-1]
    for c in coefficients[-2::-1]:
        total = total * x + c
    return total


def trunc(x: Node) -> Node:
    return where(less(x, 0.0), ceil(x), floor(x))


def _heaviside(x: Node, middle: Node) -> Node:
    step = where(equal(x, 0.0), middle, greater(x, 0.0))
    return where(isnan(x), x, step)


def _logaddexp2(x: Node, y: Node) -> Node:
    return x.graph.apply("logaddexp", x * math.log(2), y * math.log(2)) * (1 / math.log(2))


def exprel(x: Node) -> Node:
    """(exp(x) - 1) / x, by its series near 0."""
    series = polynomial(x, *(1 / math.factorial(k + 1) for k in range(6)))
    return where(less(absolute(x), 1e-3), series, expm1(x) / x)


def _logrel(x: Node) -> Node:
    """log(1 + x) / x, by its series near 0."""
    series = polynomial(x, *((-1) ** k / (k + 1) for k in range(7)))
    return where(less(absolute(x), 1e-3), series, log1p(x) / x)


def sinc(x: Node) -> Node:
    """sin(pi x) / (pi x), by its series near 0."""
    y = x * math.pi
    series = polynomial(square(y), *((-1) ** k / math.factorial(2 * k + 1) for k in range(6)))
    return where(less(absolute(y), 0.05), series, sin(y) / y)


def _cosm1(x: Node) -> Node:
    return -2.0 * square(sin(0.5 * x))


def _log_expit(x: Node) -> Node:
    return -x.graph.apply("softplus", -x)


def _entropy(x: Node) -> Node:
    return where(less(x, 0.0), -np.inf, -x.graph.apply("xlogy", x, x))


def _relative(correct: bool) -> Expression:
    """x log(x / y), for kl_div with - x + y; infinite outside of its domain."""

    def of(x: Node, y: Node) -> Node:
        g = x.graph
        value = x * log(x / y)
        value = value - x + y if correct else value
        inside = logical_and(greater(x, 0.0), greater(y, 0.0))
        edge = logical_and(equal(x, 0.0), greater_equal(y, 0.0))
        value = g.where(inside, value, g.where(edge, y if correct else 0.0, np.inf))
        return where(logical_or(isnan(x), isnan(y)), np.nan, value)

    return of


def _huber(delta: Node, r: Node) -> Node:
    size = absolute(r)
    value = where(less_equal(size, delta), 0.5 * square(r), delta * (size - 0.5 * delta))
    return where(less(delta, 0.0), np.inf, value)


def _pseudo_huber(delta: Node, r: Node) -> Node:
    """delta^2 (sqrt(1 + (r / delta)^2) - 1), written so that it does not cancel."""
    value = square(r) / (sqrt(square(r / delta) + 1.0) + 1.0)
    return where(less(delta, 0.0), np.inf, where(equal(delta, 0.0), 0.0, value))


def _box_cox(log_x: Node, power_of: Node) -> Node:
    value = log_x * exprel(power_of * log_x)
    at_zero = logical_and(equal(log_x, -np.inf), greater(power_of, 0.0))
    return where(at_zero, -1.0 / power_of, value)


def _inverse_box_cox(y: Node, power_of: Node) -> Node:
    """log of the inverse: log(1 + power y) / power."""
    return y * _logrel(power_of * y)


# -- the gamma function's kin ----------------------------------------------------------------------------------------


def _gamma_sign(x: Node) -> Node:
    """The sign of Gamma(x), NaN at its poles."""
    negative, below = less(x, 0.0), floor(x)
    sign = where(logical_and(negative, equal(remainder(below, 2.0), 1.0)), -1.0, 1.0)
    return where(logical_and(negative, equal(below, x)), np.nan, sign)


def _reciprocal_gamma(x: Node) -> Node:
    sign = _gamma_sign(x)
    return where(isnan(x), x, where(isnan(sign), 0.0, sign * exp(-gammaln(x))))


_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def _stirling(z: Node) -> Node:
    """log Gamma(z) - (z - 1/2) log z + z - log(2 pi) / 2 for z >= 10 (DLMF 5.11.1)."""
    return polynomial(square(1.0 / z), *_STIRLING) / z


def betaln(x: Node, y: Node) -> Node:
    """log |B(x, y)|; of a large argument the difference gammaln(y) - gammaln(x + y) is taken without cancellation."""
    first = less_equal(x, y)
    small, large = where(first, x, y), where(first, y, x)
    total = small + large
    of_small = gammaln(small)
    plain = of_small + gammaln(large) - gammaln(total)
    far = logical_and(greater_equal(large, 10.0), greater_equal(total, 10.0))
    z = where(far, large, 10.0)  # what is not taken stays in range
    sum_ = where(far, total, 10.0)
    shift = where(less(z, np.inf), (0.5 - z) * log1p(small / z), -small)
    difference = shift + small * (1.0 - log(sum_)) + _stirling(z) - _stirling(sum_)
    return where(far, of_small + difference, plain)


def _beta(x: Node, y: Node) -> Node:
    return _gamma_sign(x) * _gamma_sign(y) * _gamma_sign(x + y) * exp(betaln(x, y))


def _gamma(x: Node) -> Node:
    return _gamma_sign(x) * exp(gammaln(x))


def _grown(scaled: str) -> Expression:
    """A Bessel function from what it is times exp(-|x|)."""
    return lambda x: exp(absolute(x)) * x.graph.apply(scaled, x)


_COMPOSED: dict[str, Expression] = {
    "positive": lambda x: x,
    "conjugate": lambda x: x,
    "fabs": absolute,
    "exp2": lambda x: power(2.0, x),
    "exp10": lambda x: power(10.0, x),
    "log2": lambda x: log(x) * (1 / math.log(2)),
    "log10": lambda x: log(x) * (1 / math.log(10)),
    "deg2rad": lambda x: x * (math.pi / 180),
    "radians": lambda x: x * (math.pi / 180),
    "rad2deg": lambda x: x * (180 / math.pi),
    "degrees": lambda x: x * (180 / math.pi),
    "trunc": trunc,
    "heaviside": _heaviside,
    "float_power": power,
    "ldexp": lambda x, y: x * power(2.0, y),
    "logaddexp2": _logaddexp2,
    # scipy.special
    "log_expit": _log_expit,
    "logit": lambda x: log(x) - log1p(-x),
    "exprel": exprel,
    "cosm1": _cosm1,
    "entr": _entropy,
    "rel_entr": _relative(correct=False),
    "kl_div": _relative(correct=True),
    "huber": _huber,
    "pseudo_huber": _pseudo_huber,
    "boxcox": lambda x, p: _box_cox(log(x), p),
    "boxcox1p": lambda x, p: _box_cox(log1p(x), p),
    "inv_boxcox": lambda y, p: exp(_inverse_box_cox(y, p)),
    "inv_boxcox1p": lambda y, p: expm1(_inverse_box_cox(y, p)),
    "psi": lambda x: x.graph.apply("polygamma0", x),
    "loggamma": lambda x: where(less(x, 0.0), np.nan, gammaln(x)),
    "gammasgn": _gamma_sign,
    "gamma": _gamma,
    "rgamma": _reciprocal_gamma,
    "betaln": betaln,
    "beta": _beta,
    "i0": _grown("i0e"),
    "i1": _grown("i1e"),
}
# Operations of the program that are no ufuncs, or whose ufunc is registered below.
_OWN = {
    "where",
    "guard",
    "share",
    "softplus",
    "gammainc_slope",
    "gammainc_density",
    *(f"polygamma{k}" for k in range(5)),
}

UFUNCS.update({name: _primitive(name) for name in ELEMENTWISE if name not in _OWN})
UFUNCS.update({name: _expression(of) for name, of in _COMPOSED.items()})
UFUNCS.update(
    {
        "add": _of_booleans("logical_or", "add"),
        "multiply": _of_booleans("logical_and", "multiply"),
        "bitwise_and": _of_booleans("logical_and", None),
        "bitwise_or": _of_booleans("logical_or", None),
        "bitwise_xor": _of_booleans("logical_xor", None),
        "invert": _invert,
        "floor_divide": _quotient("floor_divide"),
        "remainder": _quotient("remainder"),
        "fmod": _quotient("fmod"),
        "power": _power,
        "reciprocal": _reciprocal,
        "rint": _round,
        "round": _round,
    }
)


def _two(first: np.ufunc, second: Callable[..., Any]) -> Callable[..., Any]:
    """A ufunc of two results."""

    def implementation(*values: Any) -> tuple[Any, Any]:
        return first(*values), second(*values)

    implementation.whole = True  # type: ignore[attr-defined]
    return implementation


UFUNCS["divmod"] = _two(np.floor_divide, np.remainder)
UFUNCS["modf"] = _two(lambda x: x - np.trunc(x), np.trunc)  # type: ignore[arg-type]


def _outer(ufunc: np.ufunc, a: Any, b: Any) -> Any:
    graph = graph_of(a, b)
    a, b = lift(a, graph), lift(b, graph)
    return apply(ufunc, (a.reshape(a.shape + (1,) * b.ndim), b))


for _name in UFUNCS:
    if isinstance(_ufunc := getattr(np, _name, None), np.ufunc) and _ufunc.nin == 2 and _ufunc.nout == 1:
        FUNCTIONS["outer", _name] = functools.partial(_outer, _ufunc)
