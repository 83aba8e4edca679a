/* cancel.c - cancelling what nobody has begun. */
#include "base/atomics.h"
#include "pool/internal.h"

/* Workers that are free or on their way. */
static uint64_t coming(const struct ac_pool *pool) {
    int running = 0;
    for (uint32_t worker = 0; worker < AC_POOL_WORKERS; worker++) {
        running += pool->peers[worker].life == AC__LIFE_ATTACHED &&
                   ac_load_relaxed(&pool->side.segment.seats[worker].running) != 0;
    }
    return (uint64_t)ac_max(ac_max(pool->target, pool->alive) - running, 0);
}

int ac_pool_cancel_queued(struct ac_pool *pool, bool all) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    int cancelled = 0;
    pthread_mutex_lock(&pool->side.lock);
    uint64_t head = ac_load_acquire(&pool->side.segment.head->queue_head) & AC__POSITION;
    uint64_t from = head + (all ? 0 : coming(pool));
    for (uint32_t index = 0; index < pool->tasks_used; index++) {
        uint32_t word = ac_load_acquire(&ac__slot_of(pool, index)->state);
        const struct ac__task *task = &pool->tasks[index];
        if (task->live && !task->corrupt && ac__phase(word) == AC_TASK_QUEUED && task->position >= from &&
            ac__task_end(pool, index, word, AC_TASK_CANCELLED)) {
            pool->stats.cancelled++;
            cancelled++;
        }
    }
    pthread_mutex_unlock(&pool->side.lock);
    return cancelled;
}
