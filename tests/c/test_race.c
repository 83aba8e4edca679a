/* What a race's reports show of runs that are made up: many CPUs in few lines, several runs in one figure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "made_up.h"
#include "report/report.h"
#include "verdict/race.h"

/* One contender, on `busy` of `cpus` CPUs for 2 s, on all of them in the first 100 ms. */
static struct ac_profile *profile_of(int cpus, int busy) {
    struct ac_profile *p = NULL;
    assert_int_equal(ac_profile_new(&p), 0);
    p->wall_ns = 2 * AC_NS_PER_S;
    p->cpus.usable = cpus;
    for (int cpu = 0; cpu < cpus; cpu++) {
        struct ac_segment one = {
            .to_ns = cpu < busy ? p->wall_ns : AC_NS_PER_S / 10, .state = AC_NATIVE, .cpu = (int16_t)cpu};
        assert_int_equal(ac_profile_segment(p, &one), 0);
    }
    return p;
}

static void check_strips(int cpus, int busy, const char *const *expected) {
    struct ac_profile *profile = profile_of(cpus, busy);
    struct ac_race_run figures = {.wall_s = 2};
    char word[] = "x";
    struct ac_race_contender contender = {
        .name = "sequential", .reason = word, .runs = &figures, .run_count = 1, .profile = profile};
    struct ac_race race = {
        .work = word, .python = word, .usable = cpus, .contenders = &contender, .count = 1};
    const struct ac_text_style style = {.width = 60, .unicode = true};
    struct ac_buf buf = {0};
    contender.median = figures;
    assert_int_equal(ac_report_race_text(&race, &style, &buf), 0);
    const char *at = ac_buf_text(&buf);
    for (; *expected; expected++) {
        const char *found = strstr(at, *expected);
        if (!found) {
            fail_msg("\"%s\" is not in: %s", *expected, at);
        }
        at = found + strlen(*expected);
    }
    ac_buf_free(&buf);
    ac_profile_free(profile);
}

/* Each line is as high as the share of its CPUs that computed. */
static void test_strips(void **state) {
    (void)state;
    check_strips(2, 1,
                 (const char *const[]){"Each core from 0 to 2.00 s", "██████████████████████\n",
                                       "█▁····················\n", NULL});
    check_strips(16, 3,
                 (const char *const[]){"Each line 2 cores, from 0 to 2.00 s", "██████████████████████\n",
                                       "█▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄\n", "█▁····················\n", NULL});
    check_strips(12, 12,
                 (const char *const[]){"Each line 1 or 2 cores,", "██████████████████████\n",
                                       "██████████████████████\n", NULL});
}

/* What hangs alone will hang in each way: that may not take an hour. */
static void test_limits(void **state) {
    (void)state;
    struct ac_race_run run = {.wall_s = 3};
    struct ac_race_contender first = {.name = "sequential", .runs = &run};
    struct ac_race race = {.contenders = &first, .count = 1};
    assert_true(ac_race_limit(&race, 0) == AC_RACE_FIRST_S);
    first.timed_out = true;
    assert_true(ac_race_limit(&race, 0) == 60);
    assert_true(ac_race_limit(&race, 500) == 500);
    first.run_count = 1;
    assert_true(ac_race_limit(&race, 0) == 50);
    assert_true(ac_race_limit(&race, 7) == 7);
}

static uint32_t node_in(struct ac_profile *p, const char *name, const char *file, int line) {
    uint32_t func, frame, node;
    assert_int_equal(ac_profile_func(p, name, file, line, &func), 0);
    assert_int_equal(ac_profile_frame(p, func, line, &frame), 0);
    assert_int_equal(ac_profile_stack(p, &frame, 1, &node), 0);
    return node;
}

/* Four threads take turns for a second, so that each waits three quarters of it. They pickle for 60 ms and
 * move bytes for 40; waiting beside that costs no core. The function runs from half a second on. */
static struct ac_profile *profile_of_turns(void) {
    struct ac_profile *p = NULL;
    assert_int_equal(made_up_profile(4, 1, &p), 0);
    uint32_t work = node_in(p, "work", "/x/app.py", 7);
    uint32_t pickles = node_in(p, "dumps", "/l/pickle.py", 1);
    uint32_t sends = node_in(p, "_send", "/l/multiprocessing/connection.py", 1);
    for (size_t i = 0; i < p->segment_count; i++) {
        struct ac_segment *s = &p->segments[i];
        int64_t ms = s->from_ns / AC_NS_PER_MS;
        s->node = ms < 60 ? pickles : ms < 100 ? sends : 0;
        s->node = s->state == AC_PYTHON && ms >= 500 ? work : s->node;
    }
    return p;
}

static void free_words(struct ac_race *race) {
    for (size_t i = 0; i < race->count; i++) {
        ac_free(race->contenders[i].reason);
    }
    ac_free(race->reason);
    ac_free(race->note);
}

/* The figures by value, and the reason that they give. */
static void test_figures_of_a_run(void **state) {
    (void)state;
    const struct ac_race_code code = {"/x/app.py", 7};
    struct ac_profile *profile = profile_of_turns(), *slice = NULL;
    struct ac_race_run first = {.wall_s = 1, .cpu_s = 1, .cores_used = 1}, run;
    struct ac_race_contender contenders[] = {
        {.name = "sequential", .runs = &first, .run_count = 1, .workers = 1, .profile = profile},
        {.name = "ThreadPoolExecutor", .runs = &run, .run_count = 1, .workers = 4, .profile = profile}};
    struct ac_race race = {.contenders = contenders, .count = 2, .usable = 2};
    assert_int_equal(ac_race_measure(profile, 0, profile->wall_ns, &code, &run, &slice), 0);
    assert_float_equal(run.wall_s, 1, 1e-6);
    assert_float_equal(run.start_up_s, .5, 1e-6);
    assert_float_equal(run.pickling_s, .1, 1e-6);
    assert_float_equal(run.threads, 4, 1e-6);
    assert_float_equal(run.gil_share, .75, 1e-6);
    assert_int_equal(ac_race_judge(&race), 0);
    assert_string_equal(contenders[1].reason, "took turns: 4 threads waited for the GIL 75 % of the time");
    free_words(&race);
    run.gil_share = 0;
    assert_int_equal(ac_race_judge(&race), 0);
    assert_string_equal(contenders[1].reason, "1.0 cores; 0.50 s to start, 0.10 s pickling");
    free_words(&race);
    const struct ac_race_code elsewhere = {"/x/app.py", 8};
    ac_race_contender_drop(slice, NULL);
    assert_int_equal(ac_race_measure(profile, 0, profile->wall_ns, &elsewhere, &run, &slice), 0);
    assert_true(run.start_up_s < 0); /* it was not seen to run */
    ac_race_contender_drop(slice, NULL);
    ac_profile_free(profile);
}

/* The table has medians and their range; a tab plays the fastest run, and its clock tells that one's
 * speed-up. */
static void test_page_of_several_runs(void **state) {
    (void)state;
    struct ac_race_run first[] = {{.wall_s = 2.5}, {.wall_s = 2}, {.wall_s = 3}};
    struct ac_race_run second[] = {{.wall_s = 2.25}, {.wall_s = 2.75}, {.wall_s = 2}};
    char word[] = "x";
    struct ac_race_contender contenders[] = {
        {.name = "sequential", .runs = first, .median = {2.5, 2.4, 1, -1, 0, 5000000, 0, 0}, .speedup = 1},
        {.name = "threads",
         .runs = second,
         .median = {2.25, 4.25, 1.9, 0.125, 0.25, 6000000, 0, 0},
         .speedup = 2.5 / 2.25}};
    struct ac_race race = {
        .work = word, .python = word, .usable = 2, .contenders = contenders, .count = 2, .reason = word};
    const struct ac_html_options options = {0};
    struct ac_buf page = {0};
    for (size_t i = 0; i < race.count; i++) {
        contenders[i].run_count = 3;
        contenders[i].reason = word;
        assert_int_equal(made_up_profile(2, i ? 1 : 2, &contenders[i].profile), 0);
        assert_int_equal(ac_diagnose(contenders[i].profile, NULL, NULL, &contenders[i].diagnosis), 0);
    }
    assert_int_equal(ac_report_race_html(&race, &options, &page), 0);
    static const char *const expected[] = {
        "medians of 3 runs, with least and most; below, the fastest run of each",
        "class=\"n\">2.50 s (2.00–3.00)<",
        "data-column=\"Start-up\" class=\"n\"><",
        ">2.25 s (2.00–2.75)<",
        ">1.11×<",
        ">4.25 s<",
        ">1.9<",
        ">0.12 s<",
        ">0.25 s<",
        ">6 MB<",
        "\"speedup\":1,",
        "\"speedup\":2,"};
    const char *at = ac_buf_text(&page);
    for (size_t i = 0; i < AC_COUNT(expected); i++) {
        const char *found = strstr(at, expected[i]);
        if (!found) {
            fail_msg("no \"%s\" after what came before it", expected[i]);
        }
        at = found;
    }
    ac_buf_free(&page);
    for (size_t i = 0; i < race.count; i++) {
        ac_diagnosis_free(contenders[i].diagnosis);
        ac_profile_free(contenders[i].profile);
    }
}

/* What could not run is told with its reason, and has no row among what did. */
static void test_left_out(void **state) {
    (void)state;
    char word[] = "x", error[] = "needs Python 3.14", other[] = "not installed | for this Python";
    struct ac_race_run run = {.wall_s = 2};
    struct ac_race_contender contenders[] = {
        {.name = "sequential", .reason = word, .runs = &run, .run_count = 1, .median = {.wall_s = 2}},
        {.name = "InterpreterPoolExecutor", .left_out = true, .error = error},
        {.name = "loky", .left_out = true, .error = other}};
    struct ac_race race = {
        .work = word, .python = word, .usable = 2, .contenders = contenders, .count = 3, .reason = word};
    const struct ac_html_options options = {0};
    struct ac_buf buf = {0};
    assert_int_equal(ac_report_race_html(&race, &options, &buf), 0);
    assert_non_null(strstr(ac_buf_text(&buf), "; left out: InterpreterPoolExecutor (needs Python 3.14), loky "
                                              "(not installed | for this Python)"));
    ac_buf_clear(&buf);
    assert_int_equal(ac_report_race_markdown(&race, &buf), 0);
    assert_non_null(strstr(ac_buf_text(&buf),
                           "\n\nLeft out: InterpreterPoolExecutor (needs Python 3.14), loky "
                           "(not installed \\| for this Python)\n"));
    assert_null(strstr(ac_buf_text(&buf), "| loky"));
    ac_buf_free(&buf);
}

/* What a function says of its files goes into the page as any path does. */
static void test_paths_in_errors(void **state) {
    (void)state;
    char word[] = "x";
    char error[] = "no such file: '/home/ann/secret dir/in put.csv', see http://host/a/b/c or "
                   "/home/ann/x/y/z.py:5 (/srv/ann/d/e), 1/2";
    static const char *const shortened[] = {"secret dir/in put.csv",
                                            "http://host/a/b/c or y/z.py:5 (d/e), 1/2"};
    struct ac_race_contender contender = {.name = "sequential", .error = error};
    struct ac_race race = {
        .work = word, .python = word, .usable = 2, .contenders = &contender, .count = 1, .reason = word};
    for (int full = 0; full < 2; full++) {
        const struct ac_html_options options = {.full_paths = full};
        struct ac_buf page = {0};
        assert_int_equal(ac_report_race_html(&race, &options, &page), 0);
        assert_true((strstr(ac_buf_text(&page), "/home/ann/x/y/z.py:5") != NULL) == full);
        assert_true((strstr(ac_buf_text(&page), "/ann/") != NULL) == full);
        for (size_t i = 0; i < AC_COUNT(shortened); i++) {
            assert_true(full || strstr(ac_buf_text(&page), shortened[i]));
        }
        ac_buf_free(&page);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_strips),
                                       cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_left_out),
                                       cmocka_unit_test(test_figures_of_a_run),
                                       cmocka_unit_test(test_page_of_several_runs),
                                       cmocka_unit_test(test_paths_in_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
