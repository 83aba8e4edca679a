/* gecko.c - the Firefox Profiler's processed format (version 57), which Perfetto reads too. Marker names are
 * those of CPython 3.15's profiling.sampling ("Has GIL", "Waiting for GIL", "Native Code", "On CPU", "Off
 * CPU"), so that its readers' habits carry over; what we know besides (I/O, lock, sleep, no CPU) has markers
 * of its own.
 *
 * Every thread carries tables of its own with only what it uses: nodes and frames are renumbered per thread.
 * A sample is a segment, weighted by how long it lasted. "meta" comes first: Perfetto knows the format by it.
 */
#include <string.h>

#include "report/names.h"
#include "report/stream.h"

enum category { OTHER, PYTHON, NATIVE, GIL, CPU, WAIT, CATEGORY_COUNT };
static const struct {
    const char *name, *color;
} categories[CATEGORY_COUNT] = {{"Other", "grey"}, {"Python", "yellow"}, {"Native", "blue"},
                                {"GIL", "green"},  {"CPU", "purple"},    {"Wait", "lightblue"}};

static const struct {
    const char *marker;
    enum category category;
    bool on_cpu;
} states[AC_STATE_COUNT] = {
    [AC_PYTHON] = {"Has GIL", GIL, true},
    [AC_GIL_WAIT] = {"Waiting for GIL", GIL, false},
    [AC_NATIVE] = {"Native Code", NATIVE, true},
    [AC_NO_CPU] = {"Waiting for CPU", CPU, false},
    [AC_IO] = {"I/O", WAIT, false},
    [AC_DISK] = {"Disk", WAIT, false},
    [AC_LOCK] = {"Lock", WAIT, false},
    [AC_SLEEP] = {"Sleep", WAIT, false},
    [AC_OTHER] = {"Other Wait", WAIT, false},
    [AC_UNKNOWN] = {"Unknown", OTHER, false},
};

/* The columns of the format's tables, in the order in which the rows below give their values. */
static const struct ac_column stack_columns[] = {
    {.name = "frame"}, {.name = "prefix"}, {.name = "category"}, {.name = "subcategory"}};
static const struct ac_column frame_columns[] = {
    {.name = "func"},          {.name = "line"},        {.name = "category"},      {.name = "subcategory"},
    {.name = "address"},       {.name = "inlineDepth"}, {.name = "innerWindowID"}, {.name = "implementation"},
    {.name = "optimizations"}, {.name = "column"},      {.name = "nativeSymbol"}};
static const struct ac_column func_columns[] = {
    {.name = "name"}, {.name = "fileName"},      {.name = "lineNumber"}, {.name = "columnNumber"},
    {.name = "isJS"}, {.name = "relevantForJS"}, {.name = "resource"}};
static const struct ac_column sample_columns[] = {{.name = "stack"},
                                                  {.name = "time", .is_time = true},
                                                  {.name = "weight", .is_time = true},
                                                  {.name = "eventDelay"}};
static const struct ac_column marker_columns[] = {{.name = "name"},
                                                  {.name = "startTime", .is_time = true},
                                                  {.name = "endTime", .is_time = true},
                                                  {.name = "phase"},
                                                  {.name = "category"},
                                                  {.name = "data"}};
static const struct ac_column resource_columns[] = {
    {.name = "lib"}, {.name = "name"}, {.name = "host"}, {.name = "type"}};
static const struct ac_column symbol_columns[] = {
    {.name = "libIndex"}, {.name = "address"}, {.name = "name"}, {.name = "functionSize"}};
#define INTERVAL 1 /* phase of a marker that has both ends */

/* One thread under construction. */
struct writer {
    const struct ac_profile *p;
    struct ac_map stacks, frames, funcs; /* profile's index -> this thread's */
    struct ac_column stack[AC_COUNT(stack_columns)], frame[AC_COUNT(frame_columns)],
        func[AC_COUNT(func_columns)], sample[AC_COUNT(sample_columns)], marker[AC_COUNT(marker_columns)];
    size_t samples, markers;
    int err;
};

/* Strings 0.. are the profile's; behind them come ours. */
static uint32_t own_string(const struct ac_profile *p, uint32_t i) {
    return (uint32_t)p->string_count + i;
}
enum { STRING_ON_CPU = AC_STATE_COUNT, STRING_OFF_CPU };

static void put_strings(const struct ac_profile *p, struct ac_buf *buf) {
    for (uint32_t i = 0; i < p->string_count; i++) {
        ac_put_json_text(buf, ac_profile_text(p, i));
        ac_buf_str(buf, ",");
    }
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        ac_buf_printf(buf, "\"%s\",", states[s].marker);
    }
    ac_buf_str(buf, "\"On CPU\",\"Off CPU\"");
}

/* The thread's number for `key`, new when *ret_new. */
static uint32_t renumber(struct writer *w, struct ac_map *map, uint32_t key, bool *ret_new) {
    uint32_t number = 0;
    *ret_new = !ac_map_get(map, key, &number);
    if (*ret_new) {
        number = (uint32_t)map->len;
        w->err = w->err ? w->err : ac_map_put(map, key, number);
    }
    return number;
}

static uint32_t put_func(struct writer *w, uint32_t func) {
    bool is_new;
    uint32_t number = renumber(w, &w->funcs, func, &is_new);
    if (is_new) {
        const struct ac_func *f = &w->p->funcs[func];
        int64_t line = f->first_line > 0 ? f->first_line : AC_NULL;
        ac_table_row(w->func, AC_COUNT(w->func),
                     (int64_t[]){f->name, f->file, line, AC_NULL, AC_FALSE, AC_FALSE, -1});
    }
    return number;
}

static uint32_t put_frame(struct writer *w, uint32_t frame) {
    bool is_new;
    uint32_t number = renumber(w, &w->frames, frame, &is_new);
    if (is_new) {
        const struct ac_frame *f = &w->p->frames[frame];
        int64_t line = f->line > 0 ? f->line : AC_NULL;
        ac_table_row(
            w->frame, AC_COUNT(w->frame),
            (int64_t[]){put_func(w, f->func), line, PYTHON, 0, -1, 0, 0, AC_NULL, AC_NULL, AC_NULL, AC_NULL});
    }
    return number;
}

/* The thread's number of a stack; AC_NULL for the empty one. Parents first: a prefix is a smaller number. */
static int64_t put_stack(struct writer *w, uint32_t leaf) {
    uint32_t path[AC_MAX_DEPTH + 1];
    size_t depth = 0;
    int64_t prefix = AC_NULL;
    for (uint32_t node = leaf; node && depth < AC_COUNT(path); node = w->p->nodes[node].parent) {
        uint32_t known;
        if (ac_map_get(&w->stacks, node, &known)) {
            prefix = known;
            break;
        }
        path[depth++] = node;
    }
    while (depth) {
        bool is_new;
        uint32_t node = path[--depth];
        uint32_t number = renumber(w, &w->stacks, node, &is_new);
        int64_t frame = put_frame(w, w->p->nodes[node].frame);
        ac_table_row(w->stack, AC_COUNT(w->stack), (int64_t[]){frame, prefix, PYTHON, 0});
        prefix = number;
    }
    return prefix;
}

static void put_marker(struct writer *w, uint32_t name, enum category category,
                       const struct ac_segment *segment) {
    ac_table_row(
        w->marker, AC_COUNT(w->marker),
        (int64_t[]){own_string(w->p, name), segment->from_ns, segment->to_ns, INTERVAL, category, AC_NULL});
    w->markers++;
}

static void put_segment(struct writer *w, const struct ac_segment *segment) {
    int64_t stack = put_stack(w, segment->node);
    ac_table_row(w->sample, AC_COUNT(w->sample),
                 (int64_t[]){stack, segment->from_ns, segment->to_ns - segment->from_ns, AC_NULL});
    w->samples++;
    put_marker(w, segment->state, states[segment->state].category, segment);
    put_marker(w, states[segment->state].on_cpu ? STRING_ON_CPU : STRING_OFF_CPU, CPU, segment);
}

static void put_identity(const struct ac_profile *p, const struct ac_thread *thread, struct ac_buf *buf) {
    ac_buf_str(buf, "{\"name\":");
    ac_put_json_text(buf, ac_profile_text(p, thread->name));
    ac_buf_printf(buf, ",\"isMainThread\":%s,\"pid\":\"%d\",\"tid\":%d", thread->main ? "true" : "false",
                  p->processes[thread->process].pid, thread->tid);
    ac_buf_str(buf, ",\"processType\":\"default\",\"processName\":\"Python Process\","
                    "\"processStartupTime\":0,\"processShutdownTime\":null,\"pausedRanges\":[],"
                    "\"registerTime\":");
    ac_put_ms(buf, thread->from_ns);
    ac_buf_str(buf, ",\"unregisterTime\":");
    ac_put_ms(buf, thread->to_ns);
    ac_buf_str(buf, ",");
}

static void put_empty_table(struct ac_buf *buf, const char *name, const struct ac_column *columns,
                            size_t count) {
    struct ac_column empty[4];
    memcpy(empty, columns, count * sizeof(*columns));
    ac_buf_str(buf, ",");
    ac_put_table(buf, name, empty, count, 0, "");
}

static void put_tables(struct writer *w, struct ac_buf *buf) {
    ac_put_table(buf, "samples", w->sample, AC_COUNT(w->sample), w->samples,
                 "\"weightType\":\"tracing-ms\",");
    ac_buf_str(buf, ",");
    ac_put_table(buf, "stackTable", w->stack, AC_COUNT(w->stack), w->stacks.len, "");
    ac_buf_str(buf, ",");
    ac_put_table(buf, "frameTable", w->frame, AC_COUNT(w->frame), w->frames.len, "");
    ac_buf_str(buf, ",");
    ac_put_table(buf, "funcTable", w->func, AC_COUNT(w->func), w->funcs.len, "");
    ac_buf_str(buf, ",");
    ac_put_table(buf, "markers", w->marker, AC_COUNT(w->marker), w->markers, "");
    put_empty_table(buf, "resourceTable", resource_columns, AC_COUNT(resource_columns));
    put_empty_table(buf, "nativeSymbols", symbol_columns, AC_COUNT(symbol_columns));
}

static void put_thread(const struct ac_profile *p, uint32_t index, const struct ac_lanes *lanes,
                       struct ac_buf *buf) {
    struct writer w = {.p = p};
    memcpy(w.stack, stack_columns, sizeof(w.stack));
    memcpy(w.frame, frame_columns, sizeof(w.frame));
    memcpy(w.func, func_columns, sizeof(w.func));
    memcpy(w.sample, sample_columns, sizeof(w.sample));
    memcpy(w.marker, marker_columns, sizeof(w.marker));
    for (size_t i = lanes->first[index]; i < lanes->first[index + 1]; i++) {
        put_segment(&w, &p->segments[lanes->order[i]]);
    }
    put_identity(p, &p->threads[index], buf);
    put_tables(&w, buf);
    ac_buf_str(buf, "}");
    buf->err = buf->err ? buf->err : w.err;
    ac_map_free(&w.stacks);
    ac_map_free(&w.frames);
    ac_map_free(&w.funcs);
}

static void put_meta(const struct ac_profile *p, struct ac_buf *buf) {
    int64_t interval_ns = p->sampling.rate_hz >= 1e-6 ? (int64_t)(1e9 / p->sampling.rate_hz) : 0;
    ac_buf_str(buf, "{\"meta\":{\"version\":32,\"preprocessedProfileVersion\":57,\"interval\":");
    ac_put_ms(buf, interval_ns);
    ac_buf_str(buf, ",\"startTime\":");
    ac_put_ms(buf, ac_max(p->started_unix_ns, 0));
    ac_buf_str(buf, ",\"product\":\"Python\",\"importedFrom\":\"allcores " AC_VERSION "\",\"processType\":0,"
                    "\"stackwalk\":0,\"toolkit\":\"\",\"symbolicated\":true,\"markerSchema\":[],"
                    "\"extensions\":{\"id\":[],\"name\":[],\"baseURL\":[],\"length\":0},"
                    "\"platform\":\"Linux\",\"appBuildID\":\"\",\"CPUName\":\"\",\"misc\":\"\",\"abi\":");
    ac_put_json_text(buf, ac_profile_text(p, p->machine));
    ac_buf_str(buf, ",\"oscpu\":");
    ac_put_json_text(buf, ac_profile_text(p, p->machine));
    ac_buf_printf(buf, ",\"logicalCPUs\":%d,\"physicalCPUs\":%d,\"categories\":[", p->cpus.online,
                  p->cpus.online);
    for (size_t i = 0; i < CATEGORY_COUNT; i++) {
        ac_buf_printf(buf, "%s{\"name\":\"%s\",\"color\":\"%s\",\"subcategories\":[\"Other\"]}", i ? "," : "",
                      categories[i].name, categories[i].color);
    }
    ac_buf_str(buf, "]}");
}

int ac_report_gecko(const struct ac_profile *p, struct ac_buf *buf) {
    struct ac_lanes lanes;
    int err = ac_lanes_new(p, &lanes);
    if (err) {
        return err;
    }
    put_meta(p, buf);
    ac_buf_str(buf, ",\"libs\":[],\"pages\":[],\"shared\":{\"sources\":{\"length\":0,\"uuid\":[],"
                    "\"filename\":[]},\"stringArray\":[");
    put_strings(p, buf);
    ac_buf_str(buf, "]},\"threads\":[");
    for (uint32_t i = 0; i < p->thread_count && !buf->err; i++) {
        ac_buf_str(buf, i ? ",\n" : "\n");
        put_thread(p, i, &lanes, buf);
    }
    ac_buf_str(buf, "]}\n");
    ac_lanes_free(&lanes);
    return buf->err;
}
