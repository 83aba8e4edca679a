/* exact.c - the kernel's own totals of a thread: time on a CPU, time waiting for one.
 *
 * With the ring: on-CPU time is the sum of switch-in to switch-out, to the nanosecond, ended threads
 * included. A thread that was switched out while it could still run waits for a CPU from then on; a thread
 * that woke up and waits has no record of that moment, so the whole of the run-delay comes from schedstat
 * where it can be read in time, and what the ring saw of it is the least that it was. Without the ring all of
 * it is schedstat's. */
#include "probe/sampler_internal.h"

/* Three descriptors a thread. */
enum { TASK_FDS = 3 };

bool ac__task_ready(struct ac_sampler *sampler, struct ac__thread *thread) {
    if (thread->task_open)
        return true;
    struct ac__process *process = &sampler->processes[thread->process];
    if (ac_task_open(process->pid, thread->tid, &thread->task) < 0)
        return false;
    thread->task_open = true;
    sampler->open_fds += TASK_FDS;
    return true;
}

void ac__task_done(struct ac_sampler *sampler, struct ac__thread *thread) {
    if (sampler->open_fds > sampler->max_fds)
        ac__task_drop(sampler, thread);
}

void ac__task_drop(struct ac_sampler *sampler, struct ac__thread *thread) {
    if (!thread->task_open)
        return;
    ac_task_close(&thread->task);
    thread->task_open = false;
    sampler->open_fds -= TASK_FDS;
}

void ac__exact_switch(struct ac__thread *thread, const struct ac_ring_event *event) {
    int64_t ns = event->time_ns - thread->switched_ns;
    if (ns < 0)
        return; /* before we knew the thread */
    if (event->kind == AC_RING_SWITCH_IN) {
        if (thread->on_cpu)
            return;
        if (thread->preempted)
            thread->ring_delay_ns += ns;
        thread->on_cpu = true;
        thread->preempted = false;
        thread->cpu = (int16_t)event->cpu;
    } else {
        if (thread->on_cpu) { /* else told twice: ac_ring_add() */
            thread->ring_run_ns += ns;
            thread->switches_forced += event->preempted;
            thread->switches_voluntary += !event->preempted;
        }
        thread->on_cpu = false;
        thread->preempted = event->preempted;
    }
    thread->switched_ns = event->time_ns;
    thread->dirty = true;
    thread->unsure = false;
}

static int64_t ring_run(const struct ac__thread *thread, int64_t now) {
    int64_t run = thread->ring_run_ns;
    if (thread->on_cpu)
        run += ac_max(now - thread->switched_ns, INT64_C(0));
    return run;
}

static int64_t ring_delay(const struct ac__thread *thread, int64_t now) {
    int64_t delay = thread->ring_delay_ns;
    if (thread->preempted)
        delay += ac_max(now - thread->switched_ns, INT64_C(0));
    return delay;
}

/* Kernels without schedstat still count CPU time, in ticks. */
static int read_ticks(struct ac__thread *thread, struct ac_schedstat *ret) {
    struct ac_stat stat;
    int r = ac_task_stat(&thread->task, &stat);
    if (r < 0)
        return r;
    *ret = (struct ac_schedstat){.run_ns = ac_ticks_to_ns(stat.utime_ticks + stat.stime_ticks)};
    return 0;
}

int ac__exact_schedstat(struct ac_sampler *sampler, struct ac__thread *thread) {
    struct ac_schedstat now;
    int r = ac_task_schedstat(&thread->task, &now);
    if (r == -ENOTSUP) {
        sampler->profile->limits |= AC_LIMIT_NO_SCHEDSTAT;
        r = read_ticks(thread, &now);
    }
    if (r < 0)
        return r;
    thread->last = now;
    thread->sched_known = true;
    thread->sched_read_ns = sampler->tick_ns;
    ac__reach_look(sampler, thread);
    thread->ring_run_read_ns = ring_run(thread, sampler->tick_ns);
    if (!thread->on_cpu)
        thread->ring_error_ns = now.run_ns - thread->base.run_ns - thread->ring_run_ns;
    thread->ring_delay_read_ns = ring_delay(thread, sampler->tick_ns);
    return 0;
}

/* How much run-delay a thread that has ended may have had and no total shows: its time since schedstat was
 * read or it was seen asleep, less what it ran. */
static int64_t unread_delay(const struct ac_sampler *sampler, const struct ac__thread *thread, int64_t now) {
    int64_t known = thread->sched_known ? thread->sched_read_ns : thread->born_ns;
    if (thread->seen && !thread->running && !thread->runnable)
        known = ac_max(known, sampler->before_ns);
    int64_t ran = sampler->ring ? ring_run(thread, now) - thread->ring_run_read_ns : 0;
    int64_t waited = sampler->ring ? ring_delay(thread, now) - thread->ring_delay_read_ns : 0;
    return ac_max(now - known - ran - waited, INT64_C(0));
}

void ac__exact_total(struct ac_sampler *sampler, struct ac__thread *thread, int64_t now, bool ended) {
    struct ac_account *account = &thread->account;
    if (!ended && ac__task_ready(sampler, thread))
        ac__exact_schedstat(sampler, thread);
    int64_t sched_run = thread->sched_known ? thread->last.run_ns - thread->base.run_ns : 0;
    int64_t sched_delay = thread->sched_known ? thread->last.delay_ns - thread->base.delay_ns : 0;
    account->alive_ns = ac_max(now - thread->born_ns, INT64_C(0));
    if (sampler->ring) {
        account->run_ns = ac_max(ring_run(thread, now) + thread->ring_error_ns, INT64_C(0));
        if (thread->resync)
            account->run_ns = ac_max(account->run_ns, sched_run);
        int64_t delay = ring_delay(thread, now);
        account->delay_ns = ac_max(delay, sched_delay + delay - thread->ring_delay_read_ns);
    } else {
        account->run_ns = sched_run;
        account->delay_ns = sched_delay;
    }
    if (ended)
        sampler->unread_delay_ns += unread_delay(sampler, thread, now);
    /* A thread that a scan found is a little older than we know. */
    account->alive_ns = ac_max(account->alive_ns, account->run_ns);
}
