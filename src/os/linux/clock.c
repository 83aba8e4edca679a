/* clock.c - clocks and the sleep between two ticks. */
#include <time.h>

#include "os/os.h"
#include "os/syscalls.h"

static int64_t read_clock(clockid_t clock) {
    struct timespec now = {0};
    ac_sys.clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * AC_NS_PER_S + now.tv_nsec;
}

int64_t ac_now_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

int64_t ac_unix_ns(void) {
    return read_clock(CLOCK_REALTIME);
}

int64_t ac_thread_cpu_ns(void) {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

int64_t ac_own_cpu_ns(void) {
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

int ac_sleep_until(int64_t ns) {
    struct timespec until = {.tv_sec = ns / AC_NS_PER_S, .tv_nsec = (long)(ns % AC_NS_PER_S)};
    return -ac_sys.clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* The kernel encodes "CPU clock of process PID" in the clock id itself (what clock_getcpuclockid() returns).
 */
int ac_process_cpu_ns(pid_t pid, int64_t *ret_ns) {
    struct timespec now;
    clockid_t clock = (clockid_t)((~(unsigned)pid << 3) | 2);
    if (pid <= 0 || ac_sys.clock_gettime(clock, &now) != 0) {
        return -ESRCH;
    }
    *ret_ns = (int64_t)now.tv_sec * AC_NS_PER_S + now.tv_nsec;
    return 0;
}
