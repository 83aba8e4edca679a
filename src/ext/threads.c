/* threads.c - Tasks: the queue between submit() and the threads of a ThreadPoolExecutor.
 *
 * A thread takes one task at a time, so that one that blocks holds up no other. An idle thread sleeps on a
 * semaphore; each post is for one thread that `idle` counted, so that a burst of submits wakes each once. */
#include "ext/ext.h"

#include <errno.h>
#include <semaphore.h>

struct task {
    struct task *next;
    PyObject *future, *function, *names; /* names: of keywords, or NULL */
    Py_ssize_t count;                    /* arguments by position */
    PyObject *args[];                    /* [0] is left to the callee (PY_VECTORCALL_ARGUMENTS_OFFSET) */
};

struct tasks { /* all of it under the object's lock, except the semaphore */
    PyObject_HEAD struct task *first, **last;
    PyObject *future_class;
    PyObject *refuse; /* the exception of submit(), or NULL */
    Py_ssize_t idle;  /* threads that sleep and have not been posted for */
    bool closed;      /* threads leave once nothing is queued */
    sem_t wake;
};

static struct tasks *of(PyObject *self) {
    return (struct tasks *)self;
}

static Py_ssize_t values_of(const struct task *task) {
    return task->count + (task->names ? PyTuple_GET_SIZE(task->names) : 0);
}

static void task_free(struct task *task) {
    for (Py_ssize_t i = 1; i <= values_of(task); i++)
        Py_DECREF(task->args[i]);
    Py_XDECREF(task->names);
    Py_DECREF(task->function);
    Py_XDECREF(task->future);
    PyMem_Free(task);
}

static struct task *task_new(PyObject *class, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    Py_ssize_t values = count - 1 + (names ? PyTuple_GET_SIZE(names) : 0);
    struct task *task = PyMem_Malloc(sizeof *task + sizeof(PyObject *) * (size_t)(values + 1));
    if (!task) {
        PyErr_NoMemory();
        return NULL;
    }
    task->next = NULL;
    task->function = Py_NewRef(args[0]);
    task->names = Py_XNewRef(names);
    task->count = count - 1;
    for (Py_ssize_t i = 1; i <= values; i++)
        task->args[i] = Py_NewRef(args[i]);
    task->future = ac__future_made(class);
    if (!task->future) {
        task_free(task);
        return NULL;
    }
    return task;
}

static PyObject *tasks_submit(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    struct tasks *t = of(self);
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "submit() missing 1 required positional argument: 'fn'");
        return NULL;
    }
    struct task *task = task_new(t->future_class, args, count, names);
    if (!task)
        return NULL;
    PyObject *refuse = NULL, *future = Py_NewRef(task->future);
    AC_LOCK(self);
    refuse = Py_XNewRef(t->refuse);
    if (!refuse) {
        *t->last = task;
        t->last = &task->next;
        if (t->idle > 0) {
            t->idle--;
            sem_post(&t->wake);
        }
    }
    AC_UNLOCK(self);
    if (!refuse)
        return future;
    task_free(task);
    Py_DECREF(future);
    PyObject *arguments = PyObject_GetAttrString(refuse, "args"); /* a new one each: tracebacks grow */
    if (arguments)
        PyErr_SetObject((PyObject *)Py_TYPE(refuse), arguments);
    Py_XDECREF(arguments);
    Py_DECREF(refuse);
    return NULL;
}

/* The next task, or NULL when there is nothing: *ret_leave says whether there never will be. */
static struct task *take(PyObject *self, bool sleeps, bool *ret_leave) {
    struct tasks *t = of(self);
    struct task *task = NULL;
    AC_LOCK(self);
    task = t->first;
    if (task && !(t->first = task->next))
        t->last = &t->first;
    *ret_leave = !task && t->closed;
    if (!task && !t->closed && sleeps)
        t->idle++;
    AC_UNLOCK(self);
    return task;
}

static void run_task(struct task *task) {
    int started = ac__future_start(task->future);
    if (started > 0) {
        PyObject *result =
            PyObject_Vectorcall(task->function, task->args + 1,
                                (size_t)task->count | PY_VECTORCALL_ARGUMENTS_OFFSET, task->names);
        ac__future_finish(task->future, result, result ? NULL : ac__exception_take());
    } else if (started < 0)
        PyErr_WriteUnraisable(task->future);
    task_free(task);
}

static PyObject *tasks_run(PyObject *self, PyObject *Py_UNUSED(none)) {
    bool leave = false;
    while (!leave) {
        struct task *task = take(self, true, &leave);
        if (task)
            run_task(task);
        else if (!leave) {
            Py_BEGIN_ALLOW_THREADS
            while (sem_wait(&of(self)->wake) < 0 && errno == EINTR)
                ;
            Py_END_ALLOW_THREADS
        }
    }
    Py_RETURN_NONE;
}

static PyObject *tasks_close(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct tasks *t = of(self);
    AC_LOCK(self);
    t->closed = true;
    for (; t->idle > 0; t->idle--)
        sem_post(&t->wake);
    AC_UNLOCK(self);
    Py_RETURN_NONE;
}

static PyObject *tasks_drain(PyObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *futures = PyList_New(0);
    bool leave;
    for (struct task *task; futures && (task = take(self, false, &leave));) {
        if (PyList_Append(futures, task->future) < 0)
            Py_CLEAR(futures);
        task_free(task);
    }
    return futures;
}

/* --- the type */

static PyObject *tasks_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *class;
    if (!PyArg_ParseTuple(args, "O!", &PyType_Type, &class))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)class, ac__state_of(type)->future_type)) {
        PyErr_SetString(PyExc_TypeError, "Tasks() takes a class of futures");
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    of(self)->last = &of(self)->first;
    of(self)->future_class = Py_NewRef(class);
    sem_init(&of(self)->wake, 0, 0);
    return self;
}

static PyObject *get_refuse(PyObject *self, void *Py_UNUSED(closure)) {
    PyObject *refuse = NULL;
    AC_LOCK(self);
    refuse = Py_NewRef(of(self)->refuse ? of(self)->refuse : Py_None);
    AC_UNLOCK(self);
    return refuse;
}

static int set_refuse(PyObject *self, PyObject *value, void *Py_UNUSED(closure)) {
    PyObject *old = NULL;
    AC_LOCK(self);
    old = of(self)->refuse;
    of(self)->refuse = value == Py_None ? NULL : Py_XNewRef(value);
    AC_UNLOCK(self);
    Py_XDECREF(old);
    return 0;
}

static PyObject *get_idle(PyObject *self, void *Py_UNUSED(closure)) {
    Py_ssize_t idle = 0;
    AC_LOCK(self);
    idle = of(self)->idle;
    AC_UNLOCK(self);
    return PyLong_FromSsize_t(idle);
}

static int tasks_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(of(self)->future_class);
    Py_VISIT(of(self)->refuse);
    for (struct task *task = of(self)->first; task; task = task->next) {
        Py_VISIT(task->future);
        Py_VISIT(task->function);
        for (Py_ssize_t i = 1; i <= values_of(task); i++)
            Py_VISIT(task->args[i]);
    }
    return 0;
}

static int tasks_clear(PyObject *self) {
    bool leave;
    for (struct task *task; (task = take(self, false, &leave));)
        task_free(task);
    Py_CLEAR(of(self)->refuse);
    return 0;
}

static void tasks_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    tasks_clear(self);
    Py_XDECREF(of(self)->future_class);
    sem_destroy(&of(self)->wake);
    type->tp_free(self);
    Py_DECREF(type);
}

PyTypeObject *ac__tasks_type_make(PyObject *module) {
    static PyMethodDef methods[] = {
        {"submit", (PyCFunction)(void (*)(void))tasks_submit, METH_FASTCALL | METH_KEYWORDS,
         "submit(fn, /, *args, **kwargs) -> its Future; raises `refuse` where that is set."},
        {"run", tasks_run, METH_NOARGS, "Run tasks until close() was called and none is left."},
        {"close", tasks_close, METH_NOARGS, "Let the threads in run() leave once nothing is queued."},
        {"drain", tasks_drain, METH_NOARGS, "Take out all that is queued; returns the futures."},
        {NULL, NULL, 0, NULL},
    };
    static PyGetSetDef attributes[] = {
        {"refuse", get_refuse, set_refuse, "The exception that submit() raises, or None.", NULL},
        {"idle", get_idle, NULL, "Threads that sleep in run().", NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, tasks_dealloc},
        {Py_tp_traverse, tasks_traverse},
        {Py_tp_clear, tasks_clear},
        {Py_tp_methods, methods},
        {Py_tp_getset, attributes},
        {Py_tp_new, tasks_new},
        {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "allcores._ext.Tasks",
        .basicsize = sizeof(struct tasks),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return ac__make_type(module, &spec, "Tasks");
}
