/* The runner's generator and densities, good and bad. Included once, by runner.c. */

/* -- generator: SplitMix64 (Steele, Lea & Flood 2014) ----------------------------------------------------------- */

static uint64_t next_raw(void *state) {
  uint64_t z = *(uint64_t *)state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
static uint32_t next_half(void *state) { return (uint32_t)(next_raw(state) >> 32); }
static double next_uniform(void *state) { return (double)(next_raw(state) >> 11) * 0x1p-53; }

/* -- densities -------------------------------------------------------------------------------------------------- */

static double sd(size_t i) { return 0.5 + (double)(i % 4); } /* 0.5, 1.5, 2.5, 3.5 */

enum fault {
  NONE,
  NAN_VALUE,
  PLUS_INFINITY,
  MINUS_INFINITY,
  NAN_GRADIENT,
  INFINITE_GRADIENT,
  UNSET,
  REJECT,
  FATAL,
  OVERFLOWING,
  FLAT,
  N_FAULTS
};
static const char *const fault_names[] = {"none",  "NaN",    "+inf",  "-inf",     "NaN gradient", "infinite gradient",
                                          "unset", "reject", "fatal", "overflow", "flat"};

typedef struct {
  enum fault fault;
  int64_t calls;
} target;

/* Independent normals; beyond one standard deviation of x[0] the fault. */
static int normal(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  target *t = user_data;
  double value = 0.0;
  t->calls++;
  for (size_t i = 0; i < dim; i++) {
    double precision = 1.0 / (sd(i) * sd(i));
    value -= 0.5 * precision * x[i] * x[i];
    grad[i] = -precision * x[i];
  }
  if (t->fault == FLAT) {
    memset(grad, 0, dim * sizeof *grad);
    value = 0.0;
  } else if (!(x[0] < sd(0))) {
    switch (t->fault) {
    case NAN_VALUE: value = NAN; break;
    case PLUS_INFINITY: value = INFINITY; break;
    case MINUS_INFINITY: value = -INFINITY; break;
    case NAN_GRADIENT: grad[dim - 1] = NAN; break;
    case INFINITE_GRADIENT: grad[dim - 1] = -INFINITY; break;
    case UNSET: return 0;
    case REJECT: return 1;
    case FATAL: return -7;
    case OVERFLOWING:
      value = -1e308;
      for (size_t i = 0; i < dim; i++) grad[i] = i % 2 ? 1.7e308 : -1.7e308;
      break;
    default: break;
    }
  }
  *logp = value;
  return 0;
}
