/* cmd_race.c - allcores race: the same function sequential, in threads, processes, interpreters: proof
 * instead of advice. */
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/race.h"
#include "os/os.h"
#include "os/shared.h"
#include "report/names.h"
#include "verdict/race.h"

/* The ways to run it, in the order of the report; `key` is the driver's name for it. */
static const struct contender {
    const char *key, *name;
    enum { ONE, PER_ITEM, PER_CPU } workers;
} contenders[] = {
    {"sequential", "sequential", ONE},
    {"threads", "ThreadPoolExecutor", PER_ITEM},
    {"processes", "ProcessPoolExecutor", PER_CPU},
    {"interpreters", "InterpreterPoolExecutor", PER_CPU},
    {"allcores-pool", "allcores.ProcessPoolExecutor", PER_CPU},
    {"allcores-map", "allcores.map", PER_CPU},
    {"joblib", "joblib.Parallel", PER_CPU},
    {"loky", "loky.ProcessPoolExecutor", PER_CPU},
};

#define MAX_THREADS   32
#define LONG_IMPORT_S 0.5 /* of CPU time, in the module's own code */

struct racing {
    const struct ac_settings *settings;
    char python[PATH_MAX], driver[PATH_MAX];
    int answer_fd, lines_fd;
    json_t *spec, *prepared;
    struct ac_race_code code;
    struct ac_race *race;
    json_t *digests; /* of the first run that finished */
    bool stopped;
};

static void put_text(json_t *object, const char *key, const char *text) {
    struct ac_buf clean = {0};
    ac_buf_utf8(&clean, text, strlen(text));
    json_object_set_new(object, key, json_string(ac_buf_text(&clean)));
    ac_buf_free(&clean);
}

/* --- where things are */

static bool find_driver(struct racing *r, const char *bin) {
    static const char *const places[] = {"lib/python3*/site-packages",       "lib64/python3*/site-packages",
                                         "local/lib/python3*/dist-packages", "lib/python3*/dist-packages",
                                         "lib/python3/dist-packages",        "."};
    for (size_t i = 0; i < AC_COUNT(places); i++) {
        char pattern[PATH_MAX];
        glob_t found;
        int put = snprintf(pattern, sizeof(pattern), "%s/../%s/allcores/_race.py", bin, places[i]);
        if (put > 0 && (size_t)put < sizeof(pattern) && glob(pattern, 0, NULL, &found) == 0) {
            bool real = realpath(found.gl_pathv[found.gl_pathc - 1], r->driver) != NULL;
            globfree(&found);
            if (real) {
                return true;
            }
        }
    }
    return false;
}

/* The interpreter beside the command has allcores; else that of PATH. */
static int find_files(struct racing *r) {
    char bin[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", bin, sizeof(bin) - 1);
    bin[ac_max(len, 0)] = '\0';
    char *slash = strrchr(bin, '/');
    if (slash) {
        *slash = '\0';
    }
    if (!find_driver(r, bin)) {
        return ac_fail("the package's _race.py is not beside %s; reinstall allcores", bin);
    }
    int put = snprintf(r->python, sizeof(r->python), "%s/python3", bin);
    if (r->settings->python) {
        ac_copy(r->python, sizeof(r->python), r->settings->python);
    } else if (put >= (int)sizeof(r->python) || access(r->python, X_OK) != 0) {
        ac_copy(r->python, sizeof(r->python), "python3");
    }
    char path[PATH_MAX];
    bool there = strchr(r->python, '/') ? access(r->python, X_OK) == 0
                                        : ac_path_lookup(r->python, path, sizeof(path)) == 0;
    if (!there) {
        ac_fail("%s: no such interpreter; name one with --python", r->python);
        return AC_EXIT_NOT_FOUND;
    }
    return 0;
}

/* --- what to run, as the driver is told */

/* "app.py:transform" or "package.module:transform": where imports find it goes into PYTHONPATH, for workers
 * too. */
static int set_target(struct racing *r, const char *target) {
    char file[PATH_MAX];
    char dir[PATH_MAX];
    const char *colon = strrchr(target, ':');
    size_t len = colon ? (size_t)(colon - target) : strlen(target);
    snprintf(file, sizeof(file), "%.*s", (int)ac_min(len, sizeof(file) - 1), target);
    len = strlen(file);
    bool is_file = strchr(file, '/') || (len > 3 && strcmp(file + len - 3, ".py") == 0);
    char *module = file;
    if (!getcwd(dir, sizeof(dir))) {
        return ac_fail("the working directory is gone");
    }
    if (is_file) {
        char real[PATH_MAX];
        put_text(r->spec, "file", file);
        ac_copy(real, sizeof(real), file);
        char *name = strrchr(file, '/');
        module = name ? name + 1 : file;
        real[module - file] = '\0';
        if (*real && !realpath(real, dir)) {
            return ac_fail("%s: no such directory", real);
        }
        len = strlen(module);
        module[len > 3 && strcmp(module + len - 3, ".py") == 0 ? len - 3 : len] = '\0';
    }
    put_text(r->spec, "module", module);
    put_text(r->spec, "function", colon ? colon + 1 : "");
    struct ac_buf path = {0};
    const char *old = getenv("PYTHONPATH");
    ac_buf_printf(&path, "%s%s%s", dir, old && *old ? ":" : "", old && *old ? old : "");
    int err = path.err || setenv("PYTHONPATH", ac_buf_text(&path), 1);
    ac_buf_free(&path);
    return err ? ac_fail("out of memory") : 0;
}

static int read_lines(struct racing *r) {
    char bytes[65536];
    ssize_t got = 0;
    int err = ac_scratch_create("allcores-lines", &r->lines_fd);
    for (uint64_t at = 0; !err && (got = ac_fd_read(STDIN_FILENO, bytes, sizeof(bytes))) > 0;
         at += (size_t)got) {
        err = ac_memfd_write(r->lines_fd, at, bytes, (size_t)got);
    }
    err = err ? err : got < 0 ? (int)got : 0;
    json_object_set_new(r->spec, "lines_fd", json_integer(r->lines_fd));
    return err ? ac_fail("stdin cannot be read: %s", strerror(-err)) : 0;
}

static int set_spec(struct racing *r) {
    const struct ac_settings *s = r->settings;
    int err = ac_scratch_create("allcores-race", &r->answer_fd);
    r->spec = json_object();
    if (err || !r->spec) {
        return ac_fail("out of memory");
    }
    setenv("PYTHONHASHSEED", "0", 0); /* sets in the same order everywhere: results can be compared */
    json_object_set_new(r->spec, "fd", json_integer(r->answer_fd));
    json_object_set_new(r->spec, "n", json_integer(s->items ? s->items : 8));
    json_object_set_new(r->spec, "quick", json_boolean(s->quick));
    json_object_set_new(r->spec, "io", json_boolean(s->waiting));
    if (s->expression) {
        put_text(r->spec, "items", s->expression);
    }
    int code = s->lines ? read_lines(r) : 0;
    return code || !s->rest_count ? code : set_target(r, s->rest[0]);
}

/* --- asking the driver */

/* All its lines as one object; NULL when it said nothing that can be understood. */
static json_t *answer_of(const struct ac_race_driver *run) {
    json_t *all = json_object();
    for (const char *at = ac_buf_text(&run->answer); *at;) {
        size_t len = strcspn(at, "\n");
        json_t *line = json_loadb(at, len, 0, NULL);
        if (line) {
            json_object_update(all, line);
        }
        json_decref(line);
        at += len + (at[len] == '\n');
    }
    return all;
}

static int64_t number_in(const json_t *answer, const char *key) {
    return json_integer_value(json_object_get(answer, key));
}

/* The last line that it printed, where it died without an answer. */
static const char *last_words(struct ac_race_driver *run) {
    struct ac_buf *printed = &run->printed;
    while (printed->len &&
           (printed->data[printed->len - 1] == '\n' || printed->data[printed->len - 1] == ' ')) {
        printed->data[--printed->len] = '\0';
    }
    const char *text = ac_buf_text(printed);
    const char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

static int ask(struct racing *r, const char *title, double timeout_s, struct ac_race_driver *ret) {
    char *spec = json_dumps(r->spec, JSON_COMPACT | JSON_REAL_PRECISION(9));
    int err = spec ? ac_race_drive(r->python, r->driver, spec, r->answer_fd, title, timeout_s, ret) : -ENOMEM;
    free(spec);
    return err ? ac_fail("%s: cannot be run: %s", r->python, strerror(-err)) : 0;
}

static int prepare(struct racing *r) {
    struct ac_race_driver run;
    double timeout_s = r->settings->timeout_s > 0 ? r->settings->timeout_s : AC_RACE_FIRST_S;
    int code = ask(r, "preparing", timeout_s, &run);
    if (code) {
        return code;
    }
    r->prepared = answer_of(&run);
    const char *error = json_string_value(json_object_get(r->prepared, "error"));
    if (run.stopped) {
        code = 130;
    } else if (run.timed_out) {
        code = ac_fail("importing it and making its items did not end within %g s (--timeout)", timeout_s);
    } else if (error) {
        code = ac_fail("%s", error);
    } else if (!json_object_get(r->prepared, "python")) {
        code =
            ac_fail("%s cannot run a race (CPython 3.8 or newer is needed): %s", r->python, last_words(&run));
    } else {
        json_t *place = json_object_get(r->prepared, "file");
        r->code = (struct ac_race_code){json_string_value(place), (int32_t)number_in(r->prepared, "line")};
        for (const char *const *key = (const char *const[]){"loops", "seconds", NULL}; *key; key++) {
            json_object_set(r->spec, *key, json_object_get(r->prepared, *key));
        }
    }
    ac_race_driver_clear(&run);
    return code;
}

/* --- one contender */

static void set_error(struct ac_race_contender *c, const char *format, ...) AC_PRINTF(2, 3);
static void set_error(struct ac_race_contender *c, const char *format, ...) {
    struct ac_buf buf = {0};
    va_list args;
    va_start(args, format);
    ac_buf_vprintf(&buf, format, args);
    va_end(args);
    ac_free(c->error);
    c->error = buf.data;
}

/* Where the first one ends so, the limit of the others changes. */
static void told_timeout(const struct racing *r, struct ac_race_contender *c, double timeout_s) {
    c->timed_out = true;
    double others_s = ac_race_limit(r->race, r->settings->timeout_s);
    if (c == r->race->contenders && others_s < timeout_s) {
        set_error(c,
                  "did not end within %.3g s and was killed; the others get %.3g s each (--timeout S sets it "
                  "for all)",
                  timeout_s, others_s);
    } else {
        set_error(c, "did not end within %.3g s and was killed (--timeout)", timeout_s);
    }
}

static void told_error(struct ac_race_contender *c, const json_t *answer, struct ac_race_driver *run) {
    const char *text = json_string_value(json_object_get(answer, "text"));
    const char *error = json_string_value(json_object_get(answer, "error"));
    const char *kind = json_string_value(json_object_get(answer, "failed"));
    const json_t *item = json_object_get(answer, "item");
    if (error) {
        set_error(c, "%s", error);
    } else if (kind && strcmp(kind, "raised") == 0 && item) {
        set_error(c, "item %lld raised %s", (long long)json_integer_value(item), text);
    } else if (kind && strcmp(kind, "raised") == 0) {
        set_error(c, "an item raised %s", text);
    } else if (kind && strcmp(kind, "pickle") == 0) {
        set_error(c, "the function, an item or a result cannot be pickled: %s", text);
    } else if (kind) {
        set_error(c, "a worker died: %s", text);
    } else if (WIFSIGNALED(run->status)) {
        set_error(c, "the process was killed by signal %d (%s)", WTERMSIG(run->status),
                  strsignal(WTERMSIG(run->status)));
    } else {
        set_error(c, "the process left with exit code %d before the work was done%s%s",
                  WEXITSTATUS(run->status), run->printed.len ? ": " : "", last_words(run));
    }
}

static void compare(struct racing *r, struct ac_race_contender *c, json_t *answer) {
    json_t *digests = json_object_get(answer, "digests");
    if (!r->digests) {
        r->digests = json_incref(digests);
    } else if (!json_equal(r->digests, digests)) {
        c->differs = true;
    }
}

/* What allcores.map chose, where it is the one. */
static int take_pick(struct ac_race_contender *c, const json_t *answer) {
    const json_t *told = json_object_get(answer, "picked");
    const char *backend = json_string_value(json_object_get(told, "backend"));
    const char *reason = json_string_value(json_object_get(told, "reason"));
    const struct ac_race_pick pick = {backend, reason ? reason : "", (uint32_t)number_in(told, "workers"),
                                      (uint64_t)number_in(told, "chunksize")};
    return backend ? ac_race_contender_picked(c, &pick) : 0;
}

/* Keep the run; the profile that is told is that of the fastest so far. */
static int keep_run(struct racing *r, struct ac_race_contender *c, const json_t *answer,
                    struct ac_race_driver *run) {
    struct ac_race_run figures;
    struct ac_profile *slice = NULL;
    struct ac_diagnosis *diagnosis = NULL;
    int err = ac_race_measure(run->profile, number_in(answer, "begin") - run->epoch_ns,
                              number_in(answer, "end") - run->epoch_ns, &r->code, &figures, &slice);
    err = err ? err : ac_diagnose(slice, NULL, NULL, &diagnosis);
    figures.peak_bytes = run->peak_bytes;
    bool told = !err && (!c->run_count || figures.wall_s < (double)c->profile->wall_ns / 1e9);
    if (told) {
        ac_race_contender_take(c, run->profile, slice, diagnosis);
        run->profile = NULL;
        err = take_pick(c, answer);
    } else if (!err) {
        ac_race_contender_drop(slice, diagnosis);
    }
    if (!err) {
        c->runs[c->run_count++] = figures;
    }
    return err ? ac_fail("cannot measure: %s", strerror(-err)) : 0;
}

static int run_contender(struct racing *r, size_t at) {
    struct ac_race_contender *c = &r->race->contenders[at];
    struct ac_race_driver run;
    double timeout_s = ac_race_limit(r->race, r->settings->timeout_s);
    put_text(r->spec, "contender", contenders[at].key);
    json_object_set_new(r->spec, "workers", json_integer(c->workers));
    int code = ask(r, c->name, timeout_s, &run);
    if (code) {
        return code;
    }
    json_t *answer = answer_of(&run);
    r->race->printed |= at == 0 && run.printed.len > 0; /* what pools say of themselves does not count */
    if (run.stopped) {
        r->stopped = true;
    } else if (run.timed_out) {
        told_timeout(r, c, timeout_s);
    } else if (!json_object_get(answer, "digests")) {
        told_error(c, answer, &run);
    } else {
        code = keep_run(r, c, answer, &run);
        compare(r, c, answer);
    }
    json_decref(answer);
    ac_race_driver_clear(&run);
    return code;
}

/* --- the race */

static uint32_t workers_of(const struct ac_race *race, int kind) {
    uint64_t most = kind == ONE ? 1 : kind == PER_ITEM ? MAX_THREADS : (uint64_t)(race->usable + 0.99);
    return (uint32_t)ac_max(1u, ac_min(most, race->items));
}

/* The function as the report names it. */
static const char *shown_target(const struct ac_settings *s) {
    return s->full_paths ? s->rest[0] : ac_short_path(s->rest[0]);
}

static void put_work(const struct racing *r, struct ac_buf *buf) {
    const struct ac_settings *s = r->settings;
    unsigned long long items = (unsigned long long)r->race->items;
    if (s->rest_count) {
        ac_buf_printf(buf, "%s over %llu item%s", shown_target(s), items, items == 1 ? "" : "s");
    } else {
        ac_buf_printf(buf, "%llu chunks x %.1f s of %s", items, s->quick ? 0.1 : 1.0,
                      s->waiting ? "waiting (time.sleep)" : "Python work");
    }
}

static char *python_name(const char *told) {
    struct ac_buf buf = {0};
    bool cpython = strncmp(told, "cpython", 7) == 0;
    ac_buf_printf(&buf, "%s%s", cpython ? "CPython" : "", cpython ? told + 7 : told);
    return buf.data;
}

/* A script that has no guard works again in each fresh worker. */
static void put_advice(const struct racing *r, struct ac_buf *buf) {
    double import_s = json_number_value(json_object_get(r->prepared, "import_s"));
    if (import_s > LONG_IMPORT_S) {
        const char *target = shown_target(r->settings);
        ac_buf_printf(buf,
                      "%.*s computes for %.1f s whenever it is imported, as each fresh worker does: put that "
                      "under if __name__ == \"__main__\":",
                      (int)strcspn(target, ":"), target, import_s);
    }
}

static int set_race(struct racing *r) {
    struct ac_race *race = r->race = ac_calloc(1, sizeof(*race));
    struct ac_cpu_limits limits;
    char kernel[128] = "";
    char machine[64] = "";
    struct ac_buf work = {0};
    struct ac_buf advice = {0};
    if (!race || !(race->contenders = ac_calloc(AC_COUNT(contenders), sizeof(*race->contenders)))) {
        return ac_fail("out of memory");
    }
    race->count = AC_COUNT(contenders);
    race->items = (uint64_t)number_in(r->prepared, "items");
    race->waiting = r->settings->waiting;
    race->usable = ac_cpus_of(0, "", &limits) == 0 ? limits.usable : 1;
    race->others = -1;
    race->started_unix_ns = ac_unix_ns();
    ac_uname(kernel, sizeof(kernel), machine, sizeof(machine));
    race->kernel = ac_strdup(kernel);
    race->machine = ac_strdup(machine);
    race->python = python_name(json_string_value(json_object_get(r->prepared, "python")));
    put_work(r, &work);
    race->work = work.data;
    put_advice(r, &advice);
    race->advice = advice.data;
    json_t *left_out = json_object_get(r->prepared, "left_out");
    for (size_t i = 0; i < race->count; i++) {
        struct ac_race_contender *c = &race->contenders[i];
        const char *why = json_string_value(json_object_get(left_out, contenders[i].key));
        c->name = contenders[i].name;
        c->workers = workers_of(race, (int)contenders[i].workers);
        c->runs = ac_calloc((size_t)ac_max(r->settings->runs, 1), sizeof(*c->runs));
        if (why) {
            c->left_out = true;
            set_error(c, "%s", why);
        }
        if (!c->runs) {
            return ac_fail("out of memory");
        }
    }
    return race->work && race->python ? 0 : ac_fail("out of memory");
}

/* Round by round, so that a machine that gets slower slows down all alike. */
static int run_all(struct racing *r) {
    int code = 0;
    for (int64_t round = 0; !code && !r->stopped && round < ac_max(r->settings->runs, 1); round++) {
        for (size_t i = 0; !code && !r->stopped && i < r->race->count; i++) {
            code = r->race->contenders[i].error ? 0 : run_contender(r, i);
        }
    }
    for (size_t i = 0; r->stopped && i < r->race->count; i++) {
        if (!r->race->contenders[i].error && !r->race->contenders[i].run_count) {
            set_error(&r->race->contenders[i], "the race was ended before");
        }
    }
    return code;
}

/* --- telling it */

static int write_outputs(const struct racing *r) {
    int code = 0;
    for (size_t i = 0; i < r->settings->output_count; i++) {
        const char *path = r->settings->outputs[i];
        struct ac_buf buf = {0};
        const struct ac_html_options options = {.full_paths = r->settings->full_paths};
        int err = ac_ends_with(path, ".md")     ? ac_report_race_markdown(r->race, &buf)
                  : ac_ends_with(path, ".html") ? ac_report_race_html(r->race, &options, &buf)
                                                : ac_report_race_json(r->race, &buf);
        err = err ? err : ac_file_write(path, buf.data, buf.len);
        ac_buf_free(&buf);
        code = err ? ac_fail("-o %s: not written: %s", path, strerror(-err)) : code;
    }
    return code;
}

static int tell(const struct racing *r) {
    struct ac_buf buf = {0};
    struct ac_text_style style = ac_terminal_style(STDOUT_FILENO);
    int err = r->settings->json       ? ac_report_race_json(r->race, &buf)
              : r->settings->markdown ? ac_report_race_markdown(r->race, &buf)
              : r->settings->quiet    ? 0
                                      : ac_report_race_text(r->race, &style, &buf);
    err = err ? err : ac_print(STDOUT_FILENO, &buf);
    ac_buf_free(&buf);
    int code = write_outputs(r);
    bool differs = false;
    for (size_t i = 0; i < r->race->count; i++) {
        differs |= r->race->contenders[i].differs;
    }
    if (differs) {
        ac_warn("not all results are those of the first run: is the function random, or does it change what "
                "its calls share?");
    }
    return err ? AC_EXIT_ERROR : code ? code : r->stopped ? 130 : differs || r->race->winner < 0;
}

static bool usage_is_wrong(const struct ac_settings *s) {
    for (size_t i = 0; i < s->output_count; i++) {
        const char *path = s->outputs[i];
        if (!ac_ends_with(path, ".json") && !ac_ends_with(path, ".md") && !ac_ends_with(path, ".html")) {
            return ac_fail("-o %s: a race is written as .html, .json or .md", path);
        }
    }
    if (s->rest_count > 1) {
        return ac_fail("one function only: allcores race app.py:transform");
    }
    if (s->rest_count == 0 && (s->items || s->expression || s->lines)) {
        return ac_fail("-n, --items and --stdin go with a function: allcores race app.py:transform -n 8");
    }
    if (s->rest_count && (s->waiting || s->quick)) {
        return ac_fail("--io and --quick are of the built-in experiment, without a function");
    }
    return (s->items > 0) + (s->expression != NULL) + s->lines > 1 &&
           ac_fail("-n, --items or --stdin: one of them");
}

static int run_race(const struct ac_settings *settings) {
    struct racing r = {.settings = settings, .answer_fd = -1, .lines_fd = -1};
    if (usage_is_wrong(settings)) {
        return AC_EXIT_ERROR;
    }
    ac_child_save_signals();
    ac_catch_stop_signals();
    int code = find_files(&r);
    code = code ? code : set_spec(&r);
    code = code ? code : prepare(&r);
    code = code ? code : set_race(&r);
    code = code ? code : run_all(&r);
    if (!code) {
        int err = ac_race_judge(r.race);
        code = err ? ac_fail("cannot compare: %s", strerror(-err)) : tell(&r);
    }
    ac_race_free(r.race);
    json_decref(r.digests);
    json_decref(r.prepared);
    json_decref(r.spec);
    return code;
}

const struct ac_command ac_cmd_race = {
    .name = "race",
    .summary = "The same function sequential, in threads, processes, interpreters: which is fastest, and why",
    .usage = "allcores race [options]\n"
             "       allcores race [options] FILE.py:FUNCTION\n"
             "       allcores race [options] MODULE:FUNCTION",
    .details =
        "Without a function: eight chunks of about a second of Python work. Each contender runs in a fresh\n"
        "interpreter, watched by the probe; what the function prints is not shown.\n\n"
        "  allcores race --quick\n"
        "  allcores race app.py:transform -n 8\n"
        "  allcores race app.py:transform --items 'open(\"names.txt\").read().split()'\n\n"
        "Exit code: 1 when no contender finished or results differ; 130 after Ctrl-C; 125 for a wrong\n"
        "function or option, 127 for no interpreter.\n",
    .outputs = "write FILE too: .html .json .md",
    .options = AC_TAKES(AC_OPT_ITEMS) | AC_TAKES(AC_OPT_EXPRESSION) | AC_TAKES(AC_OPT_LINES) |
               AC_TAKES(AC_OPT_WAITING) | AC_TAKES(AC_OPT_QUICK) | AC_TAKES(AC_OPT_RUNS) |
               AC_TAKES(AC_OPT_TIMEOUT) | AC_TAKES(AC_OPT_OUTPUT) | AC_TAKES(AC_OPT_MARKDOWN) |
               AC_TAKES(AC_OPT_JSON) | AC_TAKES(AC_OPT_QUIET) | AC_TAKES(AC_OPT_PYTHON) |
               AC_TAKES(AC_OPT_FULL_PATHS),
    .run = run_race,
};
