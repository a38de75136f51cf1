"""Print the table of incomplete_gamma.h: the power series of f(eta) = eta / (lambda - 1), with exact fractions.

    python csrc/common/make_incomplete_gamma.py

lambda - 1 - log(lambda) = eta^2 / 2, so that (lambda - 1) lambda' = eta lambda; the coefficients of lambda - 1 follow
from comparing powers, those of f from dividing 1 by the series of (lambda - 1) / eta.
"""

from fractions import Fraction

COUNT = 26


def main() -> None:
    ratio = [Fraction(1)]  # of (lambda - 1) / eta
    for n in range(2, COUNT + 1):
        products = sum((j * ratio[j - 1] * ratio[n - j] for j in range(2, n)), Fraction(0))
        ratio.append((ratio[n - 2] - products) / (n + 1))
    f = [Fraction(1)]
    for n in range(1, COUNT):
        f.append(-sum((ratio[j] * f[n - j] for j in range(1, n + 1)), Fraction(0)))
    words = [float(c).hex() for c in f]
    print(f"static const double mp_table_uniform[{COUNT}] = {{")
    print(",\n".join("    " + ", ".join(words[i : i + 4]) for i in range(0, COUNT, 4)) + "};")


if __name__ == "__main__":
    main()
