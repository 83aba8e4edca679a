/* codec.c - see codec.h. Little-endian, unaligned; lengths are 32 bits, longer values are pickled. */
#include "ext/codec.h"

#include <string.h>

enum tag {
    /* atoms */
    TAG_NONE,
    TAG_FALSE,
    TAG_TRUE,
    TAG_INT,
    TAG_FLOAT,
    TAG_STR1,
    TAG_STR2,
    TAG_STR4,
    TAG_BYTES,
    /* only in trees: 32 bits of how many follow */
    TAG_LIST,
    TAG_TUPLE,
    TAG_DICT,
    /* only in trees: text of that many bytes in 8 bits, to be kept; and the number of one that was, in 8 or
       32 bits */
    TAG_KEEP1,
    TAG_KEEP2,
    TAG_KEEP4,
    TAG_AGAIN1,
    TAG_AGAIN4,
};
enum run { RUN_ATOMS, RUN_INTS, RUN_RANGE, RUN_TREES };

enum {
    ATOM_MAX = 1 << 16, /* longer text and bytes go out of band or through pickle */
    KEEP_BYTES = 64,    /* longer text is written in full, and once only */
    KEEP_MAX = 4096,
    TREE_DEPTH = 16,
};

static size_t str_bytes(PyObject *value) {
    return (size_t)PyUnicode_GET_LENGTH(value) * (size_t)PyUnicode_KIND(value);
}

size_t ac__atom_size(PyObject *value) {
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

static uint8_t *write_sized(uint8_t *to, enum tag tag, const void *data, size_t size) {
    uint32_t length = (uint32_t)size;
    *to = (uint8_t)tag;
    memcpy(to + 1, &length, 4);
    memcpy(to + 5, data, size);
    return to + 5 + size;
}

static uint8_t *write_8(uint8_t *to, enum tag tag, const void *value) {
    *to = (uint8_t)tag;
    memcpy(to + 1, value, 8);
    return to + 9;
}

static uint8_t *write_str(uint8_t *to, PyObject *value) {
    int kind = (int)PyUnicode_KIND(value);
    enum tag tag = kind == 1 ? TAG_STR1 : kind == 2 ? TAG_STR2 : TAG_STR4;
    return write_sized(to, tag, PyUnicode_DATA(value), str_bytes(value));
}

uint8_t *ac__atom_write(uint8_t *to, PyObject *value) {
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

static PyObject *damaged(void) {
    PyErr_SetString(PyExc_ValueError, "allcores: damaged message in the pool's shared memory");
    return NULL;
}

static const uint8_t *take(struct ac__span *from, size_t size) {
    if ((size_t)(from->end - from->at) < size)
        return NULL;
    const uint8_t *at = from->at;
    from->at += size;
    return at;
}

static PyObject *read_8(struct ac__span *from, enum tag tag) {
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

static PyObject *read_str(const uint8_t *at, size_t size, int kind) {
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

static PyObject *read_sized(struct ac__span *from, enum tag tag) {
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

PyObject *ac__atom_read(struct ac__span *from) {
    const uint8_t *at = take(from, 1);
    switch (at ? *at : 255) {
    case TAG_NONE: Py_RETURN_NONE;
    case TAG_FALSE: Py_RETURN_FALSE;
    case TAG_TRUE: Py_RETURN_TRUE;
    case TAG_INT:
    case TAG_FLOAT: return read_8(from, (enum tag) * at);
    case TAG_STR1:
    case TAG_STR2:
    case TAG_STR4:
    case TAG_BYTES: return read_sized(from, (enum tag) * at);
    default: return damaged();
    }
}

static bool all_ints(PyObject *const *items, Py_ssize_t count) {
    long long number;
    for (Py_ssize_t i = 0; i < count; i++)
        if (Py_TYPE(items[i]) != &PyLong_Type || !ac__long_small(items[i], &number))
            return false;
    return true;
}

size_t ac__run_size(PyObject *const *items, Py_ssize_t count) {
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

uint8_t *ac__run_write(uint8_t *to, PyObject *const *items, Py_ssize_t count, size_t size) {
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

/* --- trees, written */

struct memo {
    PyObject *object;
    uint32_t number;
};

enum { MEMO_FIRST = 64, ONCE_FIRST = 64 };

struct writer {
    uint8_t *data;
    size_t size, cap;
    struct memo *memos; /* kept text; open addressing, at most half full */
    uint32_t mask, kept;
    uint32_t *once; /* addresses of what must not come again, in 32 bits; the same way */
    uint32_t once_mask, once_count;
    struct memo few[MEMO_FIRST];
    uint32_t once_few[ONCE_FIRST];
};

/* While a run is written nothing of it can go, but where other threads run: an address must not get another
 * owner. */
#ifdef Py_GIL_DISABLED
enum { HOLDS = 1 };
#else
enum { HOLDS = 0 };
#endif

static void hold(PyObject *object) {
    if (HOLDS)
        Py_INCREF(object);
}

static void let_go(PyObject *object) {
    if (HOLDS)
        Py_DECREF(object);
}

/* What a step returns: WRITTEN, or why the whole run is given up. */
enum { OUT_OF_MEMORY = -1, UNFIT = 0, WRITTEN = 1 };

static inline uint8_t *room(struct writer *w, size_t size) {
    if (w->cap - w->size < size) {
        size_t cap = w->cap + w->cap / 2 + size + 256;
        uint8_t *data = PyMem_Realloc(w->data, cap);
        if (!data)
            return NULL;
        w->data = data;
        w->cap = cap;
    }
    uint8_t *at = w->data + w->size;
    w->size += size;
    return at;
}

static struct memo *memo_at(struct memo *memos, uint32_t mask, const PyObject *object) {
    uint32_t at = (uint32_t)(((uint64_t)(uintptr_t)object * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & mask;
    while (memos[at].object && memos[at].object != object)
        at = (at + 1) & mask;
    return &memos[at];
}

static int memos_grow(struct writer *w) {
    uint32_t mask = w->mask * 4 + 3;
    struct memo *memos = PyMem_Calloc((size_t)mask + 1, sizeof *memos);
    if (!memos)
        return OUT_OF_MEMORY;
    for (uint32_t i = 0; i <= w->mask; i++)
        if (w->memos[i].object)
            *memo_at(memos, mask, w->memos[i].object) = w->memos[i];
    if (w->memos != w->few)
        PyMem_Free(w->memos);
    w->memos = memos;
    w->mask = mask;
    return WRITTEN;
}

static int memo_add(struct writer *w, PyObject *object) {
    if (2 * (w->kept + 1) > w->mask && memos_grow(w) < 0)
        return OUT_OF_MEMORY;
    *memo_at(w->memos, w->mask, object) = (struct memo){object, w->kept++};
    hold(object);
    return WRITTEN;
}

static void memos_clear(struct writer *w) {
    for (uint32_t i = 0; HOLDS && i <= w->mask; i++)
        if (w->memos[i].object)
            let_go(w->memos[i].object);
    if (w->memos != w->few)
        PyMem_Free(w->memos);
    if (w->once != w->once_few)
        PyMem_Free(w->once);
}

static uint32_t *once_at(uint32_t *once, uint32_t mask, uint32_t address) {
    uint32_t at = (uint32_t)((uint64_t)address * UINT64_C(0x9E3779B97F4A7C15) >> 32) & mask;
    while (once[at] && once[at] != address)
        at = (at + 1) & mask;
    return &once[at];
}

static int once_grow(struct writer *w) {
    uint32_t mask = w->once_mask * 4 + 3;
    uint32_t *once = PyMem_Calloc((size_t)mask + 1, sizeof *once);
    if (!once)
        return OUT_OF_MEMORY;
    for (uint32_t i = 0; i <= w->once_mask; i++)
        if (w->once[i])
            *once_at(once, mask, w->once[i]) = w->once[i];
    if (w->once != w->once_few)
        PyMem_Free(w->once);
    w->once = once;
    w->once_mask = mask;
    return WRITTEN;
}

/* What only its place in this tree refers to cannot come again. Two addresses that are the same in these 32
 * bits (64 GiB apart) make the run go by pickle, nothing worse. */
static int note_once(struct writer *w, PyObject *value) {
    if (Py_REFCNT(value) == 1)
        return WRITTEN;
    uint32_t address = (uint32_t)((uintptr_t)value >> 4);
    address += !address;
    if (2 * (w->once_count + 1) > w->once_mask && once_grow(w) < 0)
        return OUT_OF_MEMORY;
    uint32_t *at = once_at(w->once, w->once_mask, address);
    if (*at)
        return UNFIT;
    *at = address;
    w->once_count++;
    return WRITTEN;
}

static int pack_atom(struct writer *w, PyObject *value) {
    size_t size = ac__atom_size(value);
    uint8_t *to = size ? room(w, size) : NULL;
    if (!to)
        return size ? OUT_OF_MEMORY : UNFIT;
    ac__atom_write(to, value);
    return WRITTEN;
}

static int pack_again(struct writer *w, uint32_t number) {
    uint8_t *to = room(w, number < 256 ? 2 : 5);
    if (!to)
        return OUT_OF_MEMORY;
    to[0] = number < 256 ? TAG_AGAIN1 : TAG_AGAIN4;
    if (number < 256)
        to[1] = (uint8_t)number;
    else
        memcpy(to + 1, &number, 4);
    return WRITTEN;
}

static int pack_kept(struct writer *w, PyObject *value, size_t size) {
    int kind = (int)PyUnicode_KIND(value);
    uint8_t *to = room(w, 2 + size);
    if (!to)
        return OUT_OF_MEMORY;
    to[0] = (uint8_t)(kind == 1 ? TAG_KEEP1 : kind == 2 ? TAG_KEEP2 : TAG_KEEP4);
    to[1] = (uint8_t)size;
    memcpy(to + 2, PyUnicode_DATA(value), size);
    return memo_add(w, value);
}

/* Short text inside trees is mostly keys: written once. */
static int pack_str(struct writer *w, PyObject *value, int depth) {
    size_t size = str_bytes(value);
    if (size > KEEP_BYTES) {
        int noted = note_once(w, value);
        return noted == WRITTEN ? pack_atom(w, value) : noted;
    }
    if (depth == 0 || Py_REFCNT(value) == 1)
        return pack_atom(w, value);
    const struct memo *memo = memo_at(w->memos, w->mask, value);
    if (memo->object)
        return pack_again(w, memo->number);
    return w->kept < KEEP_MAX ? pack_kept(w, value, size) : pack_atom(w, value);
}

static int pack_bytes(struct writer *w, PyObject *value) {
    int noted = PyBytes_GET_SIZE(value) > KEEP_BYTES ? note_once(w, value) : WRITTEN;
    return noted == WRITTEN ? pack_atom(w, value) : noted;
}

static int pack_value(struct writer *w, PyObject *value, int depth);

static int pack_pairs(struct writer *w, PyObject *dict, int depth, uint32_t *ret_count) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    int packed = WRITTEN;
    AC_LOCK(dict);
    while (packed == WRITTEN && PyDict_Next(dict, &at, &key, &value)) {
        packed = pack_value(w, key, depth);
        if (packed == WRITTEN)
            packed = pack_value(w, value, depth);
        ++*ret_count;
    }
    AC_UNLOCK(dict);
    return packed;
}

static int pack_list(struct writer *w, PyObject *list, int depth, uint32_t *ret_count) {
    int packed = WRITTEN;
    AC_LOCK(list);
    for (Py_ssize_t i = 0; packed == WRITTEN && i < PyList_GET_SIZE(list); i++, ++*ret_count)
        packed = pack_value(w, PyList_GET_ITEM(list, i), depth);
    AC_UNLOCK(list);
    return packed;
}

static int pack_tuple(struct writer *w, PyObject *tuple, int depth, uint32_t *ret_count) {
    int packed = WRITTEN;
    for (Py_ssize_t i = 0; packed == WRITTEN && i < PyTuple_GET_SIZE(tuple); i++, ++*ret_count)
        packed = pack_value(w, PyTuple_GET_ITEM(tuple, i), depth);
    return packed;
}

/* Held meanwhile: without a GIL the lock of what `value` is in may be lent to another thread while that of
 * something further in is waited for. */
static int pack_container(struct writer *w, PyObject *value, int depth) {
    enum tag tag = PyDict_CheckExact(value) ? TAG_DICT : PyList_CheckExact(value) ? TAG_LIST : TAG_TUPLE;
    bool empty = tag == TAG_TUPLE && !PyTuple_GET_SIZE(value); /* there is only one */
    int packed = depth >= TREE_DEPTH ? UNFIT : empty ? WRITTEN : note_once(w, value);
    size_t start = w->size;
    uint32_t count = 0;
    if (packed != WRITTEN)
        return packed;
    if (!room(w, 5))
        return OUT_OF_MEMORY;
    hold(value);
    packed = tag == TAG_DICT   ? pack_pairs(w, value, depth + 1, &count)
             : tag == TAG_LIST ? pack_list(w, value, depth + 1, &count)
                               : pack_tuple(w, value, depth + 1, &count);
    let_go(value);
    w->data[start] = (uint8_t)tag;
    memcpy(w->data + start + 1, &count, 4);
    return packed;
}

static int pack_value(struct writer *w, PyObject *value, int depth) {
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type)
        return pack_str(w, value, depth);
    if (type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type)
        return pack_container(w, value, depth);
    return type == &PyBytes_Type ? pack_bytes(w, value) : pack_atom(w, value);
}

bool ac__ints_put(uint8_t *run, Py_ssize_t index, PyObject *value) {
    long long number;
    if (!PyLong_CheckExact(value) || !ac__long_small(value, &number))
        return false;
    *run = RUN_INTS;
    memcpy(run + 1 + 8 * index, &number, 8);
    return true;
}

void ac__range_write(uint8_t *to, long long first, long long step) {
    *to = RUN_RANGE;
    memcpy(to + 1, &first, 8);
    memcpy(to + 9, &step, 8);
}

static int pack_ints(struct writer *w, PyObject *const *items, Py_ssize_t count) {
    uint8_t *to = room(w, 1 + 8 * (size_t)count);
    if (!to)
        return OUT_OF_MEMORY;
    *to++ = RUN_INTS;
    for (Py_ssize_t i = 0; i < count; i++, to += 8) {
        long long number;
        if (Py_TYPE(items[i]) != &PyLong_Type || !ac__long_small(items[i], &number))
            return UNFIT;
        memcpy(to, &number, 8);
    }
    return WRITTEN;
}

static int pack_trees(struct writer *w, PyObject *const *items, Py_ssize_t count) {
    int packed = WRITTEN;
    uint8_t *to = room(w, 1);
    if (!to)
        return OUT_OF_MEMORY;
    *to = RUN_TREES;
    for (Py_ssize_t i = 0; packed == WRITTEN && i < count; i++)
        packed = pack_value(w, items[i], 0);
    return packed;
}

int ac__run_pack(PyObject *const *items, Py_ssize_t count, size_t before, uint8_t **ret_data,
                 size_t *ret_size) {
    struct writer w = {.mask = MEMO_FIRST - 1, .once_mask = ONCE_FIRST - 1};
    w.memos = w.few;
    w.once = w.once_few;
    int packed = room(&w, before) ? UNFIT : OUT_OF_MEMORY;
    if (packed == UNFIT && count && PyLong_CheckExact(items[0]))
        packed = pack_ints(&w, items, count);
    if (packed == UNFIT) {
        w.size = before;
        packed = pack_trees(&w, items, count);
    }
    memos_clear(&w);
    if (packed != WRITTEN || w.size > UINT32_MAX) {
        PyMem_Free(w.data);
        if (packed < 0)
            PyErr_NoMemory();
        return packed < 0 ? -1 : 0;
    }
    *ret_data = w.data;
    *ret_size = w.size;
    return 1;
}

/* --- runs, read */

int ac__run_open(struct ac__span from, struct ac__run *ret_run) {
    const uint8_t *at = take(&from, 1);
    if (!at || *at > RUN_TREES || (*at == RUN_RANGE && from.end - from.at < 16)) {
        damaged();
        return -1;
    }
    *ret_run = (struct ac__run){.from = from, .kind = *at};
    if (ret_run->kind == RUN_RANGE) {
        memcpy(&ret_run->number, from.at, 8);
        memcpy(&ret_run->step, from.at + 8, 8);
    }
    return 0;
}

bool ac__run_holds(const struct ac__run *run, size_t count) {
    size_t size = (size_t)(run->from.end - run->from.at);
    return run->kind == RUN_RANGE || count <= (run->kind == RUN_INTS ? size / 8 : size); /* a byte at least */
}

void ac__run_close(struct ac__run *run) {
    for (uint32_t i = 0; i < run->kept_count; i++)
        Py_DECREF(run->kept[i]);
    PyMem_Free(run->kept);
    run->kept = NULL;
    run->kept_count = 0;
}

static PyObject *read_kept(struct ac__run *run, enum tag tag) {
    const uint8_t *size = take(&run->from, 1);
    const uint8_t *at = size ? take(&run->from, *size) : NULL;
    uint32_t count = run->kept_count;
    if (!at || count >= KEEP_MAX)
        return damaged();
    if (!(count & (count - 1))) { /* full at each power of two */
        PyObject **kept = PyMem_Realloc(run->kept, (count ? 2 * (size_t)count : 1) * sizeof *kept);
        if (!kept)
            return PyErr_NoMemory();
        run->kept = kept;
    }
    PyObject *text = read_str(at, (size_t)(run->from.at - at),
                              tag == TAG_KEEP1   ? 1
                              : tag == TAG_KEEP2 ? 2
                                                 : 4);
    if (text)
        run->kept[run->kept_count++] = Py_NewRef(text);
    return text;
}

static PyObject *read_again(struct ac__run *run, enum tag tag) {
    uint32_t number;
    const uint8_t *at = take(&run->from, tag == TAG_AGAIN1 ? 1 : 4);
    if (!at)
        return damaged();
    if (tag == TAG_AGAIN1)
        number = *at;
    else
        memcpy(&number, at, 4);
    return number < run->kept_count ? Py_NewRef(run->kept[number]) : damaged();
}

static PyObject *read_value(struct ac__run *run, int depth);

static int read_pairs(struct ac__run *run, PyObject *dict, uint32_t count, int depth) {
    int error = 0;
    while (!error && count--) {
        PyObject *key = read_value(run, depth);
        PyObject *value = key ? read_value(run, depth) : NULL;
        error = value ? PyDict_SetItem(dict, key, value) : -1;
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return error;
}

static int read_items(struct ac__run *run, PyObject **items, uint32_t count, int depth) {
    for (uint32_t i = 0; i < count; i++)
        if (!(items[i] = read_value(run, depth)))
            return -1;
    return 0;
}

static PyObject *read_container(struct ac__run *run, enum tag tag, int depth) {
    uint32_t count;
    int error = 0;
    const uint8_t *at = take(&run->from, 4);
    if (at)
        memcpy(&count, at, 4);
    if (!at || depth >= TREE_DEPTH ||
        count > (size_t)(run->from.end - run->from.at)) /* each takes a byte at least */
        return damaged();
    PyObject *made = tag == TAG_DICT   ? PyDict_New()
                     : tag == TAG_LIST ? PyList_New((Py_ssize_t)count)
                                       : PyTuple_New((Py_ssize_t)count);
    if (made && tag == TAG_DICT)
        error = read_pairs(run, made, count, depth + 1);
    else if (made && count)
        error = read_items(
            run, tag == TAG_LIST ? ((PyListObject *)made)->ob_item : ((PyTupleObject *)made)->ob_item, count,
            depth + 1);
    if (error)
        Py_CLEAR(made);
    return made;
}

static PyObject *read_value(struct ac__run *run, int depth) {
    uint8_t tag = run->from.at < run->from.end ? *run->from.at : 255;
    if (tag < TAG_LIST || tag > TAG_AGAIN4)
        return ac__atom_read(&run->from);
    run->from.at++;
    switch (tag) {
    case TAG_LIST:
    case TAG_TUPLE:
    case TAG_DICT: return read_container(run, (enum tag)tag, depth);
    case TAG_AGAIN1:
    case TAG_AGAIN4: return read_again(run, (enum tag)tag);
    default: return read_kept(run, (enum tag)tag);
    }
}

PyObject *ac__run_next(struct ac__run *run) {
    uint64_t number = run->number;
    switch (run->kind) {
    case RUN_INTS: return read_8(&run->from, TAG_INT);
    case RUN_RANGE: run->number += run->step; return PyLong_FromLongLong((long long)number);
    default: return read_value(run, 0);
    }
}
