/* layout.h - where each CPython version keeps what the reader needs, as offsets in bytes. */
#ifndef AC_PROBE_LAYOUT_H
#define AC_PROBE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AC_OFFSET_NONE UINT32_MAX /* this version has no such field */

#define AC_MIN_MINOR 8
#define AC_MAX_MINOR 15

/* The largest debug offsets table of the known versions, in words of 8 bytes. */
#define AC_DEBUG_WORDS 112u

struct ac_layout {
    int minor; /* of CPython 3 */
    bool free_threaded;
    /* _PyRuntimeState */
    uint32_t runtime_head;        /* interpreters.head */
    uint32_t runtime_main_thread; /* <= 3.10: calibrates the tid's place */
    uint32_t runtime_gil;         /* <= 3.11: the GIL itself */
    /* PyInterpreterState */
    uint32_t interp_next, interp_threads;
    uint32_t interp_gil;     /* 3.12+: pointer to the GIL */
    uint32_t interp_modules; /* 3.13+: pointer to sys.modules */
    /* struct _gil_runtime_state */
    uint32_t gil_enabled; /* free-threaded only */
    uint32_t gil_holder, gil_locked, gil_switches;
    uint32_t gil_cond, gil_end; /* futexes of waiters lie in [gil_cond, gil_end) */
    /* PyThreadState */
    uint32_t tstate_next, tstate_interp;
    uint32_t tstate_frame;  /* current frame; on 3.11 and 3.12 the _PyCFrame that has it */
    uint32_t cframe_frame;  /* 3.11, 3.12: current_frame in _PyCFrame */
    uint32_t tstate_thread; /* thread_id, the pthread_t */
    uint32_t tstate_native; /* 3.11+: native_thread_id */
    uint32_t tstate_chunk;  /* 3.11+: datastack_chunk; datastack_top and _limit follow it */
    uint32_t tstate_state;  /* 3.13+: attached, detached, suspended */
    /* _PyInterpreterFrame, or PyFrameObject up to 3.10 */
    uint32_t frame_code, frame_back;
    uint32_t frame_instr;  /* prev_instr or instr_ptr; up to 3.10 the int f_lasti */
    uint32_t frame_owner;  /* 3.11+ */
    uint32_t frame_tlbc;   /* free-threaded 3.14+: index of the thread's own bytecode */
    uint32_t frame_locals; /* variables, and the evaluation stack behind them */
    uint32_t frame_stack;  /* 3.14+: the stack's top, while something is called */
    uint32_t frame_size;   /* bytes of a frame worth reading */
    /* PyCodeObject */
    uint32_t code_name, code_qualname, code_filename, code_lines, code_first_line;
    uint32_t code_bytes; /* the bytecode; up to 3.10 a pointer to a bytes object */
    uint32_t code_tlbc;  /* free-threaded 3.14+ */
    uint32_t code_size;
    /* small objects */
    uint32_t object_type, type_name;
    uint32_t bytes_len, bytes_data;
    uint32_t unicode_len, unicode_state, unicode_ascii, unicode_compact;
    uint32_t unicode_kind_shift; /* bit of `kind` in state; compact and ascii follow it */
};

/* The layout of 3.`minor` for 8 <= minor <= 12, compiled from its headers; -ENOTSUP otherwise. */
int ac__layout_static(int minor, struct ac_layout *ret_layout);

/* The layout that a 3.13+ process describes itself: `words` is the start of its _PyRuntime. Every offset is
 * checked here, once. -ENOEXEC no debug offsets there; -ENOTSUP another version, or offsets out of bounds. */
int ac__layout_debug(const uint64_t *words, size_t count, struct ac_layout *ret_layout);
/* Version (as PY_VERSION_HEX) in such a table; 0: none there. */
uint32_t ac__layout_debug_version(const uint64_t *words, size_t count);

/* Does the instruction with this opcode call something that is not a Python function, when no frame was
 * pushed? */
bool ac__opcode_is_call(int minor, uint8_t opcode);

#endif
