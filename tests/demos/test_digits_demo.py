"""The digits comparison: its data, its clock, and its evaluation, with a walk whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from micropolis.demos import digits

pytest.importorskip("sklearn")


class Known:
    """Knows nothing for 10 steps and everything afterwards; a step takes 0.2 ms and looks at 3 rows."""

    def __init__(self, data):
        self.data, self.steps, self.now = data, 0, 0.0

    def advance(self, steps):
        self.steps += steps
        self.now += 2e-4 * steps
        return np.full(steps, 3), steps // 2

    def outputs(self, X):
        self.now += 1e-3  # must not count
        if self.steps < 10:
            return np.zeros((len(X), 10))
        return 50.0 * np.eye(10)[self.data.held_out_y]


@pytest.fixture(scope="module")
def data():
    return digits.load()


def test_data_are_split_by_class_and_not_scaled(data):
    assert data.X.shape == (1257, 64) and data.held_out_X.shape == (540, 64)
    assert data.X.dtype == np.float32 and set(np.unique(data.X)) == set(range(17))
    shares = np.bincount(data.held_out_y) / (np.bincount(data.y) + np.bincount(data.held_out_y))
    np.testing.assert_allclose(shares, 0.3, atol=0.005)


def test_follow_keeps_the_clock_and_evaluates_between_blocks(data, monkeypatch):
    walk = Known(data)
    monkeypatch.setattr(digits, "time", SimpleNamespace(perf_counter=lambda: walk.now))
    course = digits.follow(digits.SETTINGS[0], walk, data, seconds=0.1)
    assert walk.steps == len(course.sizes)
    assert course.rows[0] == course.seconds[0] == 0 and course.rows[-1] == 3 * walk.steps
    assert course.seconds[-1] == pytest.approx(2e-4 * walk.steps)
    assert 0.1 <= course.seconds[-1] < 0.11 and np.all(np.diff(course.seconds) > 0)
    assert len(course.seconds) > 10
    assert course.loss[0] == pytest.approx(np.log(10))
    assert course.accuracy[0] == pytest.approx(np.mean(data.held_out_y == 0))
    assert course.accuracy[-1] == 1 and course.loss[-1] < 1e-10
    np.testing.assert_array_equal(course.predicted, data.held_out_y)


@pytest.mark.parametrize("setting", digits.SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_the_optimiser_it_says(data, setting):
    walk = digits.Compiled(setting, data, seed=1, dtype="float32")
    before = walk.outputs(data.held_out_X)
    used, accepted = walk.advance(200)
    assert used.shape == (200,) and 0 < accepted <= 200
    assert used.max() <= len(data.y)
    if setting.test in ("naive", "barker"):
        assert np.all(used == setting.batch_size)
    elif setting.test == "exact":
        assert used.min() >= setting.batch_size
    assert not np.array_equal(walk.outputs(data.held_out_X), before)
    assert walk.net.n_parameters == 3466
