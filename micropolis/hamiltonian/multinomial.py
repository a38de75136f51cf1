"""The multinomial draw from a trajectory as it grows, as csrc/hamiltonian/multinomial.h makes it.

Betancourt (2017), "A conceptual introduction to Hamiltonian Monte Carlo", appendix A.3. A point weighs
exp(H(start) - H), relative to one running offset against overflow. Within a half the candidate comes by weighted
reservoir sampling, which gives each point its share; between halves the new one is preferred.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..jit import Random


class Multinomial(NamedTuple):
    """What `make_multinomial` returns; a record is `start()` and goes through the others."""

    start: Callable[..., Any]
    add: Callable[..., Any]
    join: Callable[..., Any]


@functools.lru_cache(maxsize=64)
def make_multinomial(jit: Callable[..., Any], random: Random) -> Multinomial:
    """start(), add(record, log_ratio, first, rng) -> taken, record and join(record, rng) -> taken, record.

    A record is (weight of the trajectory, weight of its new half, offset, sum of min(1, r), sum of
    2 min(1, r) / (1 + r)), r = exp(H(start) - H), the weights over exp(offset), the sums over the points.
    """
    uniform = random.uniform

    @jit
    def start():  # type: ignore[no-untyped-def]
        """The start alone."""
        return 1.0, 0.0, 0.0, 0.0, 0.0

    @jit
    def add(record, log_ratio, first, rng):  # type: ignore[no-untyped-def]
        """A point joins the new half; taken: it is the half's candidate from here on."""
        weight, new_weight, offset, accept_sum, accept_sum_symmetric = record
        if log_ratio - offset > 300.0:  # exp would overflow near 700: measure from here on
            shrink = math.exp(offset - log_ratio)
            weight, new_weight, offset = weight * shrink, new_weight * shrink, log_ratio
        ratio = math.exp(log_ratio - offset)
        new_weight += ratio
        taken = first or uniform(rng) * new_weight < ratio
        if offset != 0.0:
            ratio = math.exp(min(log_ratio, 300.0))
        capped = min(ratio, 1.0)
        symmetric = 2.0 * capped / (1.0 + ratio)
        return taken, (weight, new_weight, offset, accept_sum + capped, accept_sum_symmetric + symmetric)

    @jit
    def join(record, rng):  # type: ignore[no-untyped-def]
        """The new half joins the trajectory; taken: its candidate is the draw from here on."""
        weight, new_weight, offset, accept_sum, accept_sum_symmetric = record
        taken = new_weight >= weight or uniform(rng) * weight < new_weight
        return taken, (weight + new_weight, 0.0, offset, accept_sum, accept_sum_symmetric)

    return Multinomial(start, add, join)
