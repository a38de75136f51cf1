/* Hamiltonian Monte Carlo by symmetric splitting over blocks of data: Cobb & Jalaian (2021), "Scaling Hamiltonian Monte
 * Carlo inference for Bayesian neural networks with symmetric splitting", algorithm 1.
 *
 * With U = sum_m U_m over M blocks a step is, for m = 1 .. M, a kick by eps/2 of U_m and (but for the last) a drift of
 * eps/(2(M-1)), and then the same backwards. The two kicks in the middle are one. It is a composition of shears that reads
 * the same from both ends, hence reversible, volume preserving and of second order, in any order of the blocks that is
 * drawn without regard to the state. M = 1 is leapfrog, and so is "kicks, drift, kicks", whose gradient is that of all
 * blocks at one place. */
#include "hamiltonian/splitting.h"

#include "hamiltonian/integrators.h"
#include "hamiltonian/length.h"

size_t mp_splitting_work_size(const void *options, size_t dim) {
  (void)options;
  return 5 * mp_stride(dim) + MP_MOST_BLOCKS; /* momentum, metric, position, gradient, products; order */
}

/* w += factor S' grad */
MP_INLINE void kick(size_t dim, const mp_padded_metric *metric, double factor, const double *grad, double *w) {
  if (metric->dense) {
    mp_lower_transpose_product(dim, metric->scale, grad, metric->scratch);
    mp_add_scaled(mp_padded(dim), factor, w, metric->scratch, w);
  } else {
    (void)mp_kick(mp_padded(dim), factor, metric->scale, grad, w);
  }
}

/* q += factor S w */
MP_INLINE void drift(size_t dim, const mp_padded_metric *metric, double factor, const double *w, double *q) {
  if (metric->dense) {
    mp_lower_product(dim, metric->scale, w, metric->scratch);
    mp_add_scaled(mp_padded(dim), factor, q, metric->scratch, q);
  } else {
    for (size_t i = 0; i < mp_padded(dim); i += MP_LANES)
      mp_store8(q + i, mp_load8(q + i) + factor * (mp_load8(metric->scale + i) * mp_load8(w + i)));
  }
}

/* Value and gradient of block m of several, or of the whole density as one. */
MP_INLINE int block_grad(const mp_density *density, size_t n_blocks, size_t m, const double *q, double *grad,
                         double *logp) {
  if (n_blocks == 1) return mp_density_logp_grad(density, q, grad, logp);
  *logp = NAN;
  return density->block(density->dim, q, m, grad, logp, density->user_data);
}

/* Whether a trajectory goes on. One that meets a point where a block is not finite ends there, as its reverse does: the
 * gradient may be anything. */
MP_INLINE int goes_on(int code, double part) { return !code && isfinite(part); }

/* Fisher & Yates */
static void shuffle(bitgen_t *rng, size_t n, uint32_t *order) {
  for (size_t i = n - 1; i > 0; i--) {
    size_t j = (size_t)(mp_uniform(rng) * (double)(i + 1));
    uint32_t taken = order[i];
    order[i] = order[j];
    order[j] = taken;
  }
}

MP_CLONES int mp_splitting_step(const void *options_, const mp_density *density, bitgen_t *rng, mp_state *state,
                                double *work, mp_info *info_) {
  const mp_splitting_options *options = options_;
  mp_splitting_info *info = (mp_splitting_info *)info_;
  size_t dim = density->dim, stride = mp_stride(dim), n_blocks = density->n_blocks;
  if (n_blocks < 2 || options->order == MP_BLOCKS_TOGETHER) n_blocks = 1;
  double *x = state->buffers[MP_STATE_X], *logp = state->buffers[MP_STATE_LOGP];
  double *w = work, *q = work + 2 * stride, *grad = work + 3 * stride;
  uint32_t *order = (uint32_t *)(work + 5 * stride);
  mp_padded_metric metric = mp_pad_metric(dim, &options->tuning, work + stride);
  if (metric.dense) metric.scratch = work + 4 * stride;
  double eps = options->tuning.step_size, half = 0.5 * eps;
  double along = n_blocks == 1 ? eps : half / (double)(n_blocks - 1);
  if (n_blocks > MP_MOST_BLOCKS) return MP_DENSITY_FATAL;

  int64_t n_steps = mp_trajectory_length(options->n_steps, options->jitter, rng), evaluated = 0;
  for (size_t m = 0; m < n_blocks; m++) order[m] = (uint32_t)m;
  mp_standard_normal(rng, dim, w);
  memcpy(q, x, dim * sizeof *x);
  double energy_start = mp_kinetic(mp_padded(dim), w) - *logp;
  double part = 0.0, logp_new = NAN, energy = NAN;
  int code = 0;
  size_t known = n_blocks; /* block whose gradient at q stands in grad */
  for (int64_t step = 0; step < n_steps && goes_on(code, part); step++) {
    if (options->order == MP_BLOCKS_SHUFFLED && n_blocks > 1) shuffle(rng, n_blocks, order);
    for (size_t j = 0; j < n_blocks && goes_on(code, part); j++) {
      if (order[j] != known) code = block_grad(density, n_blocks, order[j], q, grad, &part), evaluated++;
      known = n_blocks;
      kick(dim, &metric, j + 1 < n_blocks || n_blocks == 1 ? half : eps, grad, w);
      if (j + 1 < n_blocks || n_blocks == 1) drift(dim, &metric, along, w, q);
    }
    for (size_t j = n_blocks == 1 ? 1 : n_blocks - 1; j-- > 0 && goes_on(code, part);) {
      if (n_blocks > 1) drift(dim, &metric, along, w, q);
      code = block_grad(density, n_blocks, order[j], q, grad, &part), evaluated++;
      kick(dim, &metric, half, grad, w);
    }
    known = order[0];
  }
  if (goes_on(code, part)) code = mp_density_value(density, q, grad, &logp_new);
  if (!code) energy = mp_kinetic(mp_padded(dim), w) - logp_new;
  int status = mp_leapfrog_status(code, energy, energy_start);
  double error = energy - energy_start;
  double accept_prob = status == MP_OK ? (error <= 0.0 ? 1.0 : exp(-error)) : 0.0;
  int accepted = mp_uniform(rng) < accept_prob;
  if (accepted) {
    memcpy(x, q, dim * sizeof *x);
    *logp = logp_new;
  }
  int64_t passes = (evaluated + (int64_t)n_blocks - 1) / (int64_t)n_blocks + 1;
  *info = (mp_splitting_info){
      {*logp, accept_prob, (int32_t)passes, (uint8_t)accepted, status != MP_OK, (int16_t)status},
      accepted ? energy : energy_start,
      error,
      options->tuning.step_size,
      n_blocks == 1 && density->n_blocks > 1 ? evaluated * (int64_t)density->n_blocks : evaluated};
  return status < 0 ? status : MP_OK;
}
