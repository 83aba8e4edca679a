/* stream.c - JSON written straight into a buffer, and the time line sorted by thread. */
#include "report/stream.h"

#include <inttypes.h>
#include <string.h>

void ac_put_json_text(struct ac_buf *buf, const char *text) {
    struct ac_buf clean = {0};
    ac_buf_utf8(&clean, text, strlen(text));
    ac_buf_str(buf, "\"");
    for (const char *at = ac_buf_text(&clean); *at;) {
        size_t plain = 0;
        while ((unsigned char)at[plain] >= 0x20 && at[plain] != '"' && at[plain] != '\\') {
            plain++;
        }
        ac_buf_bytes(buf, at, plain);
        at += plain;
        if (*at) {
            ac_buf_printf(buf, "\\u%04x", (unsigned char)*at++);
        }
    }
    ac_buf_str(buf, "\"");
    buf->err = buf->err ? buf->err : clean.err;
    ac_buf_free(&clean);
}

void ac_put_ms(struct ac_buf *buf, int64_t ns) {
    ac_buf_printf(buf, "%" PRId64 ".%06" PRId64, ns / AC_NS_PER_MS, ns % AC_NS_PER_MS);
}

void ac_table_row(struct ac_column *columns, size_t count, const int64_t *values) {
    for (size_t i = 0; i < count; i++) {
        struct ac_buf *buf = &columns[i].values;
        if (buf->len) {
            ac_buf_str(buf, ",");
        }
        if (values[i] == AC_NULL) {
            ac_buf_str(buf, "null");
        } else if (values[i] == AC_FALSE) {
            ac_buf_str(buf, "false");
        } else if (columns[i].is_time) {
            ac_put_ms(buf, values[i]);
        } else {
            ac_buf_printf(buf, "%" PRId64, values[i]);
        }
    }
}

void ac_put_table(struct ac_buf *buf, const char *name, struct ac_column *columns, size_t count, size_t rows,
                  const char *more) {
    ac_buf_printf(buf, "\"%s\":{", name);
    for (size_t i = 0; i < count; i++) {
        struct ac_buf *values = &columns[i].values;
        ac_buf_printf(buf, "\"%s\":[", columns[i].name);
        ac_buf_bytes(buf, ac_buf_text(values), values->len);
        ac_buf_str(buf, "],");
        buf->err = buf->err ? buf->err : values->err;
        ac_buf_free(values);
    }
    ac_buf_printf(buf, "%s\"length\":%zu}", more, rows);
}

int ac_lanes_new(const struct ac_profile *profile, struct ac_lanes *ret_lanes) {
    struct ac_lanes lanes = {.order = ac_malloc((profile->segment_count + 1) * sizeof(*lanes.order)),
                             .first = ac_calloc(profile->thread_count + 2, sizeof(*lanes.first))};
    if (!lanes.order || !lanes.first) {
        ac_lanes_free(&lanes);
        return -ENOMEM;
    }
    /* A counting sort: first[t + 2] counts; summed up, first[t + 1] is where t's next segment goes, and in
     * the end where the next thread's begin.  */
    for (size_t i = 0; i < profile->segment_count; i++) {
        lanes.first[profile->segments[i].thread + 2]++;
    }
    for (size_t t = 2; t < profile->thread_count + 2; t++) {
        lanes.first[t] += lanes.first[t - 1];
    }
    for (size_t i = 0; i < profile->segment_count; i++) {
        lanes.order[lanes.first[profile->segments[i].thread + 1]++] = (uint32_t)i;
    }
    *ret_lanes = lanes;
    return 0;
}

void ac_lanes_free(struct ac_lanes *lanes) {
    ac_free(lanes->order);
    ac_free(lanes->first);
}
