/* Scalar code of array programs: one operation after another on single doubles.
 *
 * Cheap operations are the processor's own; exp, the logarithms and what is made of them have scalar forms; the others take
 * lane 0 of the vector functions, whose bits do not depend on the processor as the C library's do. */
#include <math.h>

#include "common/scalar_math.h"
#include "densities/array_elementwise.h"
#include "densities/array_program.h"

void mp_array_scalars(const mp_scalar_op *op, int64_t count, double *work) {
  for (const mp_scalar_op *end = op + count; op < end; op++) {
    double a = work[op->a], b = work[op->b], d;
    switch (op->code) {
    case MP_OP_copy: d = a; break;
    case MP_OP_negative: d = -a; break;
    case MP_OP_square: d = a * a; break;
    case MP_OP_reciprocal: d = 1 / a; break;
    case MP_OP_sqrt: d = sqrt(a); break;
    case MP_OP_absolute: d = fabs(a); break;
    case MP_OP_sign: d = a > 0 ? 1 : a < 0 ? -1 : a; break;
    case MP_OP_logical_not: d = a == 0; break;
    case MP_OP_isnan: d = a != a; break;
    case MP_OP_isfinite: d = a - a == 0; break;
    case MP_OP_isinf: d = fabs(a) == INFINITY; break;
    case MP_OP_signbit: d = signbit(a) != 0; break;
    case MP_OP_add: d = a + b; break;
    case MP_OP_subtract: d = a - b; break;
    case MP_OP_multiply: d = a * b; break;
    case MP_OP_divide: d = a / b; break;
    case MP_OP_maximum: d = a >= b || a != a ? a : b; break;
    case MP_OP_minimum: d = a <= b || a != a ? a : b; break;
    case MP_OP_fmax: d = a >= b || b != b ? a : b; break;
    case MP_OP_fmin: d = a <= b || b != b ? a : b; break;
    case MP_OP_less: d = a < b; break;
    case MP_OP_less_equal: d = a <= b; break;
    case MP_OP_greater: d = a > b; break;
    case MP_OP_greater_equal: d = a >= b; break;
    case MP_OP_equal: d = a == b; break;
    case MP_OP_not_equal: d = a != b; break;
    case MP_OP_logical_and: d = a != 0 && b != 0; break;
    case MP_OP_logical_or: d = a != 0 || b != 0; break;
    case MP_OP_logical_xor: d = (a != 0) != (b != 0); break;
    case MP_OP_guard: d = a == 0 ? 0 : b; break;
    case MP_OP_copysign: d = copysign(a, b); break;
    case MP_OP_where: d = a != 0 ? b : work[op->c]; break;
    case MP_OP_muladd: d = a * b + work[op->c]; break;
    case MP_OP_mulsub: d = a * b - work[op->c]; break;
    case MP_OP_submul: d = work[op->c] - a * b; break;
    case MP_OP_exp: d = mp_exp1(a); break;
    case MP_OP_log: d = mp_log1(a); break;
    case MP_OP_log1p: d = mp_log1p1(a); break;
    case MP_OP_logaddexp: d = mp_logaddexp1(a, b); break;
    case MP_OP_softplus: d = mp_softplus1(a); break;
    case MP_OP_expit: d = mp_sigmoid1(a); break;
    case MP_OP_share: d = mp_sigmoid1(a == b ? 0.0 : a - b); break;
    default: d = mp_array_number(op->code, a, b);
    }
    work[op->d] = d;
  }
}
