/* file.c - whole files: read with a limit, written so that a failure leaves the old one as it was. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/internal.h"
#include "os/os.h"
#include "os/syscalls.h"

int ac__read_fd(int fd, size_t max, struct ac_buf *buf) {
    char chunk[16384];
    for (size_t total = 0;;) {
        ssize_t got = ac_sys.read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? -errno : buf->err;
        }
        total += (size_t)got;
        if (total > max) {
            return -EFBIG;
        }
        ac_buf_bytes(buf, chunk, (size_t)got);
    }
}

int ac__read_whole(const char *path, size_t max, struct ac_buf *buf) {
    int fd = ac_sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int err = ac__read_fd(fd, max, buf);
    ac_sys.close(fd);
    return err;
}

int ac_file_read(const char *path, size_t max, struct ac_buf *buf) {
    int fd = ac_sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) {
        return -errno;
    }
    struct stat st;
    int err = ac_sys.fstat(fd, &st) != 0 ? -errno : 0;
    if (!err && !S_ISREG(st.st_mode)) {
        err = -EINVAL;
    }
    if (!err) {
        err = ac__read_fd(fd, max, buf);
    }
    ac_sys.close(fd);
    return err;
}

static int write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t put = ac_sys.write(fd, data, size);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return put < 0 ? -errno : -EIO;
        }
        data += put;
        size -= (size_t)put;
    }
    return 0;
}

/* Devices and pipes cannot be replaced by rename, nor can files in a directory that we may not write to. */
static int write_through(const char *path, const void *data, size_t size) {
    int fd = ac_sys.openat(AT_FDCWD, path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0);
    if (fd < 0) {
        return -errno;
    }
    int err = write_all(fd, data, size);
    if (ac_sys.close(fd) != 0 && !err) {
        err = -errno;
    }
    return err;
}

static int write_beside(const char *path, mode_t mode, const void *data, size_t size) {
    char temporary[PATH_MAX];
    int len = snprintf(temporary, sizeof(temporary), "%s.%d.tmp", path, (int)getpid());
    if (len < 0 || (size_t)len >= sizeof(temporary)) {
        return -ENAMETOOLONG;
    }
    int fd = ac_sys.openat(AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) {
        return -errno;
    }
    int err = write_all(fd, data, size);
    if (!err && mode && ac_sys.fchmod(fd, mode & 07777) != 0) {
        err = -errno;
    }
    if (ac_sys.close(fd) != 0 && !err) { /* NFS and quotas report a full disk here */
        err = -errno;
    }
    if (!err && ac_sys.rename(temporary, path) != 0) {
        err = -errno;
    }
    if (err) {
        ac_sys.unlink(temporary);
    }
    return err;
}

int ac_file_write(const char *path, const void *data, size_t size) {
    struct stat st;
    if (ac_sys.stat(path, &st) != 0) {
        return errno == ENOENT ? write_beside(path, 0, data, size) : -errno;
    }
    if (S_ISDIR(st.st_mode)) {
        return -EISDIR;
    }
    if (!S_ISREG(st.st_mode)) {
        return write_through(path, data, size);
    }
    char *target = realpath(path, NULL); /* through symbolic links, so that they stay links */
    if (!target) {
        return -errno;
    }
    int err = write_beside(target, st.st_mode, data, size);
    if (err == -EACCES) {
        err = write_through(target, data, size);
    }
    free(target);
    return err;
}
