/* fuzz_reader.c - the whole Python reader on a process whose memory is the input.
 *
 * Byte 0 chooses the version, bit 0 of byte 1 whether every address is readable (then pointers always lead
 * somewhere). From 3.13 on the debug offsets are the input's own, or a sane table whose places the input
 * breaks. */
#include <stdlib.h>
#include <unistd.h>

#include "probe/reader.h"
#include "world.h"

#define BASE UINT64_C(0x100000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sane values at the words that the reader looks at; any word may be overwritten by the input. */
static bool layout_of(const uint8_t *data, size_t size, struct ac_layout *ret_layout) {
    int minor = 8 + data[0] % 8;
    if (minor <= 12)
        return ac__layout_static(minor, ret_layout) == 0;
    uint64_t words[AC_DEBUG_WORDS] = {0};
    memcpy(words, data + 2, ac_min(size - 2, sizeof words));
    memcpy(words, "xdebugpy", 8);
    words[1] = UINT64_C(0x030000f0) | (uint64_t)minor << 16;
    if (ac__layout_debug(words, AC_COUNT(words), ret_layout) == 0)
        return true;
    /* Not sane: a 3.12 layout that reads as the later version does (frames, tags, opcodes). */
    ac__layout_static(12, ret_layout);
    ret_layout->minor = minor;
    ret_layout->cframe_frame = AC_OFFSET_NONE;
    ret_layout->tstate_state = 40;
    ret_layout->frame_stack = data[1] & 16 ? 24 : AC_OFFSET_NONE;
    if (data[1] & 2) {
        ret_layout->free_threaded = true;
        ret_layout->gil_enabled = 0;
        ret_layout->interp_modules = 88;
        ret_layout->frame_tlbc = 64;
        ret_layout->code_tlbc = 184;
    }
    return true;
}

static void reader_run(struct ac_py *py, struct ac_profile *profile) {
    struct ac_py_thread threads[64];
    struct ac_py_gil gils[AC_PY_MAX_GILS];
    struct ac_py_stack_request requests[64] = {{0}};
    size_t count = 0, gil_count = 0;
    if (ac_py_threads(py, threads, AC_COUNT(threads), &count) < 0) {
        threads[0].tstate = BASE + 256;
        count = 1;
    }
    ac_py_gils(py, gils, AC_COUNT(gils), &gil_count);
    ac_py_gil_waits(py, BASE + 40);
    char module[AC_MAX_STRING];
    unsigned modules;
    (void)ac_py_gil_module(py, module, sizeof module, &modules);
    count = ac_min(count, AC_COUNT(threads));
    for (size_t i = 0; i < count; i++)
        requests[i].tstate = threads[i].tstate;
    for (int look = 0; look < 2; look++)
        ac_py_stacks(py, profile, requests, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t lock = BASE + 512, owner;
        (void)ac_py_rlock(py, requests[i].leaf_frame, BASE + 40, threads[i].pthread_id, &lock);
        (void)ac_py_rlock_owner(py, lock, &owner);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 64)
        return 0;
    struct ac_py *py = ac_calloc(1, sizeof *py);
    struct ac_profile *profile;
    if (!py || ac_profile_new(&profile) < 0)
        abort();
    py->pid = getpid();
    py->tid_offset = -1;
    py->runtime = BASE;
    py->musl = data[1] & 4;
    world_install(data, size, BASE, data[1] & 1);
    if (layout_of(data, size, &py->layout)) {
        py->codes.type = data[1] & 8 ? ac__u64(data + 32) : 0;
        reader_run(py, profile);
    }
    ac_py_close(py);
    ac_profile_free(profile);
    return 0;
}
