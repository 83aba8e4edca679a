/* phases.c - a program that changes its behaviour is told phase by phase.
 *
 * The time line is cut where the average threads in each state change for good; each phase is then a profile
 * of its own, made from its part of the time line, and diagnosed like any other. The time line is sampled
 * and the totals are exact, so each thread's states are scaled to their totals first. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "verdict/phases.h"

#define BINS     120
#define MIN_BIN  (50 * AC_NS_PER_MS)
#define MIN_S    0.45 /* a phase lasts so long at least, and so much of the run */
#define MIN_PART 0.06
#define DISTANCE 0.45 /* average threads by which neighbours differ */
#define FEATURES                                                                                             \
    (AC_STATE_COUNT + 2) /* the states; threads that want a CPU in the first process, in others */

struct stretch { /* bins [from, to) and their mean */
    size_t from, to;
    double mean[FEATURES];
};

struct line {
    const struct ac_profile *profile;
    double (*scale)[AC_STATE_COUNT]; /* per thread: exact time over time on the time line */
    int64_t bin_ns;
    size_t bins;
    struct stretch *stretches;
    size_t count;
};

/* --- scale */

static int measure(struct line *line) {
    const struct ac_profile *p = line->profile;
    line->scale = ac_calloc(p->thread_count, sizeof(*line->scale));
    if (!line->scale) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < p->segment_count; i++) {
        const struct ac_segment *s = &p->segments[i];
        line->scale[s->thread][s->state] += (double)(s->to_ns - s->from_ns);
    }
    for (size_t t = 0; t < p->thread_count; t++) {
        for (int s = 0; s < AC_STATE_COUNT; s++) {
            double seen = line->scale[t][s];
            line->scale[t][s] = seen > 0 ? ac_min((double)p->threads[t].states_ns[s] / seen, 10) : 0;
        }
    }
    return 0;
}

/* Does the time line show most of what happened? Not where threads are too short for rows of their own. */
static bool shows_most(const struct line *line) {
    const struct ac_profile *p = line->profile;
    double all = 0;
    double seen = 0;
    for (size_t t = 0; t < p->thread_count; t++) {
        for (int s = 0; s < AC_STATE_COUNT; s++) {
            all += (double)p->threads[t].states_ns[s];
            seen += line->scale[t][s] > 0 ? (double)p->threads[t].states_ns[s] : 0;
        }
    }
    return all > 0 && seen >= 0.8 * all;
}

static double part(const struct line *line, const struct ac_segment *s, int64_t from, int64_t to) {
    int64_t ns = ac_min(s->to_ns, to) - ac_max(s->from_ns, from);
    return ns > 0 ? (double)ns * line->scale[s->thread][s->state] : 0;
}

/* --- cutting */

static double distance(const struct stretch *a, const struct stretch *b) {
    double sum = 0;
    for (int f = 0; f < FEATURES; f++) {
        double d = a->mean[f] - b->mean[f];
        sum += d * d;
    }
    return sqrt(sum);
}

static int fill_bins(struct line *line) {
    const struct ac_profile *p = line->profile;
    line->bin_ns = ac_max(p->wall_ns / BINS, MIN_BIN);
    line->bins = (size_t)(p->wall_ns / line->bin_ns);
    line->stretches = ac_calloc(line->bins, sizeof(*line->stretches));
    if (!line->stretches) {
        return -ENOMEM;
    }
    line->count = line->bins;
    for (size_t b = 0; b < line->bins; b++) {
        line->stretches[b].from = b;
        line->stretches[b].to = b + 1;
    }
    for (size_t i = 0; i < p->segment_count; i++) {
        const struct ac_segment *s = &p->segments[i];
        const struct ac_thread *thread = &p->threads[s->thread];
        bool wants = s->state == AC_PYTHON || s->state == AC_NATIVE || s->state == AC_NO_CPU;
        int whose = thread->process ? AC_STATE_COUNT + 1 : AC_STATE_COUNT;
        int state = s->state; /* who waits for a CPU would run: what other programs do makes no phase */
        if (state == AC_NO_CPU) {
            state = thread->states_ns[AC_PYTHON] >= thread->states_ns[AC_NATIVE] ? AC_PYTHON : AC_NATIVE;
        }
        for (size_t b = (size_t)(s->from_ns / line->bin_ns);
             b < line->bins && (int64_t)b * line->bin_ns < s->to_ns; b++) {
            int64_t start = (int64_t)b * line->bin_ns;
            double share = part(line, s, start, start + line->bin_ns) / (double)line->bin_ns;
            line->stretches[b].mean[state] += share;
            line->stretches[b].mean[whose] += wants ? share : 0;
        }
    }
    return 0;
}

static double length(const struct stretch *s) {
    return (double)(s->to - s->from);
}

static void merge(struct line *line, size_t at) {
    struct stretch *a = &line->stretches[at];
    const struct stretch *b = a + 1;
    double weight = length(a) / (length(a) + length(b));
    for (int f = 0; f < FEATURES; f++) {
        a->mean[f] = weight * a->mean[f] + (1 - weight) * b->mean[f];
    }
    a->to = b->to;
    memmove(a + 1, a + 2, (line->count - at - 2) * sizeof(*a));
    line->count--;
}

/* Bottom up: the two neighbours whose merging loses least become one, while it loses little or one of them is
 * too short to be a phase. */
static void cut(struct line *line) {
    double shortest = ac_max(MIN_S * 1e9, MIN_PART * (double)line->profile->wall_ns) / (double)line->bin_ns;
    while (line->count > 1) {
        size_t best = line->count;
        double least = 0;
        for (size_t i = 0; i + 1 < line->count; i++) {
            const struct stretch *a = &line->stretches[i];
            const struct stretch *b = a + 1;
            double d = distance(a, b);
            double loss = d * d * length(a) * length(b) / (length(a) + length(b));
            bool small = ac_min(length(a), length(b)) < shortest;
            bool alike =
                d <
                DISTANCE * ac_max(1, 0.2 * (a->mean[AC_PYTHON] + a->mean[AC_NATIVE] + a->mean[AC_GIL_WAIT]));
            if ((small || alike) && (best == line->count || loss < least)) {
                best = i;
                least = loss;
            }
        }
        if (best == line->count) {
            return;
        }
        merge(line, best);
    }
}

/* --- a phase as a profile */

void ac_slice_free(struct ac_profile *slice) {
    if (slice) {
        ac_free(slice->processes);
        ac_free(slice->threads);
        ac_free(slice->cells);
        ac_free(slice->segments);
        ac_free(slice->busy);
        ac_free(slice);
    }
}

static void clip(int64_t *from, int64_t *to, int64_t start, int64_t end) {
    *from = ac_min(ac_max(*from - start, 0), end - start);
    *to = ac_min(ac_max(*to - start, *from), end - start);
}

static int64_t asleep_ns(const struct ac_thread *thread) {
    int64_t ns = thread->states_ns[AC_GIL_WAIT];
    for (int s = AC_IO; s < AC_UNKNOWN; s++) {
        ns += thread->states_ns[s];
    }
    return ns;
}

static void slice_thread(struct ac_thread *thread, const struct ac_thread *whole, int64_t from, int64_t to) {
    thread->alive_ns = 0;
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        thread->alive_ns += thread->states_ns[s];
    }
    double share = whole->alive_ns > 0 ? (double)thread->alive_ns / (double)whole->alive_ns : 0;
    thread->cpu_ns = thread->states_ns[AC_PYTHON] + thread->states_ns[AC_NATIVE];
    thread->run_delay_ns = thread->states_ns[AC_NO_CPU];
    thread->samples = (int64_t)((double)whole->samples * share);
    /* it went to sleep where it slept; what it did before its first epoll is no phase's wait */
    int64_t asleep = asleep_ns(whole);
    double slept = asleep > 0 ? (double)asleep_ns(thread) / (double)asleep : share;
    int64_t sleeps = whole->switches_voluntary;
    sleeps = sleeps < 0 ? sleeps : ac_max(sleeps - whole->switches_before, 0);
    thread->switches_voluntary = (int64_t)((double)sleeps * (sleeps < 0 ? 1 : slept));
    thread->switches_before = 0;
    thread->switches_forced = (int64_t)((double)whole->switches_forced * share);
    clip(&thread->from_ns, &thread->to_ns, from, to);
}

/* Shares strings, functions and stacks with the whole; GIL pairs stay with the whole. */
static struct ac_profile *slice_of(const struct line *line, int64_t from, int64_t to) {
    const struct ac_profile *p = line->profile;
    struct ac_profile *slice = ac_malloc(sizeof(*slice));
    if (!slice) {
        return NULL;
    }
    *slice = *p;
    slice->index = NULL;
    slice->pair_count = 0;
    slice->processes = ac_malloc(p->process_count * sizeof(*p->processes));
    slice->threads = ac_malloc(p->thread_count * sizeof(*p->threads));
    slice->cells = ac_malloc(p->segment_count * sizeof(*p->cells));
    slice->segments = ac_malloc(p->segment_count * sizeof(*p->segments));
    slice->busy = ac_malloc(p->busy_count * sizeof(*p->busy));
    slice->cell_count = slice->segment_count = slice->busy_count = 0;
    if (!slice->processes || !slice->threads || !slice->cells || !slice->segments || !slice->busy) {
        ac_slice_free(slice);
        return NULL;
    }
    memcpy(slice->processes, p->processes, p->process_count * sizeof(*p->processes));
    memcpy(slice->threads, p->threads, p->thread_count * sizeof(*p->threads));
    for (size_t t = 0; t < p->thread_count; t++) {
        memset(slice->threads[t].states_ns, 0, sizeof(slice->threads[t].states_ns));
    }
    for (size_t i = 0; i < p->segment_count; i++) {
        struct ac_segment s = p->segments[i];
        int64_t ns = (int64_t)part(line, &s, from, to);
        if (s.from_ns < to && s.to_ns > from) {
            slice->cells[slice->cell_count++] = (struct ac_cell){s.thread, s.node, s.state, s.kind, {0}, ns};
            slice->threads[s.thread].states_ns[s.state] += ns;
            clip(&s.from_ns, &s.to_ns, from, to);
            slice->segments[slice->segment_count++] = s;
        }
    }
    for (size_t i = 0; i < p->busy_count; i++) {
        struct ac_busy busy = p->busy[i];
        if (busy.from_ns < to && busy.to_ns > from) {
            clip(&busy.from_ns, &busy.to_ns, from, to);
            slice->busy[slice->busy_count++] = busy;
        }
    }
    slice->wall_ns = to - from;
    double share = (double)slice->wall_ns / (double)p->wall_ns;
    int64_t seen = 0;
    int64_t all = 0;
    for (size_t i = 0; i < p->process_count; i++) {
        clip(&slice->processes[i].from_ns, &slice->processes[i].to_ns, from, to);
    }
    for (size_t t = 0; t < p->thread_count; t++) {
        slice_thread(&slice->threads[t], &p->threads[t], from, to);
        seen += slice->threads[t].cpu_ns;
        all += p->threads[t].cpu_ns;
    }
    slice->cpu_ns = seen + (int64_t)(share * (double)ac_max(p->cpu_ns - all, 0));
    slice->sampling.samples = (int64_t)(share * (double)p->sampling.samples);
    if (p->cpus.machine_busy_ns >= 0) {
        slice->cpus.machine_busy_ns =
            slice->cpu_ns + (int64_t)(share * (double)(p->cpus.machine_busy_ns - p->cpu_ns));
    }
    if (p->cpus.throttled_ns >= 0) {
        slice->cpus.throttled_ns = (int64_t)(share * (double)p->cpus.throttled_ns);
        slice->cpus.throttled_count = (int64_t)(share * (double)p->cpus.throttled_count);
    }
    return slice;
}

int ac_phases_slice(const struct ac_profile *profile, int64_t from, int64_t to,
                    struct ac_profile **ret_slice) {
    struct line line = {.profile = profile};
    int err = measure(&line);
    struct ac_profile *slice = err ? NULL : slice_of(&line, from, to);
    ac_free(line.scale);
    if (!slice) {
        return -ENOMEM;
    }
    *ret_slice = slice;
    return 0;
}

int ac_phases_cut(const struct ac_profile *profile, int64_t *ret_ends, size_t *ret_count) {
    struct line line = {.profile = profile};
    int err = 0;
    *ret_count = 0;
    if ((double)profile->wall_ns < 2 * MIN_S * 1e9 || profile->segment_count == 0) {
        return 0;
    }
    err = measure(&line);
    if (err || !shows_most(&line)) {
        goto out;
    }
    err = fill_bins(&line);
    if (err) {
        goto out;
    }
    cut(&line);
    if (line.count > 1 && line.count <= AC_MAX_PHASES) {
        for (size_t i = 0; i < line.count; i++) {
            ret_ends[i] = (int64_t)line.stretches[i].to * line.bin_ns;
        }
        ret_ends[line.count - 1] = profile->wall_ns;
        *ret_count = line.count;
    }
out:
    ac_free(line.scale);
    ac_free(line.stretches);
    return err;
}
