"""Metropolis kernels: random walk and Langevin."""
