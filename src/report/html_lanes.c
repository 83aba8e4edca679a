/* html_lanes.c - the threads' lanes in the data block. Bounded for a run of any length: a long time line is
 * told in steps, in each of which a lane has one state. All lanes are reduced together: over time each state
 * of a thread keeps its share, and in each step as many threads compute as did, one of them at most in Python
 * under one GIL and one on a CPU. */
#include <inttypes.h>
#include <string.h>

#include "report/html.h"
#include "report/stream.h"

#define MAX_SEGMENTS   16000   /* told as they are; more are told in steps */
#define MAX_STEPS      1000000 /* of all lanes, to begin with */
#define MAX_LANE_BYTES 160000  /* of all lanes, once alike steps are one piece */
#define MAX_PAGE_BYTES 1600000 /* of all runs' lanes */
#define MAX_LANES      1024
#define MAX_CPUS       32768
#define NOBODY         UINT32_MAX

/* --- a lane is [gap, length, code, ...] in units of the step; the code is
 * state + 10 * activity + 50 * (cpu + 1). */

struct lane {
    struct ac_buf buf;
    int64_t at, from, to; /* written up to; the piece being built */
    int code;
    /* what the reduction knows of the thread */
    size_t next; /* segment, of its own */
    int64_t balance[AC_STATE_COUNT], filled;
    int codes[AC_STATE_COUNT]; /* of the last segment in that state; -1: was never in it */
    bool present;              /* where the step ends */
    int told;                  /* state; -1: not yet */
};

static bool computes(int state) {
    return state == AC_PYTHON || state == AC_NATIVE;
}

static int code_of(const struct ac_profile *p, const struct ac_segment *s) {
    return s->state + 10 * p->nodes[s->node].activity + 50 * (s->cpu + 1);
}

static int cpu_of(int code) {
    return code / 50 - 1;
}

static void flush_piece(struct lane *lane) {
    if (lane->to > lane->from) {
        ac_buf_printf(&lane->buf, "%s%" PRId64 ",%" PRId64 ",%d", lane->at ? "," : "",
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

/* --- the reduction: what a thread did in a step is added to its states' balances; the state that a step is
 * told as pays for it */

struct reduction {
    const struct ac_profile *p;
    const struct ac_lanes *lanes;
    struct lane *of; /* threads */
    uint32_t count;
    int64_t step, at;      /* ns; the step at hand */
    int64_t *python;       /* per process: the balance of its threads that are present */
    uint32_t *most_python; /* per process: the thread with the largest */
    int64_t *cpu_balance;  /* by CPU: time that was used and is not told */
    int64_t *cpu_taken;    /* by CPU: 1 + the step that it is told in */
    int cpus;
};

/* Those whose Python threads can but take turns. */
bool ac_html_has_one_gil(const struct ac_process *process) {
    bool has_gil = process->free_threaded == 0 || process->gil_enabled == 1;
    return process->pid && has_gil && process->gils == 1; /* pid 0: a row of several */
}

static void take_step(struct reduction *r, uint32_t thread) {
    struct lane *lane = &r->of[thread];
    int64_t begin = r->at * r->step;
    int64_t end = begin + r->step;
    lane->filled = 0;
    lane->present = false;
    lane->told = -1;
    for (; r->lanes->first[thread] + lane->next < r->lanes->first[thread + 1]; lane->next++) {
        const struct ac_segment *s = &r->p->segments[r->lanes->order[r->lanes->first[thread] + lane->next]];
        int64_t ns = ac_min(s->to_ns, end) - ac_max(s->from_ns, begin);
        if (s->from_ns >= end) {
            break;
        }
        lane->codes[s->state] = code_of(r->p, s);
        lane->balance[s->state] += ac_max(ns, 0);
        lane->filled += ac_max(ns, 0);
        if (computes(s->state) && s->cpu >= 0) {
            r->cpu_balance[s->cpu] += ac_max(ns, 0);
        }
        if (s->to_ns >= end) { /* what ended before that is in the balance of the next */
            lane->present = true;
            break;
        }
    }
}

/* The thread's own CPU; where another thread is told there in this step, the one with most time untold. */
static int place(struct reduction *r, int code) {
    int own = cpu_of(code);
    if (own < 0) {
        return code;
    }
    int best = own;
    if (r->cpu_taken[own] == r->at + 1) {
        for (int cpu = 0; cpu < r->cpus; cpu++) {
            bool free = r->cpu_taken[cpu] != r->at + 1 && r->cpu_balance[cpu] > 0;
            bool more = r->cpu_taken[best] == r->at + 1 || r->cpu_balance[cpu] > r->cpu_balance[best];
            best = free && more ? cpu : best;
        }
    }
    r->cpu_taken[best] = r->at + 1;
    r->cpu_balance[best] -= r->step;
    return code + 50 * (best - own);
}

static void tell(struct reduction *r, struct lane *lane, int state) {
    lane->told = state;
    lane->balance[state] -= lane->filled;
    add_piece(lane, r->at, r->at + 1, computes(state) ? place(r, lane->codes[state]) : lane->codes[state]);
}

/* The largest balance: of the states that compute, or of all others (of any, if it was in no other). */
static int state_of(const struct lane *lane, bool computing, bool in_python) {
    int best = -1;
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        bool fits = lane->codes[s] >= 0 && computes(s) == computing && (in_python || s != AC_PYTHON);
        best = fits && (best < 0 || lane->balance[s] > lane->balance[best]) ? s : best;
    }
    return best;
}

static int64_t computed(const struct lane *lane) {
    return lane->balance[AC_PYTHON] + lane->balance[AC_NATIVE];
}

/* One thread of each GIL is told to be in Python, as long as their sum has a step. Returns how many. */
static int64_t tell_holders(struct reduction *r) {
    int64_t told = 0;
    for (size_t i = 0; i < r->p->process_count; i++) {
        r->python[i] = 0;
        r->most_python[i] = NOBODY;
    }
    for (uint32_t t = 0; t < r->count; t++) {
        struct lane *lane = &r->of[t];
        uint32_t process = r->p->threads[t].process;
        if (lane->present && lane->codes[AC_PYTHON] >= 0) {
            uint32_t most = r->most_python[process];
            r->python[process] += lane->balance[AC_PYTHON];
            if (most == NOBODY || lane->balance[AC_PYTHON] > r->of[most].balance[AC_PYTHON]) {
                r->most_python[process] = t;
            }
        }
    }
    for (size_t i = 0; i < r->p->process_count; i++) {
        if (2 * r->python[i] >= r->step && ac_html_has_one_gil(&r->p->processes[i])) {
            tell(r, &r->of[r->most_python[i]], AC_PYTHON);
            told++;
        }
    }
    return told;
}

/* And as many others as computed; then what the rest did. */
static void tell_step(struct reduction *r) {
    int64_t sum = 0;
    for (uint32_t t = 0; t < r->count; t++) {
        take_step(r, t);
        sum += r->of[t].present ? computed(&r->of[t]) : 0;
    }
    for (int64_t left = (sum + r->step / 2) / r->step - tell_holders(r); left > 0; left--) {
        struct lane *most = NULL;
        int as = -1;
        for (uint32_t t = 0; t < r->count; t++) {
            struct lane *lane = &r->of[t];
            bool gil = ac_html_has_one_gil(&r->p->processes[r->p->threads[t].process]);
            int state = lane->present && lane->told < 0 ? state_of(lane, true, !gil) : -1;
            if (state >= 0 && lane->balance[state] > (most ? most->balance[as] : 0)) {
                most = lane;
                as = state;
            }
        }
        if (!most) {
            break;
        }
        tell(r, most, as);
    }
    for (uint32_t t = 0; t < r->count; t++) {
        struct lane *lane = &r->of[t];
        if (lane->present && lane->told < 0) {
            int state = state_of(lane, false, true);
            tell(r, lane, state >= 0 ? state : state_of(lane, true, true));
        }
    }
}

static void clear_lanes(struct lane *lanes, uint32_t count) {
    for (uint32_t t = 0; t < count; t++) {
        struct lane *lane = &lanes[t];
        struct ac_buf buf = lane->buf;
        *lane = (struct lane){.buf = buf, .code = -1};
        ac_buf_clear(&lane->buf);
        memset(lane->codes, -1, sizeof(lane->codes));
    }
}

static int reduce(struct reduction *r, int64_t step) {
    size_t processes = r->p->process_count + 1;
    clear_lanes(r->of, r->count);
    r->step = step;
    r->python = ac_calloc(processes, sizeof(*r->python));
    r->most_python = ac_calloc(processes, sizeof(*r->most_python));
    r->cpu_balance = ac_calloc(2 * (size_t)r->cpus, sizeof(*r->cpu_balance));
    int err = r->python && r->most_python && r->cpu_balance ? 0 : -ENOMEM;
    r->cpu_taken = err ? NULL : r->cpu_balance + r->cpus;
    for (r->at = 0; !err && r->at * step < r->p->wall_ns; r->at++) {
        tell_step(r);
    }
    ac_free(r->python);
    ac_free(r->most_python);
    ac_free(r->cpu_balance);
    return err;
}

/* --- few pieces are told as they are, to the step of 10 us */

static void put_pieces(struct reduction *r, int64_t step) {
    clear_lanes(r->of, r->count);
    for (uint32_t t = 0; t < r->count; t++) {
        for (size_t i = r->lanes->first[t]; i < r->lanes->first[t + 1]; i++) {
            const struct ac_segment *s = &r->p->segments[r->lanes->order[i]];
            int64_t from = ac_max((s->from_ns + step / 2) / step, r->of[t].to);
            int64_t to = (s->to_ns + step / 2) / step;
            if (to > from) {
                add_piece(&r->of[t], from, to, code_of(r->p, s));
            }
        }
    }
}

/* The first step to try. */
static int64_t first_step(const struct ac_profile *p) {
    int64_t alive_ns = 0;
    for (size_t i = 0; i < p->segment_count; i++) {
        alive_ns += p->segments[i].to_ns - p->segments[i].from_ns;
    }
    return ac_max(10000, ac_max(ac_html_is_coarse(p) ? alive_ns / MAX_STEPS : 0, p->wall_ns / MAX_STEPS));
}

static size_t finish(struct reduction *r, int *err) {
    size_t len = 0;
    for (uint32_t t = 0; t < r->count; t++) {
        flush_piece(&r->of[t]);
        len += r->of[t].buf.len;
        *err = *err ? *err : r->of[t].buf.err;
    }
    return len;
}

static int make_lanes(struct reduction *r, size_t most, int64_t *ret_step) {
    int64_t step = first_step(r->p);
    int err = 0;
    if (!ac_html_is_coarse(r->p)) {
        put_pieces(r, step);
        finish(r, &err);
    } else {
        err = reduce(r, step);
        while (finish(r, &err) > most && step < r->p->wall_ns && !err) {
            step *= 2;
            err = reduce(r, step);
        }
    }
    *ret_step = step;
    return err;
}

static void put_threads(struct ac_page *page, const struct reduction *r, int64_t step) {
    const struct ac_profile *p = r->p;
    ac_buf_printf(page->buf, "\"step_ms\":%.6f,\"coarse\":%s,\"threads\":[", (double)step / 1e6,
                  ac_html_is_coarse(p) ? "true" : "false");
    for (uint32_t i = 0; i < r->count; i++) {
        const struct ac_thread *t = &p->threads[i];
        ac_buf_printf(page->buf, "%s{\"pid\":%d,\"tid\":%d,\"merged\":%u,\"name\":\"", i ? ",\n" : "",
                      p->processes[t->process].pid, t->tid, t->merged);
        ac_html_put_text(page, ac_profile_text(p, t->name), true);
        ac_buf_str(page->buf, "\",\"lane\":[");
        ac_buf_bytes(page->buf, ac_buf_text(&r->of[i].buf), r->of[i].buf.len);
        ac_buf_str(page->buf, "]}");
    }
    ac_buf_str(page->buf, "]");
}

bool ac_html_is_coarse(const struct ac_profile *p) {
    return p->segment_count > MAX_SEGMENTS;
}

int ac_html_put_lanes(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    struct ac_lanes lanes;
    int64_t step;
    int err = ac_lanes_new(p, &lanes);
    if (err) {
        return err;
    }
    struct reduction r = {.p = p, .lanes = &lanes, .cpus = 1};
    r.count = (uint32_t)ac_min(p->thread_count, (size_t)MAX_LANES);
    r.of = ac_calloc(r.count + 1, sizeof(*r.of));
    for (size_t i = 0; i < p->segment_count; i++) {
        r.cpus = ac_max(r.cpus, p->segments[i].cpu + 1);
    }
    size_t most = ac_min((size_t)MAX_LANE_BYTES, MAX_PAGE_BYTES / page->count) + 64 * (size_t)r.count;
    err = r.of ? make_lanes(&r, most, &step) : -ENOMEM;
    if (!err) {
        put_threads(page, &r, step);
    }
    for (uint32_t t = 0; r.of && t < r.count; t++) {
        ac_buf_free(&r.of[t].buf);
    }
    ac_free(r.of);
    ac_lanes_free(&lanes);
    return err;
}
