/* race.h - one function run over the same items in each of the ways that Python has: what each took, and why.
 *
 * `allcores race` fills an ac_race; the writers in src/report tell it as text, Markdown, JSON and HTML. Plain
 * data, as profile.h. Seconds are doubles; -1 where a figure is not known.
 */
#ifndef ALLCORES_RACE_H
#define ALLCORES_RACE_H

#include "allcores/profile.h"

struct ac_diagnosis; /* verdict/verdict.h */

/* What one run took. The work is what lies between the making of the executor and the last result; the
 * interpreter's own start and its end are apart. */
struct ac_race_run {
    double wall_s, cpu_s;
    double cores_used;  /* cpu_s / wall_s */
    double start_up_s;  /* wall time until the function ran for the first time */
    double pickling_s;  /* CPU time that turned objects into bytes and moved them, in all processes */
    int64_t peak_bytes; /* the whole tree's memory at its most, shared pages counted once; looked at now and
                           then */
    double threads;     /* of one process that computed; 0: no two did */
    double gil_share;   /* of the time of these but what they waited for a CPU, spent waiting for its GIL */
};

/* A way to run it. Where it was left out or did not finish: error is set, figures are 0 and profile and
 * diagnosis are NULL (profile and diagnosis may be there if it had begun). */
struct ac_race_contender {
    const char *name;         /* "ThreadPoolExecutor"; static */
    char *error;              /* one sentence, or NULL */
    bool left_out;            /* it was never started: not installed, not in this version */
    bool timed_out;           /* it was killed at its limit; error says so */
    bool differs;             /* its results are not those of the sequential run */
    uint32_t workers;         /* threads, processes or interpreters that it was given, or that it picked; 1
                                 for sequential */
    char *picked;             /* how it chose to run in the run that is told, if it chooses; or NULL */
    struct ac_race_run *runs; /* in the order in which they ran */
    size_t run_count;
    struct ac_race_run median; /* each figure's own median */
    double speedup;            /* sequential's median wall time over its own; 0 not known */
    char *reason;              /* why it took what it took: one short line; NULL with an error */
    /* Of the fastest run: the work alone, its beginning at time 0. */
    struct ac_profile *profile;
    struct ac_diagnosis *diagnosis;
    struct ac_profile *whole; /* the run with the interpreter's start and end; owns the names in profile */
};

struct ac_race {
    char *work;     /* "8 chunks x 1.0 s of Python work": what was run */
    char *python;   /* "CPython 3.14.8" */
    char *function; /* "transform (app.py:8)"; the function's name and place */
    uint64_t items;
    bool waiting;          /* the built-in experiment that waits instead of computing */
    bool printed;          /* the sequential run wrote to stdout or stderr, which is dropped */
    double usable, others; /* CPUs: usable; used by other programs on average, -1 not known */
    char *kernel, *machine;
    int64_t started_unix_ns;
    struct ac_race_contender *contenders;
    size_t count;
    int winner;   /* index; -1: none finished */
    char *reason; /* why it won, or why nobody did: one sentence */
    char *note;   /* why not to take the figures at their word, what is not told; or NULL */
    char *advice; /* what is to be mended in what was raced; or NULL */
};

void ac_race_free(struct ac_race *race);

#endif
