/* html.c - one page that stands by itself: what matters is text and tables, which need no JavaScript; web/
 * draws the rest from the one JSON block. A report is a page of one run, a race or a comparison one of
 * several: a part a run, which the script makes into tabs on one time axis. */
#include "report/html.h"

#include <string.h>

#include "report/names.h"
#include "report/web.h" /* made by tools/embed: AC_WEB_CSS, AC_WEB_JS, and ..._HASH of both */

/* What each look of page.css is told by beside its colour: a path in a tile of 8 by 8, stroked. Bars are
 * filled by it, and the script makes the lanes' tiles of it. The order is that of .s0, .s1, ... */
static const char *const marks[] = {
    "",                                           /* Python */
    "M-2 2L2 -2M0 8L8 0M6 10L10 6",               /* waiting for the GIL */
    "M0 2.5h3M4 6.5h3",                           /* native code */
    "M0 0L8 8M0 8L8 0",                           /* waiting for a CPU */
    "M0 4h8",                                     /* network and pipes */
    "M3 3.5h2M3 4.5h2",                           /* disk */
    "M-2 6L2 10M0 0L8 8M6 -2L10 2",               /* lock */
    "M4 0v8",                                     /* sleep */
    "M0 4h8M4 0v8",                               /* other waiting */
    "M0 6L4 2L8 6",                               /* not known */
    "M0 2h8M0 6h8",                               /* starting */
    "M2 0v8M6 0v8",                               /* pickling */
    "M-1 1L1 -1M0 4L4 0M0 8L8 0M4 8L8 4M7 9L9 7", /* other programs */
    "M4 4h1",                                     /* free */
};

static void put_marks(struct ac_page *page) {
    ac_buf_str(page->buf, "<svg class=\"hidden\" aria-hidden=\"true\"><defs>");
    for (size_t i = 0; i < AC_COUNT(marks); i++) {
        ac_buf_printf(page->buf,
                      "<pattern id=\"p%zu\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect "
                      "class=\"s%zu\" width=\"8\" height=\"8\"/><path d=\"%s\"/></pattern>",
                      i, i, marks[i]);
    }
    ac_buf_str(page->buf, "</defs></svg>\n");
}

static void put_page_title(struct ac_page *page, const struct ac_html_head *head) {
    if (head) {
        ac_html_put_text(page, head->title, false);
    } else {
        ac_html_put_title(page, false);
    }
}

static void put_top(struct ac_page *page, const struct ac_html_head *head) {
    struct ac_buf *buf = page->buf;
    ac_buf_str(buf,
               "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
               "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; "
               "form-action 'none'; style-src '" AC_WEB_CSS_HASH "'; script-src '" AC_WEB_JS_HASH "'\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
               "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    put_page_title(page, head);
    ac_buf_str(buf, " – allcores</title>\n<style>");
    ac_buf_bytes(buf, AC_WEB_CSS, sizeof(AC_WEB_CSS));
    ac_buf_str(buf, "</style></head>\n<body><header><b>allcores</b> <span>");
    put_page_title(page, head);
    ac_buf_str(buf, "</span><button id=\"theme\" type=\"button\" hidden>Dark or light</button></header>\n");
    put_marks(page);
    ac_buf_str(buf, "<main>\n");
}

/* Figures stand to the right and on one line; sentences do not. */
static bool is_figure(const char *cell) {
    return !cell || (strlen(cell) < 32 && strchr("0123456789+-", *cell) && !strpbrk(cell, ";,"));
}

static bool is_figures(const struct ac_html_head *head, size_t column) {
    bool all = true;
    for (size_t r = 0; r < head->row_count; r++) {
        all = all && is_figure(head->cells[r * head->column_count + column]);
    }
    return all;
}

/* What is said of all runs together. */
static void put_head(struct ac_page *page, const struct ac_html_head *head) {
    ac_html_put_element(page, "<section class=\"head\"><h1>", head->headline, "</h1>\n");
    if (head->evidence) {
        ac_html_put_element(page, "<p class=\"evidence\">", head->evidence, "</p>\n");
    }
    ac_buf_str(
        page->buf,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All runs\"><table><thead><tr>");
    for (size_t c = 0; c < head->column_count; c++) {
        ac_html_put_element(
            page, c && is_figures(head, c) ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">",
            head->columns[c], "</th>");
    }
    ac_buf_str(page->buf, "</tr></thead><tbody>\n");
    for (size_t r = 0; r < head->row_count; r++) {
        for (size_t c = 0; c < head->column_count; c++) {
            const char *cell = head->cells[r * head->column_count + c];
            if (c == 0) {
                ac_buf_str(page->buf, "<tr><th scope=\"row\">");
            } else { /* the column's name is for narrow screens, where a row is a paragraph */
                ac_html_put_element(page, "<td data-column=\"", head->columns[c],
                                    is_figures(head, c) ? "\" class=\"n\">" : "\">");
            }
            ac_html_put_element(page, "", cell ? cell : "", c ? "</td>" : "</th>");
        }
        ac_buf_str(page->buf, "</tr>\n");
    }
    ac_buf_str(page->buf, "</tbody></table></div></section>\n<section id=\"race\" hidden></section>\n");
}

static int put_run(struct ac_page *page) {
    ac_buf_printf(page->buf, "<div class=\"run\" id=\"run-%zu\">\n", page->at);
    if (page->run->name) {
        ac_html_put_element(page, "<p class=\"name\">", page->run->name, "</p>\n");
    }
    if (page->run->note) {
        ac_html_put_element(page, "<p class=\"note\">", page->run->note, "</p>\n");
    }
    int err = 0;
    if (page->run->profile) {
        ac_html_put_verdict(page);
        ac_html_put_figures(page);
        ac_html_put_phases(page);
        ac_buf_str(page->buf, "<section class=\"time\" hidden></section>\n");
        err = ac_html_put_tables(page);
        ac_buf_str(page->buf, "<section class=\"stacks\" hidden></section>\n");
        ac_html_put_method(page);
    }
    ac_buf_str(page->buf, "</div>\n");
    return err;
}

int ac_report_html_runs(const struct ac_html_head *head, const struct ac_html_run *runs, size_t count,
                        const struct ac_html_options *options, struct ac_buf *buf) {
    struct ac_page page = {options, buf, runs, 0, ac_min(count, (size_t)AC_HTML_MAX_RUNS)};
    int err = 0;
    put_top(&page, head);
    if (head) {
        put_head(&page, head);
    }
    for (page.at = 0; !err && page.at < page.count; page.at++) {
        page.run = &runs[page.at];
        err = put_run(&page);
    }
    ac_buf_printf(buf,
                  "</main>\n<script type=\"application/json\" id=\"data\">{\"version\":2,\"shown\":%zu,"
                  "\"contenders\":[",
                  head ? head->shown : 0);
    for (page.at = 0; !err && page.at < page.count; page.at++) {
        page.run = &runs[page.at];
        ac_buf_str(buf, page.at ? ",\n" : "");
        if (page.run->profile) {
            err = ac_html_put_data(&page);
        } else {
            ac_buf_str(buf, "null");
        }
    }
    ac_buf_str(buf, "]}</script>\n<script>");
    ac_buf_bytes(buf, AC_WEB_JS, sizeof(AC_WEB_JS));
    ac_buf_str(buf, "</script></body></html>\n");
    return err ? err : buf->err;
}

int ac_report_html(const struct ac_profile *profile, const struct ac_diagnosis *diagnosis,
                   const struct ac_html_options *options, struct ac_buf *buf) {
    const struct ac_html_run run = {.profile = profile, .diagnosis = diagnosis};
    return ac_report_html_runs(NULL, &run, 1, options, buf);
}
