/* forker.c - see forker.h.
 *
 * A worker must be forked by a thread that lives as long as the pool (PDEATHSIG follows the thread) and that
 * may run Python (fork hooks, multiprocessing's own bookkeeping). That is the manager's thread; the
 * supervisor waits here, without the GIL, until it has answered. The mutex guards every field; `turn` tells
 * both sides. */
#include "ext/forker.h"

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

struct ac__forker {
    struct ac_pool **pool;
    pthread_mutex_t lock;
    pthread_cond_t turn;
    struct ac_spawn spawn;
    struct ac_spawned answer;
    enum { FORK_NONE, FORK_WANTED, FORK_ANSWERED } step;
    int error;
    bool stopped;
};

struct ac__forker *ac__forker_new(struct ac_pool **pool) {
    struct ac__forker *forker = ac_calloc(1, sizeof *forker);
    if (!forker)
        return NULL;
    forker->pool = pool;
    pthread_mutex_init(&forker->lock, NULL);
    pthread_cond_init(&forker->turn, NULL);
    return forker;
}

void ac__forker_free(struct ac__forker *forker) {
    if (!forker)
        return;
    pthread_cond_destroy(&forker->turn);
    pthread_mutex_destroy(&forker->lock);
    ac_free(forker);
}

void ac__forker_stop(struct ac__forker *forker) {
    pthread_mutex_lock(&forker->lock);
    forker->stopped = true;
    pthread_cond_broadcast(&forker->turn);
    pthread_mutex_unlock(&forker->lock);
}

int ac__forker_spawn(void *arg, const struct ac_spawn *spawn, struct ac_spawned *ret) {
    struct ac__forker *forker = arg;
    pthread_mutex_lock(&forker->lock);
    forker->spawn = *spawn;
    forker->spawn.guard = getpid();
    forker->step = FORK_WANTED;
    ac_pool_wake_done(*forker->pool);
    while (forker->step != FORK_ANSWERED && !forker->stopped)
        pthread_cond_wait(&forker->turn, &forker->lock);
    int error = forker->step == FORK_ANSWERED ? forker->error : -ESHUTDOWN;
    *ret = forker->answer;
    forker->step = FORK_NONE;
    pthread_mutex_unlock(&forker->lock);
    return error;
}

/* Looks without reaping: the zombie is multiprocessing's. */
int ac__forker_reap(void *arg AC_UNUSED, pid_t pid, int *ret_status) {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return 0; /* somebody has reaped it: the status is not to be had */
    if (info.si_pid != pid)
        return -EAGAIN;
    *ret_status = info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status);
    return 0;
}

bool ac__forker_wanted(struct ac__forker *forker) {
    pthread_mutex_lock(&forker->lock);
    bool wanted = forker->step == FORK_WANTED;
    pthread_mutex_unlock(&forker->lock);
    return wanted;
}

void ac__forker_answer(struct ac__forker *forker, int pid_or_error, int pidfd) {
    pthread_mutex_lock(&forker->lock);
    forker->error = pid_or_error < 0 ? pid_or_error : 0;
    forker->answer = (struct ac_spawned){.pid = pid_or_error, .pidfd = pidfd};
    forker->step = FORK_ANSWERED;
    pthread_cond_broadcast(&forker->turn);
    pthread_mutex_unlock(&forker->lock);
}

const struct ac_spawn *ac__forker_spawn_of(struct ac__forker *forker) {
    return &forker->spawn;
}
