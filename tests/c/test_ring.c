/* The context-switch ring against the kernel's other clocks: on-CPU time from the records must be what
 * the threads' own clocks and rusage say, births and deaths must all be told, and the order must be that of
 * time. Skipped, with a line that says so, where perf_event_open is refused. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/os.h"
#include "os/syscalls.h"
#include "stolen.h"

#define MAX_TASKS 64
#define BURSTS    100

/* TSan gives every process that the test forks a thread of its own. */
#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif
#ifdef TSAN
#define assert_tasks(found, expected) assert_in_range(found, expected, 2 * (expected))
#else
#define assert_tasks(found, expected) assert_int_equal(found, expected)
#endif

struct task {
    pid_t tid, pid;
    int64_t run_ns, since_ns;
    int64_t from_ns, to_ns; /* count only what ran between these, or all if both are 0 */
    bool on_cpu, exited;
};

struct seen {
    struct task tasks[MAX_TASKS];
    size_t count;
    int64_t last_ns;
    int forks, exits, execs, lost, backwards, unpaired;
    char exec_comm[16];
};

static struct task *task_of(struct seen *seen, const struct ac_ring_event *event) {
    for (size_t i = 0; i < seen->count; i++) {
        if (seen->tasks[i].tid == event->tid) {
            return &seen->tasks[i];
        }
    }
    assert_true(seen->count < MAX_TASKS);
    seen->tasks[seen->count] = (struct task){.tid = event->tid, .pid = event->pid};
    return &seen->tasks[seen->count++];
}

static void switch_in(struct seen *seen, const struct ac_ring_event *event) {
    struct task *task = task_of(seen, event);
    seen->unpaired += task->on_cpu;
    task->on_cpu = true;
    task->since_ns = event->time_ns;
}

static void switch_out(struct seen *seen, const struct ac_ring_event *event) {
    if (event->tid == 0) {
        return; /* the last switch of an exited task: EXIT has closed its account */
    }
    struct task *task = task_of(seen, event);
    if (task->on_cpu) {
        int64_t to_ns = task->to_ns ? ac_min(event->time_ns, task->to_ns) : event->time_ns;
        task->run_ns += ac_max(to_ns - ac_max(task->since_ns, task->from_ns), INT64_C(0));
    }
    task->on_cpu = false;
}

static void note(const struct ac_ring_event *event, void *arg) {
    struct seen *seen = arg;
    struct task *task;
    seen->backwards += event->time_ns < seen->last_ns;
    seen->last_ns = event->time_ns;
    switch (event->kind) {
    case AC_RING_SWITCH_IN: switch_in(seen, event); break;
    case AC_RING_SWITCH_OUT: switch_out(seen, event); break;
    case AC_RING_FORK: seen->forks++; break;
    case AC_RING_EXIT:
        task = task_of(seen, event);
        switch_out(seen, event);
        seen->exits += !task->exited; /* a thread made while the events are opened is told twice */
        task->exited = true;
        break;
    case AC_RING_EXEC:
        seen->execs++;
        memcpy(seen->exec_comm, event->comm, sizeof(seen->exec_comm));
        break;
    case AC_RING_LOST: seen->lost++; break;
    case AC_RING_COMM: break;
    }
}

static int64_t total_run_ns(const struct seen *seen) {
    int64_t total = 0;
    for (size_t i = 0; i < seen->count; i++) {
        total += seen->tasks[i].run_ns;
    }
    return total;
}

static void burn_ns(int64_t ns) {
    int64_t until = ac_thread_cpu_ns() + ns;
    while (ac_thread_cpu_ns() < until) {
    }
}

/* --- the programs under watch */

/* What the tasks of busy_program read off their own clocks as the last thing that they did, shared with its
 * children. */
static int64_t *own_ns;

static void tell_own(int64_t since_ns) {
    __atomic_fetch_add(own_ns, ac_thread_cpu_ns() - since_ns, __ATOMIC_RELAXED);
}

static void *burner(void *arg) {
    burn_ns((intptr_t)arg * AC_NS_PER_MS);
    usleep(2000);
    burn_ns((intptr_t)arg * AC_NS_PER_MS);
    tell_own(0);
    return NULL;
}

/* Four threads, and three children one after the other that live for some milliseconds. */
static void busy_program(void) {
    int64_t start_ns = ac_thread_cpu_ns();
    pthread_t threads[4];
    for (intptr_t i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, burner, (void *)(20 + 10 * i));
    }
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            burn_ns((4 + 20 * i) * AC_NS_PER_MS);
            tell_own(0);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    tell_own(start_ns);
}

/* Start `program` in a child that waits for a byte first. */
static pid_t start(void (*program)(void), int *ret_go) {
    int go[2];
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(go[1]);
        if (read(go[0], &byte, 1) == 1) {
            program();
        }
        _exit(0);
    }
    close(go[0]);
    *ret_go = go[1];
    return pid;
}

static bool refused(int err) {
    if (err == -EPERM || err == -ENOSYS || err == -ENOENT || err == -ENOTSUP) {
        print_message("perf_event_open is refused here (%s): the ring is untested\n", strerror(-err));
        return true;
    }
    assert_int_equal(err, 0);
    return false;
}

static void run_times_are_between_the_own_clocks_and_rusage(void **state) {
    (void)state;
    struct seen seen = {0};
    struct ac_ring *ring;
    struct rusage usage;
    int go;
    int status;
    own_ns = mmap(NULL, sizeof *own_ns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(own_ns != MAP_FAILED);
    pid_t pid = start(busy_program, &go);
    int64_t before_ns = 0, stolen_before_ns = stolen_ns();
    usleep(20000); /* until it waits: what it used before the ring opened is not the ring's */
    assert_int_equal(ac_process_cpu_ns(pid, &before_ns), 0);
    int err = ac_ring_open(pid, &ring);
    if (refused(err)) {
        close(go);
        waitpid(pid, NULL, 0);
        skip();
    }
    assert_int_equal(write(go, "", 1), 1);
    while (wait4(pid, &status, WNOHANG, &usage) == 0) {
        usleep(5000);
        ac_ring_drain(ring, ac_now_ns() - 2 * AC_NS_PER_MS, note, &seen);
    }
    ac_ring_drain(ring, INT64_MAX, note, &seen);
    ac_ring_close(ring);
    close(go);

    int64_t cpu_ns = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * AC_NS_PER_S +
                     (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * AC_NS_PER_US - before_ns;
    int64_t run_ns = total_run_ns(&seen), least_ns = *own_ns;
    int64_t most_ns = cpu_ns + stolen_ns() - stolen_before_ns;
    munmap(own_ns, sizeof *own_ns);
    print_message("ring %.3f ms, own clocks %.3f ms, rusage %.3f ms, with what was stolen %.3f ms\n",
                  (double)run_ns / 1e6, (double)least_ns / 1e6, (double)cpu_ns / 1e6, (double)most_ns / 1e6);
    /* Newer kernels end the record before they tear the address space down: that is in rusage only. */
    assert_in_range(run_ns, least_ns - least_ns / 100, most_ns + most_ns / 20);
    assert_int_equal(seen.lost, 0);
    assert_int_equal(seen.backwards, 0);
    assert_int_equal(seen.unpaired, 0);
    assert_tasks(seen.forks, 4 + 3);
    assert_tasks(seen.exits, 1 + 4 + 3);
}

/* Each thread's time between two moments that it read itself, on a process that was running before the ring
 * opened. */
struct worker {
    pid_t tid;
    bool watched; /* the ring is open */
    bool done;
    int64_t from_ns, to_ns, cpu_ns;
    int64_t burst_ns;
};

/* The monotonic time now, and the thread's CPU time at that moment. */
static int64_t mark(int64_t *ret_cpu_ns) {
    int64_t before_ns, after_ns;
    do {
        before_ns = ac_now_ns();
        *ret_cpu_ns = ac_thread_cpu_ns();
        after_ns = ac_now_ns();
    } while (after_ns - before_ns > AC_NS_PER_MS / 10); /* preempted in between: read again */
    return before_ns;
}

static void *work(void *arg) {
    struct worker *self = arg;
    int64_t cpu_ns;
    __atomic_store_n(&self->tid, gettid(), __ATOMIC_RELEASE);
    while (!__atomic_load_n(&self->watched, __ATOMIC_ACQUIRE)) {
        burn_ns(self->burst_ns);
        usleep(1000);
    }
    usleep(1000); /* the ring has seen it go and come */
    self->from_ns = mark(&cpu_ns);
    for (int i = 0; i < BURSTS; i++) {
        burn_ns(self->burst_ns);
        usleep(1000);
    }
    self->to_ns = mark(&self->cpu_ns);
    self->cpu_ns -= cpu_ns;
    __atomic_store_n(&self->done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* Records to be looked at once the marks are known. */
struct kept {
    struct ac_ring_event events[16384];
    size_t count;
};

static void keep(const struct ac_ring_event *event, void *arg) {
    struct kept *kept = arg;
    assert_true(kept->count < sizeof kept->events / sizeof kept->events[0]);
    kept->events[kept->count++] = *event;
}

static void each_thread_is_told_apart(void **state) {
    (void)state;
    static struct kept kept;
    struct seen seen = {0};
    struct ac_ring *ring;
    pthread_t threads[3];
    struct worker workers[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        workers[i].burst_ns = (int64_t)(i + 1) * AC_NS_PER_MS;
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        while (!__atomic_load_n(&workers[i].tid, __ATOMIC_ACQUIRE)) {
            usleep(100);
        }
    }
    int err = ac_ring_open(getpid(), &ring);
    int64_t stolen = stolen_ns();
    for (size_t i = 0; i < 3; i++) {
        __atomic_store_n(&workers[i].watched, true, __ATOMIC_RELEASE);
    }
    for (size_t i = 0; i < 3; i++) {
        while (!err && !__atomic_load_n(&workers[i].done, __ATOMIC_ACQUIRE)) {
            usleep(5000);
            ac_ring_drain(ring, ac_now_ns() - 2 * AC_NS_PER_MS, keep, &kept);
        }
        pthread_join(threads[i], NULL);
    }
    stolen = stolen_ns() - stolen;
    if (refused(err)) {
        skip();
    }
    ac_ring_drain(ring, INT64_MAX, keep, &kept);
    ac_ring_close(ring);
    for (size_t i = 0; i < 3; i++) {
        struct task *task = task_of(&seen, &(struct ac_ring_event){.tid = workers[i].tid, .pid = getpid()});
        task->from_ns = workers[i].from_ns;
        task->to_ns = workers[i].to_ns;
    }
    for (size_t i = 0; i < kept.count; i++) {
        note(&kept.events[i], &seen);
    }
    assert_int_equal(seen.lost, 0);
    for (size_t i = 0; i < 3; i++) {
        int64_t run_ns = seen.tasks[i].run_ns, cpu_ns = workers[i].cpu_ns;
        print_message("ring %.3f ms, own clock %.3f ms\n", (double)run_ns / 1e6, (double)cpu_ns / 1e6);
        /* the kernel's own clocks have some microseconds of each switch that lie before the record */
        int64_t switches_ns = BURSTS * 20 * AC_NS_PER_US;
        assert_in_range(run_ns, cpu_ns - cpu_ns / 100 - switches_ns, cpu_ns + cpu_ns / 20 + stolen);
    }
}

/* --- a thread that is made while the ring is opened */

static struct {
    int (*open)(struct perf_event_attr *attr, pid_t pid, int cpu, int group, unsigned long flags);
    int calls; /* until it is made */
    pthread_t thread;
    pid_t tid;
    bool go;
} newcomer;

/* On the last CPU: the one whose events are opened last. */
static void *come(void *arg) {
    (void)arg;
    cpu_set_t all, last;
    CPU_ZERO(&last);
    sched_getaffinity(0, sizeof(all), &all);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all)) {
            CPU_ZERO(&last);
            CPU_SET(cpu, &last);
        }
    }
    sched_setaffinity(0, sizeof(last), &last);
    __atomic_store_n(&newcomer.tid, gettid(), __ATOMIC_RELEASE);
    while (!__atomic_load_n(&newcomer.go, __ATOMIC_ACQUIRE)) {
        usleep(100);
    }
    burn_ns(5 * AC_NS_PER_MS);
    return NULL;
}

static int open_late(struct perf_event_attr *attr, pid_t pid, int cpu, int group, unsigned long flags) {
    if (--newcomer.calls == 0) {
        pthread_create(&newcomer.thread, NULL, come, NULL);
        while (!__atomic_load_n(&newcomer.tid, __ATOMIC_ACQUIRE)) {
            usleep(100);
        }
    }
    return newcomer.open(attr, pid, cpu, group, flags);
}

/* Whether its maker had no events yet or those of one CPU only. */
static void a_thread_made_meanwhile_is_seen(void **state) {
    (void)state;
    for (int calls = 1; calls <= ac_min(2, (int)sysconf(_SC_NPROCESSORS_CONF)); calls++) {
        struct seen seen = {0};
        struct ac_ring *ring;
        newcomer.open = ac_sys.perf_event_open;
        newcomer.calls = calls;
        newcomer.tid = 0;
        newcomer.go = false;
        ac_sys.perf_event_open = open_late;
        int err = ac_ring_open(getpid(), &ring);
        ac_sys.perf_event_open = newcomer.open;
        __atomic_store_n(&newcomer.go, true, __ATOMIC_RELEASE);
        pthread_join(newcomer.thread, NULL);
        if (refused(err)) {
            skip();
        }
        ac_ring_drain(ring, INT64_MAX, note, &seen);
        ac_ring_close(ring);
        struct task *task = task_of(&seen, &(struct ac_ring_event){.tid = newcomer.tid});
        assert_true(task->exited);
        assert_true(task->run_ns > 4 * AC_NS_PER_MS);
    }
}

/* A child started by ac_child_start is seen from its exec on, whoever runs it. */
static void watch_child(char *const argv[]) {
    struct seen seen = {0};
    struct ac_ring *ring;
    struct ac_child child;
    struct rusage usage;
    assert_int_equal(ac_child_start(argv, &child), 0);
    int err = ac_ring_open(child.pid, &ring);
    if (refused(err)) {
        ac_child_abandon(&child);
        skip();
    }
    assert_int_equal(ac_child_release(&child), 0);
    assert_int_equal(wait4(child.pid, NULL, 0, &usage), child.pid);
    ac_ring_drain(ring, INT64_MAX, note, &seen);
    ac_ring_close(ring);
    assert_true(seen.execs >= 1);
    assert_string_equal(seen.exec_comm, argv[0]);
    assert_tasks(seen.exits, 1);
    assert_int_equal(seen.lost, 0);
}

static void a_child_is_seen_from_its_exec(void **state) {
    (void)state;
    watch_child((char *[]){"true", NULL});
}

/* What an unprivileged user gets: perf_event_paranoid 2 allows the user's own processes without the kernel.
 */
static void an_unprivileged_user_may_watch_a_child(void **state) {
    (void)state;
    if (getuid() != 0) {
        skip();
    }
    pid_t pid = fork();
    if (pid == 0) {
        /* a change of user makes a process undumpable until its next exec, and so would refuse what a user's
         * shell is allowed */
        if (setgid(65534) != 0 || setuid(65534) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) {
            _exit(1);
        }
        struct ac_child child;
        struct ac_ring *ring;
        struct seen seen = {0};
        char *argv[] = {"true", NULL};
        if (ac_child_start(argv, &child) != 0) {
            _exit(2);
        }
        int err = ac_ring_open(child.pid, &ring);
        if (err) {
            ac_child_abandon(&child);
            _exit(err == -EPERM || err == -ENOSYS ? 77 : 3);
        }
        err = ac_child_release(&child);
        waitpid(child.pid, NULL, 0);
        ac_ring_drain(ring, INT64_MAX, note, &seen);
        ac_ring_close(ring);
        _exit(err == 0 && seen.execs == 1 && seen.exits >= 1 && seen.lost == 0 ? 0 : 4);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("perf_event_open is refused to other users here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* More records than fit: LOST says so with the first record after there is room again, and what follows is
 * read right although the ring has wrapped. */
static void many_switches(void) {
    struct timespec moment = {.tv_nsec = 1};
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one); /* one ring takes them all: 10,000 times 2 records of 32 bytes */
    for (int i = 0; i < 10000; i++) {
        nanosleep(&moment, NULL);
    }
    raise(SIGSTOP);
    for (int i = 0; i < BURSTS; i++) {
        nanosleep(&moment, NULL);
    }
}

static void an_overflow_is_counted(void **state) {
    (void)state;
    struct seen seen = {0};
    struct ac_ring *ring;
    int go;
    pid_t pid = start(many_switches, &go);
    int err = ac_ring_open(pid, &ring);
    if (refused(err)) {
        close(go);
        waitpid(pid, NULL, 0);
        skip();
    }
    assert_int_equal(write(go, "", 1), 1);
    assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid); /* nobody reads the ring meanwhile */
    int first = ac_ring_drain(ring, INT64_MAX, note, &seen);
    assert_true(first > 4000);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    int second = ac_ring_drain(ring, INT64_MAX, note, &seen);
    ac_ring_close(ring);
    close(go);
    assert_true(second > 200);
    assert_int_equal(seen.lost, 1);
    assert_tasks(seen.exits, 1);
    assert_int_equal(seen.backwards, 0);
}

static void a_process_that_is_gone_has_no_ring(void **state) {
    (void)state;
    struct ac_ring *ring = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    assert_int_equal(ac_ring_open(pid, &ring), -ESRCH);
    assert_null(ring);
    ac_ring_close(NULL);
}

static void too_few_descriptors_are_said(void **state) {
    (void)state;
    struct rlimit before;
    struct ac_ring *ring = NULL;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int err = ac_ring_open(getpid(), &ring);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(err, -EMFILE);
    assert_null(ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_times_are_between_the_own_clocks_and_rusage),
        cmocka_unit_test(each_thread_is_told_apart),
        cmocka_unit_test(a_thread_made_meanwhile_is_seen),
        cmocka_unit_test(a_child_is_seen_from_its_exec),
        cmocka_unit_test(an_unprivileged_user_may_watch_a_child),
        cmocka_unit_test(an_overflow_is_counted),
        cmocka_unit_test(a_process_that_is_gone_has_no_ring),
        cmocka_unit_test(too_few_descriptors_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
