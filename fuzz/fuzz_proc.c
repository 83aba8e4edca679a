/* fuzz_proc.c - every parser of src/os over /proc and cgroup text: the input stands behind whatever file is
 * opened. A program names its threads, its cgroup and its mapped files; in a container it may own the mounts,
 * too. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/os.h"
#include "os/syscalls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FAKE_FD 1000

static const uint8_t *content;
static size_t content_size, content_at;

static int fake_openat(int dir, const char *path, int flags, mode_t mode) {
    (void)dir, (void)path, (void)flags, (void)mode;
    content_at = 0;
    return FAKE_FD;
}

static int fake_close(int fd) {
    (void)fd;
    return 0;
}

static ssize_t fake_pread(int fd, void *buffer, size_t size, off_t offset) {
    (void)fd;
    size_t left = (size_t)offset < content_size ? content_size - (size_t)offset : 0;
    size_t got = ac_min(size, left);
    if (got)
        memcpy(buffer, content + offset, got);
    return (ssize_t)got;
}

static ssize_t fake_read(int fd, void *buffer, size_t size) {
    ssize_t got = fake_pread(fd, buffer, size, (off_t)content_at);
    content_at += (size_t)got;
    return got;
}

static int see_mapping(const struct ac_mapping *mapping, void *arg) {
    (void)arg;
    ac_assert(mapping->to > mapping->from);
    ac_assert(strnlen(mapping->path, sizeof(mapping->path)) < sizeof(mapping->path));
    return 0;
}

static void read_task(void) {
    struct ac_task task;
    struct ac_schedstat sched;
    struct ac_syscall_state call;
    struct ac_stat stat;
    struct ac_status status;
    char comm[64];
    if (ac_task_open(1, 1, &task) == 0) {
        ac_task_schedstat(&task, &sched);
        ac_task_syscall(&task, &call);
        if (ac_task_stat(&task, &stat) == 0)
            ac_assert(strnlen(stat.comm, sizeof(stat.comm)) < sizeof(stat.comm));
        ac_task_close(&task);
    }
    if (ac_task_status(1, 1, &status) == 0)
        ac_assert(status.ns_depth >= 0 && status.ns_depth <= 8);
    ac_task_comm(1, 1, comm, sizeof(comm));
}

static void read_machine(void) {
    struct ac_cpu_limits limits;
    struct ac_buf argv = {0};
    int64_t busy[CPU_SETSIZE], count, ns;
    size_t argc;
    if (ac_cpus_of(0, "", &limits) == 0)
        ac_assert(limits.usable > 0 || limits.affinity == 0);
    ac_cpus_busy("", busy);
    ac_cgroup_throttled(0, "", &count, &ns);
    ac_process_argv(1, &argv, &argc);
    ac_buf_free(&argv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ac_sys real = ac_sys;
    content = data;
    content_size = size;
    ac_sys.openat = fake_openat;
    ac_sys.close = fake_close;
    ac_sys.read = fake_read;
    ac_sys.pread = fake_pread;
    read_task();
    read_machine();
    ac_process_maps(1, see_mapping, NULL);
    ac_sys = real;
    return 0;
}
