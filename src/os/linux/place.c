/* place.c - which CPU a thread runs on. */
#include <errno.h>
#include <sched.h>

#include "os/shared.h"
#include "os/syscalls.h"

int ac_cpu_now(void) {
    return sched_getcpu();
}

int ac_cpu_leave(int cpu) {
    cpu_set_t allowed;
    if (cpu < 0 || cpu >= CPU_SETSIZE || ac_sys.sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
        return -EINVAL;
    }
    cpu_set_t others = allowed;
    CPU_CLR((size_t)cpu, &others);
    if (CPU_COUNT(&others) == 0) {
        return -ESRCH;
    }
    if (ac_sys.sched_setaffinity(0, sizeof(others), &others) != 0) {
        return -errno;
    }
    return ac_sys.sched_setaffinity(0, sizeof(allowed), &allowed) == 0 ? 0 : -errno;
}
