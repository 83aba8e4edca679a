/* html_data.c - the data block that web/ draws from, but for the lanes (html_lanes.c) and the ranges'
 * verdicts (html_ranges.c). Bounded for a run of any length. */
#include <string.h>

#include "report/html.h"
#include "report/names.h"
#include "verdict/evidence.h"

#define MAX_BUSY        8000  /* figures of all runs' CPUs */
#define MAX_NODES       1500  /* of the flame graph: a stack may be 192 deep */
#define MAX_STACK_BYTES 75000 /* of a run's: with lanes, ranges and script under 400 KB */
#define MAX_NAME        120   /* bytes of a name in it */
#define LEAST_SHARE     0.001 /* of all thread-time: a rarer stack is told with the one that it grew from */

/* --- the data: the processes of one GIL, whose Python threads can but take turns. One without, or with a GIL
 * an interpreter, has no band of who holds it. */
static void put_gils(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    ac_buf_str(page->buf, ",\n\"gils\":[");
    for (size_t i = 0, told = 0; i < p->process_count; i++) {
        const struct ac_process *one = &p->processes[i];
        if (ac_html_has_one_gil(one)) {
            ac_buf_printf(page->buf, "%s%d", told++ ? "," : "", one->pid);
        }
    }
    ac_buf_str(page->buf, "]");
}

/* --- the data: stacks by state: p the parent, f the frame of "frames", s ms by state in pairs, o those of
 * rarer stacks that grew from it: no line of its own took them */

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
    int64_t all, own[AC_STATE_COUNT], rarer[AC_STATE_COUNT];
    uint32_t number;
};

static void put_states(struct ac_page *page, const int64_t *ns) {
    const char *before = "";
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        if (ns[s] >= 100000) {
            ac_buf_printf(page->buf, "%s%d,%.1f", before, s, (double)ns[s] / 1e6);
            before = ",";
        }
    }
}

static void put_node(struct ac_page *page, const struct sums *sums, uint32_t node, int frame) {
    bool rarer = false;
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        rarer = rarer || sums[node].rarer[s] >= 100000;
    }
    ac_buf_printf(page->buf, "%s{\"p\":%d,\"f\":%d,\"s\":[", node ? ",\n" : "",
                  node ? (int)sums[page->run->profile->nodes[node].parent].number : -1, frame);
    put_states(page, sums[node].own);
    if (rarer) {
        ac_buf_str(page->buf, "],\"o\":[");
        put_states(page, sums[node].rarer);
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

/* All with more time than `least`; the others' is told with their parents'. A frame is named once. */
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
            sums[p->nodes[i].parent].rarer[s] += sums[i].own[s] + sums[i].rarer[s];
            sums[i].own[s] = sums[i].rarer[s] = 0;
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
    return ac_max((groups * cpus * page->count + MAX_BUSY - 1) / MAX_BUSY, (size_t)1);
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

struct busy_series {
    const struct ac_profile *p;
    size_t cpus, groups, joined; /* `joined` groups are told as one */
};

static int64_t end_of(const struct busy_series *b, size_t group) {
    return b->p->busy[(ac_min(group + b->joined, b->groups) - 1) * b->cpus].to_ns;
}

/* The first of the joined groups that ends after a moment, the last of them at most. */
static size_t group_at(const struct busy_series *b, int64_t ns) {
    size_t low = 0;
    for (size_t high = (b->groups - 1) / b->joined; low < high;) {
        size_t middle = (low + high) / 2;
        if (end_of(b, middle * b->joined) > ns) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low * b->joined;
}

/* What the program's own threads used of a CPU from one end to the next, to the nanosecond: lanes in steps do
 * not tell that. */
static void put_own(struct ac_page *page, const struct busy_series *b, int16_t cpu, int64_t *own_ns) {
    memset(own_ns, 0, b->groups * sizeof(*own_ns));
    for (size_t i = 0; i < b->p->segment_count; i++) {
        const struct ac_segment *s = &b->p->segments[i];
        if (s->cpu != cpu || (s->state != AC_PYTHON && s->state != AC_NATIVE)) {
            continue;
        }
        int64_t from = s->from_ns;
        for (size_t g = group_at(b, from); g < b->groups && from < s->to_ns; g += b->joined) {
            int64_t to = ac_min(s->to_ns, end_of(b, g));
            own_ns[g] += ac_max(to - from, 0);
            from = ac_max(to, from);
        }
    }
    int64_t from = b->p->busy[0].from_ns;
    for (size_t g = 0; g < b->groups; g += b->joined) {
        ac_buf_printf(page->buf, "%s%.0f", g ? "," : "",
                      100 * (double)own_ns[g] / (double)ac_max(end_of(b, g) - from, 1));
        from = end_of(b, g);
    }
}

static int put_busy(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    struct busy_series b = {.p = p};
    while (b.cpus < p->busy_count && p->busy[b.cpus].from_ns == p->busy[0].from_ns) {
        b.cpus++;
    }
    b.groups = b.cpus ? p->busy_count / b.cpus : 0;
    b.joined = groups_joined(page, b.groups, b.cpus);
    int64_t *own_ns = ac_calloc(b.groups + 1, sizeof(*own_ns));
    if (!own_ns) {
        return -ENOMEM;
    }
    ac_buf_str(page->buf, ",\n\"busy\":{\"ends\":[");
    for (size_t g = 0; g < b.groups; g += b.joined) {
        ac_buf_printf(page->buf, "%s%.0f", g ? "," : "", (double)end_of(&b, g) / 1e6);
    }
    ac_buf_str(page->buf, "],\"cpus\":[");
    for (size_t c = 0; c < b.cpus; c++) {
        ac_buf_printf(page->buf, "%s[%d", c ? "," : "", p->busy[c].cpu);
        for (size_t g = 0; g < b.groups; g += b.joined) {
            ac_buf_printf(page->buf, ",%.0f",
                          joined_share(&p->busy[g * b.cpus + c], b.cpus, ac_min(b.joined, b.groups - g)) *
                              100 / AC_BUSY_ALL);
        }
        ac_buf_str(page->buf, "]");
    }
    ac_buf_str(page->buf, "],\"own\":[");
    for (size_t c = 0; ac_html_is_coarse(p) && c < b.cpus; c++) {
        ac_buf_str(page->buf, c ? ",[" : "[");
        put_own(page, &b, p->busy[c].cpu, own_ns);
        ac_buf_str(page->buf, "]");
    }
    ac_buf_str(page->buf, "]}");
    ac_free(own_ns);
    return 0;
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
    err = err ? err : ac_html_put_lanes(page);
    put_gils(page);
    err = err ? err : put_stacks(page);
    err = err ? err : put_busy(page);
    ac_buf_str(page->buf, "}");
    return err;
}
