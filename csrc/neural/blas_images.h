/* The BLAS engine's layers on images: one group of rows through a run of nodes, ENTER .. LEAVE, forward and back. */

/* What node s puts out for group g, and how that moves. */
static real *out_of(const node *s, int64_t g) { return s->out + g * s->stride; }
static real *tangent_of(const node *s, int64_t g) { return s->tangent + g * s->stride; }
static const integer *winners_of(const node *s, int64_t g) { return s->winners + g * s->stride; }
static int64_t group_tiles(const node *s, int64_t lanes) { return tiles_of(s->n_out * lanes); }
/* Images of group g of n rows: few rows at the end fill half of one. */
static int64_t lanes_of(int64_t g, int64_t n) { return n - g * GROUP <= HALF ? HALF : GROUP; }

/* Group g of rows x [n][features] through nodes s .. end, into rows again. */
static void forward_images(const real *theta, const node *s, const node *end, int64_t g, int64_t n, const real *x) {
  int64_t lanes = lanes_of(g, n);
  real *out = out_of(s, g);
  rows_to_images(lanes, s->n_out, g * GROUP, n, 0, x, out);
  for (s++; s < end; s++) {
    const real *in = out;
    out = out_of(s, g);
    if (s->kind == MP_CONV2D) convolve(lanes, s->layer, weights_of(s, theta), biases_of(s, theta), 0, in, out);
    else if (s->kind == MP_MAX_POOL2D) pool(lanes, s->layer, in, out, (integer *)winners_of(s, g));
    else activate_tile(s->kind, group_tiles(s, lanes), TILE, in, out);
  }
  images_to_rows(lanes, end->n_out, g * GROUP, n, out, end->out);
}

/* How these move as theta moves along `vector` and x along dx (NULL: not at all). */
static void tangent_images(const real *theta, const real *vector, const node *s, const node *end, int64_t g, int64_t n,
                           const workspace *w, const real *dx) {
  int64_t lanes = lanes_of(g, n);
  if (dx) rows_to_images(lanes, s->n_out, g * GROUP, n, 1, dx, tangent_of(s, g));
  for (s++; s < end; s++) {
    if (s < w->first) continue;
    const real *from = s > w->first ? tangent_of(s - 1, g) : NULL;
    real *to = tangent_of(s, g);
    if (s->kind == MP_CONV2D) {
      convolve(lanes, s->layer, weights_of(s, vector), biases_of(s, vector), 0, out_of(s - 1, g), to);
      if (from) convolve(lanes, s->layer, weights_of(s, theta), NULL, 1, from, to);
    } else if (s->kind == MP_MAX_POOL2D) {
      pick_winners(lanes, s->layer, from, winners_of(s, g), to);
    } else {
      if (!s->in_place) memcpy(to, from, (size_t)(s->n_out * lanes) * sizeof(real));
      slope_tile(s->kind, group_tiles(s, lanes), TILE, out_of(s, g), to);
    }
  }
  images_to_rows(lanes, end->n_out, g * GROUP, n, tangent_of(end - 1, g), end->tangent);
}

static void add_convolution_gradient(int64_t lanes, const node *s, const real *delta, const real *in, int with_bias,
                                     real *gradient) {
  convolve_gradient(lanes, s->layer, delta, in, gradient + s->layer->weight);
  if (with_bias && s->layer->bias >= 0)
    sum_planes(s->layer->out[0], s->layer->out[1] * s->layer->out[2] * lanes, delta, gradient + s->layer->bias);
}

/* The convolution pooled by s. */
static const node *node_pooled(const node *s) { return s[-1].layer == s->pooled.layer ? s - 1 : s - 2; }

/* Before and after backward_images of all groups. */
static void begin_images_back(const real *theta, const node *end, const node *begin, const workspace *w) {
  for (const node *s = begin + 1; s < end; s++)
    if (s->pooled.layer)
      begin_winners(&s->pooled, node_pooled(s) > w->first ? weights_of(node_pooled(s), theta) : NULL);
}
static void end_images_back(const node *end, const node *begin, real *gradient) {
  for (const node *s = begin + 1; s < end; s++)
    if (s->pooled.layer) end_winners(&s->pooled, gradient + s->pooled.layer->weight);
}

/* Adds the gradient of group g, where delta are the slopes by the rows behind `end`; back: by the rows before `begin`,
 * where a layer before them has weights. */
static void backward_images(const real *theta, const node *end, const node *begin, int64_t g, int64_t n,
                            const workspace *w, const real *delta, real *back, real *gradient) {
  int64_t lanes = lanes_of(g, n);
  real *slopes = w->images[0], *other = w->images[1];
  rows_to_images(lanes, end->n_out, g * GROUP, n, 1, delta, slopes);
  for (const node *s = end - 1; s > begin && s >= w->first; s--) {
    if (is_activation(s->kind)) {
      slope_tile(s->kind, group_tiles(s, lanes), TILE, out_of(s, g), slopes);
      continue;
    }
    if (s->pooled.layer) {
      const node *from = node_pooled(s);
      if (from < s - 1) slope_tile(s[-1].kind, group_tiles(s, lanes), TILE, out_of(s, g), slopes);
      add_winners(&s->pooled, s->layer->out[1] * s->layer->out[2], lanes, least(lanes, n - g * GROUP), slopes,
                  winners_of(s, g), out_of(from - 1, g), from->layer->bias < 0 ? NULL : gradient + from->layer->bias,
                  from > w->first ? other : NULL);
      s = from;
    } else if (s->kind == MP_MAX_POOL2D) {
      spread_winners(lanes, s->layer, slopes, winners_of(s, g), other);
    } else {
      add_convolution_gradient(lanes, s, slopes, out_of(s - 1, g), 1, gradient);
      if (s > w->first) convolve_back(lanes, s->layer, weights_of(s, theta), slopes, 0, w->tile, other);
    }
    real *swap = slopes;
    slopes = other, other = swap;
  }
  if (begin > w->first) images_to_rows(lanes, begin->n_out, g * GROUP, n, slopes, back);
}

/* The derivative of backward_images along `vector`; tangent: how delta moves, moved_back: how back does. */
static void curvature_images(const real *theta, const real *vector, const node *end, const node *begin, int64_t g,
                             int64_t n, const workspace *w, const real *delta, const real *tangent, real *back,
                             real *moved_back, real *result) {
  int64_t lanes = lanes_of(g, n);
  real *slopes = w->images[0], *other = w->images[1], *moved = w->image_tangents[0],
       *moved_other = w->image_tangents[1];
  rows_to_images(lanes, end->n_out, g * GROUP, n, 1, delta, slopes);
  rows_to_images(lanes, end->n_out, g * GROUP, n, 1, tangent, moved);
  for (const node *s = end - 1; s > begin && s >= w->first; s--) {
    if (is_activation(s->kind)) {
      curvature_tile(s->kind, group_tiles(s, lanes), TILE, out_of(s, g), tangent_of(s, g), slopes, moved);
      continue;
    }
    if (s->kind == MP_MAX_POOL2D) {
      spread_winners(lanes, s->layer, slopes, winners_of(s, g), other);
      spread_winners(lanes, s->layer, moved, winners_of(s, g), moved_other);
    } else {
      add_convolution_gradient(lanes, s, moved, out_of(s - 1, g), 1, result);
      if (s > w->first) {
        add_convolution_gradient(lanes, s, slopes, tangent_of(s - 1, g), 0, result);
        convolve_back(lanes, s->layer, weights_of(s, vector), slopes, 0, w->tile, moved_other);
        convolve_back(lanes, s->layer, weights_of(s, theta), moved, 1, w->tile, moved_other);
        convolve_back(lanes, s->layer, weights_of(s, theta), slopes, 0, w->tile, other);
      }
    }
    real *swap = slopes;
    slopes = other, other = swap;
    swap = moved;
    moved = moved_other, moved_other = swap;
  }
  if (begin > w->first) {
    images_to_rows(lanes, begin->n_out, g * GROUP, n, slopes, back);
    images_to_rows(lanes, begin->n_out, g * GROUP, n, moved, moved_back);
  }
}
