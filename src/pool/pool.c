/* pool.c - making and ending a pool, and looking at it. What a pool is: internal.h; how a task lives: task.c.
 */
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/internal.h"
#include "pool/kill.h"

static void pool_freed(struct ac__side *side) {
    struct ac_pool *pool = (struct ac_pool *)side;
    ac_free(pool->span_views);
    pthread_mutex_destroy(&side->lock);
    ac_free(pool);
}

static uint64_t keep_default(void) {
    uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    return ac_min(ram / 8, UINT64_C(1) << 30);
}

int ac_pool_create(const struct ac_pool_options *options, struct ac_pool **ret_pool) {
    if (options->fd_count < 0 || options->fd_count > AC_POOL_SPAWN_FDS) {
        return -EINVAL;
    }
    struct ac_pool *pool = ac_calloc(1, sizeof(*pool));
    if (pool == NULL) {
        return -ENOMEM;
    }
    int error = ac__segment_create(options->capacity, &pool->side.segment);
    if (error < 0) {
        ac_free(pool);
        return error;
    }
    pool->options = *options;
    for (int i = 0; i < AC_POOL_WORKERS; i++) {
        pool->peers[i].pidfd = -1;
    }
    pool->side.keep_bytes = options->keep_bytes != 0 ? options->keep_bytes : keep_default();
    pool->side.give_back = ac__pool_give_back;
    pool->side.drain = ac__pool_drain;
    pool->side.free = pool_freed;
    ac__side_init(&pool->side, AC__OWNER_PARENT);
    pool->span_views = ac_calloc(pool->side.segment.span_count, sizeof(*pool->span_views));
    error = pool->span_views != NULL ? ac__queue_init(&pool->side, &pool->queue) : -ENOMEM;
    if (error < 0) {
        ac__side_unref(&pool->side);
        return error;
    }
    AC_KILL_POINT(P_CREATED);
    *ret_pool = pool;
    return 0;
}

int ac_pool_start(struct ac_pool *pool, int workers) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    if (workers < 0 || workers > AC_POOL_WORKERS || pool->options.spawn == NULL) {
        return -EINVAL;
    }
    pthread_mutex_lock(&pool->side.lock);
    int error = ac__supervise(pool);
    if (error == 0 && workers > pool->target) {
        pool->target = workers;
        ac__supervisor_ring(pool);
    }
    pthread_mutex_unlock(&pool->side.lock);
    return error;
}

void ac_pool_set_respawn(struct ac_pool *pool, bool respawn) {
    if (!ac__side_foreign(&pool->side)) {
        pthread_mutex_lock(&pool->side.lock);
        pool->options.respawn = respawn;
        pthread_mutex_unlock(&pool->side.lock);
    }
}

void ac_pool_shutdown(struct ac_pool *pool) {
    if (ac__side_foreign(&pool->side)) {
        return;
    }
    pthread_mutex_lock(&pool->side.lock);
    pool->closing = true;
    ac_store_release(&pool->side.segment.head->closing, 1);
    AC_KILL_POINT(P_CLOSING);
    ac_fence_full(); /* closing, before who sleeps: against a worker's I sleep, before is it closing */
    ac__wake_all(&pool->side.segment);
    if (pool->supervised) {
        ac__supervisor_ring(pool);
    }
    pthread_mutex_unlock(&pool->side.lock);
}

static bool all_gone(struct ac_pool *pool) {
    for (int worker = 0; worker < AC_POOL_WORKERS; worker++) {
        if (pool->peers[worker].life != AC__LIFE_NONE) {
            return false;
        }
    }
    return pool->broken || ac__queue_empty(&pool->side.segment) || pool->target == 0;
}

int ac_pool_join(struct ac_pool *pool, int64_t timeout_ns) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    int64_t until = timeout_ns < 0 ? INT64_MAX : ac_now_ns() + timeout_ns;
    int answer = 0;
    pthread_mutex_lock(&pool->side.lock);
    while (!all_gone(pool)) {
        uint32_t bell = ac_load_acquire(&pool->peers_bell);
        int64_t nap = ac__nap(pool, until);
        if (nap <= 0) {
            answer = -ETIMEDOUT;
            break;
        }
        pthread_mutex_unlock(&pool->side.lock);
        int got = ac_futex_wait(&pool->peers_bell, bell, nap);
        pthread_mutex_lock(&pool->side.lock);
        if (got == -EINTR) {
            answer = got;
            break;
        }
        if (got == -ETIMEDOUT) {
            ac__audit(pool);
        }
    }
    pthread_mutex_unlock(&pool->side.lock);
    return answer;
}

void ac__pool_break(struct ac_pool *pool) {
    pool->broken = true;
    for (uint32_t i = 0; i < pool->tasks_used; i++) {
        struct ac__task *task = &pool->tasks[i];
        uint32_t word = ac_load_acquire(&ac__slot_of(pool, i)->state);
        while ((task->live || task->released) && !task->corrupt && !ac__over(word) &&
               ac__phase(word) != AC__FREE && !ac__task_end(pool, i, word, AC_TASK_BROKEN)) {
            word = ac_load_acquire(&ac__slot_of(pool, i)->state); /* it was claimed in between */
        }
    }
    ac__done_ring(pool);
}

void ac_pool_break(struct ac_pool *pool) {
    if (!ac__side_foreign(&pool->side)) {
        pthread_mutex_lock(&pool->side.lock);
        pool->woken++;
        ac__pool_break(pool);
        pthread_mutex_unlock(&pool->side.lock);
    }
}

int ac__kill(struct ac_pool *pool, int worker, int signal) {
    int error = -ESRCH;
    for (int i = 0; i < AC_POOL_WORKERS; i++) {
        struct ac__peer *peer = &pool->peers[i];
        if ((worker >= 0 && worker != i) ||
            (peer->life != AC__LIFE_STARTING && peer->life != AC__LIFE_ATTACHED)) {
            continue;
        }
        if (peer->pidfd >= 0) {
            error = ac_pidfd_kill(peer->pidfd, signal);
        } else { /* it is being spawned, and may run a task already */
            peer->owed = peer->owed == SIGKILL ? SIGKILL : signal;
            error = 0;
        }
    }
    return error;
}

int ac_pool_kill(struct ac_pool *pool, int worker, int signal) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&pool->side.lock);
    int error = ac__kill(pool, worker, signal);
    pthread_mutex_unlock(&pool->side.lock);
    return error;
}

static void stop_supervisor(struct ac_pool *pool) {
    pthread_mutex_lock(&pool->side.lock);
    pool->stopping = pool->closing = pool->broken = true;
    bool running = pool->supervised;
    ac__supervisor_ring(pool);
    pthread_mutex_unlock(&pool->side.lock);
    if (running) {
        pthread_join(pool->supervisor, NULL);
    }
}

/* What views of results still keep mapped; all other memory goes back at once. */
static void give_memory_back(struct ac_pool *pool) {
    struct ac__segment *segment = &pool->side.segment;
    if (ac_load_acquire(&pool->side.refs) > 1) {
        ac__heap_trim(&pool->side.heap, 0, segment->fd);
        uint64_t slots_at = (uint64_t)((char *)segment->slots - segment->base);
        ac_memfd_punch(segment->fd, slots_at, segment->data_at - slots_at);
    }
}

void ac_pool_free(struct ac_pool *pool) {
    if (pool == NULL) {
        return;
    }
    bool foreign = ac__side_foreign(&pool->side);
    if (!foreign) {
        stop_supervisor(pool);
        pthread_mutex_lock(&pool->side.lock);
    }
    for (uint32_t i = 0; i < pool->tasks_used; i++) {
        struct ac__task *task = &pool->tasks[i];
        if (!foreign && (task->live || task->released)) {
            ac__result_drop(pool, i);
        }
        ac_free(task->death);
    }
    pool->tasks_used = 0;
    ac_free(pool->tasks);
    ac_free(pool->ready.items);
    ac_free(pool->deaths);
    pool->tasks = NULL;
    if (!foreign) {
        give_memory_back(pool);
        pthread_mutex_unlock(&pool->side.lock);
    }
    ac__side_unref(&pool->side);
}

/* --- Shared messages: blocks of the parent that no worker gives back. A key is an offset. */
int ac_pool_share(struct ac_pool *pool, uint16_t kind, const struct ac_part *parts, uint32_t count,
                  uint64_t *ret_key) {
    struct ac_message message;
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    int error = ac__block_fill(&pool->side, parts, count, &message);
    if (error < 0) {
        return error;
    }
    struct ac__block_head *head = (void *)(pool->side.segment.base + message.block->offset);
    head->kind = kind;
    *ret_key = message.block->offset;
    ac__block_sent(&message);
    return 0;
}

void ac_pool_unshare(struct ac_pool *pool, uint64_t key) {
    if (ac__side_foreign(&pool->side)) {
        return;
    }
    pthread_mutex_lock(&pool->side.lock);
    const struct ac__block_head *head = (void *)(pool->side.segment.base + key);
    uint32_t record = key < pool->side.segment.capacity ? head->record : 0;
    if (ac__heap_find(&pool->side.heap, record, key) != NULL) {
        ac__block_free(&pool->side, record);
    }
    pthread_mutex_unlock(&pool->side.lock);
}

int ac_pool_set_config(struct ac_pool *pool, uint64_t key) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&pool->side.lock);
    pool->config = key;
    ac_store_release(&pool->side.segment.head->config, key);
    pthread_mutex_unlock(&pool->side.lock);
    return 0;
}

/* --- Looking */
static bool is_idle(struct ac__head *head, uint32_t worker) {
    return (ac_load_relaxed(&head->idle[worker / 64]) >> (worker % 64) & 1) != 0;
}

static uint64_t running_ticket(struct ac_pool *pool, const struct ac__seat *seat) {
    uint32_t index = ac_load_relaxed(&seat->running) - 1;
    return index < pool->tasks_used && pool->tasks[index].live
               ? ac__ticket(pool->tasks[index].generation, index)
               : 0;
}

int ac_pool_workers(struct ac_pool *pool, struct ac_worker_info *infos, int cap) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    int count = 0;
    pthread_mutex_lock(&pool->side.lock);
    for (uint32_t worker = 0; worker < AC_POOL_WORKERS; worker++) {
        const struct ac__peer *peer = &pool->peers[worker];
        const struct ac__seat *seat = &pool->side.segment.seats[worker];
        if ((peer->life != AC__LIFE_STARTING && peer->life != AC__LIFE_ATTACHED) || peer->pidfd < 0) {
            continue; /* pidfd: it is being spawned, its pid is not known yet */
        }
        if (count < cap) {
            infos[count] = (struct ac_worker_info){.worker = (int)worker,
                                                   .pid = peer->pid,
                                                   .attached = peer->life == AC__LIFE_ATTACHED,
                                                   .idle = is_idle(pool->side.segment.head, worker),
                                                   .ticket = running_ticket(pool, seat),
                                                   .tasks = ac_load_relaxed(&seat->tasks)};
        }
        count++;
    }
    pthread_mutex_unlock(&pool->side.lock);
    return count;
}

void ac_pool_stats(struct ac_pool *pool, struct ac_pool_stats *ret) {
    *ret = (struct ac_pool_stats){0};
    if (ac__side_foreign(&pool->side)) {
        return;
    }
    pthread_mutex_lock(&pool->side.lock);
    *ret = pool->stats;
    ret->wakes = ac_load_relaxed(&pool->wakes);
    ret->queued = ac__queue_depth(&pool->side.segment);
    for (uint32_t worker = 0; worker < AC_POOL_WORKERS; worker++) {
        if (pool->peers[worker].life == AC__LIFE_ATTACHED) {
            ret->running += ac_load_relaxed(&pool->side.segment.seats[worker].running) != 0;
        }
    }
    int64_t used = ac_memfd_used(pool->side.segment.fd);
    ret->segment_bytes = used > 0 ? (uint64_t)used : 0;
    pthread_mutex_unlock(&pool->side.lock);
}
