/* waits.c - figures about waiting: for an answer over the network, for the program's own lock, for CPUs that
 * the program itself has overfilled. */
#include "base/base.h"
#include "verdict/marks.h"

#define MOMENTS 2000

static double share(const struct ac_scene *scene, int64_t ns) {
    return (double)ns / 1e9 / scene->evidence->wall_s;
}

/* --- answers */

#define NOT_ASKING (AC_MARK_SERVER | AC_MARK_LOOP | AC_MARK_MACHINERY | AC_MARK_WAITER)

static bool is_asking(const struct ac_scene *scene, uint32_t node, int state, int kind) {
    uint32_t marks = scene->marks->of_node[node];
    if (state != AC_IO || node == 0 || marks & NOT_ASKING & ~(uint32_t)AC_MARK_WAITER) {
        return false;
    }
    if (marks & AC_MARK_CLIENT) {
        return true;
    }
    uint32_t leaf = scene->marks->of_func[ac_node_func(scene->profile, node)];
    return kind == AC_KIND_PEER && !(leaf & (AC_MARK_SELECT | AC_MARK_WAITER));
}

static bool is_asking_cell(const struct ac_scene *scene, const struct ac_cell *cell, const void *arg) {
    (void)arg;
    return is_asking(scene, cell->node, cell->state, cell->kind);
}

static void crowd_figures(const struct ac_scene *scene) {
    const struct ac_profile *p = scene->profile;
    struct ac_evidence *e = scene->evidence;
    e->throttled = p->cpus.throttled_ns < 0 ? -1 : share(scene, p->cpus.throttled_ns);
    e->throttles = p->cpus.throttled_count < 0 ? 0 : (double)p->cpus.throttled_count / e->wall_s;
    for (uint32_t process = 0; process < p->process_count; process++) {
        uint32_t wanting = 0;
        for (size_t i = 0; i < p->thread_count; i++) {
            const struct ac_thread *thread = &p->threads[i];
            if (thread->process == process && thread->states_ns[AC_NATIVE] >= thread->states_ns[AC_PYTHON]) {
                double wanted = share(scene, thread->states_ns[AC_NATIVE] + thread->states_ns[AC_NO_CPU]);
                wanting += wanted >= 0.3 * thread->merged ? thread->merged : 0;
            }
        }
        e->crowd += wanting >= 2;
    }
    for (size_t i = 0; i < p->thread_count; i++) {
        const struct ac_thread *thread = &p->threads[i];
        e->forced += (double)ac_max(thread->switches_forced, 0) / e->wall_s;
        e->made += thread->python == 1 && !thread->main
                       ? share(scene, thread->states_ns[AC_NATIVE] + thread->states_ns[AC_NO_CPU])
                       : 0;
        e->alien += thread->python == 0 && p->processes[thread->process].python
                        ? share(scene, thread->states_ns[AC_NATIVE] + thread->states_ns[AC_NO_CPU])
                        : 0;
    }
}

static void served_figure(const struct ac_scene *scene) {
    const struct ac_profile *p = scene->profile;
    double all = 0;
    double served = 0;
    double handed = 0;
    bool serves = false;
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        uint32_t marks = scene->marks->of_node[cell->node];
        bool ours = p->threads[cell->thread].process == scene->evidence->process;
        bool counts = ours && (cell->state == AC_PYTHON || cell->state == AC_GIL_WAIT);
        all += counts ? (double)cell->ns : 0;
        served += counts && marks & AC_MARK_SERVER ? (double)cell->ns : 0;
        handed += counts && marks & AC_MARK_HANDED && !(marks & AC_MARK_SERVER) ? (double)cell->ns : 0;
        serves |= ours && marks & AC_MARK_SERVER;
    }
    served += serves ? handed : 0;
    scene->evidence->served = all > 0 ? served / all : 0;
}

void ac_slow_add(struct ac_slow *slow, const struct ac_segment *segment) {
    int64_t ns = segment->to_ns - segment->from_ns;
    slow->answers += ns >= AC_SLOW_NS;
    slow->seconds += ns >= AC_SLOW_NS ? (double)ns / 1e9 : 0;
}

/* In a process whose threads wait in accept(), what they wait for on a bare socket is the next question. */
static int slow_figures(const struct ac_scene *scene) {
    const struct ac_profile *p = scene->profile;
    bool *accepts = ac_calloc(p->process_count, sizeof(*accepts));
    if (!accepts) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        accepts[p->threads[cell->thread].process] |=
            cell->state == AC_IO && scene->marks->of_node[cell->node] & AC_MARK_SERVER;
    }
    for (size_t i = 0; i < p->segment_count; i++) {
        const struct ac_segment *s = &p->segments[i];
        bool known = scene->marks->of_node[s->node] & AC_MARK_CLIENT;
        if (is_asking(scene, s->node, s->state, s->kind) &&
            (known || !accepts[p->threads[s->thread].process])) {
            ac_slow_add(&scene->evidence->waits.slow, s);
        }
    }
    ac_free(accepts);
    return 0;
}

int ac_waits_figures(const struct ac_scene *scene) {
    const struct ac_profile *p = scene->profile;
    struct ac_waits *w = &scene->evidence->waits;
    double *waited = ac_calloc(p->thread_count, sizeof(*waited));
    if (!waited) {
        return -ENOMEM;
    }
    crowd_figures(scene);
    served_figure(scene);
    int err = slow_figures(scene);
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        if (is_asking_cell(scene, cell, NULL)) {
            waited[cell->thread] += share(scene, cell->ns);
            w->threads += share(scene, cell->ns);
            w->told += scene->marks->of_node[cell->node] & AC_MARK_CLIENT ? share(scene, cell->ns) : 0;
        }
    }
    w->told = w->threads > 0 ? w->told / w->threads : 0;
    for (size_t i = 0; i < p->thread_count; i++) {
        const struct ac_thread *thread = &p->threads[i];
        w->most = thread->merged == 1 ? ac_max(w->most, waited[i]) : w->most;
        if (waited[i] > 0.05 && waited[i] >= 0.2 * share(scene, thread->alive_ns)) {
            w->count += thread->merged;
            w->rate += (double)ac_max(thread->switches_voluntary, 0) / scene->evidence->wall_s;
        }
    }
    ac_free(waited);
    return err ? err : ac_scene_spot(scene, is_asking_cell, NULL, &w->spot);
}

/* --- locks */

/* Asleep in a lock that the leaf, the user's own code, takes itself. */
static bool is_locked(const struct ac_scene *scene, uint32_t node, int state) {
    return state == AC_LOCK && scene->marks->of_node[node] & AC_MARK_USER;
}

static bool is_locked_cell(const struct ac_scene *scene, const struct ac_cell *cell, const void *arg) {
    (void)arg;
    return is_locked(scene, cell->node, cell->state);
}

struct lock_sum {
    const struct ac_scene *scene;
    size_t moments, waiting, waiters, held, named, on_cpu, python;
    size_t dark;       /* of waiting: nobody in the process was seen to want a CPU */
    int64_t unseen_ns; /* what the waiters ran between two ticks */
    uint32_t *seen;    /* per node: how often it was the holder's */
};

/* The thread is further down in `func`, called from the same place: inside what the waiter waits to enter. */
static bool is_inside(const struct ac_profile *p, const struct ac_segment *segment,
                      const struct ac_segment *waiter) {
    const struct ac_frame *waits = &p->frames[p->nodes[waiter->node].frame];
    for (uint32_t node = segment->node; node; node = p->nodes[node].parent) {
        const struct ac_frame *frame = &p->frames[p->nodes[node].frame];
        bool past = node != segment->node || segment->state != AC_LOCK;
        if (frame->func == waits->func && past && (frame->line > waits->line || node != segment->node)) {
            return true;
        }
    }
    return false;
}

/* One of those who wait, if possible for an RLock whose owner is known; how many there are. */
static const struct ac_segment *find_waiter(const struct lock_sum *sum, const struct ac_segment *const *now,
                                            size_t *ret_count) {
    const struct ac_segment *waiter = NULL;
    *ret_count = 0;
    for (size_t t = 0; t < sum->scene->profile->thread_count; t++) {
        if (now[t] && is_locked(sum->scene, now[t]->node, now[t]->state)) {
            waiter = waiter && waiter->owner ? waiter : now[t];
            ++*ret_count;
        }
    }
    return waiter;
}

static void look_at_locks(const struct ac_segment *const *now, void *arg) {
    struct lock_sum *sum = arg;
    const struct ac_profile *p = sum->scene->profile;
    const struct ac_segment *holder = NULL;
    size_t waiters = 0;
    size_t holders = 0;
    size_t awake = 0;
    const struct ac_segment *waiter = find_waiter(sum, now, &waiters);
    sum->moments++;
    if (!waiter) {
        return;
    }
    for (size_t t = 0; t < p->thread_count; t++) {
        if (!now[t] || now[t] == waiter || p->threads[t].process != p->threads[waiter->thread].process) {
            continue;
        }
        awake += now[t]->state <= AC_NO_CPU;
        if (!is_locked(sum->scene, now[t]->node, now[t]->state) && is_inside(p, now[t], waiter)) {
            holder = now[t];
            holders++;
        }
    }
    if (waiter->owner && now[waiter->owner - 1]) {
        holder = now[waiter->owner - 1];
        holders = 1;
        sum->named++;
    }
    sum->waiting++;
    sum->dark += !holders && !awake;
    sum->waiters += waiters;
    if (holders == 1) {
        sum->held++;
        sum->on_cpu += holder->state <= AC_NO_CPU;
        sum->python += holder->state <= AC_GIL_WAIT;
        sum->seen[holder->node]++;
    }
}

/* How long those who wait for the lock ran between two ticks: the kernel's total less what the time line
 * shows. A lock that is handed on faster than we look has most of its holders there. */
static int add_unseen(struct lock_sum *sum) {
    const struct ac_profile *p = sum->scene->profile;
    int64_t *seen = ac_calloc(p->thread_count, sizeof(*seen));
    bool *waits = ac_calloc(p->thread_count, sizeof(*waits));
    int err = seen && waits ? 0 : -ENOMEM;
    for (size_t i = 0; !err && i < p->segment_count; i++) {
        const struct ac_segment *s = &p->segments[i];
        seen[s->thread] += s->state == AC_PYTHON || s->state == AC_NATIVE ? s->to_ns - s->from_ns : 0;
        waits[s->thread] |= is_locked(sum->scene, s->node, s->state);
    }
    for (size_t t = 0; !err && t < p->thread_count; t++) {
        sum->unseen_ns += waits[t] ? ac_max(p->threads[t].cpu_ns - seen[t], 0) : 0;
    }
    ac_free(seen);
    ac_free(waits);
    return err;
}

static void set_lock(const struct lock_sum *sum, struct ac_lock *lock) {
    const struct ac_scene *scene = sum->scene;
    double between = share(scene, sum->unseen_ns) * (double)sum->moments;
    double unseen = ac_min((double)sum->dark, between); /* one of the waiters holds it then */
    lock->share = (double)sum->waiting / (double)sum->moments;
    lock->waiters = ((double)sum->waiters - unseen) / (double)sum->waiting;
    lock->held = (double)sum->held / ac_max((double)sum->waiting - unseen, 1.0);
    lock->named = (double)sum->named / (double)ac_max(sum->held, 1u);
    lock->holder_cpu = (double)sum->on_cpu / (double)ac_max(sum->held, 1u);
    lock->holder_python = (double)sum->python / (double)ac_max(sum->held, 1u);
    for (uint32_t n = 1; n < scene->profile->node_count; n++) {
        lock->holder = sum->seen[n] > sum->seen[lock->holder] ? n : lock->holder;
    }
    while (lock->holder && !(scene->marks->of_node[lock->holder] & AC_MARK_USER)) {
        lock->holder = scene->profile->nodes[lock->holder].parent;
    }
}

int ac_lock_figures(const struct ac_scene *scene) {
    const struct ac_profile *p = scene->profile;
    struct ac_lock *lock = &scene->evidence->lock;
    struct lock_sum sum = {.scene = scene, .seen = ac_calloc(p->node_count, sizeof(*sum.seen))};
    int err = sum.seen ? ac_scene_spot(scene, is_locked_cell, NULL, &lock->spot) : -ENOMEM;
    if (!err && lock->spot.func != AC_NO_FUNC && lock->spot.seconds >= 0.1 * scene->evidence->wall_s) {
        err = ac_walk_moments(p, MOMENTS, look_at_locks, &sum);
    }
    err = err || !sum.waiting ? err : add_unseen(&sum);
    if (!err && sum.waiting) {
        set_lock(&sum, lock);
    }
    ac_free(sum.seen);
    return err;
}
