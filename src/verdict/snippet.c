/* snippet.c - the fix as code: the user's own line where the source is at hand, else the pattern around the
 * user's own function. No name is made up but "items" for what the loop runs over. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "verdict/table.h"

#define LOOK_BACK 8   /* lines above the waiting one in which a pool or thread is looked for */
#define MAX_BODY  100 /* lines above a call in which its loop is looked for */

static const char *source_line(const struct ac_case *c, const char *file, int32_t line) {
    return c->source && line > 0 ? c->source(file, line, c->source_arg) : NULL;
}

/* The nearest line at or above the place where the main thread waits that holds `word`. 0: none. */
static int32_t line_with(const struct ac_case *c, struct ac_place at, const char *word) {
    for (int32_t line = at.line; line > 0 && line > at.line - LOOK_BACK; line--) {
        const char *text = source_line(c, at.file, line);
        if (text && strstr(text, word)) {
            return line;
        }
    }
    return 0;
}

static void put_replaced(struct ac_buf *buf, const char *text, const char *word, const char *by) {
    text += strspn(text, " \t");
    const char *at = strstr(text, word);
    ac_buf_bytes(buf, text, (size_t)(at - text));
    ac_buf_printf(buf, "%s%s", by, at + strlen(word));
}

/* A function that another process, or map(), can be given by its plain name: no method, lambda or nested
 * function. Up to 3.10 names are not qualified; then an indented `def` tells. */
static bool is_plain_function(const struct ac_case *c, uint32_t node) {
    struct ac_place at = ac_node_place(c->profile, node);
    if (*at.function == '\0' || *at.function == '<' || strchr(at.function, '.')) {
        return false;
    }
    const struct ac_func *func = &c->profile->funcs[c->profile->frames[c->profile->nodes[node].frame].func];
    const char *def = source_line(c, at.file, func->first_line);
    return !def || (*def != ' ' && *def != '\t');
}

static size_t indent_of(const char *text) {
    return strspn(text, " \t");
}

static bool starts_with(const char *text, const char *word) {
    text += indent_of(text);
    return strncmp(text, word, strlen(word)) == 0;
}

static bool is_comprehension(const struct ac_place *at) {
    return strstr(at->function, "comp>") || strstr(at->function, "<genexpr>");
}

/* The line of the loop around a line of the user's: a for or while above it and indented less, or a
 * comprehension or map() on it. 0: none. */
static int32_t loop_around(const struct ac_case *c, struct ac_place at) {
    const char *text = source_line(c, at.file, at.line);
    const char *next = source_line(c, at.file, at.line + 1);
    if (is_comprehension(&at) || !text || strstr(text, "map(") || strstr(text, " for ") ||
        (next && starts_with(next, "for ") && !strchr(next, ':'))) {
        return text || is_comprehension(&at) ? at.line : 0;
    }
    size_t indent = indent_of(text);
    for (int32_t line = at.line - 1; line > 0 && line > at.line - MAX_BODY && indent > 0; line--) {
        text = source_line(c, at.file, line);
        if (!text || text[indent_of(text)] == '\0' || text[indent_of(text)] == '#' ||
            indent_of(text) >= indent) {
            continue;
        }
        indent = indent_of(text);
        if (starts_with(text, "for ") || starts_with(text, "while ")) {
            return line;
        }
        if (starts_with(text, "def ") || starts_with(text, "class ")) {
            break;
        }
    }
    return 0;
}

/* Another process imports the file again: what stands at module level needs the guard. Returns the indent of
 * what follows. */
static const char *put_guard(const struct ac_case *c, struct ac_buf *buf, const char *executor,
                             struct ac_place at) {
    const char *text = source_line(c, at.file, at.line);
    if (strcmp(executor, "ProcessPoolExecutor") != 0 || strcmp(at.function, "<module>") != 0 || !text ||
        indent_of(text) > 0) {
        return "";
    }
    ac_buf_str(buf, "if __name__ == \"__main__\":  # each process imports this file\n");
    return "    ";
}

static void put_pattern(const struct ac_case *c, struct ac_buf *buf, const char *executor,
                        const char *function, const char *instead, struct ac_place at) {
    const char *indent = put_guard(c, buf, executor, at);
    ac_buf_printf(buf, "%swith %s() as executor:  # in place of %s, %s:%d\n", indent, executor, instead,
                  ac_base_name(at.file), at.line);
    ac_buf_printf(buf, "%s    results = list(executor.map(%s, items))", indent, function);
}

void ac_snippet_pool(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    const struct ac_spot *work = &c->evidence->work;
    struct ac_place at = ac_place_of(c->profile, &c->evidence->waiting);
    int32_t pool = line_with(c, at, "ThreadPoolExecutor(");
    *place = *at.function ? at : ac_place_of(c->profile, work);
    if (pool) {
        place->line = pool;
        ac_buf_str(buf, "from concurrent.futures import ProcessPoolExecutor\n");
        ac_buf_str(buf, put_guard(c, buf, "ProcessPoolExecutor", *place));
        put_replaced(buf, source_line(c, at.file, pool), "ThreadPoolExecutor", "ProcessPoolExecutor");
        ac_buf_printf(buf, "  # %s:%d", ac_base_name(at.file), pool);
    } else if (work->func != AC_NO_FUNC && is_plain_function(c, work->node)) {
        int32_t threads = line_with(c, at, "Thread(");
        place->line = threads ? threads : place->line;
        put_pattern(c, buf, "ProcessPoolExecutor", ac_place_of(c->profile, work).function, "the threads",
                    *place);
    }
}

/* The nearest function above the place that is called from a loop, where the source tells; else the first
 * that has a caller. */
void ac_snippet_loop(const struct ac_case *c, const struct ac_spot *spot, const char *executor,
                     struct ac_buf *buf, struct ac_place *place) {
    *place = ac_place_of(c->profile, spot);
    uint32_t node = spot->func == AC_NO_FUNC ? 0 : spot->node;
    for (uint32_t above = 0; node; node = above) {
        above = ac_user_caller(c->profile, node);
        struct ac_place at = above ? ac_node_place(c->profile, above) : *place;
        bool known = above && source_line(c, at.file, at.line);
        int32_t loop = above ? loop_around(c, at) : 0;
        if (above && is_plain_function(c, node) && (loop || !known)) {
            at.line = loop ? loop : at.line;
            *place = at;
            put_pattern(c, buf, executor, ac_node_place(c->profile, node).function, "the loop", at);
            return;
        }
    }
}

/* --- pools */

/* What a worker was given: the outermost of the user's functions above the pool's own code, below which a
 * forked worker has its parent's. */
static uint32_t task_of(const struct ac_case *c) {
    static const char *const workers[] = {"concurrent/futures/process.py", "multiprocessing/pool.py",
                                          "allcores/_worker.py"};
    const struct ac_profile *p = c->profile;
    uint32_t task = 0;
    uint32_t node = c->evidence->pool.task.func == AC_NO_FUNC ? 0 : c->evidence->pool.task.node;
    for (; node; node = p->nodes[node].parent) {
        const char *file = ac_node_place(p, node).file;
        for (size_t i = 0; i < AC_COUNT(workers); i++) {
            if (ac_ends_with(file, workers[i])) {
                return task && is_plain_function(c, task) ? task : 0;
            }
        }
        task = ac_is_user_func(p, p->frames[p->nodes[node].frame].func) ? node : task;
    }
    return 0;
}

/* Where the parent waits for its workers; of workers that do nothing but start, where anyone waits for a
 * lock. */
static struct ac_place waits_in(const struct ac_case *c) {
    const struct ac_evidence *e = c->evidence;
    const struct ac_spot *spot = &e->pool.waits;
    spot = spot->func != AC_NO_FUNC ? spot : &e->waiting;
    return ac_place_of(c->profile, spot->func != AC_NO_FUNC ? spot : &e->state_spots[AC_LOCK]);
}

static bool is_executor(const struct ac_case *c) {
    return c->evidence->pool.kind == AC_POOL_FUTURES || c->evidence->pool.kind == AC_POOL_ALLCORES;
}

/* The name of what the tasks run, from the workers' stacks; of tasks too short for these, from the line that
 * hands them out. */
static bool put_task(const struct ac_case *c, struct ac_place at, struct ac_buf *buf) {
    static const char *const given[] = {".submit(", "map(", "map_unordered(", ".apply(", ".apply_async("};
    uint32_t task = task_of(c);
    if (task) {
        ac_buf_str(buf, ac_node_place(c->profile, task).function);
        return true;
    }
    for (size_t i = 0; i < AC_COUNT(given); i++) {
        const char *text = source_line(c, at.file, line_with(c, at, given[i]));
        const char *name = text ? strstr(text, given[i]) + strlen(given[i]) : "";
        size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        if (len && name[len] == ',') {
            ac_buf_bytes(buf, name, len);
            return true;
        }
    }
    return false;
}

void ac_code_tiny_tasks(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    struct ac_buf task = {0};
    *place = waits_in(c);
    bool known = is_executor(c) || c->evidence->pool.kind == AC_POOL_MP;
    if (known && *place->function && put_task(c, *place, &task)) {
        ac_buf_printf(buf, "results = list(%s(%s, items, chunksize=max(1, len(items) // %.0f)))  # %s:%d",
                      is_executor(c) ? "executor.map" : "pool.imap", ac_buf_text(&task),
                      4 * ceil(c->evidence->usable), ac_base_name(place->file), place->line);
    }
    ac_buf_free(&task);
}

void ac_code_serial_pool_use(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    struct ac_buf task = {0};
    *place = waits_in(c);
    bool known = *place->function && put_task(c, *place, &task);
    int32_t loop = loop_around(c, *place);
    place->line = loop ? loop : place->line;
    if (known && is_executor(c)) {
        ac_buf_printf(buf,
                      "jobs = [executor.submit(%s, item) for item in items]  # in place of the loop, %s:%d\n"
                      "results = [job.result() for job in jobs]",
                      ac_buf_text(&task), ac_base_name(place->file), place->line);
    } else if (known && c->evidence->pool.kind == AC_POOL_MP) {
        ac_buf_printf(buf, "results = pool.map(%s, items)  # in place of the loop, %s:%d", ac_buf_text(&task),
                      ac_base_name(place->file), place->line);
    }
    ac_buf_free(&task);
}

/* The line that makes the pool, above the loop that makes it anew; both in the user's own words. */
void ac_code_start_up(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    struct ac_place at = waits_in(c);
    *place = at;
    int32_t pool = line_with(c, at, "Pool(");
    pool = pool ? pool : line_with(c, at, "PoolExecutor(");
    const char *made = source_line(c, at.file, pool);
    at.line = pool;
    int32_t around = made ? loop_around(c, at) : 0;
    if (around && around < pool && starts_with(made, "with ") && c->fit->gain_s > 0) {
        const char *loop = source_line(c, at.file, around);
        place->line = around;
        ac_buf_printf(buf, "%s  # once, around the loop, %s:%d\n    %s", made + indent_of(made),
                      ac_base_name(at.file), around, loop + indent_of(loop));
    }
}

/* --- coroutines */

static bool is_coroutine(const struct ac_case *c, uint32_t node) {
    const struct ac_func *func = &c->profile->funcs[c->profile->frames[c->profile->nodes[node].frame].func];
    struct ac_place at = ac_node_place(c->profile, node);
    for (int32_t line = func->first_line; line < func->first_line + LOOK_BACK; line++) { /* decorators */
        const char *text = source_line(c, at.file, line);
        if (!text || starts_with(text, "def ")) {
            return false;
        }
        if (starts_with(text, "async def ")) {
            return true;
        }
    }
    return false;
}

/* The one call of a line, "session.get" of "page = await session.get(url)", after `word` where that is
 * given. */
static bool put_called(const char *text, const char *word, struct ac_buf *buf) {
    const char *from = text ? strstr(text, word) : NULL;
    const char *end = from ? strchr(from, '(') : NULL;
    if (!end || (*word == '\0' && strchr(end + 1, '('))) {
        return false;
    }
    const char *start = end;
    while (start > from && (isalnum((unsigned char)start[-1]) || strchr("_.", start[-1]))) {
        start--;
    }
    if (start == end || (*word && start != from + strlen(word)) || strncmp(start, "asyncio.", 8) == 0) {
        return false;
    }
    ac_buf_bytes(buf, start, (size_t)(end - start));
    return true;
}

/* The innermost coroutine at or above a node, and the plain function that it called there, 0 for none of the
 * user's. */
static uint32_t coroutine_of(const struct ac_case *c, uint32_t node, uint32_t *ret_called) {
    *ret_called = 0;
    while (node && !is_coroutine(c, node)) {
        *ret_called = node;
        node = ac_user_caller(c->profile, node);
    }
    return node;
}

void ac_code_serial_awaits(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    const struct ac_spot *root = &c->evidence->loop.root;
    struct ac_buf called = {0};
    *place = ac_place_of(c->profile, root);
    int32_t loop = root->func == AC_NO_FUNC ? 0 : loop_around(c, *place);
    if (loop && put_called(source_line(c, place->file, place->line), "await ", &called)) {
        place->line = loop;
        ac_buf_printf(
            buf,
            "results = await asyncio.gather(*(%s(item) for item in items))  # in place of the loop, "
            "%s:%d",
            ac_buf_text(&called), ac_base_name(place->file), loop);
    }
    ac_buf_free(&called);
}

void ac_code_blocked_event_loop(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    const struct ac_loop *loop = &c->evidence->loop;
    bool waits = loop->blocked >= loop->busy;
    const struct ac_spot *spot = waits ? &loop->call : &loop->work;
    struct ac_buf name = {0};
    uint32_t called = 0;
    uint32_t coroutine = spot->func == AC_NO_FUNC ? 0 : coroutine_of(c, spot->node, &called);
    *place = coroutine ? ac_node_place(c->profile, coroutine) : ac_place_of(c->profile, spot);
    if (called && is_plain_function(c, called)) {
        ac_buf_str(&name, ac_node_place(c->profile, called).function);
    } else if (coroutine && !called && waits) {
        place->line = spot->line;
        put_called(source_line(c, place->file, spot->line), "", &name);
    }
    if (coroutine && name.len) {
        const char *text = ac_buf_text(&name);
        ac_buf_str(buf, waits ? "" : "executor = ProcessPoolExecutor()  # once\n");
        ac_buf_printf(buf, "await %s%s, ...)  # in place of %s(...), %s:%d",
                      waits ? "asyncio.to_thread(" : "asyncio.get_running_loop().run_in_executor(executor, ",
                      text, text, ac_base_name(place->file), place->line);
    }
    ac_buf_free(&name);
}
