/* kill.h - the places where a test kills: between two stores to shared memory, on either side.
 *
 * AC_KILL_POINT(NAME) is nothing in production. In the test build it calls ac__kill_hook, which counts, and
 * kills when told. tests/c/test_pool_kill.c goes through this list, so a point that no scenario reaches fails
 * there. */
#ifndef AC_POOL_KILL_H
#define AC_POOL_KILL_H

#define AC__KILL_POINTS(X)                                                                                   \
    /* worker: attach, claim, park */                                                                        \
    X(ATTACH_MAPPED)                                                                                         \
    X(ATTACH_LOCKED)                                                                                         \
    X(ATTACH_STATE)                                                                                          \
    X(CLAIM_FOUND)                                                                                           \
    X(CLAIM_SWAPPED)                                                                                         \
    X(CLAIM_ADVANCED)                                                                                        \
    X(CLAIM_NOTED)                                                                                           \
    X(SPIN_FLAGGED)                                                                                          \
    X(SPIN_CLEARED)                                                                                          \
    X(PARK_ZEROED)                                                                                           \
    X(PARK_FLAGGED)                                                                                          \
    X(PARK_WOKEN)                                                                                            \
    X(PARK_UNFLAGGED)                                                                                        \
    X(BATON_TAKEN)                                                                                           \
    X(BATON_MARKED)                                                                                          \
    /* worker: memory */                                                                                     \
    X(SPAN_CLAIMED)                                                                                          \
    X(BLOCK_HEADED)                                                                                          \
    X(BLOCK_FILLED)                                                                                          \
    X(RETURNED_TAKEN)                                                                                        \
    X(RETURN_LINKED)                                                                                         \
    X(RETURN_PUSHED)                                                                                         \
    /* worker: finish */                                                                                     \
    X(STAGE_WRITTEN)                                                                                         \
    X(PROGRESS_WRITTEN)                                                                                      \
    X(GIVE_WRITTEN)                                                                                          \
    X(GIVE_MARKED)                                                                                           \
    X(FINISH_WRITTEN)                                                                                        \
    X(FINISH_SWAPPED)                                                                                        \
    X(FINISH_LINKED)                                                                                         \
    X(FINISH_PUSHED)                                                                                         \
    X(FINISH_RANG)                                                                                           \
    X(FINISH_NOTED)                                                                                          \
    X(LEAVE_MARKED)                                                                                          \
    /* parent */                                                                                             \
    X(P_CREATED)                                                                                             \
    X(P_SPAWNING)                                                                                            \
    X(P_SPAWNED)                                                                                             \
    X(P_RESERVED)                                                                                            \
    X(P_SLOT_FILLED)                                                                                         \
    X(P_QUEUED)                                                                                              \
    X(P_RING_WRITTEN)                                                                                        \
    X(P_TAIL_MOVED)                                                                                          \
    X(P_IDLE_CLEARED)                                                                                        \
    X(P_WOKEN)                                                                                               \
    X(P_WAIT_FLAGGED)                                                                                        \
    X(P_TAKEN)                                                                                               \
    X(P_RELEASED)                                                                                            \
    X(P_RETURNED)                                                                                            \
    X(P_DEATH_SEEN)                                                                                          \
    X(P_DEATH_MARKED)                                                                                        \
    X(P_CLOSING)

enum ac__kill_point {
#define AC__KILL_ENUM(name) AC__KILL_##name,
    AC__KILL_POINTS(AC__KILL_ENUM) AC__KILL_COUNT
};

#ifdef AC_KILL_POINTS
extern void (*ac__kill_hook)(enum ac__kill_point point);
#define AC_KILL_POINT(name) (ac__kill_hook != NULL ? ac__kill_hook(AC__KILL_##name) : (void)0)
#else
#define AC_KILL_POINT(name) ((void)0)
#endif

#endif
