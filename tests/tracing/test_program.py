"""The C interpreter against its NumPy reference: every operation, random programs, one point and eight at a time."""

import ctypes

import numpy as np
import pytest

from micropolis.tracing.elementwise import ELEMENTWISE
from micropolis.tracing.graph import Graph
from micropolis.tracing.linalg_rules import factorised, solve, triangular
from micropolis.tracing.program import LANES, Program, run
from micropolis.tracing.reference import evaluate

# Sizes on both sides of a vector and of a tile.
SIZES = [1, 2, 7, 8, 9, 31, 255, 256, 257, 1000]


def points(program_inputs, seed, lanes):
    rng = np.random.default_rng(seed)
    return [{name: rng.normal(size=size) for name, size in program_inputs.items()} for _ in range(lanes)]


def compare(outputs, inputs, seed=0, rtol=1e-13, atol=0.0):
    """Program and reference at eight points, the program in both of its forms."""
    some = points(inputs, seed, LANES)
    with np.errstate(all="ignore"):
        expected = [evaluate(outputs, point) for point in some]
    single, lanes = Program(outputs, inputs), Program(outputs, inputs, LANES)
    together = run(lanes, some)
    for k, point in enumerate(some):
        alone = run(single, [point])[0]
        for got, eight, truth in zip(alone, together[k], expected[k], strict=True):
            scale = np.max(np.abs(truth[np.isfinite(truth)]), initial=0.0)
            np.testing.assert_allclose(got, truth, rtol=rtol, atol=atol + 1e-14 * scale)
            np.testing.assert_allclose(eight, truth, rtol=rtol, atol=atol + 1e-14 * scale)


DOMAIN = {
    **dict.fromkeys(["divide", "reciprocal", "fmod", "remainder", "floor_divide", "log", "power", "hypot"], (0.3, 6)),
    "arcsin": (-1, 1), "arccos": (-1, 1), "arctanh": (-1, 1), "arccosh": (1, 20), "gammaln": (-3.5, 30),
    **{f"polygamma{k}": (0.2, 30) for k in range(5)},
    **dict.fromkeys(["gammainc", "gammaincc", "gammainc_slope", "gammainc_density"], (0.01, 40)),
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 9, 300])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, size):
    """Operands of every size that may meet: a vector, one number, a constant; results stored and passed on in tiles."""
    rule, graph = ELEMENTWISE[name], Graph()
    n = len(rule.partials)
    x = graph.input("x", n * size + n)
    low, high = DOMAIN.get(name, (-6, 6))
    spread = graph.apply("expit", x) * float(high - low) + float(low)
    vectors = [graph.gather(spread, np.arange(k * size, (k + 1) * size)) for k in range(n)]
    singles = [graph.gather(spread, [n * size + k]) for k in range(n)]
    constant = graph.constant(np.linspace(low, high, size + 2)[1:-1])
    outputs = [graph.apply(name, *vectors), graph.apply(name, *singles)]
    for k in range(n):
        for other in (singles[k], constant):
            outputs.append(
                graph.apply(name, *[other if j == k else v for j, v in enumerate(vectors)]) * 2.0 + vectors[0]
            )
    compare(outputs, {"x": x.size}, rtol=2e-13, atol=1e-14)


@pytest.mark.parametrize(
    "shape",
    [(1, 5, 1), (1, 300, 1), (4, 3, 1), (300, 3, 1), (3, 300, 1), (1, 5, 40), (2, 3, 5), (9, 8, 16), (1, 2, 1000)],
)
def test_blocks(shape):
    a, r, b = shape
    graph = Graph()
    x = graph.input("x", a * r * b)
    y = graph.input("y", a * b)
    spread = graph.expand(y, a, r, b)
    outputs = [
        graph.sum(graph.apply("sin", x), a, r, b), graph.sum(x * spread, a, r, b), spread * x + 1.0,
        graph.greatest(x, a, r, b), graph.cumsum(x * x, a, r, b), graph.cumsum(x, a, r, b, True),
        graph.logsumexp(x * 3.0, a, r, b), graph.sum(graph.apply("square", x), a, r, b),
    ]  # fmt: skip
    compare(outputs, {"x": x.size, "y": y.size}, atol=1e-14)


@pytest.mark.parametrize("size", SIZES)
def test_moves(size):
    graph, rng = Graph(), np.random.default_rng(size)
    x, y = graph.input("x", size), graph.input("y", size)
    some, twice = rng.permutation(size)[: (size + 1) // 2], rng.integers(0, size, size + 3)
    z = x * y + 1.0
    parts = [graph.gather(z, twice), graph.gather(y, some), z]
    outputs = [
        graph.concatenate([z, graph.constant(rng.normal(size=3)), y, graph.total(z), x]),
        graph.gather(z, np.arange(size)[::-1]) * x,
        graph.assemble(parts, [rng.integers(0, size + 2, size + 3), some, (1, size + 1)], size + 2),
        graph.assemble([graph.gather(z, some), graph.total(x)], [some + 1, (0, 1)], size + 1),
        graph.gather(z, twice) + graph.gather(z, [0]),
        graph.assemble([graph.constant(2.0), y], [(0, size), (size, 2 * size)], 2 * size),
    ]
    compare(outputs, {"x": size, "y": size}, atol=1e-14)


@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (7, 1), (40, 5), (256, 4), (300, 9), (520, 33)])
def test_constant_matrices(rows, columns):
    graph, rng = Graph(), np.random.default_rng(rows)
    x, y = graph.input("x", columns), graph.input("y", rows)
    matrix = graph.constant(rng.normal(size=(rows, columns)))
    product = graph.matvec(matrix, x, rows, False)
    back = graph.matvec(matrix, graph.apply("tanh", product) * y, rows, True)
    compare([product, back, graph.total(product * y)], {"x": columns, "y": rows}, atol=1e-13)


@pytest.mark.parametrize("dims", [(1, 4, 5), (3, 4, 5), (8, 8, 8), (9, 40, 70), (33, 2, 1)])
@pytest.mark.parametrize("tx", [False, True])
@pytest.mark.parametrize("ty", [False, True])
def test_matrix_products(dims, tx, ty):
    m, k, n = dims
    graph = Graph()
    x, y = graph.input("x", m * k), graph.input("y", k * n)
    compare([graph.matmul(x, y, m, k, n, tx, ty)], {"x": x.size, "y": y.size}, atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 11, 33, 40])
def test_linear_algebra(n):
    graph = Graph()
    x, y = graph.input("x", n * n), graph.input("y", n * 3)
    definite = graph.matmul(x, x, n, n, n, False, True) + graph.constant(np.eye(n) * n)
    factor = graph.node("cholesky", (definite,), n, n * n)
    general = x + graph.constant(np.roll(np.eye(n), 1, axis=0) * 2.0 * n)
    lu = factorised(general, n)
    outputs = [
        factor, graph.node("cholesky_adjoint", (factor, x), n, n * n),
        *(triangular(definite, y, n, 3, lower, transposed, unit) for lower in (0, 1) for transposed in (0, 1) for unit
        in (0, 1) if not unit), *(triangular(definite, graph.gather(y, np.arange(n)), n, 1, lower, transposed) for lower
        in (0, 1) for transposed in (0, 1)), *(solve(general, y, n, 3, transposed) for transposed in (False, True)),
        graph.node("slogdet", (general, lu), n, 2), graph.node("det", (general, lu), n, 1),
        graph.node("cofactor", (general, lu), n, n * n),
    ]  # fmt: skip
    compare(outputs, {"x": n * n, "y": n * 3}, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 11, 33])
@pytest.mark.parametrize("scale", [0.03, 1.0, 4.0])
def test_matrix_functions(n, scale):
    graph = Graph()
    x = graph.input("x", n * n)
    both = graph.node("eigh", (x * scale,), n, n + n * n)
    compare([both], {"x": n * n}, rtol=1e-9, atol=1e-11)
    compare([graph.node("expm", (x * scale,), n, n * n)], {"x": n * n}, rtol=1e-10, atol=1e-10)


def test_matrix_functions_of_what_is_not_finite():
    graph = Graph()
    x = graph.input("x", 9)
    outputs = [graph.node("eigh", (x,), 3, 12), graph.node("expm", (x,), 3, 9)]
    program = Program(outputs, {"x": 9})
    for value in (np.nan, np.inf, -np.inf):
        for result in run(program, [{"x": np.array([1.0, 2, 3, value, 4, 5, 6, 7, 8])}])[0]:
            assert np.all(np.isnan(result))
    eigenvalues, exponential = run(program, [{"x": np.zeros(9)}])[0]
    np.testing.assert_array_equal(eigenvalues, [0, 0, 0, *np.eye(3).ravel()])
    np.testing.assert_array_equal(exponential, np.eye(3).ravel())


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed):
    """Whatever is stored, fused, put in place or shared between stages, the values stay."""
    rng, graph = np.random.default_rng(seed), Graph()
    n = int(rng.choice([1, 3, 8, 17, 256, 300]))
    x = graph.input("x", n)
    nodes = [x, graph.apply("sin", x), graph.total(x), graph.gather(x, [n - 1]), graph.constant(rng.normal(size=n))]
    for _ in range(25):
        kind = rng.integers(0, 8)
        a, b = (nodes[int(rng.integers(0, len(nodes)))] for _ in range(2))
        if kind < 4:
            if a.size not in (1, n) or b.size not in (1, n):
                continue
            made = graph.apply(["add", "multiply", "subtract", "maximum"][kind], a, b)
        elif kind == 4:
            made = graph.total(graph.apply("tanh", a)) if a.size > 1 else graph.apply("exp", -graph.apply("square", a))
        elif kind == 5:
            made = graph.gather(a, rng.integers(0, a.size, int(rng.choice([1, n]))))
        elif kind == 6:
            made = graph.concatenate([a, b, graph.constant(1.5)])
        else:
            starts = [int(rng.integers(0, 3)) for _ in range(2)]
            size = max(a.size, b.size) + 3
            made = graph.assemble([a, b], [(starts[0], starts[0] + a.size), (starts[1], starts[1] + b.size)], size)
        nodes.append(made * 0.5)
    compare(nodes[-6:], {"x": n}, seed, rtol=1e-12, atol=1e-13)


def test_a_handle_keeps_nothing_from_call_to_call():
    graph = Graph()
    x = graph.input("x", 5)
    outputs = [graph.assemble([x, x], [np.array([0, 1, 1, 2, 7]), (2, 7)], 9), graph.total(x * x)]
    program = Program(outputs, {"x": 5})
    handle = program.bind()
    first = [np.copy(v) for v in run(program, [{"x": np.arange(5.0)}], handle)[0]]
    run(program, [{"x": np.full(5, np.nan)}], handle)
    for before, after in zip(first, run(program, [{"x": np.arange(5.0)}], handle)[0], strict=True):
        np.testing.assert_array_equal(before, after)
    assert ctypes.sizeof(ctypes.c_double) == 8
