#include "made_up.h"

#include <stdio.h>
#include <string.h>

#define STACKS    64 /* that differ */
#define TURN      (5 * (int64_t)AC_NS_PER_MS)
#define BUSY_STEP (200 * (int64_t)AC_NS_PER_MS)

static int add_thread(struct ac_profile *p, uint32_t i, int64_t wall_ns) {
    char name[32];
    snprintf(name, sizeof(name), "worker-%u", i);
    struct ac_thread *t = &p->threads[i];
    *t = (struct ac_thread){.tid = 1000 + (int32_t)i,
                            .merged = 1,
                            .python = 1,
                            .main = i == 0,
                            .to_ns = wall_ns,
                            .alive_ns = wall_ns,
                            .run_delay_ns = -1,
                            .switches_voluntary = -1,
                            .switches_forced = -1};
    t->states_ns[AC_PYTHON] = wall_ns / (int64_t)p->thread_cap;
    t->states_ns[AC_GIL_WAIT] = wall_ns - t->states_ns[AC_PYTHON];
    t->cpu_ns = t->states_ns[AC_PYTHON];
    return ac_profile_string(p, name, strlen(name), &t->name);
}

/* Thread turn % threads holds; each of the others waits from its last turn to its next. */
static int add_turns(struct ac_profile *p, uint32_t threads, int64_t wall_ns) {
    int err = 0;
    for (int64_t at = 0; at < wall_ns && !err; at += TURN) {
        uint32_t thread = (uint32_t)(at / TURN % threads);
        int64_t last = ac_max(0, at - (threads - 1) * TURN);
        struct ac_segment wait = {
            .from_ns = last, .to_ns = at, .thread = thread, .state = AC_GIL_WAIT, .cpu = -1};
        struct ac_segment turn = {.from_ns = at,
                                  .to_ns = at + TURN,
                                  .thread = thread,
                                  .state = AC_PYTHON,
                                  .cpu = (int16_t)(thread % 2)};
        err = at > last ? ac_profile_segment(p, &wait) : 0;
        err = err ? err : ac_profile_segment(p, &turn);
    }
    return err;
}

/* Both CPUs, with no other program on them, as often as the probe looks. */
static int add_busy(struct ac_profile *p, uint32_t threads, int64_t wall_ns) {
    int err = 0;
    for (int64_t at = 0; at < wall_ns && !err; at += BUSY_STEP) {
        int64_t to = ac_min(at + BUSY_STEP, wall_ns);
        int64_t own[2] = {0};
        for (int64_t turn = at / TURN; turn * TURN < to; turn++) {
            own[turn % threads % 2] += ac_min((turn + 1) * TURN, to) - ac_max(turn * TURN, at);
        }
        for (int16_t cpu = 0; cpu < 2 && !err; cpu++) {
            struct ac_busy busy = {.from_ns = at,
                                   .to_ns = to,
                                   .cpu = cpu,
                                   .share = (uint16_t)(own[cpu] * AC_BUSY_ALL / (to - at))};
            err = ac_profile_busy(p, &busy, 2);
        }
    }
    return err;
}

/* A stack as applications have them: a common way in, then deeper by one of several functions at each step.
 */
static int add_stack(struct ac_profile *p, uint32_t *random, uint32_t *ret_node) {
    uint32_t frames[48];
    size_t depth = 16 + (*random = *random * 1664525 + 1013904223) % 32;
    int err = 0;
    for (size_t i = 0; !err && i < depth; i++) {
        *random = *random * 1664525 + 1013904223;
        uint32_t which = i < 6 ? 0 : (*random >> 24) % 12;
        char name[64], file[96];
        uint32_t func = 0;
        snprintf(name, sizeof(name), "RequestHandler%zu.process_batch_%u", i, which);
        snprintf(file, sizeof(file), "/srv/application/package_%zu/handlers_%u.py", i, which);
        err = ac_profile_func(p, name, file, 10, &func);
        err = err ? err : ac_profile_frame(p, func, 10 + (int32_t)which, &frames[depth - 1 - i]);
    }
    return err ? err : ac_profile_stack(p, frames, depth, ret_node);
}

/* Each state's time in all of them, in the first nine times as much as in the last. */
static int add_cells(struct ac_profile *p, const uint32_t *nodes) {
    static const enum ac_state states[] = {AC_PYTHON, AC_GIL_WAIT};
    int err = 0;
    for (uint32_t t = 0; t < p->thread_count; t++) {
        for (size_t s = 0; s < AC_COUNT(states); s++) {
            int64_t all = p->threads[t].states_ns[states[s]];
            int64_t left = all;
            for (uint32_t i = 0; !err && i < STACKS; i++) {
                int64_t part = all / (STACKS * (5 * STACKS + 4)) * (9 * STACKS - 8 * i);
                int64_t ns = i + 1 < STACKS ? part : left;
                left -= ns;
                err = ac_profile_cell(p, t, nodes[i], states[s], AC_KIND_NONE, ns);
            }
        }
    }
    return err;
}

static int add_stacks(struct ac_profile *p) {
    uint32_t nodes[STACKS];
    uint32_t random = 1;
    int err = 0;
    for (size_t i = 0; !err && i < STACKS; i++) {
        err = add_stack(p, &random, &nodes[i]);
    }
    return err ? err : add_cells(p, nodes);
}

int made_up_profile(uint32_t threads, int seconds, struct ac_profile **ret_profile) {
    struct ac_profile *p = NULL;
    int64_t wall_ns = seconds * AC_NS_PER_S;
    int err = ac_profile_new(&p);
    if (err) {
        return err;
    }
    p->wall_ns = p->cpu_ns = wall_ns;
    p->exit_code = -1;
    p->cpus.online = p->cpus.affinity = 2;
    p->cpus.usable = 2;
    p->cpus.machine_busy_ns = -1;
    p->sampling.rate_hz = 200;
    p->sampling.samples = 200 * (int64_t)threads * seconds;
    err = ac_grow(&p->processes, &p->process_cap, 1, sizeof(*p->processes));
    if (!err) {
        p->processes[0] = (struct ac_process){
            .pid = 1000, .to_ns = wall_ns, .cpu_ns = wall_ns, .gil_enabled = 1, .gils = 1};
        p->process_count = 1;
        p->threads = ac_calloc(threads, sizeof(*p->threads));
        p->thread_cap = p->threads ? threads : 0;
        err = p->threads ? 0 : -ENOMEM;
    }
    for (uint32_t i = 0; !err && i < threads; i++) {
        err = add_thread(p, i, wall_ns);
        p->thread_count = i + 1;
    }
    err = err ? err : add_turns(p, threads, wall_ns);
    err = err ? err : add_busy(p, threads, wall_ns);
    err = err || seconds < 2 ? err : add_stacks(p); /* one second is for tests that write it many times */
    if (err) {
        ac_profile_free(p);
        return err;
    }
    *ret_profile = p;
    return 0;
}

int made_up_page(const struct ac_profile *profile, struct ac_buf *buf) {
    struct ac_diagnosis *diagnosis = NULL;
    struct ac_html_options options = {0};
    char code[] = "with ProcessPoolExecutor() as pool:\n    done = list(pool.map(f, items))";
    int err = ac_diagnose(profile, NULL, NULL, &diagnosis);
    if (!err) {
        struct ac_diagnosis with_code = *diagnosis;
        with_code.main.fix_code = code;
        err = ac_report_html(profile, &with_code, &options, buf);
    }
    ac_diagnosis_free(diagnosis);
    return err;
}

int made_up_race(const struct ac_profile *profile, size_t count, struct ac_buf *buf) {
    static const char *const names[] = {"</script><img src=x onerror=alert(1)>",
                                        "run 1",
                                        "run 2",
                                        "run 3",
                                        "run 4",
                                        "run 5",
                                        "run 6",
                                        "run 7"};
    static const char *const columns[] = {"Run", "Wall"};
    struct ac_diagnosis *diagnosis = NULL;
    struct ac_html_options options = {0};
    struct ac_html_run runs[AC_COUNT(names) + 1] = {{0}};
    struct ac_profile profiles[AC_COUNT(names)];
    struct ac_process processes[AC_COUNT(names)];
    const char *cells[2 * AC_COUNT(names)];
    int err = ac_diagnose(profile, NULL, NULL, &diagnosis);
    count = ac_min(count, AC_COUNT(names));
    for (size_t i = 0; i < count; i++) {
        profiles[i] = *profile;
        profiles[i].processes = &processes[i];
        processes[i] = profile->processes[0];
        processes[i].free_threaded = i == 1;
        processes[i].gil_enabled = i != 1;
        processes[i].gils = i == 2 ? 2 : 1;
        runs[i] = (struct ac_html_run){names[i], NULL, &profiles[i], diagnosis, 1.0};
        cells[2 * i] = names[i];
        cells[2 * i + 1] = "1 s";
    }
    runs[count] = (struct ac_html_run){.name = "the last", .note = "it hung"};
    struct ac_html_head head = {.title = "A race",
                                .headline = "All alike",
                                .columns = columns,
                                .column_count = 2,
                                .cells = cells,
                                .row_count = count};
    err = err ? err : ac_report_html_runs(&head, runs, count + 1, &options, buf);
    ac_diagnosis_free(diagnosis);
    return err;
}
