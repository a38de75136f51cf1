/* The BLAS engine's Hessian-vector product of one block: the derivative of backward_block along a direction. */

/* Adds the product for a block whose slopes by the outputs stand in w->deltas[0] and their derivatives in
 * w->delta_tangents[0]. */
static void curvature_block(const mp_network *network, const real *theta, const real *vector, int64_t n,
                            const real *inputs, const workspace *w, real *result) {
  real *delta = w->deltas[0], *other = w->deltas[1];
  real *tangent = w->delta_tangents[0], *other_tangent = w->delta_tangents[1];
  for (node *s = w->nodes + w->n_nodes - 1; s >= w->first; s--) {
    const real *dx = moved_input_of(w, s);
    if (is_activation(s->kind)) {
      /* how the value moves: s->tangent, after the slope was applied to it */
      curvature_tile(s->kind, tiles_of(n * s->n_out), TILE, s->out, s->tangent, delta, tangent);
      continue;
    }
    if (s->kind == LEAVE) {
      node *begin = begin_of_images(s);
      for (int64_t g = 0; g < groups_of(n); g++)
        curvature_images(theta, vector, s, begin, g, n, w, delta, tangent, other, other_tangent, result);
      s = begin;
    } else {
      add_gradient(network, s, n, tangent, input_of(w, s, inputs), 1, result);
      if (dx) {
        add_gradient(network, s, n, delta, dx, 0, result);
        pull_back(network, s, n, vector, delta, 0, other_tangent);
        pull_back(network, s, n, theta, tangent, 1, other_tangent);
        pull_back(network, s, n, theta, delta, 0, other);
      }
    }
    real *swap = delta;
    delta = other, other = swap;
    swap = tangent;
    tangent = other_tangent, other_tangent = swap;
  }
}
