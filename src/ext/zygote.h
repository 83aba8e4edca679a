/* zygote.h - the Python objects at both ends of a zygote's socket. */
#ifndef AC_EXT_ZYGOTE_H
#define AC_EXT_ZYGOTE_H

#include "ext/ext.h"

struct ac_zygote *ac__zygote_handle(PyObject *zygote); /* of an exact Zygote */
/* serve(fd, parent) -> Worker in a new process, None in the zygote when it is to end. */
PyObject *ac__zygote_serve(PyObject *module, PyObject *args);
PyObject *ac__worker_attached(struct ac__state *state, const struct ac_spawn *spawn);

#endif
