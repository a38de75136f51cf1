# cython: language_level=3, boundscheck=False, wraparound=False
"""Networks behind their C functions: addresses in, one call without the GIL."""
