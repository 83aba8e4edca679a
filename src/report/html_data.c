/* html_data.c - the data block that web/ draws from. Bounded for a run of any length: a long time line is
 * told in steps, in each of which a lane has one state, chosen such that over time all states keep their
 * shares. */
#include <inttypes.h>
#include <string.h>

#include "report/html.h"
#include "report/names.h"
#include "report/stream.h"
#include "verdict/evidence.h"

#define MAX_SEGMENTS    16000   /* told as they are; more are told in steps */
#define MAX_STEPS       1000000 /* of all lanes, to begin with */
#define MAX_LANE_BYTES  160000  /* of all lanes, once alike steps are one piece */
#define MAX_PAGE_BYTES  1600000 /* of all runs' lanes */
#define MAX_LANES       1024
#define MAX_BUSY        16384 /* figures of all runs' CPUs */
#define MAX_NODES       1500  /* of the flame graph: a stack may be 192 deep */
#define MAX_STACK_BYTES 75000 /* of a run's: with lanes, ranges and script under 400 KB */
#define MAX_NAME        120   /* bytes of a name in it */
#define LEAST_SHARE     0.001 /* of all thread-time: a rarer stack is told as the one that it grew from */

/* --- the data: lanes. A lane is [gap, length, code, ...] in units of the step; the code is
 * state + 10 * activity + 50 * (cpu + 1). */

static int code_of(const struct ac_profile *p, const struct ac_segment *s) {
    return s->state + 10 * p->nodes[s->node].activity + 50 * (s->cpu + 1);
}

struct lane {
    struct ac_buf *buf;
    int64_t at, from, to; /* written up to; the piece being built */
    int code;
};

static void flush_piece(struct lane *lane) {
    if (lane->to > lane->from) {
        ac_buf_printf(lane->buf, "%s%" PRId64 ",%" PRId64 ",%d", lane->at ? "," : "",
                      lane->from - ac_max(lane->at - 1, 0), lane->to - lane->from, lane->code);
        lane->at = lane->to + 1;
    }
}

static void add_piece(struct lane *lane, int64_t from, int64_t to, int code) {
    if (code == lane->code && from == lane->to) {
        lane->to = to;
        return;
    }
    flush_piece(lane);
    lane->from = from;
    lane->to = to;
    lane->code = code;
}

/* One lane in steps: each step's time is added to its state's balance, the largest balance names the step. */
static void put_lane(const struct ac_profile *p, const struct ac_lanes *lanes, uint32_t thread, int64_t step,
                     struct ac_buf *buf) {
    struct lane lane = {.buf = buf, .code = -1};
    int64_t balance[AC_STATE_COUNT] = {0};
    int code[AC_STATE_COUNT] = {0};
    int64_t filled = 0; /* of the step at hand */
    int64_t step_at = -1;
    for (size_t i = lanes->first[thread]; i < lanes->first[thread + 1]; i++) {
        const struct ac_segment *s = &p->segments[lanes->order[i]];
        code[s->state] = code_of(p, s);
        for (int64_t at = s->from_ns; at < s->to_ns;) {
            int64_t end = ac_min(s->to_ns, (at / step + 1) * step);
            if (at / step != step_at) {
                filled = 0;
                step_at = at / step;
            }
            balance[s->state] += end - at;
            filled += end - at;
            /* A step is told at its end; what ended before that is in the balance of the next. */
            if (end == (step_at + 1) * step && filled > 0) {
                int most = 0;
                for (int k = 1; k < AC_STATE_COUNT; k++) {
                    most = balance[k] > balance[most] ? k : most;
                }
                balance[most] -= filled;
                add_piece(&lane, step_at, step_at + 1, code[most]);
                if (most == s->state && at == step_at * step) { /* the whole steps that follow are the same */
                    add_piece(&lane, step_at + 1, ac_max(s->to_ns / step, step_at + 1), code[most]);
                    end = ac_max(s->to_ns / step * step, end);
                }
            }
            at = end;
        }
    }
    flush_piece(&lane);
}

/* The first step to try: 10 us where the pieces are few. */
static int64_t first_step(const struct ac_profile *p) {
    int64_t alive_ns = 0;
    for (size_t i = 0; i < p->segment_count; i++) {
        alive_ns += p->segments[i].to_ns - p->segments[i].from_ns;
    }
    return ac_max(10000,
                  ac_max(p->segment_count > MAX_SEGMENTS ? alive_ns / MAX_STEPS : 0, p->wall_ns / MAX_STEPS));
}

static void put_threads_data(struct ac_page *page, const struct ac_lanes *lanes, int64_t step) {
    const struct ac_profile *p = page->run->profile;
    for (uint32_t i = 0; i < p->thread_count && i < MAX_LANES; i++) {
        const struct ac_thread *t = &p->threads[i];
        ac_buf_printf(page->buf, "%s{\"pid\":%d,\"tid\":%d,\"merged\":%u,\"name\":\"", i ? ",\n" : "",
                      p->processes[t->process].pid, t->tid, t->merged);
        ac_html_put_text(page, ac_profile_text(p, t->name), true);
        ac_buf_str(page->buf, "\",\"lane\":[");
        put_lane(p, lanes, i, step, page->buf);
        ac_buf_str(page->buf, "]}");
    }
}

static int put_lanes(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    struct ac_lanes lanes;
    int err = ac_lanes_new(p, &lanes);
    if (err) {
        return err;
    }
    struct ac_buf told = {0};
    struct ac_page scratch = *page;
    scratch.buf = &told;
    int64_t step = first_step(p);
    put_threads_data(&scratch, &lanes, step);
    size_t most = ac_min((size_t)MAX_LANE_BYTES, MAX_PAGE_BYTES / page->count) +
                  64 * ac_min(p->thread_count, (size_t)MAX_LANES);
    while (p->segment_count > MAX_SEGMENTS && told.len > most && step < p->wall_ns && !told.err) {
        step *= 2;
        ac_buf_clear(&told);
        put_threads_data(&scratch, &lanes, step);
    }
    ac_buf_printf(page->buf, "\"step_ms\":%.6f,\"coarse\":%s,\"threads\":[", (double)step / 1e6,
                  p->segment_count > MAX_SEGMENTS ? "true" : "false");
    ac_buf_bytes(page->buf, ac_buf_text(&told), told.len);
    ac_buf_str(page->buf, "]");
    page->buf->err = page->buf->err ? page->buf->err : told.err;
    ac_buf_free(&told);
    ac_lanes_free(&lanes);
    return 0;
}

/* --- the data: the processes of one GIL, whose Python threads can but take turns. One without, or with a GIL
 * an interpreter, has no band of who holds it. */
static void put_gils(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    ac_buf_str(page->buf, ",\n\"gils\":[");
    for (size_t i = 0, told = 0; i < p->process_count; i++) {
        const struct ac_process *one = &p->processes[i];
        bool has_gil = one->free_threaded == 0 || one->gil_enabled == 1;
        if (one->pid && has_gil && one->gils == 1) { /* 0: a row of several */
            ac_buf_printf(page->buf, "%s%d", told++ ? "," : "", one->pid);
        }
    }
    ac_buf_str(page->buf, "]");
}

/* --- the data: stacks by state: p the parent, f the frame of "frames", s ms by state in pairs */

static void put_frame(struct ac_page *page, uint32_t frame) {
    const struct ac_profile *p = page->run->profile;
    const struct ac_func *func = &p->funcs[p->frames[frame].func];
    char name[MAX_NAME];
    char file[MAX_NAME];
    ac_copy(name, sizeof(name), ac_profile_text(p, func->name));
    ac_copy(file, sizeof(file), ac_html_path(page, ac_profile_text(p, func->file)));
    ac_buf_str(page->buf, "[\"");
    ac_html_put_text(page, name, true);
    ac_buf_str(page->buf, "\",\"");
    ac_html_put_text(page, file, true);
    ac_buf_printf(page->buf, "\",%d]", p->frames[frame].line);
}

struct sums {
    int64_t all, own[AC_STATE_COUNT];
    uint32_t number;
};

static void put_node(struct ac_page *page, const struct sums *sums, uint32_t node, int frame) {
    ac_buf_printf(page->buf, "%s{\"p\":%d,\"f\":%d,\"s\":[", node ? ",\n" : "",
                  node ? (int)sums[page->run->profile->nodes[node].parent].number : -1, frame);
    for (int s = 0, first = 1; s < AC_STATE_COUNT; s++) {
        if (sums[node].own[s] >= 100000) {
            ac_buf_printf(page->buf, "%s%d,%.1f", first ? "" : ",", s, (double)sums[node].own[s] / 1e6);
            first = 0;
        }
    }
    ac_buf_str(page->buf, "]}");
}

/* Stacks with no more time than this are left out. */
static int64_t least_of(const struct ac_page *page, const struct sums *sums) {
    const struct ac_profile *p = page->run->profile;
    size_t most = ac_max((size_t)MAX_NODES / page->count, (size_t)300);
    int64_t least = (int64_t)((double)sums[0].all * LEAST_SHARE);
    for (size_t kept = SIZE_MAX; kept > most && least < INT64_MAX / 2;) {
        kept = 0;
        for (size_t i = 0; i < p->node_count; i++) {
            kept += sums[i].all > least;
        }
        least += kept > most ? least / 16 + 1 : 0;
    }
    return least;
}

/* Not what runs a contender of a race: nobody asked about it, and every stack would begin with it. */
static bool is_told(const struct ac_profile *p, const struct sums *sums, uint32_t node, int64_t least) {
    return node == 0 ||
           (sums[node].all > least && !ac_is_race_harness(p, p->frames[p->nodes[node].frame].func));
}

struct stacks {
    struct sums *sums; /* by node */
    uint32_t *frames;  /* 1 + the number that a frame is told by; 0: not yet */
    struct ac_buf nodes, names;
};

/* All with more time than `least`; the others' is told as their parents'. A frame is named once. */
static void tell_stacks(const struct ac_page *page, struct stacks *told, int64_t least) {
    const struct ac_profile *p = page->run->profile;
    struct sums *sums = told->sums;
    struct ac_page nodes = *page, names = *page;
    nodes.buf = &told->nodes;
    names.buf = &told->names;
    ac_buf_clear(nodes.buf);
    ac_buf_clear(names.buf);
    memset(told->frames, 0, p->frame_count * sizeof(*told->frames));
    for (size_t i = p->node_count - 1; i > 0; i--) {
        if (is_told(p, sums, (uint32_t)i, least)) {
            continue;
        }
        for (int s = 0; s < AC_STATE_COUNT; s++) {
            sums[p->nodes[i].parent].own[s] += sums[i].own[s];
            sums[i].own[s] = 0;
        }
    }
    uint32_t frames = 0;
    for (uint32_t i = 0, number = 0; i < p->node_count; i++) {
        uint32_t frame = p->nodes[i].frame;
        if (!is_told(p, sums, i, least)) { /* what grows from it grows from its parent */
            sums[i].number = sums[p->nodes[i].parent].number;
            continue;
        }
        if (i && !told->frames[frame]) {
            ac_buf_str(names.buf, frames ? ",\n" : "");
            put_frame(&names, frame);
            told->frames[frame] = ++frames;
        }
        sums[i].number = number++;
        put_node(&nodes, sums, i, i ? (int)told->frames[frame] - 1 : -1);
    }
}

static int put_stacks(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    struct sums *sums = ac_calloc(p->node_count, sizeof(*sums));
    struct stacks told = {.sums = sums, .frames = ac_calloc(p->frame_count + 1, sizeof(*told.frames))};
    if (!sums || !told.frames) {
        ac_free(told.frames);
        ac_free(sums);
        return -ENOMEM;
    }
    for (size_t i = 0; i < p->cell_count; i++) {
        sums[p->cells[i].node].own[p->cells[i].state] += p->cells[i].ns;
        sums[p->cells[i].node].all += p->cells[i].ns;
    }
    for (size_t i = p->node_count - 1; i > 0; i--) { /* a parent has a smaller index */
        sums[p->nodes[i].parent].all += sums[i].all;
    }
    int64_t least = least_of(page, sums);
    tell_stacks(page, &told, least);
    while (told.nodes.len + told.names.len > MAX_STACK_BYTES && least < INT64_MAX / 2 && !told.nodes.err) {
        least += least / 16 + 1;
        tell_stacks(page, &told, least);
    }
    ac_buf_str(page->buf, ",\n\"frames\":[");
    ac_buf_bytes(page->buf, ac_buf_text(&told.names), told.names.len);
    ac_buf_str(page->buf, "],\n\"stacks\":[");
    ac_buf_bytes(page->buf, ac_buf_text(&told.nodes), told.nodes.len);
    ac_buf_str(page->buf, "]");
    page->buf->err = page->buf->err ? page->buf->err : told.nodes.err ? told.nodes.err : told.names.err;
    ac_buf_free(&told.nodes);
    ac_buf_free(&told.names);
    ac_free(told.frames);
    ac_free(sums);
    return 0;
}

/* --- the data: how busy each CPU was, in percent, from one of `ends` to the next */

/* Groups told as one, so that few enough are left. */
static size_t groups_joined(const struct ac_page *page, size_t groups, size_t cpus) {
    return ac_max(groups * cpus * page->count / MAX_BUSY, (size_t)1);
}

static double joined_share(const struct ac_busy *busy, size_t cpus, size_t count) {
    double ns = 0;
    double used = 0;
    for (size_t i = 0; i < count; i++) {
        double length = (double)(busy[i * cpus].to_ns - busy[i * cpus].from_ns);
        ns += length;
        used += length * busy[i * cpus].share;
    }
    return ns > 0 ? used / ns : 0;
}

static void put_busy(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    size_t cpus = 0;
    while (cpus < p->busy_count && p->busy[cpus].from_ns == p->busy[0].from_ns) {
        cpus++;
    }
    size_t groups = cpus ? p->busy_count / cpus : 0;
    size_t joined = groups_joined(page, groups, cpus);
    ac_buf_str(page->buf, ",\n\"busy\":{\"ends\":[");
    for (size_t g = 0; g < groups; g += joined) {
        const struct ac_busy *last = &p->busy[(ac_min(g + joined, groups) - 1) * cpus];
        ac_buf_printf(page->buf, "%s%.0f", g ? "," : "", (double)last->to_ns / 1e6);
    }
    ac_buf_str(page->buf, "],\"cpus\":[");
    for (size_t c = 0; c < cpus; c++) {
        ac_buf_printf(page->buf, "%s[%d", c ? "," : "", p->busy[c].cpu);
        for (size_t g = 0; g < groups; g += joined) {
            ac_buf_printf(page->buf, ",%.0f",
                          joined_share(&p->busy[g * cpus + c], cpus, ac_min(joined, groups - g)) * 100 /
                              AC_BUSY_ALL);
        }
        ac_buf_str(page->buf, "]");
    }
    ac_buf_str(page->buf, "]}");
}

int ac_html_put_data(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    ac_buf_str(page->buf, "{\"name\":\"");
    if (page->run->name) {
        ac_html_put_text(page, page->run->name, true);
    } else {
        ac_html_put_title(page, true);
    }
    ac_buf_printf(page->buf,
                  "\",\"wall_ms\":%.3f,\"cpu_ms\":%.3f,\"speedup\":%.4g,\"usable\":%.4g,\"cpus\":%d,",
                  (double)p->wall_ns / 1e6, (double)p->cpu_ns / 1e6, page->run->speedup, p->cpus.usable,
                  p->cpus.affinity == p->cpus.online ? ac_min(p->cpus.online, 256) : 0);
    int err = ac_html_put_ranges(page);
    err = err ? err : put_lanes(page);
    put_gils(page);
    err = err ? err : put_stacks(page);
    put_busy(page);
    ac_buf_str(page->buf, "}");
    return err;
}
