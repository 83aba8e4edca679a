/* reach.c - the CPUs that the tree's CPU time was free to be spent on.
 *
 * An affinity can be set at any time, per thread, by the program, by a library or by a launcher such as
 * taskset; so it is read now and then from each thread that runs, and each set of CPUs is credited with the
 * CPU time that was spent under it. What counts at the end is the union of the sets that matter: workers
 * pinned to a CPU each can reach all of these. */
#include <string.h>

#include "os/os.h"
#include "probe/sampler_internal.h"

#define LOOK_NS (100 * AC_NS_PER_MS)
#define MATTERS 20 /* a set counts with a twentieth of the CPU time */

static void credit(struct ac_sampler *sampler, const cpu_set_t *set, int64_t ns) {
    for (size_t i = 0; i < sampler->reach_count; i++) {
        if (CPU_EQUAL(&sampler->reach[i].set, set)) {
            sampler->reach[i].ns += ns;
            return;
        }
    }
    if (sampler->reach_count < AC_COUNT(sampler->reach)) {
        sampler->reach[sampler->reach_count++] = (struct ac__reach){*set, ns};
    }
}

void ac__reach_look(struct ac_sampler *sampler, struct ac__thread *thread) {
    cpu_set_t set;
    int64_t ran = thread->last.run_ns - thread->base.run_ns;
    bool due = thread->reach_look_ns == 0 || sampler->tick_ns - thread->reach_look_ns >= LOOK_NS;
    if (due && ran > thread->reach_run_ns && ac_task_affinity(thread->tid, &set) == 0) {
        credit(sampler, &set, ran - thread->reach_run_ns);
        thread->reach_run_ns = ran;
        thread->reach_look_ns = sampler->tick_ns;
    }
}

void ac__reach_finish(struct ac_sampler *sampler) {
    struct ac_cpus *cpus = &sampler->profile->cpus;
    int64_t total = 0;
    cpu_set_t all;
    CPU_ZERO(&all);
    for (size_t i = 0; i < sampler->reach_count; i++) {
        total += sampler->reach[i].ns;
    }
    for (size_t i = 0; i < sampler->reach_count; i++) {
        if (sampler->reach[i].ns * MATTERS >= total) {
            CPU_OR(&all, &all, &sampler->reach[i].set);
        }
    }
    if (CPU_COUNT(&all) > 0) { /* else nothing ran for long: what the root could reach at the start stands */
        sampler->limits.set = all;
        cpus->affinity = CPU_COUNT(&all);
        cpus->usable = cpus->quota > 0 && cpus->quota < cpus->affinity ? cpus->quota : cpus->affinity;
    }
}
