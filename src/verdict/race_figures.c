/* race_figures.c - what each contender took, why, and who won. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "verdict/evidence.h"
#include "verdict/phases.h"
#include "verdict/race.h"

#define BY_VALUE "<dynamic-code>" /* the file of code that cloudpickle has brought */

static bool on_cpu(uint8_t state) {
    return state == AC_PYTHON || state == AC_NATIVE;
}

enum ac_race_use ac_race_use_of(const struct ac_profile *profile, const struct ac_segment *segment) {
    if (!on_cpu(segment->state)) {
        return AC_RACE_IDLE;
    }
    return profile->nodes[segment->node].activity == AC_WORK ? AC_RACE_COMPUTING : AC_RACE_OVERHEAD;
}

/* --- one run */

static bool runs_code(const struct ac_profile *p, uint32_t node, const struct ac_race_code *code) {
    if (p->nodes[node].activity != AC_WORK) {
        return false; /* it runs for an import, not for the race */
    }
    for (; node; node = p->nodes[node].parent) {
        const struct ac_func *func = &p->funcs[p->frames[p->nodes[node].frame].func];
        const char *file = ac_profile_text(p, func->file);
        if (func->first_line == code->line &&
            (strcmp(file, code->file) == 0 || strcmp(file, BY_VALUE) == 0)) {
            return true;
        }
    }
    return false;
}

static double start_up(const struct ac_profile *slice, const struct ac_race_code *code) {
    for (size_t i = 0; code->file && i < slice->segment_count; i++) {
        if (runs_code(slice, slice->segments[i].node, code)) {
            return (double)slice->segments[i].from_ns / 1e9;
        }
    }
    return -1;
}

static double pickling(const struct ac_profile *slice) {
    int64_t ns = 0;
    for (size_t i = 0; i < slice->cell_count; i++) {
        const struct ac_cell *cell = &slice->cells[i];
        uint8_t activity = slice->nodes[cell->node].activity;
        ns += on_cpu(cell->state) && (activity == AC_PICKLE || activity == AC_IPC) ? cell->ns : 0;
    }
    return (double)ns / 1e9;
}

/* --- threads that computed side by side: only these can have taken turns, not a pool's own or a watcher */

struct tally {
    bool computed;
    int64_t cpu_ns, gil_ns, life_ns;
};

static void tally_threads(const struct ac_profile *slice, const struct ac_race_code *code,
                          struct tally *tallies) {
    bool any = false;
    for (size_t i = 0; i < slice->cell_count; i++) {
        const struct ac_cell *cell = &slice->cells[i];
        struct tally *tally = &tallies[cell->thread];
        tally->life_ns += cell->state == AC_NO_CPU ? 0 : cell->ns; /* that is the machine's doing */
        tally->gil_ns += cell->state == AC_GIL_WAIT ? cell->ns : 0;
        tally->cpu_ns += on_cpu(cell->state) ? cell->ns : 0;
        tally->computed |= code->file && on_cpu(cell->state) && runs_code(slice, cell->node, code);
        any |= tally->computed;
    }
    for (size_t i = 0; !any && i < slice->thread_count; i++) { /* code in C, or calls too short to be seen */
        tallies[i].computed = tallies[i].cpu_ns > slice->wall_ns / 50;
    }
}

/* Of the process whose threads waited longest. */
static int set_turns(const struct ac_profile *slice, const struct ac_race_code *code,
                     struct ac_race_run *run) {
    struct tally *tallies = ac_calloc(slice->thread_count + 1, sizeof(*tallies));
    int64_t most_ns = 0;
    if (!tallies) {
        return -ENOMEM;
    }
    tally_threads(slice, code, tallies);
    for (uint32_t process = 0; process < slice->process_count; process++) {
        struct tally sum = {0};
        uint32_t threads = 0;
        for (size_t i = 0; i < slice->thread_count; i++) {
            if (slice->threads[i].process == process && tallies[i].computed) {
                threads += ac_max(slice->threads[i].merged, 1u);
                sum.gil_ns += tallies[i].gil_ns;
                sum.life_ns += tallies[i].life_ns;
            }
        }
        if (threads > 1 && sum.gil_ns >= most_ns && sum.life_ns > 0) {
            most_ns = sum.gil_ns;
            run->threads = threads;
            run->gil_share = (double)sum.gil_ns / (double)sum.life_ns;
        }
    }
    ac_free(tallies);
    return 0;
}

static int by_start(const void *a, const void *b) {
    const struct ac_segment *x = a;
    const struct ac_segment *y = b;
    return (x->from_ns > y->from_ns) - (x->from_ns < y->from_ns);
}

int ac_race_measure(struct ac_profile *whole, int64_t from_ns, int64_t to_ns, const struct ac_race_code *code,
                    struct ac_race_run *ret_run, struct ac_profile **ret_slice) {
    struct ac_profile *slice = NULL;
    from_ns = ac_min(ac_max(from_ns, 0), whole->wall_ns - 1);
    to_ns = ac_min(ac_max(to_ns, from_ns + 1), whole->wall_ns);
    int err = ac_phases_slice(whole, from_ns, to_ns, &slice);
    if (err) {
        return err;
    }
    qsort(slice->segments, slice->segment_count, sizeof(*slice->segments), by_start);
    err = ac_race_mark_imports(slice);
    if (err) {
        ac_slice_free(slice);
        return err;
    }
    *ret_run = (struct ac_race_run){.wall_s = (double)(to_ns - from_ns) / 1e9,
                                    .cpu_s = (double)slice->cpu_ns / 1e9,
                                    .cores_used = ac_profile_cores_used(slice),
                                    .start_up_s = start_up(slice, code),
                                    .pickling_s = pickling(slice),
                                    .peak_bytes = -1};
    err = set_turns(slice, code, ret_run);
    if (err) {
        ac_slice_free(slice);
        return err;
    }
    *ret_slice = slice;
    return 0;
}

/* --- all runs of one contender */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *values, size_t count) {
    qsort(values, count, sizeof(*values), by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static int set_median(struct ac_race_contender *c) {
    enum { WALL, CPU, CORES, START, PICKLING, PEAK, THREADS, GIL, FIGURES };
    double of[FIGURES];
    double *values = ac_malloc(c->run_count * sizeof(*values));
    if (!values) {
        return -ENOMEM;
    }
    for (int figure = 0; figure < FIGURES; figure++) {
        for (size_t i = 0; i < c->run_count; i++) {
            const struct ac_race_run *run = &c->runs[i];
            const double all[FIGURES] = {run->wall_s,     run->cpu_s,      run->cores_used,
                                         run->start_up_s, run->pickling_s, (double)run->peak_bytes,
                                         run->threads,    run->gil_share};
            values[i] = all[figure];
        }
        of[figure] = median_of(values, c->run_count);
    }
    c->median = (struct ac_race_run){of[WALL],     of[CPU],           of[CORES],   of[START],
                                     of[PICKLING], (int64_t)of[PEAK], of[THREADS], of[GIL]};
    ac_free(values);
    return 0;
}

/* --- why */

static double state_s(const struct ac_race_contender *c, enum ac_state state) {
    int64_t ns[AC_STATE_COUNT];
    ac_profile_states(c->profile, ns);
    return (double)ns[state] / 1e9;
}

static void put_costs(struct ac_buf *buf, const struct ac_race_run *run) {
    if (run->start_up_s >= 0.005) {
        ac_buf_printf(buf, "; %.2f s to start", run->start_up_s);
    }
    if (run->pickling_s >= 0.005) {
        ac_buf_printf(buf, "%s %.2f s pickling", run->start_up_s >= 0.005 ? "," : ";", run->pickling_s);
    }
}

/* One line from the evidence: the GIL first, since it is what keeps threads apart; then waiting, then cores.
 */
static void put_reason(struct ac_buf *buf, const struct ac_race_contender *c) {
    const struct ac_race_run *run = &c->median;
    double asleep = state_s(c, AC_SLEEP) + state_s(c, AC_IO) + state_s(c, AC_DISK);
    double wanted = run->cpu_s + state_s(c, AC_NO_CPU) + state_s(c, AC_GIL_WAIT); /* to compute */
    bool waits = wanted < 0.5 * run->wall_s && asleep > 0.5 * run->wall_s;
    if (c->picked) {
        ac_buf_printf(buf, "%s; ", c->picked);
    }
    if (c->workers == 1 && strcmp(c->name, "sequential") == 0) {
        ac_buf_str(buf, waits ? "waited for one item after another" : "one item after another");
        if (!waits) {
            ac_buf_printf(buf, ", %.1f cores", run->cores_used);
        }
    } else if (run->gil_share > 0.25) {
        ac_buf_printf(buf, "took turns: %.0f threads waited for the GIL %.0f %% of the time", run->threads,
                      100 * ac_min(run->gil_share, 1));
    } else if (waits) {
        ac_buf_printf(buf, "waited for %u items at a time", c->workers);
        put_costs(buf, run);
    } else {
        ac_buf_printf(buf, "%.1f cores", run->cores_used);
        put_costs(buf, run);
    }
}

static int set_reason(struct ac_race_contender *c) {
    struct ac_buf buf = {0};
    put_reason(&buf, c);
    c->reason = buf.err ? NULL : buf.data;
    return buf.err;
}

/* --- who */

static bool finished(const struct ac_race_contender *c) {
    return !c->error && c->run_count > 0;
}

static void set_winner(struct ac_race *race) {
    bool any_agrees = false;
    race->winner = -1;
    for (size_t i = 1; i < race->count; i++) {
        any_agrees |= finished(&race->contenders[i]) && !race->contenders[i].differs;
    }
    for (size_t i = 0; i < race->count; i++) {
        const struct ac_race_contender *c = &race->contenders[i];
        bool counts = finished(c) && (!c->differs || !any_agrees);
        if (counts && (race->winner < 0 || c->median.wall_s < race->contenders[race->winner].median.wall_s)) {
            race->winner = (int)i;
        }
    }
}

static int tell_winner(struct ac_race *race) {
    struct ac_buf buf = {0};
    if (race->winner < 0) {
        ac_buf_str(&buf, "none finished");
    } else {
        const struct ac_race_contender *best = &race->contenders[race->winner];
        ac_buf_printf(&buf, "%s is fastest: %.2f s", best->name, best->median.wall_s);
        if (race->winner > 0 && best->speedup > 0) {
            ac_buf_printf(&buf, ", %.2f times as fast as one after another", best->speedup);
        }
        if (best->reason) {
            ac_buf_printf(&buf, " (%s)", best->reason);
        }
    }
    race->reason = buf.err ? NULL : buf.data;
    return buf.err;
}

/* Of the runs that are told, by their time. */
static void set_others(struct ac_race *race) {
    double cpu_s = 0;
    double wall_s = 0;
    for (size_t i = 0; i < race->count; i++) {
        const struct ac_race_contender *c = &race->contenders[i];
        if (c->diagnosis && c->diagnosis->evidence->others >= 0) {
            cpu_s += c->diagnosis->evidence->others * c->diagnosis->evidence->wall_s;
            wall_s += c->diagnosis->evidence->wall_s;
        }
    }
    race->others = wall_s > 0 ? cpu_s / wall_s : -1;
}

static int set_note(struct ac_race *race) {
    struct ac_buf buf = {0};
    if (race->others > 0.2) {
        ac_buf_printf(&buf,
                      "other programs used %.1f CPUs meanwhile; these are the figures of a busy machine",
                      race->others);
    }
    if (race->printed) {
        ac_buf_printf(&buf, "%sthe function or its module printed: that output was dropped",
                      buf.len ? "; " : "");
    }
    race->note = buf.err ? NULL : buf.data;
    return buf.err;
}

int ac_race_judge(struct ac_race *race) {
    int err = 0;
    for (size_t i = 0; !err && i < race->count; i++) {
        if (finished(&race->contenders[i])) {
            err = set_median(&race->contenders[i]);
        }
    }
    const struct ac_race_contender *base = &race->contenders[0];
    for (size_t i = 0; !err && i < race->count; i++) {
        struct ac_race_contender *c = &race->contenders[i];
        if (finished(c)) {
            c->speedup = finished(base) ? base->median.wall_s / c->median.wall_s : 0;
            err = set_reason(c);
        }
    }
    set_winner(race);
    set_others(race);
    err = err ? err : set_note(race);
    return err ? err : tell_winner(race);
}
