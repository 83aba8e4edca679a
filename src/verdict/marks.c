/* marks.c - see marks.h. A file is told by how its path ends, a function by its plain name: the standard
 * library keeps both through 3.8-3.15, and packages theirs through many versions. */
#include "verdict/marks.h"

#include <string.h>

#include "base/base.h"

struct rule {
    const char *file, *name; /* name NULL: every function of the file; the first rule that fits decides */
    uint32_t marks;
    enum ac_pool_kind kind;
};

#define WORK  (AC_MARK_WORKER | AC_MARK_CALLER | AC_MARK_MACHINERY)
#define CALLS (AC_MARK_CALLER | AC_MARK_MACHINERY)
#define OWN   AC_MARK_MACHINERY
#define DATA  (AC_MARK_MACHINERY | AC_MARK_DATA)

static const struct rule rules[] = {
    {"/concurrent/futures/process.py", "_process_worker", WORK, AC_POOL_FUTURES},
    {"/concurrent/futures/process.py", "_process_chunk", CALLS, 0},
    {"/concurrent/futures/process.py", "<listcomp>", CALLS, 0},
    {"/concurrent/futures/process.py", NULL, OWN, 0},
    {"/concurrent/futures/_base.py", "result", AC_MARK_RESULT | OWN, 0},
    {"/concurrent/futures/_base.py", NULL, OWN, 0},
    {"/concurrent/futures/thread.py", "_worker", AC_MARK_WAITER, 0},
    {"/multiprocessing/pool.py", "worker", WORK, AC_POOL_MP},
    {"/multiprocessing/pool.py", "mapstar", CALLS, 0},
    {"/multiprocessing/pool.py", "starmapstar", CALLS, 0},
    {"/multiprocessing/pool.py", "_helper_reraises_exception", CALLS, 0},
    {"/multiprocessing/pool.py", "get", AC_MARK_RESULT | OWN, 0},
    {"/multiprocessing/pool.py", NULL, OWN, 0},
    {"/multiprocessing/process.py", "_bootstrap", AC_MARK_CHILD, 0},
    {"/multiprocessing/forkserver.py", "main", AC_MARK_FORKER, 0},
    {"/multiprocessing/reduction.py", NULL, DATA, 0},
    {"/multiprocessing/connection.py", "_send", DATA, 0},
    {"/multiprocessing/connection.py", "_recv", DATA, 0},
    {"/multiprocessing/connection.py", "_send_bytes", DATA, 0},
    {"/multiprocessing/connection.py", "_recv_bytes", DATA, 0},
    {"/multiprocessing/connection.py", "recv", DATA, 0},
    {"/multiprocessing/connection.py", "send", DATA, 0},
    {"/multiprocessing/connection.py", NULL, OWN, 0},
    {"/multiprocessing/queues.py", "get", DATA, 0},
    {"/multiprocessing/queues.py", NULL, OWN, 0},
    {"/multiprocessing/synchronize.py", NULL, OWN, 0},
    {"/loky/process_executor.py", "_process_worker", WORK, AC_POOL_LOKY},
    {"/loky/process_executor.py", "_process_chunk", CALLS, 0},
    {"/loky/process_executor.py", "__call__", CALLS, 0},
    {"/loky/process_executor.py", "<listcomp>", CALLS, 0},
    {"/loky/process_executor.py", NULL, OWN, 0},
    {"/loky/backend/reduction.py", NULL, DATA, 0},
    {"/loky/backend/queues.py", "get", DATA, 0},
    {"/loky/backend/queues.py", NULL, OWN, 0},
    {"/loky/_base.py", "result", AC_MARK_RESULT | OWN, 0},
    {"/loky/_base.py", NULL, OWN, 0},
    {"/loky/cloudpickle_wrapper.py", NULL, CALLS, 0},
    {"/joblib/parallel.py", "__call__", CALLS, 0},
    {"/joblib/parallel.py", "<listcomp>", CALLS, 0},
    {"/joblib/parallel.py", NULL, OWN, 0},
    {"/joblib/_utils.py", NULL, CALLS, 0},
    {"/joblib/_parallel_backends.py", NULL, CALLS, 0},
    {"/joblib/pool.py", NULL, DATA, 0},
    {"/joblib/_memmapping_reducer.py", NULL, DATA, 0},
    {"/joblib/numpy_pickle.py", NULL, DATA, 0},
    {"/cloudpickle/cloudpickle.py", NULL, DATA, 0},
    {"/pickle.py", NULL, DATA, 0},
    {"/copyreg.py", NULL, DATA, 0},
    {"<frozen copyreg>", NULL, DATA, 0},
    {"/distributed/nanny.py", "_run", AC_MARK_HOST | OWN, AC_POOL_DASK},
    {"/distributed/threadpoolexecutor.py", "_worker", AC_MARK_WORKER | OWN, AC_POOL_DASK},
    {"/distributed/_concurrent_futures_thread.py", NULL, OWN, 0},
    {"/distributed/worker.py", NULL, CALLS, 0}, /* _run_task_simple, apply_function_simple */
    {"/distributed/utils.py", "sync", AC_MARK_RESULT | OWN, 0},
    {"/distributed/utils.py", NULL, OWN, 0}, /* the client's loop below run_loop, too */
    {"/distributed/client.py", NULL, OWN, 0},
    {"/distributed/protocol/serialize.py", NULL, DATA, 0},
    {"/distributed/protocol/core.py", NULL, DATA, 0},
    {"/distributed/comm/utils.py", NULL, DATA, 0},
    {"/distributed/comm/tcp.py", NULL, DATA, 0},
    {"/allcores/_worker.py", "serve", WORK, AC_POOL_ALLCORES},
    {"/allcores/_worker.py", NULL, CALLS, AC_POOL_ALLCORES},
    {"/allcores/_pickling.py", NULL, DATA, 0},
    {"/allcores/_zygote.py", NULL, AC_MARK_FORKER, 0},
    {"/allcores/_manager.py", NULL, OWN, 0},
    {"/allcores/_executor.py", NULL, OWN, 0},
    {"/allcores/_outcomes.py", NULL, OWN, 0},
    {"/gunicorn/workers/base.py", "init_process", AC_MARK_WORKER, AC_POOL_GUNICORN},
    {"/gunicorn/workers/sync.py", NULL, AC_MARK_SERVER, 0},
    {"/gunicorn/arbiter.py", NULL, AC_MARK_SERVER, 0},
    {"/billiard/pool.py", "workloop", WORK, AC_POOL_CELERY},
    {"/billiard/pool.py", NULL, OWN, 0},
    {"/billiard/connection.py", NULL, DATA, 0},
    {"/celery/app/trace.py", NULL, CALLS, 0},
    {"/xdist/remote.py", NULL, AC_MARK_WORKER, AC_POOL_XDIST},
    {"/torch/utils/data/_utils/worker.py", "_worker_loop", WORK, AC_POOL_TORCH},
    {"/torch/utils/data/_utils/fetch.py", NULL, CALLS, 0},
    {"/torch/utils/data/dataloader.py", NULL, AC_MARK_RESULT | OWN, 0},
    {"/http/client.py", NULL, AC_MARK_CLIENT, 0},
    {"/urllib/request.py", NULL, AC_MARK_CLIENT, 0},
    {"/ftplib.py", NULL, AC_MARK_CLIENT, 0},
    {"/smtplib.py", NULL, AC_MARK_CLIENT, 0},
    {"/imaplib.py", NULL, AC_MARK_CLIENT, 0},
    {"/poplib.py", NULL, AC_MARK_CLIENT, 0},
    {"/xmlrpc/client.py", NULL, AC_MARK_CLIENT, 0},
    {"/urllib3/connectionpool.py", NULL, AC_MARK_CLIENT, 0},
    {"/requests/sessions.py", NULL, AC_MARK_CLIENT, 0},
    {"/httpcore/_sync/connection.py", NULL, AC_MARK_CLIENT, 0},
    {"/httpx/_client.py", NULL, AC_MARK_CLIENT, 0},
    {"/botocore/httpsession.py", NULL, AC_MARK_CLIENT, 0},
    {"/pymysql/connections.py", NULL, AC_MARK_CLIENT, 0},
    {"/psycopg/connection.py", NULL, AC_MARK_CLIENT, 0},
    {"/redis/commands/core.py", "blpop", AC_MARK_SERVER, 0}, /* from here on: waits for what others send */
    {"/redis/commands/core.py", "brpop", AC_MARK_SERVER, 0},
    {"/redis/commands/core.py", "blmove", AC_MARK_SERVER, 0},
    {"/redis/commands/core.py", "xread", AC_MARK_SERVER, 0},
    {"/redis/commands/core.py", "xreadgroup", AC_MARK_SERVER, 0},
    {"/redis/client.py", "listen", AC_MARK_SERVER, 0},
    {"/redis/client.py", "get_message", AC_MARK_SERVER, 0},
    {"/kafka/consumer/group.py", NULL, AC_MARK_SERVER, 0},
    {"/kombu/connection.py", "drain_events", AC_MARK_SERVER, 0},
    {"/pika/adapters/blocking_connection.py", "start_consuming", AC_MARK_SERVER, 0},
    {"/pika/adapters/blocking_connection.py", "consume", AC_MARK_SERVER, 0},
    {"/redis/connection.py", NULL, AC_MARK_CLIENT, 0},
    {"/pymongo/network.py", NULL, AC_MARK_CLIENT, 0},
    {"/paramiko/channel.py", NULL, AC_MARK_CLIENT, 0},
    {"/socket.py", "create_connection", AC_MARK_CLIENT, 0},
    {"/socket.py", "getaddrinfo", AC_MARK_CLIENT, 0},
    {"/socket.py", "accept", AC_MARK_SERVER, 0},
    {"/socketserver.py", NULL, AC_MARK_SERVER, 0},
    {"/waitress/task.py", NULL, AC_MARK_SERVER, 0},
    {"/gunicorn/workers/gthread.py", NULL, AC_MARK_SERVER, 0},
    {"/cheroot/workers/threadpool.py", NULL, AC_MARK_SERVER, 0},
    {"/uvicorn/server.py", NULL, AC_MARK_SERVER, 0},
    {"/hypercorn/asyncio/run.py", NULL, AC_MARK_SERVER, 0},
    {"/anyio/_backends/_asyncio.py", "run", AC_MARK_HANDED, 0}, /* WorkerThread: handlers without await */
    {"/selectors.py", NULL, AC_MARK_SELECT, 0},
    {"/select.py", NULL, AC_MARK_SELECT, 0},
    {"/subprocess.py", NULL, AC_MARK_WAITER, 0},
    {"/asyncio/base_events.py", "_run_once", AC_MARK_LOOP, 0},
    {"/asyncio/events.py", "_run", AC_MARK_HANDLE, 0},
    {"/threading.py", NULL, AC_MARK_WAITER, 0},
    {"/queue.py", NULL, AC_MARK_WAITER, 0},
};

static const struct rule *rule_of(const char *name, const char *file) {
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; i < AC_COUNT(rules); i++) {
        if (ac_ends_with(file, rules[i].file) &&
            (!rules[i].name || strcmp(dot ? dot + 1 : name, rules[i].name) == 0)) {
            return &rules[i];
        }
    }
    return NULL;
}

/* Of the leaf `own`, called from a node with `above`: is it inside a task? A task may be a function of the
 * standard library: then it is called straight from the pool's code that calls tasks. */
static bool in_task(uint32_t above, uint32_t caller, uint32_t own, bool user) {
    bool below_worker = above & AC_MARK_WORKER;
    bool machinery = own & (AC_MARK_MACHINERY | AC_MARK_WORKER);
    return below_worker && !machinery && (above & AC_MARK_TASK || user || caller & AC_MARK_CALLER);
}

int ac_marks_new(const struct ac_profile *profile, const uint8_t *user, struct ac_marks *ret_marks) {
    uint8_t *kinds = ac_calloc(profile->func_count, 1);
    struct ac_marks marks = {.of_func = ac_calloc(profile->func_count, sizeof(*marks.of_func)),
                             .of_node = ac_calloc(profile->node_count, sizeof(*marks.of_node)),
                             .kind = ac_calloc(profile->node_count, 1)};
    if (!kinds || !marks.of_func || !marks.of_node || !marks.kind) {
        ac_free(kinds);
        ac_marks_free(&marks);
        return -ENOMEM;
    }
    for (size_t i = 0; i < profile->func_count; i++) {
        const struct rule *rule = rule_of(ac_profile_text(profile, profile->funcs[i].name),
                                          ac_profile_text(profile, profile->funcs[i].file));
        marks.of_func[i] = rule ? rule->marks : 0;
        kinds[i] = rule ? (uint8_t)rule->kind : 0;
    }
    for (uint32_t n = 1; n < profile->node_count; n++) { /* a parent has the smaller index */
        uint32_t parent = profile->nodes[n].parent;
        uint32_t func = ac_node_func(profile, n);
        uint32_t above = marks.of_node[parent];
        uint32_t caller = parent ? marks.of_func[ac_node_func(profile, parent)] : 0;
        uint32_t own = marks.of_func[func];
        above &= own & AC_MARK_CHILD ? ~(uint32_t)(AC_MARK_LOOP | AC_MARK_HANDLE) : ~0U;
        uint32_t leaf = user[func] ? AC_MARK_USER : 0;
        leaf |= in_task(above, caller, own, user[func]) ? AC_MARK_TASK : 0;
        marks.of_node[n] = (above & ~(uint32_t)(AC_MARK_TASK | AC_MARK_USER)) | own | leaf;
        marks.kind[n] = marks.kind[parent] ? marks.kind[parent] : kinds[func];
    }
    ac_free(kinds);
    *ret_marks = marks;
    return 0;
}

void ac_marks_free(struct ac_marks *marks) {
    ac_free(marks->of_func);
    ac_free(marks->of_node);
    ac_free(marks->kind);
}

int ac_walk_moments(const struct ac_profile *profile, size_t steps, ac_moment_fn visit, void *arg) {
    const struct ac_segment **now = ac_calloc(profile->thread_count, sizeof(*now));
    if (!now) {
        return -ENOMEM;
    }
    size_t next = 0;
    for (size_t step = 0; profile->segment_count && step < steps; step++) {
        int64_t at = (int64_t)((double)profile->wall_ns * ((double)step + 0.5) / (double)steps);
        for (; next < profile->segment_count && profile->segments[next].from_ns <= at; next++) {
            now[profile->segments[next].thread] = &profile->segments[next];
        }
        for (size_t t = 0; t < profile->thread_count; t++) {
            now[t] = now[t] && now[t]->to_ns > at ? now[t] : NULL;
        }
        visit(now, arg);
    }
    ac_free(now);
    return 0;
}
