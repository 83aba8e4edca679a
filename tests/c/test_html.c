/* The page's size, however long the run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "made_up.h"
#include "verdict/cores.h"

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

/* The series of how busy each of 64 CPUs was is counted, too. */
static void test_a_minute_of_many_cpus(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    assert_int_equal(made_up_profile(16, 60, &profile), 0);
    profile->busy_count = 0;
    for (int64_t at = 0; at < 300; at++) {
        for (int16_t cpu = 0; cpu < 64; cpu++) {
            struct ac_busy busy = {
                .from_ns = at * AC_NS_PER_S / 5, .to_ns = (at + 1) * AC_NS_PER_S / 5, .cpu = cpu};
            busy.share = (uint16_t)(AC_BUSY_ALL - (at * 64 + cpu) % 100);
            assert_int_equal(ac_profile_busy(profile, &busy, 64), 0);
        }
    }
    assert_int_equal(made_up_page(profile, &buf), 0);
    assert_true(buf.len < 400 << 10);
    ac_buf_free(&buf);
    ac_profile_free(profile);
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

/* Each range on the page has the verdict that the same part of the run gets by itself. */
static void test_ranges_are_judged_alike(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    assert_int_equal(made_up_profile(8, 8, &profile), 0);
    assert_int_equal(made_up_page(profile, &buf), 0);
    const char *said = strstr(ac_buf_text(&buf), "\"verdicts\":[");
    const char *range = strstr(ac_buf_text(&buf), "\"judged\":[");
    size_t count = 0;
    assert_non_null(said);
    assert_non_null(range);
    said += strlen("\"verdicts\":[");
    range += strlen("\"judged\":[");
    for (; *said == '['; count++) {
        struct ac_diagnosis *diagnosis = NULL;
        char *end;
        double from = strtod(range, &end);
        double to = strtod(end + 1, &end);
        range = end + (*end == ',');
        assert_int_equal(
            ac_diagnose_range(profile, (int64_t)(from * 1e6 + 0.5), (int64_t)(to * 1e6 + 0.5), &diagnosis),
            0);
        char expected[300];
        snprintf(expected, sizeof(expected), "[\"%s\",\"%s\",\"%s\"", diagnosis->main.id,
                 ac_confidence_names[diagnosis->main.confidence], diagnosis->main.sentence);
        assert_memory_equal(said, expected, strlen(expected));
        ac_diagnosis_free(diagnosis);
        said = strchr(said, '\n') ? strchr(said, '\n') + 1 : "";
    }
    assert_true(count > 100);
    ac_buf_free(&buf);
    ac_profile_free(profile);
}

/* Ranges of each of eight runs on a page are judged as finely as those of one alone. */
static void test_ranges_of_many_runs(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_buf one = {0}, race = {0};
    assert_int_equal(made_up_profile(8, 8, &profile), 0);
    assert_int_equal(made_up_page(profile, &one), 0);
    assert_int_equal(made_up_race(profile, 8, &race), 0);
    const char *judged = strstr(ac_buf_text(&one), "\"judged\":[");
    assert_non_null(judged);
    size_t len = strcspn(judged, "]");
    const char *at = ac_buf_text(&race);
    for (int i = 0; i < 8; i++) {
        at = strstr(at, "\"judged\":[");
        assert_non_null(at);
        assert_memory_equal(at, judged, len + 1);
        at++;
    }
    ac_buf_free(&one);
    ac_buf_free(&race);
    ac_profile_free(profile);
}

static void test_long(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    assert_true(page_size(1000, 600) < 5 << 20);
    assert_int_equal(made_up_profile(1000, 600, &profile), 0);
    assert_int_equal(made_up_race(profile, 8, &buf), 0);
    assert_true(buf.len < 5 << 20);
    ac_buf_free(&buf);
    ac_profile_free(profile);
}

/* As many nodes as the flame graph may have, or nearly: a few too many do not cost most of them. */
static void test_stacks_are_many(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    size_t nodes = 0;
    assert_int_equal(made_up_profile(16, 60, &profile), 0);
    assert_int_equal(made_up_page(profile, &buf), 0);
    for (const char *at = ac_buf_text(&buf); (at = strstr(at, "{\"p\":")); at++) {
        nodes++;
    }
    assert_in_range(nodes, 1200, 1500);
    ac_buf_free(&buf);
    ac_profile_free(profile);
}

static void assert_told(const char *page, const char *row) {
    if (!strstr(page, row)) {
        fail_msg("not on the page: %s", row);
    }
}

/* 40 threads take turns for 3 s on two CPUs: half the core time is lost to the GIL, and processes would halve
 * the time. Then with that work pickling and another program that took a second. */
static void test_figures(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    assert_int_equal(made_up_profile(40, 3, &profile), 0);
    assert_int_equal(made_up_page(profile, &buf), 0);
    const char *page = ac_buf_text(&buf);
    assert_told(page, "Computed, in Python</th><td class=\"n\">3.00</td><td class=\"n\">50.0</td>");
    assert_told(page, "Free while a thread waited for the GIL</th><td class=\"n\">3.00</td>");
    assert_told(page, "<b>Estimates, not measured</b>");
    assert_told(page, "<td class=\"n\">2.0×</td><td class=\"n\">1.50 s</td>");
    /* 1.96 standard deviations of a share of 97.5 % in 200 Hz x 3 s x 40 threads */
    assert_told(page, "<td class=\"n\">97.5</td><td class=\"n\">0.2</td>");
    assert_told(page, "<li>24000 samples at 200 Hz");
    ac_buf_clear(&buf);
    for (size_t i = 0; i < profile->node_count; i++) {
        profile->nodes[i].activity = AC_PICKLE;
    }
    profile->cpus.machine_busy_ns = profile->cpu_ns + AC_NS_PER_S;
    assert_int_equal(made_up_page(profile, &buf), 0);
    page = ac_buf_text(&buf);
    assert_told(page, "Pickling and moving data</th><td class=\"n\">3.00</td>");
    assert_told(page, "Other programs</th><td class=\"n\">1.00</td>");
    assert_told(page, "Free while a thread waited for the GIL</th><td class=\"n\">2.00</td>");
    ac_buf_free(&buf);
    ac_profile_free(profile);
}

/* What is read where no script runs: the page before its data, without tags. */
static char *text_of(const char *page) {
    const char *end = strstr(page, "<script");
    char *text = test_malloc(strlen(page) + 1);
    size_t len = 0;
    assert_non_null(end);
    for (const char *at = page; at < end; at++) {
        char *after;
        if (*at == '<') {
            at = strchr(at, '>');
        } else if (strncmp(at, "&#", 2) == 0) {
            text[len++] = (char)strtol(at + 2, &after, 10);
            at = after;
        } else {
            text[len++] = *at;
        }
    }
    text[len] = '\0';
    return text;
}

/* Without JavaScript: what to do, where, as a diff whose tabs are tabs, and what was when. */
static void test_stands_by_itself(void **state) {
    (void)state;
    char fix[] = "send less: `file names`", more[] = "or threads", sentence[] = "Slow because of <pickling>";
    char first[] = "One thread & no more", second[] = "Threads took turns";
    char diff[] = "--- a/work/my app.py\t\n+++ b/work/my app.py\t\n@@ -1,2 +1,2 @@\n def f():\n"
                  "-\treturn \"a\\b\"\n+\treturn 1\t# <here>\n";
    struct ac_phase phases[] = {{0, 1.25, .9, "idle", first}, {1.25, 3, 1.75, "gil-bound-threads", second}};
    struct ac_html_options options = {0};
    struct ac_diagnosis *diagnosis = NULL;
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    assert_int_equal(made_up_profile(4, 3, &profile), 0);
    assert_int_equal(ac_diagnose(profile, NULL, NULL, &diagnosis), 0);
    struct ac_diagnosis told = *diagnosis;
    told.main.sentence = sentence;
    told.main.fix_text = fix;
    told.main.fix_more = more;
    told.main.fix_diff = diff;
    told.main.fix_place = (struct ac_place){"transform", "/home/somebody/work/my app.py", 12};
    told.phases = phases;
    told.phase_count = 2;
    assert_int_equal(ac_report_html(profile, &told, &options, &buf), 0);
    char *text = text_of(ac_buf_text(&buf));
    assert_told(text, sentence);
    assert_told(text, "send less: file names");
    assert_told(text, more);
    assert_told(text, "In work/my app.py:12, about transform");
    assert_told(text, diff);
    assert_told(text, "0.0–1.2 s0.90One thread & no more");
    assert_told(text, "1.2–3.0 s1.75Threads took turns");
    test_free(text);
    ac_buf_free(&buf);
    ac_diagnosis_free(diagnosis);
    ac_profile_free(profile);
}

/* Two CPUs' quota of 16 CPUs, of which neighbours use three: what the quota left free was lost to the GIL,
 * not to them, until they use more than the quota leaves them. */
static void test_neighbours_of_a_quota(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_cores cores;
    assert_int_equal(made_up_profile(40, 10, &profile), 0);
    profile->cpus.online = profile->cpus.affinity = 16;
    profile->cpus.quota = profile->cpus.usable = 2;
    profile->cpus.machine_busy_ns = profile->cpu_ns + 30 * AC_NS_PER_S;
    assert_int_equal(ac_cores_of(profile, &cores), 0);
    assert_float_equal(cores.seconds[AC_CORES_OTHERS], 0, 1e-6);
    assert_float_equal(cores.seconds[AC_CORES_GIL], 10, 0.1);
    profile->cpus.machine_busy_ns = profile->cpu_ns + 144 * AC_NS_PER_S;
    assert_int_equal(ac_cores_of(profile, &cores), 0);
    assert_float_equal(cores.seconds[AC_CORES_OTHERS], 4, 1e-6);
    assert_float_equal(cores.seconds[AC_CORES_GIL], 6, 0.1);
    ac_profile_free(profile);
}

/* The table has each thread's number; a row of several says how many they are. */
static void test_threads_have_numbers(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    assert_int_equal(made_up_profile(3, 1, &profile), 0);
    profile->threads[2].merged = 12;
    assert_int_equal(made_up_page(profile, &buf), 0);
    assert_told(ac_buf_text(&buf), "<tr><td>1000</td><td>1001</td><th scope=\"row\">worker-1</th>");
    assert_told(ac_buf_text(&buf), "<tr><td>1000</td><td></td><th scope=\"row\">12 threads</th>");
    ac_buf_free(&buf);
    ac_profile_free(profile);
}

/* A caller whose time went into callees that are too rare to be told has none of its own. */
static void test_rare_stacks_are_no_line(void **state) {
    (void)state;
    struct ac_profile *p = NULL;
    struct ac_buf buf = {0};
    uint32_t func, frames[2], node;
    assert_int_equal(made_up_profile(1, 1, &p), 0);
    assert_int_equal(ac_profile_func(p, "caller", "/a/caller.py", 1, &func), 0);
    assert_int_equal(ac_profile_frame(p, func, 5, &frames[1]), 0);
    for (int i = 0; i < 2000; i++) { /* 0.5 ms each: 0.05 % */
        char name[16];
        snprintf(name, sizeof(name), "callee%d", i);
        assert_int_equal(ac_profile_func(p, name, "/a/callee.py", 1, &func), 0);
        assert_int_equal(ac_profile_frame(p, func, 1, &frames[0]), 0);
        assert_int_equal(ac_profile_stack(p, frames, 2, &node), 0);
        assert_int_equal(ac_profile_cell(p, 0, node, AC_PYTHON, AC_KIND_NONE, 500000), 0);
    }
    assert_int_equal(made_up_page(p, &buf), 0);
    assert_told(ac_buf_text(&buf), "{\"p\":0,\"f\":0,\"s\":[],\"o\":[0,1000.0]}");
    assert_told(ac_buf_text(&buf), "are in no top line");
    ac_buf_free(&buf);
    ac_profile_free(p);
}

/* One thread sleeps beside others' loop on the other CPU: that thread is what the free one waited for. */
static void test_asleep_beside_others(void **state) {
    (void)state;
    struct ac_profile *profile = NULL;
    struct ac_cores cores;
    assert_int_equal(made_up_profile(1, 1, &profile), 0);
    profile->cpu_ns = 0;
    profile->cpus.machine_busy_ns = AC_NS_PER_S;
    profile->segment_count = 1;
    profile->segments[0].state = AC_SLEEP;
    profile->segments[0].to_ns = AC_NS_PER_S;
    assert_int_equal(ac_cores_of(profile, &cores), 0);
    assert_float_equal(cores.seconds[AC_CORES_OTHERS], 1, 1e-6);
    assert_float_equal(cores.seconds[AC_CORES_WAITING], 1, 1e-6);
    ac_profile_free(profile);
}

/* Nothing of a command line but the script's or the module's name, however Python's options were written. */
static void test_arguments_are_private(void **state) {
    (void)state;
    static const struct {
        const char *title;
        const char *argv[6];
    } cases[] = {
        {"python -c", {"/usr/bin/python3", "-uc", "print('SECRET')"}},
        {"python -c", {"python3.13", "-cSECRET", "SECRET"}},
        {"python -c", {"python", "-X", "dev", "-c", "SECRET", "SECRET"}},
        {"pkg.mod", {"python", "-Bmpkg.mod", "SECRET"}},
        {"app.py", {"python", "-W", "SECRET", "-XSECRET", "/srv/SECRET/app.py", "--key=SECRET"}},
        {"app.py", {"python", "--check-hash-based-pycs", "always", "app.py", "SECRET"}},
        {"python3", {"python3", "-", "SECRET"}},
        {"python3", {"python3", "-ZSECRET", "SECRET"}},
        {"tool", {"/bin/tool", "SECRET"}},
    };
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    assert_int_equal(made_up_profile(2, 1, &profile), 0);
    for (size_t i = 0; i < AC_COUNT(cases); i++) {
        char title[64];
        profile->argc = 0;
        for (size_t n = 0; n < AC_COUNT(cases[i].argv) && cases[i].argv[n]; n++) {
            const char *word = cases[i].argv[n];
            assert_int_equal(ac_profile_string(profile, word, strlen(word), &profile->argv[profile->argc++]),
                             0);
        }
        ac_buf_clear(&buf);
        assert_int_equal(made_up_page(profile, &buf), 0);
        assert_null(strstr(ac_buf_text(&buf), "SECRET"));
        snprintf(title, sizeof(title), "<title>%s", cases[i].title);
        assert_non_null(strstr(ac_buf_text(&buf), title));
        snprintf(title, sizeof(title), "\"name\":\"%s\"", cases[i].title);
        assert_non_null(strstr(ac_buf_text(&buf), title));
    }
    ac_buf_free(&buf);
    ac_profile_free(profile);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_a_minute),
        cmocka_unit_test(test_a_minute_of_many_cpus),
        cmocka_unit_test(test_long_runs_show_the_rare),
        cmocka_unit_test(test_ranges_are_judged_alike),
        cmocka_unit_test(test_ranges_of_many_runs),
        cmocka_unit_test(test_stacks_are_many),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_threads_have_numbers),
        cmocka_unit_test(test_rare_stacks_are_no_line),
        cmocka_unit_test(test_stands_by_itself),
        cmocka_unit_test(test_neighbours_of_a_quota),
        cmocka_unit_test(test_asleep_beside_others),
        cmocka_unit_test(test_arguments_are_private),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
