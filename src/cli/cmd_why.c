/* cmd_why.c - allcores why: run a program (or watch a running one), account for every thread-second, and say
 * what holds it back. */
#include <elf.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "os/os.h"
#include "probe/sampler.h"

#define MAX_ARGV 4096

struct run {
    const struct ac_settings *settings;
    struct ac_sampler *sampler;
    struct ac_launch launch;
    bool launched;
    int64_t progress_at;
    char root[64], cwd[PATH_MAX]; /* where the target's files are, as we see them */
    struct ac_profile *profile;
};

static bool usage_is_wrong(const struct ac_settings *s) {
    if (s->pid && (s->rest_count || s->module)) {
        ac_fail("either --pid or a program, not both");
    } else if (!s->pid && !s->rest_count) {
        ac_fail("what shall run? allcores why app.py, -m module, -- command, or --pid N");
    } else if (s->json && !s->pid) {
        ac_fail("--json writes to stdout, which belongs to the program: use -o report.json (--json goes with "
                "--pid)");
    } else if (s->python && (s->pid || (s->dashes && !s->module))) {
        ac_fail("--python picks the interpreter of a script or -m; it has no meaning here");
    } else if (s->pid == getpid()) {
        ac_fail("--pid %d is this very command", (int)getpid());
    } else {
        return false;
    }
    return true;
}

/* --- the program to start */

static const char *default_python(void) {
    static const char *const names[] = {"python3", "python"};
    char path[PATH_MAX];
    for (size_t i = 0; i < AC_COUNT(names); i++) {
        if (ac_path_lookup(names[i], path, sizeof(path)) == 0) {
            return names[i];
        }
    }
    return NULL;
}

/* An interpreter, say: no script, so it is meant as a command. */
static bool is_executable(const char *path) {
    char magic[SELFMAG];
    FILE *file = fopen(path, "rbe");
    bool elf = file && fread(magic, SELFMAG, 1, file) == 1 && memcmp(magic, ELFMAG, SELFMAG) == 0;
    if (file) {
        fclose(file);
    }
    return elf;
}

/* Fills argv: [python [-m]] rest... 0 or an exit code after a line. */
static int build_argv(const struct ac_settings *s, const char **argv) {
    size_t n = 0;
    bool script = s->module || (!s->dashes && (s->python || !is_executable(s->rest[0])));
    if (s->rest_count > MAX_ARGV - 4) {
        return ac_fail("more than %d arguments", MAX_ARGV - 4);
    }
    if (script) {
        argv[n++] = s->python ? s->python : default_python();
        if (!argv[0]) {
            ac_fail("no python3 on PATH; name one with --python");
            return AC_EXIT_NOT_FOUND;
        }
        if (s->module) {
            argv[n++] = "-m";
        } else if (access(s->rest[0], F_OK) != 0) {
            ac_fail("%s: no such script (a command goes after --: allcores why -- %s)", s->rest[0],
                    s->rest[0]);
            return AC_EXIT_NOT_FOUND;
        } else if (access(s->rest[0], R_OK) != 0) {
            ac_fail("%s: cannot be read: %s", s->rest[0], strerror(errno));
            return AC_EXIT_CANNOT_EXECUTE;
        }
    }
    for (int i = 0; i < s->rest_count; i++) {
        argv[n++] = s->rest[i];
    }
    argv[n] = NULL;
    return 0;
}

/* --- while it runs */

static void show_progress(struct run *run) {
    struct ac_progress now;
    int64_t at = ac_now_ns();
    if (run->launched || run->settings->quiet || at < run->progress_at) {
        return;
    }
    run->progress_at = at + AC_NS_PER_S / 4;
    ac_sampler_progress(run->sampler, &now);
    char text[160];
    double elapsed = (double)now.elapsed_ns / 1e9;
    snprintf(text, sizeof(text), "  %.1f s  %.1f CPUs used by %u threads in %u processes  (%s)", elapsed,
             elapsed > 0 ? (double)now.cpu_ns / 1e9 / elapsed : 0.0, now.threads, now.processes,
             run->settings->duration_s > 0 ? "Ctrl-C ends it earlier" : "Ctrl-C for the report");
    ac_progress_line(text);
}

static int poll_run(void *arg) {
    struct run *run = arg;
    show_progress(run);
    bool ended = run->launched && ac_launch_poll(&run->launch);
    if (ended && run->settings->duration_s > 0) { /* with -d, what it left in the background is watched on */
        struct ac_progress now;
        ac_sampler_progress(run->sampler, &now);
        ended = now.processes == 0;
    }
    return ended || ac_stop_signal();
}

/* Where the target's files are to be read: in its own view of the file system, as long as it lives. */
static void note_files(struct run *run, pid_t pid) {
    char link[32];
    char target[8];
    snprintf(link, sizeof(link), "/proc/%d/cwd", (int)pid);
    ssize_t len = readlink(link, run->cwd, sizeof(run->cwd) - 1);
    run->cwd[ac_max(len, 0)] = '\0';
    snprintf(link, sizeof(link), "/proc/%d/root", (int)pid);
    len = readlink(link, target, sizeof(target));
    if (len > 1) { /* not "/": a chroot or a container */
        snprintf(run->root, sizeof(run->root), "/proc/%d/root", (int)pid);
    }
}

static int explain_attach(int64_t pid, int err) {
    if (err == -ESRCH) {
        return ac_fail("no process %lld; is it gone?", (long long)pid);
    }
    return ac_fail("process %lld cannot be watched: %s", (long long)pid, strerror(-err));
}

static int start(struct run *run) {
    const struct ac_settings *s = run->settings;
    const char *argv[MAX_ARGV];
    if (s->pid) {
        int err = ac_sampler_attach(run->sampler, (pid_t)s->pid, false);
        if (err) {
            return explain_attach(s->pid, err);
        }
        note_files(run, (pid_t)s->pid);
        ac_catch_stop_signals();
        return 0;
    }
    int code = build_argv(s, argv);
    if (code) {
        return code;
    }
    run->launched = true;
    code = ac_launch_start((char *const *)argv, run->sampler, &run->launch);
    if (code == 0) {
        if (!getcwd(run->cwd, sizeof(run->cwd))) {
            run->cwd[0] = '\0';
        }
    }
    return code;
}

static int watch(struct run *run) {
    int64_t duration = (int64_t)(run->settings->duration_s * 1e9);
    int err = ac_sampler_run(run->sampler, duration ? ac_now_ns() + duration : 0, poll_run, run);
    ac_progress_line("");
    if (err < 0) {
        return ac_fail("sampling failed: %s", strerror(-err));
    }
    err = ac_sampler_finish(run->sampler, run->launch.child_cpu_ns, &run->profile);
    return err ? ac_fail("sampling failed: %s", strerror(-err)) : 0;
}

/* --- afterwards */

static void record_end(struct run *run) {
    struct ac_profile *profile = run->profile;
    profile->exit_code = -1;
    if (run->launched && run->launch.ended) {
        int code = ac_launch_exit_code(&run->launch);
        profile->exit_signal = code > 128 && WIFSIGNALED(run->launch.status) ? code - 128 : 0;
        profile->exit_code = profile->exit_signal ? -1 : code;
    }
}

static int tell(struct run *run) {
    struct ac_sources *sources = NULL;
    if (ac_sources_new(&sources) == 0) {
        ac_sources_at(sources, run->root, run->cwd);
    }
    record_end(run);
    int code = ac_tell(run->settings, run->profile, sources);
    ac_sources_free(sources);
    if (code == 0 && run->settings->fail_under > 0 &&
        ac_profile_cores_used(run->profile) < run->settings->fail_under) {
        ac_warn("%.2f cores were used, fewer than --fail-under %g", ac_profile_cores_used(run->profile),
                run->settings->fail_under);
        code = 1;
    }
    return code;
}

static int finish(struct run *run) {
    int code = run->profile ? tell(run) : AC_EXIT_ERROR;
    if (!run->launched) {
        return code;
    }
    ac_launch_wait(&run->launch); /* with -d it may still run: its terminal and its exit code are its own */
    int program = ac_launch_exit_code(&run->launch);
    return program ? program : code;
}

static int run_why(const struct ac_settings *settings) {
    struct run run = {.settings = settings};
    if (usage_is_wrong(settings) || ac_outputs_check(settings)) {
        return AC_EXIT_ERROR;
    }
    const struct ac_sampler_options options = {.rate_hz = settings->rate_hz,
                                               .children = !settings->no_children,
                                               .stacks = true,
                                               .outlive = settings->duration_s > 0};
    int err = ac_sampler_new(&options, &run.sampler);
    if (err) {
        return ac_fail("cannot start sampling: %s", strerror(-err));
    }
    int code = start(&run);
    if (code == 0) {
        watch(&run);
        code = finish(&run);
    }
    ac_profile_free(run.profile);
    ac_sampler_free(run.sampler);
    return code;
}

const struct ac_command ac_cmd_why = {
    .name = "why",
    .summary = "What holds a program back: one verdict, its evidence, the fix",
    .usage = "allcores why [options] SCRIPT [args]\n"
             "       allcores why [options] -m MODULE [args]\n"
             "       allcores why [options] -- COMMAND [args]\n"
             "       allcores why [options] --pid PID",
    .details =
        "The program keeps its terminal, streams, signals, environment and exit code; the report comes on\n"
        "stderr when it ends. With -d the report comes after that time and the program runs on.\n\n"
        "  allcores why batch.py input.csv\n"
        "  allcores why -o run.allcores -o run.json -- pytest -n 4\n"
        "  allcores why --pid 4711 -d 10\n\n"
        "Exit code: the program's own (128 + N when signal N killed it); 125 for an error of allcores, 126\n"
        "or 127 when the command cannot be executed or is not found; 1 for --fail-under.\n",
    .options = AC_TAKES(AC_OPT_WITH_ARGS) | AC_TAKES(AC_OPT_FULL_PATHS) | AC_TAKES(AC_OPT_PID) |
               AC_TAKES(AC_OPT_DURATION) | AC_TAKES(AC_OPT_RATE) | AC_TAKES(AC_OPT_OUTPUT) |
               AC_TAKES(AC_OPT_QUIET) | AC_TAKES(AC_OPT_JSON) | AC_TAKES(AC_OPT_FAIL_UNDER) |
               AC_TAKES(AC_OPT_NO_CHILDREN) | AC_TAKES(AC_OPT_PYTHON) | AC_TAKES(AC_OPT_MODULE) |
               AC_TAKES(AC_OPT_FIX),
    .program = true,
    .run = run_why,
};
