/* options.c - one table of options; what a command takes, its help and its parsing all come from it. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct option {
    char letter;
    const char *name, *value, *help;
};

static const struct option options[AC_OPT_COUNT] = {
    [AC_OPT_PID] = {'p', "--pid", "PID", "watch a process that is already running, and its children"},
    [AC_OPT_DURATION] = {'d', "--duration", "TIME", "stop watching after TIME (10, 500ms, 2m)"},
    [AC_OPT_RATE] = {'r', "--rate", "RATE", "samples per second: 200 by default, 1 to 20khz"},
    [AC_OPT_OUTPUT] = {'o', "--output", "FILE",
                       "write FILE too: .html .json .allcores .pftrace .folded .gecko.json .speedscope.json"},
    [AC_OPT_QUIET] = {'q', "--quiet", NULL, "no report on the terminal"},
    [AC_OPT_JSON] = {0, "--json", NULL, "the report as JSON on stdout"},
    [AC_OPT_FAIL_UNDER] = {0, "--fail-under", "CORES", "exit 1 when fewer cores than that were used"},
    [AC_OPT_NO_CHILDREN] = {0, "--no-children", NULL, "leave child processes out"},
    [AC_OPT_WITH_ARGS] = {0, "--with-args", NULL, "tell the program's arguments in .html too"},
    [AC_OPT_FULL_PATHS] = {0, "--full-paths", NULL, "tell whole paths in .html"},
    [AC_OPT_PYTHON] = {0, "--python", "EXE", "the interpreter for a script or -m (python3 by default)"},
    [AC_OPT_FIX] = {0, "--fix", "FILE", "write the fix as a patch to FILE: patch -p1 < FILE"},
    [AC_OPT_MODULE] = {'m', NULL, "MODULE", "run a module as `python -m` does"},
    [AC_OPT_ITEMS] = {'n', NULL, "N", "call the function with 0, 1, ... N - 1 (8 by default)"},
    [AC_OPT_EXPRESSION] = {0, "--items", "EXPRESSION", "call it with each value of a Python expression"},
    [AC_OPT_LINES] = {0, "--stdin", NULL, "call it with each line of stdin"},
    [AC_OPT_WAITING] = {0, "--io", NULL, "the built-in experiment with waiting instead of computing"},
    [AC_OPT_QUICK] = {0, "--quick", NULL, "the built-in experiment with chunks of a tenth of a second"},
    [AC_OPT_RUNS] = {0, "--runs", "N", "run each N times and tell the median (1 by default, at most 100)"},
    [AC_OPT_TIMEOUT] = {0, "--timeout", "TIME",
                        "longest time for one run (5m for the first; then ten times what sequential took)"},
    [AC_OPT_MARKDOWN] = {0, "--markdown", NULL, "a Markdown table on stdout"},
    [AC_OPT_HELP] = {'h', "--help", NULL, "this help"},
};

static size_t distance(const char *a, const char *b) {
    size_t row[64];
    size_t width = ac_min(strlen(b), AC_COUNT(row) - 1);
    for (size_t j = 0; j <= width; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= width; j++) {
            size_t changed = diagonal + (a[i] != b[j - 1]);
            diagonal = row[j];
            row[j] = ac_min(changed, ac_min(row[j], row[j - 1]) + 1);
        }
    }
    return row[width];
}

const char *ac_nearest(const char *word, const char *const *candidates, size_t count) {
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2; /* more edits than that is another word */
    for (size_t i = 0; i < count; i++) {
        size_t edits = candidates[i] ? distance(word, candidates[i]) : least;
        if (edits < least) {
            least = edits;
            best = candidates[i];
        }
    }
    return best;
}

static bool takes(const struct ac_command *command, int id) {
    return id == AC_OPT_HELP || (command->options & AC_TAKES(id));
}

/* The option that argument `text` names; *ret_value is what follows "=" or the letter, or NULL. -1: none. */
static int find_option(const struct ac_command *command, const char *text, const char **ret_value) {
    for (int id = 0; id < AC_OPT_COUNT; id++) {
        const struct option *option = &options[id];
        if (!takes(command, id)) {
            continue;
        }
        if (option->letter && text[1] == option->letter) {
            *ret_value = text[2] == '\0' ? NULL : text[2] == '=' ? text + 3 : text + 2;
            return text[2] && !option->value ? -1 : id;
        }
        size_t len = option->name ? strlen(option->name) : 0;
        if (len && strncmp(text, option->name, len) == 0 && (text[len] == '\0' || text[len] == '=')) {
            *ret_value = text[len] ? text + len + 1 : NULL;
            return id;
        }
    }
    return -1;
}

static int unknown_option(const struct ac_command *command, const char *text) {
    const char *names[AC_OPT_COUNT];
    size_t count = 0;
    for (int id = 0; id < AC_OPT_COUNT; id++) {
        if (takes(command, id)) {
            names[count++] = options[id].name;
        }
    }
    const char *near = text[1] == '-' ? ac_nearest(text, names, count) : NULL;
    if (near) {
        ac_fail("unknown option %s; did you mean %s?", text, near);
    } else {
        ac_fail("unknown option %s; `allcores %s --help` lists them", text, command->name);
    }
    return -EINVAL;
}

static int bad_value(int id, const char *value, const char *wanted) {
    ac_fail("%s %s: %s", options[id].name ? options[id].name : "-n", *value ? value : "''", wanted);
    return -EINVAL;
}

static int set_number(int id, const char *value, struct ac_settings *settings) {
    double number;
    switch (id) {
    case AC_OPT_PID:
        if (ac_parse_i64(value, 1, INT32_MAX, &settings->pid)) {
            return bad_value(id, value, "a process id is a positive number, such as 4711");
        }
        return 0;
    case AC_OPT_DURATION:
        if (ac_parse_seconds(value, &settings->duration_s) || settings->duration_s <= 0 ||
            settings->duration_s > 1e8) {
            return bad_value(id, value, "a time is a positive number of seconds, or such as 500ms, 2m, 1h");
        }
        return 0;
    case AC_OPT_TIMEOUT:
        if (ac_parse_seconds(value, &settings->timeout_s) || settings->timeout_s <= 0 ||
            settings->timeout_s > 1e8) {
            return bad_value(id, value, "a time is a positive number of seconds, or such as 500ms, 2m, 1h");
        }
        return 0;
    case AC_OPT_ITEMS:
        if (ac_parse_i64(value, 1, 10000000, &settings->items)) {
            return bad_value(id, value, "a number of items is 1 to 10000000");
        }
        return 0;
    case AC_OPT_RUNS:
        if (ac_parse_i64(value, 1, 100, &settings->runs)) {
            return bad_value(id, value, "a number of runs is 1 to 100");
        }
        return 0;
    case AC_OPT_RATE:
        if (ac_parse_rate(value, &settings->rate_hz) || settings->rate_hz < 1 || settings->rate_hz > 20000) {
            return bad_value(id, value, "a rate is 1 to 20000 samples a second, such as 200 or 10khz");
        }
        return 0;
    default:
        if (ac_parse_rate(value, &number) || number <= 0 || number > 1e6) {
            return bad_value(id, value, "a number of cores, such as 1.5");
        }
        settings->fail_under = number;
        return 0;
    }
}

static int set_option(int id, const char *value, struct ac_settings *settings) {
    switch (id) {
    case AC_OPT_OUTPUT:
        if (settings->output_count == AC_MAX_OUTPUTS) {
            return bad_value(id, value, "too many outputs");
        }
        settings->outputs[settings->output_count++] = value;
        return 0;
    case AC_OPT_PYTHON: settings->python = value; return 0;
    case AC_OPT_FIX: settings->fix = value; return 0;
    case AC_OPT_QUIET: settings->quiet = true; return 0;
    case AC_OPT_JSON: settings->json = true; return 0;
    case AC_OPT_NO_CHILDREN: settings->no_children = true; return 0;
    case AC_OPT_WITH_ARGS: settings->with_args = true; return 0;
    case AC_OPT_FULL_PATHS: settings->full_paths = true; return 0;
    case AC_OPT_MODULE: settings->module = true; return 0;
    case AC_OPT_EXPRESSION: settings->expression = value; return 0;
    case AC_OPT_LINES: settings->lines = true; return 0;
    case AC_OPT_WAITING: settings->waiting = true; return 0;
    case AC_OPT_QUICK: settings->quick = true; return 0;
    case AC_OPT_MARKDOWN: settings->markdown = true; return 0;
    case AC_OPT_HELP: settings->help = true; return 0;
    default: return set_number(id, value, settings);
    }
}

/* One option at argv[*at]; moves *at behind it. 1: it was -m, whose value starts the program's own arguments.
 */
static int take_option(const struct ac_command *command, int argc, char **argv, int *at,
                       struct ac_settings *settings) {
    const char *value = NULL;
    int id = find_option(command, argv[*at], &value);
    if (id < 0) {
        return unknown_option(command, argv[*at]);
    }
    const struct option *option = &options[id];
    if (!option->value && value) {
        ac_fail("%s takes no value", option->name);
        return -EINVAL;
    }
    if (option->value && !value) {
        if (*at + 1 >= argc) {
            ac_fail("%s needs a value: %s",
                    option->name         ? option->name
                    : id == AC_OPT_ITEMS ? "-n"
                                         : "-m",
                    option->value);
            return -EINVAL;
        }
        value = argv[++*at];
    }
    if (id == AC_OPT_MODULE) {
        argv[*at] += value - argv[*at]; /* "-mpkg.mod": the module is part of this argument */
        settings->module = true;
        return 1;
    }
    ++*at;
    return set_option(id, value, settings);
}

int ac_options_parse(const struct ac_command *command, int argc, char **argv, struct ac_settings *ret) {
    struct ac_settings settings = {.rate_hz = 200};
    int files = 0; /* commands without a program may have options after their files */
    int at = 1;
    while (at < argc) {
        if (strcmp(argv[at], "--") == 0) {
            settings.dashes = true;
            at++;
            break;
        }
        if (argv[at][0] == '-' && argv[at][1]) {
            int err = take_option(command, argc, argv, &at, &settings);
            if (err < 0) {
                return err;
            }
            if (err == 1) {
                break;
            }
        } else if (command->program) {
            break;
        } else {
            argv[1 + files++] = argv[at++];
        }
    }
    while (!command->program && at < argc) {
        argv[1 + files++] = argv[at++];
    }
    settings.rest = command->program ? argv + at : argv + 1;
    settings.rest_count = command->program ? argc - at : files;
    *ret = settings;
    return 0;
}

void ac_options_help(const struct ac_command *command, struct ac_buf *buf) {
    ac_buf_printf(buf, "%s\n\nUsage: %s\n\n", command->summary, command->usage);
    ac_buf_str(buf, command->details);
    ac_buf_str(buf, "\nOptions:\n");
    for (int id = 0; id < AC_OPT_COUNT; id++) {
        const struct option *option = &options[id];
        if (!takes(command, id)) {
            continue;
        }
        char left[64];
        char letter[4] = {'-', option->letter, 0, 0};
        snprintf(left, sizeof(left), "%s%s%s%s%s", option->letter ? letter : "    ",
                 option->letter && option->name ? ", " : "", option->name ? option->name : "",
                 option->value ? " " : "", option->value ? option->value : "");
        bool other = id == AC_OPT_OUTPUT && command->outputs;
        ac_buf_printf(buf, "  %-24s %s\n", left, other ? command->outputs : option->help);
    }
}
