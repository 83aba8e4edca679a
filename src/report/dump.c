/* dump.c - one look at every thread, for programs: {"processes": [{pid, python, threads: [...]}]}. */
#include "report/names.h"

static json_t *stack_of(const struct ac_profile *p, uint32_t node) {
    json_t *list = json_array();
    bool ok = true;
    for (; ok && node; node = p->nodes[node].parent) {
        const struct ac_frame *frame = &p->frames[p->nodes[node].frame];
        const struct ac_func *func = &p->funcs[frame->func];
        json_t *o = json_object();
        ok = ac_json_set(o, "function", ac_json_str(p, func->name)) &&
             ac_json_set(o, "file", ac_json_str(p, func->file)) &&
             ac_json_set(o, "line", json_integer(frame->line));
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    return ok ? list : (json_decref(list), NULL);
}

/* tid of the thread that has the RLock that this one waits for */
static json_t *owner_of(const struct ac_profile *p, const struct ac_segment *segment) {
    return segment->owner ? json_integer(p->threads[segment->owner - 1].tid) : json_null();
}

static json_t *thread_of(const struct ac_profile *p, const struct ac_segment *segment) {
    const struct ac_thread *thread = &p->threads[segment->thread];
    json_t *o = json_object();
    bool ok = ac_json_set(o, "tid", json_integer(thread->tid)) &&
              ac_json_set(o, "name", ac_json_str(p, thread->name)) &&
              ac_json_set(o, "state", json_string(ac_state_names[segment->state])) &&
              ac_json_set(o, "holds_gil", json_boolean(segment->state == AC_PYTHON)) &&
              ac_json_set(o, "inside_c_function", json_boolean(segment->kind == AC_KIND_C_CALL)) &&
              ac_json_set(o, "cpu", segment->cpu >= 0 ? json_integer(segment->cpu) : json_null()) &&
              ac_json_set(o, "lock_owner", owner_of(p, segment)) &&
              ac_json_set(o, "stack", stack_of(p, segment->node));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *process_of(const struct ac_profile *p, uint32_t index) {
    const struct ac_process *process = &p->processes[index];
    json_t *threads = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < p->segment_count; i++) {
        if (p->threads[p->segments[i].thread].process == index) {
            ok = json_array_append_new(threads, thread_of(p, &p->segments[i])) == 0;
        }
    }
    json_t *o = json_object();
    ok = ac_json_set(o, "threads", threads) && ok;
    ok = ok && ac_json_set(o, "pid", json_integer(process->pid)) &&
         ac_json_set(o, "ppid", json_integer(process->ppid)) &&
         ac_json_set(o, "python", process->python ? ac_json_str(p, process->python) : json_null()) &&
         ac_json_set(o, "note", process->note ? ac_json_str(p, process->note) : json_null());
    return ok ? o : (json_decref(o), NULL);
}

int ac_report_dump_json(const struct ac_profile *p, struct ac_buf *buf) {
    json_t *o = json_object();
    json_t *processes = json_array();
    bool ok = true;
    for (uint32_t i = 0; ok && i < p->process_count; i++) {
        ok = json_array_append_new(processes, process_of(p, i)) == 0;
    }
    ok = ac_json_set(o, "processes", processes) && ok;
    return ac_json_write(o, ok, buf);
}
