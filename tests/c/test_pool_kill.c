/* test_pool_kill.c - death at every step: a worker, then the parent, is SIGKILLed at each named point between
 * two stores to shared memory (pool/kill.h), at its first, second and tenth passing. After a worker's death
 * every other task must come out right and the books must be in order; after the parent's no process may be
 * left.
 *
 * Each case runs in a process of its own that forks a pool. Which side kills itself is told by a word in
 * memory that all share; it is cleared by whoever is about to die, so that one death is all there is. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "os/os.h"
#include "pool/kill.h"
#include "pool_work.h"

static const char *const names[] = {
#define NAME(name) #name,
    AC__KILL_POINTS(NAME)};

enum side { NOBODY, WORKER, PARENT };
static struct plan {
    _Atomic int who; /* enum side */
    _Atomic int point;
    _Atomic int left; /* passings still to go */
    _Atomic int hits[AC__KILL_COUNT][3];
} * plan;
static pid_t parent;

static void hook(enum ac__kill_point point) {
    int who = getpid() == parent ? PARENT : WORKER;
    atomic_fetch_add(&plan->hits[point][who], 1);
    if (atomic_load(&plan->who) == who && atomic_load(&plan->point) == (int)point &&
        atomic_fetch_sub(&plan->left, 1) == 1) {
        atomic_store(&plan->who, NOBODY);
        kill(getpid(), SIGKILL);
    }
}

static int allowed_losses;

/* Everything that passes the points: all kinds of tasks, waits, notices, retries, shares. */
static void scenario(void) {
    struct ac_pool *pool = work_pool(2, true);
    static unsigned char data[200000];
    int lost = 0;
    for (int round = 0; round < 12; round++) {
        uint64_t size = 70 << 20;
        uint32_t never = 1000;
        int64_t ns = 200 * AC_NS_PER_US;
        struct ac_part part = {&never, sizeof(never)};
        struct ac_task_out items = {
            .kind = WORK_ITEMS, .count = 1, .parts = &part, .items = 20, .notify = true};
        struct ac_done done[8];
        uint64_t tickets[7];
        tickets[0] = work_submit(pool, WORK_ECHO, data, 40);
        tickets[1] = work_submit(pool, WORK_ECHO, data, sizeof(data));
        tickets[2] = work_submit(pool, WORK_SLEEP, &ns, sizeof(ns));
        tickets[3] = work_submit(pool, WORK_KEEP, data, 5000);
        tickets[4] = work_submit(pool, round % 6 == 5 ? WORK_MAKE : WORK_ECHO, &size, sizeof(size));
        tickets[5] = work_submit(pool, round % 4 == 3 ? WORK_LEAVE : WORK_ECHO, &size, sizeof(size));
        assert_int_equal(ac_pool_submit(pool, &items, &tickets[6]), 0);
        assert_int_equal(ac_pool_next_done(pool, done, 8, 20 * AC_NS_PER_S) >= 0, 1);
        for (int i = 0; i < 7; i++) {
            enum ac_task_state state = work_outcome(pool, tickets[i]);
            assert_true(state == AC_TASK_DONE || state == AC_TASK_DIED);
            lost += state == AC_TASK_DIED;
        }
        if (round == 4) {
            int how = SIGKILL;
            assert_int_equal(work_outcome(pool, work_submit(pool, WORK_CRASH, &how, sizeof(how))),
                             AC_TASK_DIED);
        }
        work_valid(pool);
        if (round % 3 == 2) {
            work_wait_idle(pool, 2);
        } else {
            usleep(round % 3 == 0 ? 300 : 0);
        }
    }
    assert_true(lost <= allowed_losses);
    work_valid(pool);
    struct ac_pool_stats stats;
    ac_pool_stats(pool, &stats);
    assert_true(stats.deaths >= (uint64_t)lost);
    ac_pool_shutdown(pool);
    assert_int_equal(ac_pool_join(pool, 20 * AC_NS_PER_S), 0);
    ac_pool_free(pool);
}

static void scenario_test(void **state) {
    (void)state;
    scenario();
}

/* In a process of its own; its wait status. */
static int run(enum side who, int point, int passing) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(scenario_test)};
        alarm(60);
        parent = getpid();
        allowed_losses = who == WORKER ? 1 : 0;
        atomic_store(&plan->point, point);
        atomic_store(&plan->left, passing);
        atomic_store(&plan->who, who);
        ac__kill_hook = hook;
        cmocka_set_message_output(CM_OUTPUT_STDOUT);
        _exit(cmocka_run_group_tests(tests, NULL, NULL) != 0 ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* We are their subreaper: orphans become our children, and must end by themselves at once. */
static int orphans_left(void) {
    for (int tries = 0; tries < 2000; tries++) {
        pid_t got = waitpid(-1, NULL, WNOHANG);
        if (got < 0) {
            return 0;
        }
        if (got == 0) {
            usleep(1000);
        }
    }
    return 1;
}

static const int passings[] = {1, 2, 10};

static void kill_side(enum side who) {
    int runs = 0;
    for (int point = 0; point < AC__KILL_COUNT; point++) {
        for (size_t i = 0; i < AC_COUNT(passings); i++) {
            if (atomic_load(&plan->hits[point][who]) < passings[i]) {
                continue; /* the scenario does not come by so often */
            }
            int status = run(who, point, passings[i]);
            runs++;
            bool right = who == WORKER ? status == 0
                                       : status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            if (!right) {
                fail_msg("%s, passing %d: status %x", names[point], passings[i], (unsigned)status);
            }
            if (orphans_left()) {
                fail_msg("%s, passing %d: processes are left", names[point], passings[i]);
            }
        }
    }
    assert_true(runs > 30);
}

static void test_reached(void **state) {
    (void)state;
    assert_int_equal(run(NOBODY, -1, 0), 0);
    for (int point = 0; point < AC__KILL_COUNT; point++) {
        if (plan->hits[point][WORKER] + plan->hits[point][PARENT] == 0) {
            fail_msg("%s is never reached", names[point]);
        }
    }
}

static void test_kill_worker(void **state) {
    (void)state;
    kill_side(WORKER);
}

static void test_kill_parent(void **state) {
    (void)state;
    kill_side(PARENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reached), cmocka_unit_test(test_kill_worker),
                                       cmocka_unit_test(test_kill_parent)};
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
