/* The threads of a BLAS or LAPACK library, held back while kernels call it. */
#ifndef MICROPOLIS_LIBRARY_THREADS_H
#define MICROPOLIS_LIBRARY_THREADS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*mp_set_threads_fn)(int);
typedef int (*mp_get_threads_fn)(void);

/* Hold the library to one thread until the last holder lets go: small problems only wait for a second one, and chains have
 * threads of their own. Nothing happens where `set` is NULL. */
void mp_library_hold(mp_get_threads_fn get, mp_set_threads_fn set);
void mp_library_let_go(mp_set_threads_fn set);

#ifdef __cplusplus
}
#endif
#endif
