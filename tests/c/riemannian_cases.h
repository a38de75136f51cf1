/* Cases of the runner: both Riemannian kernels, every integrator and metric, with exact derivatives and by differences.
 *
 * Included once, by runner.c, whose helpers it uses. */
/* n draws of a Riemannian kernel from a work area of exactly its size. */
static void run_riemannian(const mp_density *density, mp_riemannian_options *o, int nuts, int64_t n,
                           const char *label) {
  size_t dim = density->dim;
  uint64_t seed = 7 + dim;
  bitgen_t rng = {&seed, next_raw, next_half, next_uniform, next_raw};
  double *x = exactly(dim * sizeof *x), *grad = exactly(dim * sizeof *grad), logp;
  size_t size = nuts ? mp_riemannian_nuts_work_size(o, dim) : mp_riemannian_work_size(o, dim);
  double *work = exactly(size * sizeof *work);
  memset(work, 0, size * sizeof *work);
  for (size_t i = 0; i < dim; i++) x[i] = 0.3;
  void *buffers[] = {x, &logp, grad};
  mp_state state = {3, buffers, NULL};
  int status = mp_state_init(density, &state, grad);
  for (int64_t i = 0; i < n && status == MP_OK; i++) {
    mp_riemannian_info fixed;
    mp_riemannian_nuts_info dynamic;
    mp_info *info = nuts ? &dynamic.head : &fixed.head;
    status = nuts ? mp_riemannian_nuts_step(o, density, &rng, &state, work, info)
                  : mp_riemannian_step(o, density, &rng, &state, work, info);
    if (status != MP_OK) break;
    CHECK(isfinite(info->logp) && info->accept_prob >= 0.0 && info->accept_prob <= 1.0, "%s: logp %g", label,
          info->logp);
    CHECK(info->divergent == (info->status != MP_OK), "%s: status %d", label, info->status);
    for (size_t k = 0; k < dim; k++) CHECK(isfinite(x[k]) && isfinite(grad[k]), "%s: not finite", label);
  }
  CHECK(status == MP_OK || status == MP_DENSITY_FATAL, "%s: status %d", label, status);
  free(x), free(grad), free(work);
}

static void check_riemannian(int64_t n) {
  double log_norm = -1.0;
  for (int integrator = MP_IMPLICIT; integrator <= MP_EXPLICIT_UNCORRECTED; integrator++)
    for (int kind = MP_SOFTABS; kind <= MP_GRADIENT_SQUARE; kind++)
      for (size_t dim = 2; dim <= 17; dim += 5)
        for (int fault = NONE; fault < N_FAULTS; fault++) {
          char label[100];
          snprintf(label, sizeof label, "riemannian %d metric %d dim %zu fault %d", integrator, kind, dim, fault);
          target t = {fault, 0};
          mp_density bare = {.version = MP_DENSITY_VERSION, .dim = dim, .user_data = &t, .logp_grad = normal};
          mp_density funnel = mp_funnel;
          funnel.dim = dim;
          funnel.user_data = &log_norm;
          mp_riemannian_options o = {.tuning = {0.2, MP_DIAGONAL, NULL},
                                     .n_steps = 3,
                                     .jitter = 0.5,
                                     .integrator = integrator,
                                     .tolerance = 1e-9,
                                     .max_iterations = 30,
                                     .reversibility = integrator < MP_EXPLICIT_UNCORRECTED && fault % 2 ? 1e-6 : 0.0,
                                     .binding = 1.0,
                                     .kind = kind,
                                     .parameter = 1.0,
                                     .metric_jitter = 0.1,
                                     .max_depth = 3};
          for (int nuts = 0; nuts < 2 && (nuts == 0 || integrator < MP_EXPLICIT_UNCORRECTED); nuts++) {
            run_riemannian(fault == NONE ? &funnel : &bare, &o, nuts, dim > 7 ? 2 : n, label);
          }
        }
}
