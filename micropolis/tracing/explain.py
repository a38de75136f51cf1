"""What an array program does and costs, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .program import Program, codes
from .schedule import LOOP, SCALAR

# Nanoseconds of an operation on a vector of eight doubles and of one of scalar code, and what a loop costs beside, as
# measured on one AVX-512 core at 3.7 GHz; estimates, to see what weighs, not to plan by.
VECTOR, NUMBER, OPERATION, STAGE = 0.7, 1.8, 5.0, 4.0
COSTLY: Mapping[str, float] = {
    "exp": 4.0, "log": 5.0, "log1p": 6.0, "expm1": 5.0, "softplus": 8.0, "logaddexp": 9.0, "expit": 6.0, "share": 7.0,
    "divide": 4.0, "reciprocal": 4.0, "sqrt": 5.0, "power": 25.0, "sin": 6.0, "cos": 6.0, "tanh": 7.0, "gammaln": 20.0,
    "erf": 18.0, "erfc": 18.0, "ndtr": 18.0, "log_ndtr": 25.0, "gather": 4.0, "scatter": 8.0, "xlogy": 7.0,
    **{f"polygamma{k}": 22.0 for k in range(5)},
}  # fmt: skip
CUBIC: Mapping[str, float] = {"cholesky": 1 / 3, "cholesky_adjoint": 2 / 3, "lu": 2 / 3, "cofactor": 2.0}
MANY = 2000  # scalar operations from which on a program is told to be unrolled


class Explanation(str):
    """Text that shows as it is where it is the value of a line."""

    def __repr__(self) -> str:
        return str(self)


def explanation(program: Program, lines: Mapping[tuple[str, int], int]) -> Explanation:
    """Stages of the program of value and gradient, with estimates, and what makes it slow.

    Parameters
    ----------
    program : Program
    lines : mapping of (file, line) to int
        Scalar operations of the trace by the line that made them, where there are many.
    """
    names = {code: name for name, code in codes().items()}
    rows, total = [], 0.0
    operations, elements = program.counts
    for kind, size, records in program._stages:
        used = Counter(names[int(code)] for code in (records if kind == SCALAR else records[0])["code"])
        if kind == SCALAR:
            cost = sum(count * (NUMBER + COSTLY.get(name, 0.0)) for name, count in used.items())
            what = f"scalar code, {sum(used.values())} operations"
        elif kind == LOOP:
            columns = [
                int(k[0])
                for k, code in zip(records[0]["k"], records[0]["code"], strict=True)
                if "matvec" in names[int(code)]
            ]
            vectors = max(size / 8, 1)
            cost = STAGE + sum(
                count * (OPERATION * max(size / 256, 1) + vectors * COSTLY.get(name, VECTOR))
                for name, count in used.items()
            )
            cost += sum(vectors * k * 2 * VECTOR for k in columns)
            what = f"loop over {size} elements, {sum(used.values())} operations"
        else:
            cost = sum(_whole(names[int(r["code"])], r["k"]) for r in records[0])
            what = "whole arrays"
        total += cost
        rows.append((what, cost, ", ".join(f"{name} x{n}" if n > 1 else name for name, n in used.most_common())))
    text = [f"value and gradient: {operations} operations on {elements} elements, about {_time(total)}"]
    for what, cost, used_names in rows:
        shown = used_names if len(used_names) <= 90 else used_names[:87] + "..."
        text.append(f"  {what:<40} {_time(cost):>9}   {shown}")
    scalars = sum(len(records) for kind, _, records in program._stages if kind == SCALAR)
    if scalars >= MANY:
        text.append(f"{scalars} scalar operations: a Python loop became as many copies of its body.")
        for (file, line), count in Counter(lines).most_common(3):
            text.append(
                f"  {count} of them come from {file}:{line}: write it as array operations, or as a plain recursion"
            )
    slow = [name for name in ("power", "gammaln", "log_ndtr", "erf", "scatter") if any(name in row[2] for row in rows)]
    advice = {
        "power": "x ** y with an exponent that is no small integer costs six exps",
        "gammaln": "gammaln of parameters costs four logs; of data alone it is computed once, when the density is made",
        "scatter": "gradients by indexed elements (alpha[group], np.diag) are added up one by one, about 1 ns each",
    }
    text += [f"  {advice[name]}" for name in slow if name in advice]
    return Explanation("\n".join(text))


def _whole(name: str, k: object) -> float:
    """Nanoseconds of an operation on whole arrays."""
    sizes = [int(v) for v in k]  # type: ignore[attr-defined]
    if name in CUBIC:
        return 50 + CUBIC[name] * sizes[0] ** 3 / 8
    if name == "matmul":
        return 20 + sizes[0] * sizes[1] * sizes[2] / 6
    if name in ("triangular", "solve"):
        return 20 + sizes[0] ** 2 * sizes[1] / 5
    if name == "linear_scan":
        return 3.0 * sizes[0] * max(sizes[1], 1) ** 2
    return 10.0 + 2.0 * sizes[0]


def _time(nanoseconds: float) -> str:
    if nanoseconds < 1000:
        return f"{nanoseconds:.0f} ns"
    return f"{nanoseconds / 1000:.1f} us" if nanoseconds < 1e6 else f"{nanoseconds / 1e6:.1f} ms"
