/* cmd_dump.c - allcores dump: one look at every thread of a process: its state, who holds the GIL, the
 * stacks. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "os/os.h"
#include "probe/sampler.h"

static void put_name(struct ac_buf *buf, const struct ac_profile *profile, ac_str str) {
    const char *text = ac_profile_text(profile, str);
    ac_buf_escaped(buf, text, strlen(text));
}

static const char *state_words(const struct ac_segment *segment) {
    static const char *const words[AC_STATE_COUNT] = {"running Python, holds the GIL",
                                                      "waits for the GIL",
                                                      "running native code",
                                                      "runnable, waits for a CPU",
                                                      "waits for I/O",
                                                      "waits for the disk",
                                                      "waits for a lock",
                                                      "sleeps",
                                                      "waits (a child, a page, stopped)",
                                                      "not to be told"};
    if (segment->state == AC_UNKNOWN) {
        return segment->cpu >= 0 ? "running, or ready to (no more can be told)"
                                 : "blocked (no more can be told)";
    }
    return segment->state == AC_PYTHON && segment->kind == AC_KIND_C_CALL
               ? "running Python, holds the GIL, inside a C function"
               : words[segment->state];
}

static void text_thread(struct ac_buf *buf, const struct ac_profile *profile,
                        const struct ac_segment *segment) {
    const struct ac_thread *thread = &profile->threads[segment->thread];
    ac_buf_printf(buf, "\n  thread %d ", thread->tid);
    put_name(buf, profile, thread->name);
    ac_buf_printf(buf, ": %s", state_words(segment));
    if (segment->cpu >= 0) {
        ac_buf_printf(buf, ", on CPU %d", segment->cpu);
    }
    if (segment->owner) {
        ac_buf_printf(buf, ", thread %d has it (an RLock)", profile->threads[segment->owner - 1].tid);
    }
    ac_buf_str(buf, "\n");
    for (uint32_t node = segment->node; node; node = profile->nodes[node].parent) {
        const struct ac_frame *frame = &profile->frames[profile->nodes[node].frame];
        const struct ac_func *func = &profile->funcs[frame->func];
        ac_buf_str(buf, "    ");
        put_name(buf, profile, func->name);
        ac_buf_str(buf, "  ");
        put_name(buf, profile, func->file);
        ac_buf_printf(buf, ":%d\n", frame->line);
    }
}

static void text(struct ac_buf *buf, const struct ac_profile *profile) {
    for (uint32_t p = 0; p < profile->process_count; p++) {
        const struct ac_process *process = &profile->processes[p];
        ac_buf_printf(buf, "%sprocess %d  ", p ? "\n" : "", process->pid);
        put_name(buf, profile, process->python);
        for (uint32_t i = 0; i < ac_min(process->argc, (uint32_t)AC_COUNT(process->argv)); i++) {
            ac_buf_str(buf, i ? " " : process->python ? "  " : "");
            put_name(buf, profile, process->argv[i]);
        }
        ac_buf_str(buf, "\n");
        if (process->note) {
            ac_buf_str(buf, "  ");
            put_name(buf, profile, process->note);
            ac_buf_str(buf, "\n");
        }
        for (size_t i = 0; i < profile->segment_count; i++) {
            if (profile->threads[profile->segments[i].thread].process == p) {
                text_thread(buf, profile, &profile->segments[i]);
            }
        }
    }
}

static int explain(int64_t pid, int err) {
    if (err == -ESRCH) {
        return ac_fail("no process %lld; is it gone?", (long long)pid);
    }
    return ac_fail("process %lld cannot be read: %s", (long long)pid, strerror(-err));
}

static int run(const struct ac_settings *settings) {
    struct ac_profile *profile;
    if (!settings->pid || settings->rest_count) {
        return ac_fail("which process? allcores dump --pid N");
    }
    int err = ac_snapshot((pid_t)settings->pid, !settings->no_children, &profile);
    if (err) {
        return explain(settings->pid, err);
    }
    struct ac_buf buf = {0};
    if (settings->json) {
        err = ac_report_dump_json(profile, &buf);
    } else {
        text(&buf, profile);
    }
    if (profile->limits & AC_LIMIT_NO_PTRACE) {
        ac_warn("%s", ac_ptrace_help);
    }
    err = err ? err : ac_print(STDOUT_FILENO, &buf);
    ac_buf_free(&buf);
    ac_profile_free(profile);
    return err ? ac_fail("stdout: %s", strerror(-err)) : 0;
}

const struct ac_command ac_cmd_dump = {
    .name = "dump",
    .summary = "Every thread's state, the GIL's holder and the stacks, once",
    .usage = "allcores dump --pid PID [--json] [--no-children]",
    .details = "The process is not stopped. Leaf frames come first.\n",
    .options = AC_TAKES(AC_OPT_PID) | AC_TAKES(AC_OPT_JSON) | AC_TAKES(AC_OPT_NO_CHILDREN),
    .run = run,
};
