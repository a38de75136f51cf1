"""Handwritten digits by Metropolis on minibatches: seven settings at equal wall time, one core, no gradients."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import InputError, MissingExtraError
from ..metropolis.minibatch import MMH
from ..metropolis.optimizer import MH
from ..neural.layers import Linear, ReLU
from ..neural.network import Sequential
from . import end_if

PICTURE = "micropolis_digits.png"
SUFFIXES = (".png", ".pdf", ".svg")
HEADINGS = ("setting", "steps", "us/step", "rows", "best accuracy", "least loss", "acceptance")
WIDTHS = (31, 9, 9, 13, 13, 10, 10)
# time between two evaluations: a share of what is gone, so that a logarithmic axis has points everywhere
SHARE, SHORTEST, LONGEST = 0.04, 0.5e-3, 20e-3


class Setting(NamedTuple):
    """One of the ways to train."""

    name: str
    test: str  # "full batch", or a test of MMH
    batch_size: int
    lr: float
    T: float


SETTINGS = (
    Setting("full batch", "full batch", 0, 3e-3, 7e-4),
    Setting("naive, b = 2", "naive", 2, 1e-3, 1e-5),
    Setting("naive, b = 64", "naive", 64, 1e-3, 5e-5),
    Setting("barker, b = 2", "barker", 2, 1e-3, 0.0),
    Setting("barker, b = 64", "barker", 64, 1e-3, 0.0),
    Setting("exact, b = 2", "exact", 2, 3e-4, 3e-3),
    Setting("exact, b = 64", "exact", 64, 1e-3, 3e-3),
)
# not in the comparison: the best of a dozen pairs of lr and T on these very held-out rows, which flatters it
COLDER = Setting("colder full batch (of ours)", "full batch", 0, 2e-3, 1e-4)
COLOURS = {"full batch": "#222222", "naive": "#0072b2", "barker": "#d55e00", "exact": "#009e73"}  # of each test


class Digits(NamedTuple):
    """1797 images of 8 x 8 pixels with values 0 .. 16, 30 % of each class held out."""

    X: NDArray[Any]
    y: NDArray[np.int64]
    held_out_X: NDArray[Any]
    held_out_y: NDArray[np.int64]


class Walk(Protocol):
    """A chain over the weights of a network that can be moved on and asked."""

    def advance(self, steps: int) -> tuple[NDArray[np.int64], int]:
        """Make some steps: rows that each looked at, and how many were accepted."""
        ...

    def outputs(self, X: NDArray[Any]) -> NDArray[Any]:
        """Logits (n, 10) of the present weights."""
        ...


class Course(NamedTuple):
    """What a walk did: one entry of the arrays per evaluation."""

    setting: Setting
    seconds: NDArray[np.float64]
    rows: NDArray[np.float64]
    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    sizes: NDArray[np.int64]  # rows of every step
    accepted: int
    predicted: NDArray[np.int64]  # classes of the held-out rows, by the most accurate weights


def load(dtype: str = "float32") -> Digits:
    """The data, from scikit-learn."""
    datasets = checks.extra("sklearn.datasets", "sklearn", "the digits comparison")
    selection = checks.extra("sklearn.model_selection", "sklearn", "the digits comparison")
    X, y = datasets.load_digits(return_X_y=True)
    train, held_out, y, held_out_y = selection.train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    train, held_out = (np.ascontiguousarray(part, dtype=dtype) for part in (train, held_out))
    return Digits(train, np.asarray(y), held_out, np.asarray(held_out_y))


def network(seed: int, dtype: str) -> Sequential:
    """64-32-32-10 with ReLU, 3466 parameters."""
    layers = (Linear(64, 32), ReLU(), Linear(32, 32), ReLU(), Linear(32, 10))
    return Sequential(*layers, seed=seed, dtype=dtype)


class Compiled:
    """The walk that micropolis makes."""

    def __init__(self, setting: Setting, data: Digits, seed: int, dtype: str) -> None:
        self.data, self.net = data, network(seed, dtype)
        self.opt: MH | MMH
        self.options = {}
        if setting.test == "full batch":
            self.opt = MH(self.net, lr=setting.lr, T=setting.T, seed=seed)
        else:
            self.opt = MMH(self.net, lr=setting.lr, T=setting.T, test=setting.test, seed=seed)
            self.options = {"batch_size": setting.batch_size}

    def advance(self, steps: int) -> tuple[NDArray[np.int64], int]:
        history = self.opt.run(self.data.X, self.data.y, steps, progress=False, **self.options)
        end_if(history.interrupted)
        return history.rows_used, int(np.count_nonzero(history.accept))

    def outputs(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.net(X)


def follow(setting: Setting, walk: Walk, data: Digits, seconds: float) -> Course:
    """Let a walk go for some seconds; it is evaluated between blocks of steps, while the clock stands."""
    gone, rows, accepted, block = 0.0, 0, 0, 1
    points, sizes = [], []
    best, predicted = -1.0, np.zeros(0, dtype=np.int64)
    while True:
        logits = walk.outputs(data.held_out_X).astype(np.float64)
        classes = np.argmax(logits, axis=1)
        accuracy = float(np.mean(classes == data.held_out_y))
        points.append((gone, rows, _loss(logits, data.held_out_y), accuracy))
        if accuracy > best:
            best, predicted = accuracy, classes
        if gone >= seconds:
            break
        began = time.perf_counter()
        used, successes = walk.advance(block)
        took = time.perf_counter() - began
        gone, rows, accepted = gone + took, rows + int(used.sum()), accepted + successes
        sizes.append(used)
        wanted = min(max(SHARE * gone, SHORTEST), LONGEST, max(seconds - gone, 0.0))
        block = max(1, min(int(block * wanted / took), 4 * block))
    clock, seen, loss, accuracies = np.array(points).T
    return Course(setting, clock, seen, loss, accuracies, np.concatenate(sizes), accepted, predicted)


def _loss(logits: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Mean negative log likelihood of the labels."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]))


def run(seconds: float, dtype: str, seed: int, out: str) -> None:
    """Follow every setting, print a table, write a picture."""
    seconds = checks.real("seconds", seconds, above=0)
    if not out or Path(out).is_dir() or not Path(out).resolve().parent.is_dir():
        raise InputError(f"out: expected the path of a file in a folder that exists, got {out!r}")
    if Path(out).suffix.lower() not in SUFFIXES:
        raise InputError(f"out: expected a name that ends in one of {', '.join(SUFFIXES)}, got {out!r}")
    data = load(dtype)
    size = network(seed, dtype).n_parameters
    print(f"Digits: {len(data.y)} images to learn from, {len(data.held_out_y)} held out; 64-32-32-10 ReLU, {size} "
          f"parameters, {dtype}.\nEvery setting has {seconds:g} s of one core.\n")  # fmt: skip
    print(line(HEADINGS))
    courses = []
    for setting in (*SETTINGS, COLDER):
        courses.append(follow(setting, Compiled(setting, data, seed, dtype), data, seconds))
        print(line(cells(courses[-1])), flush=True)
    print()
    try:
        picture(courses, data).savefig(out, dpi=110)
        print(f"Held-out loss and accuracy, confusion, minibatches: {Path(out).resolve()}")
    except MissingExtraError as error:
        print(f"No picture: {error}")


def line(texts: Sequence[str]) -> str:
    """A row of the table."""
    first, *rest = zip(texts, WIDTHS, strict=True)
    return "  ".join([f"{first[0]:<{first[1]}}", *(f"{text:>{width}}" for text, width in rest)])


def cells(course: Course) -> tuple[str, ...]:
    """The table's cells for one course."""
    steps = len(course.sizes)
    return (
        course.setting.name,
        f"{steps}",
        f"{course.seconds[-1] / steps * 1e6:.1f}",
        f"{course.rows[-1]:,.0f}",
        f"{course.accuracy.max():.3f}",
        f"{course.loss.min():.3f}",
        f"{course.accepted / steps:.3f}",
    )


def picture(courses: Sequence[Course], data: Digits) -> Any:
    """Loss and accuracy against rows and milliseconds, minibatch sizes, best and worst confusion."""
    from .. import plots

    figure = checks.extra("matplotlib.figure", "plots", "micropolis.plots").Figure((13.0, 11.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.6, 1.0], hspace=0.03)
    axes = above.subplots(2, 2, sharex="col", sharey="row")
    curves: list[tuple[Any, Callable[[Course], Any], Callable[[Course], Any]]] = [
        (axes[0, 0], lambda course: course.rows, lambda course: course.loss),
        (axes[0, 1], lambda course: 1e3 * course.seconds, lambda course: course.loss),
        (axes[1, 0], lambda course: course.rows, lambda course: course.accuracy),
        (axes[1, 1], lambda course: 1e3 * course.seconds, lambda course: course.accuracy),
    ]
    for panel, x, y in curves:
        for course in courses:
            # from the second point on: zero has no logarithm
            panel.plot(x(course)[1:], y(course)[1:], label=course.setting.name, **_style(course.setting))
        panel.set_xscale("log")
        panel.grid(True, linewidth=0.4, color="#dddddd")
        panel.tick_params(labelsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes[0]:
        panel.set_yscale("log")
        panel.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
        panel.minorticks_off()
    axes[1, 0].set_ylim(0, 1)
    axes[1, 0].set_xlim(left=100)  # before that nothing happens
    axes[1, 1].set_xlim(left=1)
    axes[0, 0].set_ylabel("held-out loss")
    axes[1, 0].set_ylabel("held-out accuracy")
    axes[1, 0].set_xlabel("rows looked at")
    axes[1, 1].set_xlabel("milliseconds")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    above.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9.5, frameon=False)

    histogram, left, right = below.subplots(1, 3)
    exact = {course.setting.name: course.sizes for course in courses[::-1] if course.setting.test == "exact"}
    plots.minibatch_sizes(exact, len(data.y), histogram, "minibatches of the exact test", COLOURS["exact"])
    ranked = sorted(
        (course for course in courses if course.setting != COLDER), key=lambda course: course.accuracy.max()
    )
    for panel, course, word in ((left, ranked[-1], "best"), (right, ranked[0], "worst")):
        title = f"{word}: {course.setting.name}, {course.accuracy.max():.3f}"
        plots.confusion_matrix(data.held_out_y, course.predicted, panel, title)
    return figure


def _style(setting: Setting) -> dict[str, Any]:
    """Colour by test (Okabe & Ito's palette), line by minibatch."""
    if setting == COLDER:
        return {"color": "#cc79a7", "linewidth": 1.8}
    return {"color": COLOURS[setting.test], "linewidth": 1.3, "linestyle": "--" if setting.batch_size == 2 else "-"}
