/* death.c - a worker has died: what it was running fails, what it had answered stays, what it held is freed.
 *
 * In two steps. When its robust futex tells (70-100 us after a SIGKILL, however large the process was) its
 * running task becomes DIED and everybody who may have waited for a wake-up that it owed is woken: waiters of
 * its answered tasks, the completion thread, all other workers. Only when the process has ended, and so none
 * of its threads can write any more, is its memory used again: its spans, and the arguments that it held. */
#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/internal.h"
#include "pool/kill.h"

void ac__worker_suspect(struct ac_pool *pool, uint32_t worker) {
    if (worker < AC_POOL_WORKERS && pool->peers[worker].life == AC__LIFE_ATTACHED) {
        ac_pidfd_kill(pool->peers[worker].pidfd, SIGKILL);
    }
}

static void clear_sleep(struct ac__head *head, uint32_t worker) {
    uint64_t spinner = ac_load_relaxed(&head->spinner);
    if ((spinner & 0xffff) == worker + 1) {
        ac_cas_acq_rel(&head->spinner, &spinner, 0);
    }
    atomic_fetch_and_explicit(&head->idle[worker / 64], ~(UINT64_C(1) << (worker % 64)),
                              memory_order_acq_rel);
}

static struct ac_death autopsy(struct ac_pool *pool, uint32_t worker) {
    struct ac__peer *peer = &pool->peers[worker];
    struct ac__seat *seat = &pool->side.segment.seats[worker];
    int64_t rss = ac_max(ac_load_relaxed(&seat->peak_rss), peer->rss_bytes);
    bool left = ac_load_acquire(&seat->state) == AC__SEAT_LEFT;
    struct ac_death death = {.kind = left ? AC_DEATH_LEFT : AC_DEATH_CRASH,
                             .worker = (int)worker,
                             .pid = peer->pid,
                             .status = -1,
                             .rss_bytes = rss > 0 ? rss : -1,
                             .when_ns = ac_now_ns()};
    if (ac_process_exit_status(peer->pid, &death.status) == -EAGAIN) {
        ac_pidfd_kill(peer->pidfd, SIGKILL); /* alive, but its futex word is gone: it cannot be trusted */
        death.status = SIGKILL;
    } else if (death.status == SIGKILL) {
        int64_t kills = ac_oom_kills();
        death.out_of_memory = kills > pool->oom_kills;
        pool->oom_kills = kills;
    }
    return death;
}

static void task_died(struct ac_pool *pool, uint32_t index, uint32_t word, const struct ac_death *death) {
    struct ac__task *task = &pool->tasks[index];
    if (ac_load_acquire(&ac__slot_of(pool, index)->out_block) != 0) {
        ac__result_keep(pool, index); /* staged */
    }
    task->worker = death->worker;
    task->pid = death->pid;
    task->died = true;
    task->death = ac_malloc(sizeof(*task->death));
    if (task->death != NULL) {
        *task->death = *death;
        task->death->ticket = ac__ticket(task->generation, index);
        task->death->user = task->user;
    }
    pool->stats.died++;
    ac__task_end(pool, index, word, AC_TASK_DIED);
    AC_KILL_POINT(P_DEATH_MARKED);
}

/* Everything that the dead worker ever claimed and that still has a slot. */
static void settle_task(struct ac_pool *pool, uint32_t index, struct ac_death *death) {
    struct ac__task *task = &pool->tasks[index];
    if (!(task->live || task->released) || task->corrupt || task->worker >= 0) {
        return;
    }
    ac_futex *state = &ac__slot_of(pool, index)->state;
    uint32_t word = ac_load_acquire(state);
    if (ac__worker_of(word) != (uint32_t)death->worker) {
        return;
    }
    if (ac__phase(word) == AC_TASK_RUNNING) {
        death->ticket = ac__ticket(task->generation, index);
        death->user = task->user;
        task_died(pool, index, word, death);
    } else if (ac__over(word)) {
        ac__result_keep(pool, index);
        task->worker = death->worker;
        task->pid = death->pid;
        if (word & AC__WAITER) {
            ac_futex_wake(state, INT_MAX);
        }
        ac__task_tell(pool, index);
    }
}

void ac__worker_died(struct ac_pool *pool, uint32_t worker) {
    struct ac__segment *segment = &pool->side.segment;
    struct ac__peer *peer = &pool->peers[worker];
    AC_KILL_POINT(P_DEATH_SEEN);
    struct ac_death death = autopsy(pool, worker);
    peer->life = AC__LIFE_DYING;
    pool->alive--;
    pool->stats.deaths++;
    clear_sleep(segment->head, worker);
    ac__done_drain(pool);
    uint32_t first = ac_load_relaxed(&segment->seats[worker].running) - 1;
    if (first < pool->tasks_used) {
        settle_task(pool, first, &death); /* soonest for whoever waits for it */
    }
    for (uint32_t i = 0; i < pool->tasks_used; i++) {
        settle_task(pool, i, &death);
    }
    peer->idle = death.ticket == 0 && death.kind == AC_DEATH_CRASH;
    if (ac_grow(&pool->deaths, &pool->deaths_cap, pool->deaths_count + 1, sizeof(death)) == 0) {
        pool->deaths[pool->deaths_count++] = death;
    }
    ac__wake_all(segment);
    ac__done_ring(pool);
}

/* Arguments that it had not given back: nobody else will. */
static void free_held(struct ac_pool *pool, uint32_t worker) {
    struct ac__heap *heap = &pool->side.heap;
    for (uint32_t record = 1; record < heap->count; record++) {
        struct ac__extent *extent = &heap->extents[record];
        if (extent->kind != AC__EXTENT_USED) {
            continue;
        }
        uint32_t index = extent->slot;
        bool answered = index < pool->tasks_used && pool->tasks[index].arguments == record &&
                        pool->tasks[index].worker == (int32_t)worker && !pool->tasks[index].died;
        if (answered) {
            pool->tasks[index].arguments = 0;
        }
        if (answered || extent->holder == worker) {
            ac__block_free(&pool->side, record);
        }
    }
}

void ac__seat_freed(struct ac_pool *pool) {
    ac_add_release(&pool->peers_bell, 1);
    ac_futex_wake(&pool->peers_bell, INT_MAX);
    if (pool->closing || pool->broken) { /* next_done's caller may wait for the end */
        pool->woken++;
        ac__done_ring(pool);
    }
}

void ac__worker_gone(struct ac_pool *pool, uint32_t worker) {
    struct ac__seat *seat = &pool->side.segment.seats[worker];
    struct ac__peer *peer = &pool->peers[worker];
    ac__pool_drain(&pool->side);
    free_held(pool, worker);
    ac__spans_sweep(pool, worker);
    ac_store_relaxed(&seat->returned, 0);
    ac_store_relaxed(&seat->running, 0);
    ac_store_release(&seat->state, AC__SEAT_EMPTY);
    clear_sleep(pool->side.segment.head, worker);
    close(peer->pidfd);
    *peer = (struct ac__peer){.pidfd = -1, .incarnation = peer->incarnation + 1};
    ac__seat_freed(pool);
}
