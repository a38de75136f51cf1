/* The C contract of a Markov kernel: options in, one step, a record of what happened out.
 *
 * Every algorithm exports mp_<alg>_options (a plain struct), mp_<alg>_work_size and mp_<alg>_step. A step reads and
 * writes the named buffers of its state and allocates nothing: `work` comes from above. Options do not change while a
 * chain runs; only adaptation, between warm-up steps, writes the mp_tuning at their head. */
#ifndef MICROPOLIS_KERNEL_H
#define MICROPOLIS_KERNEL_H

#include <micropolis/density.h>
#include <micropolis/random.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What became of the proposal of a step. Positive: rejected, and why. Negative: the chain stops. */
enum mp_status {
  MP_OK = 0,
  MP_NON_FINITE = 1,      /* log density, gradient or kinetic energy was not finite */
  MP_ENERGY_ERROR = 2,    /* the energy error passed 1000 */
  MP_DENSITY_REJECTED = 3, /* the density returned a code > 0 */
  MP_METRIC_INDEFINITE = 4, /* a Riemannian metric was not positive definite */
  MP_NOT_CONVERGED = 5,     /* an implicit step of the integrator was not solved */
  MP_NON_REVERSIBLE = 6,    /* the way back did not lead to where the trajectory came from */
  MP_DENSITY_FATAL = -1,  /* the density returned a code < 0 */
  MP_CANCELLED = -2,      /* the control flag was raised between two draws */
  MP_BAD_START = -3,      /* log density or gradient not finite at the initial point */
  MP_BROKEN_OFF = -4      /* the control flag was raised between two steps of one thinned draw */
};

/* The head of every info record; a kernel's own fields follow it. 24 bytes, no padding. */
typedef struct mp_info {
  double logp;        /* log density of the new state */
  double accept_prob; /* acceptance probability, for NUTS its mean over the trajectory */
  int32_t n_grad;     /* density evaluations in this step */
  uint8_t accepted;   /* the state moved */
  uint8_t divergent;
  int16_t status; /* mp_status */
} mp_info;

/* Buffers of a state, in the order in which the kernel declares them. The first is the position x[dim] and the second
 * logp[1] for every kernel; gradient kernels go on with grad[dim].
 *
 * `spare` NULL: a step leaves the pointers alone. Else it holds second vectors for x and grad, at their places, and all
 * four are padded with zeros to a multiple of 8 doubles: a step may exchange pointers where it would copy. */
typedef struct mp_state {
  size_t n_buffers;
  void **buffers;
  void **spare;
} mp_state;

enum { MP_STATE_X = 0, MP_STATE_LOGP = 1, MP_STATE_GRAD = 2 };

/* Step size and metric: the head of every options struct, the only part that adaptation writes. The proposal of a
 * random walk is x + step_size * S z; the inverse mass of a Hamiltonian kernel is S S'. */
enum mp_metric { MP_DIAGONAL = 0, MP_DENSE = 1 };
typedef struct mp_tuning {
  double step_size;
  int64_t metric; /* mp_metric */
  double *scale;  /* S: MP_DIAGONAL dim numbers, MP_DENSE a row-major lower triangular dim * dim factor */
} mp_tuning;

typedef int (*mp_step_fn)(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                          mp_info *info);
/* In doubles; work is 64-byte aligned, zeroed before the first step and left alone between steps. */
typedef size_t (*mp_work_size_fn)(const void *options, size_t dim);

/* Fill logp and grad[dim] (the state's buffer, or scratch for a kernel that keeps none) from x. MP_OK,
 * MP_DENSITY_FATAL or MP_BAD_START. */
int mp_state_init(const mp_density *density, mp_state *state, double *grad);

#ifdef __cplusplus
}
#endif
#endif
