"""Statistics of the comparison and the markdown that docs/benchmarks.md embeds."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import arviz
import numpy as np
from models import Model
from samplers import SAMPLERS, Plan

# The two references of the figures to reach; the better one of each repeat counts.
REFERENCES = ("nutpie", "walnutpie")
OURS = ("micropolis", "micropolis pointer", "micropolis builtin")


class Measurement(NamedTuple):
    """What is kept of one run."""

    sampler: str
    repeat: int
    seconds: float
    n_grad: int | None
    min_ess: float

    @property
    def ess_per_second(self) -> float:
        return self.min_ess / self.seconds


def minimum_bulk_ess(draws: Any) -> float:
    """Least bulk effective sample size over coordinates of draws (chains, draws, dim), ArviZ's rank-normalised one."""
    return min(float(arviz.ess(np.ascontiguousarray(draws[:, :, i]), method="bulk")) for i in range(draws.shape[2]))


def machine() -> str:
    """CPU model, cores of this process and of the machine, system, Python."""
    cpuinfo = Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    used = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {used} of {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def versions(samplers: Sequence[str]) -> str:
    """Versions of the libraries compared."""
    names = dict.fromkeys([*(SAMPLERS[sampler].requires for sampler in samplers), "numba", "jax", "arviz", "numpy"])
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} (from the checkout)")
    return ", ".join(found)


def header(plan: Plan, repeats: int, samplers: Sequence[str]) -> str:
    """Machine, date, versions and the job, in markdown."""
    lines = [
        f"Machine: {machine()}. Date: {datetime.date.today().isoformat()}.",
        f"Versions: {versions(samplers)}.",
        (
            f"Job: {plan.chains} chains x ({plan.warmup} warm-up + {plan.draws} draws), {plan.threads} threads, "
            f"target accept {plan.target_accept}; {repeats} repeats, all samplers once in each, in shuffled order."
        ),
        (
            "ESS is ArviZ's bulk ESS, the least over coordinates. Columns are medians over repeats; ratios are medians "
            "of the ratios within a repeat (least .. most).\n"
        ),
    ]
    return "\n".join([*lines, *(f"- {name}: {SAMPLERS[name].note}" for name in samplers)])


def _by_sampler(measurements: Sequence[Measurement]) -> dict[str, dict[int, Measurement]]:
    table: dict[str, dict[int, Measurement]] = {}
    for one in measurements:
        table.setdefault(one.sampler, {})[one.repeat] = one
    return table


def _ratios(ours: dict[int, Measurement], others: Sequence[dict[int, Measurement]]) -> tuple[list[float], list[float]]:
    """Per repeat: wall time over the least of the others', ESS/s over the most of the others'."""
    wall = [one.seconds / min(other[repeat].seconds for other in others) for repeat, one in ours.items()]
    ess = [one.ess_per_second / max(other[repeat].ess_per_second for other in others) for repeat, one in ours.items()]
    return wall, ess


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} .. {max(values):.2f})"


def sampler_table(measurements: Sequence[Measurement]) -> str:
    """One row per sampler of one model; the ratios are the micropolis row over that row."""
    table = _by_sampler(measurements)
    ours = table.get("micropolis")
    lines = [
        "| sampler | wall, ms | gradients | min bulk ESS | ESS/s | wall, micropolis / it | ESS/s, micropolis / it |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, runs in table.items():
        rows = list(runs.values())
        counts = [row.n_grad for row in rows if row.n_grad is not None]
        wall = ess = "-"
        if ours is not None and name != "micropolis":
            wall, ess = (_spread(values) for values in _ratios(ours, [runs]))
        lines.append(
            f"| {name} | {1e3 * statistics.median(row.seconds for row in rows):.1f} "
            f"| {f'{statistics.median(counts):.0f}' if counts else 'not reported'} "
            f"| {statistics.median(row.min_ess for row in rows):.0f} "
            f"| {statistics.median(row.ess_per_second for row in rows):.0f} | {wall} | {ess} |"
        )
    return "\n".join(lines)


def figures(model: Model, measurements: Sequence[Measurement]) -> list[str]:
    """Rows of the table of figures to reach for one model; none where micropolis or the references did not run."""
    table = _by_sampler(measurements)
    references = [table[name] for name in REFERENCES if name in table]
    if not references:
        return []
    better = "the better of nutpie and walnutpie" if len(references) == 2 else f"{set(REFERENCES) & set(table)}"
    rows = []
    for name in OURS:
        if name not in table:
            continue
        if name == "micropolis builtin":
            if model.builtin_ess_per_second is not None and "nutpie" in table:
                _, ess = _ratios(table[name], [table["nutpie"]])
                rows.append(_figure(model, f"{name}: ESS/s / nutpie", ess, model.builtin_ess_per_second, least=True))
            continue
        wall, ess = _ratios(table[name], references)
        rows.append(_figure(model, f"{name}: wall / {better}", wall, model.wall, least=False))
        rows.append(_figure(model, f"{name}: ESS/s / {better}", ess, model.ess_per_second, least=True))
    return rows


def _figure(model: Model, what: str, ratios: Sequence[float], limit: float, *, least: bool) -> str:
    reached = statistics.median(ratios)
    kept = reached >= limit if least else reached <= limit
    verdict = "reached" if kept else f"missed by a factor {limit / reached if least else reached / limit:.2f}"
    return f"| {model.title} | {what} | {'>=' if least else '<='} {limit} | {_spread(ratios)} | {verdict} |"


FIGURES_HEAD = "| model | what | must reach | measured | verdict |\n|---|---|--:|--:|---|"
