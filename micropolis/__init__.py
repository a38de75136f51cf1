"""Compiled Markov chain Monte Carlo kernels behind a thin NumPy API."""
