/* Random-walk Metropolis (Metropolis et al. 1953): x' = x + step * S z, accepted with probability exp(delta log f / T). */
#include "metropolis/random_walk.h"

#include <math.h>
#include <string.h>

#include "common/linalg.h"
#include "common/stream.h"

/* In few dimensions the proposal is made number by number as the normals come. */
enum { FEW = 16 };

MP_INLINE size_t stride_of(size_t dim) { return dim <= FEW ? FEW : mp_stride(dim); }

size_t mp_random_walk_work_size(const void *options, size_t dim) {
  (void)options;
  return 3 * stride_of(dim); /* proposal, normals, products or a gradient nobody reads */
}

/* x + step * S z */
MP_INLINE void propose(size_t dim, const double *x, const mp_tuning *tuning, const double *z, double *products,
                       double *proposal) {
  if (tuning->metric == MP_DENSE) {
    mp_lower_product(dim, tuning->scale, z, products);
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + tuning->step_size * products[i];
  } else {
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + tuning->step_size * (tuning->scale[i] * z[i]);
  }
}

/* `few`, a constant, is the case of few coordinates with a scale each and an inlined generator: compiled for itself it needs half the
 * instructions. */
MP_INLINE int step(const int few, const mp_random_walk_options *options, const mp_density *density, bitgen_t *rng,
                   mp_state *state, double *work, mp_random_walk_info *info) {
  const mp_tuning *tuning = &options->tuning;
  size_t dim = density->dim, stride = few ? FEW : stride_of(dim);
  double *x = state->buffers[MP_STATE_X], *logp = state->buffers[MP_STATE_LOGP];
  int64_t *count = state->buffers[MP_RANDOM_WALK_COUNT];
  double *proposal = work, *normals = work + stride, *scratch = work + 2 * stride, uniform;

  double temperature = options->temperatures[*count < options->n_temperatures ? *count : options->n_temperatures - 1];
  ++*count;
  if (few) {
    const double *scale = tuning->scale, step_size = tuning->step_size;
    mp_stream stream = mp_stream_open(rng);
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + step_size * (scale[i] * mp_stream_normal(&stream));
    uniform = mp_stream_uniform(&stream);
    mp_stream_close(&stream);
  } else {
    mp_standard_normal(rng, dim, normals);
    propose(dim, x, tuning, normals, scratch, proposal);
    uniform = mp_uniform(rng);
  }
  double logp_new, accept_prob = 0.0;
  int code = mp_density_value(density, proposal, scratch, &logp_new), status = MP_OK;
  if (__builtin_expect(code == 0 && isfinite(logp_new), 1)) {
    double log_ratio = logp_new - *logp;
    if (temperature != 1.0) log_ratio /= temperature; /* 13 cycles in the longest chain of dependencies */
    /* no branch on the sign: it would be mispredicted every other step; a NaN stays one and is not accepted */
    accept_prob = exp(0.0 < log_ratio ? 0.0 : log_ratio);
  } else {
    status = code == 0 ? MP_NON_FINITE : code < 0 ? MP_DENSITY_FATAL : MP_DENSITY_REJECTED;
  }
  int accepted = uniform < accept_prob;
  if (accepted) { /* a branch, not a select: predicted, the next step need not wait for this exp */
    if (few) {
      for (size_t i = 0; i < dim; i++) {
        MP_SCALAR(i);
        x[i] = proposal[i];
      }
    } else {
      memcpy(x, proposal, dim * sizeof *x);
    }
    *logp = logp_new;
  }
  *info = (mp_random_walk_info){{*logp, accept_prob, 1, (uint8_t)accepted, status != MP_OK, (int16_t)status},
                                tuning->step_size};
  if (status >= 0) return MP_OK;
  --*count; /* the step was not made */
  return status;
}

static __attribute__((noinline)) int step_any(const void *options, const mp_density *density, bitgen_t *rng,
                                              mp_state *state, double *work, mp_info *info) {
  return step(0, options, density, rng, state, work, (mp_random_walk_info *)info);
}

static __attribute__((noinline)) int step_few(const void *options, const mp_density *density, bitgen_t *rng,
                                              mp_state *state, double *work, mp_info *info) {
  return step(1, options, density, rng, state, work, (mp_random_walk_info *)info);
}

int mp_random_walk_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                        mp_info *info) {
  int few = density->dim <= FEW && ((const mp_tuning *)options)->metric == MP_DIAGONAL && mp_stream_inlined(rng);
  return (few ? step_few : step_any)(options, density, rng, state, work, info);
}
