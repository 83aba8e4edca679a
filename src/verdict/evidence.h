/* evidence.h - what a profile comes down to: figures and names, no tables. Verdicts are functions of this
 * struct.
 *
 * "Average threads" are thread-seconds over the run's wall time: 2.5 in gil_wait means that at a random
 * moment two or three threads waited for the GIL.
 */
#ifndef AC_EVIDENCE_H
#define AC_EVIDENCE_H

#include "base/base.h"
#include "verdict/verdict.h"

#define AC_NO_FUNC UINT32_MAX

/* A function of the user's own code (neither the standard library's nor a package's) and its heaviest line.
 */
struct ac_spot {
    uint32_t func; /* AC_NO_FUNC: none */
    int32_t line;
    double seconds; /* thread-seconds that this function (and what it called) spent in the state */
    uint32_t node;  /* its heaviest stack, from its frame up */
};

struct ac_evidence {
    /* the run */
    double wall_s, cpu_s;
    double usable, online, affinity, quota; /* CPUs; quota 0: none */
    double used;                            /* cores used on average: cpu_s / wall_s */
    double others;                          /* CPUs that other programs used on average; -1 not known */
    double states[AC_STATE_COUNT];          /* average threads in each state, whole tree */
    double life;                            /* average threads alive */
    uint32_t threads, processes;            /* that lived */
    uint32_t lasting;                       /* threads that lived for a hundredth of the run or more */
    uint32_t python_processes;
    double samples, rate_hz;
    uint32_t limits;

    /* the process that matters most: most CPU and GIL waiting */
    uint32_t process;
    double p_states[AC_STATE_COUNT]; /* average threads in it */
    double p_used;                   /* its cores */
    uint32_t p_threads;              /* its threads */
    uint32_t p_wanting;      /* of them: wanted Python (python + gil_wait) for a good part of their lives */
    double p_wanting_python; /* of these, average threads in python */
    double p_wanting_life;   /* of these, average threads alive */
    uint32_t p_native;       /* of them: ran native code for a tenth of the run or more */
    double p_busiest;        /* share of the run for which its busiest thread was on a CPU */
    double c_call;           /* share of its python time inside C functions that keep the GIL; -1 not known */
    int free_threaded, gil_enabled; /* -1 not known */
    bool readable;                  /* its GIL and stacks could be read */

    struct ac_spot state_spots[AC_STATE_COUNT]; /* top user function per state, whole tree */
    struct ac_spot python;                      /* user function that ran Python most, in that process */
    struct ac_spot native;                      /* the same for native code */
    struct ac_spot work; /* outermost user function of its threads other than the main one, while in Python */
    struct ac_spot waiting; /* where its main thread waited */
};

int ac_evidence_new(const struct ac_profile *profile, struct ac_evidence **ret_evidence);
void ac_evidence_free(struct ac_evidence *evidence);

/* Is this file the user's own: neither the standard library, an installed package, nor made up ("<frozen
 * ...>")? */
bool ac_is_user_file(const char *file);
const char *ac_base_name(const char *path); /* "batch.py" of "/home/me/batch.py" */
/* A function's name as its writer would say it: "outer.inner" for "outer.<locals>.inner". */
void ac_put_function(struct ac_buf *buf, const char *name);
/* The next frame of user code above `node` that is not of the same function (recursion). 0: none. */
uint32_t ac_user_caller(const struct ac_profile *profile, uint32_t node);
struct ac_place ac_node_place(const struct ac_profile *profile, uint32_t node);
struct ac_place ac_place_of(const struct ac_profile *profile, const struct ac_spot *spot);

#endif
