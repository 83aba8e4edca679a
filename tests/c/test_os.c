/* os: what it says of this very process and of children made to have a known answer. */
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/os.h"

static char dir[64];

static int make_dir(void **state) {
    (void)state;
    strcpy(dir, "/tmp/allcores-os-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static const char *in_dir(const char *name) {
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static pid_t dead_pid(void) {
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    return pid;
}

/* A child that sleeps until it is killed. */
static pid_t sleeper(void) {
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            pause();
        }
    }
    return pid;
}

static void end(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* --- clocks */

static void clocks_go_forward(void **state) {
    (void)state;
    int64_t before = ac_now_ns();
    int64_t cpu = ac_own_cpu_ns();
    assert_int_equal(ac_sleep_until(before + 20 * AC_NS_PER_MS), 0);
    assert_true(ac_now_ns() >= before + 20 * AC_NS_PER_MS);
    assert_true(ac_own_cpu_ns() >= cpu && ac_own_cpu_ns() - cpu < 20 * AC_NS_PER_MS);
    assert_int_equal(ac_sleep_until(before), 0);
    int64_t year_2020 = INT64_C(1577836800) * AC_NS_PER_S;
    assert_true(ac_unix_ns() > year_2020);
}

static void the_cpu_clock_of_another_process(void **state) {
    (void)state;
    int go[2];
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        while (ac_thread_cpu_ns() < 30 * AC_NS_PER_MS) {
        }
        if (write(go[1], "", 1) != 1) {
            _exit(1);
        }
        pause();
    }
    char byte;
    assert_int_equal(read(go[0], &byte, 1), 1);
    int64_t ns = 0;
    assert_int_equal(ac_process_cpu_ns(pid, &ns), 0);
    assert_in_range(ns, 30 * AC_NS_PER_MS, 60 * AC_NS_PER_MS);
    end(pid);
    close(go[0]);
    close(go[1]);
    assert_int_equal(ac_process_cpu_ns(pid, &ns), -ESRCH);
    assert_int_equal(ac_process_cpu_ns(0, &ns), -ESRCH);
}

/* --- /proc */

static void names_may_hold_anything(void **state) {
    (void)state;
    char before[16];
    char comm[16];
    struct ac_stat stat;
    prctl(PR_GET_NAME, before);
    const char *const names[] = {"a) R 1 (b", "x\ny", "(((", ")", "", "12345678901234567890"};
    for (size_t i = 0; i < AC_COUNT(names); i++) {
        prctl(PR_SET_NAME, names[i]);
        char expected[16] = "";
        ac_copy(expected, sizeof(expected), names[i]);
        assert_int_equal(ac_process_stat(getpid(), &stat), 0);
        assert_string_equal(stat.comm, expected);
        assert_int_equal(stat.ppid, getppid());
        assert_int_equal(stat.state, 'R');
        assert_int_equal(ac_task_comm(getpid(), getpid(), comm, sizeof(comm)), 0);
    }
    prctl(PR_SET_NAME, before);
}

static void a_thread_is_read_through_kept_descriptors(void **state) {
    (void)state;
    struct ac_task task;
    struct ac_stat stat;
    struct ac_schedstat sched;
    struct ac_schedstat later;
    assert_int_equal(ac_task_open(getpid(), gettid(), &task), 0);
    assert_int_equal(ac_task_stat(&task, &stat), 0);
    assert_in_range(stat.cpu, 0, sysconf(_SC_NPROCESSORS_CONF) - 1);
    assert_true(stat.threads >= 1 && stat.start_ticks > 0);
    if (ac_task_schedstat(&task, &sched) == 0) {
        int64_t until = ac_thread_cpu_ns() + 20 * AC_NS_PER_MS;
        while (ac_thread_cpu_ns() < until) {
        }
        sched_yield();
        assert_int_equal(ac_task_schedstat(&task, &later), 0);
        assert_true(later.run_ns - sched.run_ns >= 10 * AC_NS_PER_MS);
    }
    ac_task_close(&task);
    ac_task_close(&task);
    assert_int_equal(task.stat_fd, -1);
}

static void a_sleeper_shows_its_system_call(void **state) {
    (void)state;
    pid_t pid = sleeper();
    struct ac_task task;
    struct ac_syscall_state call = {.running = true};
    assert_int_equal(ac_task_open(pid, pid, &task), 0);
    for (int i = 0; i < 100 && call.running; i++) {
        usleep(1000);
        assert_int_equal(ac_task_syscall(&task, &call), 0);
    }
    assert_false(call.running);
#ifdef SYS_pause
    assert_int_equal(call.nr, SYS_pause);
#endif
    assert_true(call.sp != 0 && call.pc != 0);
    end(pid);
    struct ac_stat stat;
    struct ac_schedstat sched;
    assert_int_equal(ac_task_stat(&task, &stat), -ESRCH);
    assert_true(ac_task_syscall(&task, &call) < 0);
    assert_true(ac_task_schedstat(&task, &sched) < 0);
    ac_task_close(&task);
}

static void what_is_gone_is_esrch(void **state) {
    (void)state;
    pid_t pid = dead_pid();
    struct ac_task task;
    struct ac_stat stat;
    struct ac_status status;
    struct ac_buf buf = {0};
    char text[64];
    pid_t pids[4];
    size_t count;
    int64_t links;
    assert_int_equal(ac_task_open(pid, pid, &task), -ESRCH);
    assert_int_equal(ac_process_stat(pid, &stat), -ESRCH);
    assert_int_equal(ac_task_status(pid, pid, &status), -ESRCH);
    assert_int_equal(ac_task_comm(pid, pid, text, sizeof(text)), -ESRCH);
    assert_int_equal(ac_process_tasks(pid, pids, 4, &count), -ESRCH);
    assert_int_equal(ac_process_children(pid, pids, 4, &count), -ESRCH);
    assert_int_equal(ac_process_task_links(pid, &links), -ESRCH);
    assert_int_equal(ac_process_argv(pid, &buf, &count), -ESRCH);
    assert_int_equal(ac_process_exe(pid, text, sizeof(text)), -ESRCH);
    assert_int_equal(ac_vm_read(pid, (uint64_t)(uintptr_t)text, text, 1), -ESRCH);
    assert_int_equal(ac_process_maps(pid, NULL, NULL), -ESRCH);
    ac_buf_free(&buf);
}

static void status_tells_who_and_where(void **state) {
    (void)state;
    struct ac_status status;
    cpu_set_t mine;
    assert_int_equal(ac_task_status(getpid(), getpid(), &status), 0);
    assert_int_equal(status.euid, geteuid());
    assert_int_equal(status.ppid, getppid());
    assert_true(status.ns_depth >= 1);
    assert_int_equal(status.ns_pid[status.ns_depth - 1], getpid());
    assert_true(status.vm_rss_bytes > 4096);
    assert_true(status.switches_voluntary >= 0 && status.switches_forced >= 0);
    assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
    assert_true(CPU_EQUAL(&mine, &status.affinity));
}

static void *wait_on(void *arg) {
    pthread_mutex_lock(arg);
    pthread_mutex_unlock(arg);
    return NULL;
}

static void threads_are_listed(void **state) {
    (void)state;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[5];
    pid_t tids[3];
    size_t before;
    size_t count;
    int64_t links_before;
    int64_t links;
    assert_int_equal(ac_process_tasks(getpid(), tids, 3, &before), 0);
    assert_int_equal(ac_process_task_links(getpid(), &links_before), 0);
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < 5; i++) {
        pthread_create(&threads[i], NULL, wait_on, &mutex);
    }
    assert_int_equal(ac_process_tasks(getpid(), tids, 3, &count), 0);
    assert_int_equal(count, before + 5); /* more than fit: told, not written */
    assert_int_equal(tids[0], getpid());
    assert_int_equal(ac_process_task_links(getpid(), &links), 0);
    assert_int_equal(links, links_before + 5);
    pthread_mutex_unlock(&mutex);
    for (size_t i = 0; i < 5; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void *fork_sleeper(void *arg) {
    *(pid_t *)arg = sleeper();
    pause();
    return NULL;
}

static void children_of_every_thread_are_listed(void **state) {
    (void)state;
    pid_t first = sleeper();
    pid_t second = 0;
    pid_t pids[8];
    size_t count = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, fork_sleeper, &second);
    for (int i = 0; i < 1000 && count < 2; i++) {
        usleep(1000);
        assert_int_equal(ac_process_children(getpid(), pids, 8, &count), 0);
    }
    assert_int_equal(count, 2);
    assert_true((pids[0] == first) != (pids[1] == first));
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    end(second); /* which may not have asked for PDEATHSIG yet */
    end(first);
}

static void the_command_line_and_the_program(void **state) {
    (void)state;
    struct ac_buf argv = {0};
    size_t argc;
    char exe[PATH_MAX];
    char real[PATH_MAX];
    assert_int_equal(ac_process_argv(getpid(), &argv, &argc), 0);
    assert_true(argc >= 1 && argv.len >= 2 && argv.data[argv.len - 1] == '\0');
    ac_buf_free(&argv);
    assert_int_equal(ac_process_exe(getpid(), exe, sizeof(exe)), 0);
    assert_non_null(realpath("/proc/self/exe", real));
    assert_string_equal(exe, real);
}

/* --- mappings and memory */

struct wanted {
    uint64_t address;
    struct ac_mapping mapping;
    int seen;
};

static int find_address(const struct ac_mapping *mapping, void *arg) {
    struct wanted *wanted = arg;
    wanted->seen++;
    if (wanted->address < mapping->from || wanted->address >= mapping->to) {
        return 0;
    }
    wanted->mapping = *mapping;
    return 42;
}

static void mappings_lead_to_files(void **state) {
    (void)state;
    struct wanted code = {.address = (uint64_t)(uintptr_t)&mappings_lead_to_files};
    assert_int_equal(ac_process_maps(getpid(), find_address, &code), 42);
    assert_true(code.mapping.executable && code.mapping.readable && !code.mapping.writable);
    struct stat ours;
    struct stat found;
    int fd;
    assert_int_equal(stat("/proc/self/exe", &ours), 0);
    assert_int_equal(ac_process_open_mapping(getpid(), &code.mapping, &fd), 0);
    assert_int_equal(fstat(fd, &found), 0);
    assert_int_equal(found.st_ino, ours.st_ino);
    close(fd);

    struct wanted stack = {.address = (uint64_t)(uintptr_t)&code};
    assert_int_equal(ac_process_maps(getpid(), find_address, &stack), 42);
    assert_true(ac_process_open_mapping(getpid(), &stack.mapping, &fd) < 0);
}

static void a_device_is_never_opened_as_a_file(void **state) {
    (void)state;
    void *zero = MAP_FAILED;
    int device = open("/dev/zero", O_RDWR);
    assert_true(device >= 0);
    zero = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, device, 0);
    assert_ptr_not_equal(zero, MAP_FAILED);
    struct wanted wanted = {.address = (uint64_t)(uintptr_t)zero};
    int fd = 77;
    if (ac_process_maps(getpid(), find_address, &wanted) == 42 && wanted.mapping.inode) {
        assert_true(ac_process_open_mapping(getpid(), &wanted.mapping, &fd) < 0);
        assert_int_equal(fd, 77);
    }
    munmap(zero, 4096);
    close(device);
}

static void memory_is_read_whole_or_not_at_all(void **state) {
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(pages, MAP_FAILED);
    strcpy(pages, "first");
    strcpy(pages + page - 8, "last");
    assert_int_equal(munmap(pages + page, page), 0);
    uint64_t at = (uint64_t)(uintptr_t)pages;
    char buffer[16] = "untouched";
    assert_int_equal(ac_vm_read(getpid(), at, buffer, 6), 0);
    assert_string_equal(buffer, "first");
    assert_int_equal(ac_vm_read(getpid(), at + page - 8, buffer, 16), -EFAULT); /* half of it is not there */
    assert_int_equal(ac_vm_read(getpid(), at + page, buffer, 1), -EFAULT);
    assert_int_equal(ac_vm_read(getpid(), 0, buffer, 1), -EFAULT);
    assert_int_equal(ac_vm_read(getpid(), UINT64_MAX - 4, buffer, 16), -EFAULT);

    char parts[3][8];
    struct iovec local[3];
    struct iovec remote[3];
    for (size_t i = 0; i < 3; i++) {
        local[i] = (struct iovec){.iov_base = parts[i], .iov_len = 8};
        remote[i] = (struct iovec){.iov_base = pages, .iov_len = 8};
    }
    assert_int_equal(ac_vm_read_many(getpid(), local, remote, 3), 3);
    remote[1].iov_base = pages + page - 4;
    assert_int_equal(ac_vm_read_many(getpid(), local, remote, 3), 1);
    remote[0].iov_base = pages + page;
    assert_int_equal(ac_vm_read_many(getpid(), local, remote, 3), -EFAULT);
    munmap(pages, page);
}

static void more_ranges_than_one_call_takes(void **state) {
    (void)state;
    enum { N = 2500 }; /* over IOV_MAX twice */
    static uint32_t from[N];
    static uint32_t to[N];
    static struct iovec local[N];
    static struct iovec remote[N];
    for (uint32_t i = 0; i < N; i++) {
        from[i] = i * 7;
        local[i] = (struct iovec){.iov_base = &to[i], .iov_len = sizeof(to[i])};
        remote[i] = (struct iovec){.iov_base = &from[i], .iov_len = sizeof(from[i])};
    }
    assert_int_equal(ac_vm_read_many(getpid(), local, remote, N), N);
    assert_memory_equal(from, to, sizeof(from));
    remote[2100].iov_base = NULL;
    assert_int_equal(ac_vm_read_many(getpid(), local, remote, N), 2100);
}

/* --- files */

static void check_file(const char *path, const char *text) {
    struct ac_buf buf = {0};
    assert_int_equal(ac_file_read(path, 1 << 20, &buf), 0);
    assert_string_equal(ac_buf_text(&buf), text);
    ac_buf_free(&buf);
}

static void files_are_written_and_read_back(void **state) {
    (void)state;
    struct stat st;
    mode_t mask = umask(027);
    const char *path = in_dir("out");
    assert_int_equal(ac_file_write(path, "one", 3), 0);
    check_file(path, "one");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    umask(mask);
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(ac_file_write(path, "", 0), 0);
    check_file(path, "");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0604); /* the mode that the file had */
}

static void links_stay_links(void **state) {
    (void)state;
    struct stat st;
    char real[PATH_MAX];
    ac_copy(real, sizeof(real), in_dir("real"));
    assert_int_equal(ac_file_write(real, "old", 3), 0);
    const char *link = in_dir("link");
    assert_int_equal(symlink("real", link), 0);
    assert_int_equal(ac_file_write(link, "new", 3), 0);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    check_file(real, "new");
}

static void devices_and_pipes_are_written_as_they_are(void **state) {
    (void)state;
    struct stat st;
    assert_int_equal(ac_file_write("/dev/null", "x", 1), 0);
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(ac_file_write("/dev/full", "x", 1), -ENOSPC);
    int ends[2];
    char path[64];
    char got[4] = "";
    assert_int_equal(pipe(ends), 0);
    snprintf(path, sizeof(path), "/dev/fd/%d", ends[1]);
    assert_int_equal(ac_file_write(path, "abc", 3), 0);
    assert_int_equal(read(ends[0], got, 3), 3);
    assert_string_equal(got, "abc");
    close(ends[0]);
    close(ends[1]);
}

static void what_cannot_be_written_says_why(void **state) {
    (void)state;
    assert_int_equal(ac_file_write(dir, "x", 1), -EISDIR);
    assert_int_equal(ac_file_write(in_dir("missing/out"), "x", 1), -ENOENT);
    assert_int_equal(ac_file_write("/proc/version/x", "x", 1), -ENOTDIR);
    assert_int_equal(ac_file_write("", "x", 1), -ENOENT);
}

static void only_regular_files_of_sane_size_are_read(void **state) {
    (void)state;
    struct ac_buf buf = {0};
    const char *path = in_dir("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(ac_file_read(path, 100, &buf), -EINVAL); /* and does not hang */
    assert_int_equal(ac_file_read("/dev/zero", 100, &buf), -EINVAL);
    assert_int_equal(ac_file_read(dir, 100, &buf), -EINVAL);
    assert_int_equal(ac_file_read(in_dir("none"), 100, &buf), -ENOENT);
    path = in_dir("long");
    assert_int_equal(ac_file_write(path, "12345", 5), 0);
    assert_int_equal(ac_file_read(path, 4, &buf), -EFBIG);
    assert_int_equal(ac_file_read(path, 5, &buf), 0);
    assert_string_equal(ac_buf_text(&buf), "12345");
    ac_buf_free(&buf);
}

/* --- the launcher's child */

static int status_of(pid_t pid) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int run(char *const argv[]) {
    struct ac_child child;
    assert_int_equal(ac_child_start(argv, &child), 0);
    usleep(1000);
    assert_int_equal(waitpid(child.pid, NULL, WNOHANG), 0); /* it waits */
    assert_int_equal(ac_child_release(&child), 0);
    return status_of(child.pid);
}

static void a_child_runs_once_released(void **state) {
    (void)state;
    int status = run((char *[]){"sh", "-c", "exit 3", NULL});
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    status = run((char *[]){"sh", "-c", "kill -9 $$", NULL});
    assert_true(WIFSIGNALED(status));
}

static void a_failed_exec_says_why(void **state) {
    (void)state;
    struct ac_child child;
    assert_int_equal(ac_child_start((char *[]){"no-such-command-at-all", NULL}, &child), 0);
    assert_int_equal(ac_child_release(&child), -ENOENT);
    assert_int_equal(waitpid(child.pid, NULL, 0), -1); /* reaped */
    assert_int_equal(ac_child_start((char *[]){dir, NULL}, &child), 0);
    assert_int_equal(ac_child_release(&child), -EACCES);
}

static void an_abandoned_child_leaves_nothing(void **state) {
    (void)state;
    struct ac_child child;
    assert_int_equal(ac_child_start((char *[]){"true", NULL}, &child), 0);
    ac_child_abandon(&child);
    assert_int_equal(waitpid(child.pid, NULL, 0), -1);
    ac_child_abandon(&child);
    assert_int_equal(ac_child_start((char *[]){"true", NULL}, &child), 0);
    kill(child.pid, SIGSTOP);
    ac_child_abandon(&child);
    assert_int_equal(waitpid(child.pid, NULL, 0), -1);
}

static void a_child_killed_before_its_release(void **state) {
    (void)state;
    struct ac_child child;
    assert_int_equal(ac_child_start((char *[]){"true", NULL}, &child), 0);
    kill(child.pid, SIGTERM);
    usleep(20000);
    assert_int_equal(ac_child_release(&child), 0); /* no SIGPIPE for us; the status tells */
    int status = status_of(child.pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void run_to_file(const char *name, char *ret_path) {
    char command[PATH_MAX + 256];
    ac_copy(ret_path, PATH_MAX, in_dir(name));
    snprintf(command, sizeof(command),
             "(grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l) >%s", ret_path);
    assert_int_equal(run((char *[]){"sh", "-c", command, NULL}), 0);
}

/* The child gets descriptors, mask and dispositions as they were at our start, whatever we changed since. */
static void a_child_cannot_tell(void **state) {
    (void)state;
    char before_path[PATH_MAX];
    char after_path[PATH_MAX];
    sigset_t block;
    sigset_t mask;
    struct ac_buf before = {0};
    run_to_file("before", before_path);
    ac_child_save_signals();
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_BLOCK, &block, &mask);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    run_to_file("after", after_path);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    assert_int_equal(ac_file_read(before_path, 4096, &before), 0);
    assert_non_null(strstr(ac_buf_text(&before), "SigBlk"));
    check_file(after_path, ac_buf_text(&before));
    ac_buf_free(&before);
}

/* Whose epoll has such a socket serves whoever may ask. */
static void a_listening_socket_is_told(void **state) {
    (void)state;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fds[2] = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 0)};
    int epoll = epoll_create1(0);
    uint64_t inodes[2];
    struct stat st;
    assert_int_equal(bind(fds[0], (struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(listen(fds[0], 1), 0);
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event), 0);
        assert_int_equal(ac_epoll_watched(getpid(), epoll, inodes, 1), i + 1);
    }
    assert_int_equal(ac_epoll_watched(getpid(), epoll, inodes, 2), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fstat(fds[i], &st), 0);
        assert_true(inodes[0] == st.st_ino || inodes[1] == st.st_ino);
        uint64_t inode = st.st_ino;
        assert_int_equal(ac_process_listens(getpid(), &inode, 1), i == 0);
        close(fds[i]);
    }
    close(epoll);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listening_socket_is_told),
        cmocka_unit_test(clocks_go_forward),
        cmocka_unit_test(the_cpu_clock_of_another_process),
        cmocka_unit_test(names_may_hold_anything),
        cmocka_unit_test(a_thread_is_read_through_kept_descriptors),
        cmocka_unit_test(a_sleeper_shows_its_system_call),
        cmocka_unit_test(what_is_gone_is_esrch),
        cmocka_unit_test(status_tells_who_and_where),
        cmocka_unit_test(threads_are_listed),
        cmocka_unit_test(children_of_every_thread_are_listed),
        cmocka_unit_test(the_command_line_and_the_program),
        cmocka_unit_test(mappings_lead_to_files),
        cmocka_unit_test(a_device_is_never_opened_as_a_file),
        cmocka_unit_test(memory_is_read_whole_or_not_at_all),
        cmocka_unit_test(more_ranges_than_one_call_takes),
        cmocka_unit_test(files_are_written_and_read_back),
        cmocka_unit_test(links_stay_links),
        cmocka_unit_test(devices_and_pipes_are_written_as_they_are),
        cmocka_unit_test(what_cannot_be_written_says_why),
        cmocka_unit_test(only_regular_files_of_sane_size_are_read),
        cmocka_unit_test(a_child_runs_once_released),
        cmocka_unit_test(a_failed_exec_says_why),
        cmocka_unit_test(an_abandoned_child_leaves_nothing),
        cmocka_unit_test(a_child_killed_before_its_release),
        cmocka_unit_test(a_child_cannot_tell),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
