/* outcome.c - waiting for a ticket and turning what came of it into a value or an exception. */
#include "ext/codec.h"
#include "ext/ext.h"
#include "os/os.h"

int ac__timeout_deadline(PyObject *timeout, int64_t *ret_deadline) {
    if (!timeout || timeout == Py_None) {
        *ret_deadline = -1;
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(seconds > 0))
        seconds = 0;
    *ret_deadline = seconds > 1e9 ? -1 : ac_now_ns() + (int64_t)(seconds * 1e9);
    return 0;
}

int64_t ac__deadline_left(int64_t deadline_ns) {
    int64_t left = deadline_ns - ac_now_ns();
    return left > 0 ? left : 0;
}

int ac__ticket_wait(struct ac__engine *engine, uint64_t ticket, int64_t deadline_ns) {
    int error = ac_pool_wait(engine->pool, ticket, 0);
    while (error == -ETIMEDOUT || error == -EINTR) {
        int64_t left = deadline_ns < 0 ? -1 : ac__deadline_left(deadline_ns);
        if (error == -EINTR && PyErr_CheckSignals() < 0)
            return -1;
        if (!left)
            return 1;
        Py_BEGIN_ALLOW_THREADS
        error = ac_pool_wait(engine->pool, ticket, left);
        Py_END_ALLOW_THREADS
        if (error == -ETIMEDOUT)
            return 1;
    }
    return 0;
}

static PyObject *bytes_after_head(const struct ac_message *message) {
    struct ac__head head;
    const uint8_t *at, *end;
    if (ac__message_head(message, &head, &at, &end) < 0)
        return NULL;
    return PyBytes_FromStringAndSize((const char *)at, end - at);
}

/* engine->errors.<method>(the bytes of the message) */
static PyObject *error_of(struct ac__engine *engine, const struct ac_message *message, const char *method) {
    PyObject *bytes = bytes_after_head(message);
    PyObject *exception = bytes ? PyObject_CallMethod(engine->errors, method, "O", bytes) : NULL;
    Py_XDECREF(bytes);
    return exception;
}

static PyObject *died(struct ac__engine *engine, const struct ac_result *result, uint64_t key) {
    const struct ac_death *death = &result->death;
    return PyObject_CallMethod(engine->errors, "died", "iiLiKi", (int)death->pid, death->status,
                               (long long)death->rss_bytes, death->out_of_memory, (unsigned long long)key,
                               result->state == AC_TASK_CORRUPT);
}

PyObject *ac__outcome_unreadable(struct ac__engine *engine) {
    PyObject *cause = ac__exception_take();
    PyObject *exception = PyObject_CallMethod(engine->errors, "unreadable_result", "O", cause);
    Py_XDECREF(cause);
    return exception;
}

static int value_of(struct ac__engine *engine, const struct ac_message *message, PyObject **ret_value) {
    struct ac__head head;
    struct ac__span from;
    switch ((int)KIND_OF(message)) {
    case KIND_ATOM:
        *ret_value = ac__message_head(message, &head, &from.at, &from.end) < 0 ? NULL : ac__atom_read(&from);
        return 0;
    case KIND_PICKLE: *ret_value = ac__engine_unpickle(engine, message); return 0;
    case KIND_ERROR: *ret_value = error_of(engine, message, "raised"); return 1;
    case KIND_UNREADABLE: *ret_value = error_of(engine, message, "unreadable_task"); return 1;
    default:
        PyErr_SetString(PyExc_ValueError, "allcores: damaged message in the pool's shared memory");
        *ret_value = NULL;
        return 0;
    }
}

int ac__outcome_of(struct ac__engine *engine, struct ac_result *result, uint64_t key, PyObject **ret_value) {
    int kind = 1;
    *ret_value = NULL;
    switch (result->state) {
    case AC_TASK_DONE: kind = value_of(engine, &result->message, ret_value); break;
    case AC_TASK_CANCELLED: return 2;
    case AC_TASK_DIED:
    case AC_TASK_CORRUPT: *ret_value = died(engine, result, key); break;
    default: *ret_value = PyObject_CallMethod(engine->errors, "broken", NULL); break;
    }
    if (*ret_value)
        return kind;
    *ret_value = kind ? ac__exception_take() : ac__outcome_unreadable(engine);
    if (!*ret_value)
        *ret_value = ac__exception_take();
    return 1;
}

int ac__outcome_take(struct ac__engine *engine, uint64_t ticket, uint64_t key, PyObject **ret_value) {
    struct ac_result result;
    int error = ac_pool_take(engine->pool, ticket, &result);
    if (error < 0) {
        ac__raise(error, "taking a result");
        *ret_value = ac__exception_take();
        return 1;
    }
    int kind = ac__outcome_of(engine, &result, key, ret_value);
    ac_message_clear(&result.message);
    ac_pool_release(engine->pool, ticket);
    ac_add_relaxed(&engine->settled, 1);
    return kind;
}
