"""Metropolis on digits at equal wall time: the compiled walks against a plain NumPy loop of the same chains.

    python benchmarks/bench_digits.py                  # both side by side, 3 s for each of 7 settings and each loop
    python benchmarks/bench_digits.py --dtype float64
    pytest benchmarks/bench_digits.py                  # the same, with the figures to reach

The settings, the data, the clock and the evaluation between blocks of steps are those of `python -m micropolis digits`.
Both loops have one core. Figures to reach: best held-out accuracy >= 0.945 over the settings, and each setting better
than the NumPy loop has it at the same time.

Floor. A full-batch step is 1257 rows x 3392 multiply-adds = 4.3 million, 8.5 Mflop: 67 us at 128 Gflop/s (AVX-512, two
FMA units at 2 GHz, float32), and twice that in float64. A step on two rows is 3466 normals (9 us at 2.6 ns) and 14
thousand multiply-adds: random numbers are what limits it.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from micropolis.demos.digits import SETTINGS, Compiled, Course, Digits, Setting, follow, load, network
from micropolis.metropolis.barker import sample_correction

SECONDS, BEST = 3.0, 0.945
SHAPES = ((32, 64), (32, 32), (10, 32))


class NumpyLoop:
    """The chains of MH and MMH as one writes them: copy the parameters, perturb, forward, softmax, test."""

    def __init__(self, setting: Setting, data: Digits, seed: int, dtype: str) -> None:
        self.setting, self.data, self.dtype = setting, data, np.dtype(dtype)
        self.rng = np.random.default_rng(seed)
        self.theta = network(seed, dtype).parameters.copy()
        self.current = self.losses(self.theta, data.X, data.y).mean() if setting.test == "full batch" else math.nan

    def outputs(self, X, theta=None):
        theta, start = self.theta if theta is None else theta, 0
        for layer, (n_out, n_in) in enumerate(SHAPES):
            weight = theta[start : start + n_out * n_in].reshape(n_out, n_in)
            bias = theta[start + n_out * n_in : start + n_out * (n_in + 1)]
            start += n_out * (n_in + 1)
            X = X @ weight.T + bias
            if layer < len(SHAPES) - 1:
                X = np.maximum(X, 0)
        return X

    def losses(self, theta, X, y):
        logits = self.outputs(X, theta)
        logits = logits - logits.max(axis=1, keepdims=True)
        return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]

    def advance(self, steps):
        used, accepted = np.empty(steps, dtype=np.int64), 0
        step = self.full_step if self.setting.test == "full batch" else self.minibatch_step
        for i in range(steps):
            accept, used[i] = step()
            accepted += accept
        return used, accepted

    def proposal(self):
        noise = self.rng.standard_normal(len(self.theta), dtype=self.dtype)
        return self.theta + self.dtype.type(self.setting.lr) * noise

    def full_step(self):
        proposal = self.proposal()
        proposed = self.losses(proposal, self.data.X, self.data.y).mean()
        accept = math.log(self.rng.random()) < (self.current - proposed) / self.setting.T
        if accept:
            self.theta, self.current = proposal, proposed
        return accept, len(self.data.y)

    def minibatch_step(self):
        _, test, size, _, T = self.setting
        rng, n, proposal = self.rng, len(self.data.y), self.proposal()
        if test != "exact":
            gain = self.gains(proposal, rng.choice(n, size, replace=False)).mean()
            accept = math.log(rng.random()) < gain / T if test == "naive" else gain + T * rng.standard_normal() > 0
            used = size
        else:
            order, used = rng.permutation(n), size
            gains = self.gains(proposal, order[:used])
            while True:
                row_variance = float(gains.var(ddof=1)) / T**2
                variance = (1 - used / n) * row_variance / used
                if variance <= 1:
                    break
                needed = math.ceil(n * row_variance / (n + row_variance))
                wanted = min(max(min(needed, 2 * used), used + size), n)
                gains = np.concatenate([gains, self.gains(proposal, order[used:wanted])])
                used = wanted
            noise = math.sqrt(1 - variance) * rng.standard_normal() + float(sample_correction(rng.random()))
            accept = gains.mean() / T + noise > 0
        if accept:
            self.theta = proposal
        return accept, used

    def gains(self, proposal, rows):
        X, y = self.data.X[rows], self.data.y[rows]
        return self.losses(self.theta, X, y) - self.losses(proposal, X, y)


def pair(setting: Setting, data: Digits, seconds: float, seed: int, dtype: str) -> tuple[Course, Course]:
    """The compiled walk and the NumPy loop, one after the other, on one core."""
    with threadpool_limits(1):
        return tuple(follow(setting, make(setting, data, seed, dtype), data, seconds) for make in (Compiled, NumpyLoop))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = load(options.dtype)
    print(f"{options.dtype}, {options.seconds:g} s each, seed {options.seed}\n")
    measured = ("steps", "us a step", "acceptance", "best accuracy", "least loss")
    print("| setting | " + " | ".join(f"{what} | NumPy" for what in measured) + " |")
    print("|---|" + "--:|" * 2 * len(measured))
    for setting in SETTINGS:
        courses = pair(setting, data, options.seconds, options.seed, options.dtype)
        columns = [
            *(f"{len(course.sizes)}" for course in courses),
            *(f"{course.seconds[-1] / len(course.sizes) * 1e6:.1f}" for course in courses),
            *(f"{course.accepted / len(course.sizes):.3f}" for course in courses),
            *(f"{course.accuracy.max():.3f}" for course in courses),
            *(f"{course.loss.min():.3f}" for course in courses),
        ]
        print(f"| {setting.name} | " + " | ".join(columns) + " |", flush=True)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_digits(setting, benchmark, figure):
    data = load()
    ours, theirs = benchmark.pedantic(pair, (setting, data, SECONDS, 0, "float32"), rounds=1)
    errors = [1 - course.accuracy.max() for course in (ours, theirs)]
    limit = min(errors[1], 1 - BEST) if setting.test == "full batch" else errors[1]
    figure(f"{setting.name}: least held-out error after {SECONDS:g} s (NumPy {errors[1]:.3f})", errors[0], "", limit)


if __name__ == "__main__":
    main()
