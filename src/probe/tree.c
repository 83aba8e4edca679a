/* tree.c - which processes and threads there are.
 *
 * With the ring: its fork, exit and exec records, exact in time. Without: the link count of task/ says
 * cheaply that threads came or went, then the directory is read; children are looked for as often as costs
 * little. What a scan finds has been there for some part of the gap since the last. */
#include <stdlib.h>
#include <string.h>

#include "probe/sampler_internal.h"

enum { MAX_IDS = 65536, MAX_TREE = 65536 };
/* A scan may use this share of our time, so that many threads do not make us slow: 1 / SCAN_SHARE. */
/* Less than this part of a process's CPU time is no thread that we missed, only clocks read at different
 * times. */
enum { MISSING_SHARE = 100 };
enum { SCAN_SHARE = 200, CHURN_SHARE = 50 };
#define SCAN_MIN_NS (10 * AC_NS_PER_MS)
#define SCAN_MAX_NS (200 * AC_NS_PER_MS)
#define CLOCK_NS    (50 * AC_NS_PER_MS)

static uint32_t free_slot_thread(struct ac_sampler *sampler) {
    for (size_t i = sampler->free_thread; i < sampler->thread_top; i++)
        if (!sampler->threads[i].used) {
            sampler->free_thread = (uint32_t)i + 1;
            return (uint32_t)i;
        }
    size_t top = sampler->thread_top;
    if (top >= MAX_IDS ||
        ac_grow(&sampler->threads, &sampler->thread_cap, top + 1, sizeof *sampler->threads) < 0)
        return AC__NONE;
    sampler->free_thread = (uint32_t)++sampler->thread_top;
    return (uint32_t)top;
}

static uint32_t free_slot_process(struct ac_sampler *sampler) {
    for (size_t i = sampler->free_process; i < sampler->process_top; i++)
        if (!sampler->processes[i].used) {
            sampler->free_process = (uint32_t)i + 1;
            return (uint32_t)i;
        }
    size_t top = sampler->process_top;
    if (top >= MAX_TREE ||
        ac_grow(&sampler->processes, &sampler->process_cap, top + 1, sizeof *sampler->processes) < 0)
        return AC__NONE;
    sampler->free_process = (uint32_t)++sampler->process_top;
    return (uint32_t)top;
}

static pid_t inner_tid(struct ac_sampler *sampler, const struct ac__process *process, pid_t tid) {
    if (process->same_namespace)
        return tid;
    struct ac_status status;
    if (ac_task_status(process->pid, tid, &status) < 0)
        return 0;
    if (status.ns_depth < 1) {
        sampler->profile->limits |= AC_LIMIT_OTHER_NAMESPACE;
        return 0;
    }
    return status.ns_pid[status.ns_depth - 1];
}

static void link_thread(struct ac_sampler *sampler, struct ac__process *process, uint32_t slot) {
    struct ac__thread *thread = &sampler->threads[slot];
    thread->next = process->first_thread;
    thread->prev = AC__NONE;
    if (thread->next != AC__NONE)
        sampler->threads[thread->next].prev = slot;
    process->first_thread = slot;
    process->threads++;
    process->threads_ever++;
    sampler->live_threads++;
}

static void unlink_thread(struct ac_sampler *sampler, struct ac__process *process,
                          struct ac__thread *thread) {
    if (thread->prev != AC__NONE)
        sampler->threads[thread->prev].next = thread->next;
    else
        process->first_thread = thread->next;
    if (thread->next != AC__NONE)
        sampler->threads[thread->next].prev = thread->prev;
    process->threads--;
    sampler->live_threads--;
}

uint32_t ac__tree_add_thread(struct ac_sampler *sampler, uint32_t process_slot, pid_t tid, int64_t now) {
    uint32_t slot;
    if (ac_map_get(&sampler->by_tid, (uint64_t)tid, &slot))
        return slot;
    slot = free_slot_thread(sampler);
    if (slot == AC__NONE || ac_map_put(&sampler->by_tid, (uint64_t)tid, slot) < 0) {
        sampler->err = sampler->err ? sampler->err : -ENOMEM;
        return AC__NONE;
    }
    struct ac__process *process = &sampler->processes[process_slot];
    sampler->threads[slot] = (struct ac__thread){.used = true,
                                                 .main = tid == process->pid,
                                                 .process = process_slot,
                                                 .tid = tid,
                                                 .ns_tid = inner_tid(sampler, process, tid),
                                                 .born_ns = now,
                                                 .row = AC__NONE,
                                                 .dirty = true,
                                                 .preempted = true, /* runnable, until its first switch */
                                                 .cpu = -1,
                                                 .switched_ns = now,
                                                 .leaf_func = AC__NONE,
                                                 .python = process->runtime == AC__RUNTIME_OPEN ? 0 : -1};
    link_thread(sampler, process, slot);
    ac__runtime_rescan(process, now);
    return slot;
}

void ac__tree_end_thread(struct ac_sampler *sampler, uint32_t slot, int64_t now) {
    struct ac__thread *thread = &sampler->threads[slot];
    struct ac__process *process = &sampler->processes[thread->process];
    ac__row_retire(sampler, thread, now, false);
    process->run_sum_ns += thread->account.run_ns;
    ac__task_drop(sampler, thread);
    ac_map_remove(&sampler->by_tid, (uint64_t)thread->tid);
    unlink_thread(sampler, process, thread);
    ac__runtime_rescan(process, now);
    thread->used = false;
    sampler->free_thread = ac_min(sampler->free_thread, slot);
}

static bool name_is_python(const char *path) {
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return strncmp(name, "python", 6) == 0 || strncmp(name, "pypy", 4) == 0 ||
           strncmp(name, "graalpy", 7) == 0;
}

static void describe_argv(struct ac_sampler *sampler, struct ac__process *process) {
    struct ac_buf buf = {0};
    size_t argc = 0;
    if (ac_process_argv(process->pid, &buf, &argc) < 0 || buf.len == 0) {
        ac_buf_free(&buf);
        return;
    }
    struct ac_process *info = &process->info;
    memset(info->argv, 0, sizeof info->argv);
    info->argc = (uint32_t)argc;
    const char *text = buf.data, *end = buf.data + buf.len;
    for (size_t i = 0; i < AC_COUNT(info->argv) && i < argc && text < end; i++) {
        size_t len = strnlen(text, (size_t)(end - text));
        ac_profile_string(sampler->profile, text, len, &info->argv[i]);
        text += len + 1;
    }
    process->looks_python = name_is_python(process->exe[0] ? process->exe : buf.data);
    process->describe = false;
    ac_buf_free(&buf);
}

void ac__tree_describe(struct ac_sampler *sampler, struct ac__process *process) {
    if (ac_process_exe(process->pid, process->exe, sizeof process->exe) < 0)
        process->exe[0] = '\0';
    ac_profile_string(sampler->profile, process->exe, strlen(process->exe), &process->info.exe);
    process->looks_python = name_is_python(process->exe);
    describe_argv(sampler, process);
    /* Right after an exec the arguments are not in place yet. */
    if (++process->describe_tries >= 20)
        process->describe = false;
    if (process->row != AC__NONE && process->row != sampler->overflow_process) {
        struct ac_process *row = &sampler->profile->processes[process->row];
        memcpy(row->argv, process->info.argv, sizeof row->argv);
        row->argc = process->info.argc;
        row->exe = process->info.exe;
    }
}

/* A forked child is its parent until it execs: same program, same interpreter. */
static void inherit(struct ac_sampler *sampler, struct ac__process *process, pid_t ppid) {
    uint32_t slot;
    process->describe = true;
    if (!ac_map_get(&sampler->by_pid, (uint64_t)ppid, &slot))
        return;
    const struct ac__process *parent = &sampler->processes[slot];
    memcpy(process->info.argv, parent->info.argv, sizeof process->info.argv);
    process->info.argc = parent->info.argc;
    process->info.exe = parent->info.exe;
    process->looks_python = parent->looks_python || parent->runtime == AC__RUNTIME_OPEN;
    memcpy(process->exe, parent->exe, sizeof process->exe);
    process->forked = true;
    if (sampler->ring && parent->info.argc > 0 && !parent->describe)
        process->describe = false; /* an exec will say so */
}

uint32_t ac__tree_add_process(struct ac_sampler *sampler, pid_t pid, pid_t ppid, int64_t now) {
    uint32_t slot;
    if (ac_map_get(&sampler->by_pid, (uint64_t)pid, &slot))
        return slot;
    slot = free_slot_process(sampler);
    if (slot == AC__NONE || ac_map_put(&sampler->by_pid, (uint64_t)pid, slot) < 0) {
        sampler->err = sampler->err ? sampler->err : -ENOMEM;
        return AC__NONE;
    }
    struct ac__process *process = &sampler->processes[slot];
    *process = (struct ac__process){.used = true,
                                    .root = pid == sampler->root_pid,
                                    .same_namespace = ac_process_same_pid_namespace(pid),
                                    .pid = pid,
                                    .ppid = ppid,
                                    .row = AC__NONE,
                                    .merged_row = AC__NONE,
                                    .only_row = AC__NONE,
                                    .first_thread = AC__NONE,
                                    .born_ns = now,
                                    .holder_func = AC__NONE,
                                    .cpu_read_ns = now,
                                    .churn_ns = -SCAN_MAX_NS,
                                    .open_ns = now};
    process->info = (struct ac_process){.pid = pid,
                                        .ppid = ppid,
                                        .free_threaded = -1,
                                        .gil_enabled = -1,
                                        .from_ns = ac_max(now - sampler->start_ns, INT64_C(0))};
    inherit(sampler, process, ppid);
    sampler->live_processes++;
    return slot;
}

/* The process's exact CPU time: its clock, which counts ended threads; with a whole ring the sum of its
 * threads is as exact and cannot be missed. */
static int64_t process_cpu(struct ac_sampler *sampler, struct ac__process *process) {
    int64_t cpu = ac_max(process->cpu_last_ns - process->cpu_base_ns, INT64_C(0));
    bool whole = sampler->ring && sampler->profile->sampling.lost == 0;
    if (whole)
        return process->run_sum_ns;
    if (cpu - process->run_sum_ns > AC_NS_PER_MS + cpu / MISSING_SHARE)
        ac__row_missing(sampler, process, cpu - process->run_sum_ns);
    return ac_max(cpu, process->run_sum_ns);
}

static void read_clock(struct ac__process *process, int64_t now) {
    int64_t ns;
    process->cpu_read_ns = now;
    if (ac_process_cpu_ns(process->pid, &ns) == 0)
        process->cpu_last_ns = ac_max(ns, process->cpu_last_ns);
}

void ac__tree_end_process(struct ac_sampler *sampler, uint32_t slot, int64_t now) {
    struct ac__process *process = &sampler->processes[slot];
    if (!sampler->ring)
        read_clock(process, now);
    while (process->first_thread != AC__NONE)
        ac__tree_end_thread(sampler, process->first_thread, now);
    int64_t cpu = process_cpu(sampler, process);
    sampler->ended_cpu_ns += cpu;
    uint32_t row = ac__row_process(sampler, process);
    if (row != AC__NONE) {
        struct ac_process *info = &sampler->profile->processes[row];
        info->cpu_ns += cpu;
        info->to_ns = ac_max(info->to_ns, now - sampler->start_ns);
        info->gil_enabled = ac_max(info->gil_enabled, process->info.gil_enabled);
        info->gils = ac_max(info->gils, process->info.gils);
        info->gil_cause = info->gil_cause ? info->gil_cause : process->info.gil_cause;
    }
    ac__runtime_reset(sampler, process);
    ac_map_remove(&sampler->by_pid, (uint64_t)process->pid);
    if (process->root) {
        sampler->root_gone = true;
        sampler->root_end_ns = now;
    }
    sampler->last_end_ns = ac_max(sampler->last_end_ns, now);
    process->used = false;
    sampler->free_process = ac_min(sampler->free_process, slot);
    sampler->live_processes--;
}

/* --- the ring */

static struct ac__thread *thread_of(struct ac_sampler *sampler, pid_t tid) {
    uint32_t slot;
    return ac_map_get(&sampler->by_tid, (uint64_t)tid, &slot) ? &sampler->threads[slot] : NULL;
}

static void saw_fork(struct ac_sampler *sampler, const struct ac_ring_event *event) {
    uint32_t process;
    bool thread = event->pid == event->ppid;
    if (!ac_map_get(&sampler->by_pid, (uint64_t)event->ppid, &process) ||
        (!thread && !sampler->options.children))
        return;
    if (!thread)
        process = ac__tree_add_process(sampler, event->pid, event->ppid, event->time_ns);
    if (process != AC__NONE)
        ac__tree_add_thread(sampler, process, event->tid, event->time_ns);
}

static void saw_exit(struct ac_sampler *sampler, const struct ac_ring_event *event) {
    uint32_t slot;
    if (!ac_map_get(&sampler->by_tid, (uint64_t)event->tid, &slot))
        return;
    uint32_t process = sampler->threads[slot].process;
    ac__tree_end_thread(sampler, slot, event->time_ns);
    if (sampler->processes[process].threads == 0)
        ac__tree_end_process(sampler, process, event->time_ns);
}

/* All threads but one are gone, and that one may have taken over the leader's id. */
static void saw_exec(struct ac_sampler *sampler, const struct ac_ring_event *event) {
    uint32_t slot;
    if (!ac_map_get(&sampler->by_pid, (uint64_t)event->pid, &slot))
        return;
    uint32_t keep = ac__tree_add_thread(sampler, slot, event->tid, event->time_ns);
    struct ac__process *process = &sampler->processes[slot];
    for (uint32_t i = process->first_thread, next; i != AC__NONE; i = next) {
        next = sampler->threads[i].next;
        if (i != keep)
            ac__tree_end_thread(sampler, i, event->time_ns);
    }
    ac__runtime_reset(sampler, process);
    process->forked = false;
    process->looks_python = false;
    process->describe = true;
    process->describe_tries = 0;
    process->open_ns = event->time_ns;
}

static void saw_lost(struct ac_sampler *sampler, const struct ac_ring_event *event) {
    sampler->profile->sampling.lost += (int64_t)event->lost;
    sampler->profile->limits |= AC_LIMIT_RING_LOST;
    for (size_t i = 0; i < sampler->thread_top; i++)
        sampler->threads[i].dirty = sampler->threads[i].resync = sampler->threads[i].unsure = true;
}

static void saw_event(const struct ac_ring_event *event, void *arg) {
    struct ac_sampler *sampler = arg;
    switch (event->kind) {
    case AC_RING_SWITCH_IN:
    case AC_RING_SWITCH_OUT: {
        struct ac__thread *thread = thread_of(sampler, event->tid);
        if (thread)
            ac__exact_switch(thread, event);
        break;
    }
    case AC_RING_FORK: saw_fork(sampler, event); break;
    case AC_RING_EXIT: saw_exit(sampler, event); break;
    case AC_RING_EXEC: saw_exec(sampler, event); break;
    case AC_RING_LOST: saw_lost(sampler, event); break;
    case AC_RING_COMM: break; /* names are read once a thread has a row */
    }
}

/* --- scanning */

static int compare_ids(const void *a, const void *b) {
    pid_t left = *(const pid_t *)a, right = *(const pid_t *)b;
    return (left > right) - (left < right);
}

/* Fills sampler->ids; `list` is ac_process_tasks or ac_process_children. */
static int list_ids(struct ac_sampler *sampler, pid_t pid, int (*list)(pid_t, pid_t *, size_t, size_t *),
                    size_t *ret_count) {
    for (;;) {
        size_t count = 0;
        int r = list(pid, sampler->ids, sampler->ids_cap, &count);
        if (r < 0)
            return r;
        if (count <= sampler->ids_cap || sampler->ids_cap >= MAX_IDS) {
            *ret_count = ac_min(count, sampler->ids_cap);
            return 0;
        }
        r = ac_grow(&sampler->ids, &sampler->ids_cap, count + 16, sizeof *sampler->ids);
        if (r < 0)
            return r;
    }
}

/* A directory that is read while threads end may skip one that lives: ask it. */
static bool is_gone(struct ac_sampler *sampler, struct ac__thread *thread) {
    struct ac_stat stat;
    if (!ac__task_ready(sampler, thread) || ac_task_stat(&thread->task, &stat) < 0)
        return true;
    return stat.state == 'X' || stat.state == 'Z';
}

int ac__tree_scan(struct ac_sampler *sampler, uint32_t slot, int64_t now) {
    size_t count;
    int r = list_ids(sampler, sampler->processes[slot].pid, ac_process_tasks, &count);
    if (r < 0)
        return r;
    uint32_t scan = ++sampler->scan;
    int64_t middle = now - sampler->gap_ns / 2;
    qsort(sampler->ids, count, sizeof *sampler->ids, compare_ids);
    for (size_t i = 0; i < count; i++) {
        uint32_t thread = ac__tree_add_thread(sampler, slot, sampler->ids[i], middle);
        if (thread != AC__NONE)
            sampler->threads[thread].scan = scan;
    }
    for (uint32_t i = sampler->processes[slot].first_thread, next; i != AC__NONE; i = next) {
        next = sampler->threads[i].next;
        if (sampler->threads[i].scan != scan && is_gone(sampler, &sampler->threads[i]))
            ac__tree_end_thread(sampler, i, middle);
    }
    return 0;
}

static void scan_children(struct ac_sampler *sampler, uint32_t slot, int64_t now) {
    size_t count;
    pid_t pid = sampler->processes[slot].pid;
    if (list_ids(sampler, pid, ac_process_children, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        uint32_t child;
        pid_t child_pid = sampler->ids[i];
        if (ac_map_get(&sampler->by_pid, (uint64_t)child_pid, &child))
            continue;
        child = ac__tree_add_process(sampler, child_pid, pid, now - sampler->gap_ns / 2);
        if (child != AC__NONE)
            sampler->processes[child].scan_ns = 0;
    }
}

/* A process that waits to be reaped keeps its directory; only its stat letter says so. */
static bool is_zombie(const struct ac__process *process) {
    struct ac_stat stat;
    int r = ac_process_stat(process->pid, &stat);
    return r == -ESRCH || (r == 0 && (stat.state == 'X' || (stat.state == 'Z' && stat.threads <= 1)));
}

/* As many threads may have come as went, and the link count would not tell: while threads come and go, look
 * at every tick, as far as it is cheap. */
static int64_t scan_pause(const struct ac__process *process, int64_t cost, int64_t now) {
    return now - process->churn_ns < SCAN_MAX_NS ? cost * CHURN_SHARE : SCAN_MAX_NS;
}

static void scan_process(struct ac_sampler *sampler, uint32_t slot, int64_t now) {
    struct ac__process *process = &sampler->processes[slot];
    int64_t links = -1;
    int r = ac_process_task_links(process->pid, &links);
    if (r == 0 && (links != process->links || now >= process->scan_ns)) {
        int64_t before = ac_now_ns();
        uint32_t ever = process->threads_ever;
        r = ac__tree_scan(sampler, slot, now);
        process = &sampler->processes[slot];
        if (links != process->links || process->threads_ever != ever)
            process->churn_ns = now;
        process->links = links;
        process->scan_ns = now + scan_pause(process, ac_now_ns() - before, now);
    }
    if (r == 0 && now >= process->children_ns) {
        int64_t before = ac_now_ns();
        bool dead = is_zombie(process);
        if (!dead && sampler->options.children)
            scan_children(sampler, slot, now);
        process = &sampler->processes[slot];
        int64_t cost = ac_now_ns() - before;
        process->children_ns = now + ac_min(ac_max(cost * SCAN_SHARE, SCAN_MIN_NS), 5 * SCAN_MAX_NS);
        r = dead ? -ESRCH : 0;
    }
    if (r == -ESRCH || process->threads == 0)
        ac__tree_end_process(sampler, slot, now - sampler->gap_ns / 2);
    else if (now - process->cpu_read_ns >= CLOCK_NS || now - process->born_ns < AC__YOUNG_NS)
        read_clock(process, now);
}

/* With the ring an attached process may still vanish unseen, if records were lost. */
static void check_gone(struct ac_sampler *sampler, int64_t now) {
    if (now - sampler->last_ring_check_ns < SCAN_MAX_NS)
        return;
    sampler->last_ring_check_ns = now;
    for (size_t i = 0; i < sampler->process_top; i++)
        if (sampler->processes[i].used && is_zombie(&sampler->processes[i]))
            ac__tree_end_process(sampler, (uint32_t)i, now);
}

void ac__tree_update(struct ac_sampler *sampler, int64_t now) {
    if (sampler->ring) {
        int r = ac_ring_drain(sampler->ring, now, saw_event, sampler);
        if (r < 0)
            sampler->profile->sampling.read_errors++;
        check_gone(sampler, now);
        return;
    }
    for (size_t i = 0; i < sampler->process_top; i++)
        if (sampler->processes[i].used)
            scan_process(sampler, (uint32_t)i, now);
}

/* --- what is there at the start */

/* Of a thread that was there before: what it has used so far, and whether it runs now. */
static void attach_thread(struct ac_sampler *sampler, struct ac__thread *thread) {
    thread->preempted = false;
    if (!ac__task_ready(sampler, thread))
        return;
    if (ac__exact_schedstat(sampler, thread) == 0)
        thread->base = thread->last;
    thread->ring_error_ns = 0; /* what it used before is no error */
    struct ac_stat stat;
    if (ac_task_stat(&thread->task, &stat) == 0 && stat.state == 'R') {
        thread->on_cpu = true;
        thread->cpu = (int16_t)stat.cpu;
    }
    ac__task_done(sampler, thread);
}

static int attach_process(struct ac_sampler *sampler, pid_t pid, pid_t ppid) {
    uint32_t slot = ac__tree_add_process(sampler, pid, ppid, sampler->tick_ns);
    if (slot == AC__NONE)
        return -ENOMEM;
    int r = ac__tree_scan(sampler, slot, sampler->tick_ns);
    struct ac__process *process = &sampler->processes[slot];
    process->forked = false;
    process->describe = true;
    read_clock(process, sampler->tick_ns);
    process->cpu_base_ns = process->cpu_last_ns;
    for (uint32_t i = process->first_thread; i != AC__NONE; i = sampler->threads[i].next)
        attach_thread(sampler, &sampler->threads[i]);
    if (r < 0 || process->threads == 0 || is_zombie(process))
        return -ESRCH;
    return 0;
}

/* Descendants that were there before; breadth first, so that slots are visited in order. */
static void attach_children(struct ac_sampler *sampler) {
    for (size_t i = 0; i < sampler->process_top && sampler->process_top < MAX_TREE; i++) {
        size_t count;
        pid_t parent = sampler->processes[i].pid;
        if (!sampler->processes[i].used || list_ids(sampler, parent, ac_process_children, &count) < 0)
            continue;
        pid_t *children = ac_malloc((count + 1) * sizeof *children);
        if (!children)
            return;
        memcpy(children, sampler->ids, count * sizeof *children);
        for (size_t c = 0; c < count; c++) {
            uint32_t known;
            if (ac_map_get(&sampler->by_pid, (uint64_t)children[c], &known))
                continue;
            if (sampler->ring)
                ac_ring_add(sampler->ring, children[c]);
            if (attach_process(sampler, children[c], parent) == -ESRCH &&
                ac_map_get(&sampler->by_pid, (uint64_t)children[c], &known))
                ac__tree_end_process(sampler, known, sampler->tick_ns);
        }
        ac_free(children);
    }
}

int ac__tree_attach(struct ac_sampler *sampler, pid_t pid) {
    struct ac_stat stat;
    int r = ac_process_stat(pid, &stat);
    if (r < 0)
        return r;
    if (!sampler->options.no_ring && ac_ring_open(pid, &sampler->ring) < 0)
        sampler->ring = NULL;
    if (!sampler->ring)
        sampler->profile->limits |= AC_LIMIT_NO_RING;
    sampler->root_pid = pid;
    r = attach_process(sampler, pid, stat.ppid);
    if (r < 0)
        return r;
    uint32_t root;
    if (ac_map_get(&sampler->by_pid, (uint64_t)pid, &root))
        ac__row_process(sampler, &sampler->processes[root]); /* the first row, whoever ends first */
    sampler->reaped_base_ns = ac_ticks_to_ns(stat.cutime_ticks + stat.cstime_ticks);
    if (sampler->options.children)
        attach_children(sampler);
    return sampler->err;
}
