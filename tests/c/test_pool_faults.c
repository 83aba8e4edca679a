/* test_pool_faults.c - the pool where the world refuses it something: each system call and each allocation
 * fails in turn, in the pool's process and in those forked from it; no descriptors, little address space,
 * payloads larger than memory. There must be a clean error, or all tasks come to an end; nothing is left,
 * nothing hangs. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "faults.h"
#include "os/os.h"
#include "os/syscalls.h"
#include "pool_work.h"

enum {
    TASKS = 6,
    STEP_FROM = 80,
    STEP = 5
}; /* later calls repeat the earlier ones: every so many is enough */

static struct ac_fork forks = {work_main, NULL};

/* The state that a task came to; 0: it was refused. */
static enum ac_task_state one_task(struct ac_pool *pool, uint16_t kind, const void *data, size_t size) {
    struct ac_part part = {data, size};
    struct ac_task_out out = {.kind = kind, .count = 1, .parts = &part, .notify = kind == WORK_LEAVE};
    struct ac_result result;
    uint64_t ticket;
    int error = ac_pool_submit(pool, &out, &ticket);
    if (error < 0) {
        assert_true(error == -ENOMEM || error == -EPIPE);
        return 0;
    }
    do {
        error = ac_pool_wait(pool, ticket, 20 * AC_NS_PER_S);
    } while (error == -EINTR);
    assert_int_equal(error, 0);
    do {
        error = ac_pool_take(pool, ticket, &result);
    } while (error == -ENOMEM);
    assert_int_equal(error, 0);
    ac_message_clear(&result.message);
    assert_int_equal(ac_pool_release(pool, ticket), 0);
    work_valid(pool);
    return result.state;
}

/* A whole life. How many tasks came to something else than being done, or refused. */
static int live(const struct ac_pool_options *options) {
    static unsigned char data[300000];
    static const uint16_t kinds[TASKS] = {WORK_ECHO, WORK_ECHO, WORK_KEEP, WORK_LEAVE, WORK_ECHO, WORK_ECHO};
    struct ac_pool *pool;
    struct ac_done done;
    int lost = 0;
    if (ac_pool_create(options, &pool) < 0) {
        return 0;
    }
    int error = ac_pool_start(pool, 2);
    for (size_t i = 0; i < TASKS && error == 0; i++) {
        enum ac_task_state state = one_task(pool, kinds[i], data, i % 2 ? sizeof(data) : 5);
        lost += state != 0 && state != AC_TASK_DONE;
    }
    ac_pool_next_done(pool, &done, 1, 0);
    ac_pool_shutdown(pool);
    do {
        error = ac_pool_join(pool, 20 * AC_NS_PER_S);
    } while (error == -EINTR);
    assert_int_equal(error, 0);
    ac_pool_free(pool);
    return lost;
}

static int live_forked(void) {
    struct ac_pool_options options = {.spawn = ac_fork_spawn,
                                      .reap = ac_fork_reap,
                                      .spawn_arg = &forks,
                                      .respawn = true,
                                      .capacity = WORK_CAPACITY};
    return live(&options);
}

static int live_zygote(void) {
    int mine;
    int its;
    struct ac_zygote *zygote = NULL;
    if (ac_zygote_socketpair(&mine, &its) < 0) {
        return 0;
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct ac_spawn spawn;
        ac_sys.close(mine);
        int got = ac_zygote_serve(its, 0, NULL, &spawn);
        _exit(got == 1 ? work_main(&spawn, NULL) : 0);
    }
    close(its);
    int lost = 0;
    if (ac_zygote_open(mine, &zygote) == 0) {
        struct ac_pool_options options = {.spawn = ac_zygote_spawn,
                                          .reap = ac_zygote_reap,
                                          .spawn_arg = zygote,
                                          .respawn = true,
                                          .capacity = WORK_CAPACITY};
        lost = live(&options);
        ac_zygote_free(zygote);
    } else {
        close(mine);
    }
    while (waitpid(-1, NULL, 0) > 0) { /* it, and what it may have left us: we are the subreaper */
    }
    return lost;
}

/* --- System calls */
static int (*real_clock)(clockid_t clock, struct timespec *ret);

/* Every call that one life makes fails once, with each error. `children`: the calls of all forked processes.
 */
static void fail_calls(int (*life)(void), bool children, int losses_allowed) {
    static const int errors[] = {ENOMEM, EINTR, EMFILE};
    for (size_t i = 0; i < AC_COUNT(errors); i++) {
        struct work_ledger ledger;
        unsigned long n = 1;
        bool reached = true;
        work_ledger_open(&ledger);
        for (; reached; n += n < STEP_FROM ? 1 : STEP) {
            (children ? ac_sys_fail_children_at : ac_sys_fail_at)(n, errors[i]);
            ac_sys.clock_gettime = real_clock; /* of a clock that exists: cannot fail */
            int lost = life();
            reached = ac_sys_calls() >= n;
            assert_true(lost <= losses_allowed);
            work_ledger_close(&ledger);
        }
        assert_true(n > 10);
    }
}

static void test_calls(void **state) {
    (void)state;
    fail_calls(live_forked, false, 1); /* that of a worker which is killed since no pidfd was to be had */
}

static void test_calls_of_workers(void **state) {
    (void)state;
    fail_calls(live_forked, true, TASKS);
}

static void test_calls_zygote(void **state) {
    (void)state;
    fail_calls(live_zygote, false, TASKS);
}

static void test_calls_of_zygote(void **state) {
    (void)state;
    fail_calls(live_zygote, true, TASKS);
}

/* --- Allocations */
static void fail_memory(int (*life)(void)) {
    struct work_ledger ledger;
    unsigned long n = 1;
    bool reached = true;
    work_ledger_open(&ledger);
    for (; reached || n < 30; n++) { /* the workers count on from here */
        ac_memory_fail_at(n);
        life();
        reached = ac_memory_calls() >= n;
        work_ledger_close(&ledger);
    }
    ac_memory_fail_at(0);
}

static void test_memory(void **state) {
    (void)state;
    fail_memory(live_forked);
    fail_memory(live_zygote);
}

/* --- Limits */
static int lowest_free(void) {
    int fd = dup(STDIN_FILENO);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void test_descriptors(void **state) {
    struct work_ledger ledger;
    struct rlimit before;
    struct ac_pool_options options = {.respawn = true, .capacity = WORK_CAPACITY};
    struct ac_pool *other;
    struct ac_death death = {0};
    int how = SIGKILL;
    (void)state;
    work_ledger_open(&ledger);
    struct ac_pool *pool = work_pool(1, true);
    work_wait_idle(pool, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {(rlim_t)lowest_free(), before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(ac_pool_create(&options, &other), -EMFILE);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)), AC_TASK_DONE);
    }
    none.rlim_cur = 0; /* not even that of the worker that dies */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(work_outcome(pool, work_submit(pool, WORK_CRASH, &how, sizeof(how))), AC_TASK_DIED);
    assert_int_equal(ac_pool_next_death(pool, &death), 1);
    while (death.kind != AC_DEATH_NO_WORKERS) {
        struct ac_done done;
        ac_pool_next_done(pool, &done, 1, 20 * AC_NS_PER_S);
        assert_int_equal(ac_pool_next_death(pool, &death), 1);
    }
    assert_int_equal(death.error, -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    ac_pool_free(pool);
    work_ledger_close(&ledger);
}

static bool echoes(struct ac_pool *pool) {
    return work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)) == AC_TASK_DONE;
}

/* More than the machine has is refused before a byte of it is touched, on either side. */
static void test_larger_than_memory(void **state) {
    struct work_ledger ledger;
    struct sysinfo info;
    static char data[100000];
    char back[100];
    (void)state;
    assert_int_equal(sysinfo(&info), 0);
    uint64_t size = ((uint64_t)info.totalram + info.totalswap) * info.mem_unit + 1;
    struct ac_part part = {data, (size_t)size}; /* a lie: nobody may read so far */
    struct ac_task_out out = {.kind = WORK_ECHO, .count = 1, .parts = &part};
    struct ac_message message;
    uint64_t ticket;
    work_ledger_open(&ledger);
    struct ac_pool *pool = work_pool(1, true);
    memset(data, 7, sizeof(data));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ac_pool_submit(pool, &out, &ticket), -ENOMEM);
        assert_int_equal(ac_pool_reserve(pool, &part.size, 1, &message), -ENOMEM);
        size_t all[2] = {SIZE_MAX, SIZE_MAX};
        assert_int_equal(ac_pool_reserve(pool, all, 2, &message), -ENOMEM);
        assert_int_equal(work_result(pool, work_submit(pool, WORK_MAKE, &size, sizeof(size)), back, 100), 7);
        assert_memory_equal(back, "no room", 7);
        assert_int_equal(work_result(pool, work_submit(pool, WORK_ECHO, data, sizeof(data)), back, 100),
                         sizeof(data));
        assert_memory_equal(back, data, 100);
        work_valid(pool);
    }
    ac_pool_free(pool);
    work_ledger_close(&ledger);
}

/* In a process of its own with a limit set: pools work, what does not fit is refused, and it is fine again.
 */
static int limited_life(unsigned resource, rlim_t most) {
    struct rlimit little = {most, most};
    struct ac_pool_options options = {
        .spawn = ac_fork_spawn, .reap = ac_fork_reap, .spawn_arg = &forks, .respawn = true};
    struct ac_pool *pool;
    struct ac_message message;
    size_t huge = (size_t)most;
    prlimit(0, resource, &little, NULL);
    if (ac_pool_create(&options, &pool) != 0 || ac_pool_start(pool, 1) != 0) {
        return 1;
    }
    if (!echoes(pool)) {
        return 2;
    }
    if (ac_pool_reserve(pool, &huge, 1, &message) != -ENOMEM) {
        return 3;
    }
    if (!echoes(pool) || ac_pool_valid(pool) != NULL) {
        return 4;
    }
    ac_pool_free(pool);
    return 0;
}

static void limited(unsigned resource, rlim_t most) {
    struct work_ledger ledger;
    int status;
    work_ledger_open(&ledger);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(limited_life(resource, most));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    work_ledger_close(&ledger);
}

static void test_file_size(void **state) {
    (void)state;
    limited(RLIMIT_FSIZE, (rlim_t)1 << 30);
}

#if !WORK_ASAN && !WORK_TSAN /* they need terabytes of address space themselves */
static void test_address_space(void **state) {
    (void)state;
    limited(RLIMIT_AS, (rlim_t)3 << 30);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_calls_of_workers),
        cmocka_unit_test(test_calls_zygote),
        cmocka_unit_test(test_calls_of_zygote),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_larger_than_memory),
        cmocka_unit_test(test_file_size),
#if !WORK_ASAN && !WORK_TSAN
        cmocka_unit_test(test_address_space),
#endif
    };
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    real_clock = ac_sys.clock_gettime;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
