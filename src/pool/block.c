/* block.c - messages in the segment, and one process's handles on them.
 *
 * Usage: ac__block_reserve takes room off our heap and lays a message out in it; its bytes are written; it is
 * sent by putting its offset into a slot (ac__block_sent). The other side opens it (ac__block_open), reads in
 * place, and gives it back when its last reference dies, by pushing it onto a list that the heap's owner
 * takes when it next needs room.
 *
 * Why nothing is freed twice or lost: only the process whose heap a block belongs to frees it, under its
 * lock, and only when its private books say that it is in use. A `returned` list is a stack whose takers take
 * all of it by one exchange, so a link is never read while its block may be pushed again. A worker killed
 * before its push has not given the block back: the parent finds it among those that the dead one held
 * (pool.c). One killed after has. A list that was written over is followed only through entries that the
 * books know as sent, each of which leaves the books when it is met: no cycle, no double free; what was
 * behind the break is leaked until its holder dies. Whether a span that the table calls free is free is asked
 * of our books too.
 *
 * fork(): a forked child gets a private copy of the mapping (what it writes stays with it) and a new fork
 * generation, by which every call sees that it is not in the process that made the pool. */
#include <string.h>
#include <sys/mman.h>

#include "base/atomics.h"
#include "os/shared.h"
#include "pool/kill.h"
#include "pool/segment.h"

#ifdef AC_KILL_POINTS
void (*ac__kill_hook)(enum ac__kill_point point);
#endif

/* --- fork */
static struct {
    pthread_once_t once;
    pthread_mutex_t lock;
    struct ac__side *first;
    _Atomic unsigned generation;
} forks = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

static void before_fork(void) {
    pthread_mutex_lock(&forks.lock);
}

static void after_fork_parent(void) {
    pthread_mutex_unlock(&forks.lock);
}

static void after_fork_child(void) {
    for (struct ac__side *side = forks.first; side != NULL; side = side->next) {
        struct ac__segment *segment = &side->segment;
        if (mmap(segment->base, segment->capacity, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, segment->fd, 0) == MAP_FAILED) {
            mprotect(segment->base, segment->capacity, PROT_READ); /* limits: then it cannot write at all */
        }
    }
    ac_add_relaxed(&forks.generation, 1);
    pthread_mutex_unlock(&forks.lock);
}

static void watch_forks(void) {
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

bool ac__side_foreign(const struct ac__side *side) {
    return side->generation != ac_load_relaxed(&forks.generation);
}

int ac__side_init(struct ac__side *side, uint32_t owner) {
    pthread_once(&forks.once, watch_forks);
    side->owner = owner;
    side->largest = ac_min(side->segment.capacity, ac_memory_total());
    side->generation = ac_load_relaxed(&forks.generation);
    atomic_init(&side->refs, 1);
    pthread_mutex_init(&side->lock, NULL);
    pthread_mutex_lock(&forks.lock);
    side->next = forks.first;
    forks.first = side;
    pthread_mutex_unlock(&forks.lock);
    return 0;
}

void ac__side_unref(struct ac__side *side) {
    if (atomic_fetch_sub_explicit(&side->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    pthread_mutex_lock(&forks.lock);
    for (struct ac__side **at = &forks.first; *at != NULL; at = &(*at)->next) {
        if (*at == side) {
            *at = side->next;
            break;
        }
    }
    pthread_mutex_unlock(&forks.lock);
    ac__segment_close(&side->segment);
    ac__heap_clear(&side->heap);
    side->free(side);
}

/* --- handles */
static struct ac_block *handle_new(struct ac__side *side, enum ac__block_kind kind, uint64_t offset,
                                   uint64_t size, uint32_t record) {
    struct ac_block *block = ac_calloc(1, sizeof(*block));
    if (block != NULL) {
        *block =
            (struct ac_block){.kind = kind, .side = side, .offset = offset, .size = size, .record = record};
        atomic_init(&block->refs, 1);
        ac_add_relaxed(&side->refs, 1);
    }
    return block;
}

static void handle_free(struct ac_block *block) {
    struct ac__side *side = block->side;
    ac_free(block);
    ac__side_unref(side);
}

void ac_block_ref(struct ac_block *block) {
    ac_add_relaxed(&block->refs, 1);
}

void ac_block_unref(struct ac_block *block) {
    if (block == NULL || atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct ac__side *side = block->side;
    if (!ac__side_foreign(side) && block->kind != AC__BLOCK_SHARED) {
        pthread_mutex_lock(&side->lock);
        if (block->kind == AC__BLOCK_OWN) {
            ac__block_free(side, block->record);
        } else {
            side->give_back(side, block);
        }
        pthread_mutex_unlock(&side->lock);
    }
    handle_free(block);
}

size_t ac_block_size(const struct ac_block *block) {
    return (size_t)block->size;
}

/* --- messages */
static int parts_room(struct ac_message *message, uint32_t count) {
    *message = (struct ac_message){.count = count, .parts = message->few};
    if (count > AC_COUNT(message->few)) {
        message->parts = ac_calloc(count, sizeof(*message->parts));
    }
    return message->parts != NULL ? 0 : -ENOMEM;
}

static void parts_free(struct ac_message *message) {
    if (message->parts != message->few) {
        ac_free(message->parts);
    }
}

void ac_message_clear(struct ac_message *message) {
    parts_free(message);
    ac_block_unref(message->block);
    *message = (struct ac_message){0};
}

void ac__block_sent(struct ac_message *message) {
    parts_free(message);
    if (message->block != NULL) {
        handle_free(message->block);
    }
    *message = (struct ac_message){0};
}

static uint64_t parts_from(uint32_t count) {
    return ac__round_up(sizeof(struct ac__block_head) + (uint64_t)count * sizeof(uint64_t), AC_POOL_ALIGN);
}

static int measure(const size_t *sizes, uint32_t count, uint64_t limit, uint64_t *ret_size) {
    uint64_t total = parts_from(count);
    if (count > AC_POOL_PARTS) {
        return -E2BIG;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (sizes[i] > limit - ac_min(total, limit)) {
            return -ENOMEM;
        }
        total += ac__round_up(sizes[i], AC_POOL_ALIGN);
    }
    *ret_size = total;
    return total <= limit ? 0 : -ENOMEM;
}

/* Lock held. First what is free, then what the other side has given back, then new spans. */
int ac__room_take(struct ac__side *side, uint64_t size, uint32_t *ret_record) {
    uint32_t spans = (uint32_t)((size + AC__SPAN - 1) / AC__SPAN);
    uint32_t first;
    side->drain(side);
    int error = ac__heap_alloc(&side->heap, size, ret_record);
    if (error != -ENOSPC) {
        return error;
    }
    do {
        error = ac__span_claim(&side->segment, side->owner, spans, &first);
        if (error < 0) {
            return -ENOMEM;
        }
        error = ac__heap_add(&side->heap, first * AC__SPAN, spans * AC__SPAN);
    } while (error == -EEXIST); /* a wild write had called spans of ours free: now they are marked again */
    if (error < 0) {
        for (uint32_t i = 0; i < spans; i++) {
            ac_store_release(&side->segment.spans[first + i], AC__OWNER_FREE);
        }
        return error;
    }
    return ac__heap_alloc(&side->heap, size, ret_record);
}

static void lay_out(struct ac__side *side, uint64_t offset, uint64_t size, uint32_t record,
                    const size_t *sizes, struct ac_message *message) {
    char *base = side->segment.base + offset;
    struct ac__block_head *head = (void *)base;
    uint64_t *table = (void *)(head + 1);
    uint64_t at = parts_from(message->count);
    *head = (struct ac__block_head){.size = size, .count = message->count, .record = record};
    for (uint32_t i = 0; i < message->count; i++) {
        table[i] = sizes[i];
        message->parts[i] = (struct ac_view){base + at, sizes[i]};
        at += ac__round_up(sizes[i], AC_POOL_ALIGN);
    }
    AC_KILL_POINT(BLOCK_HEADED);
}

static int reserve(struct ac__side *side, const size_t *sizes, uint32_t count, uint64_t *ret_touched,
                   struct ac_message *ret) {
    struct ac_block *block = NULL;
    uint64_t size = 0;
    uint32_t record = 0;
    int error = measure(sizes, count, side->largest, &size);
    if (error < 0) {
        return error;
    }
    error = parts_room(ret, count);
    if (error < 0) {
        return error;
    }
    block = handle_new(side, AC__BLOCK_OWN, 0, size, 0);
    if (block == NULL) {
        parts_free(ret);
        return -ENOMEM;
    }
    pthread_mutex_lock(&side->lock);
    error = ac__room_take(side, size, &record);
    if (error == 0) {
        block->record = record;
        block->offset = side->heap.extents[record].offset;
        *ret_touched = side->heap.extents[record].touched;
    }
    pthread_mutex_unlock(&side->lock);
    if (error < 0) {
        parts_free(ret);
        handle_free(block);
        return error;
    }
    ret->block = block;
    lay_out(side, block->offset, size, record, sizes, ret);
    return 0;
}

int ac__block_reserve(struct ac__side *side, const size_t *sizes, uint32_t count, struct ac_message *ret) {
    uint64_t touched;
    int error = reserve(side, sizes, count, &touched, ret);
    if (error < 0) {
        *ret = (struct ac_message){0};
    }
    return error;
}

static int fill(struct ac__side *side, const struct ac_part *parts, const size_t *sizes, uint32_t count,
                struct ac_message *ret) {
    uint64_t touched;
    int error = reserve(side, sizes, count, &touched, ret);
    if (error < 0) {
        *ret = (struct ac_message){0};
        return error;
    }
    for (uint32_t i = 0; i < count && error == 0; i++) {
        uint64_t offset = (uint64_t)((char *)ret->parts[i].data - side->segment.base);
        error = sizes[i] > 0 ? ac__copy_in(&side->segment, offset, parts[i].data, sizes[i], touched) : 0;
    }
    AC_KILL_POINT(BLOCK_FILLED);
    if (error < 0) {
        ac_message_clear(ret);
        return -ENOMEM;
    }
    return 0;
}

int ac__block_fill(struct ac__side *side, const struct ac_part *parts, uint32_t count,
                   struct ac_message *ret) {
    size_t few[16] = {0};
    size_t *sizes = few;
    if (count > AC_POOL_PARTS) {
        return -E2BIG;
    }
    if (count > AC_COUNT(few)) {
        sizes = ac_calloc(count, sizeof(*sizes));
        if (sizes == NULL) {
            return -ENOMEM;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        sizes[i] = parts[i].size;
    }
    int error = fill(side, parts, sizes, count, ret);
    if (sizes != few) {
        ac_free(sizes);
    }
    return error;
}

int ac_message_trim(struct ac_message *message, size_t last_size) {
    struct ac_block *block = message->block;
    if (block == NULL || block->kind != AC__BLOCK_OWN || message->count == 0 ||
        last_size > message->parts[message->count - 1].size) {
        return -EINVAL;
    }
    struct ac__side *side = block->side;
    struct ac__block_head *head = (void *)(side->segment.base + block->offset);
    uint64_t *table = (void *)(head + 1);
    struct ac_view *last = &message->parts[message->count - 1];
    uint64_t size = ac__round_up((uint64_t)((char *)last->data - (char *)head) + last_size, AC_POOL_ALIGN);
    pthread_mutex_lock(&side->lock);
    int error = ac__heap_shrink(&side->heap, block->record, size);
    pthread_mutex_unlock(&side->lock);
    if (error == 0) {
        table[message->count - 1] = last_size;
        last->size = last_size;
        head->size = size;
        block->size = size;
    }
    return error;
}

/* Every number is read once, into `ret` or a local, and checked there: the writer may still be writing. */
static int read_parts(struct ac__side *side, uint64_t offset, uint64_t size, struct ac_message *ret) {
    char *base = side->segment.base + offset;
    const volatile uint64_t *table = (void *)(base + sizeof(struct ac__block_head));
    uint64_t at = parts_from(ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        uint64_t part = table[i];
        if (at > size || part > size - at) {
            return -EBADMSG;
        }
        ret->parts[i] = (struct ac_view){base + at, (size_t)part};
        at += ac__round_up(part, AC_POOL_ALIGN);
    }
    return 0;
}

int ac__block_open(struct ac__side *side, uint64_t offset, uint32_t owner, enum ac__block_kind kind,
                   struct ac_message *ret) {
    struct ac__segment *segment = &side->segment;
    if (offset % AC__HEAP_UNIT != 0 || !ac__span_owned(segment, owner, offset, AC__HEAP_UNIT)) {
        return -EBADMSG;
    }
    const volatile struct ac__block_head *head = (void *)(segment->base + offset);
    uint64_t size = head->size;
    uint32_t count = head->count;
    uint32_t record = head->record;
    uint16_t message_kind = head->kind;
    if (count > AC_POOL_PARTS || size < parts_from(count) || !ac__span_owned(segment, owner, offset, size)) {
        return -EBADMSG;
    }
    int error = parts_room(ret, count);
    if (error < 0) {
        return error;
    }
    error = read_parts(side, offset, size, ret);
    ret->block = error == 0 ? handle_new(side, kind, offset, size, record) : NULL;
    if (ret->block == NULL) {
        parts_free(ret);
        *ret = (struct ac_message){0};
        return error < 0 ? error : -ENOMEM;
    }
    ret->kind = message_kind;
    return 0;
}

void ac__block_free(struct ac__side *side, uint32_t record) {
    ac__heap_free(&side->heap, record);
    if (side->heap.free_warm > side->keep_bytes) {
        ac__heap_trim(&side->heap, side->keep_bytes / 4 * 3, side->segment.fd);
    }
}

void ac__returned_push(struct ac__segment *segment, _Atomic uint64_t *list, uint64_t offset) {
    struct ac__block_head *head = (void *)(segment->base + offset);
    uint64_t first = ac_load_relaxed(list);
    do {
        ac_store_relaxed(&head->next, first);
        AC_KILL_POINT(RETURN_LINKED);
    } while (!ac_cas_acq_rel(list, &first, offset));
    AC_KILL_POINT(RETURN_PUSHED);
}

void ac__returned_take(struct ac__side *side, _Atomic uint64_t *list,
                       void (*each)(struct ac__side *side, uint32_t record)) {
    if (ac_load_relaxed(list) == 0) {
        return;
    }
    uint64_t offset = ac_swap_acq_rel(list, 0);
    AC_KILL_POINT(RETURNED_TAKEN);
    while (offset != 0 && offset % AC__HEAP_UNIT == 0 &&
           ac__span_owned(&side->segment, side->owner, offset, sizeof(struct ac__block_head))) {
        struct ac__block_head *head = (void *)(side->segment.base + offset);
        uint32_t record = *(volatile uint32_t *)&head->record;
        uint64_t next = ac_load_relaxed(&head->next);
        const struct ac__extent *extent = ac__heap_find(&side->heap, record, offset);
        if (extent == NULL || (extent->slot == AC__NONE && extent->holder == AC__NONE)) {
            break; /* not in use, or never sent: nobody can have given it back */
        }
        if (each != NULL) {
            each(side, record);
        }
        ac__block_free(side, record);
        offset = next;
    }
}
