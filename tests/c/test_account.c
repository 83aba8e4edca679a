/* The account: exact totals and samples to states. Each row's states must sum to its life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "probe/account.h"

#define MS AC_NS_PER_MS

static int64_t sum(const int64_t *states) {
    int64_t total = 0;
    for (int i = 0; i < AC_STATE_COUNT; i++) {
        assert_true(states[i] >= 0);
        total += states[i];
    }
    return total;
}

static void native_is_what_the_samples_do_not_explain(void **state) {
    (void)state;
    struct ac_account row = {
        .alive_ns = 1000 * MS, .run_ns = 800 * MS, .delay_ns = 50 * MS, .cpu_samples = 160};
    row.weight_ns[AC_PYTHON] = 500 * MS;
    row.weight_ns[AC_NATIVE] = 900 * MS; /* hand-over noise does not count */
    row.weight_ns[AC_LOCK] = 10 * MS;
    row.weight_ns[AC_SLEEP] = 30 * MS;
    int64_t states[1][AC_STATE_COUNT];
    ac_account_split(&row, 1, states);
    assert_int_equal(states[0][AC_PYTHON], 500 * MS);
    assert_int_equal(states[0][AC_NATIVE], 300 * MS);
    assert_int_equal(states[0][AC_NO_CPU], 50 * MS);
    assert_in_range(states[0][AC_LOCK], 37 * MS, 38 * MS);
    assert_in_range(states[0][AC_SLEEP], 112 * MS, 113 * MS);
    assert_int_equal(sum(states[0]), row.alive_ns);
}

/* Four threads of equal CPU time; chance gave some more samples than others. None of it is native. */
static void noise_of_one_row_pays_for_another(void **state) {
    (void)state;
    static const int64_t seen[] = {220, 270, 235, 275};
    struct ac_account rows[4] = {0};
    int64_t states[4][AC_STATE_COUNT];
    for (int i = 0; i < 4; i++) {
        rows[i] = (struct ac_account){.alive_ns = 1000 * MS, .run_ns = 250 * MS, .cpu_samples = 50};
        rows[i].weight_ns[AC_PYTHON] = seen[i] * MS;
        rows[i].weight_ns[AC_GIL_WAIT] = 700 * MS;
    }
    ac_account_split(rows, 4, states);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(states[i][AC_NATIVE], 0);
        assert_int_equal(states[i][AC_GIL_WAIT], 750 * MS);
        assert_int_equal(sum(states[i]), rows[i].alive_ns);
    }
}

static void a_thread_that_never_holds_is_native_whatever_the_others_do(void **state) {
    (void)state;
    struct ac_account rows[2] = {
        {.alive_ns = 1000 * MS, .run_ns = 900 * MS, .cpu_samples = 180},
        {.alive_ns = 1000 * MS, .run_ns = 900 * MS, .cpu_samples = 180},
    };
    rows[0].weight_ns[AC_PYTHON] = 950 * MS;
    rows[1].weight_ns[AC_NATIVE] = 900 * MS;
    int64_t states[2][AC_STATE_COUNT];
    ac_account_split(rows, 2, states);
    assert_int_equal(states[0][AC_PYTHON], 900 * MS);
    assert_int_equal(states[1][AC_NATIVE], 900 * MS);
}

/* A busy machine: ticks found the thread on a CPU more often than its CPU time says. The ring knows that. */
static void samples_are_scaled_to_the_cpu_time_where_they_are_exact(void **state) {
    (void)state;
    struct ac_account row = {
        .alive_ns = 3000 * MS, .run_ns = 1000 * MS, .cpu_samples = 250, .on_cpu_exact = true};
    row.weight_ns[AC_PYTHON] = 875 * MS;
    row.weight_ns[AC_NATIVE] = 375 * MS;
    int64_t states[1][AC_STATE_COUNT];
    ac_account_split(&row, 1, states);
    assert_in_range(states[0][AC_NATIVE], 299 * MS, 301 * MS);
    row.on_cpu_exact = false;
    ac_account_split(&row, 1, states);
    assert_int_equal(states[0][AC_NATIVE], 125 * MS);
}

static void what_cannot_be_read_is_not_guessed(void **state) {
    (void)state;
    struct ac_account row = {.alive_ns = 100 * MS,
                             .run_ns = 60 * MS,
                             .unreadable = true,
                             .cpu_state = AC_UNKNOWN,
                             .cpu_samples = 12};
    int64_t states[1][AC_STATE_COUNT];
    ac_account_split(&row, 1, states);
    assert_int_equal(states[0][AC_UNKNOWN], 100 * MS); /* never seen asleep, either */
    row.cpu_state = AC_NATIVE;
    ac_account_split(&row, 1, states);
    assert_int_equal(states[0][AC_NATIVE], 60 * MS);
}

static void clocks_that_disagree_are_clipped(void **state) {
    (void)state;
    struct ac_account row = {.alive_ns = 10 * MS, .run_ns = 11 * MS, .delay_ns = 5 * MS, .cpu_samples = 2};
    int64_t states[1][AC_STATE_COUNT];
    ac_account_split(&row, 1, states);
    assert_int_equal(sum(states[0]), 10 * MS);
    assert_int_equal(states[0][AC_NO_CPU], 0);
    row = (struct ac_account){.alive_ns = 0, .run_ns = -3};
    ac_account_split(&row, 1, states);
    assert_int_equal(sum(states[0]), 0);
}

static void never_seen_on_a_cpu_is_python(void **state) {
    (void)state;
    struct ac_account row = {.alive_ns = 4 * MS, .run_ns = 3 * MS};
    int64_t states[1][AC_STATE_COUNT];
    ac_account_split(&row, 1, states);
    assert_int_equal(states[0][AC_PYTHON], 3 * MS);
    assert_int_equal(states[0][AC_UNKNOWN], 1 * MS);
}

/* Any input at all: sums hold and nothing is negative. */
static void random_rows_always_add_up(void **state) {
    (void)state;
    struct ac_random random;
    ac_random_seed(&random, 7);
    for (int round = 0; round < 2000; round++) {
        struct ac_account rows[5] = {0};
        int64_t states[5][AC_STATE_COUNT];
        for (int i = 0; i < 5; i++) {
            rows[i].alive_ns = (int64_t)(ac_random_next(&random) % (uint64_t)(10000 * MS));
            rows[i].run_ns = (int64_t)(ac_random_next(&random) % (uint64_t)(10000 * MS));
            rows[i].delay_ns = (int64_t)(ac_random_next(&random) % (uint64_t)(1000 * MS));
            rows[i].cpu_samples = (int64_t)(ac_random_next(&random) % 20);
            rows[i].unreadable = ac_random_next(&random) % 8 == 0;
            for (int s = 0; s < AC_STATE_COUNT; s++)
                rows[i].weight_ns[s] =
                    (int64_t)(ac_random_next(&random) % 3 * ac_random_next(&random) % 1000000);
        }
        ac_account_split(rows, 5, states);
        for (int i = 0; i < 5; i++)
            assert_int_equal(sum(states[i]), rows[i].alive_ns);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_is_what_the_samples_do_not_explain),
        cmocka_unit_test(noise_of_one_row_pays_for_another),
        cmocka_unit_test(a_thread_that_never_holds_is_native_whatever_the_others_do),
        cmocka_unit_test(samples_are_scaled_to_the_cpu_time_where_they_are_exact),
        cmocka_unit_test(what_cannot_be_read_is_not_guessed),
        cmocka_unit_test(clocks_that_disagree_are_clipped),
        cmocka_unit_test(never_seen_on_a_cpu_is_python),
        cmocka_unit_test(random_rows_always_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
