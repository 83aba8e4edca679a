/* faults.c - the table of system calls with a fault in it. close() is counted too but always closes: Linux
 * does so even when it answers with an error. fork() in the child goes on with the real table. */
#include "faults.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "os/syscalls.h"

static struct ac_sys real;
static bool installed;
static unsigned long calls;
static unsigned long fail_at;
static int fail_with;

static bool fails(void) {
    if (++calls != fail_at) {
        return false;
    }
    errno = fail_with;
    return true;
}

#define FAULTY(type, name, params, args, failure)                                                            \
    static type faulty_##name params {                                                                       \
        return fails() ? failure : real.name args;                                                           \
    }

FAULTY(int, openat, (int dir, const char *path, int flags, mode_t mode), (dir, path, flags, mode), -1)
FAULTY(DIR *, opendir, (const char *path), (path), NULL)
FAULTY(ssize_t, read, (int fd, void *buffer, size_t size), (fd, buffer, size), -1)
FAULTY(ssize_t, pread, (int fd, void *buffer, size_t size, off_t offset), (fd, buffer, size, offset), -1)
FAULTY(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), -1)
FAULTY(int, fstat, (int fd, struct stat *ret), (fd, ret), -1)
FAULTY(int, stat, (const char *path, struct stat *ret), (path, ret), -1)
FAULTY(ssize_t, readlink, (const char *path, char *buffer, size_t size), (path, buffer, size), -1)
FAULTY(int, rename, (const char *from, const char *to), (from, to), -1)
FAULTY(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
FAULTY(int, fsync, (int fd), (fd), -1)
FAULTY(int, pipe2, (int fds[2], int flags), (fds, flags), -1)
FAULTY(ssize_t, process_vm_readv,
       (pid_t pid, const struct iovec *local, unsigned long n_local, const struct iovec *remote,
        unsigned long n_remote, unsigned long flags),
       (pid, local, n_local, remote, n_remote, flags), -1)
FAULTY(int, perf_event_open,
       (struct perf_event_attr * attr, pid_t pid, int cpu, int group, unsigned long flags),
       (attr, pid, cpu, group, flags), -1)
FAULTY(int, ioctl, (int fd, unsigned long request, unsigned long arg), (fd, request, arg), -1)
FAULTY(void *, mmap, (void *address, size_t size, int prot, int flags, int fd, off_t offset),
       (address, size, prot, flags, fd, offset), MAP_FAILED)
FAULTY(int, clock_gettime, (clockid_t clock, struct timespec *ret), (clock, ret), -1)
FAULTY(int, sched_getaffinity, (pid_t pid, size_t size, cpu_set_t *ret), (pid, size, ret), -1)
FAULTY(int, sched_setscheduler, (pid_t pid, int policy, const struct sched_param *param),
       (pid, policy, param), -1)
FAULTY(int, setpriority, (int which, id_t who, int value), (which, who, value), -1)
FAULTY(int, prlimit, (int resource, const struct rlimit *set, struct rlimit *ret), (resource, set, ret), -1)
FAULTY(int, uname, (struct utsname * ret), (ret), -1)

static int faulty_clock_nanosleep(clockid_t clock, int flags, const struct timespec *until,
                                  struct timespec *rest) {
    return fails() ? fail_with : real.clock_nanosleep(clock, flags, until, rest);
}

static int faulty_close(int fd) {
    bool failing = fails();
    int result = real.close(fd);
    if (failing) {
        errno = fail_with;
    }
    return failing ? -1 : result;
}

static pid_t faulty_fork(void) {
    if (fails()) {
        return -1;
    }
    pid_t pid = real.fork();
    if (pid == 0) {
        ac_sys = real;
    }
    return pid;
}

/* unlink, kill and wait4 are clean-up: failing them would only prove that what cannot be removed stays. */
void ac_sys_fail_at(unsigned long n, int error) {
    if (!installed) {
        real = ac_sys;
        installed = true;
    }
    calls = 0;
    fail_at = n;
    fail_with = error;
    ac_sys = real;
    ac_sys.openat = faulty_openat;
    ac_sys.opendir = faulty_opendir;
    ac_sys.close = faulty_close;
    ac_sys.read = faulty_read;
    ac_sys.pread = faulty_pread;
    ac_sys.write = faulty_write;
    ac_sys.fstat = faulty_fstat;
    ac_sys.stat = faulty_stat;
    ac_sys.readlink = faulty_readlink;
    ac_sys.rename = faulty_rename;
    ac_sys.fchmod = faulty_fchmod;
    ac_sys.fsync = faulty_fsync;
    ac_sys.pipe2 = faulty_pipe2;
    ac_sys.fork = faulty_fork;
    ac_sys.process_vm_readv = faulty_process_vm_readv;
    ac_sys.perf_event_open = faulty_perf_event_open;
    ac_sys.ioctl = faulty_ioctl;
    ac_sys.mmap = faulty_mmap;
    ac_sys.clock_gettime = faulty_clock_gettime;
    ac_sys.clock_nanosleep = faulty_clock_nanosleep;
    ac_sys.sched_getaffinity = faulty_sched_getaffinity;
    ac_sys.sched_setscheduler = faulty_sched_setscheduler;
    ac_sys.setpriority = faulty_setpriority;
    ac_sys.prlimit = faulty_prlimit;
    ac_sys.uname = faulty_uname;
}

unsigned long ac_sys_calls(void) {
    if (installed) {
        ac_sys = real;
    }
    fail_at = 0;
    return calls;
}
