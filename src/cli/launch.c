/* launch.c - start a program so that it cannot tell, and collect its end.
 *
 * It stays in our process group, session and terminal: what the terminal sends (Ctrl-C, Ctrl-\, Ctrl-Z)
 * reaches it directly and once. We ignore the first two while it runs, since its end is ours; Ctrl-Z stops us
 * with it, and fg continues both. Signals sent to us alone (SIGTERM and friends) are passed on. Environment,
 * descriptors, mask and dispositions are those that we were started with. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "os/os.h"
#include "probe/sampler.h"

static volatile sig_atomic_t child_pid;
static volatile sig_atomic_t stop_signal;

static void pass_on(int signal, siginfo_t *info, void *context) {
    (void)context;
    int error = errno;
    /* SI_KERNEL: the terminal hung up, and the kernel has told the whole group itself */
    if (child_pid > 0 && info->si_code != SI_KERNEL) {
        kill((pid_t)child_pid, signal);
    }
    errno = error;
}

static void note_stop(int signal) {
    stop_signal = signal;
}

int ac_stop_signal(void) {
    return (int)stop_signal;
}

void ac_catch_stop_signals(void) {
    struct sigaction action = {.sa_handler = note_stop, .sa_flags = (int)SA_RESETHAND}; /* twice: at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static void watch_signals(void) {
    static const int passed[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction pass = {.sa_sigaction = pass_on, .sa_flags = SA_RESTART | SA_SIGINFO};
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGQUIT, &ignore, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    for (size_t i = 0; i < AC_COUNT(passed); i++) {
        struct sigaction old;
        sigaction(passed[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) { /* nohup stays nohup */
            sigaction(passed[i], &pass, NULL);
        }
    }
}

int ac_path_lookup(const char *name, char *buffer, size_t size) {
    const char *path = getenv("PATH");
    for (const char *dir = path ? path : "/usr/local/bin:/usr/bin:/bin"; *dir;) {
        size_t len = strcspn(dir, ":");
        struct stat st;
        int put = snprintf(buffer, size, "%.*s%s%s", (int)len, dir, len ? "/" : "", name);
        if (put > 0 && (size_t)put < size && access(buffer, X_OK) == 0 && stat(buffer, &st) == 0 &&
            S_ISREG(st.st_mode)) {
            return 0;
        }
        dir += len + (dir[len] == ':');
    }
    return -ENOENT;
}

static int explain_exec(const char *name, int err) {
    if (err == -ENOENT) {
        ac_fail("%s: not found; is it installed and on PATH?", name);
        return AC_EXIT_NOT_FOUND;
    }
    ac_fail("%s: cannot be executed: %s", name, strerror(-err));
    return AC_EXIT_CANNOT_EXECUTE;
}

int ac_launch_start(char *const argv[], struct ac_sampler *sampler, struct ac_launch *ret) {
    struct ac_child child;
    ac_child_save_signals();
    int err = ac_child_start(argv, &child);
    if (err) {
        return ac_fail("cannot start a process: %s", strerror(-err));
    }
    child_pid = child.pid;
    watch_signals();
    err = ac_sampler_attach(sampler, child.pid, true);
    if (err) {
        ac_child_abandon(&child);
        return ac_fail("cannot watch the program: %s", strerror(-err));
    }
    err = ac_child_release(&child);
    if (err) {
        child_pid = 0;
        return explain_exec(argv[0], err);
    }
    *ret = (struct ac_launch){.pid = child.pid};
    return 0;
}

static void collect(struct ac_launch *launch, int options) {
    struct rusage usage;
    pid_t got;
    do {
        got = wait4(launch->pid, &launch->status, options, &usage);
    } while (got < 0 && errno == EINTR);
    if (got == launch->pid) {
        child_pid = 0; /* its number may be someone else's from now on */
        launch->ended = true;
        launch->child_cpu_ns = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * AC_NS_PER_S +
                               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * AC_NS_PER_US;
    } else if (got < 0) {
        launch->ended = true; /* ECHILD: SIGCHLD is ignored in what started us; the status is lost */
    }
}

bool ac_launch_poll(struct ac_launch *launch) {
    if (!launch->ended) {
        collect(launch, WNOHANG);
    }
    return launch->ended;
}

void ac_launch_wait(struct ac_launch *launch) {
    if (!launch->ended) {
        collect(launch, 0);
    }
}

int ac_launch_exit_code(const struct ac_launch *launch) {
    return WIFSIGNALED(launch->status) ? 128 + WTERMSIG(launch->status) : WEXITSTATUS(launch->status);
}
