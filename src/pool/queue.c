/* queue.c - the queue of tasks, and waking workers for it.
 *
 * Usage: the parent pushes slot indexes (one at a time, under its lock); workers claim. A ring of indexes
 * with a tail that the parent moves and a head that everybody moves.
 *
 * Why nothing is lost, whoever dies where: a task is taken by one compare-and-swap of its slot's state word
 * from QUEUED to RUNNING(w), and by nothing else. The ring only says where to look. Any slot found QUEUED may
 * rightly be claimed, however it was found, so a stale ring entry does no harm. The head moves past a
 * position only after the slot there was seen not QUEUED at a time when the head still stood there; a slot is
 * made QUEUED before the tail covers its position (release; acquire on the tail), so what was seen is its
 * present or a later life: the present one has been claimed or cancelled, the later one has a later position.
 * A worker killed before its claim leaves the task queued, after it leaves RUNNING(w), which its death is
 * matched with; killed before it moves the head, the next one moves it.
 *
 * Growing: the parent copies the live entries to a ring of twice the size at the same positions, and swaps
 * the ring's number, which shares a word with the head's position, in. Old rings stay (half the memory
 * again), so a worker that still reads one reads old indexes, which is harmless; its move of the head fails,
 * since the word has changed.
 *
 * Waking: a worker sets its idle bit, then looks at the queue once more, then sleeps. The parent moves the
 * tail, then looks at the idle bits. Between each pair is a full fence, so at least one sees the other. Who
 * clears a bit owes that worker a wake-up. A worker that finds, on leaving its park, that its bit was cleared
 * by another has used up a wake-up that was meant for some task; as long as tasks are queued it passes it on
 * (ac__queue_claim's caller, baton). If a worker dies owing one, the parent wakes everybody when it sees the
 * death. The wake-up for arguments that are still being copied (task.c) comes before the tail is moved, and
 * counts for nothing here: the worker looks, finds nothing, and either spins, which it says in the head, or
 * sets its bit again; the parent looks at both after it has moved the tail. */
#include <limits.h>
#include <string.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/kill.h"
#include "pool/segment.h"

static uint64_t ring_size(uint32_t ring) {
    return UINT64_C(1) << (AC__RING_FIRST_BITS + ring);
}

static int ring_new(struct ac__side *side, uint32_t ring, uint64_t *ret_offset) {
    uint32_t record;
    int error = ac__room_take(side, ring_size(ring) * sizeof(uint32_t), &record);
    if (error == 0) {
        *ret_offset = side->heap.extents[record].offset; /* never freed: lives as long as the segment */
    }
    return error;
}

int ac__queue_init(struct ac__side *side, struct ac__queue *queue) {
    uint64_t offset = 0;
    int error = ring_new(side, 0, &offset);
    if (error < 0) {
        return error;
    }
    side->segment.head->rings[0] = offset;
    *queue = (struct ac__queue){.entries = (void *)(side->segment.base + offset)};
    return 0;
}

/* The head's position as the parent may use it: a nonsensical one counts as the tail less what fits. */
static uint64_t head_position(const struct ac__queue *queue, uint64_t head) {
    uint64_t position = head & AC__POSITION;
    uint64_t size = ring_size(queue->ring);
    if (position > queue->tail || queue->tail - position > size) {
        return queue->tail > size ? queue->tail - size : 0;
    }
    return position;
}

static int grow(struct ac__side *side, struct ac__queue *queue) {
    struct ac__head *head = side->segment.head;
    uint32_t ring = queue->ring + 1;
    uint64_t offset = 0;
    if (ring >= AC__RINGS) {
        return -ENOMEM;
    }
    int error = ring_new(side, ring, &offset);
    if (error < 0) {
        return error;
    }
    uint32_t *entries = (void *)(side->segment.base + offset);
    uint64_t old = ring_size(queue->ring);
    for (uint64_t at = queue->tail > old ? queue->tail - old : 0; at < queue->tail; at++) {
        entries[at & (ring_size(ring) - 1)] = queue->entries[at & (old - 1)];
    }
    head->rings[ring] = offset;
    uint64_t seen = ac_load_relaxed(&head->queue_head);
    while (!ac_cas_acq_rel(&head->queue_head, &seen, (uint64_t)ring << 56 | head_position(queue, seen))) {
    }
    queue->ring = ring;
    queue->entries = entries;
    return 0;
}

/* Entries are written and read as atomics: a reader of an old position may race with a writer of a new one.
 */
static _Atomic uint32_t *entry(uint32_t *entries, uint64_t position, uint32_t ring) {
    return (_Atomic uint32_t *)&entries[position & (ring_size(ring) - 1)];
}

int ac__queue_push(struct ac__side *side, struct ac__queue *queue, uint32_t slot) {
    struct ac__head *head = side->segment.head;
    uint64_t position = head_position(queue, ac_load_acquire(&head->queue_head));
    if (queue->tail - position >= ring_size(queue->ring)) {
        int error = grow(side, queue);
        if (error < 0) {
            return error;
        }
    }
    ac_store_relaxed(entry(queue->entries, queue->tail, queue->ring), slot);
    AC_KILL_POINT(P_RING_WRITTEN);
    queue->tail++;
    ac_store_release(&head->queue_tail, queue->tail);
    AC_KILL_POINT(P_TAIL_MOVED);
    return 0;
}

void ac__queue_repair(struct ac__side *side, struct ac__queue *queue) {
    struct ac__head *head = side->segment.head;
    uint64_t seen = ac_load_acquire(&head->queue_head);
    while (seen >> 56 != queue->ring || head_position(queue, seen) != (seen & AC__POSITION)) {
        if (ac_cas_acq_rel(&head->queue_head, &seen,
                           (uint64_t)queue->ring << 56 | head_position(queue, seen))) {
            break;
        }
    }
    ac_store_release(&head->queue_tail, queue->tail);
    head->rings[queue->ring] = (uint64_t)((char *)queue->entries - side->segment.base);
}

bool ac__queue_empty(struct ac__segment *segment) {
    return (ac_load_acquire(&segment->head->queue_head) & AC__POSITION) >=
           ac_load_acquire(&segment->head->queue_tail);
}

uint64_t ac__queue_depth(struct ac__segment *segment) {
    uint64_t head = ac_load_acquire(&segment->head->queue_head) & AC__POSITION;
    uint64_t tail = ac_load_acquire(&segment->head->queue_tail);
    return head < tail ? tail - head : 0;
}

static uint32_t try_claim(struct ac__segment *segment, uint32_t index, uint32_t worker) {
    struct ac__slot *slot = &segment->slots[index];
    uint32_t word = ac_load_acquire(&slot->state);
    while (ac__phase(word) == AC_TASK_QUEUED) {
        uint32_t flags = word & (AC__WAITER | AC__NOTIFY);
        uint32_t mine = ac__word(AC_TASK_RUNNING, worker, word >> AC__GENERATION_SHIFT) | flags;
        AC_KILL_POINT(CLAIM_FOUND);
        if (ac_cas_acq_rel(&slot->state, &word, mine)) {
            AC_KILL_POINT(CLAIM_SWAPPED);
            return index;
        }
    }
    return AC__NONE;
}

uint32_t ac__queue_claim(struct ac__segment *segment, uint32_t worker) {
    struct ac__head *head = segment->head;
    uint64_t seen = ac_load_acquire(&head->queue_head);
    for (;;) {
        uint64_t position = seen & AC__POSITION;
        uint32_t ring = (uint32_t)(seen >> 56);
        if (position >= ac_load_acquire(&head->queue_tail) || ring >= AC__RINGS) {
            return AC__NONE;
        }
        uint64_t offset = head->rings[ring];
        uint64_t size = ring_size(ring) * sizeof(uint32_t);
        if (offset % sizeof(uint32_t) != 0 || size > segment->capacity || offset > segment->capacity - size) {
            return AC__NONE; /* a wild write: until the parent has repaired it */
        }
        uint32_t *entries = (void *)(segment->base + offset);
        uint32_t index = ac_load_relaxed(entry(entries, position, ring));
        uint32_t got = index < segment->slot_count ? try_claim(segment, index, worker) : AC__NONE;
        bool moved = ac_cas_acq_rel(&head->queue_head, &seen, seen + 1);
        if (got != AC__NONE) {
            AC_KILL_POINT(CLAIM_ADVANCED);
            return got;
        }
        if (moved) {
            seen++;
        }
    }
}

bool ac__idle_any(struct ac__segment *segment) {
    for (int i = 0; i < AC__IDLE_WORDS; i++) {
        if (ac_load_relaxed(&segment->head->idle[i]) != 0) {
            return true;
        }
    }
    return false;
}

static void wake(struct ac__segment *segment, uint32_t worker) {
    ac_futex *park = &segment->seats[worker].park;
    ac_store_release(park, 1);
    AC_KILL_POINT(BATON_MARKED);
    ac_futex_wake(park, INT_MAX);
    AC_KILL_POINT(P_WOKEN);
}

/* Clear one idle bit; the worker that it was, or AC__NONE. */
static uint32_t take_idle(struct ac__segment *segment) {
    for (uint32_t i = 0; i < AC__IDLE_WORDS; i++) {
        _Atomic uint64_t *word = &segment->head->idle[i];
        uint64_t bits = ac_load_relaxed(word);
        while (bits != 0) {
            if (ac_cas_acq_rel(word, &bits, bits & (bits - 1))) {
                return i * 64 + (uint32_t)__builtin_ctzll(bits);
            }
        }
    }
    return AC__NONE;
}

/* A spinner that has been at it for longer than it may has been stopped or preempted: it does not count. It
 * may for longer where it was spinning when the arguments that are just there were announced. */
static bool spinner_counts(struct ac__segment *segment, int64_t now_ns) {
    uint64_t spinner = ac_load_relaxed(&segment->head->spinner);
    uint64_t coming = ac_load_relaxed(&segment->head->coming);
    int64_t since_ns = (int64_t)(spinner >> 16) * 1000;
    int64_t at_ns = now_ns < ac__coming_until(coming, now_ns) ? ac__coming_from(coming) : now_ns;
    return spinner != 0 && since_ns <= now_ns && at_ns - since_ns < 2 * AC__SPIN_NS;
}

int ac__wake_some(struct ac__segment *segment, uint64_t count, int64_t now_ns) {
    int woken = 0;
    ac_fence_full(); /* the tail that we moved, before the bits that we read: see the top */
    if (!ac__idle_any(segment)) {
        return 0;
    }
    if (spinner_counts(segment, now_ns)) {
        uint64_t depth = ac__queue_depth(segment);
        count = ac_min(count, depth > 0 ? depth - 1 : 0);
    }
    while (count-- > 0) {
        uint32_t worker = take_idle(segment);
        if (worker == AC__NONE) {
            break;
        }
        AC_KILL_POINT(BATON_TAKEN);
        AC_KILL_POINT(P_IDLE_CLEARED);
        wake(segment, worker);
        woken++;
    }
    return woken;
}

void ac__wake_all(struct ac__segment *segment) {
    uint32_t used = ac_min(ac_load_acquire(&segment->head->seats_used), (uint32_t)AC_POOL_WORKERS);
    for (uint32_t worker = 0; worker < used; worker++) {
        wake(segment, worker); /* an empty seat's too: its state is the worker's word */
    }
}
