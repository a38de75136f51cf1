"""The experiments of Riemannian HMC on a Gaussian and on the funnel: a table and a picture of v and x_1."""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..densities.funnel import Funnel
from ..densities.gaussian import Gaussian
from ..density import Density
from ..errors import MissingExtraError, SamplingWarning
from ..hamiltonian.hmc import HMC
from ..hamiltonian.metrics import Hessian, SoftAbs
from ..hamiltonian.riemannian import RMHMC
from ..protocol import Kernel
from ..sampling import sample
from ..trace import Trace
from . import end_if

PICTURE = "micropolis_funnel.png"
BINS = 40


class Outcome(NamedTuple):
    """One sampler on one target."""

    label: str
    trace: Trace
    seconds: float

    @property
    def per_second(self) -> float:
        """Draws per second of one chain."""
        return self.trace.n_draws / self.seconds


def gaussian_kernels() -> dict[str, Kernel]:
    """For N([1, 2, 3], 0.5^2 I). The length is jittered for HMC alone: 0.3 * 5 / 0.5 is nearly pi, a resonance."""
    metric = Hessian()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)  # 2 * 10 * 0.3 is nearly 2 pi: the article's choice
        uncorrected = RMHMC(0.3, 5, metric, "explicit_uncorrected", binding=10.0)
    return {
        "HMC": HMC(0.3, 5, jitter=0.8),
        "implicit": RMHMC(0.3, 5, metric),
        "midpoint": RMHMC(0.3, 5, metric, "midpoint"),
        "explicit": RMHMC(0.3, 5, metric, "explicit"),
        "explicit_uncorrected": uncorrected,
    }


def funnel_kernels() -> dict[str, Kernel]:
    """For the funnel of 11 dimensions."""
    metric = SoftAbs(1e6)
    return {
        "HMC": HMC(0.3093, 25),
        "implicit": RMHMC(0.15, 25, metric),
        "midpoint": RMHMC(0.15, 25, metric, "midpoint"),
        "explicit": RMHMC(0.15, 25, metric, "explicit"),
    }


def compare(
    density: Density, kernels: dict[str, Kernel], start: NDArray[np.float64], draws: int, seed: int
) -> list[Outcome]:
    """One chain of every kernel from `start`, each timed."""
    outcomes = []
    for label, kernel in kernels.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)
            sample(density, kernel, draws=1, warmup=0, chains=1, init=start, seed=seed, progress=False)
            began = time.perf_counter()
            trace = sample(density, kernel, draws=draws, warmup=0, chains=1, init=start, seed=seed, progress=False)
        end_if(trace.n_draws < draws)
        outcomes.append(Outcome(label, trace, time.perf_counter() - began))
    return outcomes


def kl_from_normal(values: NDArray[np.float64], sd: float) -> float:
    """KL divergence of a histogram of `values` (n,) from N(0, sd^2), in bins of equal probability.

    n independent draws of the truth give about (bins - 1) / (2 n).
    """
    from scipy.special import ndtri

    edges = sd * ndtri(np.linspace(0.0, 1.0, BINS + 1))
    share = np.histogram(values, edges)[0] / values.size
    seen = share[share > 0]
    return float(np.sum(seen * np.log(seen * BINS)))


def _cells(outcome: Outcome) -> str:
    stats = outcome.trace.stats
    unsolved = np.mean(stats["not_converged"]) if "not_converged" in (stats.dtype.names or ()) else 0.0
    return (
        f"{outcome.label:<21} {outcome.per_second:>10.0f} {np.mean(stats['accept_prob']):>7.3f} "
        f"{np.mean(stats['divergent']):>9.4f} {unsolved:>9.4f}"
    )


def run(draws: int, seed: int) -> None:
    """Both experiments: tables, and a picture in the current folder."""
    checks.integer("draws", draws, least=10)
    heading = f"{'':<21} {'samples/s':>10} {'accept':>7} {'divergent':>9} {'unsolved':>9}"
    print(f"N([1, 2, 3], 0.5^2 I), step 0.3, 5 steps, Hessian metric, {draws} draws of one chain: sd, exactly 0.5\n")
    print(f"{heading} {'sd of x, y, z':>22}")
    gaussian = Gaussian([1.0, 2.0, 3.0], std=0.5)
    for outcome in compare(gaussian, gaussian_kernels(), np.array([1.0, 2.0, 3.0]), draws, seed):
        spread = np.std(outcome.trace.draws[0], axis=0)
        print(f"{_cells(outcome)} " + " ".join(f"{sd:>7.3f}" for sd in spread), flush=True)

    funnel = Funnel(11)
    start = funnel.sample_exact(np.random.default_rng(seed), 1)[0]
    print(
        f"\nfunnel of 11 dimensions, SoftAbs alpha 1e6, step 0.15, 25 steps (HMC 0.3093), {draws} draws of one chain:"
    )
    print(f"v ~ N(0, 3^2); independent draws would give a KL divergence of about {(BINS - 1) / (2 * draws):.4f}\n")
    print(f"{heading} {'mean v':>7} {'sd v':>7} {'KL':>8}")
    outcomes = compare(funnel, funnel_kernels(), start, draws, seed)
    for outcome in outcomes:
        v = outcome.trace.draws[0, :, 0]
        print(f"{_cells(outcome)} {np.mean(v):>7.2f} {np.std(v):>7.2f} {kl_from_normal(v, 3.0):>8.4f}", flush=True)
    print("\nThe implicit leapfrog is the one to use: the explicit one is as exact and takes more metric evaluations.")
    try:
        picture(outcomes).savefig(PICTURE, dpi=110)
        print(f"(v, x_1) and the marginal of v: {Path(PICTURE).resolve()}")
    except MissingExtraError as error:
        print(f"No picture: {error}")


def picture(outcomes: list[Outcome]) -> Any:
    """The figure of `micropolis.plots.funnel` with what each sampler achieved in its title."""
    from ..plots import funnel

    rows = []
    for outcome in outcomes:
        v = outcome.trace.draws[0, :, 0]
        title = f"{outcome.label}: {outcome.per_second:.0f} samples/s, KL {kl_from_normal(v, 3.0):.3f}"
        rows.append((title, v, outcome.trace.draws[0, :, 1]))
    return funnel(rows, sd=math.sqrt(9.0))
