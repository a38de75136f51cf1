/* Minibatch Metropolis-Hastings on the weights of a network.
 *
 * With d_i = loss_i(theta) - loss_i(theta') and c = 1 (means) or n (sums), the log ratio Delta = c mean(d) / T + log prior ratio
 * is estimated from b rows drawn without replacement, with variance s^2 = (c / T)^2 (1 - b / n) var(d) / b. */
#include "metropolis/minibatch.h"

#include <math.h>

#include "metropolis/barker_correction.h"

uint64_t mp_bounded(bitgen_t *rng, uint64_t bound) {
  unsigned __int128 product = (unsigned __int128)rng->next_uint64(rng->state) * bound;
  if ((uint64_t)product < bound) { /* only here may the number be one of those that would be too many */
    uint64_t least = -bound % bound;
    while ((uint64_t)product < least) product = (unsigned __int128)rng->next_uint64(rng->state) * bound;
  }
  return (uint64_t)(product >> 64);
}

double mp_barker_correction(double uniform) {
  int k = 0, negative = uniform >= 0.5; /* one number gives the sign and, stretched, the atom */
  double u = negative ? 2 * uniform - 1 : 2 * uniform;
  while (u >= mp_barker[k].cumulative) k++; /* the last is 1 */
  return negative ? -mp_barker[k].value : mp_barker[k].value;
}

/* Rows `from` .. `to` - 1 of the minibatch: drawn from those not in it (Fisher & Yates), and their losses. */
static void look_at(mp_minibatch *m, int64_t from, int64_t to) {
  const mp_weight_walk *walk = &m->walk;
  int64_t n = walk->data->n, *rows = m->permutation;
  for (int64_t i = from; i < to; i++) {
    int64_t j = i + (int64_t)mp_bounded(walk->rng, (uint64_t)(n - i)), row = rows[j];
    rows[j] = rows[i];
    rows[i] = row;
  }
  mp_network_losses(walk->network, walk->loss, walk->theta, walk->data, rows + from, to - from, m->current + from,
                    walk->work);
  mp_network_losses(walk->network, walk->loss, walk->proposal, walk->data, rows + from, to - from, m->proposed + from,
                    walk->work);
}

/* Means of the losses and of their differences over the first b rows, and the differences' variance. */
typedef struct {
  double current, proposed, difference, variance;
} moments;

static moments moments_of(const mp_minibatch *m, int64_t b) {
  moments sums = {0, 0, 0, 0};
  for (int64_t i = 0; i < b; i++) {
    sums.current += m->current[i];
    sums.proposed += m->proposed[i];
    sums.difference += m->current[i] - m->proposed[i];
  }
  double size = (double)b, mean = sums.difference / size;
  for (int64_t i = 0; i < b; i++) {
    double deviation = m->current[i] - m->proposed[i] - mean;
    sums.variance += deviation * deviation;
  }
  return (moments){sums.current / size, sums.proposed / size, mean, sums.variance / (size - 1)};
}

/* The exact test's next size: as many rows as the variance seen so far asks for, but at least a minibatch more and at most
 * twice as many. */
static int64_t enlarged(const mp_minibatch *m, int64_t b, double row_variance) {
  double n = (double)m->walk.data->n, wanted = ceil(n * row_variance / (n + row_variance));
  int64_t least = b + m->batch_size, most = 2 * b, size = wanted < (double)most ? (int64_t)wanted : most;
  if (size < least) size = least;
  return size < m->walk.data->n ? size : m->walk.data->n;
}

static void step(mp_minibatch *m, mp_step_record *record) {
  mp_weight_walk *walk = &m->walk;
  int64_t n = walk->data->n, b = m->batch_size;
  double lr = mp_schedule_at(&walk->lr, walk->step), temperature = mp_schedule_at(&walk->temperature, walk->step);
  double rows = (double)n, unit = walk->sums ? rows : 1.0, scale = unit / temperature;
  walk->step++;

  double penalty = mp_walk_propose(walk, lr), prior = walk->penalty - penalty, variance;
  moments mean;
  look_at(m, 0, b);
  for (;;) {
    mean = moments_of(m, b);
    double row_variance = scale * scale * mean.variance;
    variance = b == n ? 0 : (1 - (double)b / rows) * row_variance / (double)b;
    int finite = isfinite(mean.proposed) && isfinite(mean.current);
    if (m->test != MP_TEST_EXACT || !finite || b == n || variance <= 1) break;
    int64_t more = enlarged(m, b, row_variance);
    look_at(m, b, more);
    b = more;
  }
  double energy = unit * mean.difference, log_ratio = energy / temperature + prior, noise, uniform;
  if (temperature == 0) log_ratio = energy > 0 ? INFINITY : -INFINITY; /* the limit, whatever the prior */

  int accept;
  if (m->test == MP_TEST_NAIVE) {
    accept = log(mp_uniform(walk->rng)) < log_ratio;
  } else if (m->test == MP_TEST_BARKER) {
    mp_standard_normal(walk->rng, 1, &noise);
    accept = energy + temperature * (prior + m->noise * noise) > 0;
  } else {
    mp_standard_normal(walk->rng, 1, &noise);
    uniform = mp_uniform(walk->rng);
    accept = log_ratio + sqrt(1 - variance) * noise + mp_barker_correction(uniform) > 0;
  }
  /* a loss that is not finite loses against any that is, on either side */
  int finite = isfinite(mean.proposed);
  if (!finite || !isfinite(mean.current)) accept = finite;
  if (accept) mp_walk_accept(walk, penalty);
  *record = (mp_step_record){unit * (accept ? mean.proposed : mean.current),
                             unit * mean.proposed,
                             log_ratio,
                             variance,
                             b,
                             (uint8_t)accept,
                             !finite};
}

void mp_minibatch_run(mp_minibatch *minibatch, int64_t n, mp_step_record *records, const volatile int32_t *control,
                      volatile int64_t *progress) {
  for (int64_t i = 0; i < n && !*control; i++) {
    step(minibatch, records + i);
    progress[0]++;
    progress[1] += records[i].accept;
  }
}
