/* json.c - the report for programs; docs/report.schema.json describes it. What is not known is null. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/names.h"
#include "verdict/evidence.h"

#define MAX_THREADS 256
#define MAX_TOP     50
#define MAX_PAIRS   50

static json_t *real_or_null(double value, bool known) {
    return known && isfinite(value) ? json_real(value) : json_null();
}

static json_t *text_or_null(const char *text) {
    return text && *text ? ac_json_text(text) : json_null();
}

static json_t *int_or_null(int64_t value, bool known) {
    return known ? json_integer(value) : json_null();
}

static json_t *flag_or_null(int value) {
    return value < 0 ? json_null() : json_boolean(value);
}

static json_t *argv_of(const struct ac_profile *profile, const ac_str *argv, uint32_t argc, size_t kept) {
    json_t *list = json_array();
    for (size_t i = 0; i < argc && i < kept; i++) {
        if (json_array_append_new(list, ac_json_str(profile, argv[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *target_of(const struct ac_profile *p) {
    json_t *o = json_object();
    bool exited = p->exit_code >= 0;
    bool ok = ac_json_set(o, "pid", json_integer(p->pid)) &&
              ac_json_set(o, "argv", argv_of(p, p->argv, p->argc, AC_COUNT(p->argv))) &&
              ac_json_set(o, "exit_code", int_or_null(p->exit_code, exited)) &&
              ac_json_set(o, "exit_signal", int_or_null(p->exit_signal, p->exit_signal > 0));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *activity_of(const struct ac_process *process) {
    json_t *o = json_object();
    bool ok = true;
    for (int a = 0; a < AC_ACTIVITY_COUNT; a++) {
        ok = ok && ac_json_set(o, ac_activity_names[a], ac_json_seconds(process->activity_ns[a]));
    }
    return ok ? o : (json_decref(o), NULL);
}

static json_t *process_of(const struct ac_profile *p, const struct ac_process *process) {
    json_t *o = json_object();
    bool ok = ac_json_set(o, "pid", json_integer(process->pid)) &&
              ac_json_set(o, "ppid", json_integer(process->ppid)) &&
              ac_json_set(o, "argv", argv_of(p, process->argv, process->argc, AC_COUNT(process->argv))) &&
              ac_json_set(o, "python", text_or_null(ac_profile_text(p, process->python))) &&
              ac_json_set(o, "free_threaded", flag_or_null(process->free_threaded)) &&
              ac_json_set(o, "gil_enabled", flag_or_null(process->gil_enabled)) &&
              ac_json_set(o, "gil_enabled_by", text_or_null(ac_profile_text(p, process->gil_cause))) &&
              ac_json_set(o, "from_s", ac_json_seconds(process->from_ns)) &&
              ac_json_set(o, "to_s", ac_json_seconds(process->to_ns)) &&
              ac_json_set(o, "cpu_s", ac_json_seconds(process->cpu_ns)) &&
              ac_json_set(o, "activity_s", activity_of(process)) &&
              ac_json_set(o, "note", text_or_null(ac_profile_text(p, process->note)));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *processes_of(const struct ac_profile *p) {
    json_t *list = json_array();
    for (size_t i = 0; i < p->process_count; i++) {
        if (json_array_append_new(list, process_of(p, &p->processes[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *sampling_of(const struct ac_profile *p) {
    const struct ac_sampling *s = &p->sampling;
    json_t *o = json_object();
    bool ok = ac_json_set(o, "rate_hz", json_real(s->rate_hz)) &&
              ac_json_set(o, "reached_hz", json_real(s->reached_hz)) &&
              ac_json_set(o, "ticks", json_integer(s->ticks)) &&
              ac_json_set(o, "samples", json_integer(s->samples)) &&
              ac_json_set(o, "missed", json_integer(s->missed)) &&
              ac_json_set(o, "errors", json_integer(s->torn + s->read_errors)) &&
              ac_json_set(o, "torn", json_integer(s->torn)) &&
              ac_json_set(o, "lost", json_integer(s->lost)) &&
              ac_json_set(o, "exact_switches", json_boolean(s->ring)) &&
              ac_json_set(o, "sampler_cpu_s", ac_json_seconds(s->sampler_cpu_ns));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *cpus_of(const struct ac_profile *p, const struct ac_evidence *e) {
    const struct ac_cpus *c = &p->cpus;
    json_t *o = json_object();
    bool ok =
        ac_json_set(o, "online", json_integer(c->online)) &&
        ac_json_set(o, "affinity", json_integer(c->affinity)) &&
        ac_json_set(o, "quota", real_or_null(c->quota, c->quota > 0)) &&
        ac_json_set(o, "usable", json_real(c->usable)) && ac_json_set(o, "used", json_real(e->used)) &&
        ac_json_set(o, "others_used", real_or_null(e->others, e->others >= 0)) &&
        ac_json_set(o, "throttled_s", real_or_null((double)c->throttled_ns / 1e9, c->throttled_ns >= 0));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *thread_of(const struct ac_profile *p, const struct ac_thread *thread) {
    json_t *o = json_object();
    bool ok = ac_json_set(o, "pid", json_integer(p->processes[thread->process].pid)) &&
              ac_json_set(o, "tid", int_or_null(thread->tid, thread->tid > 0)) &&
              ac_json_set(o, "name", ac_json_str(p, thread->name)) &&
              ac_json_set(o, "python", flag_or_null(thread->python)) &&
              ac_json_set(o, "threads", json_integer(thread->merged)) &&
              ac_json_set(o, "cpu_s", ac_json_seconds(thread->cpu_ns)) &&
              ac_json_set(o, "states_s", ac_json_states(thread->states_ns));
    return ok ? o : (json_decref(o), NULL);
}

/* Everything beyond the cap, in one more row. */
static json_t *rest_of(const struct ac_profile *p, size_t from) {
    struct ac_thread rest = {0};
    json_t *o = json_object();
    for (size_t i = from; i < p->thread_count; i++) {
        rest.merged += p->threads[i].merged;
        rest.cpu_ns += p->threads[i].cpu_ns;
        for (int s = 0; s < AC_STATE_COUNT; s++) {
            rest.states_ns[s] += p->threads[i].states_ns[s];
        }
    }
    bool ok = ac_json_set(o, "pid", json_null()) && ac_json_set(o, "tid", json_null()) &&
              ac_json_set(o, "name", json_string("(the rest)")) && ac_json_set(o, "python", json_null()) &&
              ac_json_set(o, "threads", json_integer(rest.merged)) &&
              ac_json_set(o, "cpu_s", ac_json_seconds(rest.cpu_ns)) &&
              ac_json_set(o, "states_s", ac_json_states(rest.states_ns));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *threads_of(const struct ac_profile *p) {
    json_t *list = json_array();
    size_t kept = p->thread_count <= MAX_THREADS ? p->thread_count : MAX_THREADS - 1;
    bool ok = true;
    for (size_t i = 0; ok && i < kept; i++) {
        ok = json_array_append_new(list, thread_of(p, &p->threads[i])) == 0;
    }
    if (ok && kept < p->thread_count) {
        ok = json_array_append_new(list, rest_of(p, kept)) == 0;
    }
    return ok ? list : (json_decref(list), NULL);
}

/* --- top: leaf frames by state, heaviest first */

struct top {
    uint32_t frame;
    uint8_t state, kind;
    int64_t ns;
};

static int by_weight(const void *a, const void *b) {
    const struct top *x = a;
    const struct top *y = b;
    return (x->ns < y->ns) - (x->ns > y->ns);
}

static int collect_tops(const struct ac_profile *p, struct top **ret_tops, size_t *ret_count) {
    struct ac_map at = {0};
    struct top *tops = NULL;
    size_t count = 0;
    size_t cap = 0;
    int err = 0;
    for (size_t i = 0; !err && i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        uint32_t frame = cell->node ? p->nodes[cell->node].frame : UINT32_MAX;
        uint64_t key = (uint64_t)frame << 16 | (uint64_t)cell->state << 8 | cell->kind;
        uint32_t slot;
        if (!ac_map_get(&at, key, &slot)) {
            slot = (uint32_t)count;
            err = ac_grow(&tops, &cap, count + 1, sizeof(*tops));
            err = err ? err : ac_map_put(&at, key, slot);
            if (err) {
                break;
            }
            tops[count++] = (struct top){.frame = frame, .state = cell->state, .kind = cell->kind};
        }
        tops[slot].ns += cell->ns;
    }
    ac_map_free(&at);
    if (err) {
        ac_free(tops);
        return err;
    }
    if (count) {
        qsort(tops, count, sizeof(*tops), by_weight);
    }
    *ret_tops = tops;
    *ret_count = count;
    return 0;
}

static json_t *top_of(const struct ac_profile *p, const struct top *top) {
    static const char *const kinds[AC_KIND_COUNT] = {NULL, "bytecode", "c_function", NULL, NULL};
    bool known = top->frame != UINT32_MAX;
    const struct ac_frame *frame = known ? &p->frames[top->frame] : NULL;
    const struct ac_func *func = known ? &p->funcs[frame->func] : NULL;
    json_t *o = json_object();
    bool ok = ac_json_set(o, "state", json_string(ac_state_names[top->state])) &&
              ac_json_set(o, "function", known ? ac_json_str(p, func->name) : json_null()) &&
              ac_json_set(o, "file", known ? ac_json_str(p, func->file) : json_null()) &&
              ac_json_set(o, "line", int_or_null(known ? frame->line : 0, known && frame->line > 0)) &&
              ac_json_set(o, "inside", kinds[top->kind] ? json_string(kinds[top->kind]) : json_null()) &&
              ac_json_set(o, "seconds", ac_json_seconds(top->ns));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *tops_of(const struct ac_profile *p) {
    struct top *tops = NULL;
    size_t count = 0;
    if (collect_tops(p, &tops, &count)) {
        return NULL;
    }
    json_t *list = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < count && i < MAX_TOP; i++) {
        ok = json_array_append_new(list, top_of(p, &tops[i])) == 0;
    }
    ac_free(tops);
    return ok ? list : (json_decref(list), NULL);
}

/* --- who held the GIL while whom waited */

static json_t *func_name(const struct ac_profile *p, uint32_t func) {
    return func < p->func_count ? ac_json_str(p, p->funcs[func].name) : json_null();
}

static json_t *func_file(const struct ac_profile *p, uint32_t func) {
    return func < p->func_count ? ac_json_str(p, p->funcs[func].file) : json_null();
}

static int by_pair_weight(const void *a, const void *b) {
    const struct ac_gil_pair *x = a;
    const struct ac_gil_pair *y = b;
    return (x->ns < y->ns) - (x->ns > y->ns);
}

static json_t *pair_of(const struct ac_profile *p, const struct ac_gil_pair *pair) {
    json_t *o = json_object();
    bool ok = ac_json_set(o, "holder", func_name(p, pair->holder)) &&
              ac_json_set(o, "holder_file", func_file(p, pair->holder)) &&
              ac_json_set(o, "waiter", func_name(p, pair->waiter)) &&
              ac_json_set(o, "waiter_file", func_file(p, pair->waiter)) &&
              ac_json_set(o, "seconds", ac_json_seconds(pair->ns));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *pairs_of(const struct ac_profile *p) {
    struct ac_gil_pair *pairs = ac_malloc(p->pair_count * sizeof(*pairs));
    json_t *list = json_array();
    bool ok = pairs != NULL;
    if (ok && p->pair_count) {
        memcpy(pairs, p->pairs, p->pair_count * sizeof(*pairs));
        qsort(pairs, p->pair_count, sizeof(*pairs), by_pair_weight);
    }
    for (size_t i = 0; ok && i < p->pair_count && i < MAX_PAIRS; i++) {
        ok = json_array_append_new(list, pair_of(p, &pairs[i])) == 0;
    }
    ac_free(pairs);
    return ok ? list : (json_decref(list), NULL);
}

/* --- the verdict */

static json_t *fix_of(const struct ac_verdict *v) {
    if (!v->fix_text) {
        return json_null();
    }
    json_t *o = json_object();
    bool ok = ac_json_set(o, "text", ac_json_text(v->fix_text)) &&
              ac_json_set(o, "code", text_or_null(v->fix_code)) &&
              ac_json_set(o, "more", text_or_null(v->fix_more)) &&
              ac_json_set(o, "diff", text_or_null(v->fix_diff)) &&
              ac_json_set(o, "withheld", text_or_null(v->fix_withheld)) &&
              ac_json_set(o, "function", text_or_null(v->fix_place.function)) &&
              ac_json_set(o, "file", text_or_null(v->fix_place.file)) &&
              ac_json_set(o, "line", int_or_null(v->fix_place.line, v->fix_place.line > 0));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *estimate_of(const struct ac_verdict *v) {
    if (v->estimate_speedup <= 0) {
        return json_null();
    }
    json_t *o = json_object();
    bool ok = ac_json_set(o, "speedup", json_real(v->estimate_speedup)) &&
              ac_json_set(o, "cpus", real_or_null(v->estimate_cpus, v->estimate_cpus > 0)) &&
              ac_json_set(o, "bytes", int_or_null(v->estimate_bytes, v->estimate_bytes >= 0));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *verdict_of(const struct ac_verdict *v) {
    json_t *o = json_object();
    bool ok = ac_json_set(o, "id", json_string(v->id)) &&
              ac_json_set(o, "confidence", json_string(ac_confidence_names[v->confidence])) &&
              ac_json_set(o, "sentence", ac_json_text(v->sentence)) &&
              ac_json_set(o, "evidence", text_or_null(v->evidence)) && ac_json_set(o, "fix", fix_of(v)) &&
              ac_json_set(o, "estimate", estimate_of(v));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *also_of(const struct ac_diagnosis *diagnosis) {
    json_t *list = json_array();
    for (size_t i = 0; i < diagnosis->also_count; i++) {
        if (json_array_append_new(list, verdict_of(&diagnosis->also[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *phases_of(const struct ac_diagnosis *diagnosis) {
    json_t *list = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < diagnosis->phase_count; i++) {
        const struct ac_phase *phase = &diagnosis->phases[i];
        json_t *o = json_object();
        ok = ac_json_set(o, "from_s", json_real(phase->from_s)) &&
             ac_json_set(o, "to_s", json_real(phase->to_s)) &&
             ac_json_set(o, "cpus_used", json_real(phase->cpus_used)) &&
             ac_json_set(o, "id", json_string(phase->id)) &&
             ac_json_set(o, "sentence", ac_json_text(phase->sentence));
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    return ok ? list : (json_decref(list), NULL);
}

static json_t *limits_of(const struct ac_profile *p) {
    json_t *list = json_array();
    for (size_t i = 0; i < AC_LIMIT_BITS; i++) {
        if (p->limits & (1u << i) && json_array_append_new(list, json_string(ac_limit_names[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *python_split(const struct ac_profile *p) {
    int64_t ns[AC_KIND_COUNT] = {0};
    for (size_t i = 0; i < p->cell_count; i++) {
        if (p->cells[i].state == AC_PYTHON) {
            ns[p->cells[i].kind] += p->cells[i].ns;
        }
    }
    json_t *o = json_object();
    bool ok = ac_json_set(o, "bytecode", ac_json_seconds(ns[AC_KIND_BYTECODE])) &&
              ac_json_set(o, "c_function", ac_json_seconds(ns[AC_KIND_C_CALL])) &&
              ac_json_set(o, "not_told", ac_json_seconds(ns[AC_KIND_NONE]));
    return ok ? o : (json_decref(o), NULL);
}

int ac_report_json(const struct ac_profile *p, const struct ac_diagnosis *diagnosis, struct ac_buf *buf) {
    int64_t states_ns[AC_STATE_COUNT];
    ac_profile_states(p, states_ns);
    json_t *o = json_object();
    bool ok = ac_json_set(o, "schema", json_string("allcores-report-1")) &&
              ac_json_set(o, "target", target_of(p)) &&
              ac_json_set(o, "verdict", verdict_of(&diagnosis->main)) &&
              ac_json_set(o, "also", also_of(diagnosis)) && ac_json_set(o, "phases", phases_of(diagnosis)) &&
              ac_json_set(o, "wall_s", ac_json_seconds(p->wall_ns)) &&
              ac_json_set(o, "cpu_s", ac_json_seconds(p->cpu_ns)) &&
              ac_json_set(o, "cpus", cpus_of(p, diagnosis->evidence)) &&
              ac_json_set(o, "states_s", ac_json_states(states_ns)) &&
              ac_json_set(o, "python_s", python_split(p)) && ac_json_set(o, "processes", processes_of(p)) &&
              ac_json_set(o, "threads", threads_of(p)) && ac_json_set(o, "top", tops_of(p)) &&
              ac_json_set(o, "gil", pairs_of(p)) && ac_json_set(o, "sampling", sampling_of(p)) &&
              ac_json_set(o, "limits", limits_of(p));
    return ac_json_write(o, ok, buf);
}
