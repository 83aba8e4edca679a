/* sched.c - how the sampler asks to be run on time, and for room. */
#include "os/os.h"
#include "os/syscalls.h"

int ac_sched_fifo(void) {
    struct sched_param param = {.sched_priority = 1};
    return ac_sys.sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) == 0 ? 0 : -errno;
}

int ac_sched_normal(void) {
    struct sched_param param = {0};
    return ac_sys.sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &param) == 0 ? 0 : -errno;
}

int64_t ac_files_limit(void) {
    struct rlimit files;
    return ac_sys.prlimit(RLIMIT_NOFILE, NULL, &files) == 0 ? (int64_t)ac_min(files.rlim_cur, INT32_MAX)
                                                            : -errno;
}

int ac_files_raise(void) {
    struct rlimit files;
    if (ac_sys.prlimit(RLIMIT_NOFILE, NULL, &files) != 0) {
        return -errno;
    }
    files.rlim_cur = files.rlim_max;
    return ac_sys.prlimit(RLIMIT_NOFILE, &files, NULL) == 0 ? 0 : -errno;
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
