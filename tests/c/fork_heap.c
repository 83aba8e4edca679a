/* fork_heap.c - a heap that can be forked: nobody is in malloc() while the process forks.
 *
 * A pool forks its workers from its supervisor while other threads allocate. libc takes its own locks around
 * that, the ASan of gcc 12 does not: of 400 children forked beside a thread that allocates one hung at its
 * own allocation. The linker leads the calls of all that is linked here to these (meson.build: --wrap). */
#include <pthread.h>
#include <stddef.h>

/* The names are the linker's. */
void *__real_malloc(size_t size);               /* NOLINT */
void *__real_calloc(size_t count, size_t size); /* NOLINT */
void *__real_realloc(void *block, size_t size); /* NOLINT */
void __real_free(void *block);                  /* NOLINT */
void *__wrap_malloc(size_t size);               /* NOLINT */
void *__wrap_calloc(size_t count, size_t size); /* NOLINT */
void *__wrap_realloc(void *block, size_t size); /* NOLINT */
void __wrap_free(void *block);                  /* NOLINT */

static pthread_mutex_t heap = PTHREAD_MUTEX_INITIALIZER;

static void hold(void) {
    pthread_mutex_lock(&heap);
}

static void let(void) {
    pthread_mutex_unlock(&heap);
}

__attribute__((constructor)) static void around_forks(void) {
    pthread_atfork(hold, let, let);
}

void *__wrap_malloc(size_t size) { /* NOLINT */
    hold();
    void *block = __real_malloc(size);
    let();
    return block;
}

void *__wrap_calloc(size_t count, size_t size) { /* NOLINT */
    hold();
    void *block = __real_calloc(count, size);
    let();
    return block;
}

void *__wrap_realloc(void *block, size_t size) { /* NOLINT */
    hold();
    void *moved = __real_realloc(block, size);
    let();
    return moved;
}

void __wrap_free(void *block) { /* NOLINT */
    hold();
    __real_free(block);
    let();
}
