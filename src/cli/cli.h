/* cli.h - the command: what its files share. One file a subcommand, each exporting one const ac_command, from
 * which help and parsing are both made. This folder is the only one that prints. */
#ifndef AC_CLI_H
#define AC_CLI_H

#include <sys/types.h>

#include "base/base.h"
#include "report/report.h"

/* Exit codes of our own, as env's: the launched program's own code wins wherever there is one. */
enum { AC_EXIT_ERROR = 125, AC_EXIT_CANNOT_EXECUTE = 126, AC_EXIT_NOT_FOUND = 127 };

#define AC_MAX_OUTPUTS 16

/* What the options said. One struct for all subcommands; each takes the options that it names. */
struct ac_settings {
    int64_t pid;       /* 0: none */
    double duration_s; /* 0: none */
    double rate_hz;
    double fail_under; /* 0: none */
    const char *outputs[AC_MAX_OUTPUTS];
    size_t output_count;
    const char *python, *fix; /* fix: where the diff goes */
    bool module, quiet, json, no_children, with_args, full_paths, help;
    int64_t items, runs; /* of a race; 0: not said */
    double timeout_s;    /* 0: not said */
    const char *expression;
    bool lines, waiting, quick, markdown;
    char **rest; /* what is left of argv: the script and its arguments, files to show */
    int rest_count;
    bool dashes; /* the rest came after "--" */
};

enum ac_option_id {
    AC_OPT_PID,
    AC_OPT_DURATION,
    AC_OPT_RATE,
    AC_OPT_OUTPUT,
    AC_OPT_QUIET,
    AC_OPT_JSON,
    AC_OPT_FAIL_UNDER,
    AC_OPT_NO_CHILDREN,
    AC_OPT_WITH_ARGS,
    AC_OPT_FULL_PATHS,
    AC_OPT_PYTHON,
    AC_OPT_FIX,
    AC_OPT_MODULE,
    AC_OPT_ITEMS,
    AC_OPT_EXPRESSION,
    AC_OPT_LINES,
    AC_OPT_WAITING,
    AC_OPT_QUICK,
    AC_OPT_RUNS,
    AC_OPT_TIMEOUT,
    AC_OPT_MARKDOWN,
    AC_OPT_HELP,
    AC_OPT_COUNT
};
#define AC_TAKES(id) (1u << (id))

struct ac_command {
    const char *name;
    const char *summary; /* one line of `allcores --help` */
    const char *usage;   /* after "allcores " */
    const char *details; /* paragraphs and examples of its own help */
    const char *outputs; /* help of -o where it is not the usual one */
    unsigned options;    /* AC_TAKES bits */
    bool program;        /* what follows the options is a program and its own arguments */
    int (*run)(const struct ac_settings *settings); /* returns the exit code */
};
extern const struct ac_command ac_cmd_why, ac_cmd_dump, ac_cmd_cpus, ac_cmd_show, ac_cmd_race, ac_cmd_explain;

/* --- options.c */
/* Parse argv[1..] for a command. 0, or -EINVAL after one line on stderr. */
int ac_options_parse(const struct ac_command *command, int argc, char **argv, struct ac_settings *ret);
void ac_options_help(const struct ac_command *command, struct ac_buf *buf);
/* The candidate nearest to word, or NULL when none is near. */
const char *ac_nearest(const char *word, const char *const *candidates, size_t count);

/* --- term.c: stderr as the user sees it, and messages */
/* One line "allcores: ..." on stderr, made safe for a terminal. Returns AC_EXIT_ERROR, so that a caller can
 * `return ac_fail(...)`. */
int ac_fail(const char *format, ...) AC_PRINTF(1, 2);
void ac_warn(const char *format, ...) AC_PRINTF(1, 2);
struct ac_text_style ac_terminal_style(int fd);
bool ac_terminal_shows(int fd);                 /* a terminal */
int ac_print(int fd, const struct ac_buf *buf); /* all of it; 0 or negative errno */
/* A line that overwrites itself, for progress; "" wipes it. Nothing where stderr is no terminal. */
void ac_progress_line(const char *text);

/* How to get the rights to read another process's memory; one line. */
extern const char ac_ptrace_help[];
/* The path of an executable `name` on PATH, as the shell would find it. 0 or -ENOENT. */
int ac_path_lookup(const char *name, char *buffer, size_t size);

/* --- output.c: -o */
/* Is each path's suffix known and can it be written? Nothing is created or changed. 0, or -EINVAL after a
 * line. */
int ac_outputs_check(const struct ac_settings *settings);
/* Write them all; 0, or AC_EXIT_ERROR after a line for each that failed. */
int ac_outputs_write(const struct ac_settings *settings, const struct ac_profile *profile,
                     const struct ac_diagnosis *diagnosis);

/* --- source.c: lines of the user's own files, for the fix */
struct ac_sources;
int ac_sources_new(struct ac_sources **ret);
/* The root of the target's own view of files ("" for ours) and its working directory. */
void ac_sources_at(struct ac_sources *sources, const char *root, const char *cwd);
const char *ac_sources_line(const char *file, int32_t line, void *sources);
/* Where we find a file that the target calls `name`. */
void ac_sources_path(const struct ac_sources *sources, const char *name, char *buffer, size_t size);
const char *ac_sources_cwd(const struct ac_sources *sources);
void ac_sources_free(struct ac_sources *sources);

/* --- launch.c: a program under the probe */
struct ac_sampler;
struct ac_launch {
    pid_t pid;
    bool ended;
    int status;           /* wait's, once ended */
    int64_t child_cpu_ns; /* of it and its reaped descendants, once ended */
};
/* Start argv held back, attach the sampler, let it go. 0, or an exit code (125-127) after a line on stderr.
 */
int ac_launch_start(char *const argv[], struct ac_sampler *sampler, struct ac_launch *ret);
/* Collect its end if it has come: true then. Never blocks. */
bool ac_launch_poll(struct ac_launch *launch);
void ac_launch_wait(struct ac_launch *launch);           /* until it ends */
int ac_launch_exit_code(const struct ac_launch *launch); /* as the shell reports it: 128 + N for signal N */
/* A signal that asked us to stop watching (Ctrl-C with --pid, SIGTERM): its number, 0 none. */
int ac_stop_signal(void);
void ac_catch_stop_signals(void); /* SIGINT, SIGTERM, SIGHUP end a --pid run and give the report */

/* --- fix.c: the main verdict's fix as a diff, by a helper of the Python package */
/* Puts it, or why there is none, into the diagnosis. Without a helper the snippet is all there is. */
void ac_fix_ask(const struct ac_profile *profile, const struct ac_sources *sources,
                struct ac_diagnosis *diagnosis);

/* --- tell.c: diagnose, print, write, as why and show both do. Returns 0 or AC_EXIT_ERROR. */
int ac_tell(const struct ac_settings *settings, const struct ac_profile *profile, struct ac_sources *sources);

#endif
