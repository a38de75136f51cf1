"""Small real data sets with licence and origin, and the models that go with them."""

from __future__ import annotations

from .models import NAMES, Posterior, posteriordb

__all__ = ["NAMES", "Posterior", "posteriordb"]
