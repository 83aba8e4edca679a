/* engine.c - the Python object over struct ac_pool: one pool's tasks, workers, completions and deaths.
 *
 * It is kept alive by its executor, by the manager's thread and by every future that has not been settled, so
 * that results can still be read after the executor has gone. Every call that may block lets the GIL go. */
#include "ext/ext.h"
#include "ext/forker.h"
#include "ext/zygote.h"
#include "os/os.h"

#include <string.h>

struct ac__engine *ac__engine_check(struct ac__state *state, PyObject *object) {
    if (Py_IS_TYPE(object, state->engine_type))
        return (struct ac__engine *)object;
    PyErr_SetString(PyExc_TypeError, "an Engine is expected");
    return NULL;
}

static int read_fds(PyObject *fds, struct ac_pool_options *options) {
    Py_ssize_t count = PyTuple_GET_SIZE(fds);
    if (count > AC_POOL_SPAWN_FDS) {
        PyErr_Format(PyExc_ValueError, "initargs hold %zd file descriptors, at most %d can go to workers",
                     count, AC_POOL_SPAWN_FDS);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        options->fds[i] = (int)PyLong_AsLong(PyTuple_GET_ITEM(fds, i));
    options->fd_count = (int)count;
    return PyErr_Occurred() ? -1 : 0;
}

static int engine_open(struct ac__engine *engine, PyObject *zygote, PyObject *fds) {
    struct ac_pool_options options = {.respawn = true};
    if (read_fds(fds, &options) < 0)
        return -1;
    if (zygote != Py_None) {
        engine->zygote_object = Py_NewRef(zygote);
        options.spawn = ac_zygote_spawn;
        options.reap = ac_zygote_reap;
        options.spawn_arg = ac__zygote_handle(zygote);
    } else {
        engine->forker = ac__forker_new(&engine->pool);
        if (!engine->forker)
            return PyErr_NoMemory() ? 0 : -1;
        options.spawn = ac__forker_spawn;
        options.reap = ac__forker_reap;
        options.spawn_arg = engine->forker;
    }
    int error = ac_pool_create(&options, &engine->pool);
    return error < 0 && !ac__raise(error, "the pool's shared memory could not be made") ? -1 : 0;
}

static PyObject *engine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"zygote", "future_class", "errors", "reach", "fds", NULL};
    PyObject *zygote, *future_class, *errors, *reach, *fds;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO!:Engine", names, &zygote, &future_class, &errors,
                                     &reach, &PyTuple_Type, &fds))
        return NULL;
    struct ac__engine *engine = (struct ac__engine *)type->tp_alloc(type, 0);
    if (!engine)
        return NULL;
    engine->state = ac__state_of(type);
    engine->future_class = Py_NewRef(future_class);
    engine->errors = Py_NewRef(errors);
    engine->reach = Py_NewRef(reach);
    engine->watched = PyDict_New();
    if (zygote != Py_None && !Py_IS_TYPE(zygote, engine->state->zygote_type))
        PyErr_SetString(PyExc_TypeError, "zygote must be a Zygote or None");
    else if (engine->watched && engine_open(engine, zygote, fds) == 0)
        return (PyObject *)engine;
    Py_DECREF(engine);
    return NULL;
}

static int engine_clear(PyObject *self) {
    struct ac__engine *engine = (struct ac__engine *)self;
    Py_CLEAR(engine->watched);
    Py_CLEAR(engine->future_class);
    Py_CLEAR(engine->errors);
    Py_CLEAR(engine->reach);
    return 0;
}

static int engine_traverse(PyObject *self, visitproc visit, void *arg) {
    struct ac__engine *engine = (struct ac__engine *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(engine->watched);
    Py_VISIT(engine->future_class);
    Py_VISIT(engine->errors);
    Py_VISIT(engine->reach);
    return 0;
}

static void engine_dealloc(PyObject *self) {
    struct ac__engine *engine = (struct ac__engine *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    engine_clear(self);
    if (engine->forker)
        ac__forker_stop(engine->forker);
    Py_BEGIN_ALLOW_THREADS
    ac_pool_free(engine->pool);
    Py_END_ALLOW_THREADS
    ac__forker_free(engine->forker);
    Py_CLEAR(engine->zygote_object);
    type->tp_free(self);
    Py_DECREF(type);
}

/* --- tasks */

static int submit_error(struct ac__engine *engine, int error) {
    if (error == -ESHUTDOWN)
        PyErr_SetString(PyExc_RuntimeError, "cannot schedule new futures after shutdown");
    else if (error == -ECHILD)
        PyErr_SetString(PyExc_RuntimeError, "this pool belongs to the process that this one was forked from");
    else if (error == -ENOMEM)
        PyErr_SetString(PyExc_MemoryError, "no room for the arguments in the pool's shared memory");
    else if (error == -EPIPE) {
        PyObject *exception = PyObject_CallMethod(engine->errors, "broken", NULL);
        if (exception)
            PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_XDECREF(exception);
    } else
        ac__raise(error, "the task could not be queued");
    return -1;
}

int ac__engine_send(struct ac__engine *engine, struct ac__out *out, uint32_t items, bool more,
                    uint64_t *ret_ticket) {
    struct ac_task_out task = {
        .kind = out->kind, .count = out->count, .parts = out->parts, .items = items, .more = more};
    size_t total = 0;
    int error;
    for (uint32_t i = 0; i < out->count; i++)
        total += out->parts[i].size;
    if (total <= 16384) {
        error = ac_pool_submit(engine->pool, &task, ret_ticket);
    } else {
        Py_BEGIN_ALLOW_THREADS
        error = ac_pool_submit(engine->pool, &task, ret_ticket);
        Py_END_ALLOW_THREADS
    }
    if (out->began_ns)
        ac_add_relaxed(&engine->pickle_ns, ac_now_ns() - out->began_ns);
    return error < 0 ? submit_error(engine, error) : 0;
}

PyObject *ac__engine_unpickle(struct ac__engine *engine, const struct ac_message *message) {
    int64_t began = ac_now_ns();
    PyObject *value = ac__message_unpickle(engine->state, message);
    ac_add_relaxed(&engine->pickle_ns, ac_now_ns() - began);
    return value;
}

int ac__engine_watch(struct ac__engine *engine, uint64_t ticket, PyObject *future) {
    PyObject *key = PyLong_FromUnsignedLongLong(ticket);
    if (!key || PyDict_SetItem(engine->watched, key, future) < 0) {
        Py_XDECREF(key);
        return -1;
    }
    int over = ac_pool_notify(engine->pool, ticket) != 0;
    if (over && PyDict_DelItem(engine->watched, key) < 0)
        PyErr_Clear();
    Py_DECREF(key);
    return over;
}

void ac__engine_forget(struct ac__engine *engine, uint64_t ticket) {
    if (ac_pool_notify(engine->pool, ticket) != 0)
        ac_pool_release(engine->pool, ticket);
}

/* --- completions */

static void tell_one(struct ac__engine *engine, uint64_t ticket) {
    PyObject *key = PyLong_FromUnsignedLongLong(ticket);
    PyObject *future = key ? ac__dict_ref(engine->watched, key) : NULL;
    if (future) {
        if (PyDict_DelItem(engine->watched, key) < 0)
            PyErr_Clear();
        ac__future_settle(future);
        Py_DECREF(future);
    } else {
        ac_pool_release(engine->pool, ticket);
    }
    Py_XDECREF(key);
    if (PyErr_Occurred())
        PyErr_WriteUnraisable((PyObject *)engine);
}

static PyObject *engine_next_done(PyObject *self, PyObject *timeout) {
    struct ac__engine *engine = (struct ac__engine *)self;
    struct ac_done done[256];
    int64_t deadline;
    int count;
    if (ac__timeout_deadline(timeout, &deadline) < 0)
        return NULL;
    int64_t left = deadline < 0 ? -1 : ac__deadline_left(deadline);
    Py_BEGIN_ALLOW_THREADS
    count = ac_pool_next_done(engine->pool, done, (int)AC_COUNT(done), left);
    Py_END_ALLOW_THREADS
    for (int i = 0; i < count; i++)
        tell_one(engine, done[i].ticket);
    if (count < 0 && count != -ETIMEDOUT && count != -EINTR)
        return ac__raise(count, "waiting for results");
    return PyLong_FromLong(count < 0 ? 0 : count);
}

static PyObject *engine_next_death(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct ac_death death;
    if (ac_pool_next_death(((struct ac__engine *)self)->pool, &death) <= 0)
        Py_RETURN_NONE;
    return Py_BuildValue("(iiiiLiK)", (int)death.kind, death.worker, (int)death.pid, death.status,
                         (long long)death.rss_bytes, death.error, (unsigned long long)death.ticket);
}

/* --- workers */

static PyObject *engine_start(PyObject *self, PyObject *workers) {
    long count = PyLong_AsLong(workers);
    if (count == -1 && PyErr_Occurred())
        return NULL;
    int error = ac_pool_start(((struct ac__engine *)self)->pool, (int)count);
    if (error < 0)
        return ac__raise(error, "workers could not be started");
    Py_RETURN_NONE;
}

static PyObject *engine_shutdown(PyObject *self, PyObject *Py_UNUSED(none)) {
    ac_pool_shutdown(((struct ac__engine *)self)->pool);
    Py_RETURN_NONE;
}

static PyObject *engine_cancel_queued(PyObject *self, PyObject *all) {
    ac_pool_cancel_queued(((struct ac__engine *)self)->pool, all == Py_True);
    Py_RETURN_NONE;
}

static PyObject *engine_replace_no_worker(PyObject *self, PyObject *Py_UNUSED(none)) {
    ac_pool_set_respawn(((struct ac__engine *)self)->pool, false);
    Py_RETURN_NONE;
}

static PyObject *engine_break(PyObject *self, PyObject *Py_UNUSED(none)) {
    ac_pool_break(((struct ac__engine *)self)->pool);
    Py_RETURN_NONE;
}

static PyObject *engine_wake(PyObject *self, PyObject *Py_UNUSED(none)) {
    ac_pool_wake_done(((struct ac__engine *)self)->pool);
    Py_RETURN_NONE;
}

static PyObject *engine_join(PyObject *self, PyObject *timeout) {
    int64_t deadline;
    int error;
    if (ac__timeout_deadline(timeout, &deadline) < 0)
        return NULL;
    int64_t left = deadline < 0 ? -1 : ac__deadline_left(deadline);
    Py_BEGIN_ALLOW_THREADS
    error = ac_pool_join(((struct ac__engine *)self)->pool, left);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(error == 0);
}

static PyObject *engine_workers(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct ac_worker_info *infos = PyMem_Calloc(AC_POOL_WORKERS, sizeof *infos);
    if (!infos)
        return PyErr_NoMemory();
    int count = ac_pool_workers(((struct ac__engine *)self)->pool, infos, AC_POOL_WORKERS);
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < ac_min(count, (int)AC_POOL_WORKERS); i++) {
        PyObject *entry = Py_BuildValue(
            "(iiOOK)", infos[i].worker, (int)infos[i].pid, infos[i].attached ? Py_True : Py_False,
            infos[i].idle ? Py_True : Py_False, (unsigned long long)infos[i].tasks);
        if (!entry || PyList_Append(list, entry) < 0)
            Py_CLEAR(list);
        Py_XDECREF(entry);
    }
    PyMem_Free(infos);
    return list;
}

static PyObject *engine_kill(PyObject *self, PyObject *args) {
    int worker, signal;
    if (!PyArg_ParseTuple(args, "ii:kill", &worker, &signal))
        return NULL;
    return PyBool_FromLong(ac_pool_kill(((struct ac__engine *)self)->pool, worker, signal) == 0);
}

/* --- what every worker reads */

static PyObject *engine_share(PyObject *self, PyObject *args) {
    struct ac__engine *engine = (struct ac__engine *)self;
    Py_buffer bytes;
    uint64_t key;
    int kind;
    if (!PyArg_ParseTuple(args, "iy*:share", &kind, &bytes))
        return NULL;
    struct ac_part part = {bytes.buf, (size_t)bytes.len};
    int error = ac_pool_share(engine->pool, (uint16_t)kind, &part, 1, &key);
    PyBuffer_Release(&bytes);
    if (error == 0 && kind == KIND_CONFIG)
        error = ac_pool_set_config(engine->pool, key);
    return error < 0 ? ac__raise(error, "a function could not be shared with the workers")
                     : PyLong_FromUnsignedLongLong(key);
}

static PyObject *engine_stats(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct ac__engine *engine = (struct ac__engine *)self;
    struct ac_pool_stats s;
    ac_pool_stats(engine->pool, &s);
    return Py_BuildValue("{sKsKsKsKsKsKsKsKsKsKsKsKsKsLsLsLsL}", "submitted", s.submitted, "done", s.done,
                         "died", s.died, "corrupt", s.corrupt, "cancelled", s.cancelled, "queued", s.queued,
                         "running", s.running, "wakes", s.wakes, "deaths", s.deaths, "spawns", s.spawns,
                         "segment_bytes", s.segment_bytes, "bytes_in", s.bytes_in, "bytes_out", s.bytes_out,
                         "queue_ns", (long long)s.queue_ns, "pickle_ns",
                         (long long)(s.pickle_ns + ac_load_relaxed(&engine->pickle_ns)), "run_ns",
                         (long long)s.run_ns, "return_ns", (long long)s.return_ns);
}

static PyObject *engine_valid(PyObject *self, PyObject *Py_UNUSED(none)) {
    const char *wrong = ac_pool_valid(((struct ac__engine *)self)->pool);
    return wrong ? PyUnicode_FromString(wrong) : Py_NewRef(Py_None);
}

/* --- the fork context */

static PyObject *engine_fork_wanted(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct ac__forker *forker = ((struct ac__engine *)self)->forker;
    return PyBool_FromLong(forker && ac__forker_wanted(forker));
}

static PyObject *engine_fork_done(PyObject *self, PyObject *args) {
    int pid, pidfd;
    if (!PyArg_ParseTuple(args, "ii:fork_done", &pid, &pidfd))
        return NULL;
    ac__forker_answer(((struct ac__engine *)self)->forker, pid, pidfd);
    Py_RETURN_NONE;
}

static PyMemberDef engine_members[] = {
    {"submitted", T_ULONGLONG, offsetof(struct ac__engine, submitted), READONLY, "tasks handed in so far"},
    {"settled", T_ULONGLONG, offsetof(struct ac__engine, settled), READONLY,
     "futures whose outcome was taken"},
    {"reach", T_OBJECT, offsetof(struct ac__engine, reach), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef engine_methods[] = {
    {"next_done", engine_next_done, METH_O, "Settle futures that were waited for; returns how many."},
    {"next_death", engine_next_death, METH_NOARGS,
     "(kind, worker, pid, status, rss, error, ticket) or None."},
    {"start", engine_start, METH_O, "Ask for so many live workers."},
    {"shutdown", engine_shutdown, METH_NOARGS, "No new tasks; workers leave when the queue is empty."},
    {"cancel_queued", engine_cancel_queued, METH_O,
     "cancel_queued(all): cancel the tasks that no worker has taken; not all: but for the first ones, that "
     "free\n"
     "workers, and those that are being started, are about to take."},
    {"replace_no_worker", engine_replace_no_worker, METH_NOARGS,
     "From now on a worker that goes is not replaced."},
    {"join", engine_join, METH_O, "Wait until the workers are gone; False on timeout."},
    {"break_", engine_break, METH_NOARGS, "Fail whatever is not done."},
    {"wake", engine_wake, METH_NOARGS, "Make next_done return."},
    {"workers", engine_workers, METH_NOARGS, "[(worker, pid, attached, idle, tasks), ...]"},
    {"kill", engine_kill, METH_VARARGS, "Send worker (-1: all) a signal; False when it is gone."},
    {"share", engine_share, METH_VARARGS, "share(kind, data) -> key"},
    {"stats", engine_stats, METH_NOARGS, "Counters of the engine."},
    {"valid", engine_valid, METH_NOARGS, "None, or what is wrong with the shared memory."},
    {"fork_wanted", engine_fork_wanted, METH_NOARGS, "Whether the engine waits for fork_done."},
    {"fork_done", engine_fork_done, METH_VARARGS,
     "fork_done(pid, pidfd); a negative errno for pid when it failed."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject *ac__engine_type_make(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_new, engine_new},
        {Py_tp_dealloc, engine_dealloc},
        {Py_tp_traverse, engine_traverse},
        {Py_tp_clear, engine_clear},
        {Py_tp_methods, engine_methods},
        {Py_tp_members, engine_members},
        {Py_tp_doc, "One pool of workers over one piece of shared memory."},
        {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "allcores._ext.Engine",
        .basicsize = sizeof(struct ac__engine),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return ac__make_type(module, &spec, "Engine");
}
