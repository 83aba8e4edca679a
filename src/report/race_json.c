/* race_json.c - a race for programs; docs/race.schema.json describes it. What is not known is null. */
#include <math.h>

#include "allcores/race.h"
#include "report/names.h"

static json_t *known(double value) {
    return value >= 0 && isfinite(value) ? json_real(value) : json_null();
}

static json_t *text(const char *value) {
    return value ? ac_json_text(value) : json_null();
}

static json_t *bytes(int64_t value) {
    return value > 0 ? json_integer(value) : json_null();
}

static json_t *runs_of(const struct ac_race_contender *c) {
    json_t *list = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < c->run_count; i++) {
        ok = json_array_append_new(list, json_real(c->runs[i].wall_s)) == 0;
    }
    return ok ? list : (json_decref(list), NULL);
}

static json_t *verdict_of(const struct ac_diagnosis *diagnosis) {
    if (!diagnosis) {
        return json_null();
    }
    json_t *o = json_object();
    bool ok = ac_json_set(o, "id", json_string(diagnosis->main.id)) &&
              ac_json_set(o, "sentence", text(diagnosis->main.sentence));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *contender_of(const struct ac_race_contender *c) {
    const struct ac_race_run none = {-1, -1, -1, -1, -1, -1, 0, 0};
    const struct ac_race_run *run = c->error ? &none : &c->median;
    json_t *o = json_object();
    bool ok =
        ac_json_set(o, "name", json_string(c->name)) && ac_json_set(o, "workers", json_integer(c->workers)) &&
        ac_json_set(o, "wall_s", known(run->wall_s)) && ac_json_set(o, "runs_s", runs_of(c)) &&
        ac_json_set(o, "cpu_s", known(run->cpu_s)) && ac_json_set(o, "cores_used", known(run->cores_used)) &&
        ac_json_set(o, "speedup", c->speedup > 0 ? json_real(c->speedup) : json_null()) &&
        ac_json_set(o, "start_up_s", known(run->start_up_s)) &&
        ac_json_set(o, "pickling_s", known(run->pickling_s)) &&
        ac_json_set(o, "peak_bytes", bytes(run->peak_bytes)) &&
        ac_json_set(o, "agrees", c->error ? json_null() : json_boolean(!c->differs)) &&
        ac_json_set(o, "reason", text(c->reason)) && ac_json_set(o, "verdict", verdict_of(c->diagnosis)) &&
        ac_json_set(o, "error", text(c->error)) && ac_json_set(o, "left_out", json_boolean(c->left_out));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *contenders_of(const struct ac_race *race) {
    json_t *list = json_array();
    for (size_t i = 0; i < race->count; i++) {
        if (json_array_append_new(list, contender_of(&race->contenders[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *machine_of(const struct ac_race *race) {
    json_t *o = json_object();
    bool ok = ac_json_set(o, "kernel", text(race->kernel)) &&
              ac_json_set(o, "machine", text(race->machine)) &&
              ac_json_set(o, "usable_cpus", json_real(race->usable)) &&
              ac_json_set(o, "others_used", known(race->others));
    return ok ? o : (json_decref(o), NULL);
}

int ac_report_race_json(const struct ac_race *race, struct ac_buf *buf) {
    const char *winner = race->winner < 0 ? NULL : race->contenders[race->winner].name;
    json_t *o = json_object();
    bool ok = ac_json_set(o, "schema", json_string("allcores-race-1")) &&
              ac_json_set(o, "machine", machine_of(race)) && ac_json_set(o, "python", text(race->python)) &&
              ac_json_set(o, "work", text(race->work)) &&
              ac_json_set(o, "items", json_integer((json_int_t)race->items)) &&
              ac_json_set(o, "contenders", contenders_of(race)) && ac_json_set(o, "winner", text(winner)) &&
              ac_json_set(o, "reason", text(race->reason)) && ac_json_set(o, "note", text(race->note)) &&
              ac_json_set(o, "advice", text(race->advice));
    return ac_json_write(o, ok, buf);
}
