"""Command line: `python -m micropolis demo` samples five real models, `funnel` the funnel, `info` describes it."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import __version__, checks, diagnostics
from .errors import MicropolisError, MissingExtraError, SamplingWarning

PICTURE = "micropolis_demo.png"
# distribution -> the extra that brings it
OPTIONAL = {
    "casadi": "autodiff",
    "numba": "numba",
    "scikit-learn": "sklearn",
    "matplotlib": "plots",
    "arviz": "arviz",
    "tqdm": "all",
    "numba-cuda": "cuda",
}
HEADINGS = ("model", "dim", "max |z|", "min ESS", "ESS/s", "seconds", "divergent")


class Result(NamedTuple):
    """One model of the demo: its table row, and reference quantities (chains, draws, k)."""

    row: tuple[str, ...]
    draws: NDArray[np.float64]
    posterior: Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser("micropolis", description="Compiled Markov chain Monte Carlo behind a NumPy API.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help=f"sample five real models, print a table, write {PICTURE} here")
    demo.add_argument("--draws", type=int, default=1000, help="draws per chain, after 1000 of warm-up (1000)")
    demo.add_argument("--seed", type=int, default=0, help="(0)")
    funnel = commands.add_parser(
        "funnel", help="HMC and Riemannian HMC on a Gaussian and on the funnel, with a picture"
    )
    funnel.add_argument("--draws", type=int, default=5000, help="draws of each sampler (5000)")
    funnel.add_argument("--seed", type=int, default=0, help="(0)")
    commands.add_parser("info", help="print version, build, SIMD level, threads, and which extras are installed")
    options = parser.parse_args(arguments)
    try:
        if options.command == "info":
            print(info())
        elif options.command == "funnel":
            from .experiments import run_funnel

            run_funnel(options.draws, options.seed)
        else:
            run_demo(options.draws, options.seed)
    except MicropolisError as error:
        print(f"micropolis {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


def info() -> str:
    """Version, build, hardware and extras, one per line."""
    from . import _density

    lines = [
        f"micropolis    {__version__} in {Path(__file__).parent}",
        f"build         {Path(_density.__file__).name}",
        f"SIMD level    {_density.simd_level()}",
        f"threads       {len(os.sched_getaffinity(0))} of {os.cpu_count()} processors",
        f"Python        {platform.python_version()} on {platform.system()} {platform.machine()}",
    ]
    for package in ("numpy", "scipy", *OPTIONAL):
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found = f"not installed: pip install 'micropolis[{OPTIONAL[package]}]'"
        lines.append(f"{package:<13} {found}")
    return "\n".join(lines)


def run_demo(draws: int, seed: int) -> None:
    """Sample the posteriordb models from their NumPy log densities, print a table, write a picture."""
    from .data import NAMES

    checks.integer("draws", draws, least=4)
    checks.extra("casadi", "autodiff", "the demo")
    print("Five posteriors of posteriordb: plain NumPy log densities, NUTS with a dense metric, 4 chains.")
    print("  max |z|: largest distance of a posterior mean from its reference, in standard errors of the two.\n")
    print("  ".join([f"{HEADINGS[0]:<40}", *(f"{heading:>9}" for heading in HEADINGS[1:])]))
    results, remarks = [], []
    for name in NAMES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SamplingWarning)
            results.append(_sample(name, draws, seed))
        remarks += [f"{name}: {w.message}" for w in caught if issubclass(w.category, SamplingWarning)]
        print("  ".join([f"{results[-1].row[0]:<40}", *(f"{cell:>9}" for cell in results[-1].row[1:])]), flush=True)
    print()
    for remark in remarks:
        print(f"  {remark}")
    try:
        _picture(results)
        print(f"Traces and marginals over the reference: {Path(PICTURE).resolve()}")
    except MissingExtraError as error:
        print(f"No picture: {error}")
    if not _has_arviz():
        print("ESS by batch means, which is rough; with ArviZ (pip install 'micropolis[arviz]') it is its bulk ESS.")


def _sample(name: str, draws: int, seed: int) -> Result:
    from .data import posteriordb
    from .hamiltonian.nuts import NUTS
    from .sampling import sample

    posterior = posteriordb(name)
    began = time.perf_counter()
    density = posterior.density
    trace = sample(density, NUTS(target_accept=0.9, metric="dense"), draws=draws, warmup=1000, seed=seed)
    seconds = time.perf_counter() - began
    quantities = posterior.to_reference({name: trace[name] for name in trace})
    ess = _ess(quantities)
    reference = posterior.reference
    error = np.hypot(np.std(quantities, axis=(0, 1)) / np.sqrt(ess), reference.mean_error)
    z = np.abs(np.mean(quantities, axis=(0, 1)) - reference.mean) / error
    row = (
        name,
        f"{density.dim}",
        f"{np.max(z):.2f}",
        f"{np.min(ess):.0f}",
        f"{np.min(ess) / seconds:.0f}",
        f"{seconds:.3f}",
        f"{np.count_nonzero(trace.stats['divergent'])}",
    )
    return Result(row, quantities, posterior)


def _has_arviz() -> bool:
    try:
        checks.extra("arviz", "arviz", "the demo")
    except MissingExtraError:
        return False
    return True


def _ess(quantities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Effective sample size (k,) of quantities (chains, draws, k): ArviZ's bulk ESS, or by batch means."""
    if not _has_arviz():
        return diagnostics.batch_ess(diagnostics.moments(np.ascontiguousarray(quantities)))
    arviz = checks.extra("arviz", "arviz", "the demo")
    columns = range(quantities.shape[-1])
    return np.array([float(arviz.ess(quantities[..., i], method="bulk")) for i in columns])


def _picture(results: Sequence[Result]) -> None:
    from .plots import Quantity, gallery

    rows = []
    for result in results:
        _, dim, z, ess, rate, *_ = result.row
        names, reference = result.posterior.names, result.posterior.reference.draws
        shown = range(len(names) - 2, len(names))
        title = f"{result.row[0]}  ({dim} dimensions, min ESS {ess}, {rate} per second, max |z| {z})"
        rows.append((title, [Quantity(names[i], result.draws[..., i], reference[:, i]) for i in shown]))
    gallery(rows).savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
