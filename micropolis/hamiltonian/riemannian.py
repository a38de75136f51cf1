"""Riemannian manifold Hamiltonian Monte Carlo with a fixed or jittered number of steps."""

from __future__ import annotations

import ctypes
import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..adaptation.rule import step_size_rule
from ..density import Density
from ..errors import InputError, InputTypeError, KernelError, SamplingWarning
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
    options_dtype,
    register,
)
from .geometry import GRADIENT, ITERATIONS, JITTER, N_GRAD, N_METRIC, VALUE, Q, make_geometry
from .length import make_length
from .metrics import SOFTABS, USER_METRIC, Metric, SoftAbs
from .riemannian_integrators import make_integrators
from .user_metric import from_tree
from .work import MOMENTUM, POSITION, V_END, work_rows

INTEGRATORS = ("implicit", "midpoint", "explicit", "explicit_uncorrected")
INLINED = 32  # MP_EIGEN_INLINED of csrc/common/eigen.h: beyond it LAPACK is the faster

# mp_integrator_options of csrc/hamiltonian/riemannian_integrators.h
INTEGRATOR_FIELDS = (
    ("integrator", "i8"), ("tolerance", "f8"), ("max_iterations", "i8"), ("reversibility", "f8"), ("binding", "f8"),
    ("kind", "i8"), ("parameter", "f8"), ("metric_jitter", "f8"),
    ("user_metric", "u8"), ("user_contraction", "u8"), ("user_data", "u8"), ("lapack", "u8"),
    ("get_threads", "u8"), ("set_threads", "u8"), ("max_depth", "i8"),
)  # fmt: skip


def make_step(jit: Callable[..., Any], density: Evaluate, random: Random) -> Callable[..., Any]:
    """RMHMC: a momentum from N(0, G(q)), steps of an integrator, accepted with probability min(1, exp(-error))."""
    copy, length, geometry = make_linalg(jit).copy, make_length(jit, random), make_geometry(jit, density)
    integrators, normal, uniform = make_integrators(jit, density), random.normal, random.uniform
    areas, start, integrate, energy_of = integrators.areas, integrators.start, integrators.step, integrators.energy
    momentum, forget, two = geometry.momentum, integrators.forget, integrators.two

    @jit
    def step(options, scale, table, data, rng, state, work, info):  # type: ignore[no-untyped-def]
        x, logp, grad = state
        t = areas(work, two(options))
        vectors, g, at, eps = t[0], t[1], t[2], options.step_size
        forget(options, t)
        g[N_GRAD, 0] = 0.0
        g[N_METRIC, 0] = 0.0
        g[ITERATIONS, 0] = 0.0

        n_steps = length(options.n_steps, options.jitter, rng)
        for i in range(x.size):
            g[JITTER, i] = options.metric_jitter * uniform(rng) if options.metric_jitter > 0.0 else 0.0
        for i in range(x.size):
            vectors[V_END, i] = normal(rng)
        copy(x, vectors[POSITION])
        copy(grad, at[GRADIENT])
        at[VALUE, 0] = logp[0]
        energy_start, energy = 0.0, 0.0
        status = start(options, data, t, True)
        if status == OK:
            momentum(options, g, at, vectors[V_END], vectors[MOMENTUM])
            status, energy_start = energy_of(options, data, t)
            energy = energy_start
        steps = 0
        while steps < n_steps and status == OK:
            status = integrate(options, data, t, eps)
            steps += 1
        if status == OK:
            status, energy_end = energy_of(options, data, t)
            if status == OK:
                energy = energy_end
        if status == OK and not math.isfinite(energy):
            status = NON_FINITE
        if status == OK and not energy - energy_start <= 1000.0:
            status = ENERGY_ERROR

        error = energy - energy_start
        accept_prob = 0.0
        if status == OK:
            accept_prob = 1.0 if error <= 0.0 else math.exp(-error)
        accepted = uniform(rng) < accept_prob
        if accepted:
            copy(at[Q], x)
            copy(at[GRADIENT], grad)
            logp[0] = at[VALUE, 0]

        info.logp = logp[0]
        info.accept_prob = accept_prob
        info.n_grad = int(g[N_GRAD, 0])
        info.accepted = accepted
        info.divergent = status != OK
        info.status = status
        info.energy = energy if accepted else energy_start
        info.energy_error = error
        info.step_size = eps
        info.n_steps = steps
        info.fixed_point_iterations = int(g[ITERATIONS, 0])
        info.n_metric = int(g[N_METRIC, 0])
        info.not_converged = status == NOT_CONVERGED
        info.non_reversible = status == NON_REVERSIBLE
        return min(status, OK)

    return step


@functools.cache
def dsyevd() -> int:
    """Address of LAPACK's dsyevd in SciPy."""
    from scipy.linalg import cython_lapack

    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    capsule = cython_lapack.__pyx_capi__["dsyevd"]
    return int(get(capsule, name(capsule)))


@functools.cache
def openblas_threads() -> tuple[int, int]:
    """Addresses of what gets and sets the threads of SciPy's OpenBLAS; zeros where it has another LAPACK."""
    from scipy.linalg import cython_lapack

    loaded = ctypes.CDLL(cython_lapack.__file__)  # a handle finds the symbols of what it is linked with as well
    for prefix in ("scipy_openblas", "openblas"):
        if hasattr(loaded, f"{prefix}_set_num_threads"):
            get, set_ = (getattr(loaded, f"{prefix}_{name}_num_threads") for name in ("get", "set"))
            return ctypes.cast(get, ctypes.c_void_p).value or 0, ctypes.cast(set_, ctypes.c_void_p).value or 0
    return 0, 0


def fill_integrator(
    options: Any, dim: int, metric: Metric, integrator: str, tolerance: float, max_iterations: int,
    reversibility: float | None, binding: float,
) -> object:  # fmt: skip
    """Write the INTEGRATOR_FIELDS of a record; returns what must stay alive."""
    options["integrator"] = INTEGRATORS.index(integrator)
    options["tolerance"], options["max_iterations"] = tolerance, max_iterations
    options["reversibility"] = 0.0 if reversibility is None else reversibility
    options["binding"] = binding
    options["kind"], options["parameter"], options["metric_jitter"] = (
        metric.kind,
        metric.parameter,
        getattr(metric, "jitter", 0.0),
    )
    functions = metric.compiled()
    for name, function in zip(("user_metric", "user_contraction"), functions, strict=False):
        options[name] = function.address
    if dim > INLINED and metric.kind == SOFTABS:
        options["lapack"] = dsyevd()
        options["get_threads"], options["set_threads"] = openblas_threads()
    return functions


def check_integrator(
    step_size: float, metric: Any, integrator: Any, tolerance: Any, max_iterations: Any, reversibility: Any,
    binding: Any,
) -> None:  # fmt: skip
    """Raise for what an integrator cannot run with, warn where its copies are not bound."""
    if not isinstance(metric, Metric):
        raise InputTypeError(f"metric: expected a metric such as SoftAbs(), got {checks.kind(metric)}")
    checks.choice("integrator", integrator, INTEGRATORS)
    checks.real("fixed_point_tol", tolerance, above=0.0, below=1.0)
    checks.integer("fixed_point_max_iter", max_iterations, least=1, most=2**31 - 1)
    checks.real("binding", binding)
    if reversibility is not None:
        checks.real("reversibility_tol", reversibility, above=0.0)
        if integrator == "explicit_uncorrected":
            raise InputError("reversibility_tol: the copies of 'explicit_uncorrected' do not return, use 'explicit'")
    if integrator == "explicit_uncorrected":
        turns = 2.0 * binding * step_size / math.pi
        if round(turns) >= 1 and abs(turns - round(turns)) < 0.1:
            warnings.warn(
                f"binding: 2 * binding * step_size = {2.0 * binding * step_size:.3g} is nearly {round(turns)} pi, "
                "where the copies are not bound but left alone or exchanged",
                SamplingWarning,
                stacklevel=4,
            )


@register
@dataclass(frozen=True, eq=False)
class RMHMC(Kernel):
    """Riemannian manifold HMC: `n_steps` steps of `step_size` under a position-dependent metric, then accept or reject.

    Parameters
    ----------
    step_size : float
        eps > 0.
    n_steps : int
        Integrator steps per draw, at least 1.
    metric : SoftAbs, Hessian, HessianDiag, GradientSquare or UserMetric
        G(q). Densities of `from_numpy` and the compiled library give exact Hessians and third derivatives; for others
        they are taken by differences of the gradient (4 dim, and 2 dim (dim + 1) evaluations; errors about 1e-12 and
        1e-10 of the log density's scale).
    integrator : str
        "implicit": generalised leapfrog, the one to use. "midpoint": implicit midpoint. "explicit": two copies of
        phase space with a symmetric projection, exact and slower. "explicit_uncorrected": two copies bound together
        and never projected, as published; does not leave the target invariant.
    fixed_point_tol : float
        An implicit equation is solved when its largest residual is below this, relative to the largest momentum, and
        for positions to how far the step goes.
    fixed_point_max_iter : int
        Residuals looked at before the trajectory is rejected as ``NOT_CONVERGED``.
    jitter : float
        In [0, 1). The number of steps is drawn uniformly from the integers in ``n_steps * (1 -+ jitter)`` for each
        trajectory.
    target_accept : float or None
        None keeps `step_size` in warm-up; a number in (0, 1) adapts it to that acceptance by dual averaging.
    reversibility_tol : float or None
        Each step is integrated back and must return this closely, or the trajectory is rejected as
        ``NON_REVERSIBLE``. Doubles the cost; needed where steps are so large that an implicit equation has several
        solutions, which shows in ``not_converged``.
    binding : float
        omega of "explicit_uncorrected".

    References
    ----------
    Girolami & Calderhead (2011), "Riemann manifold Langevin and Hamiltonian Monte Carlo methods".
    Betancourt (2013), "A general metric for Riemannian manifold Hamiltonian Monte Carlo".
    Jayawardana & Ohsawa (2023), "Semiexplicit symplectic integrators for non-separable Hamiltonian systems".

    Examples
    --------
    >>> import micropolis as mp
    >>> kernel = mp.RMHMC(step_size=0.15, n_steps=25, metric=mp.SoftAbs(alpha=1e6))
    >>> trace = mp.sample(mp.densities.Funnel(11), kernel, draws=100, warmup=10, chains=2, seed=1)
    >>> bool(trace.stats["not_converged"].any()), float(trace.stats["accept_prob"].mean().round(1))
    (False, 1.0)
    """

    step_size: float = 0.15
    n_steps: int = 25
    metric: Metric = field(default_factory=SoftAbs)
    integrator: str = "implicit"
    fixed_point_tol: float = 1e-9
    fixed_point_max_iter: int = 100
    jitter: float = 0.0
    target_accept: float | None = None
    reversibility_tol: float | None = None
    binding: float = 10.0

    name: ClassVar[str] = "riemannian"
    family: ClassVar[str] = "hamiltonian"
    OPTIONS: ClassVar[np.dtype[Any]] = options_dtype(("n_steps", "i8"), ("jitter", "f8"), *INTEGRATOR_FIELDS)
    INFO: ClassVar[np.dtype[Any]] = info_dtype(
        ("energy", "f8"), ("energy_error", "f8"), ("step_size", "f8"),
        ("n_steps", "i8"), ("fixed_point_iterations", "i8"), ("n_metric", "i8"),
        ("not_converged", "?"), ("non_reversible", "?"),
    )  # fmt: skip
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP, GRAD)
    make_step = staticmethod(make_step)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step_size", checks.real("step_size", self.step_size, above=0.0))
        object.__setattr__(self, "n_steps", checks.integer("n_steps", self.n_steps, least=1, most=2**30))
        if isinstance(self.metric, dict):  # of a saved trace
            object.__setattr__(self, "metric", from_tree(self.metric))
        if self.target_accept is not None:
            checks.real("target_accept", self.target_accept, above=0.0, below=1.0)
        if checks.real("jitter", self.jitter, below=1.0) < 0.0:
            raise InputError(f"jitter: expected a number in [0, 1), got {self.jitter!r}")
        check_integrator(
            self.step_size, self.metric, self.integrator, self.fixed_point_tol, self.fixed_point_max_iter,
            self.reversibility_tol, self.binding,
        )  # fmt: skip

    def tuning(self, dim: int) -> Tuning:
        return Tuning(self.step_size, DIAGONAL, np.ones(dim))

    def work_rows(self, dim: int) -> int:
        return work_rows(dim)

    def prepare(self, density: Density) -> None:
        self.metric.check(density.dim)
        density.prepare(*self.metric.derivatives)

    def check_backend(self, backend: str) -> None:
        if self.metric.kind == USER_METRIC:
            raise KernelError(f"backend={backend!r}: a metric of the user's is compiled CPU code; use backend='c'")

    def fill_options(self, options: np.void, dim: int) -> object:
        options["n_steps"], options["jitter"] = self.n_steps, self.jitter
        return fill_integrator(
            options, dim, self.metric, self.integrator, self.fixed_point_tol, self.fixed_point_max_iter,
            self.reversibility_tol, self.binding,
        )  # fmt: skip

    def adaptation(self, dim: int, n_warmup: int) -> NDArray[Any] | None:
        return step_size_rule(self.target_accept, n_warmup, dim, self.INFO)

    def tuned(self, tuning: Tuning) -> RMHMC:
        return replace(self, step_size=tuning.step_size, target_accept=None)
