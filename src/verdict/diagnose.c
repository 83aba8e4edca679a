/* diagnose.c - which entry speaks. The main verdict is the one whose fix saves most wall time; where nothing
 * can be gained, the first entry that fits says why. The rest follow in `also`. */
#include <math.h>
#include <string.h>

#include "verdict/phases.h"
#include "verdict/table.h"

const char *const ac_confidence_names[] = {"a guess", "likely", "sure"};

const char *ac_verdict_id(size_t i) {
    return i < ac_entry_count ? ac_entries[i].id : NULL;
}

#define MAX_ENTRIES 64
#define TOO_SHORT   0   /* its place in the table: nothing else can be told then */
#define MIN_SHARE   0.1 /* of the run: a smaller gain is no main verdict and no further finding */

static enum ac_confidence lower(enum ac_confidence confidence) {
    return confidence == AC_SURE ? AC_LIKELY : AC_GUESS;
}

/* What the run could not see makes every verdict less sure. */
static enum ac_confidence limited(const struct ac_evidence *e, enum ac_confidence confidence) {
    if (e->limits &
        (AC_LIMIT_NO_PTRACE | AC_LIMIT_UNKNOWN_PYTHON | AC_LIMIT_NO_SCHEDSTAT | AC_LIMIT_RING_LOST)) {
        confidence = lower(confidence);
    }
    bool crowded = e->others > 0.5 && e->states[AC_NO_CPU] > 0.2;
    if (crowded && (e->limits & AC_LIMIT_NO_RING)) { /* holding and holding-but-preempted look alike then */
        confidence = lower(confidence);
    }
    return e->wall_s * e->rate_hz < 100 ? lower(confidence) : confidence;
}

static void verdict_free(struct ac_verdict *verdict) {
    ac_free(verdict->sentence);
    ac_free(verdict->evidence);
    ac_free(verdict->fix_text);
    ac_free(verdict->fix_code);
    ac_free(verdict->fix_more);
    ac_free(verdict->fix_diff);
    ac_free(verdict->fix_withheld);
}

/* A buffer's text handed over, NULL when empty. */
static char *take(struct ac_buf *buf, int *err) {
    char *text = NULL;
    *err = *err ? *err : buf->err;
    if (!buf->err && buf->len) {
        text = buf->data;
        *buf = (struct ac_buf){0};
    }
    ac_buf_free(buf);
    return text;
}

/* What our own pool adds to the standard library's fix, where it adds something; docs/pool.md has the
 * figures. */
static const char *more_of(const char *id) {
    static const struct {
        const char *id, *text;
    } lines[] = {
        {"gil-bound-threads", "needs no __main__ guard, and takes lambdas"},
        {"single-thread-python", "needs no __main__ guard, and takes lambdas"},
        {"pickling", "moves arrays and buffers through shared memory"},
        {"tiny-tasks", "sends a task in a microsecond, and map picks its own chunksize"},
        {"start-up", "starts its workers four times as fast"},
    };
    for (size_t i = 0; i < AC_COUNT(lines); i++) {
        if (strcmp(lines[i].id, id) == 0) {
            return lines[i].text;
        }
    }
    return NULL;
}

static int build(const struct ac_entry *entry, const struct ac_case *c, struct ac_verdict *ret) {
    struct ac_buf buf = {0};
    int err = 0;
    struct ac_verdict verdict = {.id = entry->id,
                                 .confidence = limited(c->evidence, c->fit->confidence),
                                 .fix_place = {.function = "", .file = ""},
                                 .estimate_speedup = c->fit->speedup,
                                 .estimate_cpus = c->fit->cpus,
                                 .estimate_bytes = -1,
                                 .gain_s = c->fit->gain_s};
    entry->sentence(c, &buf);
    verdict.sentence = take(&buf, &err);
    entry->evidence(c, &buf);
    verdict.evidence = take(&buf, &err);
    if (entry->fix) {
        entry->fix(c, &buf);
        verdict.fix_text = take(&buf, &err);
    }
    if (entry->code) {
        entry->code(c, &buf, &verdict.fix_place);
        verdict.fix_code = take(&buf, &err);
    }
    const char *more = entry->fix ? more_of(entry->id) : NULL;
    bool theirs =
        c->evidence->pool.kind == AC_POOL_NONE && /* nothing of the user's that a pool could run */
        (ac_is_served(c->evidence) || ac_is_importing(c->evidence) || c->evidence->python.func == AC_NO_FUNC);
    if (more && !theirs && c->evidence->pool.kind != AC_POOL_ALLCORES) {
        ac_buf_printf(&buf, "`from allcores import ProcessPoolExecutor` (3.11 and later) %s", more);
        verdict.fix_more = take(&buf, &err);
    }
    *ret = verdict; /* half built or whole, ac_diagnosis_free() takes it */
    return err;
}

static size_t choose(const struct ac_fit *fits, double wall_s) {
    size_t best = ac_entry_count - 1; /* unclear always fits */
    double most = MIN_SHARE * wall_s;
    if (fits[TOO_SHORT].fits) {
        return TOO_SHORT;
    }
    for (size_t i = 0; i < ac_entry_count; i++) {
        if (fits[i].fits && !fits[i].finding && fits[i].gain_s > most) {
            best = i;
            most = fits[i].gain_s;
        }
    }
    for (size_t i = 0; best == ac_entry_count - 1 && i < ac_entry_count; i++) {
        best = fits[i].fits && !fits[i].finding ? i : best;
    }
    return best;
}

static int build_also(const struct ac_fit *fits, size_t main, struct ac_case *c,
                      struct ac_diagnosis *diagnosis) {
    diagnosis->also = ac_calloc(ac_entry_count, sizeof(*diagnosis->also));
    if (!diagnosis->also) {
        return -ENOMEM;
    }
    bool told[MAX_ENTRIES] = {[TOO_SHORT] = true};
    told[main] = true;
    for (;;) {
        size_t next = ac_entry_count;
        for (size_t i = 0; i < ac_entry_count; i++) {
            bool worth = fits[i].fits && !told[i] &&
                         (fits[i].finding || fits[i].gain_s > MIN_SHARE * c->evidence->wall_s);
            next = worth && (next == ac_entry_count || fits[i].gain_s > fits[next].gain_s) ? i : next;
        }
        if (next == ac_entry_count || main == TOO_SHORT) {
            return 0;
        }
        told[next] = true;
        c->fit = &fits[next];
        int err = build(&ac_entries[next], c, &diagnosis->also[diagnosis->also_count++]);
        if (err) {
            return err;
        }
    }
}

/* The speed-up of a whole run by what one phase of it saves. */
static void scale(struct ac_fit *fit, double wall_s) {
    if (wall_s > 0 && fit->speedup > 0) {
        fit->speedup = wall_s / (wall_s - ac_min(fit->gain_s, 0.9 * wall_s));
    }
}

/* One verdict for a profile. `wall_s`: what the estimate is a share of, when the profile is a phase of more.
 */
static int diagnose(const struct ac_profile *profile, ac_source_fn source, void *source_arg, double wall_s,
                    struct ac_diagnosis **ret_diagnosis) {
    struct ac_fit fits[MAX_ENTRIES];
    struct ac_diagnosis *diagnosis = ac_calloc(1, sizeof(*diagnosis));
    if (!diagnosis) {
        return -ENOMEM;
    }
    int err = ac_evidence_new(profile, &diagnosis->evidence);
    if (err) {
        goto out;
    }
    diagnosis->spoken = diagnosis->evidence;
    for (size_t i = 0; i < ac_entry_count; i++) {
        fits[i] = ac_entries[i].fit(diagnosis->evidence);
        scale(&fits[i], wall_s);
    }
    size_t main = choose(fits, diagnosis->evidence->wall_s);
    struct ac_case c = {profile, diagnosis->evidence, &fits[main], source, source_arg};
    err = build(&ac_entries[main], &c, &diagnosis->main);
    err = err ? err : build_also(fits, main, &c, diagnosis);
out:
    if (err) {
        ac_diagnosis_free(diagnosis);
    } else {
        *ret_diagnosis = diagnosis;
    }
    return err;
}

/* --- phases */

struct phase_case {
    struct ac_diagnosis *diagnosis;
    double from_s, to_s;
};

static int put_phase(struct ac_diagnosis *into, const struct phase_case *phase) {
    char *sentence = ac_strdup(phase->diagnosis->main.sentence);
    if (!sentence) {
        return -ENOMEM;
    }
    into->phases[into->phase_count++] = (struct ac_phase){.from_s = phase->from_s,
                                                          .to_s = phase->to_s,
                                                          .cpus_used = phase->diagnosis->evidence->used,
                                                          .id = phase->diagnosis->main.id,
                                                          .sentence = sentence};
    return 0;
}

/* The verdict of one phase speaks for the run, and says of which part it is true. */
static int take_main(struct ac_diagnosis *into, const struct phase_case *phase) {
    struct ac_buf buf = {0};
    int err = 0;
    struct ac_verdict main = phase->diagnosis->main;
    ac_buf_printf(&buf, "%s; from %.1f s to %.1f s of %.1f s", main.evidence, phase->from_s, phase->to_s,
                  into->evidence->wall_s);
    char *evidence = take(&buf, &err);
    if (!err) {
        ac_free(main.evidence);
        main.evidence = evidence;
        phase->diagnosis->main = into->main; /* freed with it */
        into->main = main;
        into->spoken = phase->diagnosis->evidence;
        phase->diagnosis->evidence = phase->diagnosis->spoken = NULL;
    }
    return err;
}

static bool is_told(const struct ac_diagnosis *diagnosis, const char *id) {
    bool told = strcmp(diagnosis->main.id, id) == 0;
    for (size_t i = 0; i < diagnosis->also_count; i++) {
        told = told || strcmp(diagnosis->also[i].id, id) == 0;
    }
    return told;
}

/* Of each phase but the one that speaks its verdict, where it can save a good part of the run; of the whole
 * what is true throughout. */
static void merge_also(struct ac_diagnosis *into, struct phase_case *phases, size_t count, size_t speaks) {
    size_t kept = 0;
    for (size_t i = 0; i < into->also_count; i++) {
        if (into->also[i].gain_s <= 0) {
            into->also[kept++] = into->also[i];
        } else {
            verdict_free(&into->also[i]);
        }
    }
    into->also_count = kept;
    for (size_t i = 0; i < count; i++) {
        struct ac_verdict *verdict = &phases[i].diagnosis->main;
        if (i != speaks && verdict->gain_s > MIN_SHARE * into->evidence->wall_s &&
            !is_told(into, verdict->id) && into->also_count < ac_entry_count) {
            into->also[into->also_count++] = *verdict;
            *verdict = (struct ac_verdict){.id = verdict->id};
        }
    }
}

/* What a run says as a whole about how its end differs from its beginning. */
static bool speaks_for_all(const struct ac_diagnosis *whole) {
    return strcmp(whole->main.id, "uneven-tasks") == 0 || strcmp(whole->main.id, "too-short") == 0;
}

static bool is_clear(const struct ac_diagnosis *diagnosis) {
    return strcmp(diagnosis->main.id, "unclear") != 0 && strcmp(diagnosis->main.id, "too-short") != 0;
}

/* The phase whose verdict speaks for the run: whose fix saves a good part of it, or where the run is unclear
 * as a whole, since it began or ended otherwise, the one that most of it was. count: none. */
static size_t speaker(const struct ac_diagnosis *whole, const struct phase_case *phases, size_t count) {
    double wall_s = whole->evidence->wall_s;
    size_t best = 0;
    if (speaks_for_all(whole)) {
        return count;
    }
    for (size_t i = 1; i < count; i++) {
        best = phases[i].diagnosis->main.gain_s > phases[best].diagnosis->main.gain_s ? i : best;
    }
    if (phases[best].diagnosis->main.gain_s > MIN_SHARE * wall_s) {
        return best;
    }
    for (size_t i = 0; i < count && !is_clear(whole); i++) {
        if (is_clear(phases[i].diagnosis) && phases[i].to_s - phases[i].from_s > 0.5 * wall_s) {
            return i;
        }
    }
    return count;
}

static bool differ(const struct phase_case *phases, size_t count) {
    bool differ = false;
    for (size_t i = 1; i < count; i++) {
        differ = differ || strcmp(phases[i].diagnosis->main.id, phases[0].diagnosis->main.id) != 0;
    }
    return differ;
}

static int tell_phases(struct ac_diagnosis *whole, struct phase_case *phases, size_t count) {
    int err = 0;
    if (!differ(phases, count)) {
        return 0;
    }
    for (size_t i = 0; !err && i < count; i++) {
        err = put_phase(whole, &phases[i]);
    }
    size_t best = speaker(whole, phases, count);
    if (!err && best < count) {
        err = take_main(whole, &phases[best]);
        merge_also(whole, phases, count, best);
    }
    return err;
}

struct run { /* that is told in phases */
    const struct ac_profile *profile;
    ac_source_fn source;
    void *source_arg;
    struct ac_diagnosis *whole;
    struct phase_case phases[AC_MAX_PHASES];
    int64_t ends[AC_MAX_PHASES];
    size_t count;
};

static int diagnose_phase(struct run *run, size_t at) {
    struct phase_case *phase = &run->phases[at];
    struct ac_profile *slice;
    int64_t from = at ? run->ends[at - 1] : 0;
    int err = ac_phases_slice(run->profile, from, run->ends[at], &slice);
    if (err) {
        return err;
    }
    ac_diagnosis_free(phase->diagnosis);
    *phase = (struct phase_case){.from_s = (double)from / 1e9, .to_s = (double)run->ends[at] / 1e9};
    err = diagnose(slice, run->source, run->source_arg, run->whole->evidence->wall_s, &phase->diagnosis);
    ac_slice_free(slice);
    return err;
}

static bool is_of_pool_overhead(const struct ac_diagnosis *d) {
    return strcmp(d->main.id, "tiny-tasks") == 0 || strcmp(d->main.id, "pickling") == 0;
}

/* The same verdict; or small tasks and pickling at one pace: what a second shows of a pool lies on either
 * side of the line between the two, while other objects would change the pace. */
static bool are_one(const struct ac_diagnosis *a, const struct ac_diagnosis *b) {
    double pace = a->evidence->pool.switches / fmax(b->evidence->pool.switches, 1);
    return strcmp(a->main.id, b->main.id) == 0 ||
           (is_of_pool_overhead(a) && is_of_pool_overhead(b) && pace > 0.5 && pace < 2);
}

/* Neighbours of one verdict are one phase. */
static int join_phases(struct run *run) {
    for (size_t i = 0; i + 1 < run->count;) {
        if (!are_one(run->phases[i].diagnosis, run->phases[i + 1].diagnosis)) {
            i++;
            continue;
        }
        ac_diagnosis_free(run->phases[i].diagnosis);
        size_t rest = run->count - i - 1;
        memmove(&run->phases[i], &run->phases[i + 1], rest * sizeof(run->phases[0]));
        memmove(&run->ends[i], &run->ends[i + 1], rest * sizeof(run->ends[0]));
        run->phases[--run->count].diagnosis = NULL;
        int err = diagnose_phase(run, i);
        if (err) {
            return err;
        }
        i -= i > 0; /* it may be like the one before now */
    }
    return 0;
}

static int add_phases(const struct ac_profile *profile, ac_source_fn source, void *source_arg,
                      struct ac_diagnosis *whole) {
    struct run run = {profile, source, source_arg, whole, .count = 0};
    whole->phases = ac_calloc(AC_MAX_PHASES, sizeof(*whole->phases));
    int err = whole->phases ? ac_phases_cut(profile, run.ends, &run.count) : -ENOMEM;
    for (size_t i = 0; !err && i < run.count; i++) {
        err = diagnose_phase(&run, i);
    }
    err = err ? err : join_phases(&run);
    err = err ? err : tell_phases(whole, run.phases, run.count);
    struct phase_case all = {whole, 0, whole->evidence->wall_s};
    err = err || whole->phase_count ? err : put_phase(whole, &all);
    for (size_t i = 0; i < AC_MAX_PHASES; i++) {
        ac_diagnosis_free(run.phases[i].diagnosis);
    }
    return err;
}

int ac_diagnose(const struct ac_profile *profile, ac_source_fn source, void *source_arg,
                struct ac_diagnosis **ret_diagnosis) {
    struct ac_diagnosis *diagnosis;
    int err = diagnose(profile, source, source_arg, 0, &diagnosis);
    if (err) {
        return err;
    }
    err = add_phases(profile, source, source_arg, diagnosis);
    if (err) {
        ac_diagnosis_free(diagnosis);
    } else {
        *ret_diagnosis = diagnosis;
    }
    return err;
}

int ac_diagnosis_limit(struct ac_diagnosis *diagnosis, const struct ac_profile *profile, uint32_t calls,
                       uint32_t at_once) {
    struct ac_evidence *e = diagnosis->spoken;
    size_t at = 0;
    while (strcmp(ac_entries[at].id, diagnosis->main.id) != 0) {
        at++;
    }
    e->calls = calls;
    e->at_once = at_once;
    struct ac_fit fit = ac_entries[at].fit(e);
    if (!ac_entries[at].fix || fit.speedup <= 0) {
        return 0;
    }
    scale(&fit, e == diagnosis->evidence ? 0 : diagnosis->evidence->wall_s);
    struct ac_case c = {profile, e, &fit, NULL, NULL};
    struct ac_buf buf = {0};
    int err = 0;
    ac_entries[at].fix(&c, &buf);
    char *text = take(&buf, &err);
    if (!err) {
        ac_free(diagnosis->main.fix_text);
        diagnosis->main.fix_text = text;
        diagnosis->main.estimate_speedup = fit.speedup;
        diagnosis->main.estimate_cpus = fit.cpus;
        diagnosis->main.gain_s = fit.gain_s;
    }
    return err;
}

int ac_diagnose_range(const struct ac_profile *profile, int64_t from_ns, int64_t to_ns,
                      struct ac_diagnosis **ret_diagnosis) {
    struct ac_profile *slice;
    int err = ac_phases_slice(profile, from_ns, to_ns, &slice);
    if (err) {
        return err;
    }
    err = diagnose(slice, NULL, NULL, 0, ret_diagnosis);
    ac_slice_free(slice);
    return err;
}

void ac_diagnosis_free(struct ac_diagnosis *diagnosis) {
    if (!diagnosis) {
        return;
    }
    verdict_free(&diagnosis->main);
    for (size_t i = 0; i < diagnosis->also_count; i++) {
        verdict_free(&diagnosis->also[i]);
    }
    ac_free(diagnosis->also);
    for (size_t i = 0; i < diagnosis->phase_count; i++) {
        ac_free(diagnosis->phases[i].sentence);
    }
    ac_free(diagnosis->phases);
    if (diagnosis->spoken != diagnosis->evidence) {
        ac_evidence_free(diagnosis->spoken);
    }
    ac_evidence_free(diagnosis->evidence);
    ac_free(diagnosis);
}
