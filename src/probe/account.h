/* account.h - exact totals and samples to thread-seconds by state. Pure arithmetic, no process is read.
 *
 * The rule (research/profilers.md has what it was measured against): the kernel's clocks say how long a
 * thread was on a CPU and how long it waited for one; native is that CPU time minus the samples that were
 * running and holder of the GIL; what is left of its life, it was blocked, and samples split that.
 *
 * Where samples know exactly who was on a CPU, how many there were is compared with the CPU time that they
 * stand for: on a busy machine chance decides how often a tick finds the thread on a CPU at all, and that
 * part of the noise can be taken out.
 *
 * The noise of samples is the reason why rows of one process are split together: a thread that should have no
 * native time at all gets some, or less than none, by chance. The negative noise of one row pays for the
 * positive of another, so that the process's sum is not biased by the clipping. */
#ifndef AC_PROBE_ACCOUNT_H
#define AC_PROBE_ACCOUNT_H

#include "allcores/profile.h"

/* One thread, or the sum of several. A zeroed struct is an empty one. */
struct ac_account {
    int64_t alive_ns, run_ns; /* exact */
    int64_t delay_ns;         /* runnable without a CPU: exact, or at least this much */
    int64_t blind_ns;         /* CPU time that no tick could have seen: before a scan found the thread */
    int64_t weight_ns[AC_STATE_COUNT]; /* the time that samples stand for, by the state they saw */
    int64_t samples, cpu_samples;      /* all; those on a CPU */
    bool on_cpu_exact; /* a sample on a CPU is just that (the ring knows), not on a CPU or waiting for one */
    bool unreadable;   /* no GIL could be read: all CPU time is `cpu_state` */
    uint8_t cpu_state; /* AC_NATIVE, AC_PYTHON or AC_UNKNOWN */
};

void ac_account_add(struct ac_account *into, const struct ac_account *from);
/* Split `count` rows that share a reader of Python: ret_states[i] sums to rows[i].alive_ns exactly. */
void ac_account_split(const struct ac_account *rows, size_t count, int64_t (*ret_states)[AC_STATE_COUNT]);

#endif
