/* html_text.c - the part of the page that must stand without JavaScript: the verdict, its fix, the phases. */
#include <string.h>

#include "report/html.h"
#include "report/names.h"
#include "verdict/evidence.h"

void ac_html_put_text(struct ac_page *page, const char *text, bool json) {
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

void ac_html_put_element(struct ac_page *page, const char *open, const char *text, const char *close) {
    ac_buf_str(page->buf, open);
    ac_html_put_text(page, text, false);
    ac_buf_str(page->buf, close);
}

/* Our own sentences mark code by `backticks`, for the terminal; on the page it looks like code. */
static void put_prose(struct ac_page *page, const char *text) {
    for (bool code = false;; code = !code) {
        size_t len = strcspn(text, "`");
        struct ac_buf part = {0};
        ac_buf_bytes(&part, text, len);
        ac_html_put_text(page, ac_buf_text(&part), false);
        page->buf->err = page->buf->err ? page->buf->err : part.err;
        ac_buf_free(&part);
        if (!text[len]) {
            ac_buf_str(page->buf, code ? "</code>" : "");
            return;
        }
        ac_buf_str(page->buf, code ? "</code>" : "<code>");
        text += len + 1;
    }
}

const char *ac_html_path(const struct ac_page *page, const char *path) {
    return page->options->full_paths ? path : ac_short_path(path);
}

void ac_html_put_title(struct ac_page *page, bool json) {
    const struct ac_profile *p = page->run->profile;
    size_t argc = ac_min((size_t)p->argc, AC_COUNT(p->argv));
    if (page->options->with_args) {
        for (size_t i = 0; i < argc; i++) {
            ac_buf_str(page->buf, i ? " " : "");
            ac_html_put_text(page, ac_profile_text(p, p->argv[i]), json);
        }
        return;
    }
    ac_html_put_text(page, ac_program_name(p, p->argv, argc), json);
}

/* --- the verdict */

static void put_code(struct ac_page *page, const char *code) {
    ac_buf_str(
        page->buf,
        "<div class=\"code\"><pre tabindex=\"0\" role=\"region\" aria-label=\"The fix as code\"><code>");
    while (*code) {
        size_t len = strcspn(code, "\t\n"); /* a tab would not pass as text from outside */
        struct ac_buf part = {0};
        ac_buf_bytes(&part, code, len);
        ac_html_put_text(page, ac_buf_text(&part), false);
        page->buf->err = page->buf->err ? page->buf->err : part.err;
        ac_buf_free(&part);
        code += len;
        ac_buf_str(page->buf, *code == '\t' ? "\t" : "\n");
        code += *code != '\0';
    }
    ac_buf_str(page->buf, "</code></pre><button class=\"copy\" type=\"button\" hidden>Copy</button></div>\n");
}

/* A patch for a file outside the working directory names the whole path, without the slash before it. */
static bool is_whole_path(const struct ac_profile *p, const char *name, size_t len) {
    for (size_t i = 0; i < p->func_count; i++) {
        const char *file = ac_profile_text(p, p->funcs[i].file);
        if (*file == '/' && strlen(file) == len + 1 && strncmp(file + 1, name, len) == 0) {
            return true;
        }
    }
    return false;
}

/* The diff, its two lines of header with the path as the page shows paths. */
static void put_diff(struct ac_page *page, const char *diff) {
    static const char *const heads[] = {"--- a/", "+++ b/"};
    struct ac_buf shown = {0};
    for (size_t i = 0; i < AC_COUNT(heads) && strncmp(diff, heads[i], strlen(heads[i])) == 0; i++) {
        const char *name = diff + strlen(heads[i]);
        size_t len = strcspn(name, "\t\n"); /* a tab stands behind a name with blanks */
        size_t more = strcspn(name + len, "\n");
        struct ac_buf path = {0};
        ac_buf_printf(&path, "/%.*s", (int)len, name);
        bool whole = is_whole_path(page->run->profile, name, len);
        const char *told = whole ? ac_html_path(page, ac_buf_text(&path)) : ac_buf_text(&path);
        ac_buf_printf(&shown, "%s%s%.*s\n", heads[i], told + strspn(told, "/"), (int)more, name + len);
        shown.err = shown.err ? shown.err : path.err;
        ac_buf_free(&path);
        diff = name + len + more + (name[len + more] == '\n');
    }
    ac_buf_str(&shown, diff);
    put_code(page, ac_buf_text(&shown));
    page->buf->err = page->buf->err ? page->buf->err : shown.err;
    ac_buf_free(&shown);
}

static void put_fix(struct ac_page *page) {
    const struct ac_verdict *v = &page->run->diagnosis->main;
    if (v->fix_text) {
        ac_buf_str(page->buf, "<h2>The fix</h2>\n<p class=\"fix\">");
        put_prose(page, v->fix_text);
        ac_buf_str(page->buf, "</p>\n");
        if (v->fix_place.file && *v->fix_place.file) {
            ac_html_put_element(page, "<p class=\"place\">In <code>", ac_html_path(page, v->fix_place.file),
                                "");
            ac_buf_printf(page->buf, ":%d</code>", v->fix_place.line);
            if (v->fix_place.function && *v->fix_place.function && *v->fix_place.function != '<') {
                ac_html_put_element(page, ", about <code>", v->fix_place.function, "</code>");
            }
            ac_buf_str(page->buf, "</p>\n");
        }
    }
    if (v->fix_diff) {
        put_diff(page, v->fix_diff);
    } else if (v->fix_code) {
        put_code(page, v->fix_code);
    }
    if (v->fix_withheld) {
        ac_html_put_element(page, "<p class=\"withheld\">No patch: ", v->fix_withheld, "</p>\n");
    }
    if (v->fix_more) {
        ac_buf_str(page->buf, "<p class=\"more\">");
        put_prose(page, v->fix_more);
        ac_buf_str(page->buf, "</p>\n");
    }
}

void ac_html_put_verdict(struct ac_page *page) {
    const struct ac_diagnosis *d = page->run->diagnosis;
    const char *heading = page->count > 1 ? "h2" : "h1";
    ac_buf_printf(page->buf, "<section class=\"verdict\"><p class=\"tag\">%s <span>%s</span></p>\n<%s>",
                  d->main.id, ac_confidence_names[d->main.confidence], heading);
    ac_html_put_text(page, d->main.sentence, false);
    ac_buf_printf(page->buf, "</%s>\n", heading);
    ac_html_put_element(page, "<p class=\"evidence\">", d->main.evidence ? d->main.evidence : "", "</p>\n");
    put_fix(page);
    for (size_t i = 0; i < d->also_count; i++) {
        ac_html_put_element(page, "<p class=\"also\">Also: ", d->also[i].sentence, "");
        ac_buf_printf(page->buf, " <span>(%s, %s)</span></p>\n", d->also[i].id,
                      ac_confidence_names[d->also[i].confidence]);
    }
    ac_buf_str(page->buf, "</section>\n");
}

void ac_html_put_figures(struct ac_page *page) {
    const struct ac_evidence *e = page->run->diagnosis->evidence;
    ac_buf_printf(page->buf,
                  "<dl class=\"figures\"><div><dt>Wall time</dt><dd>%.2f s</dd></div>"
                  "<div><dt>CPU time</dt><dd>%.2f s</dd></div>"
                  "<div><dt>Cores used</dt><dd>%.2f <small>of %.4g</small></dd></div>",
                  e->wall_s, e->cpu_s, e->used, e->usable);
    if (page->run->speedup > 0) {
        ac_buf_printf(page->buf, "<div><dt>Speed-up, measured</dt><dd>%.2f×</dd></div>", page->run->speedup);
    }
    ac_buf_printf(page->buf, "<div><dt>Threads</dt><dd>%u <small>in %u process%s</small></dd></div></dl>\n",
                  e->threads, e->processes, e->processes == 1 ? "" : "es");
}

void ac_html_put_phases(struct ac_page *page) {
    const struct ac_diagnosis *d = page->run->diagnosis;
    double wall = ac_max(d->evidence->wall_s, 1e-9);
    if (d->phase_count < 2) {
        return;
    }
    ac_buf_str(page->buf,
               "<section class=\"phases\"><h2>Phase by phase</h2>\n<div class=\"scroll\" tabindex=\"0\" "
               "role=\"region\" aria-label=\"Phases\"><table><thead><tr><th scope=\"col\">When</th>"
               "<th scope=\"col\" class=\"wide\">In the run</th><th scope=\"col\" class=\"n\">Cores used"
               "</th><th scope=\"col\">What</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < d->phase_count; i++) {
        const struct ac_phase *phase = &d->phases[i];
        ac_buf_printf(
            page->buf,
            "<tr><th scope=\"row\" data-from=\"%.3f\" data-to=\"%.3f\">%.1f–%.1f s</th><td class=\"wide\">"
            "<svg class=\"bar\" aria-hidden=\"true\" width=\"100%%\" height=\"12\"><rect class=\"span\" "
            "height=\"12\" x=\"%.2f%%\" width=\"%.2f%%\"/></svg></td><td class=\"n\">%.2f</td><td>",
            phase->from_s * 1e3, phase->to_s * 1e3, phase->from_s, phase->to_s, 100 * phase->from_s / wall,
            100 * (phase->to_s - phase->from_s) / wall, phase->cpus_used);
        ac_html_put_element(page, "", phase->sentence, "</td></tr>\n");
    }
    ac_buf_str(page->buf, "</tbody></table></div></section>\n");
}
