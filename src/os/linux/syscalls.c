/* syscalls.c - the production table: libc, or the bare system call where libc has no wrapper. */
#include "os/syscalls.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int sys_openat(int dir, const char *path, int flags, mode_t mode) {
    return openat(dir, path, flags, mode);
}

static int sys_perf_event_open(struct perf_event_attr *attr, pid_t pid, int cpu, int group,
                               unsigned long flags) {
    return (int)syscall(SYS_perf_event_open, attr, pid, cpu, group, flags);
}

static int sys_ioctl(int fd, unsigned long request, unsigned long arg) {
    return ioctl(fd, request, arg);
}

static int sys_setpriority(int which, id_t who, int value) {
    return (int)syscall(SYS_setpriority, which, who, value);
}

static int sys_prlimit(int resource, const struct rlimit *set, struct rlimit *ret) {
    return (int)syscall(SYS_prlimit64, 0, resource, set, ret);
}

static long sys_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout) {
    return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
static long sys_futex_waitv(void *waits, unsigned count, const struct timespec *until) {
    return syscall(SYS_futex_waitv, waits, count, 0, until, CLOCK_MONOTONIC);
}

static int sys_fcntl(int fd, int command, int arg) {
    return fcntl(fd, command, arg);
}

static int sys_pidfd_open(pid_t pid, unsigned flags) {
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

static int sys_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

static int sys_prctl(int option, unsigned long arg) {
    return prctl(option, arg, 0, 0, 0);
}

struct ac_sys ac_sys = {
    .openat = sys_openat,
    .opendir = opendir,
    .close = close,
    .read = read,
    .pread = pread,
    .write = write,
    .fstat = fstat,
    .stat = stat,
    .readlink = readlink,
    .rename = rename,
    .unlink = unlink,
    .fchmod = fchmod,
    .fsync = fsync,
    .pipe2 = pipe2,
    .dup2 = dup2,
    .fork = fork,
    .setpgid = setpgid,
    .execvp = execvp,
    .wait4 = wait4,
    .kill = kill,
    .process_vm_readv = process_vm_readv,
    .perf_event_open = sys_perf_event_open,
    .ioctl = sys_ioctl,
    .mmap = mmap,
    .munmap = munmap,
    .clock_gettime = clock_gettime,
    .clock_nanosleep = clock_nanosleep,
    .sched_getaffinity = sched_getaffinity,
    .sched_setscheduler = sched_setscheduler,
    .setpriority = sys_setpriority,
    .prlimit = sys_prlimit,
    .uname = uname,
    .futex = sys_futex,
    .futex_waitv = sys_futex_waitv,
    .memfd_create = memfd_create,
    .ftruncate = ftruncate,
    .fcntl = sys_fcntl,
    .fallocate = fallocate,
    .pwrite = pwrite,
    .pidfd_open = sys_pidfd_open,
    .pidfd_send_signal = sys_pidfd_send_signal,
    .poll = poll,
    .socketpair = socketpair,
    .sendmsg = sendmsg,
    .recvmsg = recvmsg,
    .prctl = sys_prctl,
    .sched_setaffinity = sched_setaffinity,
};
