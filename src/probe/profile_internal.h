/* profile_internal.h - what profile.c, activity.c, timeline.c and valid.c share. */
#ifndef AC_PROBE_PROFILE_INTERNAL_H
#define AC_PROBE_PROFILE_INTERNAL_H

#include "allcores/profile.h"
#include "base/base.h"

/* What a function says about the stacks that it stands in. */
struct ac__trait {
    uint8_t activity; /* enum ac_activity */
    uint8_t hold;     /* enum ac__hold: what it means for the frames below */
};
enum ac__hold {
    AC__HOLD_NONE, /* says nothing: the caller's activity goes on */
    AC__HOLD_ALL,  /* everything called from here shares the activity */
    AC__HOLD_SELF, /* the activity is this function's own: what it calls is the program's work */
    AC__HOLD_RESET /* the program's work begins here, whatever was above */
};

struct ac_profile_index {
    struct ac_map strings, funcs, frames, nodes, cells, pairs;
    struct ac__trait *func_traits, *node_traits; /* parallel to funcs and nodes */
    size_t func_traits_cap, node_traits_cap;
};

/* activity.c */
struct ac__trait ac__activity_of(const char *name, const char *file);
struct ac__trait ac__activity_below(struct ac__trait parent, bool parent_is_root, struct ac__trait func);

#endif
