"""Hamiltonian kernels: HMC and NUTS."""
