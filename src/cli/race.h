/* race.h - one run of a contender's driver; internal to src/cli. */
#ifndef AC_CLI_RACE_H
#define AC_CLI_RACE_H

#include "allcores/profile.h"
#include "cli/cli.h"

struct ac_race_driver {
    struct ac_profile *profile; /* the whole run */
    int64_t epoch_ns;           /* its beginning, CLOCK_MONOTONIC: what the driver's marks are told in */
    struct ac_buf answer;       /* JSON lines */
    struct ac_buf printed;      /* the end of what it wrote to stdout and stderr */
    int status;                 /* wait's */
    bool timed_out, stopped;    /* it was killed */
    int64_t peak_bytes;
};

/* Run `python driver spec` to its end, at most timeout_s. No process of it lives afterwards. The driver
 * writes its answer to answer_fd, a memfd that it inherits. 0, or a negative errno: it could not be started.
 */
int ac_race_drive(const char *python, const char *driver, const char *spec, int answer_fd, const char *title,
                  double timeout_s, struct ac_race_driver *ret);
void ac_race_driver_clear(struct ac_race_driver *run);

#endif
