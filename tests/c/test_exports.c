/* Writers of exports: a bound for the longest run, each allocation failed in turn, and whose home is not
 * told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "made_up.h"
#include "report/names.h"

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
        /* a page makes thousands of them in its loops: each at both ends, some hundred in between */
        unsigned long step = calls / 150 | 1;
        for (unsigned long n = 1; n <= calls; n += calls > 1000 && n > 100 && n + 100 < calls ? step : 1) {
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

static void test_short_paths(void **state) {
    (void)state;
    static const struct {
        const char *path, *shown;
    } paths[] = {{"/srv/app/views/x.py", "views/x.py"},
                 {"/home/alice/p/x.py", "p/x.py"},
                 {"/home/alice/x.py", "x.py"},
                 {"/Users/alice/x.py", "x.py"},
                 {"/export/home/alice/x.py", "x.py"},
                 {"/u/alice/x.py", "x.py"},
                 {"/u/alice2/x.py", "alice2/x.py"},
                 {"/srv/home/x.py", "home/x.py"},
                 {"x.py", "x.py"},
                 {"<string>", "<string>"}};
    setenv("HOME", "/u/alice", 1);
    for (size_t i = 0; i < AC_COUNT(paths); i++) {
        assert_string_equal(ac_short_path(paths[i].path), paths[i].shown);
    }
}

/* The page's patch of a file outside the working directory, whose name there is the whole path. */
static void test_the_patch_on_a_page(void **state) {
    (void)state;
    static const char body[] =
        "@@ -1 +1 @@\n--- a/home/alice/p/old.py\n+1\n"; /* a line that was "-- a/..." */
    static const struct {
        const char *name, *shown;
        bool full;
    } patches[] = {{"home/alice/p/app.py", "p/app.py", false},
                   {"home/alice/p/app.py", "home/alice/p/app.py", true},
                   {"src/deep/down/app.py", "src/deep/down/app.py", false}};
    struct ac_profile *profile = NULL;
    struct ac_diagnosis *diagnosis = diagnosed(2, 1, &profile);
    uint32_t func;
    assert_int_equal(ac_profile_func(profile, "f", "/home/alice/p/app.py", 1, &func), 0);
    for (size_t i = 0; i < AC_COUNT(patches); i++) {
        const struct ac_html_options options = {.full_paths = patches[i].full};
        struct ac_buf page = {0}, diff = {0}, shown = {0};
        ac_buf_printf(&diff, "--- a/%s\n+++ b/%s\n%s", patches[i].name, patches[i].name, body);
        ac_buf_printf(&shown, "--- a/%s\n+++ b/%s\n%s", patches[i].shown, patches[i].shown, body);
        ac_free(diagnosis->main.fix_diff);
        diagnosis->main.fix_diff = diff.data;
        assert_int_equal(ac_report_html(profile, diagnosis, &options, &page), 0);
        assert_non_null(strstr(ac_buf_text(&page), ac_buf_text(&shown)));
        ac_buf_free(&shown);
        ac_buf_free(&page);
    }
    ac_diagnosis_free(diagnosis);
    ac_profile_free(profile);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_long_trace), cmocka_unit_test(test_no_memory),
                                       cmocka_unit_test(test_short_paths),
                                       cmocka_unit_test(test_the_patch_on_a_page)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
