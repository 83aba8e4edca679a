/* spin.c - a wait that is expected to be short is spun through. Asleep on both sides a round trip costs 60
 * us, spinning 0.5. But on a full machine the partner may be queued on the very CPU that spins, so after 2 us
 * it yields; and where the gaps have been long lately it does not begin at all: sparse work costs no CPU. */
#include <sched.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/segment.h"

enum { YIELD_AFTER_NS = 2000, GAP_MAX_NS = 2 * AC__SPIN_NS, PAUSES = 16 };

bool ac__spin_allowed(const struct ac__spin *spin, uint32_t cpus) {
    return cpus > 1 && ac_load_relaxed(&spin->mean_ns) < GAP_MAX_NS;
}

/* A mean over the last eight or so; one long pause counts as little more than "too long", so that a burst
 * after it is recognised within a few tasks. */
void ac__spin_note(struct ac__spin *spin, int64_t gap_ns) {
    gap_ns = ac_min(gap_ns, (int64_t)4 * GAP_MAX_NS);
    int64_t mean_ns = ac_load_relaxed(&spin->mean_ns);
    ac_store_relaxed(&spin->mean_ns, mean_ns + (gap_ns - mean_ns) / 8);
}

static void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bool ac__spin_until(bool (*done)(void *arg), void *arg, int64_t start_ns) {
    for (;;) {
        for (int i = 0; i < PAUSES; i++) {
            if (done(arg)) {
                return true;
            }
            pause_cpu();
        }
        int64_t gone = ac_now_ns() - start_ns;
        if (gone > AC__SPIN_NS) {
            return false;
        }
        if (gone > YIELD_AFTER_NS) {
            sched_yield();
        }
    }
}
