/* A network's posterior as a density: minus the sum of the losses over all rows, plus Gaussian priors. */
#ifndef MICROPOLIS_POSTERIOR_H
#define MICROPOLIS_POSTERIOR_H

#include <micropolis/density.h>

#include "neural/network.h"

#ifdef __cplusplus
extern "C" {
#endif

/* user_data; all members 8 bytes */
typedef struct mp_posterior {
  const mp_network *network;
  const mp_loss *loss;
  const mp_data *data;       /* n = 0: the prior alone */
  int64_t n_tensors;
  const int64_t *ends;       /* [n_tensors] where the parameters of each tensor end in theta */
  const double *precisions;  /* [n_tensors] of the N(0, 1 / precision) priors */
  double log_norm;           /* of the priors */
  double shape, rate, constant; /* shape > 0: noise precision integrated out, log p(y | theta) = -shape log(rate +
                                   losses - constant), without second derivatives; else minus the losses */
  int64_t n_blocks;          /* the data in so many parts, for splitting integrators */
  const int64_t *edges;      /* [n_blocks + 1] first row of each */
  void *parameters;          /* [dim] reals of the network, its own copy where that is float */
  void *gradient;            /* [dim] the same */
  void *vector;              /* [dim] the same */
  double *unit;              /* [dim] */
  void *work;                /* mp_network_work_size(network, data->n) bytes */
} mp_posterior;

/* Without and with a loss that has second derivatives. */
extern const mp_density mp_posterior_first_order, mp_posterior_second_order;

#ifdef __cplusplus
}
#endif
#endif
