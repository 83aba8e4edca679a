/* tell.c - a profile told to the user: diagnosed, printed, written. */
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static int tell_text(const struct ac_profile *profile, const struct ac_diagnosis *diagnosis) {
    struct ac_buf buf = {0};
    struct ac_text_style style = ac_terminal_style(STDERR_FILENO);
    int err = ac_report_text(profile, diagnosis, &style, &buf);
    err = err ? err : ac_print(STDERR_FILENO, &buf); /* with stderr closed there is nobody to tell */
    ac_buf_free(&buf);
    return err;
}

static int tell_json(const struct ac_profile *profile, const struct ac_diagnosis *diagnosis) {
    struct ac_buf buf = {0};
    int err = ac_report_json(profile, diagnosis, &buf);
    err = err ? err : ac_print(STDOUT_FILENO, &buf);
    ac_buf_free(&buf);
    return err;
}

int ac_tell(const struct ac_settings *settings, const struct ac_profile *profile,
            struct ac_sources *sources) {
    struct ac_diagnosis *diagnosis = NULL;
    int err = ac_diagnose(profile, sources ? ac_sources_line : NULL, sources, &diagnosis);
    if (err) {
        return ac_fail("cannot diagnose: %s", strerror(-err));
    }
    if (sources && (settings->fix || settings->output_count || settings->json || !settings->quiet)) {
        ac_fix_ask(profile, sources, diagnosis);
    }
    int code = 0;
    if (settings->json) {
        err = tell_json(profile, diagnosis);
        code = err ? ac_fail("the JSON could not be written to stdout: %s", strerror(-err)) : 0;
    } else if (!settings->quiet) {
        err = tell_text(profile, diagnosis);
        code = err ? AC_EXIT_ERROR : 0;
    }
    int written = ac_outputs_write(settings, profile, diagnosis);
    ac_diagnosis_free(diagnosis);
    return written ? written : code;
}
