/* table.c - every verdict on one page: when it fits and what it says.
 *
 * A fit is a margin against thresholds on plain figures. Where several fit, diagnose.c lets the one speak
 * whose fix saves most; entries with nothing to gain come first in this table, so that order settles ties
 * among them. Thresholds: "busy" is half the run or more of a core; "full" is nine tenths of the usable CPUs.
 */
#include "verdict/table.h"

#include <math.h>
#include <string.h>

#define FULL 0.9

static double
demand(const struct ac_evidence *e) { /* CPUs that the program's runnable threads could have used */
    return e->used + e->states[AC_NO_CPU];
}

static double waiting(const struct ac_evidence *e) {
    return e->states[AC_IO] + e->states[AC_DISK] + e->states[AC_LOCK] + e->states[AC_SLEEP] +
           e->states[AC_OTHER];
}

/* CPUs' worth that others took from us: threads ready to run while others had the CPUs. Threads that take
 * turns under one GIL can miss no more than what is left of that one turn. */
static double crowded(const struct ac_evidence *e) {
    double free = e->usable - fmin(e->used, e->usable) - fmax(e->others, 0);
    double lost = fmin(e->states[AC_NO_CPU], fmax(e->others, 0)) - fmax(free, 0);
    bool turns = e->p_wanting >= 2 && e->p_states[AC_GIL_WAIT] >= 0.4;
    lost -= fmax(e->throttled, 0); /* by the quota, and by no other program */
    return turns ? fmin(lost, fmax(1 - e->p_states[AC_PYTHON], 0)) : lost;
}

/* CPUs that k threads of ours would get beside what other programs use: what these leave, or a fair share. */
static double reachable(const struct ac_evidence *e, double k) {
    double others = fmax(e->others, 0);
    return fmin(k, fmax(e->usable - others, e->usable * k / (k + others)));
}

static struct ac_fit fit_of(const struct ac_evidence *e, double saved, double cpus,
                            enum ac_confidence confidence) {
    return (struct ac_fit){.fits = true,
                           .confidence = confidence,
                           .gain_s = e->wall_s * saved,
                           .speedup = 1 / (1 - saved),
                           .cpus = cpus};
}

/* What is saved when work that kept one core busy for `core_share` of the run is spread over k. Amdahl: the
 * rest of the run stays as it is; and the whole program cannot use more CPUs than it gets. */
static struct ac_fit spread_over(const struct ac_evidence *e, double core_share, double k,
                                 enum ac_confidence confidence) {
    double cpus = fmax(reachable(e, fmin(k, e->usable)), 1);
    double saved = core_share * (1 - 1 / cpus);
    double most = 1 - e->used / fmax(reachable(e, e->usable), e->used);
    struct ac_fit fit = fit_of(e, fmax(fmin(saved, most), 0), cpus, confidence);
    fit.fits = fmin(k, e->usable) >= 1.5 && core_share > 0;
    return fit;
}

static void put_estimate(const struct ac_case *c, const char *about, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "%s %.1f times faster here (an estimate for %.4g usable CPUs%s)", about,
                  c->fit->speedup, e->usable, e->others >= 0.5 ? " beside what else runs" : "");
}

/* --- too-short */

static struct ac_fit fit_too_short(const struct ac_evidence *e) {
    bool few = e->wall_s * e->rate_hz < 30 && e->wall_s < 1;
    return (struct ac_fit){.fits = few || e->wall_s < 0.25, .confidence = AC_SURE};
}

static void say_too_short(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(buf, "Too short to tell: it ran for %.0f ms", c->evidence->wall_s * 1e3);
}

static void why_too_short(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(buf, "%.0f samples, %.0f ms of CPU time", c->evidence->samples, c->evidence->cpu_s * 1e3);
}

static void fix_too_short(const struct ac_case *c, struct ac_buf *buf) {
    (void)c;
    ac_buf_str(buf, "give it more work, or sample faster with -r 5khz");
}

/* --- native-parallel */

/* Threads that are always busy with native code: where they do not fill the CPUs, more of them would. */
static struct ac_fit fit_native_parallel(const struct ac_evidence *e) {
    double native = e->p_used > 0 ? e->p_states[AC_NATIVE] / e->p_used : 0;
    bool several = e->p_native >= 2 && native >= 0.6 && e->usable >= 1.5;
    enum ac_confidence confidence = ac_by_margin((native - 0.5) / 0.3);
    if (several && e->p_used < 0.75 * e->usable && e->p_used >= 0.85 * e->p_native) {
        double most = 1 - e->used / fmax(reachable(e, e->usable), e->used);
        return fit_of(e, most, reachable(e, e->usable), confidence);
    }
    return (struct ac_fit){.fits = several && e->p_used >= 0.75 * e->usable, .confidence = confidence};
}

static void say_native_parallel(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "Threads are right here: %u of them ran native code on %.1f of %.4g CPUs", e->p_native,
                  e->p_used, e->usable);
}

static void why_native_parallel(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_put_spot(c, &e->native, buf);
    ac_buf_printf(buf, " released the GIL for %.0f %% of the CPU time",
                  100 * fmin(e->p_states[AC_NATIVE] / e->p_used, 1));
}

static void fix_native_parallel(const struct ac_case *c, struct ac_buf *buf) {
    if (c->fit->speedup > 1.1) {
        ac_buf_str(buf, "more of these threads, where the work can be divided; up to");
        put_estimate(c, "", buf);
    }
}

/* --- all-cores-busy */

/* Full with the little that others use, too: more threads would only take turns. */
static struct ac_fit fit_all_cores_busy(const struct ac_evidence *e) {
    double share = (e->used + fmin(fmax(e->others, 0), 0.2 * e->usable)) / e->usable;
    return (struct ac_fit){.fits = share >= FULL && e->used >= 0.75 * e->usable,
                           .confidence = ac_by_margin((share - 0.85) / 0.1)};
}

static void say_all_cores_busy(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(buf, "Nothing to gain: %.1f of %.4g usable CPUs were used", c->evidence->used,
                  c->evidence->usable);
}

static void why_all_cores_busy(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf,
                  "%u process%s used %.1f s of CPU time in %.1f s; only cheaper work would make it faster",
                  e->processes, e->processes == 1 ? "" : "es", e->cpu_s, e->wall_s);
    if (e->usable < e->online) {
        ac_buf_printf(buf, ", or more CPUs: the machine has %.0f", e->online);
    }
    ac_put_workers(c, buf);
}

/* --- idle */

static struct ac_fit fit_idle(const struct ac_evidence *e) {
    bool fits = e->used < 0.3 && demand(e) < 0.4 && e->states[AC_GIL_WAIT] < 0.3;
    return (struct ac_fit){.fits = fits, .confidence = ac_by_margin((0.35 - e->used) / 0.2)};
}

static const char *main_wait(const struct ac_evidence *e) {
    static const char *const words[AC_STATE_COUNT] = {[AC_IO] = "sockets and pipes",
                                                      [AC_DISK] = "the disk",
                                                      [AC_LOCK] = "locks and queues",
                                                      [AC_SLEEP] = "timed sleeps",
                                                      [AC_OTHER] = "children"};
    int most = AC_IO;
    for (int s = AC_IO; s <= AC_OTHER; s++) {
        most = e->states[s] > e->states[most] ? s : most;
    }
    return e->states[most] > 0 ? words[most] : "something that could not be read";
}

static void say_idle(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(buf, "It waits: %.2f of %.4g CPUs were used; more CPUs would not help", c->evidence->used,
                  c->evidence->usable);
}

static void why_idle(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "%.0f %% of thread-time went into waiting, most for %s",
                  e->life > 0 ? 100 * waiting(e) / e->life : 100.0, main_wait(e));
    if (e->waiting.func != AC_NO_FUNC) {
        ac_buf_str(buf, "; the main thread waited in ");
        ac_put_spot(c, &e->waiting, buf);
    }
    ac_put_workers(c, buf);
}

/* --- machine-busy */

static struct ac_fit fit_machine_busy(const struct ac_evidence *e) {
    double lost = crowded(e);
    bool fits = e->others >= 0.3 && lost >= 0.25 && e->states[AC_NO_CPU] >= 0.2 * e->used;
    double total = e->used + lost;
    double saved = fits ? fmin(lost / total, e->states[AC_NO_CPU]) : 0; /* never more than it waited */
    return (struct ac_fit){.fits = fits, .confidence = ac_by_margin(lost / 0.6), .gain_s = e->wall_s * saved};
}

static void say_machine_busy(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "The machine is busy: other programs used %.1f of the %.4g CPUs, this one got %.1f",
                  e->others, e->usable, e->used);
}

static void why_machine_busy(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(buf, "%.1f of its threads on average were ready to run and had no CPU",
                  c->evidence->states[AC_NO_CPU]);
    ac_put_workers(c, buf);
}

static void fix_machine_busy(const struct ac_case *c, struct ac_buf *buf) {
    (void)c;
    ac_buf_str(
        buf,
        "run it when the machine is free, or stop what else runs (top shows it); the code is not at fault");
}

/* --- pinned */

static struct ac_fit fit_pinned(const struct ac_evidence *e) {
    bool narrow = e->affinity < e->online && (e->quota <= 0 || e->quota >= e->affinity);
    double more = demand(e) - e->affinity; /* threads that an unpinned program could run besides */
    double k = fmin(e->online, demand(e)) / fmax(e->affinity, 1);
    bool fits = narrow && e->used >= 0.85 * e->affinity && more >= 0.3 && crowded(e) < 0.25 * more + 0.25;
    return (struct ac_fit){.fits = fits,
                           .confidence = ac_by_margin(more / 0.6),
                           .gain_s = fits ? e->wall_s * (1 - 1 / k) : 0,
                           .speedup = k,
                           .cpus = e->online};
}

static void say_pinned(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "Pinned: it may run on %.0f of %.0f CPUs, and fills %s", e->affinity, e->online,
                  e->affinity > 1 ? "them" : "it");
}

static void why_pinned(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "%.1f CPUs used; %.1f more threads on average were ready to run", e->used,
                  e->states[AC_NO_CPU]);
}

static void fix_pinned(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_str(buf,
               "let it run on all CPUs: find who set the affinity (taskset, a cpuset, numactl, an imported "
               "library)");
    if (c->fit->speedup > 1.1) {
        ac_buf_printf(buf, "; about %.1f times faster (an estimate)", c->fit->speedup);
    }
}

static void code_pinned(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    (void)c;
    *place = (struct ac_place){.function = "", .file = ""};
    ac_buf_str(buf, "os.sched_setaffinity(0, range(os.cpu_count()))  # at the start of the program");
}

/* --- gil-bound-threads */

/* That a Dask worker's loop gets the GIL late costs nothing while its threads have tasks. */
static double gil_waiters(const struct ac_evidence *e) {
    return e->p_states[AC_GIL_WAIT] - e->pool.loop_gil;
}

static struct ac_fit fit_gil_bound(const struct ac_evidence *e) {
    double waiters = gil_waiters(e);
    double held = e->p_states[AC_PYTHON];
    double turns = e->p_wanting_python; /* of it, what those that take turns held */
    if (ac_pool_explains(e) || e->p_wanting < 2 || waiters < 0.4 || held < 0.3 || waiters < 0.4 * held ||
        turns <= 0) {
        return (struct ac_fit){0};
    }
    double k = fmin(fmin((turns + waiters) / turns, e->p_wanting), ac_at_a_time(e, e->usable));
    double margin = fmin((waiters - 0.2) / 0.6, (held - 0.2) / 0.5);
    struct ac_fit fit = spread_over(e, fmin(turns, 1), k, ac_by_margin(margin));
    /* No thread gets faster by more than it waited: threads that mostly wait for I/O gain little. */
    double waited = fmin(waiters / fmax(e->p_wanting_life, waiters), 0.99);
    if (fit.fits && fit.gain_s > e->wall_s * waited) {
        fit = fit_of(e, waited, fit.cpus, fit.confidence);
    }
    return fit;
}

static void say_gil_bound(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "Threads took turns: %u threads ran Python", e->p_wanting);
    if (e->p_wanting > 2 * ceil(e->p_wanting_life)) { /* short-lived, as a server's */
        ac_buf_printf(buf, " (%.1f at a time)", e->p_wanting_life);
    }
    ac_buf_printf(buf, ", %.1f of %.4g CPUs %s used", e->used, e->usable, e->used < 1.05 ? "was" : "were");
}

static void why_gil_bound(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    double held = e->p_states[AC_PYTHON];
    ac_put_spot(c, &e->python, buf);
    double own = e->python.func == AC_NO_FUNC ? held : fmin(e->python.seconds / e->wall_s, held);
    ac_buf_printf(buf, " held the GIL for %.0f %% of %.1f s while %.1f threads waited for it",
                  100 * fmin(own, 1), e->wall_s, gil_waiters(e));
    if (e->c_call >= 0.3) {
        ac_buf_printf(buf, "; %.0f %% of it inside C functions that keep the GIL", 100 * e->c_call);
    }
    ac_put_workers(c, buf);
}

static bool is_in_dask(const struct ac_evidence *e) {
    return e->pool.workers > 0 && e->pool.kind == AC_POOL_DASK;
}

static void fix_gil_bound(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    if (e->free_threaded == 1) {
        ac_buf_str(buf, "this is a free-threaded build that runs with the GIL: ");
        ac_fix_gil_reenabled(c, buf);
    } else if (ac_is_served(e)) {
        ac_buf_printf(
            buf,
            "several processes of the server, each with a GIL of its own: gunicorn -w %.0f, or what "
            "your server calls its workers",
            fmax(e->usable, 2));
    } else if (is_in_dask(e)) {
        ac_buf_printf(
            buf,
            "more workers with one thread each: LocalCluster(n_workers=%.0f, threads_per_worker=1), "
            "or dask worker --nworkers %.0f --nthreads 1",
            fmax(e->usable, 2), fmax(e->usable, 2));
    } else {
        ac_buf_str(buf, "processes");
    }
    put_estimate(c, "; about", buf);
}

bool ac_nothing_to_rewrite(const struct ac_evidence *e, const char *id) {
    if (strcmp(id, "gil-bound-threads") == 0) {
        return e->free_threaded == 1 || ac_is_served(e) || is_in_dask(e);
    }
    return strcmp(id, "single-thread-python") == 0 && ac_is_importing(e);
}

static void code_gil_bound(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    const struct ac_evidence *e = c->evidence;
    if (ac_nothing_to_rewrite(e, "gil-bound-threads")) {
        *place = ac_place_of(c->profile, e->free_threaded == 1 ? &e->waiting : &e->python);
        return;
    }
    ac_snippet_pool(c, buf, place);
}

/* --- single-thread-python, single-thread-native */

static bool is_alone(const struct ac_evidence *e) {
    bool behind_lock = e->lock.share >= 0.3 && e->lock.held >= 0.6; /* several, one at a time */
    return !behind_lock && !ac_pool_explains(e) && !ac_loop_explains(e) && e->p_busiest >= 0.45 &&
           e->used - e->p_busiest < 0.35 && e->used < 1.35;
}

static struct ac_fit fit_single_python(const struct ac_evidence *e) {
    double python = e->p_states[AC_PYTHON];
    bool fits =
        is_alone(e) && python >= 0.45 && python > e->p_states[AC_NATIVE] && e->p_states[AC_GIL_WAIT] < 0.4;
    double margin = fmin((python - 0.35) / 0.35, (0.45 - e->p_states[AC_GIL_WAIT]) / 0.3);
    double work = fmax(python - e->importing, 0.01);
    struct ac_fit fit = spread_over(e, fmin(work, 1), ac_at_a_time(e, e->usable), ac_by_margin(margin));
    fit.fits = fits && fit.fits;
    return fit;
}

static void say_single_python(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "One thread does all the work, in Python: %.1f of %.4g CPUs used", e->used, e->usable);
}

static void why_single_python(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    if (e->python.func == AC_NO_FUNC && e->anyone.func != AC_NO_FUNC) {
        ac_buf_printf(buf, "installed code ran for %.0f %% of %.1f s, most of it below ",
                      100 * fmin(e->p_states[AC_PYTHON], 1), e->wall_s);
        struct ac_place place = ac_place_of(c->profile, &e->anyone);
        ac_put_function(buf, place.function);
        ac_buf_printf(buf, " (%s:%d)", ac_two_names(place.file), place.line);
    } else {
        ac_put_spot(c, &e->python, buf);
        ac_buf_printf(buf, " ran for %.0f %% of %.1f s", 100 * fmin(e->python.seconds / e->wall_s, 1),
                      e->wall_s);
    }
    uint32_t caller = e->python.func == AC_NO_FUNC ? 0 : ac_user_caller(c->profile, e->python.node);
    if (caller) {
        struct ac_place place = ac_node_place(c->profile, caller);
        ac_buf_str(buf, ", called from ");
        ac_put_place(&place, buf);
    }
    if (ac_is_importing(e)) {
        ac_buf_printf(buf, "; %.0f %% of its Python imported modules",
                      100 * fmin(e->importing / e->p_states[AC_PYTHON], 1));
    } else if (e->c_call >= 0.3) {
        ac_buf_printf(buf, "; %.0f %% inside C functions that keep the GIL", 100 * e->c_call);
    }
}

static void fix_single_python(const struct ac_case *c, struct ac_buf *buf) {
    if (ac_is_importing(c->evidence)) {
        ac_buf_str(buf, "import less, or later, inside the functions that need it: more CPUs do not help an "
                        "import (python -X importtime tells what each costs)");
        return;
    }
    if (c->evidence->python.func == AC_NO_FUNC) {
        ac_buf_str(buf, "an option of its own for workers, or several of it at once, each on a part");
    } else {
        ac_buf_printf(buf, "if the calls do not depend on each other, %s",
                      ac_has_no_gil(c->evidence) ? "threads (this build has no GIL)" : "processes");
    }
    put_estimate(c, "; up to", buf);
}

static void code_single_python(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    if (ac_nothing_to_rewrite(c->evidence, "single-thread-python")) {
        *place = ac_place_of(c->profile, &c->evidence->python);
        return;
    }
    ac_snippet_loop(c, &c->evidence->python,
                    ac_has_no_gil(c->evidence) ? "ThreadPoolExecutor" : "ProcessPoolExecutor", buf, place);
}

/* What the same function runs in Python goes to the threads with its native calls: one thread's runs beside
 * the others' calls, on as many CPUs as keep the GIL busy. */
static struct ac_fit fit_single_native(const struct ac_evidence *e) {
    double native = e->p_states[AC_NATIVE];
    bool fits = is_alone(e) && native >= 0.45 && native >= e->p_states[AC_PYTHON];
    bool same = e->native.func != AC_NO_FUNC && e->native.func == e->python.func;
    double python = same ? fmin(e->python.seconds / e->wall_s, e->p_states[AC_PYTHON]) : 0;
    double k = ac_at_a_time(e, e->usable);
    k = python > 0 ? fmin(k, (native + python) / python) : k;
    struct ac_fit fit = spread_over(e, fmin(native + python, 1), k, ac_by_margin((native - 0.35) / 0.35));
    fit.fits = fits && fit.fits;
    return fit;
}

static void say_single_native(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "One thread does all the work, in native code: %.1f of %.4g CPUs used", e->used,
                  e->usable);
}

static void why_single_native(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    if (e->native.func == AC_NO_FUNC) {
        ac_buf_printf(buf, "its busiest thread ran native code for %.0f %% of %.1f s",
                      100 * fmin(e->p_states[AC_NATIVE], 1), e->wall_s);
        return;
    }
    ac_put_spot(c, &e->native, buf);
    ac_buf_printf(buf, " called native code that released the GIL for %.0f %% of %.1f s",
                  100 * fmin(e->p_states[AC_NATIVE], 1), e->wall_s);
}

static void fix_single_native(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_str(buf, c->evidence->readable ? "the GIL is free meanwhile: call it from threads"
                                          : "run several of it at once, or use its own option for threads");
    put_estimate(c, "; up to", buf);
}

static void code_single_native(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    ac_snippet_loop(c, &c->evidence->native, "ThreadPoolExecutor", buf, place);
}

/* --- unclear */

static struct ac_fit fit_unclear(const struct ac_evidence *e) {
    (void)e;
    return (struct ac_fit){.fits = true, .confidence = AC_LIKELY};
}

/* Without the right to read it, only the kernel's clocks speak. */
static bool is_closed(const struct ac_evidence *e) {
    return !e->readable && (e->limits & AC_LIMIT_NO_PTRACE);
}

static void say_unclear(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "%s: %.1f of %.4g CPUs were used",
                  is_closed(e) ? "It could not be looked into" : "No one thing dominates", e->used,
                  e->usable);
}

static void why_unclear(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    if (is_closed(e)) {
        ac_buf_printf(
            buf, "of %.1f threads on average %.1f were on a CPU, %.1f were ready for one, %.1f were blocked",
            e->life, e->used, e->states[AC_NO_CPU], fmax(e->life - e->used - e->states[AC_NO_CPU], 0));
        return;
    }
    ac_buf_printf(
        buf,
        "of %.1f threads on average %.1f ran Python, %.1f native code, %.1f waited for the GIL, %.1f for "
        "something else",
        e->life, e->states[AC_PYTHON], e->states[AC_NATIVE], e->states[AC_GIL_WAIT], waiting(e));
    ac_put_workers(c, buf);
}

/* A row whose functions stand in a file of their own. */
#define ROW(id, name, code)                                                                                  \
    { id, ac_fit_##name, ac_say_##name, ac_why_##name, ac_fix_##name, code }

const struct ac_entry ac_entries[] = {
    {"too-short", fit_too_short, say_too_short, why_too_short, fix_too_short, NULL},
    ROW("oversubscribed", oversubscribed, NULL),
    {"native-parallel", fit_native_parallel, say_native_parallel, why_native_parallel, fix_native_parallel,
     NULL},
    {"all-cores-busy", fit_all_cores_busy, say_all_cores_busy, why_all_cores_busy, NULL, NULL},
    ROW("disk-bound", disk_bound, NULL),
    ROW("io-threads-ok", io_threads_ok, NULL),
    {"idle", fit_idle, say_idle, why_idle, NULL, NULL},
    {"machine-busy", fit_machine_busy, say_machine_busy, why_machine_busy, fix_machine_busy, NULL},
    ROW("cpu-quota", cpu_quota, NULL),
    {"pinned", fit_pinned, say_pinned, why_pinned, fix_pinned, code_pinned},
    ROW("tiny-tasks", tiny_tasks, ac_code_tiny_tasks),
    ROW("pickling", pickling, NULL),
    ROW("starved-pool", starved_pool, NULL),
    ROW("uneven-tasks", uneven_tasks, NULL),
    ROW("serial-pool-use", serial_pool_use, ac_code_serial_pool_use),
    ROW("blocked-event-loop", blocked_event_loop, ac_code_blocked_event_loop),
    ROW("serial-awaits", serial_awaits, ac_code_serial_awaits),
    ROW("start-up", start_up, ac_code_start_up),
    {"gil-bound-threads", fit_gil_bound, say_gil_bound, why_gil_bound, fix_gil_bound, code_gil_bound},
    {"single-thread-python", fit_single_python, say_single_python, why_single_python, fix_single_python,
     code_single_python},
    {"single-thread-native", fit_single_native, say_single_native, why_single_native, fix_single_native,
     code_single_native},
    ROW("lock-contention", lock_contention, NULL),
    ROW("io-sequential", io_sequential, ac_code_io_sequential),
    ROW("gil-reenabled", gil_reenabled, NULL),
    ROW("fork-hazard", fork_hazard, NULL),
    {"unclear", fit_unclear, say_unclear, why_unclear, NULL, NULL},
};
const size_t ac_entry_count = AC_COUNT(ac_entries);
