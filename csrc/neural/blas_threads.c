/* The BLAS library's own threads, held back while the engine runs: it is called by several threads at once, and a product small
 * enough for a block of rows gains nothing from being divided. */
#include <pthread.h>

#include "neural/blas_threads.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int inside, before; /* calls under way; the library's threads when the first of them came */

void mp_blas_enter(const mp_network *network) {
  if (!network->set_blas_threads) return;
  pthread_mutex_lock(&lock);
  if (inside++ == 0) {
    before = network->get_blas_threads();
    if (before != 1) network->set_blas_threads(1);
  }
  pthread_mutex_unlock(&lock);
}

void mp_blas_leave(const mp_network *network) {
  if (!network->set_blas_threads) return;
  pthread_mutex_lock(&lock);
  if (--inside == 0 && before != 1) network->set_blas_threads(before);
  pthread_mutex_unlock(&lock);
}
