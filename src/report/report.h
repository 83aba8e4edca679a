/* report.h - writers: a profile and its diagnosis as text, JSON, gecko, speedscope, folded,
 * Perfetto trace or a recording.
 *
 * Each writer appends to a buffer; the command decides where the bytes go. Nothing here reads a process or a
 * file; the only reader is the recording's, which treats its input as hostile.
 */
#ifndef AC_REPORT_H
#define AC_REPORT_H

#include "base/base.h"
#include "verdict/verdict.h"

struct ac_text_style {
    int width;    /* columns, 40 to 200 */
    bool color;   /* ANSI colours */
    bool unicode; /* block characters; else ASCII bars */
};

/* The report for people: at most a screen (24 lines at 80 columns in the usual case). */
int ac_report_text(const struct ac_profile *profile, const struct ac_diagnosis *diagnosis,
                   const struct ac_text_style *style, struct ac_buf *buf);
int ac_report_json(const struct ac_profile *profile, const struct ac_diagnosis *diagnosis,
                   struct ac_buf *buf);
/* A snapshot (ac_snapshot) for programs. */
int ac_report_dump_json(const struct ac_profile *profile, struct ac_buf *buf);
int ac_report_gecko(const struct ac_profile *profile, struct ac_buf *buf);
int ac_report_speedscope(const struct ac_profile *profile, struct ac_buf *buf);
int ac_report_pftrace(const struct ac_profile *profile, const struct ac_diagnosis *diagnosis,
                      struct ac_buf *buf);
/* A page that stands by itself. Arguments and whole paths may be private: only when asked for. */
struct ac_html_options {
    bool with_args, full_paths;
};
int ac_report_html(const struct ac_profile *profile, const struct ac_diagnosis *diagnosis,
                   const struct ac_html_options *options, struct ac_buf *buf);
/* Several runs on one page and one time axis: a race, or recordings side by side. All text is untrusted. */
struct ac_html_run {
    const char *name;                     /* of its tab; NULL: what was run */
    const char *note;                     /* one line more, such as why there is no profile; or NULL */
    const struct ac_profile *profile;     /* NULL: it gave none */
    const struct ac_diagnosis *diagnosis; /* NULL with it */
    double speedup;                       /* measured, against the first run; 0: not told */
};
/* What is said of all of them: one sentence, and a table whose first column names the run. */
struct ac_html_head {
    const char *title, *headline;
    const char *evidence; /* one line, or NULL */
    const char *const *columns;
    size_t column_count;
    const char *const *cells; /* row by row; NULL: empty */
    size_t row_count;
    size_t shown; /* the run whose tab is open at first */
};
/* `head` NULL: a single run's report. Runs past the sixteenth are left out. */
int ac_report_html_runs(const struct ac_html_head *head, const struct ac_html_run *runs, size_t count,
                        const struct ac_html_options *options, struct ac_buf *buf);
/* A race: for people, as a Markdown table, for programs. */
struct ac_race;
int ac_report_race_text(const struct ac_race *race, const struct ac_text_style *style, struct ac_buf *buf);
int ac_report_race_markdown(const struct ac_race *race, struct ac_buf *buf);
int ac_report_race_html(const struct ac_race *race, const struct ac_html_options *options,
                        struct ac_buf *buf);
int ac_report_race_json(const struct ac_race *race, struct ac_buf *buf);
int ac_report_folded(const struct ac_profile *profile, struct ac_buf *buf);

/* Two runs side by side, the earlier one first: what changed. */
struct ac_run {
    const char *name; /* of the recording */
    const struct ac_profile *profile;
    const struct ac_diagnosis *diagnosis;
};
int ac_compare_text(const struct ac_run runs[2], const struct ac_text_style *style, struct ac_buf *buf);
int ac_compare_html(const struct ac_run runs[2], const struct ac_html_options *options, struct ac_buf *buf);
int ac_compare_json(const struct ac_run runs[2], struct ac_buf *buf);

/* .allcores: magic, version, zlib-compressed tables. Reading checks every length and index
 * (ac_profile_valid): -EINVAL not a recording or damaged, -ENOTSUP a newer version, -EFBIG over the caps. */
int ac_recording_write(const struct ac_profile *profile, struct ac_buf *buf);
int ac_recording_read(const void *data, size_t size, struct ac_profile **ret_profile);

#endif
