/* cores.h - where a run's core-seconds went: each usable CPU's time was computed with or lost. */
#ifndef AC_VERDICT_CORES_H
#define AC_VERDICT_CORES_H

#include "allcores/profile.h"

enum ac_core_use {
    AC_CORES_PYTHON,   /* the program's own work, by what ran */
    AC_CORES_NATIVE,   /* native code, and what lived too short to be told */
    AC_CORES_STARTING, /* interpreters' start and imports */
    AC_CORES_PICKLING, /* objects into bytes and back, and moving them */
    AC_CORES_OTHERS,   /* other programs had the CPU */
    AC_CORES_GIL,      /* a CPU was free while a thread waited for the GIL */
    AC_CORES_WAITING,  /* ... while a thread waited for something else */
    AC_CORES_NOTHING,  /* no thread was there for it */
    AC_CORES_COUNT
};

struct ac_cores {
    double seconds[AC_CORES_COUNT]; /* sum to `capacity` where the CPU time is within it */
    double capacity;                /* usable CPUs x wall time */
};

/* CPU time is exact and split by samples; free CPU time by what threads waited for at the time. -ENOMEM. */
int ac_cores_of(const struct ac_profile *profile, struct ac_cores *ret_cores);

#endif
