/* map.c - see map.h. All chunks are submitted at once, as the standard map does; results are decoded one by
 * one as they are asked for, and no reference to one is kept.
 *
 * A chunk that fails at its third item gives the two results before, then the error; with it the iteration
 * ends and what was not started is cancelled. An iterator that nobody ever asks lets its calls run. */
#include "ext/map.h"

#include "ext/codec.h"

struct chunk {
    uint64_t ticket;     /* 0: never sent, or given back */
    PyObject *exception; /* why it was never sent */
    uint32_t calls;
};

struct map {
    PyObject_HEAD struct ac__engine *engine;
    struct chunk *chunks;
    Py_ssize_t count, next; /* chunks; the one that is read next */
    Py_ssize_t left;        /* results not handed out yet */
    Py_ssize_t handed;      /* results handed out */
    int64_t deadline_ns;
    uint64_t key;
    bool started, again;
    uint32_t lost; /* calls whose results a worker took with it */
    /* the chunk that is being read */
    struct ac_result result;
    uint64_t ticket; /* an inline message is good only until its release */
    struct ac__run run;
    uint32_t in_run;
    PyObject *list; /* else */
    Py_ssize_t at;
    PyObject *error; /* comes after the list */
    PyObject *death; /* of the worker that ran the next chunk: comes after what can be had of it */
    /* what is sent */
    PyObject *rows; /* list; NULL: the range, `left` ints */
    long long first, step;
};

enum { GUIDED_MAX = 4096, GUIDED_SHARE = 4 };

static struct map *of(PyObject *self) {
    return (struct map *)self;
}

/* A share of what is left, so that the last chunks are small and the workers end together. */
static Py_ssize_t chunk_size(const struct ac__map_plan *plan, Py_ssize_t left) {
    if (plan->chunk > 0)
        return ac_min(left, ac_min(plan->chunk, (Py_ssize_t)1 << 24));
    Py_ssize_t share = left / (GUIDED_SHARE * ac_max(plan->workers, 1));
    return ac_max((Py_ssize_t)1, ac_min(share, (Py_ssize_t)GUIDED_MAX));
}

static int lay_out(struct map *map, const struct ac__map_plan *plan) {
    size_t cap = 0;
    for (Py_ssize_t left = map->left; left > 0; map->count++) {
        if (ac_grow(&map->chunks, &cap, (size_t)map->count + 1, sizeof *map->chunks) < 0)
            return -1;
        Py_ssize_t size = chunk_size(plan, left);
        map->chunks[map->count].calls = (uint32_t)size;
        left -= size;
    }
    return 0;
}

/* 0, or -1 with an exception where it is none */
static int range_number(PyObject *range, const char *name, long long *ret_number) {
    PyObject *value = PyObject_GetAttrString(range, name);
    *ret_number = value ? PyLong_AsLongLong(value) : -1;
    Py_XDECREF(value);
    return PyErr_Occurred() ? -1 : 0;
}

/* Nothing but its ends is sent of a range whose ints all have 64 bits. */
static int take_rows(struct map *map, const struct ac__map_plan *plan) {
    long long stop;
    if (PyRange_Check(plan->rows) && plan->arity == 1 && plan->key) {
        map->left = PyObject_Size(plan->rows);
        if (map->left >= 0 && range_number(plan->rows, "start", &map->first) == 0 &&
            range_number(plan->rows, "stop", &stop) == 0 && range_number(plan->rows, "step", &map->step) == 0)
            return 0;
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear();
    }
    map->rows = PyList_Check(plan->rows) ? Py_NewRef(plan->rows) : PySequence_List(plan->rows);
    map->left = map->rows ? PyList_GET_SIZE(map->rows) : 0;
    return map->rows ? 0 : -1;
}

PyObject *ac__map_new(struct ac__engine *engine, const struct ac__map_plan *plan) {
    PyTypeObject *type = engine->state->map_type;
    struct map *map = (struct map *)type->tp_alloc(type, 0);
    if (!map)
        return NULL;
    map->engine = (struct ac__engine *)Py_NewRef((PyObject *)engine);
    map->deadline_ns = plan->deadline_ns;
    map->again = plan->again;
    map->key = plan->key;
    if (take_rows(map, plan) < 0) {
        Py_DECREF((PyObject *)map);
        return NULL;
    }
    if (lay_out(map, plan) < 0) {
        Py_DECREF((PyObject *)map);
        return PyErr_NoMemory();
    }
    return (PyObject *)map;
}

uint64_t ac__map_chunks(PyObject *self) {
    return (uint64_t)of(self)->count;
}

/* --- out */

static int pack_pickle(struct map *map, struct ac__out *out, const struct ac__head *head, PyObject *fn,
                       Py_ssize_t from) {
    PyObject *rows = PyList_GetSlice(map->rows, from, from + (Py_ssize_t)head->count);
    PyObject *value = rows && !head->key ? PyTuple_Pack(2, fn, rows) : Py_XNewRef(rows);
    struct ac__engine *engine = map->engine;
    int error = value ? ac__out_pickle(engine->state, out, KIND_MAP_PICKLE, head, value, engine->reach) : -1;
    Py_XDECREF(value);
    Py_XDECREF(rows);
    return error;
}

static int pack_range(struct map *map, struct ac__out *out, const struct ac__head *head, Py_ssize_t from) {
    uint8_t *to = ac__out_one(out, KIND_MAP, head, AC__RANGE_SIZE);
    if (!to)
        return -1;
    ac__range_write(to, (long long)((uint64_t)map->first + (uint64_t)map->step * (uint64_t)from), map->step);
    return 0;
}

/* The values of tuples, one after the other; NULL without an exception where a row is not such a tuple. */
static PyObject **flatten(PyObject *const *rows, const struct ac__head *head) {
    PyObject **flat = PyMem_Calloc((size_t)head->count * head->arity + 1, sizeof *flat);
    for (uint32_t i = 0; flat && i < head->count; i++) {
        if (!PyTuple_CheckExact(rows[i]) || PyTuple_GET_SIZE(rows[i]) != (Py_ssize_t)head->arity) {
            PyMem_Free(flat);
            return NULL;
        }
        for (uint32_t j = 0; j < head->arity; j++)
            flat[i * head->arity + j] = PyTuple_GET_ITEM(rows[i], j);
    }
    return flat;
}

static int pack(struct map *map, struct ac__out *out, const struct ac__head *head, PyObject *fn,
                Py_ssize_t from) {
    if (!map->rows)
        return pack_range(map, out, head, from);
    PyObject *const *rows = ((PyListObject *)map->rows)->ob_item + from;
    PyObject **flat = head->arity == 1 || !head->key ? NULL : flatten(rows, head);
    PyObject *const *values = flat ? flat : rows;
    Py_ssize_t count = (Py_ssize_t)head->count * (flat ? (Py_ssize_t)head->arity : 1);
    int packed =
        head->key && (flat || head->arity == 1) ? ac__out_run(out, KIND_MAP, head, values, count) : 0;
    if (packed == 0)
        packed = pack_pickle(map, out, head, fn, from);
    PyMem_Free(flat);
    return packed < 0 ? -1 : 0;
}

static int send_chunk(struct map *map, const struct ac__map_plan *plan, struct chunk *chunk,
                      Py_ssize_t from) {
    struct ac__head head = {plan->key, chunk->calls, (uint32_t)plan->arity};
    struct ac__out out;
    if (pack(map, &out, &head, plan->fn, from) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return -1;
        chunk->exception = ac__exception_take();
        return 0;
    }
    int error = ac__engine_send(map->engine, &out, chunk->calls, false, &chunk->ticket);
    ac__out_clear(&out);
    return error;
}

int ac__map_submit(PyObject *self, const struct ac__map_plan *plan) {
    Py_ssize_t from = 0;
    for (Py_ssize_t i = 0; i < of(self)->count; i++) {
        if (send_chunk(of(self), plan, &of(self)->chunks[i], from) < 0)
            return -1;
        from += (Py_ssize_t)of(self)->chunks[i].calls;
    }
    Py_CLEAR(of(self)->rows);
    return 0;
}

/* --- in */

static void close_chunk(struct map *map) {
    ac__run_close(&map->run);
    ac_message_clear(&map->result.message);
    if (map->ticket)
        ac_pool_release(map->engine->pool, map->ticket);
    map->ticket = 0;
    map->in_run = 0;
    Py_CLEAR(map->list);
}

/* What has not begun is cancelled when somebody has iterated; else it runs. */
static void give_up(struct map *map) {
    close_chunk(map);
    Py_CLEAR(map->error);
    Py_CLEAR(map->death);
    for (; map->next < map->count; map->next++) {
        struct chunk *chunk = &map->chunks[map->next];
        Py_CLEAR(chunk->exception);
        if (chunk->ticket && map->started)
            ac_pool_release(map->engine->pool, chunk->ticket);
        else if (chunk->ticket)
            ac__engine_forget(map->engine, chunk->ticket);
        chunk->ticket = 0;
        ac_add_relaxed(&map->engine->settled, 1);
    }
    map->left = 0;
}

static PyObject *raise_object(struct map *map, PyObject *exception) {
    if (exception)
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_XDECREF(exception);
    give_up(map);
    return NULL;
}

static int open_run(struct map *map, uint32_t calls) {
    struct ac__head head;
    struct ac__span from;
    if (ac__message_head(&map->result.message, &head, &from.at, &from.end) < 0 ||
        ac__run_open(from, &map->run) < 0)
        return -1;
    if (head.count != calls) {
        PyErr_SetString(PyExc_ValueError, "allcores: damaged message in the pool's shared memory");
        return -1;
    }
    map->in_run = calls;
    return 0;
}

/* (results, None or the bytes of an error) */
static int open_list(struct map *map) {
    PyObject *pair = ac__engine_unpickle(map->engine, &map->result.message), *error = NULL;
    int good = pair && PyArg_ParseTuple(pair, "O!O:chunk", &PyList_Type, &map->list, &error);
    Py_XINCREF(good ? map->list : NULL);
    if (!good)
        map->list = NULL;
    if (good && error != Py_None) {
        map->error = PyObject_CallMethod(map->engine->errors, "raised", "O", error);
        good = map->error != NULL;
    }
    Py_XDECREF(pair);
    map->at = 0;
    return good ? 0 : -1;
}

static int open_result(struct map *map, const struct chunk *chunk) {
    PyObject *value = NULL;
    int kind = map->result.state == AC_TASK_DONE ? (int)KIND_OF(&map->result.message) : 0;
    if (kind == KIND_RUN)
        return open_run(map, chunk->calls);
    if (kind == KIND_LIST && open_list(map) == 0)
        return 0;
    if (kind == KIND_LIST) {
        value = ac__outcome_unreadable(map->engine);
    } else if (ac__outcome_of(map->engine, &map->result, map->key, &value) == 2) {
        ac__import(&value, "concurrent.futures", "CancelledError");
        if (value)
            PyErr_SetNone(value);
        Py_CLEAR(value);
    }
    if (value)
        raise_object(map, value);
    return -1;
}

/* The worker died in the middle of the chunk: the calls before the one that killed it are made once more,
 * elsewhere. Whether they are. */
static bool run_again(struct map *map, struct chunk *chunk) {
    PyObject *death = NULL;
    uint32_t calls = map->result.progress;
    if (map->result.state != AC_TASK_DIED || !calls)
        return false;
    ac__outcome_of(map->engine, &map->result, map->key, &death);
    if (death && ac_pool_retry(map->engine->pool, map->ticket, calls) == 0) {
        chunk->ticket = map->ticket;
        chunk->calls = calls;
        map->ticket = 0;
        map->next--;
        Py_XSETREF(map->death, death);
        return true;
    }
    Py_XDECREF(death);
    return false;
}

/* The next chunk that has something to give is opened, or run again. 0, or -1 with an exception. */
static int open_next(struct map *map) {
    struct chunk *chunk = &map->chunks[map->next];
    if (chunk->exception) {
        raise_object(map, Py_NewRef(chunk->exception));
        return -1;
    }
    int waited = ac__ticket_wait(map->engine, chunk->ticket, map->deadline_ns);
    if (waited > 0)
        PyErr_SetNone(PyExc_TimeoutError);
    if (waited)
        return -1;
    map->next++;
    map->ticket = chunk->ticket;
    chunk->ticket = 0;
    int error = ac_pool_take(map->engine->pool, map->ticket, &map->result);
    if (error == 0 && map->again && run_again(map, chunk))
        return 0;
    if (error == 0 && map->result.state == AC_TASK_DIED)
        map->lost = map->result.progress;
    ac_add_relaxed(&map->engine->settled, 1);
    if (error < 0)
        return ac__raise(error, "taking a result") ? 0 : -1;
    if (open_result(map, chunk) < 0)
        return -1;
    if (map->death && !map->error)
        map->error = map->death;
    else
        Py_XDECREF(map->death);
    map->death = NULL;
    return 0;
}

static PyObject *next_item(struct map *map) {
    for (;;) {
        if (map->in_run) {
            PyObject *item = ac__run_next(&map->run);
            if (--map->in_run == 0)
                close_chunk(map);
            return item ? item : raise_object(map, NULL);
        }
        if (map->list && map->at < PyList_GET_SIZE(map->list)) {
            PyObject *item = PyList_GET_ITEM(map->list, map->at);
            PyList_SET_ITEM(map->list, map->at, Py_NewRef(Py_None));
            map->at++;
            return item;
        }
        close_chunk(map);
        if (map->error) {
            PyObject *error = map->error;
            map->error = NULL;
            return raise_object(map, error);
        }
        if (map->next >= map->count)
            return NULL;
        if (open_next(map) < 0) {
            give_up(map);
            return NULL;
        }
    }
}

static PyObject *map_next(PyObject *self) {
    PyObject *item = NULL;
    AC_LOCK(self);
    of(self)->started = true;
    item = next_item(of(self));
    if (item) {
        of(self)->left--;
        of(self)->handed++;
    }
    AC_UNLOCK(self);
    return item;
}

static Py_ssize_t map_length(PyObject *self) {
    return of(self)->left;
}

static PyObject *map_length_hint(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyLong_FromSsize_t(of(self)->left);
}

static PyObject *map_handed(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyLong_FromSsize_t(of(self)->handed);
}

static PyObject *map_lost(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyLong_FromUnsignedLong(of(self)->lost);
}

static PyObject *map_close(PyObject *self, PyObject *Py_UNUSED(none)) {
    of(self)->started = true;
    give_up(of(self));
    Py_RETURN_NONE;
}

/* What the next chunk is at: 0 queued, 1 taken by a worker, 2 over, 3 could not be pickled. */
static PyObject *map_poll(PyObject *self, PyObject *Py_UNUSED(none)) {
    enum ac_task_state state = AC_TASK_QUEUED;
    struct map *map = of(self);
    if (map->next < map->count && map->chunks[map->next].exception)
        return PyLong_FromLong(3);
    if (map->next >= map->count || !map->chunks[map->next].ticket)
        return PyLong_FromLong(2);
    int error = ac_pool_state(map->engine->pool, map->chunks[map->next].ticket, &state);
    return PyLong_FromLong(error < 0 ? 2 : state == AC_TASK_QUEUED ? 0 : state == AC_TASK_RUNNING ? 1 : 2);
}

/* Takes a map of one chunk back that no worker has begun. */
static PyObject *map_cancel(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct map *map = of(self);
    if (map->count != 1 || map->next || !map->chunks[0].ticket ||
        ac_pool_cancel(map->engine->pool, map->chunks[0].ticket) < 0)
        Py_RETURN_FALSE;
    map->started = true;
    give_up(map);
    Py_RETURN_TRUE;
}

/* Whether the next chunk is over within so many seconds. */
static PyObject *map_wait(PyObject *self, PyObject *timeout) {
    struct map *map = of(self);
    int64_t deadline_ns;
    if (ac__timeout_deadline(timeout, &deadline_ns) < 0)
        return NULL;
    if (map->next >= map->count || !map->chunks[map->next].ticket)
        Py_RETURN_TRUE;
    int waited = ac__ticket_wait(map->engine, map->chunks[map->next].ticket, deadline_ns);
    return waited < 0 ? NULL : PyBool_FromLong(waited == 0);
}

static int map_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)of(self)->engine);
    Py_VISIT(of(self)->rows);
    Py_VISIT(of(self)->list);
    Py_VISIT(of(self)->error);
    Py_VISIT(of(self)->death);
    return 0;
}

static int map_clear(PyObject *self) {
    Py_CLEAR(of(self)->rows);
    Py_CLEAR(of(self)->list);
    Py_CLEAR(of(self)->error);
    Py_CLEAR(of(self)->death);
    return 0;
}

static void map_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    give_up(of(self));
    ac_free(of(self)->chunks);
    Py_CLEAR(of(self)->rows);
    Py_XDECREF((PyObject *)of(self)->engine);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef map_methods[] = {
    {"__length_hint__", map_length_hint, METH_NOARGS, "How many results are left."},
    {"handed", map_handed, METH_NOARGS, "How many results were handed out, also after the end."},
    {"lost", map_lost, METH_NOARGS,
     "How many calls behind those a worker had made when the next one killed it; their results are lost."},
    {"poll", map_poll, METH_NOARGS,
     "What the next chunk is at: 0 queued, 1 running, 2 over, 3 could not be pickled."},
    {"cancel", map_cancel, METH_NOARGS,
     "Take a map of one chunk back that no worker has begun: whether it was."},
    {"wait", map_wait, METH_O, "wait(seconds or None) -> whether the next chunk is over."},
    {"close", map_close, METH_NOARGS, "Stop: what has not begun is cancelled."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject *ac__map_type_make(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, map_dealloc},
        {Py_tp_traverse, map_traverse},
        {Py_tp_clear, map_clear},
        {Py_tp_iter, PyObject_SelfIter},
        {Py_tp_iternext, map_next},
        {Py_sq_length, map_length},
        {Py_tp_methods, map_methods},
        {Py_tp_doc, "Results of map(), in order; its length is how many are left."},
        {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "allcores._ext.MapIterator",
        .basicsize = sizeof(struct map),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                 Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return ac__make_type(module, &spec, "MapIterator");
}
