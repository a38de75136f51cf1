/* The density of an array program: value, gradient and second derivatives, one point or eight at a time. */
#include "densities/array_program.h"

#include "common/simd.h"
#include "densities/array_elementwise.h"
#include "densities/densities.h"

#define NAME(name, expression) #name,
#define NAME_ALONE(name) #name,
const char *const mp_array_operations[] = {MP_ELEMENTWISE(NAME, NAME, NAME) MP_TILE_OPERATIONS(NAME_ALONE)
                                               MP_WHOLE_OPERATIONS(NAME_ALONE) NULL};

/* user_data of mp_array_program; a call whose `stages` are NULL is not there. Those with `lanes` take eight points. */
typedef struct {
  mp_array_call value, logp_grad, hvp, third; /* inputs: x; x, v; x, u, v; _lanes: eight points */
  mp_array_call value_lanes, logp_grad_lanes, hvp_lanes, third_lanes;
} array_density;

void mp_array_run(const mp_array_call *call) {
  for (int64_t i = 0; i < call->n_clear; i++) memset(call->clear[i].start, 0, call->clear[i].count * sizeof(double));
  for (const mp_array_stage *stage = call->stages, *end = stage + call->n_stages; stage < end; stage++) {
    if (stage->kind == MP_STAGE_SCALAR) mp_array_scalars(stage->operations, stage->count, call->work);
    else if (stage->kind == MP_STAGE_LOOP) mp_array_loop(stage->operations, stage->count, stage->size);
    else mp_array_whole(stage->operations, stage->count);
  }
}

static int array_value(size_t dim, const double *x, double *logp, void *user_data) {
  const mp_array_call *p = &((const array_density *)user_data)->value;
  memcpy(p->inputs[0], x, dim * sizeof *x);
  mp_array_run(p);
  *logp = *p->outputs[0];
  return 0;
}

static int array_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  const mp_array_call *p = &((const array_density *)user_data)->logp_grad;
  memcpy(p->inputs[0], x, dim * sizeof *x);
  mp_array_run(p);
  *logp = *p->outputs[0];
  memcpy(grad, p->outputs[1], dim * sizeof *grad);
  return 0;
}

static int array_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  const mp_array_call *p = &((const array_density *)user_data)->hvp;
  memcpy(p->inputs[0], x, dim * sizeof *x);
  memcpy(p->inputs[1], v, dim * sizeof *v);
  mp_array_run(p);
  memcpy(product, p->outputs[0], dim * sizeof *product);
  return 0;
}

/* The same x in every lane. */
static void spread(double *to, const double *x, size_t dim) {
  for (size_t i = 0; i < dim; i++)
    for (int lane = 0; lane < MP_LANES; lane++) to[i * MP_LANES + lane] = x[i];
}

/* Columns are products with unit vectors, eight at a time where the program is short, else one by one. */
static int array_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  const array_density *density = user_data;
  if (!density->hvp_lanes.stages) {
    const mp_array_call *p = &density->hvp;
    memcpy(p->inputs[0], x, dim * sizeof *x);
    for (size_t j = 0; j < dim; j++) {
      memset(p->inputs[1], 0, dim * sizeof *x);
      p->inputs[1][j] = 1;
      mp_array_run(p);
      for (size_t i = 0; i < dim; i++) hessian[i * dim + j] = p->outputs[0][i];
    }
  } else {
    const mp_array_call *p = &density->hvp_lanes;
    spread(p->inputs[0], x, dim);
    for (size_t j = 0; j < dim; j += MP_LANES) {
      size_t count = dim - j < MP_LANES ? dim - j : MP_LANES;
      memset(p->inputs[1], 0, dim * MP_LANES * sizeof *x);
      for (size_t lane = 0; lane < count; lane++) p->inputs[1][(j + lane) * MP_LANES + lane] = 1;
      mp_array_run(p);
      for (size_t i = 0; i < dim; i++)
        for (size_t lane = 0; lane < count; lane++) hessian[i * dim + j + lane] = p->outputs[0][i * MP_LANES + lane];
    }
  }
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < i; j++)
      hessian[i * dim + j] = hessian[j * dim + i] = 0.5 * (hessian[i * dim + j] + hessian[j * dim + i]);
  return 0;
}

/* sum_j d/dx (e_j' H m_j): a directional derivative of Hessian times m_j along e_j for every row m_j of m. */
static int array_third_product(size_t dim, const double *x, const double *m, double *product, void *user_data) {
  const array_density *density = user_data;
  memset(product, 0, dim * sizeof *product);
  if (!density->third_lanes.stages) {
    const mp_array_call *p = &density->third;
    memcpy(p->inputs[0], x, dim * sizeof *x);
    for (size_t j = 0; j < dim; j++) {
      memset(p->inputs[1], 0, dim * sizeof *x);
      p->inputs[1][j] = 1;
      memcpy(p->inputs[2], m + j * dim, dim * sizeof *m);
      mp_array_run(p);
      for (size_t i = 0; i < dim; i++) product[i] += p->outputs[0][i];
    }
    return 0;
  }
  const mp_array_call *p = &density->third_lanes;
  spread(p->inputs[0], x, dim);
  for (size_t j = 0; j < dim; j += MP_LANES) {
    size_t count = dim - j < MP_LANES ? dim - j : MP_LANES;
    memset(p->inputs[1], 0, dim * MP_LANES * sizeof *x);
    memset(p->inputs[2], 0, dim * MP_LANES * sizeof *x);
    for (size_t lane = 0; lane < count; lane++) {
      p->inputs[1][(j + lane) * MP_LANES + lane] = 1;
      for (size_t i = 0; i < dim; i++) p->inputs[2][i * MP_LANES + lane] = m[(j + lane) * dim + i];
    }
    mp_array_run(p);
    for (size_t i = 0; i < dim; i++)
      for (size_t lane = 0; lane < count; lane++) product[i] += p->outputs[0][i * MP_LANES + lane];
  }
  return 0;
}

/* Many points: eight in the lanes where the program is short, else one by one. Without `grad` the values alone. */
static int array_batch(size_t n, size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  const array_density *density = user_data;
  const mp_array_call *p = grad ? &density->logp_grad_lanes : &density->value_lanes;
  for (size_t first = 0; first < n; first += MP_LANES) {
    size_t count = n - first < MP_LANES ? n - first : MP_LANES;
    if (!p->stages || count == 1) {
      for (size_t k = first; k < first + count; k++) {
        if (grad) array_logp_grad(dim, x + k * dim, grad + k * dim, logp + k, user_data);
        else array_value(dim, x + k * dim, logp + k, user_data);
      }
      continue;
    }
    const double *from[MP_LANES];
    for (size_t lane = 0; lane < MP_LANES; lane++) from[lane] = x + (first + (lane < count ? lane : 0)) * dim;
    for (size_t i = 0; i < dim;
         i++) { /* put together in a register: a vector load behind eight single stores would stall */
      mp_v8 row = {from[0][i], from[1][i], from[2][i], from[3][i], from[4][i], from[5][i], from[6][i], from[7][i]};
      mp_store8(p->inputs[0] + i * MP_LANES, row);
    }
    mp_array_run(p);
    memcpy(logp + first, p->outputs[0], count * sizeof *logp);
    if (grad)
      for (size_t lane = 0; lane < count; lane++)
        for (size_t i = 0; i < dim; i++) grad[(first + lane) * dim + i] = p->outputs[1][i * MP_LANES + lane];
  }
  return 0;
}

const mp_density mp_array_program = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = array_logp_grad,
    .value = array_value,
    .hessian = array_hessian,
    .hvp = array_hvp,
    .third_product = array_third_product,
    .batch = array_batch,
};
