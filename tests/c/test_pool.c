/* test_pool.c - what the pool engine does when nothing goes wrong, and when tasks or workers do. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "os/os.h"
#include "pool_work.h"

static void test_echo(void **state) {
    struct ac_pool *pool = work_pool(2, true);
    char buffer[300];
    (void)state;
    for (size_t size = 0; size < sizeof(buffer); size += 7) {
        char data[300];
        memset(data, (int)size, size);
        uint64_t ticket = work_submit(pool, WORK_ECHO, data, size);
        assert_int_equal(work_result(pool, ticket, buffer, sizeof(buffer)), size);
        assert_memory_equal(buffer, data, size);
    }
    work_valid(pool);
    ac_pool_free(pool);
}

static void test_many(void **state) {
    enum { TASKS = 20000 };
    struct ac_pool *pool = work_pool(2, true);
    uint64_t *tickets = calloc(TASKS, sizeof(*tickets));
    (void)state;
    for (uint64_t i = 0; i < TASKS; i++) {
        tickets[i] = work_submit(pool, WORK_ECHO, &i, sizeof(i));
    }
    for (uint64_t i = 0; i < TASKS; i++) {
        uint64_t got = 0;
        assert_int_equal(work_result(pool, tickets[i], &got, sizeof(got)), sizeof(got));
        assert_int_equal(got, i);
    }
    work_valid(pool);
    free(tickets);
    ac_pool_shutdown(pool);
    assert_int_equal(ac_pool_join(pool, 10 * AC_NS_PER_S), 0);
    ac_pool_free(pool);
}

static void test_large(void **state) {
    struct ac_pool *pool = work_pool(2, true);
    (void)state;
    for (size_t size = 1; size <= 200 << 20; size = size * 7 + 3) {
        unsigned char *data = malloc(size);
        unsigned char *back = malloc(size);
        for (size_t i = 0; i < size; i++) {
            data[i] = (unsigned char)(i * 31 + size);
        }
        assert_int_equal(work_result(pool, work_submit(pool, WORK_ECHO, data, size), back, size), size);
        assert_memory_equal(data, back, size);
        free(data);
        free(back);
    }
    work_valid(pool);
    ac_pool_free(pool);
}

static void test_parts(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    enum { PARTS = 100 };
    struct ac_part parts[PARTS];
    struct ac_result result;
    uint64_t ticket;
    char data[PARTS];
    (void)state;
    for (size_t i = 0; i < PARTS; i++) {
        data[i] = (char)i;
        parts[i] = (struct ac_part){data, i};
    }
    struct ac_task_out out = {.kind = WORK_ECHO, .count = PARTS, .parts = parts, .user = 42};
    assert_int_equal(ac_pool_submit(pool, &out, &ticket), 0);
    assert_int_equal(ac_pool_wait(pool, ticket, -1), 0);
    assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
    assert_int_equal(result.user, 42);
    assert_int_equal(result.message.count, PARTS);
    for (size_t i = 0; i < PARTS; i++) {
        assert_int_equal(result.message.parts[i].size, i);
        assert_int_equal((uintptr_t)result.message.parts[i].data % AC_POOL_ALIGN, 0);
        assert_memory_equal(result.message.parts[i].data, data, i);
    }
    ac_message_clear(&result.message);
    assert_int_equal(ac_pool_release(pool, ticket), 0);
    assert_int_equal(ac_pool_release(pool, ticket), -EINVAL);
    out.count = 0;
    assert_int_equal(ac_pool_submit(pool, &out, &ticket), 0);
    assert_int_equal(ac_pool_wait(pool, ticket, -1), 0);
    assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
    assert_int_equal(result.message.count, 0);
    ac_pool_free(pool);
}

/* What came of WORK_GIVE with `size` bytes of `fill` behind the number. */
static void give(struct ac_pool *pool, uint64_t which, unsigned char *bytes, size_t size,
                 struct ac_result *ret) {
    struct ac_part parts[2] = {{&which, sizeof(which)}, {bytes, size}};
    struct ac_task_out out = {.kind = WORK_GIVE, .count = 2, .parts = parts, .items = 1};
    uint64_t ticket;
    assert_int_equal(ac_pool_submit(pool, &out, &ticket), 0);
    assert_int_equal(ac_pool_wait(pool, ticket, 20 * AC_NS_PER_S), 0);
    assert_int_equal(ac_pool_take(pool, ticket, ret), 0);
    assert_int_equal(ac_pool_release(pool, ticket), 0);
}

static void test_given_back(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    static unsigned char bytes[300000];
    struct ac_result first, second, third;
    (void)state;
    memset(bytes, 7, sizeof(bytes));
    give(pool, 0, bytes, sizeof(bytes), &first);
    assert_int_equal(first.message.count, 2);
    assert_int_equal(first.message.kind, 9);
    assert_int_equal(first.message.parts[0].size, sizeof(uint64_t)); /* as it was, zeros behind */
    assert_memory_equal(first.message.parts[0].data, "given\0\0", 8);
    give(pool, 0, bytes, sizeof(bytes), &second); /* does not get the first one's memory */
    unsigned char *back = first.message.parts[1].data;
    assert_true(back != second.message.parts[1].data);
    assert_memory_equal(back, bytes, sizeof(bytes) - 1);
    assert_int_equal(back[sizeof(bytes) - 1], 8);
    uint64_t place = (uintptr_t)back;
    work_valid(pool);
    ac_message_clear(&first.message);
    give(pool, 0, bytes, sizeof(bytes), &third); /* but this one does */
    assert_int_equal((uintptr_t)third.message.parts[1].data, place);
    ac_pool_kill(pool, -1, SIGKILL); /* it is no longer the worker's */
    work_result(pool, work_submit(pool, WORK_SUM, "a", 1), NULL, 0);
    assert_memory_equal(third.message.parts[1].data, bytes, sizeof(bytes) - 1);
    ac_message_clear(&third.message);
    ac_message_clear(&second.message);
    give(pool, 2, bytes, sizeof(bytes), &first);
    assert_int_equal(first.message.count, 1);
    ac_message_clear(&first.message);
    give(pool, 1, bytes, sizeof(bytes), &first);
    assert_int_equal(first.state, AC_TASK_CORRUPT);
    work_valid(pool);
    ac_pool_free(pool);
}

/* Not where somebody there still looks at it, nor where it lies in the slot, nor of several items. */
static void test_not_given_back(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    static unsigned char bytes[300000];
    uint64_t zero = 0;
    struct ac_part parts[2] = {{&zero, sizeof(zero)}, {bytes, sizeof(bytes)}};
    struct ac_task_out out = {.kind = WORK_GIVE, .count = 2, .parts = parts, .items = 2};
    uint64_t ticket;
    char text[5] = {0};
    (void)state;
    assert_int_equal(ac_pool_submit(pool, &out, &ticket), 0);
    assert_int_equal(work_result(pool, ticket, text, 4), 4);
    assert_string_equal(text, "kept");
    assert_int_equal(work_result(pool, work_submit(pool, WORK_GIVE, &zero, sizeof(zero)), text, 4), 4);
    assert_string_equal(text, "kept");
    work_valid(pool);
    ac_pool_free(pool);
}

static void test_in_place(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    struct ac_message message;
    size_t sizes[2] = {4, 100000};
    uint64_t ticket;
    uint64_t got;
    (void)state;
    assert_int_equal(ac_pool_reserve(pool, sizes, 2, &message), 0);
    memset(message.parts[0].data, 1, 4);
    memset(message.parts[1].data, 2, 1000);
    assert_int_equal(ac_message_trim(&message, 1000), 0);
    struct ac_task_out out = {.kind = WORK_SUM, .message = &message};
    assert_int_equal(ac_pool_submit(pool, &out, &ticket), 0);
    assert_null(message.block);
    work_result(pool, ticket, &got, sizeof(got));
    assert_int_equal(got, 4 + 2000);
    assert_int_equal(ac_pool_reserve(pool, sizes, 2, &message), 0);
    ac_message_clear(&message);
    work_valid(pool);
    ac_pool_free(pool);
}

static void test_cancel(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    int64_t ns = 50 * AC_NS_PER_MS;
    enum ac_task_state now = 0;
    (void)state;
    uint64_t first = work_submit(pool, WORK_SLEEP, &ns, sizeof(ns));
    uint64_t second = work_submit(pool, WORK_ECHO, "x", 1);
    uint64_t third = work_submit(pool, WORK_ECHO, "y", 1);
    while (ac_pool_state(pool, first, &now) == 0 && now == AC_TASK_QUEUED) {
        usleep(100);
    }
    assert_int_equal(now, AC_TASK_RUNNING);
    assert_int_equal(ac_pool_cancel(pool, first), -EBUSY);
    assert_int_equal(ac_pool_cancel(pool, second), 0);
    assert_int_equal(ac_pool_cancel(pool, second), -EBUSY);
    assert_int_equal(work_outcome(pool, second), AC_TASK_CANCELLED);
    assert_int_equal(ac_pool_wait(pool, third, AC_NS_PER_MS), -ETIMEDOUT);
    assert_int_equal(work_outcome(pool, third), AC_TASK_DONE);
    assert_int_equal(work_outcome(pool, first), AC_TASK_DONE);
    work_valid(pool);
    ac_pool_free(pool);
}

static void test_release_early(void **state) {
    struct ac_pool *pool = work_pool(2, true);
    struct ac_pool_stats stats;
    static char data[5000];
    (void)state;
    for (int round = 0; round < 2000; round++) {
        uint64_t size = 3000;
        uint64_t a = work_submit(pool, WORK_ECHO, data, sizeof(data));
        uint64_t b = work_submit(pool, WORK_MAKE, &size, sizeof(size));
        assert_int_equal(ac_pool_release(pool, round % 2 ? a : b), 0);
        assert_int_equal(work_outcome(pool, round % 2 ? b : a), AC_TASK_DONE);
    }
    assert_int_equal(work_result(pool, work_submit(pool, WORK_ECHO, "z", 1), data, 1), 1);
    work_valid(pool);
    ac_pool_stats(pool, &stats);
    assert_true(stats.segment_bytes < 8 << 20); /* nothing has leaked */
    ac_pool_free(pool);
}

static void test_crashes(void **state) {
    struct ac_pool *pool = work_pool(2, true);
    const int ways[] = {SIGKILL, SIGSEGV, SIGABRT, 1000, 1003};
    (void)state;
    for (size_t i = 0; i < AC_COUNT(ways); i++) {
        struct ac_result result;
        struct ac_death death;
        uint64_t ticket = work_submit(pool, WORK_CRASH, &ways[i], sizeof(ways[i]));
        uint64_t other = work_submit(pool, WORK_ECHO, "o", 1);
        assert_int_equal(ac_pool_wait(pool, ticket, 10 * AC_NS_PER_S), 0);
        assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
        assert_int_equal(result.state, AC_TASK_DIED);
        assert_int_equal(result.death.ticket, ticket);
        if (ways[i] < 1000) {
            assert_true(WIFSIGNALED(result.death.status));
            assert_int_equal(WTERMSIG(result.death.status), ways[i]);
        } else {
            assert_true(WIFEXITED(result.death.status));
            assert_int_equal(WEXITSTATUS(result.death.status), ways[i] - 1000);
        }
        assert_int_equal(ac_pool_next_death(pool, &death), 1);
        assert_int_equal(death.kind, AC_DEATH_CRASH);
        assert_int_equal(death.ticket, ticket);
        assert_int_equal(ac_pool_next_death(pool, &death), 0);
        assert_int_equal(work_outcome(pool, other), AC_TASK_DONE);
        assert_int_equal(ac_pool_release(pool, ticket), 0);
    }
    work_wait_idle(pool, 2);
    work_valid(pool);
    ac_pool_free(pool);
}

static void test_items(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    uint32_t crash_at = 30;
    struct ac_part part = {&crash_at, sizeof(crash_at)};
    struct ac_task_out out = {.kind = WORK_ITEMS, .count = 1, .parts = &part, .items = 100};
    struct ac_result result;
    uint64_t ticket;
    (void)state;
    assert_int_equal(ac_pool_submit(pool, &out, &ticket), 0);
    assert_int_equal(ac_pool_wait(pool, ticket, -1), 0);
    assert_int_equal(work_result(pool, work_submit(pool, WORK_ECHO, "after", 5), NULL, 0), 5);
    work_wait_idle(pool, 1); /* the dead one's memory has been swept, all but ours */
    assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
    assert_int_equal(result.state, AC_TASK_DIED);
    assert_int_equal(result.progress, 30);
    assert_int_equal(result.message.kind, 8);
    const uint32_t *done = result.message.parts[0].data;
    for (uint32_t i = 0; i < 30; i++) {
        assert_int_equal(done[i], i * i);
    }
    work_valid(pool);
    ac_message_clear(&result.message);
    work_valid(pool);
    assert_int_equal(ac_pool_retry(pool, ticket, 0), 0);
    assert_int_equal(work_outcome(pool, ticket), AC_TASK_DIED);
    ac_pool_free(pool);
}

static void test_kept_arguments(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    static char data[100000];
    struct ac_pool_stats before;
    struct ac_pool_stats after;
    (void)state;
    work_outcome(pool, work_submit(pool, WORK_KEEP, data, sizeof(data)));
    work_outcome(pool, work_submit(pool, WORK_KEEP, data, sizeof(data)));
    ac_pool_stats(pool, &before);
    for (int i = 0; i < 300; i++) {
        work_outcome(pool, work_submit(pool, WORK_KEEP, data, sizeof(data)));
    }
    ac_pool_stats(pool, &after);
    assert_true(after.segment_bytes <= before.segment_bytes + 4 * sizeof(data));
    int kill = SIGKILL;
    for (int i = 0; i < 20; i++) { /* what a dead worker kept comes back too */
        work_outcome(pool, work_submit(pool, WORK_KEEP, data, sizeof(data)));
        work_outcome(pool, work_submit(pool, WORK_CRASH, &kill, sizeof(kill)));
        work_wait_idle(pool, 1);
    }
    ac_pool_stats(pool, &after);
    assert_true(after.segment_bytes <= before.segment_bytes + 8 * sizeof(data));
    work_valid(pool);
    ac_pool_free(pool);
}

static void test_views_outlive(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    uint64_t size = 1 << 20;
    struct ac_result result;
    uint64_t ticket = work_submit(pool, WORK_MAKE, &size, sizeof(size));
    (void)state;
    assert_int_equal(ac_pool_wait(pool, ticket, -1), 0);
    assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
    assert_int_equal(ac_pool_release(pool, ticket), 0);
    ac_pool_kill(pool, -1, SIGKILL);
    work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1));
    work_valid(pool);
    ac_pool_free(pool);
    const char *bytes = result.message.parts[0].data;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(bytes[i], 0x5a);
    }
    ac_message_clear(&result.message);
}

static void test_notify(void **state) {
    enum { TASKS = 3000 };
    struct ac_pool *pool = work_pool(2, true);
    struct ac_done done[64];
    char *seen = calloc(TASKS, 1);
    int count = 0;
    (void)state;
    for (uint64_t i = 0; i < TASKS; i++) {
        struct ac_part part = {&i, sizeof(i)};
        struct ac_task_out out = {.kind = WORK_ECHO, .count = 1, .parts = &part, .notify = i % 2, .user = i};
        uint64_t ticket;
        assert_int_equal(ac_pool_submit(pool, &out, &ticket), 0);
        if (i % 2 == 0 && ac_pool_notify(pool, ticket) == 1) {
            count++;
            seen[i]++;
        }
    }
    while (count < TASKS) {
        int got = ac_pool_next_done(pool, done, 64, 10 * AC_NS_PER_S);
        assert_true(got > 0);
        for (int i = 0; i < got; i++) {
            assert_int_equal(seen[done[i].user]++, 0);
            assert_int_equal(work_outcome(pool, done[i].ticket), AC_TASK_DONE);
        }
        count += got;
    }
    assert_int_equal(ac_pool_next_done(pool, done, 64, AC_NS_PER_MS), -ETIMEDOUT);
    ac_pool_wake_done(pool);
    assert_int_equal(ac_pool_next_done(pool, done, 64, -1), 0);
    work_valid(pool);
    free(seen);
    ac_pool_free(pool);
}

static void test_leave(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    struct ac_death death;
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(work_outcome(pool, work_submit(pool, WORK_LEAVE, "", 0)), AC_TASK_DONE);
    }
    assert_int_equal(work_outcome(pool, work_submit(pool, WORK_ECHO, "", 0)), AC_TASK_DONE);
    while (ac_pool_next_death(pool, &death) == 1) {
        assert_int_equal(death.kind, AC_DEATH_LEFT);
        assert_int_equal(death.ticket, 0);
    }
    ac_pool_free(pool);
}

static void test_break(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    int64_t ns = 100 * AC_NS_PER_S;
    uint64_t tickets[10];
    (void)state;
    for (int i = 0; i < 10; i++) {
        tickets[i] = work_submit(pool, WORK_SLEEP, &ns, sizeof(ns));
    }
    usleep(20000);
    ac_pool_break(pool);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(work_outcome(pool, tickets[i]), AC_TASK_BROKEN);
    }
    struct ac_task_out out = {.kind = WORK_ECHO};
    assert_int_equal(ac_pool_submit(pool, &out, tickets), -EPIPE);
    ac_pool_free(pool);
}

/* A spawn that does not come back before it is let. */
struct gate {
    struct ac_fork forks;
    sem_t entered, open;
    int error; /* 0: it forks first */
};

static int gated_spawn(void *arg, const struct ac_spawn *spawn, struct ac_spawned *ret) {
    struct gate *gate = arg;
    int error = gate->error < 0 ? gate->error : ac_fork_spawn(&gate->forks, spawn, ret);
    sem_post(&gate->entered);
    sem_wait(&gate->open);
    return error;
}

static struct ac_pool *gated_pool(struct gate *gate, int error) {
    *gate = (struct gate){.forks = {work_main, NULL}, .error = error};
    sem_init(&gate->entered, 0, 0);
    sem_init(&gate->open, 0, 0);
    struct ac_pool *pool = work_pool_with(
        1, (struct ac_pool_options){.spawn = gated_spawn, .reap = ac_fork_reap, .spawn_arg = gate});
    while (sem_wait(&gate->entered) != 0) {
    }
    return pool;
}

static void let_and_free(struct gate *gate, struct ac_pool *pool) {
    sem_post(&gate->open);
    assert_int_equal(ac_pool_join(pool, 60 * AC_NS_PER_S), 0);
    ac_pool_free(pool);
    sem_destroy(&gate->entered);
    sem_destroy(&gate->open);
}

/* It has taken a task before we are told who it is. */
static void test_kill_while_spawning(void **state) {
    int64_t ns = 1000 * AC_NS_PER_S;
    struct gate gate;
    enum ac_task_state now = AC_TASK_QUEUED;
    struct ac_pool *pool = gated_pool(&gate, 0);
    uint64_t ticket = work_submit(pool, WORK_SLEEP, &ns, sizeof(ns));
    (void)state;
    while (now == AC_TASK_QUEUED) {
        usleep(1000);
        assert_int_equal(ac_pool_state(pool, ticket, &now), 0);
    }
    assert_int_equal(now, AC_TASK_RUNNING);
    ac_pool_break(pool);
    assert_int_equal(ac_pool_kill(pool, -1, SIGKILL), 0);
    assert_int_equal(ac_pool_kill(pool, -1, SIGTERM), 0); /* does not make it any milder */
    ac_pool_shutdown(pool);
    let_and_free(&gate, pool);
}

static void *end_awaited(void *pool) {
    struct ac_done done;
    while (ac_pool_join(pool, 0) != 0) {
        ac_pool_next_done(pool, &done, 1, -1);
    }
    return NULL;
}

/* Who sleeps until the pool's end is told of one that never came up. */
static void test_spawn_fails_at_the_end(void **state) {
    pthread_t thread;
    struct gate gate;
    struct ac_pool *pool = gated_pool(&gate, -EAGAIN);
    (void)state;
    ac_pool_shutdown(pool);
    assert_int_equal(pthread_create(&thread, NULL, end_awaited, pool), 0);
    usleep(100000);
    sem_post(&gate.open);
    assert_int_equal(pthread_join(thread, NULL), 0);
    let_and_free(&gate, pool);
}

static int no_spawn(void *arg, const struct ac_spawn *spawn, struct ac_spawned *ret) {
    (void)arg;
    (void)spawn;
    (void)ret;
    return -EAGAIN;
}

static int bad_main(const struct ac_spawn *spawn, void *arg) {
    (void)spawn;
    (void)arg;
    return 5;
}

static void no_workers(struct ac_pool_options options, int error) {
    struct ac_pool *pool = work_pool_with(2, options);
    struct ac_death death;
    uint64_t ticket = 0;
    struct ac_task_out out = {.kind = WORK_ECHO};
    int got = ac_pool_submit(pool, &out, &ticket);
    if (got == 0) {
        assert_int_equal(work_outcome(pool, ticket), AC_TASK_BROKEN);
    }
    do {
        assert_int_equal(ac_pool_next_death(pool, &death), 1);
    } while (death.kind != AC_DEATH_NO_WORKERS);
    assert_int_equal(death.error, error);
    ac_pool_free(pool);
}

static void test_no_workers(void **state) {
    struct ac_fork how = {bad_main, NULL};
    (void)state;
    no_workers((struct ac_pool_options){.spawn = no_spawn, .respawn = true}, -EAGAIN);
    no_workers(
        (struct ac_pool_options){
            .spawn = ac_fork_spawn, .reap = ac_fork_reap, .spawn_arg = &how, .respawn = true},
        -ECHILD);
}

static void test_shared(void **state) {
    struct ac_pool_options options = {.respawn = true};
    struct ac_pool *pool = work_pool_with(0, options);
    struct ac_part part = {"configuration", 13};
    uint64_t key;
    char buffer[16];
    (void)state;
    assert_int_equal(ac_pool_share(pool, 3, &part, 1, &key), 0);
    assert_int_equal(ac_pool_set_config(pool, key), 0);
    assert_int_equal(ac_pool_start(pool, 1), 0);
    assert_int_equal(work_result(pool, work_submit(pool, WORK_CONFIG, "", 0), buffer, 16), 13);
    assert_memory_equal(buffer, "configuration", 13);
    assert_int_equal(work_result(pool, work_submit(pool, WORK_SHARED, &key, sizeof(key)), buffer, 16), 13);
    uint64_t bad = key + 64;
    assert_int_equal(work_result(pool, work_submit(pool, WORK_SHARED, &bad, sizeof(bad)), buffer, 16), 4);
    ac_pool_unshare(pool, key);
    work_valid(pool);
    ac_pool_free(pool);
}

static void test_bad_results(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    (void)state;
    for (uint64_t which = 0; which < 10; which++) {
        uint64_t ticket = work_submit(pool, WORK_BAD_RESULT, &which, sizeof(which));
        assert_int_equal(work_outcome(pool, ticket), AC_TASK_CORRUPT);
        assert_int_equal(work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)), AC_TASK_DONE);
        work_valid(pool);
    }
    ac_pool_free(pool);
}

/* What is over stays over for whoever was told so, whatever is written over its word since. */
static void test_over_stays(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    struct ac_done done;
    enum ac_task_state now = AC_TASK_QUEUED;
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct ac_result result;
        uint64_t ticket = work_submit(pool, WORK_ECHO, "x", 1);
        if (how == 0) {
            assert_int_equal(ac_pool_wait(pool, ticket, -1), 0);
        } else if (how == 1) {
            do {
                assert_int_equal(ac_pool_state(pool, ticket, &now), 0);
            } while (now != AC_TASK_DONE);
        } else {
            if (how == 3) { /* it is over already: nothing will be listed */
                work_wait_idle(pool, 1);
            }
            if (ac_pool_notify(pool, ticket) == 0) {
                assert_int_equal(ac_pool_next_done(pool, &done, 1, -1), 1);
            }
        }
        work_overwrite(pool, ticket, how == 0 ? AC_TASK_QUEUED : AC_TASK_RUNNING);
        assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
        assert_int_equal(result.state, AC_TASK_CORRUPT);
        assert_int_equal(ac_pool_release(pool, ticket), 0);
        assert_int_equal(work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)), AC_TASK_DONE);
    }
    ac_pool_free(pool);
}

static void test_user_fork(void **state) {
    struct ac_pool *pool = work_pool(1, true);
    uint64_t size = 10000;
    struct ac_result result;
    int status;
    uint64_t ticket = work_submit(pool, WORK_MAKE, &size, sizeof(size));
    (void)state;
    assert_int_equal(ac_pool_wait(pool, ticket, -1), 0);
    assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct ac_task_out out = {.kind = WORK_ECHO};
        uint64_t other;
        unsigned char *bytes = result.message.parts[0].data;
        bool fine = bytes[0] == 0x5a && ac_pool_submit(pool, &out, &other) == -ECHILD &&
                    ac_pool_wait(pool, ticket, -1) == -ECHILD && ac_pool_release(pool, ticket) == -ECHILD;
        memset(bytes, 1, size); /* ours alone */
        ac_message_clear(&result.message);
        ac_pool_free(pool);
        _exit(fine ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    const unsigned char *bytes = result.message.parts[0].data;
    assert_int_equal(bytes[0], 0x5a);
    assert_int_equal(bytes[size - 1], 0x5a);
    ac_message_clear(&result.message);
    ac_pool_release(pool, ticket);
    assert_int_equal(work_outcome(pool, work_submit(pool, WORK_ECHO, "x", 1)), AC_TASK_DONE);
    work_valid(pool);
    ac_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_not_given_back),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_release_early),
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_kept_arguments),
        cmocka_unit_test(test_views_outlive),
        cmocka_unit_test(test_notify),
        cmocka_unit_test(test_leave),
        cmocka_unit_test(test_break),
        cmocka_unit_test(test_no_workers),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_bad_results),
        cmocka_unit_test(test_over_stays),
        cmocka_unit_test(test_user_fork),
        cmocka_unit_test(test_kill_while_spawning),
        cmocka_unit_test(test_spawn_fails_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
