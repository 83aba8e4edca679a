/* runtime.c - the Python runtime of a process, followed over its life: a shim that becomes Python by exec, an
 * interpreter that is still starting, one that cannot be read, one that is replaced. And which of its thread
 * states is which of our threads. */
#include <stdio.h>
#include <string.h>

#include "probe/sampler_internal.h"

#define OPEN_FIRST_NS    (2 * AC_NS_PER_MS)
#define OPEN_BOOT_MAX_NS (20 * AC_NS_PER_MS)
#define OPEN_MAX_NS      AC_NS_PER_S
#define MAP_FIRST_NS     (2 * AC_NS_PER_MS)
#define MAP_MAX_NS       (250 * AC_NS_PER_MS)
#define EXE_CHECK_NS     (50 * AC_NS_PER_MS)
enum { MAX_THREAD_STATES = 65536 };
enum { BAD_READS = 3 }; /* so many in a row: it is not the process that we opened */

void ac__runtime_rescan(struct ac__process *process, int64_t now) {
    process->map_ns = now;
    process->map_step_ns = MAP_FIRST_NS;
}

void ac__runtime_count(struct ac_sampler *sampler, const struct ac__process *process) {
    uint64_t torn = 0, failed = 0;
    if (process->py)
        ac_py_errors(process->py, &torn, &failed);
    sampler->torn += torn;
    sampler->failed += failed;
}

void ac__runtime_reset(struct ac_sampler *sampler, struct ac__process *process) {
    ac__runtime_count(sampler, process);
    ac_py_close(process->py);
    process->py = NULL;
    process->runtime = AC__RUNTIME_NOT_YET;
    process->open_step_ns = 0;
    process->holder_func = AC__NONE;
    process->bad_reads = 0;
    for (uint32_t i = process->first_thread; i != AC__NONE; i = sampler->threads[i].next) {
        struct ac__thread *thread = &sampler->threads[i];
        thread->tstate = thread->fingerprint = 0;
        thread->leaf_node = 0;
        thread->leaf_func = AC__NONE;
        thread->dirty = true;
    }
}

static void set_note(struct ac_sampler *sampler, struct ac__process *process, const char *note) {
    ac_profile_string(sampler->profile, note, strlen(note), &process->info.note);
    if (process->row != AC__NONE && process->row != sampler->overflow_process)
        sampler->profile->processes[process->row].note = process->info.note;
}

static void set_version(struct ac_sampler *sampler, struct ac__process *process,
                        const struct ac_py_version *version) {
    char text[64];
    struct ac_process *info = &process->info;
    if (version->major == 0)
        return;
    int len = snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->micro);
    ac_profile_string(sampler->profile, text, (size_t)len, &info->python);
    info->free_threaded = version->free_threaded;
    info->cuda = version->cuda;
    process->free_threaded = version->free_threaded;
    if (process->row != AC__NONE && process->row != sampler->overflow_process) {
        struct ac_process *row = &sampler->profile->processes[process->row];
        row->python = info->python;
        row->free_threaded = info->free_threaded;
        row->cuda = info->cuda;
    }
}

/* What ran before Python was initialised was Python's start: one thread, which would have held the GIL. */
void ac__runtime_settle_boot(struct ac_sampler *sampler, struct ac__thread *thread) {
    int64_t ns = thread->boot_ns;
    if (ns == 0)
        return;
    thread->boot_ns = 0;
    thread->account.weight_ns[AC_NATIVE] -= ns;
    thread->account.weight_ns[AC_PYTHON] += ns;
    ac__row_cell(sampler, thread, (struct ac__label){.state = AC_NATIVE}, -ns);
    ac__row_cell(sampler, thread, (struct ac__label){.state = AC_PYTHON, .node = sampler->start_up_node}, ns);
}

static void opened(struct ac_sampler *sampler, struct ac__process *process, int64_t now) {
    process->runtime = AC__RUNTIME_OPEN;
    process->looks_python = true;
    for (uint32_t i = process->first_thread; i != AC__NONE; i = sampler->threads[i].next) {
        struct ac__thread *thread = &sampler->threads[i];
        ac__runtime_settle_boot(sampler, thread);
        thread->dirty = true; /* its futex may turn out to be the GIL's */
        thread->next_look_ns = 0;
        thread->python = 0;
    }
    ac__runtime_rescan(process, now);
}

static bool is_other_interpreter(const struct ac__process *process) {
    const char *name = strrchr(process->exe, '/');
    name = name ? name + 1 : process->exe;
    return strncmp(name, "pypy", 4) == 0 || strncmp(name, "graalpy", 7) == 0;
}

static void strange(struct ac_sampler *sampler, struct ac__process *process, const char *note) {
    process->runtime = AC__RUNTIME_STRANGE;
    sampler->profile->limits |= AC_LIMIT_UNKNOWN_PYTHON;
    set_note(sampler, process, note);
}

static void strange_version(struct ac_sampler *sampler, struct ac__process *process,
                            const struct ac_py_version *version) {
    char note[128];
    snprintf(note, sizeof note, "CPython %d.%d is not known to this version of allcores: no GIL, no stacks",
             version->major, version->minor);
    strange(sampler, process,
            version->major ? note : "an interpreter that allcores does not know: no GIL, no stacks");
}

static void denied(struct ac_sampler *sampler, struct ac__process *process) {
    process->runtime = AC__RUNTIME_DENIED;
    sampler->profile->limits |= AC_LIMIT_NO_PTRACE;
    if (process->looks_python)
        set_note(sampler, process, "no right to read its memory: no GIL, no stacks");
}

/* Not Python so far: ask again, ever more seldom. */
static void not_yet(struct ac_sampler *sampler, struct ac__process *process, int64_t now, bool booting) {
    process->runtime = booting ? AC__RUNTIME_BOOT : AC__RUNTIME_NOT_YET;
    int64_t most = booting || process->looks_python ? OPEN_BOOT_MAX_NS : OPEN_MAX_NS;
    process->open_step_ns = process->open_step_ns ? ac_min(process->open_step_ns * 2, most) : OPEN_FIRST_NS;
    process->open_ns = now + process->open_step_ns;
    if (!booting && is_other_interpreter(process))
        strange(sampler, process, "not CPython: no GIL, no stacks");
}

static void try_open(struct ac_sampler *sampler, struct ac__process *process, int64_t now) {
    struct ac_py_version version = {0};
    int r = ac_py_open(process->pid, &process->py, &version);
    if (r < 0)
        process->py = NULL;
    if (r == 0 || r == -ENOTSUP || r == -EAGAIN)
        set_version(sampler, process, &version);
    switch (r) {
    case 0: opened(sampler, process, now); break;
    case -ENOTSUP: strange_version(sampler, process, &version); break;
    case -EPERM:
    case -EACCES: denied(sampler, process); break;
    case -ENOMEM: sampler->err = r; break;
    case -EAGAIN: not_yet(sampler, process, now, true); break;
    default: not_yet(sampler, process, now, false);
    }
}

/* Another program in the same process. */
static void replaced(struct ac_sampler *sampler, struct ac__process *process, int64_t now) {
    ac__runtime_reset(sampler, process);
    process->forked = false;
    process->describe = true;
    process->describe_tries = 0;
    process->info.gil_cause = 0;
    process->open_ns = now;
}

/* Without the ring no record tells an exec; the link of exe does, or, when one Python execs another, memory
 * that is no longer where it was. */
static void check_exe(struct ac_sampler *sampler, struct ac__process *process, int64_t now) {
    char exe[sizeof process->exe];
    process->exe_checked_ns = now;
    if (ac_process_exe(process->pid, exe, sizeof exe) == 0 && strcmp(exe, process->exe) != 0)
        replaced(sampler, process, now);
}

/* --- thread states to threads */

static struct ac__thread *find_thread(struct ac_sampler *sampler, uint32_t process_slot, int32_t ns_tid) {
    struct ac__process *process = &sampler->processes[process_slot];
    uint32_t slot;
    if (ns_tid <= 0)
        return NULL;
    if (process->same_namespace) {
        if (!ac_map_get(&sampler->by_tid, (uint64_t)ns_tid, &slot))
            return NULL;
        return sampler->threads[slot].process == process_slot ? &sampler->threads[slot] : NULL;
    }
    for (slot = process->first_thread; slot != AC__NONE; slot = sampler->threads[slot].next)
        if (sampler->threads[slot].ns_tid == ns_tid)
            return &sampler->threads[slot];
    return NULL;
}

static int read_thread_states(struct ac_sampler *sampler, struct ac__process *process, size_t *ret_count) {
    for (;;) {
        size_t count = 0;
        int r = ac_py_threads(process->py, sampler->py_threads, sampler->py_threads_cap, &count);
        if (r < 0)
            return r;
        if (count <= sampler->py_threads_cap) {
            *ret_count = count;
            return 0;
        }
        r = ac_grow(&sampler->py_threads, &sampler->py_threads_cap, ac_min(count, (size_t)MAX_THREAD_STATES),
                    sizeof *sampler->py_threads);
        if (r < 0)
            return r;
    }
}

static void assign(struct ac__thread *thread, const struct ac_py_thread *found) {
    thread->python = 1;
    thread->mapped = true;
    if (thread->tstate == found->tstate)
        return;
    thread->tstate = found->tstate;
    thread->pthread_id = found->pthread_id;
    thread->fingerprint = 0;
    thread->dirty = true;
    thread->next_look_ns = 0;
}

static void map_threads(struct ac_sampler *sampler, uint32_t process_slot, int64_t now) {
    struct ac__process *process = &sampler->processes[process_slot];
    size_t count = 0;
    bool complete = read_thread_states(sampler, process, &count) == 0;
    for (uint32_t i = process->first_thread; complete && i != AC__NONE; i = sampler->threads[i].next)
        sampler->threads[i].mapped = false;
    for (size_t i = 0; complete && i < count; i++) {
        struct ac__thread *thread = find_thread(sampler, process_slot, sampler->py_threads[i].native_tid);
        if (thread)
            assign(thread, &sampler->py_threads[i]);
    }
    for (uint32_t i = process->first_thread; i != AC__NONE; i = sampler->threads[i].next) {
        struct ac__thread *thread = &sampler->threads[i];
        if (complete && !thread->mapped)
            thread->tstate = 0;
        complete &= thread->tstate != 0;
    }
    process->map_step_ns = complete ? MAP_MAX_NS : ac_min(process->map_step_ns * 2, MAP_MAX_NS);
    process->map_ns = now + process->map_step_ns;
}

/* --- the GIL of a free-threaded build */

/* What the interpreter's own options say of the GIL; they end at the script. */
struct gil_options {
    bool forced, no_environment;
};

static struct gil_options gil_options_of(const char *args, size_t len) {
    struct gil_options found = {0};
    const char *end = args + len, *arg = len ? args + strlen(args) + 1 : end;
    for (; arg < end && arg[0] == '-' && arg[1] != '-'; arg += strlen(arg) + 1) {
        const char *last = arg + strcspn(arg, "XWcm"); /* the flag that takes what follows */
        found.no_environment |= arg + strcspn(arg, "EI") < last;
        if (*last == 'c' || *last == 'm')
            break;
        const char *value = last + 1;
        if (!*last)
            continue;
        if (!*value && (value = arg = arg + strlen(arg) + 1) >= end)
            break;
        found.forced |= *last == 'X' && strcmp(value, "gil=1") == 0;
    }
    return found;
}

static bool has_string(const char *strings, size_t len, const char *wanted) {
    for (const char *at = strings; at < strings + len; at += strlen(at) + 1)
        if (strcmp(at, wanted) == 0)
            return true;
    return false;
}

/* NULL: nobody asked for it. */
static const char *who_forced(const struct ac__process *process) {
    struct ac_buf args = {0}, environment = {0};
    size_t argc;
    int no_args = ac_process_argv(process->pid, &args, &argc);
    int no_environment = ac_process_environ(process->pid, &environment);
    ac_buf_bytes(&args, "", 1); /* the last one may have been cut */
    ac_buf_bytes(&environment, "", 1);
    const char *by = NULL;
    struct gil_options options = {0};
    if (!no_args && !args.err)
        options = gil_options_of(args.data, args.len);
    if (options.forced)
        by = "-X gil=1";
    else if (!options.no_environment && !no_environment && !environment.err &&
             has_string(environment.data, environment.len, "PYTHON_GIL=1"))
        by = "PYTHON_GIL=1";
    ac_buf_free(&args);
    ac_buf_free(&environment);
    return by;
}

static void find_gil_cause(struct ac_sampler *sampler, struct ac__process *process) {
    char name[AC_MAX_STRING], text[AC_MAX_STRING + 128];
    unsigned count;
    const char *forced = who_forced(process);
    if (forced)
        snprintf(text, sizeof text, "%s", forced);
    else if (ac_py_gil_module(process->py, name, sizeof name, &count) < 0)
        return; /* not in sys.modules yet, or not to be told */
    else if (count == 1)
        snprintf(text, sizeof text, "the extension module %s", name);
    else
        snprintf(text, sizeof text,
                 "the extension module %s (inferred: the first imported of %u that need the GIL)", name,
                 count);
    ac_profile_string(sampler->profile, text, strlen(text), &process->info.gil_cause);
}

void ac__runtime_update(struct ac_sampler *sampler, uint32_t process_slot, int64_t now) {
    struct ac__process *process = &sampler->processes[process_slot];
    if (!sampler->ring && now - process->exe_checked_ns >= (process->describe ? 0 : EXE_CHECK_NS))
        check_exe(sampler, process, now);
    if (process->bad_reads >= BAD_READS)
        replaced(sampler, process, now + OPEN_FIRST_NS);
    if (process->describe)
        ac__tree_describe(sampler, process);
    bool waits = process->runtime == AC__RUNTIME_NOT_YET || process->runtime == AC__RUNTIME_BOOT;
    if (waits && now >= process->open_ns)
        try_open(sampler, process, now);
    if (process->runtime == AC__RUNTIME_OPEN && now >= process->map_ns) {
        map_threads(sampler, process_slot, now);
        if (process->free_threaded && process->info.gil_enabled == 1 && process->info.gil_cause == 0)
            find_gil_cause(sampler, process);
    }
}
