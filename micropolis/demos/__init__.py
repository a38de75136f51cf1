"""What the command line runs: networks trained by Metropolis, posteriors sampled by NUTS."""
