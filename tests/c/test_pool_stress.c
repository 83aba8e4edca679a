/* test_pool_stress.c - the pool under what the world may do to it: random kills and stops under load, each
 * system call failing in turn, no memory, no descriptors, wild writes by workers, a million tasks. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "os/os.h"
#include "os/shared.h"
#include "os/syscalls.h"
#include "pool_work.h"

static int count_fds(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void no_children(void) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void random_load(struct ac_pool *pool, struct ac_random *random, uint64_t *tickets, int *ret_count) {
    static unsigned char data[1 << 20];
    *ret_count = 0;
    for (int i = 0; i < 30; i++) {
        uint64_t dice = ac_random_next(random);
        uint64_t size = dice % sizeof(data);
        int64_t ns = (int64_t)(dice % 300) * 1000;
        uint16_t kind = (uint16_t[]){WORK_ECHO, WORK_ECHO, WORK_SLEEP, WORK_KEEP, WORK_MAKE}[dice >> 40 & 3];
        if (kind == WORK_SLEEP) {
            tickets[i] = work_submit(pool, kind, &ns, sizeof(ns));
        } else if (kind == WORK_MAKE) {
            tickets[i] = work_submit(pool, kind, &size, sizeof(size));
        } else {
            tickets[i] = work_submit(pool, kind, data, dice >> 50 & 1 ? size : size % 100);
        }
        (*ret_count)++;
    }
}

static int kill_random(struct ac_pool *pool, struct ac_random *random, int signal) {
    struct ac_worker_info infos[8];
    int count = ac_min(ac_pool_workers(pool, infos, 8), 8);
    int killed = 0;
    if (count > 0) {
        killed = kill(infos[ac_random_next(random) % (uint64_t)count].pid, signal) == 0;
    }
    return killed;
}

static void test_random_kills(void **state) {
    struct ac_pool *pool = work_pool(3, true);
    struct ac_random random;
    uint64_t tickets[30];
    int kills = 0;
    int died = 0;
    int done = 0;
    int fds = count_fds();
    (void)state;
    ac_random_seed(&random, 20261123);
    while (kills < 500) {
        int count;
        random_load(pool, &random, tickets, &count);
        kills += kill_random(pool, &random, SIGKILL);
        usleep((useconds_t)(ac_random_next(&random) % 600));
        kills += kill_random(pool, &random, SIGKILL);
        for (int i = 0; i < count; i++) {
            enum ac_task_state came = work_outcome(pool, tickets[i]);
            assert_true(came == AC_TASK_DONE || came == AC_TASK_DIED);
            died += came == AC_TASK_DIED;
            done += came == AC_TASK_DONE;
        }
        work_valid(pool);
    }
    struct ac_death death;
    int deaths = 0;
    while (ac_pool_next_death(pool, &death) == 1) {
        deaths++;
    }
    assert_true(died <= deaths);
    assert_true(done > 5 * died);
    work_wait_idle(pool, 3);
    assert_true(count_fds() <= fds + 3);
    struct ac_pool_stats stats;
    ac_pool_stats(pool, &stats);
    assert_true(stats.segment_bytes < 200 << 20);
    ac_pool_free(pool);
    no_children();
}

static void test_stops(void **state) {
    struct ac_pool *pool = work_pool(3, true);
    struct ac_random random;
    struct ac_worker_info infos[8];
    (void)state;
    ac_random_seed(&random, 1);
    for (int round = 0; round < 30; round++) {
        work_wait_idle(pool, 3);
        ac_pool_workers(pool, infos, 8);
        pid_t stopped = infos[round % 3].pid;
        kill(stopped, SIGSTOP); /* idle: others must take all the work */
        usleep(1000);
        for (int i = 0; i < 20; i++) {
            uint64_t ticket = work_submit(pool, WORK_ECHO, "x", 1);
            assert_int_equal(ac_pool_wait(pool, ticket, 5 * AC_NS_PER_S), 0);
            assert_int_equal(work_outcome(pool, ticket), AC_TASK_DONE);
        }
        kill(stopped, round % 2 ? SIGCONT : SIGKILL);
    }
    work_valid(pool);
    ac_pool_free(pool);
    no_children();
}

static void test_wild(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct ac_pool *pool = work_pool(2, true);
        uint64_t tickets[40];
        char data[300] = {1};
        for (int i = 0; i < 40; i++) {
            tickets[i] = i == 20
                             ? work_submit(pool, seed % 2 ? WORK_WILD : WORK_WILD_CRASH, &seed, sizeof(seed))
                             : work_submit(pool, WORK_ECHO, data, i % 3 ? 10 : sizeof(data));
        }
        for (int i = 0; i < 40; i++) { /* whatever comes of them, it comes, and we live */
            int error;
            int tries = 0;
            do {
                error = ac_pool_wait(pool, tickets[i], 3 * AC_NS_PER_S);
                if (error == -ETIMEDOUT && ++tries == 2) {
                    ac_pool_kill(pool, -1, SIGKILL); /* a worker that scribbled over its own next task */
                }
                assert_true(tries < 6);
            } while (error == -ETIMEDOUT || error == -EINTR);
            struct ac_result result;
            if (ac_pool_take(pool, tickets[i], &result) == 0) {
                ac_message_clear(&result.message);
            }
            ac_pool_release(pool, tickets[i]);
        }
        ac_pool_free(pool);
        no_children();
    }
}

static void test_million(void **state) {
    enum { TASKS = 1000000 };
    struct ac_pool *pool = work_pool(2, true);
    uint64_t *tickets = calloc(TASKS, sizeof(*tickets));
    int64_t ns = 100 * AC_NS_PER_MS;
    (void)state;
    uint64_t first = work_submit(pool, WORK_SLEEP, &ns, sizeof(ns));
    uint64_t second = work_submit(pool, WORK_SLEEP, &ns, sizeof(ns));
    for (uint64_t i = 0; i < TASKS; i++) {
        tickets[i] = work_submit(pool, WORK_ECHO, &i, sizeof(i));
    }
    for (uint64_t i = 0; i < TASKS; i++) {
        uint64_t got;
        work_result(pool, tickets[i], &got, sizeof(got));
        assert_int_equal(got, i);
    }
    assert_int_equal(work_outcome(pool, first), AC_TASK_DONE);
    assert_int_equal(work_outcome(pool, second), AC_TASK_DONE);
    work_valid(pool);
    free(tickets);
    ac_pool_free(pool);
}

/* --- Each system call fails in turn. The n-th from the start of the call fails with `fail_errno`, once,
 * wherever it is. */
static struct ac_sys real;
static _Atomic long fail_at;
static int fail_errno;
static pid_t fail_pid;

static bool fails(void) {
    if (getpid() != fail_pid || atomic_fetch_sub(&fail_at, 1) != 1) {
        return false;
    }
    errno = fail_errno;
    return true;
}
#define FAILING(name, type, params, args)                                                                    \
    static type failing_##name params {                                                                      \
        return fails() ? (type)-1 : real.name args;                                                          \
    }
FAILING(memfd_create, int, (const char *name, unsigned flags), (name, flags))
FAILING(ftruncate, int, (int fd, off_t size), (fd, size))
FAILING(fcntl, int, (int fd, int command, int arg), (fd, command, arg))
FAILING(fallocate, int, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size))
FAILING(pwrite, ssize_t, (int fd, const void *data, size_t size, off_t offset), (fd, data, size, offset))
FAILING(pidfd_open, int, (pid_t pid, unsigned flags), (pid, flags))
FAILING(poll, int, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
FAILING(fork, pid_t, (void), ())
FAILING(futex, long, (uint32_t * word, int operation, uint32_t value, const struct timespec *timeout),
        (word, operation, value, timeout))
FAILING(futex_waitv, long, (void *waits, unsigned count, const struct timespec *until), (waits, count, until))
FAILING(openat, int, (int dir, const char *path, int flags, mode_t mode), (dir, path, flags, mode))
FAILING(read, ssize_t, (int fd, void *buffer, size_t size), (fd, buffer, size))
FAILING(sched_getaffinity, int, (pid_t pid, size_t size, cpu_set_t *ret), (pid, size, ret))
static void *failing_mmap(void *address, size_t size, int prot, int flags, int fd, off_t offset) {
    return fails() ? (void *)-1 : real.mmap(address, size, prot, flags, fd, offset);
}

static void install_failing(void) {
    real = ac_sys;
    ac_sys.memfd_create = failing_memfd_create;
    ac_sys.ftruncate = failing_ftruncate;
    ac_sys.fcntl = failing_fcntl;
    ac_sys.fallocate = failing_fallocate;
    ac_sys.pwrite = failing_pwrite;
    ac_sys.pidfd_open = failing_pidfd_open;
    ac_sys.poll = failing_poll;
    ac_sys.fork = failing_fork;
    ac_sys.futex = failing_futex;
    ac_sys.futex_waitv = failing_futex_waitv;
    ac_sys.openat = failing_openat;
    ac_sys.read = failing_read;
    ac_sys.sched_getaffinity = failing_sched_getaffinity;
    ac_sys.mmap = failing_mmap;
}

/* Whatever fails: a clean error from create or submit, or all tasks come out, and nothing is left behind. */
static bool once_through(void) {
    struct ac_fork how = {work_main, NULL};
    struct ac_pool_options options = {
        .spawn = ac_fork_spawn, .reap = ac_fork_reap, .spawn_arg = &how, .respawn = true};
    static unsigned char data[300000];
    struct ac_pool *pool;
    int error = ac_pool_create(&options, &pool);
    if (error < 0) {
        return false;
    }
    error = ac_pool_start(pool, 2);
    for (int i = 0; i < 6 && error == 0; i++) {
        struct ac_part part = {data, i % 2 ? sizeof(data) : 5};
        struct ac_task_out out = {.kind = i == 3 ? WORK_LEAVE : WORK_ECHO, .count = 1, .parts = &part};
        uint64_t ticket;
        int got = ac_pool_submit(pool, &out, &ticket);
        if (got < 0) {
            continue;
        }
        do {
            got = ac_pool_wait(pool, ticket, 20 * AC_NS_PER_S);
        } while (got == -EINTR);
        assert_int_equal(got, 0);
        struct ac_result result;
        assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
        assert_int_equal(result.state, AC_TASK_DONE);
        ac_message_clear(&result.message);
        ac_pool_release(pool, ticket);
        work_valid(pool);
    }
    ac_pool_shutdown(pool);
    do {
        error = ac_pool_join(pool, 20 * AC_NS_PER_S);
    } while (error == -EINTR);
    ac_pool_free(pool);
    return true;
}

static void test_failing_calls(void **state) {
    const int errors[] = {ENOMEM, EINTR, EMFILE};
    int fds = count_fds();
    (void)state;
    fail_pid = getpid();
    install_failing();
    for (size_t kind = 0; kind < AC_COUNT(errors); kind++) {
        long passed = 1;
        for (long n = 1; n < 400 && passed > 0; n += n < 60 ? 1 : 7) {
            fail_errno = errors[kind];
            atomic_store(&fail_at, n);
            once_through();
            passed = atomic_load(&fail_at) <= 0; /* it did come so far */
            no_children();
            assert_int_equal(count_fds(), fds);
        }
    }
    ac_sys = real;
}

static void test_no_memory(void **state) {
    (void)state;
    for (unsigned long n = 1; n < 60; n++) {
        ac_memory_fail_at(n);
        once_through();
        no_children();
    }
    ac_memory_fail_at(0);
}

static void test_no_descriptors(void **state) {
    struct rlimit before;
    struct ac_pool *pool = work_pool(1, true);
    struct ac_pool_options options = {.respawn = true};
    struct ac_pool *other;
    (void)state;
    work_wait_idle(pool, 1);
    getrlimit(RLIMIT_NOFILE, &before);
    struct rlimit none = {(rlim_t)count_fds(), before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    assert_int_equal(ac_pool_create(&options, &other), -EMFILE);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)), AC_TASK_DONE);
    }
    setrlimit(RLIMIT_NOFILE, &before);
    ac_pool_free(pool);
    no_children();
}

static void test_small_address_space(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit little = {UINT64_C(3) << 30, UINT64_C(3) << 30};
        setrlimit(RLIMIT_AS, &little);
        struct ac_fork how = {work_main, NULL};
        struct ac_pool_options options = {
            .spawn = ac_fork_spawn, .reap = ac_fork_reap, .spawn_arg = &how, .respawn = true};
        struct ac_pool *pool;
        struct ac_message message;
        size_t huge = (size_t)4 << 30;
        if (ac_pool_create(&options, &pool) != 0 || ac_pool_start(pool, 1) != 0) {
            _exit(1);
        }
        if (work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)) != AC_TASK_DONE) {
            _exit(2);
        }
        if (ac_pool_reserve(pool, &huge, 1, &message) != -ENOMEM) {
            _exit(3);
        }
        ac_pool_free(pool);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- The zygote */
static pid_t start_zygote(struct ac_zygote **ret) {
    int mine;
    int its;
    assert_int_equal(ac_zygote_socketpair(&mine, &its), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct ac_spawn spawn;
        close(mine);
        int got = ac_zygote_serve(its, 0, NULL, &spawn);
        _exit(got == 1 ? work_main(&spawn, NULL) : got == 0 ? 0 : 9);
    }
    close(its);
    assert_int_equal(ac_zygote_open(mine, ret), 0);
    return pid;
}

static void test_zygote(void **state) {
    struct ac_zygote *zygote;
    pid_t pid = start_zygote(&zygote);
    struct ac_pool_options options = {
        .spawn = ac_zygote_spawn, .reap = ac_zygote_reap, .spawn_arg = zygote, .respawn = true};
    (void)state;
    for (int round = 0; round < 3; round++) { /* one after the other, from the same zygote */
        struct ac_pool *pool = work_pool_with(2, options);
        int how = 1003;
        struct ac_result result;
        assert_int_equal(work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)), AC_TASK_DONE);
        uint64_t ticket = work_submit(pool, WORK_CRASH, &how, sizeof(how));
        assert_int_equal(ac_pool_wait(pool, ticket, -1), 0);
        assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
        assert_int_equal(WEXITSTATUS(result.death.status), 3);
        work_wait_idle(pool, 2);
        work_valid(pool);
        ac_pool_free(pool);
    }
    ac_zygote_free(zygote);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* The parent is killed while a worker of the zygote runs a long task: all of them end at once. */
static void test_zygote_orphans(void **state) {
    int64_t forever = 1000 * AC_NS_PER_S;
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct ac_zygote *zygote;
        start_zygote(&zygote);
        struct ac_pool_options options = {
            .spawn = ac_zygote_spawn, .reap = ac_zygote_reap, .spawn_arg = zygote, .respawn = true};
        struct ac_pool *pool = work_pool_with(2, options);
        uint64_t ticket = work_submit(pool, WORK_SPIN, &forever, sizeof(forever));
        while (ac_pool_wait(pool, ticket, 20 * AC_NS_PER_MS) == -ETIMEDOUT) {
            kill(getpid(), SIGKILL);
        }
        _exit(1);
    }
    int64_t start = ac_now_ns();
    while (waitpid(-1, NULL, 0) > 0) { /* the subreaper of all */
    }
    assert_true(ac_now_ns() - start < 3 * AC_NS_PER_S);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_kills),   cmocka_unit_test(test_stops),
        cmocka_unit_test(test_wild),           cmocka_unit_test(test_million),
        cmocka_unit_test(test_failing_calls),  cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_descriptors), cmocka_unit_test(test_small_address_space),
        cmocka_unit_test(test_zygote),         cmocka_unit_test(test_zygote_orphans),
    };
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
