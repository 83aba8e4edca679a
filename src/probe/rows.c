/* rows.c - what was seen, into the profile: rows, cells and segments.
 *
 * A thread gets its own row once it is 100 ms old (a process's main thread, whenever its process has one).
 * Until then its cells and segments wait in a small buffer; if it ends first, they go to the row that its
 * process's short-lived threads share, so that a program that starts a thread for each item has one row for
 * all of them. */
#include <stdio.h>
#include <string.h>

#include "probe/sampler_internal.h"

/* Rows that processes younger than AC__YOUNG_NS may take; the later ones of them share the last row. */
enum { YOUNG_PROCESSES = AC_CAP_PROCESSES / 2 };

static void note_error(struct ac_sampler *sampler, int r) {
    if (r < 0 && sampler->err == 0)
        sampler->err = r;
}

static uint32_t add_process_row(struct ac_sampler *sampler, const struct ac_process *info) {
    struct ac_profile *profile = sampler->profile;
    int r = ac_grow(&profile->processes, &profile->process_cap, profile->process_count + 1,
                    sizeof *profile->processes);
    if (r < 0) {
        note_error(sampler, r);
        return AC__NONE;
    }
    profile->processes[profile->process_count] = *info;
    return (uint32_t)profile->process_count++;
}

uint32_t ac__row_process(struct ac_sampler *sampler, struct ac__process *process) {
    if (process->row != AC__NONE)
        return process->row;
    struct ac_profile *profile = sampler->profile;
    bool young = sampler->tick_ns - process->born_ns < AC__YOUNG_NS;
    size_t cap = young ? YOUNG_PROCESSES : AC_CAP_PROCESSES - 1;
    if (profile->process_count < cap) {
        process->row = add_process_row(sampler, &process->info);
        return process->row;
    }
    if (sampler->overflow_process == AC__NONE) {
        struct ac_process rest = process->info;
        rest.pid = 0;
        sampler->overflow_process = add_process_row(sampler, &rest);
    }
    profile->limits |= AC_LIMIT_THREADS_MERGED;
    process->row = sampler->overflow_process;
    return process->row;
}

static uint32_t add_thread_row(struct ac_sampler *sampler, const struct ac_thread *thread) {
    struct ac_profile *profile = sampler->profile;
    int r =
        ac_grow(&profile->threads, &profile->thread_cap, profile->thread_count + 1, sizeof *profile->threads);
    if (r == 0)
        r = ac_grow(&sampler->rows, &sampler->row_cap, profile->thread_count + 1, sizeof *sampler->rows);
    if (r < 0) {
        note_error(sampler, r);
        return AC__NONE;
    }
    profile->threads[profile->thread_count] = *thread;
    return (uint32_t)profile->thread_count++;
}

/* The row of last resort, when threads have used up theirs. */
static uint32_t overflow_row(struct ac_sampler *sampler, uint32_t process_row) {
    if (sampler->overflow_thread == AC__NONE) {
        struct ac_thread rest = {.process = process_row,
                                 .python = -1,
                                 .switches_voluntary = -1,
                                 .switches_forced = -1,
                                 .from_ns = INT64_MAX};
        sampler->overflow_thread = add_thread_row(sampler, &rest);
    }
    sampler->profile->limits |= AC_LIMIT_THREADS_MERGED;
    return sampler->overflow_thread;
}

static ac_str thread_name(struct ac_sampler *sampler, const struct ac__thread *thread) {
    char name[64];
    ac_str text = 0;
    const struct ac__process *process = &sampler->processes[thread->process];
    if (ac_task_comm(process->pid, thread->tid, name, sizeof name) < 0) {
        /* Ended before it was asked: the name that the kernel gave it at exec. */
        const char *slash = strrchr(process->exe, '/');
        snprintf(name, sizeof name, "%.15s", slash ? slash + 1 : process->exe);
    }
    note_error(sampler, ac_profile_string(sampler->profile, name, strlen(name), &text));
    return text;
}

static uint32_t new_row(struct ac_sampler *sampler, const struct ac__thread *thread, uint32_t process_row) {
    if (sampler->profile->thread_count >= AC_CAP_THREADS - 1)
        return overflow_row(sampler, process_row);
    struct ac_thread row = {.process = process_row,
                            .tid = thread->tid,
                            .name = thread_name(sampler, thread),
                            .main = thread->main,
                            .python = thread->python,
                            .from_ns = INT64_MAX};
    return add_thread_row(sampler, &row);
}

static void put_cell(struct ac_sampler *sampler, uint32_t row, struct ac__label label, int64_t ns) {
    note_error(sampler, ac_profile_cell(sampler->profile, row, label.node, (enum ac_state)label.state,
                                        (enum ac_kind)label.kind, ns));
}

static void young_to_row(struct ac_sampler *sampler, struct ac__thread *thread, bool segments) {
    struct ac__young *young = thread->young;
    if (!young)
        return;
    for (uint32_t i = 0; i < young->cell_count; i++) {
        struct ac__label label = {
            .state = young->cells[i].state, .kind = young->cells[i].kind, .node = young->cells[i].node};
        put_cell(sampler, thread->row, label, young->cells[i].ns);
    }
    for (uint32_t i = 0; segments && i < young->segment_count; i++) {
        young->segments[i].thread = thread->row;
        note_error(sampler, ac_profile_segment(sampler->profile, &young->segments[i]));
    }
    ac_free(young);
    thread->young = NULL;
}

void ac__row_promote(struct ac_sampler *sampler, struct ac__thread *thread) {
    if (thread->row != AC__NONE)
        return;
    uint32_t process_row = ac__row_process(sampler, &sampler->processes[thread->process]);
    if (process_row == AC__NONE)
        return;
    thread->row = new_row(sampler, thread, process_row);
    if (thread->row != AC__NONE)
        young_to_row(sampler, thread, thread->row != sampler->overflow_thread);
}

/* False when the buffer is full. */
static bool young_cell(struct ac__young *young, struct ac__label label, int64_t ns) {
    for (uint32_t i = 0; i < young->cell_count; i++)
        if (young->cells[i].node == label.node && young->cells[i].state == label.state &&
            young->cells[i].kind == label.kind) {
            young->cells[i].ns += ns;
            return true;
        }
    if (young->cell_count >= AC__YOUNG_CELLS)
        return false;
    uint32_t i = young->cell_count++;
    young->cells[i].node = label.node;
    young->cells[i].state = label.state;
    young->cells[i].kind = label.kind;
    young->cells[i].ns = ns;
    return true;
}

static bool has_buffer(struct ac_sampler *sampler, struct ac__thread *thread) {
    if (!thread->young)
        thread->young = ac_calloc(1, sizeof *thread->young);
    if (!thread->young)
        note_error(sampler, -ENOMEM);
    return thread->young;
}

void ac__row_cell(struct ac_sampler *sampler, struct ac__thread *thread, struct ac__label label, int64_t ns) {
    if (thread->row == AC__NONE) {
        if (!has_buffer(sampler, thread) || young_cell(thread->young, label, ns))
            return;
        ac__row_promote(sampler, thread);
    }
    if (thread->row != AC__NONE)
        put_cell(sampler, thread->row, label, ns);
}

static void put_segment(struct ac_sampler *sampler, struct ac__thread *thread, int64_t to) {
    if (thread->row == sampler->overflow_thread && thread->row != AC__NONE)
        return; /* several threads in one line would overlap */
    struct ac_segment segment = {.from_ns = thread->segment_ns - sampler->start_ns,
                                 .to_ns = to - sampler->start_ns,
                                 .thread = thread->row,
                                 .node = thread->label.node,
                                 .state = thread->label.state,
                                 .kind = thread->label.kind,
                                 .cpu = thread->label.cpu,
                                 .owner = thread->label.owner};
    if (segment.to_ns <= segment.from_ns)
        return;
    segment.from_ns = ac_max(segment.from_ns, INT64_C(0));
    if (thread->row == AC__NONE) {
        if (!has_buffer(sampler, thread))
            return;
        if (thread->young->segment_count < AC__YOUNG_SEGMENTS) {
            thread->young->segments[thread->young->segment_count++] = segment;
            return;
        }
        ac__row_promote(sampler, thread);
        if (thread->row == AC__NONE || thread->row == sampler->overflow_thread)
            return;
        segment.thread = thread->row;
    }
    note_error(sampler, ac_profile_segment(sampler->profile, &segment));
}

void ac__row_flush(struct ac_sampler *sampler, struct ac__thread *thread, int64_t now) {
    if (!thread->seen)
        return;
    if (thread->pending_ns > 0)
        ac__row_cell(sampler, thread, thread->label, thread->pending_ns);
    thread->pending_ns = 0;
    put_segment(sampler, thread, now);
    thread->segment_ns = ac_max(now, thread->segment_ns);
}

static bool same_label(struct ac__label a, struct ac__label b) {
    return a.state == b.state && a.kind == b.kind && a.cpu == b.cpu && a.node == b.node && a.owner == b.owner;
}

void ac__row_observe(struct ac_sampler *sampler, struct ac__thread *thread, struct ac__label label,
                     int64_t since) {
    struct ac_account *account = &thread->account;
    if (!thread->seen || !same_label(thread->label, label)) {
        ac__row_flush(sampler, thread, since);
        if (!thread->seen)
            thread->segment_ns = ac_max(since, thread->born_ns);
        thread->label = label;
        thread->seen = true;
    }
    if (thread->row == AC__NONE && sampler->tick_ns - thread->born_ns >= AC__YOUNG_NS)
        ac__row_promote(sampler, thread);
    thread->pending_ns += sampler->gap_ns;
    account->weight_ns[label.state] += sampler->gap_ns;
    account->samples++;
    account->cpu_samples += thread->running;
    sampler->profile->sampling.samples++;
}

/* The row that short-lived threads of one process share. */
static uint32_t merged_row(struct ac_sampler *sampler, struct ac__process *process,
                           const struct ac__thread *thread) {
    if (process->merged_row != AC__NONE)
        return process->merged_row;
    uint32_t process_row = ac__row_process(sampler, process);
    if (process_row == AC__NONE)
        return AC__NONE;
    if (process_row == sampler->overflow_process)
        process->merged_row = overflow_row(sampler, process_row);
    else
        process->merged_row = new_row(sampler, thread, process_row);
    return process->merged_row;
}

static void place(struct ac_sampler *sampler, struct ac__thread *thread, int64_t now, bool final) {
    struct ac__process *process = &sampler->processes[thread->process];
    bool own = final || now - thread->born_ns >= AC__YOUNG_NS || thread->main;
    if (own && thread->main && ac__row_process(sampler, process) == sampler->overflow_process)
        own = false;
    if (own) {
        ac__row_promote(sampler, thread);
        return;
    }
    thread->row = merged_row(sampler, process, thread);
    if (thread->row != AC__NONE)
        young_to_row(sampler, thread, false);
}

static void add_to_row(struct ac_sampler *sampler, const struct ac__thread *thread, int64_t now) {
    struct ac_thread *row = &sampler->profile->threads[thread->row];
    struct ac_account *sums = &sampler->rows[thread->row];
    if (row->merged == 0) {
        sums->unreadable = thread->account.unreadable;
        sums->cpu_state = thread->account.cpu_state;
        sums->on_cpu_exact = thread->account.on_cpu_exact;
    } else {
        sums->unreadable &= thread->account.unreadable;
        sums->on_cpu_exact &= thread->account.on_cpu_exact;
        row->tid = 0;
        row->name = 0;
        row->main = 0;
    }
    ac_account_add(sums, &thread->account);
    row->merged++;
    row->python = ac_max(row->python, thread->python);
    row->from_ns = ac_min(row->from_ns, thread->born_ns);
    row->to_ns = ac_max(row->to_ns, now);
    if (thread->watched_count > 0) {
        uint32_t mean = (thread->watched_sum + thread->watched_count / 2) / thread->watched_count;
        if (!thread->listens)
            row->watched = (uint8_t)ac_min(ac_max(mean, row->watched), UINT8_MAX);
        row->switches_before = (uint8_t)ac_min(row->switches_before + thread->switches_before, UINT8_MAX);
    }
    row->switches_voluntary += thread->switches_voluntary;
    row->switches_forced += thread->switches_forced;
}

/* How CPU time is told where no GIL could be read. */
static void set_cpu_state(const struct ac__process *process, struct ac_account *account) {
    static const uint8_t guess[] = {[AC__RUNTIME_NOT_YET] = AC_NATIVE,
                                    [AC__RUNTIME_BOOT] = AC_PYTHON,
                                    [AC__RUNTIME_OPEN] = AC_PYTHON,
                                    [AC__RUNTIME_DENIED] = AC_NATIVE,
                                    [AC__RUNTIME_STRANGE] = AC_UNKNOWN};
    account->unreadable = process->runtime != AC__RUNTIME_OPEN;
    account->cpu_state = guess[process->runtime];
    if (process->looks_python && process->runtime == AC__RUNTIME_NOT_YET)
        account->cpu_state = AC_PYTHON; /* ended before we could look: it had just started */
    if (process->looks_python && process->runtime == AC__RUNTIME_DENIED)
        account->cpu_state = AC_UNKNOWN;
}

/* A Python that ended before its runtime could be read, or before it was seen on a CPU, was starting up. */
static void settle_start(struct ac_sampler *sampler, const struct ac__process *process,
                         struct ac__thread *thread) {
    struct ac__label start = {.state = AC_PYTHON, .node = sampler->start_up_node};
    if (!process->looks_python || process->forked || !thread->main)
        return;
    if (thread->account.unreadable && thread->account.cpu_state == AC_PYTHON)
        ac__runtime_settle_boot(sampler, thread);
    if (thread->account.cpu_samples == 0)
        ac__row_cell(sampler, thread, start, 1);
}

void ac__row_retire(struct ac_sampler *sampler, struct ac__thread *thread, int64_t now, bool final) {
    ac__exact_total(sampler, thread, now, !final);
    struct ac__process *process = &sampler->processes[thread->process];
    thread->account.on_cpu_exact = sampler->ring != NULL && !thread->resync;
    set_cpu_state(process, &thread->account);
    settle_start(sampler, process, thread);
    ac__row_flush(sampler, thread, now);
    place(sampler, thread, now, final);
    ac_free(thread->young);
    thread->young = NULL;
    process->only_row = thread->row;
    if (thread->row != AC__NONE)
        add_to_row(sampler, thread, now);
}

/* CPU time that the process's clock shows and no thread of it that we saw. It is life that we did not see, or
 * life of a thread whose last moments we did not. */
void ac__row_missing(struct ac_sampler *sampler, struct ac__process *process, int64_t ns) {
    struct ac__thread ghost = {.used = true,
                               .process = (uint32_t)(process - sampler->processes),
                               .row = process->only_row,
                               .python = -1,
                               .born_ns = process->born_ns};
    set_cpu_state(process, &ghost.account);
    if (process->threads_ever != 1 || ghost.row == AC__NONE)
        ghost.row = merged_row(sampler, process, &ghost);
    if (ghost.row == AC__NONE)
        return;
    struct ac_account *row = &sampler->rows[ghost.row];
    if (sampler->profile->threads[ghost.row].merged == 0)
        add_to_row(sampler, &ghost, sampler->tick_ns);
    row->run_ns += ns;
    row->blind_ns += ns;
    row->alive_ns = ac_max(row->alive_ns, row->run_ns + row->delay_ns);
}
