/* pool.c - figures about a pool of processes: who are its workers and its parent, what each of them did, and
 * how many worked at once. */
#include <string.h>

#include "base/base.h"
#include "verdict/marks.h"

#define MOMENTS 2000
#define NOBODY  UINT32_MAX

const char *const ac_pool_names[AC_POOL_KIND_COUNT] = {
    "a pool",   "ProcessPoolExecutor", "multiprocessing.Pool", "joblib (loky)",     "Dask", "allcores' pool",
    "gunicorn", "celery (prefork)",    "pytest-xdist",         "PyTorch DataLoader"};

struct pool_sum {
    const struct ac_scene *scene;
    struct ac_pool *pool;
    uint8_t *worker;    /* per process: a worker */
    double *manager_ns; /* per process: time in a pool's code, as no worker */
    double *bound_ns;   /* per process: time below a worker's main function */
    uint32_t *threads;  /* per process: threads that take tasks, beside a host's main one */
    size_t moments, one, several, none, tail, longest;
    size_t run; /* moments that `alone` has been alone so far */
    uint32_t alone;
    bool after_several;
};

static uint32_t process_of(const struct ac_profile *p, const struct ac_cell *cell) {
    return p->threads[cell->thread].process;
}

static bool on_cpu(int state) {
    return state == AC_PYTHON || state == AC_NATIVE;
}

static bool off_cpu(int state) {
    return state >= AC_IO && state < AC_UNKNOWN;
}

/* --- who is who */

/* Workers that tell by their own name whose they are, whatever runs in them. */
static void add_named(struct pool_sum *sum, double *by_kind) {
    const struct ac_profile *p = sum->scene->profile;
    for (size_t i = 0; i < p->thread_count; i++) {
        const struct ac_thread *thread = &p->threads[i];
        if (thread->main && strcmp(ac_profile_text(p, thread->name), "pt_data_worker") == 0) {
            sum->bound_ns[thread->process] += (double)thread->alive_ns;
            by_kind[AC_POOL_TORCH] += (double)thread->alive_ns;
        }
    }
}

/* A thread of a host that takes tasks: without the host, as in a Dask cluster of threads, it makes no pool of
 * processes. */
static bool is_thread_of_host(const struct ac_scene *scene, uint32_t node) {
    return scene->marks->of_node[node] & AC_MARK_WORKER && scene->marks->kind[node] == AC_POOL_DASK;
}

static int count_threads(struct pool_sum *sum) {
    const struct ac_profile *p = sum->scene->profile;
    bool *counted = ac_calloc(p->thread_count, sizeof(*counted));
    for (size_t i = 0; counted && i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        if (is_thread_of_host(sum->scene, cell->node) && !counted[cell->thread]) {
            counted[cell->thread] = true;
            sum->threads[process_of(p, cell)]++;
        }
    }
    int err = counted ? 0 : -ENOMEM;
    ac_free(counted);
    return err;
}

static void find_workers(struct pool_sum *sum) {
    const struct ac_profile *p = sum->scene->profile;
    double by_kind[AC_POOL_KIND_COUNT] = {0};
    add_named(sum, by_kind);
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        uint32_t marks = sum->scene->marks->of_node[cell->node];
        if (is_thread_of_host(sum->scene, cell->node)) {
            continue;
        }
        if (marks & (AC_MARK_WORKER | AC_MARK_HOST)) {
            sum->bound_ns[process_of(p, cell)] += (double)cell->ns;
            by_kind[sum->scene->marks->kind[cell->node]] += (double)cell->ns;
        } else if (marks & AC_MARK_MACHINERY && !(marks & AC_MARK_FORKER)) {
            sum->manager_ns[process_of(p, cell)] += (double)cell->ns;
        }
    }
    for (int kind = 1; kind < AC_POOL_KIND_COUNT; kind++) {
        sum->pool->kind =
            by_kind[kind] > by_kind[sum->pool->kind] ? (enum ac_pool_kind)kind : sum->pool->kind;
    }
    for (uint32_t i = 0; i < p->process_count; i++) {
        const struct ac_process *process = &p->processes[i];
        sum->worker[i] = sum->bound_ns[i] > 0.1 * (double)(process->to_ns - process->from_ns) ||
                         sum->bound_ns[i] > 0.05 * (double)p->wall_ns;
        sum->pool->workers += sum->worker[i];
        sum->pool->lasting +=
            sum->worker[i] ? (double)(process->to_ns - process->from_ns) / (double)p->wall_ns : 0;
    }
}

static uint32_t parent_of(const struct ac_profile *p, uint32_t child) {
    for (uint32_t i = 0; i < p->process_count; i++) {
        if (i != child && p->processes[i].pid == p->processes[child].ppid) {
            return i;
        }
    }
    return NOBODY;
}

/* The ancestor that spent most time in the pool's code (a fork server may stand between), else the first
 * Python. */
static uint32_t find_parent(const struct pool_sum *sum) {
    const struct ac_profile *p = sum->scene->profile;
    uint32_t worker = 0;
    while (worker < p->process_count && !sum->worker[worker]) {
        worker++;
    }
    uint32_t first = NOBODY;
    uint32_t most = NOBODY;
    uint32_t at = worker < p->process_count ? parent_of(p, worker) : NOBODY;
    for (int depth = 0; at != NOBODY && depth < 8; depth++, at = parent_of(p, at)) {
        bool more = sum->manager_ns[at] > (most == NOBODY ? 0 : sum->manager_ns[most]);
        most = more && !sum->worker[at] ? at : most;
        first = p->processes[at].python ? at : first;
    }
    return most == NOBODY ? first : most;
}

/* --- what they did */

static bool is_sending(const struct ac_profile *p, uint32_t node) {
    const char *name = ac_profile_text(p, p->funcs[ac_node_func(p, node)].name);
    const char *dot = strrchr(name, '.');
    name = dot ? dot + 1 : name;
    return strncmp(name, "_send", 5) == 0 || strncmp(name, "send", 4) == 0;
}

/* The share of the process that waits for a task when this thread of it sleeps: of a host, those of its
 * threads that take tasks, and its main one only where none was seen. */
static double share_of_worker(const struct pool_sum *sum, const struct ac_cell *cell) {
    const struct ac_thread *thread = &sum->scene->profile->threads[cell->thread];
    uint32_t threads = sum->threads[thread->process];
    if (is_thread_of_host(sum->scene, cell->node)) {
        return 1.0 / threads;
    }
    return thread->main && threads == 0;
}

static uint32_t leaf_marks(const struct pool_sum *sum, const struct ac_cell *cell) {
    return cell->node ? sum->scene->marks->of_func[ac_node_func(sum->scene->profile, cell->node)] : 0;
}

/* What a worker does in its own frame and in no call is, for most of the time, to free what it was sent. */
static bool is_freeing(const struct ac_cell *cell, uint32_t leaf) {
    return leaf & AC_MARK_WORKER && cell->state == AC_PYTHON && cell->kind != AC_KIND_C_CALL;
}

static void add_worker_cell(struct pool_sum *sum, const struct ac_cell *cell, double share) {
    const struct ac_profile *p = sum->scene->profile;
    struct ac_pool *pool = sum->pool;
    uint32_t marks = sum->scene->marks->of_node[cell->node];
    int activity = p->nodes[cell->node].activity;
    bool bound = marks & (AC_MARK_WORKER | AC_MARK_HOST);
    uint32_t leaf = leaf_marks(sum, cell);
    if (on_cpu(cell->state) && bound && activity != AC_IMPORT && activity != AC_START_UP) {
        if (marks & AC_MARK_TASK && activity != AC_PICKLE) {
            pool->work += share;
        } else {
            bool bytes = leaf & AC_MARK_DATA || is_freeing(cell, leaf) || activity == AC_PICKLE;
            *(bytes ? &pool->data : &pool->dispatch) += share;
            *(bytes ? &pool->worker_data : &pool->worker_dispatch) += share;
        }
    } else if (off_cpu(cell->state) && marks & AC_MARK_TASK) {
        pool->task_wait += share;
    } else if (off_cpu(cell->state) && bound) {
        *(is_sending(p, cell->node) ? &pool->moved_wait : &pool->starving) +=
            share * share_of_worker(sum, cell);
    } else if (cell->state == AC_GIL_WAIT && pool->kind == AC_POOL_DASK && !(marks & AC_MARK_TASK)) {
        pool->loop_gil += process_of(p, cell) == sum->scene->evidence->process ? share : 0;
    }
}

static void add_parent_cell(struct pool_sum *sum, const struct ac_cell *cell, double share) {
    const struct ac_profile *p = sum->scene->profile;
    struct ac_pool *pool = sum->pool;
    uint32_t marks = sum->scene->marks->of_node[cell->node];
    bool data = leaf_marks(sum, cell) & AC_MARK_DATA;
    int activity = p->nodes[cell->node].activity;
    bool starting = activity == AC_IMPORT || activity == AC_START_UP;
    /* our own future waits in C: no frame but the user's */
    bool in_future = pool->kind == AC_POOL_ALLCORES && cell->state == AC_LOCK;
    bool waits = p->threads[cell->thread].main && (marks & AC_MARK_RESULT || in_future);
    if (on_cpu(cell->state) && !starting) {
        bool pickle = activity == AC_PICKLE || data;
        *(pickle                                                 ? &pool->data
          : marks & AC_MARK_MACHINERY && !(marks & AC_MARK_USER) ? &pool->dispatch
                                                                 : &pool->own) += share;
    } else if (off_cpu(cell->state) && waits) {
        pool->result += share;
    } else if (off_cpu(cell->state) && cell->node && is_sending(p, cell->node)) {
        pool->moved_wait += share;
    }
}

static void add_cells(struct pool_sum *sum) {
    const struct ac_profile *p = sum->scene->profile;
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        uint32_t process = process_of(p, cell);
        double share = (double)cell->ns / (double)p->wall_ns;
        if (sum->worker[process]) {
            add_worker_cell(sum, cell, share);
        } else if (process == sum->pool->parent) {
            add_parent_cell(sum, cell, share);
        }
    }
    for (size_t i = 0; i < p->thread_count; i++) {
        const struct ac_thread *thread = &p->threads[i];
        bool counts = sum->worker[thread->process] && thread->main;
        sum->pool->switches +=
            counts ? (double)ac_max(thread->switches_voluntary, 0) * 1e9 / (double)p->wall_ns : 0;
    }
}

/* --- how many at once */

static void end_run(struct pool_sum *sum) {
    if (sum->run * 20 >= MOMENTS) { /* a twentieth of the run: no matter of chance */
        sum->tail += sum->after_several ? sum->run : 0;
    }
    sum->longest = ac_max(sum->longest, sum->run);
    sum->run = 0;
    sum->alone = NOBODY;
}

static void look_at_workers(const struct ac_segment *const *now, void *arg) {
    struct pool_sum *sum = arg;
    const struct ac_profile *p = sum->scene->profile;
    uint32_t busy = 0;
    uint32_t who = NOBODY;
    for (size_t t = 0; t < p->thread_count; t++) {
        if (now[t] && sum->worker[p->threads[t].process] &&
            sum->scene->marks->of_node[now[t]->node] & AC_MARK_TASK) {
            busy += p->threads[t].process != who;
            who = p->threads[t].process;
        }
    }
    sum->moments++;
    sum->one += busy == 1;
    sum->several += busy > 1;
    sum->none += busy == 0;
    if (busy == 1 && (sum->alone == who || sum->alone == NOBODY)) {
        sum->alone = who;
        sum->run++;
    } else {
        end_run(sum);
        sum->after_several = busy > 1 || (sum->after_several && busy == 1);
    }
}

/* --- spots */

static bool is_task_cell(const struct ac_scene *scene, const struct ac_cell *cell, const void *arg) {
    (void)arg;
    return scene->marks->of_node[cell->node] & AC_MARK_TASK && (on_cpu(cell->state) || off_cpu(cell->state));
}

static bool is_feeder_cell(const struct ac_scene *scene, const struct ac_cell *cell, const void *arg) {
    const struct pool_sum *sum = arg;
    return process_of(scene->profile, cell) == sum->pool->parent && on_cpu(cell->state);
}

static bool is_waiting_cell(const struct ac_scene *scene, const struct ac_cell *cell, const void *arg) {
    const struct pool_sum *sum = arg;
    return process_of(scene->profile, cell) == sum->pool->parent && off_cpu(cell->state) &&
           scene->profile->threads[cell->thread].main;
}

static int find_spots(struct pool_sum *sum) {
    const struct ac_scene *scene = sum->scene;
    int err = ac_scene_spot(scene, is_task_cell, sum, &sum->pool->task);
    err = err ? err : ac_scene_spot(scene, is_feeder_cell, sum, &sum->pool->feeder);
    return err ? err : ac_scene_spot(scene, is_waiting_cell, sum, &sum->pool->waits);
}

/* --- interpreters that start */

/* Most Python processes, the first one excluded, that lived at one time. */
static uint32_t most_at_once(const struct ac_profile *p) {
    uint32_t most = 0;
    for (size_t i = 1; i < p->process_count; i++) {
        uint32_t alive = 0;
        for (size_t j = 1; j < p->process_count; j++) {
            alive += p->processes[j].python && p->processes[j].from_ns <= p->processes[i].from_ns &&
                     p->processes[j].to_ns > p->processes[i].from_ns;
        }
        most = ac_max(most, alive);
    }
    return most;
}

/* Time below no frame at all, in a Python that has them otherwise, is the interpreter's own start. */
static void start_up_figures(const struct ac_scene *scene) {
    const struct ac_profile *p = scene->profile;
    struct ac_start_up *s = &scene->evidence->start_up;
    double all = 0;
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        uint32_t process = process_of(p, cell);
        double share = (double)cell->ns / (double)p->wall_ns;
        int activity = p->nodes[cell->node].activity;
        bool boot = cell->node == 0 && cell->state == AC_NATIVE && p->threads[cell->thread].main;
        if (on_cpu(cell->state)) {
            all += share;
            s->cpu += process && p->processes[process].python &&
                              (activity == AC_START_UP || activity == AC_IMPORT || boot)
                          ? share
                          : 0;
        }
    }
    s->share = all > 0 ? s->cpu / all : 0;
    for (size_t i = 1; i < p->process_count; i++) {
        s->processes += p->processes[i].python != 0;
    }
    s->at_once = most_at_once(p);
}

int ac_pool_figures(const struct ac_scene *scene) {
    const struct ac_profile *p = scene->profile;
    struct ac_pool *pool = &scene->evidence->pool;
    struct pool_sum sum = {.scene = scene, .pool = pool, .alone = NOBODY};
    start_up_figures(scene);
    pool->parent = NOBODY;
    pool->task.func = pool->feeder.func = pool->waits.func = AC_NO_FUNC;
    sum.worker = ac_calloc(p->process_count, 1);
    sum.manager_ns = ac_calloc(p->process_count, sizeof(*sum.manager_ns));
    sum.bound_ns = ac_calloc(p->process_count, sizeof(*sum.bound_ns));
    sum.threads = ac_calloc(p->process_count, sizeof(*sum.threads));
    int err = sum.worker && sum.manager_ns && sum.bound_ns && sum.threads ? count_threads(&sum) : -ENOMEM;
    if (err) {
        goto out;
    }
    find_workers(&sum);
    if (pool->workers == 0) {
        goto out;
    }
    pool->parent = find_parent(&sum);
    add_cells(&sum);
    err = find_spots(&sum);
    err = err ? err : ac_walk_moments(p, MOMENTS, look_at_workers, &sum);
    end_run(&sum);
    if (!err && sum.moments) {
        pool->one = (double)sum.one / (double)sum.moments;
        pool->several = (double)sum.several / (double)sum.moments;
        pool->none = (double)sum.none / (double)sum.moments;
        pool->tail = (double)sum.tail / (double)sum.moments;
        pool->longest = sum.one ? (double)sum.longest / (double)sum.one : 0;
    }
out:
    ac_free(sum.worker);
    ac_free(sum.manager_ns);
    ac_free(sum.bound_ns);
    ac_free(sum.threads);
    return err;
}
