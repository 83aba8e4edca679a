/* table_pools.c - verdicts about pools of processes: where they lose what they should have gained. */
#include <math.h>

#include "verdict/table.h"

/* Servers and test runners give their workers work in ways of their own; those of a DataLoader wait, as they
 * should, until the training has taken what they loaded ahead. */
static bool is_task_pool(const struct ac_evidence *e) {
    return e->pool.workers > 0 && e->pool.kind != AC_POOL_NONE && e->pool.kind != AC_POOL_GUNICORN &&
           e->pool.kind != AC_POOL_CELERY && e->pool.kind != AC_POOL_XDIST && e->pool.kind != AC_POOL_TORCH;
}

static double overhead(const struct ac_evidence *e) {
    return e->pool.data + e->pool.dispatch;
}

/* What is left of the run when only the work itself is done, on all CPUs or beside the parent's own code. */
static struct ac_fit saving(const struct ac_evidence *e, bool fits, double left,
                            enum ac_confidence confidence) {
    double saved = fmin(fmax(1 - left, 0), 0.9);
    return (struct ac_fit){.fits = fits && saved > 0,
                           .confidence = confidence,
                           .gain_s = fits ? e->wall_s * saved : 0,
                           .speedup = fits ? 1 / (1 - saved) : 0,
                           .cpus = e->usable};
}

static void put_estimate(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_printf(buf, "; up to %.1f times faster (an estimate for %.4g usable CPUs)", c->fit->speedup,
                  c->evidence->usable);
}

static const char *pool_name(const struct ac_case *c) {
    return ac_pool_names[c->evidence->pool.kind];
}

/* --- tiny-tasks, pickling */

/* Of the CPU time that a pool spends on itself, the share that went into bytes. */
static double data_share(const struct ac_evidence *e) {
    return e->pool.data / fmax(overhead(e), 0.01);
}

/* The same of the parent or of the workers, whichever is more: where objects are large, one side makes bytes
 * and hardly anything else, while on the other the garbage collector may run in any code of the pool. */
static double moving_share(const struct ac_evidence *e) {
    const struct ac_pool *pool = &e->pool;
    double parent = pool->data - pool->worker_data;
    double all = overhead(e) - pool->worker_data - pool->worker_dispatch;
    return fmax(parent / fmax(all, 0.1),
                pool->worker_data / fmax(pool->worker_data + pool->worker_dispatch, 0.1));
}

/* From 0, small tasks, to 1, large objects: by the mean of both shares, either of which alone is at times
 * what it is with the others. Measured on 3.9 to 3.15: up to 79 % where tasks are small, 90 % and more where
 * objects are large. */
static double large_objects(const struct ac_evidence *e) {
    return ((moving_share(e) + data_share(e)) / 2 - 0.79) / 0.1;
}

struct ac_fit ac_fit_tiny_tasks(const struct ac_evidence *e) {
    const struct ac_pool *pool = &e->pool;
    double lost = overhead(e);
    double share = lost / fmax(lost + pool->work + pool->own, 0.01);
    bool small = large_objects(e) <= 0.5 && pool->switches >= 100;
    bool fits = is_task_pool(e) && small && lost >= 0.4 && lost >= 1.5 * pool->work && share >= 0.5;
    double margin = fmin((share - 0.4) / 0.3, 1 - large_objects(e));
    return saving(e, fits, fmax(pool->work / e->usable, pool->own), ac_by_margin(margin));
}

void ac_say_tiny_tasks(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_buf_printf(buf, "The tasks are too small: %s spent %.1f CPUs on handing them out, %.1f on doing them",
                  pool_name(c), overhead(c->evidence), pool->work);
}

void ac_why_tiny_tasks(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_buf_printf(
        buf,
        "%.0f %% of the first went into queues, locks and bookkeeping, not into pickling; %u workers "
        "went to sleep %.0f times a second",
        100 * (1 - data_share(c->evidence)), pool->workers, pool->switches);
    if (pool->task.func != AC_NO_FUNC) {
        ac_buf_str(buf, "; the tasks: ");
        ac_put_spot(c, &pool->task, buf);
    }
}

void ac_fix_tiny_tasks(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_str(buf,
               "give each task many items: chunksize= in map, or lists as arguments, so that a task takes "
               "10 ms or more; or a plain loop");
    put_estimate(c, buf);
}

struct ac_fit ac_fit_pickling(const struct ac_evidence *e) {
    const struct ac_pool *pool = &e->pool;
    double lost = overhead(e) + fmin(pool->moved_wait, 1);
    double share = lost / fmax(lost + pool->work + pool->own, 0.01);
    bool large = large_objects(e) > 0.5 || pool->switches < 100;
    bool fits = is_task_pool(e) && large && pool->data >= 0.3 && share >= 0.4;
    double margin = fmin((share - 0.3) / 0.3, pool->switches < 100 ? 1 : large_objects(e));
    return saving(e, fits, fmax(pool->work / e->usable, pool->own), ac_by_margin(margin));
}

void ac_say_pickling(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_buf_printf(
        buf, "The data costs more than the work: %s spent %.1f CPUs on pickling and moving it, %.1f on tasks",
        pool_name(c), overhead(c->evidence), pool->work);
}

void ac_why_pickling(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_buf_printf(buf, "%.0f %% of the pool's own CPU time went into objects that became bytes and back",
                  100 * data_share(c->evidence));
    if (pool->task.func != AC_NO_FUNC) {
        ac_buf_str(buf, "; the tasks: ");
        ac_put_spot(c, &pool->task, buf);
    }
}

void ac_fix_pickling(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_str(buf, "send less: file names or indices in place of data, what never changes once through "
                    "initializer=, arrays in multiprocessing.shared_memory; return sums, not tables");
    put_estimate(c, buf);
}

/* --- starved-pool */

struct ac_fit ac_fit_starved_pool(const struct ac_evidence *e) {
    const struct ac_pool *pool = &e->pool;
    double hungry = pool->starving / fmax(pool->lasting, 0.01);
    bool there = pool->lasting >= 0.5; /* not just made, at the end of a phase that was another's */
    bool fits = is_task_pool(e) && there && pool->own >= 0.5 && hungry >= 0.4 &&
                pool->own >= 1.5 * overhead(e) && pool->work < 0.75 * pool->lasting;
    double margin = fmin((pool->own - 0.35) / 0.35, (hungry - 0.25) / 0.25);
    return saving(e, fits, (pool->own + pool->work) / e->usable, ac_by_margin(margin));
}

void ac_say_starved_pool(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_buf_printf(buf, "The workers wait for work: %.1f of %.1f at a time, while the parent computes",
                  pool->starving, pool->lasting);
}

void ac_why_starved_pool(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_put_spot(c, &pool->feeder, buf);
    ac_buf_printf(buf, ", in the parent of %s, kept it on a CPU for %.0f %% of %.1f s", pool_name(c),
                  100 * fmin(pool->own, 1), c->evidence->wall_s);
}

void ac_fix_starved_pool(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_str(buf, "move what the parent computes into the tasks");
    put_estimate(c, buf);
}

/* --- uneven-tasks */

struct ac_fit ac_fit_uneven_tasks(const struct ac_evidence *e) {
    const struct ac_pool *pool = &e->pool;
    bool fits = is_task_pool(e) && pool->workers >= 2 && pool->tail >= 0.2 && pool->several >= 0.05 &&
                pool->own < 0.5 && pool->work + pool->task_wait >= 2 * overhead(e);
    double k = fmin(e->usable, pool->workers);
    return saving(e, fits, 1 - pool->tail * (1 - 1 / fmax(k, 1)), ac_by_margin((pool->tail - 0.1) / 0.25));
}

void ac_say_uneven_tasks(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_buf_printf(buf, "Uneven tasks: for %.0f %% of the run one worker of %u was left with a task",
                  100 * pool->tail, pool->workers);
}

void ac_why_uneven_tasks(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_put_spot(c, &pool->task, buf);
    ac_buf_printf(buf, "; %s had several tasks at once for %.0f %% of %.1f s", pool_name(c),
                  100 * pool->several, c->evidence->wall_s);
}

void ac_fix_uneven_tasks(const struct ac_case *c, struct ac_buf *buf) {
    ac_buf_str(
        buf, "the longest tasks first, and smaller ones: a smaller chunksize, or the long task cut in parts");
    put_estimate(c, buf);
}

/* --- serial-pool-use */

struct ac_fit ac_fit_serial_pool_use(const struct ac_evidence *e) {
    const struct ac_pool *pool = &e->pool;
    bool many = pool->longest < 0.5 || pool->switches >= 8;
    bool fits = is_task_pool(e) && (pool->workers >= 2 || pool->kind != AC_POOL_DASK) && /* its threads may */
                pool->one >= 0.4 && pool->several <= 0.1 * pool->one && pool->result >= 0.4 && many &&
                pool->work + pool->task_wait >= 1.5 * overhead(e) && pool->own < 0.4;
    double size = e->at_once ? e->at_once : fmax(pool->workers, 2); /* some start as they are needed */
    double k = ac_at_a_time(e, pool->work >= pool->task_wait ? e->usable : size);
    return saving(e, fits, 1 - pool->one * (1 - 1 / fmax(k, 1)), ac_by_margin((pool->one - 0.25) / 0.35));
}

void ac_say_serial_pool_use(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_buf_printf(buf, "One task at a time: %s ran a single task for %.0f %% of the run, %s", pool_name(c),
                  100 * pool->one, pool->workers == 1 ? "in its one worker" : "and several never");
}

void ac_why_serial_pool_use(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    ac_buf_printf(buf, "the parent waited for one result after another for %.0f %% of %.1f s",
                  100 * pool->result, c->evidence->wall_s);
    if (pool->waits.func != AC_NO_FUNC) {
        ac_buf_str(buf, ", in ");
        ac_put_spot(c, &pool->waits, buf);
    }
}

static const char *size_option(enum ac_pool_kind kind) {
    return kind == AC_POOL_MP ? "processes" : kind == AC_POOL_LOKY ? "n_jobs" : "max_workers";
}

void ac_fix_serial_pool_use(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    if (pool->workers == 1) { /* the only one that was needed, or that it may have */
        ac_buf_printf(buf, "more workers, if it was made with one (%s=%.0f); and ", size_option(pool->kind),
                      fmax(c->evidence->usable, 2));
    }
    ac_buf_str(buf, "submit all first and collect the results afterwards, or map(); apply() and "
                    "submit().result() wait for each");
    put_estimate(c, buf);
}

/* --- start-up */

/* Of the starts, those that workers which are kept would not need. */
static double needless(const struct ac_start_up *s) {
    return s->processes > s->at_once ? 1 - (double)s->at_once / s->processes : 0;
}

struct ac_fit ac_fit_start_up(const struct ac_evidence *e) {
    const struct ac_start_up *s = &e->start_up;
    bool fits = s->processes >= 3 && s->share >= 0.4 && s->cpu >= 0.3;
    double saved = fmin(0.9 * s->share * fmin(e->used, 1) * needless(s), 0.9);
    return (struct ac_fit){.fits = fits,
                           .confidence = ac_by_margin((s->share - 0.3) / 0.25),
                           .gain_s = fits ? e->wall_s * saved : 0,
                           .speedup = fits && saved > 0 ? 1 / (1 - saved) : 0,
                           .cpus = e->usable};
}

void ac_say_start_up(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_start_up *s = &c->evidence->start_up;
    ac_buf_printf(
        buf, "Starting takes most of it: %.0f %% of the CPU time of %u processes went into starting Python",
        100 * s->share, s->processes + 1);
}

void ac_why_start_up(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_evidence *e = c->evidence;
    ac_buf_printf(buf, "%.1f s of %.1f s CPU time were interpreters that started and imported",
                  e->start_up.cpu * e->wall_s, e->cpu_s);
}

void ac_fix_start_up(const struct ac_case *c, struct ac_buf *buf) {
    if (c->fit->gain_s <= 0) {
        ac_buf_str(buf, "each worker started only once: fewer imports in the file that they import, or fewer "
                        "workers, where they have so little to do");
        return;
    }
    ac_buf_printf(buf,
                  "start the workers once and keep them: one pool for the whole run, or the work in this "
                  "process; up to %.1f times faster (an estimate)",
                  c->fit->speedup);
}

bool ac_pool_explains(const struct ac_evidence *e) {
    return ac_fit_tiny_tasks(e).fits || ac_fit_pickling(e).fits || ac_fit_starved_pool(e).fits ||
           ac_fit_uneven_tasks(e).fits || ac_fit_serial_pool_use(e).fits;
}
