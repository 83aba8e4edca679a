/* buf.c - byte strings under construction: one error check at the end instead of one a line. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static bool reserve(struct ac_buf *buf, size_t more) {
    if (buf->err) {
        return false;
    }
    if (more >= SIZE_MAX - buf->len) {
        buf->err = -ENOMEM;
        return false;
    }
    buf->err = ac_grow(&buf->data, &buf->cap, buf->len + more + 1, 1);
    return buf->err == 0;
}

void ac_buf_bytes(struct ac_buf *buf, const void *data, size_t len) {
    if (reserve(buf, len)) {
        if (len) {
            memcpy(buf->data + buf->len, data, len);
        }
        buf->len += len;
        buf->data[buf->len] = '\0';
    }
}

void ac_buf_str(struct ac_buf *buf, const char *text) {
    ac_buf_bytes(buf, text, strlen(text));
}

void ac_buf_vprintf(struct ac_buf *buf, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    if (len < 0) {
        buf->err = buf->err ? buf->err : -EINVAL;
    } else if (reserve(buf, (size_t)len)) {
        vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void ac_buf_printf(struct ac_buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    ac_buf_vprintf(buf, format, args);
    va_end(args);
}

void ac_buf_repeat(struct ac_buf *buf, const char *text, int times) {
    for (int i = 0; i < times; i++) {
        ac_buf_str(buf, text);
    }
}

const char *ac_buf_text(const struct ac_buf *buf) {
    return buf->data ? buf->data : "";
}

void ac_buf_clear(struct ac_buf *buf) {
    buf->len = 0;
    buf->err = 0;
    if (buf->data) {
        buf->data[0] = '\0';
    }
}

void ac_buf_free(struct ac_buf *buf) {
    ac_free(buf->data);
    *buf = (struct ac_buf){0};
}
