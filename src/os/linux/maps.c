/* maps.c - what a process has mapped, and the files behind it as that process sees them. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "os/internal.h"
#include "os/os.h"
#include "os/syscalls.h"

#define MAPS_MAX_BYTES (16u << 20)
#define MAPS_MAX_LINES 65536

/* "from-to perms offset major:minor inode   path" */
static bool parse_mapping(const char *line, struct ac_mapping *ret) {
    char perms[5] = "";
    int path_at = 0;
    struct ac_mapping mapping = {0};
    int got = sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &mapping.from,
                     &mapping.to, perms, &mapping.offset, &mapping.dev_major, &mapping.dev_minor,
                     &mapping.inode, &path_at);
    if (got < 7 || mapping.to <= mapping.from) {
        return false;
    }
    mapping.readable = perms[0] == 'r';
    mapping.writable = perms[1] == 'w';
    mapping.executable = perms[2] == 'x';
    ac_copy(mapping.path, sizeof(mapping.path), line + path_at);
    *ret = mapping;
    return true;
}

static int read_maps(pid_t pid, struct ac_buf *buf) {
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    int fd = ac_sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return errno == ENOENT ? -ESRCH : errno == EACCES ? -EPERM : -errno;
    }
    int err = ac__read_fd(fd, MAPS_MAX_BYTES, buf);
    ac_sys.close(fd);
    return err == -EFBIG ? 0 : err == -EACCES ? -EPERM : err;
}

int ac_process_maps(pid_t pid, int (*each)(const struct ac_mapping *, void *), void *arg) {
    struct ac_buf text = {0};
    int result = read_maps(pid, &text);
    char *line = text.data;
    for (int i = 0; result == 0 && line && *line && i < MAPS_MAX_LINES; i++) {
        char *end = strchr(line, '\n');
        if (end) {
            *end = '\0';
        }
        struct ac_mapping mapping;
        if (parse_mapping(line, &mapping)) {
            result = each(&mapping, arg);
        }
        line = end ? end + 1 : NULL;
    }
    ac_buf_free(&text);
    return result;
}

/* A regular file, and the one that the mapping means: another file may stand at its path by now. */
static int open_checked(const char *path, const struct ac_mapping *mapping, bool check) {
    int fd = ac_sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) {
        return -errno;
    }
    struct stat st;
    bool good = ac_sys.fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (!check || st.st_ino == mapping->inode);
    if (!good) {
        ac_sys.close(fd);
        return -EINVAL;
    }
    return fd;
}

int ac_process_open_mapping(pid_t pid, const struct ac_mapping *mapping, int *ret_fd) {
    char path[sizeof(mapping->path) + 64];
    snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, mapping->from,
             mapping->to);
    int fd =
        open_checked(path, mapping, false); /* needs CAP_CHECKPOINT_RESTORE; exact even for a deleted file */
    if (fd < 0) {
        snprintf(path, sizeof(path), "/proc/%d/root%s", (int)pid, mapping->path);
        fd = open_checked(path, mapping, true);
    }
    if (fd < 0) {
        snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
        fd = open_checked(path, mapping, true);
    }
    if (fd < 0) {
        return fd;
    }
    *ret_fd = fd;
    return 0;
}
