/* html.c - one page that stands by itself: what matters is text and tables, which need no JavaScript; web/
 * draws the time line and the flame graph from the one JSON block. Bounded for a run of any length: a long
 * time line is told in steps, in each of which a lane has one state, chosen such that over time all states
 * keep their shares.
 */
#include <inttypes.h>
#include <string.h>

#include "report/names.h"
#include "report/stream.h"
#include "report/web.h" /* made by tools/embed: AC_WEB_CSS, AC_WEB_JS, and ..._HASH of both */
#include "verdict/evidence.h"

#define MAX_SEGMENTS   16000   /* told as they are; more are told in steps */
#define MAX_STEPS      1000000 /* of all lanes, to begin with */
#define MAX_LANE_BYTES 240000  /* of all lanes, once alike steps are one piece */
#define MAX_LANES      1024
#define MAX_ROWS       200   /* of a table */
#define MAX_NODES      1500  /* of the flame graph: a stack may be 192 deep */
#define MAX_NAME       120   /* bytes of a name in it */
#define LEAST_SHARE    0.001 /* of all thread-time: a rarer stack is told as the one that it grew from */

static const char *const labels[AC_STATE_COUNT] = {
    "Python", "Waiting for the GIL", "Native code", "Waiting for a CPU", "Network and pipes", "Disk", "Lock",
    "Sleep",  "Other waiting",       "Not known"};

struct page {
    const struct ac_profile *p;
    const struct ac_diagnosis *diagnosis;
    const struct ac_html_options *options;
    struct ac_buf *buf;
};

/* Text from outside, in HTML or (json) in the data block, where "<" would end the script. */
static void put_text(struct page *page, const char *text, bool json) {
    struct ac_buf safe = {0};
    ac_buf_escaped(&safe, text, strlen(text));
    for (const char *at = ac_buf_text(&safe); *at; at++) {
        if (strchr("<>&\"'\\", *at)) {
            ac_buf_printf(page->buf, json ? "\\u%04x" : "&#%d;", (unsigned char)*at);
        } else {
            ac_buf_bytes(page->buf, at, 1);
        }
    }
    page->buf->err = page->buf->err ? page->buf->err : safe.err;
    ac_buf_free(&safe);
}

static void put_element(struct page *page, const char *open, const char *text, const char *close) {
    ac_buf_str(page->buf, open);
    put_text(page, text, false);
    ac_buf_str(page->buf, close);
}

static const char *path_of(const struct page *page, const char *path) {
    return page->options->full_paths ? path : ac_short_path(path);
}

/* What was run, without what may be private: the script's name, or all arguments when they are wanted. */
static void put_title(struct page *page, bool json) {
    const struct ac_profile *p = page->p;
    size_t argc = ac_min((size_t)p->argc, AC_COUNT(p->argv));
    if (page->options->with_args) {
        for (size_t i = 0; i < argc; i++) {
            ac_buf_str(page->buf, i ? " " : "");
            put_text(page, ac_profile_text(p, p->argv[i]), json);
        }
        return;
    }
    const char *name = argc ? ac_base_name(ac_profile_text(p, p->argv[0])) : "";
    for (size_t i = 1; i < argc && strncmp(name, "python", 6) == 0; i++) {
        const char *word = ac_profile_text(p, p->argv[i]);
        if (*word != '-') {
            name = i > 1 && strcmp(ac_profile_text(p, p->argv[i - 1]), "-c") == 0 ? "python -c"
                                                                                  : ac_base_name(word);
            break;
        }
    }
    put_text(page, *name ? name : "a program", json);
}

/* --- the verdict */

static void put_code(struct page *page, const char *code) {
    ac_buf_str(page->buf, "<div class=\"code\"><pre tabindex=\"0\" aria-label=\"The fix\"><code id=\"fix\">");
    while (*code) {
        size_t len = strcspn(code, "\n");
        struct ac_buf line = {0};
        ac_buf_bytes(&line, code, len);
        put_text(page, ac_buf_text(&line), false);
        ac_buf_str(page->buf, "\n");
        ac_buf_free(&line);
        code += len + (code[len] == '\n');
    }
    ac_buf_str(page->buf, "</code></pre><button id=\"copy\" type=\"button\" hidden>Copy</button></div>\n");
}

static void put_verdict(struct page *page) {
    const struct ac_verdict *v = &page->diagnosis->main;
    ac_buf_printf(page->buf, "<section class=\"verdict\"><p class=\"tag\">%s <span>%s</span></p>\n", v->id,
                  ac_confidence_names[v->confidence]);
    put_element(page, "<h1>", v->sentence, "</h1>\n");
    put_element(page, "<p class=\"evidence\">", v->evidence ? v->evidence : "", "</p>\n");
    if (v->fix_text) {
        put_element(page, "<h2>The fix</h2>\n<p>", v->fix_text, "</p>\n");
        if (v->fix_place.file && *v->fix_place.file) {
            put_element(page, "<p class=\"place\">", path_of(page, v->fix_place.file), "");
            ac_buf_printf(page->buf, ":%d</p>\n", v->fix_place.line);
        }
    }
    if (v->fix_code) {
        put_code(page, v->fix_code);
    }
    if (v->fix_more) {
        put_element(page, "<p>", v->fix_more, "</p>\n");
    }
    if (v->estimate_speedup > 0) {
        ac_buf_printf(page->buf, "<p>Estimate, not measured: about %.1f× as fast.</p>\n",
                      v->estimate_speedup);
    }
    for (size_t i = 0; i < page->diagnosis->also_count; i++) {
        put_element(page, "<p class=\"also\">Also: ", page->diagnosis->also[i].sentence, "");
        ac_buf_printf(page->buf, " <span>(%s)</span></p>\n",
                      ac_confidence_names[page->diagnosis->also[i].confidence]);
    }
    ac_buf_str(page->buf, "</section>\n");
}

/* --- figures and tables */

static void put_figures(struct page *page) {
    const struct ac_evidence *e = page->diagnosis->evidence;
    ac_buf_printf(page->buf,
                  "<dl class=\"figures\"><div><dt>Wall time</dt><dd>%.2f s</dd></div>"
                  "<div><dt>CPU time</dt><dd>%.2f s</dd></div>"
                  "<div><dt>Cores used</dt><dd>%.2f <small>of %.4g</small></dd></div>"
                  "<div><dt>Threads</dt><dd>%u <small>in %u process%s</small></dd></div></dl>\n",
                  e->wall_s, e->cpu_s, e->used, e->usable, e->threads, e->processes,
                  e->processes == 1 ? "" : "es");
}

static void put_spot(struct page *page, int state) {
    const struct ac_spot *spot = &page->diagnosis->evidence->state_spots[state];
    if (spot->func != AC_NO_FUNC) {
        struct ac_place place = ac_place_of(page->p, spot);
        put_text(page, place.function, false);
        put_element(page, " <small>", path_of(page, place.file), "");
        ac_buf_printf(page->buf, ":%d</small>", place.line);
    }
}

static void put_states(struct page *page) {
    int64_t ns[AC_STATE_COUNT];
    double total = 0;
    ac_profile_states(page->p, ns);
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        total += (double)ns[s];
    }
    ac_buf_str(page->buf,
               "<section><h2>Where the thread-time went</h2>\n<table><thead><tr><th scope=\"col\">State</th>"
               "<th scope=\"col\" class=\"wide\">Share</th><th scope=\"col\" class=\"n\">Seconds</th>"
               "<th scope=\"col\" class=\"n\">%</th><th scope=\"col\">Mostly in</th></tr></thead><tbody>\n");
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        double share = total > 0 ? 100 * (double)ns[s] / total : 0;
        if (ns[s] <= 0) {
            continue;
        }
        ac_buf_printf(page->buf,
                      "<tr><th scope=\"row\">%s</th><td class=\"wide\"><svg class=\"bar\" "
                      "aria-hidden=\"true\" width=\"100%%\" "
                      "height=\"12\"><rect class=\"s%d\" height=\"12\" width=\"%.2f%%\"/></svg></td><td "
                      "class=\"n\">%.2f"
                      "</td><td class=\"n\">%.1f</td><td>",
                      labels[s], s, share, (double)ns[s] / 1e9, share);
        put_spot(page, s);
        ac_buf_str(page->buf, "</td></tr>\n");
    }
    ac_buf_str(page->buf, "</tbody></table></section>\n");
}

/* The lanes' twin: each thread's seconds by state. */
static void put_threads(struct page *page) {
    const struct ac_profile *p = page->p;
    ac_buf_str(page->buf, "<details><summary>The threads as a table</summary><div class=\"scroll\" "
                          "tabindex=\"0\" role=\"region\" "
                          "aria-label=\"Threads\"><table><thead><tr><th scope=\"col\">Process</th><th "
                          "scope=\"col\">Thread</th>");
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        ac_buf_printf(page->buf, "<th scope=\"col\" class=\"n\">%s</th>", labels[s]);
    }
    ac_buf_str(page->buf, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < p->thread_count && i < MAX_ROWS; i++) {
        const struct ac_thread *t = &p->threads[i];
        ac_buf_printf(page->buf, "<tr><td>%d</td><th scope=\"row\">", p->processes[t->process].pid);
        put_text(page, ac_profile_text(p, t->name), false);
        ac_buf_str(page->buf, "</th>");
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

static void put_method(struct page *page) {
    const struct ac_profile *p = page->p;
    const struct ac_sampling *s = &p->sampling;
    const struct ac_evidence *e = page->diagnosis->evidence;
    ac_buf_printf(page->buf,
                  "<section><h2>How this was measured</h2><ul><li>CPUs: %d online, %.4g usable, %.2f used",
                  p->cpus.online, p->cpus.usable, e->used);
    if (e->others >= 0) {
        ac_buf_printf(page->buf, ", %.2f by other programs on average (when is not recorded)", e->others);
    }
    ac_buf_printf(
        page->buf,
        "</li><li>%" PRId64 " samples at %.0f Hz (%.0f reached), %" PRId64 " missed, %" PRId64
        " failed; the sampler took %.1f %% of a core</li><li>CPU times are the kernel's%s</li><li>Kernel ",
        s->samples, s->rate_hz, s->reached_hz, s->missed, s->torn + s->read_errors,
        100 * (double)s->sampler_cpu_ns / (double)ac_max(p->wall_ns, 1),
        s->ring ? ", context switches exact" : "");
    put_text(page, ac_profile_text(p, p->kernel), false);
    put_element(page, " on ", ac_profile_text(p, p->machine), "; allcores " AC_VERSION "</li>\n");
    for (size_t i = 0; i < AC_LIMIT_BITS; i++) {
        if (p->limits & (1u << i) && ac_limit_words[i]) {
            put_element(page, "<li>Note: ", ac_limit_words[i], "</li>\n");
        }
    }
    for (size_t i = 0, told = 0; i < p->process_count && told < 8; i++) {
        const char *note = ac_profile_text(p, p->processes[i].note);
        if (*note) {
            ac_buf_printf(page->buf, "<li>Process %d: ", p->processes[i].pid);
            put_element(page, "", note, "</li>\n");
            told++;
        }
    }
    ac_buf_str(page->buf, "</ul></section>\n");
}

/* --- the data: lanes. A lane is [gap, length, code, ...] in units of the step; the code is
 * state + 10 * activity + 50 * (cpu + 1). */

static int code_of(const struct ac_profile *p, const struct ac_segment *s) {
    return s->state + 10 * p->nodes[s->node].activity + 50 * (s->cpu + 1);
}

struct lane {
    struct ac_buf *buf;
    int64_t at, from, to; /* written up to; the piece being built */
    int code;
};

static void flush_piece(struct lane *lane) {
    if (lane->to > lane->from) {
        ac_buf_printf(lane->buf, "%s%" PRId64 ",%" PRId64 ",%d", lane->at ? "," : "",
                      lane->from - ac_max(lane->at - 1, 0), lane->to - lane->from, lane->code);
        lane->at = lane->to + 1;
    }
}

static void add_piece(struct lane *lane, int64_t from, int64_t to, int code) {
    if (code == lane->code && from == lane->to) {
        lane->to = to;
        return;
    }
    flush_piece(lane);
    lane->from = from;
    lane->to = to;
    lane->code = code;
}

/* One lane in steps: each step's time is added to its state's balance, the largest balance names the step. */
static void put_lane(const struct ac_profile *p, const struct ac_lanes *lanes, uint32_t thread, int64_t step,
                     struct ac_buf *buf) {
    struct lane lane = {.buf = buf, .code = -1};
    int64_t balance[AC_STATE_COUNT] = {0};
    int code[AC_STATE_COUNT] = {0};
    int64_t filled = 0; /* of the step at hand */
    int64_t step_at = -1;
    for (size_t i = lanes->first[thread]; i < lanes->first[thread + 1]; i++) {
        const struct ac_segment *s = &p->segments[lanes->order[i]];
        code[s->state] = code_of(p, s);
        for (int64_t at = s->from_ns; at < s->to_ns;) {
            int64_t end = ac_min(s->to_ns, (at / step + 1) * step);
            if (at / step != step_at) {
                filled = 0;
                step_at = at / step;
            }
            balance[s->state] += end - at;
            filled += end - at;
            /* A step is told at its end; what ended before that is in the balance of the next. */
            if (end == (step_at + 1) * step && filled > 0) {
                int most = 0;
                for (int k = 1; k < AC_STATE_COUNT; k++) {
                    most = balance[k] > balance[most] ? k : most;
                }
                balance[most] -= filled;
                add_piece(&lane, step_at, step_at + 1, code[most]);
            }
            at = end;
        }
    }
    flush_piece(&lane);
}

/* The first step to try: 10 us where the pieces are few. */
static int64_t first_step(const struct ac_profile *p) {
    int64_t alive_ns = 0;
    for (size_t i = 0; i < p->segment_count; i++) {
        alive_ns += p->segments[i].to_ns - p->segments[i].from_ns;
    }
    return ac_max(10000,
                  ac_max(p->segment_count > MAX_SEGMENTS ? alive_ns / MAX_STEPS : 0, p->wall_ns / MAX_STEPS));
}

static void put_threads_data(struct page *page, const struct ac_lanes *lanes, int64_t step) {
    const struct ac_profile *p = page->p;
    for (uint32_t i = 0; i < p->thread_count && i < MAX_LANES; i++) {
        const struct ac_thread *t = &p->threads[i];
        ac_buf_printf(page->buf, "%s{\"pid\":%d,\"tid\":%d,\"merged\":%u,\"name\":\"", i ? ",\n" : "",
                      p->processes[t->process].pid, t->tid, t->merged);
        put_text(page, ac_profile_text(p, t->name), true);
        ac_buf_str(page->buf, "\",\"lane\":[");
        put_lane(p, lanes, i, step, page->buf);
        ac_buf_str(page->buf, "]}");
    }
}

static int put_lanes(struct page *page) {
    const struct ac_profile *p = page->p;
    struct ac_lanes lanes;
    int err = ac_lanes_new(p, &lanes);
    if (err) {
        return err;
    }
    struct ac_buf told = {0};
    struct page scratch = *page;
    scratch.buf = &told;
    int64_t step = first_step(p);
    put_threads_data(&scratch, &lanes, step);
    size_t most = MAX_LANE_BYTES + 64 * ac_min(p->thread_count, (size_t)MAX_LANES);
    while (p->segment_count > MAX_SEGMENTS && told.len > most && step < p->wall_ns && !told.err) {
        step *= 2;
        ac_buf_clear(&told);
        put_threads_data(&scratch, &lanes, step);
    }
    ac_buf_printf(page->buf, "\"step_ms\":%.6f,\"coarse\":%s,\"threads\":[", (double)step / 1e6,
                  p->segment_count > MAX_SEGMENTS ? "true" : "false");
    ac_buf_bytes(page->buf, ac_buf_text(&told), told.len);
    ac_buf_str(page->buf, "]");
    page->buf->err = page->buf->err ? page->buf->err : told.err;
    ac_buf_free(&told);
    ac_lanes_free(&lanes);
    return 0;
}

/* --- the data: stacks by state, [parent, frame, then ms by state in pairs] a node */

static void put_frame(struct page *page, uint32_t frame) {
    const struct ac_profile *p = page->p;
    const struct ac_func *func = &p->funcs[p->frames[frame].func];
    char name[MAX_NAME];
    char file[MAX_NAME];
    ac_copy(name, sizeof(name), ac_profile_text(p, func->name));
    ac_copy(file, sizeof(file), path_of(page, ac_profile_text(p, func->file)));
    ac_buf_str(page->buf, "[\"");
    put_text(page, name, true);
    ac_buf_str(page->buf, "\",\"");
    put_text(page, file, true);
    ac_buf_printf(page->buf, "\",%d]", p->frames[frame].line);
}

struct sums {
    int64_t all, own[AC_STATE_COUNT];
    uint32_t number;
};

static void put_node(struct page *page, const struct sums *sums, uint32_t node) {
    const struct ac_node *n = &page->p->nodes[node];
    ac_buf_printf(page->buf, "%s{\"p\":%d,\"f\":", node ? ",\n" : "",
                  node ? (int)sums[n->parent].number : -1);
    if (node) {
        put_frame(page, n->frame);
    } else {
        ac_buf_str(page->buf, "null");
    }
    ac_buf_str(page->buf, ",\"s\":[");
    for (int s = 0, first = 1; s < AC_STATE_COUNT; s++) {
        if (sums[node].own[s] >= 100000) {
            ac_buf_printf(page->buf, "%s%d,%.1f", first ? "" : ",", s, (double)sums[node].own[s] / 1e6);
            first = 0;
        }
    }
    ac_buf_str(page->buf, "]}");
}

/* Stacks with no more time than this are left out. */
static int64_t least_of(const struct ac_profile *p, const struct sums *sums) {
    int64_t least = (int64_t)((double)sums[0].all * LEAST_SHARE);
    for (size_t kept = SIZE_MAX;
         kept > MAX_NODES && least<INT64_MAX / 2; least = kept> MAX_NODES ? 2 * least + 1 : least) {
        kept = 0;
        for (size_t i = 0; i < p->node_count; i++) {
            kept += sums[i].all > least;
        }
    }
    return least;
}

static int put_stacks(struct page *page) {
    const struct ac_profile *p = page->p;
    struct sums *sums = ac_calloc(p->node_count, sizeof(*sums));
    if (!sums) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < p->cell_count; i++) {
        sums[p->cells[i].node].own[p->cells[i].state] += p->cells[i].ns;
        sums[p->cells[i].node].all += p->cells[i].ns;
    }
    for (size_t i = p->node_count - 1; i > 0; i--) { /* a parent has a smaller index */
        sums[p->nodes[i].parent].all += sums[i].all;
    }
    int64_t least = least_of(p, sums);
    for (size_t i = p->node_count - 1; i > 0; i--) {
        for (int s = 0; sums[i].all <= least && s < AC_STATE_COUNT; s++) {
            sums[p->nodes[i].parent].own[s] += sums[i].own[s];
        }
    }
    ac_buf_str(page->buf, ",\n\"stacks\":[");
    for (uint32_t i = 0, number = 0; i < p->node_count; i++) {
        if (i == 0 || sums[i].all > least) {
            sums[i].number = number++;
            put_node(page, sums, i);
        }
    }
    ac_buf_str(page->buf, "]");
    ac_free(sums);
    return 0;
}

static int put_data(struct page *page) {
    const struct ac_profile *p = page->p;
    ac_buf_str(page->buf,
               "<script type=\"application/json\" id=\"data\">{\"version\":1,\"contenders\":[{\"name\":\"");
    put_title(page, true);
    ac_buf_printf(page->buf, "\",\"wall_ms\":%.3f,\"cpu_ms\":%.3f,\"usable\":%.4g,", (double)p->wall_ns / 1e6,
                  (double)p->cpu_ns / 1e6, p->cpus.usable);
    int err = put_lanes(page);
    err = err ? err : put_stacks(page);
    ac_buf_str(page->buf, "}]}</script>\n");
    return err;
}

int ac_report_html(const struct ac_profile *profile, const struct ac_diagnosis *diagnosis,
                   const struct ac_html_options *options, struct ac_buf *buf) {
    struct page page = {profile, diagnosis, options, buf};
    ac_buf_str(buf,
               "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
               "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; "
               "form-action 'none'; style-src '" AC_WEB_CSS_HASH "'; script-src '" AC_WEB_JS_HASH "'\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
               "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    put_title(&page, false);
    ac_buf_str(buf, " – allcores</title>\n<style>");
    ac_buf_bytes(buf, AC_WEB_CSS, sizeof(AC_WEB_CSS));
    ac_buf_str(buf, "</style></head>\n<body><header><b>allcores</b> <span>");
    put_title(&page, false);
    ac_buf_str(
        buf, "</span><button id=\"theme\" type=\"button\" hidden>Dark or light</button></header>\n<main>\n");
    put_verdict(&page);
    put_figures(&page);
    ac_buf_str(buf, "<section id=\"time\" hidden></section>\n");
    put_threads(&page);
    put_states(&page);
    ac_buf_str(buf, "<section id=\"stacks\" hidden></section>\n");
    put_method(&page);
    ac_buf_str(buf, "</main>\n");
    int err = put_data(&page);
    ac_buf_str(buf, "<script>");
    ac_buf_bytes(buf, AC_WEB_JS, sizeof(AC_WEB_JS));
    ac_buf_str(buf, "</script></body></html>\n");
    return err ? err : buf->err;
}
