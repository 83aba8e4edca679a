/* heap.c - see heap.h. Rows are powers of two of the size in units, columns eighths of those. A request looks
 * first through a few of the ranges of its own list (where the block of the same size that was just freed
 * lies, its pages warm), then takes the first of the next non-empty list. Freed neighbours are merged at
 * once. */
#include "pool/heap.h"

#include "os/shared.h"
#include "pool/layout.h"

enum { FIT_TRIES = 32 };

static void place_of(uint64_t size, unsigned *ret_row, unsigned *ret_column) {
    uint64_t units = size / AC__HEAP_UNIT;
    unsigned row = 63u - (unsigned)__builtin_clzll(units);
    uint64_t column = row >= 3 ? (units >> (row - 3)) & 7 : (units << (3 - row)) & 7;
    *ret_row = row;
    *ret_column = (unsigned)column;
}

static uint64_t warm_of(const struct ac__extent *extent) {
    return extent->touched > extent->offset ? extent->touched - extent->offset : 0;
}

static void list_add(struct ac__heap *heap, uint32_t record) {
    struct ac__extent *extent = &heap->extents[record];
    unsigned row;
    unsigned column;
    place_of(extent->size, &row, &column);
    extent->kind = AC__EXTENT_FREE;
    extent->previous = 0;
    extent->next = heap->lists[row][column];
    if (extent->next != 0) {
        heap->extents[extent->next].previous = record;
    }
    heap->lists[row][column] = record;
    heap->rows |= UINT64_C(1) << row;
    heap->columns[row] = (uint8_t)(heap->columns[row] | 1u << column);
    heap->free_warm += warm_of(extent);
}

static void list_remove(struct ac__heap *heap, uint32_t record) {
    struct ac__extent *extent = &heap->extents[record];
    unsigned row;
    unsigned column;
    place_of(extent->size, &row, &column);
    if (extent->previous != 0) {
        heap->extents[extent->previous].next = extent->next;
    } else {
        heap->lists[row][column] = extent->next;
    }
    if (extent->next != 0) {
        heap->extents[extent->next].previous = extent->previous;
    }
    if (heap->lists[row][column] == 0) {
        heap->columns[row] = (uint8_t)(heap->columns[row] & ~(1u << column));
        if (heap->columns[row] == 0) {
            heap->rows &= ~(UINT64_C(1) << row);
        }
    }
    heap->free_warm -= warm_of(extent);
}

static int record_new(struct ac__heap *heap, uint32_t *ret_record) {
    if (heap->unused != 0) {
        *ret_record = heap->unused;
        heap->unused = heap->extents[heap->unused].next;
        return 0;
    }
    size_t count = ac_max(heap->count, (size_t)1);
    int error = ac_grow(&heap->extents, &heap->cap, count + 1, sizeof(struct ac__extent));
    if (error < 0) {
        return error;
    }
    *ret_record = (uint32_t)count;
    heap->count = count + 1;
    return 0;
}

static void record_drop(struct ac__heap *heap, uint32_t record) {
    heap->extents[record] = (struct ac__extent){.next = heap->unused};
    heap->unused = record;
}

/* Put a record into the order of addresses, behind `before` (0: in front of all). */
static void chain(struct ac__heap *heap, uint32_t record, uint32_t before) {
    struct ac__extent *extent = &heap->extents[record];
    struct ac__extent *left = &heap->extents[before];
    extent->before = before;
    extent->after = left->after;
    left->after = record;
    if (extent->after != 0) {
        heap->extents[extent->after].before = record;
    } else {
        heap->last = record;
    }
}

static void unchain(struct ac__heap *heap, uint32_t record) {
    struct ac__extent *extent = &heap->extents[record];
    heap->extents[extent->before].after = extent->after;
    if (extent->after != 0) {
        heap->extents[extent->after].before = extent->before;
    } else {
        heap->last = extent->before;
    }
}

/* Two free neighbours become one. A cold stretch between warm ones counts as warm: a copy into it is slower.
 */
static void swallow(struct ac__heap *heap, uint32_t left, uint32_t right) {
    struct ac__extent *into = &heap->extents[left];
    struct ac__extent *gone = &heap->extents[right];
    if (warm_of(gone) > 0) {
        into->touched = gone->touched;
    }
    into->size += gone->size;
    unchain(heap, right);
    record_drop(heap, right);
}

static bool adjoin(const struct ac__heap *heap, uint32_t left, uint32_t right) {
    const struct ac__extent *a = &heap->extents[left];
    const struct ac__extent *b = &heap->extents[right];
    return left != 0 && right != 0 && a->kind == AC__EXTENT_FREE && b->kind == AC__EXTENT_FREE &&
           a->offset + a->size == b->offset;
}

/* `record` is in the chain and in no list: merge it with free neighbours and list the whole. */
static void settle(struct ac__heap *heap, uint32_t record) {
    heap->extents[record].kind = AC__EXTENT_FREE;
    uint32_t after = heap->extents[record].after;
    if (adjoin(heap, record, after)) {
        list_remove(heap, after);
        swallow(heap, record, after);
    }
    uint32_t before = heap->extents[record].before;
    if (adjoin(heap, before, record)) {
        list_remove(heap, before);
        swallow(heap, before, record);
        record = before;
    }
    list_add(heap, record);
}

/* The last extent that begins before `end`, or 0. */
static uint32_t last_before(const struct ac__heap *heap, uint64_t end) {
    uint32_t record = heap->last;
    while (record != 0 && heap->extents[record].offset >= end) {
        record = heap->extents[record].before;
    }
    return record;
}

bool ac__heap_overlaps(const struct ac__heap *heap, uint64_t offset, uint64_t size) {
    uint32_t record = last_before(heap, offset + size);
    return record != 0 && heap->extents[record].offset + heap->extents[record].size > offset;
}

int ac__heap_add(struct ac__heap *heap, uint64_t offset, uint64_t size) {
    uint32_t record;
    if (ac__heap_overlaps(heap, offset, size)) {
        return -EEXIST;
    }
    int error = record_new(heap, &record);
    if (error < 0) {
        return error;
    }
    heap->extents[record] = (struct ac__extent){.offset = offset, .size = size, .touched = offset};
    uint32_t before = last_before(heap, offset);
    chain(heap, record, before);
    settle(heap, record);
    return 0;
}

static uint32_t find_in(const struct ac__heap *heap, uint32_t record, uint64_t size) {
    for (int tries = 0; record != 0 && tries < FIT_TRIES; tries++) {
        if (heap->extents[record].size >= size) {
            return record;
        }
        record = heap->extents[record].next;
    }
    return 0;
}

/* The first range of a list all of whose members are larger than those of (row, column). */
static uint32_t find_larger(const struct ac__heap *heap, unsigned row, unsigned column) {
    unsigned columns = heap->columns[row] & (0xfeu << column);
    if (columns == 0) {
        uint64_t rows = row < 63 ? heap->rows & (~UINT64_C(0) << (row + 1)) : 0;
        if (rows == 0) {
            return 0;
        }
        row = (unsigned)__builtin_ctzll(rows);
        columns = heap->columns[row];
    }
    return heap->lists[row][__builtin_ctz(columns)];
}

/* Cut what is beyond `size` off an extent that is in no list, and settle the rest. */
static int cut(struct ac__heap *heap, uint32_t record, uint64_t size) {
    uint32_t rest;
    if (heap->extents[record].size == size) {
        return 0;
    }
    int error = record_new(heap, &rest);
    if (error < 0) {
        return error;
    }
    struct ac__extent *extent = &heap->extents[record];
    uint64_t border = extent->offset + size;
    heap->extents[rest] = (struct ac__extent){
        .offset = border, .size = extent->size - size, .touched = ac_max(extent->touched, border)};
    extent->size = size;
    extent->touched = ac_min(extent->touched, border);
    chain(heap, rest, record);
    settle(heap, rest);
    return 0;
}

static uint64_t units_of(uint64_t size) {
    return ac__round_up(ac_max(size, (uint64_t)1), AC__HEAP_UNIT);
}

int ac__heap_alloc(struct ac__heap *heap, uint64_t size, uint32_t *ret_record) {
    unsigned row;
    unsigned column;
    size = units_of(size);
    place_of(size, &row, &column);
    if (row >= AC__HEAP_ROWS) {
        return -ENOSPC;
    }
    uint32_t record = find_in(heap, heap->lists[row][column], size);
    if (record == 0) {
        record = find_larger(heap, row, column);
    }
    if (record == 0) {
        return -ENOSPC;
    }
    list_remove(heap, record);
    heap->extents[record].kind = AC__EXTENT_USED;
    int error = cut(heap, record, size);
    if (error < 0) {
        settle(heap, record);
        return error;
    }
    heap->extents[record].slot = AC__NONE;
    heap->extents[record].holder = AC__NONE;
    heap->used_bytes += size;
    *ret_record = record;
    return 0;
}

void ac__heap_free(struct ac__heap *heap, uint32_t record) {
    struct ac__extent *extent = &heap->extents[record];
    ac_assert(extent->kind == AC__EXTENT_USED);
    heap->used_bytes -= extent->size;
    extent->touched = extent->offset + extent->size; /* its user may have written all of it */
    settle(heap, record);
}

int ac__heap_shrink(struct ac__heap *heap, uint32_t record, uint64_t size) {
    uint64_t before = heap->extents[record].size;
    size = units_of(size);
    if (size >= before) {
        return 0;
    }
    heap->extents[record].touched = heap->extents[record].offset + before;
    int error = cut(heap, record, size);
    if (error == 0) {
        heap->used_bytes -= before - size;
    }
    return error;
}

struct ac__extent *ac__heap_find(struct ac__heap *heap, uint32_t record, uint64_t offset) {
    if (record == 0 || record >= heap->count || heap->extents[record].kind != AC__EXTENT_USED ||
        heap->extents[record].offset != offset) {
        return NULL;
    }
    return &heap->extents[record];
}

static void punch(struct ac__heap *heap, struct ac__extent *extent, int fd) {
    uint64_t from = ac__round_up(extent->offset, AC__PAGE);
    uint64_t to = ac_min(ac__round_up(extent->touched, AC__PAGE),
                         (extent->offset + extent->size) / AC__PAGE * AC__PAGE);
    if (from < to && ac_memfd_punch(fd, from, to - from) == 0) {
        heap->free_warm -= warm_of(extent);
        extent->touched = from;
        heap->free_warm += warm_of(extent);
    }
}

/* The one that was freed first. The first of the list is taken next: its pages stay. */
static uint32_t list_last(const struct ac__heap *heap, int row, int column) {
    uint32_t record = heap->lists[row][column];
    while (record != 0 && heap->extents[record].next != 0) {
        record = heap->extents[record].next;
    }
    return record;
}

void ac__heap_trim(struct ac__heap *heap, uint64_t keep, int fd) {
    for (int row = AC__HEAP_ROWS - 1; row >= 0 && heap->free_warm > keep; row--) {
        for (int column = AC__HEAP_COLUMNS - 1; column >= 0 && heap->free_warm > keep; column--) {
            for (uint32_t record = list_last(heap, row, column); record != 0 && heap->free_warm > keep;
                 record = heap->extents[record].previous) {
                punch(heap, &heap->extents[record], fd);
            }
        }
    }
}

const char *ac__heap_valid(const struct ac__heap *heap) {
    uint64_t used = 0;
    uint64_t warm = 0;
    uint32_t before = 0;
    for (uint32_t record = heap->count > 0 ? heap->extents[0].after : 0; record != 0;
         record = heap->extents[record].after) {
        const struct ac__extent *extent = &heap->extents[record];
        if (extent->before != before || extent->size == 0 || extent->size % AC__HEAP_UNIT != 0 ||
            extent->kind == AC__EXTENT_UNUSED || extent->touched < extent->offset) {
            return "heap: an extent is malformed";
        }
        if (before != 0 && heap->extents[before].offset + heap->extents[before].size > extent->offset) {
            return "heap: extents overlap";
        }
        if (adjoin(heap, before, record)) {
            return "heap: free neighbours were not merged";
        }
        used += extent->kind == AC__EXTENT_USED ? extent->size : 0;
        warm += extent->kind == AC__EXTENT_FREE ? warm_of(extent) : 0;
        before = record;
    }
    return used != heap->used_bytes  ? "heap: used bytes do not add up"
           : warm != heap->free_warm ? "heap: warm bytes do not add up"
                                     : NULL;
}

void ac__heap_clear(struct ac__heap *heap) {
    ac_free(heap->extents);
    *heap = (struct ac__heap){0};
}
