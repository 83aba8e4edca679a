/* valid.c - everything that can be checked about a pool, for the stress tests. Workers may be running: only
 * what they cannot be in the middle of changing is held against the books. */
#include "base/atomics.h"
#include "pool/internal.h"

static const char *valid_head(struct ac_pool *pool) {
    struct ac__segment *segment = &pool->side.segment;
    const struct ac__head *head = segment->head;
    uint64_t position = ac_load_acquire(&head->queue_head) & AC__POSITION;
    if (head->magic != AC__MAGIC || head->version != AC__VERSION || head->capacity != segment->capacity ||
        head->slot_count != segment->slot_count || head->data_at != segment->data_at) {
        return "head: the constants have changed";
    }
    if (ac_load_acquire(&head->queue_tail) != pool->queue.tail || position > pool->queue.tail) {
        return "queue: its ends are wrong";
    }
    return ac_load_relaxed(&head->queue_head) >> 56 > pool->queue.ring ? "queue: no such ring" : NULL;
}

static const char *valid_spans(struct ac_pool *pool) {
    struct ac__segment *segment = &pool->side.segment;
    for (uint32_t span = 0; span < segment->span_count; span++) {
        uint32_t owner = ac_load_acquire(&segment->spans[span]);
        bool worker = owner >= AC__OWNER_WORKER && owner < AC__OWNER_WORKER + AC_POOL_WORKERS;
        if (span < ac__span_of(segment->data_at) ? owner != AC__OWNER_FREE
                                                 : owner > AC__OWNER_RETIRED && !worker) {
            return "spans: an owner that cannot be";
        }
        if (owner == AC__OWNER_RETIRED && pool->span_views[span] == 0) {
            return "spans: retired, and nobody looks at it";
        }
        if (worker && pool->peers[owner - AC__OWNER_WORKER].life == AC__LIFE_NONE) {
            return "spans: its worker is gone";
        }
        if ((owner == AC__OWNER_FREE || owner == AC__OWNER_PARENT) && pool->span_views[span] != 0) {
            return "spans: views of results in a span that holds none";
        }
    }
    return NULL;
}

static const char *valid_task(struct ac_pool *pool, uint32_t index, uint64_t head_position) {
    const struct ac__task *task = &pool->tasks[index];
    uint32_t word = ac_load_acquire(&ac__slot_of(pool, index)->state);
    uint32_t worker = ac__worker_of(word);
    if (!task->live && !task->released) {
        return ac__phase(word) != AC__FREE && !task->lost ? "task: a free slot is in use" : NULL;
    }
    if (task->corrupt) {
        return NULL;
    }
    if (word >> AC__GENERATION_SHIFT != (task->generation & 0xffff) || ac__phase(word) == AC__FREE) {
        return "task: its slot is another's";
    }
    if (ac__phase(word) == AC_TASK_QUEUED && task->position < head_position) {
        return "task: queued, and the queue has passed it";
    }
    if (ac__phase(word) == AC_TASK_RUNNING &&
        (worker >= AC_POOL_WORKERS || pool->peers[worker].life == AC__LIFE_NONE ||
         pool->peers[worker].life == AC__LIFE_DYING)) {
        return "task: run by nobody";
    }
    if (task->arguments != 0 && (task->arguments >= pool->side.heap.count ||
                                 pool->side.heap.extents[task->arguments].kind != AC__EXTENT_USED ||
                                 pool->side.heap.extents[task->arguments].slot != index)) {
        return "task: its arguments' block is not in the books";
    }
    return NULL;
}

static const char *valid_tasks(struct ac_pool *pool, uint64_t head_position) {
    uint32_t live = 0;
    uint32_t free = 0;
    uint32_t lost = 0;
    for (uint32_t i = 0; i < pool->tasks_used; i++) {
        const char *wrong = valid_task(pool, i, head_position);
        if (wrong != NULL) {
            return wrong;
        }
        live += pool->tasks[i].live;
        lost += pool->tasks[i].released || pool->tasks[i].lost;
    }
    for (uint32_t link = pool->free_first; link != 0; link = pool->tasks[link - 1].next_free) {
        if (link > pool->tasks_used || pool->tasks[link - 1].live || ++free > pool->tasks_used) {
            return "task: the list of free slots is broken";
        }
    }
    return live != pool->live                      ? "task: the number alive is wrong"
           : live + free + lost < pool->tasks_used ? "task: a slot is neither free nor in use"
                                                   : NULL;
}

static const char *valid_workers(struct ac_pool *pool) {
    int alive = 0;
    for (int worker = 0; worker < AC_POOL_WORKERS; worker++) {
        const struct ac__peer *peer = &pool->peers[worker];
        alive += peer->life == AC__LIFE_STARTING || peer->life == AC__LIFE_ATTACHED;
    }
    return alive != pool->alive ? "workers: the number alive is wrong" : NULL;
}

const char *ac_pool_valid(struct ac_pool *pool) {
    if (ac__side_foreign(&pool->side)) {
        return NULL;
    }
    pthread_mutex_lock(&pool->side.lock);
    uint64_t head = ac_load_acquire(&pool->side.segment.head->queue_head) & AC__POSITION;
    const char *wrong = valid_head(pool);
    wrong = wrong != NULL ? wrong : ac__heap_valid(&pool->side.heap);
    wrong = wrong != NULL ? wrong : valid_spans(pool);
    wrong = wrong != NULL ? wrong : valid_tasks(pool, head);
    wrong = wrong != NULL ? wrong : valid_workers(pool);
    pthread_mutex_unlock(&pool->side.lock);
    return wrong;
}
