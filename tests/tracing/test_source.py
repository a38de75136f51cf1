"""Emitted source of array programs: as Python, compiled by Numba, in the CUDA simulator, typed for a real device."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import special

import micropolis as mp
from micropolis.errors import KernelError, MicropolisError
from micropolis.tracing.elementwise import ELEMENTWISE
from micropolis.tracing.graph import Graph
from micropolis.tracing.linalg_rules import factorised, solve, triangular
from micropolis.tracing.reference import evaluate
from micropolis.tracing.scalar_functions import make_scalars
from micropolis.tracing.source import emit

RNG = np.random.default_rng(4)
EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.5, 7.0, -7.0, 9.9, 26.0, -14.5, 50.0, -50.0, 709.0, -745.0, 1e-17, 1e-300,
    -1e300, 1e300, 5e-324, np.inf, -np.inf, np.nan,
]  # fmt: skip
# SciPy has 13 and 10 digits there, and infinity.
LEFT_OUT = {"polygamma2": [-14.5], "polygamma4": [-14.5], "gammaln": [5e-324], "gammainc": [5e-324]}


def same(got, expected, rtol=1e-11, atol=0.0):
    scale = np.max(np.abs(expected)[np.isfinite(expected)], initial=0.0)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol * scale)


def run(output, x):
    """The elements of a node by its emitted source, as Python."""
    from micropolis import jit_source

    source = emit(output.graph.constant(1.5), output, python=True)
    out = np.full(output.size, np.nan)
    with np.errstate(all="ignore"):
        value = jit_source._define(source.text, jit_source._python_names())(x, out, source.data)
    assert value == 1.5
    return out


def points(dim, n=3):
    return np.random.default_rng(dim).normal(scale=0.7, size=(n, dim))


# -- every operation, as Python --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name):
    rule, n = ELEMENTWISE[name], len(ELEMENTWISE[name].partials)
    some = np.array([v for v in EDGES if v not in LEFT_OUT.get(name, [])] + list(RNG.normal(scale=3.0, size=15)))
    operands = list(np.meshgrid(*[some] * min(n, 2))) + [RNG.normal(size=some.size**2)] * (n - 2)
    x = np.concatenate([v.ravel() for v in operands])
    graph, size = Graph(), x.size // n
    whole = graph.input("x", x.size)
    output = graph.apply(name, *[graph.gather(whole, np.arange(k * size, (k + 1) * size)) for k in range(n)])
    with np.errstate(all="ignore"):
        expected = np.asarray(rule.numpy(*x.reshape(n, size)), dtype=np.float64)
    np.testing.assert_allclose(run(output, x), expected, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("shape", [(1, 5, 1), (4, 3, 1), (3, 50, 1), (1, 5, 40), (2, 3, 5)])
def test_tables(shape):
    a, r, b = shape
    graph = Graph()
    x = graph.input("x", a * r * b)
    y = graph.sum(x, a, r, b)
    spread = graph.expand(graph.apply("sin", y), a, r, b)
    for output in (
        y, graph.sum(x * spread, a, r, b), spread * x + 1.0, graph.greatest(x, a, r, b), graph.logsumexp(x, a, r, b),
        graph.cumsum(x, a, r, b), graph.cumsum(x * spread, a, r, b, True), graph.total(spread - x) * x,
        graph.sum(graph.expand(y, a, b * r, 1) if b == 1 else spread, 1, a * r * b, 1),
    ):  # fmt: skip
        for point in points(x.size):
            same(run(output, point), evaluate([output], {"x": point})[0], atol=1e-14)
    unknown = points(x.size)[0]
    unknown[-1] = np.nan
    greatest = graph.greatest(x, a, r, b)
    same(run(greatest, unknown), evaluate([greatest], {"x": unknown})[0])


@pytest.mark.parametrize("size", [2, 7, 9, 31])
def test_moves(size):
    graph, rng = Graph(), np.random.default_rng(size)
    x = graph.input("x", size)
    y = x * graph.apply("cos", x) + 1.0
    some, twice = rng.permutation(size)[: (size + 1) // 2], rng.integers(0, size, size + 3)
    outputs = [
        graph.concatenate([y, graph.constant(rng.normal(size=3)), graph.total(y), x]),
        graph.gather(y, np.arange(size)[::-1]) * x,
        graph.assemble([graph.gather(y, twice), graph.constant(2.0), y], [twice + 1, (0, 1), (1, size + 1)], size + 2),
        graph.assemble([graph.gather(y, some), graph.total(x)], [some + 1, (0, 1)], size + 1),
        graph.assemble(
            [graph.constant(2.0), graph.assemble([y], [np.arange(size)[::-1]], size)], [(0, 2), (2, size + 2)], size + 2
        ),
        graph.gather(y, twice) + graph.gather(y, [0]),
        x,
        graph.gather(x, [1]),
    ]
    for output in outputs:
        for point in points(size):
            same(run(output, point), evaluate([output], {"x": point})[0])


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (7, 2), (40, 5), (50, 40)])
def test_matrices(rows, columns):
    graph, rng = Graph(), np.random.default_rng(rows)
    x = graph.input("x", columns)
    matrix, other = graph.constant(rng.normal(size=(rows, columns))), graph.constant(rng.normal(size=rows))
    product = graph.matvec(matrix, x, rows, False)
    outputs = [product, graph.matvec(matrix, graph.apply("tanh", product) * other, rows, True)]
    for tx in (False, True):
        for ty in (False, True):
            left, right = graph.expand(x, columns, 2, 1), graph.concatenate([x, graph.apply("sin", x), x])
            outputs.append(graph.matmul(left, right, 2, columns, 3, tx, ty))
    for output in outputs:
        for point in points(columns):
            same(run(output, point), evaluate([output], {"x": point})[0], atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_linear_algebra(n):
    graph, rng = Graph(), np.random.default_rng(n)
    x, right = graph.input("x", n * n), graph.constant(rng.normal(size=3 * n))
    definite = graph.matmul(x, x, n, n, n, False, True) + graph.constant(np.eye(n) * n)
    factor = graph.node("cholesky", (definite,), n, n * n)
    for shift in (np.roll(np.eye(n), 1, axis=0) * 2.0 * n, np.eye(n)):
        general = x + graph.constant(shift)
        lu = factorised(general, n)
        outputs = [
            factor, graph.node("cholesky_adjoint", (factor, x), n, n * n), graph.node("det", (general, lu), n, 1),
            graph.node("slogdet", (general, lu), n, 2), graph.node("cofactor", (general, lu), n, n * n),
            *(triangular(definite, right, n, 3, lower, transposed) for lower in (0, 1) for transposed in (0, 1)),
            *(solve(general, right, n, 3, transposed) for transposed in (False, True)),
            graph.node("eigh", (general,), n, n + n * n), graph.node("expm", (general,), n, n * n),
            solve(graph.constant(shift + 0.1), graph.concatenate([x, right]), n, n + 3),  # factors that are known
        ]  # fmt: skip
        for output in outputs:
            for point in points(n * n):
                same(run(output, point), evaluate([output], {"x": point})[0], rtol=1e-10, atol=1e-11)


def test_matrices_without_a_factor_or_an_inverse():
    graph = Graph()
    x = graph.input("x", 9)
    lu = factorised(x, 3)
    with np.errstate(all="ignore"):
        assert np.all(np.isnan(run(graph.node("cholesky", (x,), 3, 9), -np.eye(3).ravel())))
    singular = np.outer([1.0, 2.0, 3.0], [1.0, 1.0, 2.0]).ravel()
    assert run(graph.node("det", (x, lu), 3, 1), singular) == 0
    np.testing.assert_array_equal(run(graph.node("slogdet", (x, lu), 3, 2), singular), [0.0, -np.inf])
    singular[1] = 5.0
    output = graph.node("cofactor", (x, lu), 3, 9)
    same(run(output, singular), evaluate([output], {"x": singular})[0], atol=1e-13)


# -- whole densities, as Python --------------------------------------------------------------------------------------

Y = RNG.normal(size=40)
X = RNG.normal(size=(40, 3))
GROUP = RNG.integers(0, 4, 40)


def recursion(x):
    h, total = 1.0, 0.0
    for y in Y:
        h = 0.1 + 0.2 * x[0] ** 2 + np.tanh(x[1]) ** 2 * 0.5 * h + 0.1 * y * y
        total -= 0.5 * (np.log(h) + y * y / h)
    return total - 0.5 * x @ x


def two_states(x):
    level, slope, total = x[0], x[1], 0.0
    for y in Y:
        level, slope = level + np.sin(slope), 0.9 * slope + 0.1 * (y - level)
        total -= (y - level) ** 2
    return total - x @ x


def grouped(x):
    mu, tau, effect = x[0], np.exp(x[1]), x[2:]
    z = (Y - (mu + tau * effect)[GROUP]) / np.exp(0.1 * x[0])
    return -0.5 * np.sum(z**2) - 4.0 * x[0] - 0.5 * x @ x


def mixture(x):
    parts = x[:3] - 0.5 * ((Y[:, None] - x[3:]) * np.array([1.0, 0.5, 2.0])) ** 2
    return np.sum(special.logsumexp(parts, axis=1)) - np.sum(x**2)


def process(x):
    c = np.exp(2 * x[0] - 0.5 * (X[:6, :1] - X[:6, 0]) ** 2 * np.exp(-2 * x[1])) + np.exp(x[2]) * np.eye(6)
    factor = np.linalg.cholesky(c)
    white = np.linalg.solve(factor, Y[:6])
    return -0.5 * white @ white - np.sum(np.log(np.diag(factor))) - 0.5 * x @ x


def determinants(x):
    a = X[:3] + np.diag(x)
    return np.linalg.slogdet(a)[1] - np.linalg.det(a) ** 2 + np.sum(np.linalg.solve(a, x)) - x @ x


def regression(x):
    eta = X @ x[:3] + x[3]
    terms = (Y > 0) * eta - np.logaddexp(0.0, eta) - special.gammaln(2 + np.exp(x[4])) + special.log_ndtr(eta)
    return np.sum(terms) + np.sum(np.cumsum(x) ** 2) - x @ x


DENSITIES = {
    "recursion": (recursion, 2),
    "two states": (two_states, 2),
    "groups": (grouped, 6),
    "mixture": (mixture, 6),
    "process": (process, 3),
    "determinants": (determinants, 3),
    "regression": (regression, 5),
    "constant": (lambda x: 2.0, 2),
    "linear": (lambda x: np.sum(x), 3),
    "one coordinate": (lambda x: -0.5 * x[0] ** 2, 1),
    "its own gradient": (lambda x: np.sum(x * np.arange(4.0)) + np.exp(x[1]), 4),
}


def agree(one, other):
    """Values and gradients of two densities, or of a density and readable source."""
    for x in points(one.dim):
        value, grad = one.value_and_grad(x)
        if isinstance(other, tuple):
            slope = np.full(one.dim, np.nan)
            got = other[0](x, slope, other[1])
        else:
            got, slope = other.value_and_grad(x)
        same(got, value)
        same(slope, grad, atol=1e-12)


@pytest.mark.parametrize("name", DENSITIES)
def test_densities(name):
    density = mp.Density.from_numpy(*DENSITIES[name])
    agree(density, density.readable)


def test_models():
    """The models by which tracing is tested."""
    from test_from_numpy import MODELS

    for model in MODELS:
        density = mp.Density.from_numpy(*model())
        agree(density, density.readable)


def test_source_is_made_without_numba():
    code = (
        "import sys, numpy as np, micropolis as mp\n"
        "d = mp.Density.from_numpy(lambda x: -np.sum(np.exp(x)), 3)\n"
        "f, data = d.readable\n"
        "assert 'numba' not in sys.modules\n"
        "sys.modules['numba'] = None\n"
        "try:\n    d.compile()\n"
        "except mp.errors.MissingExtraError as error:\n    print(error)"
    )
    assert "pip install 'micropolis[numba]'" in script(code)


def script(code, **environment):
    prelude = f"import sys; sys.path[:0] = {[str(Path(mp.__file__).parents[1]), str(Path(__file__).parents[1])]!r}\n"
    command = [sys.executable, "-P", "-c", prelude + code]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout.strip()


# -- compiled by Numba -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["recursion", "groups", "process"])
def test_compiled(name):
    pytest.importorskip("numba")
    density = mp.Density.from_numpy(*DENSITIES[name])
    compiled = density.compile()
    assert compiled is density.compile() is compiled.compile() is not density
    agree(density, compiled)
    x = points(density.dim)
    np.testing.assert_array_equal(compiled(x), density(x))
    np.testing.assert_array_equal(compiled.hessian(x), density.hessian(x))
    again = pickle.loads(pickle.dumps(compiled))
    assert again._compiled.function is compiled._compiled.function  # other data of one structure compile nothing
    np.testing.assert_array_equal(again.value_and_grad(x)[1], compiled.value_and_grad(x)[1])


def test_scalar_functions_under_numba():
    """Those that are not the functions of Python: exponentials, logarithms and what is made of them."""
    numba = pytest.importorskip("numba")
    from micropolis.jit_source import _scalar_jit

    functions = make_scalars(_scalar_jit, "numba")
    exp, log, log1p, logaddexp, expit = (functions[name] for name in ("exp", "log", "log1p", "logaddexp", "expit"))

    @numba.njit(error_model="numpy")
    def fill(x, out):
        for i in range(x.size):
            out[0, i], out[1, i], out[2, i] = exp(x[i]), log(x[i]), log1p(x[i])
            out[3, i], out[4, i] = logaddexp(x[i], 0.3), expit(x[i])

    x = np.concatenate([EDGES, RNG.normal(scale=5.0, size=500), np.exp(RNG.uniform(-745, 709, size=500))])
    out = np.empty((5, x.size))
    fill(x, out)
    with np.errstate(all="ignore"):
        expected = np.exp(x), np.log(x), np.log1p(x), np.logaddexp(x, 0.3), special.expit(x)
    for got, truth in zip(out, expected, strict=True):
        np.testing.assert_allclose(got, truth, rtol=1e-15, atol=1e-323)


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
def test_chains():
    """A chain of the C kernel on compiled source, and the readable kernel by backend="numba"."""
    pytest.importorskip("numba")
    density, kernel = mp.Density.from_numpy(*DENSITIES["groups"]), mp.MALA(0.01)
    options = {"draws": 40, "warmup": 0, "chains": 2, "seed": 5, "progress": False}
    plain = mp.sample(density, kernel, **options)
    compiled = mp.sample(density.compile(), kernel, **options)
    readable = mp.sample(density, kernel, backend="numba", **options)
    np.testing.assert_allclose(compiled.draws, plain.draws, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(readable.draws, compiled.draws)


def test_too_large():
    pytest.importorskip("numba")

    def unrolled(x):
        rng, values = np.random.default_rng(1), list(x)
        for _ in range(6000):
            i, j = rng.integers(0, len(values), 2)
            values.append(values[i] * values[j] + 0.1 if rng.random() < 0.5 else np.sin(values[i]))
        return sum(values[-3000:]) - x @ x

    density = mp.Density.from_numpy(unrolled, 3)
    with pytest.raises(KernelError, match=r"\d+ scalar operations.*backend='c'"):
        density.compile()
    with pytest.raises(MicropolisError, match="scalar operations"):
        mp.sample(density, mp.MALA(), backend="numba", draws=2, warmup=0, chains=1, progress=False)
    assert np.isfinite(density(np.zeros(3)))


# -- CUDA ------------------------------------------------------------------------------------------------------------

SIMULATED = """
import warnings, numpy as np, micropolis as mp
from tracing.test_source import DENSITIES
warnings.simplefilter("ignore")
for name in ("groups", "process"):
    density = mp.Density.from_numpy(*DENSITIES[name])
    options = dict(draws=4, warmup=5, chains=2, seed=5, progress=False)
    a, b = (mp.sample(density, mp.HMC(0.02, 3, target_accept=0.8), backend=k, **options) for k in ("c", "cuda"))
    np.testing.assert_allclose(a.draws, b.draws, rtol=1e-8)
print("equal")
"""

# As in tests/test_cuda.py: a device is made up, and what fails is the search for NVIDIA's compiler, after typing.
TYPED = """
import functools, numpy as np, micropolis as mp
import numba.cuda.dispatcher
from numba import cuda
from numba.cuda.typing.typeof import Purpose, typeof
from micropolis.jit import compile_readable
from micropolis.tracing.elementwise import ELEMENTWISE
from micropolis.tracing.graph import Graph
from micropolis.jit_source import readable
from tracing.test_source import DENSITIES

class Device:
    compute_capability = (8, 0)

numba.cuda.dispatcher.get_current_device = Device
device = functools.partial(cuda.jit, device=True)

def typed(function, data, dim):
    logp_grad = compile_readable(function, device, device=True)

    def kernel(x, grad, data, out):
        out[0] = logp_grad(x, grad, data)

    arguments = np.zeros(dim), np.zeros(dim), data, np.zeros(1)
    try:
        signature = tuple(typeof(a, Purpose.argument) for a in arguments)
        cuda.compile(kernel, signature, device=False, abi="numba", cc=(8, 0))
    except Exception as error:
        return type(error).__name__
    return "compiled"

good = ("compiled", "DynamicLibNotFoundError", "NvvmSupportError")
for name in ("groups", "determinants"):
    density = mp.Density.from_numpy(*DENSITIES[name])
    assert typed(*density.readable, density.dim) in good, name
graph = Graph()
x = graph.input("x", 3)
operands = [graph.gather(x, [k]) for k in range(3)]
terms = [graph.apply(name, *operands[: len(rule.partials)]) for name, rule in ELEMENTWISE.items()]
assert typed(*readable(graph.total(graph.concatenate(terms)), x), 3) in good
function, data = density.readable
assert typed(function, (data[0],), 3) == "TypingError"
print("typed")
"""


def test_chains_in_the_simulator():
    pytest.importorskip("numba_cuda")
    assert script(SIMULATED, NUMBA_ENABLE_CUDASIM="1") == "equal"


def test_source_has_types_on_a_real_device():
    pytest.importorskip("numba_cuda")
    assert script(TYPED, NUMBA_ENABLE_CUDASIM="0") == "typed"
