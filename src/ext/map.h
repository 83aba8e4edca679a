/* map.h - the iterator over the results of map(): chunks out, items in, in order. */
#ifndef AC_EXT_MAP_H
#define AC_EXT_MAP_H

#include "ext/ext.h"

struct ac__map_plan {        /* what one call of map() asks for; references borrowed */
    PyObject *fn, *rows;     /* rows: list of items, or of tuples where arity is not 1; or a range */
    Py_ssize_t arity, chunk; /* chunk 0: guided by how much is left */
    int workers;
    int64_t deadline_ns;
    int again;    /* what a worker had made of a chunk before it died is made once more */
    uint64_t key; /* of fn, 0: travels with each chunk */
};
PyObject *ac__map_new(struct ac__engine *engine,
                      const struct ac__map_plan *plan); /* chunks laid out, none sent */
uint64_t ac__map_chunks(PyObject *map);
int ac__map_submit(PyObject *map, const struct ac__map_plan *plan);

#endif
