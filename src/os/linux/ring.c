/* ring.c - exact context switches, forks, execs and exits of a process tree, by perf_event_open.
 *
 * Usage: ac_ring_open() for the root, ac_ring_drain() at every tick, ac_ring_close().
 *
 * One dummy software event per (thread, CPU) with inherit: the kernel mmaps an inherited event only if it is
 * bound to one CPU, and children and new threads inherit it from whoever made them. All events of a CPU write
 * into that CPU's one ring (SET_OUTPUT), so the memory does not grow with the number of threads.
 *
 * Correctness: each ring has one writer, the kernel, which publishes data_head with a release after the
 * records; we read it with an acquire, copy records out, and give the space back by a release store of
 * data_tail after the last read. Time order holds within a CPU; across CPUs ac_ring_drain() merges by time. A
 * record that is not yet published on one CPU may be older than one already taken from another; hence
 * `until_ns`: callers pass a moment a little in the past and younger records stay for the next call.
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/atomics.h"
#include "os/internal.h"
#include "os/os.h"
#include "os/syscalls.h"

#define RING_DATA_PAGES                                                                                      \
    64 /* a power of two; 256 KiB a CPU holds about 4,000 switches: 20 ms at 200,000/s                       \
        */
#define RING_MAX_EVENTS 4096
#define RING_MAX_RECORD 512
#define LISTINGS        16 /* of a program that makes threads faster than they can be watched */

struct cpu_ring {
    int cpu;
    int output_fd; /* the event whose buffer this is */
    struct perf_event_mmap_page *page;
    uint64_t tail;
    /* the next record, already copied out of the ring */
    bool has_next;
    struct ac_ring_event next;
};

struct ac_ring {
    struct cpu_ring *cpus;
    size_t cpu_count;
    int *fds; /* every event's descriptor */
    size_t fd_count, fd_cap;
    size_t page_size;
};

static struct perf_event_attr switch_attr(void) {
    struct perf_event_attr attr = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof(attr),
        .config = PERF_COUNT_SW_DUMMY,
        .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU,
        .inherit = 1,
        .exclude_kernel = 1, /* or perf_event_paranoid 2 refuses it */
        .exclude_hv = 1,
        .context_switch = 1,
        .task = 1,
        .comm = 1,
        .comm_exec = 1,
        .sample_id_all = 1,
        .use_clockid = 1,
        .clockid = CLOCK_MONOTONIC,
    };
    return attr;
}

/* --- opening */

static size_t ring_bytes(const struct ac_ring *ring) {
    return ring->page_size * (RING_DATA_PAGES + 1);
}

static int map_cpu(struct ac_ring *ring, struct cpu_ring *cpu, int fd) {
    void *page = ac_sys.mmap(NULL, ring_bytes(ring), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return -errno;
    }
    cpu->page = page;
    cpu->output_fd = fd;
    return 0;
}

static int open_event(struct ac_ring *ring, struct cpu_ring *cpu, pid_t tid) {
    struct perf_event_attr attr = switch_attr();
    if (ring->fd_count >= RING_MAX_EVENTS) {
        return -EMFILE;
    }
    int err = ac_grow(&ring->fds, &ring->fd_cap, ring->fd_count + 1, sizeof(*ring->fds));
    if (err) {
        return err;
    }
    int fd = ac_sys.perf_event_open(&attr, tid, cpu->cpu, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        return errno == EACCES ? -EPERM : -errno;
    }
    ring->fds[ring->fd_count++] = fd;
    if (!cpu->page) {
        return map_cpu(ring, cpu, fd);
    }
    return ac_sys.ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)cpu->output_fd) == 0 ? 0 : -errno;
}

/* A CPU that is offline or not ours to use has no ring; that is no error as long as one has. */
static int open_thread(struct ac_ring *ring, pid_t tid) {
    size_t opened = 0;
    for (size_t i = 0; i < ring->cpu_count; i++) {
        int err = open_event(ring, &ring->cpus[i], tid);
        if (err && err != -ENODEV) {
            return err;
        }
        opened += err == 0;
    }
    return opened ? 0 : -ENODEV;
}

static bool has_room(const struct ac_ring *ring, size_t threads) {
    int64_t files = ac_files_limit();
    size_t allowed = RING_MAX_EVENTS;
    if (files >= 0) {
        allowed = ac_min(allowed, (size_t)files / 2); /* the sampler needs some of its own */
    }
    return ring->fd_count + threads * ring->cpu_count <= allowed;
}

/* Drop from `tids` those that are among `known`. */
static size_t only_new(pid_t *tids, size_t count, const pid_t *known, size_t known_count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (k < known_count && known[k] != tids[i]) {
            k++;
        }
        if (k == known_count) {
            tids[kept++] = tids[i];
        }
    }
    return kept;
}

/* A thread that was made while its maker's events were opened inherited none, or those of some CPUs: so list
 * again until nobody is new. Who had inherited all has them twice then, which says the same twice. */
int ac_ring_add(struct ac_ring *ring, pid_t pid) {
    pid_t tids[RING_MAX_EVENTS], known[RING_MAX_EVENTS];
    size_t count, known_count = 0, opened = 0;
    for (int round = 0; round < LISTINGS; round++) {
        int err = ac_process_tasks(pid, tids, AC_COUNT(tids), &count);
        if (err) {
            return err;
        }
        count = only_new(tids, count, known, known_count);
        if (count == 0) {
            break;
        }
        if (!has_room(ring, count) || known_count + count > AC_COUNT(known)) {
            return -EMFILE;
        }
        for (size_t i = 0; i < count; i++) {
            err = open_thread(ring, tids[i]);
            if (err && err != -ESRCH) { /* a thread may end meanwhile */
                return err;
            }
            opened += err == 0;
            known[known_count++] = tids[i];
        }
    }
    return opened ? 0 : -ESRCH;
}

static int new_ring(struct ac_ring **ret_ring) {
    struct ac_ring *ring = ac_calloc(1, sizeof(*ring));
    if (!ring) {
        return -ENOMEM;
    }
    long configured = sysconf(_SC_NPROCESSORS_CONF);
    ring->page_size = (size_t)sysconf(_SC_PAGESIZE);
    ring->cpu_count = configured > 0 ? (size_t)configured : 1;
    ring->cpus = ac_calloc(ring->cpu_count, sizeof(*ring->cpus));
    if (!ring->cpus) {
        ac_ring_close(ring);
        return -ENOMEM;
    }
    for (size_t i = 0; i < ring->cpu_count; i++) {
        ring->cpus[i] = (struct cpu_ring){.cpu = (int)i, .output_fd = -1};
    }
    *ret_ring = ring;
    return 0;
}

int ac_ring_open(pid_t pid, struct ac_ring **ret_ring) {
    struct ac_ring *ring;
    int err = new_ring(&ring);
    if (err) {
        return err;
    }
    err = ac_ring_add(ring, pid);
    if (err) {
        ac_ring_close(ring);
        return err;
    }
    *ret_ring = ring;
    return 0;
}

void ac_ring_close(struct ac_ring *ring) {
    if (!ring) {
        return;
    }
    for (size_t i = 0; ring->cpus && i < ring->cpu_count; i++) {
        if (ring->cpus[i].page) {
            ac_sys.munmap(ring->cpus[i].page, ring_bytes(ring));
        }
    }
    for (size_t i = 0; i < ring->fd_count; i++) {
        ac_sys.close(ring->fds[i]);
    }
    ac_free(ring->fds);
    ac_free(ring->cpus);
    ac_free(ring);
}

/* --- records */

/* What sample_id_all appends to each record, for our sample_type. */
struct sample_id {
    uint32_t pid, tid;
    uint64_t time;
    uint32_t cpu, reserved;
};

struct record {
    struct perf_event_header header;
    union {
        struct {
            uint32_t pid, ppid, tid, ptid;
            uint64_t time;
        } task; /* FORK, EXIT */
        struct {
            uint32_t pid, tid;
            char text[16];
        } comm;
        struct {
            uint64_t id, lost;
        } lost;
        unsigned char bytes[RING_MAX_RECORD];
    } body;
};

static void copy_out(const struct ac_ring *ring, const struct cpu_ring *cpu, uint64_t at, void *to,
                     size_t size) {
    size_t data_size = ring->page_size * RING_DATA_PAGES;
    const unsigned char *data = (const unsigned char *)cpu->page + ring->page_size;
    size_t offset = (size_t)(at & (data_size - 1));
    size_t first = ac_min(size, data_size - offset);
    memcpy(to, data + offset, first);
    memcpy((unsigned char *)to + first, data, size - first);
}

static void fill_task(struct ac_ring_event *event, const struct record *record, enum ac_ring_kind kind) {
    event->kind = kind;
    event->pid = (pid_t)record->body.task.pid;
    event->tid = (pid_t)record->body.task.tid;
    event->ppid = (pid_t)record->body.task.ppid;
}

static bool parse_record(const struct record *record, struct ac_ring_event *ret) {
    struct sample_id id = {0};
    size_t body = record->header.size - sizeof(record->header);
    struct ac_ring_event event = {.cpu = -1};
    if (body >= sizeof(id)) {
        memcpy(&id, record->body.bytes + body - sizeof(id), sizeof(id));
    }
    event.time_ns = (int64_t)id.time;
    event.cpu = (int)id.cpu;
    event.pid = ac_max((pid_t)id.pid, 0); /* the kernel writes -1 for a task that has ended */
    event.tid = ac_max((pid_t)id.tid, 0);
    switch (record->header.type) {
    case PERF_RECORD_SWITCH:
        event.kind =
            record->header.misc & PERF_RECORD_MISC_SWITCH_OUT ? AC_RING_SWITCH_OUT : AC_RING_SWITCH_IN;
        event.preempted = (record->header.misc & PERF_RECORD_MISC_SWITCH_OUT_PREEMPT) != 0;
        break;
    case PERF_RECORD_FORK: fill_task(&event, record, AC_RING_FORK); break;
    case PERF_RECORD_EXIT: fill_task(&event, record, AC_RING_EXIT); break;
    case PERF_RECORD_COMM:
        event.kind = record->header.misc & PERF_RECORD_MISC_COMM_EXEC ? AC_RING_EXEC : AC_RING_COMM;
        event.pid = (pid_t)record->body.comm.pid;
        event.tid = (pid_t)record->body.comm.tid;
        ac_copy(event.comm, sizeof(event.comm), record->body.comm.text);
        break;
    case PERF_RECORD_LOST:
        event.kind = AC_RING_LOST;
        event.lost = record->body.lost.lost;
        break;
    default: return false;
    }
    *ret = event;
    return true;
}

/* Take the next record that we know from this CPU's ring into cpu->next, if there is one. */
static void advance(const struct ac_ring *ring, struct cpu_ring *cpu) {
    uint64_t head = ac_load_acquire((_Atomic __u64 *)&cpu->page->data_head);
    while (!cpu->has_next && cpu->tail < head) {
        struct record record = {0};
        copy_out(ring, cpu, cpu->tail, &record.header, sizeof(record.header));
        size_t size = record.header.size;
        if (size < sizeof(record.header) || size > head - cpu->tail) {
            cpu->tail = head; /* cannot happen; do not loop on it */
            break;
        }
        if (size <= sizeof(record)) {
            copy_out(ring, cpu, cpu->tail, &record, size);
            cpu->has_next = parse_record(&record, &cpu->next);
        }
        cpu->tail += size;
    }
    ac_store_release((_Atomic __u64 *)&cpu->page->data_tail, cpu->tail);
}

static struct cpu_ring *oldest(struct ac_ring *ring) {
    struct cpu_ring *best = NULL;
    for (size_t i = 0; i < ring->cpu_count; i++) {
        struct cpu_ring *cpu = &ring->cpus[i];
        if (cpu->page) {
            if (!cpu->has_next) {
                advance(ring, cpu);
            }
            if (cpu->has_next && (!best || cpu->next.time_ns < best->next.time_ns)) {
                best = cpu;
            }
        }
    }
    return best;
}

int ac_ring_drain(struct ac_ring *ring, int64_t until_ns, void (*each)(const struct ac_ring_event *, void *),
                  void *arg) {
    int count = 0;
    for (struct cpu_ring *cpu; (cpu = oldest(ring)) && cpu->next.time_ns <= until_ns; count++) {
        cpu->has_next = false;
        each(&cpu->next, arg);
    }
    return count;
}
