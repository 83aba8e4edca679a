/* loop.c - figures about an asyncio loop: how long its thread waited as it should, how long a callback kept
 * it, and which coroutines were seen to run. */
#include "base/base.h"
#include "verdict/marks.h"

#define LONG_NS (50 * AC_NS_PER_MS) /* a callback that keeps the loop so long keeps all others waiting */

struct loop_sum {
    const struct ac_scene *scene;
    uint32_t thread;
};

static bool in_callback(const struct ac_scene *scene, uint32_t node) {
    uint32_t marks = scene->marks->of_node[node];
    return marks & AC_MARK_LOOP && marks & AC_MARK_HANDLE;
}

static bool wants_cpu(int state) {
    return state <= AC_NO_CPU;
}

static bool is_blocked(int state) {
    return state > AC_NO_CPU && state != AC_UNKNOWN;
}

/* The coroutine or callback below which the node is: the outermost user frame under the callback. 0: none. */
static uint32_t root_of(const struct ac_scene *scene, uint32_t node) {
    uint32_t root = 0;
    for (; node; node = scene->profile->nodes[node].parent) {
        if (scene->marks->of_func[ac_node_func(scene->profile, node)] & AC_MARK_HANDLE) {
            return root;
        }
        root = scene->marks->of_node[node] & AC_MARK_USER ? node : root;
    }
    return 0;
}

static bool is_blocked_cell(const struct ac_scene *scene, const struct ac_cell *cell, const void *arg) {
    const struct loop_sum *sum = arg;
    return cell->thread == sum->thread && is_blocked(cell->state) && in_callback(scene, cell->node);
}

static bool is_busy_cell(const struct ac_scene *scene, const struct ac_cell *cell, const void *arg) {
    const struct loop_sum *sum = arg;
    return cell->thread == sum->thread && wants_cpu(cell->state) && in_callback(scene, cell->node);
}

/* The thread that spent most time in a loop. */
static int find_loop(struct loop_sum *sum, bool *ret_found) {
    const struct ac_profile *p = sum->scene->profile;
    int64_t *of_thread = ac_calloc(p->thread_count, sizeof(*of_thread));
    int64_t most = 0;
    if (!of_thread) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < p->cell_count; i++) { /* in the order of threads, or for a phase of time */
        const struct ac_cell *cell = &p->cells[i];
        of_thread[cell->thread] += sum->scene->marks->of_node[cell->node] & AC_MARK_LOOP ? cell->ns : 0;
        if (of_thread[cell->thread] > most) {
            most = of_thread[cell->thread];
            sum->thread = cell->thread;
        }
    }
    ac_free(of_thread);
    *ret_found = most > 0;
    return 0;
}

static void add_cells(const struct loop_sum *sum, struct ac_loop *loop) {
    const struct ac_profile *p = sum->scene->profile;
    int64_t heaviest = 0;
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        double share = (double)cell->ns / (double)p->wall_ns;
        if (cell->thread != sum->thread || !(sum->scene->marks->of_node[cell->node] & AC_MARK_LOOP)) {
            continue;
        }
        if (!in_callback(sum->scene, cell->node)) {
            loop->idle += is_blocked(cell->state) ? share : 0;
        } else if (is_blocked(cell->state)) {
            loop->blocked += share;
            loop->call_node = cell->ns > heaviest ? cell->node : loop->call_node;
            heaviest = ac_max(heaviest, cell->ns);
        } else {
            loop->running += share;
        }
    }
}

static void add_slow(const struct loop_sum *sum, struct ac_loop *loop) {
    const struct ac_profile *p = sum->scene->profile;
    for (size_t i = 0; i < p->segment_count; i++) {
        const struct ac_segment *s = &p->segments[i];
        bool waits = s->thread == sum->thread && s->state == AC_IO && s->kind != AC_KIND_TIMER &&
                     sum->scene->marks->of_node[s->node] & AC_MARK_LOOP && !in_callback(sum->scene, s->node);
        if (waits) {
            ac_slow_add(&loop->slow, s);
        }
    }
}

/* On a CPU below one and the same coroutine, without a turn of the loop in between that was seen. */
static void add_stretches(const struct loop_sum *sum, struct ac_loop *loop) {
    const struct ac_profile *p = sum->scene->profile;
    int64_t stretch = 0;
    uint32_t last = 0;
    for (size_t i = 0; i <= p->segment_count; i++) {
        const struct ac_segment *s = i < p->segment_count ? &p->segments[i] : NULL;
        bool torn =
            s && s->node == 0 && wants_cpu(s->state); /* a stack that could not be read ends nothing */
        if (s && (s->thread != sum->thread || torn)) {
            continue;
        }
        uint32_t root =
            s && wants_cpu(s->state) && in_callback(sum->scene, s->node) ? root_of(sum->scene, s->node) : 0;
        uint32_t func = root ? ac_node_func(p, root) : UINT32_MAX;
        bool goes_on = root && last && func == ac_node_func(p, last);
        if (!goes_on) {
            loop->busy += stretch >= LONG_NS ? (double)stretch / (double)p->wall_ns : 0;
            stretch = 0;
        }
        stretch += root ? s->to_ns - s->from_ns : 0;
        last = root;
    }
}

/* Where in the most frequent root: the line below which most time was. */
static void place_root(const struct ac_profile *p, const int64_t *of_node, struct ac_spot *root) {
    int64_t most = 0;
    for (uint32_t n = 1; n < p->node_count; n++) {
        if (of_node[n] > most && ac_node_func(p, n) == root->func) {
            most = of_node[n];
            root->node = n;
            root->line = p->frames[p->nodes[n].frame].line;
        }
    }
}

static int find_roots(const struct loop_sum *sum, struct ac_loop *loop) {
    const struct ac_profile *p = sum->scene->profile;
    int64_t *of_func = ac_calloc(p->func_count, sizeof(*of_func));
    int64_t *of_node = ac_calloc(p->node_count, sizeof(*of_node));
    if (!of_func || !of_node) {
        ac_free(of_func);
        ac_free(of_node);
        return -ENOMEM;
    }
    int64_t all = 0;
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        uint32_t root = cell->thread == sum->thread && in_callback(sum->scene, cell->node)
                            ? root_of(sum->scene, cell->node)
                            : 0;
        if (root) {
            uint32_t func = ac_node_func(p, root);
            loop->roots += of_func[func] == 0;
            of_func[func] += cell->ns;
            of_node[root] += cell->ns;
            all += cell->ns;
            if (loop->root.func == AC_NO_FUNC || of_func[func] > of_func[loop->root.func]) {
                loop->root.func = func;
            }
        }
    }
    if (all > 0) {
        place_root(p, of_node, &loop->root);
        loop->root_share = (double)of_func[loop->root.func] / (double)all;
        loop->root.seconds = (double)of_func[loop->root.func] / 1e9;
    }
    ac_free(of_func);
    ac_free(of_node);
    return 0;
}

int ac_loop_figures(const struct ac_scene *scene) {
    struct ac_loop *loop = &scene->evidence->loop;
    struct loop_sum sum = {.scene = scene};
    loop->call.func = loop->work.func = loop->root.func = AC_NO_FUNC;
    int err = find_loop(&sum, &loop->found);
    if (err || !loop->found) {
        return err;
    }
    const struct ac_thread *thread = &scene->profile->threads[sum.thread];
    loop->watched = thread->watched;
    int64_t wakes = thread->switches_voluntary - thread->switches_before; /* imports sleep for their files */
    loop->wakes = (double)ac_max(wakes, 0) / scene->evidence->wall_s;
    add_cells(&sum, loop);
    add_slow(&sum, loop);
    err = find_roots(&sum, loop);
    add_stretches(&sum, loop);
    err = err ? err : ac_scene_spot(scene, is_blocked_cell, &sum, &loop->call);
    return err ? err : ac_scene_spot(scene, is_busy_cell, &sum, &loop->work);
}
