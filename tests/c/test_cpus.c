/* The CPU limits on fixture trees: v1, v2, hybrid, nested, namespaced, 'max', none. The tree is made anew for
 * each case below a temporary directory that stands for "/". */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/os.h"

static char root[64];

static void put(const char *path, const char *text) {
    char whole[PATH_MAX];
    snprintf(whole, sizeof(whole), "%s%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(whole, 0777);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void put_cgroup(const char *text) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)getpid());
    put(path, text);
    put("/proc/self/cgroup", text);
}

static int make_root(void **state) {
    (void)state;
    strcpy(root, "/tmp/allcores-cpus-XXXXXX");
    if (!mkdtemp(root)) {
        return -1;
    }
    put("/sys/devices/system/cpu/online", "0-1023\n"); /* never tighter than what we really run on */
    return 0;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

static struct ac_cpu_limits limits_now(void) {
    struct ac_cpu_limits limits;
    memset(&limits, 0xff, sizeof(limits));
    assert_int_equal(ac_cpus_of(getpid(), root, &limits), 0);
    return limits;
}

static void check_quota(double quota, const char *path) {
    struct ac_cpu_limits limits = limits_now();
    assert_true(limits.quota > quota - 1e-9 && limits.quota < quota + 1e-9);
    assert_string_equal(limits.quota_path, path);
    double usable = quota > 0 ? ac_min(quota, (double)limits.affinity) : limits.affinity;
    assert_true(limits.usable > usable - 1e-9 && limits.usable < usable + 1e-9);
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT "35 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n"
#define ROOT_FS  "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"

static void no_cgroup_at_all(void **state) {
    (void)state;
    check_quota(0, "");
    int64_t count = 7;
    int64_t ns = 7;
    assert_int_equal(ac_cgroup_throttled(getpid(), root, &count, &ns), -ENOENT);
    assert_int_equal(count, 7);
}

static void v2_quota(void **state) {
    (void)state;
    put_cgroup("0::/user.slice/job\n");
    put("/proc/self/mountinfo", ROOT_FS V2_MOUNT);
    put("/sys/fs/cgroup/user.slice/job/cpu.max", "50000 100000\n");
    put("/sys/fs/cgroup/user.slice/job/cpu.stat",
        "usage_usec 1\nnr_periods 9\nnr_throttled 4\nthrottled_usec 250\n");
    check_quota(0.5, "/sys/fs/cgroup/user.slice/job");
    int64_t count;
    int64_t ns;
    assert_int_equal(ac_cgroup_throttled(getpid(), root, &count, &ns), 0);
    assert_int_equal(count, 4);
    assert_int_equal(ns, 250000);
}

static void v2_max_is_no_quota(void **state) {
    (void)state;
    put_cgroup("0::/job\n");
    put("/proc/self/mountinfo", ROOT_FS V2_MOUNT);
    put("/sys/fs/cgroup/job/cpu.max", "max 100000\n");
    check_quota(0, "");
}

static void the_tightest_of_nested_ones_counts(void **state) {
    (void)state;
    put_cgroup("0::/a/b/c\n");
    put("/proc/self/mountinfo", ROOT_FS V2_MOUNT);
    put("/sys/fs/cgroup/a/cpu.max", "80000 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "20000 50000\n");
    put("/sys/fs/cgroup/a/b/cpu.stat", "nr_throttled 2\nthrottled_usec 3\n");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/b/c/cpu.stat", "nr_throttled 0\nthrottled_usec 0\n");
    check_quota(0.4, "/sys/fs/cgroup/a/b");
    int64_t count;
    int64_t ns;
    assert_int_equal(ac_cgroup_throttled(0, root, &count, &ns), 0);
    assert_int_equal(count, 2);
}

static void memory_that_is_left(void **state) {
    (void)state;
    assert_int_equal(ac_memory_free(getpid(), root), -1);
    put("/proc/meminfo", "MemTotal:  9000 kB\nMemFree:  100 kB\nMemAvailable:    5000 kB\n");
    assert_int_equal(ac_memory_free(getpid(), root), 5000 * 1024);
    put_cgroup("0::/a/b\n");
    put("/proc/self/mountinfo", ROOT_FS V2_MOUNT);
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/b/memory.current", "70\n");
    assert_int_equal(ac_memory_free(getpid(), root), 5000 * 1024);
    put("/sys/fs/cgroup/a/memory.max", "1000000\n");
    put("/sys/fs/cgroup/a/memory.current", "400000\n");
    assert_int_equal(ac_memory_free(getpid(), root), 600000);
    put("/sys/fs/cgroup/a/memory.current", "2000000\n");
    assert_int_equal(ac_memory_free(getpid(), root), 0);
    put_cgroup("4:memory:/job\n");
    put("/proc/self/mountinfo", ROOT_FS "36 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "3000\n");
    put("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1000\n");
    assert_int_equal(ac_memory_free(getpid(), root), 2000);
}

static void a_container_with_its_own_namespace(void **state) {
    (void)state;
    put_cgroup("0::/\n");
    put("/proc/self/mountinfo", ROOT_FS V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "70000 100000\n");
    check_quota(0.7, "/sys/fs/cgroup");
}

static void a_container_that_shares_the_namespace(void **state) {
    (void)state;
    put_cgroup("0::/docker/abc\n");
    put("/proc/self/mountinfo",
        ROOT_FS "30 23 0:26 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n");
    put("/sys/fs/cgroup/cpu.max", "30000 100000\n");
    check_quota(0.3, "/sys/fs/cgroup");
}

static void a_mount_of_a_sibling_is_not_ours(void **state) {
    (void)state;
    put_cgroup("0::/docker/abcdef\n");
    put("/proc/self/mountinfo", ROOT_FS "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put("/sys/fs/cgroup/def/cpu.max", "10000 100000\n"); /* what a match of bare prefixes would read */
    check_quota(0, "");
}

static void v1_quota(void **state) {
    (void)state;
    put_cgroup("5:memory:/x\n4:cpu,cpuacct:/jobs/one\n1:name=systemd:/y\n");
    put("/proc/self/mountinfo", ROOT_FS V1_MOUNT);
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "25000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.stat", "nr_periods 5\nnr_throttled 3\nthrottled_time 12345\n");
    check_quota(0.25, "/sys/fs/cgroup/cpu,cpuacct/jobs");
    int64_t count;
    int64_t ns;
    assert_int_equal(ac_cgroup_throttled(getpid(), root, &count, &ns), 0);
    assert_int_equal(count, 3);
    assert_int_equal(ns, 12345);
}

static void hybrid_means_v1(void **state) {
    (void)state;
    put_cgroup("4:cpu,cpuacct:/one\n0::/two\n");
    put("/proc/self/mountinfo",
        ROOT_FS V1_MOUNT "36 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/cpu,cpuacct/one/cpu.cfs_quota_us", "60000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/one/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/unified/two/cpu.max", "10000 100000\n");
    check_quota(0.6, "/sys/fs/cgroup/cpu,cpuacct/one");
}

static void v1_without_the_cpu_controller_falls_to_v2(void **state) {
    (void)state;
    put_cgroup("4:cpuset:/one\n0::/two\n");
    put("/proc/self/mountinfo", ROOT_FS "35 30 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                                        "36 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/unified/two/cpu.max", "90000 100000\n");
    check_quota(0.9, "/sys/fs/cgroup/unified/two");
}

static void garbage_is_no_quota(void **state) {
    (void)state;
    put_cgroup("nonsense\n:::\n0::\n0::/job\n\n::");
    put("/proc/self/mountinfo", "\n- - -\n - cgroup2\n1 2 3:4 / \n" V2_MOUNT "x");
    const char *const texts[] = {"",        "\n",        "0 100000\n", "-5 100000\n",
                                 "50000\n", "50000 0\n", "x y\n",      "nan nan\n"};
    for (size_t i = 0; i < AC_COUNT(texts); i++) {
        put("/sys/fs/cgroup/job/cpu.max", texts[i]);
        check_quota(0, "");
    }
    put("/sys/fs/cgroup/job/cpu.stat", "nr_throttled");
    int64_t count;
    int64_t ns;
    assert_int_equal(ac_cgroup_throttled(getpid(), root, &count, &ns), -ENOENT);
}

static void offline_cpus_do_not_count(void **state) {
    (void)state;
    cpu_set_t mine;
    assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
    size_t first = 0;
    while (!CPU_ISSET(first, &mine)) {
        first++;
    }
    char text[32];
    snprintf(text, sizeof(text), "%zu\n", first);
    put("/sys/devices/system/cpu/online", text);
    struct ac_cpu_limits limits = limits_now();
    assert_int_equal(limits.online, 1);
    assert_int_equal(limits.affinity, 1);
    assert_true(CPU_ISSET(first, &limits.set));
    put("/sys/devices/system/cpu/online", "0,2-3,5-7\n");
    assert_int_equal(limits_now().online, 6);
}

static void busy_time_is_all_but_idle_and_iowait(void **state) {
    (void)state;
    put("/proc/stat", "cpu  9 9 9 9 9 9 9 9 9 9\n"
                      "cpu0 100 1 10 5000 300 2 3 4 50 0\n"
                      "cpu1 1000 0 0 7000 0 0 0 0 0 0\n"
                      "cpu2 7 7 7 7 7 7 7 7 7 7\n"
                      "intr 12345 0\n");
    int64_t ns[CPU_SETSIZE];
    assert_int_equal(ac_cpus_busy(root, ns), 0);
    assert_int_equal(ns[0], ac_ticks_to_ns(120));
    assert_int_equal(ns[1], ac_ticks_to_ns(1000));
    assert_int_equal(ns[3], 0);
    put("/proc/stat", "");
    assert_int_equal(ac_cpus_busy(root, ns), 0);
    assert_int_equal(ns[0], 0);
    assert_int_equal(ac_cpus_busy("/nonexistent", ns), -ENOENT);
}

static void this_machine(void **state) {
    (void)state;
    struct ac_cpu_limits limits;
    assert_int_equal(ac_cpus_of(0, "", &limits), 0);
    assert_int_equal(limits.online, sysconf(_SC_NPROCESSORS_ONLN));
    assert_true(limits.affinity >= 1 && limits.affinity <= limits.online);
    assert_true(limits.usable > 0 && limits.usable <= limits.affinity);
    assert_int_equal(ac_cpus_of(INT_MAX, "", &limits), -ESRCH);
}

#define IN_TREE(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_TREE(no_cgroup_at_all),
        IN_TREE(v2_quota),
        IN_TREE(v2_max_is_no_quota),
        IN_TREE(the_tightest_of_nested_ones_counts),
        IN_TREE(a_container_with_its_own_namespace),
        IN_TREE(a_container_that_shares_the_namespace),
        IN_TREE(a_mount_of_a_sibling_is_not_ours),
        IN_TREE(v1_quota),
        IN_TREE(hybrid_means_v1),
        IN_TREE(v1_without_the_cpu_controller_falls_to_v2),
        IN_TREE(garbage_is_no_quota),
        IN_TREE(offline_cpus_do_not_count),
        IN_TREE(memory_that_is_left),
        IN_TREE(busy_time_is_all_but_idle_and_iowait),
        cmocka_unit_test(this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
