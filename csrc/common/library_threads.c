/* The threads of a BLAS or LAPACK library, held back while kernels call it. */
#include "common/library_threads.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t watched = PTHREAD_ONCE_INIT;
static int holders, before; /* the library's threads when the first holder came */
static int owed; /* in a process forked under holders, which are not in it: what they would have given back */

static void before_fork(void) { pthread_mutex_lock(&lock); }

static void after_fork(void) { pthread_mutex_unlock(&lock); }

static void in_child(void) {
  if (holders > 0) owed = before;
  holders = 0;
  pthread_mutex_unlock(&lock);
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork, in_child); }

void mp_library_hold(mp_get_threads_fn get, mp_set_threads_fn set) {
  if (!set) return;
  pthread_once(&watched, watch_forks);
  pthread_mutex_lock(&lock); /* over both: the next first holder asks only after the last one has given back */
  if (holders++ == 0) {
    before = owed ? owed : get();
    owed = 0;
    if (before != 1) set(1);
  }
  pthread_mutex_unlock(&lock);
}

void mp_library_let_go(mp_set_threads_fn set) {
  if (!set) return;
  pthread_mutex_lock(&lock);
  /* one thread may be what another of our libraries holds it at, which gives back what was there */
  if (--holders == 0 && before != 1) set(before);
  pthread_mutex_unlock(&lock);
}
