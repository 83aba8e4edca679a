/* sampler.h - follow a process tree in time and account for every thread-second of it.
 *
 *   ac_sampler_new()    options
 *   ac_sampler_attach() the root of the tree: a child that waits to be released, or a running process
 *   ac_sampler_run()    ticks until the tree's root ends, the time is over or poll() says stop
 *   ac_sampler_finish() exact kernel totals + samples -> ac_profile
 *
 * The rule of the account: the kernel's clocks say how long each thread was on a CPU and how long it waited
 * for one; samples only split on-CPU time into python and native, and off-CPU time by what the thread slept
 * in.
 */
#ifndef AC_PROBE_SAMPLER_H
#define AC_PROBE_SAMPLER_H

#include <sys/types.h>

#include "allcores/profile.h"

struct ac_sampler;

struct ac_sampler_options {
    double rate_hz; /* ticks per second, 1 to 20000 */
    bool children;  /* follow child processes */
    bool stacks;    /* read Python stacks (states are read in any case) */
    bool outlive;   /* the run goes on for descendants that outlive the root */
    bool no_ring;   /* test switch: behave as where perf_event_open is refused */
    bool no_fifo;   /* do not ask for SCHED_FIFO */
};

int ac_sampler_new(const struct ac_sampler_options *options, struct ac_sampler **ret_sampler);
/* launched: `pid` is our child, still waiting to be released: nothing of it is missed. Else a running
 * process; -ESRCH gone. Without rights it still attaches and the profile's limits say what is lost. */
int ac_sampler_attach(struct ac_sampler *sampler, pid_t pid, bool launched);
/* Ticks until poll(arg), called at least every 20 ms, returns non-zero (that is returned), the deadline
 * (CLOCK_MONOTONIC ns, 0: none) passes (0) or an attached root is gone (0). A launched root's end is the
 * caller's to see (it waits for its child) and to say through poll. */
int ac_sampler_run(struct ac_sampler *sampler, int64_t deadline_ns, int (*poll)(void *), void *arg);
/* For poll(): time and the numbers of a progress line. */
struct ac_progress {
    int64_t elapsed_ns, cpu_ns, samples;
    uint32_t processes, threads;
};
void ac_sampler_progress(const struct ac_sampler *sampler, struct ac_progress *ret);
/* Close the account: the caller owns the profile. child_cpu_ns: CPU time of the launched child and its reaped
 * descendants from wait4's rusage, 0 if not known. The sampler can only be freed after this. */
int ac_sampler_finish(struct ac_sampler *sampler, int64_t child_cpu_ns, struct ac_profile **ret_profile);
void ac_sampler_free(struct ac_sampler *sampler);

/* One look at process `pid` (and its descendants): a profile with one segment per thread, whose state, kind,
 * node and cpu say what it was doing. The holder of a GIL is the thread in AC_PYTHON. Times mean nothing. */
int ac_snapshot(pid_t pid, bool children, struct ac_profile **ret_profile);

#endif
