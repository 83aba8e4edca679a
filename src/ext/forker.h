/* forker.h - for the fork context: the engine's supervisor asks, a Python thread of the parent forks. */
#ifndef AC_EXT_FORKER_H
#define AC_EXT_FORKER_H

#include <allcores/pool.h>

struct ac__forker;
/* `pool` is where the pool's handle will stand once it has been made. NULL: no memory. */
struct ac__forker *ac__forker_new(struct ac_pool **pool);
void ac__forker_free(struct ac__forker *forker);
void ac__forker_stop(struct ac__forker *forker); /* nobody will answer any more */
/* ac_spawn_fn and ac_reap_fn; the argument is the forker. */
int ac__forker_spawn(void *forker, const struct ac_spawn *spawn, struct ac_spawned *ret);
int ac__forker_reap(void *forker, pid_t pid, int *ret_status);
/* The Python thread's side. */
bool ac__forker_wanted(struct ac__forker *forker);
void ac__forker_answer(struct ac__forker *forker, int pid_or_error, int pidfd);
/* In the child: what to attach with. */
const struct ac_spawn *ac__forker_spawn_of(struct ac__forker *forker);

#endif
