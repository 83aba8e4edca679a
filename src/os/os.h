/* os.h - everything that allcores asks of the kernel; the whole contract of src/os.
 *
 * One file a topic under linux/. Mechanism only, no policy: nothing here decides what a fact means.
 * Every system call goes through the table in os/syscalls.h, so that a test can fail each in turn.
 * Errors are negative errno values; a process or thread that is gone is -ESRCH whatever the kernel called it.
 */
#ifndef AC_OS_H
#define AC_OS_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/base.h"

/* --- clock.c */
int64_t ac_now_ns(void);        /* CLOCK_MONOTONIC: the clock of the ring's records too */
int64_t ac_unix_ns(void);       /* CLOCK_REALTIME */
int64_t ac_thread_cpu_ns(void); /* CPU time of the calling thread */
int ac_sleep_until(int64_t ns); /* absolute, CLOCK_MONOTONIC; 0 or -EINTR */

/* --- vmread.c: memory of another process, never stopping it */
/* Reads up to n ranges; all of one range or none of it counts. Returns the number of ranges that were read
 * whole from the start of the list (the first that failed stops it), or -EPERM, -ESRCH, -EFAULT (the first
 * failed). */
int ac_vm_read_many(pid_t pid, const struct iovec *local, const struct iovec *remote, size_t n);
int ac_vm_read(pid_t pid, uint64_t address, void *buffer,
               size_t size); /* 0 or negative errno, all or nothing */

/* --- procfs.c: /proc/PID and /proc/PID/task/TID. Functions with a kept fd take it from ac_task_open. */
struct ac_task { /* one thread's kept descriptors; fds are -1 when not open */
    pid_t pid, tid;
    int schedstat_fd, syscall_fd, stat_fd;
};
int ac_task_open(pid_t pid, pid_t tid, struct ac_task *ret_task);
void ac_task_close(struct ac_task *task);

struct ac_schedstat {
    int64_t run_ns, delay_ns; /* on a CPU; runnable but waiting for one */
    int64_t slices;
};
int ac_task_schedstat(struct ac_task *task, struct ac_schedstat *ret); /* -ENOTSUP: kernel without it */

struct ac_syscall_state {
    bool running; /* on a CPU or runnable: the file says "running" */
    int64_t nr;   /* system call it is blocked in; -1: blocked outside one (page fault) */
    uint64_t args[6];
    uint64_t sp, pc;
};
/* How many descriptors an epoll descriptor of the process watches, at most about 60; or negative. The inodes
 * of the first `cap`, 0 for one that cannot be told. */
int ac_epoll_watched(pid_t pid, int fd, uint64_t *ret_inodes, size_t cap);
/* Does one of these sockets of the process listen for connections (TCP)? */
bool ac_process_listens(pid_t pid, const uint64_t *inodes, size_t count);
bool ac_is_regular_file(pid_t pid, int fd); /* the process's descriptor; false where it cannot be told */
int ac_task_syscall(struct ac_task *task, struct ac_syscall_state *ret); /* -EPERM without ptrace rights */

struct ac_stat {
    char comm[64]; /* raw bytes of the thread's name */
    char state;    /* R S D Z T t X I */
    pid_t ppid;
    uint64_t utime_ticks, stime_ticks, cutime_ticks,
        cstime_ticks; /* of the thread, or process for ac_process_stat */
    int64_t threads;
    uint64_t start_ticks; /* since boot: tells a reused pid apart */
    int cpu;              /* last CPU */
};
int ac_task_stat(struct ac_task *task, struct ac_stat *ret);
int ac_process_stat(pid_t pid, struct ac_stat *ret);
int64_t ac_ticks_to_ns(uint64_t ticks);

struct ac_status {
    uid_t euid;
    pid_t ppid;
    pid_t ns_pid[8]; /* NSpid, outermost (ours) first; works for a tid too */
    int ns_depth;
    int64_t vm_rss_bytes, switches_voluntary, switches_forced; /* -1 unknown */
    cpu_set_t affinity;
};
int ac_task_status(pid_t pid, pid_t tid, struct ac_status *ret);
int ac_task_comm(pid_t pid, pid_t tid, char *buffer, size_t size); /* raw bytes, NUL-terminated */
/* Thread ids of a process, or its children's pids. *ret_count may exceed cap: ask again with more. */
int ac_process_tasks(pid_t pid, pid_t *tids, size_t cap, size_t *ret_count);
int ac_process_children(pid_t pid, pid_t *pids, size_t cap, size_t *ret_count);
int ac_process_task_links(pid_t pid,
                          int64_t *ret_links); /* nlink of task/: changes when threads come or go */
int ac_process_argv(pid_t pid, struct ac_buf *buf, size_t *ret_argc); /* NUL-separated, capped at 64 KiB */
int ac_process_environ(pid_t pid, struct ac_buf *buf);    /* the same of what it was started with */
int ac_process_exe(pid_t pid, char *buffer, size_t size); /* readlink of exe */
int ac_process_cpu_ns(pid_t pid, int64_t *ret_ns); /* CPU clock of a process: ended threads included; any of
                                                    * ours or another's process; not its children */
bool ac_process_same_pid_namespace(pid_t pid);

struct ac_mapping {
    uint64_t from, to, offset;
    uint64_t inode;
    uint32_t dev_major, dev_minor;
    bool readable, writable, executable;
    char path[512]; /* "" for anonymous; as the target sees it */
};
/* Calls `each` for every mapping in order; stops when it returns non-zero and returns that. Capped at 65536.
 */
int ac_process_maps(pid_t pid, int (*each)(const struct ac_mapping *, void *), void *arg);
/* Open for reading the file behind a mapping as the target sees it: map_files, then /proc/PID/root/path with
 * the inode checked, then exe. Regular files only, O_NONBLOCK | O_NOFOLLOW where it can be; -EINVAL for
 * others. */
int ac_process_open_mapping(pid_t pid, const struct ac_mapping *mapping, int *ret_fd);

/* --- file.c */
/* Read a regular file of at most `max` bytes whole. -EINVAL not a regular file, -EFBIG too long. */
int ac_file_read(const char *path, size_t max, struct ac_buf *buf);
/* Write `size` bytes to path by way of a temporary file beside it and rename, so that a full disk leaves the
 * old file as it was. Writes through to devices and pipes as they are (/dev/stdout, /dev/null). */
int ac_file_write(const char *path, const void *data, size_t size);

/* --- ring.c: exact context switches by perf_event_open */
struct ac_ring;
enum ac_ring_kind {
    AC_RING_SWITCH_IN,
    AC_RING_SWITCH_OUT,
    AC_RING_FORK,
    AC_RING_EXIT,
    AC_RING_EXEC,
    AC_RING_COMM,
    AC_RING_LOST
};
struct ac_ring_event {
    enum ac_ring_kind kind;
    int64_t time_ns; /* CLOCK_MONOTONIC */
    pid_t pid, tid;  /* the task the record is about; 0 in SWITCH of an exited task */
    pid_t ppid;      /* FORK: parent's pid (pid == ppid: a new thread) */
    int cpu;
    bool preempted; /* SWITCH_OUT: still runnable */
    uint64_t lost;  /* LOST: records */
    char comm[16];  /* COMM, EXEC */
};
/* Switches, forks, exits and execs of process `pid` (every thread it has now) and of all its descendants from
 * now on. -EPERM, -ENOSYS, -EMFILE, -ENOTSUP: this kernel or sandbox does not allow it. */
int ac_ring_open(pid_t pid, struct ac_ring **ret_ring);
int ac_ring_add(struct ac_ring *ring,
                pid_t pid); /* one more process that was there before (its threads too) */
/* Hands over all records so far (returns how many), in time order across CPUs, up to `until_ns`. */
int ac_ring_drain(struct ac_ring *ring, int64_t until_ns, void (*each)(const struct ac_ring_event *, void *),
                  void *arg);
void ac_ring_close(struct ac_ring *ring);

/* --- cpus.c: topology, affinity, cgroup quota */
struct ac_cpu_limits {
    int online;    /* CPUs of the machine that are online */
    int affinity;  /* CPUs that `pid` may run on */
    cpu_set_t set; /* those */
    double quota;  /* tightest cpu.max (v2) or cfs_quota/period (v1) up its hierarchy, in CPUs; 0: none */
    char quota_path[512]; /* the cgroup that sets it */
    double usable;        /* min(online, affinity, quota) */
};
/* pid 0 is the caller. root is "" in production; tests point it at a fixture tree that holds proc/ and sys/.
 */
int ac_cpus_of(pid_t pid, const char *root, struct ac_cpu_limits *ret);
/* cpu.stat of the cgroup that limits pid (of its own when none does): throttled so far; -ENOENT: no cpu
 * controller. */
int ac_cgroup_throttled(pid_t pid, const char *root, int64_t *ret_count, int64_t *ret_ns);
/* Bytes that pid could still get: the machine's available memory, or less where a cgroup allows less; -1 not
 * known. */
int64_t ac_memory_free(pid_t pid, const char *root);
/* Busy time (all but idle and iowait) of each CPU since boot, from /proc/stat. */
int ac_cpus_busy(const char *root, int64_t ret_ns[CPU_SETSIZE]);
int ac_task_affinity(pid_t tid, cpu_set_t *ret); /* the CPUs that one thread may run on */
int ac_uname(char *kernel, size_t kernel_size, char *machine, size_t machine_size);

/* --- sched.c */
int ac_sched_fifo(void);      /* SCHED_FIFO priority 1 with RESET_ON_FORK for the calling thread */
int ac_sched_normal(void);    /* and back */
int64_t ac_files_limit(void); /* how many descriptors this process may have open, or -errno */
int ac_files_raise(void);     /* as many as its hard limit allows */
int ac_sched_nice(int value); /* of the calling thread */
int64_t ac_own_cpu_ns(void);  /* CPU time of this whole process */

/* --- syscalls.h has the table; spawn.c below is the launcher's half */
/* Remember today's signal mask and dispositions: every child gets these. Call before changing any. */
void ac_child_save_signals(void);
struct ac_child {
    pid_t pid;
    int go_fd;   /* the child waits until it is released */
    int hold_fd; /* the pipe's other end: held so that a child killed meanwhile is no SIGPIPE for us */
    int err_fd;  /* close-on-exec pipe: an errno when exec failed, EOF when it worked */
};
/* Fork a child that waits, then execs argv[0] (a path, or looked up in PATH) with the signal mask and
 * dispositions given, everything else inherited. env untouched. */
int ac_child_start(char *const argv[], struct ac_child *ret_child);
/* The same with stdin and both outputs elsewhere, in a process group of its own (the terminal's signals are
 * ours alone), killed when we die. */
struct ac_child_place {
    int in_fd, out_fd;
};
int ac_child_start_at(char *const argv[], const struct ac_child_place *place, struct ac_child *ret_child);
/* Let it go. 0 once exec has worked; -ENOENT, -EACCES, ... when it did not (the child is reaped then). */
int ac_child_release(struct ac_child *child);
void ac_child_abandon(struct ac_child *child); /* close the pipes, kill a child that was never released */

int64_t ac_children_peak_rss(void); /* bytes that the largest child which has ended held at most */

/* --- watched.c: a run that is read while it goes on, and of which nothing stays behind */
/* Whoever writes waits while it is full, the reader never does; both ends are close-on-exec. */
int ac_output_pipe(int *ret_read_fd, int *ret_write_fd);
ssize_t ac_fd_read(int fd, void *buffer, size_t size); /* bytes; 0: the end; -EAGAIN: none yet */
/* A file without a name that a child inherits; what is written is appended. */
int ac_scratch_create(const char *name, int *ret_fd);
int ac_scratch_clear(int fd);
int ac_scratch_read(int fd, struct ac_buf *buf); /* all of it is added */
int ac_orphans_adopt(void); /* from now on what our descendants leave behind is our child */
/* pid -1: any. 1: it has ended; 0: not yet; -ECHILD: there is none. */
int ac_child_reap(pid_t pid, int *ret_status);
/* All below us, waited for. -ETIMEDOUT: some may live; else 0, or the first error on the way, which was tried
 * again. */
int ac_descendants_kill(int64_t until_ns);

/* --- ask.c */
/* Run argv[0] with `request` as its stdin until it has ended; what it printed, at most `max` bytes, is added
 * to the buffer. -ETIMEDOUT, -EFBIG: killed; -ECHILD: it failed. */
int ac_ask(char *const argv[], const char *request, size_t len, size_t max, int64_t until_ns,
           struct ac_buf *answer);

#endif
