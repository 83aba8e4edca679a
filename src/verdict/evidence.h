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
    double all;     /* thread-seconds of all such functions together */
};

/* Who runs the workers of a pool, told by the stacks of the workers. */
enum ac_pool_kind {
    AC_POOL_NONE,
    AC_POOL_FUTURES,
    AC_POOL_MP,
    AC_POOL_LOKY,
    AC_POOL_DASK,
    AC_POOL_ALLCORES,
    AC_POOL_GUNICORN,
    AC_POOL_CELERY,
    AC_POOL_XDIST,
    AC_POOL_TORCH,
    AC_POOL_KIND_COUNT
};
extern const char *const ac_pool_names[AC_POOL_KIND_COUNT]; /* "ProcessPoolExecutor", ... */

/* Waits of 0.3 s and more that an answer ended, or the run: so slow that a handful is all there is. */
struct ac_slow {
    uint32_t answers;
    double seconds; /* that they took together */
};

/* Threads that asked over the network and waited for the answer. */
struct ac_waits {
    double threads;      /* on average */
    double told;         /* share of it under a known client library */
    double most;         /* share of the run that the most waiting thread spent so */
    uint32_t count;      /* threads that waited so for a fifth of their lives */
    double rate;         /* sleeps a second of these threads */
    struct ac_slow slow; /* below a known client, or in a process that accepts nobody */
    struct ac_spot spot; /* the user's function that asked */
};

/* Threads that slept in the program's own lock, and who was inside meanwhile. An RLock says who has it. A
 * Lock does not: the holder is inferred, as the one other thread that is further down in the function that
 * waits.
 */
struct ac_lock {
    double share;         /* of the run: at least one thread waited */
    double waiters;       /* threads that waited, on average over that share */
    double held;          /* share of the waits with exactly one such holder */
    double named;         /* share of these in which the lock itself told it */
    double holder_cpu;    /* share of these in which the holder was on a CPU or ready for one */
    double holder_python; /* ... in which it ran Python */
    struct ac_spot spot;  /* where they waited */
    uint32_t holder;      /* innermost user node of the most frequent holder; 0 none */
};

/* A pool of processes. Averages over the run, in CPUs and in threads. */
struct ac_pool {
    enum ac_pool_kind kind;
    uint32_t workers; /* processes that worked in it */
    uint32_t parent;  /* index of their parent's row; UINT32_MAX: not known */
    double lasting;   /* workers alive on average */
    double work;      /* CPUs inside tasks */
    double task_wait; /* workers inside a task, asleep */
    double data;      /* CPUs, in parent and workers, that turned objects into bytes and moved them */
    double dispatch;  /* CPUs, in parent and workers, in the pool's other code */
    double worker_data, worker_dispatch; /* of these two, what the workers took */
    double starving;                     /* workers that waited for a task */
    double own;                          /* CPUs of the parent's own code */
    double loop_gil;   /* threads of Dask's own, in the process that matters most, that waited for the GIL */
    double moved_wait; /* parent or workers asleep while they moved bytes */
    double result;     /* share of the run that the parent's main thread waited for one result */
    double switches;   /* sleeps a second of all workers: about one a task at least */
    double one, several,
        none;       /* share of the run with exactly one, with more, with no worker inside a task */
    double tail;    /* share of the run, at its end, in which only one worker of several had a task */
    double longest; /* share of `one` that was the same worker on end */
    struct ac_spot task, feeder, waits,
        tail_spot; /* user functions: in tasks; the parent's; where it waits */
};

/* An asyncio loop. Shares of the run. */
struct ac_loop {
    bool found;
    double idle;                     /* in its wait */
    double blocked;                  /* asleep inside a callback */
    double busy;                     /* on a CPU inside a callback, in stretches of 50 ms and more */
    double running;                  /* on a CPU or ready inside a callback */
    double wakes;                    /* a second */
    struct ac_slow slow;             /* waits of the loop that no timer ended */
    uint32_t watched;                /* descriptors that its epoll watched, on average; 0 not known */
    uint32_t roots;                  /* coroutines that were seen at the bottom of callbacks */
    double root_share;               /* of the most frequent one */
    struct ac_spot call, work, root; /* where it slept; where it computed; the coroutine below */
    uint32_t call_node;              /* the leaf of the heaviest wait, library code included */
};

/* Processes by what they do besides work. */
struct ac_start_up {
    double cpu;         /* CPUs in interpreters' start and imports, the program's own first one excluded */
    uint32_t processes; /* that were started, without the first */
    uint32_t at_once;   /* most of them alive at one time: a pool that is kept starts no more */
    double share;       /* of all CPU time */
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
    double importing;        /* of its threads in python, the average that imported modules */
    double c_call;           /* share of its python time inside C functions that keep the GIL; -1 not known */
    int free_threaded, gil_enabled; /* -1 not known */
    ac_str gil_cause;
    bool readable; /* its GIL and stacks could be read */

    struct ac_spot state_spots[AC_STATE_COUNT]; /* top user function per state, whole tree */
    struct ac_spot python;                      /* user function that ran Python most, in that process */
    struct ac_spot anyone; /* the same of any code: for programs that have none of theirs */
    struct ac_spot native; /* the same for native code */
    struct ac_spot work; /* outermost user function of its threads other than the main one, while in Python */
    struct ac_spot waiting; /* where its main thread waited */

    double throttled; /* CPUs' worth that the quota withheld on average; -1 not known */
    double throttles; /* times a second */
    double forced;    /* forced switches a second */
    uint32_t crowd;   /* processes with two or more threads that wanted a CPU for native code */
    double alien;     /* average threads, unknown to Python, on a CPU or ready for one */
    double made;      /* the same of the program's own Python threads, without the main ones */
    double served; /* of the main process's time with or behind the GIL: below a server, for whoever asks */
    struct ac_waits waits;
    struct ac_lock lock;
    struct ac_pool pool;
    struct ac_loop loop;
    struct ac_start_up start_up;
    uint32_t calls;        /* of what could run side by side, each time: what the source says; 0 not known */
    uint32_t at_once;      /* of them, that the fix would let run together; 0 not known */
    uint32_t fork_parent;  /* process that forked with threads or CUDA alive; valid where forks > 0 */
    uint32_t fork_threads; /* the most that such a process had then */
    uint32_t forks, cuda_forks; /* children; of them, those that began with CUDA's driver library */
};

/* What ran, ran for whoever asks a server: no loop of the program's to rewrite. */
static inline bool ac_is_served(const struct ac_evidence *e) {
    return e->served >= 0.5;
}

/* Most of its Python was importing modules, which nothing spreads over CPUs. */
static inline bool ac_is_importing(const struct ac_evidence *e) {
    return e->importing > 0.5 * e->p_states[AC_PYTHON];
}

/* Where a verdict's fix is in no line of the program's own: a server's or Dask's threads, a GIL to be left
 * off, imports. */
bool ac_nothing_to_rewrite(const struct ac_evidence *e, const char *id);

int ac_evidence_new(const struct ac_profile *profile, struct ac_evidence **ret_evidence);
void ac_evidence_free(struct ac_evidence *evidence);

/* Is this file the user's own: neither the standard library, an installed package, nor made up ("<frozen
 * ...>")? */
bool ac_is_user_file(const char *file);
bool ac_is_user_func(const struct ac_profile *profile, uint32_t func);
/* What `allcores race` runs its contenders with, but for the built-in experiment's own functions. */
bool ac_is_race_harness(const struct ac_profile *profile, uint32_t func);
const char *ac_base_name(const char *path); /* "batch.py" of "/home/me/batch.py" */
/* ac_python_argv() of a command line in the profile, which may be cut short, or not be Python's. */
enum ac_python_program ac_profile_python(const struct ac_profile *profile, const ac_str *argv, size_t argc,
                                         const char **ret_what);
const char *
ac_two_names(const char *path); /* "mypy/build.py" of "/usr/lib/python3/site-packages/mypy/build.py" */
/* A function's name as its writer would say it: "outer.inner" for "outer.<locals>.inner". */
void ac_put_function(struct ac_buf *buf, const char *name);
/* The next frame of user code above `node` that is not of the same function (recursion). 0: none. */
uint32_t ac_user_caller(const struct ac_profile *profile, uint32_t node);
struct ac_place ac_node_place(const struct ac_profile *profile, uint32_t node);
struct ac_place ac_place_of(const struct ac_profile *profile, const struct ac_spot *spot);

#endif
