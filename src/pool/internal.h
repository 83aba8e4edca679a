/* internal.h - the parent's own books, which no worker can reach. Shared by pool.c, task.c, done.c, death.c,
 * supervisor.c and valid.c. Everything in struct ac_pool is under side.lock unless it says otherwise. */
#ifndef AC_POOL_INTERNAL_H
#define AC_POOL_INTERNAL_H

#include <stddef.h>

#include "pool/segment.h"

/* What the parent knows of a slot. */
struct ac__task {
    uint32_t generation; /* of the ticket; the slot's state word has the low 16 bits */
    uint32_t next_free;
    uint64_t user;
    uint64_t position;  /* in the queue, while it is queued */
    uint32_t arguments; /* record of the arguments' block; 0: inline, or given back */
    uint32_t items;
    uint8_t strays; /* audits in a row that found it where it can only be for a moment */
    bool live;      /* has a ticket */
    bool released;  /* has no ticket any more, but waits to be taken off the done list */
    bool notify;    /* to be reported by next_done, */
    bool told;      /* and that has been seen to */
    bool over;      /* and somebody was told so: no wild write undoes it */
    bool taken;
    bool corrupt;
    bool died;      /* by the death of a worker: `death` when there was memory for it */
    int32_t worker; /* set when that worker died: seat and pid are another's now */
    pid_t pid;
    bool listed;             /* met in this walk of the done list */
    bool lost;               /* a broken done list may still name it: the slot is not used again */
    struct ac_message *kept; /* the answer of a worker that died since */
    struct ac_death *death;
};

enum ac__life {
    AC__LIFE_NONE,
    AC__LIFE_STARTING, /* spawned, not attached yet */
    AC__LIFE_ATTACHED,
    AC__LIFE_DYING, /* seen to die; its memory may still be written by its threads */
};
struct ac__peer { /* what the parent knows of a worker's seat */
    enum ac__life life;
    pid_t pid;
    int pidfd;
    uint32_t life_word, life_value; /* as they were when it attached */
    uint32_t incarnation;           /* counts those who sat here */
    int64_t rss_bytes;              /* as last seen */
    int owed;                       /* the signal that it was sent before its pidfd was known; 0 none */
    bool early;                     /* it died before it asked for a task */
    bool idle;                      /* it died while it had none */
};

struct ac__ready { /* tickets for next_done: a ring */
    struct ac_done *items;
    size_t cap, first, count;
    size_t promised; /* count, and the tasks that are to be reported still: there is room for all */
};

struct ac_pool {
    struct ac__side side; /* first: a side is its pool */
    struct ac_pool_options options;
    struct ac__queue queue;
    struct ac__task *tasks;
    size_t tasks_cap;
    uint32_t tasks_used; /* slots ever used */
    uint32_t free_first; /* index + 1 */
    uint32_t live;
    uint32_t abandoned; /* released while running */
    bool active; /* something may be queued or running: set by submit, cleared by an audit that finds none */
    bool list_broken; /* the done list held nonsense */
    struct ac__ready ready;
    struct ac_death *deaths; /* not told yet */
    size_t deaths_cap, deaths_count;
    uint32_t woken, woken_seen; /* ac_pool_wake_done calls; those that next_done has answered */
    struct ac__peer peers[AC_POOL_WORKERS];
    int target, alive;              /* workers asked for; starting or attached */
    int failed_spawns, idle_deaths; /* in a row */
    uint64_t done_before;           /* tasks, at the last idle death */
    int last_spawn_error;
    bool closing, broken, stopping;
    uint32_t *span_views; /* result blocks that we hold, by span: a span whose worker died is freed at 0 */
    pthread_t supervisor;
    bool supervised;
    uint64_t config;      /* key of ac_pool_set_config */
    ac_futex control;     /* rings for the supervisor */
    ac_futex peers_bell;  /* rings when a worker has gone: join */
    struct ac__spin spin; /* of ac_pool_wait: a hint, unlocked */
    _Atomic bool spinning;
    int64_t audited_ns;
    int64_t audit_cost_ns;
    int64_t oom_kills; /* ac_oom_kills at the last audit or death */
    struct ac_pool_stats stats;
    _Atomic uint64_t wakes;
};
static_assert(offsetof(struct ac_pool, side) == 0, "a side is its pool");

static inline struct ac__slot *ac__slot_of(struct ac_pool *pool, uint32_t index) {
    return &pool->side.segment.slots[index];
}
static inline uint64_t ac__ticket(uint32_t generation, uint32_t index) {
    return (uint64_t)generation << 32 | (index + 1);
}
static inline bool ac__over(uint32_t word) {
    return ac__phase(word) > AC_TASK_RUNNING;
}

/* --- task.c (all with the lock held) */
/* Index of a ticket that is alive, or AC__NONE. */
uint32_t ac__task_find(struct ac_pool *pool, uint64_t ticket);
/* QUEUED or RUNNING (as `word` says) becomes `phase`, waiters are woken and the task is reported; false: it
 * has moved on. */
bool ac__task_end(struct ac_pool *pool, uint32_t index, uint32_t word, enum ac_task_state phase);
/* The task is over (answered, or ended by us): report it, once, if that was asked for. */
void ac__task_tell(struct ac_pool *pool, uint32_t index);
/* Nobody holds the ticket and nobody else will touch the slot: use it again. */
void ac__task_recycle(struct ac_pool *pool, uint32_t index);
/* The slot's word makes no sense: the task is corrupt. */
void ac__task_spoil(struct ac_pool *pool, uint32_t index);
/* Whether the task is over, and its word. Once that was said it stays so: a word that says otherwise later
 * was written over, and the task is corrupt. */
bool ac__task_over(struct ac_pool *pool, uint32_t index, uint32_t *ret_word);
int ac__task_requeue(struct ac_pool *pool, uint32_t index);

/* --- done.c (with the lock held) */
int ac__ready_promise(struct ac_pool *pool); /* room for one more: 0 or -ENOMEM; then count `promised` up */
void ac__ready_add(struct ac_pool *pool, uint64_t ticket, uint64_t user);
void ac__done_drain(struct ac_pool *pool); /* take the workers' done list */
void ac__done_ring(struct ac_pool *pool);  /* wake next_done */
/* Look all tasks over for what a wild write or a missed wake-up may have left; at most every AC__AUDIT_NS.
 * Blocked callers do this, so that nothing hangs and an idle pool does not wake. */
void ac__audit(struct ac_pool *pool);
enum { AC__AUDIT_NS = 1000000000 };
/* How long a blocked caller may sleep in one go. */
int64_t ac__nap(struct ac_pool *pool, int64_t until_ns);

/* --- repair.c (with the lock held) */
/* Write again all of the head that only the parent writes, should a worker have written over it. */
void ac__repair(struct ac_pool *pool);

/* --- result.c (with the lock held) */
void ac__result_drop(struct ac_pool *pool, uint32_t index); /* an answer that nobody took */
int ac__result_open(struct ac_pool *pool, uint32_t index, struct ac_message *ret);
void ac__result_keep(struct ac_pool *pool, uint32_t index); /* hold on to the answer of a worker that died */
void ac__spans_sweep(struct ac_pool *pool, uint32_t worker);
void ac__views_add(struct ac_pool *pool, uint64_t offset, uint64_t size, int32_t by);
void ac__pool_give_back(struct ac__side *side, struct ac_block *block);
void ac__pool_drain(struct ac__side *side);

/* --- death.c (with the lock held) */
void ac__worker_died(struct ac_pool *pool, uint32_t worker);    /* mark its tasks, tell everybody */
void ac__worker_gone(struct ac_pool *pool, uint32_t worker);    /* its process has ended: free its memory */
void ac__seat_freed(struct ac_pool *pool);                      /* tell who waits for the pool's end */
void ac__worker_suspect(struct ac_pool *pool, uint32_t worker); /* kill it: it wrote nonsense */

/* --- pool.c (with the lock held) */
void ac__pool_break(struct ac_pool *pool);
int ac__kill(struct ac_pool *pool, int worker, int signal);

/* --- supervisor.c */
int ac__supervise(struct ac_pool *pool); /* start the thread, once; lock held */
void ac__supervisor_ring(struct ac_pool *pool);

#endif
