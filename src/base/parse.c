/* parse.c - numbers with units from command lines; the whole text must match. */
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
