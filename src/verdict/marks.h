/* marks.h - what the frames of a stack say about the machinery that runs it: a pool, an event loop, a client
 * that waits for an answer. One table of files and functions; every other figure is a sum over marked nodes.
 */
#ifndef AC_VERDICT_MARKS_H
#define AC_VERDICT_MARKS_H

#include "allcores/profile.h"
#include "verdict/evidence.h"

enum ac_mark {
    AC_MARK_WORKER = 1 << 0,    /* the main function of a pool's worker */
    AC_MARK_CALLER = 1 << 1,    /* calls the task itself: what is called from here is the user's */
    AC_MARK_MACHINERY = 1 << 2, /* a pool's own code, in parent or worker */
    AC_MARK_DATA = 1 << 3,      /* turns objects into bytes, moves them, or turns them back */
    AC_MARK_RESULT = 1 << 4,    /* waits for one result */
    AC_MARK_CLIENT = 1 << 5,    /* asks another program over the network and waits for its answer */
    AC_MARK_SERVER = 1 << 6,    /* waits for whoever may ask */
    AC_MARK_LOOP = 1 << 7,      /* one turn of an asyncio loop */
    AC_MARK_HANDLE = 1 << 8,    /* a callback that the loop runs: the code that must not block */
    AC_MARK_SELECT = 1 << 9,    /* the loop's or a server's wait */
    AC_MARK_WAITER = 1 << 10,   /* the library's own waits: conditions, joins, queues */
    AC_MARK_FORKER = 1 << 11,   /* only forks workers for their parent */
    AC_MARK_CHILD = 1 << 12,    /* where a forked process begins: the loop below is its parent's */
    AC_MARK_HOST = 1 << 13,     /* the main function of a worker whose tasks run in further threads of it */
    AC_MARK_HANDED =
        1 << 14, /* a thread that runs what a loop of its process hands to it: a server's, if any */
    /* of nodes only */
    AC_MARK_TASK = 1 << 15, /* the leaf is inside a pool's task */
    AC_MARK_USER = 1 << 16, /* the leaf is the user's own code */
};

struct ac_marks {
    uint32_t *of_func; /* what a function is */
    uint32_t *of_node; /* what is on a node's path; TASK and USER are of its leaf */
    uint8_t *kind;     /* per node: enum ac_pool_kind of the outermost worker function on its path */
};

int ac_marks_new(const struct ac_profile *profile, const uint8_t *user, struct ac_marks *ret_marks);
void ac_marks_free(struct ac_marks *marks);

static inline uint32_t ac_node_func(const struct ac_profile *profile, uint32_t node) {
    return profile->frames[profile->nodes[node].frame].func;
}

/* Calls `visit` at `steps` moments spread over the run with each thread's segment then (NULL: none). */
typedef void (*ac_moment_fn)(const struct ac_segment *const *now, void *arg);
int ac_walk_moments(const struct ac_profile *profile, size_t steps, ac_moment_fn visit, void *arg);

struct ac_scene { /* what the figures are made from */
    const struct ac_profile *profile;
    const struct ac_marks *marks;
    const uint8_t *user;
    struct ac_evidence *evidence;
};
int ac_waits_figures(const struct ac_scene *scene);
int ac_lock_figures(const struct ac_scene *scene);
int ac_pool_figures(const struct ac_scene *scene);
int ac_loop_figures(const struct ac_scene *scene);
/* A segment of that length is one wait: the probe ends one where a long wait ends, and joins only short ones.
 */
#define AC_SLOW_NS (300 * AC_NS_PER_MS)
void ac_slow_add(struct ac_slow *slow, const struct ac_segment *segment);
/* The heaviest user function over chosen cells. */
typedef bool (*ac_cell_fn)(const struct ac_scene *, const struct ac_cell *, const void *arg);
int ac_scene_spot(const struct ac_scene *scene, ac_cell_fn wanted, const void *arg, struct ac_spot *ret);

#endif
