/* activity.c - which part of a process's life a function belongs to: start-up, import, pickling, moving
 * bytes.
 *
 * Told from the file that the code was compiled from and, where a file holds both, the function's name. A
 * stack's activity is that of its leaf-most frame that says something (profile.h); this table also says how
 * far down a frame's word reaches: importlib's reaches everything that it calls, runpy's only itself, since
 * what runpy calls is the program. */
#include <string.h>

#include "probe/profile_internal.h"

struct rule {
    const char *file; /* the path ends in this */
    const char
        *name; /* the function's plain name, NULL for all of the file; the first rule that fits decides */
    struct ac__trait trait;
};

#define ALL(activity)                                                                                        \
    { (activity), AC__HOLD_ALL }
#define SELF(activity)                                                                                       \
    { (activity), AC__HOLD_SELF }
#define RESET                                                                                                \
    { AC_WORK, AC__HOLD_RESET }

static const struct rule rules[] = {
    {"<frozen importlib._bootstrap>", NULL, ALL(AC_IMPORT)},
    {"<frozen importlib._bootstrap_external>", NULL, ALL(AC_IMPORT)},
    {"<frozen zipimport>", NULL, ALL(AC_IMPORT)},
    {"/importlib/_bootstrap.py", NULL, ALL(AC_IMPORT)},
    {"/importlib/_bootstrap_external.py", NULL, ALL(AC_IMPORT)},
    {"/importlib/__init__.py", NULL, ALL(AC_IMPORT)},
    {"<frozen site>", NULL, ALL(AC_START_UP)},
    {"/site.py", NULL, ALL(AC_START_UP)},
    {"<frozen getpath>", NULL, ALL(AC_START_UP)},
    {"<frozen runpy>", NULL, SELF(AC_START_UP)},
    {"/runpy.py", NULL, SELF(AC_START_UP)},
    {"/multiprocessing/process.py", "_bootstrap", RESET},
    {"/multiprocessing/process.py", "run", RESET},
    {"/multiprocessing/spawn.py", NULL, ALL(AC_START_UP)},
    {"/multiprocessing/forkserver.py", NULL, ALL(AC_START_UP)},
    {"/multiprocessing/popen_fork.py", NULL, ALL(AC_START_UP)},
    {"/multiprocessing/popen_spawn_posix.py", NULL, ALL(AC_START_UP)},
    {"/multiprocessing/popen_forkserver.py", NULL, ALL(AC_START_UP)},
    {"/multiprocessing/resource_tracker.py", NULL, ALL(AC_IPC)},
    {"/multiprocessing/reduction.py", NULL, ALL(AC_PICKLE)},
    {"/multiprocessing/connection.py", NULL, ALL(AC_IPC)},
    {"/multiprocessing/queues.py", NULL, ALL(AC_IPC)},
    {"/multiprocessing/managers.py", NULL, SELF(AC_IPC)},
    {"/concurrent/futures/process.py", "_process_worker", SELF(AC_IPC)},
    {"/concurrent/futures/process.py", "_process_chunk", SELF(AC_IPC)},
    {"/concurrent/futures/process.py", "<listcomp>", RESET},
    {"/concurrent/futures/process.py", NULL, ALL(AC_IPC)},
    {"/concurrent/futures/interpreter.py", "do_call", RESET},
    {"/concurrent/futures/interpreter.py", "initialize", ALL(AC_START_UP)},
    {"/concurrent/futures/interpreter.py", "run", SELF(AC_IPC)},
    {"/concurrent/interpreters/__init__.py", "create", ALL(AC_START_UP)},
    {"/concurrent/interpreters/__init__.py", NULL, SELF(AC_IPC)},
    {"/concurrent/interpreters/_queues.py", NULL, ALL(AC_IPC)},
    {"/allcores/_pickling.py", NULL, ALL(AC_PICKLE)},
    {"/allcores/_functions.py", NULL, ALL(AC_PICKLE)},
    {"/allcores/_reach.py", NULL, ALL(AC_PICKLE)},
    {"/allcores/_plan.py", "_pickled", ALL(AC_PICKLE)},
    {"/allcores/_zygote.py", NULL, ALL(AC_START_UP)},
    {"/allcores/_spawn.py", NULL, ALL(AC_START_UP)},
    {"/allcores/_worker.py", "serve", SELF(AC_IPC)},
    {"/allcores/_worker.py", "main", SELF(AC_START_UP)},
    {"/allcores/_worker.py", "forked", SELF(AC_START_UP)},
    {"/allcores/_worker.py", "_take_over", ALL(AC_START_UP)},
    {"/allcores/_worker.py", "_cap_threads", ALL(AC_START_UP)},
    {"/allcores/_worker.py", "_load_main", ALL(AC_START_UP)},
    {"/allcores/_worker.py", NULL, ALL(AC_IPC)},
    {"/allcores/_executor.py", NULL, SELF(AC_IPC)},
    {"/allcores/_manager.py", NULL, SELF(AC_IPC)},
    {"/allcores/_outcomes.py", NULL, ALL(AC_IPC)},
    {"/allcores/_auto_executor.py", "_sent", SELF(AC_IPC)},
    {"/allcores/_auto_executor.py", "_came", SELF(AC_IPC)},
    {"/allcores/_lines.py", "_send", SELF(AC_IPC)},
    {"/allcores/_lines.py", "_next", SELF(AC_IPC)},
    {"/allcores/_lines.py", "_checked", SELF(AC_IPC)},
    {"/allcores/_race.py", "_each", SELF(AC_IPC)},
    {"/loky/process_executor.py", "_process_worker", SELF(AC_IPC)},
    {"/loky/process_executor.py", "_process_chunk", SELF(AC_IPC)},
    {"/loky/process_executor.py", "__call__", SELF(AC_IPC)},
    {"/loky/process_executor.py", "<listcomp>", RESET},
    {"/loky/process_executor.py", NULL, ALL(AC_IPC)},
    {"/loky/backend/reduction.py", NULL, ALL(AC_PICKLE)},
    {"/loky/backend/queues.py", NULL, ALL(AC_IPC)},
    {"/loky/backend/popen_loky_posix.py", NULL, ALL(AC_START_UP)},
    {"/billiard/connection.py", NULL, ALL(AC_IPC)},
    {"/billiard/reduction.py", NULL, ALL(AC_PICKLE)},
    {"/billiard/queues.py", NULL, ALL(AC_IPC)},
    {"/pickle.py", NULL, ALL(AC_PICKLE)},
    {"/copyreg.py", NULL, ALL(AC_PICKLE)},
    {"<frozen copyreg>", NULL, ALL(AC_PICKLE)},
    {"/cloudpickle/cloudpickle.py", NULL, ALL(AC_PICKLE)},
    {"/cloudpickle/cloudpickle_fast.py", NULL, ALL(AC_PICKLE)},
    {"/dill/_dill.py", NULL, ALL(AC_PICKLE)},
    {"/joblib/numpy_pickle.py", NULL, ALL(AC_PICKLE)},
};

/* The last part of a qualified name. */
static const char *plain_name(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

struct ac__trait ac__activity_of(const char *name, const char *file) {
    name = plain_name(name);
    for (size_t i = 0; i < AC_COUNT(rules); i++)
        if (ac_ends_with(file, rules[i].file) && (!rules[i].name || strcmp(name, rules[i].name) == 0))
            return rules[i].trait;
    return (struct ac__trait){AC_WORK, AC__HOLD_NONE};
}

/* The trait of a node: `func` called from a stack with `parent`. An import that the interpreter itself
 * starts, or that start-up code asks for, is start-up. */
struct ac__trait ac__activity_below(struct ac__trait parent, bool parent_is_root, struct ac__trait func) {
    bool starting = parent.activity == AC_START_UP && parent.hold == AC__HOLD_ALL;
    if (func.hold == AC__HOLD_RESET)
        return (struct ac__trait){AC_WORK, AC__HOLD_NONE};
    if (func.activity == AC_IMPORT && (starting || parent_is_root))
        return (struct ac__trait){AC_START_UP, AC__HOLD_ALL};
    if (starting && func.activity == AC_START_UP)
        return parent;
    if (func.hold != AC__HOLD_NONE)
        return func;
    if (parent.hold == AC__HOLD_ALL)
        return parent;
    return (struct ac__trait){AC_WORK, AC__HOLD_NONE};
}
