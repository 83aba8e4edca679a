/* watch.c - one tick's look at one process: what each of its threads does.
 *
 *   1. the kernel: which threads run, which sleep and in what (only those that may have changed)
 *   2. the GILs, in one read: after the sleepers, so that a waiter's GIL is the one of this moment
 *   3. stacks, in one batch, of the threads that ran since their last one
 *   4. a label for each thread looked at; the others keep theirs
 *
 * Each label stands for the gap since the tick before. */
#include <string.h>

#include "probe/sampler_internal.h"

/* A waiter that wakes up to look at the GIL and sleeps again uses less CPU time than this: its stack is the
 * same. */
#define SAME_STACK_NS (30 * AC_NS_PER_US)
/* Without the ring: look at a sleeper again after this part of the time that it has slept; more would miss
 * wakes. */
enum { IDLE_SHARE = 16 };
/* From a thread's being pushed off its CPU by our waking up to our reading the clock: less than this. */
#define OWN_SWITCH_NS (200 * AC_NS_PER_US)
#define SCHEDSTAT_NS  (100 * AC_NS_PER_MS)
/* The kernel brings a running thread's totals up to date at its own ticks; more often tells nothing. What a
 * thread uses after its last read is only in its process's clock, so without the ring it is read as often as
 * it helps. */
#define CPU_TIME_NS (4 * AC_NS_PER_MS)
/* How often at most the descriptors of a thread's epoll are counted: some 10 us each. */
#define WATCHED_NS (200 * AC_NS_PER_MS)
/* Of a process, in one tick: waiters whose RLock is looked for, some 5 us each; locks that are asked who has
 * them, 1 us. */
enum { RLOCK_FINDS = 16, RLOCK_ASKS = 64 };
/* A server listens from its beginning on; the table of sockets may be long. */
enum { LISTEN_LOOKS = 16 };
/* A wait that lasted so long is a segment of its own; several that were shorter make none of 300 ms, so
 * whoever counts the longer ones counts answers. */
#define LONG_WAIT_NS   (200 * AC_NS_PER_MS)
#define SHORT_WAITS_NS (100 * AC_NS_PER_MS)

/* --- 1. the kernel */

static bool is_same_call(const struct ac_syscall_state *a, const struct ac_syscall_state *b) {
    return a->nr == b->nr && a->args[0] == b->args[0] && a->sp == b->sp;
}

/* A thread that was asleep at the last look too. */
static bool was_blocked(const struct ac__thread *thread) {
    uint8_t state = thread->label.state;
    return thread->seen && state != AC_PYTHON && state != AC_NATIVE && state != AC_NO_CPU &&
           state != AC_UNKNOWN;
}

/* Without ptrace rights the stat letter is all there is. */
static void look_at_letter(struct ac__thread *thread) {
    struct ac_stat stat;
    thread->call = (struct ac_syscall_state){.nr = -1};
    thread->letter = '?';
    if (ac_task_stat(&thread->task, &stat) == 0) {
        thread->letter = stat.state;
        thread->cpu = (int16_t)stat.cpu;
        thread->call.running = stat.state == 'R';
    }
}

/* Fills thread->call and thread->letter; false when the thread is gone. */
static bool look_at_call(struct ac_sampler *sampler, struct ac__thread *thread) {
    struct ac_syscall_state call;
    thread->letter = 0;
    thread->same_call = false;
    if (thread->task_denied) {
        look_at_letter(thread);
        return true;
    }
    int r = ac_task_syscall(&thread->task, &call);
    if (r == -ESRCH)
        return false;
    if (r < 0) {
        sampler->profile->limits |= r == -EPERM || r == -EACCES ? AC_LIMIT_NO_PTRACE : 0u;
        thread->task_denied = true;
        look_at_letter(thread);
        return true;
    }
    thread->same_call = was_blocked(thread) && !call.running && is_same_call(&call, &thread->call);
    thread->call = call;
    struct ac_stat stat;
    if (!call.running && !thread->same_call && ac_classify_wants_stat(AC_ARCH_OWN, &call) &&
        ac_task_stat(&thread->task, &stat) == 0)
        thread->letter = stat.state;
    return true;
}

/* Did our own waking up push the thread off its CPU? Then it was running at the instant that we sample. */
static bool is_pushed_aside(const struct ac_sampler *sampler, const struct ac__thread *thread) {
    return thread->preempted && thread->cpu == sampler->own_cpu && thread->switched_ns >= sampler->woken_ns &&
           sampler->tick_ns - thread->switched_ns < OWN_SWITCH_NS;
}

/* The ring says who is on a CPU; only a thread that switched since the last look has to be asked what it
 * sleeps in. False: nothing new. */
static bool look_with_ring(struct ac_sampler *sampler, struct ac__thread *thread) {
    thread->running = (thread->on_cpu || is_pushed_aside(sampler, thread)) && !thread->unsure;
    thread->runnable = false;
    if (thread->running)
        return true;
    if (!thread->dirty)
        return false;
    thread->dirty = false;
    thread->same_call = false;
    if (thread->preempted && !thread->unsure) {
        thread->runnable = true;
        return true;
    }
    if (!ac__task_ready(sampler, thread) || !look_at_call(sampler, thread))
        return false;
    if (thread->call.running && thread->unsure) {
        thread->running = thread->dirty = true; /* records were lost: the kernel's word, as without a ring */
        return true;
    }
    thread->runnable = thread->call.running; /* woken up: its switch-in will be the next that we hear */
    return true;
}

static bool still_asleep(struct ac_sampler *sampler, struct ac__thread *thread) {
    struct ac_schedstat before = thread->last;
    if (ac__exact_schedstat(sampler, thread) < 0 || sampler->profile->limits & AC_LIMIT_NO_SCHEDSTAT)
        return false;
    return before.slices == thread->last.slices && before.run_ns == thread->last.run_ns;
}

static bool look_without_ring(struct ac_sampler *sampler, struct ac__thread *thread, int64_t now) {
    bool slept = thread->seen && !thread->running;
    if (slept && now < thread->next_look_ns)
        return false;
    if (!ac__task_ready(sampler, thread))
        return false;
    if (slept && thread->sched_known && still_asleep(sampler, thread) && !thread->dirty) {
        thread->next_look_ns = now + (now - thread->idle_from_ns) / IDLE_SHARE;
        return false;
    }
    if (!look_at_call(sampler, thread)) {
        sampler->processes[thread->process].churn_ns = now;
        return false;
    }
    if (!thread->sched_known && ac__exact_schedstat(sampler, thread) == 0)
        thread->account.blind_ns = thread->last.run_ns;
    thread->dirty = false;
    thread->running = thread->call.running;
    thread->idle_from_ns = thread->next_look_ns = now;
    if (!slept && (!thread->running || now - thread->sched_read_ns >= CPU_TIME_NS))
        ac__exact_schedstat(sampler, thread);
    struct ac_stat stat;
    if (thread->running && now - thread->cpu_read_ns >= SCHEDSTAT_NS &&
        ac_task_stat(&thread->task, &stat) == 0) {
        thread->cpu_read_ns = now;
        thread->cpu = (int16_t)stat.cpu;
    }
    return true;
}

static int push_active(struct ac_sampler *sampler, uint32_t slot) {
    int r =
        ac_grow(&sampler->active, &sampler->active_cap, sampler->active_count + 1, sizeof *sampler->active);
    if (r == 0)
        sampler->active[sampler->active_count++] = slot;
    return r;
}

/* The RLock that it has begun to wait for. */
static void find_lock(struct ac_sampler *sampler, const struct ac__process *process,
                      struct ac__thread *thread) {
    uint64_t uaddr, lock;
    thread->rlock = 0;
    if (process->runtime == AC__RUNTIME_OPEN && thread->tstate != 0 && !thread->torn &&
        thread->fingerprint != 0 && sampler->rlocks.finds++ < RLOCK_FINDS &&
        ac_classify_futex(AC_ARCH_OWN, &thread->call, &uaddr) &&
        ac_py_rlock(process->py, thread->leaf_frame, uaddr, thread->pthread_id, &lock) == 0)
        thread->rlock = lock;
}

/* Row + 1 of the thread; one so young that it has none gets one, while there are many left. */
static uint32_t row_of_owner(struct ac_sampler *sampler, const struct ac__process *process,
                             uint64_t pthread_id) {
    for (uint32_t i = process->first_thread; i != AC__NONE; i = sampler->threads[i].next) {
        struct ac__thread *thread = &sampler->threads[i];
        if (thread->tstate == 0 || thread->pthread_id != pthread_id)
            continue;
        if (sampler->profile->thread_count < AC_CAP_THREADS / 2)
            ac__row_promote(sampler, thread);
        return thread->row == AC__NONE || thread->row == sampler->overflow_thread ? 0 : thread->row + 1;
    }
    return 0;
}

/* Who has it now: it may go from one to the other while a third sleeps on. */
static uint32_t lock_owner(struct ac_sampler *sampler, const struct ac__process *process,
                           const struct ac__thread *thread) {
    uint64_t owner;
    if (thread->rlock == 0 || process->runtime != AC__RUNTIME_OPEN)
        return 0;
    if (sampler->rlocks.lock == thread->rlock)
        return sampler->rlocks.owner;
    if (sampler->rlocks.asks++ >= RLOCK_ASKS)
        return thread->label.owner;
    sampler->rlocks.lock = thread->rlock;
    sampler->rlocks.owner = 0;
    if (ac_py_rlock_owner(process->py, thread->rlock, &owner) == 0)
        sampler->rlocks.owner = row_of_owner(sampler, process, owner);
    return sampler->rlocks.owner;
}

/* Threads that changed, or wait for a GIL, go to sampler->active; the rest keep their label. */
static void look_at_threads(struct ac_sampler *sampler, struct ac__process *process, int64_t now) {
    sampler->active_count = 0;
    for (uint32_t i = process->first_thread; i != AC__NONE; i = sampler->threads[i].next) {
        struct ac__thread *thread = &sampler->threads[i];
        bool changed =
            sampler->ring ? look_with_ring(sampler, thread) : look_without_ring(sampler, thread, now);
        if (!changed && thread->seen && thread->label.state != AC_GIL_WAIT) {
            struct ac__label label = thread->label;
            if (label.state == AC_LOCK)
                label.owner = lock_owner(sampler, process, thread);
            ac__row_observe(sampler, thread, label, sampler->before_ns);
            continue;
        }
        if (!changed)
            thread->same_call = true;
        thread->woke = changed && (sampler->ring || !(sampler->profile->limits & AC_LIMIT_NO_SCHEDSTAT));
        if ((changed || thread->seen) && push_active(sampler, i) < 0)
            sampler->err = -ENOMEM;
    }
}

/* --- 2. the GILs */

static void read_gils(struct ac_sampler *sampler, struct ac__process *process) {
    sampler->gil_count = 0;
    if (process->runtime != AC__RUNTIME_OPEN || sampler->active_count == 0)
        return;
    if (ac_py_gils(process->py, sampler->gils, AC_PY_MAX_GILS, &sampler->gil_count) < 0) {
        sampler->gil_count = 0;
        process->bad_reads++;
        return;
    }
    process->bad_reads = 0;
    process->info.gils =
        (uint8_t)ac_max((size_t)process->info.gils, ac_min(sampler->gil_count, (size_t)UINT8_MAX));
    if (process->free_threaded && sampler->gil_count > 0)
        process->info.gil_enabled = ac_max(process->info.gil_enabled, (int8_t)sampler->gils[0].for_good);
}

static bool holds_gil(const struct ac_sampler *sampler, const struct ac__thread *thread) {
    for (size_t i = 0; thread->tstate != 0 && i < sampler->gil_count; i++)
        if (sampler->gils[i].held && sampler->gils[i].holder == thread->tstate)
            return true;
    return false;
}

static bool runs_without_gil(const struct ac_sampler *sampler, const struct ac__process *process) {
    return process->free_threaded && (sampler->gil_count == 0 || !sampler->gils[0].enabled);
}

/* --- 3. stacks */

static int64_t cpu_so_far(const struct ac_sampler *sampler, const struct ac__thread *thread) {
    return sampler->ring ? thread->ring_run_ns : thread->last.run_ns;
}

static bool wants_stack(const struct ac_sampler *sampler, const struct ac__process *process,
                        const struct ac__thread *thread) {
    if (thread->tstate == 0 || (!sampler->options.stacks && !runs_without_gil(sampler, process)))
        return false;
    if (!thread->running && thread->same_call && thread->fingerprint != 0)
        return cpu_so_far(sampler, thread) - thread->stack_run_ns > SAME_STACK_NS;
    return true;
}

static size_t ask_stacks(struct ac_sampler *sampler, struct ac__process *process) {
    size_t count = 0, need = sampler->active_count;
    if (process->runtime != AC__RUNTIME_OPEN)
        return 0;
    if (ac_grow(&sampler->requests, &sampler->requests_cap, need, sizeof *sampler->requests) < 0 ||
        ac_grow(&sampler->request_threads, &sampler->request_threads_cap, need,
                sizeof *sampler->request_threads) < 0) {
        sampler->err = -ENOMEM;
        return 0;
    }
    for (size_t i = 0; i < need; i++) {
        struct ac__thread *thread = &sampler->threads[sampler->active[i]];
        thread->torn = false;
        if (!wants_stack(sampler, process, thread))
            continue;
        sampler->requests[count] = (struct ac_py_stack_request){
            .tstate = thread->tstate, .fingerprint = thread->fingerprint, .result = -EFAULT};
        sampler->request_threads[count++] = sampler->active[i];
    }
    return count;
}

static void take_stack(const struct ac_sampler *sampler, struct ac__thread *thread,
                       const struct ac_py_stack_request *request) {
    thread->attached = request->attached;
    thread->torn = request->result < 0;
    if (request->result < 0) {
        thread->fingerprint = 0;
        return;
    }
    thread->fingerprint = request->fingerprint;
    thread->leaf_frame = request->leaf_frame;
    thread->stack_run_ns = cpu_so_far(sampler, thread);
    if (request->result != 0)
        return;
    thread->leaf_node = request->node;
    thread->leaf_func = request->leaf_func;
    thread->leaf_kind = request->kind;
}

static void read_stacks(struct ac_sampler *sampler, struct ac__process *process) {
    size_t count = ask_stacks(sampler, process);
    if (count == 0)
        return;
    int r = ac_py_stacks(process->py, sampler->profile, sampler->requests, count);
    if (r == -ENOMEM)
        sampler->err = r;
    for (size_t i = 0; r == 0 && i < count; i++)
        take_stack(sampler, &sampler->threads[sampler->request_threads[i]], &sampler->requests[i]);
}

/* --- 4. labels */

static enum ac_state running_state(struct ac_sampler *sampler, const struct ac__process *process,
                                   struct ac__thread *thread) {
    switch (process->runtime) {
    case AC__RUNTIME_OPEN:
        if (runs_without_gil(sampler, process))
            return thread->attached ? AC_PYTHON : AC_NATIVE;
        return holds_gil(sampler, thread) ? AC_PYTHON : AC_NATIVE;
    case AC__RUNTIME_NOT_YET:
    case AC__RUNTIME_BOOT: thread->boot_ns += sampler->gap_ns; return AC_NATIVE;
    case AC__RUNTIME_DENIED: return process->looks_python ? AC_UNKNOWN : AC_NATIVE;
    case AC__RUNTIME_STRANGE: break;
    }
    return AC_UNKNOWN;
}

/* A futex of a Python whose GIL we cannot read may be the GIL's: not to be told. */
static enum ac_state futex_state(struct ac_sampler *sampler, struct ac__process *process,
                                 struct ac__thread *thread, uint64_t address) {
    if (process->runtime == AC__RUNTIME_OPEN) {
        int gil = ac_py_gil_waits(process->py, address);
        if (gil < 0 || runs_without_gil(sampler, process))
            return AC_LOCK;
        thread->gil = (uint32_t)gil + 1;
        return AC_GIL_WAIT;
    }
    return process->looks_python && process->runtime != AC__RUNTIME_NOT_YET ? AC_UNKNOWN : AC_LOCK;
}

static enum ac_state blocked_state(struct ac_sampler *sampler, struct ac__process *process,
                                   struct ac__thread *thread) {
    uint64_t address;
    if (thread->task_denied) {
        if (thread->letter == 'D')
            return AC_DISK;
        return thread->letter == 'T' || thread->letter == 't' ? AC_OTHER : AC_UNKNOWN;
    }
    if (ac_classify_futex(AC_ARCH_OWN, &thread->call, &address))
        return futex_state(sampler, process, thread, address);
    int fd;
    enum ac_state state = ac_classify(AC_ARCH_OWN, &thread->call, thread->letter);
    if (state == AC_IO && ac_classify_file(AC_ARCH_OWN, &thread->call, &fd) &&
        ac_is_regular_file(process->pid, fd))
        return AC_DISK; /* it woke up between its two files: the letter says no more what it slept for */
    return state;
}

/* A loop with one connection and a loop with a hundred sleep alike: now and then, count. */
static void count_watched(const struct ac_sampler *sampler, const struct ac__process *process,
                          struct ac__thread *thread) {
    int fd;
    if (!ac_classify_epoll(AC_ARCH_OWN, &thread->call, &fd) ||
        sampler->tick_ns - thread->watched_look_ns < WATCHED_NS)
        return;
    thread->watched_look_ns = sampler->tick_ns;
    uint64_t inodes[2];
    int watched = ac_epoll_watched(process->pid, fd, inodes, AC_COUNT(inodes));
    if (watched >= 0) {
        if (!thread->listens && watched <= (int)AC_COUNT(inodes) && thread->watched_count < LISTEN_LOOKS)
            thread->listens = ac_process_listens(process->pid, inodes, (size_t)watched);
        if (thread->watched_count == 0)
            thread->switches_before = thread->switches_voluntary;
        thread->watched_sum += (uint32_t)watched;
        thread->watched_count++;
    }
}

static struct ac__label label_of(struct ac_sampler *sampler, struct ac__process *process,
                                 struct ac__thread *thread) {
    struct ac__label label = {.cpu = -1, .node = thread->tstate && !thread->torn ? thread->leaf_node : 0};
    thread->gil = 0;
    if (thread->running) {
        label.state = (uint8_t)running_state(sampler, process, thread);
        label.cpu = thread->cpu;
        if (label.state == AC_PYTHON && label.node != 0)
            label.kind = thread->leaf_kind;
    } else if (thread->runnable) {
        label.state = AC_NO_CPU;
    } else if (thread->same_call && thread->label.state != AC_GIL_WAIT && thread->label.state != AC_LOCK) {
        label.state = thread->label.state;
        label.kind = thread->label.kind;
    } else {
        label.state = (uint8_t)blocked_state(sampler, process, thread);
        if (label.state == AC_IO && ac_classify_peer(AC_ARCH_OWN, &thread->call))
            label.kind = AC_KIND_PEER;
        if (label.state == AC_LOCK) {
            find_lock(sampler, process, thread);
            label.owner = lock_owner(sampler, process, thread);
        }
    }
    return label;
}

/* The function that each GIL's holder is in, for the pairs. */
static void find_holders(struct ac_sampler *sampler, struct ac__process *process) {
    for (size_t i = 0; i < sampler->gil_count; i++)
        sampler->gil_leaf[i] = AC__NONE;
    for (uint32_t i = process->first_thread; i != AC__NONE; i = sampler->threads[i].next) {
        const struct ac__thread *thread = &sampler->threads[i];
        for (size_t g = 0; thread->tstate != 0 && g < sampler->gil_count; g++)
            if (sampler->gils[g].held && sampler->gils[g].holder == thread->tstate)
                sampler->gil_leaf[g] = thread->leaf_func;
    }
    if (sampler->gil_count == 0)
        return;
    /* Between two holders: the waiters wait for whom they waited for a moment ago. */
    if (sampler->gil_leaf[0] == AC__NONE)
        sampler->gil_leaf[0] = process->holder_func;
    process->holder_func = sampler->gil_leaf[0];
}

static void add_pair(struct ac_sampler *sampler, const struct ac__thread *thread) {
    uint32_t gil = thread->gil - 1;
    uint32_t holder = thread->gil > 0 && gil < sampler->gil_count ? sampler->gil_leaf[gil] : AC__NONE;
    int r = ac_profile_pair(sampler->profile, holder, thread->leaf_func, sampler->gap_ns);
    if (r < 0)
        sampler->err = r;
}

/* Also where the next wait is of the same kind: how many answers came, and whether one came at all or the
 * time was up. */
static void end_wait(struct ac_sampler *sampler, struct ac__thread *thread, int64_t now) {
    bool is_long = now - thread->wait_ns >= LONG_WAIT_NS;
    if (thread->seen && thread->label.state == AC_IO &&
        (is_long || now - thread->segment_ns >= SHORT_WAITS_NS)) {
        uint8_t kind = thread->label.kind;
        if (is_long && thread->due_ns > 0 && sampler->tick_ns >= thread->due_ns)
            thread->label.kind = AC_KIND_TIMER;
        ac__row_flush(sampler, thread, now);
        thread->label.kind = kind;
    }
    thread->wait_ns = now;
    thread->due_ns = 0;
}

static void begin_wait(const struct ac_sampler *sampler, const struct ac__process *process,
                       struct ac__thread *thread) {
    int64_t timeout_ns;
    if (ac_classify_epoll_timeout(AC_ARCH_OWN, &thread->call, &timeout_ns))
        thread->due_ns = thread->wait_ns + timeout_ns;
    count_watched(sampler, process, thread);
}

static void label_threads(struct ac_sampler *sampler, struct ac__process *process) {
    uint32_t waiters = 0;
    for (size_t i = 0; i < sampler->active_count; i++) {
        struct ac__thread *thread = &sampler->threads[sampler->active[i]];
        int64_t since = sampler->before_ns;
        if (sampler->ring && thread->switched_ns > since && thread->switched_ns <= sampler->tick_ns)
            since = thread->switched_ns; /* exact */
        if (thread->woke)
            end_wait(sampler, thread, since);
        struct ac__label label = label_of(sampler, process, thread);
        if (thread->woke && label.state == AC_IO)
            begin_wait(sampler, process, thread);
        ac__row_observe(sampler, thread, label, since);
        waiters += label.state == AC_GIL_WAIT;
        ac__task_done(sampler, thread);
    }
    if (waiters == 0)
        return;
    find_holders(sampler, process);
    for (size_t i = 0; i < sampler->active_count; i++)
        if (sampler->threads[sampler->active[i]].label.state == AC_GIL_WAIT)
            add_pair(sampler, &sampler->threads[sampler->active[i]]);
}

/* With the ring, schedstat is read for its run-delay only: seldom, and of threads that ran. */
static void read_delays(struct ac_sampler *sampler, int64_t now) {
    for (size_t i = 0; sampler->ring && i < sampler->active_count; i++) {
        struct ac__thread *thread = &sampler->threads[sampler->active[i]];
        if (now - thread->sched_read_ns >= SCHEDSTAT_NS && ac__task_ready(sampler, thread))
            ac__exact_schedstat(sampler, thread);
    }
}

void ac__watch_process(struct ac_sampler *sampler, uint32_t slot, int64_t now) {
    struct ac__process *process = &sampler->processes[slot];
    memset(&sampler->rlocks, 0, sizeof sampler->rlocks);
    look_at_threads(sampler, process, now);
    read_gils(sampler, process);
    read_stacks(sampler, process);
    label_threads(sampler, process);
    read_delays(sampler, now);
}
