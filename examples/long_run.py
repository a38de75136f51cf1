"""A long run in pieces: draws in a memory-mapped file, a checkpoint every minute, and a resumed run, bit for bit."""

import tempfile
from pathlib import Path

import numpy as np

import micropolis as mp

density, kernel = mp.densities.Gaussian(np.zeros(5), std=[0.1, 0.3, 1.0, 3.0, 10.0]), mp.NUTS()

with tempfile.TemporaryDirectory() as folder:
    checkpoint = Path(folder) / "run.npz"
    # `checkpoint` is written every minute and at the end: what a killed process leaves is good for `resume`;
    # `store` keeps draws larger than memory on disk
    store = Path(folder) / "draws.npy"
    first = mp.sample(density, kernel, draws=500, chains=2, seed=1, checkpoint=checkpoint, store=store)

    # later, in another process: a library density is rebuilt from the file, any other is passed again
    loaded = mp.Trace.load(checkpoint)
    more = mp.resume(loaded, draws=500)

    in_one = mp.sample(density, kernel, draws=1000, chains=2, seed=1)
    both = np.concatenate([loaded.draws, more.draws], axis=1)
    assert np.array_equal(both, in_one.draws)
    assert np.array_equal(first.draws, loaded.draws)
    print(f"{loaded.n_draws} + {more.n_draws} draws, the same as {in_one.n_draws} in one run")
