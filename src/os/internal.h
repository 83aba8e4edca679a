/* internal.h - what the files of src/os share among themselves. */
#ifndef AC_OS_INTERNAL_H
#define AC_OS_INTERNAL_H

#include <sched.h>
#include <sys/types.h>

#include "base/base.h"

/* file.c: read an open descriptor to its end; -EFBIG when there is more than max. */
int ac__read_fd(int fd, size_t max, struct ac_buf *buf);

/* file.c: open and read any file (those of /proc have no size) of at most max bytes. */
int ac__read_whole(const char *path, size_t max, struct ac_buf *buf);

/* procfs.c: read a small /proc file whole into a buffer, NUL-terminated and cut at size - 1. Bytes read, or a
 * negative errno; a task that is gone is -ESRCH. */
int ac__read_small(const char *path, char *buffer, size_t size);

/* cgroup.c: the tightest quota of pid in CPUs, 0 none; ret_path is the cgroup that sets it, "" for none. What
 * cannot be read is no quota; only -ENOMEM is an error. */
int ac__cgroup_quota(pid_t pid, const char *root, double *ret_quota, char *ret_path, size_t size);

/* spawn.c: in a child, the mask and dispositions that the command was started with. */
void ac__child_restore_signals(void);

/* procfs.c: "0-3,8" as the kernel prints sets of CPUs. */
void ac__parse_cpu_list(const char *text, cpu_set_t *ret);

#endif
