/* spawn.c - a child that waits to be released, so that the probe can watch it from its first instruction.
 *
 * Two close-on-exec pipes: the child reads `go` before it execs; `err` carries an errno back when exec fails
 * and closes by itself when exec works. Dispositions and mask are those that we were started with: whatever
 * the command changes for itself after ac_child_save_signals() is undone in the child. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/internal.h"
#include "os/os.h"
#include "os/syscalls.h"

static struct {
    bool taken;
    sigset_t mask;
    struct sigaction actions[NSIG];
} saved;

void ac_child_save_signals(void) {
    for (int signal = 1; signal < NSIG; signal++) {
        sigaction(signal, NULL, &saved.actions[signal]);
    }
    sigprocmask(SIG_SETMASK, NULL, &saved.mask);
    saved.taken = true;
}

void ac__child_restore_signals(void) {
    if (saved.taken) {
        for (int signal = 1; signal < NSIG; signal++) {
            sigaction(signal, &saved.actions[signal],
                      NULL); /* fails for KILL, STOP and libc's own: as it should */
        }
        sigprocmask(SIG_SETMASK, &saved.mask, NULL);
    }
}

_Noreturn static void give_up(int err) {
    int error = errno;
    ssize_t put = ac_sys.write(err, &error, sizeof(error));
    (void)put;
    _exit(127);
}

/* Its streams, its own process group, and death with us. */
static bool take_place(const struct ac_child_place *place) {
    for (int fd = 0; fd < 3; fd++) {
        if (ac_sys.dup2(fd ? place->out_fd : place->in_fd, fd) < 0) {
            return false;
        }
    }
    return ac_sys.setpgid(0, 0) == 0 && ac_sys.prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}

_Noreturn static void run_child(char *const argv[], const struct ac_child_place *place, int go, int err) {
    char byte;
    ssize_t got;
    if (place && !take_place(place)) {
        give_up(err);
    }
    ac__child_restore_signals();
    do {
        got = ac_sys.read(go, &byte, 1);
    } while (got < 0 && errno == EINTR);
    if (got == 1) { /* else: abandoned */
        ac_sys.execvp(argv[0], argv);
        give_up(err);
    }
    _exit(127);
}

static void close_pipes(struct ac_child *child) {
    ac_sys.close(child->go_fd);
    ac_sys.close(child->hold_fd);
    ac_sys.close(child->err_fd);
    child->go_fd = child->hold_fd = child->err_fd = -1;
}

int ac_child_start(char *const argv[], struct ac_child *ret_child) {
    return ac_child_start_at(argv, NULL, ret_child);
}

int ac_child_start_at(char *const argv[], const struct ac_child_place *place, struct ac_child *ret_child) {
    int go[2];
    int err[2];
    if (ac_sys.pipe2(go, O_CLOEXEC) != 0) {
        return -errno;
    }
    if (ac_sys.pipe2(err, O_CLOEXEC) != 0) {
        int error = -errno;
        ac_sys.close(go[0]);
        ac_sys.close(go[1]);
        return error;
    }
    pid_t pid = ac_sys.fork();
    int error = -errno;
    if (pid == 0) {
        ac_sys.close(go[1]);
        ac_sys.close(err[0]);
        run_child(argv, place, go[0], err[1]);
    }
    ac_sys.close(err[1]);
    struct ac_child child = {.pid = pid, .go_fd = go[1], .hold_fd = go[0], .err_fd = err[0]};
    if (pid < 0) {
        close_pipes(&child);
        return error;
    }
    *ret_child = child;
    return 0;
}

static void reap(pid_t pid) {
    while (ac_sys.wait4(pid, NULL, 0, NULL) < 0 && errno == EINTR) {
    }
}

int ac_child_release(struct ac_child *child) {
    int error = 0;
    ssize_t got =
        ac_sys.write(child->go_fd, "", 1); /* an empty pipe that we hold: neither blocks nor breaks */
    if (got != 1) {
        error = errno;
        ac_child_abandon(child);
        return -error;
    }
    do { /* end of file: exec worked, or the child was killed first, which its exit status tells */
        got = ac_sys.read(child->err_fd, &error, sizeof(error));
    } while (got < 0 && errno == EINTR);
    close_pipes(child);
    if (error) {
        reap(child->pid);
    }
    return -error;
}

void ac_child_abandon(struct ac_child *child) {
    if (child->go_fd >= 0) {
        close_pipes(child);
        ac_sys.kill(child->pid, SIGKILL); /* it may be stopped, or still on its way to the pipe */
        reap(child->pid);
    }
}

int64_t ac_children_peak_rss(void) {
    struct rusage usage;
    return getrusage(RUSAGE_CHILDREN, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : -1;
}
