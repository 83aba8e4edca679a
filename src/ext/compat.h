/* compat.h - every difference between the CPython versions that this extension builds on (3.11 to 3.15).
 *
 * Nothing else in src/ext looks at PY_VERSION_HEX. */
#ifndef AC_EXT_COMPAT_H
#define AC_EXT_COMPAT_H

#include <stdbool.h>
#include <stdint.h>

#define PY_SSIZE_T_CLEAN
#if defined(__GNUC__)
/* CPython's own headers are not clean under our warnings */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#endif
#include <Python.h>
#include <structmember.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#if PY_VERSION_HEX < 0x030B0000
#error "allcores needs CPython 3.11 or newer"
#endif

#ifdef Py_GIL_DISABLED
enum { AC_HAS_GIL = 0 };
#else
enum { AC_HAS_GIL = 1 };
#endif

/* --- per-object locks: the GIL is the lock where there is one */
#if PY_VERSION_HEX >= 0x030D0000
#define AC_LOCK(object)                                                                                      \
    (void)(object);                                                                                          \
    Py_BEGIN_CRITICAL_SECTION(object)
#define AC_UNLOCK(object) Py_END_CRITICAL_SECTION()
#else
#define AC_LOCK(object)                                                                                      \
    {                                                                                                        \
        (void)(object);
#define AC_UNLOCK(object)                                                                                    \
    (void)(object);                                                                                          \
    }
#endif

/* --- slots of a module that uses no GIL and may live in several interpreters */
#if PY_VERSION_HEX >= 0x030C0000
#define AC_SLOT_INTERPRETERS {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#else
#define AC_SLOT_INTERPRETERS
#endif
#if PY_VERSION_HEX >= 0x030D0000
#define AC_SLOT_NO_GIL {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#else
#define AC_SLOT_NO_GIL
#endif

/* --- small integers without a call */
static inline int ac__long_small(PyObject *value, long long *ret_value) {
#if PY_VERSION_HEX >= 0x030C0000
    if (PyUnstable_Long_IsCompact((PyLongObject *)value)) {
        *ret_value = (long long)PyUnstable_Long_CompactValue((PyLongObject *)value);
        return 1;
    }
#endif
    int overflow = 0;
    *ret_value = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow == 0;
}

/* --- names that came later */
#if PY_VERSION_HEX < 0x030D0000
static inline PyObject *ac__dict_ref(PyObject *dict, PyObject *key) /* new reference, or NULL without error */
{
    PyObject *value = PyDict_GetItemWithError(dict, key);
    Py_XINCREF(value);
    return value;
}
#else
static inline PyObject *ac__dict_ref(PyObject *dict, PyObject *key) {
    PyObject *value = NULL;
    return PyDict_GetItemRef(dict, key, &value) < 0 ? NULL : value;
}
#endif

/* The exception that is set, with its traceback; new reference, and none is set any more. */
#if PY_VERSION_HEX < 0x030C0000
static inline PyObject *ac__exception_take(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback && value)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}
#else
static inline PyObject *ac__exception_take(void) {
    return PyErr_GetRaisedException();
}
#endif

/* Sets it again as it was; steals the reference. */
#if PY_VERSION_HEX < 0x030C0000
static inline void ac__exception_put(PyObject *exception) {
    PyErr_Restore(Py_NewRef(Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
}
#else
static inline void ac__exception_put(PyObject *exception) {
    PyErr_SetRaisedException(exception);
}
#endif

/* --- a reference on an object that another thread may be deallocating: whether it was to be had */
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
static inline void ac__allow_try_incref(PyObject *object) {
    PyUnstable_EnableTryIncRef(object);
}
static inline int ac__try_incref(PyObject *object) {
    return PyUnstable_TryIncRef(object);
}
#else
static inline void ac__allow_try_incref(PyObject *object) {
    (void)object;
}
static inline int ac__try_incref(PyObject *object) {
#ifdef Py_GIL_DISABLED
    (void)object;
    return 0;
#else
    return Py_REFCNT(object) > 0 && Py_NewRef(object) != NULL;
#endif
}
#endif

#endif
