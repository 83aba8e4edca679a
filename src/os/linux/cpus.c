/* cpus.c - which CPUs there are, which ones a process may use, and how busy they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/internal.h"
#include "os/os.h"
#include "os/syscalls.h"

static int online_cpus(const char *root, cpu_set_t *ret) {
    char path[512];
    char text[4096];
    snprintf(path, sizeof(path), "%s/sys/devices/system/cpu/online", root);
    CPU_ZERO(ret);
    if (ac__read_small(path, text, sizeof(text)) > 0) {
        ac__parse_cpu_list(text, ret);
    }
    if (CPU_COUNT(ret) == 0) { /* no /sys in some sandboxes */
        long count = sysconf(_SC_NPROCESSORS_ONLN);
        for (long cpu = 0; cpu < count && cpu < CPU_SETSIZE; cpu++) {
            CPU_SET((size_t)cpu, ret);
        }
    }
    return CPU_COUNT(ret);
}

int ac_cpus_of(pid_t pid, const char *root, struct ac_cpu_limits *ret) {
    struct ac_cpu_limits limits = {0};
    cpu_set_t online;
    limits.online = online_cpus(root, &online);
    if (ac_sys.sched_getaffinity(pid, sizeof(limits.set), &limits.set) != 0) {
        return errno == ESRCH ? -ESRCH : -errno;
    }
    CPU_AND(&limits.set, &limits.set, &online);
    limits.affinity = CPU_COUNT(&limits.set);
    int err = ac__cgroup_quota(pid, root, &limits.quota, limits.quota_path, sizeof(limits.quota_path));
    if (err) {
        return err;
    }
    limits.usable = limits.affinity;
    if (limits.quota > 0 && limits.quota < limits.usable) {
        limits.usable = limits.quota;
    }
    *ret = limits;
    return 0;
}

/* "cpu3 user nice system idle iowait irq softirq steal ...": all but idle and iowait, in ticks. */
static uint64_t busy_ticks(const char *fields) {
    uint64_t busy = 0;
    char *at;
    for (int i = 0; i < 8; i++, fields = at) {
        uint64_t ticks = strtoull(fields, &at, 10);
        if (at == fields) {
            break;
        }
        busy += i == 3 || i == 4 ? 0 : ticks;
    }
    return busy;
}

int ac_cpus_busy(const char *root, int64_t ret_ns[CPU_SETSIZE]) {
    char path[512];
    snprintf(path, sizeof(path), "%s/proc/stat", root);
    struct ac_buf text = {0};
    int err = ac__read_whole(path, 1u << 20, &text);
    memset(ret_ns, 0, CPU_SETSIZE * sizeof(*ret_ns));
    for (const char *line = ac_buf_text(&text); !err && strncmp(line, "cpu", 3) == 0;) {
        char *fields;
        unsigned long cpu = strtoul(line + 3, &fields, 10);
        if (fields != line + 3 && cpu < CPU_SETSIZE) {
            ret_ns[cpu] = ac_ticks_to_ns(busy_ticks(fields));
        }
        line = strchr(line, '\n');
        if (!line) {
            break;
        }
        line++;
    }
    ac_buf_free(&text);
    return err;
}

int ac_task_affinity(pid_t tid, cpu_set_t *ret) {
    return ac_sys.sched_getaffinity(tid, sizeof(*ret), ret) == 0 ? 0 : -errno;
}
