/* compare.c - two runs side by side: what changed, as text, as JSON and as a page. Pure: two profiles and
 * what they were diagnosed as go in. docs/compare.schema.json describes the JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/names.h"
#include "verdict/evidence.h"

#define NOISE         0.05 /* one run of each does not tell a smaller difference of the wall time */
#define MAX_FUNCTIONS 50   /* in JSON */
#define MAX_TOLD      6    /* in text */
#define MAX_NOTES     8
#define MAX_ROWS      40 /* of the page's table */
#define COLUMNS       4
#define LEAST_NS      (AC_NS_PER_S / 20) /* of thread time, or of its change, that is told */

/* --- notes: why not to take a difference at its word */

struct note {
    const char *id, *text;
};

/* How many times as fast; 0 not known. */
static double ratio_of(double before, double after) {
    return before > 0 && after > 0 ? before / after : 0;
}

static const char *program_of(const struct ac_run *run) {
    const struct ac_profile *p = run->profile;
    return ac_program_name(p, p->argv, ac_min((size_t)p->argc, AC_COUNT(p->argv)));
}

static bool same_program(const struct ac_run runs[2]) {
    return strcmp(program_of(&runs[0]), program_of(&runs[1])) == 0;
}

static bool failed(const struct ac_profile *p) {
    return p->launched && (p->exit_code > 0 || p->exit_signal > 0);
}

static size_t notes_of(const struct ac_run runs[2], struct note notes[MAX_NOTES]) {
    const struct ac_evidence *a = runs[0].diagnosis->evidence;
    const struct ac_evidence *b = runs[1].diagnosis->evidence;
    double ratio = ratio_of(a->wall_s, b->wall_s);
    size_t n = 0;
    if (!same_program(runs)) {
        notes[n++] = (struct note){"different_programs", "the two recordings are of different programs"};
    }
    if (!runs[0].profile->launched || !runs[1].profile->launched) {
        notes[n++] = (struct note){"attached", "a running program was watched: the wall times are how long, "
                                               "not how fast; compare the shares"};
    } else if (ratio > 1 - NOISE && ratio < 1 + NOISE) {
        notes[n++] = (struct note){"within_noise", "the wall times differ by less than 5 %: one run of each "
                                                   "does not tell that from noise"};
    }
    if (fabs(a->usable - b->usable) > 0.01) {
        notes[n++] = (struct note){"different_cpus", "the runs could use different numbers of CPUs"};
    }
    if (a->others >= 0 && b->others >= 0 && fabs(a->others - b->others) >= 0.3) {
        notes[n++] =
            (struct note){"others", "other programs used the CPUs more in one run than in the other"};
    }
    if (failed(runs[0].profile) || failed(runs[1].profile)) {
        notes[n++] = (struct note){"failed", "a program failed: it may not have done all its work"};
    }
    return n;
}

/* --- functions: thread-seconds by leaf function and state, in both runs */

struct row {
    const char *function, *file;
    uint8_t state;
    int64_t ns[2];
};

struct rows {
    struct row *items;
    size_t count, cap;
    struct ac_map at;
};

static int64_t change_of(const struct row *row) {
    int64_t change = row->ns[1] - row->ns[0];
    return change < 0 ? -change : change;
}

static int by_change(const void *a, const void *b) {
    int64_t x = change_of(a);
    int64_t y = change_of(b);
    return (x < y) - (x > y);
}

/* Files by their last two parts: the two runs may be of two checkouts. */
static int add_cell(struct rows *rows, const struct ac_profile *p, const struct ac_cell *cell, int side) {
    const struct ac_func *func = &p->funcs[p->frames[p->nodes[cell->node].frame].func];
    const char *name = ac_profile_text(p, func->name);
    const char *file = ac_short_path(ac_profile_text(p, func->file));
    uint64_t key = ac_hash_mix(ac_hash_bytes(name, strlen(name)), ac_hash_bytes(file, strlen(file)));
    uint32_t slot;
    key = ac_hash_mix(key, cell->state);
    if (!ac_map_get(&rows->at, key, &slot)) {
        slot = (uint32_t)rows->count;
        int err = ac_grow(&rows->items, &rows->cap, rows->count + 1, sizeof(*rows->items));
        err = err ? err : ac_map_put(&rows->at, key, slot);
        if (err) {
            return err;
        }
        rows->items[rows->count++] = (struct row){.function = name, .file = file, .state = cell->state};
    }
    rows->items[slot].ns[side] += cell->ns;
    return 0;
}

static void rows_free(struct rows *rows) {
    ac_free(rows->items);
    ac_map_free(&rows->at);
}

static int rows_new(const struct ac_run runs[2], struct rows *rows) {
    int err = 0;
    for (int side = 0; side < 2; side++) {
        const struct ac_profile *p = runs[side].profile;
        for (size_t i = 0; !err && i < p->cell_count; i++) {
            err = p->cells[i].node ? add_cell(rows, p, &p->cells[i], side) : 0;
        }
    }
    if (!err && rows->count) {
        qsort(rows->items, rows->count, sizeof(*rows->items), by_change);
    }
    return err;
}

/* --- text */

static void put_sentence(const struct ac_run *run, struct ac_buf *buf) {
    const struct ac_verdict *v = &run->diagnosis->main;
    ac_buf_printf(buf, "%s (%s, %s)", v->sentence, v->id, ac_confidence_names[v->confidence]);
}

static void put_verdict(const struct ac_run *run, const char *label, int width, struct ac_buf *buf) {
    struct ac_buf sentence = {0};
    put_sentence(run, &sentence);
    ac_buf_printf(buf, "  %-7s ", label);
    ac_put_wrapped(buf, run->name, width, 10);
    ac_buf_repeat(buf, " ", 10);
    ac_put_wrapped(buf, ac_buf_text(&sentence), width, 10);
    buf->err = buf->err ? buf->err : sentence.err;
    ac_buf_free(&sentence);
}

static void put_headline(const struct ac_run runs[2], struct ac_buf *buf) {
    double before = runs[0].diagnosis->evidence->wall_s;
    double after = runs[1].diagnosis->evidence->wall_s;
    double ratio = ratio_of(before, after);
    bool launched = runs[0].profile->launched && runs[1].profile->launched;
    if (!launched || !same_program(runs) || ratio <= 0) {
        ac_buf_str(buf, "Two runs side by side");
    } else if (ratio > 1 - NOISE && ratio < 1 + NOISE) {
        ac_buf_str(buf, "As fast as before");
    } else {
        ac_buf_printf(buf, "%.2f times as fast", ratio);
    }
    ac_buf_printf(buf, ": %.2f s before, %.2f s after", before, after);
}

static void put_figure(struct ac_buf *buf, const char *label, double before, double after, const char *unit) {
    ac_buf_printf(buf, "  %-12s %9.2f %-5s %9.2f", label, before, unit, after);
    if (before >= 0.1) { /* of next to nothing a share says nothing */
        ac_buf_printf(buf, " %-5s %+6.0f %%", unit, 100 * (after - before) / before);
    } else if (*unit) {
        ac_buf_printf(buf, " %s", unit);
    }
    ac_buf_str(buf, "\n");
}

static void put_figures(const struct ac_run runs[2], struct ac_buf *buf) {
    const struct ac_evidence *a = runs[0].diagnosis->evidence;
    const struct ac_evidence *b = runs[1].diagnosis->evidence;
    int64_t ns[2][AC_STATE_COUNT];
    ac_profile_states(runs[0].profile, ns[0]);
    ac_profile_states(runs[1].profile, ns[1]);
    ac_buf_printf(buf, "\n  %-12s %9s       %9s\n", "", "before", "after");
    put_figure(buf, "wall", a->wall_s, b->wall_s, "s");
    put_figure(buf, "CPU", a->cpu_s, b->cpu_s, "s");
    put_figure(buf, "cores used", a->used, b->used, "");
    ac_buf_str(buf, "\n  Thread-seconds by state\n");
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        if (ac_max(ns[0][s], ns[1][s]) >= LEAST_NS) {
            put_figure(buf, ac_state_words[s], (double)ns[0][s] / 1e9, (double)ns[1][s] / 1e9, "s");
        }
    }
}

static void put_functions(const struct rows *rows, int width, struct ac_buf *buf) {
    for (size_t i = 0; i < rows->count && i < MAX_TOLD; i++) {
        const struct row *row = &rows->items[i];
        if (change_of(row) < LEAST_NS) {
            break;
        }
        ac_buf_str(buf, i ? "" : "\n  Functions whose thread-seconds changed most\n");
        ac_buf_printf(buf, "  %-12s %9.2f s     %9.2f s      ", ac_state_words[row->state],
                      (double)row->ns[0] / 1e9, (double)row->ns[1] / 1e9);
        size_t taken = 48 + ac_put_cut(buf, row->function, (size_t)ac_max(width - 48, 10));
        ac_buf_str(buf, "  ");
        ac_put_cut(buf, row->file, (size_t)ac_max(width - 2 - (int)taken, 0));
        ac_buf_str(buf, "\n");
    }
}

int ac_compare_text(const struct ac_run runs[2], const struct ac_text_style *style, struct ac_buf *buf) {
    struct note notes[MAX_NOTES];
    struct rows rows = {0};
    int err = rows_new(runs, &rows);
    if (!err) {
        ac_buf_str(buf, "\n  ");
        put_headline(runs, buf);
        ac_buf_str(buf, "\n\n");
        put_verdict(&runs[0], "before", style->width, buf);
        put_verdict(&runs[1], "after", style->width, buf);
        put_figures(runs, buf);
        put_functions(&rows, style->width, buf);
        size_t count = notes_of(runs, notes);
        for (size_t i = 0; i < count; i++) {
            ac_buf_str(buf, i ? "  Note: " : "\n  Note: ");
            ac_put_wrapped(buf, notes[i].text, style->width, 8);
        }
        ac_buf_str(buf, "\n");
    }
    rows_free(&rows);
    return err ? err : buf->err;
}

/* --- the page: what changed as a table, then both runs on one time axis */

struct table {
    const char *cells[MAX_ROWS * COLUMNS];
    char figures[MAX_ROWS][COLUMNS - 1][24];
    char labels[MAX_ROWS][160];
    size_t count;
};

static void add_row(struct table *table, const char *label, double before, double after, const char *unit) {
    size_t at = table->count;
    if (at == MAX_ROWS) {
        return;
    }
    const char **cells = &table->cells[at * COLUMNS];
    ac_copy(table->labels[at], sizeof(table->labels[at]), label);
    snprintf(table->figures[at][0], sizeof(table->figures[at][0]), "%.2f%s", before, unit);
    snprintf(table->figures[at][1], sizeof(table->figures[at][1]), "%.2f%s", after, unit);
    snprintf(table->figures[at][2], sizeof(table->figures[at][2]), "%+.2f%s", after - before, unit);
    cells[0] = table->labels[at];
    for (int i = 0; i < COLUMNS - 1; i++) {
        cells[i + 1] = table->figures[at][i];
    }
    table->count++;
}

static void fill_table(const struct ac_run runs[2], const struct rows *rows, struct table *table) {
    const struct ac_evidence *a = runs[0].diagnosis->evidence;
    const struct ac_evidence *b = runs[1].diagnosis->evidence;
    int64_t ns[2][AC_STATE_COUNT];
    char label[160];
    ac_profile_states(runs[0].profile, ns[0]);
    ac_profile_states(runs[1].profile, ns[1]);
    add_row(table, "Wall time", a->wall_s, b->wall_s, " s");
    add_row(table, "CPU time", a->cpu_s, b->cpu_s, " s");
    add_row(table, "Cores used", a->used, b->used, "");
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        if (ac_max(ns[0][s], ns[1][s]) >= LEAST_NS) {
            snprintf(label, sizeof(label), "All threads: %s", ac_state_words[s]);
            add_row(table, label, (double)ns[0][s] / 1e9, (double)ns[1][s] / 1e9, " s");
        }
    }
    for (size_t i = 0; i < rows->count && change_of(&rows->items[i]) >= LEAST_NS; i++) {
        const struct row *row = &rows->items[i];
        snprintf(label, sizeof(label), "%.60s (%.60s): %s", row->function, row->file,
                 ac_state_words[row->state]);
        add_row(table, label, (double)row->ns[0] / 1e9, (double)row->ns[1] / 1e9, " s");
    }
}

static void put_evidence(const struct ac_run runs[2], struct ac_buf *buf) {
    struct note notes[MAX_NOTES];
    size_t count = notes_of(runs, notes);
    ac_buf_str(buf, "Before: ");
    put_sentence(&runs[0], buf);
    ac_buf_str(buf, ". After: ");
    put_sentence(&runs[1], buf);
    ac_buf_str(buf, ".");
    for (size_t i = 0; i < count; i++) {
        ac_buf_printf(buf, " Note: %s.", notes[i].text);
    }
}

int ac_compare_html(const struct ac_run runs[2], const struct ac_html_options *options, struct ac_buf *buf) {
    static const char *const columns[COLUMNS] = {"What", "Before", "After", "Change"};
    static const char *const names[2] = {"Before", "After"};
    struct rows rows = {0};
    struct ac_buf headline = {0};
    struct ac_buf evidence = {0};
    struct ac_html_run told[2];
    struct table *table = ac_calloc(1, sizeof(*table));
    int err = table ? rows_new(runs, &rows) : -ENOMEM;
    for (int i = 0; i < 2; i++) {
        told[i] = (struct ac_html_run){
            .name = names[i],
            .note = options->full_paths ? runs[i].name : ac_base_name(runs[i].name),
            .profile = runs[i].profile,
            .diagnosis = runs[i].diagnosis,
        };
    }
    if (!err) {
        fill_table(runs, &rows, table);
        put_headline(runs, &headline);
        put_evidence(runs, &evidence);
        const struct ac_html_head head = {.title = "before and after",
                                          .headline = headline.data,
                                          .evidence = evidence.data,
                                          .columns = columns,
                                          .column_count = COLUMNS,
                                          .cells = table->cells,
                                          .row_count = table->count,
                                          .shown = 1};
        err = headline.err ? headline.err : evidence.err;
        err = err ? err : ac_report_html_runs(&head, told, 2, options, buf);
    }
    ac_buf_free(&evidence);
    ac_buf_free(&headline);
    rows_free(&rows);
    ac_free(table);
    return err;
}

/* --- JSON */

static json_t *verdict_of(const struct ac_verdict *v) {
    json_t *o = json_object();
    bool ok = ac_json_set(o, "id", json_string(v->id)) &&
              ac_json_set(o, "confidence", json_string(ac_confidence_names[v->confidence])) &&
              ac_json_set(o, "sentence", ac_json_text(v->sentence));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *run_of(const struct ac_run *run) {
    const struct ac_profile *p = run->profile;
    const struct ac_evidence *e = run->diagnosis->evidence;
    int64_t states_ns[AC_STATE_COUNT];
    ac_profile_states(p, states_ns);
    json_t *o = json_object();
    bool ok = ac_json_set(o, "recording", ac_json_text(run->name)) &&
              ac_json_set(o, "program", ac_json_text(program_of(run))) &&
              ac_json_set(o, "verdict", verdict_of(&run->diagnosis->main)) &&
              ac_json_set(o, "wall_s", json_real(e->wall_s)) &&
              ac_json_set(o, "cpu_s", json_real(e->cpu_s)) &&
              ac_json_set(o, "cpus_used", json_real(e->used)) &&
              ac_json_set(o, "cpus_usable", json_real(e->usable)) &&
              ac_json_set(o, "states_s", ac_json_states(states_ns));
    return ok ? o : (json_decref(o), NULL);
}

static json_t *functions_of(const struct rows *rows) {
    json_t *list = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < rows->count && i < MAX_FUNCTIONS; i++) {
        const struct row *row = &rows->items[i];
        json_t *o = json_object();
        ok = ac_json_set(o, "function", ac_json_text(row->function)) &&
             ac_json_set(o, "file", ac_json_text(row->file)) &&
             ac_json_set(o, "state", json_string(ac_state_names[row->state])) &&
             ac_json_set(o, "before_s", ac_json_seconds(row->ns[0])) &&
             ac_json_set(o, "after_s", ac_json_seconds(row->ns[1]));
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    return ok ? list : (json_decref(list), NULL);
}

static json_t *json_notes(const struct ac_run runs[2]) {
    struct note notes[MAX_NOTES];
    size_t count = notes_of(runs, notes);
    json_t *list = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        json_t *o = json_object();
        ok = ac_json_set(o, "id", json_string(notes[i].id)) &&
             ac_json_set(o, "text", json_string(notes[i].text));
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    return ok ? list : (json_decref(list), NULL);
}

int ac_compare_json(const struct ac_run runs[2], struct ac_buf *buf) {
    struct rows rows = {0};
    double ratio = ratio_of(runs[0].diagnosis->evidence->wall_s, runs[1].diagnosis->evidence->wall_s);
    int err = rows_new(runs, &rows);
    json_t *o = json_object();
    bool ok = !err && ac_json_set(o, "schema", json_string("allcores-compare-1")) &&
              ac_json_set(o, "before", run_of(&runs[0])) && ac_json_set(o, "after", run_of(&runs[1])) &&
              ac_json_set(o, "speedup", ratio > 0 ? json_real(ratio) : json_null()) &&
              ac_json_set(o, "functions", functions_of(&rows)) && ac_json_set(o, "notes", json_notes(runs));
    rows_free(&rows);
    return ac_json_write(o, ok, buf);
}
