/* task.c - submitting, asking after, waiting for, cancelling and forgetting tasks. The life of a slot is
 * drawn in layout.h; the queue's argument is in queue.c.
 *
 * Waiting: the waiter sets WAITER in the state word by compare-and-swap and sleeps on that very word; the
 * worker's swap to DONE shows it the flag. If the worker dies between the swap and the wake-up, the parent
 * wakes the waiters of all that it had answered when it sees the death. A worker wakes it once more before it
 * copies a large answer (spin.c): it looks, spins, and sleeps again if that was for nothing. Whoever was
 * woken for a queued task may be stopped: a waiter that finds it queued still after 2 ms wakes another. If
 * the word is overwritten by a wild write, nobody wakes the waiter: it looks by itself every second
 * (ac__audit).
 *
 * A slot is used again only when it has no ticket, is over, and is not on, or about to be put on, the done
 * list: a released task that was to be notified of waits (`released`) until ac__done_drain has met it, or its
 * worker has died. */
#include <limits.h>
#include <string.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/internal.h"
#include "pool/kill.h"

uint32_t ac__task_find(struct ac_pool *pool, uint64_t ticket) {
    uint32_t index = (uint32_t)ticket - 1;
    if (index >= pool->tasks_used || !pool->tasks[index].live ||
        pool->tasks[index].generation != (uint32_t)(ticket >> 32)) {
        return AC__NONE;
    }
    return index;
}

static int slot_new(struct ac_pool *pool, uint32_t *ret_index) {
    if (pool->free_first != 0) {
        *ret_index = pool->free_first - 1;
        pool->free_first = pool->tasks[*ret_index].next_free;
        return 0;
    }
    if (pool->tasks_used >= pool->side.segment.slot_count) {
        return -EAGAIN;
    }
    int error = ac_grow(&pool->tasks, &pool->tasks_cap, (size_t)pool->tasks_used + 1, sizeof(*pool->tasks));
    if (error == 0) {
        *ret_index = pool->tasks_used++;
    }
    return error;
}

static void slot_free(struct ac_pool *pool, uint32_t index) {
    pool->tasks[index].next_free = pool->free_first;
    pool->free_first = index + 1;
}

static int enqueue(struct ac_pool *pool, uint32_t index, uint32_t flags) {
    struct ac__slot *slot = ac__slot_of(pool, index);
    struct ac__task *task = &pool->tasks[index];
    task->position = pool->queue.tail;
    ac_store_release(&slot->state, ac__word(AC_TASK_QUEUED, AC__NONE, task->generation) | flags);
    AC_KILL_POINT(P_QUEUED);
    int error = ac__queue_push(&pool->side, &pool->queue, index);
    if (error < 0) {
        ac_store_release(&slot->state, ac__word(AC__FREE, AC__NONE, task->generation));
    }
    return error;
}

static void write_slot(struct ac__slot *slot, const struct ac_task_out *out, struct ac_message *message,
                       uint32_t generation) {
    slot->in_kind = out->kind;
    slot->in_block = message->block != NULL ? message->block->offset : 0;
    slot->in_size = 0;
    slot->in_parts = 0;
    slot->items = out->items;
    slot->ticket_generation = generation;
    slot->start_ns = 0;
    slot->end_ns = 0;
    slot->pickle_ns = 0;
    slot->out_size = 0;
    slot->out_kind = 0;
    slot->out_parts = 0;
    ac_store_relaxed(&slot->out_block, 0);
    ac_store_relaxed(&slot->progress, 0);
    ac_store_relaxed(&slot->coming, 0);
    if (message->block == NULL && out->count == 1) {
        slot->in_parts = 1;
        slot->in_size = (uint32_t)out->parts[0].size;
        memcpy(slot->in, out->parts[0].data, out->parts[0].size);
    }
    slot->submit_ns = ac_now_ns();
    AC_KILL_POINT(P_SLOT_FILLED);
}

static int submit_locked(struct ac_pool *pool, const struct ac_task_out *out, struct ac_message *message,
                         uint64_t *ret_ticket, int64_t *ret_now) {
    uint32_t index = 0;
    if (pool->broken || pool->closing) {
        return pool->broken ? -EPIPE : -ESHUTDOWN;
    }
    if (pool->abandoned > 0) {
        ac__done_drain(pool);
    }
    int error = out->notify ? ac__ready_promise(pool) : 0;
    if (error == 0) {
        error = slot_new(pool, &index);
    }
    if (error < 0) {
        return error;
    }
    struct ac__task *task = &pool->tasks[index];
    uint32_t generation = task->generation + 1;
    *task = (struct ac__task){.generation = generation,
                              .user = out->user,
                              .items = out->items,
                              .notify = out->notify,
                              .worker = -1};
    write_slot(ac__slot_of(pool, index), out, message, generation);
    error = enqueue(pool, index, out->notify ? AC__NOTIFY : 0);
    if (error < 0) {
        slot_free(pool, index);
        return error;
    }
    task->live = true;
    pool->ready.promised += out->notify;
    pool->active = true;
    if (message->block != NULL) {
        task->arguments = message->block->record;
        pool->side.heap.extents[task->arguments].slot = index;
        pool->stats.bytes_in += message->block->size;
    }
    pool->live++;
    pool->stats.submitted++;
    *ret_ticket = ac__ticket(generation, index);
    *ret_now = ac__slot_of(pool, index)->submit_ns;
    return 0;
}

/* Large arguments are about to be copied: wake a worker for them now, so that it is awake when they are
 * there. It spins for them, and counts as the spinner then; nothing rests on it. */
static bool announce(struct ac_pool *pool, const struct ac_task_out *out) {
    struct ac__head *head = pool->side.segment.head;
    uint64_t word = out->more ? 0 : ac__coming_parts(out->parts, out->count);
    if (word == 0) {
        return false;
    }
    ac_store_relaxed(&head->parent_cpu, ac_cpu_now());
    ac_store_release(&head->coming, word);
    ac_add_relaxed(&pool->wakes, (uint64_t)ac__wake_some(&pool->side.segment, 1, ac_now_ns()));
    return true;
}

static int prepare(struct ac_pool *pool, const struct ac_task_out *out, struct ac_message *ret,
                   bool *ret_announced) {
    *ret = (struct ac_message){0};
    *ret_announced = false;
    if (out->message != NULL || out->count == 0 ||
        (out->count == 1 && out->parts[0].size <= AC_POOL_INLINE)) {
        return 0;
    }
    *ret_announced = announce(pool, out);
    return ac__block_fill(&pool->side, out->parts, out->count, ret);
}

int ac_pool_submit(struct ac_pool *pool, const struct ac_task_out *out, uint64_t *ret_ticket) {
    struct ac_message filled;
    int64_t now;
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    bool announced;
    int error = prepare(pool, out, &filled, &announced);
    if (error < 0) {
        return error;
    }
    struct ac_message *message = out->message != NULL ? out->message : &filled;
    if (message->block != NULL &&
        (message->block->kind != AC__BLOCK_OWN || message->block->side != &pool->side)) {
        return -EINVAL;
    }
    AC_KILL_POINT(P_RESERVED);
    pthread_mutex_lock(&pool->side.lock);
    error = submit_locked(pool, out, message, ret_ticket, &now);
    pthread_mutex_unlock(&pool->side.lock);
    if (error < 0) {
        ac_message_clear(&filled);
        return error;
    }
    ac__block_sent(message);
    ac_store_relaxed(&pool->side.segment.head->parent_cpu, ac_cpu_now());
    if (!out->more) {
        ac_add_relaxed(&pool->wakes, (uint64_t)ac__wake_some(&pool->side.segment, 1, now));
    }
    if (announced) {
        ac__coming_over(&pool->side.segment.head->coming);
    }
    return 0;
}

void ac_pool_kick(struct ac_pool *pool) {
    if (!ac__side_foreign(&pool->side)) {
        uint64_t depth = ac__queue_depth(&pool->side.segment);
        ac_add_relaxed(&pool->wakes, (uint64_t)ac__wake_some(&pool->side.segment, depth, ac_now_ns()));
    }
}

int ac_pool_reserve(struct ac_pool *pool, const size_t *sizes, uint32_t count, struct ac_message *ret) {
    return ac__side_foreign(&pool->side) ? -ECHILD : ac__block_reserve(&pool->side, sizes, count, ret);
}

/* --- Ends */
void ac__task_tell(struct ac_pool *pool, uint32_t index) {
    struct ac__task *task = &pool->tasks[index];
    if (!task->notify || task->told) {
        return;
    }
    task->told = task->over = true;
    if (task->released) {
        pool->ready.promised--;
        pool->abandoned--;
        ac__task_recycle(pool, index);
        return;
    }
    ac__ready_add(pool, ac__ticket(task->generation, index), task->user);
}

bool ac__task_end(struct ac_pool *pool, uint32_t index, uint32_t word, enum ac_task_state phase) {
    struct ac__slot *slot = ac__slot_of(pool, index);
    uint32_t from = ac__phase(word);
    while (ac__phase(word) == from) {
        if (ac_cas_acq_rel(&slot->state, &word, (word & ~(uint32_t)AC__PHASE) | phase)) {
            if (word & AC__WAITER) {
                ac_futex_wake(&slot->state, INT_MAX);
            }
            ac__task_tell(pool, index);
            ac__done_ring(pool);
            return true;
        }
    }
    return false;
}

/* The ticket's low half must be in the word, and a phase that a live task can have. */
static bool word_fits(const struct ac__task *task, uint32_t word) {
    return word >> AC__GENERATION_SHIFT == (task->generation & 0xffff) && ac__phase(word) != AC__FREE;
}

void ac__task_spoil(struct ac_pool *pool, uint32_t index) {
    struct ac__task *task = &pool->tasks[index];
    struct ac__slot *slot = ac__slot_of(pool, index);
    if (!task->corrupt) {
        task->corrupt = true;
        pool->stats.corrupt++;
        ac_store_release(&slot->state, ac__word(AC_TASK_CORRUPT, AC__NONE, task->generation));
        ac_futex_wake(&slot->state, INT_MAX);
        ac__task_tell(pool, index);
        ac__done_ring(pool);
    }
}

bool ac__task_over(struct ac_pool *pool, uint32_t index, uint32_t *ret_word) {
    struct ac__task *task = &pool->tasks[index];
    uint32_t word = ac_load_acquire(&ac__slot_of(pool, index)->state);
    if (!word_fits(task, word) || (task->over && !ac__over(word))) {
        ac__task_spoil(pool, index);
    }
    task->over |= task->corrupt || ac__over(word);
    *ret_word = word;
    return task->over;
}

int ac__task_requeue(struct ac_pool *pool, uint32_t index) {
    pool->tasks[index].position = pool->queue.tail;
    int error = ac__queue_push(&pool->side, &pool->queue, index);
    ac__wake_all(&pool->side.segment);
    return error;
}

int ac_pool_state(struct ac_pool *pool, uint64_t ticket, enum ac_task_state *ret_state) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&pool->side.lock);
    uint32_t index = ac__task_find(pool, ticket);
    if (index != AC__NONE) {
        uint32_t word;
        ac__task_over(pool, index, &word);
        *ret_state = pool->tasks[index].corrupt ? AC_TASK_CORRUPT : (enum ac_task_state)ac__phase(word);
    }
    pthread_mutex_unlock(&pool->side.lock);
    return index != AC__NONE ? 0 : -EINVAL;
}

/* --- Waiting */
enum { DOUBT_NS = 2000000 };
struct watch {
    struct ac__slot *slot;
    uint32_t generation;
};

static bool watch_over(void *arg) {
    const struct watch *watch = arg;
    uint32_t word = ac_load_acquire(&watch->slot->state);
    return ac__over(word) || word >> AC__GENERATION_SHIFT != watch->generation;
}

static bool spin_for(struct ac_pool *pool, struct watch *watch, int64_t start_ns) {
    uint32_t cpus = pool->side.segment.head->usable_cpus;
    bool free = false;
    bool coming = cpus > 1 && start_ns < ac__coming_until(ac_load_relaxed(&watch->slot->coming), start_ns);
    if (!(coming || ac__spin_allowed(&pool->spin, cpus)) ||
        !atomic_compare_exchange_strong(&pool->spinning, &free, true)) {
        return watch_over(watch);
    }
    bool over = ac__spin_until(watch_over, watch, start_ns, &watch->slot->coming);
    ac_store_release(&pool->spinning, false);
    return over;
}

/* One sleep on the slot's word. The first one is short while the task is queued though a worker is idle. */
static int park(struct ac_pool *pool, struct watch *watch, int64_t nap_ns, bool *doubted) {
    uint32_t word = ac_load_acquire(&watch->slot->state);
    do {
        if (ac__over(word) || word >> AC__GENERATION_SHIFT != watch->generation) {
            return 0;
        }
    } while (!(word & AC__WAITER) && !ac_cas_acq_rel(&watch->slot->state, &word, word | AC__WAITER));
    AC_KILL_POINT(P_WAIT_FLAGGED);
    bool doubt = ac__phase(word) == AC_TASK_QUEUED && !*doubted && ac__idle_any(&pool->side.segment);
    *doubted = true;
    int got =
        ac_futex_wait(&watch->slot->state, word | AC__WAITER, doubt ? ac_min(nap_ns, DOUBT_NS) : nap_ns);
    if (doubt && got == -ETIMEDOUT && nap_ns > DOUBT_NS) { /* whoever was to be woken for it may be stopped */
        ac_add_relaxed(&pool->wakes, (uint64_t)ac__wake_some(&pool->side.segment, 1, ac_now_ns()));
        got = 0;
    }
    return got;
}

static int look(struct ac_pool *pool, uint64_t ticket, struct watch *ret) {
    pthread_mutex_lock(&pool->side.lock);
    uint32_t index = ac__task_find(pool, ticket);
    int over = -EINVAL;
    if (index != AC__NONE) {
        *ret = (struct watch){ac__slot_of(pool, index), pool->tasks[index].generation & 0xffff};
        uint32_t word;
        over = ac__task_over(pool, index, &word) ? 1 : 0;
    }
    pthread_mutex_unlock(&pool->side.lock);
    return over;
}

int ac_pool_wait(struct ac_pool *pool, uint64_t ticket, int64_t timeout_ns) {
    struct watch watch;
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    int over = look(pool, ticket, &watch);
    if (over != 0 || timeout_ns == 0) {
        return over > 0 ? 0 : over < 0 ? over : -ETIMEDOUT;
    }
    int64_t start = ac_now_ns();
    int64_t until = timeout_ns < 0 ? INT64_MAX : start + timeout_ns;
    bool doubted = false;
    over = spin_for(pool, &watch, start) ? look(pool, ticket, &watch) : 0;
    while (over == 0) {
        int64_t nap = ac__nap(pool, until);
        if (nap <= 0) {
            return -ETIMEDOUT;
        }
        int got = park(pool, &watch, nap, &doubted);
        if (got == -EINTR) {
            return got;
        }
        if (got == -ETIMEDOUT) {
            pthread_mutex_lock(&pool->side.lock);
            ac__audit(pool);
            pthread_mutex_unlock(&pool->side.lock);
        }
        over = look(pool, ticket, &watch);
        if (over == 0 && got == 0) { /* woken: its answer is being copied, or so it seems */
            over = spin_for(pool, &watch, ac_now_ns()) ? look(pool, ticket, &watch) : 0;
        }
    }
    ac__spin_note(&pool->spin, ac__gap(start, ac_now_ns(), ac_load_relaxed(&watch.slot->coming)));
    return over > 0 ? 0 : over;
}

/* --- Cancelling, forgetting, trying again */
int ac_pool_cancel(struct ac_pool *pool, uint64_t ticket) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&pool->side.lock);
    uint32_t index = ac__task_find(pool, ticket);
    int error = index == AC__NONE ? -EINVAL : -EBUSY;
    if (error == -EBUSY) {
        uint32_t word = ac_load_acquire(&ac__slot_of(pool, index)->state);
        if (ac__phase(word) == AC_TASK_QUEUED && ac__task_end(pool, index, word, AC_TASK_CANCELLED)) {
            pool->stats.cancelled++;
            error = 0;
        }
    }
    pthread_mutex_unlock(&pool->side.lock);
    return error;
}

/* The worker that may still look at the arguments, or AC__NONE. One that died counts until its process has
 * ended, since its threads may write for a moment more. */
static uint32_t holder_of(struct ac_pool *pool, const struct ac__task *task, uint32_t word) {
    if (task->worker >= 0) {
        return pool->peers[task->worker].life == AC__LIFE_DYING ? (uint32_t)task->worker : AC__NONE;
    }
    uint32_t worker = ac__worker_of(word);
    return worker < AC_POOL_WORKERS && pool->peers[worker].life != AC__LIFE_NONE ? worker : AC__NONE;
}

static void drop_arguments(struct ac_pool *pool, uint32_t index, uint32_t word) {
    struct ac__task *task = &pool->tasks[index];
    if (task->arguments == 0) {
        return;
    }
    struct ac__extent *extent = &pool->side.heap.extents[task->arguments];
    uint32_t holder = holder_of(pool, task, word);
    extent->slot = AC__NONE;
    if (holder != AC__NONE) {
        extent->holder = holder;
    } else if (!task->corrupt) { /* else nobody knows who looks at it: not used again */
        ac__block_free(&pool->side, task->arguments);
    }
    task->arguments = 0;
}

void ac__task_recycle(struct ac_pool *pool, uint32_t index) {
    struct ac__task *task = &pool->tasks[index];
    struct ac__slot *slot = ac__slot_of(pool, index);
    uint32_t word = ac_load_acquire(&slot->state);
    ac__result_drop(pool, index);
    ac__pool_drain(&pool->side);
    drop_arguments(pool, index, word);
    ac_free(task->death);
    uint32_t generation = task->generation;
    ac_store_release(&slot->state, ac__word(AC__FREE, AC__NONE, generation));
    if (word & AC__WAITER) {
        ac_futex_wake(&slot->state, INT_MAX); /* another thread still waits: it will see -EINVAL */
    }
    bool lost = task->lost;
    *task = (struct ac__task){.generation = generation};
    if (!lost) {
        slot_free(pool, index);
    }
    AC_KILL_POINT(P_RELEASED);
}

/* A running task that nobody wants: it comes back by the done list. */
static bool abandon(struct ac_pool *pool, uint32_t index) {
    struct ac__slot *slot = ac__slot_of(pool, index);
    uint32_t word = ac_load_acquire(&slot->state);
    while (ac__phase(word) == AC_TASK_RUNNING) {
        if (ac_cas_acq_rel(&slot->state, &word, word | AC__NOTIFY)) {
            pool->ready.promised += !pool->tasks[index].notify;
            pool->tasks[index].notify = true;
            return true;
        }
    }
    return false;
}

static void release(struct ac_pool *pool, uint32_t index) {
    struct ac__task *task = &pool->tasks[index];
    uint32_t word = ac_load_acquire(&ac__slot_of(pool, index)->state);
    if (!task->corrupt && ac__phase(word) == AC_TASK_QUEUED &&
        ac__task_end(pool, index, word, AC_TASK_CANCELLED)) {
        pool->stats.cancelled++;
    }
    task->live = false;
    pool->live--;
    bool running = !task->corrupt && abandon(pool, index);
    if (running || (task->notify && !task->told)) {
        task->released = true;
        pool->abandoned++;
        ac__done_drain(pool);
    } else {
        ac__task_recycle(pool, index);
    }
}

int ac_pool_release(struct ac_pool *pool, uint64_t ticket) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&pool->side.lock);
    uint32_t index = ac__task_find(pool, ticket);
    if (index != AC__NONE) {
        release(pool, index);
    }
    pthread_mutex_unlock(&pool->side.lock);
    return index != AC__NONE ? 0 : -EINVAL;
}

static int retry(struct ac_pool *pool, uint32_t index, uint32_t items) {
    struct ac__task *task = &pool->tasks[index];
    struct ac__slot *slot = ac__slot_of(pool, index);
    uint32_t word = ac_load_acquire(&slot->state);
    if (task->corrupt || ac__phase(word) != AC_TASK_DIED) {
        return -EBUSY;
    }
    if (slot->in_block != 0 && task->arguments == 0) {
        return -ENODATA;
    }
    if (pool->broken) {
        return -EPIPE;
    }
    if (!task->taken) {
        ac__result_drop(pool, index);
    }
    ac_free(task->death);
    task->death = NULL;
    task->taken = task->died = task->over = false;
    task->worker = -1;
    if (task->notify && task->told) {
        int error = ac__ready_promise(pool);
        if (error < 0) {
            return error;
        }
        pool->ready.promised++;
        task->told = false;
    }
    pool->active = true;
    slot->start_ns = slot->end_ns = 0;
    slot->items = items != 0 ? items : slot->items;
    ac_store_relaxed(&slot->out_block, 0);
    ac_store_relaxed(&slot->progress, 0);
    ac_store_relaxed(&slot->coming, 0);
    return enqueue(pool, index, task->notify ? AC__NOTIFY : 0);
}

int ac_pool_retry(struct ac_pool *pool, uint64_t ticket, uint32_t items) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&pool->side.lock);
    uint32_t index = ac__task_find(pool, ticket);
    int error = index == AC__NONE ? -EINVAL : retry(pool, index, items);
    pthread_mutex_unlock(&pool->side.lock);
    if (error == 0) {
        ac_pool_kick(pool);
    }
    return error;
}
