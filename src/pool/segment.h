/* segment.h - the mapping, its tables and spans; the side-neutral half of the engine (segment.c, copy.c,
 * block.c, queue.c). */
#ifndef AC_POOL_SEGMENT_H
#define AC_POOL_SEGMENT_H

#include <pthread.h>

#include "base/base.h"
#include "pool/heap.h"
#include "pool/layout.h"

struct ac__segment {
    char *base;
    uint64_t capacity;
    int fd;
    struct ac__head *head;
    struct ac__seat *seats;
    _Atomic uint32_t *spans;
    struct ac__slot *slots;
    /* copies of what the head says, so that a wild write to it leads nobody astray */
    uint32_t slot_count, span_count;
    uint64_t data_at;
};

/* --- segment.c */
int ac__segment_create(uint64_t capacity, struct ac__segment *ret);
void ac__segment_head(struct ac__segment *segment);    /* write what the head says of the layout */
int ac__segment_open(int fd, struct ac__segment *ret); /* takes fd over on success */
void ac__segment_close(struct ac__segment *segment);   /* closes and unmaps; a zeroed one is a no-op */
/* Take `count` neighbouring free spans for owner. 0 or -ENOSPC. Any process, any time. */
int ac__span_claim(struct ac__segment *segment, uint32_t owner, uint32_t count, uint32_t *ret_first);
static inline uint32_t ac__span_of(uint64_t offset) {
    return (uint32_t)(offset / AC__SPAN);
}
/* offset .. offset + size lies in spans of `owner`, all of it. Any two numbers may be asked about. */
bool ac__span_owned(const struct ac__segment *segment, uint32_t owner, uint64_t offset, uint64_t size);

/* --- copy.c */
/* Copy into the segment at `offset`; pages from `touched` on are not there yet. 0 or -ENOMEM, -ENOSPC. */
int ac__copy_in(struct ac__segment *segment, uint64_t offset, const void *data, size_t size,
                uint64_t touched);

/* --- block.c: one process's side of the segment: its heap, and its handles on blocks */
enum ac__block_kind {
    AC__BLOCK_OWN,    /* of our heap, not sent yet */
    AC__BLOCK_LENT,   /* of the other side's heap: to be given back */
    AC__BLOCK_SHARED, /* ac_pool_share: nobody counts */
};
struct ac__side {
    struct ac__segment segment;
    pthread_mutex_t lock; /* heap, and the parent's books */
    struct ac__heap heap;
    uint32_t owner;        /* our mark in the span table */
    uint64_t keep_bytes;   /* free warm memory to keep */
    uint64_t largest;      /* a message of more bytes than that cannot be */
    unsigned generation;   /* of forks: ac__side_foreign */
    _Atomic uint32_t refs; /* one for the pool or worker itself, one a handle */
    struct ac__side *next; /* all sides of this process, for fork */
    /* Give a lent block back; called with the lock held. */
    void (*give_back)(struct ac__side *side, struct ac_block *block);
    void (*drain)(struct ac__side *side); /* take what the other side has given back; lock held */
    void (*free)(struct ac__side *side);  /* the last reference is gone */
};
struct ac_block {
    _Atomic uint32_t refs;
    enum ac__block_kind kind;
    struct ac__side *side;
    uint64_t offset, size;
    uint32_t record;      /* OWN: ours; LENT: the other's, as it says */
    uint32_t worker;      /* LENT, parent: whose heap, and */
    uint32_t incarnation; /* which of those that sat there */
};
int ac__side_init(struct ac__side *side, uint32_t owner);
void ac__side_unref(struct ac__side *side);
/* We are in a forked child of the process that made it: hands off. */
bool ac__side_foreign(const struct ac__side *side);

/* Lock held: room on our heap, drained and grown as need be. 0 or -ENOMEM. */
int ac__room_take(struct ac__side *side, uint64_t size, uint32_t *ret_record);
/* Room for parts of these sizes: the block's head and sizes are written. Lock not held. 0, -ENOMEM, -E2BIG.
 */
int ac__block_reserve(struct ac__side *side, const size_t *sizes, uint32_t count, struct ac_message *ret);
/* The same, and copy the parts in. */
int ac__block_fill(struct ac__side *side, const struct ac_part *parts, uint32_t count,
                   struct ac_message *ret);
/* The handle is given up: the block has been sent. Its offset and record are the caller's from now on. */
void ac__block_sent(struct ac_message *message);
/* Read a message at `offset` that `owner` wrote. Makes a LENT or SHARED
 * handle. 0, -EBADMSG: it does not add up, or -ENOMEM. Lock held or not. */
int ac__block_open(struct ac__side *side, uint64_t offset, uint32_t owner, enum ac__block_kind kind,
                   struct ac_message *ret);
/* Lock held: take a block off our heap, by its handle's numbers. */
void ac__block_free(struct ac__side *side, uint32_t record);
/* Push on, and take all of, a list of blocks by their heads' links. */
void ac__returned_push(struct ac__segment *segment, _Atomic uint64_t *list, uint64_t offset);
/* Free all of our heap's blocks on it, calling `each` first. Stops at the first entry that is none. */
void ac__returned_take(struct ac__side *side, _Atomic uint64_t *list,
                       void (*each)(struct ac__side *side, uint32_t record));

/* --- queue.c: who runs next, who sleeps */
/* Parent, lock held: append. 0 or -ENOMEM (the ring could not grow). */
struct ac__queue { /* the parent's own copy */
    uint64_t tail;
    uint32_t ring;
    uint32_t *entries;
};
int ac__queue_init(struct ac__side *side, struct ac__queue *queue);
int ac__queue_push(struct ac__side *side, struct ac__queue *queue, uint32_t slot);
/* Parent, lock held: put the ends back where they can be, should a wild write have moved them. */
void ac__queue_repair(struct ac__side *side, struct ac__queue *queue);
/* Worker: claim the first queued task. Index, or AC__NONE. */
uint32_t ac__queue_claim(struct ac__segment *segment, uint32_t worker);
bool ac__queue_empty(struct ac__segment *segment); /* as far as the head tells */
uint64_t ac__queue_depth(struct ac__segment *segment);
/* Wake up to `count` sleeping workers; a worker that spins counts for one. Returns the wake calls made. */
int ac__wake_some(struct ac__segment *segment, uint64_t count, int64_t now_ns);
void ac__wake_all(struct ac__segment *segment);
bool ac__idle_any(struct ac__segment *segment);

/* --- spin.c: waiting without sleeping */
struct ac__spin {
    _Atomic int64_t mean_ns; /* of the gaps waited for lately; a hint: threads may overwrite each other's */
};
enum { AC__SPIN_NS = 50000 };
bool ac__spin_allowed(const struct ac__spin *spin, uint32_t cpus);
void ac__spin_note(struct ac__spin *spin, int64_t gap_ns);
/* Spin for at most AC__SPIN_NS, or while something is `coming`, until done(arg); yields after 2 us. */
bool ac__spin_until(bool (*done)(void *arg), void *arg, int64_t start_ns, const _Atomic uint64_t *coming);

/* What is being copied is as good as there: whoever waits for it is told so before the copy, wakes up while
 * it is made, and spins for the rest. A hint: from when (us) << 16, on which CPU, and how
 * long at most (us). */
enum { AC__COMING_FROM = 64 << 10, AC__COMING_TO = 2 << 20 };           /* bytes for which that is worth it */
uint64_t ac__coming_parts(const struct ac_part *parts, uint32_t count); /* 0: not worth it */
void ac__coming_over(_Atomic uint64_t *coming); /* it has come: nobody spins for it any more */
int64_t ac__coming_from(uint64_t word);
int64_t ac__gap(int64_t start_ns, int64_t now_ns, uint64_t coming); /* to be noted */
int64_t ac__coming_until(uint64_t word, int64_t now_ns);            /* 0: nothing is */

#endif
