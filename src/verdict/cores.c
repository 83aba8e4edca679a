/* cores.c - where the core-seconds went. What was used is summed from the cells. What was free is told bin by
 * bin of the time line: a free CPU is lost to the GIL as far as threads waited for it in that bin, then to
 * other waits. The bins only split: what they split is exact. */
#include "verdict/cores.h"

#include "base/base.h"

#define BINS 1000

struct bin { /* average threads */
    double used, gil, waiting;
};

static void add_used(const struct ac_profile *p, double *seconds) {
    double told = 0;
    for (size_t i = 0; i < p->cell_count; i++) {
        const struct ac_cell *cell = &p->cells[i];
        int activity = p->nodes[cell->node].activity;
        if (cell->state != AC_PYTHON && cell->state != AC_NATIVE) {
            continue;
        }
        enum ac_core_use use = cell->state == AC_PYTHON ? AC_CORES_PYTHON : AC_CORES_NATIVE;
        use = activity == AC_START_UP || activity == AC_IMPORT ? AC_CORES_STARTING : use;
        use = activity == AC_PICKLE || activity == AC_IPC ? AC_CORES_PICKLING : use;
        seconds[use] += (double)cell->ns / 1e9;
        told += (double)cell->ns / 1e9;
    }
    seconds[AC_CORES_NATIVE] += ac_max((double)p->cpu_ns / 1e9 - told, 0);
}

static void fill_bins(const struct ac_profile *p, struct bin *bins) {
    double width = (double)ac_max(p->wall_ns, 1) / BINS;
    for (size_t i = 0; i < p->segment_count; i++) {
        const struct ac_segment *s = &p->segments[i];
        size_t first = (size_t)((double)s->from_ns / width);
        for (size_t b = first; b < BINS && (double)b * width < (double)s->to_ns; b++) {
            double from = ac_max((double)s->from_ns, (double)b * width);
            double share = (ac_min((double)s->to_ns, (double)(b + 1) * width) - from) / width;
            switch (s->state) {
            case AC_PYTHON:
            case AC_NATIVE: bins[b].used += share; break;
            case AC_GIL_WAIT: bins[b].gil += share; break;
            case AC_IO:
            case AC_DISK:
            case AC_LOCK:
            case AC_SLEEP:
            case AC_OTHER: bins[b].waiting += share; break;
            default: break;
            }
        }
    }
}

/* What other programs had of the CPUs that this one could use. Under a quota below its CPUs they have as many
 * for themselves as it must leave idle, and take from it only what they use beyond those. */
static double taken_by_others(const struct ac_profile *p) {
    double others = (double)(p->cpus.machine_busy_ns - p->cpu_ns) / 1e9;
    double spare = ac_max((double)p->cpus.affinity - p->cpus.usable, 0) * (double)p->wall_ns / 1e9;
    return p->cpus.machine_busy_ns < 0 ? 0 : ac_max(others - spare, 0);
}

int ac_cores_of(const struct ac_profile *p, struct ac_cores *ret_cores) {
    struct ac_cores cores = {.capacity = p->cpus.usable * (double)p->wall_ns / 1e9};
    double *seconds = cores.seconds;
    struct bin *bins = ac_calloc(BINS, sizeof(*bins));
    if (!bins) {
        return -ENOMEM;
    }
    add_used(p, seconds);
    fill_bins(p, bins);
    double left = ac_max(cores.capacity - (double)p->cpu_ns / 1e9, 0);
    seconds[AC_CORES_OTHERS] = ac_min(taken_by_others(p), left);
    left -= seconds[AC_CORES_OTHERS];
    double others = seconds[AC_CORES_OTHERS] * 1e9 / (double)ac_max(p->wall_ns, 1); /* CPUs, on average */
    double gil = 0;
    double waiting = 0;
    double nothing = 0;
    for (size_t b = 0; b < BINS; b++) {
        double idle = ac_max(p->cpus.usable - others - bins[b].used, 0);
        double behind = ac_min(idle, bins[b].gil);
        double waits = ac_min(idle - behind, bins[b].waiting);
        gil += behind;
        waiting += waits;
        nothing += idle - behind - waits;
    }
    double all = gil + waiting + nothing;
    seconds[AC_CORES_GIL] = all > 0 ? left * gil / all : 0;
    seconds[AC_CORES_WAITING] = all > 0 ? left * waiting / all : 0;
    seconds[AC_CORES_NOTHING] = all > 0 ? left * nothing / all : left;
    ac_free(bins);
    *ret_cores = cores;
    return 0;
}
