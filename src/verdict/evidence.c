/* evidence.c - a profile boiled down to an ac_evidence, in one pass over threads and one over cells. */
#include "verdict/evidence.h"

#include <string.h>

#include "base/base.h"
#include "verdict/marks.h"

#define STAYS_NS (100 * AC_NS_PER_MS)
#define FORK_NS  (20 * AC_NS_PER_MS) /* births are seen this late at most */

/* Thread-seconds a function spent in one state, with its heaviest stack. */
struct tally {
    uint32_t func, node;
    double seconds, heaviest;
};

struct tallies {
    struct tally *items;
    size_t count, cap;
    struct ac_map of_func;
};

/* Of a program's Python time: user code that runs for less is not what it spends it on. */
#define STRAY 0.05

struct builder {
    const struct ac_profile *profile;
    struct ac_evidence *evidence;
    const uint8_t *user; /* per function: 1 user code */
    double *busy;        /* per process: CPU and GIL-wait seconds */
};

bool ac_is_user_file(const char *file) {
    static const char *const foreign[] = {"/site-packages/", "/dist-packages/", "/lib/python3",
                                          "/lib64/python3"};
    if (*file == '\0' || *file == '<') {
        return strncmp(file, "<stdin>", 7) == 0 || strncmp(file, "<string>", 8) == 0 ||
               strncmp(file, "<ipython", 8) == 0;
    }
    for (size_t i = 0; i < AC_COUNT(foreign); i++) {
        if (strstr(file, foreign[i])) {
            return false;
        }
    }
    return true;
}

/* _race.py holds two: the built-in experiment's functions, which are what a reader asks about, and what runs
 * a contender, which is not. */
static bool is_of_race(const struct ac_profile *profile, uint32_t func) {
    static const char file[] = "/allcores/_race.py";
    const char *name = ac_profile_text(profile, profile->funcs[func].file);
    size_t len = strlen(name);
    return len >= strlen(file) && strcmp(name + len - strlen(file), file) == 0;
}

bool ac_is_race_harness(const struct ac_profile *profile, uint32_t func) {
    const char *name = ac_profile_text(profile, profile->funcs[func].name);
    return is_of_race(profile, func) && strcmp(name, "crunch") != 0 && strcmp(name, "pause") != 0;
}

bool ac_is_user_func(const struct ac_profile *profile, uint32_t func) {
    return is_of_race(profile, func) ? !ac_is_race_harness(profile, func)
                                     : ac_is_user_file(ac_profile_text(profile, profile->funcs[func].file));
}

static struct ac_place place(const struct ac_profile *profile, uint32_t func, int32_t line) {
    const struct ac_func *f = &profile->funcs[func];
    return (struct ac_place){.function = ac_profile_text(profile, f->name),
                             .file = ac_profile_text(profile, f->file),
                             .line = line};
}

struct ac_place ac_place_of(const struct ac_profile *profile, const struct ac_spot *spot) {
    return spot->func == AC_NO_FUNC ? (struct ac_place){.function = "", .file = ""}
                                    : place(profile, spot->func, spot->line);
}

struct ac_place ac_node_place(const struct ac_profile *profile, uint32_t node) {
    const struct ac_frame *frame = &profile->frames[profile->nodes[node].frame];
    return place(profile, frame->func, frame->line);
}

uint32_t ac_user_caller(const struct ac_profile *profile, uint32_t node) {
    uint32_t func = profile->frames[profile->nodes[node].frame].func;
    for (node = profile->nodes[node].parent; node; node = profile->nodes[node].parent) {
        uint32_t above = profile->frames[profile->nodes[node].frame].func;
        if (above != func && ac_is_user_func(profile, above)) {
            return node;
        }
    }
    return 0;
}

/* --- tallies */

static int tally_add(struct tallies *tallies, const struct tally *add) {
    uint32_t at;
    if (!ac_map_get(&tallies->of_func, add->func, &at)) {
        int err = ac_grow(&tallies->items, &tallies->cap, tallies->count + 1, sizeof(*tallies->items));
        at = (uint32_t)tallies->count;
        err = err ? err : ac_map_put(&tallies->of_func, add->func, at);
        if (err) {
            return err;
        }
        tallies->items[tallies->count++] = (struct tally){.func = add->func};
    }
    struct tally *tally = &tallies->items[at];
    tally->seconds += add->seconds;
    if (add->seconds > tally->heaviest) {
        tally->heaviest = add->seconds;
        tally->node = add->node;
    }
    return 0;
}

static struct ac_spot heaviest(const struct ac_profile *profile, const struct tallies *tallies) {
    struct ac_spot spot = {.func = AC_NO_FUNC};
    for (size_t i = 0; i < tallies->count; i++) {
        const struct tally *tally = &tallies->items[i];
        spot.all += tally->seconds;
        if (spot.func == AC_NO_FUNC || tally->seconds > spot.seconds) {
            int32_t line = profile->frames[profile->nodes[tally->node].frame].line;
            spot = (struct ac_spot){tally->func, line, tally->seconds, tally->node, spot.all};
        }
    }
    return spot;
}

static void tallies_free(struct tallies *tallies) {
    ac_free(tallies->items);
    ac_map_free(&tallies->of_func);
}

/* --- user frames of a stack */

static uint32_t func_of(const struct ac_profile *profile, uint32_t node) {
    return profile->frames[profile->nodes[node].frame].func;
}

/* The next node at or above `node` whose frame is user code; 0 none. */
static uint32_t user_node(const struct builder *b, uint32_t node) {
    while (node && !b->user[func_of(b->profile, node)]) {
        node = b->profile->nodes[node].parent;
    }
    return node;
}

static int add_node(const struct builder *b, struct tallies *tallies, const struct ac_cell *cell,
                    uint32_t node) {
    if (node == 0) {
        return 0;
    }
    struct tally tally = {.func = func_of(b->profile, node), .node = node, .seconds = (double)cell->ns / 1e9};
    return tally_add(tallies, &tally);
}

static int add_innermost(const struct builder *b, struct tallies *tallies, const struct ac_cell *cell) {
    return add_node(b, tallies, cell, user_node(b, cell->node));
}

static int add_leaf(const struct builder *b, struct tallies *tallies, const struct ac_cell *cell) {
    return add_node(b, tallies, cell, cell->node);
}

static int add_outermost(const struct builder *b, struct tallies *tallies, const struct ac_cell *cell) {
    uint32_t outermost = 0;
    for (uint32_t node = user_node(b, cell->node); node;
         node = user_node(b, b->profile->nodes[node].parent)) {
        outermost = node;
    }
    return add_node(b, tallies, cell, outermost);
}

typedef int (*adder)(const struct builder *, struct tallies *, const struct ac_cell *);
typedef bool (*chooser)(const struct builder *, const struct ac_cell *, int state);

static int spot_of(const struct builder *b, adder add, chooser wanted, int state, struct ac_spot *ret) {
    struct tallies tallies = {0};
    int err = 0;
    for (size_t i = 0; !err && i < b->profile->cell_count; i++) {
        const struct ac_cell *cell = &b->profile->cells[i];
        if (wanted(b, cell, state)) {
            err = add(b, &tallies, cell);
        }
    }
    *ret = heaviest(b->profile, &tallies);
    tallies_free(&tallies);
    return err;
}

static bool in_state(const struct builder *b, const struct ac_cell *cell, int state) {
    (void)b;
    return cell->state == state;
}

static bool in_main_process(const struct builder *b, const struct ac_cell *cell, int state) {
    return cell->state == state && b->profile->threads[cell->thread].process == b->evidence->process;
}

static bool in_workers(const struct builder *b, const struct ac_cell *cell, int state) {
    const struct ac_thread *thread = &b->profile->threads[cell->thread];
    (void)state;
    return (cell->state == AC_PYTHON || cell->state == AC_GIL_WAIT) && !thread->main &&
           thread->process == b->evidence->process;
}

static bool in_waiting_main(const struct builder *b, const struct ac_cell *cell, int state) {
    const struct ac_thread *thread = &b->profile->threads[cell->thread];
    (void)state;
    return thread->main && thread->process == b->evidence->process && cell->state != AC_PYTHON &&
           cell->state != AC_NATIVE && cell->state != AC_NO_CPU;
}

static int find_spots(const struct builder *b) {
    struct ac_evidence *e = b->evidence;
    int err = 0;
    for (int s = 0; !err && s < AC_STATE_COUNT; s++) {
        err = spot_of(b, add_innermost, in_state, s, &e->state_spots[s]);
    }
    err = err ? err : spot_of(b, add_innermost, in_main_process, AC_PYTHON, &e->python);
    err = err ? err : spot_of(b, add_leaf, in_main_process, AC_PYTHON, &e->anyone);
    if (e->python.all < STRAY * e->anyone.all) { /* as what a library makes in a "<string>" */
        e->python = (struct ac_spot){.func = AC_NO_FUNC};
    }
    err = err ? err : spot_of(b, add_innermost, in_main_process, AC_NATIVE, &e->native);
    err = err ? err : spot_of(b, add_outermost, in_workers, 0, &e->work);
    return err ? err : spot_of(b, add_innermost, in_waiting_main, 0, &e->waiting);
}

/* --- figures */

static void run_figures(const struct ac_profile *profile, struct ac_evidence *e) {
    e->wall_s = (double)ac_max(profile->wall_ns, 1) / 1e9;
    e->cpu_s = (double)profile->cpu_ns / 1e9;
    e->used = e->cpu_s / e->wall_s;
    e->online = profile->cpus.online;
    e->affinity = profile->cpus.affinity;
    e->quota = profile->cpus.quota;
    e->usable = profile->cpus.usable > 0 ? profile->cpus.usable : 1;
    e->others = -1;
    if (profile->cpus.machine_busy_ns >= 0) {
        double others = (double)(profile->cpus.machine_busy_ns - profile->cpu_ns) / 1e9 / e->wall_s;
        e->others = ac_max(others, 0);
    }
    e->processes = (uint32_t)profile->process_count;
    e->samples = (double)profile->sampling.samples;
    e->rate_hz = profile->sampling.rate_hz;
    e->limits = profile->limits;
    for (size_t i = 0; i < profile->process_count; i++) {
        e->python_processes += profile->processes[i].python != 0;
    }
}

static void thread_figures(struct builder *b) {
    struct ac_evidence *e = b->evidence;
    for (size_t i = 0; i < b->profile->thread_count; i++) {
        const struct ac_thread *thread = &b->profile->threads[i];
        e->threads += thread->merged;
        e->lasting +=
            (double)thread->alive_ns / 1e9 >= 0.01 * e->wall_s * thread->merged ? thread->merged : 0;
        e->life += (double)thread->alive_ns / 1e9 / e->wall_s;
        for (int s = 0; s < AC_STATE_COUNT; s++) {
            e->states[s] += (double)thread->states_ns[s] / 1e9 / e->wall_s;
        }
        b->busy[thread->process] += (double)(thread->cpu_ns + thread->states_ns[AC_GIL_WAIT]) / 1e9;
    }
    for (uint32_t p = 1; p < b->profile->process_count; p++) {
        e->process = b->busy[p] > b->busy[e->process] ? p : e->process;
    }
}

/* The share of its life for which a thread wanted Python. */
static double wanted_share(const struct ac_thread *thread) {
    double wanted = (double)(thread->states_ns[AC_PYTHON] + thread->states_ns[AC_GIL_WAIT]);
    return thread->alive_ns > 0 ? wanted / (double)thread->alive_ns : 0;
}

/* That share in the typical thread that wants Python: each counts by how long it did. A thread that wants
 * it much less (the main one, that only started the others) is not one of those that take turns. */
static double usual_wanting(const struct builder *b) {
    double weights = 0;
    double sum = 0;
    for (size_t i = 0; i < b->profile->thread_count; i++) {
        const struct ac_thread *thread = &b->profile->threads[i];
        if (thread->process == b->evidence->process) {
            double share = wanted_share(thread);
            weights += share * (double)thread->alive_ns;
            sum += share * share * (double)thread->alive_ns;
        }
    }
    return weights > 0 ? sum / weights : 0;
}

static void process_figures(const struct builder *b) {
    struct ac_evidence *e = b->evidence;
    double enough = ac_max(0.1, 0.4 * usual_wanting(b));
    for (size_t i = 0; i < b->profile->thread_count; i++) {
        const struct ac_thread *thread = &b->profile->threads[i];
        if (thread->process != e->process) {
            continue;
        }
        double native = (double)thread->states_ns[AC_NATIVE] / 1e9 / e->wall_s;
        for (int s = 0; s < AC_STATE_COUNT; s++) {
            e->p_states[s] += (double)thread->states_ns[s] / 1e9 / e->wall_s;
        }
        double on_cpu = (double)thread->cpu_ns / 1e9 / e->wall_s;
        e->p_threads += thread->merged;
        e->p_used += on_cpu;
        if (wanted_share(thread) >= enough) {
            e->p_wanting += thread->merged;
            e->p_wanting_python += (double)thread->states_ns[AC_PYTHON] / 1e9 / e->wall_s;
            e->p_wanting_life += (double)thread->alive_ns / 1e9 / e->wall_s;
        }
        e->p_native += native >= 0.1 * thread->merged ? thread->merged : 0;
        e->p_busiest = thread->merged == 1 ? ac_max(e->p_busiest, on_cpu) : e->p_busiest;
    }
    if (b->profile->process_count) {
        const struct ac_process *process = &b->profile->processes[e->process];
        e->free_threaded = process->free_threaded;
        e->gil_enabled = process->gil_enabled;
        e->gil_cause = process->gil_cause;
        e->readable = process->python != 0 && process->note == 0;
    }
}

static void import_figure(const struct builder *b) {
    for (size_t i = 0; i < b->profile->cell_count; i++) {
        const struct ac_cell *cell = &b->profile->cells[i];
        if (in_main_process(b, cell, AC_PYTHON) && b->profile->nodes[cell->node].activity == AC_IMPORT) {
            b->evidence->importing += (double)cell->ns / 1e9 / b->evidence->wall_s;
        }
    }
}

static void c_call_figure(const struct builder *b) {
    double kinds[AC_KIND_COUNT] = {0};
    for (size_t i = 0; i < b->profile->cell_count; i++) {
        const struct ac_cell *cell = &b->profile->cells[i];
        if (in_main_process(b, cell, AC_PYTHON)) {
            kinds[cell->kind] += (double)cell->ns;
        }
    }
    double told = kinds[AC_KIND_BYTECODE] + kinds[AC_KIND_C_CALL];
    b->evidence->c_call = told > 0 ? kinds[AC_KIND_C_CALL] / told : -1;
}

int ac_scene_spot(const struct ac_scene *scene, ac_cell_fn wanted, const void *arg, struct ac_spot *ret) {
    struct builder b = {.profile = scene->profile, .evidence = scene->evidence, .user = scene->user};
    struct tallies tallies = {0};
    int err = 0;
    for (size_t i = 0; !err && i < scene->profile->cell_count; i++) {
        if (wanted(scene, &scene->profile->cells[i], arg)) {
            err = add_innermost(&b, &tallies, &scene->profile->cells[i]);
        }
    }
    *ret = heaviest(scene->profile, &tallies);
    tallies_free(&tallies);
    return err;
}

/* Was the child forked from it and never became another program? */
static bool is_fork_of(const struct ac_process *parent, const struct ac_process *child) {
    bool same = child->ppid == parent->pid && child->exe == parent->exe && child->argc == parent->argc;
    for (size_t i = 0; same && i < AC_COUNT(child->argv) && i < child->argc; i++) {
        same = child->argv[i] == parent->argv[i];
    }
    /* what becomes another program does so at once */
    bool stays = child->to_ns - child->from_ns >= STAYS_NS;
    return same && stays && parent->python && child->python && child->from_ns > parent->from_ns;
}

/* Threads of the parent that were alive for a while before and after the fork. */
static uint32_t threads_at(const struct ac_profile *p, uint32_t process, int64_t at) {
    uint32_t count = 0;
    for (size_t i = 0; i < p->thread_count; i++) {
        const struct ac_thread *thread = &p->threads[i];
        count += thread->process == process && thread->merged == 1 && thread->python == 1 &&
                 thread->from_ns + FORK_NS < at && thread->to_ns > at + FORK_NS;
    }
    return count;
}

static void add_fork(const struct builder *b, uint32_t parent, uint32_t child) {
    struct ac_evidence *e = b->evidence;
    uint32_t threads = threads_at(b->profile, parent, b->profile->processes[child].from_ns);
    bool cuda = b->profile->processes[child].cuda;
    if (threads < 2 && !cuda) {
        return;
    }
    if (e->forks == 0 || threads > e->fork_threads) {
        e->fork_threads = ac_max(threads, 1u);
        e->fork_parent = parent;
    }
    e->forks++;
    e->cuda_forks += cuda;
}

static void fork_figures(const struct builder *b) {
    const struct ac_profile *p = b->profile;
    for (uint32_t child = 1; child < p->process_count; child++) {
        for (uint32_t parent = 0; parent < p->process_count; parent++) {
            if (parent != child && is_fork_of(&p->processes[parent], &p->processes[child])) {
                add_fork(b, parent, child);
            }
        }
    }
}

static int scene_figures(const struct builder *b) {
    struct ac_marks marks = {0};
    fork_figures(b);
    int err = ac_marks_new(b->profile, b->user, &marks);
    struct ac_scene scene = {b->profile, &marks, b->user, b->evidence};
    err = err ? err : ac_waits_figures(&scene);
    err = err ? err : ac_lock_figures(&scene);
    err = err ? err : ac_pool_figures(&scene);
    err = err ? err : ac_loop_figures(&scene);
    ac_marks_free(&marks);
    return err;
}

int ac_evidence_new(const struct ac_profile *profile, struct ac_evidence **ret_evidence) {
    struct builder b = {.profile = profile};
    int err = -ENOMEM;
    b.evidence = ac_calloc(1, sizeof(*b.evidence));
    uint8_t *user = ac_calloc(profile->func_count, 1);
    b.user = user;
    b.busy = ac_calloc(profile->process_count, sizeof(*b.busy));
    if (!b.evidence || !user || !b.busy) {
        goto out;
    }
    for (size_t i = 0; i < profile->func_count; i++) {
        user[i] = ac_is_user_func(profile, (uint32_t)i);
    }
    run_figures(profile, b.evidence);
    thread_figures(&b);
    process_figures(&b);
    import_figure(&b);
    c_call_figure(&b);
    err = find_spots(&b);
    err = err ? err : scene_figures(&b);
out:
    ac_free(user);
    ac_free(b.busy);
    if (err) {
        ac_evidence_free(b.evidence);
    } else {
        *ret_evidence = b.evidence;
    }
    return err;
}

void ac_evidence_free(struct ac_evidence *evidence) {
    ac_free(evidence);
}

enum ac_python_program ac_profile_python(const struct ac_profile *profile, const ac_str *argv, size_t argc,
                                         const char **ret_what) {
    const char *words[AC_COUNT(profile->argv)];
    *ret_what = "";
    if (argc == 0 || strncmp(ac_base_name(ac_profile_text(profile, argv[0])), "python", 6) != 0) {
        return AC_PYTHON_NOTHING;
    }
    size_t count = ac_min(argc, AC_COUNT(words));
    for (size_t i = 0; i < count; i++) {
        words[i] = ac_profile_text(profile, argv[i]);
    }
    return ac_python_argv(words, count, ret_what);
}
