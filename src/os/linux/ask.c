/* ask.c - a program that is asked once: a request on its stdin, an answer on its stdout, nothing else of
 * ours.
 *
 * The request lies in a memfd, so neither side can block on it or break a pipe; the answer is bounded in size
 * and in time, and a program that takes longer is killed. Its stderr is nobody's. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/internal.h"
#include "os/os.h"
#include "os/shared.h"
#include "os/syscalls.h"

_Noreturn static void run_program(char *const argv[], int request, int answer) {
    ac__child_restore_signals();
    int nothing = ac_sys.openat(AT_FDCWD, "/dev/null", O_RDWR, 0);
    if (nothing >= 0 && ac_sys.dup2(request, STDIN_FILENO) >= 0 && ac_sys.dup2(answer, STDOUT_FILENO) >= 0 &&
        ac_sys.dup2(nothing, STDERR_FILENO) >= 0) {
        ac_sys.execvp(argv[0], argv);
    }
    _exit(127);
}

static int read_answer(int fd, size_t max, int64_t until_ns, struct ac_buf *answer) {
    char bytes[4096];
    for (;;) {
        int64_t left = until_ns - ac_now_ns();
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int count = left > 0 ? ac_sys.poll(&ready, 1, (int)(left / 1000000) + 1) : 0;
        if (count == 0) {
            return -ETIMEDOUT;
        }
        ssize_t got = count > 0 ? ac_sys.read(fd, bytes, sizeof(bytes)) : -1;
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? -errno : answer->err;
        }
        if (answer->len + (size_t)got > max) {
            return -EFBIG;
        }
        ac_buf_bytes(answer, bytes, (size_t)got);
    }
}

static int converse(char *const argv[], int request, size_t max, int64_t until_ns, struct ac_buf *answer) {
    int pipe[2];
    if (ac_sys.pipe2(pipe, O_CLOEXEC) != 0) {
        return -errno;
    }
    pid_t pid = ac_sys.fork();
    int err = pid < 0 ? -errno : 0;
    if (pid == 0) {
        run_program(argv, request, pipe[1]);
    }
    ac_sys.close(pipe[1]);
    if (pid > 0) {
        int status = 0;
        err = read_answer(pipe[0], max, until_ns, answer);
        if (err) {
            ac_sys.kill(pid, SIGKILL);
        }
        while (ac_sys.wait4(pid, &status, 0, NULL) < 0 && errno == EINTR) {
        }
        err = err ? err : status ? -ECHILD : 0;
    }
    ac_sys.close(pipe[0]);
    return err;
}

int ac_ask(char *const argv[], const char *request, size_t len, size_t max, int64_t until_ns,
           struct ac_buf *answer) {
    int fd;
    int err = ac_memfd_create("allcores-request", len, &fd);
    if (err) {
        return err;
    }
    err = ac_memfd_write(fd, 0, request, len);
    err = err ? err : converse(argv, fd, max, until_ns, answer);
    ac_sys.close(fd);
    return err;
}
