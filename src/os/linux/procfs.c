/* procfs.c - one thread or process as /proc tells it. Text from /proc is parsed with hostile names in mind:
 * a thread's name may hold spaces, parentheses and newlines. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/internal.h"
#include "os/os.h"
#include "os/syscalls.h"

static int gone(int error) {
    return error == ENOENT || error == ENOTDIR ? -ESRCH : -error;
}

static int open_file(const char *path) {
    int fd = ac_sys.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    return fd < 0 ? gone(errno) : fd;
}

int ac__read_small(const char *path, char *buffer, size_t size) {
    int fd = open_file(path);
    if (fd < 0) {
        return fd;
    }
    size_t len = 0;
    ssize_t got = 0;
    while (len < size - 1 && (got = ac_sys.read(fd, buffer + len, size - 1 - len)) > 0) {
        len += (size_t)got;
    }
    int err = got < 0 ? gone(errno) : 0;
    ac_sys.close(fd);
    buffer[len] = '\0';
    return err ? err : (int)len;
}

/* --- kept descriptors of one thread */

static int open_of(pid_t pid, pid_t tid, const char *name) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, name);
    return open_file(path);
}

int ac_task_open(pid_t pid, pid_t tid, struct ac_task *ret_task) {
    struct ac_task task = {.pid = pid, .tid = tid, .schedstat_fd = -1, .syscall_fd = -1, .stat_fd = -1};
    task.stat_fd = open_of(pid, tid, "stat");
    if (task.stat_fd < 0) {
        return task.stat_fd;
    }
    task.schedstat_fd = open_of(pid, tid, "schedstat"); /* may be missing: asked for, it answers -ENOTSUP */
    task.syscall_fd = open_of(pid, tid, "syscall");     /* may be forbidden: asked for, it answers -EPERM */
    *ret_task = task;
    return 0;
}

static void close_fd(int *fd) {
    if (*fd >= 0) {
        ac_sys.close(*fd);
    }
    *fd = -1;
}

void ac_task_close(struct ac_task *task) {
    if (task) {
        close_fd(&task->schedstat_fd);
        close_fd(&task->syscall_fd);
        close_fd(&task->stat_fd);
    }
}

static int pread_text(int fd, char *buffer, size_t size) {
    ssize_t got = ac_sys.pread(fd, buffer, size - 1, 0);
    if (got < 0) {
        return errno == EACCES ? -EPERM : gone(errno);
    }
    buffer[got] = '\0';
    return got == 0 ? -ESRCH : 0;
}

int ac_task_schedstat(struct ac_task *task, struct ac_schedstat *ret) {
    char text[96];
    if (task->schedstat_fd < 0) {
        return -ENOTSUP;
    }
    int err = pread_text(task->schedstat_fd, text, sizeof(text));
    if (err) {
        return err;
    }
    char *at = text;
    int64_t values[3];
    for (int i = 0; i < 3; i++) {
        char *end;
        values[i] = (int64_t)strtoull(at, &end, 10);
        if (end == at) {
            return -ENOTSUP;
        }
        at = end;
    }
    *ret = (struct ac_schedstat){.run_ns = values[0], .delay_ns = values[1], .slices = values[2]};
    return 0;
}

/* "running\n", "-1 sp pc\n" or "nr a0 a1 a2 a3 a4 a5 sp pc\n". */
static int parse_syscall(const char *text, struct ac_syscall_state *ret) {
    *ret = (struct ac_syscall_state){.nr = -1};
    if (strncmp(text, "running", 7) == 0) {
        ret->running = true;
        return 0;
    }
    char *at;
    ret->nr = strtoll(text, &at, 10);
    if (at == text) {
        return -EIO;
    }
    for (int i = 0; ret->nr >= 0 && i < 6; i++) {
        ret->args[i] = strtoull(at, &at, 16);
    }
    ret->sp = strtoull(at, &at, 16);
    ret->pc = strtoull(at, &at, 16);
    return 0;
}

int ac_task_syscall(struct ac_task *task, struct ac_syscall_state *ret) {
    char text[256];
    if (task->syscall_fd < 0) {
        return task->syscall_fd == -ESRCH ? -ESRCH : -EPERM;
    }
    int err = pread_text(task->syscall_fd, text, sizeof(text));
    return err ? err : parse_syscall(text, ret);
}

/* Fields of stat after "pid (comm) ": state is number 0. The name may hold anything: its end is the last ')'.
 */
static int parse_stat(char *text, struct ac_stat *ret) {
    enum {
        STATE = 0,
        PPID = 1,
        UTIME = 11,
        STIME,
        CUTIME,
        CSTIME,
        THREADS = 17,
        START = 19,
        CPU = 36,
        FIELDS
    };
    char *open = strchr(text, '(');
    char *close = strrchr(text, ')');
    if (!open || !close || close < open || close[1] != ' ' || close[2] == '\0' || close[3] != ' ') {
        return -EIO;
    }
    struct ac_stat stat = {.cpu = -1};
    *close = '\0';
    ac_copy(stat.comm, sizeof(stat.comm), open + 1);
    stat.state = close[2];
    uint64_t fields[FIELDS] = {0};
    char *at = close + 3;
    for (int i = 1; i < FIELDS && *at == ' '; i++) {
        fields[i] = (uint64_t)strtoll(at, &at, 10);
    }
    stat.ppid = (pid_t)fields[PPID];
    stat.utime_ticks = fields[UTIME];
    stat.stime_ticks = fields[STIME];
    stat.cutime_ticks = fields[CUTIME];
    stat.cstime_ticks = fields[CSTIME];
    stat.threads = (int64_t)fields[THREADS];
    stat.start_ticks = fields[START];
    stat.cpu = (int)fields[CPU];
    *ret = stat;
    return 0;
}

int ac_task_stat(struct ac_task *task, struct ac_stat *ret) {
    char text[1024];
    int err = pread_text(task->stat_fd, text, sizeof(text));
    return err ? err : parse_stat(text, ret);
}

int ac_process_stat(pid_t pid, struct ac_stat *ret) {
    char path[32];
    char text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int got = ac__read_small(path, text, sizeof(text));
    return got < 0 ? got : got == 0 ? -ESRCH : parse_stat(text, ret);
}

int64_t ac_ticks_to_ns(uint64_t ticks) {
    int64_t ns_per_tick = AC_NS_PER_S / sysconf(_SC_CLK_TCK);
    return (int64_t)ac_min(ticks, (uint64_t)(INT64_MAX / ns_per_tick)) *
           ns_per_tick; /* hostile text saturates */
}

/* --- status */

static const char *field_of(const char *text, const char *name) {
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            return line + len + 1;
        }
        if (*line == '\0') {
            break;
        }
    }
    return NULL;
}

static int64_t number_of(const char *text, const char *name, int64_t missing) {
    const char *field = field_of(text, name);
    return field ? strtoll(field, NULL, 10) : missing;
}

static void parse_ns_pids(const char *field, struct ac_status *status) {
    while (field && status->ns_depth < (int)AC_COUNT(status->ns_pid)) {
        char *end;
        long pid = strtol(field, &end, 10);
        if (end == field) {
            break;
        }
        status->ns_pid[status->ns_depth++] = (pid_t)pid;
        field = *end == '\n' ? NULL : end;
    }
}

/* "0-3,8,10-11" */
void ac__parse_cpu_list(const char *text, cpu_set_t *ret) {
    CPU_ZERO(ret);
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    while (*text >= '0' && *text <= '9') {
        char *at;
        long from = strtol(text, &at, 10);
        long to = *at == '-' ? strtol(at + 1, &at, 10) : from;
        for (long cpu = from; cpu <= to && cpu < CPU_SETSIZE; cpu++) {
            CPU_SET((size_t)cpu, ret);
        }
        text = *at == ',' ? at + 1 : "";
    }
}

int ac_task_status(pid_t pid, pid_t tid, struct ac_status *ret) {
    char path[64];
    char text[16384]; /* the line of groups alone may take thousands */
    snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, (int)tid);
    int got = ac__read_small(path, text, sizeof(text));
    if (got <= 0) {
        return got < 0 ? got : -ESRCH;
    }
    struct ac_status status = {0};
    const char *uids = field_of(text, "Uid");
    if (uids) {
        char *at;
        strtoul(uids, &at, 10); /* the real one; the effective one follows */
        status.euid = (uid_t)strtoul(at, NULL, 10);
    }
    status.ppid = (pid_t)number_of(text, "PPid", 0);
    parse_ns_pids(field_of(text, "NSpid"), &status);
    int64_t rss_kib = number_of(text, "VmRSS", -1);
    status.vm_rss_bytes = rss_kib < 0 || rss_kib > INT64_MAX / 1024 ? -1 : rss_kib * 1024;
    status.switches_voluntary = number_of(text, "voluntary_ctxt_switches", -1);
    status.switches_forced = number_of(text, "nonvoluntary_ctxt_switches", -1);
    const char *cpus = field_of(text, "Cpus_allowed_list");
    ac__parse_cpu_list(cpus ? cpus : "", &status.affinity);
    *ret = status;
    return 0;
}

int ac_task_comm(pid_t pid, pid_t tid, char *buffer, size_t size) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)pid, (int)tid);
    int got = ac__read_small(path, buffer, size);
    if (got > 0 && buffer[got - 1] == '\n') {
        buffer[got - 1] = '\0';
    }
    return ac_min(got, 0);
}

/* --- threads and children */

int ac_process_tasks(pid_t pid, pid_t *tids, size_t cap, size_t *ret_count) {
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = ac_sys.opendir(path);
    if (!dir) {
        return gone(errno);
    }
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') {
            if (count < cap) {
                tids[count] = (pid_t)strtol(entry->d_name, NULL, 10);
            }
            count++;
        }
    }
    closedir(dir);
    *ret_count = count;
    return count ? 0 : -ESRCH;
}

static size_t parse_pids(const char *text, pid_t *pids, size_t cap, size_t count) {
    char *end;
    for (long pid; (pid = strtol(text, &end, 10)) > 0 && end != text; text = end) {
        if (count < cap) {
            pids[count] = (pid_t)pid;
        }
        count++;
    }
    return count;
}

int ac_process_children(pid_t pid, pid_t *pids, size_t cap, size_t *ret_count) {
    char path[64];
    struct ac_buf text = {0};
    size_t count = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = ac_sys.opendir(path);
    if (!dir) {
        return gone(errno);
    }
    int err = 0;
    for (struct dirent *entry; !err && (entry = readdir(dir));) {
        long tid = strtol(entry->d_name, NULL, 10);
        int fd = tid > 0 ? open_of(pid, (pid_t)tid, "children") : -1; /* each thread has its own children */
        if (fd >= 0) {
            ac_buf_clear(&text);
            err = ac__read_fd(fd, 1u << 20, &text);
            ac_sys.close(fd);
            count = err ? count : parse_pids(ac_buf_text(&text), pids, cap, count);
        }
    }
    closedir(dir);
    ac_buf_free(&text);
    if (!err) {
        *ret_count = count;
    }
    return err;
}

int ac_process_task_links(pid_t pid, int64_t *ret_links) {
    char path[32];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    if (ac_sys.stat(path, &st) != 0) {
        return gone(errno);
    }
    *ret_links = (int64_t)st.st_nlink;
    return 0;
}

/* Appends a file of NUL-separated strings, or its first 64 KiB. */
static int read_strings(pid_t pid, const char *name, struct ac_buf *buf) {
    char path[40];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open_file(path);
    if (fd < 0) {
        return fd;
    }
    int err = ac__read_fd(fd, 65536, buf);
    ac_sys.close(fd);
    return err == -EFBIG ? buf->err : err;
}

int ac_process_argv(pid_t pid, struct ac_buf *buf, size_t *ret_argc) {
    size_t from = buf->len;
    int err = read_strings(pid, "cmdline", buf);
    if (err) {
        return err;
    }
    size_t argc = 0;
    for (size_t i = from; i < buf->len; i++) {
        argc += buf->data[i] == '\0';
    }
    *ret_argc = argc;
    return buf->err;
}

int ac_process_environ(pid_t pid, struct ac_buf *buf) {
    return read_strings(pid, "environ", buf);
}

int ac_process_exe(pid_t pid, char *buffer, size_t size) {
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    ssize_t len = ac_sys.readlink(path, buffer, size - 1);
    if (len < 0) {
        return errno == EACCES ? -EPERM : gone(errno);
    }
    buffer[len] = '\0';
    return 0;
}

bool ac_process_same_pid_namespace(pid_t pid) {
    struct ac_status status;
    return ac_task_status(pid, pid, &status) != 0 || status.ns_depth <= 1;
}

int ac_epoll_watched(pid_t pid, int fd, uint64_t *ret_inodes, size_t cap) {
    char path[64];
    char text[4096];
    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
    int err = ac__read_small(path, text, sizeof(text));
    size_t count = 0;
    for (const char *at = text; err >= 0 && (at = strstr(at, "tfd:")); at++) {
        const char *inode = strstr(at, "ino:");
        if (count < cap) {
            ret_inodes[count] = inode ? strtoull(inode + 4, NULL, 16) : 0;
        }
        count++;
    }
    return err < 0 ? err : (int)count;
}

/* A line: number, addresses, state (0A: listens), queues, timers, retransmits, uid, timeout, inode. */
static bool is_listener(const char *line, const uint64_t *inodes, size_t count) {
    unsigned state;
    unsigned long long inode;
    if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %*s %*s %llu", &state, &inode) != 2 || state != 0x0a) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (inodes[i] == inode && inode != 0) {
            return true;
        }
    }
    return false;
}

bool ac_process_listens(pid_t pid, const uint64_t *inodes, size_t count) {
    static const char *const tables[] = {"tcp", "tcp6"};
    bool found = false;
    for (size_t i = 0; i < AC_COUNT(tables) && !found; i++) {
        struct ac_buf text = {0};
        char path[40];
        snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)pid, tables[i]);
        int fd = open_file(path);
        if (fd >= 0) {
            (void)ac__read_fd(fd, 65536, &text); /* cut or not: who listens comes first */
            ac_sys.close(fd);
        }
        for (const char *line = ac_buf_text(&text); line && !found; line = strchr(line, '\n')) {
            line += *line == '\n';
            found = is_listener(line, inodes, count);
        }
        ac_buf_free(&text);
    }
    return found;
}

bool ac_is_regular_file(pid_t pid, int fd) {
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
    return ac_sys.stat(path, &st) == 0 && S_ISREG(st.st_mode);
}
