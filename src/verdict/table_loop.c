/* table_loop.c - verdicts about asyncio, and two findings about the build and about fork. */
#include <math.h>
#include <string.h>

#include "verdict/table.h"

/* --- blocked-event-loop */

struct ac_fit ac_fit_blocked_event_loop(const struct ac_evidence *e) {
    const struct ac_loop *loop = &e->loop;
    double kept = loop->blocked + loop->busy;
    bool fits = loop->found && kept >= 0.3;
    /* waits overlap, computing overlaps on CPUs */
    double saved =
        fmin(loop->blocked * ac_overlap(e, 0) + loop->busy * (1 - 1 / ac_at_a_time(e, e->usable)), 0.9);
    return (struct ac_fit){.fits = fits,
                           .confidence = ac_by_margin((kept - 0.2) / 0.3),
                           .gain_s = fits ? e->wall_s * saved : 0,
                           .speedup = fits ? 1 / (1 - saved) : 0};
}

static bool by_waiting(const struct ac_evidence *e) {
    return e->loop.blocked >= e->loop.busy;
}

void ac_say_blocked_event_loop(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "The event loop is blocked: for %.0f %% of %.1f s no other task could run",
                  100 * fmin(e->loop.blocked + e->loop.busy, 1), e->wall_s);
}

void ac_why_blocked_event_loop(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_loop *loop = &c->evidence->loop;
    const struct ac_spot *spot = by_waiting(c->evidence) ? &loop->call : &loop->work;
    ac_put_spot(c, spot, buf);
    if (by_waiting(c->evidence)) {
        ac_buf_printf(buf, " slept for %.1f s in a call that does not await",
                      loop->blocked * c->evidence->wall_s);
        struct ac_place leaf = ac_node_place(c->profile, loop->call_node);
        if (loop->call_node && !ac_is_user_file(leaf.file)) {
            ac_buf_str(buf, ", ");
            ac_put_place(&leaf, buf);
        }
    } else {
        ac_buf_printf(buf, " computed for %.1f s without an await that waits",
                      loop->busy * c->evidence->wall_s);
    }
    if (loop->root.func != AC_NO_FUNC && loop->root.func != spot->func) {
        ac_buf_str(buf, ", under the coroutine ");
        ac_put_spot(c, &loop->root, buf);
    }
}

void ac_fix_blocked_event_loop(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_str(buf, by_waiting(c->evidence)
                        ? "await asyncio.to_thread(...) around the call, or an asyncio client in its place"
                        : "await loop.run_in_executor(a ProcessPoolExecutor, ...) around what computes");
    ac_buf_printf(buf, "; up to %.1f times faster (an estimate)", c->fit->speedup);
}

/* --- serial-awaits */

/* Do several coroutines share what the loop did? A few looks in which another than the usual one ran, as its
 * caller does now and then, tell nothing. */
static bool has_several_roots(const struct ac_evidence *e) {
    const struct ac_loop *loop = &e->loop;
    double looks = loop->root_share > 0 ? loop->root.seconds / loop->root_share * e->rate_hz : 0;
    return loop->root_share < 0.8 && looks >= 20;
}

static uint32_t loop_answers(const struct ac_evidence *e) {
    return ac_answers_counted(&e->loop.slow, e->loop.idle * e->wall_s);
}

/* A loop that wakes often, or for one slow answer after another, does little and watches one connection
 * besides its own waker: whatever tasks there are, they use it one after another. */
struct ac_fit ac_fit_serial_awaits(const struct ac_evidence *e) {
    const struct ac_loop *loop = &e->loop;
    bool named = loop->root_share >= 0.8; /* what runs for microseconds may not have been seen */
    bool answered = loop->wakes >= 5 || ac_is_slow(&loop->slow, e->wall_s);
    bool fits = loop->found && loop->idle >= 0.5 && answered && loop->watched == 2 && e->used < 0.5 &&
                !has_several_roots(e);
    double saved = fmin(loop->idle, 1) * ac_overlap(e, loop_answers(e));
    enum ac_confidence confidence = named && loop->idle >= 0.6 ? AC_LIKELY : AC_GUESS;
    confidence = ac_by_answers(confidence, &loop->slow, loop->idle * e->wall_s);
    return (struct ac_fit){.fits = fits,
                           .confidence = confidence,
                           .gain_s = fits ? e->wall_s * saved : 0,
                           .speedup = fits ? 1 / (1 - saved) : 0};
}

void ac_say_serial_awaits(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf,
                  "One await after another: the event loop waited for one connection for %.0f %% of %.1f s",
                  100 * fmin(e->loop.idle, 1), e->wall_s);
}

void ac_why_serial_awaits(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_loop *loop = &c->evidence->loop;
    if (loop->root.func != AC_NO_FUNC) {
        ac_put_spot(c, &loop->root, buf);
        ac_buf_printf(buf, " ran below %.0f %% of the callbacks; ", 100 * loop->root_share);
    }
    if (ac_is_mostly_slow(&loop->slow, loop->idle * c->evidence->wall_s)) {
        ac_buf_str(buf, "the loop waited for ");
        ac_put_answers(&loop->slow, buf);
    } else {
        ac_buf_printf(buf, "the loop woke %.0f times a second", loop->wakes);
    }
    ac_buf_printf(buf, " and its epoll watched %u descriptor besides its own", loop->watched - 1);
}

void ac_fix_serial_awaits(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(
        buf,
        "if they do not depend on each other, asyncio.gather() or a TaskGroup, with a Semaphore that "
        "limits them; about %.1f times faster with %.0f at a time (an estimate)",
        c->fit->speedup, ac_together(c->evidence, loop_answers(c->evidence)));
}

bool ac_loop_explains(const struct ac_evidence *e) {
    return ac_fit_blocked_event_loop(e).fits || ac_fit_serial_awaits(e).fits;
}

/* --- gil-reenabled: only ever besides what the GIL does to the program */

struct ac_fit ac_fit_gil_reenabled(const struct ac_evidence *e) {
    return (struct ac_fit){.fits = e->free_threaded == 1 && e->gil_enabled == 1 && e->p_threads >= 2,
                           .confidence = AC_SURE,
                           .finding = true};
}

void ac_say_gil_reenabled(const struct ac_case *c, struct ac_buf *buf) {
    const char *cause = ac_profile_text(c->profile, c->evidence->gil_cause);
    ac_buf_str(buf, "This free-threaded build of Python runs with the GIL");
    if (*cause) {
        ac_buf_printf(buf, ": %s enabled it", cause);
    }
}

void ac_why_gil_reenabled(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(buf, "its GIL was enabled and %u threads shared it", c->evidence->p_threads);
    if (!*ac_profile_text(c->profile, c->evidence->gil_cause)) {
        ac_buf_str(buf,
                   "; PYTHON_GIL=1, -X gil=1 or an extension module without free-threading support did it");
    }
}

void ac_fix_gil_reenabled(const struct ac_case *c, struct ac_buf *buf) {
    const char *cause = ac_profile_text(c->profile, c->evidence->gil_cause);
    if (strncmp(cause, "PYTHON_GIL", 10) == 0 || strncmp(cause, "-X", 2) == 0) {
        ac_buf_printf(buf, "start it without %s", cause);
    } else if (*cause) {
        ac_buf_str(
            buf, "a release of that module that supports free-threading; -X gil=0 keeps the GIL off, at the "
                 "risk of a module that relies on it");
    } else {
        ac_buf_str(
            buf, "unset PYTHON_GIL=1, or find the extension module that enabled it (python -W default tells "
                 "on import); -X gil=0 keeps it off");
    }
}

/* --- fork-hazard */

struct ac_fit ac_fit_fork_hazard(const struct ac_evidence *e) {
    return (struct ac_fit){.fits = e->forks > 0, .confidence = AC_LIKELY, .finding = true};
}

void ac_say_fork_hazard(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    if (e->cuda_forks > 0) {
        ac_buf_str(buf, "A process with CUDA loaded forked: CUDA does not work in such a child");
    } else {
        ac_buf_printf(
            buf, "A process with %u threads forked: a lock that one of them held stays locked in the child",
            e->fork_threads);
    }
}

void ac_why_fork_hazard(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "process %d had %u thread%s when %u of its children began",
                  c->profile->processes[e->fork_parent].pid, e->fork_threads, e->fork_threads == 1 ? "" : "s",
                  e->forks);
    if (e->cuda_forks > 0) {
        ac_buf_printf(buf, "; libcuda.so was mapped in %u of them from their beginning", e->cuda_forks);
    }
}

void ac_fix_fork_hazard(const struct ac_case *c, struct ac_buf *buf) {
    (void)c;
    ac_buf_str(buf, "start processes before threads, or with the forkserver or spawn context");
}
