/* html.h - the page's parts. Each appends to the page's buffer; html.c puts them in order. Internal to
 * src/report. */
#ifndef AC_REPORT_HTML_H
#define AC_REPORT_HTML_H

#include "report/report.h"

#define AC_HTML_MAX_RUNS 16 /* of one page; the budgets below are shared among them */

struct ac_page {
    const struct ac_html_options *options;
    struct ac_buf *buf;
    const struct ac_html_run *run; /* at hand */
    size_t at, count;              /* which of how many */
};

/* The states as people read them, in the order of enum ac_state. */
extern const char *const ac_html_states[AC_STATE_COUNT];

/* html_text.c: what stands without JavaScript. put_text: text from outside, in HTML or (json) in the data
 * block, where
 * "<" would end the script. */
void ac_html_put_text(struct ac_page *page, const char *text, bool json);
void ac_html_put_element(struct ac_page *page, const char *open, const char *text, const char *close);
const char *ac_html_path(const struct ac_page *page, const char *path);
/* What was run, without what may be private: the script's name, or all arguments when they are wanted. */
void ac_html_put_title(struct ac_page *page, bool json);
void ac_html_put_verdict(struct ac_page *page);
void ac_html_put_figures(struct ac_page *page);
void ac_html_put_phases(struct ac_page *page);

/* html_tables.c: the tables below the time line; each is the twin of a chart or a chart itself. */
int ac_html_put_tables(struct ac_page *page);
void ac_html_put_method(struct ac_page *page);

/* html_data.c: the run at hand as one object of the data block. */
int ac_html_put_data(struct ac_page *page);
/* html_lanes.c: members "step_ms", "coarse" and "threads" of it. Coarse: told in steps. */
int ac_html_put_lanes(struct ac_page *page);
bool ac_html_is_coarse(const struct ac_profile *profile);
bool ac_html_has_one_gil(const struct ac_process *process);
/* html_ranges.c: members "verdicts" and "judged" of it. */
int ac_html_put_ranges(struct ac_page *page);

#endif
