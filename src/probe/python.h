/* python.h - one CPython runtime inside another process (or our own), read through its memory.
 *
 * Contract between the reader (elf, layout, python, gil, threads, stack, code, lines: everything that knows
 * how CPython lays out its memory) and the sampler, which knows time, threads and the kernel, but no offset.
 *
 *   ac_py_open()          find _PyRuntime, tell the version, pick and check the layout
 *   ac_py_threads()       interpreters -> thread states, with the native thread id of each
 *   ac_py_gils()          one batched read: every interpreter's GIL
 *   ac_py_gil_waits()     does a futex address mean "asleep in take_gil"?
 *   ac_py_rlock()         the RLock that a thread waits for; ac_py_rlock_owner(): who has it
 *   ac_py_stacks()        batched, checked stacks of the thread states asked for, interned into the profile
 *
 * All memory of the target is untrusted input: offsets are validated once at open, every walk is capped, a
 * torn or impossible read costs a counted error, never a crash. The target is never stopped.
 */
#ifndef AC_PROBE_PYTHON_H
#define AC_PROBE_PYTHON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "allcores/profile.h"

struct ac_py;

struct ac_py_version {
    int major, minor, micro;
    bool free_threaded;
    bool supported; /* a layout is known for it */
    bool cuda; /* the process has CUDA's driver library mapped: what uses CUDA loads it at the first use */
};

/* Open the Python runtime of process `pid` (its executable and libraries are read through /proc/PID/root and
 * /proc/PID/map_files or exe, whatever its mount namespace).
 * 0; -ENOEXEC not a Python process (so far: a shim may still exec one, an interpreter may not have started);
 * -EAGAIN Python, but its runtime is not initialised yet: ask again; -EPERM no right to read its memory;
 * -ENOTSUP an interpreter with an unknown layout (ret_version says which); -ESRCH gone; -ENOMEM.
 * ret_version is set for 0, -EAGAIN and -ENOTSUP where it is known (else major is 0). */
int ac_py_open(pid_t pid, struct ac_py **ret_py, struct ac_py_version *ret_version);
void ac_py_close(struct ac_py *py);
void ac_py_version(const struct ac_py *py, struct ac_py_version *ret_version);

struct ac_py_thread {
    uint64_t tstate;      /* address, the key of ac_py_stacks() */
    uint32_t interpreter; /* 0 for the main one, in order of appearance */
    int32_t native_tid;   /* as the target's own PID namespace numbers it; 0 when the version does not say */
    uint64_t pthread_id;  /* thread_id: the pthread_t */
};
/* All thread states now. Fills up to `cap`, ret_count is how many there are (capped at 65536).
 * On <= 3.10 native_tid is found in the thread's struct pthread at an offset calibrated on the main thread.
 * 0, -EAGAIN (the list changed under us: ask at the next tick), -ESRCH, -EFAULT. */
int ac_py_threads(struct ac_py *py, struct ac_py_thread *threads, size_t cap, size_t *ret_count);

#define AC_PY_MAX_GILS 64
struct ac_py_gil {
    uint32_t interpreter;
    bool enabled;    /* false: a free-threaded build that runs without it */
    bool for_good;   /* enabled, and not just while an extension module is imported */
    bool held;       /* locked == 1 and the holder is known */
    uint64_t holder; /* tstate that holds it, 0 when not held */
    uint64_t switch_number;
    uint64_t address; /* interpreters that share one have the same */
};
/* Every distinct GIL, in one batched read. */
int ac_py_gils(struct ac_py *py, struct ac_py_gil *gils, size_t cap, size_t *ret_count);
/* Which extension module made a free-threaded build run with the GIL: the first one in sys.modules that does
 * not declare that it runs without it, and how many such there are. One look walks all modules: ask seldom.
 * 0; -ENOENT none (yet); -ENOTSUP a version that does not tell; or a read's error. */
int ac_py_gil_module(const struct ac_py *py, char *name, size_t size, unsigned *ret_count);
/* The GIL (index into the last ac_py_gils answer) whose condition variable or mutex `uaddr` is; -1 none.
 * Costs no system call on glibc; on musl it may read the condition's waiter list. */
int ac_py_gil_waits(struct ac_py *py, uint64_t uaddr);

struct ac_py_stack_request {
    uint64_t tstate;
    /* In/out: opaque fingerprint of the last stack read of this thread (0: none). When the stack is unchanged
     * the answer says so without walking it. */
    uint64_t fingerprint;
    /* out */
    int result;          /* 0; 1 unchanged since `fingerprint` (node, func and kind are not set);
                          * -EAGAIN torn; -EFAULT/-ESRCH failed; -ENODATA no Python frame */
    uint32_t node;       /* in the profile's trie */
    uint32_t leaf_func;  /* function of the leaf frame */
    uint64_t leaf_frame; /* address; set where result is 0 or 1 */
    uint8_t kind;        /* enum ac_kind at the leaf instruction */
    bool attached;       /* 3.13+: tstate->state is attached; else false */
};
/* Read the stacks of `count` thread states; few process_vm_readv calls for all of them. Symbols go to
 * `profile`. A call's own answer is 0, -ESRCH or -ENOMEM; each request has its own result. */
int ac_py_stacks(struct ac_py *py, struct ac_profile *profile, struct ac_py_stack_request *requests,
                 size_t count);

/* The RLock that a thread waits for, which sleeps in the futex `uaddr`, called from its leaf frame `frame`;
 * `self` is its pthread_id. 0; -ENOENT: it waits for none that the frame has at hand; or a read's error. */
int ac_py_rlock(struct ac_py *py, uint64_t frame, uint64_t uaddr, uint64_t self, uint64_t *ret_lock);
/* The pthread_id of the thread that has such a lock now. -ENOENT: none has, or it is no RLock any more. */
int ac_py_rlock_owner(struct ac_py *py, uint64_t lock, uint64_t *ret_pthread_id);

/* Torn and failed reads since open. */
void ac_py_errors(const struct ac_py *py, uint64_t *ret_torn, uint64_t *ret_failed);

#endif
