"""What the command line runs: networks trained by Metropolis, posteriors by NUTS, the funnel by Riemannian HMC."""
