/* base: memory that runs out at every moment, buffers, text made safe, the map against a model, parsers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static void grow_doubles_and_zeroes(void **state) {
    (void)state;
    int *items = NULL;
    size_t cap = 0;
    assert_int_equal(ac_grow(&items, &cap, 3, sizeof(*items)), 0);
    assert_true(cap >= 3);
    for (size_t i = 0; i < cap; i++) {
        assert_int_equal(items[i], 0);
        items[i] = 7;
    }
    size_t before = cap;
    assert_int_equal(ac_grow(&items, &cap, before + 1, sizeof(*items)), 0);
    assert_int_equal(items[before - 1], 7);
    for (size_t i = before; i < cap; i++) {
        assert_int_equal(items[i], 0);
    }
    ac_free(items);
}

static void grow_refuses_what_overflows(void **state) {
    (void)state;
    uint64_t *items = NULL;
    size_t cap = 0;
    assert_int_equal(ac_grow(&items, &cap, SIZE_MAX, sizeof(*items)), -ENOMEM);
    assert_int_equal(ac_grow(&items, &cap, SIZE_MAX / 8 + 1, sizeof(*items)), -ENOMEM);
    assert_null(items);
    assert_int_equal(cap, 0);
    assert_null(ac_calloc(SIZE_MAX / 2, 3));
}

static void grow_keeps_the_array_when_memory_is_out(void **state) {
    (void)state;
    int *items = NULL;
    size_t cap = 0;
    assert_int_equal(ac_grow(&items, &cap, 4, sizeof(*items)), 0);
    items[3] = 42;
    size_t before = cap;
    ac_memory_fail_at(1);
    assert_int_equal(ac_grow(&items, &cap, before + 1, sizeof(*items)), -ENOMEM);
    ac_memory_fail_at(0);
    assert_int_equal(cap, before);
    assert_int_equal(items[3], 42);
    ac_free(items);
}

static void only_the_nth_allocation_fails(void **state) {
    (void)state;
    ac_memory_fail_at(2);
    void *first = ac_malloc(0);
    assert_non_null(first);
    assert_null(ac_strdup("lost"));
    void *third = ac_malloc(1);
    assert_non_null(third);
    assert_int_equal(ac_memory_calls(), 3);
    ac_memory_fail_at(0);
    ac_free(first);
    ac_free(third);
    ac_free(NULL);
}

static void copy_cuts_and_terminates(void **state) {
    (void)state;
    char small[4] = "xxx";
    ac_copy(small, sizeof(small), "abcdef");
    assert_string_equal(small, "abc");
    ac_copy(small, 1, "abc");
    assert_string_equal(small, "");
}

static void a_buffer_builds_text(void **state) {
    (void)state;
    struct ac_buf buf = {0};
    assert_string_equal(ac_buf_text(&buf), "");
    ac_buf_str(&buf, "a");
    ac_buf_printf(&buf, "%d-%s", 12, "b");
    ac_buf_repeat(&buf, "=.", 3);
    ac_buf_bytes(&buf, "\0z", 2);
    assert_int_equal(buf.err, 0);
    assert_int_equal(buf.len, 13);
    assert_memory_equal(buf.data, "a12-b=.=.=.\0z", 14);
    ac_buf_clear(&buf);
    assert_string_equal(ac_buf_text(&buf), "");
    ac_buf_free(&buf);
    ac_buf_free(&buf);
}

static void a_buffer_keeps_its_first_error(void **state) {
    (void)state;
    struct ac_buf buf = {0};
    ac_buf_str(&buf, "kept");
    ac_memory_fail_at(1);
    ac_buf_repeat(&buf, "0123456789", 100);
    ac_buf_str(&buf, "!");
    ac_memory_fail_at(0);
    assert_int_equal(buf.err, -ENOMEM);
    assert_memory_equal(ac_buf_text(&buf), "kept", 4);
    ac_buf_free(&buf);
    ac_buf_bytes(&buf, "", SIZE_MAX); /* never asks for a wrapped-around size */
    assert_int_equal(buf.err, -ENOMEM);
    ac_buf_free(&buf);
}

static void check_text(void (*write)(struct ac_buf *, const char *, size_t), const char *in, size_t len,
                       const char *out) {
    struct ac_buf buf = {0};
    char *exact = calloc(1, len ? len : 1); /* so that ASan sees a read past the end */
    memcpy(exact, in, len);
    write(&buf, exact, len);
    assert_int_equal(buf.err, 0);
    assert_string_equal(ac_buf_text(&buf), out);
    ac_buf_free(&buf);
    free(exact);
}
#define ESCAPED(in, out) check_text(ac_buf_escaped, in, sizeof(in) - 1, out)
#define UTF8(in, out)    check_text(ac_buf_utf8, in, sizeof(in) - 1, out)

static void names_are_made_safe_for_a_terminal(void **state) {
    (void)state;
    ESCAPED("", "");
    ESCAPED("plain", "plain");
    ESCAPED("gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x90\x8d",
            "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x90\x8d");
    ESCAPED("\x1b[2J", "\\x1b[2J");
    ESCAPED("a\nb\tc\x7f", "a\\x0a\x62\\x09\x63\\x7f");
    ESCAPED("a\0b", "a\\x00\x62");
    ESCAPED("\xc2\x9b"
            "31m",
            "\\u009b31m"); /* CSI as one C1 character */
    ESCAPED("\xe2\x80\xae"
            "cod",
            "\\u202ecod");                      /* right-to-left override */
    ESCAPED("\xf3\xa0\x80\xa1", "\\U000e0021"); /* tag characters are invisible */
    ESCAPED("\xff\xfe", "\\xff\\xfe");
    ESCAPED("\xc3", "\\xc3");                                     /* cut in the middle */
    ESCAPED("\xc0\x80\xe0\x80\x80", "\\xc0\\x80\\xe0\\x80\\x80"); /* overlong */
    ESCAPED("\xed\xa0\x80", "\\xed\\xa0\\x80");                   /* a surrogate */
    ESCAPED("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");          /* past the last character */
}

static void json_text_is_valid_utf8(void **state) {
    (void)state;
    UTF8("\x01 \xc3\xbc", "\x01 \xc3\xbc");
    UTF8("\xc3(", "\xef\xbf\xbd(");
    UTF8("\xf0\x9f\x90", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

static void width_counts_columns(void **state) {
    (void)state;
    assert_int_equal(ac_text_width(""), 0);
    assert_int_equal(ac_text_width("abc"), 3);
    assert_int_equal(ac_text_width("e\xcc\x81"), 1);
    assert_int_equal(ac_text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4);
    assert_int_equal(ac_text_width("\xe2\x96\x88\xe2\x96\x8f"), 2);
}

static void check_i64(const char *text, int err, int64_t value) {
    int64_t got = 99;
    assert_int_equal(ac_parse_i64(text, -10, 1000, &got), err);
    assert_int_equal(got, err ? 99 : value);
}

static void numbers_match_whole(void **state) {
    (void)state;
    check_i64("0", 0, 0);
    check_i64("1000", 0, 1000);
    check_i64("-10", 0, -10);
    check_i64("1001", -ERANGE, 0);
    check_i64("-11", -ERANGE, 0);
    check_i64("99999999999999999999", -ERANGE, 0);
    const char *const bad[] = {"", " 1", "+1", "1 ", "1x", "x", "-", "0x10", "1.0"};
    for (size_t i = 0; i < AC_COUNT(bad); i++) {
        check_i64(bad[i], -EINVAL, 0);
    }
}

static void units_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } seconds[] = {{"2", 2},    {"0.5", 0.5}, {"500ms", 0.5}, {"3s", 3},
                   {"2m", 120}, {"1h", 3600}, {".25", 0.25}},
      rates[] = {{"200", 200}, {"200hz", 200}, {"10khz", 10000}, {"10kHz", 10000}, {"1.5k", 1500}};
    for (size_t i = 0; i < AC_COUNT(seconds); i++) {
        double got;
        assert_int_equal(ac_parse_seconds(seconds[i].text, &got), 0);
        assert_true(got > seconds[i].value - 1e-9 && got < seconds[i].value + 1e-9);
    }
    for (size_t i = 0; i < AC_COUNT(rates); i++) {
        double got;
        assert_int_equal(ac_parse_rate(rates[i].text, &got), 0);
        assert_true(got > rates[i].value - 1e-9 && got < rates[i].value + 1e-9);
    }
    const char *const bad[] = {"",     "s", "-1",  "+1", "1e3", "nan", "inf",  "0x10",
                               "1..2", ".", "1 s", "1x", " 1s", "1ss", "1.2.3"};
    for (size_t i = 0; i < AC_COUNT(bad); i++) {
        double got = 7;
        assert_int_equal(ac_parse_seconds(bad[i], &got), -EINVAL);
        assert_int_equal(ac_parse_rate(bad[i], &got), -EINVAL);
        assert_true(got == 7);
    }
}

/* Puts, replaces and removes in random order against an array that holds the truth; few distinct keys, so
 * that deletions hit chains of collisions. */
static void python_is_read_as_python_reads_it(void **state) {
    (void)state;
    static const struct {
        const char *argv[6];
        enum ac_python_program kind;
        const char *what;
    } cases[] = {
        {{"python", "app.py", "-c", "secret"}, AC_PYTHON_SCRIPT, "app.py"},
        {{"python", "-u", "app.py", "secret"}, AC_PYTHON_SCRIPT, "app.py"},
        {{"python", "-uIB", "app.py"}, AC_PYTHON_SCRIPT, "app.py"},
        {{"python", "--", "-app.py"}, AC_PYTHON_SCRIPT, "-app.py"},
        {{"python", "-X", "dev", "app.py"}, AC_PYTHON_SCRIPT, "app.py"},
        {{"python", "-Xdev", "app.py"}, AC_PYTHON_SCRIPT, "app.py"},
        {{"python", "-uX", "dev", "app.py"}, AC_PYTHON_SCRIPT, "app.py"},
        {{"python", "-W", "error::c", "-Wignore", "app.py"}, AC_PYTHON_SCRIPT, "app.py"},
        {{"python", "-Wc", "app.py"}, AC_PYTHON_SCRIPT, "app.py"},
        {{"python", "--check-hash-based-pycs", "never", "app.py"}, AC_PYTHON_SCRIPT, "app.py"},
        {{"python", "-c", "code", "secret"}, AC_PYTHON_CODE, "code"},
        {{"python", "-ccode", "secret"}, AC_PYTHON_CODE, "code"},
        {{"python", "-uc", "code", "secret"}, AC_PYTHON_CODE, "code"},
        {{"python", "-uccode"}, AC_PYTHON_CODE, "code"},
        {{"python", "-m", "pkg.mod", "-c", "secret"}, AC_PYTHON_MODULE, "pkg.mod"},
        {{"python", "-mpkg.mod"}, AC_PYTHON_MODULE, "pkg.mod"},
        {{"python", "-Bm", "pkg.mod"}, AC_PYTHON_MODULE, "pkg.mod"},
        {{"python", "-", "secret"}, AC_PYTHON_STDIN, ""},
        {{"python", "-u"}, AC_PYTHON_STDIN, ""},
        {{"python", "--"}, AC_PYTHON_STDIN, ""},
        {{"python"}, AC_PYTHON_STDIN, ""},
        {{"python", "-c"}, AC_PYTHON_NOTHING, ""},
        {{"python", "-m"}, AC_PYTHON_NOTHING, ""},
        {{"python", "-X"}, AC_PYTHON_NOTHING, ""},
        {{"python", "--check-hash-based-pycs"}, AC_PYTHON_NOTHING, ""},
        {{"python", "-V", "secret"}, AC_PYTHON_NOTHING, ""},
        {{"python", "-Z", "secret"}, AC_PYTHON_NOTHING, ""},
        {{"python", "--help", "secret"}, AC_PYTHON_NOTHING, ""},
        {{0}, AC_PYTHON_NOTHING, ""},
    };
    for (size_t i = 0; i < AC_COUNT(cases); i++) {
        const char *what = NULL;
        size_t argc = 0;
        while (argc < AC_COUNT(cases[i].argv) && cases[i].argv[argc]) {
            argc++;
        }
        assert_int_equal(ac_python_argv(cases[i].argv, argc, &what), cases[i].kind);
        assert_string_equal(what, cases[i].what);
    }
}

static void the_map_agrees_with_a_model(void **state) {
    (void)state;
    enum { KEYS = 300, STEPS = 60000 };
    struct ac_map map = {0};
    uint32_t model[KEYS] = {0}; /* 0: absent */
    struct ac_random random;
    ac_random_seed(&random, 7);
    for (int step = 0; step < STEPS; step++) {
        uint64_t roll = ac_random_next(&random) >> 16;
        size_t key = roll % KEYS;
        uint64_t spread = key * UINT64_C(0x100000001); /* keys that differ in high bits too */
        if (roll / KEYS % 3 == 0) {
            ac_map_remove(&map, spread);
            model[key] = 0;
        } else {
            model[key] = (uint32_t)step + 1;
            assert_int_equal(ac_map_put(&map, spread, model[key]), 0);
        }
        size_t probe = (roll >> 20) % KEYS;
        uint32_t got = 0;
        assert_int_equal(ac_map_get(&map, probe * UINT64_C(0x100000001), &got), model[probe] != 0);
        assert_int_equal(got, model[probe]);
    }
    size_t count = 0;
    for (size_t key = 0; key < KEYS; key++) {
        count += model[key] != 0;
    }
    assert_int_equal(map.len, count);
    assert_true(map.cap <= 1024);
    ac_map_clear(&map);
    uint32_t got;
    assert_false(ac_map_get(&map, 0, &got));
    ac_map_free(&map);
    ac_map_remove(&map, 1);
}

static void the_map_survives_running_out_of_memory(void **state) {
    (void)state;
    for (unsigned long n = 1; n <= 6; n++) {
        struct ac_map map = {0};
        ac_memory_fail_at(n);
        for (uint64_t key = 0; key < 20; key++) {
            (void)ac_map_put(&map, key, (uint32_t)key);
        }
        ac_memory_fail_at(0);
        uint32_t got;
        for (uint64_t key = 0; key < 20; key++) {
            if (ac_map_get(&map, key, &got)) {
                assert_int_equal(got, key);
            }
        }
        assert_int_equal(ac_map_put(&map, 99, 5), 0);
        assert_true(ac_map_get(&map, 99, &got));
        ac_map_free(&map);
    }
}

static void jitter_is_uniform_and_repeatable(void **state) {
    (void)state;
    struct ac_random a;
    struct ac_random b;
    ac_random_seed(&a, 1);
    ac_random_seed(&b, 1);
    int tenths[10] = {0};
    for (int i = 0; i < 10000; i++) {
        double unit = ac_random_unit(&a);
        assert_true(unit >= 0 && unit < 1);
        assert_true(unit == ac_random_unit(&b));
        tenths[(int)(unit * 10)]++;
    }
    for (size_t i = 0; i < 10; i++) {
        assert_true(tenths[i] > 850 && tenths[i] < 1150); /* five standard deviations */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grow_doubles_and_zeroes),
        cmocka_unit_test(grow_refuses_what_overflows),
        cmocka_unit_test(grow_keeps_the_array_when_memory_is_out),
        cmocka_unit_test(only_the_nth_allocation_fails),
        cmocka_unit_test(copy_cuts_and_terminates),
        cmocka_unit_test(a_buffer_builds_text),
        cmocka_unit_test(a_buffer_keeps_its_first_error),
        cmocka_unit_test(names_are_made_safe_for_a_terminal),
        cmocka_unit_test(json_text_is_valid_utf8),
        cmocka_unit_test(width_counts_columns),
        cmocka_unit_test(numbers_match_whole),
        cmocka_unit_test(units_are_read),
        cmocka_unit_test(python_is_read_as_python_reads_it),
        cmocka_unit_test(the_map_agrees_with_a_model),
        cmocka_unit_test(the_map_survives_running_out_of_memory),
        cmocka_unit_test(jitter_is_uniform_and_repeatable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
