/* done.c - the completion side: tickets that are over, for one thread that runs callbacks; and the audit.
 *
 * A worker that finishes a task marked NOTIFY pushes its slot onto the done list (a stack whose taker takes
 * all of it by one exchange) and rings the bell if the parent sleeps. The list is a short-cut, not the truth:
 * that is the slot's state. A worker killed between its swap to DONE and its push has its tasks looked
 * through when its death is seen; the list's links are believed only where the books agree.
 *
 * Sleeping: next_done sets done_sleeping, looks at the list again, and sleeps on the bell; a worker pushes,
 * then looks at done_sleeping; a full fence between each pair. */
#include <limits.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/internal.h"

/* --- The ring of tickets to report */
int ac__ready_promise(struct ac_pool *pool) {
    struct ac__ready *ready = &pool->ready;
    if (ready->promised < ready->cap) {
        return 0;
    }
    struct ac__ready larger = {
        .cap = ac_max(ready->cap * 2, (size_t)64), .count = ready->count, .promised = ready->promised};
    larger.items = ac_malloc(larger.cap * sizeof(*larger.items));
    if (larger.items == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ready->count; i++) {
        larger.items[i] = ready->items[(ready->first + i) % ready->cap];
    }
    ac_free(ready->items);
    *ready = larger;
    return 0;
}

void ac__ready_add(struct ac_pool *pool, uint64_t ticket, uint64_t user) {
    struct ac__ready *ready = &pool->ready;
    ready->items[(ready->first + ready->count++) % ready->cap] = (struct ac_done){ticket, user};
}

static int ready_take(struct ac_pool *pool, struct ac_done *done, int cap) {
    struct ac__ready *ready = &pool->ready;
    int taken = 0;
    while (ready->count > 0 && taken < cap) {
        struct ac_done next = ready->items[ready->first];
        ready->first = (ready->first + 1) % ready->cap;
        ready->count--;
        ready->promised--;
        if (ac__task_find(pool, next.ticket) != AC__NONE) { /* else released in the meantime */
            done[taken++] = next;
        }
    }
    return taken;
}

/* --- The workers' list */
static bool listable(struct ac_pool *pool, uint32_t index) {
    if (index >= pool->tasks_used) {
        return false;
    }
    const struct ac__task *task = &pool->tasks[index];
    uint32_t word = ac_load_acquire(&ac__slot_of(pool, index)->state);
    return (task->live || task->released) && task->notify && !task->told && !task->listed && ac__over(word) &&
           word >> AC__GENERATION_SHIFT == (task->generation & 0xffff);
}

void ac__done_drain(struct ac_pool *pool) {
    _Atomic uint32_t *list = &pool->side.segment.head->done_head;
    uint32_t oldest = 0;
    if (ac_load_relaxed(list) == 0) {
        return;
    }
    uint32_t link = ac_swap_acq_rel(list, 0);
    while (link != 0 && listable(pool, link - 1)) { /* newest first: turn it round */
        pool->tasks[link - 1].listed = true;
        pool->tasks[link - 1].next_free = oldest;
        oldest = link;
        link = ac_load_relaxed(&ac__slot_of(pool, link - 1)->next_done);
    }
    pool->list_broken |= link != 0;
    while (oldest != 0) {
        uint32_t index = oldest - 1;
        oldest = pool->tasks[index].next_free;
        pool->tasks[index].listed = false;
        ac__task_tell(pool, index);
    }
}

void ac__done_ring(struct ac_pool *pool) {
    struct ac__head *head = pool->side.segment.head;
    ac_store_release(&head->done_sleeping, 0);
    ac_add_release(&head->done_bell, 1);
    ac_futex_wake(&head->done_bell, INT_MAX);
}

int ac_pool_notify(struct ac_pool *pool, uint64_t ticket) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&pool->side.lock);
    uint32_t index = ac__task_find(pool, ticket);
    int answer = index == AC__NONE ? -EINVAL : ac__ready_promise(pool);
    if (answer == 0 && !pool->tasks[index].notify) {
        struct ac__task *task = &pool->tasks[index];
        ac_futex *state = &ac__slot_of(pool, index)->state;
        uint32_t word = ac_load_acquire(state);
        while (!ac__over(word) && !ac_cas_acq_rel(state, &word, word | AC__NOTIFY)) {
        }
        task->over |= ac__over(word) || task->corrupt;
        task->notify = !task->over;
        pool->ready.promised += task->notify;
        answer = task->over ? 1 : 0;
    } else if (answer == 0) {
        answer = pool->tasks[index].told ? 1 : 0;
    }
    pthread_mutex_unlock(&pool->side.lock);
    return answer;
}

static bool wants_look(const struct ac_pool *pool) {
    return pool->deaths_count > 0 || pool->woken_seen != pool->woken;
}

int ac_pool_next_done(struct ac_pool *pool, struct ac_done *done, int cap, int64_t timeout_ns) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    struct ac__head *head = pool->side.segment.head;
    int64_t until = timeout_ns < 0 ? INT64_MAX : ac_now_ns() + timeout_ns;
    int answer = 0;
    pthread_mutex_lock(&pool->side.lock);
    for (;;) {
        uint32_t bell = ac_load_acquire(&head->done_bell);
        ac_store_relaxed(&head->done_sleeping, 1);
        ac_fence_full(); /* we sleep, before is there anything: against a worker's push, before does anyone
                            sleep */
        ac__done_drain(pool);
        answer = ready_take(pool, done, cap);
        if (answer > 0 || wants_look(pool)) {
            break;
        }
        int64_t nap = pool->active ? ac__nap(pool, until) : until == INT64_MAX ? -1 : until - ac_now_ns();
        if (nap <= 0 && until != INT64_MAX) {
            answer = -ETIMEDOUT;
            break;
        }
        pthread_mutex_unlock(&pool->side.lock);
        int got = ac_futex_wait(&head->done_bell, bell, nap);
        pthread_mutex_lock(&pool->side.lock);
        if (got == -EINTR) {
            answer = got;
            break;
        }
        if (got == -ETIMEDOUT) {
            ac__audit(pool);
        }
    }
    pool->woken_seen = pool->woken;
    ac_store_relaxed(&head->done_sleeping, 0);
    pthread_mutex_unlock(&pool->side.lock);
    return answer;
}

void ac_pool_wake_done(struct ac_pool *pool) {
    if (!ac__side_foreign(&pool->side)) {
        pthread_mutex_lock(&pool->side.lock);
        pool->woken++;
        ac__done_ring(pool);
        pthread_mutex_unlock(&pool->side.lock);
    }
}

int ac_pool_next_death(struct ac_pool *pool, struct ac_death *ret) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&pool->side.lock);
    int got = pool->deaths_count > 0;
    if (got) {
        *ret = pool->deaths[0];
        pool->deaths_count--;
        for (size_t i = 0; i < pool->deaths_count; i++) {
            pool->deaths[i] = pool->deaths[i + 1];
        }
    }
    pthread_mutex_unlock(&pool->side.lock);
    return got;
}

/* --- The audit */
enum { STRAYS_MAX = 3 };

int64_t ac__nap(struct ac_pool *pool, int64_t until_ns) {
    int64_t nap = ac_max((int64_t)AC__AUDIT_NS, 20 * pool->audit_cost_ns);
    return until_ns == INT64_MAX ? nap : ac_min(nap, until_ns - ac_now_ns());
}

/* Between two steps of a worker that are next to each other: RUNNING, and not noted in its seat; over, and
 * not on the done list. A wild write may have brought that about, and then nothing else ends it. (A worker
 * that is stopped for seconds just there is taken for one; the answer that it gives later is thrown away.) */
static void audit_stray(struct ac_pool *pool, uint32_t index, uint32_t word) {
    struct ac__task *task = &pool->tasks[index];
    uint32_t worker = ac__worker_of(word);
    bool running = ac__phase(word) == AC_TASK_RUNNING;
    bool stray = running ? ac_load_acquire(&pool->side.segment.seats[worker].running) != index + 1
                         : ac__over(word) && task->notify && !task->told;
    task->strays = (uint8_t)(stray ? task->strays + 1 : 0);
    if (task->strays < STRAYS_MAX && !(stray && !running && pool->list_broken)) {
        return;
    }
    task->strays = 0;
    if (running) {
        ac__task_spoil(pool, index);
    } else {
        task->lost = true; /* it may come to be on the list yet */
        ac__task_tell(pool, index);
    }
}

/* Whether the task may still come to something. */
static bool audit_task(struct ac_pool *pool, uint32_t index, uint64_t head_position) {
    struct ac__task *task = &pool->tasks[index];
    uint32_t word = ac_load_acquire(&ac__slot_of(pool, index)->state);
    uint32_t phase = ac__phase(word);
    uint32_t worker = ac__worker_of(word);
    if (word >> AC__GENERATION_SHIFT != (task->generation & 0xffff) || phase == AC__FREE) {
        ac__task_spoil(pool, index);
        return false;
    }
    if (phase == AC_TASK_QUEUED && task->position < head_position) {
        ac__task_requeue(pool, index); /* the head was moved past it by a wild write */
    }
    if (phase == AC_TASK_RUNNING &&
        (worker >= AC_POOL_WORKERS || pool->peers[worker].life == AC__LIFE_NONE)) {
        ac__task_spoil(pool, index);
        return false;
    }
    if (phase != AC_TASK_QUEUED) {
        audit_stray(pool, index, word);
    }
    return !task->corrupt && (!ac__over(word) || (task->notify && !task->told));
}

static void audit_peers(struct ac_pool *pool) {
    for (int worker = 0; worker < AC_POOL_WORKERS; worker++) {
        struct ac__peer *peer = &pool->peers[worker];
        if (peer->life == AC__LIFE_ATTACHED && ac_pidfd_ended(peer->pidfd)) {
            ac__supervisor_ring(pool); /* its futex told nothing: it was written over */
        } else if (peer->life == AC__LIFE_ATTACHED) {
            peer->rss_bytes = ac_max(ac_process_rss(peer->pid), peer->rss_bytes);
        }
    }
    pool->oom_kills = ac_oom_kills();
}

void ac__audit(struct ac_pool *pool) {
    int64_t start = ac_now_ns();
    if (start - pool->audited_ns < AC__AUDIT_NS / 2) {
        return;
    }
    ac__repair(pool);
    ac__done_drain(pool);
    uint64_t head = ac_load_acquire(&pool->side.segment.head->queue_head) & AC__POSITION;
    uint32_t going = 0;
    for (uint32_t i = 0; i < pool->tasks_used; i++) {
        struct ac__task *task = &pool->tasks[i];
        if ((task->live || task->released) && !task->corrupt) {
            going += audit_task(pool, i, head);
        }
    }
    audit_peers(pool);
    pool->list_broken = false;
    pool->active = going > 0;
    if (!ac__queue_empty(&pool->side.segment)) {
        ac__wake_all(&pool->side.segment); /* not by the idle bits: they may be what is wrong */
    }
    pool->audited_ns = ac_now_ns();
    pool->audit_cost_ns = pool->audited_ns - start;
}
