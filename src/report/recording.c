/* recording.c - .allcores files: an ac_profile written out and read back.
 *
 *   "allcores" | version u32 | 0 u32 | size of the body u64 | zlib of the body
 *   body: the struct's plain fields, then each table as (length u64, elements)
 *
 * Numbers are little-endian as on both machines that we run on, structs as they stand in profile.h
 * (fixed-width types and explicit padding; their sizes are part of the version). Reading trusts nothing: the
 * size of the body and each table is held against its cap before memory is taken, and ac_profile_valid()
 * checks every index.
 */
#include <string.h>
#include <zlib.h>

#include "report/report.h"

static const char magic[8] = {'a', 'l', 'l', 'c', 'o', 'r', 'e', 's'};
/* 1 had no AC_KIND_PEER, 2 no ac_busy, 3 no gil_cause, 4 no AC_KIND_TIMER: all are read. */
#define VERSION  5u
#define OLDEST   1u
#define MAX_BODY (192u << 20) /* every table at its cap, strings at their longest */

struct header {
    char magic[8];
    uint32_t version, zero;
    uint64_t body_size;
};

_Static_assert(sizeof(struct ac_func) == 16 && sizeof(struct ac_frame) == 8 && sizeof(struct ac_node) == 16 &&
                   sizeof(struct ac_cell) == 24 && sizeof(struct ac_gil_pair) == 16 &&
                   sizeof(struct ac_segment) == 32 && sizeof(struct ac_busy) == 24,
               "the recording format: change VERSION with these");

/* The tables in the order of the file: where their pointer, length and capacity stand, and the element's
 * size. */
static const struct {
    size_t items, count, cap, size, most;
} tables[] = {
#define TABLE(items, one, type, most)                                                                        \
    {                                                                                                        \
        offsetof(struct ac_profile, items), offsetof(struct ac_profile, one##_count),                        \
            offsetof(struct ac_profile, one##_cap), sizeof(struct type), most                                \
    }
    TABLE(funcs, func, ac_func, AC_CAP_NODES),
    TABLE(frames, frame, ac_frame, AC_CAP_NODES),
    TABLE(nodes, node, ac_node, AC_CAP_NODES),
    TABLE(processes, process, ac_process, AC_CAP_PROCESSES),
    TABLE(threads, thread, ac_thread, AC_CAP_THREADS),
    TABLE(cells, cell, ac_cell, AC_CAP_CELLS),
    TABLE(pairs, pair, ac_gil_pair, AC_CAP_PAIRS),
    TABLE(segments, segment, ac_segment, AC_CAP_SEGMENTS),
    TABLE(busy, busy, ac_busy, AC_CAP_BUSY), /* since version 3 */
#undef TABLE
};

/* The struct's plain fields: all before the tables. */
#define PLAIN offsetof(struct ac_profile, strings)

static char *field(const struct ac_profile *profile, size_t offset) {
    return (char *)(uintptr_t)profile + offset;
}

/* --- writing */

static void put_u64(struct ac_buf *buf, uint64_t value) {
    ac_buf_bytes(buf, &value, sizeof(value));
}

static void put_body(const struct ac_profile *profile, struct ac_buf *body) {
    ac_buf_bytes(body, profile, PLAIN);
    put_u64(body, profile->string_count);
    for (size_t i = 0; i < profile->string_count; i++) {
        ac_buf_bytes(body, profile->strings[i], strlen(profile->strings[i]) + 1);
    }
    for (size_t t = 0; t < AC_COUNT(tables); t++) {
        size_t count;
        const void *items;
        memcpy(&count, field(profile, tables[t].count), sizeof(count));
        memcpy(&items, field(profile, tables[t].items), sizeof(items));
        put_u64(body, count);
        ac_buf_bytes(body, items, count * tables[t].size);
    }
}

int ac_recording_write(const struct ac_profile *profile, struct ac_buf *buf) {
    struct ac_buf body = {0};
    put_body(profile, &body);
    uLongf packed_size = compressBound(body.len);
    unsigned char *packed = body.err ? NULL : ac_malloc(packed_size);
    int err = body.err ? body.err : !packed ? -ENOMEM : 0;
    if (!err && compress2(packed, &packed_size, (const Bytef *)body.data, body.len, 6) != Z_OK) {
        err = -ENOMEM;
    }
    if (!err) {
        struct header header = {.version = VERSION, .body_size = body.len};
        memcpy(header.magic, magic, sizeof(magic));
        ac_buf_bytes(buf, &header, sizeof(header));
        ac_buf_bytes(buf, packed, packed_size);
        err = buf->err;
    }
    ac_free(packed);
    ac_buf_free(&body);
    return err;
}

/* --- reading */

struct reader {
    const char *at, *end;
};

static bool take(struct reader *r, void *to, size_t size) {
    if ((size_t)(r->end - r->at) < size) {
        return false;
    }
    if (size) {
        memcpy(to, r->at, size);
    }
    r->at += size;
    return true;
}

static int take_strings(struct reader *r, struct ac_profile *profile) {
    uint64_t count;
    if (!take(r, &count, sizeof(count)) || count == 0 || count > AC_CAP_STRINGS) {
        return -EINVAL;
    }
    int err = ac_grow(&profile->strings, &profile->string_cap, count, sizeof(*profile->strings));
    for (size_t i = 0; !err && i < count; i++) {
        size_t left = (size_t)(r->end - r->at);
        size_t len = strnlen(r->at, left);
        if (len == left || len > AC_MAX_STRING) {
            return -EINVAL;
        }
        if (i == profile->string_count) { /* a new profile has string 0 already */
            profile->strings[i] = ac_strdup(r->at);
            err = profile->strings[i] ? 0 : -ENOMEM;
            profile->string_count += !err;
        }
        r->at += len + 1;
    }
    return err;
}

static int take_table(struct reader *r, struct ac_profile *profile, size_t t) {
    uint64_t count;
    if (!take(r, &count, sizeof(count)) || count > tables[t].most ||
        count > (size_t)(r->end - r->at) / tables[t].size) {
        return -EINVAL;
    }
    size_t *cap = (size_t *)(void *)field(profile, tables[t].cap);
    int err = ac_grow(field(profile, tables[t].items), cap, count, tables[t].size);
    if (err) {
        return err;
    }
    void *items;
    size_t length = count;
    memcpy(&items, field(profile, tables[t].items), sizeof(items));
    memcpy(field(profile, tables[t].count), &length, sizeof(length));
    return take(r, items, count * tables[t].size) ? 0 : -EINVAL;
}

static int parse_body(const char *body, size_t size, uint32_t version, struct ac_profile **ret_profile) {
    struct reader r = {body, body + size};
    struct ac_profile *profile;
    int err = ac_profile_new(&profile);
    if (err) {
        return err;
    }
    if (!take(&r, profile, PLAIN)) {
        err = -EINVAL;
    }
    err = err ? err : take_strings(&r, profile);
    for (size_t t = 0; !err && t < AC_COUNT(tables) - (version < 3); t++) {
        err = take_table(&r, profile, t);
    }
    for (size_t i = 0; !err && version < 4 && i < profile->process_count; i++) {
        profile->processes[i].gil_cause = 0; /* padding then */
    }
    if (!err && (r.at != r.end || !ac_profile_valid(profile))) {
        err = -EINVAL;
    }
    if (err) {
        ac_profile_free(profile);
        return err;
    }
    *ret_profile = profile;
    return 0;
}

int ac_recording_read(const void *data, size_t size, struct ac_profile **ret_profile) {
    struct header header;
    if (size < sizeof(header)) {
        return -EINVAL;
    }
    memcpy(&header, data, sizeof(header));
    if (memcmp(header.magic, magic, sizeof(magic)) != 0) {
        return -EINVAL;
    }
    if (header.version < OLDEST || header.version > VERSION) {
        return header.version > VERSION ? -ENOTSUP : -EINVAL;
    }
    if (header.body_size > MAX_BODY || header.body_size / 1100 > size) { /* zlib packs at most about 1:1030 */
        return -EFBIG;
    }
    uLongf body_size = (uLongf)header.body_size;
    char *body = ac_malloc(body_size);
    if (!body) {
        return -ENOMEM;
    }
    int err = uncompress((Bytef *)body, &body_size, (const Bytef *)data + sizeof(header),
                         size - sizeof(header)) == Z_OK &&
                      body_size == header.body_size
                  ? parse_body(body, body_size, header.version, ret_profile)
                  : -EINVAL;
    ac_free(body);
    return err;
}
