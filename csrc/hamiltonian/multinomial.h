/* The multinomial draw from a trajectory as it grows, point by point and half by half (Betancourt 2017, appendix A.3).
 *
 * A point weighs exp(H(start) - H), relative to one running offset against overflow: one exp a point. Within a half the
 * candidate comes by weighted reservoir sampling, which gives each point its share; between halves the new one is preferred. */
#ifndef MICROPOLIS_MULTINOMIAL_H
#define MICROPOLIS_MULTINOMIAL_H

#include <math.h>
#include <micropolis/random.h>

#include "common/simd.h"

typedef struct mp_multinomial {
  double weight, new_weight; /* of the trajectory and of the half that grows, over exp(offset) */
  double offset;
  /* over the points: min(1, r), 2 min(1, r) / (1 + r); r = exp(H(start) - H) */
  double accept_sum, accept_sum_symmetric;
} mp_multinomial;

/* The start alone. */
MP_INLINE mp_multinomial mp_multinomial_start(void) { return (mp_multinomial){.weight = 1.0}; }

/* A point joins the new half, log_ratio = H(start) - H. 1: it is the half's candidate from here on. */
MP_INLINE int mp_multinomial_add(mp_multinomial *m, double log_ratio, int first, bitgen_t *rng) {
  if (log_ratio - m->offset > 300.0) { /* exp would overflow near 700: measure from here on */
    double shrink = exp(m->offset - log_ratio);
    m->weight *= shrink;
    m->new_weight *= shrink;
    m->offset = log_ratio;
  }
  double ratio = exp(log_ratio - m->offset);
  m->new_weight += ratio;
  int taken = first || mp_uniform(rng) * m->new_weight < ratio;
  if (m->offset != 0.0) ratio = exp(log_ratio < 300.0 ? log_ratio : 300.0);
  double capped = ratio < 1.0 ? ratio : 1.0;
  m->accept_sum += capped;
  m->accept_sum_symmetric += 2.0 * capped / (1.0 + ratio);
  return taken;
}

/* The new half joins the trajectory. 1: its candidate is the draw from here on. */
MP_INLINE int mp_multinomial_join(mp_multinomial *m, bitgen_t *rng) {
  int taken = m->new_weight >= m->weight || mp_uniform(rng) * m->weight < m->new_weight;
  m->weight += m->new_weight;
  m->new_weight = 0.0;
  return taken;
}

#endif
