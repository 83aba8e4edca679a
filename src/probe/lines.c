/* lines.c - co_lnotab (3.8, 3.9), the 3.10 line table and the location table of 3.11+ (Objects/locations.md).
 */
#include "probe/lines.h"

static int32_t line_checked(int64_t line) {
    return line > 0 && line <= INT32_MAX ? (int32_t)line : 0;
}

/* Pairs of (bytes of code, lines to add from there on). */
static int32_t line_of_lnotab(const uint8_t *table, size_t len, int64_t line, int64_t offset) {
    int64_t address = 0;
    for (size_t i = 0; i + 1 < len; i += 2) {
        address += table[i];
        if (address > offset)
            break;
        line += (int8_t)table[i + 1];
    }
    return line_checked(line);
}

/* Pairs of (bytes of code, lines to add for these bytes); -128: these bytes have no line. */
static int32_t line_of_3_10(const uint8_t *table, size_t len, int64_t line, int64_t offset) {
    int64_t end = 0;
    for (size_t i = 0; i + 1 < len; i += 2) {
        int8_t delta = (int8_t)table[i + 1];
        end += table[i];
        if (delta != -128)
            line += delta;
        if (offset < end)
            return delta == -128 ? 0 : line_checked(line);
    }
    return 0;
}

/* Signed variable-length number: six bits a byte, bit 6 says that more follow, the lowest bit is the sign. */
static int64_t svarint(const uint8_t *table, size_t len, size_t at) {
    uint64_t value = 0;
    for (unsigned shift = 0; at < len && shift < 60; at++, shift += 6) {
        value |= (uint64_t)(table[at] & 63) << shift;
        if (!(table[at] & 64))
            break;
    }
    int64_t magnitude = (int64_t)(value >> 1);
    return value & 1 ? -magnitude : magnitude;
}

/* Entries of 1 byte (0x80 | kind << 3 | code units - 1) and payload bytes below 0x80. */
static int32_t line_of_locations(const uint8_t *table, size_t len, int64_t line, int64_t offset) {
    int64_t end = 0;
    for (size_t i = 0; i < len;) {
        unsigned kind = (table[i] >> 3) & 15;
        end += ((table[i] & 7) + 1) * 2;
        if (kind == 13 || kind == 14)
            line += svarint(table, len, i + 1);
        else if (kind >= 10 && kind <= 12)
            line += kind - 10;
        if (line > INT32_MAX || line < -(int64_t)INT32_MAX)
            return 0;
        if (offset < end)
            return kind == 15 ? 0 : line_checked(line);
        do
            i++;
        while (i < len && !(table[i] & 0x80));
    }
    return 0;
}

int32_t ac__line_of(int minor, const uint8_t *table, size_t len, int32_t first_line, int64_t offset) {
    if (offset < 0)
        return line_checked(first_line);
    if (minor <= 9)
        return line_of_lnotab(table, len, first_line, offset);
    if (minor == 10)
        return line_of_3_10(table, len, first_line, offset);
    return line_of_locations(table, len, first_line, offset);
}
