/* finish.c - the account closed: rows to states, cells and pairs scaled to them, activities, order.
 *
 * Cells hold what samples saw; the states are exact as far as the kernel is. Each (thread, state) group of
 * cells is scaled to its state's total. Where a state has time but was never sampled (a preempted thread
 * without the ring, say), the thread's on-CPU stacks stand in for it. */
#include <stdlib.h>
#include <string.h>

#include "probe/sampler_internal.h"

/* Below so many samples on a CPU a process's own split is mostly noise: such processes are split together. */
enum { POOL_SAMPLES = 40 };

/* --- states */

static int64_t cpu_samples_of(const struct ac_sampler *sampler, uint32_t process) {
    int64_t sum = 0;
    for (size_t i = 0; i < sampler->profile->thread_count; i++)
        if (sampler->profile->threads[i].process == process)
            sum += sampler->rows[i].cpu_samples;
    return sum;
}

/* Splits the rows of the processes marked in `member`; scratch arrays are as long as the table of threads. */
static void split_group(struct ac_sampler *sampler, const uint8_t *member, struct ac_account *accounts,
                        int64_t (*states)[AC_STATE_COUNT], uint32_t *rows) {
    struct ac_profile *profile = sampler->profile;
    size_t count = 0;
    for (size_t i = 0; i < profile->thread_count; i++)
        if (member[profile->threads[i].process]) {
            rows[count] = (uint32_t)i;
            accounts[count++] = sampler->rows[i];
        }
    ac_account_split(accounts, count, states);
    for (size_t i = 0; i < count; i++)
        memcpy(profile->threads[rows[i]].states_ns, states[i], sizeof states[i]);
}

static int split_states(struct ac_sampler *sampler) {
    struct ac_profile *profile = sampler->profile;
    size_t threads = profile->thread_count, processes = profile->process_count;
    struct ac_account *accounts = ac_calloc(threads + 1, sizeof *accounts);
    int64_t(*states)[AC_STATE_COUNT] = ac_calloc(threads + 1, sizeof *states);
    uint32_t *rows = ac_calloc(threads + 1, sizeof *rows);
    uint8_t *own = ac_calloc(processes + 1, 1), *rest = ac_calloc(processes + 1, 1);
    int r = accounts && states && rows && own && rest ? 0 : -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < processes; i++) {
        rest[i] = cpu_samples_of(sampler, i) < POOL_SAMPLES;
        if (rest[i])
            continue;
        own[i] = 1;
        split_group(sampler, own, accounts, states, rows);
        own[i] = 0;
    }
    if (r == 0)
        split_group(sampler, rest, accounts, states, rows);
    ac_free(accounts);
    ac_free(states);
    ac_free(rows);
    ac_free(own);
    ac_free(rest);
    return r;
}

static void fill_rows(struct ac_sampler *sampler) {
    struct ac_profile *profile = sampler->profile;
    int64_t wall = profile->wall_ns;
    for (size_t i = 0; i < profile->thread_count; i++) {
        struct ac_thread *row = &profile->threads[i];
        const struct ac_account *account = &sampler->rows[i];
        row->merged = ac_max(row->merged, 1u);
        row->from_ns = ac_min(ac_max(row->from_ns - sampler->start_ns, INT64_C(0)), wall);
        row->to_ns = ac_min(ac_max(row->to_ns - sampler->start_ns, row->from_ns), wall);
        row->alive_ns = account->alive_ns;
        row->cpu_ns = account->run_ns;
        row->run_delay_ns = account->delay_ns;
        if (profile->limits & AC_LIMIT_NO_SCHEDSTAT && !sampler->ring)
            row->run_delay_ns = -1;
        if (!sampler->ring)
            row->switches_voluntary = row->switches_forced = -1;
        row->samples = account->samples;
    }
    for (size_t i = 0; i < profile->process_count; i++) {
        struct ac_process *process = &profile->processes[i];
        process->from_ns = ac_min(process->from_ns, wall);
        process->to_ns = ac_min(ac_max(process->to_ns, process->from_ns), wall);
    }
}

/* --- cells */

static int compare_cells(const void *left, const void *right) {
    const struct ac_cell *a = left, *b = right;
    if (a->thread != b->thread)
        return a->thread < b->thread ? -1 : 1;
    if (a->state != b->state)
        return a->state < b->state ? -1 : 1;
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    return (a->kind > b->kind) - (a->kind < b->kind);
}

/* Scale `count` cells of one thread and state to `total`. Samples whose stack could not be read (root) are
 * spread over those that could. */
static void scale_group(struct ac_cell *cells, size_t count, int64_t total) {
    double sum = 0.0;
    bool stacks = false;
    for (size_t i = 0; i < count; i++)
        stacks |= cells[i].node != 0 && cells[i].ns > 0;
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        if (cells[i].ns < 0 || (stacks && cells[i].node == 0))
            cells[i].ns = 0;
        sum += (double)cells[i].ns;
        most = cells[i].ns > cells[most].ns ? i : most;
    }
    int64_t left = total;
    for (size_t i = 0; sum > 0.0 && i < count; i++) {
        cells[i].ns = ac_min((int64_t)((double)cells[i].ns * ((double)total / sum)), left);
        left -= cells[i].ns;
    }
    cells[most].ns += left;
}

static size_t group_end(const struct ac_profile *profile, size_t from) {
    size_t to = from + 1;
    while (to < profile->cell_count && profile->cells[to].thread == profile->cells[from].thread &&
           profile->cells[to].state == profile->cells[from].state)
        to++;
    return to;
}

/* Cells for states of `thread` that have time but were never seen: its on-CPU stacks for a state that is on a
 * CPU or wants one, the root for the others. cells[from, to) are the thread's. */
static int borrow_cells(struct ac_profile *profile, uint32_t thread, size_t from, size_t to) {
    bool seen[AC_STATE_COUNT] = {false};
    int lender = -1, r = 0;
    for (size_t i = from; i < to; i++) {
        uint8_t state = profile->cells[i].state;
        seen[state] |= profile->cells[i].ns > 0;
        if (profile->cells[i].ns > 0 && (state == AC_PYTHON || (state == AC_NATIVE && lender < 0)))
            lender = state;
    }
    for (int state = 0; r == 0 && state < AC_STATE_COUNT; state++) {
        if (seen[state] || profile->threads[thread].states_ns[state] == 0)
            continue;
        bool wants_cpu = state == AC_PYTHON || state == AC_NATIVE || state == AC_NO_CPU;
        if (!wants_cpu || lender < 0)
            r = ac_profile_cell(profile, thread, 0, (enum ac_state)state, AC_KIND_NONE, 1);
        for (size_t i = from; wants_cpu && r == 0 && i < to; i++)
            if (profile->cells[i].state == lender && profile->cells[i].ns > 0)
                r = ac_profile_cell(profile, thread, profile->cells[i].node, (enum ac_state)state,
                                    AC_KIND_NONE, profile->cells[i].ns);
    }
    return r;
}

static int borrow_all(struct ac_profile *profile) {
    size_t count = profile->cell_count, at = 0;
    for (uint32_t thread = 0; thread < profile->thread_count; thread++) {
        size_t from = at;
        while (at < count && profile->cells[at].thread == thread)
            at++;
        int r = borrow_cells(profile, thread, from, at);
        if (r < 0)
            return r;
    }
    return 0;
}

static void sort_cells(struct ac_profile *profile) {
    if (profile->cell_count > 1)
        qsort(profile->cells, profile->cell_count, sizeof *profile->cells, compare_cells);
}

static void drop_empty_cells(struct ac_profile *profile) {
    size_t kept = 0;
    for (size_t i = 0; i < profile->cell_count; i++)
        if (profile->cells[i].ns > 0)
            profile->cells[kept++] = profile->cells[i];
    profile->cell_count = kept;
}

static int scale_cells(struct ac_profile *profile) {
    sort_cells(profile);
    ac_map_clear(&profile->index->cells); /* of the order before; below only new cells are asked for */
    int r = borrow_all(profile);
    if (r < 0)
        return r;
    sort_cells(profile);
    for (size_t i = 0; i < profile->cell_count;) {
        size_t end = group_end(profile, i);
        const struct ac_cell *cell = &profile->cells[i];
        scale_group(&profile->cells[i], end - i, profile->threads[cell->thread].states_ns[cell->state]);
        i = end;
    }
    drop_empty_cells(profile);
    ac_map_clear(&profile->index->cells);
    return 0;
}

static void scale_pairs(struct ac_profile *profile) {
    int64_t states[AC_STATE_COUNT];
    double sum = 0.0;
    ac_profile_states(profile, states);
    for (size_t i = 0; i < profile->pair_count; i++)
        sum += (double)profile->pairs[i].ns;
    for (size_t i = 0; sum > 0.0 && i < profile->pair_count; i++)
        profile->pairs[i].ns = (int64_t)((double)profile->pairs[i].ns * ((double)states[AC_GIL_WAIT] / sum));
}

static void sum_activities(struct ac_profile *profile) {
    for (size_t i = 0; i < profile->cell_count; i++) {
        const struct ac_cell *cell = &profile->cells[i];
        if (cell->state != AC_PYTHON && cell->state != AC_NATIVE)
            continue;
        struct ac_process *process = &profile->processes[profile->threads[cell->thread].process];
        process->activity_ns[profile->nodes[cell->node].activity] += cell->ns;
    }
}

/* --- the time line */

static int compare_segments(const void *left, const void *right) {
    const struct ac_segment *a = left, *b = right;
    if (a->from_ns != b->from_ns)
        return a->from_ns < b->from_ns ? -1 : 1;
    return (a->thread > b->thread) - (a->thread < b->thread);
}

static void order_segments(struct ac_profile *profile) {
    size_t kept = 0;
    for (size_t i = 0; i < profile->segment_count; i++) {
        struct ac_segment segment = profile->segments[i];
        segment.to_ns = ac_min(segment.to_ns, profile->wall_ns);
        if (segment.from_ns < segment.to_ns)
            profile->segments[kept++] = segment;
    }
    profile->segment_count = kept;
    if (kept > 1)
        qsort(profile->segments, kept, sizeof *profile->segments, compare_segments);
}

int ac__finish_states(struct ac_sampler *sampler) {
    struct ac_profile *profile = sampler->profile;
    fill_rows(sampler);
    int r = split_states(sampler);
    if (r == 0)
        r = scale_cells(profile);
    if (r < 0)
        return r;
    scale_pairs(profile);
    sum_activities(profile);
    order_segments(profile);
    return 0;
}
