/* map.c - uint64_t -> uint32_t by open addressing with backward-shift deletion: no tombstones, so a map that
 * sees millions of short-lived keys (thread ids) stays as fast as a new one. */
#include <string.h>

#include "base/base.h"

uint64_t ac_hash_mix(uint64_t a, uint64_t b) {
    uint64_t x = a ^ (b + UINT64_C(0x9e3779b97f4a7c15) + (a << 6) + (a >> 2));
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9); /* splitmix64's finaliser */
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t ac_hash_bytes(const void *data, size_t len) {
    const unsigned char *bytes = data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return ac_hash_mix(hash, len);
}

/* The slot that holds key, or the free one where it would go. cap is a power of two and never full. */
static size_t slot_of(const struct ac_map *map, uint64_t key) {
    size_t slot = ac_hash_mix(key, 0) & (map->cap - 1);
    while (map->used[slot] && map->keys[slot] != key) {
        slot = (slot + 1) & (map->cap - 1);
    }
    return slot;
}

bool ac_map_get(const struct ac_map *map, uint64_t key, uint32_t *ret_value) {
    if (map->len == 0) {
        return false;
    }
    size_t slot = slot_of(map, key);
    if (!map->used[slot]) {
        return false;
    }
    *ret_value = map->values[slot];
    return true;
}

static int resize(struct ac_map *map, size_t cap) {
    struct ac_map next = {.cap = cap};
    next.keys = ac_malloc(cap * sizeof(*next.keys));
    next.values = ac_malloc(cap * sizeof(*next.values));
    next.used = ac_calloc(cap, 1);
    if (!next.keys || !next.values || !next.used) {
        ac_map_free(&next);
        return -ENOMEM;
    }
    for (size_t i = 0; i < map->cap; i++) {
        if (map->used[i]) {
            size_t slot = slot_of(&next, map->keys[i]);
            next.used[slot] = 1;
            next.keys[slot] = map->keys[i];
            next.values[slot] = map->values[i];
            next.len++;
        }
    }
    ac_map_free(map);
    *map = next;
    return 0;
}

int ac_map_put(struct ac_map *map, uint64_t key, uint32_t value) {
    if ((map->len + 1) * 4 > map->cap * 3) {
        int err = resize(map, map->cap ? map->cap * 2 : 16);
        if (err) {
            return err;
        }
    }
    size_t slot = slot_of(map, key);
    map->len += !map->used[slot];
    map->used[slot] = 1;
    map->keys[slot] = key;
    map->values[slot] = value;
    return 0;
}

void ac_map_remove(struct ac_map *map, uint64_t key) {
    if (map->len == 0) {
        return;
    }
    size_t mask = map->cap - 1;
    size_t hole = slot_of(map, key);
    if (!map->used[hole]) {
        return;
    }
    for (size_t next = (hole + 1) & mask; map->used[next]; next = (next + 1) & mask) {
        size_t home = ac_hash_mix(map->keys[next], 0) & mask;
        if (((next - home) & mask) >= ((next - hole) & mask)) { /* its home is at or before the hole */
            map->keys[hole] = map->keys[next];
            map->values[hole] = map->values[next];
            hole = next;
        }
    }
    map->used[hole] = 0;
    map->len--;
}

void ac_map_clear(struct ac_map *map) {
    if (map->used) {
        memset(map->used, 0, map->cap);
    }
    map->len = 0;
}

void ac_map_free(struct ac_map *map) {
    ac_free(map->keys);
    ac_free(map->values);
    ac_free(map->used);
    *map = (struct ac_map){0};
}
