/* gil_module.c - which extension module made a free-threaded build run with the GIL.
 *
 * An import of a module that does not declare Py_MOD_GIL_NOT_USED enables the GIL for good. The declaration
 * stays in the module object (md_gil, only in free-threaded builds), and sys.modules keeps the order of the
 * imports: the first module made from a definition without it is the one. Modules that are built in are not
 * asked by CPython; their definitions lie in the file that the runtime lies in. */
#include <string.h>

#include "probe/reader.h"

/* What follows the object's header in PyDictObject, PyDictKeysObject and PyModuleObject of 3.13 and 3.14. */
enum {
    DICT_KEYS = 16,
    DICT_VALUES = 24,
    DICT_BYTES = 32,
    KEYS_LOG2_INDEX_BYTES = 9, /* from here on of the keys' own start: they have no header */
    KEYS_KIND = 10,
    KEYS_USED = 24,
    KEYS_BYTES = 32,
    MODULE_DEF = 8,
    MODULE_GIL = 40,
    MODULE_BYTES = 48,
};
enum { HEADER_MAX = 72, AT_ONCE = 64, ENTRIES_MAX = 65536, LOG2_MAX = 20, ASKED_MAX = 64 };

struct entries {
    uint64_t from;
    size_t count, size, key; /* of an entry; the value follows its key */
};

static int find_entries(const struct ac_py *py, uint64_t dict, struct entries *ret) {
    uint8_t object[HEADER_MAX + DICT_BYTES], keys[KEYS_BYTES];
    size_t header = py->layout.object_type + 8;
    if (!ac__is_pointer(dict))
        return -EINVAL;
    int err = ac_vm_read(py->pid, dict, object, header + DICT_BYTES);
    if (err < 0)
        return err;
    uint64_t at = ac__u64(object + header + DICT_KEYS);
    if (!ac__is_pointer(at) || ac__u64(object + header + DICT_VALUES) != 0)
        return -EINVAL;
    err = ac_vm_read(py->pid, at, keys, sizeof keys);
    if (err < 0)
        return err;
    uint64_t used = ac__u64(keys + KEYS_USED);
    if (keys[KEYS_KIND] > 1 || keys[KEYS_LOG2_INDEX_BYTES] > LOG2_MAX || used > ENTRIES_MAX)
        return -EINVAL;
    bool hashed = keys[KEYS_KIND] == 0; /* keys that are not all str: the hash stands before each */
    *ret = (struct entries){.from = at + KEYS_BYTES + (UINT64_C(1) << keys[KEYS_LOG2_INDEX_BYTES]),
                            .count = (size_t)used,
                            .size = hashed ? 24 : 16,
                            .key = hashed ? 8 : 0};
    return 0;
}

static bool is_module(const struct ac_py *py, const uint8_t *object) {
    uint64_t type = ac__u64(object + py->layout.object_type), name;
    char text[sizeof "module"];
    return ac__is_pointer(type) && ac__read_u64(py, type + py->layout.type_name, &name) == 0 &&
           ac_vm_read(py->pid, name, text, sizeof text) == 0 && memcmp(text, "module", sizeof text) == 0;
}

static bool needs_gil(const struct ac_py *py, const uint8_t *object) {
    const uint8_t *module = object + py->layout.object_type + 8;
    return ac__is_pointer(ac__u64(module + MODULE_DEF)) && ac__u64(module + MODULE_GIL) == 0 &&
           is_module(py, object);
}

/* Which file is mapped at the two addresses. */
struct files {
    uint64_t runtime, definition;
    uint64_t runtime_inode, definition_inode;
};

static int note_file(const struct ac_mapping *mapping, void *arg) {
    struct files *files = arg;
    if (files->runtime >= mapping->from && files->runtime < mapping->to)
        files->runtime_inode = mapping->inode;
    if (files->definition >= mapping->from && files->definition < mapping->to)
        files->definition_inode = mapping->inode;
    return 0;
}

/* In a file of its own, that is. */
static bool is_extension(const struct ac_py *py, const uint8_t *object) {
    struct files files = {.runtime = py->runtime,
                          .definition = ac__u64(object + py->layout.object_type + 8 + MODULE_DEF)};
    return ac_process_maps(py->pid, note_file, &files) == 0 && files.definition_inode != 0 &&
           files.definition_inode != files.runtime_inode;
}

struct found {
    uint64_t key; /* the first one's name */
    unsigned count, asked;
};

/* Entries of a dict: the modules among them that need the GIL. */
static int look_at(const struct ac_py *py, const uint8_t *entries, size_t count, const struct entries *of,
                   struct found *found) {
    uint8_t objects[AT_ONCE][HEADER_MAX + MODULE_BYTES];
    struct iovec local[AT_ONCE], remote[AT_ONCE];
    uint64_t keys[AT_ONCE];
    bool ok[AT_ONCE] = {false};
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t value = ac__u64(entries + i * of->size + of->key + 8);
        if (!ac__is_pointer(value))
            continue; /* deleted */
        keys[n] = ac__u64(entries + i * of->size + of->key);
        local[n] = (struct iovec){objects[n], py->layout.object_type + 8 + MODULE_BYTES};
        remote[n] = (struct iovec){(void *)(uintptr_t)value, local[n].iov_len};
        n++;
    }
    int err = ac__read_ranges(py->pid, local, remote, ok, n);
    for (size_t i = 0; err == 0 && i < n; i++)
        if (ok[i] && needs_gil(py, objects[i]) && found->asked++ < ASKED_MAX &&
            is_extension(py, objects[i])) {
            found->key = found->count == 0 ? keys[i] : found->key;
            found->count++;
        }
    return err;
}

int ac_py_gil_module(const struct ac_py *py, char *name, size_t size, unsigned *ret_count) {
    uint8_t bytes[AT_ONCE * 24];
    struct entries entries;
    struct found found = {0};
    uint64_t dict;
    if (!py->layout.free_threaded || py->layout.minor > 14 || py->layout.interp_modules == AC_OFFSET_NONE ||
        py->interp_count == 0)
        return -ENOTSUP;
    int err = ac__read_u64(py, py->interps[0] + py->layout.interp_modules, &dict);
    if (err == 0)
        err = find_entries(py, dict, &entries);
    for (size_t at = 0; err == 0 && at < entries.count; at += AT_ONCE) {
        size_t now = ac_min(entries.count - at, (size_t)AT_ONCE);
        err = ac_vm_read(py->pid, entries.from + at * entries.size, bytes, now * entries.size);
        if (err == 0)
            err = look_at(py, bytes, now, &entries, &found);
    }
    if (err == 0 && found.count == 0)
        err = -ENOENT;
    if (err == 0)
        err = ac__text_read(py, found.key, name, size);
    if (err == 0)
        *ret_count = found.count;
    return err;
}
