/* test_pool_kill.c - death at every step: a worker, then the parent, is SIGKILLed at each named point between
 * two stores to shared memory (pool/kill.h), at its first, second and tenth passing. After a worker's death
 * every other task must come out right and the books must be in order; after the parent's no process may be
 * left.
 *
 * Each case runs in a process of its own, which makes pools and works them until the death has come: a case
 * whose point is not reached does not end, and fails by its alarm. Which side is to die is told by a word in
 * memory that all share; it is cleared by whoever is about to die, so that one death is all there is. The
 * second passings have their workers forked by a zygote, the others by the pool's process. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
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

enum side { NOBODY, WORKER, PARENT, SIDES };

/* The parent's own are named P_; it also takes memory, gives blocks back, and wakes as workers do. */
static bool passes(enum side side, int point) {
    switch (point) {
    case AC__KILL_BATON_TAKEN:
    case AC__KILL_BATON_MARKED:
    case AC__KILL_SPAN_CLAIMED:
    case AC__KILL_BLOCK_HEADED:
    case AC__KILL_BLOCK_FILLED:
    case AC__KILL_RETURNED_TAKEN:
    case AC__KILL_RETURN_LINKED:
    case AC__KILL_RETURN_PUSHED:
    case AC__KILL_P_IDLE_CLEARED:
    case AC__KILL_P_WOKEN: return true;
    default: return (point >= AC__KILL_P_CREATED) == (side == PARENT);
    }
}

static struct plan {
    _Atomic int who; /* enum side; NOBODY once somebody dies of it */
    _Atomic int point;
    _Atomic int left; /* passings still to go */
    _Atomic int hits[AC__KILL_COUNT][SIDES];
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

static unsigned char data[200000];

static uint64_t submit_items(struct ac_pool *pool, bool more) {
    uint32_t never = UINT32_MAX;
    struct ac_part part = {&never, sizeof(never)};
    struct ac_task_out out = {
        .kind = WORK_ITEMS, .count = 1, .parts = &part, .items = 20, .notify = !more, .more = more};
    uint64_t ticket = 0;
    assert_int_equal(ac_pool_submit(pool, &out, &ticket), 0);
    return ticket;
}

/* Its state, which the death may have made DIED instead of DONE; 1 if so. */
static int lost(struct ac_pool *pool, uint64_t ticket) {
    enum ac_task_state state = work_outcome(pool, ticket);
    assert_true(state == AC_TASK_DONE || state == AC_TASK_DIED);
    return state == AC_TASK_DIED;
}

/* All kinds of tasks at once: small and large, kept arguments, new spans, leaving, items with a notice. */
static int mixed(struct ac_pool *pool, int round) {
    uint64_t size = 70 << 20;
    int64_t ns = 200 * AC_NS_PER_US;
    struct ac_done done[8];
    uint64_t tickets[8];
    int count = 0;
    tickets[0] = work_submit(pool, WORK_ECHO, data, 40);
    tickets[1] = work_submit(pool, WORK_ECHO, data, sizeof(data));
    tickets[2] = work_submit(pool, WORK_SLEEP, &ns, sizeof(ns));
    tickets[3] = work_submit(pool, WORK_KEEP, data, 5000);
    tickets[4] = work_submit(pool, round == 2 ? WORK_RESERVE : WORK_ECHO, &size, sizeof(size));
    tickets[5] = work_submit(pool, round == 3 ? WORK_LEAVE : WORK_ECHO, &size, sizeof(size));
    tickets[6] = submit_items(pool, false);
    tickets[7] = work_submit(pool, WORK_GIVE, data, sizeof(data));
    assert_true(ac_pool_next_done(pool, done, 8, 20 * AC_NS_PER_S) >= 0);
    for (int i = 0; i < 8; i++) {
        count += lost(pool, tickets[i]);
    }
    return count;
}

/* Nobody is woken for two tasks until the parent waits for the first: who takes that passes the baton on. */
static int baton(struct ac_pool *pool) {
    work_wait_idle(pool, 2);
    uint64_t first = submit_items(pool, true);
    uint64_t second = submit_items(pool, true);
    int count = lost(pool, first);
    return count + lost(pool, second);
}

static int crash(struct ac_pool *pool) {
    int how = SIGKILL;
    assert_int_equal(work_outcome(pool, work_submit(pool, WORK_CRASH, &how, sizeof(how))), AC_TASK_DIED);
    return 0;
}

/* One pool's life, passing every point of both sides; how many tasks were lost. */
static int life(struct ac_pool_options options) {
    struct ac_pool *pool = work_pool_with(2, options);
    struct ac_message wide;
    size_t size = 10 * (64 << 20);
    struct ac_pool_stats stats;
    int count = 0;
    assert_int_equal(ac_pool_reserve(pool, &size, 1, &wide), 0); /* many spans; costs nothing */
    ac_message_clear(&wide);
    for (int round = 0; round < 4; round++) {
        count += mixed(pool, round);
        work_valid(pool);
        count += baton(pool);
        work_valid(pool);
        crash(pool);
        work_valid(pool);
    }
    ac_pool_stats(pool, &stats);
    assert_true(stats.deaths >= (uint64_t)count + 4);
    assert_int_equal(stats.died, count + 4);
    ac_pool_shutdown(pool);
    assert_int_equal(ac_pool_join(pool, 20 * AC_NS_PER_S), 0);
    work_valid(pool);
    ac_pool_free(pool);
    return count;
}

static bool by_zygote;
static int losses_allowed;

static void scenario(void **state) {
    struct ac_pool_options options = {.respawn = true};
    struct work_zygote zygote = {0};
    struct work_ledger ledger;
    int count = 0;
    (void)state;
    work_ledger_open(&ledger);
    if (by_zygote) {
        options = work_zygote_start(&zygote);
    }
    do {
        count += life(options);
    } while (atomic_load(&plan->who) != NOBODY);
    assert_true(count <= losses_allowed);
    if (by_zygote) {
        work_zygote_stop(&zygote);
    }
    work_ledger_close(&ledger);
}

/* In a process of its own; its wait status. */
static int run(enum side who, int point, int passing) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(scenario)};
        alarm(60);
        parent = getpid();
        by_zygote = passing == 2;
        losses_allowed = who == WORKER ? 1 : 0;
        atomic_store(&plan->point, point);
        atomic_store(&plan->left, passing);
        atomic_store(&plan->who, who);
        ac__kill_hook = hook;
        _exit(cmocka_run_group_tests(tests, NULL, NULL) != 0 ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#if !WORK_TSAN /* TSan sees one process: a death in another is none of its business */
/* We are their subreaper: orphans become our children, and must end by themselves at once. */
static void no_orphans(const char *name, int passing) {
    int64_t until = ac_now_ns() + 10 * AC_NS_PER_S;
    while (waitpid(-1, NULL, WNOHANG) >= 0) {
        if (ac_now_ns() > until) {
            fail_msg("%s, passing %d: processes are left", name, passing);
        }
        usleep(200);
    }
}

static void kill_side(enum side who) {
    static const int passings[] = {1, 2, 10};
    for (int point = 0; point < AC__KILL_COUNT; point++) {
        for (size_t i = 0; passes(who, point) && i < AC_COUNT(passings); i++) {
            int status = run(who, point, passings[i]);
            bool right = who == WORKER ? status == 0 : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
            if (!right || atomic_load(&plan->who) != NOBODY) {
                fail_msg("%s, passing %d: status %x", names[point], passings[i], (unsigned)status);
            }
            no_orphans(names[point], passings[i]);
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
#endif

/* Without any death: each side passes what it is said to pass, and nothing else. */
static void test_reached(void **state) {
    (void)state;
    assert_int_equal(run(NOBODY, -1, 0), 0);
    assert_int_equal(run(NOBODY, -1, 2), 0);
    for (int point = 0; point < AC__KILL_COUNT; point++) {
        for (enum side side = WORKER; side <= PARENT; side++) {
            if (atomic_load(&plan->hits[point][side]) > 0 && !passes(side, point)) {
                fail_msg("%s is passed by a side that is not killed there", names[point]);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reached),
#if !WORK_TSAN
        cmocka_unit_test(test_kill_worker),
        cmocka_unit_test(test_kill_parent),
#endif
    };
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    cmocka_set_message_output(CM_OUTPUT_STDOUT);
    plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
