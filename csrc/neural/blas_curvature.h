/* The BLAS engine's Hessian-vector product of one block: the derivative of backward_block along a direction. */

static MP_CLONES void add_reals(int64_t n, const real *x, real *out) {
  for (int64_t i = 0; i < n; i++) out[i] += x[i];
}

/* Adds the product for a block whose slopes by the outputs stand in w->deltas[0] and their derivatives in
 * w->delta_tangents[0]. */
static void curvature_block(const mp_network *network, const real *theta, const real *vector, int64_t n,
                            const real *inputs, const workspace *w, real *result) {
  real *delta = w->deltas[0], *other = w->deltas[1];
  real *tangent = w->delta_tangents[0], *other_tangent = w->delta_tangents[1];
  for (node *s = w->nodes + w->n_nodes - 1; s >= w->nodes; s--) {
    const mp_layer *layer = s->layer;
    const real *x = input_of(w, s, inputs), *dx = moved_input_of(w, s);
    if (layer && is_activation(layer)) {
      /* how the value moves: s->tangent, after the slope was applied to it */
      curvature_tile(layer->kind, tiles_of(n * s->n_out), s->out, s->tangent, delta, tangent);
      continue;
    }
    if (!layer || layer->kind == MP_FLATTEN) {
      rows_to_planes(n, s->channels, s->plane, delta, other);
      rows_to_planes(n, s->channels, s->plane, tangent, other_tangent);
    } else if (layer->kind == MP_MAX_POOL2D) {
      if (s > w->nodes) {
        spread_winners(layer, n, delta, s->winners, other);
        spread_winners(layer, n, tangent, s->winners, other_tangent);
      }
    } else {
      add_gradient(network, s, n, tangent, x, s->columns, 1, result);
      if (dx) {
        if (layer->kind == MP_CONV2D) gather_windows(layer, n, dx, strides_of(s, n), w->moved);
        add_gradient(network, s, n, delta, dx, w->moved, 0, result);
      }
      if (s > w->nodes) {
        pull_back(network, s, n, vector, delta, s->columns, other_tangent);
        pull_back(network, s, n, theta, tangent, s->columns, other);
        add_reals(n * s->n_in, other, other_tangent);
        pull_back(network, s, n, theta, delta, s->columns, other);
      }
    }
    real *swap = delta;
    delta = other, other = swap;
    swap = tangent;
    tangent = other_tangent, other_tangent = swap;
  }
}
