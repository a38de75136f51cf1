"""Small real data sets with licence and origin, the models that go with them, and a toy."""

from __future__ import annotations

from .models import NAMES, Posterior, posteriordb
from .moons import moons

__all__ = ["NAMES", "Posterior", "moons", "posteriordb"]
