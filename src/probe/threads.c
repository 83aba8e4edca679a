/* threads.c - interpreters and their thread states, and the kernel's thread id of each.
 *
 * Both are linked lists that change while they are read. What the last call found is read ahead in one go, so
 * that a list which did not change costs one system call; the links decide what counts.
 */
#include <string.h>

#include "probe/reader.h"

#define THREADS_MAX    65536u
#define PTHREAD_BYTES  2048u /* of struct pthread, looked through for the tid */
#define TID_CANDIDATES 16u

static uint32_t tstate_window(const struct ac_layout *layout) {
    uint32_t end = layout->tstate_thread + 8;
    if (layout->tstate_native != AC_OFFSET_NONE)
        end = ac_max(end, layout->tstate_native + 8);
    end = ac_max(end, ac_max(layout->tstate_next, layout->tstate_interp) + 8);
    return end;
}

int ac__interps_read(struct ac_py *py) {
    const struct ac_layout *layout = &py->layout;
    uint64_t head = 0, interps[AC_MAX_INTERPRETERS], gils[AC_MAX_INTERPRETERS];
    size_t count = 0;
    int err = ac__read_u64(py, py->runtime + layout->runtime_head, &head);
    for (uint64_t at = head; err == 0 && at && count < AC_MAX_INTERPRETERS; count++) {
        if (!ac__is_pointer(at))
            return -EAGAIN;
        interps[count] = at;
        gils[count] = py->runtime + layout->runtime_gil;
        if (layout->interp_gil != AC_OFFSET_NONE)
            err = ac__read_u64(py, at + layout->interp_gil, &gils[count]);
        if (err == 0)
            err = ac__read_u64(py, at + layout->interp_next, &at);
    }
    if (err < 0)
        return err == -EFAULT ? -EAGAIN : err;
    if (count == 0)
        return -EAGAIN;
    /* New interpreters are put in front: the main one is last, and 0 in our numbering. */
    for (size_t i = 0; i < count; i++) {
        py->interps[i] = interps[count - 1 - i];
        py->gils[i] = gils[count - 1 - i];
    }
    py->interp_count = count;
    py->head = head;
    py->gil_looks = 0;
    return 0;
}

/* The thread states of the last call, read ahead. */
struct ahead {
    struct ac_map index; /* tstate -> window in bytes, + 1 once it was seen in a list */
    uint8_t *bytes;
    bool *ok;
    uint32_t window;
};

static void ahead_free(struct ahead *ahead) {
    ac_map_free(&ahead->index);
    ac_free(ahead->bytes);
    ac_free(ahead->ok);
}

static int ahead_read(struct ac_py *py, struct ahead *ahead) {
    size_t n = py->tstate_count;
    struct iovec *ranges = ac_calloc(ac_max(n, (size_t)1) * 2, sizeof *ranges);
    ahead->bytes = ac_calloc(ac_max(n, (size_t)1), ahead->window);
    ahead->ok = ac_calloc(ac_max(n, (size_t)1), sizeof *ahead->ok);
    int err = ranges && ahead->bytes && ahead->ok ? 0 : -ENOMEM;
    for (size_t i = 0; err == 0 && i < n; i++) {
        ranges[i] = (struct iovec){ahead->bytes + i * ahead->window, ahead->window};
        ranges[n + i] = (struct iovec){(void *)(uintptr_t)py->tstates[i], ahead->window};
        err = ac_map_put(&ahead->index, py->tstates[i], (uint32_t)i);
    }
    if (err == 0 && n)
        err = ac__read_ranges(py->pid, ranges, ranges + n, ahead->ok, n);
    ac_free(ranges);
    return err;
}

static int tstate_read(struct ac_py *py, struct ahead *ahead, uint64_t tstate, uint8_t *bytes) {
    uint32_t i;
    if (ac_map_get(&ahead->index, tstate, &i) && ahead->ok[i]) {
        memcpy(bytes, ahead->bytes + (size_t)i * ahead->window, ahead->window);
        return 0;
    }
    return ac_vm_read(py->pid, tstate, bytes, ahead->window);
}

struct found {
    struct ac_py_thread *items;
    size_t len, cap;
    struct ac_map seen; /* a list that changes under us may look like a ring */
};

static int found_add(const struct ac_layout *layout, struct found *found, uint32_t interp, uint64_t tstate,
                     const uint8_t *bytes) {
    int err = ac_grow(&found->items, &found->cap, found->len + 1, sizeof *found->items);
    if (err < 0)
        return err;
    struct ac_py_thread *thread = &found->items[found->len++];
    *thread = (struct ac_py_thread){.tstate = tstate, .interpreter = interp};
    thread->pthread_id = ac__u64(bytes + layout->tstate_thread);
    if (layout->tstate_native != AC_OFFSET_NONE)
        thread->native_tid = ac__i32(bytes + layout->tstate_native);
    return ac_map_put(&found->seen, tstate, 1);
}

static int threads_of(struct ac_py *py, uint32_t interp, struct ahead *ahead, struct found *found) {
    const struct ac_layout *layout = &py->layout;
    uint8_t bytes[8192];
    uint64_t at;
    uint32_t seen;
    int err = ac__read_u64(py, py->interps[interp] + layout->interp_threads, &at);
    while (err == 0 && at && found->len < THREADS_MAX) {
        if (!ac__is_pointer(at) || ac_map_get(&found->seen, at, &seen))
            return -EAGAIN;
        err = tstate_read(py, ahead, at, bytes);
        if (err == 0 && ac__u64(bytes + layout->tstate_interp) != py->interps[interp])
            return -EAGAIN;
        if (err == 0)
            err = found_add(layout, found, interp, at, bytes);
        if (err == 0)
            at = ac__u64(bytes + layout->tstate_next);
    }
    return err == -EFAULT ? -EAGAIN : err;
}

/* --- up to 3.10: the tid in the thread's struct pthread. glibc and musl keep it at a fixed place, which is
 * found on the main thread, whose tid is the pid, and confirmed on the others. */

static bool is_task(const pid_t *tids, size_t count, int32_t tid) {
    for (size_t i = 0; i < count; i++)
        if (tids[i] == tid)
            return true;
    return false;
}

/* The process's tids as its own PID namespace numbers them. */
static size_t inner_tids(pid_t pid, pid_t *tids, size_t cap) {
    size_t count = 0;
    if (ac_process_tasks(pid, tids, cap, &count) < 0)
        return 0;
    count = ac_min(count, cap);
    bool same = ac_process_same_pid_namespace(pid);
    for (size_t i = 0; !same && i < count; i++) {
        struct ac_status status;
        if (ac_task_status(pid, tids[i], &status) == 0 && status.ns_depth > 0)
            tids[i] = status.ns_pid[status.ns_depth - 1];
    }
    return count;
}

/* Do (at most 32 of) the threads have live tids at `offset`, each its own? */
static bool tid_offset_fits(struct ac_py *py, const struct found *found, int32_t offset, const pid_t *tids,
                            size_t tid_count) {
    pid_t seen[32];
    size_t count = 0;
    for (size_t i = 0; i < found->len && count < AC_COUNT(seen); i++) {
        int32_t tid;
        if (ac_vm_read(py->pid, found->items[i].pthread_id + (uint64_t)offset, &tid, sizeof tid) < 0 ||
            tid == 0)
            continue; /* ended in between */
        if (!is_task(tids, tid_count, tid) || is_task(seen, count, tid))
            return false;
        seen[count++] = tid;
    }
    return true;
}

static void tid_calibrate(struct ac_py *py, const struct found *found) {
    struct ac_status status;
    uint64_t main_thread;
    uint8_t bytes[PTHREAD_BYTES];
    static const size_t sizes[] = {PTHREAD_BYTES, 1024, 512};
    size_t size = 0;
    if (ac_task_status(py->pid, py->pid, &status) < 0 || status.ns_depth < 1 ||
        ac__read_u64(py, py->runtime + py->layout.runtime_main_thread, &main_thread) < 0)
        return;
    for (size_t i = 0; i < AC_COUNT(sizes) && size == 0; i++)
        if (ac_vm_read(py->pid, main_thread, bytes, sizes[i]) == 0)
            size = sizes[i];
    pid_t tids[1024];
    size_t tid_count = inner_tids(py->pid, tids, AC_COUNT(tids));
    for (size_t at = 0, tried = 0; at + 4 <= size && tried < TID_CANDIDATES; at += 4) {
        if (ac__i32(bytes + at) != status.ns_pid[status.ns_depth - 1])
            continue;
        tried++;
        if (tid_count == AC_COUNT(tids) || tid_offset_fits(py, found, (int32_t)at, tids, tid_count)) {
            py->tid_offset = (int32_t)at;
            py->tid_verified = found->len > 1;
            return;
        }
    }
}

static int tids_read(struct ac_py *py, struct found *found) {
    if (py->tid_offset < 0 || (!py->tid_verified && found->len > 1))
        tid_calibrate(py, found);
    if (py->tid_offset < 0 || found->len == 0)
        return 0;
    size_t n = found->len;
    struct iovec *ranges = ac_calloc(n * 2, sizeof *ranges);
    bool *ok = ac_calloc(n, sizeof *ok);
    int err = ranges && ok ? 0 : -ENOMEM;
    for (size_t i = 0; err == 0 && i < n; i++) {
        uint64_t from = found->items[i].pthread_id + (uint64_t)py->tid_offset;
        ranges[i] = (struct iovec){&found->items[i].native_tid, sizeof found->items[i].native_tid};
        ranges[n + i] = (struct iovec){(void *)(uintptr_t)from, sizeof found->items[i].native_tid};
    }
    if (err == 0)
        err = ac__read_ranges(py->pid, ranges, ranges + n, ok, n);
    for (size_t i = 0; err == 0 && i < n; i++)
        if (!ok[i])
            found->items[i].native_tid = 0; /* the thread has ended, its state is still listed */
    ac_free(ranges);
    ac_free(ok);
    return err;
}

static int threads_remember(struct ac_py *py, const struct found *found) {
    int err = ac_grow(&py->tstates, &py->tstate_cap, found->len, sizeof *py->tstates);
    if (err < 0)
        return err;
    for (size_t i = 0; i < found->len; i++)
        py->tstates[i] = found->items[i].tstate;
    py->tstate_count = found->len;
    return 0;
}

int ac_py_threads(struct ac_py *py, struct ac_py_thread *threads, size_t cap, size_t *ret_count) {
    struct ahead ahead = {.window = tstate_window(&py->layout)};
    struct found found = {0};
    int err = ac__interps_read(py);
    if (err == 0)
        err = ahead_read(py, &ahead);
    for (uint32_t i = 0; err == 0 && i < py->interp_count; i++)
        err = threads_of(py, i, &ahead, &found);
    if (err == 0 && py->layout.runtime_main_thread != AC_OFFSET_NONE)
        err = tids_read(py, &found);
    if (err == 0)
        err = threads_remember(py, &found);
    if (err == 0) {
        if (found.len && cap)
            memcpy(threads, found.items, ac_min(cap, found.len) * sizeof *threads);
        *ret_count = found.len;
    }
    ahead_free(&ahead);
    ac_map_free(&found.seen);
    ac_free(found.items);
    return err;
}
