/* cmd_show.c - allcores show: a recording told again, or exported, or two compared. */
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "os/os.h"

#define MAX_RECORDING (256u << 20)

static int explain(const char *path, int err) {
    switch (err) {
    case -ENOENT: return ac_fail("%s: no such file", path);
    case -ENOTSUP: return ac_fail("%s: made by a newer allcores; update to read it", path);
    case -EINVAL: return ac_fail("%s: not an .allcores recording, or a damaged one", path);
    case -EFBIG: return ac_fail("%s: too large for a recording", path);
    default: return ac_fail("%s: cannot be read: %s", path, strerror(-err));
    }
}

static int read_recording(const char *path, struct ac_profile **ret) {
    struct ac_buf data = {0};
    int err = ac_file_read(path, MAX_RECORDING, &data);
    err = err ? err : ac_recording_read(data.data ? data.data : "", data.len, ret);
    ac_buf_free(&data);
    return err;
}

/* --- two recordings */

static bool is_page(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && strcmp(dot, ".html") == 0;
}

static int check_compared(const struct ac_settings *settings) {
    for (size_t i = 0; i < settings->output_count; i++) {
        const char *path = settings->outputs[i];
        const char *dot = strrchr(path, '.');
        bool json = dot && strcmp(dot, ".json") == 0 && !strstr(path, ".gecko.json") &&
                    !strstr(path, ".speedscope.json");
        if (!json && !is_page(path)) {
            return ac_fail("-o %s: two recordings are compared as text, as .html or as .json", path);
        }
    }
    return ac_outputs_check(settings) ? AC_EXIT_ERROR : 0;
}

static int write_compared(const struct ac_settings *settings, const struct ac_run runs[2]) {
    const struct ac_html_options options = {settings->with_args, settings->full_paths};
    struct ac_buf json = {0};
    struct ac_buf page = {0};
    int err = ac_compare_json(runs, &json);
    int code = err ? ac_fail("cannot compare: %s", strerror(-err)) : 0;
    if (!err && settings->json) {
        err = ac_print(STDOUT_FILENO, &json);
        code = err ? ac_fail("the JSON could not be written to stdout: %s", strerror(-err)) : code;
    }
    for (size_t i = 0; code == 0 && i < settings->output_count; i++) {
        struct ac_buf *buf = is_page(settings->outputs[i]) ? &page : &json;
        err = buf == &page && !page.len ? ac_compare_html(runs, &options, &page) : 0;
        err = err ? err : ac_file_write(settings->outputs[i], buf->data, buf->len);
        code = err ? ac_fail("-o %s: not written: %s", settings->outputs[i], strerror(-err)) : 0;
    }
    ac_buf_free(&page);
    ac_buf_free(&json);
    return code;
}

static int tell_compared(const struct ac_settings *settings, const struct ac_run runs[2]) {
    struct ac_buf text = {0};
    int code = 0;
    if (!settings->json && !settings->quiet) {
        struct ac_text_style style = ac_terminal_style(STDERR_FILENO);
        int err = ac_compare_text(runs, &style, &text);
        code = err ? ac_fail("cannot compare: %s", strerror(-err)) : 0;
        code = !err && ac_print(STDERR_FILENO, &text) ? AC_EXIT_ERROR : code;
        ac_buf_free(&text);
    }
    bool written = settings->json || settings->output_count;
    int failed = written ? write_compared(settings, runs) : 0;
    return failed ? failed : code;
}

static int compare(const struct ac_settings *settings) {
    struct ac_profile *profiles[2] = {NULL, NULL};
    struct ac_diagnosis *diagnoses[2] = {NULL, NULL};
    struct ac_run runs[2];
    int code = check_compared(settings);
    for (int i = 0; i < 2 && code == 0; i++) {
        int err = read_recording(settings->rest[i], &profiles[i]);
        code = err ? explain(settings->rest[i], err) : 0;
        if (code == 0) {
            err = ac_diagnose(profiles[i], NULL, NULL, &diagnoses[i]);
            code = err ? ac_fail("cannot diagnose: %s", strerror(-err)) : 0;
        }
        runs[i] = (struct ac_run){settings->rest[i], profiles[i], diagnoses[i]};
    }
    code = code ? code : tell_compared(settings, runs);
    for (int i = 0; i < 2; i++) {
        ac_diagnosis_free(diagnoses[i]);
        ac_profile_free(profiles[i]);
    }
    return code;
}

static int run(const struct ac_settings *settings) {
    struct ac_profile *profile = NULL;
    struct ac_sources *sources = NULL;
    if (settings->rest_count == 2) {
        return compare(settings);
    }
    if (settings->rest_count != 1) {
        return ac_fail(
            "show takes one recording, or two to compare: allcores show before.allcores after.allcores");
    }
    if (ac_outputs_check(settings)) {
        return AC_EXIT_ERROR;
    }
    int err = read_recording(settings->rest[0], &profile);
    if (err) {
        return explain(settings->rest[0], err);
    }
    if (ac_sources_new(&sources) == 0) {
        ac_sources_at(sources, "", ".");
    }
    int code = ac_tell(settings, profile, sources);
    ac_sources_free(sources);
    ac_profile_free(profile);
    return code;
}

const struct ac_command ac_cmd_show = {
    .name = "show",
    .summary = "Tell a recording again, export it, or compare two",
    .usage = "allcores show [options] FILE.allcores\n"
             "       allcores show [options] BEFORE.allcores AFTER.allcores",
    .details = "  allcores show run.allcores\n"
               "  allcores show run.allcores -q -o run.speedscope.json\n"
               "  allcores show before.allcores after.allcores -o change.html -o change.json\n",
    .options = AC_TAKES(AC_OPT_OUTPUT) | AC_TAKES(AC_OPT_QUIET) | AC_TAKES(AC_OPT_JSON) |
               AC_TAKES(AC_OPT_FIX) | AC_TAKES(AC_OPT_WITH_ARGS) | AC_TAKES(AC_OPT_FULL_PATHS),
    .run = run,
};
