/* reader.h - what the parts of the Python reader (python, gil, threads, stack, code) share: struct ac_py. */
#ifndef AC_PROBE_READER_H
#define AC_PROBE_READER_H

#include "base/base.h"
#include "os/os.h"
#include "probe/layout.h"
#include "probe/python.h"

#define AC_MAX_INTERPRETERS AC_PY_MAX_GILS

/* A code object of the target, read once and looked at again now and then: its address may be used anew. */
struct ac_code {
    uint64_t address;
    uint64_t name, qualname, filename, line_table; /* pointers: together with first_line they tell it apart */
    int32_t first_line;
    uint32_t func; /* in the profile */
    bool shim;     /* 3.13+: the interpreter's own, between a class that is called and its __init__ */
    bool once;     /* a module's own: freed when it has run, and its address is often the next module's */
    int64_t checked_ns;
    uint8_t *lines, *bytes; /* line table; bytecode as first seen (its opcodes only change within a family) */
    uint32_t lines_len, bytes_len;
};

struct ac_codes {
    struct ac_profile *profile; /* the one that func and frame indices belong to */
    struct ac_code *items;
    size_t len, cap;
    size_t bytes;         /* held by all line tables and bytecodes */
    struct ac_map index;  /* address -> item */
    struct ac_map frames; /* item << 32 | offset -> frame in the profile */
    uint64_t type;        /* address of PyCode_Type, learnt */
    struct {
        uint64_t code, base;
        uint32_t copy;
    } tlbc[256]; /* free-threaded: where a thread's own copies of bytecode are */
};

/* A piece of the target's memory that the last walk of a stack needed. */
struct ac_window {
    uint64_t from;
    uint32_t size;
    uint32_t used_from, used_to; /* part that the current walk touched, relative to from; to 0: none */
    size_t at;                   /* in the reader's buffer */
    uint8_t idle;                /* walks in a row that did not need it */
    bool read, chunk;            /* chunk: the top of the thread's data stack */
};

#define AC_CFRAMES 2u

/* What to read for one thread: its tstate, the windows, its tstate again. */
struct ac_plan {
    uint64_t tstate;
    uint64_t cframes[AC_CFRAMES]; /* 3.11, 3.12: _PyCFrames that the tstate pointed to of late, last first */
    struct ac_window *windows;
    size_t len, cap;
    size_t before, after; /* where the two copies of the tstate (and cframe behind it) are */
    bool state_read, cframe_read[AC_CFRAMES]; /* both copies */
};

struct ac_stack_frame {
    uint64_t address, code, instr;
    int32_t copy; /* index of the bytecode's copy, free-threaded */
};

struct ac_plans {
    struct ac_plan *items;
    size_t len, cap;
    struct ac_map index; /* tstate -> item */
    struct iovec *local, *remote;
    bool *ok;
    size_t local_cap, remote_cap, ok_cap, count;
    uint8_t *buffer;
    size_t buffer_cap, buffer_len;
    struct ac_stack_frame *frames; /* of the walk at hand, leaf first */
    size_t frame_count, frame_cap;
    uint32_t tstate_bytes; /* of a tstate that a walk needs */
};

/* rlock.c: types met while looking for locks, by address */
enum ac__lock_type { AC__TYPE_OTHER, AC__TYPE_RLOCK, AC__TYPE_LOCK, AC__TYPE_METHOD };
struct ac__lock_types {
    uint64_t types[64];
    enum ac__lock_type what[64];
    size_t next; /* the oldest gives way */
};

struct ac_py {
    pid_t pid;
    struct ac_py_version version;
    struct ac_layout layout;
    uint64_t runtime;
    bool musl;
    uint64_t torn, failed;

    uint64_t head; /* interpreters.head as last seen */
    uint64_t interps[AC_MAX_INTERPRETERS];
    uint64_t gils[AC_MAX_INTERPRETERS]; /* each interpreter's GIL */
    size_t interp_count;
    unsigned gil_looks; /* since the interpreters were last read */
    struct ac_py_gil last_gils[AC_PY_MAX_GILS];
    size_t last_gil_count;

    uint64_t *tstates; /* as of the last ac_py_threads */
    size_t tstate_count, tstate_cap;
    int32_t tid_offset; /* <= 3.10: of the tid in struct pthread; -1 not known yet */
    bool tid_verified;

    struct ac_codes codes;
    struct ac_plans plans;
    struct ac__lock_types lock_types;
};

/* memory.c: reads of a target, one field or many ranges */
int ac__read_u64(const struct ac_py *py, uint64_t address, uint64_t *ret_value);
/* Reads every range it can; ok[i] tells which. 0, or an error that concerns all (-ESRCH, -EPERM). */
int ac__read_ranges(pid_t pid, const struct iovec *local, const struct iovec *remote, bool *ok, size_t n);
static inline uint64_t ac__u64(const void *at) {
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
static inline int32_t ac__i32(const void *at) {
    int32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
/* Could it point to an object or a struct in user space? */
static inline bool ac__is_pointer(uint64_t address) {
    return address >= 4096 && address < (UINT64_C(1) << 56) && address % 8 == 0;
}

/* find.c: where the runtime is, and which version it is; fills runtime, version, layout and musl */
int ac__runtime_find(struct ac_py *py);

/* threads.c */
int ac__interps_read(struct ac_py *py); /* 0; -EAGAIN none yet or in motion */

/* code.c */
#define AC_SHIM UINT32_MAX /* as a frame: nothing of the program's */
int ac__code_get(struct ac_py *py, struct ac_profile *profile, uint64_t address, uint32_t *ret_item);
/* Byte offset of the instruction; -ERANGE: it does not lie in this code object. */
int ac__code_offset(struct ac_py *py, uint32_t item, uint64_t instr, int32_t copy, int64_t *ret_offset);
int ac__code_frame(struct ac_py *py, struct ac_profile *profile, uint32_t item, int64_t offset,
                   uint32_t *ret_frame);
enum ac_kind ac__code_kind(const struct ac_py *py, uint32_t item, int64_t offset);
void ac__codes_clear(struct ac_codes *codes);
void ac__codes_free(struct ac_codes *codes);
/* A str object as UTF-8, at most AC_MAX_STRING bytes. */
int ac__text_read(const struct ac_py *py, uint64_t address, char *buffer, size_t size);

/* stack.c */
void ac__plans_free(struct ac_plans *plans);

#endif
