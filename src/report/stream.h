/* stream.h - JSON too long to be built as values first: written straight into the buffer. A run of hours has
 * hundreds of thousands of segments; as JSON values they would take a hundred times their own size.
 * Internal to src/report. */
#ifndef AC_REPORT_STREAM_H
#define AC_REPORT_STREAM_H

#include "report/report.h"

void ac_put_json_text(struct ac_buf *buf, const char *text); /* quoted; valid UTF-8 whatever text is */
void ac_put_ms(struct ac_buf *buf, int64_t ns);              /* 12.345678 */

/* A table as the Firefox Profiler has them: one JSON array a column. */
struct ac_column {
    const char *name;
    bool is_time; /* values are ns, written as ms */
    struct ac_buf values;
};
#define AC_NULL  INT64_MIN
#define AC_FALSE (INT64_MIN + 1)
/* One value for each of the table's `count` columns. */
void ac_table_row(struct ac_column *columns, size_t count, const int64_t *values);
/* "name":{"column":[...],...,more"length":rows}, freeing the columns; `more` are members that are no columns.
 */
void ac_put_table(struct ac_buf *buf, const char *name, struct ac_column *columns, size_t count, size_t rows,
                  const char *more);

/* Each thread's segments in order of time: those of thread t are order[first[t]] .. order[first[t + 1] - 1].
 */
struct ac_lanes {
    uint32_t *order;
    size_t *first;
};
int ac_lanes_new(const struct ac_profile *profile, struct ac_lanes *ret_lanes);
void ac_lanes_free(struct ac_lanes *lanes);

#endif
