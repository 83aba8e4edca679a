/* pool_work.c - see pool_work.h. */
#include "pool_work.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/atomics.h"
#include "base/base.h"
#include "os/os.h"
#include "pool/segment.h"

static struct ac_block *kept;

static void nap(int64_t ns) {
    struct timespec time = {ns / AC_NS_PER_S, ns % AC_NS_PER_S};
    while (nanosleep(&time, &time) != 0) {
    }
}

static uint64_t number(const struct ac_task_in *task) {
    uint64_t value = 0;
    if (task->message.count > 0) {
        memcpy(&value, task->message.parts[0].data, ac_min(task->message.parts[0].size, sizeof(value)));
    }
    return value;
}

static void crash(int how) {
    if (how >= 1000) {
        _exit(how - 1000);
    }
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(how, SIG_DFL);
    raise(how);
}

static int answer(struct ac_worker *worker, const void *data, size_t size) {
    struct ac_part part = {data, size};
    return ac_worker_finish(worker, 7, &part, 1);
}

static int echo(struct ac_worker *worker, const struct ac_task_in *task) {
    struct ac_part few[8];
    struct ac_part *parts = task->message.count > 8 ? calloc(task->message.count, sizeof(*parts)) : few;
    for (uint32_t i = 0; i < task->message.count; i++) {
        parts[i] = (struct ac_part){task->message.parts[i].data, task->message.parts[i].size};
    }
    int error = ac_worker_finish(worker, 7, parts, task->message.count);
    if (parts != few) {
        free(parts);
    }
    return error;
}

static int sum(struct ac_worker *worker, const struct ac_task_in *task) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < task->message.count; i++) {
        const unsigned char *bytes = task->message.parts[i].data;
        for (size_t at = 0; at < task->message.parts[i].size; at++) {
            total += bytes[at];
        }
    }
    return answer(worker, &total, sizeof(total));
}

static int make(struct ac_worker *worker, uint64_t size) {
    struct ac_message message = {0};
    size_t sizes[1] = {(size_t)size};
    int error = ac_worker_reserve(worker, sizes, 1, &message);
    if (error < 0) {
        return answer(worker, "no room", 7);
    }
    memset(message.parts[0].data, 0x5a, sizes[0]);
    return ac_worker_finish_message(worker, 7, &message);
}

static int reserve(struct ac_worker *worker, uint64_t size) {
    struct ac_message message = {0};
    size_t sizes[1] = {(size_t)size};
    int error = ac_worker_reserve(worker, sizes, 1, &message);
    ac_message_clear(&message);
    return error < 0 ? error : answer(worker, "", 0);
}

static int items(struct ac_worker *worker, const struct ac_task_in *task, uint32_t crash_at) {
    struct ac_message message = {0};
    size_t sizes[1] = {task->items * sizeof(uint32_t)};
    int error = ac_worker_reserve(worker, sizes, 1, &message);
    if (error < 0) {
        return error;
    }
    ac_worker_stage(worker, 8, &message);
    for (uint32_t i = 0; i < task->items; i++) {
        if (i == crash_at) {
            raise(SIGKILL);
        }
        ((uint32_t *)message.parts[0].data)[i] = i * i;
        ac_worker_progress(worker, i + 1);
    }
    return ac_worker_finish_message(worker, 8, &message);
}

/* Over everything that a stray pointer may meet, except what this process needs itself to come so far. */
static void scribble(struct ac_worker *worker, uint64_t seed) {
    struct ac__segment *segment = &((struct ac__side *)worker)->segment;
    struct ac_random random;
    ac_random_seed(&random, seed);
    for (int i = 0; i < 200; i++) {
        uint64_t where = ac_random_next(&random) % 6;
        char *from = where == 0   ? segment->base
                     : where == 1 ? (char *)segment->seats
                     : where == 2 ? (char *)segment->spans
                     : where <= 4 ? (char *)segment->slots
                                  : segment->base + segment->data_at;
        uint64_t room = where == 0   ? sizeof(struct ac__head)
                        : where == 1 ? 4 * sizeof(struct ac__seat)
                        : where == 2 ? 64 * 4
                        : where <= 4 ? 64 * sizeof(struct ac__slot)
                                     : 1 << 16;
        uint64_t value = ac_random_next(&random);
        memcpy(from + ac_random_next(&random) % (room - 8), &value, 1 + value % 8);
    }
}

static int bad_result(struct ac_worker *worker, uint64_t which) {
    struct ac__side *side = (struct ac__side *)worker;
    struct ac__segment *segment = &side->segment;
    struct ac_message message = {0};
    size_t sizes[2] = {100000, 5000};
    int error = ac_worker_reserve(worker, sizes, 2, &message);
    if (error < 0) {
        return error;
    }
    struct ac__block_head *head = (void *)(segment->base + message.block->offset);
    uint64_t *table = (void *)(head + 1);
    switch (which) {
    case 0: head->size = UINT64_MAX; break;
    case 1: head->size = 8; break;
    case 2: head->count = UINT32_MAX; break;
    case 3: table[0] = UINT64_MAX - 10; break;
    case 4: table[1] = 1 << 20; break;
    case 5: message.block->offset = 64; break;
    case 6: message.block->offset += 8; break;
    case 7: message.block->offset = segment->capacity - 128; break;
    case 8: message.block->offset = UINT64_MAX - 127; break;
    default: message.block->offset = segment->data_at; break; /* the parent's */
    }
    return ac_worker_finish_message(worker, 7, &message);
}

static int shared(struct ac_worker *worker, int error, struct ac_message *message) {
    if (error < 0) {
        return answer(worker, &error, sizeof(error));
    }
    error = answer(worker, message->parts[0].data, message->parts[0].size);
    ac_message_clear(message);
    return error;
}

static int keep(struct ac_worker *worker, const struct ac_task_in *task) {
    ac_block_unref(kept);
    kept = task->message.block;
    if (kept != NULL) {
        ac_block_ref(kept);
    }
    return answer(worker, "kept", 4);
}

static int give(struct ac_worker *worker, struct ac_task_in *task, uint64_t which) {
    struct ac__side *side = (struct ac__side *)worker;
    struct ac_message *message = &task->message;
    struct ac_view *last = &message->parts[message->count - 1];
    ((unsigned char *)last->data)[last->size - 1]++;
    if (message->block != NULL && which != 0) {
        struct ac__block_head *head = (void *)(side->segment.base + message->block->offset);
        head->size = which == 1 ? head->size + (1 << 16) : head->size;
    }
    uint32_t count = which == 2 ? 1 : message->count;
    int error = ac_worker_give(worker, 9, (struct ac_part){"given", 5}, count, message);
    return error == -EAGAIN ? answer(worker, "kept", 4) : error;
}

static int spin(struct ac_worker *worker, int64_t ns) {
    int64_t until = ac_thread_cpu_ns() + ns;
    while (ac_thread_cpu_ns() < until) {
    }
    return answer(worker, "", 0);
}

static int work(struct ac_worker *worker, struct ac_task_in *task) {
    struct ac_message message = {0};
    uint64_t value = number(task);
    switch ((enum work)task->message.kind) {
    case WORK_ECHO: return echo(worker, task);
    case WORK_SLEEP: nap((int64_t)value); return answer(worker, "", 0);
    case WORK_CRASH: crash((int)value); return 0;
    case WORK_SUM: return sum(worker, task);
    case WORK_MAKE: return make(worker, value);
    case WORK_ITEMS: return items(worker, task, (uint32_t)value);
    case WORK_KEEP: return keep(worker, task);
    case WORK_LEAVE: return answer(worker, "bye", 3);
    case WORK_WILD: scribble(worker, value); return answer(worker, "", 0);
    case WORK_WILD_CRASH:
        scribble(worker, value);
        raise(SIGKILL);
        return 0;
    case WORK_BAD_RESULT: return bad_result(worker, value);
    case WORK_GIVE: return give(worker, task, value);
    case WORK_SPIN: return spin(worker, (int64_t)value);
    case WORK_CONFIG: return shared(worker, ac_worker_config(worker, &message), &message);
    case WORK_SHARED: return shared(worker, ac_worker_shared(worker, value, &message), &message);
    case WORK_RESERVE: return reserve(worker, value);
    }
    return answer(worker, "?", 1);
}

int work_main(const struct ac_spawn *spawn, void *arg) {
    ac_memory_fail_at(0); /* faults are for the parent */
    struct ac_worker *worker;
    struct ac_task_in task;
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    (void)arg;
    for (size_t i = 0; i < AC_COUNT(crashes);
         i++) { /* cmocka's handlers would go on with the parent's test here */
        signal(crashes[i], SIG_DFL);
    }
    if (ac_worker_attach(spawn, &worker) < 0) {
        return 3;
    }
    for (;;) {
        int error = ac_worker_next(worker, -1, &task);
        if (error == -EINTR) {
            continue;
        }
        if (error < 0) {
            ac_worker_free(worker);
            return error == -ESHUTDOWN ? 0 : 4;
        }
        bool leave = task.message.kind == WORK_LEAVE;
        if (work(worker, &task) < 0) {
            answer(worker, "no memory", 9);
        }
        ac_message_clear(&task.message);
        if (leave) {
            ac_worker_free(worker);
            return 0;
        }
    }
}

static struct ac_fork forks = {work_main, NULL};

struct ac_pool *work_pool_with(int workers, struct ac_pool_options options) {
    struct ac_pool *pool;
    if (options.spawn == NULL) {
        options.spawn = ac_fork_spawn;
        options.reap = ac_fork_reap;
        options.spawn_arg = &forks;
    }
    options.capacity = options.capacity != 0 ? options.capacity : WORK_CAPACITY;
    assert_int_equal(ac_pool_create(&options, &pool), 0);
    assert_int_equal(ac_pool_start(pool, workers), 0);
    return pool;
}

struct ac_pool *work_pool(int workers, bool respawn) {
    return work_pool_with(workers, (struct ac_pool_options){.respawn = respawn});
}

uint64_t work_submit(struct ac_pool *pool, uint16_t kind, const void *data, size_t size) {
    struct ac_part part = {data, size};
    struct ac_task_out out = {.kind = kind, .count = 1, .parts = &part, .items = 1, .user = kind};
    uint64_t ticket = 0;
    assert_int_equal(ac_pool_submit(pool, &out, &ticket), 0);
    return ticket;
}

static int wait_for(struct ac_pool *pool, uint64_t ticket) {
    int error;
    do {
        error = ac_pool_wait(pool, ticket, 60 * AC_NS_PER_S);
    } while (error == -EINTR);
    return error;
}

size_t work_result(struct ac_pool *pool, uint64_t ticket, void *buffer, size_t size) {
    struct ac_result result;
    size_t got = 0;
    assert_int_equal(wait_for(pool, ticket), 0);
    assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
    assert_int_equal(result.state, AC_TASK_DONE);
    got = result.message.count > 0 ? result.message.parts[0].size : 0;
    if (got > 0 && buffer != NULL) {
        memcpy(buffer, result.message.parts[0].data, ac_min(got, size));
    }
    ac_message_clear(&result.message);
    assert_int_equal(ac_pool_release(pool, ticket), 0);
    return got;
}

enum ac_task_state work_outcome(struct ac_pool *pool, uint64_t ticket) {
    struct ac_result result;
    assert_int_equal(wait_for(pool, ticket), 0);
    assert_int_equal(ac_pool_take(pool, ticket, &result), 0);
    ac_message_clear(&result.message);
    assert_int_equal(ac_pool_release(pool, ticket), 0);
    return result.state;
}

void work_overwrite(struct ac_pool *pool, uint64_t ticket, enum ac_task_state phase) {
    ac_futex *word = &((struct ac__side *)pool)->segment.slots[(uint32_t)ticket - 1].state;
    ac_store_release(word, (ac_load_acquire(word) & ~(uint32_t)AC__PHASE) | phase);
}

void work_valid(struct ac_pool *pool) {
    const char *wrong = ac_pool_valid(pool);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

void work_wait_idle(struct ac_pool *pool, int workers) {
    struct ac_worker_info infos[64];
    for (int tries = 0; tries < 5000; tries++) {
        int count = ac_pool_workers(pool, infos, 64);
        int idle = 0;
        for (int i = 0; i < ac_min(count, 64); i++) {
            idle += infos[i].idle;
        }
        if (count == workers && idle == workers) {
            return;
        }
        nap(AC_NS_PER_MS);
    }
    fail_msg("the workers did not come to rest");
}

/* --- Nothing is left */
static int count_fds(void) {
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static int count_segments(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[600];
    int count = 0;
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        count += strstr(line, "/memfd:allcores") != NULL;
    }
    fclose(maps);
    return count;
}

void work_ledger_open(struct work_ledger *ledger) {
    *ledger = (struct work_ledger){.fds = count_fds(), .segments = count_segments()};
}

void work_ledger_close(const struct work_ledger *ledger) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(count_fds(), ledger->fds);
    assert_int_equal(count_segments(), ledger->segments);
}

/* --- The zygote */
struct ac_pool_options work_zygote_start(struct work_zygote *ret) {
    int mine = -1;
    int its = -1;
    assert_int_equal(ac_zygote_socketpair(&mine, &its), 0);
    ret->pid = fork();
    if (ret->pid == 0) {
        struct ac_spawn spawn;
        close(mine);
        int got = ac_zygote_serve(its, 0, NULL, &spawn);
        _exit(got == 1 ? work_main(&spawn, NULL) : got == 0 ? 0 : 9);
    }
    close(its);
    assert_int_equal(ac_zygote_open(mine, &ret->zygote), 0);
    return (struct ac_pool_options){
        .spawn = ac_zygote_spawn, .reap = ac_zygote_reap, .spawn_arg = ret->zygote, .respawn = true};
}

void work_zygote_stop(struct work_zygote *zygote) {
    int status = -1;
    ac_zygote_free(zygote->zygote);
    assert_int_equal(waitpid(zygote->pid, &status, 0), zygote->pid);
    assert_int_equal(status, 0);
}
