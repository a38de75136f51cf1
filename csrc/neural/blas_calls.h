/* The BLAS engine's functions: rows shared out in blocks, blocks among threads. */
#include "common/library_threads.h"

/* What one thread does in one call. */
typedef struct {
  const mp_network *network;
  const mp_loss *loss;
  const real *theta, *vector;
  const mp_data *data;
  const int64_t *rows;
  int64_t n, block, first, last; /* rows of the call and of a block; blocks first .. last - 1 */
  double threshold;
  double *sums, *losses; /* [blocks]; [n] or NULL */
  real *outputs, *gradient; /* [n][n_outputs] or NULL; [n_parameters] or NULL */
  int64_t seen;
  workspace w;
} task;

/* Rows of a block at most. */
static int64_t most_rows(const mp_network *network) {
  workspace w;
  size_t one = arrange(network, 1, NULL, &w), many = arrange(network, 65, NULL, &w);
  int64_t n = (int64_t)(BLOCK_BYTES / ((many - one) / 64 + 1)) / GROUP * GROUP;
  return n < GROUP ? GROUP : n > MOST_ROWS ? MOST_ROWS : n;
}

static int64_t most_threads(const mp_network *network) {
  return network->threads < 1 ? 1 : network->threads > MOST_THREADS ? MOST_THREADS : network->threads;
}

/* Rows of the blocks of a call, all about equal: whole groups of images in one thread; in several a block for each, where
 * there are rows enough, and in the longest no more rows than its number of groups asks for. */
static int64_t block_rows(const mp_network *network, int64_t n) {
  int64_t largest = most_rows(network), threads = most_threads(network), blocks = (n + largest - 1) / largest;
  if (threads > 1 && blocks % threads && n >= 2 * threads) blocks += threads - blocks % threads;
  if (blocks < 2) return groups_of(most(n, 1)) * GROUP;
  int64_t equal = (n + blocks - 1) / blocks, groups = groups_of(equal);
  if (threads < 2) return groups * GROUP;
  int64_t last = most(groups_of(n) - groups * (blocks - 1), 0); /* groups left for the last block, which are full */
  return most(equal, (n - last * GROUP + blocks - 2) / (blocks - 1));
}

static size_t rounded(size_t size) { return (size + 63) / 64 * 64; }

/* Enough for any call of up to n_rows rows, whatever their division. */
static size_t work_size(const mp_network *network, int64_t n_rows) {
  workspace w;
  int64_t most = most_rows(network), block = n_rows < most ? groups_of(n_rows) * GROUP : most;
  size_t threads = (size_t)most_threads(network), blocks = (size_t)(n_rows / most) + 2 * threads + 2;
  size_t each = arrange(network, block > 0 ? block : GROUP, NULL, &w);
  return threads * (each + rounded((size_t)network->n_parameters * sizeof(real))) + rounded(blocks * sizeof(double));
}

/* Rows of a block: where the data have them, or gathered: an activation runs over whole tiles, beyond the data. */
static const real *block_inputs(const task *t, int64_t start, int64_t count) {
  int64_t width = t->network->n_inputs;
  const real *inputs = t->data->inputs;
  if (!t->rows && !is_activation(t->w.nodes[0].kind)) return inputs + start * width;
  for (int64_t i = 0; i < count; i++)
    memcpy(t->w.inputs + i * width, inputs + row_at(t->rows, t->n, start + i) * width, (size_t)width * sizeof(real));
  return t->w.inputs;
}

static void *run_task(void *task_) {
  task *t = task_;
  const mp_network *network = t->network;
  int64_t n_outputs = network->n_outputs;
  if (t->gradient) memset(t->gradient, 0, (size_t)network->n_parameters * sizeof(real));
  for (int64_t b = t->first; b < t->last; b++) {
    int64_t start = b * t->block, count = t->n - start < t->block ? t->n - start : t->block;
    const real *x = block_inputs(t, start, count), *outputs = forward_block(network, t->theta, count, x, &t->w);
    t->seen += count;
    if (t->outputs) memcpy(t->outputs + start * n_outputs, outputs, (size_t)(count * n_outputs) * sizeof(real));
    if (!t->loss) continue;
    double *losses = t->losses ? t->losses + start : t->w.losses, sum = 0;
    row_losses(t->loss, n_outputs, outputs, t->data, t->rows, start, count, losses, t->gradient ? t->w.deltas[0] : NULL,
               t->w.scratch);
    for (int64_t i = 0; i < count; i++) sum += losses[i];
    t->sums[b] = sum;
    if (t->vector) {
      const real *moved = tangent_block(network, t->theta, t->vector, count, x, &t->w);
      row_curvature(t->loss, n_outputs, count, outputs, moved, t->w.delta_tangents[0], t->w.scratch);
      curvature_block(network, t->theta, t->vector, count, x, &t->w, t->gradient);
    } else if (t->gradient) {
      backward_block(network, t->theta, count, x, &t->w, t->gradient);
    }
    if (t->threshold < INFINITY) { /* the sum so far, block by block, as `total` has it */
      double so_far = 0;
      for (int64_t i = 0; i <= b; i++) so_far += t->sums[i];
      if (!(so_far < t->threshold)) break;
    }
  }
  return NULL;
}

/* Runs a call, of which `call` says what is wanted; the sum of the losses. */
static double share_out(task *call, void *work, int64_t *seen) {
  const mp_network *network = call->network;
  task tasks[MOST_THREADS];
  pthread_t threads[MOST_THREADS];
  int started[MOST_THREADS];
  char *at = work;
  size_t size = 0;
  call->block = block_rows(network, call->n);
  int64_t blocks = (call->n + call->block - 1) / call->block;
  /* an early exit looks at one block after the other */
  int64_t parts = call->threshold < INFINITY ? 1 : most_threads(network), n_parameters = network->n_parameters;
  if (parts > blocks) parts = blocks > 0 ? blocks : 1;
  call->sums = carve(&at, &size, (size_t)blocks * sizeof(double));
  for (int64_t i = 0; i < parts; i++) {
    tasks[i] = *call;
    tasks[i].first = blocks * i / parts, tasks[i].last = blocks * (i + 1) / parts;
    at += arrange(network, call->block, at, &tasks[i].w);
    if (call->gradient && i > 0) tasks[i].gradient = carve(&at, &size, (size_t)n_parameters * sizeof(real));
  }
  mp_library_hold(network->get_blas_threads, network->set_blas_threads);
  for (int64_t i = 1; i < parts; i++) started[i] = pthread_create(threads + i, NULL, run_task, tasks + i) == 0;
  run_task(tasks);
  for (int64_t i = 1; i < parts; i++) {
    if (started[i]) pthread_join(threads[i], NULL);
    else run_task(tasks + i);
    if (call->gradient) add_to_rows(1, n_parameters, tasks[i].gradient, call->gradient);
  }
  mp_library_let_go(network->set_blas_threads);
  double total = 0;
  *seen = 0;
  for (int64_t i = 0; i < parts; i++) *seen += tasks[i].seen;
  for (int64_t b = 0; call->loss && b < blocks && b * call->block < *seen; b++) total += call->sums[b];
  return total;
}

static void forward(const mp_network *network, const void *theta, const mp_data *data, const int64_t *rows, int64_t n,
                    void *outputs, void *work) {
  int64_t seen;
  task call = {.network = network,
               .theta = theta,
               .data = data,
               .rows = rows,
               .n = n,
               .threshold = INFINITY,
               .outputs = outputs};
  share_out(&call, work, &seen);
}

static void losses(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                   const int64_t *rows, int64_t n, double *losses, void *work) {
  int64_t seen;
  task call = {.network = network,
               .loss = loss,
               .theta = theta,
               .data = data,
               .rows = rows,
               .n = n,
               .threshold = INFINITY,
               .losses = losses};
  share_out(&call, work, &seen);
}

static int64_t loss_sum(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                        const int64_t *rows, int64_t n, double threshold, double *sum, void *work) {
  int64_t seen;
  task call = {
      .network = network, .loss = loss, .theta = theta, .data = data, .rows = rows, .n = n, .threshold = threshold};
  *sum = share_out(&call, work, &seen);
  return seen;
}

static void loss_grad(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                      const int64_t *rows, int64_t n, double *sum, void *gradient, void *work) {
  int64_t seen;
  task call = {.network = network,
               .loss = loss,
               .theta = theta,
               .data = data,
               .rows = rows,
               .n = n,
               .threshold = INFINITY,
               .gradient = gradient};
  *sum = share_out(&call, work, &seen);
}

static int loss_hvp(const mp_network *network, const mp_loss *loss, const void *theta, const void *vector,
                    const mp_data *data, const int64_t *rows, int64_t n, void *result, void *work) {
  int64_t seen;
  if (loss->kind == MP_USER_LOSS) return -1;
  task call = {.network = network,
               .loss = loss,
               .theta = theta,
               .vector = vector,
               .data = data,
               .rows = rows,
               .n = n,
               .threshold = INFINITY,
               .gradient = result};
  share_out(&call, work, &seen);
  return 0;
}
