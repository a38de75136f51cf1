"""A network's posterior sampled by HMC, and how unsure its predictions are: a picture of both."""

import warnings

import numpy as np

import micropolis as mp
from micropolis.neural import Linear, Sequential, Tanh

X, y = mp.data.moons(60, noise=0.25, seed=1)
X_new, y_new = mp.data.moons(1000, noise=0.25, seed=2)

net = Sequential(Linear(2, 10), Tanh(), Linear(10, 2), seed=0)
kernel = mp.HMC(step_size=0.05, n_steps=20, target_accept=0.8)
# hidden units may change places, so chains need not agree on weights; whether they agree on predictions is seen below
warnings.simplefilter("ignore", mp.errors.SamplingWarning)
trace = mp.sample_model(net, X, y, kernel=kernel, draws=400, warmup=400, chains=4, loss="multiclass", tau=0.2, seed=1)


def probability(points):
    """Probability of class 1 by every eighth draw: (draws, points)."""
    logits, _ = mp.predict_model(net, trace.draws[:, ::8], points)
    return 0.5 * (1 + np.tanh(0.5 * (logits[..., 1] - logits[..., 0])))


p = probability(X_new)
right = np.mean((p.mean(axis=0) > 0.5) == y_new)
each = np.mean((p > 0.5) == y_new, axis=1)
log_score = np.mean(np.log(np.where(y_new == 1, p.mean(axis=0), 1 - p.mean(axis=0))))
log_score_each = np.mean(np.log(np.where(y_new == 1, p, 1 - p)), axis=1)
chains = p.reshape(4, -1, len(X_new)).mean(axis=1)
print(f"four chains, probability of class 1: apart by {np.mean(np.ptp(chains, axis=0)):.3f} on average")
print(f"accuracy on {len(y_new)} new points: {right:.3f}; of single draws {each.mean():.3f}")
print(f"mean log score: {log_score:.3f}; of single draws {log_score_each.mean():.3f}")
assert right > 0.9
assert log_score > log_score_each.mean()  # Jensen's inequality: averaging cannot lose

try:
    from matplotlib.figure import Figure
except ImportError:
    print("no picture without Matplotlib")
else:
    figure = Figure((10.0, 4.0), layout="constrained")
    left, right_panel = figure.subplots(1, 2)
    mp.plots.decision_boundary(lambda points: probability(points).mean(axis=0), X, y, left, "mean probability")
    mp.plots.decision_boundary(
        lambda points: probability(points).std(axis=0), X, y, right_panel, "its standard deviation over draws",
        values="uncertainty",
    )  # fmt: skip
    left.legend(loc="lower left", fontsize=9)
    figure.savefig("bayesian_network.png", dpi=110)
