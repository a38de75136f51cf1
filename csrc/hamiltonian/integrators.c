/* Leapfrog in whitened momenta and the U-turn dot products: a handful of passes over vectors, each fused by hand. */
#include "hamiltonian/integrators.h"

#include <math.h>

#include "common/linalg.h"
#include "common/simd.h"

/* w_new = w + half * scale * grad; q_new = q + eps * scale * w_new */
static MP_CLONES void kick_drift(size_t dim, double eps, const double *scale, const double *q, const double *w,
                                 const double *grad, double *q_new, double *w_new) {
  double half = 0.5 * eps;
  size_t i = 0;
  for (; i + MP_LANES <= dim; i += MP_LANES) {
    mp_v8 s = mp_load8(scale + i), v = mp_load8(w + i) + half * (s * mp_load8(grad + i));
    mp_store8(w_new + i, v);
    mp_store8(q_new + i, mp_load8(q + i) + eps * (s * v));
  }
  for (; i < dim; i++) {
    double v = w[i] + half * (scale[i] * grad[i]);
    w_new[i] = v;
    q_new[i] = q[i] + eps * (scale[i] * v);
  }
}

/* w += half * scale * grad; returns w'w */
static MP_CLONES double kick(size_t dim, double half, const double *scale, const double *grad, double *w) {
  mp_v8 sum = {0};
  size_t i = 0;
  for (; i + MP_LANES <= dim; i += MP_LANES) {
    mp_v8 v = mp_load8(w + i) + half * (mp_load8(scale + i) * mp_load8(grad + i));
    mp_store8(w + i, v);
    sum += v * v;
  }
  for (size_t lane = 0; i < dim; i++, lane++) {
    double v = w[i] + half * (scale[i] * grad[i]);
    w[i] = v;
    sum[lane] += v * v;
  }
  return mp_fold8(sum);
}

static MP_CLONES void add_scaled(size_t dim, double factor, const double *x, const double *y, double *out) {
  for (size_t i = 0; i < dim; i++) out[i] = x[i] + factor * y[i];
}

MP_CLONES double mp_kinetic(size_t dim, const double *w) {
  mp_v8 sum = {0};
  size_t i = 0;
  for (; i + MP_LANES <= dim; i += MP_LANES) sum += mp_load8(w + i) * mp_load8(w + i);
  for (size_t lane = 0; i < dim; i++, lane++) sum[lane] += w[i] * w[i];
  return 0.5 * mp_fold8(sum);
}

int mp_leapfrog(const mp_density *density, const mp_tuning *tuning, double eps, const double *q, const double *w,
                const double *grad, double *q_new, double *w_new, double *grad_new, double *logp_new, double *kinetic,
                double *scratch) {
  size_t dim = density->dim;
  double half = 0.5 * eps;
  if (tuning->metric == MP_DIAGONAL) {
    kick_drift(dim, eps, tuning->scale, q, w, grad, q_new, w_new);
    int code = mp_density_logp_grad(density, q_new, grad_new, logp_new);
    *kinetic = code ? NAN : 0.5 * kick(dim, half, tuning->scale, grad_new, w_new);
    return code;
  }
  mp_lower_transpose_product(dim, tuning->scale, grad, scratch);
  add_scaled(dim, half, w, scratch, w_new);
  mp_lower_product(dim, tuning->scale, w_new, scratch);
  add_scaled(dim, eps, q, scratch, q_new);
  int code = mp_density_logp_grad(density, q_new, grad_new, logp_new);
  if (code) {
    *kinetic = NAN;
    return code;
  }
  mp_lower_transpose_product(dim, tuning->scale, grad_new, scratch);
  add_scaled(dim, half, w_new, scratch, w_new);
  *kinetic = mp_kinetic(dim, w_new);
  return code;
}

/* out = M^-1 p */
static MP_CLONES void multiply_mass(size_t dim, int kind, const double *inverse_mass, const double *p, double *out) {
  for (size_t i = 0; i < dim; i++) {
    if (kind == 0) {
      out[i] = p[i];
    } else if (kind == 1) {
      out[i] = inverse_mass[i] * p[i];
    } else {
      out[i] = 0.0;
      for (size_t j = 0; j < dim; j++) out[i] += inverse_mass[i * dim + j] * p[j];
    }
  }
}

int mp_leapfrog_run(const mp_density *density, size_t dim, int kind, double eps, int64_t n_steps,
                    const double *inverse_mass, double *q, double *p, double *logp, double *grad, double *velocity) {
  int code = mp_density_logp_grad(density, q, grad, logp);
  for (int64_t step = 0; step < n_steps && !code; step++) {
    add_scaled(dim, 0.5 * eps, p, grad, p);
    multiply_mass(dim, kind, inverse_mass, p, velocity);
    add_scaled(dim, eps, q, velocity, q);
    code = mp_density_logp_grad(density, q, grad, logp);
    if (!code) add_scaled(dim, 0.5 * eps, p, grad, p);
  }
  if (code) *logp = NAN;
  return code;
}

int mp_leapfrog_status(int code, double energy, double energy_start) {
  if (code < 0) return MP_DENSITY_FATAL;
  if (code > 0) return MP_DENSITY_REJECTED;
  if (!isfinite(energy)) return MP_NON_FINITE;
  return energy - energy_start > 1000.0 ? MP_ENERGY_ERROR : MP_OK; /* the threshold of Stan and of the specification */
}

MP_CLONES int mp_turns_leaves(size_t dim, const double *a, const double *b) {
  mp_v8 first = {0}, last = {0};
  size_t i = 0;
  for (; i + MP_LANES <= dim; i += MP_LANES) {
    mp_v8 x = mp_load8(a + i), y = mp_load8(b + i), sum = x + y;
    first += x * sum;
    last += y * sum;
  }
  if (i < dim) {
    mp_v8 x = mp_load_tail(a + i, dim - i), y = mp_load_tail(b + i, dim - i), sum = x + y;
    first += x * sum;
    last += y * sum;
  }
  return !(mp_fold8(first) > 0.0 && mp_fold8(last) > 0.0);
}

/* Accumulators of the six dots: the ends with the whole sum, and each subtree's sum plus the near end of the other. */
typedef struct {
  mp_v8 whole_first, whole_last, left_first, left_last, right_first, right_last;
} turns;

MP_INLINE void turns_add(turns *t, mp_v8 a_first, mp_v8 a_last, mp_v8 a_sum, mp_v8 b_first, mp_v8 b_last, mp_v8 b_sum) {
  mp_v8 whole = a_sum + b_sum, left = a_sum + b_first, right = b_sum + a_last;
  t->whole_first += a_first * whole;
  t->whole_last += b_last * whole;
  t->left_first += a_first * left;
  t->left_last += b_first * left;
  t->right_first += a_last * right;
  t->right_last += b_last * right;
}

MP_INLINE int turns_any(const turns *t) {
  return !(mp_fold8(t->whole_first) > 0.0 && mp_fold8(t->whole_last) > 0.0 && mp_fold8(t->left_first) > 0.0 &&
           mp_fold8(t->left_last) > 0.0 && mp_fold8(t->right_first) > 0.0 && mp_fold8(t->right_last) > 0.0);
}

MP_CLONES int mp_turns_pairs(size_t dim, const double *a_first, const double *a_last, const double *b_first,
                             const double *b_last, double *sum) {
  turns t = {0};
  size_t i = 0;
  for (; i + MP_LANES <= dim; i += MP_LANES) {
    mp_v8 af = mp_load8(a_first + i), al = mp_load8(a_last + i), bf = mp_load8(b_first + i), bl = mp_load8(b_last + i);
    mp_v8 a_sum = af + al, b_sum = bf + bl;
    turns_add(&t, af, al, a_sum, bf, bl, b_sum);
    mp_store8(sum + i, a_sum + b_sum);
  }
  if (i < dim) {
    size_t n = dim - i;
    mp_v8 af = mp_load_tail(a_first + i, n), al = mp_load_tail(a_last + i, n);
    mp_v8 bf = mp_load_tail(b_first + i, n), bl = mp_load_tail(b_last + i, n);
    mp_v8 a_sum = af + al, b_sum = bf + bl, whole = a_sum + b_sum;
    turns_add(&t, af, al, a_sum, bf, bl, b_sum);
    for (size_t j = 0; j < n; j++) sum[i + j] = whole[j];
  }
  return turns_any(&t);
}

MP_CLONES int mp_turns_trees(size_t dim, const double *a_first, const double *a_last, double *a_sum,
                             const double *b_first, const double *b_last, const double *b_sum) {
  turns t = {0};
  size_t i = 0;
  for (; i + MP_LANES <= dim; i += MP_LANES) {
    mp_v8 as = mp_load8(a_sum + i), bs = mp_load8(b_sum + i);
    turns_add(&t, mp_load8(a_first + i), mp_load8(a_last + i), as, mp_load8(b_first + i), mp_load8(b_last + i), bs);
    mp_store8(a_sum + i, as + bs);
  }
  if (i < dim) {
    size_t n = dim - i;
    mp_v8 as = mp_load_tail(a_sum + i, n), bs = mp_load_tail(b_sum + i, n), whole = as + bs;
    turns_add(&t, mp_load_tail(a_first + i, n), mp_load_tail(a_last + i, n), as, mp_load_tail(b_first + i, n),
              mp_load_tail(b_last + i, n), bs);
    for (size_t j = 0; j < n; j++) a_sum[i + j] = whole[j];
  }
  return turns_any(&t);
}
