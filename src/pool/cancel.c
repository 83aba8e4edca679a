/* cancel.c - cancelling whatever nobody has begun. */
#include "base/atomics.h"
#include "pool/internal.h"

int ac_pool_cancel_queued(struct ac_pool *pool) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    int cancelled = 0;
    pthread_mutex_lock(&pool->side.lock);
    for (uint32_t index = 0; index < pool->tasks_used; index++) {
        uint32_t word = ac_load_acquire(&ac__slot_of(pool, index)->state);
        if (pool->tasks[index].live && !pool->tasks[index].corrupt && ac__phase(word) == AC_TASK_QUEUED &&
            ac__task_end(pool, index, word, AC_TASK_CANCELLED)) {
            pool->stats.cancelled++;
            cancelled++;
        }
    }
    pthread_mutex_unlock(&pool->side.lock);
    return cancelled;
}
