"""Pictures: what is drawn is what the trace holds."""

import numpy as np
import pytest

import micropolis as mp
from micropolis.errors import InputError, UnknownNameError

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def trace():
    return mp.sample(mp.densities.Gaussian([0.0, 5.0, -5.0]), draws=300, warmup=100, chains=3, seed=1)


def panels(figure):
    return [axes for band in figure.subfigs for axes in band.axes]


def test_overview_draws_every_chain_and_scalar(trace):
    axes = panels(mp.plots.overview(trace))
    assert [a.get_ylabel() for a in axes[::2]] == ["x[0]", "x[1]", "x[2]"]
    for i, panel in enumerate(axes[::2]):
        np.testing.assert_array_equal([line.get_ydata() for line in panel.lines], trace.draws[:, :, i])


def test_marginal_has_unit_area_over_the_draws(trace):
    right = panels(mp.plots.overview(trace, names=["x[1]"], reference={"x[1]": np.linspace(3, 7, 500)}))[1]
    bars = right.patches[:-1]  # the last patch is the outline
    assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1, rel=0.01)
    assert right.get_xlim()[0] == pytest.approx(np.quantile([*trace["x[1]"].ravel(), *np.linspace(3, 7, 500)], 0.001))


def test_overview_of_long_and_wide_traces_is_thinned_and_cut():
    trace = mp.sample(mp.densities.Gaussian(np.zeros(20)), draws=2500, warmup=50, chains=1, seed=1)
    axes = panels(mp.plots.overview(trace))
    assert len(axes) == 2 * mp.plots.MAX_QUANTITIES
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), trace.draws[0, ::3, 0])


def test_faults(trace):
    with pytest.raises(UnknownNameError, match="no such parameter"):
        mp.plots.overview(trace, names=["tau"])
    with pytest.raises(InputError, match="reference: no such scalars among those drawn: tau"):
        mp.plots.overview(trace, reference={"tau": [1.0]})
    empty = mp.sample(mp.densities.Gaussian([0.0]), draws=0, warmup=0, seed=1)
    with pytest.raises(InputError, match="no draws"):
        mp.plots.overview(empty)


def test_a_constant_and_a_saved_file(trace, tmp_path):
    constant = mp.plots.Quantity("c", np.ones((2, 10)))
    figure = mp.plots.gallery([("title", [constant])])
    figure.savefig(tmp_path / "constant.png")
    assert (tmp_path / "constant.png").stat().st_size > 1000
