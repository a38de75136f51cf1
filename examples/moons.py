"""A network trained without gradients: MH step by step as a deep-learning optimiser, compiled, and as many chains."""

import numpy as np

import micropolis as mp
from micropolis.metropolis.optimizer import run_chains
from micropolis.neural import Linear, ReLU, Sequential

X, y = mp.data.moons(500, noise=0.1, seed=0)


def optimiser(seed):
    net = Sequential(Linear(2, 10), ReLU(), Linear(10, 10), ReLU(), Linear(10, 2), seed=seed)
    return mp.MH(net, lr=0.1, T=3 / 500, seed=seed)


# the stepwise and the compiled loop make the same chain
slow, fast = optimiser(0), optimiser(0)
for _ in range(200):
    step = slow.step(X, y)
history = fast.run(X, y, steps=200)
assert step.sample_nll == history.sample_nll[-1]
assert np.array_equal(slow.net.parameters, fast.net.parameters)

history = fast.run(X, y, steps=1800)  # goes on where it stopped
accuracy = np.mean(history.best_model(X).argmax(axis=1) == y)
print(f"one chain: {history}, training accuracy {accuracy:.3f}")

histories = run_chains([optimiser(seed) for seed in range(20)], X, y, steps=2000)
accuracies = np.sort([np.mean(h.best_model(X).argmax(axis=1) == y) for h in histories])
print(f"20 chains: training accuracy {accuracies[0]:.3f} (worst), {np.median(accuracies):.3f} (median)")
assert np.median(accuracies) >= 0.99
