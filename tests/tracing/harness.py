"""Functions traced and run by the readable interpreter: values against NumPy's own, derivatives against differences."""

import numpy as np

from micropolis.tracing import composed, functions, linalg  # noqa: F401  fill the tables of Traced
from micropolis.tracing.arrays import Traced
from micropolis.tracing.derivatives import gradient, tangent
from micropolis.tracing.graph import Graph
from micropolis.tracing.makers import fillable, stand_ins
from micropolis.tracing.reference import evaluate


class Program:
    """A traced function of one vector: its value, gradient and products with its Hessian.

    `again` traces it with makers of traced arrays, as code is that fails without.
    """

    def __init__(self, f, dim, again=False):
        self.graph = Graph()
        self.input = self.graph.input("x", dim)
        x = Traced.argument(self.input)
        with np.errstate(all="ignore"):
            if again:
                with stand_ins(self.graph, [f.__globals__]):
                    self.result = fillable(f)(x)
            else:
                self.result = f(x)
        if isinstance(self.result, np.ndarray) and self.result.dtype == object:
            self.result = self.result.reshape(-1)[0]
        node = self.result.full() if isinstance(self.result, Traced) else self.graph.constant(self.result)
        self.outputs = [node, *(gradient(node, [self.input]) if node.size == 1 else [])]

    def value(self, x):
        """In the shape that the function returns."""
        shape = self.result.shape if isinstance(self.result, Traced) else np.shape(self.result)
        return evaluate(self.outputs[:1], {"x": x})[0].reshape(shape)

    def grad(self, x):
        return evaluate(self.outputs[1:], {"x": x})[0]

    def hvp(self, x, v):
        along = self.graph.input("v", len(x))
        return evaluate(tangent(self.outputs[1:], {self.input: along}), {"x": x, "v": v})[0]

    def hessian(self, x):
        return np.array([self.hvp(x, row) for row in np.eye(len(x))])


def check(f, points, again=False, slopes=True, second=True, rtol=1e-12):
    """Value to `rtol`; gradient and products with the Hessian to differences, off by h^2 f''' and eps f / h."""
    points = np.atleast_2d(points)
    dim = points.shape[1]
    program = Program(f, dim, again)
    v = np.random.default_rng(1).normal(size=dim)
    for x in points:
        with np.errstate(all="ignore"):
            expected = np.asarray(f(x.copy()), dtype=np.float64)
        value = program.value(x)
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=rtol, atol=rtol)
        if not slopes:
            continue
        scale = max(1.0, float(np.max(np.abs(expected))))
        grad = program.grad(x)
        differences = [(f(x + h) - f(x - h)) / 2e-6 for h in 1e-6 * np.eye(dim)]
        np.testing.assert_allclose(grad, np.reshape(differences, dim), rtol=1e-6, atol=1e-7 * scale)
        if second:
            moved = (program.grad(x + 1e-6 * v) - program.grad(x - 1e-6 * v)) / 2e-6
            np.testing.assert_allclose(
                program.hvp(x, v), moved, rtol=1e-5, atol=1e-6 * max(scale, float(np.max(np.abs(moved))))
            )
    return program
