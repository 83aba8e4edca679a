/* race.c - what a race's struct owns. */
#include "allcores/race.h"

#include "base/base.h"
#include "verdict/phases.h"
#include "verdict/verdict.h"

static void free_contender(struct ac_race_contender *contender) {
    ac_diagnosis_free(contender->diagnosis);
    ac_slice_free(contender->profile);
    ac_profile_free(contender->whole);
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
