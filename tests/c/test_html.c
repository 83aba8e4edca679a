/* The page's size, however long the run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "made_up.h"

static size_t page_size(uint32_t threads, int seconds) {
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    assert_int_equal(made_up_profile(threads, seconds, &profile), 0);
    assert_int_equal(made_up_page(profile, &buf), 0);
    size_t size = buf.len;
    ac_buf_free(&buf);
    ac_profile_free(profile);
    return size;
}

static void test_empty(void **state) {
    (void)state;
    assert_true(page_size(1, 0) < 100 << 10);
}

static void test_a_minute(void **state) {
    (void)state;
    assert_true(page_size(16, 60) < 400 << 10);
}

/* A thread of a thousand holds the GIL for 5 ms in 5 s: rare as that is, it must show. */
static void test_long_runs_show_the_rare(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    assert_int_equal(made_up_profile(1000, 600, &profile), 0);
    assert_int_equal(made_up_page(profile, &buf), 0);
    assert_non_null(strstr(ac_buf_text(&buf), "\"coarse\":true"));
    assert_true(strstr(ac_buf_text(&buf), ",1,50") ||
                strstr(ac_buf_text(&buf), ",1,100")); /* Python on CPU 0, 1 */
    ac_buf_free(&buf);
    ac_profile_free(profile);
}

static void test_long(void **state) {
    (void)state;
    assert_true(page_size(1000, 600) < 5 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_a_minute),
        cmocka_unit_test(test_long_runs_show_the_rare),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
