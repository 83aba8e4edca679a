/* html_tables.c - the tables: where core-seconds and thread-time went, estimates, the threads, the method. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "report/html.h"
#include "report/names.h"
#include "verdict/cores.h"
#include "verdict/evidence.h"

#define MAX_ROWS 200 /* of a table */

const char *const ac_html_states[AC_STATE_COUNT] = {
    "Python", "Waiting for the GIL", "Native code", "Waiting for a CPU", "Network and pipes", "Disk", "Lock",
    "Sleep",  "Other waiting",       "Not known"};

/* Name, then its look: p0, p1, ... of html.c. */
static const struct {
    const char *name;
    int look;
} uses[AC_CORES_COUNT] = {
    [AC_CORES_PYTHON] = {"Computed, in Python", 0},
    [AC_CORES_NATIVE] = {"Computed, in native code", 2},
    [AC_CORES_STARTING] = {"Starting interpreters and imports", 10},
    [AC_CORES_PICKLING] = {"Pickling and moving data", 11},
    [AC_CORES_OTHERS] = {"Other programs", 12},
    [AC_CORES_GIL] = {"Free while a thread waited for the GIL", 1},
    [AC_CORES_WAITING] = {"Free while a thread waited for something else", 7},
    [AC_CORES_NOTHING] = {"Free, and no thread was there for it", 13},
};

static int put_cores(struct ac_page *page) {
    struct ac_cores cores;
    int err = ac_cores_of(page->run->profile, &cores);
    if (err) {
        return err;
    }
    double all = 0;
    for (int u = 0; u < AC_CORES_COUNT; u++) {
        all += cores.seconds[u];
    }
    ac_buf_printf(
        page->buf,
        "<section class=\"cores\"><h2>Where the cores went</h2>\n<p>%.2f core-seconds: %.4g usable "
        "CPU%s for %.2f s.</p>\n<svg class=\"stack\" aria-hidden=\"true\" width=\"100%%\" height=\"28\">",
        cores.capacity, page->run->profile->cpus.usable, page->run->profile->cpus.usable <= 1 ? "" : "s",
        (double)page->run->profile->wall_ns / 1e9);
    double at = 0;
    for (int u = 0; u < AC_CORES_COUNT; u++) {
        double share = all > 0 ? 100 * cores.seconds[u] / all : 0;
        ac_buf_printf(page->buf, "<rect fill=\"url(#p%d)\" height=\"28\" x=\"%.2f%%\" width=\"%.2f%%\"/>",
                      uses[u].look, at, share);
        at += share;
    }
    ac_buf_str(page->buf,
               "</svg>\n<table><thead><tr><th scope=\"col\">Core time</th><th scope=\"col\" class=\"n\">"
               "Core-seconds</th><th scope=\"col\" class=\"n\">%</th></tr></thead><tbody>\n");
    for (int u = 0; u < AC_CORES_COUNT; u++) {
        if (cores.seconds[u] >= 0.0005 * all && all > 0) {
            ac_buf_printf(
                page->buf,
                "<tr><th scope=\"row\"><svg class=\"key\" aria-hidden=\"true\" width=\"14\" height=\"14\">"
                "<rect fill=\"url(#p%d)\" width=\"14\" height=\"14\"/></svg>%s</th><td class=\"n\">%.2f</td>"
                "<td class=\"n\">%.1f</td></tr>\n",
                uses[u].look, uses[u].name, cores.seconds[u], 100 * cores.seconds[u] / all);
        }
    }
    ac_buf_str(page->buf, "</tbody></table></section>\n");
    return 0;
}

/* --- estimates */

static void put_estimate(struct ac_page *page, const struct ac_verdict *v) {
    ac_buf_printf(page->buf, "<tr><th scope=\"row\">%s</th><td>", v->id);
    ac_html_put_text(page, v->fix_text ? v->fix_text : v->sentence, false);
    ac_buf_printf(page->buf, "</td><td class=\"n\">%.1f×</td><td class=\"n\">%.2f s</td></tr>\n",
                  v->estimate_speedup, page->run->diagnosis->evidence->wall_s / v->estimate_speedup);
}

static void put_estimates(struct ac_page *page) {
    const struct ac_diagnosis *d = page->run->diagnosis;
    bool some = d->main.estimate_speedup > 0;
    for (size_t i = 0; i < d->also_count; i++) {
        some = some || d->also[i].estimate_speedup > 0;
    }
    if (!some) {
        return;
    }
    ac_buf_str(page->buf, "<section class=\"whatif\"><h2>What if</h2>\n<p><b>Estimates, not measured</b>: "
                          "each fix by itself, on "
                          "these CPUs. <code>allcores race</code> measures.</p>\n<table><thead><tr><th "
                          "scope=\"col\">Verdict</th>"
                          "<th scope=\"col\">Fix</th><th scope=\"col\" class=\"n\">As fast</th><th "
                          "scope=\"col\" class=\"n\">Wall"
                          "</th></tr></thead><tbody>\n");
    if (d->main.estimate_speedup > 0) {
        put_estimate(page, &d->main);
    }
    for (size_t i = 0; i < d->also_count; i++) {
        if (d->also[i].estimate_speedup > 0) {
            put_estimate(page, &d->also[i]);
        }
    }
    ac_buf_str(page->buf, "</tbody></table></section>\n");
}

/* --- thread-time */

static void put_spot(struct ac_page *page, int state) {
    const struct ac_spot *spot = &page->run->diagnosis->evidence->state_spots[state];
    if (spot->func != AC_NO_FUNC) {
        struct ac_place place = ac_place_of(page->run->profile, spot);
        ac_html_put_text(page, place.function, false);
        ac_html_put_element(page, " <small>", ac_html_path(page, place.file), "");
        ac_buf_printf(page->buf, ":%d</small>", place.line);
    }
}

/* By how much chance alone moves a sampled share, in points: 1.96 standard deviations. */
static double error_of(const struct ac_page *page, double share) {
    double samples = (double)ac_max(page->run->profile->sampling.samples, 1);
    return 1.96 * sqrt(share / 100 * (1 - share / 100) / samples) * 100;
}

static void put_states(struct ac_page *page) {
    int64_t ns[AC_STATE_COUNT];
    double total = 0;
    ac_profile_states(page->run->profile, ns);
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        total += (double)ns[s];
    }
    ac_buf_str(
        page->buf,
        "<section><h2>Where the thread-time went</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
        "aria-label=\"Thread-time by state\"><table><thead><tr><th scope=\"col\">State</th>"
        "<th scope=\"col\" class=\"wide\">Share</th><th scope=\"col\" class=\"n\">Seconds</th>"
        "<th scope=\"col\" class=\"n\">%</th><th scope=\"col\" class=\"n\">±</th><th scope=\"col\">Mostly "
        "in</th>"
        "</tr></thead><tbody>\n");
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        double share = total > 0 ? 100 * (double)ns[s] / total : 0;
        if (ns[s] <= 0) {
            continue;
        }
        ac_buf_printf(
            page->buf,
            "<tr><th scope=\"row\">%s</th><td class=\"wide\"><svg class=\"bar\" aria-hidden=\"true\" "
            "width=\"100%%\" height=\"12\"><rect fill=\"url(#p%d)\" height=\"12\" "
            "width=\"%.2f%%\"/></svg></td>"
            "<td class=\"n\">%.2f</td><td class=\"n\">%.1f</td><td class=\"n\">%.1f</td><td>",
            ac_html_states[s], s, share, (double)ns[s] / 1e9, share, error_of(page, share));
        put_spot(page, s);
        ac_buf_str(page->buf, "</td></tr>\n");
    }
    ac_buf_str(page->buf, "</tbody></table></div></section>\n");
}

/* The lanes' twin: each thread's seconds by state. */
static void put_threads(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    ac_buf_str(page->buf, "<details><summary>The threads as a table</summary><div class=\"scroll\" "
                          "tabindex=\"0\" role=\"region\" "
                          "aria-label=\"Threads\"><table><thead><tr><th scope=\"col\">Process</th><th "
                          "scope=\"col\">Thread</th><th scope=\"col\">Name</th>");
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        ac_buf_printf(page->buf, "<th scope=\"col\" class=\"n\">%s</th>", ac_html_states[s]);
    }
    ac_buf_str(page->buf, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < p->thread_count && i < MAX_ROWS; i++) {
        const struct ac_thread *t = &p->threads[i];
        ac_buf_printf(page->buf, "<tr><td>%d</td>", p->processes[t->process].pid);
        if (t->merged > 1) {
            ac_buf_printf(page->buf, "<td></td><th scope=\"row\">%u threads</th>", t->merged);
        } else {
            ac_buf_printf(page->buf, "<td>%d</td>", t->tid);
            ac_html_put_element(page, "<th scope=\"row\">", ac_profile_text(p, t->name), "</th>");
        }
        for (int s = 0; s < AC_STATE_COUNT; s++) {
            ac_buf_printf(page->buf, "<td class=\"n\">%.2f</td>", (double)t->states_ns[s] / 1e9);
        }
        ac_buf_str(page->buf, "</tr>\n");
    }
    ac_buf_str(page->buf, "</tbody></table></div>");
    if (p->thread_count > MAX_ROWS) {
        ac_buf_printf(page->buf, "<p>The first %d of %zu.</p>", MAX_ROWS, p->thread_count);
    }
    ac_buf_str(page->buf, "</details>\n");
}

int ac_html_put_tables(struct ac_page *page) {
    put_estimates(page);
    int err = put_cores(page);
    put_states(page);
    put_threads(page);
    return err;
}

/* --- the method */

static void put_pythons(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    ac_str last = 0;
    for (size_t i = 0, told = 0; i < p->process_count && told < 3; i++) {
        if (p->processes[i].python && p->processes[i].python != last) {
            last = p->processes[i].python;
            ac_html_put_element(page, told++ ? ", " : "<li>CPython ", ac_profile_text(p, last), "");
            ac_buf_str(page->buf, p->processes[i].gil_enabled == 0 ? " without a GIL" : "");
        }
    }
    ac_buf_str(page->buf, last ? "</li>\n" : "");
}

static void put_cpus(struct ac_page *page) {
    const struct ac_cpus *c = &page->run->profile->cpus;
    const struct ac_evidence *e = page->run->diagnosis->evidence;
    ac_buf_printf(page->buf, "<li>CPUs: %d online, %d by affinity, ", c->online, c->affinity);
    if (c->quota > 0) {
        ac_buf_printf(page->buf, "a cgroup quota of %.4g, ", c->quota);
    }
    ac_buf_printf(page->buf, "%.4g usable, %.2f used", c->usable, e->used);
    if (e->others >= 0) {
        ac_buf_printf(page->buf, ", %.2f by other programs on average", e->others);
    }
    ac_buf_str(page->buf, "</li>\n");
}

void ac_html_put_method(struct ac_page *page) {
    const struct ac_profile *p = page->run->profile;
    const struct ac_sampling *s = &p->sampling;
    ac_buf_str(page->buf, "<section><h2>How this was measured</h2><ul>");
    put_cpus(page);
    put_pythons(page);
    ac_buf_printf(
        page->buf,
        "<li>%" PRId64 " samples at %.0f Hz (%.0f reached), %" PRId64 " missed, %" PRId64
        " failed; the sampler took %.1f %% of a core</li><li>CPU times are the kernel's%s; samples only "
        "split them: ± is what chance alone does to a share in 95 of 100 "
        "runs</li><li>Free core time is split by what threads waited for at the time</li>"
        "<li>Stacks with less than 0.1 %% of the thread-time, and the rarest of very many, are drawn as a "
        "part of those that they grew from, and are in no top line</li><li>Kernel ",
        s->samples, s->rate_hz, s->reached_hz, s->missed, s->torn + s->read_errors,
        100 * (double)s->sampler_cpu_ns / (double)ac_max(p->wall_ns, 1),
        s->ring ? ", context switches exact" : "");
    ac_html_put_text(page, ac_profile_text(p, p->kernel), false);
    ac_html_put_element(page, " on ", ac_profile_text(p, p->machine), "; allcores " AC_VERSION "</li>\n");
    for (size_t i = 0; i < AC_LIMIT_BITS; i++) {
        if (p->limits & (1u << i) && ac_limit_words[i]) {
            ac_html_put_element(page, "<li>Note: ", ac_limit_words[i], "</li>\n");
        }
    }
    for (size_t i = 0, told = 0; i < p->process_count && told < 8; i++) {
        const char *note = ac_profile_text(p, p->processes[i].note);
        if (*note) {
            ac_buf_printf(page->buf, "<li>Process %d: ", p->processes[i].pid);
            ac_html_put_element(page, "", note, "</li>\n");
            told++;
        }
    }
    ac_buf_str(page->buf, "</ul></section>\n");
}
