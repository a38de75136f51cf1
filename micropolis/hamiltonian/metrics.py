"""Position-dependent metrics: the options of RMHMC, and what each metric is in NumPy.

With G(q), v = G^-1 p and A_k = dG/dq_k, H = U + log det G / 2 + p'v / 2 has the gradient
dH/dq_k = dU/dq_k + sum_ij W_ij d3U/dq_i dq_j dq_k with one symmetric matrix W (Betancourt 2013): the metrics know
their W, densities know the contraction.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..density import Density
from ..errors import InputError
from .softabs import make_softabs

Array = NDArray[np.float64]

SOFTABS, HESSIAN, HESSIAN_DIAGONAL, GRADIENT_SQUARE, USER_METRIC = 0, 1, 2, 3, 4


@dataclass(frozen=True, eq=False)
class MetricAt:
    """A metric at one position.

    Attributes
    ----------
    matrix, inverse : ndarray (dim, dim)
        G and its inverse.
    root : ndarray (dim, dim)
        R with R R' = G: momenta are R z with z ~ N(0, I).
    log_det : float
        log det G.
    """

    matrix: Array
    inverse: Array
    root: Array
    log_det: float
    grad: Array = field(repr=False)  # of log density
    w: Callable[[Array], Array] = field(repr=False)
    contract: Callable[[Array], Array] = field(repr=False)

    def velocity(self, p: ArrayLike) -> Array:
        """G^-1 p for p (dim,)."""
        return self.inverse @ np.asarray(p, dtype=np.float64)

    def momentum(self, rng: np.random.Generator) -> Array:
        """A draw (dim,) from N(0, G)."""
        return self.root @ rng.standard_normal(len(self.root))

    def contraction_matrix(self, v: ArrayLike) -> Array:
        """The symmetric W (dim, dim) at velocity v (dim,)."""
        return self.w(np.asarray(v, dtype=np.float64))

    def force(self, p: ArrayLike) -> Array:
        """dH/dq (dim,) at momentum p (dim,)."""
        return self.contract(self.w(self.velocity(p))) - self.grad


class Metric(abc.ABC):
    """Base of the metrics; each is a frozen record of its options."""

    kind: ClassVar[int]
    derivatives: ClassVar[tuple[str, ...]] = ("hessian", "third_product")

    @property
    def parameter(self) -> float:
        """The number that the compiled metric takes: alpha, or the ridge."""
        return 0.0

    @abc.abstractmethod
    def at(self, density: Density, q: ArrayLike) -> MetricAt:
        """The metric at q (dim,).

        Raises
        ------
        InputError
            If it is not positive definite there.
        """

    def compiled(self) -> tuple[Any, ...]:
        """Functions for C, a metric and its contraction, each with an `address`; none where densities give both."""
        return ()

    def check(self, dim: int) -> None:
        """Raise where the metric cannot be one of `dim` dimensions."""

    def to_tree(self) -> dict[str, Any]:
        """Plain values that `from_tree` makes the metric of."""
        names = [name for name in ("alpha", "jitter", "ridge") if name in vars(self)]
        return {"metric": type(self).__name__, **{name: getattr(self, name) for name in names}}


def _point(density: Density, q: ArrayLike) -> Array:
    point = checks.points("q", q, density.dim)
    if point.ndim != 1:
        raise InputError(f"q: expected shape ({density.dim},), got {point.shape}")
    return point


def _from_matrix(g: Array, grad: Array, contract: Callable[[Array], Array], name: str) -> MetricAt:
    """A dense metric whose derivative `contract` gives."""
    try:
        root = np.linalg.cholesky(g).astype(np.float64)
    except np.linalg.LinAlgError:
        raise InputError(f"q: {name} is not positive definite there") from None
    inverse = np.linalg.inv(g).astype(np.float64)
    log_det = 2.0 * float(np.sum(np.log(np.diag(root))))
    return MetricAt(g, inverse, root, log_det, grad, lambda v: 0.5 * (inverse - np.outer(v, v)), contract)


def _from_diagonal(diagonal: Array, grad: Array, w: Callable[[Array], Array], contract: Any, name: str) -> MetricAt:
    if not np.all(diagonal > 0.0):
        raise InputError(f"q: {name} is not positive definite there")
    log_det = float(np.sum(np.log(diagonal)))
    return MetricAt(np.diag(diagonal), np.diag(1.0 / diagonal), np.diag(np.sqrt(diagonal)), log_det, grad, w, contract)


def _third(density: Density, q: Array) -> Callable[[Array], Array]:
    return lambda m: -density.third_derivative_product(q, m)


@dataclass(frozen=True)
class SoftAbs(Metric):
    """The Hessian of U = -log density with its eigenvalues l replaced by l coth(alpha l).

    Parameters
    ----------
    alpha : float
        > 0. Eigenvalues far above 1 / alpha are taken in absolute value, those near zero become 1 / alpha.
    jitter : float
        Upper end of a random diagonal U(0, jitter) added to the Hessian, drawn once per trajectory, which leaves the
        target invariant. Nothing here needs it: equal eigenvalues have their exact limits.

    References
    ----------
    Betancourt (2013), "A general metric for Riemannian manifold Hamiltonian Monte Carlo".

    Examples
    --------
    >>> import micropolis as mp
    >>> at = mp.SoftAbs(alpha=1e6).at(mp.densities.Funnel(3), [0.0, 1.0, 1.0])
    >>> at.matrix.round(3)
    array([[1.457, 0.746, 0.746],
           [0.746, 1.187, 0.187],
           [0.746, 0.187, 1.187]])
    """

    alpha: float = 1e6
    jitter: float = 0.0

    kind: ClassVar[int] = SOFTABS

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", checks.real("alpha", self.alpha, above=0.0))
        jitter = checks.real("jitter", self.jitter)
        if jitter < 0.0:
            raise InputError(f"jitter: expected a number >= 0, got {self.jitter!r}")
        object.__setattr__(self, "jitter", jitter)

    @property
    def parameter(self) -> float:
        return self.alpha

    def at(self, density: Density, q: ArrayLike) -> MetricAt:
        q = _point(density, q)
        softabs, slope = make_softabs(lambda function: function)
        values, vectors = np.linalg.eigh(-density.hessian(q))
        s = np.array([softabs(self.alpha, value) for value in values])
        slopes = np.array(
            [
                [slope(self.alpha, a, b, c, d) for b, d in zip(values, s, strict=True)]
                for a, c in zip(values, s, strict=True)
            ]
        )

        def w(v: Array) -> Array:
            e = vectors.T @ v
            inner = np.diag(np.diag(slopes) / s) - slopes * np.outer(e, e)
            return 0.5 * vectors @ inner @ vectors.T

        g, inverse = (vectors * s) @ vectors.T, (vectors / s) @ vectors.T
        root = (vectors * np.sqrt(s)) @ vectors.T
        return MetricAt(g, inverse, root, float(np.sum(np.log(s))), density.grad(q), w, _third(density, q))


@dataclass(frozen=True)
class Hessian(Metric):
    """The Hessian of U = -log density, where it is positive definite.

    A trajectory that meets a point where it is not is rejected (status ``METRIC_INDEFINITE``), so that the chain
    samples the density restricted to the region around its start in which the Hessian is positive definite. Use
    `SoftAbs` where that is not everywhere.

    Examples
    --------
    >>> import micropolis as mp
    >>> mp.Hessian().at(mp.densities.Gaussian([0.0], std=0.5), [1.0]).matrix
    array([[4.]])
    """

    kind: ClassVar[int] = HESSIAN

    def at(self, density: Density, q: ArrayLike) -> MetricAt:
        q = _point(density, q)
        return _from_matrix(-density.hessian(q), density.grad(q), _third(density, q), "the Hessian of -log density")


@dataclass(frozen=True)
class HessianDiag(Metric):
    """The diagonal of the Hessian of U = -log density, where it is positive; elsewhere as `Hessian`.

    Examples
    --------
    >>> import micropolis as mp
    >>> mp.HessianDiag().at(mp.densities.Gaussian([0.0, 0.0], cov=[[1.0, 0.5], [0.5, 1.0]]), [0.0, 0.0]).matrix
    array([[1.33333333, 0.        ],
           [0.        , 1.33333333]])
    """

    kind: ClassVar[int] = HESSIAN_DIAGONAL

    def at(self, density: Density, q: ArrayLike) -> MetricAt:
        q = _point(density, q)
        diagonal = -np.diag(density.hessian(q))
        return _from_diagonal(
            diagonal, density.grad(q), lambda v: np.diag(0.5 * (1.0 / diagonal - v * v)), _third(density, q),
            "the Hessian's diagonal",
        )  # fmt: skip


@dataclass(frozen=True)
class GradientSquare(Metric):
    """diag(g^2) + ridge with the gradient g of the log density: needs no third derivatives.

    Parameters
    ----------
    ridge : float
        > 0.

    Examples
    --------
    >>> import micropolis as mp
    >>> mp.GradientSquare(ridge=1.0).at(mp.densities.Gaussian([0.0]), [2.0]).matrix
    array([[5.]])
    """

    ridge: float

    kind: ClassVar[int] = GRADIENT_SQUARE
    derivatives: ClassVar[tuple[str, ...]] = ("hessian",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ridge", checks.real("ridge", self.ridge, above=0.0))

    @property
    def parameter(self) -> float:
        return self.ridge

    def at(self, density: Density, q: ArrayLike) -> MetricAt:
        q = _point(density, q)
        grad, hessian = density.grad(q), density.hessian(q)
        diagonal = grad**2 + self.ridge

        def contract(w: Array) -> Array:
            # dG_ii/dq_k = 2 g_i H_ik
            return 2.0 * hessian @ (np.diag(w) * grad)

        return _from_diagonal(
            diagonal, grad, lambda v: np.diag(0.5 * (1.0 / diagonal - v * v)), contract, "the squared gradient"
        )
