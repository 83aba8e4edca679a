/* valid.c - is a profile whole? True of every profile that the sampler makes, demanded of every one that was
 * read from a file before anything indexes with what it says. */
#include <math.h>
#include <string.h>

#include "probe/profile_internal.h"

/* A run of ten years, and its threads together (292 years are what an int64_t of ns holds): sums of a column
 * then fit, and sums of two of them in places. */
#define NS_MAX    (INT64_C(10) * 366 * 86400 * AC_NS_PER_S)
#define TOTAL_MAX (INT64_MAX / 4)
#define COUNT_MAX (INT64_C(1) << 60)

static bool time_ok(int64_t ns) {
    return ns >= 0 && ns <= NS_MAX;
}

static bool time_or_unknown(int64_t ns) {
    return ns >= -1 && ns <= NS_MAX;
}

static bool count_ok(int64_t count) {
    return count >= 0 && count <= COUNT_MAX;
}

/* Add a time that is known to be sane; false when the sum is not. */
static bool add(int64_t *sum, int64_t ns) {
    *sum += ns;
    return *sum <= TOTAL_MAX;
}

static bool number_ok(double value) {
    return isfinite(value) && value >= 0.0 && value < 1e12;
}

static bool strings_ok(const struct ac_profile *profile) {
    if (profile->string_count < 1 || profile->string_count > AC_CAP_STRINGS || !profile->strings)
        return false;
    for (size_t i = 0; i < profile->string_count; i++)
        if (!profile->strings[i] || strnlen(profile->strings[i], AC_MAX_STRING + 1) > AC_MAX_STRING)
            return false;
    return profile->strings[0][0] == '\0';
}

static bool stacks_ok(const struct ac_profile *profile) {
    if (profile->func_count > AC_CAP_NODES || profile->frame_count > AC_CAP_NODES ||
        profile->node_count < 1 || profile->node_count > AC_CAP_NODES)
        return false;
    for (size_t i = 0; i < profile->func_count; i++)
        if (profile->funcs[i].name >= profile->string_count ||
            profile->funcs[i].file >= profile->string_count ||
            profile->funcs[i].activity >= AC_ACTIVITY_COUNT)
            return false;
    for (size_t i = 0; i < profile->frame_count; i++)
        if (profile->frames[i].func >= profile->func_count)
            return false;
    if (profile->nodes[0].depth != 0 || profile->nodes[0].parent != 0)
        return false;
    for (size_t i = 0; i < profile->node_count; i++) {
        const struct ac_node *node = &profile->nodes[i];
        if (node->activity >= AC_ACTIVITY_COUNT || (i > 0 && node->frame >= profile->frame_count))
            return false;
        if (i > 0 && (node->parent >= i || node->depth != profile->nodes[node->parent].depth + 1 ||
                      node->depth > AC_MAX_DEPTH))
            return false;
    }
    return true;
}

static bool process_ok(const struct ac_profile *profile, const struct ac_process *process) {
    for (size_t i = 0; i < AC_COUNT(process->argv); i++)
        if (process->argv[i] >= profile->string_count)
            return false;
    for (int i = 0; i < AC_ACTIVITY_COUNT; i++)
        if (!time_ok(process->activity_ns[i]))
            return false;
    return process->exe < profile->string_count && process->python < profile->string_count &&
           process->note < profile->string_count && process->gil_cause < profile->string_count &&
           time_ok(process->from_ns) && time_ok(process->to_ns) && process->from_ns <= process->to_ns &&
           time_ok(process->cpu_ns) && process->pid >= 0;
}

static bool thread_ok(const struct ac_profile *profile, const struct ac_thread *thread) {
    int64_t sum = 0;
    for (int i = 0; i < AC_STATE_COUNT; i++) {
        if (!time_ok(thread->states_ns[i]))
            return false;
        sum += thread->states_ns[i];
    }
    return sum == thread->alive_ns && time_ok(thread->alive_ns) && thread->process < profile->process_count &&
           thread->name < profile->string_count && thread->merged >= 1 && time_ok(thread->from_ns) &&
           time_ok(thread->to_ns) && thread->from_ns <= thread->to_ns && time_ok(thread->cpu_ns) &&
           time_or_unknown(thread->run_delay_ns) && thread->samples >= 0 && thread->tid >= 0;
}

static bool rows_ok(const struct ac_profile *profile) {
    if (profile->process_count > AC_CAP_PROCESSES || profile->thread_count > AC_CAP_THREADS)
        return false;
    int64_t cpu = 0, alive = 0, thread_cpu = 0;
    for (size_t i = 0; i < profile->process_count; i++)
        if (!process_ok(profile, &profile->processes[i]) || !add(&cpu, profile->processes[i].cpu_ns))
            return false;
    for (size_t i = 0; i < profile->thread_count; i++)
        if (!thread_ok(profile, &profile->threads[i]) || !add(&alive, profile->threads[i].alive_ns) ||
            !add(&thread_cpu, profile->threads[i].cpu_ns))
            return false;
    return true;
}

static bool cells_ok(const struct ac_profile *profile) {
    if (profile->cell_count > AC_CAP_CELLS || profile->pair_count > AC_CAP_PAIRS)
        return false;
    int64_t total = 0, waited = 0;
    for (size_t i = 0; i < profile->cell_count; i++) {
        const struct ac_cell *cell = &profile->cells[i];
        if (cell->thread >= profile->thread_count || cell->node >= profile->node_count ||
            cell->state >= AC_STATE_COUNT || cell->kind >= AC_KIND_COUNT || !time_ok(cell->ns) ||
            !add(&total, cell->ns))
            return false;
    }
    for (size_t i = 0; i < profile->pair_count; i++) {
        const struct ac_gil_pair *pair = &profile->pairs[i];
        if ((pair->holder != UINT32_MAX && pair->holder >= profile->func_count) ||
            (pair->waiter != UINT32_MAX && pair->waiter >= profile->func_count) || !time_ok(pair->ns) ||
            !add(&waited, pair->ns))
            return false;
    }
    return true;
}

static bool segments_ok(const struct ac_profile *profile) {
    if (profile->segment_count > AC_CAP_SEGMENTS)
        return false;
    int64_t before = 0;
    for (size_t i = 0; i < profile->segment_count; i++) {
        const struct ac_segment *segment = &profile->segments[i];
        if (segment->from_ns < before || segment->to_ns < segment->from_ns || !time_ok(segment->to_ns) ||
            segment->thread >= profile->thread_count || segment->node >= profile->node_count ||
            segment->state >= AC_STATE_COUNT || segment->kind >= AC_KIND_COUNT || segment->cpu < -1 ||
            segment->owner > profile->thread_count)
            return false;
        before = segment->from_ns;
    }
    return true;
}

static bool busy_ok(const struct ac_profile *profile) {
    if (profile->busy_count > AC_CAP_BUSY)
        return false;
    int64_t before = 0;
    for (size_t i = 0; i < profile->busy_count; i++) {
        const struct ac_busy *busy = &profile->busy[i];
        if (busy->from_ns < before || busy->to_ns < busy->from_ns || !time_ok(busy->to_ns) || busy->cpu < 0 ||
            busy->share > AC_BUSY_ALL)
            return false;
        before = busy->from_ns;
    }
    return true;
}

static bool numbers_ok(const struct ac_profile *profile) {
    const struct ac_sampling *sampling = &profile->sampling;
    const struct ac_cpus *cpus = &profile->cpus;
    return time_ok(profile->wall_ns) && time_ok(profile->cpu_ns) && number_ok(sampling->rate_hz) &&
           number_ok(sampling->reached_hz) && count_ok(sampling->ticks) && count_ok(sampling->missed) &&
           count_ok(sampling->samples) && count_ok(sampling->torn) && count_ok(sampling->read_errors) &&
           count_ok(sampling->lost) && time_ok(sampling->sampler_cpu_ns) && cpus->online >= 0 &&
           cpus->affinity >= 0 && number_ok(cpus->quota) && number_ok(cpus->usable) &&
           cpus->machine_busy_ns >= -1 && cpus->throttled_ns >= -1 && cpus->throttled_count >= -1;
}

bool ac_profile_valid(const struct ac_profile *profile) {
    if (!strings_ok(profile) || !numbers_ok(profile) || !stacks_ok(profile) || !rows_ok(profile) ||
        !cells_ok(profile) || !segments_ok(profile) || !busy_ok(profile))
        return false;
    for (size_t i = 0; i < AC_COUNT(profile->argv); i++)
        if (profile->argv[i] >= profile->string_count)
            return false;
    return profile->kernel < profile->string_count && profile->machine < profile->string_count;
}
