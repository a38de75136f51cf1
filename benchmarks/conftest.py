"""Shared by the benchmark modules: their imports, and a table of the figures to reach at the end of the run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

ROWS: list[tuple[str, float, str, float | None]] = []


@pytest.fixture
def figure(benchmark) -> Callable[..., None]:
    """`figure(what, value, unit, limit=None)`: a derived number for the closing table and the benchmark's JSON."""

    def add(what: str, value: float, unit: str, limit: float | None = None) -> None:
        ROWS.append((what, value, unit, limit))
        benchmark.extra_info[what] = {"value": value, "unit": unit, "at_most": limit}

    return add


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the derived numbers in markdown."""
    if not ROWS:
        return
    terminalreporter.section("figures")
    terminalreporter.write_line("| what | measured | at most | verdict |\n|---|--:|--:|---|")
    for what, value, unit, limit in ROWS:
        verdict = "-" if limit is None else "reached" if value <= limit else f"missed by a factor {value / limit:.2f}"
        bound = "-" if limit is None else f"{limit:g} {unit}"
        terminalreporter.write_line(f"| {what} | {value:.4g} {unit} | {bound} | {verdict} |")
