/* snippet.c - the fix as code: the user's own line where the source is at hand, else the pattern around the
 * user's own function. No name is made up but "items" for what the loop runs over. */
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
