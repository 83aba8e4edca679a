/* syscalls.c - the production table: libc, or the bare system call where libc has no wrapper. */
#include "os/syscalls.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
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
    .fork = fork,
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
};
