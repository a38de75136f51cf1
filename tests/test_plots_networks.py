"""Pictures of networks: what is drawn is what the model says and what the chain did."""

import numpy as np
import pytest

import micropolis as mp
from micropolis.errors import InputError, InputTypeError
from micropolis.neural import Linear, ReLU, Sequential

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def points():
    return mp.data.moons(60, noise=0.1, seed=1)


def linear(weight, bias):
    net = Sequential(Linear(2, len(bias)))
    net.parameters = np.concatenate([np.ravel(weight), bias])
    return net


def boundary(figure):
    """Points of the line at probability 1/2."""
    (axes,) = figure.axes
    line = next(c for c in axes.collections if hasattr(c, "levels") and list(c.levels) == [0.5])
    return np.concatenate([path.vertices for path in line.get_paths()])


@pytest.mark.parametrize(
    "net",
    [
        linear([[0, 0], [3, 2]], [0, -1]),  # two logits: class 1 where 3 x1 + 2 x2 > 1
        linear([[3, 2]], [-1]),  # one logit
        lambda p: 1 / (1 + np.exp(1 - 3 * p[:, 0] - 2 * p[:, 1])),
    ],
    ids=["two logits", "one logit", "function"],
)
def test_the_boundary_is_where_both_classes_are_as_likely(net, points):
    line = boundary(mp.plots.decision_boundary(net, *points))
    assert len(line) > 50
    np.testing.assert_allclose(3 * line[:, 0] + 2 * line[:, 1], 1, atol=2e-3)  # linear between grid points


def test_the_boundary_picture_has_every_point_with_its_class(points):
    X, y = points
    (axes,) = mp.plots.decision_boundary(linear([[3, 2]], [-1]), X, y, title="t").axes
    clouds = {c.get_label(): np.asarray(c.get_offsets()) for c in axes.collections if c.get_label().startswith("class")}
    assert axes.get_title(loc="left") == "t"
    for label in (0, 1):
        np.testing.assert_array_equal(clouds[f"class {label}"], X[y == label])


def test_a_model_sure_of_one_class_has_no_line_and_uncertainty_has_a_scale(points, tmp_path):
    figure = mp.plots.decision_boundary(lambda p: np.full(len(p), 0.9), *points)
    assert not any(hasattr(c, "levels") and list(c.levels) == [0.5] for c in figure.axes[0].collections)
    figure = mp.plots.decision_boundary(lambda p: np.abs(np.tanh(p[:, 0])), *points, values="uncertainty")
    assert len(figure.axes) == 2  # the panel and the scale
    figure.savefig(tmp_path / "uncertainty.png")


def test_loss_curves_are_the_history(points):
    X, y = points
    net = Sequential(Linear(2, 4), ReLU(), Linear(4, 2), seed=0)
    start = net.losses(X, y).mean()
    history = mp.MH(net, lr=0.1, T=0.01, seed=0, early_rejection=False).run(X, y, steps=300)
    (axes,) = mp.plots.loss_curves(history, start=start).axes
    proposal, sample = axes.lines
    np.testing.assert_array_equal(proposal.get_ydata(), history.proposal_nll)
    np.testing.assert_array_equal(sample.get_ydata(), [start, *history.sample_nll])
    np.testing.assert_array_equal(sample.get_xdata(), np.arange(301))
    assert axes.get_yscale() == "log"


def test_loss_curves_of_long_runs_are_thinned_and_of_rejected_ones_are_drawn(tmp_path):
    opt = mp.MH(Sequential(Linear(2, 2), seed=0), lr=5.0, T=1e-4, seed=0)
    history = opt.run(*mp.data.moons(500), steps=9000)
    assert np.isnan(history.proposal_nll).any()
    figure = mp.plots.loss_curves(history)
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), history.sample_nll[::3])
    figure.savefig(tmp_path / "long.png")


def test_confusion_matrix_counts():
    actual, predicted = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0]
    (axes,) = mp.plots.confusion_matrix(actual, predicted).axes
    counts = {t.get_position(): int(t.get_text()) for t in axes.texts}
    assert counts == {(0, 0): 1, (1, 0): 1, (1, 1): 1, (2, 2): 2, (0, 2): 1}  # (predicted, actual)
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [1 / 3, 0, 2 / 3]])


def test_minibatch_sizes_are_fractions_of_the_steps():
    sizes = {"a": [2] * 30 + [64] * 10, "b": np.full(7, 500)}
    (axes,) = mp.plots.minibatch_sizes(sizes, n=500).axes
    for patch, values in zip(axes.patches[::2], sizes.values(), strict=True):
        share, edges, _ = patch.get_data()
        np.testing.assert_allclose(share, np.histogram(values, edges)[0] / len(values))
        assert share.sum() == pytest.approx(1)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a (mean 18)", "b (mean 500)"]


def test_pictures_go_where_they_are_told(points):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    left, right = figure.subplots(1, 2)
    assert mp.plots.decision_boundary(linear([[3, 2]], [-1]), *points, axes=left) is figure
    assert mp.plots.confusion_matrix([0, 1], [0, 1], right) is figure
    assert left.collections and right.images


def test_faults(points):
    X, y = points
    with pytest.raises(InputError, match=r"X: expected shape \(..., 2\), got \(60, 3\)"):
        mp.plots.decision_boundary(lambda p: p[:, 0], np.zeros((60, 3)), y)
    with pytest.raises(InputError, match="y: expected 60 labels 0 or 1, got 60 from 0 to 2"):
        mp.plots.decision_boundary(lambda p: p[:, 0], X, 2 * y)
    with pytest.raises(InputError, match="y: expected 60 labels 0 or 1, got none"):
        mp.plots.decision_boundary(lambda p: p[:, 0], X, [])
    with pytest.raises(InputError, match=r"model: expected it to return \(40000,\) numbers in \[0, 1\]"):
        mp.plots.decision_boundary(lambda p: 2 + p[:, 0], X, y)
    with pytest.raises(InputError, match="model: expected a network with 1 or 2 outputs, got output shape"):
        mp.plots.decision_boundary(Sequential(Linear(2, 3)), X, y)
    with pytest.raises(InputTypeError, match="model: expected a Sequential or a function, got float"):
        mp.plots.decision_boundary(1.0, X, y)
    with pytest.raises(InputError, match="history: there are no steps to plot"):
        mp.plots.loss_curves(mp.MH(Sequential(Linear(2, 2)), lr=1.0, T=1.0).run(X, y, steps=0))
    with pytest.raises(InputError, match="predicted: expected 2 labels, got 1"):
        mp.plots.confusion_matrix([0, 1], [0])
    with pytest.raises(InputError, match="actual: expected labels 0, 1, ..., at least one"):
        mp.plots.confusion_matrix([-1, 1], [0, 0])
    with pytest.raises(InputError, match="sizes: there are no runs"):
        mp.plots.minibatch_sizes({}, 10)
    with pytest.raises(InputError, match=r"sizes\['a'\]: expected numbers in 1..10"):
        mp.plots.minibatch_sizes({"a": [11]}, 10)
