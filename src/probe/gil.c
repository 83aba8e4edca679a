/* gil.c - who holds each GIL, and whether a futex address means waiting for one.
 *
 * The GIL is a struct of a flag, the last holder, and two pairs of condition variable and mutex. last_holder
 * stays set after a release, so it counts only while locked is 1. A waiter sleeps in the futex of a condition
 * variable or mutex that lies inside the struct: on glibc any address in [gil_cond, gil_end) says so,
 * whatever its version. musl's waiters sleep on a word of their own stack, which the condition's list of
 * waiters leads to.
 */
#include <string.h>

#include "probe/reader.h"

#define RELOOK 256u /* looks until the list of interpreters is read again though its head is the same */
/* musl: pthread_cond_t holds the head of its waiters here; struct waiter {prev, next, state, barrier, notify}
 */
#define MUSL_HEAD         8u
#define MUSL_NEXT         8u
#define MUSL_WAITER_BYTES 40u
#define MUSL_WAITERS_MAX  1024u

static size_t gil_position(const struct ac_py_gil *gils, size_t count, uint64_t address) {
    size_t i = 0;
    while (i < count && gils[i].address != address)
        i++;
    return i;
}

static void gil_decode(const struct ac_layout *layout, const uint8_t *bytes, struct ac_py_gil *gil) {
    uint64_t holder = ac__u64(bytes + layout->gil_holder);
    gil->enabled = layout->gil_enabled == AC_OFFSET_NONE || ac__i32(bytes + layout->gil_enabled) != 0;
    gil->for_good =
        layout->gil_enabled == AC_OFFSET_NONE || ac__i32(bytes + layout->gil_enabled) == INT32_MAX;
    gil->held = gil->enabled && ac__i32(bytes + layout->gil_locked) == 1 && ac__is_pointer(holder);
    gil->holder = gil->held ? holder : 0;
    gil->switch_number = ac__u64(bytes + layout->gil_switches);
}

/* One system call: the list's head and every GIL. */
static int gils_read(struct ac_py *py, uint64_t *ret_head, struct ac_py_gil *gils, size_t *ret_count) {
    const struct ac_layout *layout = &py->layout;
    uint8_t bytes[AC_PY_MAX_GILS][64] = {{0}};
    struct iovec local[AC_PY_MAX_GILS + 1], remote[AC_PY_MAX_GILS + 1];
    bool ok[AC_PY_MAX_GILS + 1];
    size_t count = 0, known = 0, size = layout->gil_switches + 8;
    for (uint32_t i = 0; i < py->interp_count; i++) {
        if (gil_position(gils, count, py->gils[i]) < count || !ac__is_pointer(py->gils[i]))
            continue;
        gils[count] = (struct ac_py_gil){.interpreter = i, .address = py->gils[i]};
        local[count] = (struct iovec){bytes[count], size};
        remote[count] = (struct iovec){(void *)(uintptr_t)py->gils[i], size};
        count++;
    }
    local[count] = (struct iovec){ret_head, sizeof *ret_head};
    remote[count] = (struct iovec){(void *)(uintptr_t)(py->runtime + layout->runtime_head), sizeof *ret_head};
    int err = ac__read_ranges(py->pid, local, remote, ok, count + 1);
    if (err < 0 || !ok[count])
        return err < 0 ? err : -EFAULT;
    for (size_t i = 0; i < count; i++) {
        if (!ok[i])
            continue; /* its interpreter ended */
        gil_decode(layout, bytes[i], &gils[i]);
        gils[known++] = gils[i];
    }
    *ret_count = known;
    return 0;
}

int ac_py_gils(struct ac_py *py, struct ac_py_gil *gils, size_t cap, size_t *ret_count) {
    struct ac_py_gil found[AC_PY_MAX_GILS];
    uint64_t head = 0;
    size_t count = 0;
    int err = py->gil_looks++ < RELOOK ? 0 : ac__interps_read(py);
    if (err == 0)
        err = gils_read(py, &head, found, &count);
    if (err == 0 && head != py->head) {
        err = ac__interps_read(py);
        if (err == 0)
            err = gils_read(py, &head, found, &count);
    }
    if (err < 0)
        return err;
    memcpy(py->last_gils, found, count * sizeof *found);
    py->last_gil_count = count;
    if (cap)
        memcpy(gils, found, ac_min(cap, count) * sizeof *found);
    *ret_count = count;
    return 0;
}

/* Is the address in the node of one of the condition's waiters? */
static bool musl_waits(const struct ac_py *py, uint64_t condition, uint64_t uaddr) {
    uint64_t node = 0;
    if (ac__read_u64(py, condition + MUSL_HEAD, &node) < 0)
        return false;
    for (unsigned i = 0; i < MUSL_WAITERS_MAX && ac__is_pointer(node); i++) {
        if (uaddr >= node && uaddr < node + MUSL_WAITER_BYTES)
            return true;
        if (ac__read_u64(py, node + MUSL_NEXT, &node) < 0)
            return false;
    }
    return false;
}

int ac_py_gil_waits(struct ac_py *py, uint64_t uaddr) {
    const struct ac_layout *layout = &py->layout;
    uint32_t half = (layout->gil_end - layout->gil_cond) / 2;
    for (size_t i = 0; i < py->last_gil_count; i++) {
        uint64_t gil = py->last_gils[i].address;
        if (uaddr >= gil + layout->gil_cond && uaddr < gil + layout->gil_end)
            return (int)i;
        if (py->musl && (musl_waits(py, gil + layout->gil_cond, uaddr) ||
                         musl_waits(py, gil + layout->gil_cond + half, uaddr)))
            return (int)i;
    }
    return -1;
}
