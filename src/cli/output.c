/* output.c - -o: the suffix picks the writer; a path is checked before the program runs and nothing is lost
 * when writing fails. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "os/os.h"

typedef int (*writer)(const struct ac_settings *, const struct ac_profile *, const struct ac_diagnosis *,
                      struct ac_buf *);

static int write_json(const struct ac_settings *settings, const struct ac_profile *profile,
                      const struct ac_diagnosis *diagnosis, struct ac_buf *buf) {
    (void)settings;
    return ac_report_json(profile, diagnosis, buf);
}

static int write_html(const struct ac_settings *settings, const struct ac_profile *profile,
                      const struct ac_diagnosis *diagnosis, struct ac_buf *buf) {
    const struct ac_html_options options = {.with_args = settings->with_args,
                                            .full_paths = settings->full_paths};
    return ac_report_html(profile, diagnosis, &options, buf);
}

static int write_gecko(const struct ac_settings *settings, const struct ac_profile *profile,
                       const struct ac_diagnosis *diagnosis, struct ac_buf *buf) {
    (void)settings;
    (void)diagnosis;
    return ac_report_gecko(profile, buf);
}

static int write_speedscope(const struct ac_settings *settings, const struct ac_profile *profile,
                            const struct ac_diagnosis *diagnosis, struct ac_buf *buf) {
    (void)settings;
    (void)diagnosis;
    return ac_report_speedscope(profile, buf);
}

static int write_pftrace(const struct ac_settings *settings, const struct ac_profile *profile,
                         const struct ac_diagnosis *diagnosis, struct ac_buf *buf) {
    (void)settings;
    return ac_report_pftrace(profile, diagnosis, buf);
}

static int write_folded(const struct ac_settings *settings, const struct ac_profile *profile,
                        const struct ac_diagnosis *diagnosis, struct ac_buf *buf) {
    (void)settings;
    (void)diagnosis;
    return ac_report_folded(profile, buf);
}

static int write_recording(const struct ac_settings *settings, const struct ac_profile *profile,
                           const struct ac_diagnosis *diagnosis, struct ac_buf *buf) {
    (void)settings;
    (void)diagnosis;
    return ac_recording_write(profile, buf);
}

/* The first suffix that fits wins: the longer ones come first. */
static const struct {
    const char *suffix;
    writer write;
} writers[] = {
    {".speedscope.json", write_speedscope},
    {".gecko.json", write_gecko},
    {".json", write_json},
    {".html", write_html},
    {".pftrace", write_pftrace},
    {".folded", write_folded},
    {".allcores", write_recording},
};

static writer writer_of(const char *path) {
    for (size_t i = 0; i < AC_COUNT(writers); i++) {
        if (ac_ends_with(path, writers[i].suffix)) {
            return writers[i].write;
        }
    }
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        return write_json; /* /dev/stdout, /dev/null, a pipe: JSON */
    }
    return NULL;
}

/* Could path be written now? By looking only. */
static int check_writable(const char *path) {
    struct stat st;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) {
            return -EISDIR;
        }
        if (access(path, W_OK) != 0) {
            return -errno;
        }
        if (!S_ISREG(st.st_mode)) {
            return 0;
        }
    } else if (errno != ENOENT) {
        return -errno;
    }
    char dir[PATH_MAX];
    ac_copy(dir, sizeof(dir), path);
    char *slash = strrchr(dir, '/');
    if (slash) {
        slash[slash == dir] = '\0';
    }
    return access(slash ? dir : ".", W_OK | X_OK) == 0 ? 0 : -errno; /* a temporary file goes beside it */
}

int ac_outputs_check(const struct ac_settings *settings) {
    int unwritable = settings->fix ? check_writable(settings->fix) : 0;
    if (unwritable) {
        ac_fail("--fix %s: cannot be written: %s", settings->fix, strerror(-unwritable));
        return -EINVAL;
    }
    for (size_t i = 0; i < settings->output_count; i++) {
        const char *path = settings->outputs[i];
        if (!writer_of(path)) {
            ac_fail("-o %s: the suffix picks the format: .html, .json, .allcores, .pftrace, .folded, "
                    ".gecko.json or .speedscope.json",
                    path);
            return -EINVAL;
        }
        int err = check_writable(path);
        if (err) {
            ac_fail("-o %s: cannot be written: %s", path, strerror(-err));
            return -EINVAL;
        }
    }
    return 0;
}

static int write_one(const char *path, const struct ac_settings *settings, const struct ac_profile *profile,
                     const struct ac_diagnosis *diagnosis) {
    struct ac_buf buf = {0};
    writer write = writer_of(path);
    int err = write ? write(settings, profile, diagnosis, &buf) : -EINVAL;
    err = err ? err : buf.err;
    err = err ? err : ac_file_write(path, buf.data, buf.len);
    ac_buf_free(&buf);
    if (err) {
        return ac_fail("-o %s: not written: %s", path, strerror(-err));
    }
    return 0;
}

static int write_fix(const char *path, const struct ac_verdict *verdict) {
    if (!verdict->fix_diff) {
        ac_warn("--fix %s: not written: %s", path,
                verdict->fix_withheld ? verdict->fix_withheld
                : verdict->fix_text   ? "there is no patch for this verdict, or no helper to make one"
                                      : "there is nothing to fix");
        return 0;
    }
    int err = ac_file_write(path, verdict->fix_diff, strlen(verdict->fix_diff));
    return err ? ac_fail("--fix %s: not written: %s", path, strerror(-err)) : 0;
}

int ac_outputs_write(const struct ac_settings *settings, const struct ac_profile *profile,
                     const struct ac_diagnosis *diagnosis) {
    int code = settings->fix ? write_fix(settings->fix, &diagnosis->main) : 0;
    for (size_t i = 0; i < settings->output_count; i++) {
        int failed = write_one(settings->outputs[i], settings, profile, diagnosis);
        code = failed ? failed : code;
    }
    return code;
}
