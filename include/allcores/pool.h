/* pool.h - the process-pool engine: tasks and results over one shared-memory segment. No Python here.
 *
 * One process, the parent, makes a pool and submits messages; workers, processes made by a spawn callback
 * (by a zygote, as a rule), attach to its segment, take tasks one by one and answer each with a message.
 *
 *     parent                                             worker
 *     ac_pool_create(&options, &pool)                    ac_worker_attach(&spawn, &worker)
 *     ac_pool_start(pool, 2)                             while (ac_worker_next(worker, &task) == 0) {
 *     ac_pool_submit(pool, &task, &ticket)                   ... task.message ...
 *     ac_pool_wait(pool, ticket, -1)                         ac_worker_finish(worker, kind, parts, count)
 *     ac_pool_take(pool, ticket, &result)                    ac_message_clear(&task.message)
 *       ... result.message ...                           }
 *     ac_message_clear(&result.message)                  ac_worker_free(worker)
 *     ac_pool_release(pool, ticket)
 *     ac_pool_free(pool)
 *
 * What holds, whatever happens (each is tested by killing at every step):
 *   1. A worker may be SIGKILLed at any instruction: only the task that it was running is lost.
 *   2. The parent may be SIGKILLed: workers die too, at once, also in the middle of a task; no memory is
 * left.
 *   3. An idle pool makes no wake-ups.
 *   4. Bytes move once: into the segment. They are read there, in place.
 *   5. No thread stands between submit and result. The one that the engine has (the supervisor) sleeps until
 *      a worker dies or is to be started.
 *
 * Threads: every ac_pool_ function may be called from any thread of the parent, at once; every ac_worker_
 * function from the thread that attached, except ac_block_ref/unref and ac_message_clear, which any thread
 * may call in either process. Nothing here needs or takes the GIL; only ac_pool_wait, ac_pool_next_done,
 * ac_pool_join, ac_pool_free and ac_worker_next block, and a large ac_pool_submit or ac_worker_finish copies
 * for milliseconds: let the GIL go around those.
 * fork(): in a child that the user forks from the parent each function answers -ECHILD and touches nothing,
 * blocks that the child inherited stay readable, writing to them does not reach the parent, and
 * ac_pool_free there only drops the child's own memory. The same in a child that a worker forks.
 * Errors: 0 or a negative errno; ret_ outputs are set on success only. */
#ifndef ALLCORES_POOL_H
#define ALLCORES_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ac_pool;   /* the parent's side */
struct ac_worker; /* a worker's side */
struct ac_block;  /* this process's handle on a piece of the segment */

enum {
    AC_POOL_INLINE = 80,     /* a message of one part up to so many bytes travels inside its slot */
    AC_POOL_WORKERS = 1024,  /* worker ids are below this */
    AC_POOL_TASKS = 1 << 22, /* tickets alive at once (queued, running, or done and not released) */
    AC_POOL_PARTS = 1 << 16, /* parts of one message */
    AC_POOL_ALIGN = 64,      /* every part in a block starts at a multiple of this */
    AC_POOL_SPAWN_FDS = 8,   /* descriptors that options may hand on to workers */
};

/* --- Messages ---------------------------------------------------------------------------------------
 * A message is a kind, which the engine does not look at, and parts: byte strings. By convention part 0 is
 * the pickle stream and the others its out-of-band buffers. All parts of one message lie in one block. */
struct ac_part { /* to be copied in */
    const void *data;
    size_t size;
};
struct ac_view { /* in the segment: readable and writable, in place */
    void *data;
    size_t size;
};
struct ac_message {
    uint16_t kind;
    uint32_t count;
    struct ac_view *parts;  /* count of them: `few`, or memory that ac_message_clear frees */
    struct ac_block *block; /* one reference on what holds the bytes; NULL when inline in the slot: then valid
                             * only until the task is finished (worker) or released (parent) */
    struct ac_view few[4];  /* so a message must not be copied by assignment: parts may point here */
};
/* Drop the message's reference on its block (not other references taken on it) and its list of parts. The
 * message is empty afterwards; clearing an empty one (zeroed) does nothing. */
void ac_message_clear(struct ac_message *message);

/* A block lives until its last reference is gone, in whichever process that is; references are private
 * to a process and counted there. To keep a view (a numpy array over parts[1], say): ac_block_ref, and
 * ac_block_unref when the view dies. Any thread; safe after the pool or worker was freed. */
void ac_block_ref(struct ac_block *block);
void ac_block_unref(struct ac_block *block); /* NULL: no-op */
size_t ac_block_size(const struct ac_block *block);

/* --- Starting workers -------------------------------------------------------------------------------- */
struct ac_spawn { /* what a new worker needs; the descriptors are the receiver's to close */
    int segment_fd;
    int worker;                 /* its id */
    int fds[AC_POOL_SPAWN_FDS]; /* options.fds, in order; -1 where there is none */
    pid_t guard; /* worker side: the process whose death must kill the worker (its parent: the zygote, or the
                  * pool's process for a plain fork); ac_worker_attach sees to it */
};
struct ac_spawned {
    pid_t pid;
    int pidfd; /* becomes the engine's to close */
};
/* Make one process that calls ac_worker_attach with `spawn` (its copy of the descriptors). Called in the
 * supervisor thread, never in two at once for one pool. On failure the engine retries with growing pauses,
 * and gives up after 3 in a row: see AC_DEATH_NO_WORKERS. */
typedef int (*ac_spawn_fn)(void *arg, const struct ac_spawn *spawn, struct ac_spawned *ret);
/* The process has ended and was seen to: collect the zombie (waitpid for a child of ours, a word to the
 * zygote otherwise). May be NULL when nobody has to. Returns 0, or -EAGAIN: not a zombie yet, call me again.
 * A wait status may be stored in *ret_status (leave it alone when unknown). */
typedef int (*ac_reap_fn)(void *arg, pid_t pid, int *ret_status);

struct ac_pool_options {
    ac_spawn_fn spawn;
    ac_reap_fn reap;
    void *spawn_arg;
    int fds[AC_POOL_SPAWN_FDS]; /* handed on to every worker (stay the caller's); -1 or 0-filled: see fd_count
                                 */
    int fd_count;
    bool respawn;        /* replace a worker that died or left, to keep what ac_pool_start asked for */
    uint64_t capacity;   /* address space to reserve, bytes; 0: 1 TiB, or what there is. Costs nothing */
    uint64_t keep_bytes; /* free payload memory to keep warm; 0: an eighth of RAM at most 1 GiB */
};

/* Ready-made: workers are plain forks of the supervisor thread; `main` runs in each and its answer is the
 * exit code. For C programs and tests. spawn_arg is a struct ac_fork. */
struct ac_fork {
    int (*main)(const struct ac_spawn *spawn, void *arg);
    void *arg;
};
int ac_fork_spawn(void *ac_fork, const struct ac_spawn *spawn, struct ac_spawned *ret);
int ac_fork_reap(void *ac_fork, pid_t pid, int *ret_status);

/* Ready-made: a zygote, a process that serves "fork me a worker" on a SOCK_SEQPACKET socket. One serves many
 * pools. Parent's side: the caller starts the process (exec, or a fork of itself made early) with one end
 * of ac_zygote_socketpair and keeps the other. spawn_arg is a struct ac_zygote. Thread-safe. */
struct ac_zygote;
int ac_zygote_socketpair(int *ret_parent_fd, int *ret_zygote_fd); /* both CLOEXEC */
int ac_zygote_open(int parent_fd, struct ac_zygote **ret);        /* takes the descriptor over */
void ac_zygote_free(
    struct ac_zygote *zygote); /* the zygote ends when the socket closes; its workers with it */
int ac_zygote_spawn(void *zygote, const struct ac_spawn *spawn,
                    struct ac_spawned *ret); /* -EPIPE: it is gone */
int ac_zygote_reap(void *zygote, pid_t pid, int *ret_status);
/* Zygote's side: serve until the socket closes or the process `parent` dies. `fork_fn` forks (so that
 * Python's fork hooks can run around it; NULL: fork()). Returns 1 in a new worker, with *ret_spawn to attach
 * with and all of the zygote's descriptors closed; 0 in the zygote when it is time to exit; or negative.
 * The process should be single-threaded: workers die by PDEATHSIG when the thread in here ends.
 * `parent` 0: getppid() at entry. */
int ac_zygote_serve(int zygote_fd, pid_t parent, pid_t (*fork_fn)(void), struct ac_spawn *ret_spawn);

/* --- The parent's side ------------------------------------------------------------------------------- */
int ac_pool_create(const struct ac_pool_options *options, struct ac_pool **ret_pool);
/* Ask for `workers` live workers (more than now; asking for fewer changes nothing). Returns at once;
 * the supervisor starts them. Tasks may be submitted before any has come up. */
int ac_pool_start(struct ac_pool *pool, int workers);
/* As options.respawn, from now on. */
void ac_pool_set_respawn(struct ac_pool *pool, bool respawn);
/* No new tasks (-ESHUTDOWN); each worker leaves when the queue is empty. Does not wait. */
void ac_pool_shutdown(struct ac_pool *pool);
/* Wait until every worker has gone after ac_pool_shutdown. 0, -ETIMEDOUT or -EINTR. timeout_ns -1: for ever.
 */
int ac_pool_join(struct ac_pool *pool, int64_t timeout_ns);
/* SIGKILLs workers that are left, waits until the supervisor has seen them off, and frees the pool. Blocks
 * that have references stay mapped and readable until those are gone. NULL: no-op. No other call may be under
 * way (wake next_done and waits first: ac_pool_break). */
void ac_pool_free(struct ac_pool *pool);
/* Make every task that is not done fail with AC_TASK_BROKEN (running ones are given up: kill the workers if
 * they should stop), refuse new ones with -EPIPE, and wake every waiter. */
void ac_pool_break(struct ac_pool *pool);

struct ac_task_out {
    uint16_t kind;
    uint32_t count;              /* parts */
    const struct ac_part *parts; /* copied; or NULL when `message` is given */
    struct ac_message *message;  /* from ac_pool_reserve, filled in; taken over (cleared) on success */
    uint32_t items;              /* for telemetry and progress: how many items this task stands for */
    bool notify;                 /* report in ac_pool_next_done */
    bool more;     /* others follow at once: wake nobody now, the last submit or ac_pool_kick does */
    uint64_t user; /* comes back in ac_pool_next_done and ac_result: a pointer of the caller's */
};
/* Queue a task. -EAGAIN: AC_POOL_TASKS are alive already; -ENOMEM: no room for the payload; -ESHUTDOWN;
 * -EPIPE: broken; -E2BIG: too many parts. A ticket is never 0 and is not used again for a long time. */
int ac_pool_submit(struct ac_pool *pool, const struct ac_task_out *task, uint64_t *ret_ticket);
void ac_pool_kick(struct ac_pool *pool); /* wake workers for tasks submitted with `more` */
/* Room for a message to be written in place: parts of the given sizes. Clear it to give up. */
int ac_pool_reserve(struct ac_pool *pool, const size_t *sizes, uint32_t count, struct ac_message *ret);
/* Make the last part smaller (from reserve, either side), before it is submitted or finished. */
int ac_message_trim(struct ac_message *message, size_t last_size);

enum ac_task_state {
    AC_TASK_QUEUED = 1,
    AC_TASK_RUNNING,
    /* from here on it is over, ac_pool_take answers: */
    AC_TASK_DONE,    /* result.message is what the worker answered */
    AC_TASK_DIED,    /* the worker died: result.death */
    AC_TASK_CORRUPT, /* what the worker wrote does not add up, and it has been killed; or its worker had left
                      * and there was no memory to keep the result */
    AC_TASK_CANCELLED, /* by ac_pool_cancel */
    AC_TASK_BROKEN,    /* by ac_pool_break, or no worker can be started */
};
/* -EINVAL: no such ticket (released). Never blocks, makes no system call. */
int ac_pool_state(struct ac_pool *pool, uint64_t ticket, enum ac_task_state *ret_state);
/* Until the task is over: spin a little, then sleep. 0, -ETIMEDOUT, -EINTR (a signal came: look at it and
 * call again), -EINVAL. timeout_ns: 0 just looks, -1 for ever. Many threads may wait for one ticket. */
int ac_pool_wait(struct ac_pool *pool, uint64_t ticket, int64_t timeout_ns);
/* QUEUED to CANCELLED: 0. -EBUSY: it runs or is over. */
int ac_pool_cancel(struct ac_pool *pool, uint64_t ticket);
/* The same for every task that no worker has claimed; not all: but for the first ones, of which each worker
 * that is free or being started is about to claim one. Returns how many. */
int ac_pool_cancel_queued(struct ac_pool *pool, bool all);

enum ac_death_kind {
    AC_DEATH_CRASH = 1,  /* by signal or exit without leaving in order */
    AC_DEATH_LEFT,       /* ac_worker_free, then exit: max_tasks_per_child, shutdown */
    AC_DEATH_NO_WORKERS, /* none could be started (worker -1); every task has become AC_TASK_BROKEN */
};
struct ac_death {
    enum ac_death_kind kind;
    int worker;
    pid_t pid;
    int status;         /* as from waitpid (WIFSIGNALED ...); -1 unknown */
    int error;          /* NO_WORKERS: negative errno of the last spawn */
    int64_t rss_bytes;  /* resident memory as last seen, -1 unknown */
    bool out_of_memory; /* SIGKILL, and the kernel has just killed somebody since memory had run out */
    uint64_t user;      /* of the task that it was running; ticket 0: it was idle */
    uint64_t ticket;
    int64_t when_ns; /* CLOCK_MONOTONIC, when the engine saw it */
};
struct ac_result {
    enum ac_task_state state;
    struct ac_message message; /* DONE. DIED: what the worker had staged (ac_worker_stage), else empty */
    uint32_t progress;         /* last ac_worker_progress: on DIED, items [0, progress) are done and staged */
    uint64_t user;
    int worker;                          /* id of who ran it, -1 nobody */
    pid_t pid;                           /* its pid */
    struct ac_death death;               /* DIED, CORRUPT */
    int64_t submit_ns, start_ns, end_ns; /* CLOCK_MONOTONIC; 0 where it did not come to that */
    int64_t pickle_ns;                   /* between start and end, what ac_worker_pickling told */
};
/* What came of a task that is over. -EAGAIN: it is not; -EBADMSG: cannot be here (CORRUPT is a state).
 * May be called once a ticket for the message (it moves to the caller); again gives an empty message. */
int ac_pool_take(struct ac_pool *pool, uint64_t ticket, struct ac_result *ret);
/* Forget a ticket, in any state: the slot is used again, an inline message of it is invalid from now on. A
 * queued task is cancelled; a running one runs on and its result is dropped. */
int ac_pool_release(struct ac_pool *pool, uint64_t ticket);
/* Queue a DIED task once more; its worker is told of `items` items (those before the one that killed, by
 * result.progress; 0: as many as before). The arguments are as the dead worker left them, since it may have
 * written into them in place. -ENODATA: it had given them back. -EBUSY: not DIED. */
int ac_pool_retry(struct ac_pool *pool, uint64_t ticket, uint32_t items);

/* --- Completion side: for one thread that runs callbacks. Sleeps on one futex. */
/* From now on the task is reported by ac_pool_next_done when it is over (each ticket once). 0, or
 * 1: it is over already and will not be reported. */
int ac_pool_notify(struct ac_pool *pool, uint64_t ticket);
struct ac_done {
    uint64_t ticket, user;
};
/* Waits for tasks that were to be notified of; oldest first. Returns how many (> 0); 0: something else wants
 * a look (a death: ac_pool_next_death; ac_pool_wake_done); -ETIMEDOUT, -EINTR. One thread at a time. */
int ac_pool_next_done(struct ac_pool *pool, struct ac_done *done, int cap, int64_t timeout_ns);
void ac_pool_wake_done(struct ac_pool *pool);
/* The next death not told yet: 1, or 0 for none. Never blocks. Each wakes ac_pool_next_done. */
int ac_pool_next_death(struct ac_pool *pool, struct ac_death *ret);

/* --- Shared with every worker: functions, configuration. Written once, read-only by convention. */
/* Copies in; *ret_key stays valid until ac_pool_unshare or ac_pool_free. */
int ac_pool_share(struct ac_pool *pool, uint16_t kind, const struct ac_part *parts, uint32_t count,
                  uint64_t *ret_key);
/* Give it back; no task that names the key may still be queued or running. */
void ac_pool_unshare(struct ac_pool *pool, uint64_t key);
/* One shared message that every worker can find by itself (ac_worker_config). Set before ac_pool_start. */
int ac_pool_set_config(struct ac_pool *pool, uint64_t key);

/* --- Looking and acting on workers */
struct ac_worker_info {
    int worker;
    pid_t pid;
    bool attached, idle;
    uint64_t ticket; /* running now, 0 none; a hint */
    uint64_t tasks;  /* finished so far */
};
/* Live workers, at most cap of them; returns how many there are. */
int ac_pool_workers(struct ac_pool *pool, struct ac_worker_info *infos, int cap);
/* Send a signal by pidfd; worker -1: all, with those that are being started, which get it then. -ESRCH. */
int ac_pool_kill(struct ac_pool *pool, int worker, int signal);

struct ac_pool_stats {
    uint64_t submitted, done, died, corrupt, cancelled;
    uint64_t queued, running; /* now; queued is exact only when nothing moves */
    uint64_t wakes;           /* futex wake calls that submit made */
    uint64_t deaths, spawns;
    uint64_t segment_bytes;       /* pages that the segment has now */
    uint64_t bytes_in, bytes_out; /* payload bytes submitted, taken */
    /* Summed over tasks taken: submit to start; start to end, its pickling apart; end to taken. */
    int64_t queue_ns, run_ns, pickle_ns, return_ns;
};
void ac_pool_stats(struct ac_pool *pool, struct ac_pool_stats *ret);
/* Checks everything that can be checked about the segment and the parent's own books; NULL when all is well,
 * else what is wrong. May be called while workers run. For tests. */
const char *ac_pool_valid(struct ac_pool *pool);

/* --- The worker's side ------------------------------------------------------------------------------- */
/* First thing in a new process, before any import: from here on its death is seen at once. Takes
 * spawn->segment_fd over (closes it); fds are the caller's. -ECHILD: whom to serve is dead already. */
int ac_worker_attach(const struct ac_spawn *spawn, struct ac_worker **ret_worker);
struct ac_task_in {
    uint64_t ticket;
    struct ac_message message; /* the caller's to clear, after ac_worker_finish when it is inline */
    uint32_t items;
};
/* Wait for a task and claim it. -ESHUTDOWN: leave. -EINTR: a signal; look at it, call again. -EBUSY: the last
 * one is not finished. timeout_ns -1: for ever; else -ETIMEDOUT; 0 never sleeps, but may spin for 50 us. */
int ac_worker_next(struct ac_worker *worker, int64_t timeout_ns, struct ac_task_in *ret);
/* Answer the task that runs: copies the parts in, or takes over a message from ac_worker_reserve. -ENOMEM: no
 * room (the task is still running: answer with something smaller). */
int ac_worker_finish(struct ac_worker *worker, uint16_t kind, const struct ac_part *parts, uint32_t count);
int ac_worker_reserve(struct ac_worker *worker, const size_t *sizes, uint32_t count, struct ac_message *ret);
int ac_worker_finish_message(struct ac_worker *worker, uint16_t kind, struct ac_message *message);
/* For tasks of many items: let the parent have what is done if this process dies before finish. stage:
 * where the results are being written (then finish_message the same one); progress: so many items are done.
 */
int ac_worker_stage(struct ac_worker *worker, uint16_t kind, const struct ac_message *message);
void ac_worker_progress(struct ac_worker *worker, uint32_t items_done);
/* Finish with the arguments' own block as the answer, for calls that return what they were given: of its
 * first `count` parts the first is written over by `first`, which may not be longer (zeros follow it), the
 * others stay as they are. 0: `arguments` is empty now. -EAGAIN: not possible, nothing has changed: the task
 * has several items, or somebody here still refers to the block. */
int ac_worker_give(struct ac_worker *worker, uint16_t kind, struct ac_part first, uint32_t count,
                   struct ac_message *arguments);
/* From since_ns to until_ns the worker (un)pickled; until_ns 0: until the answer has been given. For stats.
 */
void ac_worker_pickling(struct ac_worker *worker, int64_t since_ns, int64_t until_ns);
/* What the parent shared. The message's bytes are the parent's: do not write. -EINVAL: no such key. */
int ac_worker_shared(struct ac_worker *worker, uint64_t key, struct ac_message *ret);
int ac_worker_config(struct ac_worker *worker, struct ac_message *ret); /* -ENOENT: none was set */
int ac_worker_id(const struct ac_worker *worker);
pid_t ac_worker_parent(const struct ac_worker *worker); /* pid of the process that owns the pool */
/* Leave in order: the process is expected to exit soon. Blocks with references stay readable. */
void ac_worker_free(struct ac_worker *worker);

#ifdef __cplusplus
}
#endif
#endif
