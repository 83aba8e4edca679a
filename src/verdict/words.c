/* words.c - small phrases that the verdicts share. Names are raw here; reports make them safe to show. */
#include <string.h>

#include "verdict/table.h"

const char *ac_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

const char *ac_two_names(const char *path) {
    const char *at = ac_base_name(path);
    at -= at > path + 1;
    while (at > path && at[-1] != '/') {
        at--;
    }
    return at;
}

static bool ends_with(const char *text, size_t len, const char *end) {
    size_t end_len = strlen(end);
    return len >= end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

void ac_put_function(struct ac_buf *buf, const char *name) {
    static const char *const loops[] = {"<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>"};
    size_t len = strlen(name);
    if (strcmp(name, "<module>") == 0) {
        ac_buf_str(buf, "module-level code");
        return;
    }
    for (size_t i = 0; i < AC_COUNT(loops); i++) {
        if (strcmp(name, loops[i]) == 0) {
            ac_buf_str(buf, "a comprehension");
            return;
        }
        /* part of the function that it stands in, to its writer */
        len -= ends_with(name, len, loops[i]) ? strlen(loops[i]) : 0;
        len -= ends_with(name, len, ".<locals>.") ? strlen(".<locals>.") : 0;
    }
    for (size_t at = 0; at < len;) {
        const char *local = strstr(name + at, "<locals>.");
        size_t end = local && (size_t)(local - name) < len ? (size_t)(local - name) : len;
        ac_buf_bytes(buf, name + at, end - at);
        at = end < len ? end + strlen("<locals>.") : len;
    }
}

void ac_put_place(const struct ac_place *place, struct ac_buf *buf) {
    if (*place->function == '\0') {
        ac_buf_str(buf, "code that could not be named");
        return;
    }
    ac_put_function(buf, place->function);
    ac_buf_printf(buf, " (%s:%d)", ac_base_name(place->file), place->line);
}

void ac_put_spot(const struct ac_case *c, const struct ac_spot *spot, struct ac_buf *buf) {
    struct ac_place place = ac_place_of(c->profile, spot);
    ac_put_place(&place, buf);
}

void ac_put_answers(const struct ac_slow *slow, struct ac_buf *buf) {
    ac_buf_printf(buf, "%u answers of %.1f s each", slow->answers,
                  slow->seconds / (double)ac_max(slow->answers, 1u));
}

void ac_put_workers(const struct ac_case *c, struct ac_buf *buf) {
    const struct ac_pool *pool = &c->evidence->pool;
    if (pool->workers) {
        ac_buf_printf(buf, "; %u worker%s of %s", pool->workers, pool->workers == 1 ? "" : "s",
                      ac_pool_names[pool->kind]);
    }
}
