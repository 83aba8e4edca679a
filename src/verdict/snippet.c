/* snippet.c - the fix as code: the user's own line where the source is at hand, else the pattern around the
 * user's own function. No name is made up but "items" for what the loop runs over. */
#include <string.h>

#include "verdict/table.h"

#define LOOK_BACK 8 /* lines above the waiting one in which a pool or thread is looked for */

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

static bool is_name(const char *function) {
    return *function && *function != '<' && !strchr(function, '.');
}

/* The last part of a qualified name, "Class.method" aside: "outer.<locals>.inner" cannot be pickled by name.
 */
static const char *callable_name(const char *function) {
    return is_name(function) ? function : NULL;
}

static void put_pattern(struct ac_buf *buf, const char *function, const char *instead, struct ac_place at) {
    ac_buf_printf(buf, "with ProcessPoolExecutor() as executor:  # in place of %s, %s:%d\n", instead,
                  ac_base_name(at.file), at.line);
    ac_buf_printf(buf, "    results = list(executor.map(%s, items))", function);
}

void ac_snippet_pool(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    struct ac_place at = ac_place_of(c->profile, &c->evidence->waiting);
    struct ac_place work = ac_place_of(c->profile, &c->evidence->work);
    int32_t pool = line_with(c, at, "ThreadPoolExecutor(");
    *place = *at.function ? at : work;
    if (pool) {
        place->line = pool;
        ac_buf_str(buf, "from concurrent.futures import ProcessPoolExecutor\n");
        put_replaced(buf, source_line(c, at.file, pool), "ThreadPoolExecutor", "ProcessPoolExecutor");
        ac_buf_printf(buf, "  # %s:%d", ac_base_name(at.file), pool);
        return;
    }
    const char *name = callable_name(work.function);
    if (name) {
        put_pattern(buf, name, "the threads", *place);
    }
}

void ac_snippet_loop(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place) {
    const struct ac_spot *spot = &c->evidence->python;
    struct ac_place at = ac_place_of(c->profile, spot);
    const char *name = callable_name(at.function);
    *place = at;
    if (name && spot->caller != AC_NO_FUNC && spot->caller != spot->func) {
        const struct ac_func *caller = &c->profile->funcs[spot->caller];
        *place = (struct ac_place){.function = ac_profile_text(c->profile, caller->name),
                                   .file = ac_profile_text(c->profile, caller->file),
                                   .line = spot->caller_line};
        put_pattern(buf, name, "the loop", *place);
    }
}
