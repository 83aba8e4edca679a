/* parse.c - numbers with units from command lines (the whole text must match), and Python's command line. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"

int ac_parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret_value) {
    if (*text != '-' && (*text < '0' || *text > '9')) {
        return -EINVAL; /* strtoll would skip blanks and take a plus sign */
    }
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end) {
        return -EINVAL;
    }
    if (errno == ERANGE || value < min || value > max) {
        return -ERANGE;
    }
    *ret_value = value;
    return 0;
}

struct unit {
    const char *name;
    double factor;
};

static int parse_with_unit(const char *text, const struct unit *units, size_t count, double *ret_value) {
    size_t digits = strspn(text, "0123456789.");
    char *end;
    double value = strtod(text, &end);
    if (digits == 0 || (size_t)(end - text) != digits || !isfinite(value)) {
        return -EINVAL; /* also: exponents, hex, nan, signs */
    }
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(end, units[i].name) == 0) {
            *ret_value = value * units[i].factor;
            return 0;
        }
    }
    return -EINVAL;
}

int ac_parse_seconds(const char *text, double *ret_seconds) {
    static const struct unit units[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}, {"min", 60}, {"h", 3600}};
    return parse_with_unit(text, units, AC_COUNT(units), ret_seconds);
}

int ac_parse_rate(const char *text, double *ret_hz) {
    static const struct unit units[] = {{"", 1}, {"hz", 1}, {"k", 1e3}, {"khz", 1e3}};
    return parse_with_unit(text, units, AC_COUNT(units), ret_hz);
}

/* One word of flags; *at moves past a value that is a word of its own. True: they end the options, and
 * *ret_kind is set. */
static bool read_flags(const char *const *argv, size_t argc, size_t *at, enum ac_python_program *ret_kind,
                       const char **ret_what) {
    *ret_kind = AC_PYTHON_NOTHING;
    for (const char *flag = argv[*at] + 1; *flag; flag++) {
        if (strchr("cmWX", *flag)) {
            *at += flag[1] == '\0';
            if (*at < argc && (*flag == 'c' || *flag == 'm')) {
                *ret_kind = *flag == 'c' ? AC_PYTHON_CODE : AC_PYTHON_MODULE;
                *ret_what = flag[1] ? flag + 1 : argv[*at];
            }
            return *at >= argc || *ret_kind != AC_PYTHON_NOTHING;
        }
        if (!strchr("bBdEiIOPqRsStuvx", *flag)) {
            return true;
        }
    }
    return false;
}

enum ac_python_program ac_python_argv(const char *const *argv, size_t argc, const char **ret_what) {
    enum ac_python_program kind;
    size_t at = 1;
    *ret_what = "";
    for (; at < argc && argv[at][0] == '-' && argv[at][1]; at++) {
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        if (strcmp(argv[at], "--check-hash-based-pycs") == 0) {
            at++;
        } else if (read_flags(argv, argc, &at, &kind, ret_what)) {
            return kind;
        }
    }
    if (at > argc) {
        return AC_PYTHON_NOTHING;
    }
    if (at == argc || strcmp(argv[at], "-") == 0) {
        return AC_PYTHON_STDIN;
    }
    *ret_what = argv[at];
    return AC_PYTHON_SCRIPT;
}
