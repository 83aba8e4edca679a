/* faults.c - the table of system calls with a fault in it. close() is counted too but always closes: Linux
 * does so even when it answers with an error. The count lies in memory that forked children share; whether a
 * process is one of those that count is asked by its pid, since a child may be made behind the table's back.
 */
#include "faults.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/syscalls.h"

static struct ac_sys real;
static struct faults {
    atomic_ulong calls;
    unsigned long fail_at;
    int fail_with;
    pid_t owner;
    bool children; /* they count, not the owner */
} * faults;

static bool fails(void) {
    if ((getpid() != faults->owner) != faults->children) {
        return false;
    }
    if (atomic_fetch_add(&faults->calls, 1) + 1 != faults->fail_at) {
        return false;
    }
    errno = faults->fail_with;
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

FAULTY(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1)
FAULTY(int, ftruncate, (int fd, off_t size), (fd, size), -1)
FAULTY(int, fcntl, (int fd, int command, int arg), (fd, command, arg), -1)
FAULTY(int, fallocate, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size), -1)
FAULTY(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t offset), (fd, data, size, offset), -1)
FAULTY(int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags), -1)
FAULTY(int, pidfd_send_signal, (int pidfd, int signal), (pidfd, signal), -1)
FAULTY(int, poll, (struct pollfd * fds, nfds_t count, int timeout_ms), (fds, count, timeout_ms), -1)
FAULTY(int, socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds), -1)
FAULTY(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1)
FAULTY(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1)
FAULTY(int, prctl, (int option, unsigned long arg), (option, arg), -1)
FAULTY(int, sched_setaffinity, (pid_t pid, size_t size, const cpu_set_t *set), (pid, size, set), -1)
FAULTY(int, dup2, (int from, int to), (from, to), -1)
FAULTY(pid_t, fork, (void), (), -1)
FAULTY(int, setpgid, (pid_t pid, pid_t group), (pid, group), -1)
FAULTY(long, futex_waitv, (void *waits, unsigned count, const struct timespec *until), (waits, count, until),
       -1)

/* A wake-up of a word that is mapped does not fail. */
static long faulty_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout) {
    return operation != FUTEX_WAKE && fails() ? -1 : real.futex(word, operation, value, timeout);
}

static int faulty_clock_nanosleep(clockid_t clock, int flags, const struct timespec *until,
                                  struct timespec *rest) {
    return fails() ? faults->fail_with : real.clock_nanosleep(clock, flags, until, rest);
}

static int faulty_close(int fd) {
    bool failing = fails();
    int result = real.close(fd);
    if (failing) {
        errno = faults->fail_with;
    }
    return failing ? -1 : result;
}

/* unlink, munmap, kill and wait4 are clean-up: failing them would only prove that what cannot be removed
 * stays. */
static void install(void) {
    ac_sys.openat = faulty_openat;
    ac_sys.dup2 = faulty_dup2;
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
    ac_sys.setpgid = faulty_setpgid;
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
    ac_sys.futex = faulty_futex;
    ac_sys.futex_waitv = faulty_futex_waitv;
    ac_sys.memfd_create = faulty_memfd_create;
    ac_sys.ftruncate = faulty_ftruncate;
    ac_sys.fcntl = faulty_fcntl;
    ac_sys.fallocate = faulty_fallocate;
    ac_sys.pwrite = faulty_pwrite;
    ac_sys.pidfd_open = faulty_pidfd_open;
    ac_sys.pidfd_send_signal = faulty_pidfd_send_signal;
    ac_sys.poll = faulty_poll;
    ac_sys.socketpair = faulty_socketpair;
    ac_sys.sendmsg = faulty_sendmsg;
    ac_sys.recvmsg = faulty_recvmsg;
    ac_sys.prctl = faulty_prctl;
    ac_sys.sched_setaffinity = faulty_sched_setaffinity;
}

static void arm(unsigned long n, int error, bool children) {
    if (faults == NULL) {
        faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (faults == MAP_FAILED) {
            abort();
        }
        real = ac_sys;
    }
    ac_sys = real;
    atomic_store(&faults->calls, 0);
    faults->fail_at = n;
    faults->fail_with = error;
    faults->owner = getpid();
    faults->children = children;
    install();
}

void ac_sys_fail_at(unsigned long n, int error) {
    arm(n, error, false);
}

void ac_sys_fail_children_at(unsigned long n, int error) {
    arm(n, error, true);
}

unsigned long ac_sys_calls(void) {
    if (faults == NULL) {
        return 0;
    }
    ac_sys = real;
    faults->fail_at = 0;
    return atomic_load(&faults->calls);
}
