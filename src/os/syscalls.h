/* syscalls.h - the table of system calls that src/os goes through; production fills it with libc's, a test
 * installs its own entries to fail each call in turn or to serve a fake world. Internal to src/os and the
 * tests.
 */
#ifndef AC_OS_SYSCALLS_H
#define AC_OS_SYSCALLS_H

#include <dirent.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>

struct ac_sys {
    int (*openat)(int dir, const char *path, int flags, mode_t mode);
    DIR *(*opendir)(const char *path);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *buffer, size_t size);
    ssize_t (*pread)(int fd, void *buffer, size_t size, off_t offset);
    ssize_t (*write)(int fd, const void *data, size_t size);
    int (*fstat)(int fd, struct stat *ret);
    int (*stat)(const char *path, struct stat *ret);
    ssize_t (*readlink)(const char *path, char *buffer, size_t size);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*fchmod)(int fd, mode_t mode);
    int (*fsync)(int fd);
    int (*pipe2)(int fds[2], int flags);
    pid_t (*fork)(void);
    int (*execvp)(const char *file, char *const argv[]);
    pid_t (*wait4)(pid_t pid, int *status, int options, struct rusage *ret);
    int (*kill)(pid_t pid, int signal);
    ssize_t (*process_vm_readv)(pid_t pid, const struct iovec *local, unsigned long n_local,
                                const struct iovec *remote, unsigned long n_remote, unsigned long flags);
    int (*perf_event_open)(struct perf_event_attr *attr, pid_t pid, int cpu, int group, unsigned long flags);
    int (*ioctl)(int fd, unsigned long request, unsigned long arg);
    void *(*mmap)(void *address, size_t size, int prot, int flags, int fd, off_t offset);
    int (*munmap)(void *address, size_t size);
    int (*clock_gettime)(clockid_t clock, struct timespec *ret);
    int (*clock_nanosleep)(clockid_t clock, int flags, const struct timespec *until, struct timespec *rest);
    int (*sched_getaffinity)(pid_t pid, size_t size, cpu_set_t *ret);
    int (*sched_setscheduler)(pid_t pid, int policy, const struct sched_param *param);
    int (*setpriority)(int which, id_t who, int value);
    int (*prlimit)(int resource, const struct rlimit *set, struct rlimit *ret);
    int (*uname)(struct utsname *ret);
};
extern struct ac_sys ac_sys;

#endif
