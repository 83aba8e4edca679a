/* spawn.c - workers as plain forks of the pool's process, for C programs and tests. They are forked by the
 * supervisor thread, which lives as long as the pool, so their PDEATHSIG means the pool's process. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "os/syscalls.h"
#include "pool/segment.h"

int ac_fork_spawn(void *arg, const struct ac_spawn *spawn, struct ac_spawned *ret) {
    const struct ac_fork *how = arg;
    struct ac_spawn mine = *spawn;
    mine.guard = getpid();
    pid_t pid = ac_sys.fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        _exit(how->main(&mine, how->arg));
    }
    struct ac_spawned spawned = {.pid = pid};
    int error = ac_pidfd_open(pid, &spawned.pidfd);
    if (error < 0) {
        ac_sys.kill(pid, SIGKILL);
        ac_sys.wait4(pid, NULL, 0, NULL);
        return error;
    }
    *ret = spawned;
    return 0;
}

int ac_fork_reap(void *arg, pid_t pid, int *ret_status) {
    int status;
    (void)arg;
    pid_t got = ac_sys.wait4(pid, &status, WNOHANG, NULL);
    if (got == 0) {
        return -EAGAIN;
    }
    if (got == pid) {
        *ret_status = status;
    }
    return 0; /* ECHILD: somebody else has collected it (SIGCHLD ignored) */
}
