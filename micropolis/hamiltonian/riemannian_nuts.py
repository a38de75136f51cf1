"""The No-U-Turn sampler under a position-dependent metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..adaptation.rule import step_size_rule
from ..density import Density
from ..errors import InputError, KernelError
from ..jit import Evaluate, Random
from ..linalg import make_linalg
from ..protocol import (
    DIAGONAL,
    ENERGY_ERROR,
    GRAD,
    LOGP,
    NON_FINITE,
    NON_REVERSIBLE,
    NOT_CONVERGED,
    OK,
    Buffer,
    Kernel,
    Tuning,
    X,
    info_dtype,
    register,
)
from .geometry import GRADIENT, ITERATIONS, JITTER, N_GRAD, N_METRIC, VALUE, Q, make_geometry
from .metrics import USER_METRIC, Metric, SoftAbs
from .multinomial import make_multinomial
from .riemannian import RMHMC, check_integrator, fill_integrator
from .riemannian_integrators import make_integrators
from .user_metric import from_tree
from .work import MOMENTUM, POSITION, V_END, V, work_rows

# Vectors of a subtree in the order of integration; those of its first point, its last one, and the sum of momenta.
FIRST_P, FIRST_V, LAST_P, LAST_V, TOTAL, N_SUBTREE = range(6)
# Rows: both ends, proposal and candidate, the trajectory, the newest subtree, then those that wait at each level.
Q_LEFT, P_LEFT, Q_RIGHT, P_RIGHT, Q_PROPOSED, G_PROPOSED, Q_CANDIDATE, G_CANDIDATE, WHOLE = range(9)
TREE = WHOLE + N_SUBTREE
WAITING = TREE + N_SUBTREE


def make_step(jit: Callable[..., Any], density: Evaluate, random: Random) -> Callable[..., Any]:
    """Riemannian NUTS: multinomial draws from a trajectory that doubles until it turns.

    Hoffman & Gelman (2014), Betancourt (2017); the criterion of Betancourt (2013) takes velocities at the ends and the
    sum of the momenta between them.
    """
    algebra, geometry, integrators = make_linalg(jit), make_geometry(jit, density), make_integrators(jit, density)
    copy, dot_sum, normal, uniform = algebra.copy, algebra.dot_sum, random.normal, random.uniform
    areas, start, integrate, energy_of = integrators.areas, integrators.start, integrators.step, integrators.energy
    momentum, forget, two = geometry.momentum, integrators.forget, integrators.two
    start_alone, add_point, join_half = make_multinomial(jit, random)

    @jit
    def turns(a, b):  # type: ignore[no-untyped-def]
        """Whether a + b turns: the whole, and as in Stan each half with the near end of the other."""
        whole = dot_sum(a[FIRST_V], a[TOTAL], b[TOTAL]) > 0.0 and dot_sum(b[LAST_V], a[TOTAL], b[TOTAL]) > 0.0
        left = dot_sum(a[FIRST_V], a[TOTAL], b[FIRST_P]) > 0.0 and dot_sum(b[FIRST_V], a[TOTAL], b[FIRST_P]) > 0.0
        right = dot_sum(a[LAST_V], b[TOTAL], a[LAST_P]) > 0.0 and dot_sum(b[LAST_V], b[TOTAL], a[LAST_P]) > 0.0
        return not (whole and left and right)

    @jit
    def put_before(a, b):  # type: ignore[no-untyped-def]
        """b becomes the merged tree a + b."""
        copy(a[FIRST_P], b[FIRST_P])
        copy(a[FIRST_V], b[FIRST_V])
        for i in range(a.shape[1]):
            b[TOTAL, i] = a[TOTAL, i] + b[TOTAL, i]

    @jit
    def single(p, v, tree):  # type: ignore[no-untyped-def]
        copy(p, tree[FIRST_P])
        copy(v, tree[FIRST_V])
        copy(p, tree[LAST_P])
        copy(v, tree[LAST_V])
        copy(p, tree[TOTAL])

    @jit
    def copy_tree(tree, out):  # type: ignore[no-untyped-def]
        for row in range(N_SUBTREE):
            copy(tree[row], out[row])

    @jit
    def reverse(tree):  # type: ignore[no-untyped-def]
        """The same tree in the other direction."""
        for i in range(tree.shape[1]):
            tree[FIRST_P, i], tree[LAST_P, i] = tree[LAST_P, i], tree[FIRST_P, i]
            tree[FIRST_V, i], tree[LAST_V, i] = tree[LAST_V, i], tree[FIRST_V, i]

    @jit
    def step(options, scale, table, data, rng, state, work, info):  # type: ignore[no-untyped-def]
        x, logp, grad = state
        own = work.shape[0] - (WAITING + (options.max_depth + 1) * N_SUBTREE)
        t, rows = areas(work[:own], two(options)), work[own:]
        vectors, g, at = t[0], t[1], t[2]
        q, p, v = vectors[POSITION], vectors[MOMENTUM], vectors[V]
        whole, tree, waiting = rows[WHOLE:TREE], rows[TREE:WAITING], rows[WAITING:]
        forget(options, t)
        g[N_GRAD, 0] = 0.0
        g[N_METRIC, 0] = 0.0
        g[ITERATIONS, 0] = 0.0

        for i in range(x.size):
            g[JITTER, i] = options.metric_jitter * uniform(rng) if options.metric_jitter > 0.0 else 0.0
        for i in range(x.size):
            vectors[V_END, i] = normal(rng)
        copy(x, q)
        copy(grad, at[GRADIENT])
        at[VALUE, 0] = logp[0]
        energy_start, logp_proposed, logp_candidate, energy_candidate = 0.0, logp[0], 0.0, 0.0
        status = start(options, data, t, True)
        if status == OK:
            momentum(options, g, at, vectors[V_END], p)
            status, energy_start = energy_of(options, data, t)
        if status == OK and not math.isfinite(energy_start):
            status = NON_FINITE
        copy(q, rows[Q_LEFT])
        copy(p, rows[P_LEFT])
        copy(q, rows[Q_RIGHT])
        copy(p, rows[P_RIGHT])
        single(p, v, whole)  # first: the end backward in time, last: forward

        energy_proposed, record = energy_start, start_alone()
        n_leaves, depth, turning, moved, side = 0, 0, False, False, 0
        while status == OK and depth < options.max_depth and not turning:
            forward = uniform(rng) < 0.5
            direction = 1 if forward else -1
            eps = direction * options.step_size
            if side == -direction:  # the trajectory is at its other end
                copy(rows[Q_RIGHT if forward else Q_LEFT], q)
                copy(rows[P_RIGHT if forward else P_LEFT], p)
                forget(options, t)
                status = start(options, data, t, False)
                if status != OK:
                    break
            side = direction

            for leaf in range(1 << depth):
                status = integrate(options, data, t, eps)
                energy = 0.0
                if status == OK:
                    status, energy = energy_of(options, data, t)
                n_leaves += 1
                if status == OK and not math.isfinite(energy):
                    status = NON_FINITE
                if status == OK and not energy - energy_start <= 1000.0:
                    status = ENERGY_ERROR
                if status != OK:
                    break

                taken, record = add_point(record, energy_start - energy, leaf == 0, rng)
                if taken:
                    copy(at[Q], rows[Q_CANDIDATE])
                    copy(at[GRADIENT], rows[G_CANDIDATE])
                    logp_candidate, energy_candidate = at[VALUE, 0], energy

                single(p, v, tree)
                level = 0
                while (leaf >> level) & 1 and not turning:
                    before = waiting[level * N_SUBTREE : (level + 1) * N_SUBTREE]
                    turning = turns(before, tree)
                    put_before(before, tree)
                    level += 1
                if turning:
                    break
                copy_tree(tree, waiting[level * N_SUBTREE : (level + 1) * N_SUBTREE])
            if status != OK or turning:
                break

            taken, record = join_half(record, rng)
            if taken:
                copy(rows[Q_CANDIDATE], rows[Q_PROPOSED])
                copy(rows[G_CANDIDATE], rows[G_PROPOSED])
                logp_proposed, energy_proposed, moved = logp_candidate, energy_candidate, True
            copy(q, rows[Q_RIGHT if forward else Q_LEFT])
            copy(p, rows[P_RIGHT if forward else P_LEFT])
            if not forward:  # in the order of this doubling the trajectory begins at its forward end
                reverse(whole)
            turning = turns(whole, tree)
            put_before(whole, tree)
            copy_tree(tree, whole)
            if not forward:
                reverse(whole)
            depth += 1

        if status < 0:
            return status
        if moved:
            copy(rows[Q_PROPOSED], x)
            copy(rows[G_PROPOSED], grad)
            logp[0] = logp_proposed
        n = float(max(n_leaves, 1))
        _, _, _, accept_sum, accept_sum_symmetric = record
        info.logp = logp[0]
        info.accept_prob = accept_sum / n
        info.n_grad = int(g[N_GRAD, 0])
        info.accepted = moved
        info.divergent = status != OK
        info.status = status
        info.energy = energy_proposed
        info.energy_error = energy_proposed - energy_start
        info.accept_prob_symmetric = accept_sum_symmetric / n
        info.step_size = options.step_size
        info.depth = depth
        info.n_steps = n_leaves
        info.fixed_point_iterations = int(g[ITERATIONS, 0])
        info.n_metric = int(g[N_METRIC, 0])
        info.not_converged = status == NOT_CONVERGED
        info.non_reversible = status == NON_REVERSIBLE
        return OK

    return step


@register
@dataclass(frozen=True, eq=False)
class RMNUTS(Kernel):
    """The No-U-Turn sampler under a position-dependent metric: trajectories as long as they need to be.

    Parameters
    ----------
    step_size : float
        eps > 0.
    max_depth : int
        At most 2**max_depth - 1 integrator steps a draw, in 1..20.
    metric, integrator, fixed_point_tol, fixed_point_max_iter, target_accept, reversibility_tol
        As in `RMHMC`; "explicit_uncorrected" is not offered, since its steps do not return.

    References
    ----------
    Betancourt (2013), "Generalizing the No-U-Turn sampler to Riemannian manifolds".

    Examples
    --------
    >>> import micropolis as mp
    >>> trace = mp.sample(mp.densities.Funnel(11), mp.RMNUTS(0.15), draws=50, warmup=10, chains=2, seed=1)
    >>> bool(trace.stats["n_steps"].max() > trace.stats["n_steps"].min())
    True
    """

    step_size: float = 0.15
    max_depth: int = 8
    metric: Metric = field(default_factory=SoftAbs)
    integrator: str = "implicit"
    fixed_point_tol: float = 1e-9
    fixed_point_max_iter: int = 100
    target_accept: float | None = None
    reversibility_tol: float | None = None

    name: ClassVar[str] = "riemannian_nuts"
    family: ClassVar[str] = "hamiltonian"
    OPTIONS: ClassVar[np.dtype[Any]] = RMHMC.OPTIONS
    INFO: ClassVar[np.dtype[Any]] = info_dtype(
        ("energy", "f8"), ("energy_error", "f8"), ("accept_prob_symmetric", "f8"), ("step_size", "f8"),
        ("depth", "i8"), ("n_steps", "i8"), ("fixed_point_iterations", "i8"), ("n_metric", "i8"),
        ("not_converged", "?"), ("non_reversible", "?"),
    )  # fmt: skip
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP, GRAD)
    accept_statistic: ClassVar[str] = "accept_prob_symmetric"
    make_step = staticmethod(make_step)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step_size", checks.real("step_size", self.step_size, above=0.0))
        object.__setattr__(self, "max_depth", checks.integer("max_depth", self.max_depth, least=1, most=20))
        if isinstance(self.metric, dict):  # of a saved trace
            object.__setattr__(self, "metric", from_tree(self.metric))
        if self.target_accept is not None:
            checks.real("target_accept", self.target_accept, above=0.0, below=1.0)
        check_integrator(
            self.step_size, self.metric, self.integrator, self.fixed_point_tol, self.fixed_point_max_iter,
            self.reversibility_tol, 0.0,
        )  # fmt: skip
        if self.integrator == "explicit_uncorrected":
            raise InputError("integrator: the steps of 'explicit_uncorrected' do not return, use 'explicit'")

    def tuning(self, dim: int) -> Tuning:
        return Tuning(self.step_size, DIAGONAL, np.ones(dim))

    def work_rows(self, dim: int) -> int:
        return work_rows(dim) + WAITING + (self.max_depth + 1) * N_SUBTREE

    def prepare(self, density: Density) -> None:
        self.metric.check(density.dim)
        density.prepare(*self.metric.derivatives)

    def check_backend(self, backend: str) -> None:
        if self.metric.kind == USER_METRIC:
            raise KernelError(f"backend={backend!r}: a metric of the user's is compiled CPU code; use backend='c'")

    def fill_options(self, options: np.void, dim: int) -> object:
        options["max_depth"] = self.max_depth
        return fill_integrator(
            options, dim, self.metric, self.integrator, self.fixed_point_tol, self.fixed_point_max_iter,
            self.reversibility_tol, 0.0,
        )  # fmt: skip

    def adaptation(self, dim: int, n_warmup: int) -> NDArray[Any] | None:
        return step_size_rule(self.target_accept, n_warmup, dim, self.INFO, accept=self.accept_statistic)

    def tuned(self, tuning: Tuning) -> RMNUTS:
        return replace(self, step_size=tuning.step_size, target_accept=None)
