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
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
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
    int (*dup2)(int from, int to);
    pid_t (*fork)(void);
    int (*setpgid)(pid_t pid, pid_t group);
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
    /* those of shared.h */
    long (*futex)(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout);
    long (*futex_waitv)(void *waits, unsigned count, const struct timespec *until);
    int (*memfd_create)(const char *name, unsigned flags);
    int (*ftruncate)(int fd, off_t size);
    int (*fcntl)(int fd, int command, int arg);
    int (*fallocate)(int fd, int mode, off_t offset, off_t size);
    ssize_t (*pwrite)(int fd, const void *data, size_t size, off_t offset);
    int (*pidfd_open)(pid_t pid, unsigned flags);
    int (*pidfd_send_signal)(int pidfd, int signal);
    int (*poll)(struct pollfd *fds, nfds_t count, int timeout_ms);
    int (*socketpair)(int domain, int type, int protocol, int fds[2]);
    ssize_t (*sendmsg)(int fd, const struct msghdr *message, int flags);
    ssize_t (*recvmsg)(int fd, struct msghdr *message, int flags);
    int (*prctl)(int option, unsigned long arg);
    int (*sched_setaffinity)(pid_t pid, size_t size, const cpu_set_t *set);
};
extern struct ac_sys ac_sys;

#endif
