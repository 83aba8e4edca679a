/* result.c - answers: reading what a worker wrote, and giving its memory back.
 *
 * A result lies in its worker's heap. The parent counts, span by span, the result blocks that it looks at.
 * When the worker dies its spans are freed at once where that count is zero; the others are RETIRED, belong
 * to the parent, and are freed when the last view goes. Nothing of what the worker wrote into the block is
 * believed: offset, size and parts are checked against its spans, once, when the block is opened (block.c).
 */
#include <signal.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/internal.h"
#include "pool/kill.h"

static void span_free(struct ac_pool *pool, uint32_t span) {
    struct ac__segment *segment = &pool->side.segment;
    ac_memfd_punch(segment->fd, span * AC__SPAN, AC__SPAN);
    ac_store_release(&segment->spans[span], AC__OWNER_FREE);
}

void ac__views_add(struct ac_pool *pool, uint64_t offset, uint64_t size, int32_t by) {
    for (uint32_t span = ac__span_of(offset); span <= ac__span_of(offset + size - 1); span++) {
        pool->span_views[span] += (uint32_t)by;
        if (pool->span_views[span] == 0 &&
            ac_load_relaxed(&pool->side.segment.spans[span]) == AC__OWNER_RETIRED &&
            !ac__heap_overlaps(&pool->side.heap, span * AC__SPAN, AC__SPAN)) {
            span_free(pool, span);
        }
    }
}

void ac__spans_sweep(struct ac_pool *pool, uint32_t worker) {
    struct ac__segment *segment = &pool->side.segment;
    for (uint32_t span = ac__span_of(segment->data_at); span < segment->span_count; span++) {
        if (ac_load_relaxed(&segment->spans[span]) != AC__OWNER_WORKER + worker) {
            continue;
        }
        if (ac__heap_overlaps(&pool->side.heap, span * AC__SPAN, AC__SPAN)) { /* a wild write: it is ours */
            ac_store_release(&segment->spans[span], AC__OWNER_PARENT);
        } else if (pool->span_views[span] == 0) {
            span_free(pool, span);
        } else {
            ac_store_release(&segment->spans[span], AC__OWNER_RETIRED);
        }
    }
}

/* A result block's last view is gone: its worker may use the room again, if it lives. */
void ac__pool_give_back(struct ac__side *side, struct ac_block *block) {
    struct ac_pool *pool = (struct ac_pool *)side;
    const struct ac__peer *peer = &pool->peers[block->worker];
    ac__views_add(pool, block->offset, block->size, -1);
    if (peer->incarnation == block->incarnation && peer->life != AC__LIFE_NONE) {
        AC_KILL_POINT(P_RETURNED);
        ac__returned_push(&side->segment, &side->segment.seats[block->worker].returned, block->offset);
    }
}

static void forget_arguments(struct ac__side *side, uint32_t record) {
    struct ac_pool *pool = (struct ac_pool *)side;
    uint32_t index = side->heap.extents[record].slot;
    if (index < pool->tasks_used && pool->tasks[index].arguments == record) {
        pool->tasks[index].arguments = 0;
    }
}

void ac__pool_drain(struct ac__side *side) {
    ac__returned_take(side, &side->segment.head->returned, forget_arguments);
}

static int open_inline(struct ac__slot *slot, struct ac_message *ret) {
    uint32_t size = *(volatile uint32_t *)&slot->out_size;
    uint16_t parts = *(volatile uint16_t *)&slot->out_parts;
    if (size > AC_POOL_INLINE || parts > 1) {
        return -EBADMSG;
    }
    *ret = (struct ac_message){.count = parts, .parts = ret->few};
    ret->few[0] = (struct ac_view){slot->out, size};
    return 0;
}

/* The worker answers with the arguments' block (ac_worker_give): it is ours, by our books, and now the
 * message's. */
static int open_given(struct ac_pool *pool, uint32_t index, struct ac_message *ret) {
    struct ac__task *task = &pool->tasks[index];
    struct ac__extent *extent = &pool->side.heap.extents[task->arguments];
    int error = ac__block_open(&pool->side, extent->offset, AC__OWNER_PARENT, AC__BLOCK_SHARED, ret);
    if (error == 0 && ret->block->size > extent->size) {
        ac_message_clear(ret);
        error = -EBADMSG;
    }
    if (error == 0) {
        ret->block->kind = AC__BLOCK_OWN;
        ret->block->record = task->arguments;
        extent->slot = AC__NONE; /* no word of a worker's frees it from here on */
        task->arguments = 0;
    }
    return error;
}

static bool is_given(const struct ac_pool *pool, uint32_t index, uint64_t offset) {
    uint32_t record = pool->tasks[index].arguments;
    return record != 0 && pool->side.heap.extents[record].offset == offset;
}

int ac__result_open(struct ac_pool *pool, uint32_t index, struct ac_message *ret) {
    struct ac__slot *slot = ac__slot_of(pool, index);
    uint32_t worker = ac__worker_of(ac_load_acquire(&slot->state));
    uint64_t offset = ac_load_acquire(&slot->out_block);
    uint16_t kind = *(volatile uint16_t *)&slot->out_kind;
    if (worker >= AC_POOL_WORKERS) {
        return -EBADMSG;
    }
    int error = offset == 0 ? open_inline(slot, ret)
                : is_given(pool, index, offset)
                    ? open_given(pool, index, ret)
                    : ac__block_open(&pool->side, offset, AC__OWNER_WORKER + worker, AC__BLOCK_LENT, ret);
    if (error == 0) {
        ret->kind = kind;
        if (ret->block != NULL && ret->block->kind == AC__BLOCK_LENT) {
            ret->block->worker = worker;
            ret->block->incarnation = pool->peers[worker].incarnation;
            ac__views_add(pool, ret->block->offset, ret->block->size, 1);
        }
    }
    return error;
}

static void message_move(struct ac_message *to, struct ac_message *from) {
    *to = *from;
    if (from->parts == from->few) {
        to->parts = to->few;
    }
    *from = (struct ac_message){0};
}

/* ac_message_clear with the lock held. */
static void message_drop(struct ac_pool *pool, struct ac_message *message) {
    struct ac_block *block = message->block;
    message->block = NULL;
    if (block != NULL) {
        if (block->kind == AC__BLOCK_OWN) {
            ac__block_free(&pool->side, block->record);
        } else {
            ac__pool_give_back(&pool->side, block);
        }
        ac_free(block);
        atomic_fetch_sub_explicit(&pool->side.refs, 1,
                                  memory_order_acq_rel); /* not the last: the pool's own */
    }
    ac_message_clear(message);
}

void ac__result_drop(struct ac_pool *pool, uint32_t index) {
    struct ac__task *task = &pool->tasks[index];
    struct ac_message message = {0};
    if (task->kept != NULL) {
        message_drop(pool, task->kept);
        ac_free(task->kept);
        task->kept = NULL;
    } else if (!task->taken && !task->corrupt &&
               ac__phase(ac_load_acquire(&ac__slot_of(pool, index)->state)) == AC_TASK_DONE &&
               task->worker < 0 && ac__result_open(pool, index, &message) == 0) {
        message_drop(pool, &message);
    }
}

void ac__result_keep(struct ac_pool *pool, uint32_t index) {
    struct ac__task *task = &pool->tasks[index];
    if (task->taken || task->corrupt || task->kept != NULL) {
        return;
    }
    task->kept = ac_calloc(1, sizeof(*task->kept));
    int error = task->kept != NULL ? ac__result_open(pool, index, task->kept) : -ENOMEM;
    if (error < 0) {
        ac_free(task->kept);
        task->kept = NULL;
        if (ac__phase(ac_load_acquire(&ac__slot_of(pool, index)->state)) == AC_TASK_DONE) {
            ac__task_spoil(pool, index);
        }
    }
}

/* --- take */
static int take_message(struct ac_pool *pool, uint32_t index, enum ac_task_state state,
                        struct ac_message *ret) {
    struct ac__task *task = &pool->tasks[index];
    if (task->kept != NULL) {
        message_move(ret, task->kept);
        ac_free(task->kept);
        task->kept = NULL;
        return 0;
    }
    if (task->taken || state != AC_TASK_DONE) {
        return 0;
    }
    int error = ac__result_open(pool, index, ret);
    if (error == -EBADMSG) {
        uint32_t worker = ac__worker_of(ac_load_acquire(&ac__slot_of(pool, index)->state));
        ac__task_spoil(pool, index);
        ac__worker_suspect(pool, worker);
    }
    return error;
}

static void describe(struct ac_pool *pool, uint32_t index, uint32_t word, struct ac_result *ret) {
    const struct ac__task *task = &pool->tasks[index];
    const struct ac__slot *slot = ac__slot_of(pool, index);
    uint32_t worker = task->worker >= 0 ? (uint32_t)task->worker : ac__worker_of(word);
    ret->user = task->user;
    ret->worker = worker < AC_POOL_WORKERS ? (int)worker : -1;
    ret->pid = task->pid != 0 ? task->pid : worker < AC_POOL_WORKERS ? pool->peers[worker].pid : 0;
    ret->progress = ac_min(ac_load_acquire(&slot->progress), task->items);
    ret->submit_ns = slot->submit_ns;
    ret->start_ns = slot->start_ns;
    ret->end_ns = slot->end_ns;
    ret->pickle_ns = slot->pickle_ns;
    ret->death = task->death != NULL
                     ? *task->death
                     : (struct ac_death){.kind = AC_DEATH_CRASH, .worker = ret->worker, .status = -1};
}

/* Times are the worker's word: what cannot be counts as nothing. */
static int64_t between(int64_t from, int64_t to, int64_t now) {
    return from > 0 && from <= to && to <= now ? to - from : 0;
}

static void count(struct ac_pool *pool, const struct ac_result *result) {
    if (result->state == AC_TASK_DONE) {
        int64_t now = ac_now_ns();
        pool->stats.done++;
        pool->stats.queue_ns += between(result->submit_ns, result->start_ns, now);
        int64_t ran = between(result->start_ns, result->end_ns, now);
        int64_t pickled = ac_min(ac_max(result->pickle_ns, (int64_t)0), ran);
        pool->stats.run_ns += ran - pickled;
        pool->stats.pickle_ns += pickled;
        pool->stats.return_ns += between(result->end_ns, now, now);
        for (uint32_t i = 0; i < result->message.count; i++) {
            pool->stats.bytes_out += result->message.parts[i].size;
        }
    }
}

static int take(struct ac_pool *pool, uint32_t index, struct ac_result *ret) {
    struct ac__task *task = &pool->tasks[index];
    uint32_t word;
    if (!ac__task_over(pool, index, &word)) {
        return -EAGAIN;
    }
    bool again = task->taken;
    ret->message = (struct ac_message){0};
    ret->state = (enum ac_task_state)ac__phase(word);
    int error = task->corrupt ? 0 : take_message(pool, index, ret->state, &ret->message);
    if (error == -ENOMEM) {
        return error;
    }
    task->taken = true;
    ret->state = task->corrupt ? AC_TASK_CORRUPT : ret->state;
    describe(pool, index, word, ret);
    if (!again) {
        count(pool, ret);
    }
    AC_KILL_POINT(P_TAKEN);
    return 0;
}

int ac_pool_take(struct ac_pool *pool, uint64_t ticket, struct ac_result *ret) {
    if (ac__side_foreign(&pool->side)) {
        return -ECHILD;
    }
    pthread_mutex_lock(&pool->side.lock);
    uint32_t index = ac__task_find(pool, ticket);
    int error = index == AC__NONE ? -EINVAL : take(pool, index, ret);
    pthread_mutex_unlock(&pool->side.lock);
    return error;
}
