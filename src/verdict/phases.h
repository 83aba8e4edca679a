/* phases.h - a run cut where its behaviour changes. */
#ifndef AC_VERDICT_PHASES_H
#define AC_VERDICT_PHASES_H

#include "allcores/profile.h"

#define AC_MAX_PHASES 8 /* with more, the change itself is how the program behaves */

/* When each phase ends, in order (room for AC_MAX_PHASES); the last with the run. Count 0: it behaves alike
 * throughout. */
int ac_phases_cut(const struct ac_profile *profile, int64_t *ret_ends, size_t *ret_count);
/* A part of the run as a profile of its own, which shares names and stacks with the whole. */
int ac_phases_slice(const struct ac_profile *profile, int64_t from, int64_t to,
                    struct ac_profile **ret_slice);
void ac_slice_free(struct ac_profile *slice);

#endif
