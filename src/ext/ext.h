/* ext.h - what the files of the extension share: the module's state, its types and the format of messages.
 *
 * A message's part 0 opens with a struct ac__head; atoms (codec.h) or a pickle stream follow. Parts 1 and up
 * are the stream's out-of-band buffers. */
#ifndef AC_EXT_EXT_H
#define AC_EXT_EXT_H

#include "ext/compat.h"

#include <allcores/pool.h>

#include "base/atomics.h"
#include "base/base.h"

enum ac__kind {
    /* tasks */
    KIND_CALL = 1,    /* f(*atoms) */
    KIND_CALL_PICKLE, /* pickle of (args, kwargs); with key 0 of (f, args, kwargs) */
    KIND_MAP,         /* f over a run, `arity` a call */
    KIND_MAP_PICKLE,  /* pickle of a list of argument tuples */
    /* answers */
    KIND_ATOM,       /* one atom */
    KIND_PICKLE,     /* pickle of the result */
    KIND_ERROR,      /* the call raised: pickle of what _worker.describe() makes of it */
    KIND_UNREADABLE, /* the task's message could not be unpickled; as KIND_ERROR */
    KIND_RUN,        /* results of a chunk as a run */
    KIND_LIST,       /* results of a chunk, pickled: (results, error or None) */
    /* shared */
    KIND_BY_NAME,  /* text "module:qualname" */
    KIND_BY_VALUE, /* pickle stream */
    KIND_CONFIG,   /* marshal of a dict */
};

/* The kind of a message without the mark that pickle.c may add. */
#define KIND_OF(message) ((enum ac__kind)((message)->kind & 0xff))

struct ac__head {
    uint64_t key;   /* of the shared function; 0: it travels in the pickle */
    uint32_t count; /* values in the run, or calls in a chunk */
    uint32_t arity; /* values a call */
};

struct ac__state { /* of one module object, so of one interpreter */
    PyTypeObject *buffer_type, *engine_type, *executor_type, *future_type, *worker_type, *zygote_type,
        *map_type, *tasks_type, *inline_type;
    PyObject *dumps, *loads;   /* of _pickle; NULL until first used */
    PyObject *pickling;        /* allcores._pickling; NULL until first used */
    PyObject *condition_class; /* threading.Condition; NULL until first used */
    PyObject *state_names[5];  /* of futures, by enum ac__future_state */
};
struct ac__state *ac__state_of(PyTypeObject *type);
extern struct PyModuleDef ac__module;

/* --- module.c */
PyObject *ac__raise(int error, const char *what); /* OSError of a negative errno; NULL */
PyObject *ac__import(PyObject **cache, const char *module,
                     const char *name); /* borrowed; name NULL: module */
PyTypeObject *ac__make_type(PyObject *module, PyType_Spec *spec, const char *name);

/* --- buffer.c: bytes in the segment that live as long as their views */
PyTypeObject *ac__buffer_type_make(PyObject *module);
/* Takes its own reference on the block. */
PyObject *ac__buffer_new(struct ac__state *state, struct ac_block *block, const struct ac_view *view);

/* --- pickle.c */
/* A message being written; clear it on every path. */
struct ac__out {
    uint16_t kind;
    uint32_t count;
    struct ac_part *parts;
    struct ac_part few[4];
    uint8_t inline_bytes[256];
    uint8_t *heap;
    Py_buffer *views;
    uint32_t view_count;
    PyObject *stream;
    int64_t began_ns; /* when pickling did; 0: there was nothing that takes a while */
};
void ac__out_clear(struct ac__out *out);
void ac__out_release(struct ac__out *out); /* the buffers: `parts` points at what may be gone */
/* `head` + `size` more bytes as the only part; returns where those go, NULL with MemoryError. */
uint8_t *ac__out_one(struct ac__out *out, enum ac__kind kind, const struct ac__head *head, size_t size);
/* `value` pickled, buffers out of band. -1 with the exception of the pickler. `byvalue`: the pool's
 * _pickling.Reach or NULL. */
int ac__out_pickle(struct ac__state *state, struct ac__out *out, enum ac__kind kind,
                   const struct ac__head *head, PyObject *value, PyObject *reach);
/* `head` and a run of atoms and trees (codec.h). 1; 0 when pickle has to do it; -1 with MemoryError. */
int ac__out_run(struct ac__out *out, enum ac__kind kind, const struct ac__head *head, PyObject *const *items,
                Py_ssize_t count);
/* What a message holds after its head. */
int ac__message_head(const struct ac_message *message, struct ac__head *ret_head, const uint8_t **ret_at,
                     const uint8_t **ret_end); /* -1 with ValueError */
PyObject *ac__message_unpickle(struct ac__state *state, const struct ac_message *message);

/* --- one file a type */
PyTypeObject *ac__engine_type_make(PyObject *module);
PyTypeObject *ac__executor_type_make(PyObject *module);
PyTypeObject *ac__future_type_make(PyObject *module);
PyTypeObject *ac__worker_type_make(PyObject *module);
PyTypeObject *ac__zygote_type_make(PyObject *module);
PyTypeObject *ac__map_type_make(PyObject *module);
PyTypeObject *ac__tasks_type_make(PyObject *module);
PyTypeObject *ac__inline_type_make(PyObject *module);

/* --- inline.c: for the watcher's thread */
PyObject *ac__inline_begin(PyObject *module, PyObject *none); /* whether this process had none yet */
PyObject *ac__inline_watch(PyObject *module, PyObject *none); /* see the method's text */

/* --- engine.c: owns the struct ac_pool; outlives its executor while futures are left */
struct ac__engine {
    PyObject_HEAD struct ac__state *state;
    struct ac_pool *pool;
    struct ac_zygote *zygote;   /* borrowed: zygote_object keeps it */
    PyObject *zygote_object;    /* or NULL */
    struct ac__forker *forker;  /* forks by a Python thread of the parent; NULL with a zygote */
    PyObject *watched;          /* ticket -> future that somebody waits for or has a callback on */
    PyObject *future_class;     /* the Python class that joins FutureCore and concurrent.futures.Future */
    PyObject *errors;           /* _errors.Outcomes: makes the exceptions of futures */
    PyObject *reach;            /* _pickling.Reach of this pool */
    _Atomic uint64_t submitted; /* tasks ever, those that could not be pickled too */
    _Atomic uint64_t settled;   /* tasks whose outcome has been taken */
    _Atomic int64_t pickle_ns;  /* spent here on pickling arguments and unpickling results */
};
struct ac__engine *ac__engine_check(struct ac__state *state, PyObject *object); /* NULL with TypeError */
/* Have the manager's thread tell `future` when its ticket is over. 0, 1 (it is over), -1 exception. */
int ac__engine_watch(struct ac__engine *engine, uint64_t ticket, PyObject *future);
/* A ticket that nobody will ask for any more: it still runs. */
void ac__engine_forget(struct ac__engine *engine, uint64_t ticket);
int ac__engine_send(struct ac__engine *engine, struct ac__out *out, uint32_t items, bool more,
                    uint64_t *ret_ticket); /* 0 or -1 with an exception */

PyObject *ac__engine_unpickle(struct ac__engine *engine, const struct ac_message *message);

/* --- future.c */
enum ac__future_state {
    FUTURE_PENDING,
    FUTURE_RUNNING,
    FUTURE_CANCELLED,
    FUTURE_NOTIFIED,
    FUTURE_FINISHED,
    FUTURE_SETTLING /* never seen outside: somebody unpickles */
};
PyObject *ac__future_new(struct ac__engine *engine, uint64_t ticket, uint64_t key); /* pending */
PyObject *ac__future_failed(struct ac__engine *engine, PyObject *exception);
PyObject *ac__future_made(PyObject *class); /* pending; for ac__future_start and ac__future_finish */
int ac__future_start(PyObject *future);     /* 1 running, 0 it was cancelled, -1 exception */
/* Takes the references over; one of them is NULL. */
void ac__future_finish(PyObject *future, PyObject *result, PyObject *exception);
/* What came of a ticket: 0 *ret_value, 1 *ret_value is the exception, 2 cancelled; -1: the taking
 * itself failed. Takes and releases the ticket. */
int ac__outcome_take(struct ac__engine *engine, uint64_t ticket, uint64_t key, PyObject **ret_value);
/* The same for a message that is at hand. `value` of exceptions comes from engine->errors. */
int ac__outcome_of(struct ac__engine *engine, struct ac_result *result, uint64_t key, PyObject **ret_value);
/* The exception of a result that cannot be unpickled here: what that raised, and is set, is the cause. */
PyObject *ac__outcome_unreadable(struct ac__engine *engine);
void ac__future_settle(PyObject *future); /* in the thread that runs callbacks */
/* Wait with signals looked at. 0 over, 1 timeout, -1 exception. -EINVAL counts as over. deadline_ns -1: none.
 */
int ac__ticket_wait(struct ac__engine *engine, uint64_t ticket, int64_t deadline_ns);
int ac__timeout_deadline(PyObject *timeout,
                         int64_t *ret_deadline); /* None: -1; negative seconds count as 0 */
int64_t ac__deadline_left(int64_t deadline_ns);  /* nanoseconds, at least 0 */

#endif
