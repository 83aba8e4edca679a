/* speedscope.c - speedscope's file format: one "sampled" profile a thread, its segments in time order, the
 * state as the leaf frame. https://www.speedscope.app/file-format-schema.json */
#include <string.h>

#include "report/names.h"

/* Frames 0..AC_STATE_COUNT-1 are the states; then the profile's own. */
static json_t *frames_of(const struct ac_profile *p) {
    json_t *list = json_array();
    bool ok = true;
    for (int s = 0; ok && s < AC_STATE_COUNT; s++) {
        struct ac_buf name = {0};
        ac_buf_printf(&name, "[%s]", ac_state_names[s]);
        json_t *o = json_object();
        ok = ac_json_set(o, "name", ac_json_text(ac_buf_text(&name)));
        ok = json_array_append_new(list, o) == 0 && ok;
        ac_buf_free(&name);
    }
    for (size_t i = 0; ok && i < p->frame_count; i++) {
        const struct ac_func *func = &p->funcs[p->frames[i].func];
        json_t *o = json_object();
        ok = ac_json_set(o, "name", ac_json_str(p, func->name)) &&
             ac_json_set(o, "file", ac_json_str(p, func->file)) &&
             (p->frames[i].line <= 0 || ac_json_set(o, "line", json_integer(p->frames[i].line)));
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    return ok ? list : (json_decref(list), NULL);
}

static json_t *sample_of(const struct ac_profile *p, const struct ac_segment *segment) {
    uint32_t path[AC_MAX_DEPTH + 1];
    size_t depth = 0;
    for (uint32_t node = segment->node; node && depth < AC_COUNT(path); node = p->nodes[node].parent) {
        path[depth++] = p->nodes[node].frame;
    }
    json_t *stack = json_array();
    bool ok = true;
    while (ok && depth) {
        ok = json_array_append_new(stack, json_integer(AC_STATE_COUNT + path[--depth])) == 0;
    }
    ok = ok && json_array_append_new(stack, json_integer(segment->state)) == 0;
    return ok ? stack : (json_decref(stack), NULL);
}

static bool fill(const struct ac_profile *p, uint32_t thread, json_t *samples, json_t *weights) {
    bool ok = true;
    int64_t at = p->threads[thread].from_ns;
    for (size_t i = 0; ok && i < p->segment_count; i++) {
        const struct ac_segment *segment = &p->segments[i];
        if (segment->thread != thread || segment->to_ns <= at) {
            continue;
        }
        if (segment->from_ns > at) { /* a gap: nothing known */
            ok = json_array_append_new(samples, json_array()) == 0 &&
                 json_array_append_new(weights, json_integer(segment->from_ns - at)) == 0;
            at = segment->from_ns;
        }
        ok = ok && json_array_append_new(samples, sample_of(p, segment)) == 0 &&
             json_array_append_new(weights, json_integer(segment->to_ns - at)) == 0;
        at = segment->to_ns;
    }
    return ok;
}

static json_t *profile_of(const struct ac_profile *p, uint32_t index) {
    const struct ac_thread *thread = &p->threads[index];
    struct ac_buf name = {0};
    json_t *o = json_object();
    json_t *samples = json_array();
    json_t *weights = json_array();
    ac_buf_printf(&name, "%s (process %d, thread %d)", ac_profile_text(p, thread->name),
                  p->processes[thread->process].pid, thread->tid);
    bool ok = fill(p, index, samples, weights);
    ok = ac_json_set(o, "samples", samples) && ok;
    ok = ac_json_set(o, "weights", weights) && ok;
    ok = ok && ac_json_set(o, "type", json_string("sampled")) &&
         ac_json_set(o, "name", ac_json_text(ac_buf_text(&name))) &&
         ac_json_set(o, "unit", json_string("nanoseconds")) &&
         ac_json_set(o, "startValue", json_integer(thread->from_ns)) &&
         ac_json_set(o, "endValue", json_integer(thread->to_ns));
    ac_buf_free(&name);
    return ok ? o : (json_decref(o), NULL);
}

int ac_report_speedscope(const struct ac_profile *p, struct ac_buf *buf) {
    json_t *o = json_object();
    json_t *shared = json_object();
    json_t *profiles = json_array();
    bool ok = true;
    for (uint32_t i = 0; ok && i < p->thread_count; i++) {
        ok = json_array_append_new(profiles, profile_of(p, i)) == 0;
    }
    ok = ac_json_set(shared, "frames", frames_of(p)) && ok;
    ok = ac_json_set(o, "$schema", json_string("https://www.speedscope.app/file-format-schema.json")) && ok;
    ok = ac_json_set(o, "shared", shared) && ok;
    ok = ac_json_set(o, "profiles", profiles) && ok;
    ok = ok && ac_json_set(o, "exporter", json_string("allcores " AC_VERSION)) &&
         ac_json_set(o, "activeProfileIndex", json_integer(0)) &&
         ac_json_set(o, "name", ac_json_str(p, p->argv[p->argc > 1]));
    return ac_json_write(o, ok, buf);
}
