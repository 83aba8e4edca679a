/* heap.h - which ranges of the segment are free: a two-level segregated fit whose books lie in private
 * memory, so that nothing another process does to the segment can lead it astray. One process, one heap: no
 * locking. */
#ifndef AC_POOL_HEAP_H
#define AC_POOL_HEAP_H

#include "base/base.h"

enum {
    AC__HEAP_UNIT = 128, /* sizes and offsets are multiples */
    AC__HEAP_ROWS = 40,
    AC__HEAP_COLUMNS = 8
};

struct ac__extent {
    uint64_t offset, size;
    uint64_t touched;        /* pages from offset to here have been written once: they are warm */
    uint32_t before, after;  /* neighbours by address, in the same heap */
    uint32_t previous, next; /* of the same free list; `next` also links unused records */
    uint8_t kind;            /* enum ac__extent_kind */
    /* The owner's own notes; AC__NONE in both: it was not sent. */
    uint32_t slot;   /* of the task whose arguments (parent) or answer (worker) it holds */
    uint32_t holder; /* parent: the worker that may still look at it, when its task is forgotten */
};
enum ac__extent_kind { AC__EXTENT_UNUSED, AC__EXTENT_FREE, AC__EXTENT_USED };

struct ac__heap {
    struct ac__extent *extents; /* record 0 is the list's head */
    size_t cap, count;
    uint32_t unused;
    uint32_t last; /* highest address */
    uint32_t lists[AC__HEAP_ROWS][AC__HEAP_COLUMNS];
    uint64_t rows;
    uint8_t columns[AC__HEAP_ROWS];
    uint64_t used_bytes, free_warm;
};

/* Add a range that nothing was ever written to. 0, -ENOMEM, or -EEXIST: some of it is ours already. */
int ac__heap_add(struct ac__heap *heap, uint64_t offset, uint64_t size);
/* 0 and a record; -ENOSPC: no free range is large enough (add one); -ENOMEM. */
int ac__heap_alloc(struct ac__heap *heap, uint64_t size, uint32_t *ret_record);
void ac__heap_free(struct ac__heap *heap, uint32_t record);
bool ac__heap_overlaps(const struct ac__heap *heap, uint64_t offset, uint64_t size);
/* Give back what is beyond `size` (at least one unit stays). 0 or -ENOMEM. */
int ac__heap_shrink(struct ac__heap *heap, uint32_t record, uint64_t size);
/* The used extent of that record and offset; NULL: there is none. Both may be nonsense. */
struct ac__extent *ac__heap_find(struct ac__heap *heap, uint32_t record, uint64_t offset);
/* Give pages of free ranges back to the kernel, the largest first, until at most `keep` warm bytes are left.
 */
void ac__heap_trim(struct ac__heap *heap, uint64_t keep, int fd);
const char *ac__heap_valid(const struct ac__heap *heap); /* NULL: fine */
void ac__heap_clear(struct ac__heap *heap);

#endif
