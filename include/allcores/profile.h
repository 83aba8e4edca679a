/* profile.h - what the probe found out about one run: plain data, no process is read through it.
 *
 * The sampler fills an ac_profile; verdict reads it; report writes it as text, JSON, gecko, speedscope,
 * folded or as a .allcores recording, which reads back into the same struct. Everything refers to everything
 * else by index, so the struct can be written out and validated as it stands.
 *
 *   strings <- functions <- frames <- nodes (a trie of stacks) <- cells  (thread, stack, state) ->
 * nanoseconds processes <- threads                                       <- segments (who was in which state,
 * when)
 *
 * Units: int64_t nanoseconds unless a name says otherwise; times are since the start of the run.
 * Memory is bounded: each table has a cap (AC_CAP_*); what no longer fits is merged, and `limits` says so.
 */
#ifndef ALLCORES_PROFILE_H
#define ALLCORES_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a thread was doing at one moment. The order is that of the reports; part of the recording format. */
enum ac_state {
    AC_PYTHON,   /* on a CPU, holding the GIL (attached, on a free-threaded build) */
    AC_GIL_WAIT, /* asleep in take_gil */
    AC_NATIVE,   /* on a CPU, not holding the GIL; a thread or process that is not Python's */
    AC_NO_CPU,   /* runnable, waiting for a CPU */
    AC_IO,       /* asleep in a socket, pipe, poll, epoll */
    AC_DISK,     /* in uninterruptible sleep on a file */
    AC_LOCK,     /* asleep in a futex that is not the GIL's */
    AC_SLEEP,    /* in a timed sleep */
    AC_OTHER,    /* waiting for a child, stopped, in a page fault */
    AC_UNKNOWN,  /* not to be told: no rights, unknown version, never seen */
    AC_STATE_COUNT
};
/* "python", "gil_wait", ...: the names in JSON. */
extern const char *const ac_state_names[AC_STATE_COUNT];

/* Which part of a process's life a stack belongs to, told from its frames. */
enum ac_activity {
    AC_WORK,     /* the program's own work, and everything not recognised */
    AC_START_UP, /* the interpreter starting, before the first frame of the program; a worker's bootstrap */
    AC_IMPORT,   /* inside importlib */
    AC_PICKLE,   /* serialising or deserialising */
    AC_IPC,      /* moving bytes between processes: multiprocessing queues, connections, pipes */
    AC_ACTIVITY_COUNT
};
extern const char *const ac_activity_names[AC_ACTIVITY_COUNT];

/* More about a state. Of AC_PYTHON, from the leaf frame's instruction: how CPU time under the GIL was spent.
 * Of AC_IO, from the system call: what the wait was for. */
enum ac_kind {
    AC_KIND_NONE,     /* does not apply or cannot be told */
    AC_KIND_BYTECODE, /* the interpreter's own loop */
    AC_KIND_C_CALL,   /* inside a C function that was called from the leaf frame and keeps the GIL */
    AC_KIND_PEER,     /* waits for the other end of a connected socket, no epoll and no accept */
    AC_KIND_TIMER,    /* waited in an epoll until the timeout that it was given */
    AC_KIND_COUNT
};

/* What this run could not see, and why; a set of bits. */
enum ac_limit {
    AC_LIMIT_NO_PTRACE = 1 << 0,    /* no right to read some process's memory: no GIL, no stacks there */
    AC_LIMIT_NO_SCHEDSTAT = 1 << 1, /* kernel without schedstat: no run-delay */
    AC_LIMIT_NO_RING = 1 << 2,   /* the context-switch ring did not open: sampled, not exact, off-CPU times */
    AC_LIMIT_RING_LOST = 1 << 3, /* the ring overflowed; `sampling.lost` records are missing */
    AC_LIMIT_UNKNOWN_PYTHON = 1 << 4,  /* an interpreter whose layout is not known (or not CPython) */
    AC_LIMIT_THREADS_MERGED = 1 << 5,  /* more threads than AC_CAP_THREADS: short-lived ones share rows */
    AC_LIMIT_STACKS_MERGED = 1 << 6,   /* AC_CAP_NODES reached: new stacks are cut at a known prefix */
    AC_LIMIT_TIMELINE_COARSE = 1 << 7, /* AC_CAP_SEGMENTS reached: the time line was down-sampled */
    AC_LIMIT_RUN_DELAY_BOUND = 1 << 8, /* run-delay of ended threads is a bound, not exact */
    AC_LIMIT_OTHER_NAMESPACE =
        1 << 9, /* a target in another PID namespace whose tids could not be translated */
    AC_LIMIT_PROCESSES_MISSED = 1 << 10 /* processes lived and died unseen; their CPU time is in the total */
};

#define AC_CAP_THREADS   1024u
#define AC_CAP_PROCESSES 1024u
#define AC_CAP_NODES     65536u
#define AC_CAP_STRINGS   (1u << 17)
#define AC_CAP_CELLS     (1u << 18)
#define AC_CAP_SEGMENTS  (1u << 18)
#define AC_CAP_PAIRS     4096u
#define AC_CAP_BUSY      65536u
#define AC_MAX_DEPTH     192  /* frames kept of one stack, leaf first; deeper ones lose their middle */
#define AC_MAX_STRING    1024 /* bytes kept of one name */

typedef uint32_t ac_str; /* index into strings; 0 is "" */

struct ac_func {
    ac_str name,
        file; /* qualified name where the version has it (3.11+), else the plain one; path as compiled */
    int32_t first_line;
    uint8_t activity; /* enum ac_activity that a frame of this function implies; AC_WORK for most */
    uint8_t pad[3];
};

struct ac_frame {
    uint32_t func;
    int32_t line; /* 0 when not known */
};

/* Node 0 is the root, the empty stack. A node's parent has a smaller index. */
struct ac_node {
    uint32_t parent, frame;
    uint32_t depth;
    uint8_t activity; /* of the whole stack: the leaf-most frame that implies one decides */
    uint8_t pad[3];
};

struct ac_process {
    int32_t pid, ppid;
    ac_str argv[16]; /* the first ones; argc may be larger */
    uint32_t argc;
    ac_str exe;
    ac_str python; /* "3.13.0"; "" when not CPython or unknown */
    ac_str
        note; /* one clear sentence when the process could not be read as Python although it looks like it */
    int8_t free_threaded, gil_enabled; /* -1 unknown */
    uint8_t gils; /* the most that it had at one time, one an interpreter that does not share; 0 unknown */
    uint8_t cuda; /* 1: CUDA's driver library was mapped when its Python was first read, so in a fork from
                     birth */
    ac_str gil_cause; /* what enabled the GIL of a free-threaded build, as a phrase; "" not known */
    int64_t from_ns, to_ns;
    int64_t cpu_ns; /* exact: the process's CPU clock, ended threads included; children excluded */
    int64_t activity_ns[AC_ACTIVITY_COUNT]; /* on-CPU time by activity */
};

struct ac_thread {
    uint32_t process;
    int32_t tid; /* as we see it; 0 for a row that merges several */
    ac_str name;
    uint32_t merged; /* number of threads in this row, >= 1 */
    int8_t python;   /* 1: the interpreter knows it (or did); 0: it does not; -1: not to be told */
    uint8_t main;    /* 1: the process's main thread */
    uint8_t watched; /* descriptors that the epoll it slept in watched, on average; at most 255; 0 not known,
                        or a server's */
    uint8_t switches_before; /* voluntary ones, before it first slept in an epoll; at most 255 */
    int64_t from_ns, to_ns;  /* to - from summed in alive_ns when merged */
    int64_t alive_ns;
    int64_t cpu_ns, run_delay_ns;                /* the kernel's own totals; run_delay -1: unknown */
    int64_t switches_voluntary, switches_forced; /* -1: unknown */
    int64_t samples;
    int64_t states_ns[AC_STATE_COUNT]; /* sums to alive_ns */
};

/* Thread-time by stack. Sums over a thread's cells of a state equal its states_ns (rounding aside). */
struct ac_cell {
    uint32_t thread, node;
    uint8_t state, kind; /* enum ac_state, enum ac_kind */
    uint8_t pad[6];
    int64_t ns;
};

/* Thread-time in gil_wait of `waiter` while `holder` held that GIL (functions of the leaf frames;
 * UINT32_MAX: not known). */
struct ac_gil_pair {
    uint32_t holder, waiter;
    int64_t ns;
};

/* One thread in one state without a break; ordered by from_ns. */
struct ac_segment {
    int64_t from_ns, to_ns;
    uint32_t thread, node;
    uint8_t state, kind;
    int16_t cpu;    /* the CPU it ran on, -1 when not running or not known */
    uint32_t owner; /* of AC_LOCK: row + 1 of the thread that had the RLock it waited for; 0 not known */
};

/* How busy a CPU was for a while, with whatever ran there. Groups of one entry a usable CPU, always the same
 * CPUs; a group begins where the one before ended. */
struct ac_busy {
    int64_t from_ns, to_ns;
    int16_t cpu;
    uint16_t share; /* of the time, in 1/AC_BUSY_ALL */
    uint8_t pad[4];
};
#define AC_BUSY_ALL 10000

struct ac_sampling {
    double rate_hz, reached_hz; /* asked for, and ticks per second that really happened */
    int64_t ticks, missed;      /* missed: a deadline passed by a period or more */
    int64_t samples;            /* thread-samples: one thread's state told at one tick */
    int64_t torn, read_errors;  /* stacks dropped as inconsistent; reads that failed */
    int64_t lost;               /* context-switch records lost */
    int64_t sampler_cpu_ns;
    uint8_t ring, fifo; /* 1 when taken */
    uint8_t pad[6];
};

struct ac_cpus {
    int32_t online, affinity; /* CPUs of the machine; CPUs this target may run on */
    double quota;             /* CPUs' worth of the tightest cgroup quota; 0: none */
    double usable;            /* min of the three: what the target can really use */
    int64_t machine_busy_ns;  /* CPU time of everything on the usable CPUs during the run; -1 unknown */
    int64_t throttled_ns, throttled_count; /* by the quota, during the run; -1 unknown */
};

struct ac_profile {
    /* target */
    int32_t pid;
    uint8_t launched; /* 1: we started it */
    uint8_t pad[3];
    int32_t exit_code;   /* of a launched program that exited; -1 otherwise */
    int32_t exit_signal; /* 0 none */
    ac_str argv[64];
    uint32_t argc;
    int64_t started_unix_ns;
    int64_t wall_ns;
    int64_t cpu_ns;  /* the whole tree, exact: includes processes and threads that no row shows */
    uint32_t limits; /* enum ac_limit bits */
    struct ac_sampling sampling;
    struct ac_cpus cpus;
    ac_str kernel, machine; /* uname */

    /* tables: pointer, length, capacity */
    char **strings;
    size_t string_count, string_cap;
    struct ac_func *funcs;
    size_t func_count, func_cap;
    struct ac_frame *frames;
    size_t frame_count, frame_cap;
    struct ac_node *nodes;
    size_t node_count, node_cap;
    struct ac_process *processes;
    size_t process_count, process_cap;
    struct ac_thread *threads;
    size_t thread_count, thread_cap;
    struct ac_cell *cells;
    size_t cell_count, cell_cap;
    struct ac_gil_pair *pairs;
    size_t pair_count, pair_cap;
    struct ac_segment *segments;
    size_t segment_count, segment_cap;
    struct ac_busy *busy;
    size_t busy_count, busy_cap;

    struct ac_profile_index
        *index; /* hash maps behind the ac_profile_* functions; NULL in a read-back profile */
};

/* A profile with string 0 and node 0 in place. Free with ac_profile_free(). */
int ac_profile_new(struct ac_profile **ret_profile);
void ac_profile_free(struct ac_profile *profile);

/* Interning: same input, same index. At a cap the answer is 0 (the empty string, function "", root) and the
 * limit's bit is set; only -ENOMEM is an error. Text is bytes of any origin; it is cut at AC_MAX_STRING. */
int ac_profile_string(struct ac_profile *profile, const char *text, size_t len, ac_str *ret_str);
int ac_profile_func(struct ac_profile *profile, const char *name, const char *file, int32_t first_line,
                    uint32_t *ret_func);
int ac_profile_frame(struct ac_profile *profile, uint32_t func, int32_t line, uint32_t *ret_frame);
/* The node for `count` frames, leaf first. */
int ac_profile_stack(struct ac_profile *profile, const uint32_t *frames, size_t count, uint32_t *ret_node);

/* Add `ns` to the cell or pair, made if new. */
int ac_profile_cell(struct ac_profile *profile, uint32_t thread, uint32_t node, enum ac_state state,
                    enum ac_kind kind, int64_t ns);
int ac_profile_pair(struct ac_profile *profile, uint32_t holder, uint32_t waiter, int64_t ns);
/* Append a segment; at the cap the time line is coarsened in place, so that it never ends early. */
int ac_profile_segment(struct ac_profile *profile, const struct ac_segment *segment);
/* Append one entry of a group of `cpus`; at the cap each two groups become one. */
int ac_profile_busy(struct ac_profile *profile, const struct ac_busy *busy, size_t cpus);

/* Every index in range, every enum known, every sum sane: true of what we write, demanded of what we read. */
bool ac_profile_valid(const struct ac_profile *profile);

const char *ac_profile_text(const struct ac_profile *profile, ac_str str); /* never NULL */
double ac_profile_cores_used(const struct ac_profile *profile);            /* cpu_ns / wall_ns */
/* Sums over all threads. */
void ac_profile_states(const struct ac_profile *profile, int64_t ret_states_ns[AC_STATE_COUNT]);

#endif
