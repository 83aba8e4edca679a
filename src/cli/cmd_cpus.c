/* cmd_cpus.c - allcores cpus: how many CPUs can really be used, and why not more. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "os/os.h"

static void print_set(struct ac_buf *buf, const cpu_set_t *set) {
    const char *comma = "";
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, set)) {
            continue;
        }
        size_t last = cpu;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set)) {
            last++;
        }
        ac_buf_printf(buf, last > cpu ? "%s%zu-%zu" : "%s%zu", comma, cpu, last);
        comma = ",";
        cpu = last;
    }
}

static void tell_text(const struct ac_cpu_limits *cpus, struct ac_buf *buf) {
    ac_buf_printf(buf, "  %.4g of %d CPUs can be used\n\n", cpus->usable, cpus->online);
    ac_buf_printf(buf, "  online     %-6d what the machine has\n", cpus->online);
    ac_buf_printf(buf, "  affinity   %-6d CPUs ", cpus->affinity);
    print_set(buf, &cpus->set);
    ac_buf_str(buf, cpus->affinity < cpus->online
                        ? ": narrower than the machine (taskset, sched_setaffinity, a cpuset)\n"
                        : "\n");
    if (cpus->quota > 0) {
        ac_buf_printf(buf, "  quota      %-6.4g by cgroup ", cpus->quota);
        ac_buf_escaped(buf, cpus->quota_path, strlen(cpus->quota_path));
        ac_buf_str(buf, "\n");
    } else {
        ac_buf_str(buf, "  quota      none\n");
    }
    ac_buf_printf(buf,
                  "\n  Python says: os.cpu_count() %d; len(os.sched_getaffinity(0)) and, from 3.13 on,\n"
                  "  os.process_cpu_count() %d.",
                  cpus->online, cpus->affinity);
    ac_buf_str(buf, cpus->quota > 0 && cpus->quota < cpus->affinity
                        ? " None of them knows the quota: give pools their number yourself.\n"
                        : "\n");
}

static void tell_json(const struct ac_cpu_limits *cpus, struct ac_buf *buf) {
    ac_buf_printf(buf, "{\"online\": %d, \"affinity\": %d, \"quota\": ", cpus->online, cpus->affinity);
    ac_buf_printf(buf, cpus->quota > 0 ? "%.6g" : "null", cpus->quota);
    ac_buf_printf(buf, ", \"usable\": %.6g}\n", cpus->usable);
}

static int run(const struct ac_settings *settings) {
    struct ac_cpu_limits cpus;
    if (settings->rest_count) {
        return ac_fail("cpus takes no arguments; `allcores cpus --pid N` asks for a process");
    }
    int err = ac_cpus_of(settings->pid ? (pid_t)settings->pid : getpid(), "", &cpus);
    if (err == -ESRCH) {
        return ac_fail("no process %lld; is it gone?", (long long)settings->pid);
    }
    if (err) {
        return ac_fail("the CPUs cannot be read: %s", strerror(-err));
    }
    struct ac_buf buf = {0};
    (settings->json ? tell_json : tell_text)(&cpus, &buf);
    err = ac_print(STDOUT_FILENO, &buf);
    ac_buf_free(&buf);
    return err ? ac_fail("stdout: %s", strerror(-err)) : 0;
}

const struct ac_command ac_cmd_cpus = {
    .name = "cpus",
    .summary = "How many CPUs can really be used here, and why not more",
    .usage = "allcores cpus [--pid PID] [--json]",
    .details = "The least of what is online, the CPU affinity and the container's quota.\n",
    .options = AC_TAKES(AC_OPT_PID) | AC_TAKES(AC_OPT_JSON),
    .run = run,
};
