/* timeline.c - the segments of a profile, bounded: at the cap the time line gets coarser, it never ends
 * early.
 *
 * Coarsening folds each segment shorter than a quantum into its thread's one before; the state that lasted
 * longer names the result. The quantum doubles until half the table is free, so appending stays cheap on
 * average. What the CPUs did is bounded likewise: two stretches become their mean. */
#include <string.h>

#include "probe/profile_internal.h"

struct last {
    uint32_t segment;  /* index + 1 of the thread's last kept segment; 0 none */
    int64_t leader_ns; /* how long the state that names it lasted */
};

static bool fold(struct ac_segment *into, struct last *last, const struct ac_segment *from, int64_t quantum) {
    int64_t ns = from->to_ns - from->from_ns;
    if (into->to_ns - into->from_ns >= quantum && ns >= quantum)
        return false;
    if (from->from_ns - into->to_ns > quantum)
        return false;
    if (ns > last->leader_ns) {
        into->node = from->node;
        into->state = from->state;
        into->kind = from->kind;
        into->cpu = from->cpu;
        into->owner = from->owner;
        last->leader_ns = ns;
    }
    into->to_ns = ac_max(into->to_ns, from->to_ns);
    return true;
}

static size_t coarsen(struct ac_segment *segments, size_t count, struct last *lasts, int64_t quantum) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct last *last = &lasts[segments[i].thread];
        if (last->segment > 0 && fold(&segments[last->segment - 1], last, &segments[i], quantum))
            continue;
        segments[kept] = segments[i];
        last->leader_ns = segments[kept].to_ns - segments[kept].from_ns;
        last->segment = (uint32_t)++kept;
    }
    return kept;
}

static int make_room(struct ac_profile *profile, uint32_t threads) {
    struct last *lasts = ac_calloc(threads, sizeof *lasts);
    if (!lasts)
        return -ENOMEM;
    int64_t quantum = AC_NS_PER_MS, end = 0;
    for (size_t i = 0; i < profile->segment_count; i++)
        end = ac_max(end, profile->segments[i].to_ns);
    while (profile->segment_count > AC_CAP_SEGMENTS / 2 && quantum < end * 2) {
        memset(lasts, 0, threads * sizeof *lasts);
        profile->segment_count = coarsen(profile->segments, profile->segment_count, lasts, quantum);
        quantum *= 2;
    }
    ac_free(lasts);
    profile->limits |= AC_LIMIT_TIMELINE_COARSE;
    return 0;
}

static uint32_t thread_bound(const struct ac_profile *profile) {
    uint32_t bound = 1;
    for (size_t i = 0; i < profile->segment_count; i++)
        bound = ac_max(bound, profile->segments[i].thread + 1);
    return bound;
}

int ac_profile_segment(struct ac_profile *profile, const struct ac_segment *segment) {
    ac_assert(segment->thread < AC_CAP_THREADS && segment->to_ns >= segment->from_ns);
    if (profile->segment_count >= AC_CAP_SEGMENTS) {
        int r = make_room(profile, thread_bound(profile));
        if (r < 0)
            return r;
    }
    if (profile->segment_count >= AC_CAP_SEGMENTS)
        return 0; /* segments of one thread that do not touch: nothing to fold */
    int r = ac_grow(&profile->segments, &profile->segment_cap, profile->segment_count + 1,
                    sizeof *profile->segments);
    if (r < 0)
        return r;
    profile->segments[profile->segment_count++] = *segment;
    return 0;
}

/* The mean of two stretches of one CPU. */
static struct ac_busy joined(const struct ac_busy *a, const struct ac_busy *b) {
    double first = (double)(a->to_ns - a->from_ns), second = (double)(b->to_ns - b->from_ns);
    struct ac_busy both = *a;
    both.to_ns = b->to_ns;
    if (first + second > 0)
        both.share = (uint16_t)((first * a->share + second * b->share) / (first + second));
    return both;
}

static void join_groups(struct ac_profile *profile, size_t cpus) {
    size_t kept = 0, groups = profile->busy_count / cpus;
    for (size_t group = 0; group < groups; group += 2) {
        const struct ac_busy *a = &profile->busy[group * cpus];
        for (size_t i = 0; i < cpus; i++)
            profile->busy[kept++] = group + 1 < groups ? joined(&a[i], &a[cpus + i]) : a[i];
    }
    profile->busy_count = kept;
}

int ac_profile_busy(struct ac_profile *profile, const struct ac_busy *busy, size_t cpus) {
    ac_assert(cpus > 0 && cpus <= AC_CAP_BUSY / 2);
    if (profile->busy_count % cpus == 0 && profile->busy_count + cpus > AC_CAP_BUSY)
        join_groups(profile, cpus);
    int r = ac_grow(&profile->busy, &profile->busy_cap, profile->busy_count + 1, sizeof *profile->busy);
    if (r < 0)
        return r;
    profile->busy[profile->busy_count++] = *busy;
    return 0;
}
