/* The sampler on small programs that are not Python: the account adds up, with and without the ring. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "faults.h"
#include "os/os.h"
#include "probe/sampler.h"
#include "stolen.h"

struct run {
    struct ac_child child;
    int status;
    struct rusage usage;
    int64_t stolen_ns; /* at most, meanwhile */
    struct ac_profile *profile;
};

static int poll_child(void *arg) {
    struct run *run = arg;
    return wait4(run->child.pid, &run->status, WNOHANG, &run->usage) == run->child.pid;
}

static int64_t used(const struct rusage *usage) {
    return ((int64_t)usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * AC_NS_PER_S +
           ((int64_t)usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * AC_NS_PER_US;
}

/* Launch, follow to the end (or for `seconds`), close the account. */
static void follow(struct run *run, char *const argv[], bool no_ring, double seconds) {
    struct ac_sampler_options options = {
        .rate_hz = 500, .children = true, .stacks = true, .no_ring = no_ring, .no_fifo = true};
    struct ac_sampler *sampler = NULL;
    memset(run, 0, sizeof *run);
    int64_t stolen = stolen_ns();
    assert_int_equal(ac_sampler_new(&options, &sampler), 0);
    assert_int_equal(ac_child_start(argv, &run->child), 0);
    assert_int_equal(ac_sampler_attach(sampler, run->child.pid, true), 0);
    assert_int_equal(ac_child_release(&run->child), 0);
    int64_t deadline = seconds > 0 ? ac_now_ns() + (int64_t)(seconds * 1e9) : 0;
    if (ac_sampler_run(sampler, deadline, poll_child, run) == 0) {
        kill(run->child.pid, SIGKILL);
        wait4(run->child.pid, &run->status, 0, &run->usage);
    }
    run->stolen_ns = stolen_ns() - stolen + STOLEN_TICK_NS;
    assert_int_equal(ac_sampler_finish(sampler, used(&run->usage), &run->profile), 0);
    ac_sampler_free(sampler);
    assert_true(ac_profile_valid(run->profile));
    assert_true(run->profile->process_count >= 1 && run->profile->thread_count >= 1);
    assert_int_equal(run->profile->processes[0].pid, run->child.pid);
}

static double share(const struct ac_profile *profile, enum ac_state state) {
    int64_t states[AC_STATE_COUNT], sum = 0;
    ac_profile_states(profile, states);
    for (int i = 0; i < AC_STATE_COUNT; i++)
        sum += states[i];
    return sum > 0 ? (double)states[state] / (double)sum : 0.0;
}

static void a_sleeper_sleeps(void **state) {
    (void)state;
    char *argv[] = {"sleep", "0.4", NULL};
    for (int no_ring = 0; no_ring < 2; no_ring++) {
        struct run run;
        follow(&run, argv, no_ring, 0);
        assert_true(share(run.profile, AC_SLEEP) > 0.9);
        assert_string_equal(ac_profile_text(run.profile, run.profile->argv[0]), "sleep");
        ac_profile_free(run.profile);
    }
}

static void a_busy_loop_is_native_and_its_cpu_time_exact(void **state) {
    (void)state;
    char *argv[] = {"sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done", NULL};
    for (int no_ring = 0; no_ring < 2; no_ring++) {
        struct run run;
        follow(&run, argv, no_ring, 0);
        const struct ac_profile *profile = run.profile;
        double cpu = (double)profile->cpu_ns, truth = (double)used(&run.usage);
        assert_true(share(profile, AC_NATIVE) + share(profile, AC_NO_CPU) > 0.8);
        assert_true(cpu > truth * 0.99 && cpu < truth * 1.02 + (double)run.stolen_ns);
        ac_profile_free(run.profile);
    }
}

static void children_that_live_for_milliseconds_are_in_the_total(void **state) {
    (void)state;
    char *argv[] = {"sh", "-c", "i=0; while [ $i -lt 60 ]; do i=$(expr $i + 1); done", NULL};
    for (int no_ring = 0; no_ring < 2; no_ring++) {
        struct run run;
        follow(&run, argv, no_ring, 0);
        double cpu = (double)run.profile->cpu_ns, truth = (double)used(&run.usage);
        print_message("%s: account %.3f ms, rusage %.3f ms, stolen %.3f ms\n", no_ring ? "/proc" : "ring",
                      cpu / 1e6, truth / 1e6, (double)run.stolen_ns / 1e6);
        assert_true(cpu > truth * 0.98 - 1e6 && cpu < truth * 1.05 + (double)run.stolen_ns);
        if (run.profile->sampling.ring)
            assert_true(run.profile->process_count == 61);
        ac_profile_free(run.profile);
    }
}

static void a_deadline_ends_the_run(void **state) {
    (void)state;
    char *argv[] = {"sleep", "60", NULL};
    struct run run;
    follow(&run, argv, false, 0.2);
    assert_true(run.profile->wall_ns >= 150 * AC_NS_PER_MS && run.profile->wall_ns < 2 * AC_NS_PER_S);
    ac_profile_free(run.profile);
}

static void what_is_not_there_is_refused(void **state) {
    (void)state;
    struct ac_sampler_options options = {.rate_hz = 0.5};
    struct ac_sampler *sampler = NULL;
    struct ac_profile *profile = NULL;
    assert_int_equal(ac_sampler_new(&options, &sampler), -EINVAL);
    assert_int_equal(ac_snapshot(0x3fffffff, true, &profile), -ESRCH);
    options.rate_hz = 100;
    assert_int_equal(ac_sampler_new(&options, &sampler), 0);
    assert_int_equal(ac_sampler_attach(sampler, 0x3fffffff, false), -ESRCH);
    assert_int_equal(ac_sampler_finish(sampler, 0, &profile), -EINVAL);
    ac_sampler_free(sampler);
    ac_sampler_free(NULL);
}

static void a_snapshot_has_one_segment_per_thread(void **state) {
    (void)state;
    char *argv[] = {"sleep", "60", NULL};
    struct ac_child child;
    struct ac_profile *profile = NULL;
    assert_int_equal(ac_child_start(argv, &child), 0);
    assert_int_equal(ac_child_release(&child), 0);
    ac_sleep_until(ac_now_ns() + 50 * AC_NS_PER_MS);
    assert_int_equal(ac_snapshot(child.pid, true, &profile), 0);
    assert_int_equal(profile->thread_count, 1);
    assert_int_equal(profile->segment_count, 1);
    assert_int_equal(profile->segments[0].state, AC_SLEEP);
    assert_true(ac_profile_valid(profile));
    ac_profile_free(profile);
    kill(child.pid, SIGKILL);
    waitpid(child.pid, NULL, 0);
}

/* Each allocation of a snapshot fails in turn: an error comes back, nothing crashes. */
static void memory_may_run_out(void **state) {
    (void)state;
    char *argv[] = {"sleep", "60", NULL};
    struct ac_child child;
    assert_int_equal(ac_child_start(argv, &child), 0);
    assert_int_equal(ac_child_release(&child), 0);
    for (unsigned long n = 1, calls = n; n <= calls; n++) {
        struct ac_profile *profile = NULL;
        ac_memory_fail_at(n);
        int r = ac_snapshot(child.pid, true, &profile);
        calls = ac_memory_calls();
        ac_memory_fail_at(0);
        assert_true(r == 0 || r == -ENOMEM || r == -ESRCH);
        if (r == 0)
            assert_true(ac_profile_valid(profile));
        ac_profile_free(r == 0 ? profile : NULL);
    }
    kill(child.pid, SIGKILL);
    waitpid(child.pid, NULL, 0);
}

/* A short run on a process that was there before, with the ring where it opens. */
static int watch_for(pid_t pid, double seconds, struct ac_profile **ret_profile) {
    const struct ac_sampler_options options = {
        .rate_hz = 1000, .children = true, .stacks = true, .no_fifo = true};
    struct ac_sampler *sampler = NULL;
    int r = ac_sampler_new(&options, &sampler);
    r = r < 0 ? r : ac_sampler_attach(sampler, pid, false);
    r = r < 0 ? r : ac_sampler_run(sampler, ac_now_ns() + (int64_t)(seconds * 1e9), NULL, NULL);
    r = r < 0 ? r : ac_sampler_finish(sampler, 0, ret_profile);
    ac_sampler_free(sampler);
    return r;
}

/* Each system call of a run fails in turn, as in a sandbox or at a limit: an answer or an error, never a
 * crash. */
static void any_system_call_may_fail(void **state) {
    (void)state;
    static const int errors[] = {EPERM, EMFILE, EIO};
    char *argv[] = {"sleep", "60", NULL};
    struct ac_child child;
    assert_int_equal(ac_child_start(argv, &child), 0);
    assert_int_equal(ac_child_release(&child), 0);
    for (size_t e = 0; e < AC_COUNT(errors); e++) {
        for (unsigned long n = 1, calls = n; n <= calls && n < 150;
             n++) { /* by then every kind has had its turn */
            struct ac_profile *profile = NULL;
            ac_sys_fail_at(n, errors[e]);
            int r = watch_for(child.pid, 0.005, &profile);
            calls = ac_sys_calls();
            if (r == 0)
                assert_true(ac_profile_valid(profile));
            ac_profile_free(r == 0 ? profile : NULL);
        }
    }
    kill(child.pid, SIGKILL);
    waitpid(child.pid, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sleeper_sleeps),
        cmocka_unit_test(a_busy_loop_is_native_and_its_cpu_time_exact),
        cmocka_unit_test(children_that_live_for_milliseconds_are_in_the_total),
        cmocka_unit_test(a_deadline_ends_the_run),
        cmocka_unit_test(what_is_not_there_is_refused),
        cmocka_unit_test(a_snapshot_has_one_segment_per_thread),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(any_system_call_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
