/* pyread.c - shows what the Python reader reads of a process, one fact a line, for tests/test_reader.py.
 *
 *   pyread PID [SAMPLES [INTERVAL_US]]
 *
 *   version  3.13.0  free_threaded 0
 *   thread   TSTATE  INTERPRETER  NATIVE_TID
 *   gil      INTERPRETER  enabled  held  HOLDER
 *   wait     NATIVE_TID  INTERPRETER                          asleep in that one's take_gil
 *   stack    COUNT  NATIVE_TID  RESULT  KIND  name:file:line;...   leaf first
 *   errors   TORN  FAILED
 *   cost     NS_OF_CPU_PER_STACK
 *
 * Exit code: 0; 2 when ac_py_open() fails, whose errno (a number) and version are on stderr.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "os/os.h"
#include "probe/python.h"

#define THREADS 1024u

struct sample {
    uint64_t tid_result; /* tid << 16 | kind << 8 | -result */
    uint32_t node;
    uint64_t count;
};

struct reading {
    struct ac_py *py;
    struct ac_profile *profile;
    struct ac_py_thread threads[THREADS];
    struct ac_py_stack_request requests[THREADS];
    size_t last[THREADS]; /* sample of each thread's last stack */
    size_t count;
    struct sample *samples;
    size_t sample_count, sample_cap;
    int64_t cpu_ns;
    uint64_t stacks;
};

static void sample_add(struct reading *reading, size_t i) {
    const struct ac_py_stack_request *request = &reading->requests[i];
    if (request->result == 1) {
        reading->samples[reading->last[i]].count++;
        return;
    }
    uint64_t key = (uint64_t)(uint32_t)reading->threads[i].native_tid << 16 | (uint64_t)request->kind << 8 |
                   (uint64_t)(uint8_t)-request->result;
    for (size_t k = 0; k < reading->sample_count; k++) {
        if (reading->samples[k].tid_result == key && reading->samples[k].node == request->node) {
            reading->samples[k].count++;
            reading->last[i] = k;
            return;
        }
    }
    if (ac_grow(&reading->samples, &reading->sample_cap, reading->sample_count + 1,
                sizeof *reading->samples) < 0)
        abort();
    reading->last[i] = reading->sample_count;
    reading->samples[reading->sample_count++] = (struct sample){key, request->node, 1};
}

/* A thread's requests go with it when the list changes. */
static void threads_read(struct reading *reading) {
    size_t count;
    if (ac_py_threads(reading->py, reading->threads, THREADS, &count) < 0)
        return;
    reading->count = ac_min(count, (size_t)THREADS);
    for (size_t i = 0; i < reading->count; i++)
        if (reading->requests[i].tstate != reading->threads[i].tstate)
            reading->requests[i] = (struct ac_py_stack_request){.tstate = reading->threads[i].tstate};
}

static int samples_take(struct reading *reading, int64_t samples, int64_t interval_ns) {
    struct ac_random random;
    ac_random_seed(&random, 1);
    int64_t due = ac_now_ns();
    for (int64_t i = 0; i < samples; i++) {
        if (i % 64 == 0)
            threads_read(reading);
        int64_t cpu = ac_thread_cpu_ns();
        int err = ac_py_stacks(reading->py, reading->profile, reading->requests, reading->count);
        reading->cpu_ns += ac_thread_cpu_ns() - cpu;
        reading->stacks += reading->count;
        if (err < 0)
            return err;
        for (size_t k = 0; k < reading->count; k++)
            sample_add(reading, k);
        due += (int64_t)((0.5 + ac_random_unit(&random)) * (double)interval_ns);
        if (i + 1 < samples)
            ac_sleep_until(due);
    }
    return 0;
}

static void stack_print(const struct ac_profile *profile, uint32_t node) {
    for (const char *separator = ""; node; node = profile->nodes[node].parent, separator = ";") {
        const struct ac_frame *frame = &profile->frames[profile->nodes[node].frame];
        const struct ac_func *func = &profile->funcs[frame->func];
        printf("%s%s:%s:%" PRId32, separator, ac_profile_text(profile, func->name),
               ac_profile_text(profile, func->file), frame->line);
    }
}

static void samples_print(const struct reading *reading) {
    static const char *const kinds[] = {"none", "bytecode", "c_call"};
    for (size_t i = 0; i < reading->sample_count; i++) {
        const struct sample *sample = &reading->samples[i];
        printf("stack\t%" PRIu64 "\t%d\t%d\t%s\t", sample->count, (int)(sample->tid_result >> 16),
               -(int)(sample->tid_result & 0xff), kinds[sample->tid_result >> 8 & 0xff]);
        stack_print(reading->profile, sample->node);
        printf("\n");
    }
}

/* The threads that are asleep waiting for a GIL (same PID namespace only). */
static void waits_print(const struct reading *reading, int64_t pid, const struct ac_py_gil *gils) {
    for (size_t i = 0; i < reading->count; i++) {
        struct ac_task task;
        struct ac_syscall_state call;
        if (ac_task_open((pid_t)pid, reading->threads[i].native_tid, &task) < 0)
            continue;
        if (ac_task_syscall(&task, &call) == 0 && !call.running) {
            int gil = ac_py_gil_waits(reading->py, call.args[0]);
            if (gil >= 0)
                printf("wait\t%d\t%u\n", reading->threads[i].native_tid, gils[gil].interpreter);
        }
        ac_task_close(&task);
    }
}

static void facts_print(struct reading *reading, int64_t pid) {
    struct ac_py_gil gils[AC_PY_MAX_GILS];
    struct ac_py_version version = {0};
    size_t count = 0;
    ac_py_version(reading->py, &version);
    printf("version\t%d.%d.%d\tfree_threaded\t%d\n", version.major, version.minor, version.micro,
           version.free_threaded);
    for (size_t i = 0; i < reading->count; i++)
        printf("thread\t%" PRIx64 "\t%u\t%d\n", reading->threads[i].tstate, reading->threads[i].interpreter,
               reading->threads[i].native_tid);
    ac_py_gils(reading->py, gils, AC_PY_MAX_GILS, &count);
    for (size_t i = 0; i < ac_min(count, (size_t)AC_PY_MAX_GILS); i++)
        printf("gil\t%u\t%d\t%d\t%" PRIx64 "\n", gils[i].interpreter, gils[i].enabled, gils[i].held,
               gils[i].holder);
    waits_print(reading, pid, gils);
}

int main(int argc, char **argv) {
    static struct reading reading;
    struct ac_py_version version = {0};
    int64_t pid = 0, samples = 1, interval_us = 5000;
    if (argc < 2 || ac_parse_i64(argv[1], 1, INT32_MAX, &pid) < 0 ||
        (argc > 2 && ac_parse_i64(argv[2], 1, 1000000, &samples) < 0) ||
        (argc > 3 && ac_parse_i64(argv[3], 1, 1000000, &interval_us) < 0))
        return 1;
    int err = ac_py_open((pid_t)pid, &reading.py, &version);
    if (err < 0) {
        fprintf(stderr, "%d\t%d.%d.%d\n", -err, version.major, version.minor, version.micro);
        return 2;
    }
    if (ac_profile_new(&reading.profile) < 0)
        return 1;
    threads_read(&reading);
    facts_print(&reading, pid);
    err = samples_take(&reading, samples, interval_us * AC_NS_PER_US);
    uint64_t torn, failed;
    ac_py_errors(reading.py, &torn, &failed);
    samples_print(&reading);
    printf("errors\t%" PRIu64 "\t%" PRIu64 "\n", torn, failed);
    printf("cost\t%" PRId64 "\n", reading.cpu_ns / (int64_t)ac_max(reading.stacks, UINT64_C(1)));
    ac_py_close(reading.py);
    ac_profile_free(reading.profile);
    ac_free(reading.samples);
    return err == 0 || err == -ESRCH ? 0 : 1;
}
