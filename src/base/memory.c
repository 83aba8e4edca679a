/* memory.c - the one door to the heap, so that a test can close it at any moment. */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomics.h"

static _Atomic unsigned long calls;
static _Atomic unsigned long fail_at;

void ac_assert_failed(const char *expr, const char *file, int line) {
    fprintf(stderr, "allcores: internal error: %s does not hold (%s:%d)\n", expr, file, line);
    abort();
}

void ac_memory_fail_at(unsigned long n) {
    ac_store_relaxed(&calls, 0);
    ac_store_relaxed(&fail_at, n);
}

unsigned long ac_memory_calls(void) {
    return ac_load_relaxed(&calls);
}

static bool may_allocate(void) {
    unsigned long n = ac_add_relaxed(&calls, 1) + 1;
    return n != ac_load_relaxed(&fail_at);
}

void *ac_malloc(size_t size) {
    return may_allocate() ? malloc(size ? size : 1) : NULL;
}

void *ac_calloc(size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) {
        return NULL; /* calloc does so too, but sanitizers stop the program for it */
    }
    return may_allocate() ? calloc(count ? count : 1, size ? size : 1) : NULL;
}

void *ac_realloc(void *block, size_t size) {
    return may_allocate() ? realloc(block, size ? size : 1) : NULL;
}

char *ac_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = ac_malloc(size);
    if (copy) {
        memcpy(copy, text, size);
    }
    return copy;
}

void ac_free(void *block) {
    free(block);
}

int ac_grow(void *items, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) {
        return 0;
    }
    size_t wanted = *cap ? *cap : 8;
    while (wanted < need) {
        if (wanted > SIZE_MAX / 2) {
            return -ENOMEM;
        }
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / size) {
        return -ENOMEM;
    }
    void *old;
    memcpy(&old, items, sizeof(old)); /* items points to a typed pointer: copied, not punned */
    char *grown = ac_realloc(old, wanted * size);
    if (!grown) {
        return -ENOMEM;
    }
    memset(grown + *cap * size, 0, (wanted - *cap) * size);
    memcpy(items, &grown, sizeof(grown));
    *cap = wanted;
    return 0;
}
