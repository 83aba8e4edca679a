/* names.c - words and JSON helpers that several writers share. */
#include "report/names.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "verdict/evidence.h"

const char *const ac_limit_words[AC_LIMIT_BITS] = {
    "some processes could not be read for lack of rights: no GIL and no stacks there. Run as their user with "
    "/proc/sys/kernel/yama/ptrace_scope at 0, with sudo, or in Docker with --cap-add SYS_PTRACE",
    "this kernel has no schedstat: time spent waiting for a CPU is not known",
    NULL, /* the ring: samples do without */
    "context switches came faster than they could be read; some times are estimates",
    NULL, /* the process's own note says which interpreter it is */
    "many short threads: the shortest share one row per process",
    "very many different stacks: the rarest are cut short",
    "a long run: its time line is coarser than its totals",
    NULL, /* run-delay of ended threads: said in the JSON */
    "the target is in another PID namespace and its threads could not be matched",
    "some processes lived and died between two looks; their CPU time is in the totals",
};

const char *const ac_limit_names[AC_LIMIT_BITS] = {
    "no_ptrace",         "no_schedstat",    "no_ring",          "ring_lost",
    "unknown_python",    "threads_merged",  "stacks_merged",    "timeline_coarse",
    "run_delay_bounded", "other_namespace", "processes_missed",
};

const char *const ac_state_words[AC_STATE_COUNT] = {"python", "gil wait", "native", "no cpu", "i/o",
                                                    "disk",   "lock",     "sleep",  "other",  "unknown"};

/* A buffer of a moment: its failure is the report's. */
static void drop(struct ac_buf *buf, struct ac_buf *temporary) {
    buf->err = buf->err ? buf->err : temporary->err;
    ac_buf_free(temporary);
}

size_t ac_put_cut(struct ac_buf *buf, const char *text, size_t room) {
    struct ac_buf safe = {0};
    ac_buf_escaped(&safe, text, strlen(text));
    size_t width = ac_text_width(ac_buf_text(&safe));
    if (width <= room) {
        ac_buf_str(buf, ac_buf_text(&safe));
    } else if (room > 3) {
        size_t len = safe.len;
        do { /* whole characters from the end */
            do {
                len--;
            } while (len && ((unsigned char)safe.data[len] & 0xc0) == 0x80);
            safe.data[len] = '\0';
            width = ac_text_width(safe.data);
        } while (len && width > room - 3);
        ac_buf_printf(buf, "%s...", safe.data);
        width += 3;
    } else {
        width = 0;
    }
    drop(buf, &safe);
    return width;
}

void ac_put_wrapped(struct ac_buf *buf, const char *text, int width, int column) {
    struct ac_buf safe = {0};
    ac_buf_escaped(&safe, text, strlen(text));
    size_t room = (size_t)ac_max(width - column, 20);
    size_t taken = 0;
    for (char *at = safe.data; at && *at;) {
        char *end = at + strcspn(at, " ");
        end += strncmp(end, " %", 2) == 0 ? 1 + strcspn(end + 1, " ") : 0;
        char kept = *end;
        *end = '\0';
        size_t word = ac_text_width(at);
        if (taken && taken + 1 + word > room) {
            ac_buf_str(buf, "\n");
            ac_buf_repeat(buf, " ", column);
            taken = 0;
        }
        ac_buf_str(buf, taken ? " " : "");
        taken += (taken ? 1 : 0) + ac_put_cut(buf, at, room); /* escaped twice is escaped once */
        *end = kept;
        at = kept ? end + 1 : end;
    }
    ac_buf_str(buf, "\n");
    drop(buf, &safe);
}

const char *ac_program_name(const struct ac_profile *profile, const ac_str *argv, size_t argc) {
    const char *what;
    const char *name = argc ? ac_base_name(ac_profile_text(profile, argv[0])) : "";
    enum ac_python_program program = ac_profile_python(profile, argv, argc, &what);
    name = program == AC_PYTHON_CODE ? "python -c" : *what ? ac_base_name(what) : name;
    return *name ? name : "a program";
}

/* What is below a home directory, ours or one that looks like it; else the whole path. */
static const char *below_home(const char *path) {
    static const char *const parents[] = {"/home/", "/Users/", "/users/"};
    const char *own = getenv("HOME");
    size_t len = own ? strlen(own) : 0;
    if (len > 1 && strncmp(path, own, len) == 0 && path[len] == '/') {
        return path + len + 1;
    }
    for (size_t i = 0; i < AC_COUNT(parents); i++) {
        const char *parent = strstr(path, parents[i]);
        const char *slash = parent ? strchr(parent + strlen(parents[i]), '/') : NULL;
        if (slash) {
            return slash + 1;
        }
    }
    return path;
}

const char *ac_short_path(const char *path) {
    path = below_home(path);
    const char *last = strrchr(path, '/');
    for (const char *at = last; at && at > path; at--) {
        if (at[-1] == '/') {
            return at;
        }
    }
    return path;
}

/* How long the path is that begins here: to the quote that closes it, else to a blank or a mark; 0 where a
 * word, an address or another path goes on. */
static size_t path_length(const char *text, char before) {
    if (*text != '/' || isalnum((unsigned char)before) || strchr("/.:_-~", before)) {
        return 0;
    }
    const char *closed = strchr("\"'`", before) ? strchr(text, before) : NULL;
    return closed ? (size_t)(closed - text) : strcspn(text, " \t\r\n\"'`<>,;()[]{}");
}

void ac_put_short_paths(struct ac_buf *buf, const char *text) {
    for (char before = ' '; *text;) {
        struct ac_buf part = {0};
        size_t path = path_length(text, before);
        size_t len = path ? path : 1 + strcspn(text + 1, "/");
        ac_buf_bytes(&part, text, len);
        ac_buf_str(buf, path ? ac_short_path(ac_buf_text(&part)) : ac_buf_text(&part));
        drop(buf, &part);
        before = text[len - 1];
        text += len;
    }
}

void ac_put_thousands(struct ac_buf *buf, int64_t number) {
    if (number >= 1000) {
        ac_put_thousands(buf, number / 1000);
        ac_buf_printf(buf, ",%03" PRId64, number % 1000);
    } else {
        ac_buf_printf(buf, "%" PRId64, number);
    }
}

json_t *ac_json_text(const char *text) {
    struct ac_buf clean = {0};
    ac_buf_utf8(&clean, text, strlen(text));
    json_t *value = clean.err ? NULL : json_string_nocheck(ac_buf_text(&clean));
    ac_buf_free(&clean);
    return value;
}

json_t *ac_json_str(const struct ac_profile *profile, ac_str str) {
    return ac_json_text(ac_profile_text(profile, str));
}

json_t *ac_json_seconds(int64_t ns) {
    return json_real((double)ns / 1e9);
}

json_t *ac_json_states(const int64_t ns[AC_STATE_COUNT]) {
    json_t *states = json_object();
    bool ok = true;
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        ok = ok && ac_json_set(states, ac_state_names[s], ac_json_seconds(ns[s]));
    }
    return ok ? states : (json_decref(states), NULL);
}

bool ac_json_set(json_t *object, const char *key, json_t *value) {
    return value && json_object_set_new_nocheck(object, key, value) == 0;
}

static int dump(const char *data, size_t size, void *arg) {
    struct ac_buf *buf = arg;
    ac_buf_bytes(buf, data, size);
    return buf->err ? -1 : 0;
}

int ac_json_write(json_t *document, bool ok, struct ac_buf *buf) {
    if (ok && document &&
        json_dump_callback(document, dump, buf, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0) {
        ac_buf_str(buf, "\n");
    } else {
        buf->err = buf->err ? buf->err : -ENOMEM;
    }
    json_decref(document);
    return buf->err;
}
