/* futex.c - sleeping on a word. All words count as shared between processes: a private futex's key would be
 * an address, which means nothing to the other side. */
#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#include "os/os.h"
#include "os/shared.h"
#include "os/syscalls.h"

static struct timespec to_timespec(int64_t ns) {
    return (struct timespec){.tv_sec = ns / AC_NS_PER_S, .tv_nsec = ns % AC_NS_PER_S};
}

int ac_futex_wait(ac_futex *word, uint32_t expected, int64_t timeout_ns) {
    struct timespec relative = to_timespec(ac_max(timeout_ns, 0));
    long got = ac_sys.futex((uint32_t *)word, FUTEX_WAIT, expected, timeout_ns < 0 ? NULL : &relative);
    return got == 0 ? 0 : -errno;
}

int ac_futex_wake(ac_futex *word, int count) {
    long got = ac_sys.futex((uint32_t *)word, FUTEX_WAKE, (uint32_t)count, NULL);
    return got >= 0 ? (int)got : -errno;
}

/* As the kernel's struct futex_waitv, which older headers lack. */
struct waitv {
    uint64_t expected, address;
    uint32_t flags, reserved;
};
#define WAITV_U32 2u /* FUTEX_32 without FUTEX_PRIVATE_FLAG */

int ac_futex_wait_many(const struct ac_futex_wait_entry *entries, size_t count, int64_t timeout_ns) {
    struct waitv waits[AC_FUTEX_MANY];
    if (count == 0 || count > AC_FUTEX_MANY) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        waits[i] = (struct waitv){entries[i].expected, (uint64_t)(uintptr_t)entries[i].word, WAITV_U32, 0};
    }
    struct timespec until = to_timespec(ac_now_ns() + ac_max(timeout_ns, 0));
    long got = ac_sys.futex_waitv(waits, (unsigned)count, timeout_ns < 0 ? NULL : &until);
    return got >= 0 ? 0 : -errno;
}
