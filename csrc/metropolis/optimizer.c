/* Full-batch Metropolis-Hastings on the weights of a network, with exact early rejection.
 *
 * The uniform is drawn first: log u < log_ratio is the same as S(theta') < threshold, known before a row is looked at. Since
 * no loss is negative the sum can be given up as soon as it reaches the threshold, and the chain stays the same. The rows
 * that lose most now will most likely tell, so they come first: their order is made anew every 1024 steps, more often in
 * the beginning, with or without early rejection, so that sums are the same to the last bit. */
#include "metropolis/optimizer.h"

#include <math.h>
#include <string.h>

#include "common/simd.h"

/* No contraction in this file: NumPy's theta + lr * z has the same bits. */
static MP_CLONES void propose_double(size_t n, const double *theta, double lr, const double *z, double *proposal) {
  for (size_t i = 0; i < n; i++) proposal[i] = theta[i] + lr * z[i];
}

static MP_CLONES void propose_float(size_t n, const float *theta, double lr, const double *z, float *proposal) {
  for (size_t i = 0; i < n; i++) proposal[i] = (float)(theta[i] + lr * z[i]);
}

static MP_CLONES double squares_double(size_t n, const double *theta) {
  mp_v8 sum = {0};
  size_t i = 0;
  for (; i + MP_LANES <= n; i += MP_LANES) sum += mp_load8(theta + i) * mp_load8(theta + i);
  mp_v8 tail = mp_load_tail(theta + i, n - i);
  return mp_fold8(sum + tail * tail);
}

static double squares_float(size_t n, const float *theta) {
  double lanes[MP_LANES] = {0};
  for (size_t i = 0; i < n; i++) lanes[i % MP_LANES] += (double)theta[i] * theta[i];
  return mp_fold_lanes(lanes);
}

double mp_walk_penalty(const mp_weight_walk *walk, const void *theta) {
  size_t n = (size_t)walk->network->n_parameters;
  if (walk->tau == 0) return 0;
  return 0.5 * walk->tau * (walk->network->dtype == MP_FLOAT32 ? squares_float(n, theta) : squares_double(n, theta));
}

double mp_walk_propose(mp_weight_walk *walk, double lr) {
  size_t n = (size_t)walk->network->n_parameters;
  mp_standard_normal(walk->rng, n, walk->normals);
  if (walk->network->dtype == MP_FLOAT32) propose_float(n, walk->theta, lr, walk->normals, walk->proposal);
  else propose_double(n, walk->theta, lr, walk->normals, walk->proposal);
  return mp_walk_penalty(walk, walk->proposal);
}

void mp_walk_accept(mp_weight_walk *walk, double penalty) {
  void *theta = walk->theta;
  walk->theta = walk->proposal;
  walk->proposal = theta;
  walk->penalty = penalty;
}

int mp_loss_is_nonnegative(const mp_loss *loss) {
  if (loss->kind == MP_REGRESSION) return loss->scale <= 2 * M_PI; /* the normal density's constant is below 1 */
  return loss->kind == MP_MULTICLASS || loss->kind == MP_BINARY;
}

void mp_optimizer_arrange(mp_optimizer *optimizer) {
  const mp_network *network = optimizer->walk.network;
  const mp_data *from = optimizer->source, *to = &optimizer->arranged;
  size_t row = (size_t)network->n_inputs * (network->dtype == MP_FLOAT32 ? sizeof(float) : sizeof(double));
  size_t outputs = (size_t)network->n_outputs;
  for (int64_t i = 0; i < from->n; i++) {
    int64_t j = optimizer->order[i];
    memcpy((char *)to->inputs + (size_t)i * row, (const char *)from->inputs + (size_t)j * row, row);
    if (from->labels) ((int64_t *)to->labels)[i] = from->labels[j];
    if (from->targets)
      memcpy((double *)to->targets + (size_t)i * outputs, from->targets + (size_t)j * outputs,
             outputs * sizeof(double));
  }
  if (to->tiles) mp_network_pack(network, from->n, to->inputs, (void *)to->tiles);
}

static void swap(char *a, char *b, size_t size) {
  char block[256];
  for (size_t n; size > 0; a += n, b += n, size -= n) {
    n = size < sizeof block ? size : sizeof block;
    memcpy(block, a, n), memcpy(a, b, n), memcpy(b, block, n);
  }
}

/* Row i becomes the one that stood at from[i]: cycle by cycle, in the copy itself, since the source may have changed
 * meanwhile. `from` is used up. */
static void rearrange(mp_optimizer *optimizer, int64_t *from) {
  const mp_network *network = optimizer->walk.network;
  const mp_data *data = &optimizer->arranged;
  size_t row = (size_t)network->n_inputs * (network->dtype == MP_FLOAT32 ? sizeof(float) : sizeof(double));
  size_t outputs = (size_t)network->n_outputs * sizeof(double);
  char *inputs = (char *)data->inputs, *labels = (char *)data->labels, *targets = (char *)data->targets;
  char *order = (char *)optimizer->order;
  for (int64_t first = 0; first < data->n; first++)
    for (int64_t i = first, j = from[i]; from[i] = i, j != first; i = j, j = from[j]) {
      size_t a = (size_t)i, b = (size_t)j;
      swap(inputs + a * row, inputs + b * row, row);
      if (labels) swap(labels + a * sizeof(int64_t), labels + b * sizeof(int64_t), sizeof(int64_t));
      if (targets) swap(targets + a * outputs, targets + b * outputs, outputs);
      swap(order + a * sizeof(int64_t), order + b * sizeof(int64_t), sizeof(int64_t));
    }
  if (data->tiles) mp_network_pack(network, data->n, data->inputs, (void *)data->tiles);
}

/* Four ranks for every power of two; decreasing. */
enum { RANKS = 1024 };
static unsigned rank_of(double loss) {
  float value = loss > 0 ? (float)loss : 0;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return RANKS - 1 - (bits >> 21);
}

/* Counting sort of the rows by their losses at theta. */
static void sort_rows(mp_optimizer *optimizer) {
  const mp_weight_walk *walk = &optimizer->walk;
  int64_t n = walk->data->n, place[RANKS + 1] = {0}, *from = optimizer->spare;
  mp_network_losses(walk->network, walk->loss, walk->theta, walk->data, NULL, n, optimizer->losses, walk->work);
  for (int64_t i = 0; i < n; i++) place[rank_of(optimizer->losses[i]) + 1]++;
  for (int rank = 0; rank < RANKS; rank++) place[rank + 1] += place[rank];
  for (int64_t i = 0; i < n; i++) from[place[rank_of(optimizer->losses[i])]++] = i;
  rearrange(optimizer, from);
}

static int is_time_to_sort(int64_t age) {
  if (age >= 1024) return age % 1024 == 0;
  return age >= 16 && (age & (age - 1)) == 0;
}

static void keep_best(mp_optimizer *optimizer) {
  const mp_network *network = optimizer->walk.network;
  size_t size = network->dtype == MP_FLOAT32 ? sizeof(float) : sizeof(double);
  memcpy(optimizer->best, optimizer->walk.theta, (size_t)network->n_parameters * size);
  optimizer->best_sum = optimizer->sum;
}

void mp_optimizer_start(mp_optimizer *optimizer) {
  mp_weight_walk *walk = &optimizer->walk;
  mp_network_loss_sum(walk->network, walk->loss, walk->theta, walk->data, NULL, walk->data->n, INFINITY,
                      &optimizer->sum, walk->work);
  walk->penalty = mp_walk_penalty(walk, walk->theta);
  keep_best(optimizer);
}

static void step(mp_optimizer *optimizer, mp_step_record *record) {
  mp_weight_walk *walk = &optimizer->walk;
  int64_t n = walk->data->n;
  double lr = mp_schedule_at(&walk->lr, walk->step), temperature = mp_schedule_at(&walk->temperature, walk->step);
  double rows = (double)n, unit = walk->sums ? 1.0 : rows, scale = unit * temperature;
  if (optimizer->sorts && is_time_to_sort(optimizer->age)) sort_rows(optimizer);
  optimizer->age++;
  walk->step++;

  double uniform = mp_uniform(walk->rng), penalty = mp_walk_propose(walk, lr), prior = walk->penalty - penalty;
  /* T = 0 is the limit: downhill only, whatever the prior */
  double threshold = scale > 0 ? optimizer->sum + scale * (prior - log(uniform)) : optimizer->sum;
  double sum, before = optimizer->sum;
  int64_t looked = mp_network_loss_sum(walk->network, walk->loss, walk->proposal, walk->data, NULL, n,
                                       optimizer->early_rejection ? threshold : INFINITY, &sum, walk->work);
  int accept = looked == n && sum < threshold; /* false for a NaN */
  if (accept) {
    mp_walk_accept(walk, penalty);
    optimizer->sum = sum;
    if (sum < optimizer->best_sum) keep_best(optimizer);
  }
  record->sample_nll = optimizer->sum / unit;
  record->proposal_nll = record->log_ratio = NAN;
  if (looked == n) {
    record->proposal_nll = sum / unit;
    record->log_ratio = scale > 0 ? (before - sum) / scale + prior : sum < before ? INFINITY : -INFINITY;
  }
  record->variance = 0;
  record->rows_used = looked;
  record->accept = (uint8_t)accept;
  record->non_finite = !isfinite(sum);
}

void mp_optimizer_run(mp_optimizer *optimizer, int64_t n, mp_step_record *records, const volatile int32_t *control,
                      volatile int64_t *progress) {
  for (int64_t i = 0; i < n && !*control; i++) {
    step(optimizer, records + i);
    progress[0]++;
    progress[1] += records[i].accept;
  }
}
