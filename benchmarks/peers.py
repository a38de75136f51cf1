"""Side-by-side comparison of micropolis with its peers: the same density, the same process, paired and repeated.

    python -P benchmarks/peers.py                                  # everything installed, 9 repeats
    python -P benchmarks/peers.py --models normal schools --samplers micropolis nutpie walnutpie --json out.json

In each repeat every sampler runs once, in shuffled order and with a seed of its own, so that a slow minute of the
machine falls on all of them; ratios are taken within a repeat and their median is reported. Each sampler runs once
untimed first (compilers, caches). The process is held to as many CPUs as it has threads, since some peers start more
threads than told. Use a quiet machine: a busy one shows as a wide spread of the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # `python -P` leaves the script's folder out


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", help="normal, diagonal, schools, logistic (default: all)"
    )
    parser.add_argument("--samplers", nargs="+", metavar="NAME", help='for example micropolis nutpie "Numba HMC"')
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the order and of the samplers' seeds")
    parser.add_argument("--json", type=Path, help="file for every single measurement")
    options = parser.parse_args(argv)
    if options.repeats < 1 or options.threads < 1:
        parser.error("--repeats and --threads are at least 1")
    return options


def pin(threads: int) -> None:
    """Hold this process to `threads` CPUs, where the system can; before anything starts a pool of threads.

    BLAS, which only the NumPy samplers use, gets one thread: waiting for a second one costs more than it brings here.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def chosen(names: Sequence[str] | None, known: Any, what: str) -> list[str]:
    """The names asked for, all by default; an unknown one ends the program with the list."""
    unknown = [name for name in names or () if name not in known]
    if unknown:
        sys.exit(f"unknown {what}: {', '.join(unknown)}; known: {', '.join(known)}")
    return list(names or known)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison and print it in markdown."""
    options = arguments(argv)
    pin(options.threads)
    import report  # after pin: NumPy, Numba and JAX start their threads at import
    from models import MODELS, check
    from samplers import SAMPLERS, Plan, available

    plan = Plan(options.chains, options.warmup, options.draws, options.threads)
    names = []
    for name in chosen(options.samplers, SAMPLERS, "samplers"):
        if available(SAMPLERS[name]):
            names.append(name)
        else:
            print(f"skipped: {name} ({SAMPLERS[name].requires} is not installed)", file=sys.stderr)
    models = {key: MODELS[key] for key in chosen(options.models, MODELS, "models")}
    shuffle = random.Random(options.seed)

    print(report.header(plan, options.repeats, names) + "\n")
    measured, figures = {}, []
    for key, make in models.items():
        model = make()
        check(model)
        runs = {name: SAMPLERS[name].prepare(model, plan) for name in names}
        runs = {name: run for name, run in runs.items() if run is not None}
        for run in runs.values():
            run(options.seed)
        rows = []
        for repeat in range(options.repeats):
            for name in shuffle.sample(list(runs), len(runs)):
                record = runs[name](shuffle.randrange(2**31))
                rows.append(
                    report.Measurement(
                        name, repeat, record.seconds, record.n_grad, report.minimum_bulk_ess(record.draws)
                    )
                )
            print(f"{key}: repeat {repeat + 1} of {options.repeats}", file=sys.stderr)
        rows.sort(key=lambda row: (list(runs).index(row.sampler), row.repeat))
        print(f"### {model.title}\n\n{report.sampler_table(rows)}\n", flush=True)
        measured[key] = [row._asdict() for row in rows]
        figures += report.figures(model, rows)
        if options.json:
            head = {"machine": report.machine(), "versions": report.versions(names), "plan": vars(plan)}
            options.json.write_text(json.dumps({**head, "measurements": measured}, indent=1))
    if figures:
        print("### Figures to reach\n\n" + "\n".join([report.FIGURES_HEAD, *figures]))


if __name__ == "__main__":
    main()
