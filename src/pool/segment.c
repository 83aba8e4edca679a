/* segment.c - making, opening and dividing the segment.
 *
 * Spans are the unit in which processes take memory: whoever needs some claims free spans by compare-and-swap
 * of the table's words from FREE to its own mark, and then runs a private heap in them. A process killed
 * between two words leaves spans that are marked as its own and hold nothing: the parent finds them when it
 * sweeps the table for the dead one. Nobody else ever changes a word that is not FREE. */
#include "pool/segment.h"

#include <unistd.h>

#include "base/atomics.h"
#include "os/os.h"
#include "pool/kill.h"

enum { TASKS_MIN = 1 << 12 };

/* Address space costs nothing, but where TSan leaves little of it. */
#ifdef __SANITIZE_THREAD__
#define RESERVE (UINT64_C(1) << 36)
#else
#define RESERVE (UINT64_C(1) << 40)
#endif

static uint64_t tables_size(struct ac__head *head, uint64_t capacity) {
    uint64_t slots = ac_min(ac_max(capacity / 4096, (uint64_t)TASKS_MIN), (uint64_t)AC_POOL_TASKS);
    head->slot_count = (uint32_t)slots;
    head->span_count = (uint32_t)(capacity / AC__SPAN);
    head->workers_at = AC__PAGE;
    head->spans_at = ac__round_up(head->workers_at + AC_POOL_WORKERS * sizeof(struct ac__seat), AC__PAGE);
    head->slots_at = ac__round_up(head->spans_at + head->span_count * sizeof(uint32_t), AC__PAGE);
    head->data_at = ac__round_up(head->slots_at + slots * sizeof(struct ac__slot), AC__SPAN);
    return head->data_at;
}

static void point(struct ac__segment *segment) {
    struct ac__head *head = segment->head;
    segment->seats = (void *)(segment->base + head->workers_at);
    segment->spans = (void *)(segment->base + head->spans_at);
    segment->slots = (void *)(segment->base + head->slots_at);
    segment->slot_count = head->slot_count;
    segment->span_count = head->span_count;
    segment->data_at = head->data_at;
}

static int reserve(uint64_t capacity, struct ac__segment *ret) {
    void *base;
    int fd;
    int error = ac_memfd_create("allcores", capacity, &fd);
    if (error < 0) {
        return error;
    }
    error = ac_memfd_map(fd, capacity, &base);
    if (error < 0) {
        close(fd);
        return error;
    }
    *ret = (struct ac__segment){.base = base, .capacity = capacity, .fd = fd, .head = base};
    return 0;
}

void ac__segment_head(struct ac__segment *segment) {
    struct ac__head *head = segment->head;
    tables_size(head, segment->capacity);
    head->magic = AC__MAGIC;
    head->version = AC__VERSION;
    head->header_size = sizeof(*head);
    head->capacity = segment->capacity;
    head->parent_pid = getpid();
}

int ac__segment_create(uint64_t capacity, struct ac__segment *ret) {
    struct ac__segment segment = {0};
    struct ac_cpu_limits cpus;
    uint64_t least = 4 * AC__SPAN;
    uint64_t size = ac__round_up(capacity != 0 ? capacity : RESERVE, AC__SPAN);
    int error = reserve(ac_max(size, least), &segment);
    bool limited = false;
    while (error < 0 && capacity == 0 && size / 2 >= least && error != -EMFILE && error != -ENFILE) {
        limited = true; /* on address space or file size: less will do */
        size /= 2;
        error = reserve(size, &segment);
    }
    if (error == 0 && limited) { /* the program wants some too, and a forked worker has its own and ours */
        ac__segment_close(&segment);
        error = reserve(ac_max(size / 4, least), &segment);
    }
    if (error < 0) {
        return error;
    }
    struct ac__head *head = segment.head;
    ac__segment_head(&segment);
    head->usable_cpus = ac_cpus_of(getpid(), "", &cpus) == 0 ? (uint32_t)ac_max(cpus.usable, 1.0) : 1;
    point(&segment);
    *ret = segment;
    return 0;
}

int ac__segment_open(int fd, struct ac__segment *ret) {
    struct ac__head expected;
    uint64_t size;
    void *base;
    int error = ac_memfd_check(fd, &size);
    if (error == 0 && size < AC__PAGE) {
        error = -EINVAL;
    }
    if (error == 0) {
        error = ac_memfd_map(fd, size, &base);
    }
    if (error < 0) {
        return error;
    }
    struct ac__segment segment = {.base = base, .capacity = size, .fd = fd, .head = base};
    struct ac__head *head = segment.head;
    tables_size(&expected, size);
    if (head->magic != AC__MAGIC || head->version != AC__VERSION || head->header_size != sizeof(*head) ||
        head->capacity != size || head->workers_at != expected.workers_at ||
        head->spans_at != expected.spans_at || head->slots_at != expected.slots_at ||
        head->data_at != expected.data_at || head->slot_count != expected.slot_count ||
        head->span_count != expected.span_count) {
        ac_memfd_unmap(base, size);
        return -EINVAL;
    }
    point(&segment);
    *ret = segment;
    return 0;
}

void ac__segment_close(struct ac__segment *segment) {
    if (segment->base != NULL) {
        ac_memfd_unmap(segment->base, segment->capacity);
        close(segment->fd);
    }
    *segment = (struct ac__segment){.fd = -1};
}

static bool claim_run(struct ac__segment *segment, uint32_t owner, uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t free = AC__OWNER_FREE;
        if (!ac_cas_acq_rel(&segment->spans[first + i], &free, owner)) {
            while (i-- > 0) {
                ac_store_release(&segment->spans[first + i], AC__OWNER_FREE);
            }
            return false;
        }
        AC_KILL_POINT(SPAN_CLAIMED);
    }
    return true;
}

int ac__span_claim(struct ac__segment *segment, uint32_t owner, uint32_t count, uint32_t *ret_first) {
    uint32_t run = 0;
    for (uint32_t span = ac__span_of(segment->data_at); span < segment->span_count; span++) {
        run = ac_load_relaxed(&segment->spans[span]) == AC__OWNER_FREE ? run + 1 : 0;
        if (run == count) {
            uint32_t first = span + 1 - count;
            if (claim_run(segment, owner, first, count)) {
                *ret_first = first;
                return 0;
            }
            run = 0; /* lost a race: look on behind it */
        }
    }
    return -ENOSPC;
}

bool ac__span_owned(const struct ac__segment *segment, uint32_t owner, uint64_t offset, uint64_t size) {
    if (offset < segment->data_at || offset > segment->capacity || size > segment->capacity - offset ||
        size == 0) {
        return false;
    }
    for (uint32_t span = ac__span_of(offset); span <= ac__span_of(offset + size - 1); span++) {
        if (ac_load_acquire(&segment->spans[span]) != owner) {
            return false;
        }
    }
    return true;
}
