"""Command line: `python -m micropolis demo`, `digits`, `funnel` (comparisons), and `info` on the installation."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__, checks
from .demos import digits, funnel, moons, posteriors
from .errors import MicropolisError

# distribution -> the extra that brings it
OPTIONAL = {
    "numba": "numba",
    "scikit-learn": "sklearn",
    "matplotlib": "plots",
    "arviz": "arviz",
    "tqdm": "all",
    "numba-cuda": "cuda",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser("micropolis", description="Compiled Markov chain Monte Carlo behind a NumPy API.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help=f"train a network, sample five real models; write {moons.PICTURE} and {posteriors.PICTURE} here"
    )
    demo.add_argument("--draws", type=int, default=1000, help="draws per chain, after 1000 of warm-up (1000)")
    demo.add_argument("--seed", type=int, default=0, help="(0)")
    compare = commands.add_parser("digits", help="seven ways to train a network on digits, at equal time")
    compare.add_argument("--seconds", type=float, default=3.0, help="of each setting (3)")
    compare.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of the network (float32)")
    compare.add_argument("--seed", type=int, default=0, help="of initial weights and chains (0)")
    compare.add_argument("--out", default=digits.PICTURE, help=f"the picture's path ({digits.PICTURE})")
    neck = commands.add_parser("funnel", help="HMC and Riemannian HMC on a Gaussian and on the funnel, with a picture")
    neck.add_argument("--draws", type=int, default=5000, help="draws of each sampler (5000)")
    neck.add_argument("--seed", type=int, default=0, help="(0)")
    commands.add_parser("info", help="print version, build, SIMD level, threads, and which extras are installed")
    options = parser.parse_args(arguments)
    try:
        if options.command == "info":
            print(info())
        elif options.command == "digits":
            digits.run(options.seconds, options.dtype, options.seed, options.out)
        elif options.command == "funnel":
            funnel.run(options.draws, options.seed)
        else:
            draws = checks.integer("draws", options.draws, least=4)
            moons.run(options.seed)
            posteriors.run(draws, options.seed)
    except MicropolisError as error:
        print(f"micropolis {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"micropolis {options.command}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT  # as a shell reports it
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


if __name__ == "__main__":
    sys.exit(main())
