/* html_ranges.c - the verdict of any part of the run that a reader may take.
 *
 * The verdicts' rules stay in src/verdict alone: a copy of them in JavaScript would drift. So ranges are
 * judged here, beforehand, by what judges whole runs, and the page picks the judged range nearest to the one
 * taken and says which it is. The grid is finer for shorter ranges: parts of 4 to 7 cells at each of several
 * cell widths, so that a range is met to an eighth of its length at either end; and the phases, exactly. How
 * fine it gets is bounded in work and bytes; what is shorter than that has figures but no verdict. */
#include <inttypes.h>
#include <string.h>

#include "report/html.h"
#include "verdict/evidence.h"

#define COARSE         8  /* cells of a width at which every range is judged */
#define FINE           64 /* cells of the finest width */
#define SHORTEST_S     0.3
#define MAX_VISITS     10000000 /* segments looked at, for all ranges: about a second */
#define MAX_BYTES      60000    /* of a run's */
#define MAX_PAGE_BYTES 600000   /* of all runs' */

struct judged {
    struct ac_page *page;
    struct ac_buf said, ranges; /* the verdicts; [from, to, index of its verdict], in ms */
    size_t count;
    int64_t visits;
};

static bool is_full(const struct judged *j) {
    size_t bytes = j->said.len + j->ranges.len;
    return j->visits > MAX_VISITS / (int64_t)j->page->count ||
           bytes > ac_min((size_t)MAX_BYTES, MAX_PAGE_BYTES / j->page->count);
}

static void put_said(struct judged *j, const struct ac_verdict *v, double used) {
    struct ac_page into = *j->page;
    into.buf = &j->said;
    ac_buf_printf(&j->said, "%s[\"%s\",\"%s\",\"", j->count ? ",\n" : "", v->id,
                  ac_confidence_names[v->confidence]);
    ac_html_put_text(&into, v->sentence, true);
    ac_buf_str(&j->said, "\",\"");
    ac_html_put_text(&into, v->evidence ? v->evidence : "", true);
    ac_buf_printf(&j->said, "\",%.2f]", used);
}

static int judge(struct judged *j, int64_t from, int64_t to) {
    struct ac_diagnosis *diagnosis = NULL;
    if ((double)(to - from) < SHORTEST_S * 1e9) {
        return 0;
    }
    int err = ac_diagnose_range(j->page->run->profile, from, to, &diagnosis);
    if (err) {
        return err;
    }
    /* Slicing looks at each segment twice, judging at those inside. */
    const struct ac_profile *p = j->page->run->profile;
    j->visits +=
        (int64_t)((double)p->segment_count * (0.1 + (double)(to - from) / (double)ac_max(p->wall_ns, 1)));
    put_said(j, &diagnosis->main, diagnosis->evidence->used);
    ac_buf_printf(&j->ranges, "%s%.3f,%.3f", j->count ? "," : "", (double)from / 1e6, (double)to / 1e6);
    j->count++;
    ac_diagnosis_free(diagnosis);
    return 0;
}

/* All ranges of `length` cells, of `cells` of them in the run. */
static int judge_all(struct judged *j, int cells, int length) {
    int64_t wall = j->page->run->profile->wall_ns;
    int err = 0;
    for (int at = 0; !err && at + length <= cells && !is_full(j); at++) {
        err = judge(j, wall / cells * at, at + length == cells ? wall : wall / cells * (at + length));
    }
    return err;
}

static int judge_phases(struct judged *j) {
    const struct ac_diagnosis *d = j->page->run->diagnosis;
    int err = 0;
    for (size_t i = 0; !err && d->phase_count > 1 && i < d->phase_count; i++) {
        err = judge(j, (int64_t)(d->phases[i].from_s * 1e9), (int64_t)(d->phases[i].to_s * 1e9));
    }
    return err;
}

int ac_html_put_ranges(struct ac_page *page) {
    struct judged j = {.page = page};
    int err = page->run->profile->segment_count ? judge_phases(&j) : 0;
    bool some = page->run->profile->segment_count > 0;
    for (int length = COARSE; some && !err && length > 0; length--) {
        err = judge_all(&j, COARSE, length);
    }
    for (int cells = 2 * COARSE; some && !err && cells <= FINE && !is_full(&j); cells *= 2) {
        for (int length = 7; !err && length >= (cells == FINE ? 1 : 4); length--) {
            err = judge_all(&j, cells, length);
        }
    }
    ac_buf_str(page->buf, "\"verdicts\":[");
    ac_buf_bytes(page->buf, ac_buf_text(&j.said), j.said.len);
    ac_buf_str(page->buf, "],\n\"judged\":[");
    ac_buf_bytes(page->buf, ac_buf_text(&j.ranges), j.ranges.len);
    ac_buf_str(page->buf, "],\n");
    page->buf->err = page->buf->err ? page->buf->err : j.said.err ? j.said.err : j.ranges.err;
    ac_buf_free(&j.said);
    ac_buf_free(&j.ranges);
    return err;
}
