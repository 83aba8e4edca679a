/* words.c - small phrases that the verdicts share. Names are raw here; reports make them safe to show. */
#include <string.h>

#include "verdict/table.h"

const char *ac_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

void ac_put_spot(const struct ac_case *c, const struct ac_spot *spot, struct ac_buf *buf) {
    struct ac_place place = ac_place_of(c->profile, spot);
    if (*place.function == '\0') {
        ac_buf_str(buf, "code that could not be named");
        return;
    }
    const char *name = strcmp(place.function, "<module>") == 0 ? "module-level code" : place.function;
    ac_buf_printf(buf, "%s (%s:%d)", name, ac_base_name(place.file), place.line);
}

void ac_put_count(struct ac_buf *buf, double count, const char *noun) {
    ac_buf_printf(buf, "%.0f %s%s", count, noun, count > 1.5 ? "s" : "");
}
