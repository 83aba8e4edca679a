/* spin.c - a wait that is expected to be short is spun through. Asleep on both sides a round trip costs 60
 * us, spinning 0.5. But on a full machine the partner may be queued on the very CPU that spins, so after 2 us
 * it yields; and where the gaps have been long lately it does not begin at all: sparse work costs no CPU.
 *
 * A payload of 64 KiB to 2 MiB takes as long to copy as a wake-up takes. Who copies one says so first (a word
 * of what is `coming`, in the head for arguments, in the slot for an answer) and wakes who sleeps for it: it
 * wakes up meanwhile, and spins until the copy is there. Nothing rests on it:
 * read too early or too late, or left behind by one who died, it costs a wake-up or a spin that ends by its
 * time. */
#include <sched.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/segment.h"

enum { YIELD_AFTER_NS = 2000, GAP_MAX_NS = 2 * AC__SPIN_NS, PAUSES = 16 };
/* Of a word of what is coming. */
enum { LENGTH_BITS = 10, LENGTH_MASK = (1 << LENGTH_BITS) - 1, CPU_MASK = 63 };
static_assert(AC__SPIN_NS / 1000 + AC__COMING_TO / 4000 <= LENGTH_MASK, "a length must fit");

bool ac__spin_allowed(const struct ac__spin *spin, uint32_t cpus) {
    return cpus > 1 && ac_load_relaxed(&spin->mean_ns) < GAP_MAX_NS;
}

/* A mean over the last eight or so, four where they are short; one long pause counts as little more than "too
 * long", so that a burst after it is recognised within some five tasks. Gaps that are short and long by turns
 * count as long. */
void ac__spin_note(struct ac__spin *spin, int64_t gap_ns) {
    gap_ns = ac_min(gap_ns, (int64_t)4 * GAP_MAX_NS);
    int64_t mean_ns = ac_load_relaxed(&spin->mean_ns);
    int64_t share = gap_ns < AC__SPIN_NS ? 4 : 8;
    ac_store_relaxed(&spin->mean_ns, mean_ns + (gap_ns - mean_ns) / share);
}

static void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

uint64_t ac__coming_parts(const struct ac_part *parts, uint32_t count) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count && bytes <= AC__COMING_TO; i++) {
        bytes += ac_min(parts[i].size, (size_t)AC__COMING_TO + 1);
    }
    if (bytes < AC__COMING_FROM || bytes > AC__COMING_TO) {
        return 0;
    }
    uint64_t most_us = AC__SPIN_NS / 1000 + bytes / 4000; /* 4 GB/s at least */
    return (uint64_t)ac_now_ns() / 1000 << 16 | ((uint64_t)ac_cpu_now() & CPU_MASK) << LENGTH_BITS | most_us;
}

void ac__coming_over(_Atomic uint64_t *coming) {
    uint64_t word = ac_load_relaxed(coming); /* another thread's, perhaps: that one's may go as well */
    ac_store_relaxed(coming, word & ~(uint64_t)LENGTH_MASK);
}

int64_t ac__coming_from(uint64_t word) {
    return (int64_t)(word >> 16) * 1000;
}

int64_t ac__coming_until(uint64_t word, int64_t now_ns) {
    return ac__coming_from(word) <= now_ns ? ac__coming_from(word) + (int64_t)(word & LENGTH_MASK) * 1000 : 0;
}

/* A gap that ended with an announcement is counted up to that, and half: as long as both sides sleep, the
 * other half of it is the other's wake-up, which is over when both spin. */
int64_t ac__gap(int64_t start_ns, int64_t now_ns, uint64_t coming) {
    int64_t from = ac_min(ac__coming_from(coming), now_ns);
    return from > start_ns ? (from - start_ns) / 2 : now_ns - start_ns;
}

/* It is being copied, on another CPU: the copier does not wait for ours. No yielding: that may cost a slice.
 */
static bool copied_beside(uint64_t word, int64_t now_ns) {
    return now_ns <= ac__coming_until(word, now_ns) &&
           (word >> LENGTH_BITS & CPU_MASK) != ((uint64_t)ac_cpu_now() & CPU_MASK);
}

bool ac__spin_until(bool (*done)(void *arg), void *arg, int64_t start_ns, const _Atomic uint64_t *coming) {
    for (;;) {
        for (int i = 0; i < PAUSES; i++) {
            if (done(arg)) {
                return true;
            }
            pause_cpu();
        }
        int64_t now = ac_now_ns();
        int64_t gone = now - start_ns;
        bool beside = copied_beside(ac_load_relaxed(coming), now);
        if (gone > AC__SPIN_NS && !beside) {
            return false;
        }
        if (gone > YIELD_AFTER_NS && !beside) {
            sched_yield();
        }
    }
}
