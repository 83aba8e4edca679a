/* A driver for the sampler alone: sample [-r HZ] [-d SECONDS] [-n] [-s] (-p PID | COMMAND...)
 * -n: no ring, -s: no stacks. Prints each row's states in percent of its life, and the heaviest cells. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "probe/sampler.h"

static pid_t child;
static int child_status = -1;
static struct rusage child_usage;

static int poll_child(void *arg) {
    (void)arg;
    return child > 0 && wait4(child, &child_status, WNOHANG, &child_usage) == child;
}

static void print_rows(const struct ac_profile *profile) {
    printf("%7s %-15s %4s %2s %7s %7s", "tid", "name", "n", "py", "alive", "cpu");
    for (int s = 0; s < AC_STATE_COUNT; s++)
        printf(" %8s", ac_state_names[s]);
    printf("\n");
    for (size_t i = 0; i < profile->thread_count && i < 40; i++) {
        const struct ac_thread *row = &profile->threads[i];
        printf("%7d %-15s %4u %2d %7.3f %7.3f", row->tid, ac_profile_text(profile, row->name), row->merged,
               row->python, (double)row->alive_ns / 1e9, (double)row->cpu_ns / 1e9);
        for (int s = 0; s < AC_STATE_COUNT; s++)
            printf(" %8.2f", row->alive_ns ? 100.0 * (double)row->states_ns[s] / (double)row->alive_ns : 0.0);
        printf("\n");
    }
    for (size_t i = 0; i < profile->process_count && i < 20; i++) {
        const struct ac_process *process = &profile->processes[i];
        printf("process %d python=%s from %.3f to %.3f cpu %.3f  %s %s |", process->pid,
               ac_profile_text(profile, process->python), (double)process->from_ns / 1e9,
               (double)process->to_ns / 1e9, (double)process->cpu_ns / 1e9,
               ac_profile_text(profile, process->argv[0]), ac_profile_text(profile, process->argv[1]));
        for (int a = 0; a < AC_ACTIVITY_COUNT; a++)
            printf(" %s %.3f", ac_activity_names[a], (double)process->activity_ns[a] / 1e9);
        printf(" %s\n", ac_profile_text(profile, process->note));
    }
}

static void print_tops(struct ac_profile *profile) {
    for (int n = 0; n < 10 && profile->cell_count > 0; n++) {
        size_t most = 0;
        for (size_t i = 0; i < profile->cell_count; i++)
            most = profile->cells[i].ns > profile->cells[most].ns ? i : most;
        struct ac_cell *cell = &profile->cells[most];
        const struct ac_frame *frame = &profile->frames[profile->nodes[cell->node].frame];
        const struct ac_func *func = &profile->funcs[frame->func];
        printf("  %.3f s row %u %-8s kind %u %s %s:%d\n", (double)cell->ns / 1e9, cell->thread,
               ac_state_names[cell->state], cell->kind, ac_profile_text(profile, func->name),
               ac_profile_text(profile, func->file), frame->line);
        cell->ns = 0;
    }
    for (size_t i = 0; i < profile->pair_count && i < 6; i++) {
        const struct ac_gil_pair *pair = &profile->pairs[i];
        printf(
            "  pair %.3f s holder %s waiter %s\n", (double)pair->ns / 1e9,
            pair->holder < profile->func_count ? ac_profile_text(profile, profile->funcs[pair->holder].name)
                                               : "?",
            pair->waiter < profile->func_count ? ac_profile_text(profile, profile->funcs[pair->waiter].name)
                                               : "?");
    }
}

int main(int argc, char **argv) {
    struct ac_sampler_options options = {.rate_hz = 200, .children = true, .stacks = true};
    double seconds = 0;
    pid_t pid = 0;
    int opt;
    while ((opt = getopt(argc, argv, "+r:d:p:nsf")) != -1) {
        if (opt == 'r')
            options.rate_hz = atof(optarg);
        if (opt == 'd')
            seconds = atof(optarg);
        if (opt == 'p')
            pid = atoi(optarg);
        options.no_ring |= opt == 'n';
        options.stacks &= opt != 's';
        options.no_fifo |= opt == 'f';
    }
    struct ac_sampler *sampler;
    struct ac_child started;
    int r = ac_sampler_new(&options, &sampler);
    if (r == 0 && pid == 0) {
        r = ac_child_start(&argv[optind], &started);
        child = r == 0 ? started.pid : 0;
    }
    if (r == 0)
        r = ac_sampler_attach(sampler, pid ? pid : child, pid == 0);
    if (r == 0 && pid == 0)
        r = ac_child_release(&started);
    if (r < 0) {
        fprintf(stderr, "start: %s\n", strerror(-r));
        return 125;
    }
    int64_t deadline = seconds > 0 ? ac_now_ns() + (int64_t)(seconds * 1e9) : 0;
    r = ac_sampler_run(sampler, deadline, poll_child, NULL);
    int64_t begin = ac_now_ns();
    int64_t used = (int64_t)(child_usage.ru_utime.tv_sec + child_usage.ru_stime.tv_sec) * 1000000000 +
                   (int64_t)(child_usage.ru_utime.tv_usec + child_usage.ru_stime.tv_usec) * 1000;
    struct ac_profile *profile;
    r = ac_sampler_finish(sampler, used, &profile);
    if (r < 0) {
        fprintf(stderr, "finish: %s\n", strerror(-r));
        return 125;
    }
    print_rows(profile);
    print_tops(profile);
    const struct ac_sampling *sampling = &profile->sampling;
    printf("wall %.3f cpu %.3f (wait4 %.3f) limits %x ring %d fifo %d ticks %lld missed %lld %.1f Hz samples "
           "%lld "
           "torn %lld failed %lld lost %lld sampler %.2f %% of a core, segments %zu nodes %zu valid %d "
           "finish %.1f ms\n",
           (double)profile->wall_ns / 1e9, (double)profile->cpu_ns / 1e9, (double)used / 1e9, profile->limits,
           sampling->ring, sampling->fifo, (long long)sampling->ticks, (long long)sampling->missed,
           sampling->reached_hz, (long long)sampling->samples, (long long)sampling->torn,
           (long long)sampling->read_errors, (long long)sampling->lost,
           100.0 * (double)sampling->sampler_cpu_ns / (double)profile->wall_ns, profile->segment_count,
           profile->node_count, ac_profile_valid(profile), (double)(ac_now_ns() - begin) / 1e6);
    printf("cpus online %d affinity %d quota %.2f usable %.2f busy %.3f\n", profile->cpus.online,
           profile->cpus.affinity, profile->cpus.quota, profile->cpus.usable,
           (double)profile->cpus.machine_busy_ns / 1e9);
    ac_profile_free(profile);
    ac_sampler_free(sampler);
    if (child > 0 && child_status == -1)
        kill(child, SIGKILL);
    return 0;
}
