/* Threads, GILs and stacks of a made-up CPython 3.12 process: what real ones do too seldom to wait for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "../../fuzz/world.h"
#include "probe/reader.h"

#define BASE   UINT64_C(0x100000)
#define INTERP (BASE + 0x1000)
#define GIL    (BASE + 0x1400)
#define TSTATE (BASE + 0x2000)
#define CFRAME (BASE + 0x2800)
#define CHUNK  (BASE + 0x4000)
#define CODE   (BASE + 0x9000)
#define TYPE   (BASE + 0xc000)
#define TEXT   (BASE + 0xd000)
#define FRAMES 4u
#define STRIDE 128u

static _Alignas(8) uint8_t memory[0x10000];
static struct ac_py py;
static struct ac_profile *profile;

static void put64(uint64_t address, uint64_t value) {
    memcpy(memory + (address - BASE), &value, 8);
}

static void put32(uint64_t address, uint32_t value) {
    memcpy(memory + (address - BASE), &value, 4);
}

static uint64_t frame_at(unsigned i) {
    return CHUNK + 24 + i * STRIDE;
}

static uint64_t text_put(unsigned slot, const char *text) {
    uint64_t at = TEXT + slot * 0x100u;
    put64(at + 16, strlen(text));
    put32(at + 32, 1 << 2 | 1 << 5 | 1 << 6);
    memcpy(memory + (at + 40 - BASE), text, strlen(text));
    return at;
}

/* Code object i: function fI, 8 code units, CALL at unit 3, line i + 10. */
static void code_put(unsigned i) {
    char name[8];
    uint64_t at = CODE + i * 0x400, lines = at + 0x200;
    snprintf(name, sizeof name, "f%u", i);
    put64(at + 8, TYPE);
    put64(at + 16, 8);
    put64(at + 112, text_put(8, "file.py"));
    put64(at + 120, text_put(i, name));
    put64(at + 128, text_put(i, name));
    put64(at + 136, lines);
    put32(at + 68, i + 10);
    memory[at + 192 + 6 - BASE] = 171;
    put64(lines + 16, 2);
    memory[lines + 32 - BASE] = 0x80 | 13 << 3 | 7; /* 8 units, one line, delta 0 */
}

static void frame_put(unsigned i) {
    put64(frame_at(i), CODE + i * 0x400);
    put64(frame_at(i) + 8, i ? frame_at(i - 1) : 0);
    put64(frame_at(i) + 56, CODE + i * 0x400 + 192 + 6);
}

static int process_make(void **state) {
    (void)state;
    memset(memory, 0, sizeof memory);
    put64(BASE + 40, INTERP);
    put64(INTERP + 72, TSTATE);
    put64(INTERP + 384, GIL);
    put64(GIL + 8, TSTATE);
    put32(GIL + 16, 1);
    put64(GIL + 24, 7);
    put64(TSTATE + 16, INTERP);
    put64(TSTATE + 56, CFRAME);
    put64(TSTATE + 144, 4321);
    put64(TSTATE + 232, CHUNK);
    put64(TSTATE + 240, frame_at(FRAMES));
    put64(TSTATE + 248, CHUNK + 0x4000);
    put64(CFRAME, frame_at(FRAMES - 1));
    put64(TYPE + 24, TYPE + 64);
    memcpy(memory + (TYPE + 64 - BASE), "code", 5);
    for (unsigned i = 0; i < FRAMES; i++) {
        code_put(i);
        frame_put(i);
    }
    world_install(memory, sizeof memory, BASE, false);
    py = (struct ac_py){.pid = getpid(), .runtime = BASE, .tid_offset = -1};
    return ac__layout_static(12, &py.layout) | ac_profile_new(&profile);
}

static int process_free(void **state) {
    (void)state;
    ac__codes_free(&py.codes);
    ac__plans_free(&py.plans);
    ac_free(py.tstates);
    ac_profile_free(profile);
    return 0;
}

static struct ac_py_stack_request look(uint64_t fingerprint) {
    struct ac_py_stack_request request = {.tstate = TSTATE, .fingerprint = fingerprint};
    assert_int_equal(ac_py_stacks(&py, profile, &request, 1), 0);
    return request;
}

static const char *name_of(uint32_t node, unsigned up) {
    for (; up; up--)
        node = profile->nodes[node].parent;
    return ac_profile_text(profile, profile->funcs[profile->frames[profile->nodes[node].frame].func].name);
}

static void reads_a_stack(void **state) {
    (void)state;
    struct ac_py_stack_request request = look(0);
    assert_int_equal(request.result, 0);
    assert_int_equal(request.kind, AC_KIND_C_CALL);
    assert_int_equal(profile->nodes[request.node].depth, FRAMES);
    for (unsigned i = 0; i < FRAMES; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%u", FRAMES - 1 - i);
        assert_string_equal(name_of(request.node, i), name);
    }
    assert_int_equal(profile->frames[profile->nodes[request.node].frame].line, 13);
    unsigned long calls = world.calls;
    assert_int_equal(look(request.fingerprint).result, 1);
    assert_int_equal(world.calls, calls + 1); /* known places: one system call */
    put64(frame_at(0) + 56, CODE + 192);      /* another instruction at the root: another stack */
    assert_int_equal(look(request.fingerprint).result, 0);
}

static void reads_threads_and_the_gil(void **state) {
    (void)state;
    struct ac_py_thread threads[2];
    struct ac_py_gil gils[2];
    size_t count;
    assert_int_equal(ac_py_threads(&py, threads, 2, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(threads[0].tstate, TSTATE);
    assert_int_equal(threads[0].native_tid, 4321);
    assert_int_equal(ac_py_gils(&py, gils, 2, &count), 0);
    assert_int_equal(count, 1);
    assert_true(gils[0].enabled && gils[0].held);
    assert_int_equal(gils[0].holder, TSTATE);
    assert_int_equal(ac_py_gil_waits(&py, GIL + 31), -1);
    assert_int_equal(ac_py_gil_waits(&py, GIL + 40), 0);
    assert_int_equal(ac_py_gil_waits(&py, GIL + py.layout.gil_end), -1);
    put32(GIL + 16, 0); /* released: the last holder does not count */
    assert_int_equal(ac_py_gils(&py, gils, 2, &count), 0);
    assert_false(gils[0].held);
    assert_int_equal(gils[0].holder, 0);
}

/* On musl a waiter sleeps on a word of its own stack, in the condition's list. */
static void musl_waiters_are_found_in_the_list(void **state) {
    (void)state;
    struct ac_py_gil gils[2];
    size_t count;
    uint64_t first = BASE + 0xe000, second = BASE + 0xe100;
    put64(GIL + 32 + 8, first);
    put64(first + 8, second);
    assert_int_equal(ac__interps_read(&py), 0);
    assert_int_equal(ac_py_gils(&py, gils, 2, &count), 0);
    assert_int_equal(ac_py_gil_waits(&py, second + 20), -1);
    py.musl = true;
    assert_int_equal(ac_py_gil_waits(&py, second + 20), 0);
    assert_int_equal(ac_py_gil_waits(&py, second + 40), -1);
    put64(second + 8, first); /* a ring ends too */
    assert_int_equal(ac_py_gil_waits(&py, BASE + 0xf000), -1);
}

static void lists_that_are_rings_end(void **state) {
    (void)state;
    struct ac_py_thread threads[2];
    size_t count;
    put64(TSTATE + 8, TSTATE);
    assert_int_equal(ac_py_threads(&py, threads, 2, &count), -EAGAIN);
    put64(TSTATE + 8, 0);
    put64(frame_at(0) + 8, frame_at(FRAMES - 1));
    struct ac_py_stack_request request = look(0);
    assert_int_equal(request.result, 0);
    assert_int_equal(profile->nodes[request.node].depth, AC_MAX_DEPTH);
}

static void flicker(void) {
    static unsigned calls;
    put64(CFRAME, frame_at(calls++ % 2 ? FRAMES - 1 : FRAMES - 2));
}

static void a_stack_that_moves_is_counted_not_shown(void **state) {
    (void)state;
    look(0);
    world.before = flicker; /* the ranges: tstate, cframe, chunk, tstate, cframe; the two cframes differ */
    assert_int_equal(look(0).result, -EAGAIN);
    assert_int_equal(py.torn, 1);
    world.before = NULL;
    assert_int_equal(look(0).result, 0);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    static const struct {
        uint64_t at, value;
    } damages[] = {
        {CHUNK + 24 + 3 * STRIDE, 0x1234},                    /* no pointer for a code object */
        {CHUNK + 24 + 3 * STRIDE, TYPE},                      /* not a code object */
        {CHUNK + 24 + 3 * STRIDE + 8, 0x77777777},            /* a caller nowhere */
        {CHUNK + 24 + 3 * STRIDE + 56, CODE},                 /* an instruction outside of its code */
        {CHUNK + 24 + 3 * STRIDE + 64, UINT64_C(0xff) << 48}, /* an owner that does not exist */
        {CODE + 3 * 0x400 + 136, 0x10},                       /* no line table */
        {CODE + 3 * 0x400 + 16, UINT64_C(1) << 60},           /* endless bytecode */
    };
    for (size_t i = 0; i < AC_COUNT(damages); i++) {
        process_free(state);
        process_make(state);
        put64(damages[i].at, damages[i].value);
        assert_int_equal(look(0).result, -EAGAIN);
        assert_int_equal(py.torn, 1);
    }
    struct ac_py_stack_request gone = {.tstate = BASE + 0x20000};
    assert_int_equal(ac_py_stacks(&py, profile, &gone, 1), 0);
    assert_int_equal(gone.result, -EFAULT);
    assert_int_equal(py.failed, 1);
    put64(CFRAME, 0);
    assert_int_equal(look(0).result, -ENODATA);
}

/* Out of memory at each allocation in turn: an error, and the next look works. */
static void every_allocation_fails_once(void **state) {
    (void)state;
    for (unsigned long n = 1;; n++) {
        process_free(state);
        process_make(state);
        struct ac_py_stack_request request = {.tstate = TSTATE};
        struct ac_py_thread threads[2];
        size_t count;
        ac_memory_fail_at(n);
        int err = ac_py_threads(&py, threads, 2, &count);
        if (err == 0)
            err = ac_py_stacks(&py, profile, &request, 1);
        bool done = ac_memory_calls() < n;
        ac_memory_fail_at(0);
        if (done)
            break;
        assert_true(err == 0 || err == -ENOMEM);
        assert_int_equal(ac_py_threads(&py, threads, 2, &count), 0);
        assert_int_equal(look(0).result, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_a_stack, process_make, process_free),
        cmocka_unit_test_setup_teardown(reads_threads_and_the_gil, process_make, process_free),
        cmocka_unit_test_setup_teardown(musl_waiters_are_found_in_the_list, process_make, process_free),
        cmocka_unit_test_setup_teardown(lists_that_are_rings_end, process_make, process_free),
        cmocka_unit_test_setup_teardown(a_stack_that_moves_is_counted_not_shown, process_make, process_free),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused, process_make, process_free),
        cmocka_unit_test_setup_teardown(every_allocation_fails_once, process_make, process_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
