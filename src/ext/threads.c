/* threads.c - Tasks: the queue between submit() and the threads of a ThreadPoolExecutor.
 *
 * A thread takes one task at a time, so that one that blocks holds up no other. An idle thread sleeps on a
 * semaphore; each post is for one thread that `idle` counted, so that a burst of submits wakes each once.
 *
 * Of an "auto" pool, at most `most` tasks run at once, however many threads there are. Another thread is in
 * govern(): it sleeps until a task is queued that no thread takes, measures then every few milliseconds how
 * much of the GIL and the CPUs the running tasks use (load.c), and moves `most`: up while they mostly wait,
 * down while there is not enough of either for them. A thread above `most` sleeps as an idle one does. */
#include "ext/ext.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "ext/load.h"

enum {
    MOST_THREADS = 64,
    FIRST_PERIOD_NS = 2000000,
    SURE_PERIOD_NS = 8000000, /* more than one slice of the GIL */
    LAST_PERIOD_NS = 32000000,
};
static const double LOW_LOAD = 0.7, HIGH_LOAD = 0.97;

struct task {
    struct task *next;
    PyObject *future, *function, *names; /* names: of keywords, or NULL */
    Py_ssize_t count;                    /* arguments by position */
    PyObject *args[];                    /* [0] is left to the callee (PY_VECTORCALL_ARGUMENTS_OFFSET) */
};

struct worker {
    struct ac__thread thread;
    _Atomic bool runs; /* a task */
};

struct tasks { /* all of it under the object's lock, except the semaphore */
    PyObject_HEAD struct task *first, **last;
    PyObject *future_class;
    PyObject *refuse; /* the exception of submit(), or NULL */
    Py_ssize_t idle;  /* threads that sleep and have not been posted for */
    bool closed;      /* threads leave once nothing is queued */
    sem_t wake;
    /* of an auto pool; else least is 0 */
    Py_ssize_t least, running, queued;
    _Atomic Py_ssize_t most; /* set by govern() alone, down also without the lock */
    bool was_low;            /* at the last measure, and nothing came of it yet */
    bool governed;           /* a post for govern() is under way, or it measures */
    sem_t govern;
    size_t threads;
    struct worker *thread[MOST_THREADS]; /* those in run(), on their stacks */
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

/* One task more is queued, or more may run than did. */
static void wake_some(struct tasks *t, Py_ssize_t count) {
    Py_ssize_t may = t->least ? ac_min(count, t->most - t->running) : count;
    for (; may > 0 && t->idle > 0; may--, t->idle--)
        sem_post(&t->wake);
    if (t->least && !t->governed && t->queued > 0 && (t->idle == 0 || t->running >= t->most)) {
        t->governed = true;
        sem_post(&t->govern);
    }
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
        t->queued++;
        wake_some(t, 1);
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
    task = !sleeps || !t->least || t->running < t->most ? t->first : NULL;
    if (task) {
        if (!(t->first = task->next))
            t->last = &t->first;
        t->queued--;
        t->running += sleeps;
    }
    *ret_leave = !t->first && !task && t->closed;
    if (!task && !*ret_leave && sleeps)
        t->idle++;
    AC_UNLOCK(self);
    return task;
}

static void ended(PyObject *self) {
    AC_LOCK(self);
    of(self)->running--;
    AC_UNLOCK(self);
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

/* Whether there was room. */
static bool enter_thread(PyObject *self, struct worker *worker) {
    struct tasks *t = of(self);
    bool room = false;
    worker->thread = (struct ac__thread){.tstate = (uint64_t)(uintptr_t)PyThreadState_Get(), .tid = gettid()};
    pthread_getcpuclockid(pthread_self(), &worker->thread.clock);
    AC_LOCK(self);
    room = t->least && t->threads < MOST_THREADS;
    if (room)
        t->thread[t->threads++] = worker;
    AC_UNLOCK(self);
    return room;
}

static void leave_thread(PyObject *self, const struct worker *worker) {
    struct tasks *t = of(self);
    AC_LOCK(self);
    for (size_t i = 0; i < t->threads; i++)
        if (t->thread[i] == worker) {
            t->thread[i] = t->thread[--t->threads];
            break;
        }
    AC_UNLOCK(self);
}

static void sleep_on(sem_t *semaphore) {
    Py_BEGIN_ALLOW_THREADS
    while (sem_wait(semaphore) < 0 && errno == EINTR)
        ;
    Py_END_ALLOW_THREADS
}

static PyObject *tasks_run(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct worker worker = {0};
    bool leave = false, entered = enter_thread(self, &worker);
    while (!leave) {
        struct task *task = take(self, true, &leave);
        if (task) {
            worker.runs = true;
            run_task(task);
            worker.runs = false;
            ended(self);
        } else if (!leave)
            sleep_on(&of(self)->wake);
    }
    if (entered)
        leave_thread(self, &worker);
    Py_RETURN_NONE;
}

static PyObject *tasks_close(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct tasks *t = of(self);
    AC_LOCK(self);
    t->closed = true;
    for (; t->idle > 0; t->idle--)
        sem_post(&t->wake);
    sem_post(&t->govern);
    AC_UNLOCK(self);
    Py_RETURN_NONE;
}

/* --- the number of threads of an auto pool */

/* One measure's outcome. Returns how many threads are missing, at least 0; *period_ns: of the next measure.
 */
static Py_ssize_t settle(struct tasks *t, double load, int64_t *period_ns) {
    Py_ssize_t before = t->most;
    bool full = t->queued > 0 && t->running >= t->most;
    bool low = full && load < LOW_LOAD, sure = low && t->was_low; /* twice in a row: a first look may err */
    t->was_low = low && !sure;
    if (sure) {
        Py_ssize_t useful = (Py_ssize_t)((double)t->most / (load < 0.1 ? 0.1 : load)) + 1;
        Py_ssize_t most = ac_min(ac_min(2 * t->most, useful), t->running + t->queued);
        t->most = ac_min(ac_max(most, t->most), (Py_ssize_t)MOST_THREADS);
    }
    *period_ns = low || before != t->most ? FIRST_PERIOD_NS : ac_min(2 * *period_ns, (int64_t)LAST_PERIOD_NS);
    Py_ssize_t missing = ac_min(t->most, t->running + t->queued) - (Py_ssize_t)t->threads;
    wake_some(t, t->queued);
    return missing > 0 ? missing : 0;
}

/* Whether there is something to measure. */
static bool busy(PyObject *self, bool *ret_leave, struct ac__thread *threads, size_t *ret_count) {
    struct tasks *t = of(self);
    bool queued = false;
    AC_LOCK(self);
    queued = t->governed = t->queued > 0;
    *ret_leave = t->closed && !queued;
    size_t count = 0;
    for (size_t i = 0; i < t->threads; i++)
        if (t->thread[i]->runs)
            threads[count++] = t->thread[i]->thread;
    *ret_count = count;
    AC_UNLOCK(self);
    return queued;
}

/* Measures; while there is not enough for the running tasks, lets fewer run. Without the GIL, which such
 * tasks keep from this thread for long. */
static double measure(struct tasks *t, struct ac__load *load, const struct ac__thread *threads, size_t count,
                      int64_t period_ns) {
    for (;;) {
        double measured = ac__load_measure(load, threads, count, period_ns);
        if (measured <= HIGH_LOAD || t->most <= t->least)
            return measured;
        if (period_ns >= SURE_PERIOD_NS)
            t->most = ac_max(t->least, t->most / 2);
        period_ns = SURE_PERIOD_NS;
    }
}

static PyObject *tasks_govern(PyObject *self, PyObject *start) {
    struct ac__thread threads[MOST_THREADS];
    struct ac__load *load = ac__load_new();
    int64_t period_ns = FIRST_PERIOD_NS;
    bool leave = false;
    size_t count;
    while (load && !leave) {
        if (!busy(self, &leave, threads, &count)) {
            if (!leave)
                sleep_on(&of(self)->govern);
            period_ns = FIRST_PERIOD_NS;
            continue;
        }
        double measured;
        Py_ssize_t missing = 0;
        Py_BEGIN_ALLOW_THREADS
        measured = measure(of(self), load, threads, count, period_ns);
        Py_END_ALLOW_THREADS
        AC_LOCK(self);
        missing = settle(of(self), measured, &period_ns);
        AC_UNLOCK(self);
        for (bool good = true; good && missing > 0; missing--) {
            PyObject *started = PyObject_CallNoArgs(start);
            good = started && PyObject_IsTrue(started) == 1;
            Py_XDECREF(started);
        }
        if (PyErr_Occurred()) /* no thread to be had: with those that there are */
            PyErr_Clear();
    }
    ac__load_free(load);
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
    Py_ssize_t least = 0;
    if (!PyArg_ParseTuple(args, "O!|n", &PyType_Type, &class, &least))
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
    of(self)->least = ac_max((Py_ssize_t)0, ac_min(least, (Py_ssize_t)MOST_THREADS));
    of(self)->most = of(self)->least;
    sem_init(&of(self)->wake, 0, 0);
    sem_init(&of(self)->govern, 0, 0);
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

static PyObject *get_most(PyObject *self, void *Py_UNUSED(closure)) {
    Py_ssize_t most = 0;
    AC_LOCK(self);
    most = of(self)->most;
    AC_UNLOCK(self);
    return PyLong_FromSsize_t(most);
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
    sem_destroy(&of(self)->govern);
    type->tp_free(self);
    Py_DECREF(type);
}

PyTypeObject *ac__tasks_type_make(PyObject *module) {
    static PyMethodDef methods[] = {
        {"submit", (PyCFunction)(void (*)(void))tasks_submit, METH_FASTCALL | METH_KEYWORDS,
         "submit(fn, /, *args, **kwargs) -> its Future; raises `refuse` where that is set."},
        {"run", tasks_run, METH_NOARGS, "Run tasks until close() was called and none is left."},
        {"close", tasks_close, METH_NOARGS, "Let the threads in run() leave once nothing is queued."},
        {"govern", tasks_govern, METH_O,
         "govern(start): set how many tasks run at once, until closed and nothing is queued; start() starts "
         "a thread "
         "and returns whether it did."},
        {"drain", tasks_drain, METH_NOARGS, "Take out all that is queued; returns the futures."},
        {NULL, NULL, 0, NULL},
    };
    static PyGetSetDef attributes[] = {
        {"refuse", get_refuse, set_refuse, "The exception that submit() raises, or None.", NULL},
        {"most", get_most, NULL, "Tasks that may run at once, of an auto pool.", NULL},
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
