"""The elementwise operations of the array program: NumPy's value, partial derivatives, what may be simplified.

A simplification holds for every double, NaN and the infinities with it: 0 * f stays what it is, x * 1 becomes x. (Zeros
may lose their sign, and products of a few factors stand for small powers.) Partial derivatives are nodes, numbers, or
None where the derivative is zero almost everywhere; at kinks they are the mean of both sides, as central differences
are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DensityError
from .incomplete_gamma import of_arrays

if TYPE_CHECKING:
    from .graph import Graph, Node

Partial = Callable[..., Any]


@dataclass(frozen=True)
class Elementwise:
    """One operation.

    Attributes
    ----------
    numpy : callable
        The operation on arrays of doubles.
    partials : tuple of callable or None
        For each operand: ``partial(out, *operands) -> Node or float``.
    masks : bool
        Whether a partial is zero for operands that are not taken, so that what lies behind them must not be looked at.
    commutes : bool
    simplify : callable or None
        ``simplify(graph, size, *operands) -> Node or None``.
    """

    numpy: Callable[..., NDArray[Any]]
    partials: tuple[Partial | None, ...]
    masks: bool = False
    commutes: bool = False
    simplify: Callable[..., Any] | None = None


def _special(name: str) -> Callable[..., Any]:
    """A function of scipy.special, imported when it is first called."""

    def call(*args: Any) -> Any:
        from scipy import special

        return getattr(special, name)(*args)

    return call


def _f(name: str) -> Callable[..., Node]:
    return lambda x: x.graph.apply(name, x)


sign, exp, log, log1p, sqrt, square, cos, sin, cosh, sinh, reciprocal, expit = map(
    _f,
    ["sign", "exp", "log", "log1p", "sqrt", "square", "cos", "sin", "cosh", "sinh", "reciprocal", "expit"],
)


def guard(adjoint: Node, value: Node) -> Node:
    """`value`, but 0 where `adjoint` is 0: what lies behind a branch that was not taken has no say."""
    return value.graph.apply("guard", adjoint, value)


# -- simplifications -------------------------------------------------------------------------------------------------


def _add(g: Graph, size: int, a: Node, b: Node) -> Node | None:
    if b.is_constant and b.size <= a.size and b.is_value(0.0):
        return a
    if a.is_constant and a.size <= b.size and a.is_value(0.0):
        return b
    if b.op == "negative":
        return g.apply("subtract", a, b.args[0])
    if a.op == "negative":
        return g.apply("subtract", b, a.args[0])
    return None


def _is_affine(a: Node, depth: int = 20) -> bool:
    """Whether a node is a sum of the inputs with moderate factors: finite wherever they are."""
    if a.op in ("input", "constant"):
        return a.op == "input" or bool(np.all(np.abs(a.data) < 1e30))
    if a.op == "multiply" and not any(b.is_constant for b in a.args):
        return False
    moves = ("add", "subtract", "negative", "multiply", "gather", "expand", "assemble")
    return depth > 0 and a.op in moves and all(_is_affine(b, depth - 1) for b in a.args)


def _subtract(g: Graph, size: int, a: Node, b: Node) -> Node | None:
    if a is b and _is_affine(a):
        return g.full(g.constant(0.0), size)
    if b.is_constant and b.size <= a.size and b.is_value(0.0):
        return a
    if a.is_constant and a.size <= b.size and a.is_value(0.0):
        return g.apply("negative", b)
    if b.op == "negative":
        return g.apply("add", a, b.args[0])
    return None


def _negative(g: Graph, size: int, a: Node) -> Node | None:
    if a.op == "negative":
        return a.args[0]
    if a.op == "subtract":
        return g.apply("subtract", a.args[1], a.args[0])
    if a.op == "multiply":
        number, rest = _number_and_rest(a)
        if number is not None and (number.is_constant or rest.size > 1):
            return g.apply("multiply", -number, rest)
    return None


def _number_and_rest(a: Node) -> tuple[Node | None, Node]:
    """A product as a single factor, a constant or one that multiplies an array, and the other factor."""
    left, right = a.args
    if left.size == 1 and (left.is_constant or right.size > 1):
        return left, right
    if right.size == 1 and (right.is_constant or left.size > 1):
        return right, left
    return None, a


def _square(g: Graph, size: int, a: Node) -> Node | None:
    """(s x)^2 for a single s and an array x: the factor leaves the loop, and perhaps a sum."""
    if a.op == "multiply" and size > 1:
        number, rest = _number_and_rest(a)
        if number is not None and rest.size == size and (_moderate(number) or not number.is_constant):
            return g.apply("multiply", square(number), square(rest))
    return square(a.args[0]) if a.op == "negative" else None


def _multiply(g: Graph, size: int, a: Node, b: Node) -> Node | None:
    if a is b:
        return g.apply("square", a)
    if b.is_constant:
        a, b = b, a
    if a.is_constant:
        if a.size <= b.size:
            if a.is_value(1.0):
                return b
            if a.is_value(-1.0):
                return g.apply("negative", b)
        if b.op == "negative":
            return g.apply("multiply", -a, b.args[0])
        if b.op == "multiply" and _moderate(a):
            number, rest = _number_and_rest(b)
            if number is not None and (_moderate(number) if number.is_constant else rest.size > 1):
                return g.apply("multiply", a * number, rest)
    if a.op == "negative" and b.op == "negative":
        return g.apply("multiply", a.args[0], b.args[0])
    for x, y in ((a, b), (b, a)):
        if x.size == 1 and not x.is_constant and y.size > 1 and y.op == "multiply":
            number, rest = _number_and_rest(y)
            if number is not None and rest.size == y.size:  # numbers are multiplied outside of the loop
                return g.apply("multiply", x * number, rest)
        if x.size == 1 and y.op == "negative" and y.size > 1:
            return g.apply("multiply", -x, y.args[0])
    return None


def _moderate(a: Node) -> bool:
    """A single constant whose product with another such neither overflows nor vanishes."""
    return a.size == 1 and a.is_constant and 1e-30 < abs(a.data[0]) < 1e30


# Operations whose result is 0 or 1 whatever the operands are, NaN too.
COMPARISONS = frozenset(
    [
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "equal",
        "not_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
        "logical_not",
        "isnan",
        "isfinite",
        "isinf",
        "signbit",
    ]
)
_COUNTS = COMPARISONS | {"floor", "ceil", "floor_divide"}
_KEEP_COUNTS = frozenset(
    [
        "add",
        "subtract",
        "multiply",
        "negative",
        "square",
        "absolute",
        "maximum",
        "minimum",
        "sum",
        "cumsum",
        "gather",
        "expand",
        "assemble",
    ]
)


def _is_whole(a: Node, depth: int = 5) -> bool:
    """Whether a node is a count or a sum of counts: its quotients are compared, and must be NumPy's to the last bit."""
    if a.is_constant:
        return a.size <= 64 and bool(np.all(a.data == np.floor(a.data)))
    return a.op in _COUNTS or (depth > 0 and a.op in _KEEP_COUNTS and all(_is_whole(b, depth - 1) for b in a.args))


def _divide(g: Graph, size: int, a: Node, b: Node) -> Node | None:
    if not a.is_constant and _is_whole(a):
        return None
    if b.is_constant:
        inverse = 1.0 / np.where(b.data == 0, 1.0, b.data)
        if np.all(np.isfinite(b.data) & (np.abs(b.data) > 1e-300) & (np.abs(inverse) > 1e-300)):
            return g.apply("multiply", a, g.constant(1.0 / b.data))
    if a.is_constant and a.size <= b.size and a.is_value(1.0):
        return g.apply("reciprocal", b)
    if b.size == 1 and a.size > 1 and not _is_made_of(b, a):
        # one division outside of the loop; they differ where 1 / b overflows, |b| < 6e-309
        return g.apply("multiply", a, reciprocal(b))
    return None


def _is_made_of(b: Node, a: Node, most: int = 64) -> bool:
    """Whether b comes from a or from what a is made of at once: x / max(x) is 1 where NumPy's is, to the last bit."""
    if any(c is b for c in a.args):
        return True
    near, waiting, seen = {a.number, *(c.number for c in a.args if not c.is_constant)}, [b], 0
    while waiting and seen < most:
        node = waiting.pop()
        if node.number in near and node.op != "input":
            return True
        seen += 1
        waiting.extend(node.args)
    return False


def _power(g: Graph, size: int, x: Node, y: Node) -> Node | None:
    if not (y.is_constant and np.all(y.data == y.data[0])):
        return None
    exponent, x = float(y.data[0]), g.full(x, size) if x.size < y.size else x
    if exponent == 0:
        return g.full(g.constant(1.0), size)
    if exponent == 1:
        return x
    if exponent == 0.5:
        return sqrt(x)
    if abs(exponent) in (1, 2, 3, 4):
        whole = {1: lambda: x, 2: lambda: square(x), 3: lambda: square(x) * x, 4: lambda: square(square(x))}
        result: Node = whole[int(abs(exponent))]()
        return result if exponent > 0 else reciprocal(result)
    return None


def _where(g: Graph, size: int, c: Node, yes: Node, no: Node) -> Node | None:
    if yes is no and yes.size == size:
        return yes
    if c.is_constant:
        if np.all(c.data != 0):
            return g.full(yes, size)
        if np.all(c.data == 0):
            return g.full(no, size)
    return None


def _logaddexp(g: Graph, size: int, x: Node, y: Node) -> Node | None:
    for a, b in ((x, y), (y, x)):
        if a.is_constant and a.size <= b.size and a.is_value(0.0):
            return g.apply("softplus", b)
    return None


def _twice(g: Graph, size: int, x: Node, y: Node) -> Node | None:
    return x if x is y else None


# -- values that NumPy has under no name ------------------------------------------------------------------------------


def _numpy_share(x: Any, y: Any) -> Any:
    return _special("expit")(np.where(x == y, 0.0, x - y))


def _numpy_where(condition: Any, yes: Any, no: Any) -> NDArray[Any]:
    return np.where(condition != 0, yes, no)


def _numpy_softplus(x: Any) -> Any:
    return np.logaddexp(0.0, x)


def _as_double(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: f(*args).astype(np.float64)


def _mask(f: np.ufunc, commutes: bool = False) -> Elementwise:
    return Elementwise(_as_double(f), (None,) * f.nin, commutes=commutes)


def _larger(out: Node, x: Node, y: Node) -> Node:
    g = out.graph
    return g.apply("greater", x, y) + 0.5 * g.apply("equal", x, y)


def _smaller(out: Node, x: Node, y: Node) -> Node:
    return _larger(out, y, x)


# fmax and fmin pass a NaN over
def _larger_number(out: Node, x: Node, y: Node) -> Node:
    return _larger(out, x, y) + x.graph.apply("isnan", y)


def _smaller_number(out: Node, x: Node, y: Node) -> Node:
    return _larger(out, y, x) + x.graph.apply("isnan", y)


def _base(out: Node, x: Node, y: Node) -> Node:
    """y x^(y - 1), of exponents 0 everywhere 0."""
    g = x.graph
    return y * g.apply("power", x, g.where(g.apply("equal", y, 0.0), 0.0, y - 1.0))


def _exponent(out: Node, x: Node, y: Node) -> Node:
    g = out.graph
    return g.where(g.apply("equal", out, 0.0), 0.0, out * log(x))


def _over_length(out: Node, x: Node, y: Node) -> Node:
    g = out.graph
    return g.where(g.apply("equal", out, 0.0), 0.0, x / out)


def _length(x: Node, y: Node) -> Node:
    return x.graph.apply("hypot", x, y)


def _mills(out: Node, x: Node) -> Node:
    """phi / Phi by erfcx, which neither underflows nor cancels."""
    return math.sqrt(2 / math.pi) / x.graph.apply("erfcx", x * -math.sqrt(0.5))


def _polygamma(order: int) -> Elementwise:
    def value(x: Any) -> Any:
        return _special("psi")(x) if order == 0 else _special("polygamma")(order, x)

    return Elementwise(value, (lambda out, x: x.graph.apply(f"polygamma{order + 1}", x),) if order < 4 else (None,))


def _density(out: Node, a: Node, x: Node) -> Node:
    return a.graph.apply("gammainc_density", a, x)


def _slope(out: Node, a: Node, x: Node) -> Node:
    return a.graph.apply("gammainc_slope", a, x)


def _density_by_shape(density: Node, a: Node, x: Node) -> Node:
    """density (log x - digamma a), at a = 0, where the density is 0, its limit."""
    g = a.graph
    inside = guard(density, density * (log(x) - g.apply("polygamma0", a)))
    return g.where(g.apply("equal", a, 0.0), exp(-x) / x, inside)


def _density_slope(density: Node, a: Node, x: Node) -> Node:
    """density ((a - 1) / x - 1), at x = 0 the difference of two densities."""
    g = a.graph
    inside = guard(density, density * ((a - 1.0 - x) / x))
    return g.where(g.apply("equal", x, 0.0), g.apply("gammainc_density", a - 1.0, x) - density, inside)


def _no_curvature(out: Node, a: Node, x: Node) -> Node:
    raise DensityError(
        "the second derivative of gammainc and gammaincc by their first argument is not available: the gradient is, "
        "Hessians are where the first argument does not depend on the parameters"
    )


_DENSITY = 1 / math.sqrt(2 * math.pi)

ELEMENTWISE: dict[str, Elementwise] = {
    # arithmetic
    "add": Elementwise(np.add, (lambda o, a, b: 1.0, lambda o, a, b: 1.0), commutes=True, simplify=_add),
    "subtract": Elementwise(np.subtract, (lambda o, a, b: 1.0, lambda o, a, b: -1.0), simplify=_subtract),
    "multiply": Elementwise(np.multiply, (lambda o, a, b: b, lambda o, a, b: a), commutes=True, simplify=_multiply),
    "divide": Elementwise(np.divide, (lambda o, a, b: reciprocal(b), lambda o, a, b: -(o / b)), simplify=_divide),
    "negative": Elementwise(np.negative, (lambda o, a: -1.0,), simplify=_negative),
    "square": Elementwise(np.square, (lambda o, a: 2.0 * a,), simplify=_square),
    "reciprocal": Elementwise(np.reciprocal, (lambda o, a: -square(o),)),
    "sqrt": Elementwise(np.sqrt, (lambda o, a: 0.5 / o,)),
    "cbrt": Elementwise(np.cbrt, (lambda o, a: (1 / 3) / square(o),)),
    "absolute": Elementwise(np.abs, (lambda o, a: sign(a),)),
    "sign": Elementwise(np.sign, (None,)),
    "power": Elementwise(np.power, (_base, _exponent), simplify=_power),
    "fmod": Elementwise(np.fmod, (lambda o, a, b: 1.0, lambda o, a, b: -_trunc(a / b))),
    "remainder": Elementwise(np.remainder, (lambda o, a, b: 1.0, lambda o, a, b: -_f("floor")(a / b))),
    "floor": Elementwise(np.floor, (None,)),
    "ceil": Elementwise(np.ceil, (None,)),
    "floor_divide": Elementwise(np.floor_divide, (None, None)),
    "copysign": Elementwise(np.copysign, (lambda o, a, b: sign(a) * a.graph.apply("copysign", 1.0, b), None)),
    "hypot": Elementwise(np.hypot, (_over_length, lambda o, a, b: _over_length(o, b, a)), commutes=True),
    # exponentials
    "exp": Elementwise(np.exp, (lambda o, a: o,)),
    "expm1": Elementwise(np.expm1, (lambda o, a: exp(a),)),
    "log": Elementwise(np.log, (lambda o, a: reciprocal(a),)),
    "log1p": Elementwise(np.log1p, (lambda o, a: reciprocal(a + 1.0),)),
    "logaddexp": Elementwise(
        np.logaddexp,
        (lambda o, a, b: a.graph.apply("share", a, b), lambda o, a, b: 1.0 - a.graph.apply("share", a, b)),
        masks=True,
        commutes=True,
        simplify=_logaddexp,
    ),
    # exp(a) / (exp(a) + exp(b)), 1/2 where both are equal, infinite too
    "share": Elementwise(
        _numpy_share,
        (lambda o, a, b: o * a.graph.apply("share", b, a), lambda o, a, b: -(o * a.graph.apply("share", b, a))),
    ),
    "softplus": Elementwise(_numpy_softplus, (lambda o, a: expit(a),)),
    "expit": Elementwise(_special("expit"), (lambda o, a: o * (1.0 - o),)),
    # trigonometric and hyperbolic
    "sin": Elementwise(np.sin, (lambda o, a: cos(a),)),
    "cos": Elementwise(np.cos, (lambda o, a: -sin(a),)),
    "tan": Elementwise(np.tan, (lambda o, a: square(o) + 1.0,)),
    "arcsin": Elementwise(np.arcsin, (lambda o, a: reciprocal(sqrt((1.0 - a) * (a + 1.0))),)),
    "arccos": Elementwise(np.arccos, (lambda o, a: -reciprocal(sqrt((1.0 - a) * (a + 1.0))),)),
    "arctan": Elementwise(np.arctan, (lambda o, a: reciprocal(square(a) + 1.0),)),
    "arctan2": Elementwise(  # by the angle itself: no overflow, and flat where an operand is infinite
        np.arctan2, (lambda o, a, b: cos(o) / _length(a, b), lambda o, a, b: -(sin(o) / _length(a, b)))
    ),
    "sinh": Elementwise(np.sinh, (lambda o, a: cosh(a),)),
    "cosh": Elementwise(np.cosh, (lambda o, a: sinh(a),)),
    "tanh": Elementwise(np.tanh, (lambda o, a: 1.0 - square(o),)),
    "arcsinh": Elementwise(np.arcsinh, (lambda o, a: reciprocal(sqrt(square(a) + 1.0)),)),
    "arccosh": Elementwise(np.arccosh, (lambda o, a: reciprocal(sqrt((a - 1.0) * (a + 1.0))),)),
    "arctanh": Elementwise(np.arctanh, (lambda o, a: reciprocal((1.0 - a) * (a + 1.0)),)),
    # comparisons and choices
    "less": _mask(np.less),
    "less_equal": _mask(np.less_equal),
    "greater": _mask(np.greater),
    "greater_equal": _mask(np.greater_equal),
    "equal": _mask(np.equal, commutes=True),
    "not_equal": _mask(np.not_equal, commutes=True),
    "logical_and": _mask(np.logical_and, commutes=True),
    "logical_or": _mask(np.logical_or, commutes=True),
    "logical_xor": _mask(np.logical_xor, commutes=True),
    "logical_not": _mask(np.logical_not),
    "isnan": _mask(np.isnan),
    "isfinite": _mask(np.isfinite),
    "isinf": _mask(np.isinf),
    "signbit": _mask(np.signbit),
    # its adjoint is a choice too, see derivatives.py
    "where": Elementwise(_numpy_where, (None, None, None), masks=True, simplify=_where),
    "guard": Elementwise(lambda d, a: np.where(d == 0, 0.0, a), (None, None)),
    "maximum": Elementwise(
        np.maximum, (_larger, lambda o, a, b: _larger(o, b, a)), masks=True, commutes=True, simplify=_twice
    ),
    "minimum": Elementwise(
        np.minimum, (_smaller, lambda o, a, b: _smaller(o, b, a)), masks=True, commutes=True, simplify=_twice
    ),
    "fmax": Elementwise(np.fmax, (_larger_number, lambda o, a, b: _larger_number(o, b, a)), masks=True, commutes=True),
    "fmin": Elementwise(np.fmin, (_smaller_number, lambda o, a, b: _smaller_number(o, b, a)), masks=True,
    commutes=True),
    # scipy.special
    "xlogy": Elementwise(_special("xlogy"), (lambda o, a, b: log(b), lambda o, a, b: guard(a, a / b))),
    "xlog1py": Elementwise(_special("xlog1py"), (lambda o, a, b: log1p(b), lambda o, a, b: guard(a, a / (b + 1.0)))),
    "gammaln": Elementwise(_special("gammaln"), (lambda o, a: a.graph.apply("polygamma0", a),)),
    **{f"polygamma{order}": _polygamma(order) for order in range(5)},
    "erf": Elementwise(_special("erf"), (lambda o, a: exp(-square(a)) * (2 / math.sqrt(math.pi)),)),
    "erfc": Elementwise(_special("erfc"), (lambda o, a: exp(-square(a)) * (-2 / math.sqrt(math.pi)),)),
    "erfcx": Elementwise(_special("erfcx"), (lambda o, a: 2.0 * a * o - 2 / math.sqrt(math.pi),)),
    "ndtr": Elementwise(_special("ndtr"), (lambda o, a: exp(square(a) * -0.5) * _DENSITY,)),
    "log_ndtr": Elementwise(_special("log_ndtr"), (_mills,)),
    "gammainc": Elementwise(_special("gammainc"), (_slope, _density)),
    "gammaincc": Elementwise(
        _special("gammaincc"), (lambda o, a, x: -_slope(o, a, x), lambda o, a, x: -_density(o, a, x))
    ),
    "gammainc_slope": Elementwise(
        of_arrays("gammainc_slope"), (_no_curvature, lambda o, a, x: _density_by_shape(_density(o, a, x), a, x))
    ),
    "gammainc_density": Elementwise(of_arrays("gammainc_density"), (_density_by_shape, _density_slope)),
    "i0e": Elementwise(_special("i0e"), (lambda o, a: a.graph.apply("i1e", a) - sign(a) * o,)),
    "i1e": Elementwise(_special("i1e"), (lambda o, a: _bessel_slope(o, a),)),
}  # fmt: skip


def _trunc(x: Node) -> Node:
    g = x.graph
    return g.where(g.apply("less", x, 0.0), _f("ceil")(x), _f("floor")(x))


def _bessel_slope(o: Node, x: Node) -> Node:
    """I1' = I0 - I1 / x, of value 1/2 at 0."""
    g = x.graph
    ratio = g.where(g.apply("equal", x, 0.0), 0.5, o / x)
    return g.apply("i0e", x) - ratio - sign(x) * o
