/* memory.c - reads of a target's memory for the Python reader. */
#include "probe/reader.h"

int ac__read_u64(const struct ac_py *py, uint64_t address, uint64_t *ret_value) {
    uint64_t value;
    int err = ac_vm_read(py->pid, address, &value, sizeof value);
    if (err == 0)
        *ret_value = value;
    return err;
}

#define RANGES_AT_ONCE 1024u /* IOV_MAX */

int ac__read_ranges(pid_t pid, const struct iovec *local, const struct iovec *remote, bool *ok, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t now = ac_min(n - at, (size_t)RANGES_AT_ONCE);
        int whole = ac_vm_read_many(pid, local + at, remote + at, now);
        if (whole < 0 && whole != -EFAULT)
            return whole;
        size_t done = whole < 0 ? 0 : (size_t)whole;
        for (size_t i = 0; i < done; i++)
            ok[at + i] = true;
        at += done;
        if (done < now) /* the call stops at the first range that is not there: step over it */
            ok[at++] = false;
    }
    return 0;
}
