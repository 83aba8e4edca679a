/* sched.c - how the sampler asks to be run on time. */
#include "os/os.h"
#include "os/syscalls.h"

int ac_sched_fifo(void) {
    struct sched_param param = {.sched_priority = 1};
    return ac_sys.sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) == 0 ? 0 : -errno;
}

int ac_sched_nice(int value) {
    return ac_sys.setpriority(PRIO_PROCESS, 0, value) == 0 ? 0 : -errno;
}

int ac_uname(char *kernel, size_t kernel_size, char *machine, size_t machine_size) {
    struct utsname names;
    if (ac_sys.uname(&names) != 0) {
        return -errno;
    }
    ac_copy(kernel, kernel_size, names.release);
    ac_copy(machine, machine_size, names.machine);
    return 0;
}
