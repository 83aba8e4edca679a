/* classify.h - what a blocked system call means: number and arguments to a state. Pure, no process is read.
 */
#ifndef AC_PROBE_CLASSIFY_H
#define AC_PROBE_CLASSIFY_H

#include "allcores/profile.h"
#include "os/os.h"

enum ac_arch { AC_ARCH_X86_64, AC_ARCH_AARCH64 };
#if defined(__aarch64__)
#define AC_ARCH_OWN AC_ARCH_AARCH64
#else
#define AC_ARCH_OWN AC_ARCH_X86_64
#endif

/* Does the thread sleep in a futex? ret_address is what it waits on. A stop and continue in between shows
 * restart_syscall with the old arguments: seen through. */
bool ac_classify_futex(enum ac_arch arch, const struct ac_syscall_state *call, uint64_t *ret_address);
/* May the thread's stat letter change the answer? Reading it costs as much as three other reads. */
bool ac_classify_wants_stat(enum ac_arch arch, const struct ac_syscall_state *call);
/* The state of a thread that sleeps in `call`. `letter`: its state in stat, 0 when not read. A futex comes
 * out as AC_LOCK: whether it is a GIL's only the reader of Python can say. */
enum ac_state ac_classify(enum ac_arch arch, const struct ac_syscall_state *call, char letter);
/* Does it sleep in an epoll? ret_fd is which. */
bool ac_classify_epoll(enum ac_arch arch, const struct ac_syscall_state *call, int *ret_fd);
/* How long it waits at most; false where it waits for ever, too. */
bool ac_classify_epoll_timeout(enum ac_arch arch, const struct ac_syscall_state *call, int64_t *ret_ns);
/* Does it sleep in a read or write of a descriptor, whatever that is? ret_fd is which. */
bool ac_classify_file(enum ac_arch arch, const struct ac_syscall_state *call, int *ret_fd);
/* Does it wait for the other end of one connection: recv, send, connect, or a poll of one descriptor (what a
 * timeout makes of them)? */
bool ac_classify_peer(enum ac_arch arch, const struct ac_syscall_state *call);

#endif
