/* fix.c - the fix as a diff. The Python package has a helper that reads the user's file with Python's own
 * ast; it runs in a process of its own, isolated from the user's modules, is asked one thing, and is not
 * trusted to answer. */
#include <glob.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "os/os.h"
#include "verdict/evidence.h"

#define MAX_ANSWER (4u << 20)
#define MAX_LINES  64
#define TIME_LIMIT (10 * AC_NS_PER_S)

static const char program[] = "import sys\n"
                              "sys.path.insert(0, sys.argv[1]) if sys.argv[1] else None\n"
                              "from allcores.fixes import main\n"
                              "main()\n";

/* The interpreter and the package that were installed with this command: bin/allcores has its python beside
 * it and the package under ../lib, or (pip --target) in its parent. */
static void find_helper(char *python, size_t python_size, char *site, size_t site_size) {
    static const char *const places[] = {"../lib/python3*/site-packages", "../lib/python3*/dist-packages",
                                         "../local/lib/python3*/dist-packages", ".."};
    char bin[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", bin, sizeof(bin) - 1);
    bin[ac_max(len, 0)] = '\0';
    char *slash = strrchr(bin, '/');
    bin[slash ? slash - bin : 0] = '\0';
    snprintf(python, python_size, "%s/python3", bin);
    if (access(python, X_OK) != 0) {
        ac_copy(python, python_size, "python3");
    }
    *site = '\0';
    for (size_t i = 0; i < AC_COUNT(places) && *site == '\0'; i++) {
        char pattern[PATH_MAX + 64];
        glob_t found = {0};
        snprintf(pattern, sizeof(pattern), "%s/%s/allcores/fixes/__init__.py", bin, places[i]);
        if (glob(pattern, 0, NULL, &found) == 0 && strlen(found.gl_pathv[0]) < site_size) {
            ac_copy(site, site_size, found.gl_pathv[0]);
            site[strlen(site) - strlen("/allcores/fixes/__init__.py")] = '\0';
        }
        globfree(&found);
    }
}

/* --- where the run was seen */

struct seen {
    const struct ac_profile *profile;
    const char *file; /* of the first place: one file is rewritten */
    int32_t lines[MAX_LINES];
    size_t count;
};

static void add_spot(struct seen *seen, const struct ac_spot *spot) {
    uint32_t node = spot->func == AC_NO_FUNC ? 0 : spot->node;
    bool first = true;
    while (node && seen->count < MAX_LINES) {
        struct ac_place place = first ? ac_place_of(seen->profile, spot) : ac_node_place(seen->profile, node);
        if (!seen->file && *place.file && *place.file != '<') {
            seen->file = place.file;
        }
        if (seen->file && strcmp(place.file, seen->file) == 0) {
            seen->lines[seen->count++] = place.line;
        }
        node = ac_user_caller(seen->profile, node);
        first = false;
    }
}

/* The verdict's own places first. */
static void add_places(struct seen *seen, const struct ac_evidence *e, const char *id) {
    const struct ac_spot *waits[] = {&e->waits.spot, &e->waiting, &e->python};
    const struct ac_spot *native[] = {&e->native};
    const struct ac_spot *python[] = {&e->python};
    const struct ac_spot *blocked[] = {&e->loop.call, &e->loop.root};
    const struct ac_spot *awaits[] = {&e->loop.root, &e->python};
    const struct ac_spot *pool[] = {&e->pool.waits, &e->pool.feeder, &e->waiting, &e->python};
    const struct {
        const char *id;
        const struct ac_spot **spots;
        size_t count;
    } places[] = {
        {"io-sequential", waits, AC_COUNT(waits)},
        {"single-thread-native", native, AC_COUNT(native)},
        {"single-thread-python", python, AC_COUNT(python)},
        {"blocked-event-loop", blocked, AC_COUNT(blocked)},
        {"serial-awaits", awaits, AC_COUNT(awaits)},
        {id, pool, AC_COUNT(pool)},
    };
    size_t at = 0;
    while (strcmp(places[at].id, id) != 0) {
        at++;
    }
    for (size_t i = 0; i < places[at].count; i++) {
        add_spot(seen, places[at].spots[i]);
    }
}

/* --- question and answer */

/* As a patch names it: relative to where the program ran, or to "/". */
static const char *patch_name(const struct ac_sources *sources, const char *file) {
    const char *cwd = ac_sources_cwd(sources);
    size_t len = strlen(cwd);
    if (*file == '/' && len > 1 && strncmp(file, cwd, len) == 0 && file[len] == '/') {
        return file + len + 1;
    }
    file += strspn(file, "/");
    return strncmp(file, "./", 2) == 0 ? file + 2 : file;
}

/* The most memory that the program was seen to hold: one that has ended, or one that still runs. */
static int64_t memory_held(const struct ac_process *process, pid_t *ret_running) {
    struct ac_status status;
    bool runs = process && ac_task_status(process->pid, process->pid, &status) == 0;
    *ret_running = runs ? process->pid : 0;
    return ac_max(ac_children_peak_rss(), runs ? status.vm_rss_bytes : 0);
}

/* Where the process's main file is to be read, which its children would import; "-": it has none. */
static void main_file(const struct ac_profile *p, const struct ac_sources *sources,
                      const struct ac_process *process, char *path, size_t size) {
    static const char *const ends[] = {".py", "/__main__.py"};
    const char *what = "";
    enum ac_python_program kind =
        process ? ac_profile_python(p, process->argv, process->argc, &what) : AC_PYTHON_NOTHING;
    if (kind == AC_PYTHON_SCRIPT) {
        ac_sources_path(sources, what, path, size);
        return;
    }
    for (size_t i = 0; kind == AC_PYTHON_MODULE && i < AC_COUNT(ends); i++) {
        char name[PATH_MAX];
        snprintf(name, sizeof(name), "%s%s", what, ends[i]);
        for (char *dot = name; dot < name + ac_min(strlen(what), sizeof(name)); dot++) {
            *dot = *dot == '.' ? '/' : *dot;
        }
        ac_sources_path(sources, name, path, size);
        if (access(path, R_OK) == 0) {
            return;
        }
    }
    ac_copy(path, size, "-");
}

static json_t *question(const struct ac_profile *p, const struct ac_sources *sources, const struct seen *seen,
                        const struct ac_diagnosis *d) {
    const struct ac_evidence *e = d->spoken;
    const struct ac_process *process = e->process < p->process_count ? &p->processes[e->process] : NULL;
    pid_t running;
    int64_t held = memory_held(process, &running);
    char path[2 * PATH_MAX];
    char main[2 * PATH_MAX];
    ac_sources_path(sources, seen->file, path, sizeof(path));
    main_file(p, sources, process, main, sizeof(main));
    json_t *lines = json_array();
    for (size_t i = 0; lines && i < seen->count; i++) {
        json_array_append_new(lines, json_integer(seen->lines[i]));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:i, s:i, s:i, s:i, s:b, s:b, s:I, s:I, s:I, s:f, s:s}",
                     "verdict", d->main.id, "path", path, "name", patch_name(sources, seen->file), "lines",
                     lines, "python", process ? ac_profile_text(p, process->python) : "", "workers",
                     (int)ceil(ac_max(e->usable, 1)), "online", (int)e->online, "affinity", (int)e->affinity,
                     "threads", (int)e->p_threads, "free_threaded", e->gil_enabled == 0, "computes",
                     e->loop.busy > e->loop.blocked, "rss_bytes", (json_int_t)held, "free_bytes",
                     (json_int_t)ac_max(ac_memory_free(running, ""), 0), "started_ns",
                     (json_int_t)p->started_unix_ns, "cpu_s", e->cpu_s, "main", main);
}

static char *text_of(const json_t *answer, const char *key) {
    const char *text = json_string_value(json_object_get(answer, key));
    return text && *text ? ac_strdup(text) : NULL;
}

static uint32_t number_of(const json_t *answer, const char *key) {
    json_int_t number = json_integer_value(json_object_get(answer, key));
    return number > 0 && number < 1 << 30 ? (uint32_t)number : 0;
}

static void take_answer(const struct ac_buf *answer, const struct ac_profile *profile,
                        struct ac_diagnosis *diagnosis) {
    struct ac_verdict *verdict = &diagnosis->main;
    json_t *o = json_loadb(ac_buf_text(answer), answer->len, 0, NULL);
    if (number_of(o, "calls")) {
        ac_diagnosis_limit(diagnosis, profile, number_of(o, "calls"), number_of(o, "at_once"));
    }
    char *diff = text_of(o, "diff");
    if (diff && verdict->confidence == AC_GUESS) { /* the lines could be rewritten; whether it pays is open */
        verdict->fix_withheld = ac_strdup("the verdict is a guess; a longer run may tell");
        ac_free(diff);
    } else {
        verdict->fix_diff = diff;
        verdict->fix_withheld = diff ? NULL : text_of(o, "withheld");
    }
    json_decref(o);
}

void ac_fix_ask(const struct ac_profile *profile, const struct ac_sources *sources,
                struct ac_diagnosis *diagnosis) {
    struct seen seen = {.profile = profile};
    if (ac_nothing_to_rewrite(diagnosis->spoken, diagnosis->main.id)) {
        return;
    }
    add_places(&seen, diagnosis->spoken, diagnosis->main.id);
    if (!diagnosis->main.fix_text || !seen.file || !ac_is_user_file(seen.file)) {
        return;
    }
    json_t *o = question(profile, sources, &seen, diagnosis);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL; /* NULL too for names that are not UTF-8 */
    json_decref(o);
    if (!text) {
        return;
    }
    char python[PATH_MAX + 16];
    char site[PATH_MAX + 64];
    struct ac_buf answer = {0};
    find_helper(python, sizeof(python), site, sizeof(site));
    char *argv[] = {python, "-I", "-B", "-c", (char *)(uintptr_t)program, site, NULL};
    if (ac_ask(argv, text, strlen(text), MAX_ANSWER, ac_now_ns() + TIME_LIMIT, &answer) == 0) {
        take_answer(&answer, profile, diagnosis);
    }
    ac_buf_free(&answer);
    json_free_t release;
    json_get_alloc_funcs(NULL, &release);
    release(text);
}
