/* pftrace.c - Perfetto's trace format (protobuf, TrackEvent), for ui.perfetto.dev and its trace processor.
 *
 *   Cores              counters (cores used, threads waiting for the GIL and for a CPU, other programs' CPUs)
 *                      and one lane a CPU: which thread computed there
 *   process > thread   one slice a stretch of one state, with the stack
 *
 * One packet sequence. Its first packet clears the incremental state; from then on names, frames and stacks
 * are sent once, in the packet that first uses them, and go by their numbers (iids, never 0). Times are since
 * the start of the run; a clock snapshot says when that was.
 */
#include "report/names.h"
#include "report/proto.h"
#include "report/stream.h"
#include "verdict/evidence.h"

/* Field numbers of perfetto_trace.proto; tests/test_formats.py reads the file by Perfetto's own. */
enum { TRACE_PACKET = 1 };
enum {
    PACKET_CLOCKS = 6,
    PACKET_TIMESTAMP = 8,
    PACKET_SEQUENCE = 10,
    PACKET_EVENT = 11,
    PACKET_INTERNED = 12,
    PACKET_FLAGS = 13,
    PACKET_TRACK = 60,
    PACKET_FIRST = 87
};
enum { FLAG_CLEARED = 1, FLAG_NEEDS_STATE = 2 };
enum { CLOCKS_CLOCK = 1, CLOCK_ID = 1, CLOCK_TIMESTAMP = 2, CLOCK_REALTIME_ID = 1, CLOCK_BOOTTIME_ID = 6 };
enum {
    TRACK_UUID = 1,
    TRACK_NAME = 2,
    TRACK_PROCESS = 3,
    TRACK_THREAD = 4,
    TRACK_PARENT = 5,
    TRACK_COUNTER = 8,
    TRACK_CHILD_ORDER = 11,
    TRACK_RANK = 12
};
enum { ORDER_EXPLICIT = 3 };
enum { PROCESS_PID = 1, PROCESS_NAME = 6, THREAD_PID = 1, THREAD_TID = 2, THREAD_NAME = 5, COUNTER_UNIT = 6 };
enum {
    EVENT_CATEGORY_IID = 3,
    EVENT_TYPE = 9,
    EVENT_NAME_IID = 10,
    EVENT_TRACK = 11,
    EVENT_SOURCE_IID = 34,
    EVENT_DOUBLE = 44,
    EVENT_CALLSTACK_IID = 56
};
enum { TYPE_BEGIN = 1, TYPE_END = 2, TYPE_COUNTER = 4 };
enum { CATEGORY_STATE = 1, CATEGORY_CORE = 2 };
enum {
    INTERNED_CATEGORIES = 1,
    INTERNED_NAMES = 2,
    INTERNED_SOURCES = 4,
    INTERNED_FUNCTIONS = 5,
    INTERNED_FRAMES = 6,
    INTERNED_STACKS = 7,
    INTERNED_PATHS = 18
};
enum { IID = 1, ENTRY_TEXT = 2, SOURCE_FILE = 2, SOURCE_FUNCTION = 3, SOURCE_LINE = 4 };
enum { FRAME_FUNCTION = 2, FRAME_PATH = 5, FRAME_LINE = 6, STACK_FRAME = 2 };

/* A track's uuid is its kind above its index. */
enum track { TRACK_OF_CORES = 1, TRACK_OF_COUNTER, TRACK_OF_CPU, TRACK_OF_PROCESS, TRACK_OF_THREAD };
/* Names of slices: the states (told apart by kind), then the threads, on the core lanes. */
#define STATE_NAMES ((uint32_t)AC_STATE_COUNT * AC_KIND_COUNT)
#define MAX_BINS    4096 /* of the counters */
#define LEAST_BIN   (10 * AC_NS_PER_MS)
#define SEQUENCE    1

struct trace {
    const struct ac_profile *p;
    const struct ac_diagnosis *diagnosis;
    struct ac_buf *buf;
    struct ac_buf packet, message, part, interned; /* under construction; empty between packets */
    struct ac_map sent;                            /* field of InternedData << 32 | iid */
};

static uint64_t uuid_of(enum track kind, uint32_t index) {
    return (uint64_t)kind << 32 | index;
}

static void keep_error(struct trace *t, int err) {
    t->buf->err = t->buf->err ? t->buf->err : err;
}

/* --- packets */

/* Ends the packet whose other fields stand in t->packet. */
static void put_packet(struct trace *t, uint64_t flags) {
    ac_pb_uint(&t->packet, PACKET_SEQUENCE, SEQUENCE);
    ac_pb_uint(&t->packet, PACKET_FLAGS, flags);
    ac_pb_message(t->buf, TRACE_PACKET, &t->packet);
}

static void put_clock(struct trace *t, uint64_t id, int64_t ns) {
    ac_pb_uint(&t->part, CLOCK_ID, id);
    ac_pb_uint(&t->part, CLOCK_TIMESTAMP, (uint64_t)ns);
    ac_pb_message(&t->message, CLOCKS_CLOCK, &t->part);
}

/* One millisecond into the run, since 0 would be no time. */
static void put_start(struct trace *t) {
    put_clock(t, CLOCK_BOOTTIME_ID, AC_NS_PER_MS);
    put_clock(t, CLOCK_REALTIME_ID, ac_min(ac_max(t->p->started_unix_ns, 0), INT64_MAX / 2) + AC_NS_PER_MS);
    ac_pb_message(&t->packet, PACKET_CLOCKS, &t->message);
    ac_pb_uint(&t->packet, PACKET_FIRST, 1);
    put_packet(t, FLAG_CLEARED);
}

/* Ends the track whose other fields stand in t->message. */
static void put_track(struct trace *t, enum track kind, uint32_t index) {
    ac_pb_uint(&t->message, TRACK_UUID, uuid_of(kind, index));
    ac_pb_message(&t->packet, PACKET_TRACK, &t->message);
    put_packet(t, FLAG_NEEDS_STATE);
}

static void begin_event(struct trace *t, enum track kind, uint32_t index, uint64_t type) {
    ac_pb_uint(&t->message, EVENT_TRACK, uuid_of(kind, index));
    ac_pb_uint(&t->message, EVENT_TYPE, type);
}

static void put_event(struct trace *t, int64_t ns) {
    ac_pb_uint(&t->packet, PACKET_TIMESTAMP, (uint64_t)ns);
    if (t->interned.len || t->interned.err) {
        ac_pb_message(&t->packet, PACKET_INTERNED, &t->interned);
    }
    ac_pb_message(&t->packet, PACKET_EVENT, &t->message);
    put_packet(t, FLAG_NEEDS_STATE);
}

static void put_end(struct trace *t, enum track kind, uint32_t index, int64_t ns) {
    begin_event(t, kind, index, TYPE_END);
    put_event(t, ns);
}

/* --- interning: each returns an iid, and sends what it stands for where it is new */

static bool is_new(struct trace *t, uint32_t field, uint64_t iid) {
    uint64_t key = (uint64_t)field << 32 | iid;
    uint32_t unused;
    if (ac_map_get(&t->sent, key, &unused)) {
        return false;
    }
    keep_error(t, ac_map_put(&t->sent, key, 1));
    ac_pb_uint(&t->part, IID, iid);
    return true;
}

static uint64_t intern_text(struct trace *t, uint32_t field, uint32_t index, const char *text) {
    uint64_t iid = (uint64_t)index + 1;
    if (is_new(t, field, iid)) {
        ac_pb_text(&t->part, ENTRY_TEXT, text);
        ac_pb_message(&t->interned, field, &t->part);
    }
    return iid;
}

static uint64_t intern_string(struct trace *t, uint32_t field, ac_str str) {
    return intern_text(t, field, str, ac_profile_text(t->p, str));
}

static void put_category(struct trace *t, uint32_t category) {
    intern_text(t, INTERNED_CATEGORIES, category - 1, category == CATEGORY_STATE ? "state" : "core");
    ac_pb_uint(&t->message, EVENT_CATEGORY_IID, category);
}

static uint64_t intern_source(struct trace *t, uint32_t frame) {
    const struct ac_frame *f = &t->p->frames[frame];
    const struct ac_func *func = &t->p->funcs[f->func];
    uint64_t iid = (uint64_t)frame + 1;
    if (is_new(t, INTERNED_SOURCES, iid)) {
        ac_pb_text(&t->part, SOURCE_FILE, ac_profile_text(t->p, func->file));
        ac_pb_text(&t->part, SOURCE_FUNCTION, ac_profile_text(t->p, func->name));
        ac_pb_uint(&t->part, SOURCE_LINE, (uint64_t)ac_max(f->line, 0));
        ac_pb_message(&t->interned, INTERNED_SOURCES, &t->part);
    }
    return iid;
}

static uint64_t intern_frame(struct trace *t, uint32_t frame) {
    const struct ac_frame *f = &t->p->frames[frame];
    const struct ac_func *func = &t->p->funcs[f->func];
    uint64_t iid = (uint64_t)frame + 1;
    uint64_t function = intern_string(t, INTERNED_FUNCTIONS, func->name);
    uint64_t path = intern_string(t, INTERNED_PATHS, func->file);
    if (is_new(t, INTERNED_FRAMES, iid)) {
        ac_pb_uint(&t->part, FRAME_FUNCTION, function);
        ac_pb_uint(&t->part, FRAME_PATH, path);
        ac_pb_uint(&t->part, FRAME_LINE, (uint64_t)ac_max(f->line, 0));
        ac_pb_message(&t->interned, INTERNED_FRAMES, &t->part);
    }
    return iid;
}

/* Outermost frame first. */
static uint64_t intern_stack(struct trace *t, uint32_t leaf) {
    uint64_t iids[AC_MAX_DEPTH + 1];
    uint32_t seen;
    size_t depth = 0;
    if (ac_map_get(&t->sent, (uint64_t)INTERNED_STACKS << 32 | leaf, &seen)) {
        return leaf;
    }
    for (uint32_t node = leaf; node && depth < AC_COUNT(iids); node = t->p->nodes[node].parent) {
        iids[depth++] = intern_frame(t, t->p->nodes[node].frame);
    }
    if (is_new(t, INTERNED_STACKS, leaf)) {
        while (depth) {
            ac_pb_uint(&t->part, STACK_FRAME, iids[--depth]);
        }
        ac_pb_message(&t->interned, INTERNED_STACKS, &t->part);
    }
    return leaf;
}

/* --- processes and threads */

static void put_process(struct trace *t, uint32_t index) {
    const struct ac_process *process = &t->p->processes[index];
    size_t argc = ac_min((size_t)process->argc, AC_COUNT(process->argv));
    ac_pb_uint(&t->part, PROCESS_PID, (uint64_t)process->pid);
    ac_pb_text(&t->part, PROCESS_NAME, ac_program_name(t->p, process->argv, argc));
    ac_pb_message(&t->message, TRACK_PROCESS, &t->part);
    put_track(t, TRACK_OF_PROCESS, index);
}

static void put_thread_name(const struct trace *t, uint32_t index, struct ac_buf *name) {
    const struct ac_thread *thread = &t->p->threads[index];
    if (thread->tid == 0) {
        ac_buf_printf(name, "%u short-lived threads", thread->merged);
    } else {
        ac_buf_str(name, ac_profile_text(t->p, thread->name));
    }
}

/* A row of several threads has no id that Perfetto could know it by: a track of its process instead. */
static void put_thread_track(struct trace *t, uint32_t index) {
    const struct ac_thread *thread = &t->p->threads[index];
    struct ac_buf name = {0};
    put_thread_name(t, index, &name);
    if (thread->tid == 0) {
        ac_pb_uint(&t->message, TRACK_PARENT, uuid_of(TRACK_OF_PROCESS, thread->process));
        ac_pb_text(&t->message, TRACK_NAME, ac_buf_text(&name));
    } else {
        ac_pb_uint(&t->part, THREAD_PID, (uint64_t)t->p->processes[thread->process].pid);
        ac_pb_uint(&t->part, THREAD_TID, (uint64_t)thread->tid);
        ac_pb_text(&t->part, THREAD_NAME, ac_buf_text(&name));
        ac_pb_message(&t->message, TRACK_THREAD, &t->part);
    }
    put_track(t, TRACK_OF_THREAD, index);
    keep_error(t, name.err);
    ac_buf_free(&name);
}

static void put_state(struct trace *t, const struct ac_segment *segment, int64_t from) {
    uint32_t kind = segment->kind == AC_KIND_C_CALL ? AC_KIND_C_CALL : AC_KIND_NONE;
    struct ac_buf name = {0};
    ac_buf_printf(&name, "%s%s", ac_state_words[segment->state], kind ? " in a C function" : "");
    begin_event(t, TRACK_OF_THREAD, segment->thread, TYPE_BEGIN);
    put_category(t, CATEGORY_STATE);
    ac_pb_uint(&t->message, EVENT_NAME_IID,
               intern_text(t, INTERNED_NAMES, segment->state * AC_KIND_COUNT + kind, ac_buf_text(&name)));
    if (segment->node) {
        ac_pb_uint(&t->message, EVENT_SOURCE_IID, intern_source(t, t->p->nodes[segment->node].frame));
        ac_pb_uint(&t->message, EVENT_CALLSTACK_IID, intern_stack(t, segment->node));
    }
    put_event(t, from);
    put_end(t, TRACK_OF_THREAD, segment->thread, segment->to_ns);
    keep_error(t, name.err);
    ac_buf_free(&name);
}

static void put_thread(struct trace *t, uint32_t index, const struct ac_lanes *lanes) {
    int64_t at = 0;
    if (lanes->first[index] == lanes->first[index + 1]) {
        return;
    }
    put_thread_track(t, index);
    for (size_t i = lanes->first[index]; i < lanes->first[index + 1] && !t->buf->err; i++) {
        const struct ac_segment *segment = &t->p->segments[lanes->order[i]];
        if (segment->to_ns > ac_max(at, segment->from_ns)) { /* in a row of several one is shown at a time */
            put_state(t, segment, ac_max(at, segment->from_ns));
            at = segment->to_ns;
        }
    }
}

/* --- core lanes */

struct core {
    int64_t to; /* end of the open slice */
    uint32_t thread;
    bool open, known;
};

static void open_core(struct trace *t, struct core *core, const struct ac_segment *segment) {
    uint32_t cpu = (uint32_t)segment->cpu;
    struct ac_buf name = {0};
    if (!core->known) {
        ac_buf_printf(&name, "CPU %u", cpu);
        ac_pb_uint(&t->message, TRACK_PARENT, uuid_of(TRACK_OF_CORES, 0));
        ac_pb_uint(&t->message, TRACK_RANK, 100 + (uint64_t)cpu);
        ac_pb_text(&t->message, TRACK_NAME, ac_buf_text(&name));
        put_track(t, TRACK_OF_CPU, cpu);
        keep_error(t, name.err);
        ac_buf_clear(&name);
    }
    put_thread_name(t, segment->thread, &name);
    ac_buf_printf(&name, " %d", t->p->threads[segment->thread].tid);
    begin_event(t, TRACK_OF_CPU, cpu, TYPE_BEGIN);
    put_category(t, CATEGORY_CORE);
    ac_pb_uint(&t->message, EVENT_NAME_IID,
               intern_text(t, INTERNED_NAMES, STATE_NAMES + segment->thread, ac_buf_text(&name)));
    put_event(t, segment->from_ns);
    *core = (struct core){.to = segment->to_ns, .thread = segment->thread, .open = true, .known = true};
    keep_error(t, name.err);
    ac_buf_free(&name);
}

static void close_core(struct trace *t, struct core *core, uint32_t cpu, int64_t at) {
    if (core->open) {
        put_end(t, TRACK_OF_CPU, cpu, ac_min(core->to, at));
        core->open = false;
    }
}

/* Segments come by time; a thread that begins on a CPU ends what was still seen there. */
static void put_cores(struct trace *t) {
    size_t count = 0;
    for (size_t i = 0; i < t->p->segment_count; i++) {
        count = ac_max(count, (size_t)(t->p->segments[i].cpu + 1));
    }
    struct core *cores = ac_calloc(count + 1, sizeof(*cores));
    keep_error(t, cores ? 0 : -ENOMEM);
    for (size_t i = 0; i < t->p->segment_count && !t->buf->err; i++) {
        const struct ac_segment *segment = &t->p->segments[i];
        if (segment->cpu < 0 || segment->to_ns == segment->from_ns) {
            continue;
        }
        struct core *core = &cores[segment->cpu];
        if (core->open && core->thread == segment->thread && segment->from_ns <= core->to) {
            core->to = ac_max(core->to, segment->to_ns);
            continue;
        }
        close_core(t, core, (uint32_t)segment->cpu, segment->from_ns);
        open_core(t, core, segment);
    }
    for (uint32_t cpu = 0; cpu < count && !t->buf->err; cpu++) {
        close_core(t, &cores[cpu], cpu, INT64_MAX);
    }
    ac_free(cores);
}

/* --- counters: averages over steps of time */

enum counter { CORES_USED, GIL_WAITERS, CPU_WAITERS, OTHERS, COUNTER_COUNT };
static const char *const counter_names[COUNTER_COUNT] = {"Cores used", "Threads waiting for the GIL",
                                                         "Threads waiting for a CPU",
                                                         "CPUs of other programs (average of the run)"};
static const char *const counter_units[COUNTER_COUNT] = {"cores", "threads", "threads", "CPUs"};

struct bins {
    int64_t width;
    size_t count;
    int64_t *part; /* thread-time in steps that were not filled */
    int64_t *full; /* threads that fill a step more than the one before */
};

static void add_to_bins(struct bins *bins, int64_t from, int64_t to) {
    size_t first = (size_t)(from / bins->width);
    size_t last = (size_t)(to / bins->width);
    if (first == last) {
        bins->part[first] += to - from;
        return;
    }
    bins->part[first] += ((int64_t)first + 1) * bins->width - from;
    bins->full[first + 1]++;
    bins->full[last]--;
    bins->part[last] += to - (int64_t)last * bins->width;
}

static bool counts(enum counter counter, int state) {
    return counter == CORES_USED    ? state == AC_PYTHON || state == AC_NATIVE
           : counter == GIL_WAITERS ? state == AC_GIL_WAIT
                                    : state == AC_NO_CPU;
}

static void put_value(struct trace *t, enum counter counter, int64_t ns, double value) {
    begin_event(t, TRACK_OF_COUNTER, counter, TYPE_COUNTER);
    ac_pb_double(&t->message, EVENT_DOUBLE, value);
    put_event(t, ns);
}

static void put_series(struct trace *t, enum counter counter, const struct bins *bins) {
    int64_t filling = 0;
    double before = -1;
    for (size_t i = 0; i < bins->count && !t->buf->err; i++) {
        int64_t from = (int64_t)i * bins->width;
        int64_t width = ac_min(bins->width, t->p->wall_ns - from);
        if (width <= 0) {
            break;
        }
        filling += bins->full[i];
        double value = (double)(filling * bins->width + bins->part[i]) / (double)width;
        if (value < before || value > before) {
            put_value(t, counter, from, value);
        }
        before = value;
    }
    put_value(t, counter, t->p->wall_ns, 0);
}

static void put_counter_track(struct trace *t, enum counter counter) {
    ac_pb_text(&t->part, COUNTER_UNIT, counter_units[counter]);
    ac_pb_message(&t->message, TRACK_COUNTER, &t->part);
    ac_pb_uint(&t->message, TRACK_PARENT, uuid_of(TRACK_OF_CORES, 0));
    ac_pb_uint(&t->message, TRACK_RANK, counter);
    ac_pb_text(&t->message, TRACK_NAME, counter_names[counter]);
    put_track(t, TRACK_OF_COUNTER, counter);
}

static void put_counter(struct trace *t, enum counter counter) {
    struct bins bins = {.width = ac_max(LEAST_BIN, t->p->wall_ns / MAX_BINS + 1)};
    bins.count = (size_t)(t->p->wall_ns / bins.width) + 1;
    bins.part = ac_calloc(bins.count + 1, sizeof(*bins.part));
    bins.full = ac_calloc(bins.count + 1, sizeof(*bins.full));
    keep_error(t, bins.part && bins.full ? 0 : -ENOMEM);
    for (size_t i = 0; i < t->p->segment_count && !t->buf->err; i++) {
        const struct ac_segment *segment = &t->p->segments[i];
        int64_t to = ac_min(segment->to_ns, t->p->wall_ns);
        if (counts(counter, segment->state) && segment->from_ns < to) {
            add_to_bins(&bins, segment->from_ns, to);
        }
    }
    if (!t->buf->err) {
        put_counter_track(t, counter);
        put_series(t, counter, &bins);
    }
    ac_free(bins.part);
    ac_free(bins.full);
}

/* What other programs used is known as one figure for the whole run. */
static void put_others(struct trace *t) {
    double others = t->diagnosis->evidence->others;
    if (others >= 0) {
        put_counter_track(t, OTHERS);
        put_value(t, OTHERS, 0, others);
        put_value(t, OTHERS, t->p->wall_ns, others);
    }
}

static void put_cores_track(struct trace *t) {
    ac_pb_text(&t->message, TRACK_NAME, "Cores");
    ac_pb_uint(&t->message, TRACK_CHILD_ORDER, ORDER_EXPLICIT);
    put_track(t, TRACK_OF_CORES, 0);
}

int ac_report_pftrace(const struct ac_profile *p, const struct ac_diagnosis *diagnosis, struct ac_buf *buf) {
    struct trace t = {.p = p, .diagnosis = diagnosis, .buf = buf};
    struct ac_lanes lanes;
    int err = ac_lanes_new(p, &lanes);
    if (err) {
        return err;
    }
    put_start(&t);
    put_cores_track(&t);
    for (enum counter counter = 0; counter < OTHERS; counter++) {
        put_counter(&t, counter);
    }
    put_others(&t);
    put_cores(&t);
    for (uint32_t i = 0; i < p->process_count && !buf->err; i++) {
        put_process(&t, i);
    }
    for (uint32_t i = 0; i < p->thread_count && !buf->err; i++) {
        put_thread(&t, i, &lanes);
    }
    ac_lanes_free(&lanes);
    ac_buf_free(&t.packet);
    ac_buf_free(&t.message);
    ac_buf_free(&t.part);
    ac_buf_free(&t.interned);
    ac_map_free(&t.sent);
    return buf->err;
}
