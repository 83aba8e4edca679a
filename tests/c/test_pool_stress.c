/* test_pool_stress.c - the pool under load and ill-treatment: random kills and stops, wild writes by workers,
 * a million tasks, many threads at once. What the world refuses it is test_pool_faults.c's.
 *
 * AC_STRESS multiplies the kills and seeds; the books are checked by a thread of their own all the while. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "os/os.h"
#include "pool_work.h"

static int times(int count) {
    const char *more = getenv("AC_STRESS");
    return count * (more != NULL ? ac_max(atoi(more), 1) : 1);
}

/* --- Somebody who looks at everything, all the time */
struct looker {
    struct ac_pool *pool;
    pthread_t thread;
    atomic_bool stop;
    long looks;
    const char *wrong;
};

static void *look(void *arg) {
    struct looker *looker = arg;
    while (!atomic_load(&looker->stop) && looker->wrong == NULL) {
        struct ac_pool_stats stats;
        struct ac_worker_info infos[8];
        looker->wrong = ac_pool_valid(looker->pool);
        ac_pool_stats(looker->pool, &stats);
        ac_pool_workers(looker->pool, infos, 8);
        looker->looks++;
        usleep(100); /* the others want the lock too */
    }
    return NULL;
}

static void looker_start(struct looker *looker, struct ac_pool *pool) {
    *looker = (struct looker){.pool = pool};
    assert_int_equal(pthread_create(&looker->thread, NULL, look, looker), 0);
}

static void looker_stop(struct looker *looker) {
    atomic_store(&looker->stop, true);
    pthread_join(looker->thread, NULL);
    if (looker->wrong != NULL) {
        fail_msg("%s", looker->wrong);
    }
    assert_true(looker->looks > 0);
}

/* --- Kills and stops */
enum { LOAD = 30 };

static void random_load(struct ac_pool *pool, struct ac_random *random, uint64_t *tickets) {
    static const uint16_t kinds[] = {WORK_ECHO, WORK_SLEEP, WORK_KEEP, WORK_MAKE};
    static unsigned char data[1 << 20];
    for (int i = 0; i < LOAD; i++) {
        uint64_t dice = ac_random_next(random);
        uint64_t size = dice % sizeof(data);
        int64_t ns = (int64_t)(dice % 300) * 1000;
        uint16_t kind = kinds[dice >> 40 & 3];
        if (kind == WORK_SLEEP) {
            tickets[i] = work_submit(pool, kind, &ns, sizeof(ns));
        } else if (kind == WORK_MAKE) {
            tickets[i] = work_submit(pool, kind, &size, sizeof(size));
        } else {
            tickets[i] = work_submit(pool, kind, data, dice >> 50 & 1 ? size : size % 100);
        }
    }
}

static int signal_random(struct ac_pool *pool, struct ac_random *random, int signal) {
    struct ac_worker_info infos[8];
    int count = ac_min(ac_pool_workers(pool, infos, 8), 8);
    return count > 0 &&
           ac_pool_kill(pool, infos[ac_random_next(random) % (uint64_t)count].worker, signal) == 0;
}

static void random_kills(struct ac_pool_options options, int wanted) {
    struct ac_pool *pool = work_pool_with(3, options);
    struct looker looker;
    struct ac_random random;
    struct ac_death death;
    struct ac_pool_stats stats;
    int kills = 0;
    int died = 0;
    int done = 0;
    int deaths = 0;
    looker_start(&looker, pool);
    ac_random_seed(&random, 20261123);
    while (kills < wanted) {
        uint64_t tickets[LOAD];
        random_load(pool, &random, tickets);
        kills += signal_random(pool, &random, SIGKILL);
        usleep((useconds_t)(ac_random_next(&random) % 600)); /* any moment of the load will do */
        kills += signal_random(pool, &random, SIGKILL);
        for (int i = 0; i < LOAD; i++) {
            enum ac_task_state came = work_outcome(pool, tickets[i]);
            assert_true(came == AC_TASK_DONE || came == AC_TASK_DIED);
            died += came == AC_TASK_DIED;
            done += came == AC_TASK_DONE;
        }
    }
    work_wait_idle(pool, 3);
    looker_stop(&looker);
    while (ac_pool_next_death(pool, &death) == 1) {
        assert_int_equal(death.kind, AC_DEATH_CRASH);
        deaths++;
    }
    assert_true(died <= deaths && deaths <= kills);
    assert_true(done > 5 * died);
    ac_pool_stats(pool, &stats);
    assert_true(stats.segment_bytes < 200 << 20);
    ac_pool_free(pool);
}

static void test_random_kills(void **state) {
    struct work_ledger ledger;
    (void)state;
    work_ledger_open(&ledger);
    random_kills((struct ac_pool_options){.respawn = true}, times(WORK_TSAN ? 50 : 500));
    work_ledger_close(&ledger);
}

static void test_zygote_kills(void **state) {
    struct work_ledger ledger;
    struct work_zygote zygote;
    (void)state;
    work_ledger_open(&ledger);
    random_kills(work_zygote_start(&zygote), times(WORK_TSAN ? 50 : 100));
    work_zygote_stop(&zygote);
    work_ledger_close(&ledger);
}

static void stop(struct ac_pool *pool, const struct ac_worker_info *info) {
    struct ac_stat stat = {0};
    assert_int_equal(ac_pool_kill(pool, info->worker, SIGSTOP), 0);
    while (stat.state != 'T') {
        assert_int_equal(ac_process_stat(info->pid, &stat), 0);
    }
}

/* An idle worker that is stopped may be the very one that a task's wake-up goes to: others take the task. */
static void test_stops_idle(void **state) {
    struct work_ledger ledger;
    struct ac_worker_info infos[3];
    (void)state;
    work_ledger_open(&ledger);
    struct ac_pool *pool = work_pool(3, true);
    for (int round = 0; round < 30; round++) {
        work_wait_idle(pool, 3);
        assert_int_equal(ac_pool_workers(pool, infos, 3), 3);
        stop(pool, &infos[round % 3]);
        for (int i = 0; i < 20; i++) {
            assert_int_equal(work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)), AC_TASK_DONE);
        }
        work_valid(pool);
        struct ac_death death;
        bool kill = round % 2 == 0;
        assert_int_equal(ac_pool_kill(pool, infos[round % 3].worker, kill ? SIGKILL : SIGCONT), 0);
        while (kill && ac_pool_next_death(pool, &death) == 0) { /* until then it counts as idle */
            usleep(1000);
        }
    }
    ac_pool_free(pool);
    work_ledger_close(&ledger);
}

/* A worker that is stopped in a task goes on with it when it may; a pool ends though some are stopped. */
static void test_stops_busy(void **state) {
    struct work_ledger ledger;
    struct ac_worker_info infos[2];
    int64_t ns = 20 * AC_NS_PER_MS;
    (void)state;
    work_ledger_open(&ledger);
    struct ac_pool *pool = work_pool(2, true);
    for (int round = 0; round < 20; round++) {
        work_wait_idle(pool, 2);
        uint64_t slow = work_submit(pool, WORK_SPIN, &ns, sizeof(ns));
        int who = -1;
        while (who < 0) {
            assert_int_equal(ac_pool_workers(pool, infos, 2), 2);
            who = infos[0].ticket == slow ? 0 : infos[1].ticket == slow ? 1 : -1;
        }
        stop(pool, &infos[who]);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)), AC_TASK_DONE);
        }
        assert_int_equal(ac_pool_wait(pool, slow, 0), -ETIMEDOUT);
        work_valid(pool);
        bool kill = round % 2;
        assert_int_equal(ac_pool_kill(pool, infos[who].worker, kill ? SIGKILL : SIGCONT), 0);
        assert_int_equal(work_outcome(pool, slow), kill ? AC_TASK_DIED : AC_TASK_DONE);
    }
    ac_pool_kill(pool, -1, SIGSTOP);
    ac_pool_free(pool);
    work_ledger_close(&ledger);
}

/* --- Wild writes: whatever comes of the tasks, it comes, and we live. */
static void wild_end(struct ac_pool *pool, uint64_t ticket, int *seen) {
    struct ac_result result;
    int error;
    int64_t start = ac_now_ns();
    do {
        error = ac_pool_wait(pool, ticket, 3 * AC_NS_PER_S);
        if (error == -ETIMEDOUT) { /* a worker that lost its own way; nobody else can know that */
            ac_pool_kill(pool, -1, SIGKILL);
        }
        assert_true(ac_now_ns() - start < 30 * AC_NS_PER_S);
    } while (error == -ETIMEDOUT || error == -EINTR);
    assert_int_equal(error, 0);
    assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
    assert_in_range(result.state, AC_TASK_DONE, AC_TASK_BROKEN);
    seen[result.state]++;
    uint32_t sum = 0; /* every byte that we are handed can be read */
    for (uint32_t part = 0; part < result.message.count; part++) {
        const volatile unsigned char *bytes = result.message.parts[part].data;
        for (size_t at = 0; at < result.message.parts[part].size; at += 64) {
            sum += bytes[at];
        }
    }
    assert_true(result.progress <= 1);
    (void)sum;
    ac_message_clear(&result.message);
    assert_int_equal(ac_pool_release(pool, ticket), 0);
}

static void wild(uint64_t seed, int *seen) {
    struct ac_pool *pool = work_pool(2, true);
    uint64_t tickets[40];
    char data[300] = {1};
    for (int i = 0; i < 40; i++) {
        tickets[i] = i == 20 ? work_submit(pool, seed % 2 ? WORK_WILD : WORK_WILD_CRASH, &seed, sizeof(seed))
                             : work_submit(pool, WORK_ECHO, data, i % 3 ? 10 : sizeof(data));
    }
    for (int i = 0; i < 40; i++) {
        wild_end(pool, tickets[i], seen);
        ac_pool_valid(pool); /* may well find something: but it comes back */
    }
    ac_pool_free(pool);
}

static void test_wild(void **state) {
    struct work_ledger ledger;
    int seen[AC_TASK_BROKEN + 1] = {0};
    (void)state;
    work_ledger_open(&ledger);
    for (int seed = 1; seed <= times(60); seed++) {
        wild((uint64_t)seed, seen);
    }
    assert_true(seen[AC_TASK_DONE] > 0 && seen[AC_TASK_DIED] > 0);
    work_ledger_close(&ledger);
}

/* --- Many */
static void test_million(void **state) {
    enum { TASKS = WORK_TSAN ? 50000 : 1000000 };
    struct work_ledger ledger;
    struct ac_pool_stats stats;
    (void)state;
    work_ledger_open(&ledger);
    struct ac_pool *pool = work_pool(0, true); /* nobody takes any until all are there */
    uint64_t *tickets = calloc(TASKS, sizeof(*tickets));
    for (uint64_t i = 0; i < TASKS; i++) {
        tickets[i] = work_submit(pool, WORK_ECHO, &i, sizeof(i));
    }
    ac_pool_stats(pool, &stats);
    assert_int_equal(stats.queued, TASKS);
    work_valid(pool);
    assert_int_equal(ac_pool_start(pool, 2), 0);
    for (uint64_t i = 0; i < TASKS; i++) {
        uint64_t got = ~i;
        work_result(pool, tickets[i], &got, sizeof(got));
        assert_int_equal(got, i);
    }
    work_valid(pool);
    free(tickets);
    ac_pool_free(pool);
    work_ledger_close(&ledger);
}

struct maker {
    struct ac_pool *pool;
    uint64_t ticket;
};

static void *make_pool(void *arg) {
    struct maker *maker = arg;
    maker->pool = work_pool(2, true);
    maker->ticket = work_submit(maker->pool, WORK_ECHO, "x", 1);
    return NULL;
}

/* The thread that made the pool has ended: its workers live on, and new ones come up. */
static void test_thread_ends(void **state) {
    struct work_ledger ledger;
    int how = SIGKILL;
    (void)state;
    work_ledger_open(&ledger);
    for (int round = 0; round < 10; round++) {
        struct maker maker;
        struct ac_death death;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, make_pool, &maker), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(work_outcome(maker.pool, maker.ticket), AC_TASK_DONE);
        work_wait_idle(maker.pool, 2);
        assert_int_equal(ac_pool_next_death(maker.pool, &death), 0);
        uint64_t ticket = work_submit(maker.pool, WORK_CRASH, &how, sizeof(how));
        assert_int_equal(work_outcome(maker.pool, ticket), AC_TASK_DIED);
        work_wait_idle(maker.pool, 2);
        work_valid(maker.pool);
        ac_pool_free(maker.pool);
    }
    work_ledger_close(&ledger);
}

/* Threads that do everything at once. cmocka's assertions are the main thread's: these count what is wrong.
 */
struct actor {
    struct ac_pool *pool;
    pthread_t thread;
    int number;
    int wrong;
};

static void *act(void *arg) {
    struct actor *actor = arg;
    struct ac_pool *pool = actor->pool;
    static const char data[4000] = {0};
    for (int i = 0; i < (WORK_TSAN ? 300 : 2000); i++) {
        struct ac_part part = {data, i % 7 == 0 ? sizeof(data) : 50};
        struct ac_task_out out = {.kind = WORK_ECHO, .count = 1, .parts = &part, .notify = i % 3 == 0};
        struct ac_result result;
        uint64_t ticket = 0;
        actor->wrong += ac_pool_submit(pool, &out, &ticket) != 0;
        if (i % 11 == 0) {
            int got = ac_pool_cancel(pool, ticket);
            actor->wrong += got != 0 && got != -EBUSY;
        }
        if (i % 5 == 0) {
            actor->wrong += ac_pool_notify(pool, ticket) < 0;
        }
        if (i % 13 != 0) {
            actor->wrong += ac_pool_wait(pool, ticket, 60 * AC_NS_PER_S) != 0;
            actor->wrong += ac_pool_take(pool, ticket, &result) != 0;
            actor->wrong += result.state != AC_TASK_DONE && result.state != AC_TASK_CANCELLED &&
                            result.state != AC_TASK_DIED;
            actor->wrong += result.state == AC_TASK_DONE &&
                            (result.message.count != 1 || result.message.parts[0].size != part.size);
            ac_message_clear(&result.message);
        }
        actor->wrong += ac_pool_release(pool, ticket) != 0;
    }
    return NULL;
}

static atomic_bool finished;

static void *complete(void *arg) {
    struct actor *actor = arg;
    struct ac_done done[16];
    while (!atomic_load(&finished)) {
        int got = ac_pool_next_done(actor->pool, done, 16, -1);
        actor->wrong += got < 0;
        struct ac_death death;
        while (ac_pool_next_death(actor->pool, &death) == 1) {
        }
    }
    return NULL;
}

static void test_threads(void **state) {
    enum { ACTORS = 4 };
    struct work_ledger ledger;
    struct actor actors[ACTORS + 1];
    struct looker looker;
    struct ac_random random;
    (void)state;
    work_ledger_open(&ledger);
    struct ac_pool *pool = work_pool(3, true);
    atomic_store(&finished, false);
    looker_start(&looker, pool);
    for (int i = 0; i <= ACTORS; i++) {
        actors[i] = (struct actor){.pool = pool, .number = i};
        assert_int_equal(pthread_create(&actors[i].thread, NULL, i < ACTORS ? act : complete, &actors[i]), 0);
    }
    ac_random_seed(&random, 7);
    for (int i = 0; i < 20; i++) {
        signal_random(pool, &random, SIGKILL);
        usleep(2000); /* any moment of theirs will do */
    }
    for (int i = 0; i < ACTORS; i++) {
        pthread_join(actors[i].thread, NULL);
    }
    atomic_store(&finished, true);
    ac_pool_wake_done(pool);
    pthread_join(actors[ACTORS].thread, NULL);
    for (int i = 0; i <= ACTORS; i++) {
        assert_int_equal(actors[i].wrong, 0);
    }
    work_wait_idle(pool, 3);
    looker_stop(&looker);
    ac_pool_free(pool);
    work_ledger_close(&ledger);
}

/* --- The zygote */
static void test_zygote(void **state) {
    struct work_ledger ledger;
    struct work_zygote zygote;
    (void)state;
    work_ledger_open(&ledger);
    struct ac_pool_options options = work_zygote_start(&zygote);
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
    work_zygote_stop(&zygote);
    work_ledger_close(&ledger);
}

/* The zygote is killed: its workers go with it, what is queued ends, and nobody waits for ever. */
static void test_zygote_dies(void **state) {
    struct work_ledger ledger;
    struct work_zygote zygote;
    int64_t ns = 1000 * AC_NS_PER_S;
    uint64_t tickets[6];
    (void)state;
    work_ledger_open(&ledger);
    struct ac_pool *pool = work_pool_with(2, work_zygote_start(&zygote));
    work_wait_idle(pool, 2);
    for (int i = 0; i < 6; i++) {
        tickets[i] = work_submit(pool, WORK_SLEEP, &ns, sizeof(ns));
    }
    kill(zygote.pid, SIGKILL);
    for (int i = 0; i < 6; i++) {
        enum ac_task_state came = work_outcome(pool, tickets[i]);
        assert_true(came == AC_TASK_DIED || came == AC_TASK_BROKEN);
    }
    ac_pool_free(pool);
    ac_zygote_free(zygote.zygote);
    while (waitpid(-1, NULL, 0) > 0) { /* its orphans too: we are their subreaper */
    }
    work_ledger_close(&ledger);
}

/* The parent is killed while a worker of the zygote runs a long task: all of them end at once. */
static void test_orphans(void **state) {
    int64_t forever = 1000 * AC_NS_PER_S;
    int fds[2];
    char byte;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct work_zygote zygote;
        struct ac_pool *pool = work_pool_with(2, work_zygote_start(&zygote));
        uint64_t ticket = work_submit(pool, WORK_SPIN, &forever, sizeof(forever));
        enum ac_task_state now = AC_TASK_QUEUED;
        while (now == AC_TASK_QUEUED) {
            ac_pool_state(pool, ticket, &now);
        }
        kill(getpid(), SIGKILL);
    }
    close(fds[1]); /* whoever lives holds the other copies */
    alarm(20);
    assert_int_equal(read(fds[0], &byte, 1), 0);
    while (waitpid(-1, NULL, 0) > 0) {
    }
    alarm(0);
    close(fds[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_kills), cmocka_unit_test(test_zygote_kills),
        cmocka_unit_test(test_stops_idle),   cmocka_unit_test(test_stops_busy),
        cmocka_unit_test(test_wild),         cmocka_unit_test(test_million),
        cmocka_unit_test(test_thread_ends),  cmocka_unit_test(test_threads),
        cmocka_unit_test(test_zygote),       cmocka_unit_test(test_zygote_dies),
        cmocka_unit_test(test_orphans),
    };
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
