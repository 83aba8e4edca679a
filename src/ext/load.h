/* load.h - what load.c measures of a pool's threads. */
#ifndef AC_EXT_LOAD_H
#define AC_EXT_LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct ac__thread {
    uint64_t tstate;
    pid_t tid;
    clockid_t clock; /* of its CPU time: schedstat's lags behind by a scheduler's tick */
};
struct ac__load *ac__load_new(void); /* NULL: no memory */
void ac__load_free(struct ac__load *load);
/* The share of the GIL or of the usable CPUs, whichever is more, that the threads use or are ready to,
 * measured over so long a time. It can be above 1. */
double ac__load_measure(struct ac__load *load, const struct ac__thread *threads, size_t count,
                        int64_t period_ns);

#endif
