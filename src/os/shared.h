/* shared.h - what processes that share memory ask of the kernel: futexes, memfds, pidfds, passed descriptors.
 * The same rules as os.h: mechanism only, negative errno, every call through the table in syscalls.h. */
#ifndef AC_OS_SHARED_H
#define AC_OS_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef _Atomic uint32_t ac_futex;

/* --- futex.c; words may lie in memory shared between processes. timeout_ns: -1 for ever, else from now. */
/* Sleep while *word == expected. 0 woken (or spuriously), -EAGAIN it was different, -ETIMEDOUT, -EINTR. */
int ac_futex_wait(ac_futex *word, uint32_t expected, int64_t timeout_ns);
int ac_futex_wake(ac_futex *word, int count); /* how many were woken */
enum { AC_FUTEX_MANY = 128 };
struct ac_futex_wait_entry {
    ac_futex *word;
    uint32_t expected;
};
/* Sleep while all of up to AC_FUTEX_MANY are as expected. Same answers, and -ENOSYS before Linux 5.16. */
int ac_futex_wait_many(const struct ac_futex_wait_entry *entries, size_t count, int64_t timeout_ns);

/* --- memfd.c */
/* A sparse memfd of exactly `size` bytes, close-on-exec, sealed against shrinking, growing and more seals. */
int ac_memfd_create(const char *name, uint64_t size, int *ret_fd);
int ac_memfd_check(int fd, uint64_t *ret_size); /* -EINVAL: not one of those */
int ac_memfd_map(int fd, uint64_t size, void **ret_base);
void ac_memfd_unmap(void *base, uint64_t size);
int ac_memfd_punch(int fd, uint64_t offset, uint64_t size); /* give the pages back; they read as zeros */
/* Like memcpy into the mapping, but twice as fast where the pages are not there yet. */
int ac_memfd_write(int fd, uint64_t offset, const void *data, size_t size);
uint64_t ac_memory_total(void); /* bytes of memory and swap that the machine has; UINT64_MAX unknown */
int64_t ac_memfd_used(int fd);  /* bytes of pages it has */

/* --- pidfd.c */
int ac_pidfd_open(pid_t pid, int *ret_fd);
int ac_pidfd_kill(int pidfd, int signal);
bool ac_pidfd_ended(int pidfd); /* the process is a zombie or gone */
/* Wait status of a process that is dying or a zombie, as the kernel has noted it already: long before waitpid
 * can tell, when much memory is being torn down. -EAGAIN: it is not dying; -ESRCH: it is gone. */
int ac_process_exit_status(pid_t pid, int *ret_status);
int64_t ac_process_rss(pid_t pid); /* bytes; -1 unknown */
int64_t ac_process_pss(pid_t pid); /* the same, each shared page divided by who shares it; costs more */
/* How many processes the kernel has killed since boot because memory ran out, the machine's or a control
 * group's; it counts before it kills. -1 unknown. */
int64_t ac_oom_kills(void);
/* Have the calling process killed when its parent's forking thread ends. -ESRCH: the parent is not `parent`.
 */
int ac_die_with_parent(pid_t parent);

/* --- place.c */
int ac_cpu_now(void); /* the CPU that we are on; a hint */
/* Move the calling thread to any other CPU that it may use; what it may use is left as it is. -ESRCH: there
 * is none. */
int ac_cpu_leave(int cpu);

/* --- socket.c */
enum { AC_SOCKET_FDS = 16 };
int ac_socket_pair(int ret_fds[2]); /* SOCK_SEQPACKET, close-on-exec */
/* One packet with descriptors. Never raises SIGPIPE. 0 or negative. */
int ac_socket_send(int fd, const void *data, size_t size, const int *fds, size_t n_fds);
/* Bytes received; 0 at the end. Descriptors are close-on-exec; *n_fds: in: room, out: how many came (more
 * than there is room for are closed). timeout_ns as for poll: -1 for ever; -ETIMEDOUT. */
ssize_t ac_socket_receive(int fd, void *buffer, size_t size, int *fds, size_t *n_fds, int64_t timeout_ns);

#endif
