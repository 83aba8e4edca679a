/* pickle.c - messages that are not atoms only: pickle streams with their buffers out of band.
 *
 * Two ways in: small trees of exact lists, tuples and dicts over atoms go straight to _pickle.dumps;
 * everything else to allcores._pickling, which knows buffers and what is reached by value only. */
#include "ext/codec.h"
#include "ext/ext.h"
#include "os/os.h"

#include <string.h>

enum {
    PLAIN_NODES = 256, /* a tree that is larger goes the general way */
    PLAIN_DEPTH = 8,
    MERGE = 1 << 16, /* longer streams are a part of their own, not copied behind the head */
    KIND_SPLIT = 0x100,
};

static bool is_plain(PyObject *value, int depth, int *nodes);

static bool items_plain(PyObject *const *items, Py_ssize_t count, int depth, int *nodes) {
    for (Py_ssize_t i = 0; i < count; i++)
        if (!is_plain(items[i], depth, nodes))
            return false;
    return true;
}

static bool dict_plain(PyObject *dict, int depth, int *nodes) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    bool plain = true;
    AC_LOCK(dict);
    while (plain && PyDict_Next(dict, &at, &key, &value))
        plain = is_plain(key, depth, nodes) && is_plain(value, depth, nodes);
    AC_UNLOCK(dict);
    return plain;
}

static bool list_plain(PyObject *list, int depth, int *nodes) {
    bool plain = true;
    AC_LOCK(list);
    plain = items_plain(((PyListObject *)list)->ob_item, PyList_GET_SIZE(list), depth, nodes);
    AC_UNLOCK(list);
    return plain;
}

static bool is_plain(PyObject *value, int depth, int *nodes) {
    if (--*nodes < 0 || depth > PLAIN_DEPTH)
        return false;
    if (PyLong_CheckExact(value))
        return true;
    if (PyDict_CheckExact(value))
        return dict_plain(value, depth + 1, nodes);
    if (PyList_CheckExact(value))
        return list_plain(value, depth + 1, nodes);
    if (PyTuple_CheckExact(value))
        return items_plain(((PyTupleObject *)value)->ob_item, PyTuple_GET_SIZE(value), depth + 1, nodes);
    return ac__atom_size(value) > 0;
}

void ac__out_release(struct ac__out *out) {
    for (uint32_t i = 0; i < out->view_count; i++)
        PyBuffer_Release(&out->views[i]);
    out->view_count = 0;
}

void ac__out_clear(struct ac__out *out) {
    ac__out_release(out);
    PyMem_Free(out->views);
    if (out->parts != out->few)
        PyMem_Free(out->parts);
    PyMem_Free(out->heap);
    Py_CLEAR(out->stream);
    out->views = NULL;
    out->heap = NULL;
    out->parts = NULL;
    out->count = 0;
}

uint8_t *ac__out_one(struct ac__out *out, enum ac__kind kind, const struct ac__head *head, size_t size) {
    size_t total = sizeof *head + size;
    uint8_t *at = out->inline_bytes;
    out->kind = (uint16_t)kind;
    out->count = 1;
    out->parts = out->few;
    out->heap = NULL;
    out->views = NULL;
    out->view_count = 0;
    out->stream = NULL;
    out->began_ns = 0;
    if (total > sizeof out->inline_bytes) {
        at = out->heap = PyMem_Malloc(total);
        if (!at) {
            PyErr_NoMemory();
            return NULL;
        }
    }
    memcpy(at, head, sizeof *head);
    out->few[0] = (struct ac_part){at, total};
    return at + sizeof *head;
}

int ac__out_run(struct ac__out *out, enum ac__kind kind, const struct ac__head *head, PyObject *const *items,
                Py_ssize_t count) {
    size_t size;
    int64_t began = ac_now_ns();
    memset(out, 0, offsetof(struct ac__out, inline_bytes));
    out->kind = (uint16_t)kind;
    out->count = 1;
    out->parts = out->few;
    out->heap = NULL;
    out->views = NULL;
    out->view_count = 0;
    out->stream = NULL;
    out->began_ns = began;
    int packed = ac__run_pack(items, count, sizeof *head, &out->heap, &size);
    if (packed <= 0)
        return packed;
    memcpy(out->heap, head, sizeof *head);
    out->few[0] = (struct ac_part){out->heap, size};
    return 1;
}

/* (stream, buffers) of allcores._pickling, or a stream alone. */
static PyObject *pickle(struct ac__state *state, PyObject *value, PyObject *reach, PyObject **ret_buffers) {
    int nodes = PLAIN_NODES;
    *ret_buffers = NULL;
    if (is_plain(value, 0, &nodes)) {
        if (!ac__import(&state->dumps, "_pickle", "dumps"))
            return NULL;
        PyObject *protocol = PyLong_FromLong(5);
        PyObject *args[] = {value, protocol};
        PyObject *stream = protocol ? PyObject_Vectorcall(state->dumps, args, 2, NULL) : NULL;
        Py_XDECREF(protocol);
        return stream;
    }
    if (!ac__import(&state->pickling, "allcores._pickling", NULL))
        return NULL;
    PyObject *pair = PyObject_CallMethod(state->pickling, "dumps", "OO", value, reach ? reach : Py_None);
    PyObject *stream = NULL;
    if (pair && PyArg_ParseTuple(pair, "SO!:dumps", &stream, &PyList_Type, ret_buffers)) {
        Py_INCREF(stream);
        Py_INCREF(*ret_buffers);
    }
    Py_XDECREF(pair);
    return stream;
}

static int add_buffers(struct ac__out *out, PyObject *buffers, uint32_t at) {
    Py_ssize_t count = PyList_GET_SIZE(buffers);
    out->views = PyMem_Calloc((size_t)count, sizeof *out->views);
    if (!out->views)
        return PyErr_NoMemory() ? 0 : -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_buffer *view = &out->views[i];
        if (PyObject_GetBuffer(PyList_GET_ITEM(buffers, i), view, PyBUF_ANY_CONTIGUOUS) < 0)
            return -1;
        out->view_count++;
        out->parts[at++] = (struct ac_part){view->buf, (size_t)view->len};
    }
    out->count = at;
    return 0;
}

static int add_parts(struct ac__out *out, const struct ac__head *head, PyObject *buffers) {
    const char *data = PyBytes_AS_STRING(out->stream);
    size_t size = (size_t)PyBytes_GET_SIZE(out->stream);
    size_t extra = buffers ? (size_t)PyList_GET_SIZE(buffers) : 0;
    bool split = size > MERGE;
    PyObject *stream = out->stream;
    uint8_t *at = ac__out_one(out, (enum ac__kind)out->kind, head, split ? 0 : size);
    out->stream = stream;
    if (!at)
        return -1;
    if (2 + extra > 4) {
        struct ac_part *parts = PyMem_Calloc(2 + extra, sizeof *parts);
        if (!parts)
            return PyErr_NoMemory() ? 0 : -1;
        parts[0] = out->few[0];
        out->parts = parts;
    }
    if (split) {
        out->kind |= KIND_SPLIT;
        out->parts[out->count++] = (struct ac_part){data, size};
    } else {
        memcpy(at, data, size);
    }
    return extra ? add_buffers(out, buffers, out->count) : 0;
}

int ac__out_pickle(struct ac__state *state, struct ac__out *out, enum ac__kind kind,
                   const struct ac__head *head, PyObject *value, PyObject *reach) {
    PyObject *buffers = NULL;
    int64_t began = ac_now_ns();
    memset(out, 0, offsetof(struct ac__out, inline_bytes));
    out->heap = NULL;
    out->views = NULL;
    out->view_count = 0;
    out->kind = (uint16_t)kind;
    out->stream = pickle(state, value, reach, &buffers);
    int result = out->stream ? add_parts(out, head, buffers) : -1;
    out->began_ns = began;
    Py_XDECREF(buffers);
    if (result < 0)
        ac__out_clear(out);
    return result;
}

int ac__message_head(const struct ac_message *message, struct ac__head *ret_head, const uint8_t **ret_at,
                     const uint8_t **ret_end) {
    if (!message->count || message->parts[0].size < sizeof *ret_head) {
        PyErr_SetString(PyExc_ValueError, "allcores: damaged message in the pool's shared memory");
        return -1;
    }
    memcpy(ret_head, message->parts[0].data, sizeof *ret_head);
    *ret_at = (const uint8_t *)message->parts[0].data + sizeof *ret_head;
    *ret_end = (const uint8_t *)message->parts[0].data + message->parts[0].size;
    return 0;
}

static PyObject *message_buffers(struct ac__state *state, const struct ac_message *message, uint32_t first) {
    PyObject *list = PyList_New((Py_ssize_t)(message->count - first));
    for (uint32_t i = first; list && i < message->count; i++) {
        PyObject *buffer = ac__buffer_new(state, message->block, &message->parts[i]);
        if (!buffer)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)(i - first), buffer);
    }
    return list;
}

static PyObject *loads(struct ac__state *state, PyObject *stream, PyObject *buffers) {
    PyObject *names = buffers ? Py_BuildValue("(s)", "buffers") : NULL;
    if (buffers && !names)
        return NULL;
    PyObject *args[] = {stream, buffers};
    PyObject *value = PyObject_Vectorcall(state->loads, args, 1, names);
    Py_XDECREF(names);
    return value;
}

PyObject *ac__message_unpickle(struct ac__state *state, const struct ac_message *message) {
    struct ac__head head;
    const uint8_t *at, *end;
    uint32_t first = 1;
    if (!ac__import(&state->loads, "_pickle", "loads") || ac__message_head(message, &head, &at, &end) < 0)
        return NULL;
    if (message->kind & KIND_SPLIT && message->count > 1) {
        at = message->parts[1].data;
        end = at + message->parts[1].size;
        first = 2;
    }
    PyObject *buffers = message->count > first ? message_buffers(state, message, first) : NULL;
    if (message->count > first && !buffers)
        return NULL;
    PyObject *stream = PyMemoryView_FromMemory((char *)at, end - at, PyBUF_READ);
    PyObject *value = stream ? loads(state, stream, buffers) : NULL;
    Py_XDECREF(stream);
    Py_XDECREF(buffers);
    return value;
}
