/* The page's size, however long the run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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

static void test_long(void **state) {
    (void)state;
    assert_true(page_size(AC_CAP_THREADS, 3600) < 5 << 20);
    assert_true(page_size(1000, 600) < 5 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_a_minute),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
