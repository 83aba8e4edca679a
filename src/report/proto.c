/* proto.c - protobuf's wire format: a key (field number and wire type), then the value. */
#include "report/proto.h"

#include <string.h>

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2 };

static void put_varint(struct ac_buf *buf, uint64_t value) {
    unsigned char bytes[10];
    size_t len = 0;
    for (; value >= 0x80; value >>= 7) {
        bytes[len++] = (unsigned char)(value | 0x80);
    }
    bytes[len++] = (unsigned char)value;
    ac_buf_bytes(buf, bytes, len);
}

static void put_key(struct ac_buf *buf, uint32_t field, enum wire type) {
    put_varint(buf, (uint64_t)field << 3 | type);
}

static void put_bytes(struct ac_buf *buf, uint32_t field, const void *data, size_t len) {
    put_key(buf, field, BYTES);
    put_varint(buf, len);
    ac_buf_bytes(buf, data, len);
}

void ac_pb_uint(struct ac_buf *buf, uint32_t field, uint64_t value) {
    put_key(buf, field, VARINT);
    put_varint(buf, value);
}

void ac_pb_double(struct ac_buf *buf, uint32_t field, double value) {
    put_key(buf, field, FIXED64);
    ac_buf_bytes(buf, &value, sizeof(value)); /* little-endian, as our machines are */
}

void ac_pb_text(struct ac_buf *buf, uint32_t field, const char *text) {
    struct ac_buf clean = {0};
    ac_buf_utf8(&clean, text, strlen(text));
    put_bytes(buf, field, ac_buf_text(&clean), clean.len);
    buf->err = buf->err ? buf->err : clean.err;
    ac_buf_free(&clean);
}

void ac_pb_message(struct ac_buf *buf, uint32_t field, struct ac_buf *message) {
    put_bytes(buf, field, ac_buf_text(message), message->len);
    buf->err = buf->err ? buf->err : message->err;
    ac_buf_clear(message);
}
