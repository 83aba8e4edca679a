/* loop.c - figures about an asyncio loop: how long its thread waited as it should, how long a callback kept
 * it, and which coroutines were seen to run. */
#include "base/base.h"
#include "verdict/marks.h"

#define LONG_NS  (50 * AC_NS_PER_MS)    /* a callback that keeps the loop so long keeps all others waiting */
#define SHORT_NS (5 * AC_NS_PER_MS / 2) /* ... and so short nobody */
#define TURN_NS  15000                  /* of the loop's own a turn; seen on 3.9 to 3.13: 10 to 20 us */

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

/* A time without a wait of the loop: what its callbacks took in stretches of LONG_NS and more, and what went
 * into its own turns and other coroutines' callbacks meanwhile. */
struct period {
    int64_t in_long, own, others;
};

static void end_period(struct period *now, struct period *all) {
    if (now->in_long > 0) {
        all->in_long += now->in_long;
        all->own += now->own;
        all->others += now->others;
    }
    *now = (struct period){0};
}

/* What looks like one long callback may be many short ones of a coroutine that gives way each time, as by
 * sleep(0): the turns between them are seldom seen, but in proportion. Where others' callbacks were seen, the
 * turns may have been theirs. */
static bool are_short(const struct ac_profile *p, const struct period *all) {
    double turning = (double)(all->own - all->others);
    double looks = turning / 1e9 * p->sampling.rate_hz;
    return looks >= 6 && (double)TURN_NS * (double)all->in_long < (double)SHORT_NS * turning;
}

/* On a CPU below one and the same coroutine, without a turn of the loop in between that was seen. */
static void add_stretches(const struct loop_sum *sum, struct ac_loop *loop) {
    const struct ac_profile *p = sum->scene->profile;
    struct period now = {0};
    struct period all = {0};
    int64_t stretch = 0;
    uint32_t last = UINT32_MAX;
    for (size_t i = 0; i <= p->segment_count; i++) {
        const struct ac_segment *s = i < p->segment_count ? &p->segments[i] : NULL;
        bool torn = s && s->node == 0 && wants_cpu(s->state); /* could not be read: it ends nothing */
        if (s && (s->thread != sum->thread || torn)) {
            continue;
        }
        int64_t ns = s ? s->to_ns - s->from_ns : 0;
        bool inside = s && in_callback(sum->scene, s->node);
        uint32_t root = inside && wants_cpu(s->state) ? root_of(sum->scene, s->node) : 0;
        uint32_t func = root ? ac_node_func(p, root) : UINT32_MAX;
        if (!root || func != last) {
            now.in_long += stretch >= LONG_NS ? stretch : 0;
            stretch = 0;
        }
        stretch += root ? ns : 0;
        last = func;
        now.others += inside && func != loop->root.func ? ns : 0;
        now.own += s && !inside && s->state != AC_GIL_WAIT && wants_cpu(s->state) ? ns : 0;
        if (!s || (!inside && is_blocked(s->state))) {
            end_period(&now, &all);
        }
    }
    loop->busy = are_short(p, &all) ? 0 : (double)all.in_long / (double)p->wall_ns;
}

static int find_roots(const struct loop_sum *sum, struct ac_loop *loop) {
    const struct ac_profile *p = sum->scene->profile;
    int64_t *of_func = ac_calloc(p->func_count, sizeof(*of_func));
    if (!of_func) {
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
            all += cell->ns;
            if (loop->root.func == AC_NO_FUNC || of_func[func] > of_func[loop->root.func]) {
                loop->root = (struct ac_spot){
                    .func = func, .node = root, .line = p->frames[p->nodes[root].frame].line};
            }
        }
    }
    if (all > 0) {
        loop->root_share = (double)of_func[loop->root.func] / (double)all;
        loop->root.seconds = (double)of_func[loop->root.func] / 1e9;
    }
    ac_free(of_func);
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
