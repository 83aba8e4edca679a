/* phases.h - a run cut where its behaviour changes. */
#ifndef AC_VERDICT_PHASES_H
#define AC_VERDICT_PHASES_H

#include "allcores/profile.h"

#define AC_MAX_PHASES 8 /* with more, the change itself is how the program behaves */

/* Each phase as a profile of its own that shares its names and stacks with the whole, in order of time, and
 * when it began. No phases (count 0): it behaves alike throughout. ac_slice_free() each. */
int ac_phases_cut(const struct ac_profile *profile, struct ac_profile **ret_slices, int64_t *ret_from,
                  size_t *ret_count);
void ac_slice_free(struct ac_profile *slice);

#endif
