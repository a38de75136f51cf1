"""NumPy code as an array program: traced arrays, the graph they build, its derivatives."""
