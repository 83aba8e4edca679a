/* lines.h - from an instruction's offset to its source line: the three tables that CPython has had. */
#ifndef AC_PROBE_LINES_H
#define AC_PROBE_LINES_H

#include <stddef.h>
#include <stdint.h>

/* The line of the instruction at byte `offset` of a code object of 3.`minor` whose table is `table`.
 * 0: none or not known. Reads the table's bytes only, whatever they hold. */
int32_t ac__line_of(int minor, const uint8_t *table, size_t len, int32_t first_line, int64_t offset);

#endif
