/* code.c - code objects of the target: names, lines, the kind of an instruction; cached.
 *
 * A code object lives as long as a frame that runs it, but its address is used anew after that, so a cached
 * one is compared with the target again when it was not looked at for a while, and a module's at each look.
 */
#include <string.h>

#include "probe/lines.h"
#include "probe/reader.h"

#define RECHECK_NS      (100 * AC_NS_PER_MS)
#define ONE_LOOK_NS     INT64_C(20000) /* a stack's frames are asked for more than once in a look */
#define CODES_MAX       32768u
#define FRAMES_MAX      (1u << 18)
#define CODE_BYTES_MAX  (1u << 20)  /* of one line table or bytecode */
#define CACHE_BYTES_MAX (64u << 20) /* of all */
#define CODE_WINDOW     640u
#define TLBC_COPIES_MAX 65536

/* --- text */

static size_t utf8_put(char *buffer, uint32_t c) {
    if (c == 0 || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
        c = 0xfffd;
    if (c < 0x80) {
        buffer[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        buffer[0] = (char)(0xc0 | c >> 6);
        buffer[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        buffer[0] = (char)(0xe0 | c >> 12);
        buffer[1] = (char)(0x80 | (c >> 6 & 63));
        buffer[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    buffer[0] = (char)(0xf0 | c >> 18);
    buffer[1] = (char)(0x80 | (c >> 12 & 63));
    buffer[2] = (char)(0x80 | (c >> 6 & 63));
    buffer[3] = (char)(0x80 | (c & 63));
    return 4;
}

static void text_encode(const uint8_t *data, size_t len, uint32_t kind, char *buffer, size_t size) {
    size_t at = 0;
    for (size_t i = 0; i < len && at + 5 <= size; i++) {
        uint32_t c = data[i * kind];
        if (kind >= 2)
            c |= (uint32_t)data[i * kind + 1] << 8;
        if (kind == 4)
            c |= (uint32_t)data[i * kind + 2] << 16 | (uint32_t)data[i * kind + 3] << 24;
        at += utf8_put(buffer + at, c);
    }
    buffer[at] = '\0';
}

int ac__text_read(const struct ac_py *py, uint64_t address, char *buffer, size_t size) {
    const struct ac_layout *layout = &py->layout;
    uint8_t head[256], data[AC_MAX_STRING * 4];
    if (!ac__is_pointer(address) || size < 8)
        return -EINVAL;
    int err = ac_vm_read(py->pid, address, head, layout->unicode_ascii);
    if (err < 0)
        return err;
    uint64_t len = ac__u64(head + layout->unicode_len);
    uint32_t state = (uint32_t)ac__i32(head + layout->unicode_state) >> layout->unicode_kind_shift;
    uint32_t kind = state & 7;
    bool compact = state >> 3 & 1, ascii = state >> 4 & 1;
    if (!compact || (kind != 1 && kind != 2 && kind != 4) || (ascii && kind != 1) || len > INT32_MAX)
        return -EINVAL;
    len = ac_min(len, (uint64_t)ac_min(size, (size_t)AC_MAX_STRING));
    uint64_t from = address + (ascii ? layout->unicode_ascii : layout->unicode_compact);
    err = len ? ac_vm_read(py->pid, from, data, (size_t)len * kind) : 0;
    if (err == 0)
        text_encode(data, (size_t)len, kind, buffer, size);
    return err;
}

/* A bytes object, copied. */
static int bytes_read(const struct ac_py *py, uint64_t address, uint8_t **ret_data, uint32_t *ret_len) {
    uint64_t len;
    if (!ac__is_pointer(address))
        return -EINVAL;
    int err = ac__read_u64(py, address + py->layout.bytes_len, &len);
    if (err < 0 || len > CODE_BYTES_MAX)
        return err < 0 ? err : -EFBIG;
    uint8_t *data = ac_malloc((size_t)len + 1);
    if (!data)
        return -ENOMEM;
    err = len ? ac_vm_read(py->pid, address + py->layout.bytes_data, data, (size_t)len) : 0;
    if (err < 0) {
        ac_free(data);
        return err;
    }
    *ret_data = data;
    *ret_len = (uint32_t)len;
    return 0;
}

/* --- the cache */

static void code_free(struct ac_code *code) {
    ac_free(code->lines);
    ac_free(code->bytes);
    code->lines = code->bytes = NULL;
    code->lines_len = code->bytes_len = 0;
}

void ac__codes_clear(struct ac_codes *codes) {
    for (size_t i = 0; i < codes->len; i++)
        code_free(&codes->items[i]);
    codes->len = codes->bytes = 0;
    ac_map_clear(&codes->index);
    ac_map_clear(&codes->frames);
    memset(codes->tlbc, 0, sizeof codes->tlbc);
}

void ac__codes_free(struct ac_codes *codes) {
    ac__codes_clear(codes);
    ac_free(codes->items);
    ac_map_free(&codes->index);
    ac_map_free(&codes->frames);
}

static int head_read(const struct ac_py *py, uint64_t address, uint8_t head[CODE_WINDOW]) {
    if (!ac__is_pointer(address))
        return -EINVAL;
    return ac_vm_read(py->pid, address, head, ac_min(py->layout.code_size, CODE_WINDOW));
}

static void head_decode(const struct ac_layout *layout, const uint8_t *head, struct ac_code *code) {
    code->name = ac__u64(head + layout->code_name);
    code->qualname = layout->code_qualname == AC_OFFSET_NONE ? 0 : ac__u64(head + layout->code_qualname);
    code->filename = ac__u64(head + layout->code_filename);
    code->line_table = ac__u64(head + layout->code_lines);
    code->first_line = ac__i32(head + layout->code_first_line);
}

static bool code_same(const struct ac_code *a, const struct ac_code *b) {
    return a->name == b->name && a->qualname == b->qualname && a->filename == b->filename &&
           a->line_table == b->line_table && a->first_line == b->first_line;
}

/* Is it a code object? Its type is PyCode_Type, the one whose tp_name is "code". */
static bool type_is_code(struct ac_py *py, const uint8_t *head) {
    uint64_t type = ac__u64(head + py->layout.object_type), name;
    char text[5];
    if (py->codes.type && type == py->codes.type)
        return true;
    if (!ac__is_pointer(type) || ac__read_u64(py, type + py->layout.type_name, &name) < 0 ||
        ac_vm_read(py->pid, name, text, sizeof text) < 0 || memcmp(text, "code", 5) != 0)
        return false;
    py->codes.type = type;
    return true;
}

/* 3.11+: the bytecode is the end of the code object, ob_size code units of 2 bytes; before, a bytes object.
 */
static int bytecode_read(const struct ac_py *py, const uint8_t *head, struct ac_code *code) {
    const struct ac_layout *layout = &py->layout;
    if (layout->minor <= 10)
        return bytes_read(py, ac__u64(head + layout->code_bytes), &code->bytes, &code->bytes_len);
    uint64_t units = ac__u64(head + layout->object_type + 8);
    if (units == 0 || units > CODE_BYTES_MAX / 2)
        return units ? -EFBIG : -EINVAL;
    code->bytes = ac_malloc((size_t)units * 2);
    if (!code->bytes)
        return -ENOMEM;
    code->bytes_len = (uint32_t)units * 2;
    return ac_vm_read(py->pid, code->address + layout->code_bytes, code->bytes, code->bytes_len);
}

static int func_intern(struct ac_py *py, struct ac_profile *profile, struct ac_code *code) {
    char name[AC_MAX_STRING + 1] = "", file[AC_MAX_STRING + 1] = "";
    int err = ac__text_read(py, code->qualname ? code->qualname : code->name, name, sizeof name);
    if (err == 0)
        err = ac__text_read(py, code->filename, file, sizeof file);
    if (err == 0)
        err = ac_profile_func(profile, name, file, code->first_line, &code->func);
    code->shim = err == 0 && strcmp(name, "__init__") == 0 && strcmp(file, "__init__") == 0;
    return err;
}

/* Is what the cache holds still true? Modules that run and are freed in turn, as in a loop of exec(), may
 * have all their parts at the addresses of the one before: theirs are compared by text. */
static bool code_current(struct ac_py *py, struct ac_profile *profile, const uint8_t *head,
                         struct ac_code *code, const struct ac_code *cached) {
    if (!type_is_code(py, head) || !code_same(code, cached))
        return false;
    return !cached->once || (func_intern(py, profile, code) == 0 && code->func == cached->func);
}

static int code_load(struct ac_py *py, struct ac_profile *profile, const uint8_t *head,
                     struct ac_code *code) {
    if (!type_is_code(py, head))
        return -EINVAL;
    head_decode(&py->layout, head, code);
    int err = func_intern(py, profile, code);
    if (err == 0) {
        code->once = strcmp(ac_profile_text(profile, profile->funcs[code->func].name), "<module>") == 0;
        err = bytecode_read(py, head, code);
    }
    if (err == 0) {
        err = bytes_read(py, code->line_table, &code->lines, &code->lines_len);
        if (err == -EFBIG) /* a line table beyond all measure: no lines, but a name */
            err = 0;
    }
    if (err < 0)
        code_free(code);
    return err;
}

/* A code object that was freed and its address given to another: a new item; the old one is emptied. */
static int code_insert(struct ac_py *py, struct ac_code *code, uint32_t *ret_item) {
    struct ac_codes *codes = &py->codes;
    size_t bytes = (size_t)code->lines_len + code->bytes_len;
    if (codes->len >= CODES_MAX || codes->bytes + bytes > CACHE_BYTES_MAX)
        ac__codes_clear(codes);
    int err = ac_grow(&codes->items, &codes->cap, codes->len + 1, sizeof *codes->items);
    if (err == 0)
        err = ac_map_put(&codes->index, code->address, (uint32_t)codes->len);
    if (err < 0)
        return err;
    codes->items[codes->len] = *code;
    codes->bytes += bytes;
    *ret_item = (uint32_t)codes->len++;
    return 0;
}

int ac__code_get(struct ac_py *py, struct ac_profile *profile, uint64_t address, uint32_t *ret_item) {
    struct ac_codes *codes = &py->codes;
    if (codes->profile != profile) {
        ac__codes_clear(codes);
        codes->profile = profile;
    }
    int64_t now = ac_now_ns();
    uint32_t item;
    bool cached = ac_map_get(&codes->index, address, &item);
    if (cached &&
        now - codes->items[item].checked_ns < (codes->items[item].once ? ONE_LOOK_NS : RECHECK_NS)) {
        *ret_item = item;
        return 0;
    }
    uint8_t head[CODE_WINDOW];
    int err = head_read(py, address, head);
    if (err < 0)
        return err;
    struct ac_code code = {.address = address, .checked_ns = now};
    head_decode(&py->layout, head, &code);
    if (cached && code_current(py, profile, head, &code, &codes->items[item])) {
        codes->items[item].checked_ns = now;
        *ret_item = item;
        return 0;
    }
    err = code_load(py, profile, head, &code);
    if (err == 0) {
        err = code_insert(py, &code, ret_item);
        if (err < 0)
            code_free(&code);
    }
    return err;
}

/* --- instructions */

/* Free-threaded 3.14+: start of a thread's own copy of the bytecode. */
static int copy_base(struct ac_py *py, uint64_t code, uint32_t copy, uint64_t *ret_base) {
    uint64_t array, size;
    int err = ac__read_u64(py, code + py->layout.code_tlbc, &array);
    if (err == 0 && !ac__is_pointer(array))
        err = -EINVAL;
    if (err == 0)
        err = ac__read_u64(py, array, &size);
    if (err == 0 && (copy >= size || size > TLBC_COPIES_MAX))
        err = -EINVAL;
    return err < 0 ? err : ac__read_u64(py, array + 8 + (uint64_t)copy * 8, ret_base);
}

static int copy_offset(struct ac_py *py, const struct ac_code *code, uint64_t instr, uint32_t copy,
                       int64_t *ret_offset) {
    size_t slot = (size_t)(ac_hash_mix(code->address, copy) % AC_COUNT(py->codes.tlbc));
    bool known = py->codes.tlbc[slot].code == code->address && py->codes.tlbc[slot].copy == copy;
    uint64_t base = py->codes.tlbc[slot].base;
    if (!known || instr - base >= code->bytes_len) {
        int err = copy_base(py, code->address, copy, &base);
        if (err < 0)
            return err;
        py->codes.tlbc[slot].code = code->address;
        py->codes.tlbc[slot].copy = copy;
        py->codes.tlbc[slot].base = base;
    }
    *ret_offset = (int64_t)(instr - base);
    return 0;
}

int ac__code_offset(struct ac_py *py, uint32_t item, uint64_t instr, int32_t copy, int64_t *ret_offset) {
    const struct ac_layout *layout = &py->layout;
    const struct ac_code *code = &py->codes.items[item];
    int64_t offset;
    int err = 0;
    if (layout->minor <= 9)
        offset = (int32_t)instr;
    else if (layout->minor == 10)
        offset = (int64_t)(int32_t)instr * 2;
    else if (copy > 0 && layout->code_tlbc != AC_OFFSET_NONE)
        err = copy_offset(py, code, instr, (uint32_t)copy, &offset);
    else
        offset = (int64_t)(instr - (code->address + layout->code_bytes));
    if (err < 0)
        return err;
    if (offset < -2 || offset >= (int64_t)code->bytes_len)
        return -ERANGE;
    *ret_offset = offset; /* negative: before the first instruction */
    return 0;
}

int ac__code_frame(struct ac_py *py, struct ac_profile *profile, uint32_t item, int64_t offset,
                   uint32_t *ret_frame) {
    const struct ac_code *code = &py->codes.items[item];
    if (code->shim) {
        *ret_frame = AC_SHIM;
        return 0;
    }
    uint64_t key = (uint64_t)item << 32 | (uint32_t)offset;
    if (ac_map_get(&py->codes.frames, key, ret_frame))
        return 0;
    int32_t line = code->lines
                       ? ac__line_of(py->layout.minor, code->lines, code->lines_len, code->first_line, offset)
                       : 0;
    uint32_t frame;
    if (py->codes.frames.len >= FRAMES_MAX)
        ac_map_clear(&py->codes.frames);
    int err = ac_profile_frame(profile, code->func, line, &frame);
    if (err == 0)
        err = ac_map_put(&py->codes.frames, key, frame);
    if (err == 0)
        *ret_frame = frame;
    return err;
}

enum ac_kind ac__code_kind(const struct ac_py *py, uint32_t item, int64_t offset) {
    const struct ac_code *code = &py->codes.items[item];
    if (offset < 0 || offset >= (int64_t)code->bytes_len)
        return AC_KIND_BYTECODE;
    bool call = ac__opcode_is_call(py->layout.minor, code->bytes[offset]);
    return call ? AC_KIND_C_CALL : AC_KIND_BYTECODE;
}
