/* future.c - FutureCore: a future whose outcome stands in the pool's shared memory until somebody asks.
 *
 * allcores.Future joins it with concurrent.futures.Future, whose __init__ never runs: no Condition is made
 * unless something needs one (wait, as_completed). Rules:
 *   - While `ticket` is set, the engine knows the state. Whoever first sees that it is over settles: takes
 * the ticket (under the object's lock), unpickles, and finishes.
 *   - Once a _condition was handed out, _state changes only under it, as wait() and as_completed() rely on;
 * the future is then in engine->watched and the manager's thread settles it, unless result() comes first.
 *   - A future that is dropped lets its task run.
 * The attributes that concurrent.futures' own functions touch are properties over this struct. */
#include "ext/ext.h"

#include <unistd.h>

struct future {
    PyObject_HEAD struct ac__engine
        *engine; /* while ticket is set; NULL in a future that somebody made by hand */
    uint64_t ticket, key;
    enum ac__future_state state;
    bool watched;
    PyObject *result, *exception;
    PyObject *condition, *waiters, *callbacks; /* NULL until asked for */
};

static struct future *of(PyObject *self) {
    return (struct future *)self;
}

static struct ac__state *state_of(PyObject *self) {
    return PyModule_GetState(PyType_GetModuleByDef(Py_TYPE(self), &ac__module));
}

PyObject *ac__future_new(struct ac__engine *engine, uint64_t ticket, uint64_t key) {
    PyTypeObject *type = (PyTypeObject *)engine->future_class;
    PyObject *self = type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    of(self)->engine = (struct ac__engine *)Py_NewRef((PyObject *)engine);
    of(self)->ticket = ticket;
    of(self)->key = key;
    return self;
}

PyObject *ac__future_failed(struct ac__engine *engine, PyObject *exception) {
    PyTypeObject *type = (PyTypeObject *)engine->future_class;
    PyObject *self = type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    of(self)->state = FUTURE_FINISHED;
    of(self)->exception = Py_NewRef(exception);
    return self;
}

/* --- finishing */

static int call(PyObject *object, const char *method) {
    PyObject *result = PyObject_CallMethod(object, method, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static void unraisable(PyObject *self) {
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(self);
}

/* Takes the references over; false when the future was finished already (by set_result, say). */
static bool store(PyObject *self, enum ac__future_state state, PyObject *result, PyObject *exception) {
    bool first = false;
    AC_LOCK(self);
    struct future *f = of(self);
    if (f->state == FUTURE_PENDING || f->state == FUTURE_RUNNING || f->state == FUTURE_SETTLING) {
        f->result = result;
        f->exception = exception;
        f->state = state;
        first = true;
    }
    AC_UNLOCK(self);
    if (!first) {
        Py_XDECREF(result);
        Py_XDECREF(exception);
    }
    return first;
}

static void tell_waiters(PyObject *self, enum ac__future_state state, bool failed) {
    const char *method = state != FUTURE_FINISHED ? "add_cancelled" : failed ? "add_exception" : "add_result";
    PyObject *waiters = of(self)->waiters;
    for (Py_ssize_t i = 0; waiters && i < PyList_GET_SIZE(waiters); i++) {
        PyObject *told = PyObject_CallMethod(PyList_GET_ITEM(waiters, i), method, "O", self);
        Py_XDECREF(told);
        unraisable(self);
    }
}

static void finish(PyObject *self, enum ac__future_state state, PyObject *result, PyObject *exception) {
    bool failed = exception != NULL, first;
    PyObject *condition = NULL;
    AC_LOCK(self);
    condition = Py_XNewRef(of(self)->condition);
    if (!condition)
        first = store(self, state, result, exception);
    AC_UNLOCK(self);
    if (condition) {
        bool locked = call(condition, "acquire") == 0;
        first = store(self, state, result, exception);
        if (first)
            tell_waiters(self, state, failed);
        if (locked && (call(condition, "notify_all") < 0 || call(condition, "release") < 0))
            unraisable(self);
        unraisable(self);
        Py_DECREF(condition);
    }
    if (first && of(self)->callbacks && PyList_GET_SIZE(of(self)->callbacks) > 0 &&
        call(self, "_invoke_callbacks") < 0)
        unraisable(self);
}

/* Another thread is unpickling: it will not take long. */
static int wait_settled(PyObject *self) {
    useconds_t pause = 10;
    while (of(self)->state == FUTURE_SETTLING) {
        Py_BEGIN_ALLOW_THREADS
        usleep(pause);
        Py_END_ALLOW_THREADS
        pause = pause < 1000 ? pause * 2 : pause;
        if (PyErr_CheckSignals() < 0)
            return -1;
    }
    return 0;
}

/* The engine says that it is over. 0, or -1 with the exception of a signal's handler. */
static int settle(PyObject *self) {
    struct future *f = of(self);
    struct ac__engine *engine = NULL;
    uint64_t ticket = 0;
    PyObject *value;
    AC_LOCK(self);
    if (f->ticket) {
        ticket = f->ticket;
        engine = f->engine;
        f->ticket = 0;
        f->engine = NULL;
        if (f->state == FUTURE_PENDING || f->state == FUTURE_RUNNING)
            f->state = FUTURE_SETTLING;
    }
    AC_UNLOCK(self);
    if (!ticket)
        return wait_settled(self);
    int kind = ac__outcome_take(engine, ticket, f->key, &value);
    if (kind == 2)
        finish(self, FUTURE_NOTIFIED, NULL, NULL);
    else
        finish(self, FUTURE_FINISHED, kind == 0 ? value : NULL, kind == 1 ? value : NULL);
    Py_DECREF((PyObject *)engine);
    return 0;
}

void ac__future_settle(PyObject *self) {
    if (settle(self) < 0)
        unraisable(self);
}

/* What the engine says now; settles what is over. */
static int look(PyObject *self, enum ac__future_state *ret_state) {
    struct future *f = of(self);
    enum ac_task_state state = AC_TASK_QUEUED;
    int error = 0;
    AC_LOCK(self);
    if (f->ticket)
        error = ac_pool_state(f->engine->pool, f->ticket, &state);
    AC_UNLOCK(self);
    if ((error < 0 || state >= AC_TASK_DONE || f->state == FUTURE_SETTLING) && settle(self) < 0)
        return -1;
    *ret_state = f->state == FUTURE_PENDING && state == AC_TASK_RUNNING ? FUTURE_RUNNING : f->state;
    return 0;
}

/* --- waiting */

static PyObject *parse_timeout(PyObject *const *args, Py_ssize_t count, PyObject *names, const char *method) {
    Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
    if (count + named > 1)
        PyErr_Format(PyExc_TypeError, "%s() takes at most 1 argument (%zd given)", method, count + named);
    else if (named && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "timeout") != 0)
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method,
                     PyTuple_GET_ITEM(names, 0));
    else
        return count + named ? args[0] : Py_None;
    return NULL;
}

/* Until it is over. 0; 1: it is a hand-made future, which concurrent.futures' own method waits for; -1. */
static int wait_over(PyObject *self, PyObject *timeout) {
    struct future *f = of(self);
    struct ac__engine *engine = NULL;
    uint64_t ticket;
    int64_t deadline = -1;
    int error = 0;
    AC_LOCK(self);
    ticket = f->ticket;
    engine = ticket ? (struct ac__engine *)Py_NewRef((PyObject *)f->engine) : NULL;
    AC_UNLOCK(self);
    if (engine) {
        error = ac__timeout_deadline(timeout, &deadline) < 0 ? -1 : ac__ticket_wait(engine, ticket, deadline);
        Py_DECREF((PyObject *)engine);
        if (error > 0)
            PyErr_SetNone(PyExc_TimeoutError);
        return error ? -1 : settle(self);
    }
    if (f->state == FUTURE_SETTLING)
        return wait_settled(self);
    return f->state == FUTURE_PENDING || f->state == FUTURE_RUNNING;
}

static PyObject *raise_cancelled(void) {
    PyObject *cancelled = NULL;
    if (ac__import(&cancelled, "concurrent.futures", "CancelledError"))
        PyErr_SetNone(cancelled);
    Py_XDECREF(cancelled);
    return NULL;
}

static PyObject *inherited(const char *method, PyObject *self, PyObject *timeout) {
    PyObject *base = NULL, *result = NULL;
    if (ac__import(&base, "concurrent.futures", "Future"))
        result = PyObject_CallMethod(base, method, "OO", self, timeout);
    Py_XDECREF(base);
    return result;
}

static PyObject *raise_stored(PyObject *exception) {
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    return NULL;
}

static PyObject *future_result(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    struct future *f = of(self);
    if (f->state != FUTURE_FINISHED) {
        PyObject *timeout = parse_timeout(args, count, names, "result");
        int over = !timeout                                                      ? -1
                   : f->state == FUTURE_CANCELLED || f->state == FUTURE_NOTIFIED ? 0
                                                                                 : wait_over(self, timeout);
        if (over)
            return over > 0 ? inherited("result", self, timeout) : NULL;
        if (f->state != FUTURE_FINISHED)
            return raise_cancelled();
    }
    return f->exception && f->exception != Py_None ? raise_stored(f->exception)
                                                   : Py_NewRef(f->result ? f->result : Py_None);
}

static PyObject *future_exception(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    struct future *f = of(self);
    PyObject *timeout = parse_timeout(args, count, names, "exception");
    int over = !timeout                                                      ? -1
               : f->state >= FUTURE_CANCELLED && f->state <= FUTURE_FINISHED ? 0
                                                                             : wait_over(self, timeout);
    if (over)
        return over > 0 ? inherited("exception", self, timeout) : NULL;
    if (f->state != FUTURE_FINISHED)
        return raise_cancelled();
    return Py_NewRef(f->exception ? f->exception : Py_None);
}

/* --- asking */

static PyObject *future_done(PyObject *self, PyObject *Py_UNUSED(none)) {
    enum ac__future_state state;
    return look(self, &state) < 0 ? NULL
                                  : PyBool_FromLong(state >= FUTURE_CANCELLED && state <= FUTURE_FINISHED);
}

static PyObject *future_running(PyObject *self, PyObject *Py_UNUSED(none)) {
    enum ac__future_state state;
    return look(self, &state) < 0 ? NULL : PyBool_FromLong(state == FUTURE_RUNNING);
}

static PyObject *future_cancelled(PyObject *self, PyObject *Py_UNUSED(none)) {
    enum ac__future_state state;
    return look(self, &state) < 0 ? NULL
                                  : PyBool_FromLong(state == FUTURE_CANCELLED || state == FUTURE_NOTIFIED);
}

static PyObject *future_cancel(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct future *f = of(self);
    int error = -EBUSY;
    AC_LOCK(self);
    if (f->ticket)
        error = ac_pool_cancel(f->engine->pool, f->ticket);
    AC_UNLOCK(self);
    if (error == 0 && settle(self) < 0)
        return NULL;
    if (!f->ticket && f->state == FUTURE_PENDING) { /* made by hand */
        finish(self, FUTURE_CANCELLED, NULL, NULL);
        Py_RETURN_TRUE;
    }
    return future_cancelled(self, NULL);
}

/* --- being told */

static int watch(PyObject *self) {
    struct future *f = of(self);
    struct ac__engine *engine = NULL;
    uint64_t ticket = 0;
    AC_LOCK(self);
    if (f->ticket && !f->watched) {
        f->watched = true;
        ticket = f->ticket;
        engine = (struct ac__engine *)Py_NewRef((PyObject *)f->engine);
    }
    AC_UNLOCK(self);
    if (!engine)
        return 0;
    int over = ac__engine_watch(engine, ticket, self);
    Py_DECREF((PyObject *)engine);
    return over > 0 ? settle(self) : over;
}

static PyObject *future_add_done_callback(PyObject *self, PyObject *callback) {
    struct future *f = of(self);
    bool pending = false;
    int error = 0;
    AC_LOCK(self);
    pending = f->state == FUTURE_PENDING || f->state == FUTURE_RUNNING || f->state == FUTURE_SETTLING;
    if (pending && !f->callbacks)
        f->callbacks = PyList_New(0);
    if (pending)
        error = f->callbacks ? PyList_Append(f->callbacks, callback) : -1;
    AC_UNLOCK(self);
    if (error < 0)
        return NULL;
    if (pending)
        return watch(self) < 0 ? NULL : Py_NewRef(Py_None);
    PyObject *result = PyObject_CallOneArg(callback, self);
    if (!result && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
        result = PyObject_CallMethod(self, "_callback_failed", "O", callback);
    }
    if (!result)
        return NULL;
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* --- attributes that concurrent.futures' own functions use */

static PyObject *get_condition(PyObject *self, void *Py_UNUSED(closure)) {
    struct future *f = of(self);
    if (!f->condition) {
        PyObject *class = ac__import(&state_of(self)->condition_class, "threading", "Condition");
        PyObject *condition = class ? PyObject_CallNoArgs(class) : NULL;
        if (!condition)
            return NULL;
        AC_LOCK(self);
        if (!f->condition)
            f->condition = Py_NewRef(condition);
        AC_UNLOCK(self);
        Py_DECREF(condition);
        if (watch(self) < 0)
            return NULL;
    }
    return Py_NewRef(f->condition);
}

static PyObject *get_state(PyObject *self, void *Py_UNUSED(closure)) {
    enum ac__future_state state = of(self)->state;
    if (!of(self)->condition && state != FUTURE_FINISHED && look(self, &state) < 0)
        return NULL;
    return Py_NewRef(state_of(self)->state_names[state == FUTURE_SETTLING ? FUTURE_RUNNING : state]);
}

static int set_state(PyObject *self, PyObject *value, void *Py_UNUSED(closure)) {
    struct ac__state *state = state_of(self);
    for (int i = 0; value && i < FUTURE_SETTLING; i++)
        if (PyUnicode_Check(value) && PyUnicode_Compare(value, state->state_names[i]) == 0) {
            of(self)->state = (enum ac__future_state)i;
            return 0;
        }
    PyErr_SetString(PyExc_ValueError, "not the state of a future");
    return -1;
}

static PyObject *get_list(PyObject *self, PyObject **list) {
    PyObject *made = NULL;
    if (!*list && !(made = PyList_New(0)))
        return NULL;
    AC_LOCK(self);
    if (!*list)
        *list = Py_XNewRef(made);
    AC_UNLOCK(self);
    Py_XDECREF(made);
    return Py_NewRef(*list);
}

static PyObject **slot_of(PyObject *self, void *offset) {
    return (PyObject **)((char *)self + (size_t)offset);
}

static PyObject *get_slot_list(PyObject *self, void *offset) {
    return get_list(self, slot_of(self, offset));
}

static PyObject *get_slot(PyObject *self, void *offset) {
    PyObject *value = *slot_of(self, offset);
    return Py_NewRef(value ? value : Py_None);
}

static int set_slot(PyObject *self, PyObject *value, void *offset) {
    PyObject *old = *slot_of(self, offset);
    *slot_of(self, offset) = Py_XNewRef(value);
    Py_XDECREF(old);
    return 0;
}

#define SLOT(field) ((void *)offsetof(struct future, field))

static PyGetSetDef future_attributes[] = {
    {"_condition", get_condition, set_slot, NULL, SLOT(condition)},
    {"_state", get_state, set_state, NULL, NULL},
    {"_waiters", get_slot_list, set_slot, NULL, SLOT(waiters)},
    {"_done_callbacks", get_slot_list, set_slot, NULL, SLOT(callbacks)},
    {"_result", get_slot, set_slot, NULL, SLOT(result)},
    {"_exception", get_slot, set_slot, NULL, SLOT(exception)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef future_methods[] = {
    {"result", (PyCFunction)(void (*)(void))future_result, METH_FASTCALL | METH_KEYWORDS,
     "result($self, timeout=None)\n--\n\nThe call's result, waiting `timeout` seconds at most.\n\n"
     "Raises what the call raised, CancelledError, TimeoutError, or WorkerDied where its process died."},
    {"exception", (PyCFunction)(void (*)(void))future_exception, METH_FASTCALL | METH_KEYWORDS,
     "exception($self, timeout=None)\n--\n\nThe exception that the call raised, or None."},
    {"done", future_done, METH_NOARGS, "done($self)\n--\n\nWhether it was cancelled or has finished."},
    {"running", future_running, METH_NOARGS, "running($self)\n--\n\nWhether a worker has it now."},
    {"cancelled", future_cancelled, METH_NOARGS, "cancelled($self)\n--\n\nWhether it was cancelled."},
    {"cancel", future_cancel, METH_NOARGS,
     "cancel($self)\n--\n\nCancel it if no worker has taken it; returns whether it is cancelled."},
    {"add_done_callback", future_add_done_callback, METH_O,
     "add_done_callback($self, fn)\n--\n\nCall fn(self) when it is over: in the pool's own thread, or now."},
    {NULL, NULL, 0, NULL},
};

static int future_traverse(PyObject *self, visitproc visit, void *arg) {
    struct future *f = of(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)f->engine);
    Py_VISIT(f->result);
    Py_VISIT(f->exception);
    Py_VISIT(f->condition);
    Py_VISIT(f->waiters);
    Py_VISIT(f->callbacks);
    return 0;
}

static int future_clear(PyObject *self) {
    struct future *f = of(self);
    Py_CLEAR(f->result);
    Py_CLEAR(f->exception);
    Py_CLEAR(f->condition);
    Py_CLEAR(f->waiters);
    Py_CLEAR(f->callbacks);
    return 0;
}

static void future_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    struct future *f = of(self);
    PyObject_GC_UnTrack(self);
    if (f->ticket)
        ac__engine_forget(f->engine, f->ticket);
    Py_XDECREF((PyObject *)f->engine);
    future_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyTypeObject *ac__future_type_make(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, future_dealloc},
        {Py_tp_traverse, future_traverse},
        {Py_tp_clear, future_clear},
        {Py_tp_methods, future_methods},
        {Py_tp_getset, future_attributes},
        {Py_tp_new, PyType_GenericNew},
        {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "allcores._ext.FutureCore",
        .basicsize = sizeof(struct future),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return ac__make_type(module, &spec, "FutureCore");
}
