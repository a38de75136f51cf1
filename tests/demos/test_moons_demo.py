"""The demo's moons: the chain that the specification asks for, and how well its best models do."""

import numpy as np

from micropolis.demos import moons


def test_early_rejection_changes_nothing_but_the_time():
    full, early = moons.train(3), moons.train(3, early_rejection=True)
    np.testing.assert_array_equal(full.history.sample_nll, early.history.sample_nll)
    np.testing.assert_array_equal(full.history.best_parameters, early.history.best_parameters)
    assert np.isfinite(full.history.proposal_nll).all() and np.isnan(early.history.proposal_nll).any()


def test_the_reference_experiment_reaches_its_figure():
    """Training accuracy of the best model, median of 20 seeds, >= 0.99."""
    trainings = [moons.train(seed, early_rejection=True) for seed in range(20)]
    accuracies = [moons.accuracy(t.history.best_model, t.X, t.y) for t in trainings]
    assert np.median(accuracies) >= 0.99
    assert all(t.before.n_parameters == 162 and len(t.history) == 2000 for t in trainings)
