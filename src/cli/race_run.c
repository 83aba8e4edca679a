/* race_run.c - one run of the driver (python/allcores/_race.py) under the probe, and nothing left of it
 * after.
 *
 * The driver answers in JSON lines in a file without a name; what the function prints goes to a pipe of which
 * the last bytes are kept. All that it leaves behind becomes our child and is killed. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/race.h"
#include "os/os.h"
#include "os/shared.h"
#include "probe/sampler.h"

#define LOOK_NS   (40 * AC_NS_PER_MS) /* between two looks at the memory */
#define MAX_TREE  256
#define KEPT_TAIL 2048

struct watch {
    struct ac_race_driver *run;
    struct ac_sampler *sampler;
    pid_t pid;
    int out_fd;
    bool ended;
    int64_t deadline_ns, look_ns, progress_ns, begun_ns;
    const char *title;
};

/* --- what it printed */

static void drain(struct watch *w) {
    char bytes[65536];
    ssize_t got;
    for (int i = 0; i < 64 && (got = ac_fd_read(w->out_fd, bytes, sizeof(bytes))) > 0; i++) {
        struct ac_buf *tail = &w->run->printed;
        size_t keep = ac_min((size_t)got, (size_t)KEPT_TAIL);
        if (tail->len + keep > 2 * KEPT_TAIL) {
            memmove(tail->data, tail->data + tail->len - KEPT_TAIL, KEPT_TAIL);
            tail->len = KEPT_TAIL;
        }
        ac_buf_bytes(tail, bytes + got - (ssize_t)keep, keep);
    }
}

/* --- its memory */

static int64_t tree_memory(pid_t pid, int depth) {
    pid_t children[MAX_TREE];
    size_t count = 0;
    int64_t sum = ac_max(ac_process_pss(pid), 0);
    if (depth < 16 && ac_process_children(pid, children, MAX_TREE, &count) == 0) {
        for (size_t i = 0; i < ac_min(count, (size_t)MAX_TREE); i++) {
            sum += tree_memory(children[i], depth + 1);
        }
    }
    return sum;
}

static void look(struct watch *w, int64_t now) {
    if (now >= w->look_ns) {
        w->run->peak_bytes = ac_max(w->run->peak_bytes, tree_memory(w->pid, 0));
        w->look_ns =
            now + ac_max(LOOK_NS, 200 * (ac_now_ns() - now)); /* it takes a CPU from those that race */
    }
}

static void progress(struct watch *w, int64_t now) {
    if (now >= w->progress_ns) {
        char text[160];
        snprintf(text, sizeof(text), "  %s  %.0f s  (Ctrl-C ends the race)", w->title,
                 (double)(now - w->begun_ns) / 1e9);
        ac_progress_line(text);
        w->progress_ns = now + AC_NS_PER_S / 4;
    }
}

static int poll_run(void *arg) {
    struct watch *w = arg;
    int64_t now = ac_now_ns();
    drain(w);
    look(w, now);
    progress(w, now);
    w->ended = w->ended || ac_child_reap(w->pid, &w->run->status) != 0;
    w->run->timed_out = !w->ended && now > w->deadline_ns;
    w->run->stopped = ac_stop_signal() != 0;
    return w->ended || w->run->timed_out || w->run->stopped;
}

/* --- its end */

static int start(struct watch *w, char *const argv[], const struct ac_child_place *place) {
    struct ac_child child;
    int err = ac_child_start_at(argv, place, &child);
    if (err) {
        return err;
    }
    w->pid = child.pid;
    w->run->epoch_ns = ac_now_ns();
    err = ac_sampler_attach(w->sampler, child.pid, true);
    if (err) {
        ac_child_abandon(&child);
        return err;
    }
    return ac_child_release(&child);
}

static int run_watched(struct watch *w, char *const argv[], const struct ac_child_place *place) {
    const struct ac_sampler_options options = {.rate_hz = 200, .children = true, .stacks = true};
    int err = ac_sampler_new(&options, &w->sampler);
    err = err ? err : start(w, argv, place);
    if (err) {
        goto out;
    }
    err = ac_sampler_run(w->sampler, 0, poll_run, w);
    err = err < 0 ? err : ac_sampler_finish(w->sampler, 0, &w->run->profile);
    ac_descendants_kill(ac_now_ns() + 10 * AC_NS_PER_S);
    if (!w->ended) {
        w->run->status = SIGKILL;
    }
    drain(w);
out:
    ac_progress_line("");
    ac_sampler_free(w->sampler);
    return err;
}

int ac_race_drive(const char *python, const char *driver, const char *spec, int answer_fd, const char *title,
                  double timeout_s, struct ac_race_driver *ret) {
    struct ac_race_driver run = {0};
    char *argv[] = {(char *)(uintptr_t)python, (char *)(uintptr_t)driver, (char *)(uintptr_t)spec, NULL};
    struct watch w = {.run = &run, .out_fd = -1, .title = title, .begun_ns = ac_now_ns()};
    struct ac_child_place place = {.in_fd = open("/dev/null", O_RDONLY | O_CLOEXEC), .out_fd = -1};
    w.deadline_ns = w.begun_ns + (int64_t)(timeout_s * 1e9);
    w.progress_ns = w.begun_ns;
    int err = place.in_fd < 0 ? -errno : ac_output_pipe(&w.out_fd, &place.out_fd);
    err = err ? err : ac_scratch_clear(answer_fd);
    err = err ? err : ac_orphans_adopt();
    err = err ? err : run_watched(&w, argv, &place);
    err = err ? err : ac_scratch_read(answer_fd, &run.answer);
    err = err ? err : run.printed.err;
    close(place.in_fd);
    close(place.out_fd);
    close(w.out_fd);
    if (err) {
        ac_race_driver_clear(&run);
        return err;
    }
    *ret = run;
    return 0;
}

void ac_race_driver_clear(struct ac_race_driver *run) {
    ac_profile_free(run->profile);
    ac_buf_free(&run->answer);
    ac_buf_free(&run->printed);
    *run = (struct ac_race_driver){0};
}
