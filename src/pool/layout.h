/* layout.h - what lies where in the segment: the ABI between the parent and its workers.
 *
 *     0            struct ac__head       one, the queue's ends and the bells; then
 *     workers_at   struct ac__seat[]     one a worker id
 *     spans_at     uint32_t[]            who owns each span of AC__SPAN bytes
 *     slots_at     struct ac__slot[]     tasks
 *     data_at      spans                 blocks: payloads, each with a struct ac__block_head in front
 *
 * Everything is found by offsets from the start. The file is sparse: a table of four million slots costs the
 * pages of those that were ever used. Who writes what is said at each field: P the parent, W workers, W1 the
 * one worker concerned. The parent never believes a W field: it checks ranges, and keeps its own books
 * elsewhere.
 *
 * Slot states, the only word that both sides race for. All moves are compare-and-swap by the side named:
 *
 *     FREE -P-> QUEUED -W-> RUNNING(w) -W-> DONE -P-> FREE
 *                 |             +------P-> DIED (w is dead), BROKEN -P-> FREE
 *                 +--P-> CANCELLED, BROKEN
 */
#ifndef AC_POOL_LAYOUT_H
#define AC_POOL_LAYOUT_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "allcores/pool.h"
#include "os/shared.h"

#define AC__MAGIC   UINT64_C(0x316c6f6f705f6361) /* "ac_pool1" */
#define AC__VERSION 1u
#define AC__PAGE    UINT64_C(4096)
#define AC__SPAN    (UINT64_C(64) << 20)
#define AC__NONE    UINT32_MAX

/* The state word. The generation tells a slot's users apart; 16 bits of the ticket's 32. */
enum {
    AC__FREE = 0, /* the others are enum ac_task_state */
    AC__PHASE = 7,
    AC__WAITER = 8,  /* P: somebody sleeps on the word */
    AC__NOTIFY = 16, /* P: put it on the done list when it is over */
    AC__WORKER_SHIFT = 5,
    AC__WORKER_MASK = 0x7ff,
    AC__GENERATION_SHIFT = 16,
};
static_assert((int)AC_TASK_BROKEN <= (int)AC__PHASE, "phases must fit the state word");
static_assert((int)AC_POOL_WORKERS < (int)AC__WORKER_MASK, "worker ids must fit the state word");

static inline uint32_t ac__phase(uint32_t word) {
    return word & AC__PHASE;
}
static inline uint32_t ac__worker_of(uint32_t word) { /* AC__NONE: nobody's */
    return ((word >> AC__WORKER_SHIFT) & AC__WORKER_MASK) - 1;
}
static inline uint32_t ac__word(uint32_t phase, uint32_t worker, uint32_t generation) {
    return phase | (worker + 1) << AC__WORKER_SHIFT | generation << AC__GENERATION_SHIFT;
}

struct ac__slot {
    /* line 0: what a small task needs */
    ac_futex state;
    uint16_t in_kind;           /* P */
    uint16_t in_parts;          /* P: inline: 0 or 1 */
    uint64_t in_block;          /* P: offset of the arguments' block, 0: inline */
    uint32_t in_size;           /* P: inline bytes */
    uint32_t items;             /* P */
    int64_t submit_ns;          /* P */
    uint32_t ticket_generation; /* P */
    uint32_t pad0;
    int64_t pickle_ns;          /* W1: of its time, in pickling */
    uint8_t in[AC_POOL_INLINE]; /* P */
    /* line 2: the answer, all W1 */
    uint16_t out_kind;
    uint16_t out_parts; /* inline: 0 or 1 */
    uint32_t out_size;  /* inline bytes */
    _Atomic uint64_t out_block;
    int64_t start_ns;
    int64_t end_ns;
    _Atomic uint32_t progress;
    _Atomic uint32_t next_done; /* link of the done list: index + 1 */
    _Atomic uint64_t coming;    /* an answer that is being copied: ac__coming_word */
    uint8_t out[AC_POOL_INLINE];
};
static_assert(sizeof(struct ac__slot) == 256, "a slot is four cache lines");
static_assert(offsetof(struct ac__slot, out_kind) == 128, "answers start a cache line");

enum ac__seat_state {
    AC__SEAT_EMPTY,    /* P */
    AC__SEAT_STARTING, /* P */
    AC__SEAT_ATTACHED, /* W1 */
    AC__SEAT_LEFT,     /* W1 */
};
struct ac__seat {
    union { /* W1: held from attach to the end, so that the kernel marks its word when the worker dies */
        pthread_mutex_t life;
        _Atomic uint32_t words[16];
    };
    _Atomic uint32_t life_word;  /* W1: which of words[] is the mutex's futex word */
    _Atomic uint32_t life_value; /* W1: and what it says while the worker lives */
    _Atomic uint32_t ready;      /* W1: it has asked for a task */
    _Atomic uint32_t state;
    ac_futex park;            /* W1 sets 0 and sleeps on it; whoever wakes it sets 1 */
    _Atomic uint32_t running; /* W1: slot index + 1, a hint */
    _Atomic uint64_t tasks;   /* W1 */
    _Atomic uint64_t
        returned;             /* list of result blocks that the parent is done with: P pushes, W1 takes all */
    _Atomic int64_t peak_rss; /* W1, bytes; a hint */
    int32_t pid;              /* W1 */
    uint32_t pad[19];
};
static_assert(sizeof(pthread_mutex_t) <= 64, "a mutex fits its seat");
static_assert(sizeof(struct ac__seat) == 192, "a seat is three cache lines");

enum { AC__RINGS = 24, AC__IDLE_WORDS = AC_POOL_WORKERS / 64, AC__RING_FIRST_BITS = 10 };
#define AC__POSITION ((UINT64_C(1) << 56) - 1) /* of queue_head; the top byte is the ring's number */

struct ac__head {
    uint64_t magic;
    uint32_t version;
    uint32_t header_size;
    uint64_t capacity;
    uint64_t workers_at, spans_at, slots_at, data_at;
    uint32_t slot_count, span_count; /* spans [0, data_at / AC__SPAN) are no one's */
    int32_t parent_pid;
    uint32_t usable_cpus;
    _Atomic uint64_t config;     /* P: key of ac_pool_set_config */
    _Atomic uint32_t seats_used; /* P: ids below this have been given out */
    /* The queue: a ring of slot indexes, P writes; ring k has 2^(AC__RING_FIRST_BITS + k) entries. */
    _Alignas(64) _Atomic uint64_t queue_tail; /* P: position */
    _Atomic uint32_t closing;                 /* P: workers leave when the queue is empty */
    uint64_t rings[AC__RINGS];                /* P: offsets */
    /* W and P: ring number and position; only ever a hint where to look */
    _Alignas(64) _Atomic uint64_t queue_head;
    /* Sleep and wake-up */
    _Alignas(64) _Atomic uint64_t spinner; /* W: id + 1 of the one that spins, and since when (us) << 16 */
    _Atomic uint64_t coming;               /* P: arguments that are being copied: ac__coming_word */
    _Atomic int32_t parent_cpu;            /* P: where it submitted last; a hint */
    ac_futex attach_bell;                  /* W: counts attaches; the supervisor sleeps on it */
    _Atomic uint64_t idle[AC__IDLE_WORDS]; /* W sets its bit before it sleeps, the waker clears it */
    /* Bells and lists to the parent */
    _Alignas(64) _Atomic uint32_t done_head; /* W push, P takes all: slot index + 1 */
    _Atomic uint32_t done_sleeping;
    ac_futex done_bell;
    _Atomic uint64_t returned; /* W push, P takes all: argument blocks whose last view died */
};
static_assert(sizeof(struct ac__head) <= AC__PAGE, "the head fits its page");

/* In front of every block. `record` is an index into the books of the process that allocated it. */
struct ac__block_head {
    uint64_t size; /* this head, the sizes and the parts */
    uint32_t
        count; /* parts; their sizes follow this head, then the parts, each at a multiple of AC_POOL_ALIGN */
    uint32_t record;
    _Atomic uint64_t next; /* link of a `returned` list: offset */
    uint16_t kind;         /* shared messages: the kind */
    uint16_t pad0;
    uint32_t pad1;
};
static_assert(sizeof(struct ac__block_head) == 32, "the block head is part of the layout");

enum {
    AC__OWNER_FREE = 0,
    AC__OWNER_PARENT = 1,
    AC__OWNER_RETIRED = 2, /* of a worker that died; freed by the parent when its last view is gone */
    AC__OWNER_WORKER = 16, /* + id */
};

/* The first two sizes of a segment: what the tables take, from the capacity. */
static inline uint64_t ac__round_up(uint64_t value, uint64_t to) {
    return (value + to - 1) / to * to;
}

#endif
