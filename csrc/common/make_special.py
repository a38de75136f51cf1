"""Print the coefficient tables of vector_special.h: interpolants in Chebyshev nodes, computed with 40 digits.

    pip install mpmath && python csrc/common/make_special.py

The output stands between the two marks in vector_special.h. Interpolation in Chebyshev nodes is within a small factor
of the best polynomial, so each degree is chosen with a margin; the comment of a table has the error measured here,
relative to the function that the table serves, before the coefficients are rounded to doubles.
"""

from collections.abc import Callable

import mpmath
from mpmath import mp, mpf

mp.dps = 40
Function = Callable[[mpf], mpf]


def interpolant(f: Function, low: mpf, high: mpf, count: int) -> list[mpf]:
    """The coefficients of the polynomial through f at the Chebyshev nodes, by Newton's divided differences."""
    angles = [mpmath.pi * (2 * i + 1) / (2 * count) for i in range(count)]
    nodes = [(low + high) / 2 + (high - low) / 2 * mpmath.cos(angle) for angle in angles]
    differences = [f(x) for x in nodes]
    for order in range(1, count):
        for i in range(count - 1, order - 1, -1):
            differences[i] = (differences[i] - differences[i - 1]) / (nodes[i] - nodes[i - order])
    coefficients = [differences[-1]]
    for node, difference in zip(nodes[-2::-1], differences[-2::-1], strict=True):
        shifted = [mpf(0), *coefficients]
        for power, value in enumerate(coefficients):
            shifted[power] -= node * value
        shifted[0] += difference
        coefficients = shifted
    return coefficients


def table(
    name: str, text: str, f: Function, low: float, high: float, count: int, weight: Function | None = None
) -> None:
    """Print one table. The error at x counts weight(x) times: by how much it enters the final result."""
    low, high = mpf(low), mpf(high)
    coefficients = interpolant(f, low, high, count)
    points = [low + (high - low) * (i + mpf(1) / 3) / 300 for i in range(300)]
    errors = [(mpmath.polyval(coefficients[::-1], x) - f(x)) * (weight(x) if weight else 1 / f(x)) for x in points]
    print(f"/* {text} (error {float(max(map(abs, errors))):.0e}) */")
    print(f"static const double mp_table_{name}[{count}] = {{")
    words = [float(c).hex() for c in coefficients]
    print(",\n".join("    " + ", ".join(words[i : i + 4]) for i in range(0, count, 4)) + "};")


def root(f: Function) -> Function:
    """f of the square root."""
    return lambda z: f(mpmath.sqrt(z))


def series(numerators: Callable[[int], mpf], x: mpf) -> mpf:
    """An asymptotic series with the ratios numerators(k) / x of successive terms."""
    total = term = mpf(1)
    k = 1
    while abs(term) > mpf(10) ** -38:
        term *= numerators(k) / x
        total += term
        k += 1
    return total


def erfcx(x: mpf) -> mpf:
    if x > 40:
        return series(lambda k: mpf(1 - 2 * k), 2 * x * x) / (x * mpmath.sqrt(mpmath.pi))
    return mpmath.exp(x * x) * mpmath.erfc(x)


def bessel_tail(order: int, x: mpf) -> mpf:
    """Square root of x times exp(-x) I(x)."""
    if x > 100:
        return series(lambda k: mpf((2 * k - 1) ** 2 - 4 * order**2) / (8 * k), x) / mpmath.sqrt(2 * mpmath.pi)
    return mpmath.sqrt(x) * mpmath.exp(-x) * mpmath.besseli(order, x)


def stirling_rest(x: mpf) -> mpf:
    return mpmath.loggamma(x) - (x - mpf(1) / 2) * mpmath.log(x) + x - mpmath.log(2 * mpmath.pi) / 2


def main() -> None:
    pi = mpmath.pi
    quarter = (pi / 4) ** 2 + mpf(1) / 1000
    log2 = (mpmath.log(2) / 2) ** 2 + mpf(1) / 1000
    s2 = ((mpmath.sqrt(2) - 1) / (mpmath.sqrt(2) + 1)) ** 2 + mpf(1) / 10000
    third = mpf(1) / 3

    table(
        "log",
        "2 atanh(s) = s (2 + z L(z)), z = s^2, |s| up to (sqrt(2) - 1) / (sqrt(2) + 1)",
        root(lambda s: (2 * mpmath.atanh(s) / s - 2) / s**2),
        0,
        s2,
        7,
        lambda z: z / 2,
    )
    table(
        "log_tail",
        "3 atanh(s) = s (3 + z + z^2 Q(z)), as above",
        root(lambda s: (3 * mpmath.atanh(s) / s - 3 - s**2) / s**4),
        0,
        s2,
        8,
        lambda z: z * z / 3,
    )
    table(
        "exp",
        "exp(r) = 1 + r + r^2 E(r), |r| up to log(2) / 2",
        lambda r: mpmath.hyp1f1(1, 3, r) / 2,
        -mpmath.sqrt(log2),
        mpmath.sqrt(log2),
        11,
        lambda r: r**2 / mpmath.expm1(r),
    )
    table(
        "sin",
        "sin(r) = r - r z S(z), z = r^2, |r| up to pi / 4",
        root(lambda r: (r - mpmath.sin(r)) / r**3),
        0,
        quarter,
        6,
        root(lambda r: r**3 / mpmath.sin(r)),
    )
    table(
        "cos",
        "cos(r) = 1 - z / 2 - z^2 C(z), as above",
        root(lambda r: (1 - r**2 / 2 - mpmath.cos(r)) / r**4),
        0,
        quarter,
        6,
        lambda z: z**2,
    )
    table(
        "tan",
        "tan(r) = r - r z T(z), |r| up to pi / 4",
        root(lambda r: (r - mpmath.tan(r)) / r**3),
        0,
        quarter,
        14,
        root(lambda r: r**3 / mpmath.tan(r)),
    )
    table(
        "sinh",
        "sinh(r) = r + r z S(z), |r| up to log(2) / 2",
        root(lambda r: (mpmath.sinh(r) - r) / r**3),
        0,
        log2,
        5,
        root(lambda r: r**3 / mpmath.sinh(r)),
    )
    table(
        "cosh", "cosh(r) = 1 + z C(z), as above", root(lambda r: (mpmath.cosh(r) - 1) / r**2), 0, log2, 6, lambda z: z
    )
    table(
        "asin",
        "asin(x) = x + x z A(z), |x| up to 1/2",
        root(lambda x: (mpmath.asin(x) - x) / x**3),
        0,
        0.25,
        13,
        root(lambda x: x**3 / mpmath.asin(x)),
    )
    table(
        "atan",
        "atan(x) = x - x z A(z), |x| up to 1",
        root(lambda x: (x - mpmath.atan(x)) / x**3),
        0,
        1,
        20,
        root(lambda x: x**3 / mpmath.atan(x)),
    )
    table(
        "asinh",
        "asinh(x) = x - x z A(z), |x| up to 1/2",
        root(lambda x: (x - mpmath.asinh(x)) / x**3),
        0,
        0.25,
        11,
        root(lambda x: x**3 / mpmath.asinh(x)),
    )
    table("cbrt", "the cube root of 1 to 2", lambda x: x**third, 1, 2, 9)
    table("sin_pi", "sin(pi r) = r S(z), |r| up to 1/2", root(lambda r: mpmath.sin(pi * r) / r), 0, 0.25, 9)
    table(
        "cos_pi",
        "cos(pi r) = 1 - z C(z), |r| up to 1/2, with an absolute error",
        root(lambda r: (1 - mpmath.cos(pi * r)) / r**2),
        0,
        0.25,
        9,
        lambda z: z,
    )
    table("lgamma", "log gamma(2 + d) = d P(d), |d| up to 1/2", lambda d: mpmath.loggamma(2 + d) / d, -0.5, 0.5, 20)
    table(
        "stirling",
        "log gamma(x) = (x - 1/2) log(x) - x + log(2 pi) / 2 + Q(1 / x^2) / x, x from 3 on",
        root(lambda y: stirling_rest(1 / y) / y),
        0,
        mpf(1) / 9,
        10,
        mpmath.sqrt,
    )
    table("digamma", "digamma(2 + d), |d| up to 1/2", lambda d: mpmath.digamma(2 + d), -0.5, 0.5, 20)
    table(
        "digamma_tail",
        "digamma(x) = log(x) - 1 / (2 x) - Q(1 / x^2) / x^2, x from 3 on",
        root(lambda y: (-mpmath.log(y) - y / 2 - mpmath.digamma(1 / y)) / y**2),
        0,
        mpf(1) / 9,
        11,
        lambda z: z,
    )
    table("erf", "erf(x) = x P(z), |x| up to 1", root(lambda x: mpmath.erf(x) / x), 0, 1, 12)
    table(
        "erfcx",
        "exp(x^2) erfc(x) = P((x - 4) / (x + 4)) / (1 + 2 x), x >= 0",
        lambda t: erfcx(4 * (1 + t) / (1 - t)) * (1 + 8 * (1 + t) / (1 - t)),
        -1,
        1,
        24,
    )
    table("i0", "I0(x) = P(z), |x| up to 8", root(lambda x: mpmath.besseli(0, x)), 0, 64, 17)
    table("i1", "I1(x) = x P(z), |x| up to 8", root(lambda x: mpmath.besseli(1, x) / x), 0, 64, 17)
    table(
        "i0_tail",
        "sqrt(x) exp(-x) I0(x) = P(16 / x - 1), x from 8 on",
        lambda t: bessel_tail(0, 16 / (1 + t)),
        -1,
        1,
        25,
    )
    table("i1_tail", "sqrt(x) exp(-x) I1(x), as above", lambda t: bessel_tail(1, 16 / (1 + t)), -1, 1, 25)


if __name__ == "__main__":
    main()
