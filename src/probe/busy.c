/* busy.c - how busy each usable CPU was over time, with whatever ran there: what the program's own threads
 * did not do there, other programs did. Coarse, since the kernel counts in ticks of 10 ms, and never dear:
 * the file that it stands in tells of all CPUs and interrupts of the machine, and takes a while where these
 * are many. */
#include <string.h>

#include "probe/sampler_internal.h"

enum {
    STEP_MS = 200,
    LEAST_MS = 20,
    STEP_COSTS = 200
}; /* a step is at least so many times what a look takes */

void ac__busy_start(struct ac_sampler *sampler) {
    sampler->busy_at_ns = sampler->start_ns;
    sampler->busy_step_ns = STEP_MS * AC_NS_PER_MS;
    if (ac_cpus_busy("", sampler->busy_base_ns) < 0)
        sampler->busy_base_ns[0] = -1;
    memcpy(sampler->busy_last_ns, sampler->busy_base_ns, sizeof sampler->busy_last_ns);
}

static int add(struct ac_sampler *sampler, const int64_t busy_ns[CPU_SETSIZE], int64_t now) {
    struct ac_busy busy = {.from_ns = sampler->busy_at_ns - sampler->start_ns,
                           .to_ns = now - sampler->start_ns};
    double length = (double)(busy.to_ns - busy.from_ns);
    int r = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE && r == 0; cpu++) {
        if (!CPU_ISSET(cpu, &sampler->limits.set))
            continue;
        double share = (double)(busy_ns[cpu] - sampler->busy_last_ns[cpu]) / length;
        busy.cpu = (int16_t)cpu;
        busy.share = (uint16_t)(AC_BUSY_ALL * ac_min(ac_max(share, 0.0), 1.0));
        r = ac_profile_busy(sampler->profile, &busy, (size_t)CPU_COUNT(&sampler->limits.set));
    }
    return r;
}

static void look(struct ac_sampler *sampler, int64_t now) {
    int64_t busy_ns[CPU_SETSIZE];
    size_t before = sampler->profile->busy_count;
    if (ac_cpus_busy("", busy_ns) < 0)
        return; /* the next look tells of both stretches */
    int r = add(sampler, busy_ns, now);
    if (r < 0 && sampler->err == 0)
        sampler->err = r;
    memcpy(sampler->busy_last_ns, busy_ns, sizeof busy_ns);
    sampler->busy_at_ns = now;
    if (sampler->profile->busy_count <= before) /* two became one */
        sampler->busy_step_ns *= 2;
    sampler->busy_step_ns = ac_max(sampler->busy_step_ns, STEP_COSTS * (ac_now_ns() - now));
}

void ac__busy_look(struct ac_sampler *sampler, int64_t now) {
    if (sampler->busy_base_ns[0] >= 0 && now - sampler->busy_at_ns >= sampler->busy_step_ns)
        look(sampler, now);
}

void ac__busy_finish(struct ac_sampler *sampler) {
    struct ac_profile *profile = sampler->profile;
    if (sampler->busy_base_ns[0] < 0)
        return;
    int64_t now = ac_now_ns();
    if (now - sampler->busy_at_ns >= LEAST_MS * AC_NS_PER_MS)
        look(sampler, now);
    while (profile->busy_count > 0 && profile->busy[profile->busy_count - 1].from_ns >= profile->wall_ns)
        profile->busy_count--;
    for (size_t i = 0; i < profile->busy_count; i++)
        profile->busy[i].to_ns = ac_min(profile->busy[i].to_ns, profile->wall_ns);
}

int64_t ac__busy_total(const struct ac_sampler *sampler) {
    int64_t busy = 0;
    if (sampler->busy_base_ns[0] < 0)
        return -1;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &sampler->limits.set))
            busy += ac_max(sampler->busy_last_ns[cpu] - sampler->busy_base_ns[cpu], INT64_C(0));
    return busy;
}
