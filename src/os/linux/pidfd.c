/* pidfd.c - processes by descriptor, which no other process can come to be in the meantime; and how one died.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "os/internal.h"
#include "os/os.h"
#include "os/shared.h"
#include "os/syscalls.h"

int ac_pidfd_open(pid_t pid, int *ret_fd) {
    int fd = ac_sys.pidfd_open(pid, 0);
    if (fd < 0) {
        return -errno;
    }
    *ret_fd = fd;
    return 0;
}

int ac_pidfd_kill(int pidfd, int signal) {
    return ac_sys.pidfd_send_signal(pidfd, signal) == 0 ? 0 : -errno;
}

bool ac_pidfd_ended(int pidfd) {
    struct pollfd poll = {.fd = pidfd, .events = POLLIN};
    return ac_sys.poll(&poll, 1, 0) == 1 && (poll.revents & POLLIN) != 0;
}

/* exit_code is the 52nd field of stat, the last; comm, the second, may hold anything but ends at the last
 * ')'. The kernel shows it as soon as the process has begun to exit: state and flags (PF_EXITING) say
 * whether. */
int ac_process_exit_status(pid_t pid, int *ret_status) {
    char path[32];
    char text[1024];
    enum { FLAGS = 9, EXIT_CODE = 52, PF_EXITING = 4 };
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int got = ac__read_small(path, text, sizeof(text));
    if (got < 0) {
        return got;
    }
    char *at = strrchr(text, ')');
    unsigned long flags = 0;
    char *save = NULL;
    int field = 2;
    for (char *word = at != NULL ? strtok_r(at + 1, " \n", &save) : NULL; word != NULL;
         word = strtok_r(NULL, " \n", &save)) {
        field++;
        if (field == FLAGS) {
            flags = strtoul(word, NULL, 10);
        } else if (field == EXIT_CODE) {
            if ((flags & PF_EXITING) == 0) {
                return -EAGAIN;
            }
            *ret_status = (int)strtol(word, NULL, 10);
            return 0;
        }
    }
    return -ESRCH;
}

int ac_die_with_parent(pid_t parent) {
    if (ac_sys.prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        return -errno;
    }
    return getppid() == parent ? 0 : -ESRCH; /* asked after: a death in between has sent no signal */
}

int64_t ac_process_rss(pid_t pid) {
    char path[32];
    char text[256];
    long long pages = -1;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    bool read = ac__read_small(path, text, sizeof(text)) >= 0 && sscanf(text, "%*s %lld", &pages) == 1;
    return read && pages >= 0 ? (int64_t)pages * sysconf(_SC_PAGESIZE) : -1;
}

int64_t ac_process_pss(pid_t pid) {
    char path[40];
    char text[2048];
    long long kib = -1;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    const char *line = ac__read_small(path, text, sizeof(text)) < 0 ? NULL : strstr(text, "\nPss:");
    bool read = line && sscanf(line, "\nPss: %lld", &kib) == 1;
    return read && kib >= 0 ? (int64_t)kib * 1024 : ac_process_rss(pid);
}

int64_t ac_oom_kills(void) {
    char text[16384];
    const char *line =
        ac__read_small("/proc/vmstat", text, sizeof(text)) < 0 ? NULL : strstr(text, "\noom_kill ");
    return line != NULL ? strtoll(line + strlen("\noom_kill "), NULL, 10) : -1;
}
