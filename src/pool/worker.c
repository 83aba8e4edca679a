/* worker.c - the worker's side: attach, claim, answer.
 *
 * Idle workers: at most one spins, for up to 50 us, once a gap, and only while the gaps between tasks have
 * been short lately; the others sleep on their seat's park word. The spinner says so in the head, so that the
 * parent need not wake anybody for the next task. It takes that back before it claims, so a parent that still
 * read it as set has a spinner that will look at the queue after its tail was moved; and the note carries the
 * time, so that a spinner that was stopped or preempted does not count for long. A worker that was woken for
 * arguments that are still being copied spins for those, whatever the gaps were (spin.c). Sleep and wake-up
 * otherwise: queue.c.
 *
 * Answering: first the block and the slot's out fields are written, then the state word is swapped from
 * RUNNING(me) to DONE (release). What the parent sees after DONE (acquire) is whole. If the parent has
 * meanwhile ended the task (BROKEN), the swap fails and the answer is thrown away.
 *
 * Life: a robust mutex in the seat is held from attach on. Its futex word then holds our thread id, and we
 * set the waiters' bit ourselves, so that the kernel marks the word and wakes the supervisor when this thread
 * ends for whatever reason. The parent's death reaches us as SIGKILL (PDEATHSIG on the zygote, which watches
 * the parent by pidfd). */
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/kill.h"
#include "pool/segment.h"

#define KEEP_BYTES    (UINT64_C(256) << 20)
#define MOVE_EVERY_NS (2 * AC_NS_PER_MS)
#define MOVE_NS       100000 /* what it costs, with room: hidden by a copy that takes longer */
#define RSS_TASK_NS                                                                                          \
    (2 * AC_NS_PER_MS) /* tasks longer than that refresh the peak of memory that death reports */

struct ac_worker {
    struct ac__side side; /* first: a side is its worker */
    struct ac__seat *seat;
    uint32_t id;
    uint32_t current; /* slot index, or AC__NONE */
    struct ac__spin spin;
    bool spun;           /* in this gap between tasks: not again */
    int64_t now_ns;      /* when the last task ended: the next one's idle gap starts there */
    int64_t pickling_ns; /* since when, 0 not */
    int64_t moved_ns;
    pid_t parent;
};

/* --- Attach */
static int hold_life(struct ac__seat *seat) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    int error = -pthread_mutex_init(&seat->life, &attributes);
    pthread_mutexattr_destroy(&attributes);
    if (error == 0) {
        error = -pthread_mutex_lock(&seat->life);
    }
    if (error < 0) {
        return error;
    }
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    for (uint32_t i = 0; i < AC_COUNT(seat->words); i++) { /* libcs differ in where the word is */
        uint32_t word = ac_load_relaxed(&seat->words[i]);
        if ((word & FUTEX_TID_MASK) == tid && ac_cas_acq_rel(&seat->words[i], &word, word | FUTEX_WAITERS)) {
            ac_store_relaxed(&seat->life_word, i);
            ac_store_relaxed(&seat->life_value, word | FUTEX_WAITERS);
            return 0;
        }
    }
    return -ENOTSUP;
}

static void worker_freed(struct ac__side *side) {
    pthread_mutex_destroy(&side->lock);
    ac_free(side);
}

/* An argument's last view is gone. */
static void worker_give_back(struct ac__side *side, struct ac_block *block) {
    ac__returned_push(&side->segment, &side->segment.head->returned, block->offset);
}

static void worker_drain(struct ac__side *side) {
    struct ac_worker *worker = (struct ac_worker *)side;
    ac__returned_take(side, &worker->seat->returned, NULL);
}

static int sit_down(struct ac_worker *worker, const struct ac_spawn *spawn) {
    struct ac__segment *segment = &worker->side.segment;
    struct ac__seat *seat = &segment->seats[spawn->worker];
    if (ac_load_acquire(&seat->state) != AC__SEAT_STARTING) {
        return -EINVAL;
    }
    AC_KILL_POINT(ATTACH_MAPPED);
    int error = hold_life(seat);
    if (error < 0) {
        return error;
    }
    AC_KILL_POINT(ATTACH_LOCKED);
    worker->seat = seat;
    seat->pid = getpid();
    uint32_t starting = AC__SEAT_STARTING;
    if (!ac_cas_acq_rel(&seat->state, &starting, AC__SEAT_ATTACHED)) {
        return -ECHILD; /* the parent has given us up */
    }
    AC_KILL_POINT(ATTACH_STATE);
    ac_add_release(&segment->head->attach_bell, 1);
    ac_futex_wake(&segment->head->attach_bell, INT_MAX);
    return 0;
}

int ac_worker_attach(const struct ac_spawn *spawn, struct ac_worker **ret_worker) {
    if (spawn->worker < 0 || spawn->worker >= AC_POOL_WORKERS) {
        return -EINVAL;
    }
    int error = ac_die_with_parent(spawn->guard);
    if (error < 0) {
        return error == -ESRCH ? -ECHILD : error;
    }
    struct ac_worker *worker = ac_calloc(1, sizeof(*worker));
    if (worker == NULL) {
        return -ENOMEM;
    }
    error = ac__segment_open(spawn->segment_fd, &worker->side.segment);
    if (error < 0) {
        ac_free(worker);
        return error;
    }
    worker->id = (uint32_t)spawn->worker;
    worker->current = AC__NONE;
    worker->parent = worker->side.segment.head->parent_pid;
    worker->side.keep_bytes = KEEP_BYTES;
    worker->side.give_back = worker_give_back;
    worker->side.drain = worker_drain;
    worker->side.free = worker_freed;
    ac__side_init(&worker->side, AC__OWNER_WORKER + worker->id);
    error = sit_down(worker, spawn);
    if (error < 0) {
        ac__side_unref(&worker->side);
        return error;
    }
    worker->now_ns = ac_now_ns();
    *ret_worker = worker;
    return 0;
}

void ac_worker_free(struct ac_worker *worker) {
    if (worker == NULL) {
        return;
    }
    if (!ac__side_foreign(&worker->side)) {
        ac_store_release(&worker->seat->state, AC__SEAT_LEFT);
        AC_KILL_POINT(LEAVE_MARKED);
        ac_add_relaxed(&worker->side.refs,
                       1); /* stays mapped to the end: the kernel looks at the mutex then */
    }
    ac__side_unref(&worker->side);
}

/* --- Next */
/* A wake-up meant for some task may have come to us, who found another: pass it on while there is work. */
static void pass_baton(struct ac__segment *segment, int64_t now_ns) {
    if (!ac__queue_empty(segment)) {
        ac__wake_some(segment, 1, now_ns);
    }
}

static bool claim(struct ac_worker *worker) {
    worker->current = ac__queue_claim(&worker->side.segment, worker->id);
    if (worker->current == AC__NONE) {
        return false;
    }
    ac_store_relaxed(&worker->seat->running, worker->current + 1);
    AC_KILL_POINT(CLAIM_NOTED);
    return true;
}

static bool work_seen(void *arg) {
    const struct ac_worker *worker = arg;
    struct ac__head *head = worker->side.segment.head;
    return (ac_load_acquire(&head->queue_head) & AC__POSITION) < ac_load_acquire(&head->queue_tail) ||
           ac_load_relaxed(&head->closing) != 0;
}

/* The kernel likes to wake us on the CPU of whoever woke us. There our spinning keeps the parent from
 * running, and its from us: each hand-over costs two switches, 6 us in place of 0.6. */
static void leave_parents_cpu(struct ac_worker *worker, int64_t now_ns) {
    struct ac__head *head = worker->side.segment.head;
    int cpu = ac_load_relaxed(&head->parent_cpu);
    bool time = now_ns - worker->moved_ns > MOVE_EVERY_NS ||
                ac__coming_until(ac_load_relaxed(&head->coming), now_ns) - now_ns > MOVE_NS;
    if (time && cpu == ac_cpu_now()) {
        worker->moved_ns = now_ns;
        ac_cpu_leave(cpu);
    }
}

static bool spin_for_work(struct ac_worker *worker, int64_t start_ns) {
    struct ac__head *head = worker->side.segment.head;
    uint64_t none = 0;
    uint64_t mine = (uint64_t)start_ns / 1000 << 16 | (worker->id + 1);
    bool coming =
        head->usable_cpus > 1 && start_ns < ac__coming_until(ac_load_relaxed(&head->coming), start_ns);
    bool allowed = coming || (!worker->spun && ac__spin_allowed(&worker->spin, head->usable_cpus));
    if (!allowed || !ac_cas_acq_rel(&head->spinner, &none, mine)) {
        return false;
    }
    worker->spun = true;
    AC_KILL_POINT(SPIN_FLAGGED);
    leave_parents_cpu(worker, start_ns);
    ac__spin_until(work_seen, worker, start_ns, &head->coming);
    ac_cas_acq_rel(&head->spinner, &mine, 0);
    ac_fence_full(); /* I do not spin, before is there work: against the parent's tail, before does anyone
                        spin */
    AC_KILL_POINT(SPIN_CLEARED);
    return claim(worker);
}

/* Sleep once. True when a task was claimed on the way. */
static bool park(struct ac_worker *worker, int64_t timeout_ns, int *ret_woken) {
    struct ac__head *head = worker->side.segment.head;
    _Atomic uint64_t *idle = &head->idle[worker->id / 64];
    uint64_t bit = UINT64_C(1) << (worker->id % 64);
    *ret_woken = 0;
    ac_store_relaxed(&worker->seat->park, 0);
    AC_KILL_POINT(PARK_ZEROED);
    atomic_fetch_or_explicit(idle, bit, memory_order_acq_rel);
    ac_fence_full(); /* I sleep, before is there work: against the parent's tail, before who sleeps */
    AC_KILL_POINT(PARK_FLAGGED);
    bool claimed = claim(worker);
    if (!claimed && ac_load_acquire(&head->closing) == 0) {
        *ret_woken = ac_futex_wait(&worker->seat->park, 0, timeout_ns);
        AC_KILL_POINT(PARK_WOKEN);
    }
    atomic_fetch_and_explicit(idle, ~bit, memory_order_acq_rel);
    AC_KILL_POINT(PARK_UNFLAGGED);
    return claimed;
}

/* A timeout of zero looks, and spins, but does not sleep: the kernel makes 50 us of it, and a timer. */
static int wait_for_task(struct ac_worker *worker, int64_t timeout_ns) {
    struct ac__segment *segment = &worker->side.segment;
    int64_t start = worker->now_ns;
    int64_t until = timeout_ns < 0 ? INT64_MAX : ac_now_ns() + timeout_ns;
    bool claimed = spin_for_work(worker, ac_now_ns());
    int woken = timeout_ns == 0 ? -ETIMEDOUT : 0;
    while (!claimed) {
        if (ac_load_acquire(&segment->head->closing) != 0) {
            if (claim(worker)) { /* queued before the pool was closed, seen by no look before this one */
                break;
            }
            return -ESHUTDOWN;
        }
        if (woken == -EINTR || woken == -ETIMEDOUT) {
            return woken;
        }
        claimed = park(worker, until == INT64_MAX ? -1 : ac_max(until - ac_now_ns(), (int64_t)0), &woken) ||
                  claim(worker) || spin_for_work(worker, ac_now_ns());
    }
    worker->now_ns = ac_now_ns();
    ac__spin_note(&worker->spin, ac__gap(start, worker->now_ns, ac_load_relaxed(&segment->head->coming)));
    return 0;
}

static int open_task(struct ac_worker *worker, struct ac_task_in *ret) {
    struct ac__slot *slot = &worker->side.segment.slots[worker->current];
    struct ac_message *message = &ret->message;
    ret->ticket = (uint64_t)slot->ticket_generation << 32 | (worker->current + 1);
    ret->items = slot->items;
    slot->start_ns = worker->now_ns;
    if (slot->in_block != 0) {
        int error = ac__block_open(&worker->side, slot->in_block, AC__OWNER_PARENT, AC__BLOCK_LENT, message);
        message->kind = slot->in_kind;
        return error;
    }
    *message =
        (struct ac_message){.kind = slot->in_kind, .count = slot->in_parts != 0, .parts = message->few};
    message->few[0] = (struct ac_view){slot->in, ac_min(slot->in_size, (uint32_t)AC_POOL_INLINE)};
    return 0;
}

int ac_worker_next(struct ac_worker *worker, int64_t timeout_ns, struct ac_task_in *ret) {
    if (ac__side_foreign(&worker->side)) {
        return -ECHILD;
    }
    if (worker->current != AC__NONE) {
        return -EBUSY;
    }
    ac_store_relaxed(&worker->seat->ready, 1);
    if (!claim(worker)) {
        int error = wait_for_task(worker, timeout_ns);
        if (error < 0) {
            return error;
        }
    } else {
        ac__spin_note(&worker->spin, 0); /* the last task's end is near enough to this one's start */
    }
    worker->spun = false;
    pass_baton(&worker->side.segment, worker->now_ns);
    return open_task(worker, ret);
}

/* --- Finish */
static void push_done(struct ac_worker *worker, uint32_t index) {
    struct ac__head *head = worker->side.segment.head;
    struct ac__slot *slot = &worker->side.segment.slots[index];
    uint32_t first = ac_load_relaxed(&head->done_head);
    do {
        ac_store_relaxed(&slot->next_done, first);
        AC_KILL_POINT(FINISH_LINKED);
    } while (!ac_cas_acq_rel(&head->done_head, &first, index + 1));
    AC_KILL_POINT(FINISH_PUSHED);
    ac_fence_full(); /* it is there, before does anyone sleep: see done.c */
    if (ac_load_relaxed(&head->done_sleeping) != 0 && ac_swap_acq_rel(&head->done_sleeping, 0) != 0) {
        AC_KILL_POINT(FINISH_RANG);
        ac_add_release(&head->done_bell, 1);
        ac_futex_wake(&head->done_bell, INT_MAX);
    }
}

/* RUNNING(me) to DONE. False: the parent has ended the task. */
static bool swap_done(struct ac_worker *worker, ac_futex *state, uint32_t *ret_word) {
    uint32_t word = ac_load_acquire(state);
    while (ac__phase(word) == AC_TASK_RUNNING && ac__worker_of(word) == worker->id) {
        if (ac_cas_acq_rel(state, &word, (word & ~(uint32_t)AC__PHASE) | AC_TASK_DONE)) {
            *ret_word = word;
            AC_KILL_POINT(FINISH_SWAPPED);
            return true;
        }
    }
    return false;
}

static void note_memory(struct ac_worker *worker) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        ac_store_relaxed(&worker->seat->peak_rss, (int64_t)usage.ru_maxrss * 1024);
    }
}

/* The out fields are written. */
static bool finish(struct ac_worker *worker) {
    uint32_t index = worker->current;
    struct ac__slot *slot = &worker->side.segment.slots[index];
    uint32_t word;
    worker->now_ns = ac_now_ns();
    slot->end_ns = worker->now_ns;
    if (worker->pickling_ns != 0) {
        slot->pickle_ns += worker->now_ns - worker->pickling_ns;
        worker->pickling_ns = 0;
    }
    int64_t ran = slot->end_ns - slot->start_ns;
    AC_KILL_POINT(FINISH_WRITTEN);
    bool done = swap_done(worker, &slot->state, &word);
    if (done && (word & AC__NOTIFY)) {
        push_done(worker, index);
    }
    if (done && (word & AC__WAITER)) {
        ac_futex_wake(&slot->state, INT_MAX);
    }
    ac_store_relaxed(&worker->seat->running, 0);
    AC_KILL_POINT(FINISH_NOTED);
    ac_add_relaxed(&worker->seat->tasks, 1);
    worker->current = AC__NONE;
    if (ran > RSS_TASK_NS) {
        note_memory(worker);
    }
    return done;
}

int ac_worker_finish_message(struct ac_worker *worker, uint16_t kind, struct ac_message *message) {
    if (ac__side_foreign(&worker->side)) {
        return -ECHILD;
    }
    if (worker->current == AC__NONE || message->block == NULL || message->block->kind != AC__BLOCK_OWN ||
        message->block->side != &worker->side) {
        return -EINVAL;
    }
    struct ac__slot *slot = &worker->side.segment.slots[worker->current];
    slot->out_kind = kind;
    ac_store_release(&slot->out_block, message->block->offset);
    pthread_mutex_lock(&worker->side.lock); /* before the swap: the parent may give it back at once */
    worker->side.heap.extents[message->block->record].slot = worker->current;
    pthread_mutex_unlock(&worker->side.lock);
    if (finish(worker)) {
        ac__block_sent(message);
    } else {
        ac_message_clear(message);
    }
    return 0;
}

/* A large answer is about to be copied: wake who sleeps for it now, so that it is awake when it is there. */
static void announce(struct ac_worker *worker, const struct ac_part *parts, uint32_t count) {
    struct ac__slot *slot = &worker->side.segment.slots[worker->current];
    uint64_t word = ac__coming_parts(parts, count);
    if (word != 0) {
        ac_store_release(&slot->coming, word);
        ac_fence_full(); /* it comes, before does anyone sleep; a miss costs no more than time */
        if (ac_load_relaxed(&slot->state) & AC__WAITER) {
            ac_futex_wake(&slot->state, INT_MAX);
        }
    }
}

int ac_worker_finish(struct ac_worker *worker, uint16_t kind, const struct ac_part *parts, uint32_t count) {
    struct ac_message message;
    if (ac__side_foreign(&worker->side)) {
        return -ECHILD;
    }
    if (worker->current == AC__NONE) {
        return -EINVAL;
    }
    if (count > 1 || (count == 1 && parts[0].size > AC_POOL_INLINE)) {
        announce(worker, parts, count);
        int error = ac__block_fill(&worker->side, parts, count, &message);
        return error < 0 ? error : ac_worker_finish_message(worker, kind, &message);
    }
    struct ac__slot *slot = &worker->side.segment.slots[worker->current];
    slot->out_kind = kind;
    slot->out_parts = (uint16_t)count;
    slot->out_size = count == 1 ? (uint32_t)parts[0].size : 0;
    if (slot->out_size > 0) {
        memcpy(slot->out, parts[0].data, parts[0].size);
    }
    ac_store_release(&slot->out_block, 0);
    finish(worker);
    return 0;
}

static bool may_give(const struct ac_worker *worker, struct ac_part first, uint32_t count,
                     const struct ac_message *arguments) {
    const struct ac_block *block = arguments->block;
    const struct ac__slot *slot = &worker->side.segment.slots[worker->current];
    return block != NULL && block->kind == AC__BLOCK_LENT && block->offset == slot->in_block &&
           ac_load_acquire(&block->refs) == 1 && slot->items <= 1 && count > 0 && count <= arguments->count &&
           first.size <= arguments->parts[0].size;
}

int ac_worker_give(struct ac_worker *worker, uint16_t kind, struct ac_part first, uint32_t count,
                   struct ac_message *arguments) {
    if (ac__side_foreign(&worker->side)) {
        return -ECHILD;
    }
    if (worker->current == AC__NONE || !may_give(worker, first, count, arguments)) {
        return -EAGAIN;
    }
    struct ac__slot *slot = &worker->side.segment.slots[worker->current];
    struct ac__block_head *head = (void *)(worker->side.segment.base + slot->in_block);
    char *at = arguments->parts[0].data;
    memcpy(at, first.data, first.size);
    memset(at + first.size, 0, arguments->parts[0].size - first.size);
    head->count = count;
    AC_KILL_POINT(GIVE_WRITTEN);
    slot->out_kind = kind;
    ac_store_release(&slot->out_block, slot->in_block);
    AC_KILL_POINT(GIVE_MARKED);
    if (finish(worker)) {
        ac__block_sent(arguments);
    } else {
        ac_message_clear(arguments);
    }
    return 0;
}

int ac_worker_reserve(struct ac_worker *worker, const size_t *sizes, uint32_t count, struct ac_message *ret) {
    return ac__side_foreign(&worker->side) ? -ECHILD : ac__block_reserve(&worker->side, sizes, count, ret);
}

int ac_worker_stage(struct ac_worker *worker, uint16_t kind, const struct ac_message *message) {
    if (ac__side_foreign(&worker->side)) {
        return -ECHILD;
    }
    if (worker->current == AC__NONE || message->block == NULL) {
        return -EINVAL;
    }
    struct ac__slot *slot = &worker->side.segment.slots[worker->current];
    slot->out_kind = kind;
    AC_KILL_POINT(STAGE_WRITTEN);
    ac_store_release(&slot->out_block, message->block->offset);
    return 0;
}

void ac_worker_progress(struct ac_worker *worker, uint32_t items_done) {
    if (worker->current != AC__NONE && !ac__side_foreign(&worker->side)) {
        ac_store_release(&worker->side.segment.slots[worker->current].progress, items_done);
        AC_KILL_POINT(PROGRESS_WRITTEN);
    }
}

void ac_worker_pickling(struct ac_worker *worker, int64_t since_ns, int64_t until_ns) {
    if (until_ns == 0) {
        worker->pickling_ns = since_ns;
    } else if (worker->current != AC__NONE && !ac__side_foreign(&worker->side)) {
        worker->side.segment.slots[worker->current].pickle_ns += until_ns - since_ns;
    }
}

/* --- Looking */
int ac_worker_shared(struct ac_worker *worker, uint64_t key, struct ac_message *ret) {
    if (ac__side_foreign(&worker->side)) {
        return -ECHILD;
    }
    int error = ac__block_open(&worker->side, key, AC__OWNER_PARENT, AC__BLOCK_SHARED, ret);
    return error == -EBADMSG ? -EINVAL : error;
}

int ac_worker_config(struct ac_worker *worker, struct ac_message *ret) {
    uint64_t key = ac_load_acquire(&worker->side.segment.head->config);
    return key == 0 ? -ENOENT : ac_worker_shared(worker, key, ret);
}

int ac_worker_id(const struct ac_worker *worker) {
    return (int)worker->id;
}

pid_t ac_worker_parent(const struct ac_worker *worker) {
    return worker->parent;
}
