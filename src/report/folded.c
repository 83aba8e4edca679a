/* folded.c - collapsed stacks, one line a stack: "process;thread;root;...;leaf;[state] milliseconds", as
 * flamegraph.pl, inferno and speedscope read them. */
#include <inttypes.h>
#include <string.h>

#include "report/names.h"

/* A frame's name: ';' separates frames and a newline ends the line, so neither may stand in one. */
static void put_name(struct ac_buf *buf, const char *text) {
    struct ac_buf safe = {0};
    ac_buf_escaped(&safe, text, strlen(text));
    for (size_t i = 0; i < safe.len; i++) {
        if (safe.data[i] == ';') {
            safe.data[i] = ':';
        }
    }
    ac_buf_str(buf, ac_buf_text(&safe));
    ac_buf_free(&safe);
}

static void put_stack(const struct ac_profile *p, uint32_t leaf, struct ac_buf *buf) {
    uint32_t path[AC_MAX_DEPTH + 1];
    size_t depth = 0;
    for (uint32_t node = leaf; node && depth < AC_COUNT(path); node = p->nodes[node].parent) {
        path[depth++] = node;
    }
    while (depth) {
        const struct ac_frame *frame = &p->frames[p->nodes[path[--depth]].frame];
        const struct ac_func *func = &p->funcs[frame->func];
        ac_buf_str(buf, ";");
        put_name(buf, ac_profile_text(p, func->name));
        ac_buf_str(buf, " (");
        put_name(buf, ac_short_path(ac_profile_text(p, func->file)));
        ac_buf_printf(buf, ":%d)", frame->line);
    }
}

int ac_report_folded(const struct ac_profile *p, struct ac_buf *buf) {
    for (size_t i = 0; i < p->cell_count && !buf->err; i++) {
        const struct ac_cell *cell = &p->cells[i];
        const struct ac_thread *thread = &p->threads[cell->thread];
        int64_t ms = (cell->ns + AC_NS_PER_MS / 2) / AC_NS_PER_MS;
        if (ms == 0) {
            continue;
        }
        ac_buf_printf(buf, "process %d;", p->processes[thread->process].pid);
        put_name(buf, ac_profile_text(p, thread->name));
        ac_buf_printf(buf, " %d", thread->tid);
        put_stack(p, cell->node, buf);
        ac_buf_printf(buf, ";[%s%s] %" PRId64 "\n", ac_state_names[cell->state],
                      cell->kind == AC_KIND_C_CALL ? ", in a C function" : "", ms);
    }
    return buf->err;
}
