/* race.c - what a race's struct owns. */
#include "allcores/race.h"

#include "base/base.h"
#include "verdict/phases.h"
#include "verdict/race.h"

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

static void free_contender(struct ac_race_contender *contender) {
    ac_race_contender_take(contender, NULL, NULL, NULL);
    ac_free(contender->error);
    ac_free(contender->reason);
    ac_free(contender->runs);
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
    ac_free(race);
}
