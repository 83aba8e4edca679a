/* worker.c - the worker's loop: take a task, call, answer.
 *
 * Atoms in and out never leave C. Whatever happens in a call becomes an answer; the loop ends only by the
 * pool's word, by max_tasks, or by an exception of a signal's handler between two tasks. SIGINT between tasks
 * is nobody's. */
#include "ext/codec.h"
#include "ext/ext.h"
#include "ext/forker.h"
#include "ext/zygote.h"
#include "os/os.h"

#include <string.h>

struct worker {
    PyObject_HEAD struct ac__state *state;
    struct ac_worker *handle;
    PyObject *functions; /* key -> callable */
    PyObject *helper;    /* allcores._worker: describe(exception) -> bytes, resolve(name) */
    PyObject *fds;       /* tuple of descriptors that the pool handed on */
    PyObject *last;      /* the callable of last_key, borrowed from functions */
    uint64_t last_key;
    uint32_t calls; /* at most, of the chunk that runs */
    void *reserve;  /* untouched memory, given up while a MemoryError is described */
};

enum { RESERVE = 4 << 20 }; /* a few arenas of small objects */

static struct worker *of(PyObject *self) {
    return (struct worker *)self;
}

static PyObject *fds_of(const struct ac_spawn *spawn) {
    Py_ssize_t count = 0;
    while (count < AC_POOL_SPAWN_FDS && spawn->fds[count] >= 0)
        count++;
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple && i < count; i++)
        PyTuple_SET_ITEM(tuple, i, PyLong_FromLong(spawn->fds[i]));
    return tuple;
}

PyObject *ac__worker_attached(struct ac__state *state, const struct ac_spawn *spawn) {
    struct worker *worker = (struct worker *)state->worker_type->tp_alloc(state->worker_type, 0);
    if (!worker)
        return NULL;
    worker->state = state;
    worker->functions = PyDict_New();
    worker->fds = fds_of(spawn);
    int error = worker->functions && worker->fds ? ac_worker_attach(spawn, &worker->handle) : -ENOMEM;
    if (error == 0)
        return (PyObject *)worker;
    Py_DECREF((PyObject *)worker);
    return ac__raise(error, "attaching to the pool");
}

/* --- functions */

static PyObject *load_function(struct worker *worker, uint64_t key) {
    struct ac_message message;
    int error = ac_worker_shared(worker->handle, key, &message);
    if (error < 0)
        return ac__raise(error, "a function of the pool");
    PyObject *function = NULL;
    if (KIND_OF(&message) == KIND_BY_NAME)
        function = PyObject_CallMethod(worker->helper, "resolve", "s#", (const char *)message.parts[0].data,
                                       (Py_ssize_t)message.parts[0].size);
    else
        function = PyObject_CallMethod(worker->helper, "rebuild", "y#", (const char *)message.parts[0].data,
                                       (Py_ssize_t)message.parts[0].size);
    ac_message_clear(&message);
    return function;
}

/* Borrowed. */
static PyObject *function_of(struct worker *worker, uint64_t key) {
    if (key == worker->last_key && worker->last)
        return worker->last;
    PyObject *number = PyLong_FromUnsignedLongLong(key);
    PyObject *function = number ? ac__dict_ref(worker->functions, number) : NULL;
    if (number && !function && !PyErr_Occurred()) {
        function = load_function(worker, key);
        if (function && PyDict_SetItem(worker->functions, number, function) < 0)
            Py_CLEAR(function);
    }
    Py_XDECREF(number);
    if (!function)
        return NULL;
    Py_DECREF(function); /* the dict has it */
    worker->last = function;
    worker->last_key = key;
    return function;
}

static PyObject *unpickle(struct worker *worker, const struct ac_message *message) {
    int64_t began = ac_now_ns();
    PyObject *value = ac__message_unpickle(worker->state, message);
    ac_worker_pickling(worker->handle, began, ac_now_ns());
    return value;
}

/* --- answers */

static int finish(struct worker *worker, const struct ac__out *out) {
    int error;
    size_t total = 0;
    if (out->began_ns)
        ac_worker_pickling(worker->handle, out->began_ns, 0);
    for (uint32_t i = 0; i < out->count; i++)
        total += out->parts[i].size;
    if (total <= 16384)
        return ac_worker_finish(worker->handle, out->kind, out->parts, out->count);
    Py_BEGIN_ALLOW_THREADS
    error = ac_worker_finish(worker->handle, out->kind, out->parts, out->count);
    Py_END_ALLOW_THREADS
    return error;
}

static void answer_error(struct worker *worker, enum ac__kind kind);

static void answer_out(struct worker *worker, struct ac__out *out) {
    int error = finish(worker, out);
    ac__out_clear(out);
    if (error == -ENOMEM) {
        PyErr_SetString(PyExc_MemoryError, "no room for the result in the pool's shared memory");
        answer_error(worker, KIND_ERROR);
    }
}

/* The exception that is set, described; the last resort is an empty description. */
static PyObject *describe(struct worker *worker) {
    PyObject *exception = ac__exception_take();
    if (exception && PyErr_GivenExceptionMatches(exception, PyExc_MemoryError)) {
        PyMem_RawFree(worker->reserve);
        worker->reserve = NULL;
    }
    PyObject *bytes = exception ? PyObject_CallMethod(worker->helper, "describe", "O", exception) : NULL;
    Py_XDECREF(exception);
    if (!bytes || !PyBytes_Check(bytes)) {
        PyErr_Clear();
        Py_XDECREF(bytes);
        bytes = PyBytes_FromString("");
    }
    if (!worker->reserve)
        worker->reserve = PyMem_RawMalloc(RESERVE);
    return bytes;
}

static void answer_error(struct worker *worker, enum ac__kind kind) {
    struct ac__head head = {0};
    struct ac__out out;
    PyObject *bytes = describe(worker);
    size_t size = bytes ? (size_t)PyBytes_GET_SIZE(bytes) : 0;
    uint8_t *to = ac__out_one(&out, kind, &head, size);
    if (to) {
        if (size)
            memcpy(to, PyBytes_AS_STRING(bytes), size);
        if (finish(worker, &out) == -ENOMEM) { /* even that is too long: say nothing but that it failed */
            out.few[0].size = sizeof head;
            finish(worker, &out);
        }
        ac__out_clear(&out);
    }
    PyErr_Clear();
    Py_XDECREF(bytes);
}

/* The buffers are those of the arguments, each in its place. */
static bool returns_arguments(const struct ac__out *out, const struct ac_message *arguments) {
    bool same = out->view_count && out->count == out->view_count + 1 && out->count <= arguments->count;
    for (uint32_t i = 1; same && i < out->count; i++)
        same =
            out->parts[i].data == arguments->parts[i].data && out->parts[i].size == arguments->parts[i].size;
    return same;
}

/* Takes the reference to the value. A call that returns what it was given, changed or not, sends no byte of
 * it where nothing here refers to that any more. */
static void answer(struct worker *worker, PyObject *value, struct ac_message *arguments) {
    struct ac__head head = {.count = 1};
    struct ac__out out;
    size_t size = ac__atom_size(value);
    uint8_t *to = size ? ac__out_one(&out, KIND_ATOM, &head, size) : NULL;
    if (to)
        ac__atom_write(to, value);
    if (size ? !to : ac__out_pickle(worker->state, &out, KIND_PICKLE, &head, value, Py_None) < 0) {
        answer_error(worker, KIND_ERROR);
    } else if (returns_arguments(&out, arguments)) {
        ac__out_release(&out); /* the bytes stay: `arguments` refers to them */
        Py_CLEAR(value);
        ac_worker_pickling(worker->handle, out.began_ns, 0);
        if (ac_worker_give(worker->handle, out.kind, out.parts[0], out.count, arguments) < 0)
            answer_out(worker, &out);
        ac__out_clear(&out);
    } else {
        answer_out(worker, &out);
    }
    Py_XDECREF(value);
}

/* --- single calls */

enum { FEW = 8 };

static void drop(PyObject **values, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++)
        Py_XDECREF(values[i]);
}

static int read_values(struct ac__run *run, PyObject **values, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++)
        if (!(values[i] = ac__run_next(run))) {
            drop(values, i);
            return -1;
        }
    return 0;
}

static int open_run(const struct ac_message *message, struct ac__head *ret_head, struct ac__run *ret_run) {
    struct ac__span from;
    if (ac__message_head(message, ret_head, &from.at, &from.end) < 0 || ac__run_open(from, ret_run) < 0)
        return -1;
    if (ac__run_holds(ret_run, ret_head->count))
        return 0;
    PyErr_SetString(PyExc_ValueError, "allcores: damaged message in the pool's shared memory");
    return -1;
}

/* New references to the values of a call in *ret_values: `few`, or memory to be freed. */
static PyObject **values_of(const struct ac_message *message, struct ac__head *ret_head, PyObject **few) {
    struct ac__run run;
    if (open_run(message, ret_head, &run) < 0)
        return NULL;
    PyObject **values = ret_head->count <= FEW ? few : PyMem_Calloc(ret_head->count, sizeof *values);
    if (!values)
        PyErr_NoMemory();
    else if (read_values(&run, values, (Py_ssize_t)ret_head->count) < 0) {
        if (values != few)
            PyMem_Free(values);
        values = NULL;
    }
    ac__run_close(&run);
    return values;
}

static void run_call(struct worker *worker, struct ac_message *message) {
    struct ac__head head;
    PyObject *few[FEW];
    PyObject **values = values_of(message, &head, few);
    PyObject *function = values ? function_of(worker, head.key) : NULL;
    PyObject *result = NULL;
    if (function) {
        Py_INCREF(function);
        result = PyObject_Vectorcall(function, values, head.count, NULL);
        Py_DECREF(function);
    }
    if (result)
        answer(worker, result, message);
    else
        answer_error(worker, function ? KIND_ERROR : KIND_UNREADABLE);
    if (values)
        drop(values, (Py_ssize_t)head.count);
    if (values && values != few)
        PyMem_Free(values);
}

/* (args, kwargs) or (f, args, kwargs) -> what the call gives. *ret_called: the call was begun. */
static PyObject *call_pickled(struct worker *worker, const struct ac_message *message, bool *ret_called) {
    struct ac__head head;
    const uint8_t *at, *end;
    PyObject *function = NULL, *args, *kwargs, *result = NULL;
    if (ac__message_head(message, &head, &at, &end) < 0)
        return NULL;
    PyObject *value = unpickle(worker, message);
    bool good = value && PyTuple_Check(value) &&
                (head.key ? PyArg_ParseTuple(value, "O!O!:task", &PyTuple_Type, &args, &PyDict_Type, &kwargs)
                          : PyArg_ParseTuple(value, "OO!O!:task", &function, &PyTuple_Type, &args,
                                             &PyDict_Type, &kwargs));
    if (good && head.key)
        function = function_of(worker, head.key);
    if (good && function) {
        *ret_called = true;
        Py_INCREF(function);
        result = PyObject_Call(function, args, PyDict_GET_SIZE(kwargs) ? kwargs : NULL);
        Py_DECREF(function);
    }
    Py_XDECREF(value);
    return result;
}

static void run_pickled(struct worker *worker, struct ac_message *message) {
    bool called = false;
    PyObject *result = call_pickled(worker, message, &called);
    if (result)
        answer(worker, result, message);
    else
        answer_error(worker, called ? KIND_ERROR : KIND_UNREADABLE);
}

/* --- chunks of map */

/* (results so far, bytes of the error or None), where a run will not do. */
static void answer_list(struct worker *worker, PyObject **results, Py_ssize_t count, PyObject *error) {
    struct ac__head head = {.count = (uint32_t)count};
    struct ac__out out;
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++)
        PyList_SET_ITEM(list, i, Py_NewRef(results[i]));
    PyObject *pair = list ? PyTuple_Pack(2, list, error ? error : Py_None) : NULL;
    if (pair && ac__out_pickle(worker->state, &out, KIND_LIST, &head, pair, Py_None) == 0)
        answer_out(worker, &out);
    else
        answer_error(worker, KIND_ERROR);
    Py_XDECREF(pair);
    Py_XDECREF(list);
}

static void answer_results(struct worker *worker, PyObject **results, Py_ssize_t count) {
    struct ac__head head = {.count = (uint32_t)count};
    struct ac__out out;
    int packed = count ? ac__out_run(&out, KIND_RUN, &head, results, count) : 0;
    if (packed > 0)
        answer_out(worker, &out);
    else if (packed == 0)
        answer_list(worker, results, count, NULL);
    else
        answer_error(worker, KIND_ERROR);
}

/* What the calls of a chunk take: read when it is their turn, or rows that went by pickle, laid flat. */
struct arguments {
    struct ac__run *run; /* or NULL: `values` holds those of all calls, else of one */
    PyObject **values;
    Py_ssize_t arity;
};

/* What they gave. Ints of 64 bits are written at once, and become objects when something else comes. */
struct results {
    struct ac__out out;
    uint8_t *ints;      /* in `out`; NULL: */
    PyObject **objects; /* room for `wanted` */
    Py_ssize_t done, wanted;
};

static int results_init(struct results *results, Py_ssize_t wanted) {
    struct ac__head head = {.count = (uint32_t)wanted};
    results->objects = NULL;
    results->done = 0;
    results->wanted = wanted;
    results->ints = ac__out_one(&results->out, KIND_RUN, &head, AC__INTS_SIZE(wanted));
    return results->ints ? 0 : -1;
}

static void results_clear(struct results *results) {
    ac__out_clear(&results->out);
    if (results->objects)
        drop(results->objects, results->done);
    PyMem_Free(results->objects);
}

/* No longer ints only. */
static int results_open(struct results *results) {
    struct ac__span from = {results->ints, results->ints + AC__INTS_SIZE(results->done)};
    struct ac__run run;
    PyObject **objects = PyMem_Calloc((size_t)results->wanted + 1, sizeof *objects);
    if (!objects)
        return PyErr_NoMemory() ? 0 : -1;
    if (results->done && (ac__run_open(from, &run) < 0 || read_values(&run, objects, results->done) < 0)) {
        PyMem_Free(objects);
        return -1;
    }
    results->ints = NULL;
    results->objects = objects;
    ac__out_clear(&results->out);
    return 0;
}

/* Takes the reference. */
static int results_add(struct results *results, PyObject *result) {
    if (results->ints && ac__ints_put(results->ints, results->done, result)) {
        Py_DECREF(result);
    } else if (results->objects || results_open(results) == 0) {
        results->objects[results->done] = result;
    } else {
        Py_DECREF(result);
        return -1;
    }
    results->done++;
    return 0;
}

static PyObject *call_next(PyObject *function, const struct arguments *in, Py_ssize_t index) {
    if (!in->run)
        return PyObject_Vectorcall(function, in->values + index * in->arity, (size_t)in->arity, NULL);
    if (read_values(in->run, in->values, in->arity) < 0)
        return NULL;
    PyObject *result = PyObject_Vectorcall(function, in->values, (size_t)in->arity, NULL);
    drop(in->values, in->arity);
    return result;
}

/* Until a call fails. */
static void call_each(struct worker *worker, PyObject *function, const struct arguments *in,
                      struct results *results) {
    while (results->done < results->wanted) {
        PyObject *result = call_next(function, in, results->done);
        if (!result || results_add(results, result) < 0)
            return;
        ac_worker_progress(worker->handle,
                           (uint32_t)results->done); /* dies the next call, those before run elsewhere */
    }
}

static void answer_chunk(struct worker *worker, struct results *results) {
    bool whole = results->done == results->wanted;
    PyObject *error = whole ? NULL : describe(worker);
    if (whole && results->ints && results->done)
        answer_out(worker, &results->out);
    else if (whole)
        answer_results(worker, results->objects, results->done);
    else if (error && (results->objects || results_open(results) == 0))
        answer_list(worker, results->objects, results->done, error);
    else
        answer_error(worker, KIND_ERROR);
    Py_XDECREF(error);
}

static void run_chunk(struct worker *worker, PyObject *function, const struct arguments *in,
                      const struct ac__head *head) {
    struct results results;
    if (results_init(&results, (Py_ssize_t)ac_min(head->count, worker->calls)) < 0) {
        answer_error(worker, KIND_ERROR);
        return;
    }
    Py_INCREF(function);
    call_each(worker, function, in, &results);
    Py_DECREF(function);
    answer_chunk(worker, &results);
    results_clear(&results);
}

static void run_map(struct worker *worker, const struct ac_message *message) {
    struct ac__head head = {0};
    struct ac__run run = {0};
    PyObject *few[FEW], *function = NULL;
    struct arguments in = {&run, few, 0};
    if (open_run(message, &head, &run) == 0)
        function = function_of(worker, head.key);
    if (function && head.arity > FEW && !(in.values = PyMem_Calloc(head.arity, sizeof *in.values))) {
        PyErr_NoMemory();
        function = NULL;
    }
    in.arity = (Py_ssize_t)head.arity;
    if (function)
        run_chunk(worker, function, &in, &head);
    else
        answer_error(worker, KIND_UNREADABLE);
    ac__run_close(&run);
    if (in.values != few)
        PyMem_Free(in.values);
}

/* Rows that went by pickle, laid flat: borrowed from `rows`. NULL with an exception. */
static PyObject **flatten(PyObject *rows, const struct ac__head *head) {
    PyObject **values = PyMem_Calloc((size_t)head->count * head->arity + 1, sizeof *values);
    bool good = PyList_Check(rows) && PyList_GET_SIZE(rows) == (Py_ssize_t)head->count;
    for (uint32_t i = 0; values && good && i < head->count; i++) {
        PyObject *row = PyList_GET_ITEM(rows, i);
        if (head->arity == 1) {
            values[i] = row;
            continue;
        }
        good = PyTuple_Check(row) && PyTuple_GET_SIZE(row) == (Py_ssize_t)head->arity;
        for (uint32_t j = 0; good && j < head->arity; j++)
            values[i * head->arity + j] = PyTuple_GET_ITEM(row, j);
    }
    if (good && values)
        return values;
    PyMem_Free(values);
    PyErr_SetString(PyExc_ValueError, "allcores: damaged message in the pool's shared memory");
    return NULL;
}

static void run_map_pickled(struct worker *worker, const struct ac_message *message) {
    struct ac__head head = {0};
    const uint8_t *at, *end;
    PyObject *value = NULL, *rows = NULL, *function = NULL, **values = NULL;
    if (ac__message_head(message, &head, &at, &end) == 0)
        value = unpickle(worker, message);
    if (value && head.key) {
        rows = value;
        function = function_of(worker, head.key);
    } else if (value && !PyArg_ParseTuple(value, "OO:chunk", &function, &rows)) {
        function = NULL;
    }
    if (function)
        values = flatten(rows, &head);
    struct arguments in = {NULL, values, (Py_ssize_t)head.arity};
    if (values)
        run_chunk(worker, function, &in, &head);
    else
        answer_error(worker, KIND_UNREADABLE);
    PyMem_Free(values);
    Py_XDECREF(value);
}

/* --- the loop */

static void run_task(struct worker *worker, struct ac_task_in *task) {
    worker->calls = task->items;
    switch ((int)KIND_OF(&task->message)) {
    case KIND_CALL: run_call(worker, &task->message); break;
    case KIND_CALL_PICKLE: run_pickled(worker, &task->message); break;
    case KIND_MAP: run_map(worker, &task->message); break;
    case KIND_MAP_PICKLE: run_map_pickled(worker, &task->message); break;
    default:
        PyErr_SetString(PyExc_ValueError, "allcores: damaged message in the pool's shared memory");
        answer_error(worker, KIND_UNREADABLE);
    }
    ac_message_clear(&task->message);
}

static int next_task(struct worker *worker, struct ac_task_in *ret_task) {
    int error = ac_worker_next(worker->handle, 0, ret_task);
    if (error != -ETIMEDOUT)
        return error;
    Py_BEGIN_ALLOW_THREADS
    error = ac_worker_next(worker->handle, -1, ret_task);
    Py_END_ALLOW_THREADS
    return error;
}

/* 0, or -1 with an exception that ends the worker. */
static int look_at_signals(void) {
    if (PyErr_CheckSignals() == 0)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return -1;
    PyErr_Clear();
    return 0;
}

static PyObject *worker_run(PyObject *self, PyObject *args) {
    long long most;
    struct ac_task_in task;
    if (!PyArg_ParseTuple(args, "OL:run", &of(self)->helper, &most))
        return NULL;
    Py_INCREF(of(self)->helper);
    of(self)->reserve = PyMem_RawMalloc(RESERVE);
    for (long long done = 0; !most || done < most;) {
        int error = next_task(of(self), &task);
        if (error == 0) {
            run_task(of(self), &task);
            done++;
        } else if (error == -EINTR) {
            if (look_at_signals() < 0)
                return NULL;
        } else if (error == -ESHUTDOWN) {
            break;
        } else {
            return ac__raise(error, "waiting for a task");
        }
    }
    Py_RETURN_NONE;
}

static PyObject *worker_config(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct ac_message message;
    int error = ac_worker_config(of(self)->handle, &message);
    if (error < 0)
        return ac__raise(error, "the pool's configuration");
    PyObject *bytes = PyBytes_FromStringAndSize(message.parts[0].data, (Py_ssize_t)message.parts[0].size);
    ac_message_clear(&message);
    return bytes;
}

static PyObject *worker_leave(PyObject *self, PyObject *Py_UNUSED(none)) {
    ac_worker_free(of(self)->handle);
    of(self)->handle = NULL;
    Py_RETURN_NONE;
}

static PyObject *worker_id(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyLong_FromLong(ac_worker_id(of(self)->handle));
}

static int worker_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(of(self)->functions);
    Py_VISIT(of(self)->helper);
    return 0;
}

static int worker_clear(PyObject *self) {
    of(self)->last = NULL;
    Py_CLEAR(of(self)->functions);
    Py_CLEAR(of(self)->helper);
    Py_CLEAR(of(self)->fds);
    return 0;
}

static void worker_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    worker_clear(self);
    PyMem_RawFree(of(self)->reserve);
    type->tp_free(self); /* the handle stays: leaving is said by leave(), else it counts as a crash */
    Py_DECREF(type);
}

static PyMemberDef worker_members[] = {
    {"fds", T_OBJECT, offsetof(struct worker, fds), READONLY, "descriptors that the pool handed on"},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef worker_methods[] = {
    {"run", worker_run, METH_VARARGS, "run(helper, max_tasks): serve until the pool ends; 0: no limit."},
    {"config", worker_config, METH_NOARGS, "The bytes that the pool gave to all workers."},
    {"leave", worker_leave, METH_NOARGS, "Leave in order; the process should exit soon."},
    {"id", worker_id, METH_NOARGS, "This worker's number in its pool."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject *ac__worker_type_make(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, worker_dealloc},
        {Py_tp_traverse, worker_traverse},
        {Py_tp_clear, worker_clear},
        {Py_tp_methods, worker_methods},
        {Py_tp_members, worker_members},
        {Py_tp_doc, "A worker process's end of a pool."},
        {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "allcores._ext.Worker",
        .basicsize = sizeof(struct worker),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                 Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return ac__make_type(module, &spec, NULL);
}
