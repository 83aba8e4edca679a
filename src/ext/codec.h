/* codec.h - the typed encoding of atoms: None, bool, int, float, str and bytes of exactly these types.
 *
 * An atom is immutable and has no identity worth keeping, so that sending its value is all there is to send;
 * pickle costs ten times as much. Trees of exact lists, tuples and dicts over atoms are written too, where no
 * object in them occurs twice whose identity or size matters. Everything else is pickled as one piece, which
 * keeps aliasing inside it. The reader checks every length: what stands in shared memory was written by a
 * worker, which is not trusted. */
#ifndef AC_EXT_CODEC_H
#define AC_EXT_CODEC_H

#include "ext/compat.h"

struct ac__span { /* bytes still to be read */
    const uint8_t *at, *end;
};

/* Bytes that `value` takes, or 0 when it is not an atom (or an int of more than 64 bits). */
size_t ac__atom_size(PyObject *value);
/* Write it at `to`, where that many bytes are free; returns the end. */
uint8_t *ac__atom_write(uint8_t *to, PyObject *value);
/* The next atom as a new reference; NULL with ValueError where the bytes make no sense. */
PyObject *ac__atom_read(struct ac__span *from);

/* A run of `count` atoms: 8 bytes each and no tags where all are ints of 64 bits.
 * Size is 0 when one of them is no atom (and 1 at least otherwise). */
size_t ac__run_size(PyObject *const *items, Py_ssize_t count);
uint8_t *ac__run_write(uint8_t *to, PyObject *const *items, Py_ssize_t count, size_t size);

/* A run of atoms and trees in one go, behind `before` bytes that the caller fills: memory for PyMem_Free. The
 * trees share nothing, so that each is read alone, when it is its turn. 1; 0 when something in there is
 * neither, occurs twice, or is nested too deep; -1 with MemoryError. */
int ac__run_pack(PyObject *const *items, Py_ssize_t count, size_t before, uint8_t **ret_data,
                 size_t *ret_size);

/* A run of ints of 64 bits, one by one: its size, and false where `value` is none. */
#define AC__INTS_SIZE(count) (1 + 8 * (size_t)(count))
bool ac__ints_put(uint8_t *run, Py_ssize_t index, PyObject *value);

/* The ints of a range, as many as the reader asks for. */
enum { AC__RANGE_SIZE = 17 };
void ac__range_write(uint8_t *to, long long first, long long step);

struct ac__run { /* a run that is being read */
    struct ac__span from;
    uint8_t kind;
    uint64_t number, step; /* of a range; wraps */
    PyObject **kept;       /* short text that later items name by its number */
    uint32_t kept_count;
};
int ac__run_open(struct ac__span from, struct ac__run *ret_run); /* -1 with ValueError */
bool ac__run_holds(const struct ac__run *run, size_t count);     /* can there be so many? */
PyObject *ac__run_next(struct ac__run *run);
void ac__run_close(struct ac__run *run); /* also what is all zero */

#endif
