/* buffer.c - a writable buffer over a part of a message, in place: what out-of-band data is unpickled into.
 *
 * numpy and the others keep a reference to this object for as long as a view lives; its end gives the block
 * back. No Python name for the type is exported: nobody should make one. */
#include "ext/ext.h"

struct buffer {
    PyObject_HEAD struct ac_block *block;
    void *data;
    Py_ssize_t size;
};

static int buffer_get(PyObject *self, Py_buffer *view, int flags) {
    struct buffer *buffer = (struct buffer *)self;
    return PyBuffer_FillInfo(view, self, buffer->data, buffer->size, 0, flags);
}

static void buffer_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    ac_block_unref(((struct buffer *)self)->block);
    type->tp_free(self);
    Py_DECREF(type);
}

static Py_ssize_t buffer_length(PyObject *self) {
    return ((struct buffer *)self)->size;
}

PyObject *ac__buffer_new(struct ac__state *state, struct ac_block *block, const struct ac_view *view) {
    struct buffer *buffer = (struct buffer *)state->buffer_type->tp_alloc(state->buffer_type, 0);
    if (!buffer)
        return NULL;
    ac_block_ref(block);
    buffer->block = block;
    buffer->data = view->data;
    buffer->size = (Py_ssize_t)view->size;
    return (PyObject *)buffer;
}

PyTypeObject *ac__buffer_type_make(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, buffer_dealloc},
        {Py_bf_getbuffer, buffer_get},
        {Py_sq_length, buffer_length},
        {Py_tp_doc, "Bytes in the pool's shared memory, alive as long as a view on them is."},
        {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "allcores._ext.Buffer",
        .basicsize = sizeof(struct buffer),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return ac__make_type(module, &spec, NULL);
}
