/* inline.c - Inline: the loop of allcores.map() in the calling thread, and the watcher that interrupts it.
 *
 * An item costs what it costs in map(): nothing is measured and no clock is read. A thread of the process,
 * the watcher, sleeps while no loop runs; else it ticks, first after 1 ms. At a tick, unless the items are
 * too small to send anywhere, it looks how often the calling thread holds the GIL (by the probe's reader, on
 * our own memory) and sets `due`: the next item goes through `look`, in Python, which measures it and may
 * set `rest`: an iterator of batches of results, iterators themselves, which are all that follows. What comes
 * out of a batch costs no Python code; an error out of it is thrown into `rest` where that gave it. Where
 * the loop is inside one and the same call since the last tick, watch() gives the Inline to the watcher's own
 * Python code, which may set `rest` beside the call that runs (switch_to).
 *
 * Threads: `line` is the watcher's own struct, under `mutex`; it outlives the object by a count. */
#include "ext/ext.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "probe/python.h"

enum {
    FIRST_TICK_NS = 1000000,
    LAST_TICK_NS = 32000000,
    LOOKS = 8,
    LOOK_NS = 60000,
    LEAST_STUCK_NS = 500000,
    LEAST_ITEM_NS = 300, /* what sending an item anywhere costs; shorter ones are left alone */
};

/* Of `word`: the calls that were made, times CALL, and whether one is being made. SWITCHED: while it ran,
 * another thread has left an iterator in `offered` that is to go on after it. */
enum { IN_CALL = 1, SWITCHED = 2, CALL = 4 };

struct line { /* what the watcher knows of a loop */
    struct line *next;
    PyObject *owner; /* borrowed */
    uint64_t tstate; /* of the thread that runs the loop */
    _Atomic uint64_t word;
    uint64_t seen_word; /* at the last tick */
    int64_t seen_ns;    /* when that was; at first when the loop began */
    bool slow;          /* items were long enough to be looked at */
    bool always;        /* to be looked at whatever the items' size */
    bool stuck;         /* it was inside the call that it was in at the tick before */
    pid_t tid;          /* of that thread */
    _Atomic int due;
    _Atomic uint32_t looks, held; /* at the GIL, and how often that thread held it */
    _Atomic uint32_t asleep;      /* of the last tick's LOOKS, where it was stuck */
};

static struct {
    pthread_mutex_t mutex;
    struct line *lines;
    int timer;
    pid_t pid; /* whose the timer is */
    int64_t period_ns;
    struct ac_py *py;
    int py_error;
} watcher = {.mutex = PTHREAD_MUTEX_INITIALIZER, .timer = -1};

struct inline_loop {
    PyObject_HEAD PyObject *fn, *source, *look;
    PyObject *rest;    /* NULL: the loop goes on here */
    PyObject *batch;   /* of rest, that results come from; or NULL */
    PyObject *offered; /* see SWITCHED */
    PyObject *row;     /* borrowed, of the call that runs */
    struct line *line;
    iternextfunc next_row; /* of source */
    bool spread;           /* rows are tuples of arguments */
    bool is_function;      /* fn is a Python function */
    bool armed, ended;
    bool plain; /* see settle() */
};

static struct inline_loop *of(PyObject *self) {
    return (struct inline_loop *)self;
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* --- the watcher's list */

static void set_timer(int64_t after_ns) {
    struct itimerspec spec = {.it_value = {after_ns / 1000000000, after_ns % 1000000000}};
    if (watcher.timer >= 0)
        timerfd_settime(watcher.timer, 0, &spec, NULL);
}

/* Not in a fork's child, which has the parent's list and timer, nor in another interpreter, whose objects the
 * watcher's thread must not touch. */
static bool is_watched(void) {
    return watcher.pid == getpid() && PyInterpreterState_Get() == PyInterpreterState_Main();
}

static void tick_soon(void) {
    struct itimerspec left = {0};
    timerfd_gettime(watcher.timer, &left);
    int64_t left_ns = (int64_t)left.it_value.tv_sec * 1000000000 + left.it_value.tv_nsec;
    if (left_ns == 0 || left_ns > FIRST_TICK_NS) /* else many short loops would put it off for ever */
        set_timer(FIRST_TICK_NS);
    watcher.period_ns = FIRST_TICK_NS;
}

static void arm(struct inline_loop *loop) {
    loop->armed = true;
    if (!is_watched())
        return;
    loop->line->tstate = (uint64_t)(uintptr_t)PyThreadState_Get();
    loop->line->tid = gettid();
    loop->line->seen_ns = clock_ns(CLOCK_MONOTONIC);
    loop->line->seen_word =
        ac_load_relaxed(&loop->line->word) | IN_CALL; /* the first call may be a long one */
    pthread_mutex_lock(&watcher.mutex);
    loop->line->next = watcher.lines;
    watcher.lines = loop->line;
    tick_soon();
    pthread_mutex_unlock(&watcher.mutex);
}

static void disarm(struct inline_loop *loop) {
    if (!loop->armed)
        return;
    loop->armed = false;
    if (!is_watched())
        return;
    pthread_mutex_lock(&watcher.mutex);
    struct line **at = &watcher.lines;
    while (*at && *at != loop->line)
        at = &(*at)->next;
    if (*at)
        *at = loop->line->next;
    if (!watcher.lines)
        set_timer(0);
    pthread_mutex_unlock(&watcher.mutex);
}

/* --- the loop */

/* A Python function is called without the steps around it that only what is written in C needs. */
static inline PyObject *call(struct inline_loop *loop, PyObject *row) {
    if (loop->spread)
        return PyObject_Call(loop->fn, row, NULL);
    PyObject *args[2] = {NULL, row};
    const size_t one = 1 | PY_VECTORCALL_ARGUMENTS_OFFSET;
    if (loop->is_function)
        return ((PyFunctionObject *)loop->fn)->vectorcall(loop->fn, args + 1, one, NULL);
    return PyObject_Vectorcall(loop->fn, args + 1, one, NULL);
}

/* The old value; where there is a GIL it keeps others off. */
static inline uint64_t swap_word(struct line *line, uint64_t word) {
    if (!AC_HAS_GIL)
        return ac_swap_acq_rel(&line->word, word);
    uint64_t old = ac_load_relaxed(&line->word);
    ac_store_relaxed(&line->word, word);
    return old;
}

/* Whether the next item needs no more than the call. */
static void settle(struct inline_loop *loop) {
    loop->plain = !loop->ended && !loop->rest && (loop->armed || !loop->look);
}

static void go_on_with(struct inline_loop *loop, PyObject *rest) {
    Py_XSETREF(loop->rest, rest);
    settle(loop);
}

static inline PyObject *counted_call(struct inline_loop *loop, PyObject *row) {
    uint64_t word = ac_load_relaxed(&loop->line->word);
    loop->row = row;
    ac_store_relaxed(&loop->line->word, word | IN_CALL);
    PyObject *result = call(loop, row);
    if (swap_word(loop->line, result ? word + CALL : word) & SWITCHED) {
        PyObject *offered = loop->offered;
        loop->offered = NULL;
        go_on_with(loop, offered);
    }
    return result;
}

/* The first batch, or the one after the batch that has ended, maybe with an error. 0, or -1: that was all. */
static int next_batch(struct inline_loop *loop) {
    PyObject *rest = Py_NewRef(loop->rest), *batch;
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_StopIteration))
        PyErr_Clear(); /* an end like one without a word */
    PyObject *exception = PyErr_Occurred() ? ac__exception_take() : NULL;
    Py_CLEAR(loop->batch);
    if (exception) {
        batch = PyObject_CallMethod(rest, "throw", "O", exception);
        Py_DECREF(exception);
    } else
        batch = Py_TYPE(rest)->tp_iternext(rest);
    Py_DECREF(rest);
    if (batch && !PyIter_Check(batch)) {
        PyErr_SetString(PyExc_TypeError, "a batch must be an iterator");
        Py_CLEAR(batch);
    }
    Py_XSETREF(loop->batch, batch);
    return batch ? 0 : -1;
}

static PyObject *from_rest(struct inline_loop *loop) {
    disarm(loop);
    do {
        if (!loop->batch)
            continue;
        PyObject *batch = Py_NewRef(loop->batch);
        PyObject *item = Py_TYPE(batch)->tp_iternext(batch);
        Py_DECREF(batch);
        if (item)
            return item;
    } while (next_batch(loop) == 0);
    return NULL;
}

static PyObject *end(struct inline_loop *loop) {
    loop->ended = true;
    disarm(loop);
    settle(loop);
    return NULL;
}

/* An exception comes out: what was begun beside the call is called off. */
static PyObject *abandon(struct inline_loop *loop) {
    end(loop);
    if (!loop->rest || !PyErr_Occurred())
        return NULL;
    PyObject *exception = ac__exception_take();
    PyObject *done = PyObject_CallMethod(loop->rest, "close", NULL);
    if (!done)
        PyErr_WriteUnraisable(loop->rest);
    Py_XDECREF(done);
    ac__exception_put(exception);
    return NULL;
}

/* The call raised: `look` says what comes out, for StopIteration would end the iteration without a word. */
static PyObject *failed(PyObject *self) {
    struct inline_loop *loop = of(self);
    abandon(loop);
    if (!loop->look || !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyObject *exception = ac__exception_take();
    PyObject *told = PyObject_CallMethod(loop->look, "failed", "OO", self, exception);
    Py_DECREF(exception);
    if (told)
        ac__exception_put(told);
    return NULL;
}

static inline PyObject *plain_next(PyObject *self) {
    struct inline_loop *loop = of(self);
    PyObject *row = loop->next_row(loop->source);
    if (!row)
        return end(loop);
    PyObject *result = counted_call(loop, row);
    Py_DECREF(row);
    return result ? result : failed(self);
}

/* The first item, the last, and those that the watcher asked for. */
static __attribute__((noinline)) PyObject *other_next(PyObject *self) {
    struct inline_loop *loop = of(self);
    if (loop->ended)
        return NULL;
    if (loop->rest)
        return from_rest(loop);
    if (ac_load_relaxed(&loop->line->word) & IN_CALL) {
        PyErr_SetString(PyExc_ValueError, "allcores.map: another thread is in this iterator");
        return NULL;
    }
    if (!loop->armed && loop->look) {
        arm(loop);
        settle(loop);
    }
    if (ac_load_relaxed(&loop->line->due)) {
        ac_store_relaxed(&loop->line->due, 0);
        PyObject *result = PyObject_CallOneArg(loop->look, self);
        return result ? result : abandon(loop);
    }
    return plain_next(self);
}

static PyObject *inline_next(PyObject *self) {
    struct line *line = of(self)->line;
    bool plain = of(self)->plain && !ac_load_relaxed(&line->due) && !(ac_load_relaxed(&line->word) & IN_CALL);
    return plain ? plain_next(self) : other_next(self);
}

static PyObject *inline_take(PyObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *row = PyIter_Next(of(self)->source);
    if (!row && !PyErr_Occurred())
        PyErr_SetNone(PyExc_StopIteration);
    return row;
}

static PyObject *inline_timed(PyObject *self, PyObject *row) {
    int64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID), wall_ns = clock_ns(CLOCK_MONOTONIC);
    PyObject *result = counted_call(of(self), row);
    wall_ns = clock_ns(CLOCK_MONOTONIC) - wall_ns;
    cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
    return result ? Py_BuildValue("(Ndd)", result, (double)wall_ns / 1e9, (double)cpu_ns / 1e9) : NULL;
}

static PyObject *inline_switch(PyObject *self, PyObject *args) {
    PyObject *rest;
    unsigned long long calls;
    if (!PyArg_ParseTuple(args, "OK:switch_to", &rest, &calls))
        return NULL;
    if (!PyIter_Check(rest)) {
        PyErr_SetString(PyExc_TypeError, "switch_to() takes an iterator");
        return NULL;
    }
    if (ac_load_relaxed(&of(self)->line->word) & SWITCHED) /* what was offered first is being made */
        Py_RETURN_FALSE;
    uint64_t expected = calls * CALL | IN_CALL;
    Py_XSETREF(of(self)->offered, Py_NewRef(rest)); /* one thread offers */
    bool good = ac_cas_acq_rel(&of(self)->line->word, &expected, expected | SWITCHED);
    if (!good)
        Py_CLEAR(of(self)->offered);
    return PyBool_FromLong(good);
}

static PyObject *inline_close(PyObject *self, PyObject *Py_UNUSED(none)) {
    end(of(self));
    Py_CLEAR(of(self)->batch);
    return of(self)->rest ? PyObject_CallMethod(of(self)->rest, "close", NULL) : Py_NewRef(Py_None);
}

/* --- the watcher */

static void nap(int64_t ns) {
    struct timespec time = {ns / 1000000000, ns % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

/* Whether any loop's items since the last tick were long enough. */
static bool find_slow(void) {
    bool any = false;
    int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    pthread_mutex_lock(&watcher.mutex);
    for (struct line *line = watcher.lines; line; line = line->next) {
        uint64_t word = ac_load_relaxed(&line->word);
        uint64_t calls = word / CALL - line->seen_word / CALL;
        line->slow = (uint64_t)(now_ns - line->seen_ns) >= calls * LEAST_ITEM_NS;
        line->stuck = word == line->seen_word && word & IN_CALL && now_ns - line->seen_ns >= LEAST_STUCK_NS;
        ac_store_relaxed(&line->asleep, 0u);
        line->seen_word = word;
        line->seen_ns = now_ns;
        any |= line->slow || line->always;
    }
    pthread_mutex_unlock(&watcher.mutex);
    return any;
}

/* One look at who holds the GIL. Opening the reader takes milliseconds, once. */
static void look_at_gil(void) {
    struct ac_py_gil gils[AC_PY_MAX_GILS];
    struct ac_py_version version;
    size_t count = 0;
    if (!watcher.py && !watcher.py_error)
        watcher.py_error = ac_py_open(getpid(), &watcher.py, &version);
    if (!watcher.py || ac_py_gils(watcher.py, gils, AC_COUNT(gils), &count) < 0)
        return;
    pthread_mutex_lock(&watcher.mutex);
    for (struct line *line = watcher.lines; line; line = line->next) {
        bool held = false;
        for (size_t i = 0; i < ac_min(count, AC_COUNT(gils)); i++)
            held |= gils[i].enabled && gils[i].held && gils[i].holder == line->tstate;
        ac_add_relaxed(&line->looks, 1u);
        ac_add_relaxed(&line->held, held ? 1u : 0u);
    }
    pthread_mutex_unlock(&watcher.mutex);
}

/* One look at whether those inside a long call sleep there, or have or wait for a CPU. */
static void look_at_sleep(void) {
    pthread_mutex_lock(&watcher.mutex);
    for (struct line *line = watcher.lines; line; line = line->next) {
        struct ac_task task;
        struct ac_stat stat;
        if (!line->stuck || ac_task_open(watcher.pid, line->tid, &task) < 0)
            continue;
        if (ac_task_stat(&task, &stat) == 0 && stat.state != 'R')
            ac_add_relaxed(&line->asleep, 1u);
        ac_task_close(&task);
    }
    pthread_mutex_unlock(&watcher.mutex);
}

/* Marks who is due. Whether a loop is inside a long call. */
static bool mark_due(void) {
    bool stuck = false;
    pthread_mutex_lock(&watcher.mutex);
    for (struct line *line = watcher.lines; line; line = line->next) {
        stuck |= line->stuck;
        if (line->slow || line->always)
            ac_store_relaxed(&line->due, 1);
    }
    pthread_mutex_unlock(&watcher.mutex);
    return stuck;
}

/* Sleeps until the timer. Whether a loop is inside a long call. */
static bool tick(void) {
    struct pollfd poll_fd = {.fd = watcher.timer, .events = POLLIN};
    uint64_t count;
    if (poll(&poll_fd, 1, -1) < 0 || read(watcher.timer, &count, sizeof count) < 0)
        return false;
    bool slow = find_slow();
    for (int i = 0; i < LOOKS && slow; i++) {
        look_at_gil();
        look_at_sleep();
        nap(LOOK_NS);
    }
    bool stuck = slow && mark_due();
    pthread_mutex_lock(&watcher.mutex);
    if (watcher.lines)
        set_timer(watcher.period_ns);
    watcher.period_ns = ac_min(2 * watcher.period_ns, (int64_t)LAST_TICK_NS);
    pthread_mutex_unlock(&watcher.mutex);
    return stuck;
}

/* The Inlines that are inside a call; the caller has the GIL, so that no dealloc is half way. */
static PyObject *stuck_loops(void) {
    PyObject *list = PyList_New(0);
    pthread_mutex_lock(&watcher.mutex);
    for (struct line *line = watcher.lines; list && line; line = line->next)
        if (ac_load_relaxed(&line->word) & IN_CALL && ac__try_incref(line->owner)) {
            if (PyList_Append(list, line->owner) < 0)
                Py_CLEAR(list);
            Py_DECREF(line->owner);
        }
    pthread_mutex_unlock(&watcher.mutex);
    return list;
}

PyObject *ac__inline_watch(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL); /* or its naps take twice as long */
    Py_BEGIN_ALLOW_THREADS
    while (!tick())
        ;
    Py_END_ALLOW_THREADS
    return stuck_loops();
}

PyObject *ac__inline_begin(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    if (PyInterpreterState_Get() != PyInterpreterState_Main())
        Py_RETURN_FALSE;
    bool fresh = watcher.pid != getpid();
    if (fresh) { /* the first, or a fork's child: the lock and the list were the parent's */
        pthread_mutex_init(&watcher.mutex, NULL);
        if (watcher.timer >= 0)
            close(watcher.timer);
        ac_py_close(watcher.py);
        watcher.py = NULL;
        watcher.py_error = 0;
        watcher.lines = NULL;
        watcher.pid = getpid();
        watcher.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (watcher.timer < 0)
            return ac__raise(-errno, "a timer for allcores.map");
    }
    return PyBool_FromLong(fresh);
}

/* --- the type */

static PyObject *inline_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *fn, *source, *look;
    int spread, always;
    if (!PyArg_ParseTuple(args, "OOpOp:Inline", &fn, &source, &spread, &look, &always))
        return NULL;
    if (!PyIter_Check(source)) {
        PyErr_SetString(PyExc_TypeError, "Inline() takes an iterator");
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    of(self)->fn = Py_NewRef(fn);
    of(self)->source = Py_NewRef(source);
    of(self)->look = look == Py_None ? NULL : Py_NewRef(look);
    of(self)->next_row = Py_TYPE(source)->tp_iternext;
    of(self)->spread = spread;
    of(self)->is_function = PyFunction_Check(fn);
    of(self)->line = ac_calloc(1, sizeof *of(self)->line);
    if (!of(self)->line) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    of(self)->line->owner = self;
    of(self)->line->always = always;
    settle(of(self));
    ac__allow_try_incref(self);
    return self;
}

static PyObject *inline_hint(PyObject *self, PyObject *Py_UNUSED(none)) {
    Py_ssize_t hint = PyObject_LengthHint(of(self)->rest ? of(self)->rest : of(self)->source, 0);
    return hint < 0 ? NULL : PyLong_FromSsize_t(hint);
}

static PyObject *get_calls(PyObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(ac_load_relaxed(&of(self)->line->word) / CALL);
}

static PyObject *get_gil(PyObject *self, void *Py_UNUSED(closure)) {
    return Py_BuildValue("(II)", ac_load_relaxed(&of(self)->line->held),
                         ac_load_relaxed(&of(self)->line->looks));
}

static PyObject *get_row(PyObject *self, void *Py_UNUSED(closure)) {
    bool runs = AC_HAS_GIL && ac_load_relaxed(&of(self)->line->word) & IN_CALL;
    return Py_NewRef(runs ? of(self)->row : Py_NotImplemented);
}

static PyObject *get_asleep(PyObject *self, void *Py_UNUSED(closure)) {
    return PyFloat_FromDouble(ac_load_relaxed(&of(self)->line->asleep) / (double)LOOKS);
}

static PyObject *get_look(PyObject *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(of(self)->look ? of(self)->look : Py_None);
}

static PyObject *get_rest(PyObject *self, void *Py_UNUSED(closure)) {
    PyObject *rest = of(self)->rest ? of(self)->rest : of(self)->offered;
    return Py_NewRef(rest ? rest : Py_None);
}

static int set_rest(PyObject *self, PyObject *value, void *Py_UNUSED(closure)) {
    if (!value || !Py_TYPE(value)->tp_iternext) {
        PyErr_SetString(PyExc_TypeError, "rest must be an iterator");
        return -1;
    }
    go_on_with(of(self), Py_NewRef(value));
    return 0;
}

static int set_due(PyObject *self, PyObject *value, void *Py_UNUSED(closure)) {
    ac_store_relaxed(&of(self)->line->due, value && PyObject_IsTrue(value) == 1);
    return 0;
}

static int inline_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(of(self)->fn);
    Py_VISIT(of(self)->source);
    Py_VISIT(of(self)->look);
    Py_VISIT(of(self)->rest);
    Py_VISIT(of(self)->batch);
    Py_VISIT(of(self)->offered);
    return 0;
}

static int inline_clear(PyObject *self) {
    end(of(self));
    Py_CLEAR(of(self)->look);
    Py_CLEAR(of(self)->batch);
    Py_CLEAR(of(self)->rest);
    Py_CLEAR(of(self)->offered);
    return 0;
}

static void inline_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    inline_clear(self);
    Py_XDECREF(of(self)->fn);
    Py_XDECREF(of(self)->source);
    ac_free(of(self)->line);
    type->tp_free(self);
    Py_DECREF(type);
}

PyTypeObject *ac__inline_type_make(PyObject *module) {
    static PyMethodDef methods[] = {
        {"take", inline_take, METH_NOARGS, "The next row of the source; StopIteration."},
        {"timed", inline_timed, METH_O,
         "The function's result for a row, the seconds that it took, the process's CPU seconds meanwhile."},
        {"switch_to", inline_switch, METH_VARARGS,
         "switch_to(rest, calls): from another thread, the batches that go on after the call that runs. "
         "False: that "
         "call is over."},
        {"close", inline_close, METH_NOARGS, "Stop; what has not begun will not."},
        {"__length_hint__", inline_hint, METH_NOARGS, NULL},
        {NULL, NULL, 0, NULL},
    };
    static PyGetSetDef attributes[] = {
        {"calls", get_calls, NULL, "Calls made here so far.", NULL},
        {"gil", get_gil, NULL, "(looks at which this thread held the GIL, looks)", NULL},
        {"asleep", get_asleep, NULL,
         "The share of the last looks at the call that runs at which its thread slept.", NULL},
        {"look", get_look, NULL, "As given.", NULL},
        {"row", get_row, NULL, "The row of the call that runs; NotImplemented where none can be had.", NULL},
        {"rest", get_rest, set_rest, "The iterator of batches that goes on from here, or None.", NULL},
        {"due", NULL, set_due, "Whether the next item goes through `look`.", NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, inline_dealloc}, {Py_tp_traverse, inline_traverse}, {Py_tp_clear, inline_clear},
        {Py_tp_iter, PyObject_SelfIter}, {Py_tp_iternext, inline_next},     {Py_tp_methods, methods},
        {Py_tp_getset, attributes},      {Py_tp_new, inline_new},           {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "allcores._ext.Inline",
        .basicsize = sizeof(struct inline_loop),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return ac__make_type(module, &spec, "Inline");
}
