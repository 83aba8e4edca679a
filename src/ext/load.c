/* load.c - how much of the GIL and of the CPUs a pool's threads use: for
 * ThreadPoolExecutor(max_workers="auto").
 *
 * Who holds the GIL and who waits for it is read from our own interpreter by the probe's reader, some times a
 * measure. CPU time and the time that a thread was ready and had no CPU are the kernel's, of up to SAMPLE
 * threads at a time, so that neither a busy machine nor threads that take turns at the GIL look like threads
 * that wait. Called without the GIL. */
#include "ext/load.h"

#include <math.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "probe/python.h"

enum { SAMPLE = 8, LOOKS = 8 };

struct ac__load {
    struct ac_py *py;
    int error; /* of opening it; the GIL is then not looked at */
    double cpus;
    size_t turn;
};

struct ac__load *ac__load_new(void) {
    struct ac__load *load = ac_calloc(1, sizeof *load);
    struct ac_cpu_limits limits;
    if (load)
        load->cpus = ac_cpus_of(getpid(), "", &limits) < 0 ? 1 : fmax(1, limits.usable);
    return load;
}

void ac__load_free(struct ac__load *load) {
    if (!load)
        return;
    ac_py_close(load->py);
    ac_free(load);
}

/* -1: the thread whose clock it is has ended. */
static int64_t read_ns(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        return -1;
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void nap(int64_t ns) {
    struct timespec time = {ns / 1000000000, ns % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

/* How many of the threads are on a CPU or ready to be, by a sample of them, between two calls. */
struct sample {
    struct ac_task tasks[SAMPLE];
    clockid_t clocks[SAMPLE];
    int64_t before[SAMPLE];
    size_t count;
};

static int64_t runnable_ns(struct sample *sample, size_t i) {
    struct ac_schedstat stat;
    int64_t run_ns = read_ns(sample->clocks[i]);
    if (run_ns < 0 || ac_task_schedstat(&sample->tasks[i], &stat) < 0)
        return run_ns;
    return run_ns + stat.delay_ns;
}

static void sample_begin(struct sample *sample, struct ac__load *load, const struct ac__thread *threads,
                         size_t count) {
    sample->count = 0;
    for (size_t i = 0; i < count && i < SAMPLE; i++) {
        const struct ac__thread *thread = &threads[load->turn++ % count];
        if (ac_task_open(getpid(), thread->tid, &sample->tasks[sample->count]) < 0)
            continue; /* it has ended */
        sample->clocks[sample->count] = thread->clock;
        sample->before[sample->count] = runnable_ns(sample, sample->count);
        sample->count++;
    }
}

static double sample_end(struct sample *sample, int64_t wall_ns) {
    int64_t total_ns = 0;
    size_t good = 0;
    for (size_t i = 0; i < sample->count; i++) {
        int64_t after_ns = runnable_ns(sample, i);
        ac_task_close(&sample->tasks[i]);
        if (after_ns < 0 || sample->before[i] < 0)
            continue;
        total_ns += after_ns - sample->before[i];
        good++;
    }
    return good ? (double)total_ns / (double)wall_ns / (double)good : 0;
}

static bool waits_for_gil(struct ac__load *load, struct sample *sample) {
    struct ac_syscall_state state;
    for (size_t i = 0; i < sample->count; i++)
        if (!ac_task_syscall(&sample->tasks[i], &state) && state.nr == SYS_futex &&
            ac_py_gil_waits(load->py, state.args[0]) >= 0)
            return true;
    return false;
}

/* Whether one of the threads holds the GIL now, or waits for it. */
static bool uses_gil(struct ac__load *load, struct sample *sample, const struct ac__thread *threads,
                     size_t count) {
    struct ac_py_gil gils[AC_PY_MAX_GILS];
    size_t found = 0;
    if (!load->py || ac_py_gils(load->py, gils, AC_COUNT(gils), &found) < 0)
        return false;
    for (size_t i = 0; i < ac_min(found, AC_COUNT(gils)); i++)
        for (size_t j = 0; j < count && gils[i].enabled && gils[i].held; j++)
            if (gils[i].holder == threads[j].tstate)
                return true;
    return waits_for_gil(load, sample);
}

double ac__load_measure(struct ac__load *load, const struct ac__thread *threads, size_t count,
                        int64_t period_ns) {
    struct sample sample;
    struct ac_py_version version;
    int held = 0;
    if (!load->py && !load->error)
        load->error = ac_py_open(getpid(), &load->py, &version);
    sample_begin(&sample, load, threads, count);
    int64_t began_ns = read_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < LOOKS; i++) {
        nap(period_ns / LOOKS);
        held += uses_gil(load, &sample, threads, count);
    }
    double runnable = sample_end(&sample, read_ns(CLOCK_MONOTONIC) - began_ns) * (double)count;
    return fmax((double)held / LOOKS, runnable / load->cpus);
}
