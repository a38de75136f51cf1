"""The No-U-Turn sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..adaptation.dual_averaging import USUAL_DEPTH
from ..adaptation.rule import (
    DUAL_AVERAGING,
    METRIC_DENSE,
    METRIC_FIXED,
    METRIC_GRADIENT,
    STEP_FIXED,
    rule,
)
from ..jit import Evaluate, Random, head_writer
from ..linalg import make_linalg
from ..protocol import (
    GRAD,
    LOGP,
    OK,
    Buffer,
    Kernel,
    Tuning,
    X,
    hamiltonian_tuning,
    info_dtype,
    inverse_mass,
    options_dtype,
    register,
)
from .integrators import make_leapfrog, trajectory_status, u_turn
from .multinomial import make_multinomial

# Vectors of the work area before those of the waiting subtrees, which take three for each level.
N_VECTORS = 18


def make_step(jit: Callable[..., Any], density: Evaluate, random: Random) -> Callable[..., Any]:
    """NUTS: a trajectory that doubles until it turns (Hoffman & Gelman 2014), multinomial draws (Betancourt 2017).

    A doubling integrates 2^depth leaves in one direction and merges subtrees as a binary counter carries, so that at
    most one finished subtree waits at each level.
    """
    algebra, leapfrog, turns = make_linalg(jit), make_leapfrog(jit, density.logp_grad), u_turn(jit)
    copy, dot, normal, uniform = algebra.copy, algebra.dot, random.normal, random.uniform
    status_of, write_head = trajectory_status(jit), head_writer(jit)
    start, add_point, join_half = make_multinomial(jit, random)

    @jit
    def copy_three(a, b, c, out_a, out_b, out_c):  # type: ignore[no-untyped-def]
        copy(a, out_a)
        copy(b, out_b)
        copy(c, out_c)

    @jit
    def add(x, out):  # type: ignore[no-untyped-def]
        for i in range(out.size):
            out[i] = x[i] + out[i]

    @jit
    def step(options, scale, table, data, rng, state, work, info):  # type: ignore[no-untyped-def]
        x, logp, grad = state
        scratch, q, w, g = work[0], work[1], work[2], work[3]
        q_left, w_left, g_left = work[4], work[5], work[6]  # the ends of the trajectory, backward and forward in time
        q_right, w_right, g_right = work[7], work[8], work[9]
        q_proposed, g_proposed = work[10], work[11]  # the draw from the trajectory
        q_candidate, g_candidate = work[12], work[13]  # the draw from its new half
        total = work[14]  # sum of the momenta of the trajectory
        tree_first, tree_last, tree_total = work[15], work[16], work[17]  # the newest finished subtree
        waiting = work[N_VECTORS:]  # first, last and total of the subtree that waits at each level

        for i in range(x.size):
            w[i] = normal(rng)
        energy_start = 0.5 * dot(x.size, w, w) - logp[0]
        copy_three(x, w, grad, q_left, w_left, g_left)
        copy_three(x, w, grad, q_right, w_right, g_right)
        copy(w, total)
        logp_proposed, energy_proposed, moved = logp[0], energy_start, False
        record = start()
        status, depth, turning, n_leaves = OK, 0, False, 0

        while depth < options.max_depth and not turning:
            forward = uniform(rng) < 0.5
            eps = options.step_size
            if forward:
                copy_three(q_right, w_right, g_right, q, w, g)
            else:
                eps = -eps
                copy_three(q_left, w_left, g_left, q, w, g)
            logp_candidate, energy_candidate = 0.0, 0.0

            for leaf in range(1 << depth):
                code, logp_new, kinetic = leapfrog(options.metric, scale, eps, q, w, g, data, scratch)
                energy = kinetic - logp_new
                n_leaves += 1
                status = status_of(code, energy, energy_start)
                if status != OK:
                    break

                taken, record = add_point(record, energy_start - energy, leaf == 0, rng)
                if taken:
                    copy(q, q_candidate)
                    copy(g, g_candidate)
                    logp_candidate, energy_candidate = logp_new, energy

                copy_three(w, w, w, tree_first, tree_last, tree_total)
                level = 0
                while (leaf >> level) & 1 and not turning:
                    first, last, sum_ = waiting[3 * level], waiting[3 * level + 1], waiting[3 * level + 2]
                    turning = turns(first, last, sum_, tree_first, tree_last, tree_total)
                    copy(first, tree_first)
                    add(sum_, tree_total)
                    level += 1
                if turning:
                    break
                first, last, sum_ = waiting[3 * level], waiting[3 * level + 1], waiting[3 * level + 2]
                copy_three(tree_first, tree_last, tree_total, first, last, sum_)
            if status != OK or turning:
                break

            taken, record = join_half(record, rng)
            if taken:
                copy(q_candidate, q_proposed)
                copy(g_candidate, g_proposed)
                logp_proposed, energy_proposed, moved = logp_candidate, energy_candidate, True
            if forward:
                turning = turns(w_left, w_right, total, tree_first, tree_last, tree_total)
                copy_three(q, w, g, q_right, w_right, g_right)
            else:  # in the order of this doubling the trajectory begins at its forward end
                turning = turns(w_right, w_left, total, tree_first, tree_last, tree_total)
                copy_three(q, w, g, q_left, w_left, g_left)
            add(tree_total, total)
            depth += 1

        if status < 0:
            return status
        if moved:
            copy(q_proposed, x)
            copy(g_proposed, grad)
            logp[0] = logp_proposed
        _, _, _, accept_sum, accept_sum_symmetric = record
        write_head(info, logp[0], accept_sum / n_leaves, n_leaves, moved, status)
        info.energy = energy_proposed
        info.energy_error = energy_proposed - energy_start
        info.accept_prob_symmetric = accept_sum_symmetric / n_leaves
        info.step_size = options.step_size
        info.depth = depth
        return OK

    return step


def make_limit(jit: Callable[..., Any]) -> Callable[..., Any]:
    """From the middle of the early phase to the final one, seven trajectories of eight are one doubling shorter.

    Half a U-turn is where a draw is least correlated with the last one, which is what the estimators want, at half the
    price; the eighth runs free and shows the usual depth. The final phase tunes the step on the trajectories that
    sampling will make.
    """

    @jit
    def limit(rule, k, info, options, memory):  # type: ignore[no-untyped-def]
        if rule.limit_offset == 0:
            return
        if options.max_depth == rule.max_depth:
            memory[USUAL_DEPTH] += 0.3 * (info.depth - memory[USUAL_DEPTH])
        draw, usual = k + 1, math.floor(memory[USUAL_DEPTH] + 0.5)
        limited = rule.early_end // 2 <= draw < rule.final_start and draw % 8 != 0
        options.max_depth = usual - 1 if limited and 2 < usual <= rule.max_depth else rule.max_depth

    return limit


@register
@dataclass(frozen=True, eq=False)
class NUTS(Kernel):
    """The No-U-Turn sampler: multinomial draws from a trajectory that doubles until it turns.

    Parameters
    ----------
    step_size : float or None
        eps > 0, kept as given. None: found in warm-up by dual averaging.
    target_accept : float
        Acceptance that warm-up aims at, in (0, 1). Larger values take smaller steps and diverge less.
    max_depth : int
        At most 2**max_depth - 1 leapfrog steps a draw, in 1..20.
    metric : "diag", "dense" or "unit"
        Inverse mass learned in warm-up: variances from draws and gradients, a covariance matrix, or nothing.
    inverse_mass : None, array (dim,) or array (dim, dim)
        A fixed inverse mass; warm-up then keeps it.

    References
    ----------
    Hoffman & Gelman (2014), "The No-U-Turn sampler". Betancourt (2017), "A conceptual introduction to Hamiltonian
    Monte Carlo", appendix A.

    Examples
    --------
    >>> import micropolis as mp
    >>> trace = mp.sample(mp.densities.Gaussian([0.0, 1.0]), mp.NUTS(), draws=20, warmup=50, chains=2, seed=1)
    >>> trace.draws.shape, bool(trace.stats["divergent"].any())
    ((2, 20, 2), False)
    """

    step_size: float | None = None
    target_accept: float = 0.8
    max_depth: int = 10
    metric: str = "diag"
    inverse_mass: ArrayLike | None = None

    name: ClassVar[str] = "nuts"
    family: ClassVar[str] = "hamiltonian"
    OPTIONS: ClassVar[np.dtype[Any]] = options_dtype(("max_depth", "i8"))
    INFO: ClassVar[np.dtype[Any]] = info_dtype(
        ("energy", "f8"), ("energy_error", "f8"), ("accept_prob_symmetric", "f8"), ("step_size", "f8"), ("depth", "i8")
    )
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP, GRAD)
    accept_statistic: ClassVar[str] = "accept_prob_symmetric"
    make_step = staticmethod(make_step)
    make_limit = staticmethod(make_limit)

    def __post_init__(self) -> None:
        if self.step_size is not None:
            object.__setattr__(self, "step_size", checks.real("step_size", self.step_size, above=0.0))
        checks.real("target_accept", self.target_accept, above=0.0, below=1.0)
        object.__setattr__(self, "max_depth", checks.integer("max_depth", self.max_depth, least=1, most=20))
        checks.choice("metric", self.metric, ("diag", "dense", "unit"))

    def tuning(self, dim: int) -> Tuning:
        return hamiltonian_tuning(self.step_size, self.inverse_mass, dim)

    def n_work(self) -> int:
        return N_VECTORS + 3 * self.max_depth

    def fill_options(self, options: np.void, dim: int) -> object:
        options["max_depth"] = self.max_depth
        return None

    def adaptation(self, dim: int, n_warmup: int) -> NDArray[Any] | None:
        metric = {"diag": METRIC_GRADIENT, "dense": METRIC_DENSE, "unit": METRIC_FIXED}[self.metric]
        if self.inverse_mass is not None or n_warmup == 0:
            metric = METRIC_FIXED
        if self.step_size is not None and metric == METRIC_FIXED:
            return None
        return rule(
            step_rule=STEP_FIXED if self.step_size is not None else DUAL_AVERAGING,
            metric_rule=metric,
            target=self.target_accept,
            n_warmup=n_warmup,
            dim=dim,
            info=self.INFO,
            accept=self.accept_statistic,
            find_step=self.step_size is None,
            limit_offset=self.OPTIONS.fields["max_depth"][1],  # type: ignore[index]
            max_depth=self.max_depth,
        )

    def tuned(self, tuning: Tuning) -> NUTS:
        return replace(self, step_size=tuning.step_size, inverse_mass=inverse_mass(tuning))
