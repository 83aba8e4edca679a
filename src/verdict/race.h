/* race.h - the figures of a race and what follows from them: pure functions. */
#ifndef AC_VERDICT_RACE_H
#define AC_VERDICT_RACE_H

#include "allcores/race.h"
#include "verdict/verdict.h"

/* The code that is raced, as profiles know it; file NULL: not known (a function written in C). */
struct ac_race_code {
    const char *file;
    int32_t line;
};

#define AC_RACE_FIRST_S 300.0 /* for the first contender, and for what comes before it */

/* Figures of the work, [from, to) of a whole run, and the slice itself. What a module does in threads of its
 * own while a worker imports it is marked as importing, in both. */
int ac_race_measure(struct ac_profile *whole, int64_t from_ns, int64_t to_ns, const struct ac_race_code *code,
                    struct ac_race_run *ret_run, struct ac_profile **ret_slice);
int ac_race_mark_imports(struct ac_profile *slice); /* race_imports.c */
/* The run that the contender is told by; it owns them from now on, and frees what it had. */
void ac_race_contender_take(struct ac_race_contender *contender, struct ac_profile *whole,
                            struct ac_profile *slice, struct ac_diagnosis *diagnosis);
/* What it chose by itself in that run: allcores.map's backend, workers beside the calling thread, items a
 * chunk, and why. Text is untrusted. 0 or -ENOMEM. */
struct ac_race_pick {
    const char *backend, *reason;
    uint32_t workers;
    uint64_t chunk;
};
int ac_race_contender_picked(struct ac_race_contender *contender, const struct ac_race_pick *pick);
/* Seconds that the next contender may take; asked_s as the user gave it, 0 if not. */
double ac_race_limit(const struct ac_race *race, double asked_s);
void ac_race_contender_drop(struct ac_profile *slice, struct ac_diagnosis *diagnosis);
/* The least and the most wall time of its runs. */
void ac_race_range(const struct ac_race_contender *contender, double *ret_least_s, double *ret_most_s);
/* The contenders that never ran, each with its reason, as `put` writes it: "A (reason), B (reason)" between
 * head and tail; nothing where all ran. */
void ac_race_left_out(const struct ac_race *race, const char *head, const char *between, const char *tail,
                      void (*put)(struct ac_buf *buf, const char *text), struct ac_buf *buf);
/* Medians, speed-ups, reasons, winner: once all contenders have run. */
int ac_race_judge(struct ac_race *race);

/* What a segment of the time line was on a CPU for. */
enum ac_race_use { AC_RACE_IDLE, AC_RACE_COMPUTING, AC_RACE_OVERHEAD };
enum ac_race_use ac_race_use_of(const struct ac_profile *profile, const struct ac_segment *segment);

#endif
