/* gecko.c - the Firefox Profiler's processed format (version 57), which Perfetto reads too. Marker names are
 * those of CPython 3.15's profiling.sampling ("Has GIL", "Waiting for GIL", "Native Code", "On CPU", "Off
 * CPU"), so that its readers' habits carry over; what we know besides (I/O, lock, sleep, no CPU) has markers
 * of its own.
 *
 * Every thread carries tables of its own with only what it uses: nodes and frames are renumbered per thread.
 */
#include <string.h>

#include "report/names.h"

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

/* One thread under construction. */
struct writer {
    const struct ac_profile *p;
    struct ac_map stacks, frames, funcs; /* profile's index -> this thread's */
    json_t *stack_frame, *stack_prefix, *stack_category;
    json_t *frame_func, *frame_line, *frame_category;
    json_t *func_name, *func_file, *func_line;
    json_t *sample_stack, *sample_time;
    json_t *marker_name, *marker_from, *marker_to, *marker_category, *marker_data, *marker_phase;
    bool ok;
};

/* Strings 0.. are the profile's; behind them come ours. */
static uint32_t own_string(const struct ac_profile *p, uint32_t i) {
    return (uint32_t)p->string_count + i;
}
enum { STRING_ON_CPU = AC_STATE_COUNT, STRING_OFF_CPU, STRING_OWN_COUNT };

static json_t *strings_of(const struct ac_profile *p) {
    json_t *list = json_array();
    bool ok = true;
    for (uint32_t i = 0; ok && i < p->string_count; i++) {
        ok = json_array_append_new(list, ac_json_str(p, i)) == 0;
    }
    for (int s = 0; ok && s < AC_STATE_COUNT; s++) {
        ok = json_array_append_new(list, json_string(states[s].marker)) == 0;
    }
    ok = ok && json_array_append_new(list, json_string("On CPU")) == 0 &&
         json_array_append_new(list, json_string("Off CPU")) == 0;
    return ok ? list : (json_decref(list), NULL);
}

static void push(struct writer *w, json_t *list, json_t *value) {
    w->ok = json_array_append_new(list, value) == 0 && w->ok;
}

/* The thread's number for `key`, new when *ret_new. */
static uint32_t renumber(struct writer *w, struct ac_map *map, uint32_t key, bool *ret_new) {
    uint32_t number = 0;
    *ret_new = !ac_map_get(map, key, &number);
    if (*ret_new) {
        number = (uint32_t)map->len;
        w->ok = ac_map_put(map, key, number) == 0 && w->ok;
    }
    return number;
}

static uint32_t put_func(struct writer *w, uint32_t func) {
    bool is_new;
    uint32_t number = renumber(w, &w->funcs, func, &is_new);
    if (is_new) {
        const struct ac_func *f = &w->p->funcs[func];
        push(w, w->func_name, json_integer(f->name));
        push(w, w->func_file, json_integer(f->file));
        push(w, w->func_line, f->first_line > 0 ? json_integer(f->first_line) : json_null());
    }
    return number;
}

static uint32_t put_frame(struct writer *w, uint32_t frame) {
    bool is_new;
    uint32_t number = renumber(w, &w->frames, frame, &is_new);
    if (is_new) {
        int32_t line = w->p->frames[frame].line;
        push(w, w->frame_func, json_integer(put_func(w, w->p->frames[frame].func)));
        push(w, w->frame_line, line > 0 ? json_integer(line) : json_null());
        push(w, w->frame_category, json_integer(PYTHON));
    }
    return number;
}

/* Parents first: a stack's prefix is a smaller number. */
static void put_stack(struct writer *w, uint32_t leaf) {
    uint32_t path[AC_MAX_DEPTH + 1];
    size_t depth = 0;
    uint32_t known = 0;
    uint32_t prefix = 0;
    for (uint32_t node = leaf; node && depth < AC_COUNT(path); node = w->p->nodes[node].parent) {
        if (ac_map_get(&w->stacks, node, &prefix)) {
            known = node;
            break;
        }
        path[depth++] = node;
    }
    bool has_prefix = known != 0;
    while (depth && w->ok) {
        bool is_new;
        uint32_t node = path[--depth];
        uint32_t number = renumber(w, &w->stacks, node, &is_new);
        push(w, w->stack_frame, json_integer(put_frame(w, w->p->nodes[node].frame)));
        push(w, w->stack_prefix, has_prefix ? json_integer(prefix) : json_null());
        push(w, w->stack_category, json_integer(PYTHON));
        prefix = number;
        has_prefix = true;
    }
}

static void put_marker(struct writer *w, uint32_t name, enum category category,
                       const struct ac_segment *segment, const char *type) {
    double from = (double)segment->from_ns / 1e6;
    double to = (double)segment->to_ns / 1e6;
    json_t *data = json_object();
    w->ok = ac_json_set(data, "type", json_string(type)) &&
            ac_json_set(data, "duration", json_real(to - from)) && w->ok;
    push(w, w->marker_name, json_integer(own_string(w->p, name)));
    push(w, w->marker_from, json_real(from));
    push(w, w->marker_to, json_real(to));
    push(w, w->marker_phase, json_integer(1));
    push(w, w->marker_category, json_integer(category));
    push(w, w->marker_data, data);
}

static void put_segment(struct writer *w, const struct ac_segment *segment) {
    bool on_cpu = states[segment->state].on_cpu;
    uint32_t stack = 0;
    put_stack(w, segment->node);
    bool known = ac_map_get(&w->stacks, segment->node, &stack);
    push(w, w->sample_stack, known ? json_integer(stack) : json_null());
    push(w, w->sample_time, json_real((double)segment->from_ns / 1e6));
    put_marker(w, segment->state, states[segment->state].category, segment, "State");
    put_marker(w, on_cpu ? STRING_ON_CPU : STRING_OFF_CPU, CPU, segment, "CPU");
}

static void lists_new(struct writer *w) {
    json_t **lists[] = {&w->stack_frame, &w->stack_prefix,   &w->stack_category,  &w->frame_func,
                        &w->frame_line,  &w->frame_category, &w->func_name,       &w->func_file,
                        &w->func_line,   &w->sample_stack,   &w->sample_time,     &w->marker_name,
                        &w->marker_from, &w->marker_to,      &w->marker_category, &w->marker_data,
                        &w->marker_phase};
    for (size_t i = 0; i < AC_COUNT(lists); i++) {
        *lists[i] = json_array();
        w->ok = *lists[i] && w->ok;
    }
}

/* A column of n equal values. */
static json_t *filled(size_t n, int value, bool null) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, null ? json_null() : json_integer(value));
    }
    return list;
}

static json_t *empty_table(const char *const *columns, size_t count) {
    json_t *o = json_object();
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        ok = ok && ac_json_set(o, columns[i], json_array());
    }
    ok = ok && ac_json_set(o, "length", json_integer(0));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *stack_table(struct writer *w) {
    size_t n = json_array_size(w->stack_frame);
    json_t *o = json_object();
    w->ok = ac_json_set(o, "frame", w->stack_frame) && ac_json_set(o, "prefix", w->stack_prefix) &&
            ac_json_set(o, "category", w->stack_category) &&
            ac_json_set(o, "subcategory", filled(n, 0, false)) &&
            ac_json_set(o, "length", json_integer((json_int_t)n)) && w->ok;
    return o;
}

static json_t *frame_table(struct writer *w) {
    static const char *const nulls[] = {"implementation", "optimizations", "column", "nativeSymbol"};
    size_t n = json_array_size(w->frame_func);
    json_t *o = json_object();
    w->ok = ac_json_set(o, "func", w->frame_func) && ac_json_set(o, "line", w->frame_line) &&
            ac_json_set(o, "category", w->frame_category) &&
            ac_json_set(o, "subcategory", filled(n, 0, false)) &&
            ac_json_set(o, "address", filled(n, -1, false)) &&
            ac_json_set(o, "inlineDepth", filled(n, 0, false)) &&
            ac_json_set(o, "innerWindowID", filled(n, 0, false)) &&
            ac_json_set(o, "length", json_integer((json_int_t)n)) && w->ok;
    for (size_t i = 0; i < AC_COUNT(nulls); i++) {
        w->ok = ac_json_set(o, nulls[i], filled(n, 0, true)) && w->ok;
    }
    return o;
}

static json_t *func_table(struct writer *w) {
    size_t n = json_array_size(w->func_name);
    json_t *o = json_object();
    json_t *no = json_array();
    for (size_t i = 0; i < n; i++) {
        push(w, no, json_false());
    }
    w->ok = ac_json_set(o, "name", w->func_name) && ac_json_set(o, "fileName", w->func_file) &&
            ac_json_set(o, "lineNumber", w->func_line) && ac_json_set(o, "relevantForJS", json_incref(no)) &&
            ac_json_set(o, "isJS", no) && ac_json_set(o, "resource", filled(n, -1, false)) &&
            ac_json_set(o, "columnNumber", filled(n, 0, true)) &&
            ac_json_set(o, "length", json_integer((json_int_t)n)) && w->ok;
    return o;
}

static json_t *sample_table(struct writer *w) {
    size_t n = json_array_size(w->sample_stack);
    json_t *o = json_object();
    w->ok = ac_json_set(o, "stack", w->sample_stack) && ac_json_set(o, "time", w->sample_time) &&
            ac_json_set(o, "eventDelay", filled(n, 0, true)) && ac_json_set(o, "weight", json_null()) &&
            ac_json_set(o, "weightType", json_string("samples")) &&
            ac_json_set(o, "length", json_integer((json_int_t)n)) && w->ok;
    return o;
}

static json_t *marker_table(struct writer *w) {
    size_t n = json_array_size(w->marker_name);
    json_t *o = json_object();
    w->ok = ac_json_set(o, "name", w->marker_name) && ac_json_set(o, "startTime", w->marker_from) &&
            ac_json_set(o, "endTime", w->marker_to) && ac_json_set(o, "phase", w->marker_phase) &&
            ac_json_set(o, "category", w->marker_category) && ac_json_set(o, "data", w->marker_data) &&
            ac_json_set(o, "length", json_integer((json_int_t)n)) && w->ok;
    return o;
}

static bool put_identity(const struct ac_profile *p, const struct ac_thread *thread, json_t *o) {
    struct ac_buf pid = {0};
    ac_buf_printf(&pid, "%d", p->processes[thread->process].pid);
    bool ok = ac_json_set(o, "name", ac_json_str(p, thread->name)) &&
              ac_json_set(o, "isMainThread", json_boolean(thread->main)) &&
              ac_json_set(o, "pid", json_string(ac_buf_text(&pid))) &&
              ac_json_set(o, "tid", json_integer(thread->tid)) &&
              ac_json_set(o, "processType", json_string("default")) &&
              ac_json_set(o, "processName", json_string("Python Process")) &&
              ac_json_set(o, "processStartupTime", json_integer(0)) &&
              ac_json_set(o, "processShutdownTime", json_null()) &&
              ac_json_set(o, "registerTime", json_real((double)thread->from_ns / 1e6)) &&
              ac_json_set(o, "unregisterTime", json_real((double)thread->to_ns / 1e6)) &&
              ac_json_set(o, "pausedRanges", json_array());
    ac_buf_free(&pid);
    return ok;
}

static json_t *thread_of(const struct ac_profile *p, uint32_t index) {
    static const char *const resources[] = {"lib", "name", "host", "type"};
    static const char *const symbols[] = {"libIndex", "address", "name", "functionSize"};
    struct writer w = {.p = p, .ok = true};
    json_t *o = json_object();
    lists_new(&w);
    for (size_t i = 0; w.ok && i < p->segment_count; i++) {
        if (p->segments[i].thread == index) {
            put_segment(&w, &p->segments[i]);
        }
    }
    bool ok = put_identity(p, &p->threads[index], o);
    ok = ac_json_set(o, "samples", sample_table(&w)) && ok;
    ok = ac_json_set(o, "stackTable", stack_table(&w)) && ok;
    ok = ac_json_set(o, "frameTable", frame_table(&w)) && ok;
    ok = ac_json_set(o, "funcTable", func_table(&w)) && ok;
    ok = ac_json_set(o, "markers", marker_table(&w)) && ok;
    ok = ok && ac_json_set(o, "resourceTable", empty_table(resources, AC_COUNT(resources))) &&
         ac_json_set(o, "nativeSymbols", empty_table(symbols, AC_COUNT(symbols)));
    ac_map_free(&w.stacks);
    ac_map_free(&w.frames);
    ac_map_free(&w.funcs);
    return ok && w.ok ? o : (json_decref(o), NULL);
}

static json_t *categories_of(void) {
    json_t *list = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < CATEGORY_COUNT; i++) {
        json_t *o = json_pack("{s:s, s:s, s:[s]}", "name", categories[i].name, "color", categories[i].color,
                              "subcategories", "Other");
        ok = json_array_append_new(list, o) == 0;
    }
    return ok ? list : (json_decref(list), NULL);
}

static json_t *meta_of(const struct ac_profile *p) {
    json_t *o =
        json_pack("{s:f, s:f, s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:b, s:[], s:{s:[], s:[], s:[], s:i}}",
                  "interval", 1e3 / p->sampling.rate_hz, "startTime", (double)p->started_unix_ns / 1e6,
                  "product", "Python", "importedFrom", "allcores " AC_VERSION, "version", 32,
                  "preprocessedProfileVersion", 57, "processType", 0, "stackwalk", 0, "toolkit", "",
                  "symbolicated", 1, "markerSchema", "extensions", "id", "name", "baseURL", "length", 0);
    bool ok = o && ac_json_set(o, "categories", categories_of()) &&
              ac_json_set(o, "logicalCPUs", json_integer(p->cpus.online)) &&
              ac_json_set(o, "physicalCPUs", json_integer(p->cpus.online)) &&
              ac_json_set(o, "abi", ac_json_str(p, p->machine)) &&
              ac_json_set(o, "oscpu", ac_json_str(p, p->machine)) &&
              ac_json_set(o, "platform", json_string("Linux")) &&
              ac_json_set(o, "appBuildID", json_string("")) && ac_json_set(o, "CPUName", json_string("")) &&
              ac_json_set(o, "misc", json_string(""));
    return ok ? o : (json_decref(o), NULL);
}

int ac_report_gecko(const struct ac_profile *p, struct ac_buf *buf) {
    json_t *o = json_object();
    json_t *threads = json_array();
    bool ok = true;
    for (uint32_t i = 0; ok && i < p->thread_count; i++) {
        ok = json_array_append_new(threads, thread_of(p, i)) == 0;
    }
    ok = ac_json_set(o, "threads", threads) && ok;
    ok = ac_json_set(o, "meta", meta_of(p)) && ok;
    json_t *shared = json_pack("{s:o, s:{s:i, s:[], s:[]}}", "stringArray", strings_of(p), "sources",
                               "length", 0, "uuid", "filename");
    ok = ac_json_set(o, "shared", shared) && ok;
    ok = ac_json_set(o, "libs", json_array()) && ac_json_set(o, "pages", json_array()) && ok;
    return ac_json_write(o, ok, buf);
}
