/* table.h - one const entry per verdict: when it fits, and its words. */
#ifndef AC_VERDICT_TABLE_H
#define AC_VERDICT_TABLE_H

#include <math.h>

#include "base/base.h"
#include "verdict/evidence.h"

/* How an entry fits the evidence. */
struct ac_fit {
    bool fits;
    enum ac_confidence confidence; /* by margins; limits of the run lower it afterwards */
    double gain_s;                 /* wall seconds that the fix may save; 0: nothing to gain */
    bool finding;                  /* never the main verdict, always told besides */
    double speedup, cpus;          /* the estimate; 0 none */
};

/* 0: at an entry's thresholds; 1: so far beyond them that no program of the sweep had it wrongly. */
static inline enum ac_confidence ac_by_margin(double margin) {
    return margin >= 1 ? AC_SURE : margin >= 0.4 ? AC_LIKELY : AC_GUESS;
}

/* A handful of answers that took most of the run, so slow that no rate tells: at least three, and none so
 * late that the other side rather had nothing to say (a long poll, an empty queue). */
static inline bool ac_is_slow(const struct ac_slow *slow, double wall_s) {
    return slow->answers >= 3 && slow->seconds >= 0.45 * wall_s && slow->seconds <= 8.0 * slow->answers;
}
/* Did such answers take most of the waiting? */
static inline bool ac_is_mostly_slow(const struct ac_slow *slow, double waiting_s) {
    return slow->seconds >= 0.5 * waiting_s;
}
/* "Sure" is for answers that come often: of slow ones few were seen, and a reader of what comes anyway looks
 * alike. */
static inline enum ac_confidence ac_by_answers(enum ac_confidence confidence, const struct ac_slow *slow,
                                               double waiting_s) {
    enum ac_confidence most = slow->answers >= 5 ? AC_LIKELY : AC_GUESS;
    return ac_is_mostly_slow(slow, waiting_s) ? ac_min(confidence, most) : confidence;
}

/* How many of the calls run at a time on average where `k` may: three take two rounds on two CPUs, as four.
 */
static inline double ac_at_a_time(const struct ac_evidence *e, double k) {
    double few = e->at_once ? ac_min(k, e->at_once) : k;
    double rounds = few > 0 ? ceil(e->calls / few - 1e-9) : 0;
    return rounds > 0 ? e->calls / rounds : few;
}

/* The answers that came, where slow ones took most of the waiting; 0: too many to count. */
static inline uint32_t ac_answers_counted(const struct ac_slow *slow, double waiting_s) {
    return ac_is_mostly_slow(slow, waiting_s) ? slow->answers : 0;
}

/* Waits that overlap: eight, as clients usually allow, or all that there are: the calls that the source
 * counts, else the `answers` (0 not counted). */
static inline double ac_together(const struct ac_evidence *e, uint32_t answers) {
    double most = e->at_once ? e->at_once : 8;
    uint32_t all = e->calls ? e->calls : answers;
    return all ? ac_min(most, all) : most;
}
/* The share of such waits that is saved. */
static inline double ac_overlap(const struct ac_evidence *e, uint32_t answers) {
    return 1 - 1 / ac_at_a_time(e, ac_together(e, answers));
}

/* What a builder of words has at hand. */
struct ac_case {
    const struct ac_profile *profile;
    const struct ac_evidence *evidence;
    const struct ac_fit *fit;
    ac_source_fn source;
    void *source_arg;
};

struct ac_entry {
    const char *id;
    struct ac_fit (*fit)(const struct ac_evidence *);
    void (*sentence)(const struct ac_case *, struct ac_buf *);
    void (*evidence)(const struct ac_case *, struct ac_buf *);
    void (*fix)(const struct ac_case *, struct ac_buf *);                          /* NULL: nothing to fix */
    void (*code)(const struct ac_case *, struct ac_buf *, struct ac_place *place); /* NULL: no snippet */
};
extern const struct ac_entry ac_entries[];
extern const size_t ac_entry_count;

/* Entries in files of their own. */
#define AC_VERDICT_WORDS(name)                                                                               \
    struct ac_fit ac_fit_##name(const struct ac_evidence *);                                                 \
    void ac_say_##name(const struct ac_case *, struct ac_buf *);                                             \
    void ac_why_##name(const struct ac_case *, struct ac_buf *);                                             \
    void ac_fix_##name(const struct ac_case *, struct ac_buf *);
AC_VERDICT_WORDS(oversubscribed) /* table_waits.c */
AC_VERDICT_WORDS(cpu_quota)
AC_VERDICT_WORDS(disk_bound)
AC_VERDICT_WORDS(io_threads_ok)
AC_VERDICT_WORDS(io_sequential)
AC_VERDICT_WORDS(lock_contention)
AC_VERDICT_WORDS(tiny_tasks) /* table_pools.c */
AC_VERDICT_WORDS(pickling)
AC_VERDICT_WORDS(starved_pool)
AC_VERDICT_WORDS(uneven_tasks)
AC_VERDICT_WORDS(serial_pool_use)
AC_VERDICT_WORDS(start_up)
/* A pool is at fault: what its parent's or worker's thread looks like alone says less. */
bool ac_pool_explains(const struct ac_evidence *e);
AC_VERDICT_WORDS(blocked_event_loop) /* table_loop.c */
AC_VERDICT_WORDS(serial_awaits)
AC_VERDICT_WORDS(gil_reenabled)
AC_VERDICT_WORDS(fork_hazard)
bool ac_loop_explains(const struct ac_evidence *e);
void ac_code_io_sequential(const struct ac_case *, struct ac_buf *, struct ac_place *);

/* The busiest process runs without a GIL: threads are enough. */
static inline bool ac_has_no_gil(const struct ac_evidence *e) {
    return e->free_threaded == 1 && e->gil_enabled == 0;
}

/* snippet.c: the standard library's way to use more cores, in terms of the user's own function and lines. */
void ac_snippet_pool(const struct ac_case *c, struct ac_buf *buf, struct ac_place *place);
void ac_snippet_loop(const struct ac_case *c, const struct ac_spot *spot, const char *executor,
                     struct ac_buf *buf, struct ac_place *place);

#define AC_VERDICT_CODE(name) void ac_code_##name(const struct ac_case *, struct ac_buf *, struct ac_place *);
AC_VERDICT_CODE(tiny_tasks)
AC_VERDICT_CODE(serial_pool_use)
AC_VERDICT_CODE(start_up)
AC_VERDICT_CODE(serial_awaits)
AC_VERDICT_CODE(blocked_event_loop)

/* words.c: "transform (batch.py:6)" */
void ac_put_place(const struct ac_place *place, struct ac_buf *buf);
/* "5 answers of 0.7 s each" */
void ac_put_answers(const struct ac_slow *slow, struct ac_buf *buf);
/* "; 4 workers of gunicorn", where there are some. */
void ac_put_workers(const struct ac_case *c, struct ac_buf *buf);
void ac_put_spot(const struct ac_case *c, const struct ac_spot *spot, struct ac_buf *buf);

#endif
