/* A C program against the installed headers: its own density and generator, draws printed in hexadecimal.
 *
 * contract KERNEL N S0 S1 S2 S3: N draws of the kernel from (0.5, -0.25), with an SFC64 generator in state S0..S3. */
#include <hamiltonian/hmc.h>
#include <hamiltonian/nuts.h>
#include <hamiltonian/splitting.h>
#include <hamiltonian/riemannian.h>
#include <hamiltonian/riemannian_nuts.h>
#include <metropolis/langevin.h>
#include <metropolis/random_walk.h>
#include <common/chain.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 2 };

/* Gaussian with variances 1 and 4, a ridge between them; also built into a shared library */
int contract_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  double slope = *(const double *)user_data, along = x[1] - slope * x[0];
  (void)dim;
  *logp = -0.5 * (x[0] * x[0] + 0.25 * (along * along));
  grad[0] = 0.25 * along * slope - x[0];
  grad[1] = -0.25 * along;
  return 0;
}

#ifndef CONTRACT_LIBRARY
static uint64_t sfc64_next(void *state) { /* Doty-Humphrey, as in NumPy */
  uint64_t *s = state, out = s[0] + s[1] + s[3]++;
  s[0] = s[1] ^ (s[1] >> 11);
  s[1] = s[2] + (s[2] << 3);
  s[2] = (s[2] << 24 | s[2] >> 40) + out;
  return out;
}
static double sfc64_double(void *state) { return (double)(sfc64_next(state) >> 11) * (1.0 / 9007199254740992.0); }
static uint32_t sfc64_half(void *state) { return (uint32_t)(sfc64_next(state) >> 32); }

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  uint64_t words[4];
  for (int i = 0; i < 4; i++) words[i] = strtoull(argv[3 + i], NULL, 10);
  bitgen_t rng = {words, sfc64_next, sfc64_half, sfc64_double, sfc64_next};

  double slope = 0.5, scale[DIM] = {1.0, 2.0}, temperature = 1.0;
  mp_density density = {0};
  density.version = MP_DENSITY_VERSION;
  density.dim = DIM;
  density.user_data = &slope;
  density.logp_grad = contract_logp_grad;

  mp_tuning tuning = {0.4, MP_DIAGONAL, scale};
  mp_nuts_options nuts = {tuning, 10};
  mp_hmc_options hmc = {tuning, 5, 0.5};
  mp_splitting_options splitting = {tuning, 5, 0.5, MP_BLOCKS_SYMMETRIC};
  mp_langevin_options langevin = {tuning};
  mp_riemannian_options riemannian = {tuning, 5,   0.5, MP_IMPLICIT, 1e-9, 100, 0.0, 10.0, MP_SOFTABS,
                                      1e6,    0.0, 0,   0,           0,    0,   0,   0,    0};
  mp_riemannian_nuts_options riemannian_nuts = riemannian;
  mp_random_walk_options random_walk = {tuning, &temperature, 1};

  double x[DIM] = {0.5, -0.25}, logp, grad[DIM];
  int64_t count = 0, n = strtoll(argv[2], NULL, 10), progress[2] = {0};
  int32_t control = 0;
  void *buffers[] = {x, &logp, grad};
  mp_chain chain = {0};
  mp_work_size_fn work_size;
  if (!strcmp(argv[1], "nuts")) {
    chain.step = mp_nuts_step, chain.options = &nuts, chain.info_size = sizeof(mp_nuts_info),
    work_size = mp_nuts_work_size;
  } else if (!strcmp(argv[1], "hmc")) {
    chain.step = mp_hmc_step, chain.options = &hmc, chain.info_size = sizeof(mp_hmc_info), work_size = mp_hmc_work_size;
  } else if (!strcmp(argv[1], "splitting")) {
    chain.step = mp_splitting_step, chain.options = &splitting, chain.info_size = sizeof(mp_splitting_info);
    work_size = mp_splitting_work_size;
  } else if (!strcmp(argv[1], "riemannian")) {
    chain.step = mp_riemannian_step, chain.options = &riemannian, chain.info_size = sizeof(mp_riemannian_info);
    work_size = mp_riemannian_work_size;
  } else if (!strcmp(argv[1], "riemannian_nuts")) {
    riemannian_nuts.max_depth = 6;
    chain.step = mp_riemannian_nuts_step, chain.options = &riemannian_nuts;
    chain.info_size = sizeof(mp_riemannian_nuts_info), work_size = mp_riemannian_nuts_work_size;
  } else if (!strcmp(argv[1], "langevin")) {
    chain.step = mp_langevin_step, chain.options = &langevin, chain.info_size = sizeof(mp_langevin_info);
    work_size = mp_langevin_work_size;
  } else {
    chain.step = mp_random_walk_step, chain.options = &random_walk, chain.info_size = sizeof(mp_random_walk_info);
    work_size = mp_random_walk_work_size;
    buffers[2] = &count;
  }
  size_t bytes = (work_size(chain.options, DIM) * sizeof(double) + 63) / 64 * 64;
  chain.density = &density;
  chain.rng = &rng;
  chain.state.n_buffers = 3;
  chain.state.buffers = buffers;
  chain.work = (double *)aligned_alloc(64, bytes);
  chain.thin = 1;
  chain.draws = (double *)malloc((size_t)n * DIM * sizeof(double));
  chain.stats = (char *)malloc((size_t)n * chain.info_size);
  chain.control = &control;
  chain.progress = progress;
  memset(chain.work, 0, bytes);
  if (mp_state_init(&density, &chain.state, grad) != MP_OK) return 3;
  if (mp_chain_run(&chain, 0, n) != MP_OK || progress[0] != n) return 4;
  for (int64_t i = 0; i < n; i++) printf("%a %a\n", chain.draws[i * DIM], chain.draws[i * DIM + 1]);
  free(chain.work), free(chain.draws), free(chain.stats);
  return 0;
}
#endif
