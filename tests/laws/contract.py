"""The C contract's logp_grad for ctypes: ``@LOGP_GRAD`` makes a C function of f(dim, x, grad, logp, user_data)."""

import ctypes

DOUBLES = ctypes.POINTER(ctypes.c_double)
LOGP_GRAD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, DOUBLES, DOUBLES, DOUBLES, ctypes.c_void_p)
