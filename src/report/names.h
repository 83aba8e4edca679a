/* names.h - words that several writers share. Internal to src/report. */
#ifndef AC_REPORT_NAMES_H
#define AC_REPORT_NAMES_H

#include <jansson.h>

#include "report/report.h"

#define AC_LIMIT_BITS 11
/* What each bit of enum ac_limit means to the reader; NULL: of no interest to people. */
extern const char *const ac_limit_words[AC_LIMIT_BITS];
/* The ids of the bits in JSON. */
extern const char *const ac_limit_names[AC_LIMIT_BITS];

/* The states in few words: "gil wait". */
extern const char *const ac_state_words[AC_STATE_COUNT];

/* What was run, without its arguments: "app.py", "python -c", "pytest". Not escaped. */
const char *ac_program_name(const struct ac_profile *profile, const ac_str *argv, size_t argc);
/* The last two parts of a path, none of them the name of a home directory: that is its owner's. */
const char *ac_short_path(const char *path);
/* Text from outside with each path in it so shortened. */
void ac_put_short_paths(struct ac_buf *buf, const char *text);
/* Text from outside, made safe, and cut with "..." where it would not fit. Returns its width. */
size_t ac_put_cut(struct ac_buf *buf, const char *text, size_t room);
/* The same, wrapped at blanks: the first line goes on at `column`, the others begin there; ends the line. A
 * number stays with its "%". */
void ac_put_wrapped(struct ac_buf *buf, const char *text, int width, int column);
void ac_put_thousands(struct ac_buf *buf, int64_t number); /* 12,960 */

/* Text from outside as a JSON string: always valid UTF-8. NULL when memory is out, which jansson's containers
 * pass on as an error. */
json_t *ac_json_text(const char *text);
json_t *ac_json_str(const struct ac_profile *profile, ac_str str);
json_t *ac_json_seconds(int64_t ns);
json_t *ac_json_states(const int64_t ns[AC_STATE_COUNT]); /* an object of seconds by the state's name */
/* Append the document and drop it. -ENOMEM when it could not be built (document may be NULL). */
int ac_json_write(json_t *document, bool ok, struct ac_buf *buf);
/* Set key; false when value is NULL or memory is out. Takes value over. */
bool ac_json_set(json_t *object, const char *key, json_t *value);
#endif
