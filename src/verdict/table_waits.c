/* table_waits.c - verdicts about waiting: for answers, the disk, a lock, a quota, a CPU. */
#include <math.h>

#include "verdict/table.h"

/* --- oversubscribed */

/* Several processes with several native threads each, or libraries' own threads: more than twice as many that
 * want a CPU as there are. That they lose by it shows as waiting for CPUs while others are no cause. */
struct ac_fit ac_fit_oversubscribed(const struct ac_evidence *e) {
    double wanting = e->states[AC_PYTHON] + e->states[AC_NATIVE] + e->states[AC_NO_CPU];
    double over = wanting / e->usable;
    bool several = e->crowd >= 2 || e->alien >= 1.5 * e->usable;
    bool ours = e->others < 0.3 * e->usable;
    bool fits = several && ours && over >= 1.8 && e->states[AC_NO_CPU] >= 0.7 * e->usable &&
                e->used >= 0.75 * e->usable && e->states[AC_NATIVE] >= 0.5 * e->used;
    return (struct ac_fit){.fits = fits, .confidence = ac_by_margin((over - 1.4) / 1.2)};
}

void ac_say_oversubscribed(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "Too many threads at once: %.1f wanted one of %.4g CPUs on average",
                  e->states[AC_PYTHON] + e->states[AC_NATIVE] + e->states[AC_NO_CPU], e->usable);
}

void ac_why_oversubscribed(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "%.1f of them were ready to run and had no CPU", e->states[AC_NO_CPU]);
    if (e->forced >= 1) {
        ac_buf_printf(buf, "; they took the CPU from each other %.0f times a second", e->forced);
    }
    if (e->crowd >= 2) {
        ac_buf_printf(buf, "; %u processes run native code in several threads each", e->crowd);
    }
}

void ac_fix_oversubscribed(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    bool many = e->crowd > e->usable; /* even with one thread each */
    double each = many ? 1 : fmax(floor(e->usable / fmax(e->crowd, 1)), 1);
    if (many) {
        ac_buf_printf(buf, "fewer processes: %.0f in place of %u, and ", fmax(floor(e->usable), 1), e->crowd);
    }
    if (e->made > e->alien) {
        ac_buf_printf(buf, "fewer of its own threads in each process: %.0f (max_workers=%.0f of a pool)",
                      each, each);
    } else {
        ac_buf_printf(buf,
                      "fewer threads in each process: OMP_NUM_THREADS=%.0f (OPENBLAS_NUM_THREADS, "
                      "MKL_NUM_THREADS) or the library's own option",
                      each);
    }
    ac_buf_printf(buf, ", so that processes times threads is %.4g", e->usable);
}

/* --- cpu-quota */

/* The kernel's own count of how long it held the program back. */
struct ac_fit ac_fit_cpu_quota(const struct ac_evidence *e) {
    double most = fmin(e->affinity > 0 ? e->affinity : e->online, e->online);
    bool limited = e->quota > 0 && e->quota < most;
    double wanted = e->used + fmax(e->throttled, 0);
    double k = fmin(most, wanted) / e->quota;
    bool fits = limited && e->throttled >= 0.1 && e->throttles >= 0.5 && e->used >= 0.75 * e->quota;
    return (struct ac_fit){.fits = fits,
                           .confidence = ac_by_margin(e->throttled / 0.3),
                           .gain_s = fits && k > 1 ? e->wall_s * (1 - 1 / k) : 0,
                           .speedup = fits ? fmax(k, 1) : 0,
                           .cpus = most};
}

void ac_say_cpu_quota(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "Throttled: its cgroup may use %.4g CPUs of %.0f, and it used %.1f", e->quota,
                  e->online, e->used);
}

void ac_why_cpu_quota(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "the kernel held it back %.0f times, for %.1f CPU-seconds of a run of %.1f s",
                  e->throttles * e->wall_s, e->throttled * e->wall_s, e->wall_s);
}

void ac_fix_cpu_quota(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(buf,
                  "as many workers as the quota has CPUs (%.0f; os.cpu_count() does not know of it), or a "
                  "larger quota (docker --cpus, resources.limits.cpu)",
                  fmax(ceil(c->evidence->quota), 1));
    if (c->fit->speedup > 1.1) {
        ac_buf_printf(buf, "; without it up to %.1f times faster (an estimate)", c->fit->speedup);
    }
}

/* --- disk-bound */

struct ac_fit ac_fit_disk_bound(const struct ac_evidence *e) {
    double disk = e->states[AC_DISK];
    bool fits = disk >= 0.25 && disk >= 0.7 * e->used && disk >= e->waits.threads;
    return (struct ac_fit){.fits = fits, .confidence = ac_by_margin((disk - 0.15) / 0.3)};
}

void ac_say_disk_bound(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "It waits for the disk: %.1f threads on average, while %.1f of %.4g CPUs were used",
                  e->states[AC_DISK], e->used, e->usable);
}

void ac_why_disk_bound(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_put_spot(c, &e->state_spots[AC_DISK], buf);
    ac_buf_printf(buf, " slept in the kernel's file calls for %.1f s of %.1f s",
                  e->states[AC_DISK] * e->wall_s, e->wall_s);
}

void ac_fix_disk_bound(const struct ac_case *c, struct ac_buf *buf) {
    (void)c;
    ac_buf_str(buf,
               "more CPUs do not help; fewer and larger reads and writes do, and fewer fsyncs or commits "
               "(many rows in one transaction)");
}

/* --- io-threads-ok, io-sequential */

static bool waits_for_answers(const struct ac_evidence *e) {
    bool answered = e->waits.rate >= 2 || ac_is_slow(&e->waits.slow, e->wall_s);
    return e->waits.threads >= 0.45 && answered && e->used < 0.75 * e->usable &&
           e->waits.threads >= e->states[AC_GIL_WAIT] + e->states[AC_DISK];
}

static enum ac_confidence by_answers(const struct ac_evidence *e, double margin) {
    return ac_by_answers(ac_by_margin(margin), &e->waits.slow, e->waits.threads * e->wall_s);
}

struct ac_fit ac_fit_io_threads_ok(const struct ac_evidence *e) {
    bool fits = waits_for_answers(e) && e->waits.count >= 2 && e->waits.threads >= 1.4 && e->used < 0.9;
    return (struct ac_fit){.fits = fits, .confidence = by_answers(e, e->waits.threads - 1)};
}

void ac_say_io_threads_ok(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(
        buf, "It waits for answers, and in threads, as it should: %.1f at a time, %.1f of %.4g CPUs used",
        e->waits.threads, e->used, e->usable);
}

void ac_why_io_threads_ok(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_put_spot(c, &e->waits.spot, buf);
    ac_buf_printf(buf, " waited in %u threads; they waited for the GIL %.0f %% as long", e->waits.count,
                  100 * e->states[AC_GIL_WAIT] / fmax(e->waits.threads, 0.01));
}

void ac_fix_io_threads_ok(const struct ac_case *c, struct ac_buf *buf) {
    (void)c;
    ac_buf_str(buf, "more CPUs do not help; more threads do for as long as the other side answers as fast");
}

static uint32_t answers(const struct ac_evidence *e) {
    return ac_answers_counted(&e->waits.slow, e->waits.threads * e->wall_s);
}

/* One wait after another: how many could overlap is not in the run; eight is what clients usually allow. */
struct ac_fit ac_fit_io_sequential(const struct ac_evidence *e) {
    double most = fmin(e->waits.most, 1);
    bool fits = waits_for_answers(e) && most >= 0.45 && e->waits.threads < most + 0.4;
    enum ac_confidence confidence = by_answers(e, (most - 0.35) / 0.35);
    double saved = most * ac_overlap(e, answers(e));
    if (confidence == AC_SURE && e->waits.told < 0.5) {
        confidence = AC_LIKELY;
    }
    return (struct ac_fit){.fits = fits,
                           .confidence = confidence,
                           .gain_s = fits ? e->wall_s * saved : 0,
                           .speedup = 1 / (1 - saved)};
}

void ac_say_io_sequential(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "It waits for one answer after another: %.0f %% of %.1f s, %.2f of %.4g CPUs used",
                  100 * fmin(e->waits.most, 1), e->wall_s, e->used, e->usable);
}

void ac_why_io_sequential(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_put_spot(c, &e->waits.spot, buf);
    if (ac_is_mostly_slow(&e->waits.slow, e->waits.threads * e->wall_s)) {
        ac_buf_str(buf, " waited for ");
        ac_put_answers(&e->waits.slow, buf);
        ac_buf_str(buf, ", one at a time");
    } else {
        ac_buf_printf(buf, " waited about %.0f times a second, one wait at a time", e->waits.rate);
    }
}

void ac_fix_io_sequential(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(
        buf,
        "if they do not depend on each other, ask in threads; about %.1f times faster with %.0f (an "
        "estimate; the other side must keep up)",
        c->fit->speedup, ac_together(c->evidence, answers(c->evidence)));
}

void ac_code_io_sequential(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    ac_snippet_loop(c, &c->evidence->waits.spot, "ThreadPoolExecutor", buf, place);
}

/* --- lock-contention */

struct ac_fit ac_fit_lock_contention(const struct ac_evidence *e) {
    const struct ac_lock *lock = &e->lock;
    bool fits = lock->share >= 0.3 && lock->held >= 0.6 && lock->waiters >= 0.8;
    double k = fmin(1 + lock->waiters, lock->holder_cpu >= 0.5 ? fmax(e->usable, 1) : 1 + lock->waiters);
    double saved = lock->share * lock->held * (1 - 1 / k);
    return (struct ac_fit){.fits = fits,
                           .confidence = ac_min(ac_by_margin((lock->held - 0.4) / 0.45),
                                                ac_by_margin((lock->share - 0.15) / 0.4)),
                           .gain_s = fits ? e->wall_s * saved : 0,
                           .speedup = fits ? 1 / (1 - saved) : 0,
                           .cpus = k};
}

void ac_say_lock_contention(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_lock *lock = &c->evidence->lock;
    ac_buf_printf(buf, "Threads wait for the program's own lock: %.1f of them for %.0f %% of the run",
                  lock->waiters, 100 * lock->share);
}

void ac_why_lock_contention(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_lock *lock = &c->evidence->lock;
    ac_buf_str(buf, "they waited in ");
    ac_put_spot(c, &lock->spot, buf);
    if (lock->holder) {
        struct ac_place place = ac_node_place(c->profile, lock->holder);
        ac_buf_str(buf, lock->named >= 0.5 ? "; who had it, by the RLock itself, was in "
                                           : "; the holder, inferred from who was inside, was in ");
        ac_put_place(&place, buf);
        ac_buf_printf(buf, ", %s",
                      lock->holder_python >= 0.5 ? "running Python"
                      : lock->holder_cpu >= 0.5  ? "running native code"
                                                 : "asleep");
    }
}

void ac_fix_lock_contention(const struct ac_case *c, struct ac_buf *buf) {
    bool python = c->evidence->lock.holder_python >= 0.5 && !ac_has_no_gil(c->evidence);
    ac_buf_printf(buf,
                  "hold it for less: do the slow part before or after, one lock for each thing that it "
                  "protects, or results collected and merged once%s; up to %.1f times faster (an estimate)",
                  python ? " (what runs Python inside it needs processes, too)" : "", c->fit->speedup);
}
