/* account.c - exact totals and samples to thread-seconds by state; the rule is in account.h. */
#include <string.h>

#include "base/base.h"
#include "probe/account.h"

/* With so many samples on a CPU and none of them holding the GIL, a row is not Python's. */
enum { SURE_SAMPLES = 8 };
/* Fewer samples on a CPU than this are no measure of anything. */
enum { SCALE_SAMPLES = 40 };

static const uint8_t blocked_states[] = {AC_GIL_WAIT, AC_IO,    AC_DISK,   AC_LOCK,
                                         AC_SLEEP,    AC_OTHER, AC_UNKNOWN};

void ac_account_add(struct ac_account *into, const struct ac_account *from) {
    into->alive_ns += from->alive_ns;
    into->run_ns += from->run_ns;
    into->delay_ns += from->delay_ns;
    into->blind_ns += from->blind_ns;
    into->samples += from->samples;
    into->cpu_samples += from->cpu_samples;
    for (int i = 0; i < AC_STATE_COUNT; i++)
        into->weight_ns[i] += from->weight_ns[i];
}

static int64_t share(int64_t total, int64_t part, int64_t whole) {
    return (int64_t)((double)total * ((double)part / (double)whole));
}

/* CPU time within the row's life: clocks that were read at different instants may disagree by a little. */
static int64_t run_of(const struct ac_account *row) {
    return ac_min(ac_max(row->run_ns, 0), ac_max(row->alive_ns, 0));
}

/* CPU time that a tick could have seen. */
static int64_t seen_run(const struct ac_account *row) {
    return run_of(row) - ac_min(ac_max(row->blind_ns, 0), run_of(row));
}

/* Of a Python's thread, the CPU time that its samples do not explain: native, but for their noise. What no
 * tick could have seen was not native for all we know. */
static int64_t rest_of(const struct ac_account *row, double scale) {
    return seen_run(row) - (int64_t)((double)row->weight_ns[AC_PYTHON] * scale);
}

static bool is_pooled(const struct ac_account *row) {
    return !row->unreadable && (row->weight_ns[AC_PYTHON] > 0 || row->cpu_samples < SURE_SAMPLES);
}

/* Rows that are split together. */
struct pool {
    double scale;   /* CPU time per time that samples on a CPU stand for */
    int64_t native; /* how much of the pool's CPU time is native */
    int64_t claims; /* what the rows share it by: the sum of their own estimates */
};

static double scale_of(const struct ac_account *rows, size_t count) {
    int64_t run = 0, weight = 0, samples = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_pooled(&rows[i]))
            continue;
        if (!rows[i].on_cpu_exact)
            return 1.0;
        run += seen_run(&rows[i]);
        weight += rows[i].weight_ns[AC_PYTHON] + rows[i].weight_ns[AC_NATIVE];
        samples += rows[i].cpu_samples;
    }
    return samples >= SCALE_SAMPLES && weight > 0 ? (double)run / (double)weight : 1.0;
}

static struct pool measure_pool(const struct ac_account *rows, size_t count) {
    struct pool pool = {.scale = scale_of(rows, count)};
    int64_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_pooled(&rows[i]))
            continue;
        int64_t rest = rest_of(&rows[i], pool.scale);
        seen += rows[i].cpu_samples;
        pool.native += rest;
        pool.claims += ac_max(rest, 0);
    }
    /* Never seen on a CPU: what Python's threads do by default is Python. */
    pool.native = seen > 0 ? ac_max(pool.native, 0) : 0;
    return pool;
}

static void split_cpu(const struct ac_account *row, const struct pool *pool, int64_t *states) {
    int64_t run = run_of(row);
    if (row->unreadable) {
        states[row->cpu_state] += run;
        return;
    }
    int64_t own = run;
    if (is_pooled(row)) {
        own = ac_max(rest_of(row, pool->scale), 0);
        own = pool->claims > 0 ? ac_min(share(pool->native, own, pool->claims), run) : 0;
    }
    states[AC_NATIVE] += own;
    states[AC_PYTHON] += run - own;
}

static void split_blocked(const struct ac_account *row, int64_t blocked, int64_t *states) {
    int64_t weights = 0, left = blocked;
    for (size_t i = 0; i < AC_COUNT(blocked_states); i++)
        weights += row->weight_ns[blocked_states[i]];
    int most = AC_UNKNOWN;
    for (size_t i = 0; weights > 0 && i < AC_COUNT(blocked_states); i++) {
        int state = blocked_states[i];
        int64_t part = ac_min(share(blocked, row->weight_ns[state], weights), left);
        states[state] += part;
        left -= part;
        if (most == AC_UNKNOWN || row->weight_ns[state] > row->weight_ns[most])
            most = state;
    }
    states[most] += left; /* rounding; or all of it, when the row was never seen asleep */
}

void ac_account_split(const struct ac_account *rows, size_t count, int64_t (*ret_states)[AC_STATE_COUNT]) {
    struct pool pool = measure_pool(rows, count);
    for (size_t i = 0; i < count; i++) {
        int64_t *states = ret_states[i];
        memset(states, 0, AC_STATE_COUNT * sizeof *states);
        split_cpu(&rows[i], &pool, states);
        int64_t off = ac_max(rows[i].alive_ns, 0) - run_of(&rows[i]);
        int64_t delay = ac_min(ac_max(rows[i].delay_ns, 0), off);
        states[AC_NO_CPU] += delay;
        split_blocked(&rows[i], off - delay, states);
    }
}
