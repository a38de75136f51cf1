# cython: language_level=3, boundscheck=False, wraparound=False
"""Sums over the draws of a chain in one pass: what the checks after every run are made of."""

from libc.stddef cimport size_t

import numpy as np

ctypedef fused real:
    float
    double

cdef extern from "common/moments.h" nogil:
    void mp_batch_moments(size_t, size_t, const double *, const double *, double *, double *)
    void mp_batch_moments_float(size_t, size_t, const float *, const double *, double *, double *)


def batch_moments(const real[:, ::1] draws, const long long[::1] edges, const double[::1] center):
    """Sums and sums of squares of draws (n, dim) - center over the batches edges[b] .. edges[b + 1] - 1, (batches, dim)."""
    cdef Py_ssize_t b, batches = edges.shape[0] - 1, dim = draws.shape[1]
    sums, squares = np.zeros((batches, dim)), np.zeros((batches, dim))
    cdef double[:, ::1] s = sums, q = squares
    with nogil:
        for b in range(batches):
            if edges[b] < edges[b + 1]:
                if real is double:
                    mp_batch_moments(edges[b + 1] - edges[b], dim, &draws[edges[b], 0], &center[0], &s[b, 0], &q[b, 0])
                else:
                    mp_batch_moments_float(edges[b + 1] - edges[b], dim, &draws[edges[b], 0], &center[0], &s[b, 0],
                                           &q[b, 0])
    return sums, squares
