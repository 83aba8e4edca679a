/* cmd_show.c - allcores show: a recording told again, or exported. */
#include <string.h>

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

static int run(const struct ac_settings *settings) {
    struct ac_profile *profile = NULL;
    struct ac_sources *sources = NULL;
    if (settings->rest_count != 1) {
        return ac_fail("show takes one recording: allcores show run.allcores");
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
    .summary = "Tell a recording again, or export it",
    .usage = "allcores show [options] FILE.allcores",
    .details = "  allcores show run.allcores\n"
               "  allcores show run.allcores -q -o run.speedscope.json\n",
    .options = AC_TAKES(AC_OPT_OUTPUT) | AC_TAKES(AC_OPT_QUIET) | AC_TAKES(AC_OPT_JSON) |
               AC_TAKES(AC_OPT_WITH_ARGS) | AC_TAKES(AC_OPT_FULL_PATHS),
    .run = run,
};
