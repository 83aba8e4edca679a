/* Each system call and each allocation of src/os fails in turn: no descriptor, process, temporary file or
 * memory (ASan's leak check) stays behind, outputs are untouched on failure, and the same call works
 * afterwards. */
#include "faults.h"

#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/os.h"

static char dir[64];
static char file[128];

static int entries_of(const char *path) {
    DIR *open = opendir(path);
    int count = 0;
    while (readdir(open)) {
        count++;
    }
    closedir(open);
    return count;
}

/* Run `scenario` with no fault, then with a fault in every place. It returns 0 or a negative errno and cleans
 * up after itself; `must_fail` says that no call's failure may go unnoticed. */
static void each_in_turn(int (*scenario)(void), bool must_fail) {
    static const int errors[] = {EIO, EMFILE, EPERM};
    ac_sys_fail_at(0, 0);
    ac_memory_fail_at(0);
    assert_int_equal(scenario(), 0);
    unsigned long calls = ac_sys_calls();
    unsigned long allocations = ac_memory_calls();
    int fds = entries_of("/proc/self/fd");
    int files = entries_of(dir);
    assert_true(calls > 0);
    for (unsigned long n = 1; n <= calls; n++) {
        for (size_t i = 0; i < AC_COUNT(errors); i++) {
            ac_sys_fail_at(n, errors[i]);
            int result = scenario();
            ac_sys_calls();
            assert_true(result <= 0);
            assert_true(result < 0 || !must_fail);
            assert_int_equal(entries_of("/proc/self/fd"), fds);
            assert_int_equal(entries_of(dir), files);
            assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
        }
    }
    for (unsigned long n = 1; n <= allocations; n++) {
        ac_memory_fail_at(n);
        int result = scenario();
        ac_memory_fail_at(0);
        assert_int_equal(result, -ENOMEM);
        assert_int_equal(entries_of("/proc/self/fd"), fds);
    }
    assert_int_equal(scenario(), 0);
}

static int use_task(void) {
    struct ac_task task;
    struct ac_stat stat;
    int err = ac_task_open(getpid(), getpid(), &task);
    if (err) {
        return err;
    }
    struct ac_schedstat sched = {.run_ns = -7};
    struct ac_syscall_state call;
    err = ac_task_stat(&task, &stat);
    int sched_err = ac_task_schedstat(&task, &sched); /* missing in some sandboxes: no failure of its own */
    assert_true(sched_err < 0 || sched.run_ns >= 0);
    assert_true(sched_err == 0 || sched.run_ns == -7);
    ac_task_syscall(&task, &call);
    ac_task_close(&task);
    return err;
}

static int use_process(void) {
    struct ac_stat stat;
    struct ac_status status;
    struct ac_buf buf = {0};
    size_t count;
    char text[PATH_MAX];
    pid_t pids[8];
    int64_t value;
    pid_t pid = getpid();
    int err = ac_process_stat(pid, &stat);
    err = err ? err : ac_task_status(pid, pid, &status);
    err = err ? err : ac_task_comm(pid, pid, text, sizeof(text));
    err = err ? err : ac_process_tasks(pid, pids, 8, &count);
    err = err ? err : ac_process_children(pid, pids, 8, &count);
    err = err ? err : ac_process_task_links(pid, &value);
    err = err ? err : ac_process_argv(pid, &buf, &count);
    err = err ? err : ac_process_exe(pid, text, sizeof(text));
    err = err ? err : ac_process_cpu_ns(pid, &value);
    ac_buf_free(&buf);
    return err;
}

static int first_with_file(const struct ac_mapping *mapping, void *arg) {
    *(struct ac_mapping *)arg = *mapping;
    return mapping->inode ? 1 : 0;
}

static int use_maps(void) {
    struct ac_mapping mapping;
    int fd;
    int found = ac_process_maps(getpid(), first_with_file, &mapping);
    if (found <= 0) {
        return found ? found : -ENOENT;
    }
    int err = ac_process_open_mapping(getpid(), &mapping, &fd);
    if (!err) {
        close(fd);
    }
    return err;
}

static int use_memory(void) {
    int from = 42;
    int to = 7;
    int err = ac_vm_read(getpid(), (uint64_t)(uintptr_t)&from, &to, sizeof(to));
    assert_int_equal(to, err ? 7 : 42);
    return err;
}

static int use_file(void) {
    struct ac_buf buf = {0};
    int err = ac_file_read(file, 1000, &buf);
    ac_buf_free(&buf);
    return err;
}

/* Whatever fails, the file holds one of the two texts whole. */
static int rewrite_file(void) {
    static bool second;
    const char *text = second ? "a second, longer text" : "a text";
    int err = ac_file_write(file, text, strlen(text));
    second = err ? second : !second;
    char got[64] = "";
    FILE *open = fopen(file, "r");
    assert_non_null(open);
    assert_non_null(fgets(got, sizeof(got), open));
    fclose(open);
    assert_true(strcmp(got, "a text") == 0 || strcmp(got, "a second, longer text") == 0);
    return err;
}

static int write_new_file(void) {
    char path[160];
    snprintf(path, sizeof(path), "%s.new", file);
    int err = ac_file_write(path, "new", 3);
    assert_int_equal(access(path, F_OK), err ? -1 : 0);
    unlink(path);
    return err;
}

static int use_cpus(void) {
    struct ac_cpu_limits limits = {.online = -7};
    int64_t ns[CPU_SETSIZE];
    int err = ac_cpus_of(getpid(), "", &limits);
    assert_true((limits.online == -7) == (err != 0));
    return err ? err : ac_cpus_busy("", ns);
}

static int use_sched(void) {
    char kernel[64];
    char machine[64];
    ac_sched_fifo(); /* refused or not: the thread goes on */
    struct sched_param normal = {0};
    sched_setscheduler(0, SCHED_OTHER, &normal);
    int err = ac_sched_nice(0);
    err = err ? err : ac_sleep_until(0);
    return err ? err : ac_uname(kernel, sizeof(kernel), machine, sizeof(machine));
}

static int run_child(void) {
    struct ac_child child = {.pid = -7};
    int err = ac_child_start((char *[]){"true", NULL}, &child);
    if (err) {
        assert_int_equal(child.pid, -7);
        return err;
    }
    err = ac_child_release(&child);
    if (err == 0) {
        int status;
        assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    }
    return err;
}

/* A program that gives back what it is asked. */
static int use_ask(void) {
    struct ac_buf answer = {0};
    int err = ac_ask((char *[]){"cat", NULL}, "a question", 10, 64, ac_now_ns() + 10 * AC_NS_PER_S, &answer);
    assert_true(err != 0 || strcmp(ac_buf_text(&answer), "a question") == 0);
    ac_buf_free(&answer);
    return err;
}

/* As the race starts its contenders: other streams, a process group of its own. */
static int run_placed(void) {
    struct ac_child child = {.pid = -7};
    const struct ac_child_place place = {STDIN_FILENO, STDERR_FILENO};
    int status = 0;
    int err = ac_child_start_at((char *[]){"true", NULL}, &place, &child);
    if (err) {
        assert_int_equal(child.pid, -7);
        return err;
    }
    err = ac_child_release(&child);
    if (err == 0) {
        assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    }
    return err ? err : status ? -ECHILD : 0;
}

/* What fails in the child before its exec is the launcher's error: it runs in its place or not at all. */
static void placed_child_faults(void **state) {
    (void)state;
    each_in_turn(run_placed, false);
    ac_sys_fail_children_at(0, 0);
    assert_int_equal(run_placed(), 0);
    unsigned long calls = ac_sys_calls();
    assert_true(calls >= 6); /* two closes, dup2 thrice, setpgid, prctl, the pipe */
    int fds = entries_of("/proc/self/fd");
    int failures = 0;
    for (unsigned long n = 1; n <= calls; n++) {
        ac_sys_fail_children_at(n, EPERM);
        int err = run_placed();
        ac_sys_calls();
        assert_true(err == 0 || err == -EPERM || err == -ECHILD);
        failures += err == -EPERM;
        assert_int_equal(entries_of("/proc/self/fd"), fds);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    }
    assert_true(failures >= 5); /* dup2, setpgid, prctl */
}

/* As the race has its contenders: one that prints, answers and leaves a process behind. */
static int watch_run(void) {
    struct ac_child child;
    struct ac_buf answer = {0};
    char printed[64] = "";
    char fd[16];
    int read_fd = -1, write_fd = -1, answer_fd = -1, status, ended = 0;
    int err = ac_output_pipe(&read_fd, &write_fd);
    err = err ? err : ac_scratch_create("allcores-test", &answer_fd);
    err = err ? err : ac_scratch_clear(answer_fd);
    err = err ? err : ac_orphans_adopt();
    snprintf(fd, sizeof(fd), "%d", answer_fd);
    char *argv[] = {"sh", "-c", "sleep 100 & echo printed; echo answer > /proc/self/fd/$0", fd, NULL};
    err = err ? err : ac_child_start_at(argv, &(struct ac_child_place){STDIN_FILENO, write_fd}, &child);
    err = err ? err : ac_child_release(&child);
    for (; !err && !ended; ac_sleep_until(ac_now_ns() + AC_NS_PER_MS)) {
        ended = ac_child_reap(child.pid, &status);
        err = ac_min(ended, 0);
    }
    int left = ac_descendants_kill(INT64_MAX);
    err = err ? err : left;
    ssize_t got = err ? err : ac_fd_read(read_fd, printed, sizeof(printed) - 1);
    err = got < 0 ? (int)got : ac_scratch_read(answer_fd, &answer);
    assert_true(err || strcmp(printed, "printed\n") == 0);
    assert_true(err || strcmp(ac_buf_text(&answer), "answer\n") == 0);
    ac_buf_free(&answer);
    const int fds[] = {read_fd, write_fd, answer_fd};
    for (size_t i = 0; i < AC_COUNT(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    return err;
}

/* Who reads is told apart: nothing yet, something, the end. */
static void output_pipe(void **state) {
    (void)state;
    int read_fd, write_fd;
    char byte;
    ac_sys_fail_at(0, 0);
    assert_int_equal(ac_output_pipe(&read_fd, &write_fd), 0);
    assert_int_equal(ac_fd_read(read_fd, &byte, 1), -EAGAIN);
    assert_int_equal(write(write_fd, "x", 1), 1);
    assert_int_equal(ac_fd_read(read_fd, &byte, 1), 1);
    close(write_fd);
    assert_int_equal(ac_fd_read(read_fd, &byte, 1), 0);
    close(read_fd);
}

static void watched_faults(void **state) {
    (void)state;
    each_in_turn(watch_run, false); /* what fails while processes are ended is tried again */
}

static void count_event(const struct ac_ring_event *event, void *arg) {
    (void)event;
    ++*(int *)arg;
}

static int use_ring(void) {
    struct ac_ring *ring = NULL;
    int events = 0;
    int err = ac_ring_open(getpid(), &ring);
    assert_true((ring == NULL) == (err != 0));
    if (!err) {
        ac_ring_drain(ring, INT64_MAX, count_event, &events);
    }
    ac_ring_close(ring);
    return err;
}

static void task_faults(void **state) {
    (void)state;
    each_in_turn(use_task, false);
}
static void process_faults(void **state) {
    (void)state;
    each_in_turn(use_process,
                 false); /* close() after reading and one thread's `children` may fail unnoticed */
}
static void maps_faults(void **state) {
    (void)state;
    each_in_turn(use_maps, false); /* there are three ways to a mapping's file */
}
static void memory_faults(void **state) {
    (void)state;
    each_in_turn(use_memory, true);
}
static void file_read_faults(void **state) {
    (void)state;
    each_in_turn(use_file, false);
}
static void rewrite_faults(void **state) {
    (void)state;
    each_in_turn(rewrite_file, true);
}
static void new_file_faults(void **state) {
    (void)state;
    each_in_turn(write_new_file, true);
}
static void cpus_faults(void **state) {
    (void)state;
    each_in_turn(use_cpus, false); /* no quota is found where cgroup files cannot be read */
}
static void sched_faults(void **state) {
    (void)state;
    each_in_turn(use_sched, false);
}
static void child_faults(void **state) {
    (void)state;
    each_in_turn(run_child, false);
}
static void ask_faults(void **state) {
    (void)state;
    each_in_turn(use_ask, false); /* a close may fail unnoticed */
}
/* In the child, between fork and exec: no program runs with streams that are not those it was given. */
static void asked_child_faults(void **state) {
    (void)state;
    ac_sys_fail_children_at(0, 0);
    assert_int_equal(use_ask(), 0);
    unsigned long calls = ac_sys_calls();
    assert_true(calls >= 4); /* /dev/null and three streams */
    for (unsigned long n = 1; n <= calls; n++) {
        ac_sys_fail_children_at(n, EIO);
        assert_int_equal(use_ask(), -ECHILD);
        ac_sys_calls();
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    }
}
static void ring_faults(void **state) {
    (void)state;
    int err = use_ring();
    if (err == -EPERM || err == -ENOSYS) {
        skip();
    }
    each_in_turn(use_ring, false); /* a close, or the limit on descriptors, may fail unnoticed */
}

static int make_dir(void **state) {
    (void)state;
    strcpy(dir, "/tmp/allcores-faults-XXXXXX");
    if (!mkdtemp(dir)) {
        return -1;
    }
    snprintf(file, sizeof(file), "%s/file", dir);
    return ac_file_write(file, "a text", 6);
}

static int remove_dir(void **state) {
    (void)state;
    unlink(file);
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(task_faults),         cmocka_unit_test(process_faults),
        cmocka_unit_test(maps_faults),         cmocka_unit_test(memory_faults),
        cmocka_unit_test(file_read_faults),    cmocka_unit_test(rewrite_faults),
        cmocka_unit_test(new_file_faults),     cmocka_unit_test(cpus_faults),
        cmocka_unit_test(sched_faults),        cmocka_unit_test(child_faults),
        cmocka_unit_test(placed_child_faults), cmocka_unit_test(ask_faults),
        cmocka_unit_test(asked_child_faults),  cmocka_unit_test(watched_faults),
        cmocka_unit_test(output_pipe),         cmocka_unit_test(ring_faults),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
