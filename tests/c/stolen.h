/* What interrupts and a hypervisor took from all CPUs since boot: between two scheduler switches it is in the
 * wall time that the ring tells, and not in rusage or schedstat. */
#ifndef AC_TEST_STOLEN_H
#define AC_TEST_STOLEN_H

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"

#define STOLEN_TICK_NS (AC_NS_PER_S / sysconf(_SC_CLK_TCK)) /* the resolution of /proc/stat */

/* Nanoseconds: irq + softirq + steal of /proc/stat, see proc(5). */
static inline int64_t stolen_ns(void) {
    int64_t irq = 0, softirq = 0, steal = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (file) {
        if (fscanf(file, "cpu %*d %*d %*d %*d %*d %" SCNd64 " %" SCNd64 " %" SCNd64, &irq, &softirq,
                   &steal) != 3)
            irq = softirq = steal = 0;
        fclose(file);
    }
    return (irq + softirq + steal) * STOLEN_TICK_NS;
}

#endif
