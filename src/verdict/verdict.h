/* verdict.h - evidence in, verdict out: pure functions over a profile, no I/O.
 *
 * ac_diagnose() boils a profile down to an ac_evidence (shares and names, no tables), asks each entry of the
 * const table in table.c how well it fits, and lets the one that gives most once fixed speak.
 */
#ifndef AC_VERDICT_H
#define AC_VERDICT_H

#include "allcores/profile.h"

enum ac_confidence { AC_GUESS, AC_LIKELY, AC_SURE };
extern const char *const ac_confidence_names[]; /* "a guess", "likely", "sure" */

/* A place in the user's own code. Strings belong to the profile or are static; "" when not known. */
struct ac_place {
    const char *function, *file;
    int32_t line;
};

struct ac_verdict {
    const char *id; /* stable: "gil-bound-threads" */
    enum ac_confidence confidence;
    char *sentence; /* what is true, in plain words, one line */
    char *evidence; /* the figures it rests on, one line */
    char *fix_text; /* NULL: nothing to fix */
    char *fix_code; /* a snippet in the standard library's terms, naming the user's own function; or NULL */
    char *fix_more; /* what allcores adds, one line; or NULL */
    char *fix_diff; /* the fix as a diff of the user's file; from outside, after the diagnosis; or NULL */
    char *fix_withheld;        /* why there is none, or NULL */
    struct ac_place fix_place; /* where the snippet goes */
    double estimate_speedup;   /* 0: no estimate; always labelled as an estimate */
    double estimate_cpus;
    int64_t estimate_bytes; /* extra memory, -1 not known */
    double gain_s;          /* seconds of wall time that the fix may save; what the ranking uses */
};

/* One source line, without its newline, from whoever may read files (the command does; tests use a table).
 * NULL when not to be had. The text is untrusted. */
typedef const char *(*ac_source_fn)(const char *file, int32_t line, void *arg);

/* A stretch of the run in which it behaved alike. */
struct ac_phase {
    double from_s, to_s, cpus_used;
    const char *id;
    char *sentence;
};

struct ac_diagnosis {
    struct ac_verdict main;  /* of the phase in which most can be saved */
    struct ac_verdict *also; /* further findings, most gain first */
    size_t also_count;
    struct ac_phase *phases; /* one at least, without a gap */
    size_t phase_count;
    struct ac_evidence *evidence; /* of the whole run; evidence.h; kept for the reports */
    struct ac_evidence *spoken;   /* what `main` rests on: the same, or that of its phase */
};

int ac_diagnose(const struct ac_profile *profile, ac_source_fn source, void *source_arg,
                struct ac_diagnosis **ret_diagnosis);
/* The verdict of one part of the run, which is not cut into phases; no snippet that quotes source. */
int ac_diagnose_range(const struct ac_profile *profile, int64_t from_ns, int64_t to_ns,
                      struct ac_diagnosis **ret_diagnosis);
/* The estimate of the main verdict again, now that the source has told how many calls there are each time and
 * how many of them the fix lets run at once; 0: not known. */
int ac_diagnosis_limit(struct ac_diagnosis *diagnosis, const struct ac_profile *profile, uint32_t calls,
                       uint32_t at_once);
void ac_diagnosis_free(struct ac_diagnosis *diagnosis);

/* The ids of the table, for help and docs; NULL past the end. */
const char *ac_verdict_id(size_t i);

#endif
