/* race_html.c - a race as a page: the table of all contenders, and a tab for each on one time axis. */
#include <stdio.h>

#include "allcores/race.h"
#include "report/report.h"

#define COLUMNS 7

struct row {
    char text[COLUMNS - 1][32];
    char note[512];
};

static void put_row(const struct ac_race_contender *c, struct row *row, const char **cells) {
    const struct ac_race_run *run = &c->median;
    cells[0] = c->name;
    if (c->error) {
        cells[COLUMNS - 1] = c->error;
        return;
    }
    snprintf(row->text[0], sizeof(row->text[0]), "%.2f s", run->wall_s);
    snprintf(row->text[1], sizeof(row->text[1]), "%.2f×", c->speedup);
    snprintf(row->text[2], sizeof(row->text[2]), "%.1f", run->cores_used);
    snprintf(row->text[3], sizeof(row->text[3]), "%.2f s", run->pickling_s);
    snprintf(row->text[4], sizeof(row->text[4]), "%.0f MB", (double)ac_max(run->peak_bytes, 0) / 1e6);
    for (int i = 0; i < COLUMNS - 2; i++) {
        cells[i + 1] = row->text[i];
    }
    if (c->speedup <= 0) {
        cells[2] = NULL;
    }
    snprintf(row->note, sizeof(row->note), "%s%s", c->reason, c->differs ? "; its results differ" : "");
    cells[COLUMNS - 1] = row->note;
}

int ac_report_race_html(const struct ac_race *race, const struct ac_html_options *options,
                        struct ac_buf *buf) {
    static const char *const columns[COLUMNS] = {"Contender", "Wall time",   "Speed-up", "Cores used",
                                                 "Pickling",  "Peak memory", "Why"};
    struct ac_html_run *runs = ac_calloc(race->count, sizeof(*runs));
    struct row *rows = ac_calloc(race->count, sizeof(*rows));
    const char **cells = ac_calloc(race->count * COLUMNS, sizeof(*cells));
    struct ac_buf evidence = {0};
    int err = runs && rows && cells ? 0 : -ENOMEM;
    size_t count = 0, shown = 0;
    ac_buf_printf(&evidence, "%s, %s, %.4g usable CPUs%s%s%s%s", race->work, race->python, race->usable,
                  race->note ? "; " : "", race->note ? race->note : "", race->advice ? "; " : "",
                  race->advice ? race->advice : "");
    for (size_t i = 0; !err && i < race->count; i++) {
        const struct ac_race_contender *c = &race->contenders[i];
        if (c->left_out) {
            continue;
        }
        put_row(c, &rows[count], &cells[count * COLUMNS]);
        shown = race->winner == (int)i ? count : shown;
        runs[count++] = (struct ac_html_run){.name = c->name,
                                             .note = c->error ? c->error : c->reason,
                                             .profile = c->error ? NULL : c->profile,
                                             .diagnosis = c->error ? NULL : c->diagnosis,
                                             .speedup = c->speedup};
    }
    const struct ac_html_head head = {.title = "allcores race",
                                      .headline = race->reason,
                                      .evidence = evidence.data,
                                      .columns = columns,
                                      .column_count = COLUMNS,
                                      .cells = cells,
                                      .row_count = count,
                                      .shown = shown};
    err = err ? err : evidence.err;
    err = err ? err : ac_report_html_runs(&head, runs, count, options, buf);
    ac_buf_free(&evidence);
    ac_free(cells);
    ac_free(rows);
    ac_free(runs);
    return err;
}
