/* race.c - what a race's struct owns. */
#include "allcores/race.h"

#include <string.h>

#include "base/base.h"
#include "verdict/phases.h"
#include "verdict/race.h"

#define AFTER_TIMEOUT_S 60.0

void ac_race_contender_drop(struct ac_profile *slice, struct ac_diagnosis *diagnosis) {
    ac_diagnosis_free(diagnosis);
    ac_slice_free(slice);
}

void ac_race_contender_take(struct ac_race_contender *contender, struct ac_profile *whole,
                            struct ac_profile *slice, struct ac_diagnosis *diagnosis) {
    ac_race_contender_drop(contender->profile, contender->diagnosis);
    ac_profile_free(contender->whole);
    contender->whole = whole;
    contender->profile = slice;
    contender->diagnosis = diagnosis;
}

void ac_race_range(const struct ac_race_contender *contender, double *ret_least_s, double *ret_most_s) {
    *ret_least_s = *ret_most_s = contender->median.wall_s;
    for (size_t i = 0; i < contender->run_count; i++) {
        *ret_least_s = ac_min(*ret_least_s, contender->runs[i].wall_s);
        *ret_most_s = ac_max(*ret_most_s, contender->runs[i].wall_s);
    }
}

double ac_race_limit(const struct ac_race *race, double asked_s) {
    const struct ac_race_contender *first = &race->contenders[0];
    if (asked_s > 0) {
        return asked_s;
    }
    if (first->run_count) {
        return 10 * first->runs[0].wall_s + 20;
    }
    return first->timed_out ? AFTER_TIMEOUT_S : AC_RACE_FIRST_S; /* what hangs once will hang each time */
}

int ac_race_contender_picked(struct ac_race_contender *contender, const struct ac_race_pick *pick) {
    struct ac_buf buf = {0};
    bool inline_ = strcmp(pick->backend, "inline") == 0;
    bool processes = strcmp(pick->backend, "processes") == 0;
    contender->workers = inline_ ? 1 : pick->workers + processes; /* its own process computes, too */
    if (inline_) {
        ac_buf_printf(&buf, "stayed in the calling thread (%s)", pick->reason);
    } else {
        ac_buf_printf(&buf, "picked %u %s", contender->workers, pick->backend);
    }
    if (processes) {
        ac_buf_printf(&buf, " (its own is one), %s%llu item%s a chunk", pick->chunk > 1 ? "up to " : "",
                      (unsigned long long)pick->chunk, pick->chunk == 1 ? "" : "s");
    }
    if (buf.err) {
        int err = buf.err;
        ac_buf_free(&buf);
        return err;
    }
    ac_free(contender->picked);
    contender->picked = buf.data;
    return 0;
}

static void free_contender(struct ac_race_contender *contender) {
    ac_race_contender_take(contender, NULL, NULL, NULL);
    ac_free(contender->error);
    ac_free(contender->reason);
    ac_free(contender->picked);
    ac_free(contender->runs);
}

void ac_race_left_out(const struct ac_race *race, const char *head, const char *between, const char *tail,
                      void (*put)(struct ac_buf *buf, const char *text), struct ac_buf *buf) {
    const char *before = head;
    for (size_t i = 0; i < race->count; i++) {
        if (race->contenders[i].left_out) {
            ac_buf_printf(buf, "%s%s (", before, race->contenders[i].name);
            put(buf, race->contenders[i].error);
            ac_buf_str(buf, ")");
            before = between;
        }
    }
    ac_buf_str(buf, before == head ? "" : tail);
}

void ac_race_free(struct ac_race *race) {
    if (!race) {
        return;
    }
    for (size_t i = 0; i < race->count; i++) {
        free_contender(&race->contenders[i]);
    }
    ac_free(race->contenders);
    ac_free(race->work);
    ac_free(race->python);
    ac_free(race->function);
    ac_free(race->kernel);
    ac_free(race->machine);
    ac_free(race->reason);
    ac_free(race->note);
    ac_free(race->advice);
    ac_free(race);
}
