/* Writers of exports: a bound for the longest run, and each allocation failed in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "made_up.h"

static struct ac_diagnosis *diagnosed(uint32_t threads, int seconds, struct ac_profile **ret_profile) {
    struct ac_diagnosis *diagnosis = NULL;
    assert_int_equal(made_up_profile(threads, seconds, ret_profile), 0);
    assert_int_equal(ac_diagnose(*ret_profile, NULL, NULL, &diagnosis), 0);
    return diagnosis;
}

/* As many segments as a profile can hold, at two events of some 30 bytes each for a thread and for a CPU. */
static void test_a_long_trace(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_diagnosis *diagnosis = diagnosed(1000, 600, &profile);
    struct ac_buf buf = {0};
    assert_true(profile->segment_count > AC_CAP_SEGMENTS / 4);
    assert_int_equal(ac_report_pftrace(profile, diagnosis, &buf), 0);
    assert_true(buf.len < 150 * profile->segment_count);
    ac_buf_free(&buf);
    ac_diagnosis_free(diagnosis);
    ac_profile_free(profile);
}

typedef int (*writer)(const struct ac_run *run, struct ac_buf *buf);

static int write_trace(const struct ac_run *run, struct ac_buf *buf) {
    return ac_report_pftrace(run->profile, run->diagnosis, buf);
}

static int write_text(const struct ac_run *run, struct ac_buf *buf) {
    const struct ac_text_style style = {.width = 80};
    return ac_compare_text((struct ac_run[]){*run, *run}, &style, buf);
}

static int write_page(const struct ac_run *run, struct ac_buf *buf) {
    const struct ac_html_options options = {0};
    return ac_compare_html((struct ac_run[]){*run, *run}, &options, buf);
}

static int write_json(const struct ac_run *run, struct ac_buf *buf) {
    return ac_compare_json((struct ac_run[]){*run, *run}, buf);
}

static void test_no_memory(void **state) {
    (void)state;
    static const writer writers[] = {write_trace, write_text, write_json, write_page};
    struct ac_profile *profile = NULL;
    struct ac_run run = {.name = "run"};
    run.diagnosis = diagnosed(3, 1, &profile);
    run.profile = profile;
    for (size_t i = 0; i < AC_COUNT(writers); i++) {
        struct ac_buf whole = {0};
        ac_memory_fail_at(0);
        assert_int_equal(writers[i](&run, &whole), 0);
        unsigned long calls = ac_memory_calls();
        assert_true(calls > 3);
        /* a page makes thousands of them in its loops: each at both ends, some in between */
        for (unsigned long n = 1; n <= calls; n += calls > 1000 && n > 100 && n + 100 < calls ? 29 : 1) {
            struct ac_buf buf = {0};
            ac_memory_fail_at(n);
            int err = writers[i](&run, &buf);
            ac_memory_fail_at(0);
            if (err != -ENOMEM) {
                fail_msg("writer %zu, allocation %lu of %lu: %d", i, n, calls, err);
            }
            ac_buf_free(&buf);
        }
        ac_buf_free(&whole);
    }
    ac_diagnosis_free((struct ac_diagnosis *)(uintptr_t)run.diagnosis);
    ac_profile_free(profile);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_long_trace), cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
