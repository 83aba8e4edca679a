/* rlock.c - the RLock that a thread waits for, and who has it. (A Lock does not say who has it.)
 *
 * A thread that waits in `with lock` or lock.acquire() has the lock, or a bound method of it, among the
 * variables of its leaf frame or on that frame's evaluation stack. Up to 3.13 a lock sleeps in a semaphore
 * that the object points to, so the futex tells which of several it is. From 3.14 on a waiter sleeps in a
 * semaphore of its own: what it waits for is the topmost lock on the stack, which some other thread has.
 *
 * Up to 3.13 an RLock is a lock, its owner and a count; since then a mutex, its owner and a level. */
#include <string.h>

#include "probe/reader.h"

enum { SLOTS_MAX = 256, AT_ONCE = 32, HEADER_MAX = 72, BODY = 24, TYPE_NAME = 32 };
enum { BODY_LOCK = 0, BODY_OWNER = 8, BODY_COUNT = 16, METHOD_SELF = 8 };

struct object {
    uint8_t bytes[HEADER_MAX + BODY];
    bool read;
};

/* What it waits for. */
struct wanted {
    uint64_t uaddr, self;
};

static const uint8_t *body_of(const struct ac_py *py, const struct object *object) {
    return object->bytes + py->layout.object_type + 8;
}

static enum ac__lock_type type_named(const struct ac_py *py, uint64_t type) {
    static const char *const names[] = {[AC__TYPE_RLOCK] = "_thread.RLock",
                                        [AC__TYPE_LOCK] = "_thread.lock",
                                        [AC__TYPE_METHOD] = "builtin_function_or_method"};
    char text[TYPE_NAME] = "";
    uint64_t name;
    if (ac__read_u64(py, type + py->layout.type_name, &name) < 0)
        return AC__TYPE_OTHER;
    for (size_t i = 1; i < AC_COUNT(names); i++)
        if (ac_vm_read(py->pid, name, text, strlen(names[i]) + 1) == 0 && strcmp(text, names[i]) == 0)
            return (enum ac__lock_type)i;
    return AC__TYPE_OTHER;
}

static enum ac__lock_type type_of(struct ac_py *py, const struct object *object) {
    uint64_t type = ac__u64(object->bytes + py->layout.object_type);
    if (!object->read || !ac__is_pointer(type))
        return AC__TYPE_OTHER;
    struct ac__lock_types *known = &py->lock_types;
    for (size_t i = 0; i < AC_COUNT(known->types); i++)
        if (known->types[i] == type)
            return known->what[i];
    size_t at = known->next++ % AC_COUNT(known->types);
    known->types[at] = type;
    return known->what[at] = type_named(py, type);
}

/* Objects at `addresses`; those that are none, or not there, are not read. */
static int read_objects(const struct ac_py *py, const uint64_t *addresses, size_t count,
                        struct object *objects) {
    struct iovec local[AT_ONCE] = {{0}}, remote[AT_ONCE] = {{0}};
    size_t which[AT_ONCE] = {0}, n = 0;
    bool ok[AT_ONCE] = {false};
    for (size_t i = 0; i < count; i++) {
        objects[i].read = false;
        if (!ac__is_pointer(addresses[i]))
            continue;
        which[n] = i;
        local[n] = (struct iovec){objects[i].bytes, py->layout.object_type + 8 + BODY};
        remote[n++] = (struct iovec){(void *)(uintptr_t)addresses[i], py->layout.object_type + 8 + BODY};
    }
    int err = ac__read_ranges(py->pid, local, remote, ok, n);
    for (size_t i = 0; err == 0 && i < n; i++)
        objects[which[i]].read = ok[i];
    return err;
}

/* 0: nobody. */
static uint64_t owner_in(const struct ac_py *py, const struct object *rlock) {
    const uint8_t *body = body_of(py, rlock);
    bool held = py->layout.minor >= 14 || ac__u64(body + BODY_COUNT) > 0;
    return held ? ac__u64(body + BODY_OWNER) : 0;
}

static bool is_wanted(const struct ac_py *py, const struct object *rlock, const struct wanted *wanted) {
    if (py->layout.minor <= 13)
        return ac__u64(body_of(py, rlock) + BODY_LOCK) == wanted->uaddr;
    uint64_t owner = owner_in(py, rlock);
    return owner != 0 && owner != wanted->self;
}

/* The RLock that the object is or is a method of, when it is the one; else 0. *ret_other: a Lock is. */
static uint64_t rlock_at(struct ac_py *py, uint64_t address, struct object *object,
                         const struct wanted *wanted, bool *ret_other) {
    enum ac__lock_type type = type_of(py, object);
    if (type == AC__TYPE_METHOD) {
        address = ac__u64(body_of(py, object) + METHOD_SELF);
        if (read_objects(py, &address, 1, object) < 0)
            return 0;
        type = type_of(py, object);
    }
    *ret_other = type == AC__TYPE_LOCK && py->layout.minor >= 14;
    return type == AC__TYPE_RLOCK && is_wanted(py, object, wanted) ? address : 0;
}

/* The slots that may hold it: of the variables and the evaluation stack behind them; from 3.14 on, where the
 * stack's top is known, only what is on the stack: the lock is the topmost there. */
static int slots_of(const struct ac_py *py, uint64_t frame, uint64_t *ret_from, uint64_t *ret_count) {
    const struct ac_layout *layout = &py->layout;
    uint64_t code, top = 0;
    int32_t sizes[3]; /* stack size, first line, variables */
    *ret_from = frame + layout->frame_locals;
    if (layout->minor <= 10)
        return ac__read_u64(py, frame + layout->object_type + 8, ret_count); /* ob_size */
    int err = ac__read_u64(py, frame + layout->frame_code, &code);
    if (err == 0)
        err = ac_vm_read(py->pid, (code & ~UINT64_C(7)) + layout->code_first_line - 4, sizes, sizeof sizes);
    if (err == 0 && layout->frame_stack != AC_OFFSET_NONE)
        err = ac__read_u64(py, frame + layout->frame_stack, &top);
    if (err < 0 || sizes[0] < 0 || sizes[2] < 0)
        return err < 0 ? err : -EFAULT;
    *ret_count = (uint64_t)sizes[0];
    if (layout->frame_stack == AC_OFFSET_NONE) {
        *ret_count += (uint64_t)sizes[2];
        return 0;
    }
    *ret_from += 8 * (uint64_t)sizes[2];
    *ret_count = top > *ret_from ? ac_min((top - *ret_from) / 8, *ret_count) : 0;
    return 0;
}

int ac_py_rlock(struct ac_py *py, uint64_t frame, uint64_t uaddr, uint64_t self, uint64_t *ret_lock) {
    uint64_t slots[SLOTS_MAX];
    struct object objects[AT_ONCE];
    struct wanted wanted = {uaddr, self};
    uint64_t from, all = 0;
    if (!ac__is_pointer(frame))
        return -ENOENT;
    int err = slots_of(py, frame, &from, &all);
    size_t count = (size_t)ac_min(all, (uint64_t)SLOTS_MAX);
    if (err == 0 && count)
        err = ac_vm_read(py->pid, from, slots, count * sizeof *slots);
    for (size_t i = 0; err == 0 && i < count; i++)
        slots[i] &= ~UINT64_C(7); /* 3.14+: the low bits are tags */
    while (err == 0 && count) {
        size_t now = ac_min(count, (size_t)AT_ONCE);
        count -= now;
        err = read_objects(py, slots + count, now, objects);
        bool other = false;
        for (size_t i = now; err == 0 && !other && i-- > 0;)
            if (objects[i].read && (*ret_lock = rlock_at(py, slots[count + i], &objects[i], &wanted, &other)))
                return 0;
        err = other ? -ENOENT : err;
    }
    return err < 0 ? err : -ENOENT;
}

int ac_py_rlock_owner(struct ac_py *py, uint64_t lock, uint64_t *ret_pthread_id) {
    struct object object;
    int err = read_objects(py, &lock, 1, &object);
    if (err < 0)
        return err;
    *ret_pthread_id = type_of(py, &object) == AC__TYPE_RLOCK ? owner_in(py, &object) : 0;
    return *ret_pthread_id ? 0 : -ENOENT;
}
