/* cmd_explain.c - allcores explain: a page about each verdict, docs/verdicts/ID.md, which the binary carries.
 */
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/verdict_pages.h" /* made by tools/embed: ac_pages */

#define MAX_IDS 64

static const char *page_of(const char *id) {
    for (size_t i = 0; i < AC_COUNT(ac_pages); i++) {
        if (strcmp(ac_pages[i].name, id) == 0) {
            return ac_pages[i].text;
        }
    }
    return NULL;
}

/* A page starts with "# id", an empty line and what is true in one line. */
static void put_summary(const char *page, struct ac_buf *buf) {
    const char *line = strstr(page, "\n\n");
    line = line ? line + 2 : page;
    ac_buf_bytes(buf, line, strcspn(line, "\n"));
}

static void list(struct ac_buf *buf) {
    ac_buf_str(buf, "The verdicts; `allcores explain ID` prints the page of one:\n\n");
    for (size_t i = 0; ac_verdict_id(i); i++) {
        const char *page = page_of(ac_verdict_id(i));
        ac_buf_printf(buf, "  %-22s ", ac_verdict_id(i));
        put_summary(page ? page : "", buf);
        ac_buf_str(buf, "\n");
    }
}

static int unknown(const char *id) {
    const char *ids[MAX_IDS];
    size_t count = 0;
    while (count < MAX_IDS && ac_verdict_id(count)) {
        ids[count] = ac_verdict_id(count);
        count++;
    }
    const char *near = ac_nearest(id, ids, count);
    return near ? ac_fail("unknown verdict %s; did you mean %s?", id, near)
                : ac_fail("unknown verdict %s; `allcores explain` lists them", id);
}

static int run(const struct ac_settings *settings) {
    struct ac_buf buf = {0};
    if (settings->rest_count > 1) {
        return ac_fail("explain takes one verdict; `allcores explain` lists them");
    }
    if (settings->rest_count == 0) {
        list(&buf);
    } else {
        const char *page = page_of(settings->rest[0]);
        if (!page) {
            return unknown(settings->rest[0]);
        }
        ac_buf_str(&buf, page);
    }
    int err = ac_print(STDOUT_FILENO, &buf);
    ac_buf_free(&buf);
    return err ? ac_fail("stdout: %s", strerror(-err)) : 0;
}

const struct ac_command ac_cmd_explain = {
    .name = "explain",
    .summary = "What a verdict means, how it is recognised, and its fixes",
    .usage = "allcores explain [ID]",
    .details = "Without ID: all of them, a line each.\n",
    .run = run,
};
