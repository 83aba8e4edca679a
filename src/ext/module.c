/* module.c - allcores._ext: multi-phase init, one state for each interpreter, no GIL needed. */
#include "ext/ext.h"
#include "ext/forker.h"
#include "ext/zygote.h"

#include <math.h>
#include <string.h>

#include "os/os.h"

struct ac__state *ac__state_of(PyTypeObject *type) {
    return PyType_GetModuleState(type);
}

PyObject *ac__raise(int error, const char *what) {
    if (PyErr_Occurred())
        return NULL;
    if (error == -ECHILD) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this process pool belongs to the process that made it, of which this one was "
                        "forked: make another here");
        return NULL;
    }
    PyObject *args = Py_BuildValue("(iN)", -error, PyUnicode_FromFormat("%s: %s", what, strerror(-error)));
    if (args)
        PyErr_SetObject(PyExc_OSError, args);
    Py_XDECREF(args);
    return NULL;
}

PyObject *ac__import(PyObject **cache, const char *module, const char *name) {
    PyObject *known = *cache;
    if (known)
        return known;
    PyObject *imported = PyImport_ImportModule(module);
    if (imported && name) {
        PyObject *attribute = PyObject_GetAttrString(imported, name);
        Py_DECREF(imported);
        imported = attribute;
    }
    return *cache = imported;
}

PyTypeObject *ac__make_type(PyObject *module, PyType_Spec *spec, const char *name) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type && name && PyModule_AddObjectRef(module, name, type) < 0)
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

/* --- functions */

static PyObject *usable_cpus(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    struct ac_cpu_limits limits;
    int error = ac_cpus_of(getpid(), "", &limits);
    return error < 0 ? ac__raise(error, "counting usable CPUs")
                     : PyLong_FromDouble(fmax(1, ceil(limits.usable)));
}

static PyObject *zygote_socketpair(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    int parent_fd, zygote_fd;
    int error = ac_zygote_socketpair(&parent_fd, &zygote_fd);
    return error < 0 ? ac__raise(error, "a socket for the zygote")
                     : Py_BuildValue("(ii)", parent_fd, zygote_fd);
}

static PyObject *attach_forked(PyObject *module, PyObject *object) {
    struct ac__engine *engine = ac__engine_check(PyModule_GetState(module), object);
    return engine ? ac__worker_attached(PyModule_GetState(module), ac__forker_spawn_of(engine->forker))
                  : NULL;
}

static PyMethodDef functions[] = {
    {"usable_cpus", usable_cpus, METH_NOARGS,
     "CPUs that this process can use: affinity and cgroup quota, rounded up."},
    {"zygote_socketpair", zygote_socketpair, METH_NOARGS, "(parent's descriptor, zygote's descriptor)"},
    {"serve", ac__zygote_serve, METH_VARARGS,
     "serve(fd, parent) -> Worker in a new process, None at the end."},
    {"watch_begin", ac__inline_begin, METH_NOARGS, "True: this process has no thread in watch() yet."},
    {"watch", ac__inline_watch, METH_NOARGS,
     "Sleep until loops are inside long calls -> the Inlines that are."},
    {"attach_forked", attach_forked, METH_O, "In a forked child of the parent: its Worker."},
    {NULL, NULL, 0, NULL},
};

/* --- the module */

static int make_types(PyObject *module, struct ac__state *state) {
    return (state->buffer_type = ac__buffer_type_make(module)) &&
                   (state->engine_type = ac__engine_type_make(module)) &&
                   (state->executor_type = ac__executor_type_make(module)) &&
                   (state->future_type = ac__future_type_make(module)) &&
                   (state->worker_type = ac__worker_type_make(module)) &&
                   (state->zygote_type = ac__zygote_type_make(module)) &&
                   (state->map_type = ac__map_type_make(module)) &&
                   (state->tasks_type = ac__tasks_type_make(module)) &&
                   (state->inline_type = ac__inline_type_make(module))
               ? 0
               : -1;
}

static int add_constants(PyObject *module) {
    return PyModule_AddIntConstant(module, "BY_NAME", KIND_BY_NAME) < 0 ||
                   PyModule_AddIntConstant(module, "BY_VALUE", KIND_BY_VALUE) < 0 ||
                   PyModule_AddIntConstant(module, "CONFIG", KIND_CONFIG) < 0 ||
                   PyModule_AddIntConstant(module, "DEATH_CRASH", AC_DEATH_CRASH) < 0 ||
                   PyModule_AddIntConstant(module, "DEATH_LEFT", AC_DEATH_LEFT) < 0 ||
                   PyModule_AddIntConstant(module, "DEATH_NO_WORKERS", AC_DEATH_NO_WORKERS) < 0
               ? -1
               : 0;
}

static int module_exec(PyObject *module) {
    static const char *const names[] = {"PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED",
                                        "FINISHED"};
    struct ac__state *state = PyModule_GetState(module);
    for (size_t i = 0; i < AC_COUNT(names); i++)
        if (!(state->state_names[i] = PyUnicode_InternFromString(names[i])))
            return -1;
    return make_types(module, state) < 0 ? -1 : add_constants(module);
}

static PyObject **state_objects(struct ac__state *state, size_t *ret_count) {
    *ret_count = sizeof *state / sizeof(PyObject *); /* nothing else is in there */
    return (PyObject **)state;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    size_t count;
    PyObject **objects = state_objects(PyModule_GetState(module), &count);
    for (size_t i = 0; i < count; i++)
        Py_VISIT(objects[i]);
    return 0;
}

static int module_clear(PyObject *module) {
    size_t count;
    PyObject **objects = state_objects(PyModule_GetState(module), &count);
    for (size_t i = 0; i < count; i++)
        Py_CLEAR(objects[i]);
    return 0;
}

static void module_free(void *module) {
    if (PyModule_GetState(module))
        module_clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
    AC_SLOT_INTERPRETERS AC_SLOT_NO_GIL{0, NULL},
};

struct PyModuleDef ac__module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_ext",
    .m_doc = "The C side of allcores' executors.",
    .m_size = sizeof(struct ac__state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__ext(void);
PyMODINIT_FUNC PyInit__ext(void) {
    return PyModuleDef_Init(&ac__module);
}
