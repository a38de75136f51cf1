/* The SoftAbs map s(l) = l coth(alpha l) and its divided differences, exact where eigenvalues cluster.
 *
 * Differences of s cancel where l_i and l_j are close; with x = alpha l_i, y = alpha l_j the identity
 *     J = (coth x + coth y) / 2 - (x + y) / 2 * sinh(x - y) / ((x - y) sinh x sinh y)
 * does not, a series covers small x and y, and beyond 20 coth is +-1. Relative errors stay below 1e-12. */
#ifndef MICROPOLIS_SOFTABS_H
#define MICROPOLIS_SOFTABS_H

#include <math.h>

#include "common/simd.h"

MP_INLINE double mp_softabs(double alpha, double value) {
  double size = fabs(value), x = alpha * size;
  if (x > 20.0) return size;
  return x < 1e-8 ? 1.0 / alpha : size / tanh(x);
}

/* (s(l) - s(k)) / (l - k), and s'(l) where they are equal; `softabs_l` = s(l) */
MP_INLINE double mp_softabs_slope(double alpha, double l, double k, double softabs_l, double softabs_k) {
  double x = alpha * l, y = alpha * k, size_x = fabs(x), size_y = fabs(y);
  double larger = size_x > size_y ? size_x : size_y, smaller = size_x > size_y ? size_y : size_x;
  if (smaller > 20.0) {
    if ((l > 0.0) == (k > 0.0)) return l > 0.0 ? 1.0 : -1.0;
    return (fabs(l) - fabs(k)) / (l - k);
  }
  if (larger < 0.08) { /* x coth x = 1 + x^2 / 3 - x^4 / 45 + 2 x^6 / 945 - x^8 / 4725 + ... */
    double a = x * x, b = y * y, square = a + b, cube = square * a + b * b, fourth = cube * a + b * b * b;
    return (x + y) * (((1.0 / 3.0 - square / 45.0) + cube * (2.0 / 945.0)) - fourth / 4725.0);
  }
  double gap = x - y;
  if (smaller < 0.04 || (larger > 20.0 && fabs(gap) > 1.0)) return (softabs_l - softabs_k) / (l - k);
  double ratio = gap == 0.0 ? 1.0 : sinh(gap) / gap;
  return 0.5 * (1.0 / tanh(x) + 1.0 / tanh(y)) - 0.5 * (x + y) * (ratio / (sinh(x) * sinh(y)));
}

#endif
