/* watched.c - a run that is read while it goes on, and of which nothing stays behind.
 *
 * What it prints comes through a pipe, what it answers through a file without a name, which no amount of
 * answers can block. What its processes leave behind becomes our child, so that it can be found and ended. */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "os/syscalls.h"

#define MAX_CHILDREN 256

int ac_output_pipe(int *ret_read_fd, int *ret_write_fd) {
    int fds[2];
    if (ac_sys.pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        return -errno;
    }
    if (ac_sys.fcntl(fds[1], F_SETFL, 0) != 0) {
        int err = -errno;
        ac_sys.close(fds[0]);
        ac_sys.close(fds[1]);
        return err;
    }
    *ret_read_fd = fds[0];
    *ret_write_fd = fds[1];
    return 0;
}

ssize_t ac_fd_read(int fd, void *buffer, size_t size) {
    ssize_t got;
    do {
        got = ac_sys.read(fd, buffer, size);
    } while (got < 0 && errno == EINTR);
    return got >= 0 ? got : -errno;
}

int ac_scratch_create(const char *name, int *ret_fd) {
    int fd = ac_sys.memfd_create(name, 0);
    if (fd < 0) {
        return -errno;
    }
    if (ac_sys.fcntl(fd, F_SETFL, O_APPEND) != 0) {
        int err = -errno;
        ac_sys.close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

int ac_scratch_clear(int fd) {
    return ac_sys.ftruncate(fd, 0) == 0 ? 0 : -errno;
}

int ac_scratch_read(int fd, struct ac_buf *buf) {
    char bytes[4096];
    for (off_t at = 0;;) {
        ssize_t got = ac_sys.pread(fd, bytes, sizeof(bytes), at);
        if (got <= 0) {
            return got < 0 ? -errno : buf->err;
        }
        ac_buf_bytes(buf, bytes, (size_t)got);
        at += got;
    }
}

int ac_orphans_adopt(void) {
    return ac_sys.prctl(PR_SET_CHILD_SUBREAPER, 1L) == 0 ? 0 : -errno;
}

int ac_child_reap(pid_t pid, int *ret_status) {
    pid_t got;
    do {
        got = ac_sys.wait4(pid, ret_status, WNOHANG, NULL);
    } while (got < 0 && errno == EINTR);
    return got > 0 ? 1 : got == 0 ? 0 : -errno;
}

/* Each round has what the last one orphaned. */
int ac_descendants_kill(int64_t until_ns) {
    pid_t children[MAX_CHILDREN];
    int err = 0, status;
    for (;;) {
        size_t count = 0;
        int reaped, listed = ac_process_children(getpid(), children, MAX_CHILDREN, &count);
        err = err ? err : listed;
        for (size_t i = 0; i < ac_min(count, (size_t)MAX_CHILDREN); i++) {
            ac_sys.kill(children[i], SIGKILL);
        }
        do {
            reaped = ac_child_reap(-1, &status);
        } while (reaped > 0);
        if (reaped == -ECHILD) {
            return err;
        }
        if (ac_now_ns() > until_ns) {
            return -ETIMEDOUT;
        }
        ac_sleep_until(ac_now_ns() + AC_NS_PER_MS);
    }
}
