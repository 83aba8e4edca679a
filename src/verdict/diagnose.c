/* diagnose.c - which entry speaks. The main verdict is the one whose fix saves most wall time; where nothing
 * can be gained, the first entry that fits says why. The rest follow in `also`. */
#include <string.h>

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

int ac_diagnose(const struct ac_profile *profile, ac_source_fn source, void *source_arg,
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
    for (size_t i = 0; i < ac_entry_count; i++) {
        fits[i] = ac_entries[i].fit(diagnosis->evidence);
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

static void verdict_free(struct ac_verdict *verdict) {
    ac_free(verdict->sentence);
    ac_free(verdict->evidence);
    ac_free(verdict->fix_text);
    ac_free(verdict->fix_code);
    ac_free(verdict->fix_more);
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
    ac_evidence_free(diagnosis->evidence);
    ac_free(diagnosis);
}
