/* main.c - the table of commands. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const struct ac_command *const commands[] = {&ac_cmd_why,  &ac_cmd_explain, &ac_cmd_race,
                                                    &ac_cmd_dump, &ac_cmd_cpus,    &ac_cmd_show};

static int print_text(struct ac_buf *buf) {
    int err = ac_print(STDOUT_FILENO, buf);
    ac_buf_free(buf);
    return err ? AC_EXIT_ERROR : 0;
}

static int help(void) {
    struct ac_buf buf = {0};
    ac_buf_str(&buf, "allcores: why isn't my Python program using all my cores?\n\n"
                     "  allcores why app.py          run a program and learn what holds it back\n"
                     "  allcores why --pid 4711      watch one that is running\n\n"
                     "Commands (allcores COMMAND --help tells more):\n");
    for (size_t i = 0; i < AC_COUNT(commands); i++) {
        ac_buf_printf(&buf, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    }
    return print_text(&buf);
}

static const struct ac_command *find_command(const char *name) {
    for (size_t i = 0; i < AC_COUNT(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[AC_COUNT(commands)];
    for (size_t i = 0; i < AC_COUNT(commands); i++) {
        names[i] = commands[i]->name;
    }
    const char *near = ac_nearest(name, names, AC_COUNT(names));
    if (near) {
        return ac_fail("unknown command %s; did you mean %s?", name, near);
    }
    return access(name, R_OK) == 0 ? ac_fail("unknown command; did you mean allcores why %s?", name)
                                   : ac_fail("unknown command %s; `allcores --help` lists them", name);
}

static int run_command(const struct ac_command *command, int argc, char **argv) {
    struct ac_settings settings;
    if (ac_options_parse(command, argc, argv, &settings)) {
        return AC_EXIT_ERROR;
    }
    if (settings.help) {
        struct ac_buf buf = {0};
        ac_options_help(command, &buf);
        return print_text(&buf);
    }
    return command->run(&settings);
}

int main(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        int code = help();
        return argc < 2 ? AC_EXIT_ERROR : code;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        struct ac_buf buf = {0};
        ac_buf_str(&buf, "allcores " AC_VERSION "\n");
        return print_text(&buf);
    }
    const struct ac_command *command = find_command(argv[1]);
    return command ? run_command(command, argc - 1, argv + 1) : unknown_command(argv[1]);
}
