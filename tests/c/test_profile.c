/* The profile's tables: interning, caps, activities, the bounded time line, the check of what was read back.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "allcores/profile.h"
#include "base/base.h"

static struct ac_profile *new_profile(void) {
    struct ac_profile *profile = NULL;
    assert_int_equal(ac_profile_new(&profile), 0);
    return profile;
}

static uint32_t node_of(struct ac_profile *profile, const char *const (*stack)[2], size_t count) {
    uint32_t frames[64], node = 0;
    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++) { /* stack is root first */
        uint32_t func;
        assert_int_equal(ac_profile_func(profile, stack[i][0], stack[i][1], 1, &func), 0);
        assert_int_equal(ac_profile_frame(profile, func, 7, &frames[count - 1 - i]), 0);
    }
    assert_int_equal(ac_profile_stack(profile, frames, count, &node), 0);
    return node;
}

static void equal_things_have_one_index(void **state) {
    (void)state;
    struct ac_profile *profile = new_profile();
    ac_str a, b;
    ac_profile_string(profile, "hello", 5, &a);
    ac_profile_string(profile, "hello world", 5, &b);
    assert_int_equal(a, b);
    ac_profile_string(profile, "", 0, &b);
    assert_int_equal(b, 0);
    static const char *const stack[][2] = {{"main", "a.py"}, {"f", "a.py"}};
    uint32_t node = node_of(profile, stack, 2);
    assert_int_equal(node, node_of(profile, stack, 2));
    assert_int_equal(profile->nodes[node].depth, 2);
    assert_string_equal(
        ac_profile_text(profile, profile->funcs[profile->frames[profile->nodes[node].frame].func].name), "f");
    assert_true(ac_profile_valid(profile));
    ac_profile_free(profile);
}

static void long_and_hostile_text_is_cut(void **state) {
    (void)state;
    struct ac_profile *profile = new_profile();
    char text[3000];
    ac_str str;
    memset(text, 'x', sizeof text);
    assert_int_equal(ac_profile_string(profile, text, sizeof text, &str), 0);
    assert_int_equal(strlen(ac_profile_text(profile, str)), AC_MAX_STRING);
    assert_int_equal(ac_profile_string(profile, "ab\0cd", 5, &str), 0);
    assert_string_equal(ac_profile_text(profile, str), "ab");
    assert_string_equal(ac_profile_text(profile, 12345678), "");
    assert_true(ac_profile_valid(profile));
    ac_profile_free(profile);
}

static void deep_stacks_lose_their_middle(void **state) {
    (void)state;
    struct ac_profile *profile = new_profile();
    uint32_t frames[1000], func, node;
    ac_profile_func(profile, "f", "a.py", 1, &func);
    for (int i = 0; i < 1000; i++)
        ac_profile_frame(profile, func, i + 1, &frames[i]);
    ac_profile_stack(profile, frames, 1000, &node);
    assert_int_equal(profile->nodes[node].depth, AC_MAX_DEPTH);
    assert_int_equal(profile->frames[profile->nodes[node].frame].line, 1); /* the leaf */
    while (profile->nodes[node].parent != 0)
        node = profile->nodes[node].parent;
    assert_int_equal(profile->frames[profile->nodes[node].frame].line, 1000); /* the root */
    ac_profile_free(profile);
}

static void tables_stop_at_their_caps(void **state) {
    (void)state;
    struct ac_profile *profile = new_profile();
    uint32_t func, frame, node;
    ac_profile_func(profile, "f", "a.py", 1, &func);
    for (uint32_t i = 0; i < AC_CAP_NODES + 100; i++) {
        assert_int_equal(ac_profile_frame(profile, func, (int32_t)i, &frame), 0);
        assert_int_equal(ac_profile_stack(profile, &frame, 1, &node), 0);
    }
    assert_int_equal(profile->frame_count, AC_CAP_NODES);
    assert_true(profile->limits & AC_LIMIT_STACKS_MERGED);
    for (uint32_t i = 0; i < AC_CAP_PAIRS + 100; i++)
        assert_int_equal(ac_profile_pair(profile, i, i, 1), 0);
    assert_true(profile->pair_count <= AC_CAP_PAIRS);
    int64_t sum = 0;
    for (size_t i = 0; i < profile->pair_count; i++)
        sum += profile->pairs[i].ns;
    assert_int_equal(sum, AC_CAP_PAIRS + 100);
    ac_profile_free(profile);
}

static void cells_at_the_cap_keep_the_time(void **state) {
    (void)state;
    struct ac_profile *profile = new_profile();
    for (uint32_t i = 0; i < AC_CAP_CELLS + 1000; i++)
        assert_int_equal(ac_profile_cell(profile, i % 1000, 1 + i / 4, AC_PYTHON, AC_KIND_NONE, 3), 0);
    int64_t sum = 0;
    for (size_t i = 0; i < profile->cell_count; i++)
        sum += profile->cells[i].ns;
    assert_int_equal(sum, 3 * (int64_t)(AC_CAP_CELLS + 1000));
    assert_true(profile->cell_count <= AC_CAP_CELLS);
    ac_profile_free(profile);
}

#define IMPORT "<frozen importlib._bootstrap>"
#define OURS   "/l/allcores/"
static const struct {
    const char *stack[6][2];
    enum ac_activity activity;
} lives[] = {
    {{{"<module>", "a.py"}, {"work", "a.py"}}, AC_WORK},
    {{{"_find_and_load", IMPORT}, {"<module>", "/usr/lib/python3.13/encodings/__init__.py"}}, AC_START_UP},
    {{{"main", "<frozen site>"}, {"abs_paths", "<frozen site>"}}, AC_START_UP},
    {{{"<module>", "a.py"}, {"_find_and_load", IMPORT}, {"<module>", "/x/numpy/__init__.py"}}, AC_IMPORT},
    {{{"_run_module_as_main", "<frozen runpy>"}, {"_run_code", "<frozen runpy>"}}, AC_START_UP},
    {{{"_run_module_as_main", "<frozen runpy>"}, {"<module>", "/x/app.py"}}, AC_WORK},
    {{{"<module>", "a.py"}, {"dumps", "/usr/lib/python3.13/multiprocessing/reduction.py"}}, AC_PICKLE},
    {{{"<module>", "a.py"},
      {"ForkingPickler.dumps", "/usr/lib/python3.13/multiprocessing/reduction.py"},
      {"Thing.__reduce__", "a.py"}},
     AC_PICKLE},
    {{{"Thread._bootstrap", "/l/threading.py"}, {"Queue._feed", "/l/multiprocessing/queues.py"}}, AC_IPC},
    {{{"<module>", "<string>"},
      {"spawn_main", "/l/multiprocessing/spawn.py"},
      {"prepare", "/l/multiprocessing/spawn.py"},
      {"run_path", "<frozen runpy>"},
      {"<module>", "a.py"}},
     AC_START_UP},
    {{{"spawn_main", "/l/multiprocessing/spawn.py"},
      {"BaseProcess._bootstrap", "/l/multiprocessing/process.py"},
      {"worker", "/l/multiprocessing/pool.py"},
      {"work", "a.py"}},
     AC_WORK},
    {{{"_process_worker", "/l/concurrent/futures/process.py"}, {"work", "a.py"}}, AC_WORK},
    {{{"_process_worker", "/l/concurrent/futures/process.py"},
      {"Queue.get", "/l/multiprocessing/queues.py"},
      {"_ConnectionBase.recv_bytes", "/l/multiprocessing/connection.py"}},
     AC_IPC},
    {{{"<module>", "a.py"}, {"ProcessPoolExecutor.map", OURS "_executor.py"}}, AC_IPC},
    {{{"<module>", "a.py"}, {"ProcessPoolExecutor.map", OURS "_executor.py"}, {"rows", "a.py"}}, AC_WORK},
    {{{"<module>", "a.py"}, {"dumps", OURS "_pickling.py"}, {"Thing.__reduce__", "a.py"}}, AC_PICKLE},
    {{{"<module>", "a.py"}, {"Processes._send", OURS "_lines.py"}}, AC_IPC},
    {{{"<module>", "a.py"}, {"Processes._make", OURS "_lines.py"}, {"work", "a.py"}}, AC_WORK},
    {{{"main", OURS "_zygote.py"}}, AC_START_UP},
    {{{"main", OURS "_zygote.py"}, {"main", OURS "_worker.py"}, {"_take_over", OURS "_worker.py"}},
     AC_START_UP},
    {{{"main", OURS "_zygote.py"}, {"main", OURS "_worker.py"}, {"serve", OURS "_worker.py"}}, AC_IPC},
    {{{"main", OURS "_zygote.py"},
      {"main", OURS "_worker.py"},
      {"serve", OURS "_worker.py"},
      {"work", "a.py"}},
     AC_WORK},
    {{{"serve", OURS "_worker.py"}, {"_Checked.__call__", OURS "_lines.py"}, {"work", "a.py"}}, AC_WORK},
    {{{"serve", OURS "_worker.py"}, {"describe", OURS "_worker.py"}}, AC_IPC},
    {{{"WorkerContext.run", "/l/concurrent/futures/interpreter.py"},
      {"Interpreter.call", "/l/concurrent/interpreters/__init__.py"}},
     AC_IPC},
    {{{"WorkerContext.run", "/l/concurrent/futures/interpreter.py"},
      {"Interpreter.call", "/l/concurrent/interpreters/__init__.py"},
      {"do_call", "/l/concurrent/futures/interpreter.py"}},
     AC_WORK},
};

static void stacks_tell_their_activity(void **state) {
    (void)state;
    struct ac_profile *profile = new_profile();
    for (size_t i = 0; i < AC_COUNT(lives); i++) {
        size_t count = 0;
        while (count < 6 && lives[i].stack[count][0])
            count++;
        uint32_t node = node_of(profile, lives[i].stack, count);
        if (profile->nodes[node].activity != lives[i].activity)
            fail_msg("stack %zu is %s", i, ac_activity_names[profile->nodes[node].activity]);
    }
    ac_profile_free(profile);
}

static void the_time_line_gets_coarser_but_never_ends_early(void **state) {
    (void)state;
    struct ac_profile *profile = new_profile();
    int64_t now = 0, last = 0;
    for (uint32_t i = 0; i < AC_CAP_SEGMENTS * 2; i++) {
        struct ac_segment segment = {.from_ns = now,
                                     .to_ns = now + AC_NS_PER_MS,
                                     .thread = i % 4,
                                     .cpu = -1,
                                     .state = (uint8_t)(i / 4 % 10 == 0 ? AC_SLEEP : AC_PYTHON)};
        assert_int_equal(ac_profile_segment(profile, &segment), 0);
        last = segment.to_ns;
        if (i % 4 == 3)
            now += AC_NS_PER_MS;
    }
    assert_true(profile->segment_count <= AC_CAP_SEGMENTS);
    assert_true(profile->limits & AC_LIMIT_TIMELINE_COARSE);
    int64_t reached[4] = {0}, covered[4] = {0};
    for (size_t i = 0; i < profile->segment_count; i++) {
        const struct ac_segment *segment = &profile->segments[i];
        assert_true(segment->from_ns >= reached[segment->thread]);
        reached[segment->thread] = segment->to_ns;
        covered[segment->thread] += segment->to_ns - segment->from_ns;
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(reached[i], last);
        assert_int_equal(covered[i], last);
    }
    ac_profile_free(profile);
}

static struct ac_profile *small_profile(void) {
    struct ac_profile *profile = new_profile();
    static const char *const stack[][2] = {{"main", "a.py"}, {"f", "a.py"}};
    uint32_t node = node_of(profile, stack, 2);
    profile->wall_ns = 100;
    ac_grow(&profile->processes, &profile->process_cap, 1, sizeof *profile->processes);
    ac_grow(&profile->threads, &profile->thread_cap, 1, sizeof *profile->threads);
    profile->process_count = profile->thread_count = 1;
    profile->processes[0] = (struct ac_process){.pid = 5, .to_ns = 100};
    profile->threads[0] = (struct ac_thread){.tid = 5, .merged = 1, .to_ns = 100, .alive_ns = 100};
    profile->threads[0].states_ns[AC_PYTHON] = 100;
    ac_profile_cell(profile, 0, node, AC_PYTHON, AC_KIND_BYTECODE, 100);
    ac_profile_pair(profile, 1, UINT32_MAX, 10);
    struct ac_segment segment = {.to_ns = 100, .node = node, .cpu = -1};
    ac_profile_segment(profile, &segment);
    struct ac_busy busy = {.to_ns = 50, .share = 100};
    ac_profile_busy(profile, &busy, 1);
    busy = (struct ac_busy){.from_ns = 50, .to_ns = 100, .share = AC_BUSY_ALL};
    ac_profile_busy(profile, &busy, 1);
    return profile;
}

/* However long the run: bounded, without a gap, and the CPU time is the same. */
static void what_cpus_did_gets_coarser(void **state) {
    (void)state;
    enum { CPUS = 3, GROUPS = 100001 };
    struct ac_profile *profile = new_profile();
    double used[CPUS] = {0}, told[CPUS] = {0};
    int64_t before[CPUS] = {0};
    for (int group = 0; group < GROUPS; group++)
        for (int cpu = 0; cpu < CPUS; cpu++) {
            struct ac_busy busy = {.from_ns = group * INT64_C(1000000),
                                   .to_ns = (group + 1) * INT64_C(1000000),
                                   .cpu = (int16_t)(2 * cpu),
                                   .share = (uint16_t)((group / 20000 + cpu) * 1000)};
            used[cpu] += 1e6 * busy.share;
            assert_int_equal(ac_profile_busy(profile, &busy, CPUS), 0);
        }
    assert_true(profile->busy_count <= AC_CAP_BUSY && profile->busy_count > AC_CAP_BUSY / 4);
    for (size_t i = 0; i < profile->busy_count; i++) {
        const struct ac_busy *busy = &profile->busy[i];
        assert_int_equal(busy->cpu, 2 * (i % CPUS));
        assert_int_equal(busy->from_ns, before[i % CPUS]);
        before[i % CPUS] = busy->to_ns;
        told[i % CPUS] += (double)(busy->to_ns - busy->from_ns) * busy->share;
    }
    for (int cpu = 0; cpu < CPUS; cpu++) {
        assert_int_equal(before[cpu], GROUPS * INT64_C(1000000));
        assert_true(fabs(told[cpu] / used[cpu] - 1) < 0.001);
    }
    assert_true(ac_profile_valid(profile));
    ac_profile_free(profile);
}

/* Each way to damage a whole profile is found. */
static void damage_is_found(void **state) {
    (void)state;
    struct ac_profile *profile = small_profile();
    assert_true(ac_profile_valid(profile));
#define DAMAGED(place, value)                                                                                \
    do {                                                                                                     \
        __typeof__(place) before = (place);                                                                  \
        (place) = (value);                                                                                   \
        assert_false(ac_profile_valid(profile));                                                             \
        (place) = before;                                                                                    \
        assert_true(ac_profile_valid(profile));                                                              \
    } while (0)
    DAMAGED(profile->wall_ns, -1);
    DAMAGED(profile->cpu_ns, INT64_MAX);
    DAMAGED(profile->argv[3], 999);
    DAMAGED(profile->kernel, 999);
    DAMAGED(profile->sampling.rate_hz, NAN);
    DAMAGED(profile->cpus.usable, INFINITY);
    DAMAGED(profile->funcs[1].name, 999);
    DAMAGED(profile->funcs[1].activity, 77);
    DAMAGED(profile->frames[1].func, 999);
    DAMAGED(profile->nodes[1].parent, 1);
    DAMAGED(profile->nodes[2].parent, 2);
    DAMAGED(profile->nodes[2].depth, 9);
    DAMAGED(profile->nodes[2].frame, 999);
    DAMAGED(profile->processes[0].exe, 999);
    DAMAGED(profile->processes[0].to_ns, -5);
    DAMAGED(profile->threads[0].process, 1);
    DAMAGED(profile->threads[0].merged, 0);
    DAMAGED(profile->threads[0].states_ns[AC_LOCK], 1);
    DAMAGED(profile->threads[0].states_ns[AC_LOCK], INT64_MIN);
    DAMAGED(profile->cells[0].thread, 1);
    DAMAGED(profile->cells[0].node, 999);
    DAMAGED(profile->cells[0].state, AC_STATE_COUNT);
    DAMAGED(profile->cells[0].kind, AC_KIND_COUNT);
    DAMAGED(profile->pairs[0].holder, 999);
    DAMAGED(profile->segments[0].thread, 1);
    DAMAGED(profile->segments[0].to_ns, -1);
    DAMAGED(profile->segments[0].cpu, -2);
    DAMAGED(profile->busy[0].cpu, -1);
    DAMAGED(profile->busy[0].share, AC_BUSY_ALL + 1);
    DAMAGED(profile->busy[0].to_ns, -1);
    DAMAGED(profile->busy[1].from_ns, -1);
    DAMAGED(profile->busy[0].from_ns, 51);
    ac_profile_free(profile);
}

/* Every allocation on the way fails once: -ENOMEM, nothing lost, nothing broken. */
static void memory_may_run_out(void **state) {
    (void)state;
    for (unsigned long n = 1; n < 200; n++) {
        ac_memory_fail_at(n);
        struct ac_profile *profile = NULL;
        int r = ac_profile_new(&profile);
        uint32_t func = 0, frame = 0, node = 0;
        for (int i = 0; r == 0 && i < 40; i++) {
            char name[16];
            snprintf(name, sizeof name, "f%d", i);
            r = ac_profile_func(profile, name, "a.py", i, &func);
            if (r == 0)
                r = ac_profile_frame(profile, func, 3, &frame);
            if (r == 0)
                r = ac_profile_stack(profile, &frame, 1, &node);
            if (r == 0)
                r = ac_profile_cell(profile, 0, node, AC_PYTHON, AC_KIND_NONE, 1);
        }
        ac_memory_fail_at(0);
        assert_true(r == 0 || r == -ENOMEM);
        ac_profile_free(profile);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_things_have_one_index),
        cmocka_unit_test(long_and_hostile_text_is_cut),
        cmocka_unit_test(deep_stacks_lose_their_middle),
        cmocka_unit_test(tables_stop_at_their_caps),
        cmocka_unit_test(cells_at_the_cap_keep_the_time),
        cmocka_unit_test(stacks_tell_their_activity),
        cmocka_unit_test(the_time_line_gets_coarser_but_never_ends_early),
        cmocka_unit_test(what_cpus_did_gets_coarser),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
