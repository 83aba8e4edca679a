/* Verdicts that rest on who did what when: profiles built from time lines, one line a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/base.h"
#include "report/report.h"
#include "verdict/evidence.h"
#include "verdict/phases.h"

/* A stretch of a thread's life. The stack is "function file:line" or "...:line@first", leaf first, joined by
 * "<". `every` > 0: the stretch repeats so, from `from` to `to`, for `part` of each turn; the rest is the
 * next span's. */
struct span {
    double from, to;
    enum ac_state state;
    const char *stack;
    double every, first, part; /* seconds; of each turn the share [first, first + part) */
    enum ac_kind kind;
    uint32_t owner; /* actor's index + 1 */
};

struct actor {
    int process;
    bool main, alien;
    struct span spans[8];
    int64_t sleeps;
    uint8_t watched;
    double unseen; /* seconds that it ran besides, between two looks: told as waiting */
};

struct scene {
    const char *name, *verdict, *also; /* also NULL: none asked for */
    double wall, usable, quota, throttled, others;
    int parents[8];            /* per process: the parent's index + 1 */
    double starts[8], ends[8]; /* ends 0: the scene's */
    bool free_threaded, gil;
    struct actor actors[12];
};

#ifdef __clang__ /* a span says only what it needs; gcc takes that as meant */
#pragma clang diagnostic ignored "-Wmissing-field-initializers"
#endif

#define APP "/home/me/app.py"
#define LIB "/usr/lib/python3.13"

static uint32_t node_of(struct ac_profile *p, const char *stack) {
    uint32_t frames[32], count = 0, node;
    char *copy = ac_strdup(stack ? stack : ""), *rest = copy;
    for (char *one; (one = strsep(&rest, "<")) && *one;) {
        char *file = strchr(one, ' '), *line = file ? strrchr(file, ':') : NULL;
        uint32_t func;
        assert_non_null(line);
        *file++ = '\0';
        *line++ = '\0';
        const char *first = strchr(line, '@');
        assert_int_equal(ac_profile_func(p, one, file, first ? atoi(first + 1) : 1, &func), 0);
        assert_int_equal(ac_profile_frame(p, func, atoi(line), &frames[count++]), 0);
    }
    assert_int_equal(ac_profile_stack(p, frames, count, &node), 0);
    ac_free(copy);
    return node;
}

static void add_segment(struct ac_profile *p, uint32_t thread, const struct span *s, double from, double to) {
    struct ac_segment segment = {.from_ns = (int64_t)(from * 1e9),
                                 .to_ns = (int64_t)(to * 1e9),
                                 .thread = thread,
                                 .node = node_of(p, s->stack),
                                 .state = (uint8_t)s->state,
                                 .kind = (uint8_t)s->kind,
                                 .cpu = -1,
                                 .owner = s->owner};
    struct ac_thread *t = &p->threads[thread];
    assert_int_equal(ac_profile_segment(p, &segment), 0);
    int64_t ns = segment.to_ns - segment.from_ns;
    t->states_ns[s->state] += ns;
    t->alive_ns += ns;
    t->cpu_ns += s->state == AC_PYTHON || s->state == AC_NATIVE ? ns : 0;
    ac_profile_cell(p, thread, segment.node, s->state, s->kind, ns);
}

static void add_actor(struct ac_profile *p, const struct actor *a) {
    uint32_t at = (uint32_t)p->thread_count++;
    assert_int_equal(ac_grow(&p->threads, &p->thread_cap, p->thread_count, sizeof *p->threads), 0);
    p->threads[at] = (struct ac_thread){.process = (uint32_t)a->process,
                                        .tid = (int32_t)(2000 + at),
                                        .merged = 1,
                                        .python = !a->alien,
                                        .main = a->main,
                                        .switches_voluntary = a->sleeps,
                                        .watched = a->watched,
                                        .switches_forced = -1};
    for (size_t i = 0; i < AC_COUNT(a->spans) && a->spans[i].to > 0; i++) {
        const struct span *s = &a->spans[i];
        if (i == 0) {
            p->threads[at].from_ns = (int64_t)(s->from * 1e9);
        }
        p->threads[at].to_ns = ac_max(p->threads[at].to_ns, (int64_t)(s->to * 1e9));
        for (double t = s->from; s->every > 0 && t < s->to - 1e-9; t += s->every) {
            add_segment(p, at, s, t + s->first * s->every, t + (s->first + s->part) * s->every);
        }
        if (s->every <= 0) {
            add_segment(p, at, s, s->from, s->to);
        }
    }
    p->threads[at].cpu_ns += (int64_t)(a->unseen * 1e9);
    p->threads[at].states_ns[AC_NATIVE] += (int64_t)(a->unseen * 1e9);
    p->threads[at].states_ns[AC_LOCK] -= (int64_t)(a->unseen * 1e9);
    struct ac_process *process = &p->processes[a->process];
    process->cpu_ns += p->threads[at].cpu_ns;
    p->cpu_ns += p->threads[at].cpu_ns;
}

static int by_time(const void *left, const void *right) {
    const struct ac_segment *a = left, *b = right;
    return (a->from_ns > b->from_ns) - (a->from_ns < b->from_ns);
}

static struct ac_profile *profile_of(const struct scene *s) {
    struct ac_profile *p;
    assert_int_equal(ac_profile_new(&p), 0);
    p->wall_ns = (int64_t)(s->wall * 1e9);
    p->sampling.rate_hz = 200;
    p->cpus.online = p->cpus.affinity = s->usable > 0 ? (int)s->usable : 4;
    p->cpus.quota = s->quota;
    p->cpus.usable = s->quota > 0 ? s->quota : p->cpus.online;
    p->cpus.throttled_ns = (int64_t)(s->throttled * 1e9);
    p->cpus.throttled_count = (int64_t)(s->throttled * 20);
    for (size_t i = 0; i < AC_COUNT(s->actors) && s->actors[i].spans[0].to > 0; i++) {
        size_t need = (size_t)s->actors[i].process + 1;
        assert_int_equal(ac_grow(&p->processes, &p->process_cap, need, sizeof *p->processes), 0);
        while (p->process_count < need) {
            size_t at = p->process_count++;
            p->processes[at] =
                (struct ac_process){.pid = (int32_t)(1000 + at),
                                    .ppid = s->parents[at] ? 999 + s->parents[at] : 1,
                                    .argc = 1,
                                    .free_threaded = s->free_threaded,
                                    .gil_enabled = !s->free_threaded || s->gil,
                                    .from_ns = (int64_t)(s->starts[at] * 1e9),
                                    .to_ns = s->ends[at] > 0 ? (int64_t)(s->ends[at] * 1e9) : p->wall_ns};
            ac_profile_string(p, "3.13.0", 6, &p->processes[at].python);
            ac_profile_string(p, "/usr/bin/python3", 16, &p->processes[at].exe);
            p->processes[at].argv[0] = p->processes[at].exe;
        }
        add_actor(p, &s->actors[i]);
    }
    qsort(p->segments, p->segment_count, sizeof *p->segments, by_time);
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        if (cell->state == AC_PYTHON || cell->state == AC_NATIVE) {
            p->processes[p->threads[cell->thread].process].activity_ns[p->nodes[cell->node].activity] +=
                cell->ns;
        }
    }
    p->sampling.samples = (int64_t)(200 * s->wall * (double)p->thread_count);
    p->cpus.machine_busy_ns = p->cpu_ns + (int64_t)(s->others * s->wall * 1e9);
    return p;
}

#define HTTP   "HTTPResponse.begin " LIB "/http/client.py:100<fetch " APP ":6<main " APP ":20"
#define THREAD "<Thread.run " LIB "/threading.py:1001"
#define JOINING                                                                                              \
    {                                                                                                        \
        .main = true, .spans = { {0, 4, AC_LOCK, "Thread.join " LIB "/threading.py:1094<main " APP ":30"} }  \
    }
#define ASKING(...)                                                                                          \
    {                                                                                                        \
        __VA_ARGS__.sleeps = 100, .spans = {                                                                 \
            {0, 4, AC_IO, HTTP THREAD, .05, .1, .9},                                                         \
            {0, 4, AC_PYTHON, HTTP THREAD, .05, 0, .1}                                                       \
        }                                                                                                    \
    }
/* one of four threads that hold a lock in turn, 5 ms each, and are seen to in `seen` of them: between two
 * looks the lock may have been handed on */
#define HANDING(n, seen_, elsewhere)                                                                         \
    {                                                                                                        \
        .unseen = elsewhere, .spans = {                                                                      \
            {0, 4, AC_NATIVE, "work " APP ":11" THREAD, .02, (n) / 4.0, (seen_) / 4.0},                      \
            {0, 4, AC_LOCK, "work " APP ":10" THREAD, .02, 0, (n) / 4.0},                                    \
            {0, 4, AC_LOCK, "work " APP ":10" THREAD, .02, ((n) + (seen_)) / 4.0, (4 - (n) - (seen_)) / 4.0} \
        }                                                                                                    \
    }
/* one of three threads that hold a lock in turn, 10 ms each */
#define HOLDING(n, state, inside)                                                                            \
    {                                                                                                        \
        .spans = {                                                                                           \
            {0, 4, state, inside "work " APP ":11" THREAD, .03, (n) / 3.0, 1 / 3.0},                         \
            {0, 4, AC_LOCK, "work " APP ":10" THREAD, .03, 0, (n) / 3.0},                                    \
            {0, 4, AC_LOCK, "work " APP ":10" THREAD, .03, ((n) + 1) / 3.0, (2 - (n)) / 3.0}                 \
        }                                                                                                    \
    }
#define RUNNING(process_, share)                                                                             \
    {                                                                                                        \
        .process = process_, .spans = {                                                                      \
            {0, 4, AC_NATIVE, "hash_on " APP ":6" THREAD, .1, 0, share},                                     \
            {0, 4, AC_NO_CPU, "hash_on " APP ":6" THREAD, .1, share, 1 - share}                              \
        }                                                                                                    \
    }

#define ALIEN(process_)                                                                                      \
    {                                                                                                        \
        .process = process_, .alien = true, .spans = {                                                       \
            {0, 4, AC_NATIVE, NULL, .1, 0, .25},                                                             \
            {0, 4, AC_NO_CPU, NULL, .1, .25, .75}                                                            \
        }                                                                                                    \
    }

/* One wait after another with nothing to be seen in between. */
#define SLOWLY(each, kind_, ...)                                                                             \
    { 0, 6, AC_IO, __VA_ARGS__, each, 0, 1, kind_ }
#define FUTURES LIB "/concurrent/futures/process.py"
#define BOUND   "<_process_worker " FUTURES ":240<Process.run " LIB "/multiprocessing/process.py:108"
#define TASK    "work " APP ":7" BOUND
#define LOOP    "_process_worker " FUTURES ":235<Process.run " LIB "/multiprocessing/process.py:108"
#define GET     "get " LIB "/multiprocessing/queues.py:103" BOUND
#define RESULT                                                                                               \
    "Condition.wait " LIB "/threading.py:355<Future.result " LIB "/concurrent/futures/_base.py:451<"
#define WORKER(process_, sleeps_, ...)                                                                       \
    {                                                                                                        \
        .process = process_, .main = true, .sleeps = sleeps_, .spans = { __VA_ARGS__ }                       \
    }
#define TURN   "<BaseEventLoop._run_once " LIB "/asyncio/base_events.py:2000<run " LIB "/asyncio/runners.py:118"
#define HANDLE "<Handle._run " LIB "/asyncio/events.py:89" TURN
#define SELECT "EpollSelector.select " LIB "/selectors.py:452" TURN

#define UVICORN "<Server.run /v/lib/python3.13/site-packages/uvicorn/server.py:75"
#define ANYIO   "<WorkerThread.run /v/lib/python3.13/site-packages/anyio/_backends/_asyncio.py:1002"
#define LOADER  "/v/lib/python3.13/site-packages/torch/utils/data/_utils"
#define LOADING                                                                                              \
    "load " APP ":7<_MapDatasetFetcher.fetch " LOADER "/fetch.py:54<_worker_loop " LOADER "/worker.py:349"
#define LOADER_GET "get " LIB "/multiprocessing/queues.py:113<_worker_loop " LOADER "/worker.py:332"

/* A Dask worker: its loop, which gets the GIL late, below the nanny's process; its tasks in a thread. */
#define DASK "/v/lib/python3.13/site-packages/distributed"
#define DASK_SYNC                                                                                            \
    "Condition.wait " LIB "/threading.py:331<sync " DASK "/utils.py:452<Client.gather " DASK                 \
    "/client.py:2538<"
#define DASK_IDLE "Queue.get " LIB "/queue.py:180<_worker " DASK "/threadpoolexecutor.py:54" THREAD
#define DASK_TASK                                                                                            \
    "words " LIB "/dynamic.py:10<Task.__call__ /v/lib/python3.13/site-packages/dask/_task_spec.py:768<"      \
    "_run_task_simple " DASK "/worker.py:2821<_WorkItem.run " DASK "/_concurrent_futures_thread.py:65<"      \
    "_worker " DASK "/threadpoolexecutor.py:58" THREAD
#define DASK_RUN "<WorkerProcess._run " DASK "/nanny.py:1022"
#define DASK_LOOP(process_)                                                                                  \
    {                                                                                                        \
        .process = process_, .main = true, .sleeps = 400, .spans = {                                         \
            {0, 4, AC_GIL_WAIT, "Worker.execute " DASK "/worker.py:2199" HANDLE DASK_RUN, .02, 0, .45},      \
            {0, 4, AC_PYTHON, "Worker.execute " DASK "/worker.py:2199" HANDLE DASK_RUN, .02, .45, .01},      \
            {0, 4, AC_IO, SELECT DASK_RUN, .02, .46, .54}                                                    \
        }                                                                                                    \
    }

static const struct scene scenes[] = {
    {"requests in a loop", "io-sequential", .wall = 4, .actors = {ASKING(.main = true, )}},
    {"requests in one thread", "io-sequential", .wall = 4, .actors = {JOINING, ASKING()}},
    {"a bare socket", "io-sequential", .wall = 4,
     .actors = {{.main = true,
                 .sleeps = 100,
                 .spans = {{0, 4, AC_IO, "query " APP ":6", .05, .1, .9, AC_KIND_PEER},
                           {0, 4, AC_PYTHON, "query " APP ":5", .05, 0, .1}}}}},
    {"a pipe", "idle", .wall = 4,
     .actors = {{.main = true, .sleeps = 100, .spans = {{0, 4, AC_IO, "read " APP ":6", .05, .1, .9}}}}},
    {"one long answer", "idle", .wall = 4,
     .actors = {{.main = true, .sleeps = 2, .spans = {{0, 4, AC_IO, HTTP}}}}},
    {"three answers of two seconds", "io-sequential", .wall = 6,
     .actors = {{.main = true,
                 .sleeps = 7,
                 .spans = {SLOWLY(2, AC_KIND_NONE, HTTP), {0, 6, AC_PYTHON, HTTP, 2, .99, .01}}}}},
    {"slow queries on a bare socket", "io-sequential", .wall = 6,
     .actors = {{.main = true, .sleeps = 8, .spans = {SLOWLY(1, AC_KIND_PEER, "query " APP ":6")}}}},
    {"slow requests in threads", "io-threads-ok", .wall = 6,
     .actors = {JOINING,
                {.sleeps = 7, .spans = {SLOWLY(2, AC_KIND_NONE, HTTP THREAD)}},
                {.sleeps = 7, .spans = {SLOWLY(2, AC_KIND_NONE, HTTP THREAD)}}}},
    {"two answers of three seconds", "idle", .wall = 6,
     .actors = {{.main = true, .sleeps = 5, .spans = {SLOWLY(3, AC_KIND_NONE, HTTP)}}}},
    {"a long poll", "idle", .wall = 60,
     .actors = {{.main = true, .sleeps = 9, .spans = {{0, 60, AC_IO, HTTP, 15, 0, 1}}}}},
    {"a server that is asked now and then", "idle", .wall = 6,
     .actors = {{.main = true,
                 .sleeps = 1,
                 .spans = {{0, 6, AC_IO, "accept " LIB "/socket.py:295<main " APP ":5"}}},
                {.sleeps = 8, .spans = {SLOWLY(1, AC_KIND_PEER, "answer " APP ":6" THREAD)}}}},
    {"a sleep between short requests", "idle", .wall = 6,
     .actors = {{.main = true,
                 .sleeps = 18,
                 .spans = {{0, 6, AC_SLEEP, "main " APP ":9", 1, 0, .9}, {0, 6, AC_IO, HTTP, 1, .9, .1}}}}},
    {"a consumer at a queue", "idle", .wall = 6,
     .actors = {{.main = true,
                 .sleeps = 8,
                 .spans = {SLOWLY(
                     1, AC_KIND_NONE,
                     "read_response /v/lib/python3.13/site-packages/redis/connection.py:9<Redis.blpop "
                     "/v/lib/python3.13/site-packages/redis/commands/core.py:9<main " APP ":9")}}}},
    {"a server that accepts", "idle", .wall = 4,
     .actors = {{.main = true,
                 .sleeps = 100,
                 .spans = {{0, 4, AC_IO, "socket.accept " LIB "/socket.py:295"}}}}},
    {"requests in threads", "io-threads-ok", .wall = 4, .actors = {JOINING, ASKING(), ASKING(), ASKING()}},
    {"a file that is forced out", "disk-bound", .wall = 4,
     .actors = {{.main = true,
                 .spans = {{0, 4, AC_DISK, "append " APP ":9", .01, .2, .8},
                           {0, 4, AC_NATIVE, "append " APP ":9", .01, 0, .2}}}}},
    {"a disk that is busy a little", "single-thread-python", .wall = 4,
     .actors = {{.main = true,
                 .spans = {{0, 4, AC_DISK, "append " APP ":9", .1, .8, .2},
                           {0, 4, AC_PYTHON, "append " APP ":9", .1, 0, .8}}}}},
    {"a program that imports", "single-thread-python", .wall = 4,
     .actors = {{.main = true,
                 .spans = {{0, 3, AC_PYTHON,
                            "_find_and_load " LIB "/importlib/_bootstrap.py:241<load " APP ":1"},
                           {3, 4, AC_PYTHON, "work " APP ":9"}}}}},
    {"a lock around native code", "lock-contention", .wall = 4,
     .actors = {JOINING, HOLDING(0, AC_NATIVE, ""), HOLDING(1, AC_NATIVE, ""), HOLDING(2, AC_NATIVE, "")}},
    {"a lock around a sleep in another function", "lock-contention", .wall = 4,
     .actors = {JOINING, HOLDING(0, AC_SLEEP, "load " APP ":30<"), HOLDING(1, AC_SLEEP, "load " APP ":30<"),
                HOLDING(2, AC_SLEEP, "load " APP ":30<")}},
    {"an RLock that is held in a function of its own", "lock-contention", .wall = 4,
     .actors = {JOINING,
                {.spans = {{0, 4, AC_SLEEP, "refresh " APP ":40" THREAD}}},
                {.spans = {{0, 4, AC_LOCK, "look_up " APP ":10" THREAD, .owner = 2}}},
                {.spans = {{0, 4, AC_LOCK, "look_up " APP ":10" THREAD, .owner = 2}}}}},
    {"a lock that is held in a function of its own", "idle", .wall = 4,
     .actors = {JOINING,
                {.spans = {{0, 4, AC_SLEEP, "refresh " APP ":40" THREAD}}},
                {.spans = {{0, 4, AC_LOCK, "look_up " APP ":10" THREAD}}},
                {.spans = {{0, 4, AC_LOCK, "look_up " APP ":10" THREAD}}}}},
    {"a lock that is handed on between two looks", "lock-contention", .wall = 4,
     .actors = {JOINING, HANDING(0, .4, .6), HANDING(1, .4, .6), HANDING(2, .4, .6), HANDING(3, .4, .6)}},
    {"a signal between threads, rarely inside", "idle", .wall = 4,
     .actors = {JOINING, HANDING(0, .1, 0), HANDING(1, .1, 0), HANDING(2, .1, 0), HANDING(3, .1, 0)}},
    {"workers that wait for work", "idle", .wall = 4,
     .actors = {JOINING,
                {.spans = {{0, 4, AC_LOCK, "work " APP ":10" THREAD}}},
                {.spans = {{0, 4, AC_LOCK, "work " APP ":10" THREAD}}},
                {.spans = {{0, 4, AC_LOCK, "work " APP ":10" THREAD, .1, 0, .9},
                           {0, 4, AC_NATIVE, "work " APP ":11" THREAD, .1, .9, .1}}}}},
    {"processes times threads", "oversubscribed", .wall = 4, .usable = 2, .parents = {0, 1},
     .actors = {RUNNING(0, .25), RUNNING(0, .25), RUNNING(0, .25), RUNNING(0, .25), RUNNING(1, .25),
                RUNNING(1, .25), RUNNING(1, .25), RUNNING(1, .25)}},
    {"a library's threads in each process", "oversubscribed", .wall = 4, .usable = 2, .parents = {0, 1},
     .actors = {ALIEN(0), ALIEN(0), ALIEN(0), ALIEN(0), ALIEN(1), ALIEN(1), ALIEN(1), ALIEN(1)}},
    {"more processes than CPUs", "oversubscribed", .wall = 4, .usable = 2, .parents = {0, 1, 1},
     .actors = {RUNNING(0, .33), RUNNING(0, .33), RUNNING(1, .33), RUNNING(1, .33), RUNNING(2, .33),
                RUNNING(2, .33)}},
    {"threads of one process", "native-parallel", .wall = 4, .usable = 2,
     .actors = {RUNNING(0, .5), RUNNING(0, .5), RUNNING(0, .5), RUNNING(0, .5)}},
    {"a process a thread", "all-cores-busy", .wall = 4, .usable = 2,
     .actors = {RUNNING(0, .5), RUNNING(1, .5), RUNNING(2, .5), RUNNING(3, .5)}},
    {"a quota", "cpu-quota", .wall = 4, .quota = 1, .throttled = 4,
     .actors = {RUNNING(0, .5), RUNNING(0, .5)}},
    {"a quota that is not reached", "idle", .wall = 4, .quota = 1, .throttled = 4,
     .actors = {{.main = true, .spans = {{0, 4, AC_SLEEP, "main " APP ":9"}}}}},
    {"a quota that held nothing back", "native-parallel", .wall = 4, .quota = 2, .throttled = .01,
     .actors = {RUNNING(0, .9), RUNNING(0, .9)}},
    /* --- pools: process 0 is the parent, 1 and 2 the workers */
    {"tasks of a microsecond", "tiny-tasks", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.main = true,
                 .spans = {{0, 4, AC_PYTHON, "submit " FUTURES ":800<main " APP ":20", .1, 0, .5},
                           {0, 4, AC_LOCK, RESULT "main " APP ":21", .1, .5, .5}}},
                WORKER(1, 2000, {0, 4, AC_PYTHON, GET, .01, 0, .2}, {0, 4, AC_PYTHON, LOOP, .01, .2, .1},
                       {0, 4, AC_IO, GET, .01, .3, .7}),
                WORKER(2, 2000, {0, 4, AC_PYTHON, TASK, .01, 0, .02}, {0, 4, AC_LOCK, GET, .01, .02, .98})}},
    {"large arguments", "pickling", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.spans = {{0, 4, AC_PYTHON, "dumps " LIB "/multiprocessing/reduction.py:51" THREAD, .1, 0,
                            .6}}},
                {.main = true, .spans = {{0, 4, AC_LOCK, RESULT "main " APP ":21"}}},
                WORKER(1, 100, {0, 4, AC_PYTHON, GET, .1, 0, .5}, {0, 4, AC_IO, GET, .1, .5, .5}),
                WORKER(2, 100, {0, 4, AC_PYTHON, TASK, .1, 0, .05}, {0, 4, AC_LOCK, GET, .1, .05, .95})}},
    {"a parent that computes", "starved-pool", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.main = true, .spans = {{0, 4, AC_PYTHON, "prepare " APP ":12<main " APP ":21"}}},
                WORKER(1, 100, {0, 4, AC_PYTHON, TASK, .1, 0, .2}, {0, 4, AC_IO, GET, .1, .2, .8}),
                WORKER(2, 100, {0, 4, AC_PYTHON, TASK, .1, .5, .1}, {0, 4, AC_LOCK, GET, .1, .6, .4})}},
    {"a parent that computes while the workers do", "unclear", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.main = true, .spans = {{0, 4, AC_PYTHON, "prepare " APP ":12<main " APP ":21"}}},
                WORKER(1, 100, {0, 4, AC_PYTHON, TASK}),
                WORKER(2, 100, {0, 4, AC_PYTHON, TASK})}},
    {"a long task at the end", "uneven-tasks", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.main = true, .spans = {{0, 4, AC_LOCK, RESULT "main " APP ":21"}}},
                WORKER(1, 3, {0, 4, AC_PYTHON, TASK}),
                WORKER(2, 3, {0, 1, AC_PYTHON, TASK}, {1, 4, AC_LOCK, GET})}},
    {"a short tail", "unclear", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.main = true, .spans = {{0, 4, AC_LOCK, RESULT "main " APP ":21"}}},
                WORKER(1, 3, {0, 4, AC_PYTHON, TASK}),
                WORKER(2, 3, {0, 3.7, AC_PYTHON, TASK}, {3.7, 4, AC_LOCK, GET})}},
    {"result() in a loop", "serial-pool-use", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.main = true, .spans = {{0, 4, AC_LOCK, RESULT "main " APP ":21"}}},
                WORKER(1, 40, {0, 4, AC_PYTHON, TASK, .2, 0, .5}, {0, 4, AC_IO, GET, .2, .5, .5}),
                WORKER(2, 40, {0, 4, AC_LOCK, GET, .2, 0, .5}, {0, 4, AC_PYTHON, TASK, .2, .5, .5})}},
    {"a Dask cluster with work for all", "all-cores-busy", .wall = 4, .usable = 2, .parents = {0, 1, 1},
     .actors =
         {{.main = true, .spans = {{0, 4, AC_LOCK, DASK_SYNC "main " APP ":21"}}},
          DASK_LOOP(1),
          DASK_LOOP(2),
          {.process = 1,
           .spans = {{0, 4, AC_PYTHON, DASK_TASK, .1, 0, .95}, {0, 4, AC_LOCK, DASK_IDLE, .1, .95, .05}}},
          {.process = 2,
           .spans = {{0, 4, AC_PYTHON, DASK_TASK, .1, 0, .95}, {0, 4, AC_LOCK, DASK_IDLE, .1, .95, .05}}}}},
    {"a Dask cluster that waits for its client", "starved-pool", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.main = true, .spans = {{0, 4, AC_PYTHON, "prepare " APP ":12<main " APP ":21"}}},
                DASK_LOOP(1),
                DASK_LOOP(2),
                {.process = 1,
                 .spans = {{0, 4, AC_PYTHON, DASK_TASK, .1, 0, .2}, {0, 4, AC_LOCK, DASK_IDLE, .1, .2, .8}}},
                {.process = 2,
                 .spans = {{0, 4, AC_PYTHON, DASK_TASK, .1, .5, .1},
                           {0, 4, AC_LOCK, DASK_IDLE, .1, .6, .4}}}}},
    {"a Dask cluster whose client computes, too", "unclear", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.main = true, .spans = {{0, 4, AC_PYTHON, "prepare " APP ":12<main " APP ":21"}}},
                DASK_LOOP(1),
                DASK_LOOP(2),
                {.process = 1, .spans = {{0, 4, AC_PYTHON, DASK_TASK}}},
                {.process = 2, .spans = {{0, 4, AC_PYTHON, DASK_TASK}}}}},
    {"a Dask worker of two threads", "gil-bound-threads", .wall = 4, .parents = {0, 1},
     .actors =
         {{.main = true, .spans = {{0, 4, AC_LOCK, DASK_SYNC "main " APP ":21"}}},
          DASK_LOOP(1),
          {.process = 1,
           .spans = {{0, 4, AC_PYTHON, DASK_TASK, .1, 0, .5}, {0, 4, AC_GIL_WAIT, DASK_TASK, .1, .5, .5}}},
          {.process = 1,
           .spans = {{0, 4, AC_GIL_WAIT, DASK_TASK, .1, 0, .5}, {0, 4, AC_PYTHON, DASK_TASK, .1, .5, .5}}}}},
    {"a pool of one worker", "serial-pool-use", .wall = 4, .parents = {0, 1},
     .actors = {{.main = true, .spans = {{0, 4, AC_LOCK, RESULT "main " APP ":21"}}},
                WORKER(1, 40, {0, 4, AC_PYTHON, TASK, .2, 0, .99}, {0, 4, AC_IO, GET, .2, .99, .01})}},
    {"a DataLoader ahead of the training", "single-thread-python", .wall = 4, .parents = {0, 1, 1},
     .actors = {{.main = true, .spans = {{0, 4, AC_PYTHON, "train " APP ":12<main " APP ":21"}}},
                WORKER(1, 100, {0, 4, AC_PYTHON, LOADING, .1, 0, .1}, {0, 4, AC_IO, LOADER_GET, .1, .1, .9}),
                WORKER(2, 100, {0, 4, AC_PYTHON, LOADING, .1, .5, .1},
                       {0, 4, AC_IO, LOADER_GET, .1, .6, .4})}},
    {"handlers in a server's threads", "gil-bound-threads", .wall = 4,
     .actors = {{.main = true, .spans = {{0, 4, AC_IO, SELECT UVICORN}}},
                {.spans = {{0, 4, AC_PYTHON, "home " APP ":7" ANYIO, .1, 0, .5},
                           {0, 4, AC_GIL_WAIT, "home " APP ":7" ANYIO, .1, .5, .5}}},
                {.spans = {{0, 4, AC_GIL_WAIT, "home " APP ":7" ANYIO, .1, 0, .5},
                           {0, 4, AC_PYTHON, "home " APP ":7" ANYIO, .1, .5, .5}}}}},
    {"threads that a loop hands work to", "gil-bound-threads", .wall = 4,
     .actors = {{.main = true, .spans = {{0, 4, AC_IO, SELECT}}},
                {.spans = {{0, 4, AC_PYTHON, "home " APP ":7" ANYIO, .1, 0, .5},
                           {0, 4, AC_GIL_WAIT, "home " APP ":7" ANYIO, .1, .5, .5}}},
                {.spans = {{0, 4, AC_GIL_WAIT, "home " APP ":7" ANYIO, .1, 0, .5},
                           {0, 4, AC_PYTHON, "home " APP ":7" ANYIO, .1, .5, .5}}}}},
    /* --- asyncio */
    {"a sleep in a coroutine", "blocked-event-loop", .wall = 4,
     .actors = {{.main = true, .spans = {{0, 4, AC_SLEEP, "handle " APP ":9" HANDLE, .1, 0, .9}}}}},
    {"a callback that computes", "blocked-event-loop", .wall = 4,
     .actors = {{.main = true,
                 .spans = {{0, 4, AC_PYTHON, "render " APP ":9<request " APP ":14" HANDLE, .2, 0, .9},
                           {0, 4, AC_IO, SELECT, .2, .9, .1}}}}},
    {"a loop with many small callbacks", "single-thread-python", .wall = 4,
     .actors = {{.main = true,
                 .spans = {{0, 4, AC_PYTHON, "request " APP ":14" HANDLE, .01, 0, .7},
                           {0, 4, AC_PYTHON, SELECT, .01, .7, .3}}}}},
    {"a loop whose turns are seen once", "blocked-event-loop", .wall = 4,
     .actors = {{.main = true,
                 .spans = {{0, 4, AC_PYTHON, "request " APP ":14" HANDLE, 4, 0, .99875},
                           {0, 4, AC_PYTHON, SELECT, 4, .99875, .00125}}}}},
    {"callbacks of 100 ms and a server's own", "blocked-event-loop", .wall = 4,
     .actors = {{.main = true,
                 .spans = {{0, 4, AC_PYTHON, "request " APP ":14" HANDLE, 1, 0, .98},
                           {0, 4, AC_PYTHON, SELECT, 1, .98, .005},
                           {0, 4, AC_PYTHON, "data_received " LIB "/h11.py:14" HANDLE, 1, .985, .015}}}}},
    {"callbacks of 100 ms between waits", "blocked-event-loop", .wall = 4,
     .actors = {{.main = true,
                 .spans = {{0, 4, AC_PYTHON, "request " APP ":14" HANDLE, .2, 0, .5},
                           {0, 4, AC_IO, SELECT, .2, .5, .4995},
                           {0, 4, AC_PYTHON, SELECT, .2, .9995, .0005}}}}},
    {"one await after another", "serial-awaits", .wall = 4,
     .actors = {{.main = true,
                 .sleeps = 120,
                 .watched = 2,
                 .spans = {{0, 4, AC_IO, SELECT, .05, 0, .95},
                           {0, 4, AC_PYTHON, "main " APP ":9" HANDLE, .05, .95, .05}}}}},
    {"one await after another, the caller seen in 2 of 7 looks", "serial-awaits", .wall = 4,
     .actors = {{.main = true,
                 .sleeps = 120,
                 .watched = 2,
                 .spans = {{0, 4, AC_IO, SELECT, .05, 0, .99},
                           {0, 3, AC_PYTHON, "get " APP ":9" HANDLE, .1, .999, .001},
                           {3, 4, AC_PYTHON, "main " APP ":12" HANDLE, .1, .999, .001}}}}},
    {"one slow await after another", "serial-awaits", .wall = 6,
     .actors = {{.main = true, .sleeps = 12, .watched = 2, .spans = {SLOWLY(2, AC_KIND_NONE, SELECT)}}}},
    {"a timer beside an idle connection", "idle", .wall = 6,
     .actors = {{.main = true, .sleeps = 12, .watched = 2, .spans = {SLOWLY(.5, AC_KIND_TIMER, SELECT)}}}},
    {"an asynchronous long poll", "idle", .wall = 6,
     .actors = {{.main = true, .sleeps = 12, .watched = 2, .spans = {SLOWLY(6, AC_KIND_NONE, SELECT)}}}},
    {"two coroutines side by side", "idle", .wall = 4,
     .actors = {{.main = true,
                 .sleeps = 120,
                 .watched = 2,
                 .spans = {{0, 4, AC_IO, SELECT, .05, 0, .95},
                           {0, 2, AC_PYTHON, "get " APP ":9" HANDLE, .05, .95, .05},
                           {2, 4, AC_PYTHON, "put " APP ":12" HANDLE, .05, .95, .05}}}}},
    {"many awaits", "idle", .wall = 4,
     .actors = {{.main = true,
                 .sleeps = 120,
                 .watched = 9,
                 .spans = {{0, 4, AC_IO, SELECT, .05, 0, .95},
                           {0, 4, AC_PYTHON, "main " APP ":9" HANDLE, .05, .95, .05}}}}},
    {"a loop that nobody asks", "idle", .wall = 4,
     .actors = {{.main = true,
                 .sleeps = 8,
                 .watched = 2,
                 .spans = {{0, 4, AC_IO, SELECT, .05, 0, .95},
                           {0, 4, AC_PYTHON, "main " APP ":9" HANDLE, .05, .95, .05}}}}},
    /* --- findings besides */
    {"a fork with threads", "idle", "fork-hazard", .wall = 4, .parents = {0, 1}, .starts = {0, 2},
     .actors = {JOINING,
                {.spans = {{0, 4, AC_SLEEP, "wait " APP ":5" THREAD}}},
                {.process = 1, .main = true, .spans = {{2, 4, AC_SLEEP, "child " APP ":9"}}}}},
    {"threads after the fork", "idle", .wall = 4, .parents = {0, 1}, .starts = {0, 1},
     .actors = {JOINING,
                {.spans = {{2, 4, AC_SLEEP, "wait " APP ":5" THREAD}}},
                {.process = 1, .main = true, .spans = {{1, 4, AC_SLEEP, "child " APP ":9"}}}}},
};

static bool told(const struct ac_diagnosis *d, const char *id) {
    for (size_t i = 0; i < d->also_count; i++) {
        if (strcmp(d->also[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

static struct ac_diagnosis *diagnosis_of(const struct scene *s, struct ac_profile **ret_profile) {
    struct ac_diagnosis *d;
    *ret_profile = profile_of(s);
    assert_int_equal(ac_diagnose(*ret_profile, NULL, NULL, &d), 0);
    return d;
}

static void verdicts_are_right(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < AC_COUNT(scenes); i++) {
        const struct scene *s = &scenes[i];
        struct ac_profile *p = profile_of(s);
        struct ac_diagnosis *d;
        assert_true(ac_profile_valid(p));
        assert_int_equal(ac_diagnose(p, NULL, NULL, &d), 0);
        if (strcmp(d->main.id, s->verdict) != 0 || (s->also ? !told(d, s->also) : told(d, "fork-hazard"))) {
            print_error("%s: %s (not %s)\n  %s\n  %s\n", s->name, d->main.id, s->verdict, d->main.sentence,
                        d->main.evidence);
            wrong++;
        }
        ac_diagnosis_free(d);
        ac_profile_free(p);
    }
    assert_int_equal(wrong, 0);
}

static const struct scene *scene_of(const char *name) {
    size_t at = 0;
    while (strcmp(scenes[at].name, name) != 0) {
        at++;
    }
    return &scenes[at];
}

static void the_holder_is_inferred(void **state) {
    (void)state;
    struct ac_profile *p;
    struct ac_diagnosis *d = diagnosis_of(scene_of("a lock around a sleep in another function"), &p);
    assert_string_equal(d->main.evidence, "they waited in work (app.py:10); the holder, inferred from who "
                                          "was inside, was in load (app.py:30), asleep");
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

/* What is said is true of that run, too. */
static void the_words_fit(void **state) {
    (void)state;
    static const struct {
        const char *name, *sentence, *evidence, *fix, *not_in_fix; /* NULL: any */
    } cases[] = {
        {"three answers of two seconds", NULL, NULL, " times faster with 3 (", NULL},
        {"a pool of one worker", "in its one worker", NULL, "if it was made with one (max_workers=4)", NULL},
        {"result() in a loop", "and several never", NULL, "submit all first", "max_workers"},
        {"processes times threads", NULL, NULL, "its own threads in each process: 1 (max_workers=1", "OMP"},
        {"a library's threads in each process", NULL, NULL, "OMP_NUM_THREADS=1 (", "max_workers"},
        {"more processes than CPUs", NULL, NULL, "fewer processes: 2 in place of 3", NULL},
        {"a program that imports", NULL, "75 % of its Python imported modules", "import less, or later",
         "faster"},
        {"handlers in a server's threads", NULL, NULL, "several processes of the server", NULL},
        {"threads that a loop hands work to", NULL, NULL, "processes; about", NULL},
        {"a Dask worker of two threads", NULL, "; 1 worker of Dask", "threads_per_worker=1", NULL},
    };
    for (size_t i = 0; i < AC_COUNT(cases); i++) {
        struct ac_profile *p;
        struct ac_diagnosis *d = diagnosis_of(scene_of(cases[i].name), &p);
        const struct ac_verdict *v = &d->main;
        print_message("%s: %s\n  %s\n  %s\n", cases[i].name, v->sentence, v->evidence, v->fix_text);
        assert_true(!cases[i].sentence || strstr(v->sentence, cases[i].sentence));
        assert_true(!cases[i].evidence || strstr(v->evidence, cases[i].evidence));
        assert_true(!cases[i].fix || strstr(v->fix_text, cases[i].fix));
        assert_true(!cases[i].not_in_fix || !strstr(v->fix_text, cases[i].not_in_fix));
        ac_diagnosis_free(d);
        ac_profile_free(p);
    }
}

/* --- the fix as code */

static const char *const *text_of_app; /* its lines, from 1 */

static const char *line_of_app(const char *file, int32_t line, void *arg) {
    (void)arg;
    for (int32_t i = 1; strcmp(file, APP) == 0 && text_of_app[i - 1]; i++) {
        if (i == line) {
            return text_of_app[i - 1];
        }
    }
    return NULL;
}

#define MADE_TASK "work " APP ":2@1<worker " LIB "/multiprocessing/pool.py:125<main " APP ":6@4"
#define MADE_GET                                                                                             \
    "get " LIB "/multiprocessing/queues.py:103<worker " LIB "/multiprocessing/pool.py:114<main " APP ":6@4"
#define MADE_WAIT                                                                                            \
    "Condition.wait " LIB "/threading.py:355<ApplyResult.get " LIB "/multiprocessing/pool.py:768<main " APP  \
    ":7@4"
#define STARTING "_find_and_load " LIB "/importlib/_bootstrap.py:488<load " LIB "/json/__init__.py:106"
static const struct {
    struct scene scene;
    const char *text[10];
    const char *code; /* NULL: none */
    int line;
} snippets[] = {
    {{"tasks of a microsecond", "tiny-tasks", .wall = 4, .parents = {0, 1, 1},
      .actors = {{.main = true,
                  .spans = {{0, 4, AC_PYTHON, "submit " FUTURES ":800<main " APP ":20", .1, 0, .5},
                            {0, 4, AC_LOCK, RESULT "main " APP ":21", .1, .5, .5}}},
                 WORKER(1, 2000, {0, 4, AC_PYTHON, GET, .01, 0, .2}, {0, 4, AC_PYTHON, LOOP, .01, .2, .1},
                        {0, 4, AC_IO, GET, .01, .3, .7}),
                 WORKER(2, 2000, {0, 4, AC_PYTHON, TASK, .01, 0, .02}, {0, 4, AC_LOCK, GET, .01, .02, .98})}},
     {NULL},
     "results = list(executor.map(work, items, chunksize=max(1, len(items) // 16)))  # app.py:21",
     21},
    {{"tasks of which none was seen", "tiny-tasks", .wall = 4, .parents = {0, 1, 1},
      .actors = {{.main = true,
                  .spans = {{0, 4, AC_PYTHON, "submit " FUTURES ":800<main " APP ":6@1", .1, 0, .5},
                            {0, 4, AC_LOCK, RESULT "main " APP ":4@1", .1, .5, .5}}},
                 WORKER(1, 2000, {0, 4, AC_PYTHON, GET, .01, 0, .2}, {0, 4, AC_PYTHON, LOOP, .01, .2, .1},
                        {0, 4, AC_IO, GET, .01, .3, .7}),
                 WORKER(2, 2000, {0, 4, AC_LOCK, GET})}},
     {"def main():", "    with Executor() as pool:",
      "        jobs = [pool.submit(square, n) for n in range(9)]",
      "        print(sum(job.result() for job in jobs))"},
     "results = list(executor.map(square, items, chunksize=max(1, len(items) // 16)))  # app.py:4",
     4},
    {{"apply() in a loop", "serial-pool-use", .wall = 4, .parents = {0, 1, 1},
      .actors = {{.main = true, .spans = {{0, 4, AC_LOCK, MADE_WAIT}}},
                 WORKER(1, 40, {0, 4, AC_PYTHON, MADE_TASK, .2, 0, .5}, {0, 4, AC_IO, MADE_GET, .2, .5, .5}),
                 WORKER(2, 40, {0, 4, AC_LOCK, MADE_GET, .2, 0, .5},
                        {0, 4, AC_PYTHON, MADE_TASK, .2, .5, .5})}},
     {"def work(n):", "    return n", "", "def main():", "    for n in range(9):",
      "        with Pool() as pool:", "            total += pool.apply(work, (n,))"},
     "results = pool.map(work, items)  # in place of the loop, app.py:5",
     5},
    {{"result() in a loop", "serial-pool-use", .wall = 4, .parents = {0, 1, 1},
      .actors = {{.main = true, .spans = {{0, 4, AC_LOCK, RESULT "main " APP ":7@4"}}},
                 WORKER(1, 40, {0, 4, AC_PYTHON, TASK, .2, 0, .5}, {0, 4, AC_IO, GET, .2, .5, .5}),
                 WORKER(2, 40, {0, 4, AC_LOCK, GET, .2, 0, .5}, {0, 4, AC_PYTHON, TASK, .2, .5, .5})}},
     {"def work(n):", "    return n", "", "def main():", "    with Executor() as pool:",
      "        for n in range(9):", "            total += pool.submit(work, n).result()"},
     "jobs = [executor.submit(work, item) for item in items]  # in place of the loop, app.py:6\n"
     "results = [job.result() for job in jobs]",
     6},
    {{"a pool in each turn", "start-up", .wall = 4, .parents = {0, 1, 1, 1, 1}, .starts = {0, 0, 1, 2, 3},
      .ends = {0, 1, 2, 3},
      .actors = {{.main = true, .spans = {{0, 4, AC_LOCK, MADE_WAIT}}},
                 WORKER(1, 4, {0, 1, AC_PYTHON, STARTING}),
                 WORKER(2, 4, {1, 2, AC_PYTHON, STARTING}),
                 WORKER(3, 4, {2, 3, AC_PYTHON, STARTING}),
                 WORKER(4, 4, {3, 4, AC_PYTHON, STARTING})}},
     {"def work(n):", "    return n", "", "def main():", "    for n in range(9):",
      "        with Pool(2) as pool:", "            pool.map(work, range(n))"},
     "with Pool(2) as pool:  # once, around the loop, app.py:5\n    for n in range(9):",
     5},
    {{"one await after another", "serial-awaits", .wall = 4,
      .actors = {{.main = true,
                  .sleeps = 120,
                  .watched = 2,
                  .spans = {{0, 4, AC_IO, SELECT, .05, 0, .95},
                            {0, 4, AC_PYTHON, "main " APP ":3@1" HANDLE, .05, .95, .05}}}}},
     {"async def main():", "    for url in urls:", "        page = await client.get(url)"},
     "results = await asyncio.gather(*(client.get(item) for item in items))  # in place of the loop, "
     "app.py:2",
     2},
    {{"one await after another, without a loop", "serial-awaits", .wall = 4,
      .actors = {{.main = true,
                  .sleeps = 120,
                  .watched = 2,
                  .spans = {{0, 4, AC_IO, SELECT, .05, 0, .95},
                            {0, 4, AC_PYTHON, "main " APP ":2@1" HANDLE, .05, .95, .05}}}}},
     {"async def main():", "    page = await client.get(url)"},
     NULL,
     0},
    {{"a function that sleeps", "blocked-event-loop", .wall = 4,
      .actors = {{.main = true,
                  .spans = {{0, 4, AC_SLEEP, "ask " APP ":2@1<handle " APP ":5@4" HANDLE, .1, 0, .9}}}}},
     {"def ask(n):", "    time.sleep(n)", "", "async def handle(n):", "    return ask(n) + 1"},
     "await asyncio.to_thread(ask, ...)  # in place of ask(...), app.py:5",
     5},
    {{"a coroutine that sleeps", "blocked-event-loop", .wall = 4,
      .actors = {{.main = true, .spans = {{0, 4, AC_SLEEP, "handle " APP ":3@1" HANDLE, .1, 0, .9}}}}},
     {"@app.get('/')", "async def handle(n):", "    time.sleep(n)"},
     "await asyncio.to_thread(time.sleep, ...)  # in place of time.sleep(...), app.py:3",
     3},
    {{"a coroutine that sleeps in one of two calls", "blocked-event-loop", .wall = 4,
      .actors = {{.main = true, .spans = {{0, 4, AC_SLEEP, "handle " APP ":3@1" HANDLE, .1, 0, .9}}}}},
     {"@app.get('/')", "async def handle(n):", "    json.loads(client.get(n))"},
     NULL,
     3},
    {{"a callback that computes", "blocked-event-loop", .wall = 4,
      .actors = {{.main = true,
                  .spans = {{0, 4, AC_PYTHON, "render " APP ":2@1<request " APP ":5@4" HANDLE, .2, 0, .9},
                            {0, 4, AC_IO, SELECT, .2, .9, .1}}}}},
     {"def render(n):", "    return n", "", "async def request(n):", "    return render(n)"},
     "executor = ProcessPoolExecutor()  # once\n"
     "await asyncio.get_running_loop().run_in_executor(executor, render, ...)  # in place of render(...), "
     "app.py:5",
     5},
};

static void the_code_is_the_users(void **state) {
    (void)state;
    for (size_t i = 0; i < AC_COUNT(snippets); i++) {
        struct ac_profile *p = profile_of(&snippets[i].scene);
        struct ac_diagnosis *d;
        text_of_app = snippets[i].text;
        assert_int_equal(ac_diagnose(p, line_of_app, NULL, &d), 0);
        print_message("%s\n", snippets[i].scene.name);
        assert_string_equal(d->main.id, snippets[i].scene.verdict);
        if (snippets[i].code) {
            assert_non_null(d->main.fix_code);
            assert_string_equal(d->main.fix_code, snippets[i].code);
            assert_int_equal(d->main.fix_place.line, snippets[i].line);
        } else {
            assert_null(d->main.fix_code);
        }
        ac_diagnosis_free(d);
        ac_profile_free(p);
    }
}

/* The source may tell that there are too few calls for what the fix could do. */
static void few_calls_gain_less(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t calls, at_once;
        double least, most; /* of the estimate */
        const char *words;
    } cases[] = {
        {"requests in a loop", 0, 0, 4.6, 4.8, "with 8 ("},  /* 90 % waits */
        {"requests in a loop", 2, 8, 1.8, 1.85, "with 2 ("}, /* 1 / (.1 + .9 / 2) */
        {"requests in a loop", 10, 8, 3.5, 3.6, "with 8 ("}, /* two rounds: five at a time */
        {"requests in a loop", 800, 8, 4.6, 4.8, "with 8 ("},
        {"one await after another", 3, 8, 2.7, 2.8, "with 3 at a time"},
        {"a sleep in a coroutine", 2, 6, 1.8, 1.85, "up to 1.8 times"},
        {"a callback that computes", 2, 6, 1.8, 1.85, "up to 1.8 times"},
        {"result() in a loop", 3, 2, 1.45, 1.55, "up to 1.5 times"}, /* two workers take two rounds */
        {"result() in a loop", 400, 2, 1.95, 2.05, "up to 2.0 times"},
    };
    for (size_t i = 0; i < AC_COUNT(cases); i++) {
        size_t at = 0;
        while (strcmp(scenes[at].name, cases[i].name) != 0) {
            at++;
        }
        struct ac_profile *p;
        struct ac_diagnosis *d = diagnosis_of(&scenes[at], &p);
        assert_int_equal(ac_diagnosis_limit(d, p, cases[i].calls, cases[i].at_once), 0);
        print_message("%s, %u calls: %.2f, %s\n", cases[i].name, cases[i].calls, d->main.estimate_speedup,
                      d->main.fix_text);
        assert_true(d->main.estimate_speedup > cases[i].least && d->main.estimate_speedup < cases[i].most);
        assert_true(d->main.gain_s > 0 && d->main.gain_s < 4);
        assert_non_null(strstr(d->main.fix_text, cases[i].words));
        ac_diagnosis_free(d);
        ac_profile_free(p);
    }
}

/* --- phases */

#define WORKING(from, to, state)                                                                             \
    { from, to, state, "work " APP ":7<main " APP ":20" }

static const struct scene changing = {
    .wall = 9,
    .parents = {0, 1, 1},
    .usable = 2,
    .actors = {{.main = true, .spans = {WORKING(0, 3, AC_PYTHON), {3, 9, AC_LOCK, "main " APP ":30"}}},
               {.spans = {{3, 6, AC_PYTHON, "work " APP ":7" THREAD, .03, 0, .33},
                          {3, 6, AC_GIL_WAIT, "work " APP ":7" THREAD, .03, .33, .67}}},
               {.spans = {{3, 6, AC_PYTHON, "work " APP ":7" THREAD, .03, .33, .33},
                          {3, 6, AC_GIL_WAIT, "work " APP ":7" THREAD, .03, 0, .33},
                          {3, 6, AC_GIL_WAIT, "work " APP ":7" THREAD, .03, .66, .34}}},
               {.spans = {{3, 6, AC_PYTHON, "work " APP ":7" THREAD, .03, .66, .34},
                          {3, 6, AC_GIL_WAIT, "work " APP ":7" THREAD, .03, 0, .66}}},
               {.process = 1, .main = true, .spans = {WORKING(6, 9, AC_PYTHON)}},
               {.process = 2, .main = true, .spans = {WORKING(6, 9, AC_PYTHON)}}}};

static void phases_are_told(void **state) {
    (void)state;
    struct ac_profile *p;
    struct ac_diagnosis *d = diagnosis_of(&changing, &p);
    static const char *const ids[] = {"single-thread-python", "gil-bound-threads", "all-cores-busy"};
    assert_int_equal(d->phase_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(d->phases[i].id, ids[i]);
        assert_true(d->phases[i].from_s > 3 * i - 0.1 && d->phases[i].from_s < 3 * i + 0.1);
        assert_true(d->phases[i].to_s > 3 * i + 2.9 && d->phases[i].to_s < 3 * i + 3.1);
    }
    assert_true(d->phases[2].cpus_used > 1.9 && d->phases[2].cpus_used < 2.1);
    /* the main verdict is of the phase that can save most, and its estimate is for the whole run */
    assert_true(strcmp(d->main.id, ids[0]) == 0 || strcmp(d->main.id, ids[1]) == 0);
    assert_non_null(strstr(d->main.evidence, "; from "));
    assert_true(d->main.estimate_speedup > 1.15 && d->main.estimate_speedup < 1.25);
    assert_int_equal(d->also_count, 1);
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

/* What a fix is made from is what was seen of that phase: here its function, and nothing of the other's. */
static void the_phase_that_speaks_is_kept(void **state) {
    (void)state;
    static const struct scene two = {
        .wall = 9,
        .usable = 2,
        .actors = {{.main = true,
                    .spans = {{0, 3, AC_PYTHON, "other " APP ":3<main " APP ":20"},
                              {3, 9, AC_NATIVE, "work " APP ":7<main " APP ":21"}}}}};
    struct ac_profile *p;
    struct ac_diagnosis *d = diagnosis_of(&two, &p);
    assert_int_equal(d->phase_count, 2);
    assert_string_equal(d->main.id, "single-thread-native");
    assert_true(d->spoken->wall_s > 5.9 && d->spoken->wall_s < 6.1);
    assert_true(d->spoken->python.seconds < 0.1 && d->evidence->python.seconds > 2.9);
    assert_string_equal(ac_place_of(p, &d->spoken->native).function, "work");
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

/* Two phases of which the one that is twice as long can save twice as much. */
static const struct scene halves[] = {
    {.wall = 9,
     .usable = 2,
     .actors = {{.main = true, .spans = {WORKING(0, 6, AC_PYTHON), WORKING(6, 9, AC_NATIVE)}}}},
    {.wall = 9,
     .usable = 2,
     .actors = {{.main = true, .spans = {WORKING(0, 3, AC_PYTHON), WORKING(3, 9, AC_NATIVE)}}}},
};

static void the_phase_that_can_save_most_speaks(void **state) {
    (void)state;
    static const char *const ids[] = {"single-thread-python", "single-thread-native"};
    for (size_t i = 0; i < AC_COUNT(halves); i++) {
        struct ac_profile *p;
        struct ac_diagnosis *d = diagnosis_of(&halves[i], &p);
        assert_int_equal(d->phase_count, 2);
        assert_string_equal(d->main.id, ids[i]);
        assert_int_equal(d->also_count, 1);
        assert_string_equal(d->also[0].id, ids[1 - i]);
        ac_diagnosis_free(d);
        ac_profile_free(p);
    }
}

/* A loop's waits are those of the phase in which it waits. */
static void sleeps_are_of_the_phase_that_sleeps(void **state) {
    (void)state;
    static const struct scene later = {
        .wall = 9,
        .actors = {{.main = true,
                    .sleeps = 30,
                    .watched = 2,
                    .spans = {{0, 6, AC_PYTHON, "prepare " APP ":3<main " APP ":20"},
                              {6, 9, AC_IO, SELECT, .1, 0, .95},
                              {6, 9, AC_PYTHON, "main " APP ":9" HANDLE, .1, .95, .05}}}}};
    struct ac_profile *p;
    struct ac_diagnosis *d = diagnosis_of(&later, &p);
    assert_int_equal(d->phase_count, 2);
    assert_string_equal(d->phases[0].id, "single-thread-python");
    assert_string_equal(d->phases[1].id, "serial-awaits");
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

static void the_strip_has_a_line_a_phase(void **state) {
    (void)state;
    struct ac_profile *p;
    struct ac_diagnosis *d = diagnosis_of(&halves[0], &p);
    struct ac_text_style style = {.width = 100};
    struct ac_buf buf = {0};
    assert_int_equal(ac_report_text(p, d, &style, &buf), 0);
    assert_non_null(strstr(
        ac_buf_text(&buf),
        "\n  Phase by phase\n"
        "    0.0-6.0 s        1.0 CPUs  One thread does all the work, in Python: 1.0 of 2 CPUs used\n"
        "    6.0-9.0 s        1.0 CPUs  One thread does all the work, in native code: 1.0 of 2 CPUs used\n"
        "\n"));
    ac_buf_free(&buf);
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

/* Each turn of a loop does the same: no phases; and a moment of something else is none. */
static const struct scene steady[] = {
    {.wall = 9,
     .actors = {{.main = true,
                 .spans = {{0, 9, AC_PYTHON, "work " APP ":7", .2, 0, .7},
                           {0, 9, AC_SLEEP, "wait " APP ":9", .2, .7, .3}}}}},
    {.wall = 9,
     .actors = {{.main = true,
                 .spans = {WORKING(0, 4, AC_PYTHON), WORKING(4, 4.3, AC_SLEEP),
                           WORKING(4.3, 9, AC_PYTHON)}}}},
    {.wall = .8, .actors = {{.main = true, .spans = {WORKING(0, .4, AC_PYTHON), WORKING(.4, .8, AC_SLEEP)}}}},
    /* what other programs take of its CPU is not its doing */
    {.wall = 9,
     .others = 1,
     .usable = 2,
     .actors = {{.main = true,
                 .spans = {WORKING(0, 4, AC_PYTHON),
                           {4, 9, AC_PYTHON, "work " APP ":7", .1, 0, .6},
                           {4, 9, AC_NO_CPU, "work " APP ":7", .1, .6, .4}}}}},
};

static void a_steady_run_is_one_phase(void **state) {
    (void)state;
    for (size_t i = 0; i < AC_COUNT(steady); i++) {
        struct ac_profile *p;
        struct ac_diagnosis *d = diagnosis_of(&steady[i], &p);
        assert_int_equal(d->phase_count, 1);
        assert_string_equal(d->phases[0].id, d->main.id);
        assert_ptr_equal(d->spoken, d->evidence);
        assert_true(d->phases[0].from_s == 0 && d->phases[0].to_s == steady[i].wall);
        ac_diagnosis_free(d);
        ac_profile_free(p);
    }
}

static void memory_may_run_out(void **state) {
    (void)state;
    struct ac_profile *p = profile_of(&changing);
    int err = -ENOMEM;
    for (unsigned long n = 1; err && n < 2000; n++) {
        struct ac_diagnosis *d = NULL;
        ac_memory_fail_at(n);
        err = ac_diagnose(p, NULL, NULL, &d);
        ac_memory_fail_at(0);
        assert_true(err == 0 || (err == -ENOMEM && d == NULL));
        ac_diagnosis_free(d);
    }
    assert_int_equal(err, 0);
    ac_profile_free(p);
}

/* A recording as an older version wrote it: without the table of CPUs, which is the last and here empty. */
static void put_older(const struct ac_buf *now, uint32_t version, struct ac_buf *older) {
    uint64_t size;
    memcpy(&size, now->data + 16, sizeof(size)); /* behind magic, version and zero */
    uLongf body_size = (uLongf)size;
    unsigned char *body = ac_malloc(body_size);
    uLongf packed_size = compressBound(body_size);
    unsigned char *packed = ac_malloc(packed_size);
    assert_true(body && packed);
    assert_int_equal(uncompress(body, &body_size, (const Bytef *)now->data + 24, now->len - 24), Z_OK);
    size -= version < 3 ? sizeof(uint64_t) : 0;
    assert_int_equal(compress2(packed, &packed_size, body, (uLong)size, 6), Z_OK);
    ac_buf_bytes(older, now->data, 8);
    ac_buf_bytes(older, &version, sizeof(version));
    ac_buf_bytes(older, now->data + 12, 4);
    ac_buf_bytes(older, &size, sizeof(size));
    ac_buf_bytes(older, packed, packed_size);
    ac_free(packed);
    ac_free(body);
}

/* What the format had before is in what it has now. */
static void older_recordings_are_read(void **state) {
    (void)state;
    static const struct {
        uint32_t version;
        int err;
    } cases[] = {{0, -EINVAL}, {1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, -ENOTSUP}};
    struct ac_profile *p = profile_of(&scenes[0]);
    struct ac_buf buf = {0};
    assert_int_equal(ac_recording_write(p, &buf), 0);
    for (size_t i = 0; i < AC_COUNT(cases); i++) {
        struct ac_profile *back = NULL;
        struct ac_buf older = {0};
        put_older(&buf, cases[i].version, &older);
        assert_int_equal(ac_recording_read(older.data, older.len, &back), cases[i].err);
        assert_true(!back || (back->busy_count == 0 && back->segment_count == p->segment_count));
        ac_profile_free(back);
        ac_buf_free(&older);
    }
    ac_buf_free(&buf);
    ac_profile_free(p);
}

/* A recording keeps what the CPUs did, a part of a run its part, from its own beginning. */
static void what_cpus_did_is_kept(void **state) {
    (void)state;
    struct ac_profile *p = profile_of(&scenes[0]);
    struct ac_profile *back = NULL;
    struct ac_profile *part = NULL;
    struct ac_buf buf = {0};
    int64_t step = p->wall_ns / 4;
    for (int64_t i = 0; i < 8; i++) {
        struct ac_busy busy = {
            i / 2 * step, (i / 2 + 1) * step, (int16_t)(i % 2 * 3), (uint16_t)(i * 1000), {0}};
        assert_int_equal(ac_profile_busy(p, &busy, 2), 0);
    }
    assert_int_equal(ac_recording_write(p, &buf), 0);
    assert_int_equal(ac_recording_read(buf.data, buf.len, &back), 0);
    assert_int_equal(back->busy_count, 8);
    assert_memory_equal(back->busy, p->busy, 8 * sizeof(*p->busy));
    assert_int_equal(ac_phases_slice(back, step + step / 2, 3 * step, &part), 0);
    assert_int_equal(part->busy_count, 4);
    assert_true(ac_profile_valid(part));
    assert_int_equal(part->busy[0].from_ns, 0);
    assert_int_equal(part->busy[0].to_ns, step / 2);
    assert_int_equal(part->busy[3].share, 5000);
    assert_int_equal(part->busy[3].cpu, 3);
    assert_int_equal(part->busy[3].to_ns, 3 * step - (step + step / 2));
    ac_slice_free(part);
    ac_profile_free(back);
    ac_profile_free(p);
    ac_buf_free(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_are_right),
        cmocka_unit_test(the_holder_is_inferred),
        cmocka_unit_test(the_words_fit),
        cmocka_unit_test(older_recordings_are_read),
        cmocka_unit_test(phases_are_told),
        cmocka_unit_test(a_steady_run_is_one_phase),
        cmocka_unit_test(the_phase_that_can_save_most_speaks),
        cmocka_unit_test(sleeps_are_of_the_phase_that_sleeps),
        cmocka_unit_test(the_strip_has_a_line_a_phase),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(what_cpus_did_is_kept),
        cmocka_unit_test(the_phase_that_speaks_is_kept),
        cmocka_unit_test(the_code_is_the_users),
        cmocka_unit_test(few_calls_gain_less),
    };
    return cmocka_run_group_tests_name("scenes", tests, NULL, NULL);
}
