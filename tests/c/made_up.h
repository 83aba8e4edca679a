/* made_up.h - the page of a run that never was, of any size. */
#ifndef AC_TEST_MADE_UP_H
#define AC_TEST_MADE_UP_H

#include "report/report.h"

/* `threads` threads that take turns at the GIL every 5 ms for `seconds`, in as many stacks as the flame graph
 * takes; 0 or -errno. */
int made_up_profile(uint32_t threads, int seconds, struct ac_profile **ret_profile);
int made_up_page(const struct ac_profile *profile, struct ac_buf *buf);
/* The page of `count` runs (at most 8), all that one, and of one more that failed; the first has a hostile
 * name, the second no GIL, the third one an interpreter. */
int made_up_race(const struct ac_profile *profile, size_t count, struct ac_buf *buf);

#endif
