/* Verdicts on profiles built to have them, and on the near misses that must not. Thread states are in
 * average threads over the run, as research measured them on real programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "verdict/evidence.h"

#define APP "/home/me/batch.py"

/* Threads that are alike: `each` of these states a thread, in shares of the run. */
struct group {
    int count;
    int process;
    bool main;
    double python, gil, native, no_cpu, io, disk, lock, sleep, other, unknown;
    const char *function, *caller; /* user frames, leaf first: function at line 6, caller at 22 */
    bool merged;                   /* one row for all of them: many short threads */
};

struct world {
    const char *name, *verdict;
    double wall; /* 0: 8 s */
    double rate; /* 0: 200 Hz */
    int online, affinity;
    double quota, others;
    unsigned limits;
    bool free_threaded, gil_off, not_python;
    enum ac_confidence least, most; /* most 0: sure */
    double c_call;                  /* share of python time inside C functions */
    struct group groups[6];
};

static double wall_of(const struct world *w) {
    return w->wall > 0 ? w->wall : 8.0;
}

static uint32_t frame_of(struct ac_profile *p, const char *name, const char *file, int32_t line) {
    uint32_t func, frame;
    assert_int_equal(ac_profile_func(p, name, file, line - 2, &func), 0);
    assert_int_equal(ac_profile_frame(p, func, line, &frame), 0);
    return frame;
}

static uint32_t stack_of(struct ac_profile *p, const struct group *g, bool waits) {
    uint32_t frames[8], count = 0, node;
    if (waits) {
        frames[count++] = frame_of(p, "Condition.wait", "/usr/lib/python3.13/threading.py", 355);
    }
    if (g->function) {
        frames[count++] = frame_of(p, g->function, APP, 6);
    }
    if (g->caller) {
        frames[count++] = frame_of(p, g->caller, APP, 22);
    }
    if (!g->main) {
        frames[count++] = frame_of(p, "Thread.run", "/usr/lib/python3.13/threading.py", 1001);
    }
    assert_int_equal(ac_profile_stack(p, frames, count, &node), 0);
    return node;
}

static void add_thread(struct ac_profile *p, const struct world *w, const struct group *g) {
    const double shares[AC_STATE_COUNT] = {g->python, g->gil,  g->native, g->no_cpu, g->io,
                                           g->disk,   g->lock, g->sleep,  g->other,  g->unknown};
    uint32_t at = (uint32_t)p->thread_count++;
    assert_int_equal(ac_grow(&p->threads, &p->thread_cap, p->thread_count, sizeof *p->threads), 0);
    struct ac_thread thread = {.process = (uint32_t)g->process,
                               .tid = (int32_t)(1000 + at),
                               .merged = g->merged ? (uint32_t)g->count : 1,
                               .python = !w->not_python,
                               .main = g->main,
                               .to_ns = p->wall_ns};
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        thread.states_ns[s] = (int64_t)(shares[s] * wall_of(w) * 1e9);
        thread.alive_ns += thread.states_ns[s];
        double c_call = s == AC_PYTHON ? w->c_call : 0;
        uint32_t node = stack_of(p, g, s > AC_NO_CPU);
        int64_t inside = (int64_t)((double)thread.states_ns[s] * c_call);
        ac_profile_cell(p, at, node, (enum ac_state)s, s == AC_PYTHON ? AC_KIND_BYTECODE : AC_KIND_NONE,
                        thread.states_ns[s] - inside);
        ac_profile_cell(p, at, node, (enum ac_state)s, AC_KIND_C_CALL, inside);
    }
    thread.cpu_ns = thread.states_ns[AC_PYTHON] + thread.states_ns[AC_NATIVE];
    p->cpu_ns += thread.cpu_ns;
    p->processes[g->process].cpu_ns += thread.cpu_ns;
    p->threads[at] = thread;
}

static struct ac_profile *profile_of(const struct world *w) {
    struct ac_profile *p;
    assert_int_equal(ac_profile_new(&p), 0);
    p->wall_ns = (int64_t)(wall_of(w) * 1e9);
    p->limits = w->limits;
    p->sampling.rate_hz = w->rate > 0 ? w->rate : 200;
    p->cpus.online = w->online ? w->online : 4;
    p->cpus.affinity = w->affinity ? w->affinity : p->cpus.online;
    p->cpus.quota = w->quota;
    p->cpus.usable = w->quota > 0 ? ac_min(w->quota, p->cpus.affinity) : p->cpus.affinity;
    for (size_t i = 0; i < AC_COUNT(w->groups) && w->groups[i].count; i++) {
        const struct group *g = &w->groups[i];
        size_t need = (size_t)g->process + 1;
        assert_int_equal(ac_grow(&p->processes, &p->process_cap, need, sizeof *p->processes), 0);
        while (p->process_count < need) {
            struct ac_process *process = &p->processes[p->process_count++];
            *process = (struct ac_process){.pid = (int32_t)(1000 + p->process_count),
                                           .free_threaded = w->free_threaded,
                                           .gil_enabled = !w->gil_off,
                                           .to_ns = p->wall_ns};
            if (!w->not_python) {
                ac_profile_string(p, "3.13.0", 6, &process->python);
            }
        }
        for (int n = 0; n < (g->merged ? 1 : g->count); n++) {
            add_thread(p, w, g);
        }
    }
    p->sampling.samples = (int64_t)(p->sampling.rate_hz * wall_of(w) * (double)p->thread_count);
    p->cpus.machine_busy_ns = w->others < 0 ? -1 : p->cpu_ns + (int64_t)(w->others * wall_of(w) * 1e9);
    return p;
}

static struct ac_diagnosis *diagnosis_of(const struct ac_profile *p, ac_source_fn source) {
    struct ac_diagnosis *d;
    assert_true(ac_profile_valid(p));
    assert_int_equal(ac_diagnose(p, source, NULL, &d), 0);
    return d;
}

#define JOINING                                                                                              \
    { .count = 1, .main = true, .python = .01, .lock = .99, .function = "main" }
#define MAIN(...)                                                                                            \
    { .count = 1, .main = true, .function = "work", .caller = "main", __VA_ARGS__ }
#define EACH(n, ...)                                                                                         \
    { .count = n, .function = "work", __VA_ARGS__ }

static const struct world worlds[] = {
    /* --- gil-bound-threads */
    {"eight threads", "gil-bound-threads", .least = AC_SURE,
     .groups = {JOINING, EACH(8, .python = .124, .gil = .87, .no_cpu = .006)}},
    {"three threads of a script", "gil-bound-threads", .least = AC_SURE,
     .groups = {{.count = 1, .main = true, .lock = 1, .function = "<module>"},
                EACH(3, .python = .33, .gil = .66)}},
    {"two threads", "gil-bound-threads", .least = AC_SURE,
     .groups = {JOINING, EACH(2, .python = .49, .gil = .5, .native = .01)}},
    {"four threads on two CPUs, hand-over noise", "gil-bound-threads", .least = AC_SURE, .online = 2,
     .groups = {JOINING, EACH(4, .python = .225, .gil = .74, .native = .02, .no_cpu = .015)}},
    {"inside a C function that keeps the GIL", "gil-bound-threads", .least = AC_SURE, .c_call = .95,
     .groups = {JOINING, EACH(4, .python = .245, .gil = .75)}},
    {"eight threads, two of which have work", "gil-bound-threads", .least = AC_LIKELY,
     .groups = {JOINING, EACH(2, .python = .49, .gil = .5), EACH(6, .lock = .99)}},
    {"the main thread works with its three", "gil-bound-threads", .least = AC_SURE,
     .groups = {MAIN(.python = .25, .gil = .74), EACH(3, .python = .245, .gil = .75)}},
    {"many short threads, four at a time", "gil-bound-threads", .least = AC_LIKELY,
     .groups = {JOINING, EACH(300, .python = .95, .gil = 2.9, .no_cpu = .1, .merged = true)}},
    {"in the second half of the run", "gil-bound-threads", .least = AC_LIKELY,
     .groups = {MAIN(.python = .3, .lock = .7), EACH(8, .python = .085, .gil = .6, .other = .005)}},
    {"four threads with some native code", "gil-bound-threads", .least = AC_LIKELY,
     .groups = {JOINING, EACH(4, .python = .24, .gil = .6, .native = .15)}},
    {"two processes of four threads on eight CPUs", "gil-bound-threads", .least = AC_SURE, .online = 8,
     .groups = {JOINING, EACH(4, .python = .245, .gil = .75),
                EACH(4, .process = 1, .python = .24, .gil = .75)}},
    {"on a machine with one other program", "gil-bound-threads", .least = AC_LIKELY, .others = 1,
     .groups = {JOINING, EACH(4, .python = .24, .gil = .74, .no_cpu = .015)}},
    {"on a free-threaded build with the GIL", "gil-bound-threads", .least = AC_SURE, .free_threaded = true,
     .groups = {JOINING, EACH(4, .python = .245, .gil = .75)}},
    /* its near misses */
    {"mostly I/O, a little waiting for the GIL", "unclear",
     .groups = {JOINING, EACH(8, .python = .08, .gil = .05, .io = .86)}},
    {"four threads on one usable CPU", "all-cores-busy", .quota = 1,
     .groups = {JOINING, EACH(4, .python = .245, .gil = .75)}},
    {"no GIL", "all-cores-busy", .free_threaded = true, .gil_off = true,
     .groups = {JOINING, EACH(4, .python = .98, .no_cpu = .01)}},
    {"threads that hash, small parts under the GIL", "native-parallel",
     .groups = {JOINING, EACH(4, .python = .02, .gil = .04, .native = .92, .no_cpu = .02)}},
    /* --- single-thread-python */
    {"one thread", "single-thread-python", .least = AC_SURE, .groups = {MAIN(.python = .98, .no_cpu = .005)}},
    {"with an idle pool", "single-thread-python", .least = AC_SURE,
     .groups = {MAIN(.python = .97, .gil = .005), EACH(4, .lock = .99)}},
    {"a worker thread while the main one joins it", "single-thread-python", .least = AC_SURE,
     .groups = {JOINING, EACH(1, .python = .98, .gil = .005)}},
    {"with a thread that wakes up now and then", "single-thread-python", .least = AC_LIKELY,
     .groups = {MAIN(.python = .95, .gil = .03), EACH(1, .python = .02, .gil = .04, .sleep = .93)}},
    {"with waits between", "single-thread-python", .least = AC_GUESS, .most = AC_LIKELY,
     .groups = {MAIN(.python = .65, .io = .34)}},
    {"with a child that waits", "single-thread-python", .least = AC_SURE,
     .groups = {MAIN(.python = .98), EACH(1, .process = 1, .main = true, .lock = .99)}},
    {"on a machine with two busy CPUs", "single-thread-python", .least = AC_LIKELY, .others = 2,
     .groups = {MAIN(.python = .95, .no_cpu = .03)}},
    {"no GIL, one thread", "single-thread-python", .least = AC_SURE, .free_threaded = true, .gil_off = true,
     .groups = {MAIN(.python = .98)}},
    /* its near misses */
    {"waits and computes by turns", "unclear", .groups = {MAIN(.python = .4, .sleep = .6)}},
    {"one thread on one CPU", "all-cores-busy", .online = 1, .groups = {MAIN(.python = .98)}},
    /* --- single-thread-native */
    {"one thread hashes", "single-thread-native", .least = AC_SURE,
     .groups = {MAIN(.python = .02, .native = .96)}},
    {"one thread of a program that is not Python", "single-thread-native", .least = AC_SURE,
     .not_python = true, .groups = {{.count = 1, .main = true, .native = .98}}},
    {"half of it native", "single-thread-native", .least = AC_GUESS, .most = AC_LIKELY,
     .groups = {MAIN(.python = .45, .native = .53)}},
    /* --- native-parallel */
    {"a thread a CPU", "native-parallel", .least = AC_SURE,
     .groups = {JOINING, EACH(4, .python = .01, .native = .97)}},
    {"more threads than CPUs", "native-parallel", .least = AC_SURE,
     .groups = {JOINING, EACH(8, .python = .01, .native = .48, .no_cpu = .5)}},
    {"two threads of sixteen CPUs", "native-parallel", .least = AC_SURE, .online = 16,
     .groups = {JOINING, EACH(2, .python = .01, .native = .97)}},
    /* --- all-cores-busy */
    {"four processes", "all-cores-busy", .least = AC_SURE,
     .groups = {{.count = 1, .main = true, .other = .99},
                EACH(1, .process = 1, .main = true, .python = .98),
                EACH(1, .process = 2, .main = true, .python = .98),
                EACH(1, .process = 3, .main = true, .python = .98),
                EACH(1, .process = 4, .main = true, .python = .98)}},
    {"two processes of a quota of two", "all-cores-busy", .least = AC_SURE, .quota = 2,
     .groups = {{.count = 1, .main = true, .other = .99},
                EACH(1, .process = 1, .main = true, .python = .98),
                EACH(1, .process = 2, .main = true, .python = .98)}},
    /* --- machine-busy */
    {"four processes share with four others", "machine-busy", .least = AC_LIKELY, .others = 2,
     .groups = {{.count = 1, .main = true, .other = .99},
                EACH(1, .process = 1, .main = true, .python = .5, .no_cpu = .5),
                EACH(1, .process = 2, .main = true, .python = .5, .no_cpu = .5),
                EACH(1, .process = 3, .main = true, .python = .5, .no_cpu = .5),
                EACH(1, .process = 4, .main = true, .python = .5, .no_cpu = .5)}},
    {"threads that hash share with others", "machine-busy", .least = AC_LIKELY, .others = 2,
     .groups = {JOINING, EACH(4, .native = .48, .no_cpu = .5)}},
    {"one thread that gets half a CPU", "machine-busy", .least = AC_GUESS, .online = 2, .others = 1.5,
     .groups = {MAIN(.python = .5, .no_cpu = .49)}},
    /* --- pinned */
    {"four threads hash on one of four CPUs", "pinned", .least = AC_SURE, .affinity = 1,
     .groups = {JOINING, EACH(4, .native = .245, .no_cpu = .75)}},
    {"four processes on two of eight CPUs", "pinned", .least = AC_SURE, .online = 8, .affinity = 2,
     .groups = {{.count = 1, .main = true, .other = .99},
                EACH(1, .process = 1, .main = true, .python = .49, .no_cpu = .5),
                EACH(1, .process = 2, .main = true, .python = .49, .no_cpu = .5),
                EACH(1, .process = 3, .main = true, .python = .49, .no_cpu = .5),
                EACH(1, .process = 4, .main = true, .python = .49, .no_cpu = .5)}},
    /* its near misses */
    {"pinned to two of four, but one thread", "single-thread-python", .affinity = 2,
     .groups = {MAIN(.python = .98)}},
    {"pinned and idle", "idle", .affinity = 1, .groups = {MAIN(.python = .02, .sleep = .98)}},
    {"a quota below the affinity", "all-cores-busy", .affinity = 2, .quota = 1,
     .groups = {{.count = 1, .main = true, .other = .99},
                EACH(1, .process = 1, .main = true, .python = .5, .no_cpu = .48),
                EACH(1, .process = 2, .main = true, .python = .5, .no_cpu = .48)}},
    /* --- idle */
    {"a queue worker", "idle", .least = AC_SURE, .groups = {JOINING, EACH(4, .python = .01, .lock = .98)}},
    {"a server nobody asks", "idle", .least = AC_SURE, .groups = {MAIN(.python = .01, .io = .98)}},
    {"a sleep", "idle", .least = AC_SURE, .groups = {MAIN(.python = .02, .sleep = .98)}},
    {"on a busy machine", "idle", .least = AC_LIKELY, .others = 3.9,
     .groups = {MAIN(.python = .02, .no_cpu = .02, .sleep = .96)}},
    /* --- too-short */
    {"50 ms", "too-short", .wall = .05, .groups = {MAIN(.python = .98)}},
    {"half a second at 20 Hz", "too-short", .wall = .5, .rate = 20, .groups = {MAIN(.python = .98)}},
    {"half a second at 200 Hz is enough", "single-thread-python", .wall = .55,
     .groups = {MAIN(.python = .98)}},
    {"50 ms of threads", "too-short", .wall = .05, .groups = {JOINING, EACH(8, .python = .12, .gil = .87)}},
    /* --- what the run could not see lowers the confidence */
    {"without schedstat", "gil-bound-threads", .most = AC_LIKELY, .limits = AC_LIMIT_NO_SCHEDSTAT,
     .groups = {JOINING, EACH(8, .python = .124, .gil = .87)}},
    {"a crowded machine without the ring", "gil-bound-threads", .most = AC_LIKELY, .others = 1.5,
     .limits = AC_LIMIT_NO_RING, .groups = {JOINING, EACH(8, .python = .1, .gil = .86, .no_cpu = .03)}},
    {"without the right to read it", "unclear", .limits = AC_LIMIT_NO_PTRACE, .most = AC_LIKELY,
     .not_python = true, .groups = {{.count = 8, .main = true, .native = .12, .unknown = .87}}},
};

static void verdicts_are_right(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < AC_COUNT(worlds); i++) {
        const struct world *w = &worlds[i];
        struct ac_profile *p = profile_of(w);
        struct ac_diagnosis *d = diagnosis_of(p, NULL);
        const struct ac_verdict *v = &d->main;
        enum ac_confidence most = w->most ? w->most : AC_SURE;
        if (strcmp(v->id, w->verdict) != 0 || v->confidence < w->least || v->confidence > most) {
            print_error("%s: %s, %s (not %s)\n  %s\n  %s\n", w->name, v->id,
                        ac_confidence_names[v->confidence], w->verdict, v->sentence, v->evidence);
            wrong++;
        }
        ac_diagnosis_free(d);
        ac_profile_free(p);
    }
    assert_int_equal(wrong, 0);
}

/* A few points of sampling noise in every state must not change the verdict, only its confidence. */
static void noise_does_not_flip_a_sure_verdict(void **state) {
    (void)state;
    struct ac_random random;
    ac_random_seed(&random, 7);
    for (size_t i = 0; i < AC_COUNT(worlds); i++) {
        if (worlds[i].least != AC_SURE) {
            continue;
        }
        for (int n = 0; n < 50; n++) {
            struct ac_profile *p = profile_of(&worlds[i]);
            for (size_t t = 0; t < p->thread_count; t++) {
                struct ac_thread *thread = &p->threads[t];
                int from = (int)(ac_random_next(&random) % 3); /* python, gil wait, native */
                int to = (int)(ac_random_next(&random) % 3);
                int64_t moved = (int64_t)((double)thread->alive_ns * 0.02 * ac_random_unit(&random));
                moved = ac_min(moved, thread->states_ns[from]);
                thread->states_ns[from] -= moved;
                thread->states_ns[to] += moved;
            }
            struct ac_diagnosis *d = diagnosis_of(p, NULL);
            if (strcmp(d->main.id, worlds[i].verdict) != 0) {
                fail_msg("%s became %s", worlds[i].name, d->main.id);
            }
            ac_diagnosis_free(d);
            ac_profile_free(p);
        }
    }
}

static const struct world *world_of(const char *name) {
    for (size_t i = 0; i < AC_COUNT(worlds); i++) {
        if (strcmp(worlds[i].name, name) == 0) {
            return &worlds[i];
        }
    }
    fail_msg("no world %s", name);
    return NULL;
}

static void assert_holds(const char *text, const char *part) {
    if (!text || !strstr(text, part)) {
        fail_msg("\"%s\" is not in \"%s\"", part, text ? text : "(null)");
    }
}

/* --- words, estimates and snippets */

static void threads_took_turns(void **state) {
    (void)state;
    struct ac_profile *p = profile_of(world_of("eight threads"));
    struct ac_diagnosis *d = diagnosis_of(p, NULL);
    const struct ac_verdict *v = &d->main;
    assert_string_equal(v->sentence, "Threads took turns: 8 threads ran Python, 1.0 of 4 CPUs was used");
    assert_string_equal(v->evidence,
                        "work (batch.py:6) held the GIL for 99 % of 8.0 s while 7.0 threads waited for it");
    assert_true(v->estimate_speedup > 3.5 && v->estimate_speedup < 4.05);
    assert_holds(v->fix_text, "processes; about ");
    assert_holds(v->fix_text, "(an estimate for 4 usable CPUs)");
    assert_string_equal(v->fix_code,
                        "with ProcessPoolExecutor() as executor:  # in place of the threads, batch.py:6\n"
                        "    results = list(executor.map(work, items))");
    assert_string_equal(v->fix_place.file, APP);
    assert_holds(v->fix_more, "from allcores import ProcessPoolExecutor");
    assert_holds(v->fix_more, "lambdas");
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

static void the_gil_that_came_back_is_named(void **state) {
    (void)state;
    struct ac_profile *p = profile_of(world_of("on a free-threaded build with the GIL"));
    struct ac_diagnosis *d = diagnosis_of(p, NULL);
    assert_holds(d->main.fix_text, "free-threaded build that runs with the GIL");
    assert_null(d->main.fix_code);
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

static void where_there_is_no_gil_threads_are_the_fix(void **state) {
    (void)state;
    struct ac_profile *p = profile_of(world_of("no GIL, one thread"));
    struct ac_diagnosis *d = diagnosis_of(p, NULL);
    assert_holds(d->main.fix_text, "threads (this build has no GIL)");
    assert_holds(d->main.fix_code, "with ThreadPoolExecutor()");
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

static void estimates_count_what_is_free(void **state) {
    (void)state;
    struct ac_profile *p = profile_of(world_of("on a machine with two busy CPUs"));
    struct ac_diagnosis *d = diagnosis_of(p, NULL);
    assert_true(d->main.estimate_speedup > 1.5 && d->main.estimate_speedup < 3);
    assert_holds(d->main.fix_text, "beside what else runs");
    ac_diagnosis_free(d);
    ac_profile_free(p);
    p = profile_of(world_of("in the second half of the run")); /* Amdahl: a third stays as it is */
    d = diagnosis_of(p, NULL);
    assert_true(d->main.estimate_speedup > 1.5 && d->main.estimate_speedup < 2.7);
    ac_diagnosis_free(d);
    ac_profile_free(p);
    p = profile_of(world_of("two threads")); /* two threads are two processes */
    d = diagnosis_of(p, NULL);
    assert_true(d->main.estimate_speedup > 1.7 && d->main.estimate_speedup < 2.05);
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

/* Lines of batch.py by number, from 1. */
static const char *const *source_text;

static const char *source_line(const char *file, int32_t line, void *arg) {
    (void)arg;
    for (int32_t i = 1; strcmp(file, APP) == 0 && source_text[i - 1]; i++) {
        if (i == line) {
            return source_text[i - 1];
        }
    }
    return NULL;
}

static void check_code(const char *world, const char *const *text, const char *code, int32_t line) {
    struct ac_profile *p = profile_of(world_of(world));
    source_text = text;
    struct ac_diagnosis *d = diagnosis_of(p, source_line);
    if (code) {
        assert_holds(d->main.fix_code, code);
    } else {
        assert_null(d->main.fix_code);
    }
    if (line) {
        assert_int_equal(d->main.fix_place.line, line);
    }
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

static void snippets_are_the_users_own_lines(void **state) {
    (void)state;
    /* main waits at line 6, work is at line 6 of its own stack (def at 4); the caller's line is 22 */
    static const char *const pool[] = {"",
                                       "",
                                       "",
                                       "def work(chunk):",
                                       "    with ThreadPoolExecutor(8) as ex:",
                                       "        results = list(ex.map(work, chunks))",
                                       NULL};
    check_code("eight threads", pool,
               "from concurrent.futures import ProcessPoolExecutor\n"
               "with ProcessPoolExecutor(8) as ex:  # batch.py:5",
               5);
    static const char *const threads[] = {"",
                                          "",
                                          "",
                                          "def work(chunk):",
                                          "    all = [Thread(target=work, args=(c,)) for c in chunks]",
                                          "    for one in all: one.join()",
                                          NULL};
    check_code("eight threads", threads, "in place of the threads, batch.py:5", 5);
    static const char *const module[] = {"",
                                         "",
                                         "",
                                         "def work(chunk):",
                                         "all = [Thread(target=work, args=(c,)) for c in chunks]",
                                         "for one in all: one.join()",
                                         NULL};
    check_code("three threads of a script", module,
               "if __name__ == \"__main__\":  # each process imports this file\n"
               "    with ProcessPoolExecutor() as executor:  # in place of the threads, batch.py:5\n"
               "        results = list(executor.map(work, items))",
               5);
    static const char *const nested[] = {"", "", "", "    def work(chunk):", "", "    join()", NULL};
    check_code("eight threads", nested, NULL, 0);
}

#define TWENTY "", "", "", "def work(chunk):", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", ""

static void the_loop_is_found_in_the_source(void **state) {
    (void)state;
    static const char *const loop[] = {TWENTY, "    for item in items:", "        total += work(item)", NULL};
    check_code("one thread", loop, "executor.map(work, items)", 21);
    check_code("one thread hashes", loop, "with ThreadPoolExecutor() as executor", 21);
    static const char *const comprehension[] = {TWENTY, "", "    total = sum(work(item) for item in items)",
                                                NULL};
    check_code("one thread", comprehension, "executor.map(work, items)", 22);
    static const char *const once[] = {TWENTY, "def main():", "    work(1)", NULL};
    check_code("one thread", once, NULL, 0);
    check_code("one thread hashes", once, NULL, 0);
    static const char *const shallow[] = {TWENTY, "if __name__ == '__main__':", "    work(1)", NULL};
    check_code("one thread", shallow, NULL, 0);
}

static void names_are_as_their_writers_say_them(void **state) {
    (void)state;
    static const char *const names[][2] = {
        {"work", "work"},
        {"Work.transform", "Work.transform"},
        {"<module>", "module-level code"},
        {"<listcomp>", "a comprehension"},
        {"main.<locals>.work", "main.work"},
        {"main.<locals>.<genexpr>", "main"},
        {"main.<locals>.inner.<locals>.<listcomp>", "main.inner"},
        {"main.<locals>.<lambda>", "main.<lambda>"},
        {"<lambda>", "<lambda>"},
        {"", ""},
        {"<locals>.", ""},
        {".<locals>.<genexpr>", ""},
    };
    for (size_t i = 0; i < AC_COUNT(names); i++) {
        struct ac_buf buf = {0};
        ac_put_function(&buf, names[i][0]);
        assert_string_equal(ac_buf_text(&buf), names[i][1]);
        ac_buf_free(&buf);
    }
}

static void user_files_are_told_from_others(void **state) {
    (void)state;
    assert_true(ac_is_user_file("/home/me/batch.py"));
    assert_true(ac_is_user_file("batch.py"));
    assert_true(ac_is_user_file("<stdin>"));
    assert_true(ac_is_user_file("<string>"));
    assert_true(ac_is_user_file("/home/me/library/python3.py"));
    assert_false(ac_is_user_file("/usr/lib/python3.13/threading.py"));
    assert_false(ac_is_user_file("/opt/py/lib/python3.14t/json/decoder.py"));
    assert_false(ac_is_user_file("/venv/lib/python3.11/site-packages/numpy/core.py"));
    assert_false(ac_is_user_file("<frozen importlib._bootstrap>"));
    assert_false(ac_is_user_file(""));
}

/* Nothing was seen at all: a pid that was gone, rows of no length. */
static void an_empty_profile_has_a_verdict(void **state) {
    (void)state;
    struct ac_profile *p;
    struct ac_diagnosis *d;
    assert_int_equal(ac_profile_new(&p), 0);
    d = diagnosis_of(p, NULL);
    assert_string_equal(d->main.id, "too-short");
    ac_diagnosis_free(d);
    p->wall_ns = 5 * AC_NS_PER_S;
    p->sampling.rate_hz = 200;
    d = diagnosis_of(p, NULL);
    assert_non_null(d->main.sentence);
    ac_diagnosis_free(d);
    ac_profile_free(p);
}

static void memory_may_run_out(void **state) {
    (void)state;
    struct ac_profile *p = profile_of(world_of("one thread"));
    static const char *const loop[] = {TWENTY, "    for item in items:", "        total += work(item)", NULL};
    source_text = loop;
    int err = -ENOMEM;
    for (unsigned long n = 1; err && n < 500; n++) {
        struct ac_diagnosis *d = NULL;
        ac_memory_fail_at(n);
        err = ac_diagnose(p, source_line, NULL, &d);
        ac_memory_fail_at(0);
        assert_true(err == 0 || err == -ENOMEM);
        assert_true(err == 0 || d == NULL);
        ac_diagnosis_free(d);
    }
    assert_int_equal(err, 0);
    ac_profile_free(p);
}

static void ids_are_stable(void **state) {
    (void)state;
    static const char *const ids[] = {"gil-bound-threads",
                                      "single-thread-python",
                                      "single-thread-native",
                                      "native-parallel",
                                      "all-cores-busy",
                                      "machine-busy",
                                      "pinned",
                                      "idle",
                                      "unclear",
                                      "too-short",
                                      "oversubscribed",
                                      "disk-bound",
                                      "io-threads-ok",
                                      "io-sequential",
                                      "cpu-quota",
                                      "lock-contention",
                                      "tiny-tasks",
                                      "pickling",
                                      "starved-pool",
                                      "uneven-tasks",
                                      "serial-pool-use",
                                      "start-up",
                                      "blocked-event-loop",
                                      "serial-awaits",
                                      "gil-reenabled",
                                      "fork-hazard"};
    for (size_t i = 0; i < AC_COUNT(ids); i++) {
        size_t at = 0;
        while (ac_verdict_id(at) && strcmp(ac_verdict_id(at), ids[i]) != 0) {
            at++;
        }
        assert_non_null(ac_verdict_id(at));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_are_right),
        cmocka_unit_test(noise_does_not_flip_a_sure_verdict),
        cmocka_unit_test(threads_took_turns),
        cmocka_unit_test(the_gil_that_came_back_is_named),
        cmocka_unit_test(where_there_is_no_gil_threads_are_the_fix),
        cmocka_unit_test(estimates_count_what_is_free),
        cmocka_unit_test(snippets_are_the_users_own_lines),
        cmocka_unit_test(the_loop_is_found_in_the_source),
        cmocka_unit_test(names_are_as_their_writers_say_them),
        cmocka_unit_test(user_files_are_told_from_others),
        cmocka_unit_test(an_empty_profile_has_a_verdict),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(ids_are_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
