"""Write barker_correction.h: a discrete distribution that turns a standard normal into nearly a standard logistic.

    python csrc/metropolis/make_barker_correction.py > csrc/metropolis/barker_correction.h

The minibatch test of Seita, Pan, Chen & Canny (2017) needs X_corr with Normal(0, 1) + X_corr = logistic. None is exact,
and they tabulate an approximate density; but since only the sum is ever used, atoms do as well and far better. Weights
p_k >= 0, summing to 1, of atoms at +-g_k (half of p_k each) on a grid of step 0.1 over [0, 18] make

    t = max over x of | sum_k p_k [Phi(x - g_k) + Phi(x + g_k)] / 2 - 1 / (1 + exp(-x)) |

as small as can be: a linear programme, solved by SciPy's HiGHS. Both distributions are symmetric, so x >= 0 is enough,
and upper tails are compared, which lose no digits. The solution touches +-t at few points: it has 20 atoms.
"""

import sys

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit, ndtr

STEP, LAST = 0.1, 18.0
SCALE = 1e-6  # t in the programme counts in this unit, so that it is of the order of its coefficients
NEGLIGIBLE = 1e-14


def tails(x, atoms):
    """P(Normal(0, 1) +- atom > x), half of each sign: (len(x), len(atoms))."""
    return (ndtr(atoms - x[:, None]) + ndtr(-atoms - x[:, None])) / 2


def solve(atoms, x):
    """Weights of the atoms that make the largest error on the points x least."""
    left, right, slack = tails(x, atoms), expit(-x), np.full((len(x), 1), -SCALE)
    result = linprog(
        np.r_[np.zeros(len(atoms)), 1.0],
        A_ub=np.block([[left, slack], [-left, slack]]),
        b_ub=np.r_[right, -right],
        A_eq=np.r_[np.ones(len(atoms)), 0.0][None],
        b_eq=[1.0],
        bounds=(0, None),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if result.status != 0:
        sys.exit(result.message)
    return np.where(result.x[:-1] > NEGLIGIBLE, result.x[:-1], 0.0)


def main():
    atoms = np.arange(round(LAST / STEP) + 1) * STEP
    weights = solve(atoms, np.arange(0.0, 24.0, 0.02))
    atoms, weights = np.round(atoms[weights > 0], 1), weights[weights > 0] / weights.sum()
    cumulative = np.cumsum(weights)
    cumulative[-1] = 1.0
    x = np.arange(0.0, 60.0, 0.001)
    error = np.abs(tails(x, atoms) @ weights - expit(-x)).max()
    print("/* Correction of the Barker test; written by make_barker_correction.py, do not edit.")
    print(f" * Largest error of the distribution function: {error:.2e}. */\n/* clang-format off */")
    print(f"enum {{ MP_BARKER_ATOMS = {len(atoms)} }};")
    print("typedef struct mp_barker_atom {\n  double value, weight, cumulative;\n} mp_barker_atom;")
    columns = np.stack([atoms, weights, cumulative], axis=1)
    rows = [f"{{{g!r}, {p!r}, {c!r}}}" for g, p, c in columns.tolist()]
    lines = [f"    {', '.join(rows[i : i + 2])}," for i in range(0, len(rows), 2)]
    print("static const mp_barker_atom mp_barker[MP_BARKER_ATOMS] = {", *lines, "};", sep="\n")


if __name__ == "__main__":
    main()
