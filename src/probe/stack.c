/* stack.c - consistent stacks of running threads, with few system calls and without stopping them.
 *
 * A stack that is walked pointer by pointer while it changes is torn more often than not. So the reader keeps
 * a plan per thread, the pieces of memory ("windows") that the last walk needed: on 3.11+ the top of the
 * thread's data stack chunk, on every version the frames that lie elsewhere (generators, entry frames on the
 * C stack, every frame up to 3.10). One process_vm_readv for all threads asked for then reads, for each
 * thread, its tstate, its windows, its tstate again. A stack counts only when
 *   - both copies of the tstate name the same current frame, and
 *   - the walk finds every frame in that one read, each plausible (aligned, known owner, a real code object,
 * an instruction inside that code object). When a frame is missing, it is looked for, which mends the plan,
 * and the whole thread is read anew; after ATTEMPTS_MAX the stack is dropped and counted as torn.
 *
 * What remains is a change during the copy of one window, which takes about a microsecond.
 */
#include <string.h>

#include "probe/reader.h"

#define ATTEMPTS_MAX 8
#define PLANS_MAX    4096u
#define WALK_MAX     8192u /* frames; what is beyond is cut off */
#define WINDOWS_MAX  1024u /* of one thread */
#define IDLE_MAX     16u   /* walks that a window may go unused */
#define CHUNK_BYTES  16384u
#define WINDOW_MAX   16384u /* of merged frames */
#define MERGE_GAP    1024u
#define CHUNK_SLACK  1024u
#define BUFFER_MAX   (8u << 20) /* read at once */
#define CFRAME_BYTES 16u
#define LEAF_FRAMES  150u /* kept of a stack deeper than AC_MAX_DEPTH, besides its root end */

enum outcome {
    WALKED,
    NO_FRAME,
    MISSING, /* a frame that no window holds */
    MOVED,   /* changed while it was read, or not plausible */
    FAILED
};

/* --- plans */

static void plan_clear(struct ac_plan *plan) {
    ac_free(plan->windows);
    memset(plan, 0, sizeof *plan);
}

static void plans_clear(struct ac_plans *plans) {
    for (size_t i = 0; i < plans->len; i++)
        plan_clear(&plans->items[i]);
    plans->len = 0;
    ac_map_clear(&plans->index);
}

void ac__plans_free(struct ac_plans *plans) {
    plans_clear(plans);
    ac_free(plans->items);
    ac_map_free(&plans->index);
    ac_free(plans->local);
    ac_free(plans->remote);
    ac_free(plans->ok);
    ac_free(plans->buffer);
    ac_free(plans->frames);
}

static int plan_of(struct ac_plans *plans, uint64_t tstate, uint32_t *ret_plan) {
    if (ac_map_get(&plans->index, tstate, ret_plan))
        return 0;
    int err = ac_grow(&plans->items, &plans->cap, plans->len + 1, sizeof *plans->items);
    if (err == 0)
        err = ac_map_put(&plans->index, tstate, (uint32_t)plans->len);
    if (err < 0)
        return err;
    memset(&plans->items[plans->len], 0, sizeof *plans->items);
    plans->items[plans->len].tstate = tstate;
    *ret_plan = (uint32_t)plans->len++;
    return 0;
}

static int window_add(struct ac_plan *plan, uint64_t from, uint32_t size, struct ac_window **ret_window) {
    if (plan->len >= WINDOWS_MAX)
        return -EAGAIN;
    int err = ac_grow(&plan->windows, &plan->cap, plan->len + 1, sizeof *plan->windows);
    if (err < 0)
        return err;
    *ret_window = &plan->windows[plan->len++];
    **ret_window = (struct ac_window){.from = from, .size = size};
    return 0;
}

/* Frames that lie close together are read as one; less than a page between them cannot be a hole. */
static bool window_merge(struct ac_window *into, const struct ac_window *window) {
    uint64_t from = ac_min(into->from, window->from);
    uint64_t to = ac_max(into->from + into->size, window->from + window->size);
    if (into->chunk || window->chunk || to - from > WINDOW_MAX ||
        to - from > (uint64_t)into->size + window->size + MERGE_GAP)
        return false;
    into->from = from;
    into->size = (uint32_t)(to - from);
    into->idle = ac_min(into->idle, window->idle);
    return true;
}

/* After a walk: windows shrink to what it used, and those long unused go. */
static void plan_trim(struct ac_plan *plan) {
    size_t kept = 0;
    for (size_t i = 0; i < plan->len; i++) {
        struct ac_window window = plan->windows[i];
        window.idle = window.used_to ? 0 : (uint8_t)(window.idle + 1);
        if (!window.chunk && window.used_to) {
            window.from += window.used_from;
            window.size = window.used_to - window.used_from;
        }
        bool keep = window.chunk || window.idle <= IDLE_MAX;
        if (keep && !(kept && window_merge(&plan->windows[kept - 1], &window)))
            plan->windows[kept++] = window;
    }
    plan->len = kept;
}

/* --- one read for many threads */

static int range_add(struct ac_plans *plans, uint64_t from, size_t size, size_t *ret_at) {
    int err = ac_grow(&plans->local, &plans->local_cap, plans->count + 1, sizeof *plans->local);
    if (err == 0)
        err = ac_grow(&plans->remote, &plans->remote_cap, plans->count + 1, sizeof *plans->remote);
    if (err == 0)
        err = ac_grow(&plans->ok, &plans->ok_cap, plans->count + 1, sizeof *plans->ok);
    if (err < 0)
        return err;
    /* The buffer may still move: its offset for now, the address in ranges_read(). */
    plans->local[plans->count] = (struct iovec){NULL, size};
    plans->remote[plans->count] = (struct iovec){(void *)(uintptr_t)from, size};
    plans->count++;
    *ret_at = plans->buffer_len;
    plans->buffer_len += (size + 7) & ~(size_t)7;
    return 0;
}

static int ranges_read(struct ac_py *py) {
    struct ac_plans *plans = &py->plans;
    int err = ac_grow(&plans->buffer, &plans->buffer_cap, plans->buffer_len, 1);
    if (err < 0)
        return err;
    uint8_t *at = plans->buffer;
    for (size_t i = 0; i < plans->count; i++) {
        plans->local[i].iov_base = at;
        at += (plans->local[i].iov_len + 7) & ~(size_t)7;
    }
    return ac__read_ranges(py->pid, plans->local, plans->remote, plans->ok, plans->count);
}

static uint32_t tstate_bytes(const struct ac_layout *layout) {
    uint32_t end = layout->tstate_frame + 8;
    if (layout->tstate_chunk != AC_OFFSET_NONE)
        end = ac_max(end, layout->tstate_chunk + 24);
    if (layout->tstate_state != AC_OFFSET_NONE)
        end = ac_max(end, layout->tstate_state + 4);
    return end;
}

/* The tstate and, on 3.11 and 3.12, just behind it the _PyCFrames that it is likely to point to. */
static int plan_add_state(struct ac_py *py, struct ac_plan *plan, size_t *ret_at) {
    size_t at;
    int err = range_add(&py->plans, plan->tstate, py->plans.tstate_bytes, ret_at);
    for (size_t i = 0; err == 0 && i < AC_CFRAMES && plan->cframes[i]; i++)
        err = range_add(&py->plans, plan->cframes[i], CFRAME_BYTES, &at);
    return err;
}

static int plan_add(struct ac_py *py, struct ac_plan *plan) {
    int err = plan_add_state(py, plan, &plan->before);
    for (size_t i = 0; err == 0 && i < plan->len; i++) {
        struct ac_window *window = &plan->windows[i];
        window->used_from = window->used_to = 0;
        err = range_add(&py->plans, window->from, window->size, &window->at);
    }
    return err < 0 ? err : plan_add_state(py, plan, &plan->after);
}

static void plan_note_state(const bool *ok, struct ac_plan *plan, size_t *range) {
    plan->state_read &= ok[(*range)++];
    for (size_t i = 0; i < AC_CFRAMES && plan->cframes[i]; i++)
        plan->cframe_read[i] &= ok[(*range)++];
}

/* Tell each plan which of its ranges were read; the same order as plan_add(). */
static void plan_note(struct ac_py *py, struct ac_plan *plan, size_t *range) {
    const bool *ok = py->plans.ok;
    plan->state_read = true;
    for (size_t i = 0; i < AC_CFRAMES; i++)
        plan->cframe_read[i] = plan->cframes[i] != 0;
    plan_note_state(ok, plan, range);
    for (size_t i = 0; i < plan->len; i++)
        plan->windows[i].read = ok[(*range)++];
    plan_note_state(ok, plan, range);
}

/* --- one thread's walk in the local copy */

/* The frame that a copy of the tstate names. On 3.11 and 3.12 it is in a _PyCFrame, which must be a planned
 * one. */
static bool current_frame(const struct ac_py *py, const struct ac_plan *plan, size_t at,
                          uint64_t *ret_frame) {
    const uint8_t *state = py->plans.buffer + at;
    *ret_frame = ac__u64(state + py->layout.tstate_frame);
    if (py->layout.cframe_frame == AC_OFFSET_NONE || *ret_frame == 0)
        return true;
    size_t i = 0;
    while (i < AC_CFRAMES && plan->cframes[i] != *ret_frame)
        i++;
    if (i == AC_CFRAMES || !plan->cframe_read[i])
        return false;
    const uint8_t *cframe = state + ((py->plans.tstate_bytes + 7u) & ~7u) + i * CFRAME_BYTES;
    *ret_frame = ac__u64(cframe + py->layout.cframe_frame);
    return true;
}

static struct ac_window *window_of(struct ac_plan *plan, uint64_t address, uint32_t size, size_t hint) {
    for (size_t i = 0; i < plan->len; i++) { /* callers lie in the same or the next window, mostly */
        struct ac_window *window = &plan->windows[(hint + i) % plan->len];
        if (window->read && address >= window->from && address - window->from + size <= window->size)
            return window;
    }
    return NULL;
}

static void window_use(struct ac_window *window, uint64_t address, uint32_t size) {
    uint32_t from = (uint32_t)(address - window->from);
    if (window->used_to == 0 || from < window->used_from)
        window->used_from = from;
    window->used_to = ac_max(window->used_to, from + size);
}

/* Does the frame belong to Python code, rather than mark an entry from C? *ret_sane: false for garbage. */
static bool frame_is_code(const struct ac_layout *layout, const uint8_t *bytes, bool *ret_sane) {
    *ret_sane = true;
    if (layout->frame_owner == AC_OFFSET_NONE)
        return true;
    uint8_t owner = bytes[layout->frame_owner];
    *ret_sane = owner <= (layout->minor == 14 ? 4 : layout->minor == 11 ? 2 : 3);
    return owner < 3;
}

static int frame_push(struct ac_plans *plans, const struct ac_layout *layout, uint64_t address,
                      const uint8_t *bytes) {
    int err = ac_grow(&plans->frames, &plans->frame_cap, plans->frame_count + 1, sizeof *plans->frames);
    if (err < 0)
        return err;
    struct ac_stack_frame *frame = &plans->frames[plans->frame_count++];
    *frame = (struct ac_stack_frame){.address = address};
    frame->code = ac__u64(bytes + layout->frame_code) & ~UINT64_C(7); /* 3.14+: the low bits are tags */
    frame->instr = layout->minor <= 10 ? (uint64_t)(uint32_t)ac__i32(bytes + layout->frame_instr)
                                       : ac__u64(bytes + layout->frame_instr);
    if (layout->frame_tlbc != AC_OFFSET_NONE)
        frame->copy = ac__i32(bytes + layout->frame_tlbc);
    return 0;
}

/* From `frame` on, through the windows. *ret_missing: the address that no window holds. */
static int frames_walk(struct ac_py *py, struct ac_plan *plan, uint64_t frame, uint64_t *ret_missing) {
    struct ac_plans *plans = &py->plans;
    const struct ac_layout *layout = &py->layout;
    plans->frame_count = 0;
    size_t hint = 0;
    for (size_t steps = 0; frame && steps < WALK_MAX; steps++) {
        struct ac_window *window = window_of(plan, frame, layout->frame_size, hint);
        if (!window) {
            *ret_missing = frame;
            return MISSING;
        }
        hint = (size_t)(window - plan->windows);
        window_use(window, frame, layout->frame_size);
        const uint8_t *bytes = plans->buffer + window->at + (frame - window->from);
        bool sane;
        if (frame_is_code(layout, bytes, &sane)) {
            int err = frame_push(plans, layout, frame, bytes);
            if (err < 0)
                return err;
            sane = sane && ac__is_pointer(plans->frames[plans->frame_count - 1].code);
        }
        frame = ac__u64(bytes + layout->frame_back);
        if (!sane || (frame && !ac__is_pointer(frame)))
            return MOVED;
    }
    return plans->frame_count ? WALKED : NO_FRAME;
}

static int plan_walk(struct ac_py *py, struct ac_plan *plan, uint64_t *ret_missing) {
    uint64_t before, after;
    *ret_missing = 0;
    if (!plan->state_read)
        return FAILED;
    if (!current_frame(py, plan, plan->before, &before) || !current_frame(py, plan, plan->after, &after))
        return MISSING;
    if (before != after)
        return MOVED;
    if (before == 0)
        return NO_FRAME;
    return ac__is_pointer(before) ? frames_walk(py, plan, before, ret_missing) : MOVED;
}

/* --- mending a plan */

/* The top of the data stack chunk, from the tstate's fresh copy: at most CHUNK_BYTES below the top, and some
 * slack above, all of it inside the chunk. */
static int plan_chunk(struct ac_py *py, struct ac_plan *plan) {
    const uint8_t *at = py->plans.buffer + plan->after + py->layout.tstate_chunk;
    uint64_t chunk = ac__u64(at), top = ac__u64(at + 8), limit = ac__u64(at + 16);
    if (!ac__is_pointer(chunk) || top < chunk || limit < top)
        return 0; /* none yet */
    uint64_t from = top - chunk > CHUNK_BYTES ? top - CHUNK_BYTES : chunk;
    uint64_t to = ac_min(limit, top + CHUNK_SLACK);
    struct ac_window *window = NULL;
    for (size_t i = 0; i < plan->len && !window; i++)
        if (plan->windows[i].chunk)
            window = &plan->windows[i];
    int err = window ? 0 : window_add(plan, from, 0, &window);
    if (err < 0)
        return err;
    window->chunk = true;
    window->read = false;
    window->from = from;
    window->size = (uint32_t)(to - from);
    return 0;
}

/* A window around a frame that was not planned. On 3.11+ its callers are likely to lie just below it. */
static int plan_frame(struct ac_py *py, struct ac_plan *plan, uint64_t frame) {
    uint32_t size = py->layout.frame_size;
    struct ac_window *window;
    uint64_t from = frame;
    if (py->layout.frame_owner != AC_OFFSET_NONE)
        from = frame & ~UINT64_C(4095);
    int err = window_add(plan, from, (uint32_t)(frame - from) + size, &window);
    if (err < 0)
        return err;
    struct ac_plans *plans = &py->plans;
    window->at = plans->buffer_len;
    plans->buffer_len += (window->size + 7u) & ~7u;
    err = ac_grow(&plans->buffer, &plans->buffer_cap, plans->buffer_len, 1);
    if (err == 0)
        err = ac_vm_read(py->pid, window->from, plans->buffer + window->at, window->size);
    if (err < 0)
        plan->len--;
    window->read = err == 0;
    return err;
}

static void plan_cframe(struct ac_plan *plan, uint64_t cframe) {
    if (cframe == 0 || cframe == plan->cframes[0])
        return;
    memmove(plan->cframes + 1, plan->cframes, (AC_CFRAMES - 1) * sizeof *plan->cframes);
    plan->cframes[0] = cframe;
}

/* Follow the stack as it is now, frame by frame, only to learn where it lies. */
static int plan_mend(struct ac_py *py, struct ac_plan *plan, uint64_t missing) {
    const struct ac_layout *layout = &py->layout;
    if (layout->cframe_frame != AC_OFFSET_NONE)
        plan_cframe(plan, ac__u64(py->plans.buffer + plan->after + layout->tstate_frame));
    int err = layout->tstate_chunk == AC_OFFSET_NONE ? 0 : plan_chunk(py, plan);
    if (!missing)
        return err; /* 3.11, 3.12: the _PyCFrame comes with the next read */
    for (size_t i = 0; err == 0 && missing && i < WINDOWS_MAX; i++) {
        bool in_chunk = false; /* comes with the next read, in one piece */
        for (size_t k = 0; k < plan->len; k++)
            in_chunk |= plan->windows[k].chunk && !plan->windows[k].read &&
                        missing >= plan->windows[k].from &&
                        missing - plan->windows[k].from < plan->windows[k].size;
        if (in_chunk)
            return 0;
        err = plan_frame(py, plan, missing);
        uint64_t next = 0;
        if (err == 0 && frames_walk(py, plan, missing, &next) != MISSING)
            return 0;
        missing = next;
    }
    return err;
}

/* --- answers */

/* Of where each frame is and what it runs: by function, too, since what was freed lends its address to
 * others. */
static int fingerprint_of(struct ac_py *py, struct ac_profile *profile, uint64_t *ret_hash) {
    const struct ac_plans *plans = &py->plans;
    uint64_t hash = plans->frame_count, code = 0;
    uint32_t item = 0, func = 0;
    for (size_t i = 0; i < plans->frame_count; i++) {
        const struct ac_stack_frame *frame = &plans->frames[i];
        if (frame->code != code) {
            int err = ac__code_get(py, profile, frame->code, &item);
            if (err < 0)
                return err;
            code = frame->code;
            func = py->codes.items[item].func;
        }
        hash = ac_hash_mix(hash, frame->address);
        hash = ac_hash_mix(hash, frame->code ^ (frame->instr << 20 | frame->instr >> 44));
        hash = ac_hash_mix(hash, func);
    }
    *ret_hash = hash ? hash : 1;
    return 0;
}

/* The profile's frame for one frame; for the leaf, its function and kind too. */
static int frame_symbol(struct ac_py *py, struct ac_profile *profile, const struct ac_stack_frame *frame,
                        struct ac_py_stack_request *leaf, uint32_t *ret_frame) {
    uint32_t item;
    int64_t offset;
    int err = ac__code_get(py, profile, frame->code, &item);
    if (err == 0)
        err = ac__code_offset(py, item, frame->instr, frame->copy, &offset);
    if (err == 0)
        err = ac__code_frame(py, profile, item, offset, ret_frame);
    if (err == 0 && leaf) {
        leaf->leaf_func = py->codes.items[item].func;
        leaf->kind = (uint8_t)ac__code_kind(py, item, offset);
    }
    return err;
}

/* Stands for the middle of a stack that is too deep to keep. */
static int omitted_frame(struct ac_profile *profile, uint32_t *ret_frame) {
    uint32_t func;
    int err = ac_profile_func(profile, "[...]", "", 0, &func);
    return err < 0 ? err : ac_profile_frame(profile, func, 0, ret_frame);
}

static int stack_intern(struct ac_py *py, struct ac_profile *profile, struct ac_py_stack_request *request) {
    struct ac_plans *plans = &py->plans;
    uint32_t frames[AC_MAX_DEPTH];
    size_t count = plans->frame_count, kept = 0, i = 0;
    while (i < count) {
        int err;
        if (count > AC_MAX_DEPTH && kept == LEAF_FRAMES) {
            err = omitted_frame(profile, &frames[kept++]);
            i = count - (AC_MAX_DEPTH - kept);
        } else {
            err = frame_symbol(py, profile, &plans->frames[i++], kept == 0 ? request : NULL, &frames[kept]);
            kept += err == 0 && frames[kept] != AC_SHIM;
        }
        if (err < 0)
            return err;
    }
    return ac_profile_stack(profile, frames, kept, &request->node);
}

static int request_answer(struct ac_py *py, struct ac_profile *profile, struct ac_py_stack_request *request) {
    uint64_t fingerprint;
    int err = fingerprint_of(py, profile, &fingerprint);
    request->leaf_frame = py->plans.frames[0].address;
    if (err == 0 && request->fingerprint == fingerprint)
        return 1;
    if (err == 0)
        err = stack_intern(py, profile, request);
    if (err == 0)
        request->fingerprint = fingerprint;
    else
        request->fingerprint = 0;
    return err;
}

static bool is_attached(const struct ac_py *py, const struct ac_plan *plan) {
    return py->layout.tstate_state != AC_OFFSET_NONE &&
           ac__i32(py->plans.buffer + plan->after + py->layout.tstate_state) == 1;
}

/* Result of one attempt. -EINPROGRESS: try again. */
static int request_try(struct ac_py *py, struct ac_profile *profile, struct ac_plan *plan,
                       struct ac_py_stack_request *request) {
    uint64_t missing;
    int outcome = plan_walk(py, plan, &missing), err;
    switch (outcome) {
    case WALKED:
        plan_trim(plan);
        request->attached = is_attached(py, plan);
        err = request_answer(py, profile, request);
        return err == 0 || err == 1 || err == -ENOMEM ? err : -EINPROGRESS;
    case NO_FRAME: request->attached = is_attached(py, plan); return -ENODATA;
    case FAILED: return -EFAULT;
    case MISSING:
        err = plan_mend(py, plan, missing);
        return err == -ENOMEM || err == -ESRCH ? err : -EINPROGRESS;
    case MOVED: return -EINPROGRESS;
    default: return outcome; /* a negative errno */
    }
}

/* One read and one try for the requests that are still open; as many as fit the buffer. */
static int requests_round(struct ac_py *py, struct ac_profile *profile, struct ac_py_stack_request *requests,
                          size_t count, size_t *ret_done) {
    struct ac_plans *plans = &py->plans;
    size_t n = 0, range = 0;
    int err = 0;
    plans->count = plans->buffer_len = 0;
    for (; err == 0 && n < count && plans->buffer_len < BUFFER_MAX; n++) {
        uint32_t plan;
        if (requests[n].result != -EINPROGRESS)
            continue;
        err = plan_of(plans, requests[n].tstate, &plan);
        if (err == 0)
            err = plan_add(py, &plans->items[plan]);
    }
    if (err == 0 && plans->count)
        err = ranges_read(py);
    for (size_t i = 0; err == 0 && i < n; i++) {
        uint32_t plan;
        if (requests[i].result != -EINPROGRESS || !ac_map_get(&plans->index, requests[i].tstate, &plan))
            continue;
        plan_note(py, &plans->items[plan], &range);
    }
    for (size_t i = 0; err == 0 && i < n; i++) {
        uint32_t plan;
        if (requests[i].result != -EINPROGRESS || !ac_map_get(&plans->index, requests[i].tstate, &plan))
            continue;
        requests[i].result = request_try(py, profile, &plans->items[plan], &requests[i]);
        if (requests[i].result == -ENOMEM || requests[i].result == -ESRCH)
            err = requests[i].result;
    }
    *ret_done = n;
    return err;
}

int ac_py_stacks(struct ac_py *py, struct ac_profile *profile, struct ac_py_stack_request *requests,
                 size_t count) {
    int err = 0;
    py->plans.tstate_bytes = tstate_bytes(&py->layout);
    if (py->plans.len > PLANS_MAX)
        plans_clear(&py->plans);
    for (size_t i = 0; i < count; i++) {
        requests[i].result = ac__is_pointer(requests[i].tstate) ? -EINPROGRESS : -EFAULT;
        requests[i].node = requests[i].leaf_func = 0;
        requests[i].leaf_frame = 0;
        requests[i].kind = AC_KIND_NONE;
        requests[i].attached = false;
    }
    for (int attempt = 0; err == 0 && attempt < ATTEMPTS_MAX; attempt++)
        for (size_t at = 0, done; err == 0 && at < count; at += done)
            err = requests_round(py, profile, requests + at, count - at, &done);
    for (size_t i = 0; i < count; i++) {
        if (requests[i].result == -EINPROGRESS)
            requests[i].result = err ? err : -EAGAIN;
        py->torn += requests[i].result == -EAGAIN;
        py->failed += requests[i].result == -EFAULT;
    }
    return err;
}
