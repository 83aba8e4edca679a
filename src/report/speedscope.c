/* speedscope.c - speedscope's file format: one "sampled" profile a thread, its segments in time order, the
 * state as the leaf frame. https://www.speedscope.app/file-format-schema.json */
#include <inttypes.h>

#include "report/names.h"
#include "report/stream.h"

/* Frames 0..AC_STATE_COUNT-1 are the states; then the profile's own. */
static void put_frames(const struct ac_profile *p, struct ac_buf *buf) {
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        ac_buf_printf(buf, "%s{\"name\":\"[%s]\"}", s ? "," : "", ac_state_names[s]);
    }
    for (size_t i = 0; i < p->frame_count; i++) {
        const struct ac_func *func = &p->funcs[p->frames[i].func];
        ac_buf_str(buf, ",{\"name\":");
        ac_put_json_text(buf, ac_profile_text(p, func->name));
        ac_buf_str(buf, ",\"file\":");
        ac_put_json_text(buf, ac_profile_text(p, func->file));
        if (p->frames[i].line > 0) {
            ac_buf_printf(buf, ",\"line\":%d", p->frames[i].line);
        }
        ac_buf_str(buf, "}");
    }
}

/* The two columns of a profile. */
struct columns {
    struct ac_buf samples, weights;
};

static void put_sample(const struct ac_profile *p, const struct ac_segment *segment, int64_t ns,
                       struct columns *to) {
    uint32_t path[AC_MAX_DEPTH + 1];
    size_t depth = 0;
    for (uint32_t node = segment->node; node && depth < AC_COUNT(path); node = p->nodes[node].parent) {
        path[depth++] = p->nodes[node].frame;
    }
    ac_buf_str(&to->samples, to->samples.len ? ",[" : "[");
    while (depth) {
        ac_buf_printf(&to->samples, "%" PRIu64 ",", (uint64_t)AC_STATE_COUNT + path[--depth]);
    }
    ac_buf_printf(&to->samples, "%u]", segment->state);
    ac_buf_printf(&to->weights, "%s%" PRId64, to->weights.len ? "," : "", ns);
}

static void put_gap(int64_t ns, struct columns *to) {
    ac_buf_str(&to->samples, to->samples.len ? ",[]" : "[]");
    ac_buf_printf(&to->weights, "%s%" PRId64, to->weights.len ? "," : "", ns);
}

static void put_profile(const struct ac_profile *p, uint32_t index, const struct ac_lanes *lanes,
                        struct ac_buf *buf) {
    const struct ac_thread *thread = &p->threads[index];
    struct ac_buf name = {0};
    struct columns columns = {0};
    int64_t at = thread->from_ns;
    for (size_t i = lanes->first[index]; i < lanes->first[index + 1]; i++) {
        const struct ac_segment *segment = &p->segments[lanes->order[i]];
        if (segment->to_ns <= at) { /* of a row of many threads: another one's is shown */
            continue;
        }
        if (segment->from_ns > at) {
            put_gap(segment->from_ns - at, &columns);
            at = segment->from_ns;
        }
        put_sample(p, segment, segment->to_ns - at, &columns);
        at = segment->to_ns;
    }
    ac_buf_printf(&name, "%s (process %d, thread %d)", ac_profile_text(p, thread->name),
                  p->processes[thread->process].pid, thread->tid);
    ac_buf_str(buf, "{\"type\":\"sampled\",\"unit\":\"nanoseconds\",\"name\":");
    ac_put_json_text(buf, ac_buf_text(&name));
    ac_buf_printf(buf, ",\"startValue\":%" PRId64 ",\"endValue\":%" PRId64 ",\"samples\":[", thread->from_ns,
                  ac_max(at, thread->to_ns));
    ac_buf_bytes(buf, columns.samples.data, columns.samples.len);
    ac_buf_str(buf, "],\"weights\":[");
    ac_buf_bytes(buf, columns.weights.data, columns.weights.len);
    ac_buf_str(buf, "]}");
    buf->err = buf->err ? buf->err : columns.samples.err ? columns.samples.err : columns.weights.err;
    buf->err = buf->err ? buf->err : name.err;
    ac_buf_free(&columns.samples);
    ac_buf_free(&columns.weights);
    ac_buf_free(&name);
}

static bool is_empty(const struct ac_lanes *lanes, uint32_t thread) {
    return lanes->first[thread] == lanes->first[thread + 1];
}

/* The place of the thread with the most segments among those that have any: the one to open first. */
static size_t busiest(const struct ac_profile *p, const struct ac_lanes *lanes) {
    size_t place = 0, best = 0, most = 0;
    for (uint32_t i = 0; i < p->thread_count; i++) {
        size_t count = lanes->first[i + 1] - lanes->first[i];
        best = count > most ? place : best;
        most = ac_max(count, most);
        place += !is_empty(lanes, i);
    }
    return best;
}

int ac_report_speedscope(const struct ac_profile *p, struct ac_buf *buf) {
    struct ac_lanes lanes;
    int err = ac_lanes_new(p, &lanes);
    if (err) {
        return err;
    }
    ac_buf_str(buf, "{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\","
                    "\"exporter\":\"allcores " AC_VERSION "\",\"activeProfileIndex\":");
    ac_buf_printf(buf, "%zu,\"name\":", busiest(p, &lanes));
    ac_put_json_text(buf, ac_program_name(p, p->argv, ac_min((size_t)p->argc, AC_COUNT(p->argv))));
    ac_buf_str(buf, ",\"shared\":{\"frames\":[");
    put_frames(p, buf);
    ac_buf_str(buf, "]},\"profiles\":[");
    const char *separator = "\n";
    for (uint32_t i = 0; i < p->thread_count && !buf->err; i++) {
        if (!is_empty(&lanes, i)) {
            ac_buf_str(buf, separator);
            put_profile(p, i, &lanes, buf);
            separator = ",\n";
        }
    }
    ac_buf_str(buf, "]}\n");
    ac_lanes_free(&lanes);
    return buf->err;
}
