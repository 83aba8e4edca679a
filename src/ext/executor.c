/* executor.c - ExecutorCore: submit() of the pool's executor, without Python in between.
 *
 * allcores._executor.ProcessPoolExecutor derives from it and has everything that is not done for each task:
 * _begin() makes the engine, _share(fn) decides how a function travels. */
#include "ext/codec.h"
#include "ext/ext.h"
#include "ext/map.h"

struct executor {
    PyObject_HEAD PyObject *engine; /* NULL until the first task */
    PyObject *functions; /* callable -> key, for those whose meaning cannot change under the same identity */
    int started, max_workers;
};

static struct executor *of(PyObject *self) {
    return (struct executor *)self;
}

/* The engine, made at the first task. Borrowed. */
static struct ac__engine *engine_of(PyObject *self) {
    if (!of(self)->engine || of(self)->engine == Py_None) {
        PyObject *result = PyObject_CallMethod(self, "_begin", NULL);
        Py_XDECREF(result);
        if (!result)
            return NULL;
    }
    return ac__engine_check(ac__state_of(Py_TYPE(of(self)->engine)), of(self)->engine);
}

/* One more worker where more tasks are under way than there are workers. What could not be pickled counts
 * too, as in the standard pool. */
static int grow(PyObject *self, struct ac__engine *engine, uint64_t tasks) {
    struct executor *executor = of(self);
    uint64_t busy = ac_add_relaxed(&engine->submitted, tasks) + tasks - ac_load_relaxed(&engine->settled);
    if (executor->started >= executor->max_workers || busy <= (uint64_t)executor->started)
        return 0;
    int wanted = busy < (uint64_t)executor->max_workers ? (int)busy : executor->max_workers;
    int error = 0;
    AC_LOCK(self);
    if (wanted > executor->started) {
        error = ac_pool_start(engine->pool, wanted);
        executor->started = wanted;
    }
    AC_UNLOCK(self);
    if (error < 0 && error != -EPIPE && error != -ESHUTDOWN)
        return ac__raise(error, "workers could not be started") ? 0 : -1;
    return 0; /* broken or shut down: submitting says so */
}

/* Is what the function refers to as it was when it was pickled? Holder, name and value in turn, from the
 * tuple's second item on; allcores._functions.watches() says what they are. */
static bool unchanged(PyObject *watched) {
    for (Py_ssize_t i = 1; i + 2 < PyTuple_GET_SIZE(watched); i += 3) {
        PyObject *holder = PyTuple_GET_ITEM(watched, i), *name = PyTuple_GET_ITEM(watched, i + 1);
        PyObject *found = NULL, *expected = PyTuple_GET_ITEM(watched, i + 2);
        if (PyFunction_Check(holder)) {
            PyFunctionObject *function = (PyFunctionObject *)holder;
            if (function->func_code != name ||
                (function->func_kwdefaults && PyDict_GET_SIZE(function->func_kwdefaults)) ||
                (function->func_dict && PyDict_GET_SIZE(function->func_dict)))
                return false;
            found = Py_XNewRef(function->func_defaults);
        } else {
            found = PyCell_Check(holder) ? PyCell_Get(holder) : ac__dict_ref(holder, name);
        }
        bool same = found ? found == expected : expected == Py_NotImplemented;
        Py_XDECREF(found);
        if (!same || PyErr_Occurred())
            return false;
    }
    return true;
}

/* The key in one value of `functions`: a number, or a tuple that opens with it, while what it watches holds.
 * New reference; NULL without an exception where it has to be asked for. */
static PyObject *known_key(PyObject *known) {
    if (!known || !PyTuple_CheckExact(known))
        return known;
    PyObject *key = unchanged(known) ? Py_NewRef(PyTuple_GET_ITEM(known, 0)) : NULL;
    Py_DECREF(known);
    return key;
}

/* The function's key among what is shared with the workers; 0: it travels with its task. */
static int function_key(PyObject *self, PyObject *fn, uint64_t *ret_key) {
    PyObject *key = NULL;
    if (of(self)->functions &&
        (PyFunction_Check(fn) || PyCFunction_CheckExact(fn) || Py_IS_TYPE(fn, &PyType_Type)))
        key = known_key(ac__dict_ref(of(self)->functions, fn));
    if (!key && PyErr_Occurred())
        return -1;
    if (!key)
        key = PyObject_CallMethod(self, "_share", "O", fn);
    if (!key)
        return -1;
    *ret_key = PyLong_AsUnsignedLongLong(key);
    Py_DECREF(key);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *keywords(PyObject *const *values, PyObject *names) {
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict && names && i < PyTuple_GET_SIZE(names); i++)
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(names, i), values[i]) < 0)
            Py_CLEAR(dict);
    return dict;
}

static int pack_pickle(struct ac__engine *engine, struct ac__out *out, const struct ac__head *head,
                       PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *tuple = PyTuple_New(count - 1);
    for (Py_ssize_t i = 1; tuple && i < count; i++)
        PyTuple_SET_ITEM(tuple, i - 1, Py_NewRef(args[i]));
    PyObject *dict = tuple ? keywords(args + count, names) : NULL;
    PyObject *value = NULL;
    if (dict)
        value = head->key ? PyTuple_Pack(2, tuple, dict) : PyTuple_Pack(3, args[0], tuple, dict);
    int error = value ? ac__out_pickle(engine->state, out, KIND_CALL_PICKLE, head, value, engine->reach) : -1;
    Py_XDECREF(value);
    Py_XDECREF(dict);
    Py_XDECREF(tuple);
    return error;
}

static int pack(PyObject *self, struct ac__engine *engine, struct ac__out *out, struct ac__head *head,
                PyObject *const *args, Py_ssize_t count, PyObject *names) {
    *head = (struct ac__head){.count = (uint32_t)(count - 1)};
    if (function_key(self, args[0], &head->key) < 0)
        return -1;
    size_t size = head->key && !(names && PyTuple_GET_SIZE(names)) ? ac__run_size(args + 1, count - 1) : 0;
    if (!size)
        return pack_pickle(engine, out, head, args, count, names);
    uint8_t *to = ac__out_one(out, KIND_CALL, head, size);
    if (!to)
        return -1;
    ac__run_write(to, args + 1, count - 1, size);
    return 0;
}

/* An error of pickling is the future's; KeyboardInterrupt and the like are the caller's. */
static PyObject *failed(struct ac__engine *engine) {
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyObject *exception = ac__exception_take();
    PyObject *future = ac__future_failed(engine, exception);
    Py_DECREF(exception);
    return future;
}

static PyObject *executor_submit(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    struct ac__engine *engine;
    struct ac__head head;
    struct ac__out out;
    uint64_t ticket;
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "submit() missing 1 required positional argument: 'fn'");
        return NULL;
    }
    if (!(engine = engine_of(self)))
        return NULL;
    engine = (struct ac__engine *)Py_NewRef((PyObject *)engine);
    PyObject *future = NULL;
    if (grow(self, engine, 1) == 0) {
        if (pack(self, engine, &out, &head, args, count, names) < 0) {
            future = failed(engine);
        } else {
            if (ac__engine_send(engine, &out, 1, false, &ticket) == 0)
                future = ac__future_new(engine, ticket, head.key);
            ac__out_clear(&out);
        }
    }
    Py_DECREF((PyObject *)engine);
    return future;
}

/* _map(fn, rows, arity, chunksize, deadline, again=True): rows is a list of items (arity 1), or of tuples of
 * `arity` of them. */
static PyObject *executor_map(PyObject *self, PyObject *args) {
    PyObject *fn, *rows, *timeout;
    Py_ssize_t arity, chunk;
    struct ac__engine *engine;
    int again = 1;
    struct ac__map_plan plan;
    if (!PyArg_ParseTuple(args, "OOnnO|p:_map", &fn, &rows, &arity, &chunk, &timeout, &again))
        return NULL;
    if (!(engine = engine_of(self)))
        return NULL;
    engine = (struct ac__engine *)Py_NewRef((PyObject *)engine);
    PyObject *iterator = NULL;
    plan = (struct ac__map_plan){.fn = fn,
                                 .rows = rows,
                                 .arity = arity,
                                 .chunk = chunk,
                                 .workers = of(self)->max_workers,
                                 .again = again};
    if (ac__timeout_deadline(timeout, &plan.deadline_ns) == 0 && function_key(self, fn, &plan.key) == 0) {
        iterator = ac__map_new(engine, &plan);
        if (iterator && grow(self, engine, ac__map_chunks(iterator)) < 0)
            Py_CLEAR(iterator);
        if (iterator && ac__map_submit(iterator, &plan) < 0)
            Py_CLEAR(iterator);
    }
    Py_DECREF((PyObject *)engine);
    return iterator;
}

static int executor_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(of(self)->engine);
    Py_VISIT(of(self)->functions);
    return 0;
}

static int executor_clear(PyObject *self) {
    Py_CLEAR(of(self)->engine);
    Py_CLEAR(of(self)->functions);
    return 0;
}

static void executor_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    executor_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef executor_members[] = {
    {"_engine", T_OBJECT, offsetof(struct executor, engine), 0, NULL},
    {"_functions", T_OBJECT, offsetof(struct executor, functions), 0, NULL},
    {"_started", T_INT, offsetof(struct executor, started), 0, NULL},
    {"_max_workers", T_INT, offsetof(struct executor, max_workers), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef executor_methods[] = {
    {"submit", (PyCFunction)(void (*)(void))executor_submit, METH_FASTCALL | METH_KEYWORDS,
     "Run fn(*args, **kwargs) in a worker process; returns its Future at once.\n\n"
     "What cannot be pickled is the future's exception. Raises RuntimeError after shutdown and\n"
     "BrokenProcessPool on a pool that is broken."},
    {"_map", executor_map, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject *ac__executor_type_make(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, executor_dealloc},
        {Py_tp_traverse, executor_traverse},
        {Py_tp_clear, executor_clear},
        {Py_tp_methods, executor_methods},
        {Py_tp_members, executor_members},
        {Py_tp_new, PyType_GenericNew},
        {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "allcores._ext.ExecutorCore",
        .basicsize = sizeof(struct executor),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return ac__make_type(module, &spec, "ExecutorCore");
}
