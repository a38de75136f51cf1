"""Five real posteriors sampled from their NumPy log densities: a table, and a picture over reference draws."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import checks, diagnostics
from ..errors import MissingExtraError, SamplingWarning
from . import end_if

PICTURE = "micropolis_demo.png"
HEADINGS = ("model", "dim", "max |z|", "min ESS", "ESS/s", "seconds", "divergent")
MEANS = ("posterior mean of", "mean", "reference", "|z|", "ESS/s")


class Result(NamedTuple):
    """One model of the demo: its table row, a row for each mean, and reference quantities (chains, draws, k)."""

    row: tuple[str, ...]
    means: Sequence[tuple[str, ...]]
    draws: NDArray[np.float64]
    posterior: Any


def run(draws: int, seed: int) -> None:
    """Sample the posteriordb models from their NumPy log densities, print a table, write a picture."""
    from ..data import NAMES

    print("Five posteriors of posteriordb: plain NumPy log densities, NUTS with a dense metric, 4 chains.")
    print("  |z|: distance of a posterior mean from its reference, in standard errors of the two.\n")
    print(_line(HEADINGS))
    results, remarks = [], []
    for name in NAMES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SamplingWarning)
            results.append(_sample(name, draws, seed))
        remarks += [f"{name}: {w.message}" for w in caught if issubclass(w.category, SamplingWarning)]
        print(_line(results[-1].row), flush=True)
    print()
    for row in (MEANS, *(row for result in results for row in result.means)):
        print(_line((f"  {row[0]}", *row[1:])))
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
    from ..data import posteriordb
    from ..hamiltonian.nuts import NUTS
    from ..sampling import sample

    posterior = posteriordb(name)
    began = time.perf_counter()
    density = posterior.density
    trace = sample(density, NUTS(target_accept=0.9, metric="dense"), draws=draws, warmup=1000, seed=seed)
    seconds = time.perf_counter() - began
    end_if(trace.n_draws < draws)
    quantities = posterior.to_reference({name: trace[name] for name in trace})
    ess = _ess(quantities)
    reference = posterior.reference
    error = np.hypot(np.std(quantities, axis=(0, 1)) / np.sqrt(ess), reference.mean_error)
    mean = np.mean(quantities, axis=(0, 1))
    z = np.abs(mean - reference.mean) / error
    row = (
        name,
        f"{density.dim}",
        f"{np.max(z):.2f}",
        f"{np.min(ess):.0f}",
        f"{np.min(ess) / seconds:.0f}",
        f"{seconds:.3f}",
        f"{np.count_nonzero(trace.stats['divergent'])}",
    )
    means = [
        (
            f"{name.partition('-')[0]} {quantity}",
            f"{mean[i]:.4g}",
            f"{reference.mean[i]:.4g}",
            f"{z[i]:.2f}",
            f"{ess[i] / seconds:.0f}",
        )
        for i, quantity in enumerate(posterior.names)
    ]
    return Result(row, means, quantities, posterior)


def _line(cells: Sequence[str]) -> str:
    return "  ".join([f"{cells[0]:<40}", *(f"{cell:>9}" for cell in cells[1:])])


def _has_arviz() -> bool:
    try:
        checks.extra("arviz", "arviz", "the demo")
    except MissingExtraError:
        return False
    return True


def _ess(quantities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Effective sample size (k,) of quantities (chains, draws, k): ArviZ's bulk ESS, or by batch means."""
    if not _has_arviz():
        return diagnostics.r_hat_and_ess(quantities)[1]
    arviz = checks.extra("arviz", "arviz", "the demo")
    columns = range(quantities.shape[-1])
    return np.array([float(arviz.ess(quantities[..., i], method="bulk")) for i in columns])


def _picture(results: Sequence[Result]) -> None:
    from ..plots import Quantity, gallery

    rows = []
    for result in results:
        _, dim, z, ess, rate, *_ = result.row
        names, reference = result.posterior.names, result.posterior.reference.draws
        shown = range(len(names) - 2, len(names))
        title = f"{result.row[0]}  ({dim} dimensions, min ESS {ess}, {rate} per second, max |z| {z})"
        rows.append((title, [Quantity(names[i], result.draws[..., i], reference[:, i]) for i in shown]))
    gallery(rows).savefig(PICTURE, dpi=110)
