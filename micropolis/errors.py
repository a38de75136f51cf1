"""The errors that micropolis raises; every one is a MicropolisError."""

from __future__ import annotations

import sys
from typing import Any


class MicropolisError(Exception):
    """Base class of every error that micropolis raises on purpose."""


class InputError(MicropolisError, ValueError):
    """An argument has a wrong value or shape; the message names it, what came and what was expected."""


class InputTypeError(MicropolisError, TypeError):
    """An argument has a wrong type."""


class DensityError(MicropolisError):
    """A log density failed; `trace` holds the draws made before, where there are any."""

    trace: Any = None


class KernelError(MicropolisError):
    """A kernel or a backend cannot do what was asked."""


class TraceFileError(MicropolisError, ValueError):
    """A file is not a trace, or is damaged."""


class TraceWriteError(MicropolisError, OSError):
    """A trace could not be written; it is intact in memory, and so is a file that was there before."""


class UnknownNameError(InputError, KeyError):
    """A name that a trace does not have; the message lists those it has."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class MissingExtraError(MicropolisError, ImportError):
    """An optional dependency is not installed; the message has the pip command."""


class SamplingWarning(UserWarning):
    """A run finished, but its draws should not be trusted as they are; the message says why and what to do."""


def outside() -> int:
    """The `stacklevel` at which a warning is about the line outside the package that led here."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    return level
