/* race_html.c - a race as a page: the table of all contenders, and a tab for each on one time axis. */
#include <stdio.h>

#include "report/names.h"
#include "verdict/race.h"

enum { NAME, WALL, SPEED_UP, CPU, CORES, START_UP, PICKLING, MEMORY, WHY, COLUMNS };
static const char *const columns[COLUMNS] = {"Contender", "Wall time", "Speed-up",    "CPU time", "Cores",
                                             "Start-up",  "Pickling",  "Peak memory", "Why"};

struct row {
    char text[WHY][48];
    char note[512];
    struct ac_buf error;
};

static void put_wall(const struct ac_race_contender *c, char *cell, size_t size) {
    double least, most;
    ac_race_range(c, &least, &most);
    if (c->run_count > 1) {
        snprintf(cell, size, "%.2f s (%.2f–%.2f)", c->median.wall_s, least, most);
    } else {
        snprintf(cell, size, "%.2f s", c->median.wall_s);
    }
}

static void put_error(const struct ac_race_contender *c, const struct ac_html_options *options,
                      struct row *row, const char **cells) {
    if (options->full_paths) {
        ac_buf_str(&row->error, c->error);
    } else {
        ac_put_short_paths(&row->error, c->error);
    }
    cells[NAME] = c->name;
    cells[WHY] = ac_buf_text(&row->error);
}

static void put_row(const struct ac_race_contender *c, struct row *row, const char **cells) {
    const struct ac_race_run *run = &c->median;
    cells[NAME] = c->name;
    put_wall(c, row->text[WALL], sizeof(row->text[WALL]));
    snprintf(row->text[SPEED_UP], sizeof(row->text[0]), "%.2f×", c->speedup);
    snprintf(row->text[CPU], sizeof(row->text[0]), "%.2f s", run->cpu_s);
    snprintf(row->text[CORES], sizeof(row->text[0]), "%.1f", run->cores_used);
    snprintf(row->text[START_UP], sizeof(row->text[0]), "%.2f s", run->start_up_s);
    snprintf(row->text[PICKLING], sizeof(row->text[0]), "%.2f s", run->pickling_s);
    snprintf(row->text[MEMORY], sizeof(row->text[0]), "%.0f MB", (double)ac_max(run->peak_bytes, 0) / 1e6);
    for (int i = WALL; i < WHY; i++) {
        cells[i] = row->text[i];
    }
    cells[SPEED_UP] = c->speedup > 0 ? cells[SPEED_UP] : NULL;
    cells[START_UP] = run->start_up_s >= 0 ? cells[START_UP] : NULL; /* the function was not seen */
    snprintf(row->note, sizeof(row->note), "%s%s", c->reason, c->differs ? "; its results differ" : "");
    cells[WHY] = row->note;
}

static void put_evidence(const struct ac_race *race, struct ac_buf *buf) {
    size_t runs = 0;
    for (size_t i = 0; i < race->count; i++) {
        runs = ac_max(runs, race->contenders[i].run_count);
    }
    ac_buf_printf(buf, "%s, %s, %.4g usable CPUs", race->work, race->python, race->usable);
    if (runs > 1) {
        ac_buf_printf(buf, "; medians of %zu runs, with least and most; below, the fastest run of each",
                      runs);
    }
    ac_race_left_out(race, "; left out: ", ", ", "", ac_buf_str, buf);
    if (race->note) {
        ac_buf_printf(buf, "; %s", race->note);
    }
    if (race->advice) {
        ac_buf_printf(buf, "; %s", race->advice);
    }
}

/* Of the runs that are shown, which are not those of the medians. */
static double shown_speedup(const struct ac_race *race, const struct ac_race_contender *c) {
    const struct ac_race_contender *base = &race->contenders[0];
    bool known = c->speedup > 0 && base->profile && c->profile && c->profile->wall_ns > 0;
    return known ? (double)base->profile->wall_ns / (double)c->profile->wall_ns : 0;
}

int ac_report_race_html(const struct ac_race *race, const struct ac_html_options *options,
                        struct ac_buf *buf) {
    struct ac_html_run *runs = ac_calloc(race->count, sizeof(*runs));
    struct row *rows = ac_calloc(race->count, sizeof(*rows));
    const char **cells = ac_calloc(race->count * COLUMNS, sizeof(*cells));
    struct ac_buf evidence = {0};
    int err = runs && rows && cells ? 0 : -ENOMEM;
    size_t count = 0, shown = 0;
    put_evidence(race, &evidence);
    for (size_t i = 0; !err && i < race->count; i++) {
        const struct ac_race_contender *c = &race->contenders[i];
        if (c->left_out) {
            continue;
        }
        if (c->error) {
            put_error(c, options, &rows[count], &cells[count * COLUMNS]);
        } else {
            put_row(c, &rows[count], &cells[count * COLUMNS]);
        }
        err = rows[count].error.err;
        shown = race->winner == (int)i ? count : shown;
        runs[count] = (struct ac_html_run){.name = c->name,
                                           .note = c->error ? cells[count * COLUMNS + WHY] : c->reason,
                                           .profile = c->error ? NULL : c->profile,
                                           .diagnosis = c->error ? NULL : c->diagnosis,
                                           .speedup = shown_speedup(race, c)};
        count++;
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
    for (size_t i = 0; i < count; i++) {
        ac_buf_free(&rows[i].error);
    }
    ac_buf_free(&evidence);
    ac_free(cells);
    ac_free(rows);
    ac_free(runs);
    return err;
}
