/* cgroup.c - the CPU quota of a process: the tightest one between its cgroup and the root of what is mounted.
 *
 * /proc/PID/cgroup names the cgroup ("0::/path" is v2, "N:cpu,cpuacct:/path" is v1's cpu controller),
 * /proc/self/mountinfo where that hierarchy is mounted and which part of it ("root" field): inside a
 * container the mount shows only the container's own subtree, and the path may be relative to a cgroup
 * namespace. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/internal.h"
#include "os/os.h"
#include "os/syscalls.h"

struct hierarchy {
    bool v2;
    char dir[PATH_MAX]; /* directory of the process's own cgroup */
    size_t mount_len;   /* length of the mount point: never walk above */
};

/* The path of the process in v2 (controller NULL) or in the v1 hierarchy that has `controller`. */
static bool path_in(const char *text, const char *controller, char *ret_path, size_t size) {
    for (const char *line = text; *line;) {
        const char *end = strchrnul(line, '\n');
        const char *controllers = memchr(line, ':', (size_t)(end - line));
        const char *path = controllers ? memchr(controllers + 1, ':', (size_t)(end - controllers - 1)) : NULL;
        if (path) {
            char list[256];
            snprintf(list, sizeof(list), ",%.*s,", (int)(path - controllers - 1), controllers + 1);
            char wanted[64];
            snprintf(wanted, sizeof(wanted), ",%s,", controller ? controller : "");
            if (strstr(list, wanted)) {
                snprintf(ret_path, size, "%.*s", (int)(end - path - 1), path + 1);
                return true;
            }
        }
        line = *end ? end + 1 : end;
    }
    return false;
}

/* Mount point and root of the cgroup2 mount, or of the v1 mount with `controller` among its options.
 * mountinfo: id parent maj:min root mount-point options [fields] - type source super-options */
static bool mount_of(const char *text, const char *controller, char *ret_root, char *ret_mount) {
    for (const char *line = text; *line;) {
        const char *end = strchrnul(line, '\n');
        char copy[2 * PATH_MAX];
        snprintf(copy, sizeof(copy), "%.*s", (int)ac_min((size_t)(end - line), sizeof(copy) - 1), line);
        char *tail = strstr(copy, " - ");
        char type[32] = "";
        char options[512] = "";
        if (tail && sscanf(tail, " - %31s %*s %511s", type, options) >= 1 &&
            sscanf(copy, "%*s %*s %*s %4095s %4095s", ret_root, ret_mount) == 2) {
            char list[520];
            char wanted[64];
            snprintf(list, sizeof(list), ",%s,", options);
            snprintf(wanted, sizeof(wanted), ",%s,", controller ? controller : "");
            if (controller ? strcmp(type, "cgroup") == 0 && strstr(list, wanted)
                           : strcmp(type, "cgroup2") == 0) {
                return true;
            }
        }
        line = *end ? end + 1 : end;
    }
    return false;
}

static bool locate(const char *root, const char *cgroups, const char *mounts, const char *controller,
                   struct hierarchy *ret) {
    char path[PATH_MAX];
    char mount_root[PATH_MAX];
    char mount[PATH_MAX];
    if (!path_in(cgroups, controller, path, sizeof(path)) ||
        !mount_of(mounts, controller, mount_root, mount)) {
        return false;
    }
    size_t shown = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root);
    const char *below = path;
    if (strncmp(path, mount_root, shown) == 0 && (path[shown] == '/' || path[shown] == '\0')) {
        below += shown; /* the mount shows the hierarchy from mount_root on */
    } else if (strncmp(path, "/..", 3) == 0) {
        below = ""; /* outside our cgroup namespace: what we see is above or beside it */
    }
    int len = snprintf(ret->dir, sizeof(ret->dir), "%s%s", root, mount);
    if (len < 0 || (size_t)len >= sizeof(ret->dir)) {
        return false;
    }
    ret->mount_len = (size_t)len;
    ret->v2 = controller == NULL;
    if (strcmp(below, "/") != 0) {
        snprintf(ret->dir + len, sizeof(ret->dir) - (size_t)len, "%s", below);
    }
    return true;
}

/* Both hierarchies may have the controller mounted; on a hybrid system it is v1's. -ENOENT: there is none. */
static int find_hierarchy(pid_t pid, const char *root, const char *controller, struct hierarchy *ret) {
    char path[PATH_MAX];
    struct ac_buf cgroups = {0};
    struct ac_buf mounts = {0};
    if (pid) {
        snprintf(path, sizeof(path), "%s/proc/%d/cgroup", root, (int)pid);
    } else {
        snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    }
    int err = ac__read_whole(path, 1u << 20, &cgroups);
    snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root);
    err = err ? err : ac__read_whole(path, 4u << 20, &mounts);
    bool found = !err && (locate(root, ac_buf_text(&cgroups), ac_buf_text(&mounts), controller, ret) ||
                          locate(root, ac_buf_text(&cgroups), ac_buf_text(&mounts), NULL, ret));
    ac_buf_free(&cgroups);
    ac_buf_free(&mounts);
    return err == -ENOMEM ? err : found ? 0 : -ENOENT;
}

static int read_in(const char *dir, const char *name, char *text, size_t size) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return ac__read_small(path, text, size);
}

/* CPUs' worth that one cgroup allows; 0: no limit of its own. */
static double quota_of(const char *dir, bool v2) {
    char text[128];
    double quota = 0;
    double period = 0;
    if (v2) {
        if (read_in(dir, "cpu.max", text, sizeof(text)) <= 0 ||
            sscanf(text, "%lf %lf", &quota, &period) != 2) {
            return 0; /* "max 100000", or the root, which has no such file */
        }
    } else {
        if (read_in(dir, "cpu.cfs_quota_us", text, sizeof(text)) <= 0 || sscanf(text, "%lf", &quota) != 1 ||
            read_in(dir, "cpu.cfs_period_us", text, sizeof(text)) <= 0 || sscanf(text, "%lf", &period) != 1) {
            return 0;
        }
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* Walk from the process's own cgroup up to the mount point. Returns the tightest quota and leaves in at->dir
 * the cgroup that sets it (the process's own when none does). */
static double find_tightest(struct hierarchy *at) {
    double tightest = 0;
    size_t found = strlen(at->dir);
    char dir[PATH_MAX];
    ac_copy(dir, sizeof(dir), at->dir);
    for (size_t len = strlen(dir); len >= at->mount_len; len = strlen(dir)) {
        double quota = quota_of(dir, at->v2);
        if (quota > 0 && (tightest == 0 || quota < tightest)) {
            tightest = quota;
            found = len;
        }
        char *slash = strrchr(dir, '/');
        if (!slash || slash == dir) {
            break;
        }
        *slash = '\0';
    }
    at->dir[found] = '\0';
    return tightest;
}

int ac__cgroup_quota(pid_t pid, const char *root, double *ret_quota, char *ret_path, size_t size) {
    struct hierarchy at;
    int err = find_hierarchy(pid, root, "cpu", &at);
    double tightest = err ? 0 : find_tightest(&at);
    if (err && err != -ENOENT) {
        return err;
    }
    *ret_quota = tightest;
    ac_copy(ret_path, size, tightest > 0 ? at.dir + strlen(root) : "");
    return 0;
}

int ac_cgroup_throttled(pid_t pid, const char *root, int64_t *ret_count, int64_t *ret_ns) {
    struct hierarchy at;
    char text[2048];
    int err = find_hierarchy(pid, root, "cpu", &at);
    if (err) {
        return err;
    }
    find_tightest(&at); /* the kernel counts throttling where the quota is */
    if (read_in(at.dir, "cpu.stat", text, sizeof(text)) <= 0) {
        return -ENOENT;
    }
    const char *count = strstr(text, "nr_throttled ");
    const char *time = strstr(text, at.v2 ? "throttled_usec " : "throttled_time ");
    if (!count || !time) {
        return -ENOENT;
    }
    int64_t value = ac_max(strtoll(strchr(time, ' '), NULL, 10), 0LL);
    *ret_count = strtoll(strchr(count, ' '), NULL, 10);
    *ret_ns = at.v2 ? ac_min(value, INT64_MAX / AC_NS_PER_US) * AC_NS_PER_US : value;
    return 0;
}

/* What one cgroup still allows; INT64_MAX: it has no limit. */
static int64_t memory_left(const char *dir, bool v2) {
    char text[64];
    long long limit;
    long long used;
    if (read_in(dir, v2 ? "memory.max" : "memory.limit_in_bytes", text, sizeof(text)) <= 0 ||
        sscanf(text, "%lld", &limit) != 1 || /* "max" */
        read_in(dir, v2 ? "memory.current" : "memory.usage_in_bytes", text, sizeof(text)) <= 0 ||
        sscanf(text, "%lld", &used) != 1) {
        return INT64_MAX;
    }
    return ac_max(limit - used, 0LL);
}

int64_t ac_memory_free(pid_t pid, const char *root) {
    struct hierarchy at;
    char text[4096];
    long long kib;
    int64_t left = INT64_MAX;
    if (read_in(root, "proc/meminfo", text, sizeof(text)) > 0) {
        const char *line = strstr(text, "MemAvailable:");
        left = line && sscanf(line, "MemAvailable: %lld", &kib) == 1 && kib >= 0 && kib < INT64_MAX / 1024
                   ? kib * 1024
                   : left;
    }
    if (find_hierarchy(pid, root, "memory", &at) == 0) {
        for (size_t len = strlen(at.dir); len >= at.mount_len; len = strlen(at.dir)) {
            left = ac_min(left, memory_left(at.dir, at.v2));
            char *slash = strrchr(at.dir, '/');
            if (!slash || slash == at.dir) {
                break;
            }
            *slash = '\0';
        }
    }
    return left == INT64_MAX ? -1 : left;
}
