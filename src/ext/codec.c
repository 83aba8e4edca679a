/* codec.c - see codec.h. Little-endian, unaligned; lengths are 32 bits, longer values are pickled. */
#include "ext/codec.h"

#include <string.h>

enum tag { TAG_NONE, TAG_FALSE, TAG_TRUE, TAG_INT, TAG_FLOAT, TAG_STR1, TAG_STR2, TAG_STR4, TAG_BYTES };
enum run { RUN_ATOMS, RUN_INTS };

enum { ATOM_MAX = 1 << 16 }; /* longer text and bytes go out of band or through pickle */

static size_t str_bytes(PyObject *value)
{
    return (size_t)PyUnicode_GET_LENGTH(value) * (size_t)PyUnicode_KIND(value);
}

size_t ac__atom_size(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    long long number;
    size_t size;
    if (type == &PyLong_Type)
        return ac__long_small(value, &number) ? 9 : 0;
    if (type == &PyUnicode_Type)
        return (size = str_bytes(value)) <= ATOM_MAX ? 5 + size : 0;
    if (value == Py_None || type == &PyBool_Type)
        return 1;
    if (type == &PyFloat_Type)
        return 9;
    if (type == &PyBytes_Type)
        return (size = (size_t)PyBytes_GET_SIZE(value)) <= ATOM_MAX ? 5 + size : 0;
    return 0;
}

static uint8_t *write_sized(uint8_t *to, enum tag tag, const void *data, size_t size)
{
    uint32_t length = (uint32_t)size;
    *to = (uint8_t)tag;
    memcpy(to + 1, &length, 4);
    memcpy(to + 5, data, size);
    return to + 5 + size;
}

static uint8_t *write_8(uint8_t *to, enum tag tag, const void *value)
{
    *to = (uint8_t)tag;
    memcpy(to + 1, value, 8);
    return to + 9;
}

static uint8_t *write_str(uint8_t *to, PyObject *value)
{
    int kind = (int)PyUnicode_KIND(value);
    enum tag tag = kind == 1 ? TAG_STR1 : kind == 2 ? TAG_STR2 : TAG_STR4;
    return write_sized(to, tag, PyUnicode_DATA(value), str_bytes(value));
}

uint8_t *ac__atom_write(uint8_t *to, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    long long number = 0;
    if (type == &PyLong_Type) {
        ac__long_small(value, &number);
        return write_8(to, TAG_INT, &number);
    }
    if (type == &PyUnicode_Type)
        return write_str(to, value);
    if (type == &PyFloat_Type) {
        double real = PyFloat_AS_DOUBLE(value);
        return write_8(to, TAG_FLOAT, &real);
    }
    if (type == &PyBytes_Type)
        return write_sized(to, TAG_BYTES, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
    *to = (uint8_t)(value == Py_None ? TAG_NONE : value == Py_True ? TAG_TRUE : TAG_FALSE);
    return to + 1;
}

static PyObject *damaged(void)
{
    PyErr_SetString(PyExc_ValueError, "allcores: damaged message in the pool's shared memory");
    return NULL;
}

static const uint8_t *take(struct ac__span *from, size_t size)
{
    if ((size_t)(from->end - from->at) < size)
        return NULL;
    const uint8_t *at = from->at;
    from->at += size;
    return at;
}

static PyObject *read_8(struct ac__span *from, enum tag tag)
{
    const uint8_t *at = take(from, 8);
    long long number;
    double real;
    if (!at)
        return damaged();
    if (tag == TAG_FLOAT) {
        memcpy(&real, at, 8);
        return PyFloat_FromDouble(real);
    }
    memcpy(&number, at, 8);
    return PyLong_FromLongLong(number);
}

static PyObject *read_str(const uint8_t *at, size_t size, int kind)
{
    if (size % (size_t)kind)
        return damaged();
    if (kind == 1 || !((uintptr_t)at % (uintptr_t)kind))
        return PyUnicode_FromKindAndData(kind, at, (Py_ssize_t)(size / (size_t)kind));
    void *aligned = PyMem_Malloc(size); /* wide text that stands at an odd address */
    if (!aligned)
        return PyErr_NoMemory();
    memcpy(aligned, at, size);
    PyObject *text = PyUnicode_FromKindAndData(kind, aligned, (Py_ssize_t)(size / (size_t)kind));
    PyMem_Free(aligned);
    return text;
}

static PyObject *read_sized(struct ac__span *from, enum tag tag)
{
    uint32_t length;
    const uint8_t *at = take(from, 4);
    if (!at)
        return damaged();
    memcpy(&length, at, 4);
    at = take(from, length);
    if (!at)
        return damaged();
    if (tag == TAG_BYTES)
        return PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)length);
    return read_str(at, length, tag == TAG_STR1 ? 1 : tag == TAG_STR2 ? 2 : 4);
}

PyObject *ac__atom_read(struct ac__span *from)
{
    const uint8_t *at = take(from, 1);
    switch (at ? *at : 255) {
    case TAG_NONE:  Py_RETURN_NONE;
    case TAG_FALSE: Py_RETURN_FALSE;
    case TAG_TRUE:  Py_RETURN_TRUE;
    case TAG_INT:
    case TAG_FLOAT: return read_8(from, (enum tag) * at);
    case TAG_STR1:
    case TAG_STR2:
    case TAG_STR4:
    case TAG_BYTES: return read_sized(from, (enum tag) * at);
    default:        return damaged();
    }
}

static bool all_ints(PyObject *const *items, Py_ssize_t count)
{
    long long number;
    for (Py_ssize_t i = 0; i < count; i++)
        if (Py_TYPE(items[i]) != &PyLong_Type || !ac__long_small(items[i], &number))
            return false;
    return true;
}

size_t ac__run_size(PyObject *const *items, Py_ssize_t count)
{
    size_t total = 1;
    if (all_ints(items, count))
        return 1 + 8 * (size_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        size_t size = ac__atom_size(items[i]);
        if (!size)
            return 0;
        total += size;
    }
    return total;
}

uint8_t *ac__run_write(uint8_t *to, PyObject *const *items, Py_ssize_t count, size_t size)
{
    bool ints = size == 1 + 8 * (size_t)count && all_ints(items, count);
    *to++ = ints ? RUN_INTS : RUN_ATOMS;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!ints) {
            to = ac__atom_write(to, items[i]);
            continue;
        }
        long long number = 0;
        ac__long_small(items[i], &number);
        memcpy(to, &number, 8);
        to += 8;
    }
    return to;
}

int ac__run_open(struct ac__span from, struct ac__run *ret_run)
{
    const uint8_t *at = take(&from, 1);
    if (!at || *at > RUN_INTS) {
        damaged();
        return -1;
    }
    *ret_run = (struct ac__run){.from = from, .ints = *at == RUN_INTS};
    return 0;
}

PyObject *ac__run_next(struct ac__run *run)
{
    return run->ints ? read_8(&run->from, TAG_INT) : ac__atom_read(&run->from);
}
