/* text.c - names from elsewhere made safe to show: valid UTF-8, no control characters, no tricks of
 * direction. */
#include <string.h>

#include "base/base.h"

void ac_copy(char *buffer, size_t size, const char *text) {
    size_t len = strnlen(text, size - 1);
    memcpy(buffer, text, len);
    buffer[len] = '\0';
}

bool ac_ends_with(const char *text, const char *tail) {
    size_t len = strlen(text);
    size_t tail_len = strlen(tail);
    return len >= tail_len && memcmp(text + len - tail_len, tail, tail_len) == 0;
}

/* Decode one character of text[0..len). Returns its bytes, 0 when the first byte starts none. */
static size_t decode(const unsigned char *text, size_t len, uint32_t *ret_char) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = text[0];
    size_t size = first < 0x80             ? 1
                  : (first & 0xe0) == 0xc0 ? 2
                  : (first & 0xf0) == 0xe0 ? 3
                  : (first & 0xf8) == 0xf0 ? 4
                                           : 0;
    if (size == 0 || size > len) {
        return 0;
    }
    uint32_t value = size == 1 ? first : first & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (text[i] & 0x3f);
    }
    if (value < smallest[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    *ret_char = value;
    return size;
}

/* Characters that move the cursor, hide text or turn its direction. */
static bool is_unsafe(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x00ad || c == 0x061c ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

void ac_buf_escaped(struct ac_buf *buf, const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        uint32_t c = 0;
        size_t size = decode((const unsigned char *)text + i, len - i, &c);
        if (size == 0 || c < 0x80) {
            unsigned char byte = (unsigned char)text[i];
            if (size && !is_unsafe(c)) {
                ac_buf_bytes(buf, text + i, 1);
            } else {
                ac_buf_printf(buf, "\\x%02x", byte);
            }
            i++;
            continue;
        }
        if (is_unsafe(c)) {
            ac_buf_printf(buf, c > 0xffff ? "\\U%08x" : "\\u%04x", c);
        } else {
            ac_buf_bytes(buf, text + i, size);
        }
        i += size;
    }
}

void ac_buf_utf8(struct ac_buf *buf, const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t size = decode((const unsigned char *)text + i, len - i, &c);
        if (size) {
            ac_buf_bytes(buf, text + i, size);
        } else {
            ac_buf_str(buf, "\xef\xbf\xbd");
        }
        i += size ? size : 1;
    }
}

static size_t char_width(uint32_t c) {
    static const struct {
        uint32_t from, to;
    } wide[] = {{0x1100, 0x115f}, {0x2e80, 0x303e},   {0x3041, 0x33ff},   {0x3400, 0x4dbf},  {0x4e00, 0x9fff},
                {0xa000, 0xa4cf}, {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},  {0xff00, 0xff60},
                {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}},
      none[] = {{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f},
                {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}};
    for (size_t i = 0; i < AC_COUNT(none); i++) {
        if (c >= none[i].from && c <= none[i].to) {
            return 0;
        }
    }
    for (size_t i = 0; i < AC_COUNT(wide); i++) {
        if (c >= wide[i].from && c <= wide[i].to) {
            return 2;
        }
    }
    return 1;
}

size_t ac_text_width(const char *text) {
    size_t width = 0;
    size_t len = strlen(text);
    for (size_t i = 0; i < len;) {
        uint32_t c = '?';
        size_t size = decode((const unsigned char *)text + i, len - i, &c);
        width += char_width(c);
        i += size ? size : 1;
    }
    return width;
}
