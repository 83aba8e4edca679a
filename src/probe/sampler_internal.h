/* sampler_internal.h - the state of one sampling run, shared by the files that make up the sampler.
 *
 *   sampler.c   the tick: when to look, and how late we are
 *   tree.c      which processes and threads there are: from the ring's events, or by scanning /proc
 *   exact.c     the kernel's exact totals of a thread: the ring's switches, schedstat
 *   runtime.c   the Python runtime of a process: open, retry, which thread state is which thread
 *   watch.c     one tick's look at one process: what each of its threads does, with holder and stacks
 *   rows.c      what was seen, into the profile: rows, cells, segments, and the merging of what lived shortly
 *   finish.c    the account closed: exact totals and samples to states, cells scaled to them
 *
 * Processes and threads live in slots that are reused; a thread's account moves into its row when it ends. */
#ifndef AC_PROBE_SAMPLER_INTERNAL_H
#define AC_PROBE_SAMPLER_INTERNAL_H

#include "os/os.h"
#include "probe/account.h"
#include "probe/classify.h"
#include "probe/profile_internal.h"
#include "probe/python.h"
#include "probe/sampler.h"

#define AC__NONE UINT32_MAX
/* A thread or process that ended younger than this shares a row with others like it. */
#define AC__YOUNG_NS (100 * AC_NS_PER_MS)
enum { AC__YOUNG_CELLS = 24, AC__YOUNG_SEGMENTS = 32 };

struct ac__label { /* what a thread was seen doing */
    uint8_t state, kind;
    int16_t cpu;
    uint32_t node;
    uint32_t owner; /* as in ac_segment */
};

/* Cells and segments of a thread that has no row yet. */
struct ac__young {
    struct {
        uint32_t node;
        uint8_t state, kind;
        int64_t ns;
    } cells[AC__YOUNG_CELLS];
    struct ac_segment segments[AC__YOUNG_SEGMENTS];
    uint32_t cell_count, segment_count;
};

struct ac__thread {
    bool used, main;
    uint32_t process;    /* slot */
    uint32_t next, prev; /* of the same process; AC__NONE at the ends */
    pid_t tid, ns_tid;
    int64_t born_ns;
    uint32_t scan; /* the last scan that saw it */
    uint32_t row;  /* in the profile; AC__NONE while young */
    struct ac__young *young;
    struct ac_account account;

    /* the kernel's view; exact.c */
    struct ac_task task;
    bool task_open, task_denied;
    bool on_cpu, preempted; /* by the ring */
    bool dirty;             /* switched, was born or was lost sight of since the last look */
    bool resync;            /* records were lost: schedstat knows better than the ring's sums */
    bool unsure;            /* records were lost, and none has come since: on_cpu may be wrong */
    int16_t cpu;
    int64_t switched_ns; /* of the last switch */
    int64_t ring_run_ns, ring_delay_ns, ring_run_read_ns,
        ring_delay_read_ns; /* sums; the last two: at the last schedstat read */
    int64_t ring_error_ns;  /* schedstat less the ring's sum, when both were sure */
    int64_t switches_voluntary, switches_forced;
    int64_t stack_run_ns; /* CPU time when its stack was last read */
    struct ac_schedstat base, last;
    bool sched_known;
    int64_t sched_read_ns, cpu_read_ns;
    int64_t reach_look_ns, reach_run_ns; /* reach.c: the last look, and the CPU time credited so far */

    /* what it was last seen doing; watch.c */
    struct ac__label label;
    int64_t pending_ns;      /* weight of `label` not yet in a cell */
    int64_t segment_ns;      /* the segment of `label` began then */
    int64_t watched_look_ns; /* the last count of what its epoll watches; their sum and number */
    uint32_t watched_sum, watched_count;
    bool listens;                       /* its epoll watches for connections: whoever may ask */
    int64_t switches_before;            /* the voluntary ones until the first count */
    int64_t boot_ns;                    /* on a CPU before Python was initialised */
    struct ac_syscall_state call;       /* it sleeps in */
    int64_t idle_from_ns, next_look_ns; /* without the ring: back-off */
    uint32_t gil;                       /* index + 1 into the last gils, while state is AC_GIL_WAIT */
    bool running;                       /* this tick: on a CPU or, without the ring, perhaps runnable */
    bool runnable;                      /* this tick: waiting for a CPU, by the ring */
    bool same_call;                     /* this tick: asleep in the same call as at the last look */
    bool woke;                          /* this tick: it has run since the last look */
    int64_t wait_ns, due_ns;            /* what it sleeps in began; returns at the latest, 0: not known */
    bool seen;                          /* it has a label */
    char letter;                        /* of stat; 0 when it was not read */

    /* Python */
    uint64_t tstate, fingerprint, pthread_id;
    uint64_t leaf_frame;           /* of the last stack */
    uint64_t rlock;                /* that it waits for, while state is AC_LOCK; 0 none known */
    uint32_t leaf_func, leaf_node; /* of the last whole stack */
    uint8_t leaf_kind;
    bool torn;     /* this tick: its stack could not be read */
    bool attached; /* free-threaded builds */
    bool mapped;   /* the last list of thread states had it */
    int8_t python; /* as in ac_thread */
};

enum ac__runtime {
    AC__RUNTIME_NOT_YET, /* not a Python process so far */
    AC__RUNTIME_BOOT,    /* Python, not initialised */
    AC__RUNTIME_OPEN,
    AC__RUNTIME_DENIED, /* no right to read its memory */
    AC__RUNTIME_STRANGE /* an interpreter that we cannot read */
};

struct ac__process {
    bool used, root, same_namespace;
    bool looks_python; /* by its name */
    bool forked;       /* from a process that we follow, no exec since */
    bool describe;     /* argv and exe are to be read (again) */
    pid_t pid, ppid;
    uint32_t row, merged_row;        /* in the profile; AC__NONE */
    struct ac_process info;          /* until it has a row, and its last values after */
    uint32_t threads, first_thread;  /* alive; AC__NONE */
    uint32_t threads_ever, only_row; /* the row of its last thread to end */
    int64_t born_ns, exe_checked_ns;
    char exe[256];
    int describe_tries;

    int64_t cpu_base_ns, cpu_last_ns, cpu_read_ns; /* its CPU clock */
    int64_t run_sum_ns;                            /* of its ended threads */

    int64_t links, scan_ns; /* without the ring */
    int64_t churn_ns;       /* a scan or a look last found that threads had come or gone */
    int64_t children_ns;

    enum ac__runtime runtime;
    struct ac_py *py;
    int64_t open_ns, open_step_ns; /* next attempt, and how long after it the one that follows */
    int64_t map_ns, map_step_ns;   /* the same for ac_py_threads */
    uint32_t holder_func;          /* that the main GIL's holder was last seen in; AC__NONE */
    int bad_reads;                 /* of the GILs, in a row */
    bool free_threaded;
};

/* CPU time spent under one affinity; reach.c. */
struct ac__reach {
    cpu_set_t set;
    int64_t ns;
};

struct ac_sampler {
    struct ac_sampler_options options;
    struct ac_profile *profile;
    struct ac_ring *ring;
    struct ac_random random;
    bool launched, attached, root_gone, fifo;
    pid_t root_pid;
    int64_t start_ns, tick_ns, before_ns;     /* of the run; of this tick and the one before */
    int64_t woken_ns;                         /* the instant that we asked to be woken at, for this tick */
    int64_t latency_ns;                       /* running mean from that instant to being awake */
    int own_cpu;                              /* that we run on, at this tick */
    int64_t gap_ns;                           /* tick_ns - before_ns */
    int64_t end_ns, root_end_ns, last_end_ns; /* of the run, of the root, of whichever ended last */
    int64_t ended_cpu_ns;                     /* of processes that ended */
    int64_t reaped_base_ns;                   /* the root's cutime and cstime at attach */
    int64_t unread_delay_ns;                  /* life of ended threads that no schedstat read covers */
    int64_t thread_cpu_base_ns, throttled_base_ns, throttled_base_count;
    int64_t busy_base_ns[CPU_SETSIZE], busy_last_ns[CPU_SETSIZE]; /* at attach, at the last look */
    int64_t busy_at_ns, busy_step_ns;                             /* when that was; how long to the next */
    struct ac_cpu_limits limits;                                  /* the root's, at attach */
    struct ac__reach reach[16];
    size_t reach_count;
    int open_fds, max_fds;
    uint32_t start_up_node;
    ac_str python_text;

    struct ac__process *processes;
    size_t process_cap, process_top; /* slots in use are below top */
    struct ac__thread *threads;
    size_t thread_cap, thread_top;
    uint32_t live_processes, live_threads;
    uint32_t free_thread, free_process; /* where to look for a free slot first */
    struct ac_map by_tid, by_pid;       /* to slots */
    struct ac_account *rows;            /* parallel to profile->threads */
    size_t row_cap;
    uint32_t overflow_process, overflow_thread; /* rows; AC__NONE */
    int err;                                    /* the first -ENOMEM inside a callback */

    /* scratch of one tick */
    pid_t *ids;
    size_t ids_cap;
    struct ac_py_thread *py_threads;
    size_t py_threads_cap;
    struct ac_py_stack_request *requests;
    uint32_t *request_threads;
    size_t requests_cap, request_threads_cap;
    struct ac_py_gil gils[AC_PY_MAX_GILS];
    size_t gil_count;
    uint32_t gil_leaf[AC_PY_MAX_GILS]; /* function that each holder runs */
    struct {
        uint64_t lock;        /* the last one asked; 0 none yet */
        uint32_t owner;       /* its answer */
        unsigned finds, asks; /* so far */
    } rlocks;                 /* of the process at hand */
    uint32_t *active;         /* threads of the process at hand that are told anew */
    size_t active_count, active_cap;
    uint32_t scan;
    uint64_t torn, failed; /* of readers that were closed */
    int64_t last_ring_check_ns;
};

/* --- tree.c */
int ac__tree_attach(struct ac_sampler *sampler, pid_t pid);
/* Bring processes and threads up to date: drain the ring up to `now`, or scan. */
void ac__tree_update(struct ac_sampler *sampler, int64_t now);
uint32_t ac__tree_add_process(struct ac_sampler *sampler, pid_t pid, pid_t ppid, int64_t now);
uint32_t ac__tree_add_thread(struct ac_sampler *sampler, uint32_t process, pid_t tid, int64_t now);
void ac__tree_end_thread(struct ac_sampler *sampler, uint32_t thread, int64_t now);
void ac__tree_end_process(struct ac_sampler *sampler, uint32_t process, int64_t now);
void ac__tree_describe(struct ac_sampler *sampler, struct ac__process *process);
/* Scan the threads of a process once. -ESRCH: it is gone. */
int ac__tree_scan(struct ac_sampler *sampler, uint32_t process, int64_t now);

/* --- reach.c */
void ac__reach_look(struct ac_sampler *sampler, struct ac__thread *thread); /* after a schedstat read */
void ac__reach_finish(struct ac_sampler *sampler); /* usable CPUs, into the profile */

/* --- exact.c */
/* /proc descriptors of a thread; false when it is gone or none can be had. */
bool ac__task_ready(struct ac_sampler *sampler, struct ac__thread *thread);
void ac__task_done(struct ac_sampler *sampler, struct ac__thread *thread); /* closes them when we are short */
void ac__task_drop(struct ac_sampler *sampler, struct ac__thread *thread);
void ac__exact_switch(struct ac__thread *thread, const struct ac_ring_event *event);
int ac__exact_schedstat(struct ac_sampler *sampler, struct ac__thread *thread);
/* The totals of a thread up to `now`, into its account. */
void ac__exact_total(struct ac_sampler *sampler, struct ac__thread *thread, int64_t now, bool ended);

/* --- runtime.c */
void ac__runtime_update(struct ac_sampler *sampler, uint32_t process, int64_t now);
void ac__runtime_reset(struct ac_sampler *sampler,
                       struct ac__process *process);               /* after exec, or at its end */
void ac__runtime_rescan(struct ac__process *process, int64_t now); /* its set of threads changed */

void ac__runtime_settle_boot(struct ac_sampler *sampler,
                             struct ac__thread *thread); /* its start was Python's */
void ac__runtime_count(struct ac_sampler *sampler, const struct ac__process *process); /* its errors so far */

/* --- watch.c */
void ac__watch_process(struct ac_sampler *sampler, uint32_t process, int64_t now);

/* --- rows.c */
void ac__row_observe(struct ac_sampler *sampler, struct ac__thread *thread, struct ac__label label,
                     int64_t since);
void ac__row_flush(struct ac_sampler *sampler, struct ac__thread *thread,
                   int64_t now); /* close the open label */
void ac__row_promote(struct ac_sampler *sampler, struct ac__thread *thread);
void ac__row_retire(struct ac_sampler *sampler, struct ac__thread *thread, int64_t now, bool final);
void ac__row_cell(struct ac_sampler *sampler, struct ac__thread *thread, struct ac__label label, int64_t ns);
uint32_t ac__row_process(struct ac_sampler *sampler, struct ac__process *process);
void ac__row_missing(struct ac_sampler *sampler, struct ac__process *process, int64_t ns);

/* --- busy.c */
void ac__busy_start(struct ac_sampler *sampler);
void ac__busy_look(struct ac_sampler *sampler, int64_t now);
void ac__busy_finish(struct ac_sampler *sampler); /* before ac__reach_finish(): the same CPUs in each step */
int64_t ac__busy_total(const struct ac_sampler *sampler); /* on the CPUs that it could reach; -1: unknown */

/* --- finish.c */
int ac__finish_states(struct ac_sampler *sampler);

#endif
