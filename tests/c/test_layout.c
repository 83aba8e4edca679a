/* Offsets, opcodes and line tables by version. The tables were made by real interpreters from one function:
 *
 *   def f(a):                 1        for, then a statement over three lines (line goes back), try/finally,
 *       x = 1                 2        300 empty lines, return
 *       ...
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/base.h"
#include "probe/layout.h"
#include "probe/lines.h"

static const uint8_t lines_3_8[] = {0, 1, 4, 2, 12, 1, 2, 1, 2, 255, 6, 3, 2, 1, 8, 2, 6, 127, 0, 127, 0, 47};
static const uint8_t lines_3_10[] = {4, 1, 12, 2,   2, 1,   2, 1,  6, 255, 2, 3,   6, 1,
                                     4, 2, 0,  127, 0, 127, 4, 47, 0, 129, 0, 129, 6, 209};
static const uint8_t lines_3_13[] = {128, 0,   216, 8,  9,  128, 65,  228, 13,  18, 144, 49,  142, 88,
                                     136, 1,   216, 8,  9,  216, 12,  13,  241, 3,  2,   9,   10,  138,
                                     1,   241, 3,   0,  14, 22,  240, 8,   3,   5,  14,  216, 12,  13,
                                     136, 1,   224, 12, 13, 136, 1,   240, 90,  9,  0,   12,  13,  128,
                                     72,  248, 240, 91, 9,  0,   13,  14,  137, 1,  250};

struct expected {
    int64_t offset;
    int32_t line;
};

static void check(int minor, const uint8_t *table, size_t len, const struct expected *expected,
                  size_t count) {
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ac__line_of(minor, table, len, 1, expected[i].offset), expected[i].line);
}

static void lines_of_each_kind_of_table(void **state) {
    (void)state;
    static const struct expected in_3_8[] = {{-1, 1}, {0, 2},  {2, 2},  {4, 4},  {14, 4},  {16, 5},
                                             {18, 6}, {20, 5}, {26, 8}, {28, 9}, {36, 11}, {42, 312}};
    static const struct expected in_3_10[] = {{-2, 1},  {0, 2},   {4, 4},  {16, 5},  {18, 6},
                                              {20, 5},  {26, 8},  {28, 9}, {34, 11}, {38, 312},
                                              {42, 11}, {46, 11}, {48, 0}};
    static const struct expected in_3_13[] = {{-2, 1},   {0, 1},  {2, 2},   {6, 4},  {32, 4},  {34, 5},
                                              {36, 6},   {38, 5}, {48, 4},  {52, 8}, {54, 9},  {58, 11},
                                              {62, 312}, {66, 0}, {68, 11}, {74, 0}, {4000, 0}};
    check(8, lines_3_8, sizeof lines_3_8, in_3_8, AC_COUNT(in_3_8));
    check(9, lines_3_8, sizeof lines_3_8, in_3_8, AC_COUNT(in_3_8));
    check(10, lines_3_10, sizeof lines_3_10, in_3_10, AC_COUNT(in_3_10));
    for (int minor = 11; minor <= 15; minor++)
        check(minor, lines_3_13, sizeof lines_3_13, in_3_13, AC_COUNT(in_3_13));
    assert_int_equal(ac__line_of(13, NULL, 0, 7, 0), 0);
}

static void layouts_of_released_versions(void **state) {
    (void)state;
    static const uint32_t gils[] = {1152, 352, 352, 360, AC_OFFSET_NONE};
    for (int minor = 8; minor <= 12; minor++) {
        struct ac_layout layout;
        assert_int_equal(ac__layout_static(minor, &layout), 0);
        assert_int_equal(layout.minor, minor);
        assert_int_equal(layout.runtime_gil, gils[minor - 8]);
        assert_int_equal(layout.gil_cond, 32);
#if defined(__x86_64__)
        assert_int_equal(layout.gil_end, 208);
#endif
        assert_true(layout.frame_back + 8 <= layout.frame_size);
        assert_true(layout.frame_instr + 4 <= layout.frame_size);
    }
    struct ac_layout layout;
    assert_int_equal(ac__layout_static(7, &layout), -ENOTSUP);
    assert_int_equal(ac__layout_static(13, &layout), -ENOTSUP);
}

/* The debug offsets of 3.13.0, as far as they are used. */
static void debug_offsets_3_13(uint64_t words[AC_DEBUG_WORDS]) {
    static const struct {
        uint8_t word;
        uint16_t value;
    } values[] = {{5, 632},  {8, 7264}, {9, 7344}, {14, 16}, {15, 7752}, {17, 7768}, {18, 7760}, {19, 304},
                  {20, 0},   {21, 8},   {22, 16},  {23, 72}, {24, 152},  {25, 160},  {26, 232},  {27, 32},
                  {28, 80},  {29, 8},   {30, 0},   {31, 56}, {32, 72},   {33, 70},   {34, 208},  {35, 112},
                  {36, 120}, {37, 128}, {38, 136}, {39, 68}, {43, 200},  {45, 8},    {47, 24},   {65, 16},
                  {66, 32},  {68, 32},  {69, 16},  {70, 40}};
    memset(words, 0, AC_DEBUG_WORDS * sizeof *words);
    memcpy(words, "xdebugpy", 8);
    words[1] = 0x030d00f0;
    for (size_t i = 0; i < AC_COUNT(values); i++)
        words[values[i].word] = values[i].value;
}

static void layout_that_the_target_tells(void **state) {
    (void)state;
    uint64_t words[AC_DEBUG_WORDS];
    struct ac_layout layout;
    debug_offsets_3_13(words);
    assert_int_equal(ac__layout_debug_version(words, AC_DEBUG_WORDS), 0x030d00f0);
    assert_int_equal(ac__layout_debug(words, AC_DEBUG_WORDS, &layout), 0);
    assert_int_equal(layout.runtime_head, 632);
    assert_int_equal(layout.gil_locked, 16);
    assert_int_equal(layout.tstate_state, 40);
    assert_int_equal(layout.code_bytes, 200);
    assert_int_equal(layout.unicode_compact, 56);
    words[0]++;
    assert_int_equal(ac__layout_debug(words, AC_DEBUG_WORDS, &layout), -ENOEXEC);
    debug_offsets_3_13(words);
    words[1] = 0x031000f0;
    assert_int_equal(ac__layout_debug(words, AC_DEBUG_WORDS, &layout), -ENOTSUP); /* 3.16 */
    words[1] = 0x030f00a4;
    assert_int_equal(ac__layout_debug(words, AC_DEBUG_WORDS, &layout), -ENOTSUP); /* 3.15 alpha 4 */
}

/* An offset that leads outside of what is read is refused, whichever it is. */
static void layout_that_the_target_lies_about(void **state) {
    (void)state;
    static const uint8_t used[] = {5,  8,  9,  14, 15, 17, 18, 21, 22, 23, 24, 25, 26, 27, 28, 29,
                                   30, 31, 33, 35, 36, 37, 38, 39, 43, 45, 47, 65, 66, 68, 69, 70};
    static const uint64_t lies[] = {UINT64_MAX, UINT64_C(1) << 32, 0x80000000};
    for (size_t i = 0; i < AC_COUNT(used); i++) {
        for (size_t k = 0; k < AC_COUNT(lies); k++) {
            uint64_t words[AC_DEBUG_WORDS];
            struct ac_layout layout;
            debug_offsets_3_13(words);
            words[used[i]] = lies[k];
            assert_int_equal(ac__layout_debug(words, AC_DEBUG_WORDS, &layout), -ENOTSUP);
        }
    }
}

static void opcodes_that_call(void **state) {
    (void)state;
    static const struct {
        int minor;
        uint8_t call, other;
    } cases[] = {{8, 131, 124}, {9, 161, 100}, {10, 142, 90}, {11, 166, 151}, {12, 171, 122},
                 {13, 53, 45},  {14, 52, 44},  {15, 50, 43},  {16, 52, 52}};
    for (size_t i = 0; i < AC_COUNT(cases); i++) {
        assert_int_equal(ac__opcode_is_call(cases[i].minor, cases[i].call), cases[i].minor <= 15);
        assert_false(ac__opcode_is_call(cases[i].minor, cases[i].other));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_each_kind_of_table),
        cmocka_unit_test(layouts_of_released_versions),
        cmocka_unit_test(layout_that_the_target_tells),
        cmocka_unit_test(layout_that_the_target_lies_about),
        cmocka_unit_test(opcodes_that_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
