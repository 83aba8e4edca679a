/* layout.c - the offsets of every supported version.
 *
 * 3.8-3.12: constants, compiled from the released headers (they never moved inside a minor version; pointers
 * are 8 bytes on both architectures, and no pthread type comes before any field used). 3.13+: the target
 * exports most offsets itself (_Py_DebugOffsets, at the start of _PyRuntime), since they do move inside a
 * minor version. What it does not export is told relative to a field that it does.
 *
 * To add a version: one column in debug_fields (the order of the fields in
 * Include/internal/pycore_debug_offsets.h), one row in state_after_status and in the opcodes.
 */
#include "probe/layout.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define NONE AC_OFFSET_NONE
/* Two condition variables, each followed by a mutex, from `cond` to the end of the GIL struct. */
#define GIL_COND       32u
#define GIL_WAIT_BYTES ((uint32_t)(2 * (sizeof(pthread_cond_t) + sizeof(pthread_mutex_t))))

static const struct ac_layout common_3_8 = {
    .minor = 8,
    .runtime_head = 32,
    .runtime_main_thread = 72,
    .runtime_gil = 1152,
    .interp_next = 0,
    .interp_threads = 8,
    .interp_gil = NONE,
    .interp_modules = NONE,
    .gil_enabled = NONE,
    .gil_holder = 8,
    .gil_locked = 16,
    .gil_switches = 24,
    .gil_cond = GIL_COND,
    .gil_end = GIL_COND + GIL_WAIT_BYTES,
    .tstate_next = 8,
    .tstate_interp = 16,
    .tstate_frame = 24,
    .cframe_frame = NONE,
    .tstate_thread = 176,
    .tstate_native = NONE,
    .tstate_chunk = NONE,
    .tstate_state = NONE,
    .frame_code = 32,
    .frame_back = 24,
    .frame_instr = 104,
    .frame_owner = NONE,
    .frame_tlbc = NONE,
    .frame_locals = 360,
    .frame_stack = NONE,
    .frame_size = 112,
    .code_name = 112,
    .code_qualname = NONE,
    .code_filename = 104,
    .code_lines = 120,
    .code_first_line = 40,
    .code_bytes = 48,
    .code_tlbc = NONE,
    .code_size = 176,
    .object_type = 8,
    .type_name = 24,
    .bytes_len = 16,
    .bytes_data = 32,
    .unicode_len = 16,
    .unicode_state = 32,
    .unicode_ascii = 48,
    .unicode_compact = 72,
    .unicode_kind_shift = 2,
};

static void since_3_11(struct ac_layout *layout) {
    layout->runtime_head = 40;
    layout->runtime_main_thread = NONE;
    layout->runtime_gil = 360;
    layout->interp_threads = 16;
    layout->tstate_frame = 56;
    layout->cframe_frame = 8;
    layout->tstate_thread = 152;
    layout->tstate_native = 160;
    layout->tstate_chunk = 296;
    layout->frame_code = 32;
    layout->frame_back = 48;
    layout->frame_instr = 56;
    layout->frame_owner = 69;
    layout->frame_locals = 72;
    layout->frame_size = 72;
    layout->code_name = 120;
    layout->code_qualname = 128;
    layout->code_filename = 112;
    layout->code_lines = 136;
    layout->code_first_line = 72;
    layout->code_bytes = 184;
    layout->code_size = 192;
}

static void since_3_12(struct ac_layout *layout) {
    layout->runtime_gil = NONE;
    layout->interp_threads = 72;
    layout->interp_gil = 384;
    layout->cframe_frame = 0;
    layout->tstate_thread = 136;
    layout->tstate_native = 144;
    layout->tstate_chunk = 232;
    layout->frame_code = 0;
    layout->frame_back = 8;
    layout->frame_owner = 70;
    layout->code_first_line = 68;
    layout->code_bytes = 192;
    layout->code_size = 200;
    layout->unicode_ascii = 40;
    layout->unicode_compact = 56;
}

int ac__layout_static(int minor, struct ac_layout *ret_layout) {
    if (minor < AC_MIN_MINOR || minor > 12)
        return -ENOTSUP;
    struct ac_layout layout = common_3_8;
    layout.minor = minor;
    if (minor >= 9)
        layout.runtime_gil = 352;
    if (minor == 10) {
        layout.frame_instr = 96;
        layout.frame_locals = 352;
        layout.frame_size = 104;
    }
    if (minor >= 11)
        since_3_11(&layout);
    if (minor >= 12)
        since_3_12(&layout);
    *ret_layout = layout;
    return 0;
}

/* --- debug offsets */

#define STRUCT_MAX     4096u    /* no field that we use lies farther into its struct */
#define BIG_STRUCT_MAX 1048576u /* PyInterpreterState and _PyRuntimeState */
#define WORD(field)    ((uint16_t)offsetof(struct ac_layout, field))

struct debug_field {
    uint16_t target;   /* offset of the uint32_t in struct ac_layout */
    uint8_t words[3];  /* index in the table of 3.13, 3.14, 3.15; 0: not there */
    uint8_t alignment; /* demanded of the offset */
    uint32_t max;
};

static const struct debug_field debug_fields[] = {
    {WORD(runtime_head), {5, 5, 5}, 8, BIG_STRUCT_MAX},
    {WORD(interp_next), {8, 8, 8}, 8, BIG_STRUCT_MAX},
    {WORD(interp_threads), {9, 9, 9}, 8, BIG_STRUCT_MAX},
    {WORD(interp_gil), {14, 15, 15}, 8, BIG_STRUCT_MAX},
    {WORD(interp_modules), {11, 12, 12}, 8, BIG_STRUCT_MAX},
    {WORD(gil_enabled), {16, 17, 17}, 4, STRUCT_MAX},
    {WORD(gil_cond),
     {15, 16, 16},
     8,
     BIG_STRUCT_MAX}, /* the interpreter's own GIL: the next two count from it */
    {WORD(gil_locked), {17, 18, 18}, 4, BIG_STRUCT_MAX},
    {WORD(gil_holder), {18, 19, 19}, 8, BIG_STRUCT_MAX},
    {WORD(tstate_next), {21, 24, 24}, 8, STRUCT_MAX},
    {WORD(tstate_interp), {22, 25, 25}, 8, STRUCT_MAX},
    {WORD(tstate_frame), {23, 26, 26}, 8, STRUCT_MAX},
    {WORD(tstate_thread), {24, 27, 30}, 8, STRUCT_MAX},
    {WORD(tstate_native), {25, 28, 31}, 8, STRUCT_MAX},
    {WORD(tstate_chunk), {26, 29, 32}, 8, STRUCT_MAX},
    {WORD(tstate_state), {27, 30, 33}, 4, STRUCT_MAX}, /* _status: completed below */
    {WORD(frame_size), {28, 31, 39}, 8, 256},
    {WORD(frame_back), {29, 32, 40}, 8, 248},
    {WORD(frame_code), {30, 33, 41}, 8, 248},
    {WORD(frame_instr), {31, 34, 42}, 8, 248},
    {WORD(frame_locals), {32, 35, 43}, 8, 256},
    {WORD(frame_owner), {33, 36, 44}, 1, 255},
    {WORD(frame_stack), {0, 37, 45}, 8, 248},
    {WORD(frame_tlbc), {0, 38, 46}, 4, 252},
    {WORD(code_filename), {35, 40, 48}, 8, 504},
    {WORD(code_name), {36, 41, 49}, 8, 504},
    {WORD(code_qualname), {37, 42, 50}, 8, 504},
    {WORD(code_lines), {38, 43, 51}, 8, 504},
    {WORD(code_first_line), {39, 44, 52}, 4, 508},
    {WORD(code_bytes), {43, 48, 56}, 2, 512},
    {WORD(code_tlbc), {0, 49, 57}, 8, 504},
    {WORD(object_type), {45, 51, 59}, 8, 64},
    {WORD(type_name), {47, 53, 61}, 8, 256},
    {WORD(bytes_len), {65, 75, 87}, 8, 64},
    {WORD(bytes_data), {66, 76, 88}, 1, 128},
    {WORD(unicode_state), {68, 78, 90}, 4, 64},
    {WORD(unicode_len), {69, 79, 91}, 8, 64},
    {WORD(unicode_ascii), {70, 80, 92}, 1, 128},
};

/* Words in the whole table of 3.13, 3.14, 3.15. */
static const uint8_t debug_words[] = {73, 95, 111};
/* `state` in PyThreadState, counted from `_status`, which is exported. */
static const uint8_t state_after_status[] = {8, 12, 16};

uint32_t ac__layout_debug_version(const uint64_t *words, size_t count) {
    if (count < 3 || memcmp(words, "xdebugpy", 8) != 0)
        return 0;
    return (uint32_t)words[1];
}

static bool debug_field_read(const struct debug_field *field, int column, const uint64_t *words,
                             struct ac_layout *layout) {
    uint32_t *target = (uint32_t *)(void *)((char *)layout + field->target);
    if (field->words[column] == 0) {
        *target = NONE;
        return true;
    }
    uint64_t value = words[field->words[column]];
    if (value > field->max || value % field->alignment != 0)
        return false;
    *target = (uint32_t)value;
    return true;
}

/* What the table does not have, and what it has for the other kind of build only. */
static bool debug_complete(struct ac_layout *layout) {
    uint32_t shift = layout->free_threaded ? 8 : 0;
    layout->gil_locked -= layout->gil_cond;
    layout->gil_holder -= layout->gil_cond;
    if (layout->gil_locked != 16 + shift || layout->gil_holder != 8 + shift)
        return false; /* the rest of the struct is told from these two */
    layout->gil_switches = layout->gil_locked + 8;
    layout->gil_cond = GIL_COND + shift;
    layout->gil_end = layout->gil_cond + GIL_WAIT_BYTES;
    layout->tstate_state += state_after_status[layout->minor - 13];
    layout->runtime_gil = layout->runtime_main_thread = layout->cframe_frame = NONE;
    layout->code_size = layout->code_bytes;
    layout->unicode_compact = layout->unicode_ascii + 16;
    layout->unicode_kind_shift = layout->free_threaded && layout->minor >= 14 ? 8 : 2;
    if (!layout->free_threaded)
        layout->gil_enabled = layout->frame_tlbc = layout->code_tlbc = NONE;
    return true;
}

/* Every field that we read lies in the bytes that we read. */
static bool debug_consistent(const struct ac_layout *layout) {
    uint32_t frame = layout->frame_size, code = layout->code_size;
    return frame >= 32 && layout->frame_back + 8 <= frame && layout->frame_code + 8 <= frame &&
           layout->frame_instr + 8 <= frame && layout->frame_owner < frame &&
           (layout->frame_tlbc == NONE || layout->frame_tlbc + 4 <= frame) && code >= 64 &&
           layout->code_filename + 8 <= code && layout->code_name + 8 <= code &&
           layout->code_qualname + 8 <= code && layout->code_lines + 8 <= code &&
           layout->code_first_line + 4 <= code &&
           (layout->code_tlbc == NONE || layout->code_tlbc + 8 <= code) && layout->object_type + 16 <= code &&
           layout->unicode_state + 4 <= layout->unicode_ascii &&
           layout->unicode_len + 8 <= layout->unicode_ascii && layout->bytes_len + 8 <= layout->bytes_data;
}

int ac__layout_debug(const uint64_t *words, size_t count, struct ac_layout *ret_layout) {
    uint32_t version = ac__layout_debug_version(words, count);
    if (version == 0)
        return -ENOEXEC;
    uint32_t minor = (version >> 16) & 0xff, level = (version >> 4) & 0xf;
    /* The table still changes between alphas and betas. */
    if (version >> 24 != 3 || minor < 13 || minor > AC_MAX_MINOR || level < 0xc)
        return -ENOTSUP;
    int column = (int)minor - 13;
    if (count < debug_words[column] || words[2] > 1)
        return -ENOTSUP;
    struct ac_layout layout = {.minor = (int)minor, .free_threaded = words[2] == 1};
    for (size_t i = 0; i < sizeof(debug_fields) / sizeof(debug_fields[0]); i++)
        if (!debug_field_read(&debug_fields[i], column, words, &layout))
            return -ENOTSUP;
    if (!debug_complete(&layout) || !debug_consistent(&layout))
        return -ENOTSUP;
    *ret_layout = layout;
    return 0;
}

/* --- opcodes: the CALL family of each version, specialised and instrumented forms included */

struct opcode_range {
    uint8_t from, to; /* inclusive */
};

static const struct opcode_range calls_3_8[] = {{131, 131}, {141, 142}, {161, 161}};
/* 3.11 runs the C function in PRECALL and its specialised forms, Python's in CALL. */
static const struct opcode_range calls_3_11[] = {{22, 24},   {64, 67},   {72, 73},   {76, 81},   {113, 113},
                                                 {121, 121}, {127, 127}, {141, 143}, {166, 166}, {171, 171}};
static const struct opcode_range calls_3_12[] = {{23, 24},   {28, 29},   {34, 34},   {38, 48},  {56, 56},
                                                 {142, 142}, {171, 171}, {241, 241}, {244, 244}};
static const struct opcode_range calls_3_13[] = {{53, 54}, {57, 57}, {162, 181}, {244, 246}};
static const struct opcode_range calls_3_14[] = {{4, 4}, {52, 52}, {55, 55}, {143, 165}, {250, 252}};
static const struct opcode_range calls_3_15[] = {{4, 4}, {50, 50}, {53, 53}, {144, 168}, {249, 251}};

#define RANGES(table)                                                                                        \
    { table, sizeof(table) / sizeof((table)[0]) }
static const struct {
    const struct opcode_range *ranges;
    size_t count;
} opcodes[] = {
    RANGES(calls_3_8),  RANGES(calls_3_8),  RANGES(calls_3_8),  RANGES(calls_3_11),
    RANGES(calls_3_12), RANGES(calls_3_13), RANGES(calls_3_14), RANGES(calls_3_15),
};

bool ac__opcode_is_call(int minor, uint8_t opcode) {
    if (minor < AC_MIN_MINOR || minor > AC_MAX_MINOR)
        return false;
    for (size_t i = 0; i < opcodes[minor - AC_MIN_MINOR].count; i++) {
        const struct opcode_range *range = &opcodes[minor - AC_MIN_MINOR].ranges[i];
        if (opcode >= range->from && opcode <= range->to)
            return true;
    }
    return false;
}
