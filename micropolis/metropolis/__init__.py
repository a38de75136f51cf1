"""Metropolis: the kernels random walk and Langevin, and the optimisers of networks MH and MMH."""
