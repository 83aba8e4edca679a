/* base.h - what every other folder stands on: memory, growing arrays, strings, a hash map, asserts.
 *
 * Conventions of the whole project, said once here:
 *   - a function that can fail returns 0 or a negative errno; outputs named ret_x are set on success only;
 *   - x_free(NULL) is a no-op, and x_free() accepts a half-built object;
 *   - nothing outside src/cli and src/ext prints.
 */
#ifndef AC_BASE_H
#define AC_BASE_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AC_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define AC_NS_PER_S     INT64_C(1000000000)
#define AC_NS_PER_MS    INT64_C(1000000)
#define AC_NS_PER_US    INT64_C(1000)
#define ac_min(a, b)    ((a) < (b) ? (a) : (b))
#define ac_max(a, b)    ((a) > (b) ? (a) : (b))

#if defined(__GNUC__)
#define AC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define AC_UNUSED            __attribute__((unused))
#else
#define AC_PRINTF(fmt, args)
#define AC_UNUSED
#endif

/* --- Asserts: three levels, chosen at build time by AC_ASSERT_LEVEL (meson option assert_level).
 * 0 release: none. 1 default: ac_assert, O(1) checks. 2 stress tests: ac_assert_deep too, whole-structure
 * checks. */
#ifndef AC_ASSERT_LEVEL
#define AC_ASSERT_LEVEL 1
#endif
_Noreturn void ac_assert_failed(const char *expr, const char *file, int line);
#if AC_ASSERT_LEVEL >= 1
#define ac_assert(expr) ((expr) ? (void)0 : ac_assert_failed(#expr, __FILE__, __LINE__))
#else
#define ac_assert(expr) ((void)sizeof(!(expr)))
#endif
#if AC_ASSERT_LEVEL >= 2
#define ac_assert_deep(expr) ac_assert(expr)
#else
#define ac_assert_deep(expr) ((void)sizeof(!(expr)))
#endif

/* --- Memory. All of ours goes through these, so that tests can fail each allocation in turn.
 * They return NULL when memory is out (the caller answers -ENOMEM); ac_free(NULL) is a no-op. */
void *ac_malloc(size_t size);
void *ac_calloc(size_t count, size_t size); /* overflow of count * size is a NULL too */
void *ac_realloc(void *block, size_t size);
char *ac_strdup(const char *text);
void ac_free(void *block);
/* Copy text into a fixed buffer, cut to fit, always terminated. */
void ac_copy(char *buffer, size_t size, const char *text);
bool ac_ends_with(const char *text, const char *tail);
/* Test hook: the n-th allocation from now (1 = the next) fails, once; 0 turns the hook off. */
void ac_memory_fail_at(unsigned long n);
unsigned long ac_memory_calls(void); /* allocations asked for since the hook was last set */

/* Grow *items (a pointer to an array of elements of `size` bytes, *cap of them) to hold `need`.
 * Doubles; new space is zeroed. 0 or -ENOMEM (the array is then as it was). */
int ac_grow(void *items, size_t *cap, size_t need, size_t size);

/* --- A byte string under construction, always NUL-terminated once something was written. The first failure
 * sticks in .err (a negative errno), later writes do nothing: check once, at the end. */
struct ac_buf {
    char *data;
    size_t len, cap;
    int err;
};
void ac_buf_bytes(struct ac_buf *buf, const void *data, size_t len);
void ac_buf_str(struct ac_buf *buf, const char *text);
void ac_buf_printf(struct ac_buf *buf, const char *format, ...) AC_PRINTF(2, 3);
void ac_buf_vprintf(struct ac_buf *buf, const char *format, va_list args);
void ac_buf_repeat(struct ac_buf *buf, const char *text, int times);
const char *ac_buf_text(const struct ac_buf *buf); /* "" when empty */
void ac_buf_clear(struct ac_buf *buf);             /* keeps the memory, forgets the error */
void ac_buf_free(struct ac_buf *buf);

/* Append `text` made safe for a terminal and valid UTF-8: control characters, invalid bytes and bidi
 * overrides become \xNN or \uNNNN. Every name read from another process passes through here before it is
 * printed. */
void ac_buf_escaped(struct ac_buf *buf, const char *text, size_t len);
/* The same bytes as valid UTF-8 with U+FFFD for what is not; for JSON. */
void ac_buf_utf8(struct ac_buf *buf, const char *text, size_t len);
/* Columns that valid UTF-8 `text` takes on a terminal (wide characters count 2, combining ones 0). */
size_t ac_text_width(const char *text);

/* Decimal and unit parsers for command lines and /proc: the whole text must match. 0, -EINVAL or -ERANGE. */
int ac_parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret_value);
int ac_parse_seconds(const char *text, double *ret_seconds); /* "2", "0.5", "500ms", "3s", "2m", "1h" */
int ac_parse_rate(const char *text, double *ret_hz);         /* "200", "200hz", "10khz" */

/* What a Python command line runs. argv[0] is the interpreter; its own options are read as Python reads them:
 * clusters of flags ("-uc CODE"), values joined or apart ("-mMODULE", "-X dev"), "--". AC_PYTHON_NOTHING: an
 * option that Python refuses or answers itself (--version), or argv was cut short. *ret_what is always set:
 * the path, the name or the code; "" else. */
enum ac_python_program {
    AC_PYTHON_NOTHING,
    AC_PYTHON_SCRIPT,
    AC_PYTHON_MODULE,
    AC_PYTHON_CODE,
    AC_PYTHON_STDIN /* "-", or no argument left */
};
enum ac_python_program ac_python_argv(const char *const *argv, size_t argc, const char **ret_what);

/* --- A hash map from uint64_t to uint32_t (open addressing). A zeroed struct is an empty map. */
struct ac_map {
    uint64_t *keys;
    uint32_t *values;
    uint8_t *used;
    size_t len, cap;
};
bool ac_map_get(const struct ac_map *map, uint64_t key, uint32_t *ret_value);
int ac_map_put(struct ac_map *map, uint64_t key, uint32_t value); /* inserts or replaces; 0 or -ENOMEM */
void ac_map_remove(struct ac_map *map, uint64_t key);
void ac_map_clear(struct ac_map *map);
void ac_map_free(struct ac_map *map);
uint64_t ac_hash_bytes(const void *data, size_t len);
uint64_t ac_hash_mix(uint64_t a, uint64_t b);

/* A small, fast, seedable generator (xoshiro-class) for jitter; not for secrets. */
struct ac_random {
    uint64_t state[2];
};
void ac_random_seed(struct ac_random *random, uint64_t seed);
uint64_t ac_random_next(struct ac_random *random);
double ac_random_unit(struct ac_random *random); /* uniform in [0, 1) */

#endif
