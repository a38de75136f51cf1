"""Compiled Markov chain Monte Carlo kernels behind a thin NumPy API.

A NumPy function goes in, a compiled chain runs, arrays come out.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

__version__ = "0.1.0"


def _hand_over() -> None:
    """Let the installed package serve where this one is a checkout that was never compiled.

    `python -m micropolis` in a checkout finds the source folder before what `pip install .` has made.
    """
    import os
    import sys

    for folder in sys.path:
        candidate = os.path.join(folder or os.getcwd(), "micropolis")
        if os.path.isdir(candidate) and not os.path.samefile(candidate, __path__[0]):
            here, __path__[:] = __path__[:], [candidate]
            if importlib.util.find_spec(f"{__name__}._density"):
                return
            __path__[:] = here
    raise ImportError(
        f"{__path__[0]} is a checkout without its compiled modules: run `pip install .`, or `python setup.py` to build "
        "in place"
    )


if importlib.util.find_spec(f"{__name__}._density") is None:
    _hand_over()

# public name -> module that has it; loaded on first use, so that `import micropolis` costs next to nothing
_PUBLIC = {
    "Density": "density",
    "Real": "parameters",
    "Positive": "parameters",
    "Interval": "parameters",
    "Ordered": "parameters",
    "Simplex": "parameters",
    "Lower": "parameters",
    "Upper": "parameters",
    "CorrelationCholesky": "parameters",
    "sample": "sampling",
    "resume": "sampling",
    "Trace": "trace",
    "init": "steps",
    "step": "steps",
    "State": "steps",
    "RandomWalk": "metropolis.random_walk",
    "MALA": "metropolis.langevin",
    "MH": "metropolis.optimizer",
    "MMH": "metropolis.minibatch",
    "HMC": "hamiltonian.hmc",
    "NUTS": "hamiltonian.nuts",
    "SplitHMC": "hamiltonian.splitting",
    "sample_model": "bayes",
    "predict_model": "bayes",
    "RMHMC": "hamiltonian.riemannian",
    "RMNUTS": "hamiltonian.riemannian_nuts",
    "SoftAbs": "hamiltonian.metrics",
    "Hessian": "hamiltonian.metrics",
    "HessianDiag": "hamiltonian.metrics",
    "GradientSquare": "hamiltonian.metrics",
    "UserMetric": "hamiltonian.user_metric",
}
_MODULES = ("densities", "errors", "estimators", "kernels", "neural", "parameters", "data", "plots")

__all__ = ["__version__", "get_include", "get_library_dir", *_PUBLIC, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def get_include() -> str:
    """Folder of the C headers: ``#include <micropolis/kernel.h>``.

    Examples
    --------
    >>> import micropolis
    >>> micropolis.get_include().endswith("include")
    True
    """
    from pathlib import Path

    here = Path(__file__).parent
    installed = here / "include"
    return str(installed if installed.is_dir() else here.parent / "csrc" / "include")


def get_library_dir() -> str:
    """Folder of libmicropolis.a, the compiled kernels without Python: link with ``-lmicropolis -lm``.

    Examples
    --------
    >>> import micropolis
    >>> micropolis.get_library_dir().endswith("lib")
    True
    """
    from pathlib import Path

    return str(Path(__file__).parent / "lib")
