/* zygote.c - see zygote.h. Starting the process is Python's (allcores._zygote); this is the socket. */
#include "ext/zygote.h"

#include <unistd.h>

struct zygote {
    PyObject_HEAD struct ac_zygote *handle;
};

struct ac_zygote *ac__zygote_handle(PyObject *zygote) {
    return ((struct zygote *)zygote)->handle;
}

static PyObject *zygote_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", NULL};
    int fd;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i:Zygote", names, &fd))
        return NULL;
    struct zygote *zygote = (struct zygote *)type->tp_alloc(type, 0);
    if (!zygote)
        return NULL;
    int error = ac_zygote_open(fd, &zygote->handle);
    if (error == 0)
        return (PyObject *)zygote;
    Py_DECREF(zygote);
    return ac__raise(error, "the zygote's socket");
}

static void zygote_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    ac_zygote_free(((struct zygote *)self)->handle);
    type->tp_free(self);
    Py_DECREF(type);
}

static pid_t python_fork(void) {
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0)
        PyOS_AfterFork_Child();
    else
        PyOS_AfterFork_Parent();
    return pid;
}

PyObject *ac__zygote_serve(PyObject *module, PyObject *args) {
    struct ac_spawn spawn;
    int fd, parent;
    if (!PyArg_ParseTuple(args, "ii:serve", &fd, &parent))
        return NULL;
    int answer = ac_zygote_serve(fd, (pid_t)parent, python_fork, &spawn);
    if (answer < 0)
        return ac__raise(answer, "serving the pool");
    if (answer == 0)
        Py_RETURN_NONE;
    return ac__worker_attached(PyModule_GetState(module), &spawn);
}

PyTypeObject *ac__zygote_type_make(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_new, zygote_new},
        {Py_tp_dealloc, zygote_dealloc},
        {Py_tp_doc, "The parent's end of the socket to a zygote; takes the descriptor over."},
        {0, NULL},
    };
    static PyType_Spec spec = {
        .name = "allcores._ext.Zygote",
        .basicsize = sizeof(struct zygote),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return ac__make_type(module, &spec, "Zygote");
}
