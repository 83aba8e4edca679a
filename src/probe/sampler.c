/* sampler.c - the tick: when to look, how late we are, and the life of a run.
 *
 * Instants are jittered by half a period to each side: 200 Hz would beat with the GIL's 5 ms switch interval.
 * A tick that costs more than half a period stretches the next one, so that a rate too high for the number of
 * threads is not reached rather than taking a core; reached_hz says so. */
#include <string.h>
#include <unistd.h>

#include "probe/sampler_internal.h"

#define POLL_NS (10 * AC_NS_PER_MS) /* poll() is called at least so often; sampler.h promises 20 ms */
enum { FDS_FOR_OTHERS = 256, FDS_AT_LEAST = 48 };

static int intern_start_up(struct ac_sampler *sampler) {
    uint32_t func, frame;
    int r = ac_profile_func(sampler->profile, "(interpreter start-up)", "", 0, &func);
    if (r == 0)
        r = ac_profile_frame(sampler->profile, func, 0, &frame);
    return r == 0 ? ac_profile_stack(sampler->profile, &frame, 1, &sampler->start_up_node) : r;
}

int ac_sampler_new(const struct ac_sampler_options *options, struct ac_sampler **ret_sampler) {
    if (!(options->rate_hz >= 1.0 && options->rate_hz <= 20000.0))
        return -EINVAL;
    struct ac_sampler *sampler = ac_calloc(1, sizeof *sampler);
    if (!sampler)
        return -ENOMEM;
    sampler->options = *options;
    sampler->overflow_process = sampler->overflow_thread = AC__NONE;
    int r = ac_profile_new(&sampler->profile);
    if (r == 0)
        r = intern_start_up(sampler);
    if (r < 0) {
        ac_sampler_free(sampler);
        return r;
    }
    sampler->profile->sampling.rate_hz = options->rate_hz;
    *ret_sampler = sampler;
    return 0;
}

void ac_sampler_free(struct ac_sampler *sampler) {
    if (!sampler)
        return;
    for (size_t i = 0; i < sampler->thread_top; i++)
        if (sampler->threads[i].used) {
            ac__task_drop(sampler, &sampler->threads[i]);
            ac_free(sampler->threads[i].young);
        }
    for (size_t i = 0; i < sampler->process_top; i++)
        if (sampler->processes[i].used)
            ac_py_close(sampler->processes[i].py);
    if (sampler->ring)
        ac_ring_close(sampler->ring);
    ac_profile_free(sampler->profile);
    ac_map_free(&sampler->by_tid);
    ac_map_free(&sampler->by_pid);
    ac_free(sampler->processes);
    ac_free(sampler->threads);
    ac_free(sampler->rows);
    ac_free(sampler->ids);
    ac_free(sampler->py_threads);
    ac_free(sampler->requests);
    ac_free(sampler->request_threads);
    ac_free(sampler->active);
    ac_free(sampler);
}

static void note_machine(struct ac_sampler *sampler, pid_t pid) {
    struct ac_profile *profile = sampler->profile;
    char kernel[256], machine[256];
    if (ac_uname(kernel, sizeof kernel, machine, sizeof machine) == 0) {
        ac_profile_string(profile, kernel, strlen(kernel), &profile->kernel);
        ac_profile_string(profile, machine, strlen(machine), &profile->machine);
    }
    struct ac_cpus *cpus = &profile->cpus;
    *cpus = (struct ac_cpus){.machine_busy_ns = -1, .throttled_ns = -1, .throttled_count = -1};
    sampler->busy_base_ns[0] = sampler->throttled_base_ns = -1;
    if (ac_cpus_of(pid, "", &sampler->limits) < 0)
        return;
    cpus->online = sampler->limits.online;
    cpus->affinity = sampler->limits.affinity;
    cpus->quota = sampler->limits.quota;
    cpus->usable = sampler->limits.usable;
    ac__busy_start(sampler);
    if (ac_cgroup_throttled(pid, "", &sampler->throttled_base_count, &sampler->throttled_base_ns) < 0)
        sampler->throttled_base_ns = -1;
}

int ac_sampler_attach(struct ac_sampler *sampler, pid_t pid, bool launched) {
    (void)ac_files_raise(); /* where not: more threads than that have their files opened anew for each look */
    int64_t files = ac_files_limit();
    sampler->max_fds = files > 0 && files < 1 << 20 ? (int)files - FDS_FOR_OTHERS : 1 << 20;
    sampler->max_fds = ac_max(sampler->max_fds, (int)FDS_AT_LEAST);
    sampler->launched = launched;
    sampler->start_ns = sampler->tick_ns = sampler->before_ns = ac_now_ns();
    sampler->thread_cpu_base_ns = ac_thread_cpu_ns();
    sampler->profile->started_unix_ns = ac_unix_ns();
    sampler->profile->pid = pid;
    sampler->profile->launched = launched;
    ac_random_seed(&sampler->random, (uint64_t)sampler->start_ns ^ (uint64_t)pid << 32);
    note_machine(sampler, pid);
    int r = ac__tree_attach(sampler, pid);
    sampler->attached = r == 0;
    return r;
}

static void tick(struct ac_sampler *sampler) {
    int64_t now = ac_now_ns();
    sampler->before_ns = sampler->tick_ns;
    sampler->tick_ns = now;
    sampler->gap_ns = now - sampler->before_ns;
    sampler->own_cpu = sched_getcpu();
    ac__busy_look(sampler, now);
    ac__tree_update(sampler, now);
    for (uint32_t i = 0; i < sampler->process_top; i++)
        if (sampler->processes[i].used)
            ac__runtime_update(sampler, i, now);
    for (uint32_t i = 0; i < sampler->process_top; i++)
        if (sampler->processes[i].used)
            ac__watch_process(sampler, i, now);
    sampler->profile->sampling.ticks++;
}

/* Sleep to `until` with poll() in between. 0, or what poll said. */
static int wait_until(struct ac_sampler *sampler, int64_t until, int64_t *polled, int (*poll)(void *),
                      void *arg) {
    for (;;) {
        int64_t now = ac_now_ns();
        if (poll && now - *polled >= POLL_NS) {
            *polled = now;
            int r = poll(arg);
            if (r != 0)
                return r;
        }
        if (now >= until)
            return 0;
        sampler->woken_ns = poll ? ac_min(until, now + POLL_NS) : until;
        if (ac_sleep_until(sampler->woken_ns) == -EINTR)
            *polled = 0; /* a signal: the command may want to know at once */
        else
            sampler->latency_ns += (ac_now_ns() - sampler->woken_ns - sampler->latency_ns) / 16;
    }
}

/* When to ask to be woken for a tick: twice the usual latency early, so that few deadlines pass by a period.
 * A tick that comes a little early does no harm: its instant is random anyway. */
static int64_t aim(const struct ac_sampler *sampler, int64_t deadline, int64_t period) {
    return deadline - ac_max(INT64_C(0), ac_min(2 * sampler->latency_ns, period / 2));
}

static int64_t next_tick(struct ac_sampler *sampler, int64_t deadline, int64_t began, int64_t period) {
    struct ac_sampling *sampling = &sampler->profile->sampling;
    int64_t now = ac_now_ns();
    int64_t gap = (int64_t)((double)period * (0.5 + ac_random_unit(&sampler->random)));
    int64_t next = deadline + gap;
    int64_t cost = now - began;
    if (began - deadline >= period) {
        sampling->missed += (began - deadline) / period;
        next = began + gap;
    }
    return ac_max(next, now + ac_min(cost, period * 8));
}

int ac_sampler_run(struct ac_sampler *sampler, int64_t deadline_ns, int (*poll)(void *), void *arg) {
    int64_t period = (int64_t)((double)AC_NS_PER_S / sampler->options.rate_hz), polled = ac_now_ns();
    int64_t next = polled + (int64_t)((double)period * ac_random_unit(&sampler->random));
    if (!sampler->options.no_fifo && ac_sched_fifo() == 0)
        sampler->profile->sampling.fifo = 1;
    int r = 0;
    for (;;) {
        bool last = deadline_ns > 0 && next >= deadline_ns;
        r = wait_until(sampler, last ? deadline_ns : aim(sampler, next, period), &polled, poll, arg);
        int64_t began = ac_now_ns();
        tick(sampler);
        if (r != 0 || last || sampler->err < 0 || (sampler->root_gone && !sampler->launched))
            break;
        next = next_tick(sampler, next, began, period);
    }
    if (sampler->profile->sampling.fifo)
        (void)ac_sched_normal();
    return sampler->err < 0 ? sampler->err : r;
}

void ac_sampler_progress(const struct ac_sampler *sampler, struct ac_progress *ret) {
    int64_t cpu = sampler->ended_cpu_ns;
    for (size_t i = 0; i < sampler->process_top; i++) {
        const struct ac__process *process = &sampler->processes[i];
        if (!process->used)
            continue;
        cpu += process->run_sum_ns;
        for (uint32_t t = process->first_thread; t != AC__NONE; t = sampler->threads[t].next) {
            const struct ac__thread *thread = &sampler->threads[t];
            cpu += sampler->ring ? thread->ring_run_ns : thread->last.run_ns - thread->base.run_ns;
        }
    }
    *ret = (struct ac_progress){.elapsed_ns = sampler->tick_ns - sampler->start_ns,
                                .cpu_ns = cpu,
                                .samples = sampler->profile->sampling.samples,
                                .processes = sampler->live_processes,
                                .threads = sampler->live_threads};
}

/* --- the end */

static void finish_process(struct ac_sampler *sampler, uint32_t slot, int64_t now) {
    struct ac__process *process = &sampler->processes[slot];
    for (uint32_t i = process->first_thread, next; i != AC__NONE; i = next) {
        struct ac__thread *thread = &sampler->threads[i];
        next = thread->next;
        ac__row_retire(sampler, thread, now, true);
        process->run_sum_ns += thread->account.run_ns;
        thread->used = false;
        ac__task_drop(sampler, thread);
    }
    process->first_thread = AC__NONE;
    ac__tree_end_process(sampler, slot, now);
}

/* wait4 and cutime count what was reaped, seen by us or not. */
static int64_t reaped_cpu(struct ac_sampler *sampler, int64_t child_cpu_ns) {
    struct ac_stat stat;
    if (child_cpu_ns > 0)
        return child_cpu_ns;
    if (sampler->ring || sampler->launched || ac_process_stat(sampler->root_pid, &stat) < 0)
        return 0;
    return ac_ticks_to_ns(stat.cutime_ticks + stat.cstime_ticks) - sampler->reaped_base_ns;
}

static void finish_cpu(struct ac_sampler *sampler, int64_t child_cpu_ns) {
    struct ac_profile *profile = sampler->profile;
    int64_t reaped = reaped_cpu(sampler, child_cpu_ns);
    profile->cpu_ns = sampler->ended_cpu_ns;
    if (!sampler->options.children)
        return;
    if (reaped > profile->cpu_ns + profile->cpu_ns / 100 + 10 * AC_NS_PER_MS)
        profile->limits |= AC_LIMIT_PROCESSES_MISSED;
    profile->cpu_ns = ac_max(profile->cpu_ns, reaped);
}

static void finish_machine(struct ac_sampler *sampler) {
    struct ac_cpus *cpus = &sampler->profile->cpus;
    int64_t ns, count;
    cpus->machine_busy_ns = ac__busy_total(sampler);
    pid_t pid = sampler->root_gone ? getpid() : sampler->root_pid; /* a launched root shared our cgroup */
    if (sampler->throttled_base_ns < 0 || (sampler->root_gone && !sampler->launched))
        return;
    if (ac_cgroup_throttled(pid, "", &count, &ns) == 0) {
        cpus->throttled_ns = ac_max(ns - sampler->throttled_base_ns, INT64_C(0));
        cpus->throttled_count = ac_max(count - sampler->throttled_base_count, INT64_C(0));
    }
}

static void finish_sampling(struct ac_sampler *sampler) {
    struct ac_sampling *sampling = &sampler->profile->sampling;
    sampling->ring = sampler->ring != NULL;
    sampling->torn = (int64_t)ac_min(sampler->torn, (uint64_t)INT64_MAX / 2);
    sampling->read_errors += (int64_t)ac_min(sampler->failed, (uint64_t)INT64_MAX / 2);
    sampling->sampler_cpu_ns = ac_max(ac_thread_cpu_ns() - sampler->thread_cpu_base_ns, INT64_C(0));
    if (sampler->profile->wall_ns > 0)
        sampling->reached_hz =
            (double)sampling->ticks * (double)AC_NS_PER_S / (double)sampler->profile->wall_ns;
}

static void finish_target(struct ac_sampler *sampler) {
    struct ac_profile *profile = sampler->profile;
    if (profile->process_count == 0)
        return;
    const struct ac_process *root = &profile->processes[0];
    memcpy(profile->argv, root->argv, sizeof root->argv);
    profile->argc = root->argc;
}

int ac_sampler_finish(struct ac_sampler *sampler, int64_t child_cpu_ns, struct ac_profile **ret_profile) {
    struct ac_profile *profile = sampler->profile;
    if (!sampler->attached)
        return -EINVAL;
    sampler->end_ns = sampler->tick_ns;
    if (sampler->root_gone && !sampler->options.outlive)
        sampler->end_ns = ac_min(sampler->end_ns, sampler->root_end_ns);
    else if (sampler->live_processes == 0)
        sampler->end_ns = ac_min(sampler->end_ns, sampler->last_end_ns);
    profile->wall_ns = ac_max(sampler->end_ns - sampler->start_ns, INT64_C(1));
    for (uint32_t i = 0; i < sampler->process_top; i++)
        if (sampler->processes[i].used)
            finish_process(sampler, i, sampler->end_ns);
    finish_cpu(sampler, child_cpu_ns);
    ac__busy_finish(sampler);
    ac__reach_finish(sampler);
    finish_machine(sampler);
    finish_sampling(sampler);
    finish_target(sampler);
    int64_t alive = 0;
    for (size_t i = 0; i < profile->thread_count; i++)
        alive += sampler->rows[i].alive_ns;
    if (sampler->unread_delay_ns > alive / 100)
        profile->limits |= AC_LIMIT_RUN_DELAY_BOUND;
    int r = sampler->err < 0 ? sampler->err : ac__finish_states(sampler);
    if (r < 0)
        return r;
    ac_assert_deep(ac_profile_valid(profile));
    sampler->profile = NULL;
    *ret_profile = profile;
    return 0;
}

int ac_snapshot(pid_t pid, bool children, struct ac_profile **ret_profile) {
    struct ac_sampler_options options = {
        .rate_hz = 200, .children = children, .stacks = true, .no_ring = true, .no_fifo = true};
    struct ac_sampler *sampler = NULL;
    int r = ac_sampler_new(&options, &sampler);
    if (r == 0)
        r = ac_sampler_attach(sampler, pid, false);
    if (r == 0) {
        tick(sampler);
        r = ac_sampler_finish(sampler, 0, ret_profile);
    }
    ac_sampler_free(sampler);
    return r;
}
