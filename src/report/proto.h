/* proto.h - protobuf's wire format, written: as much of it as pftrace.c needs. Internal to src/report. */
#ifndef AC_REPORT_PROTO_H
#define AC_REPORT_PROTO_H

#include "base/base.h"

void ac_pb_uint(struct ac_buf *buf, uint32_t field,
                uint64_t value); /* of (u)int32/64, bool and enum fields */
void ac_pb_double(struct ac_buf *buf, uint32_t field, double value);
void ac_pb_text(struct ac_buf *buf, uint32_t field, const char *text); /* valid UTF-8 whatever text is */
/* Append `message` as a field and empty it, its memory kept for the next one. */
void ac_pb_message(struct ac_buf *buf, uint32_t field, struct ac_buf *message);

#endif
