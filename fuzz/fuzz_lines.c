/* fuzz_lines.c - the three line tables on any bytes; the first four choose version, first line and offset. */
#include "base/base.h"
#include "probe/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4)
        return 0;
    int minor = 8 + data[0] % 8;
    int64_t offset = data[1] | data[2] << 8;
    int32_t line = ac__line_of(minor, data + 4, size - 4, data[3], offset);
    ac_assert(line >= 0);
    return 0;
}
