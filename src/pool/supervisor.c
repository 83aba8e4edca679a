/* supervisor.c - the engine's one thread: starts workers, and sees them die.
 *
 * It sleeps on up to 126 robust futexes at once (FUTEX_WAIT_MULTIPLE, Linux 5.16), the bell that attaching
 * workers ring, and its own control word. A worker holds a robust mutex in its seat from attach to its end,
 * with the waiters' bit set; the kernel marks the word and wakes us at the very start of the exit, before the
 * memory is torn down (for 2 GB that takes 130 ms). It takes no part in any task. While a worker is starting
 * or ending, or where the kernel has no FUTEX_WAIT_MULTIPLE or the pool more than 126 workers, it looks at
 * pidfds every few milliseconds instead; else it does not wake at all.
 *
 * Workers are started here too, so that a worker forked by ac_fork_spawn has a parent thread that lives as
 * long as the pool: PDEATHSIG follows the thread that forked. */
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/internal.h"
#include "pool/kill.h"

enum {
    TICK_NS = 1000000,      /* while something is starting or ending */
    TICK_MAX_NS = 20000000, /* growing to that */
    SPAWNS_MAX = 3,         /* failures in a row after which the pool is broken */
    IDLE_DEATHS_MAX = 100,  /* the same for workers that die without a task while none is done */
};

void ac__supervisor_ring(struct ac_pool *pool) {
    ac_add_release(&pool->control, 1);
    ac_futex_wake(&pool->control, INT_MAX);
}

/* --- Starting */
static uint32_t free_seat(struct ac_pool *pool) {
    for (uint32_t worker = 0; worker < AC_POOL_WORKERS; worker++) {
        if (pool->peers[worker].life == AC__LIFE_NONE) {
            return worker;
        }
    }
    return AC__NONE;
}

static void no_workers(struct ac_pool *pool) {
    struct ac_death death = {.kind = AC_DEATH_NO_WORKERS,
                             .worker = -1,
                             .status = -1,
                             .rss_bytes = -1,
                             .error = pool->last_spawn_error,
                             .when_ns = ac_now_ns()};
    pool->target = pool->alive;
    if (pool->alive > 0) {
        return; /* the others carry on */
    }
    if (ac_grow(&pool->deaths, &pool->deaths_cap, pool->deaths_count + 1, sizeof(death)) == 0) {
        pool->deaths[pool->deaths_count++] = death;
    }
    ac__pool_break(pool);
}

static void spawn_failed(struct ac_pool *pool, int error) {
    pool->last_spawn_error = error;
    if (++pool->failed_spawns >= SPAWNS_MAX) {
        no_workers(pool);
    }
}

/* We were told that it could not be started: true if there it sits nevertheless, since only the answer was
 * lost; then it counts. Else it will find that the seat is not for it. */
static bool came_up(struct ac_pool *pool, uint32_t worker, int error, struct ac_spawned *ret) {
    struct ac__seat *seat = &pool->side.segment.seats[worker];
    struct ac__peer *peer = &pool->peers[worker];
    uint32_t starting = AC__SEAT_STARTING;
    if (ac_cas_acq_rel(&seat->state, &starting, AC__SEAT_EMPTY)) {
        peer->life = AC__LIFE_NONE;
        pool->alive--;
        ac__seat_freed(pool);
    } else {
        ret->pid = peer->pid = seat->pid;
        if (ac_pidfd_open(ret->pid, &ret->pidfd) == 0) {
            return true;
        }
        ac__worker_died(pool, worker);
        ac__worker_gone(pool, worker);
    }
    spawn_failed(pool, error);
    return false;
}

/* It had no task. One that ends by itself before it asks for the first will not do better the next time; one
 * that was killed, or a later end, may have been chance, a hundred of them are not. */
static void died_idle(struct ac_pool *pool, bool early, int status) {
    bool killed = status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    pool->idle_deaths = pool->done_before == pool->stats.done ? pool->idle_deaths + 1 : 1;
    pool->done_before = pool->stats.done;
    if (early && !killed) {
        spawn_failed(pool, -ECHILD);
    } else if (pool->idle_deaths >= IDLE_DEATHS_MAX) {
        pool->last_spawn_error = -ECHILD;
        no_workers(pool);
    }
}

/* Lock held; let go around the callback. */
static void spawn_one(struct ac_pool *pool) {
    uint32_t worker = free_seat(pool);
    struct ac_spawned spawned = {.pidfd = -1};
    struct ac_spawn spawn = {.segment_fd = pool->side.segment.fd, .worker = (int)worker};
    if (worker == AC__NONE) {
        pool->target = pool->alive;
        return;
    }
    struct ac__seat *seat = &pool->side.segment.seats[worker];
    struct ac__head *head = pool->side.segment.head;
    for (int i = 0; i < AC_POOL_SPAWN_FDS; i++) {
        spawn.fds[i] = i < pool->options.fd_count ? pool->options.fds[i] : -1;
    }
    ac__repair(pool);
    memset((void *)seat, 0, sizeof(*seat));
    ac_store_release(&seat->state, AC__SEAT_STARTING);
    ac_store_release(&head->seats_used, ac_max(ac_load_relaxed(&head->seats_used), worker + 1));
    /* It may take tasks before we are told its pid. */
    struct ac__peer *peer = &pool->peers[worker];
    *peer = (struct ac__peer){.life = AC__LIFE_STARTING, .pidfd = -1, .incarnation = peer->incarnation};
    pool->alive++;
    AC_KILL_POINT(P_SPAWNING);
    pthread_mutex_unlock(&pool->side.lock);
    int error = pool->options.spawn(pool->options.spawn_arg, &spawn, &spawned);
    pthread_mutex_lock(&pool->side.lock);
    AC_KILL_POINT(P_SPAWNED);
    if (error < 0 && !came_up(pool, worker, error, &spawned)) {
        return;
    }
    peer->pid = spawned.pid;
    peer->pidfd = spawned.pidfd;
    pool->stats.spawns++;
    if (peer->owed != 0) {
        ac_pidfd_kill(peer->pidfd, peer->owed);
    }
}

/* Whether another worker is wanted now. A pool that is closing still finishes what is queued. */
static bool spawn_wanted(struct ac_pool *pool) {
    return pool->alive < pool->target && !pool->broken && !pool->stopping &&
           (!pool->closing || !ac__queue_empty(&pool->side.segment));
}

/* --- Watching */
static bool word_sound(struct ac_pool *pool, uint32_t worker) {
    const struct ac__peer *peer = &pool->peers[worker];
    return ac_load_acquire(&pool->side.segment.seats[worker].words[peer->life_word]) == peer->life_value;
}

static void look_at_starting(struct ac_pool *pool, uint32_t worker) {
    struct ac__seat *seat = &pool->side.segment.seats[worker];
    struct ac__peer *peer = &pool->peers[worker];
    uint32_t state = ac_load_acquire(&seat->state);
    if (state == AC__SEAT_ATTACHED || state == AC__SEAT_LEFT) {
        peer->life_word = ac_load_acquire(&seat->life_word) % AC_COUNT(seat->words);
        peer->life_value = ac_load_acquire(&seat->life_value);
        peer->life = AC__LIFE_ATTACHED;
    } else if (ac_pidfd_ended(peer->pidfd)) {
        ac__worker_died(pool, worker);
        peer->early = true;
    }
}

static void look_at_dying(struct ac_pool *pool, uint32_t worker) {
    struct ac__peer *peer = &pool->peers[worker];
    int status = -1;
    if (!ac_pidfd_ended(peer->pidfd)) {
        return;
    }
    if (pool->options.reap != NULL &&
        pool->options.reap(pool->options.spawn_arg, peer->pid, &status) == -EAGAIN) {
        return;
    }
    bool early = peer->early;
    bool idle = peer->idle || early;
    ac__worker_gone(pool, worker);
    if (idle) {
        died_idle(pool, early, status);
    }
}

static void look_at_attached(struct ac_pool *pool, uint32_t worker) {
    bool ready = ac_load_relaxed(&pool->side.segment.seats[worker].ready) != 0;
    if (word_sound(pool, worker) && !ac_pidfd_ended(pool->peers[worker].pidfd)) {
        return;
    }
    ac__worker_died(pool, worker);
    if (!pool->options.respawn) {
        pool->target--;
    }
    if (ready) {
        pool->failed_spawns = 0;
    } else { /* it came up, but never so far as to ask for a task */
        pool->peers[worker].early = true;
    }
}

/* How many are on their way in or out. */
static int look_round(struct ac_pool *pool) {
    int moving = 0;
    for (uint32_t worker = 0; worker < AC_POOL_WORKERS; worker++) {
        struct ac__peer *peer = &pool->peers[worker];
        if (peer->life == AC__LIFE_STARTING) {
            look_at_starting(pool, worker);
        }
        if (peer->life == AC__LIFE_ATTACHED) {
            look_at_attached(pool, worker);
        }
        if (peer->life == AC__LIFE_DYING) {
            look_at_dying(pool, worker);
        }
        moving += peer->life == AC__LIFE_STARTING || peer->life == AC__LIFE_DYING;
    }
    return moving;
}

/* Add the words of the living behind the two bells; false: there are too many. */
static bool collect(struct ac_pool *pool, struct ac_futex_wait_entry *entries, size_t *ret_count) {
    size_t count = 2;
    for (uint32_t worker = 0; worker < AC_POOL_WORKERS; worker++) {
        const struct ac__peer *peer = &pool->peers[worker];
        if (peer->life != AC__LIFE_ATTACHED) {
            continue;
        }
        if (count == AC_FUTEX_MANY) {
            *ret_count = count;
            return false;
        }
        entries[count++] = (struct ac_futex_wait_entry){
            &pool->side.segment.seats[worker].words[peer->life_word], peer->life_value};
    }
    *ret_count = count;
    return true;
}

/* Lock let go while asleep. false: this kernel cannot sleep on many words. */
static bool sleep_on(struct ac_pool *pool, const struct ac_futex_wait_entry *entries, size_t count,
                     int64_t timeout_ns) {
    pthread_mutex_unlock(&pool->side.lock);
    int got = ac_futex_wait_many(entries, count, timeout_ns);
    bool able = got == 0 || got == -EAGAIN || got == -ETIMEDOUT || got == -EINTR;
    if (!able) {
        ac_futex_wait(entries[0].word, entries[0].expected, TICK_MAX_NS);
    }
    pthread_mutex_lock(&pool->side.lock);
    return able;
}

static void *supervise(void *arg) {
    struct ac_pool *pool = arg;
    struct ac_futex_wait_entry entries[AC_FUTEX_MANY];
    ac_futex *attach_bell = &pool->side.segment.head->attach_bell;
    int64_t tick = TICK_NS;
    bool able = true;
    int64_t oom_kills = ac_oom_kills();
    pthread_mutex_lock(&pool->side.lock);
    pool->oom_kills = oom_kills;
    for (;;) {
        size_t count;
        entries[0] = (struct ac_futex_wait_entry){&pool->control, ac_load_acquire(&pool->control)};
        entries[1] = (struct ac_futex_wait_entry){attach_bell, ac_load_acquire(attach_bell)};
        if (pool->stopping) {
            ac__kill(pool, -1, SIGKILL); /* here too: one may just have been started */
        }
        int moving = look_round(pool); /* what changes after the bells were read wakes us */
        if (pool->stopping && moving == 0 && pool->alive == 0) {
            break;
        }
        if (spawn_wanted(pool) && (pool->failed_spawns == 0 || tick >= TICK_MAX_NS)) {
            spawn_one(pool);
            tick = TICK_NS;
            continue;
        }
        bool all = collect(pool, entries, &count);
        bool waiting = moving > 0 || spawn_wanted(pool) || !all || !able;
        tick = waiting ? ac_min(tick * 2, (int64_t)TICK_MAX_NS) : TICK_NS;
        able = sleep_on(pool, entries, count, waiting ? tick : -1);
    }
    pthread_mutex_unlock(&pool->side.lock);
    return NULL;
}

int ac__supervise(struct ac_pool *pool) {
    sigset_t all;
    sigset_t old;
    if (pool->supervised) {
        return 0;
    }
    sigfillset(&all); /* the user's signal handlers run in the user's threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = -pthread_create(&pool->supervisor, NULL, supervise, pool);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pool->supervised = error == 0;
    return error;
}
