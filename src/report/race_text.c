/* race_text.c - a race for people: a line a contender with its reason, a strip a core; and as Markdown. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/names.h"
#include "verdict/race.h"

#define MAX_LANES 8
#define NAME      30
#define RANGE     17 /* columns of the least and the most of several runs */

static void put_safe(struct ac_buf *buf, const char *text) {
    ac_buf_escaped(buf, text, strlen(text));
}

static void put_wall(const struct ac_race_contender *c, struct ac_buf *buf) {
    double least, most;
    ac_race_range(c, &least, &most);
    ac_buf_printf(buf, "%7.2f s", c->median.wall_s);
    if (c->run_count > 1) {
        ac_buf_printf(buf, " (%.2f-%.2f)", least, most);
    }
}

static bool several_runs(const struct ac_race *race) {
    bool several = false;
    for (size_t i = 0; i < race->count; i++) {
        several |= race->contenders[i].run_count > 1;
    }
    return several;
}

/* Wall time and speed-up, in columns. Returns where the next one begins. */
static int put_figures(const struct ac_race *race, const struct ac_race_contender *c, struct ac_buf *buf) {
    struct ac_buf wall = {0};
    int columns = 9 + (several_runs(race) ? RANGE : 0);
    put_wall(c, &wall);
    ac_buf_printf(buf, "%-*s", columns, c->error ? "      -" : ac_buf_text(&wall));
    if (!c->error && c->speedup > 0) {
        ac_buf_printf(buf, "  %5.2fx  ", c->speedup);
    } else {
        ac_buf_str(buf, "          ");
    }
    buf->err = buf->err ? buf->err : wall.err;
    ac_buf_free(&wall);
    return 2 + NAME + columns + 10;
}

static void put_contender(const struct ac_race *race, size_t i, const struct ac_text_style *style,
                          struct ac_buf *buf) {
    const struct ac_race_contender *c = &race->contenders[i];
    bool bold = style->color && (int)i == race->winner;
    struct ac_buf why = {0};
    ac_buf_printf(buf, "  %s%-*s%s", bold ? "\033[1m" : "", NAME, c->name, bold ? "\033[0m" : "");
    int column = put_figures(race, c, buf);
    ac_buf_printf(&why, "%s%s%s", (int)i == race->winner ? "fastest: " : "", c->error ? c->error : c->reason,
                  !c->error && c->differs ? "; its results DIFFER from the first run's" : "");
    ac_put_wrapped(buf, ac_buf_text(&why), style->width, column);
    buf->err = buf->err ? buf->err : why.err;
    ac_buf_free(&why);
}

/* --- strips */

struct strips {
    int seen, lanes, cells; /* CPUs that ran something */
    int cpus[1024];         /* lane of each CPU; -1: not seen */
    int shared[MAX_LANES];  /* CPUs of each lane */
    double axis_ns;
    double use[MAX_LANES][200][2]; /* ns computing, ns overhead */
};

static void find_lanes(const struct ac_race *race, struct strips *s) {
    int seen = 0;
    memset(s->cpus, 0, sizeof(s->cpus));
    for (size_t i = 0; i < race->count; i++) {
        const struct ac_profile *p = race->contenders[i].profile;
        for (size_t k = 0; p && k < p->segment_count; k++) {
            int cpu = p->segments[k].cpu;
            if (cpu >= 0 && cpu < (int)AC_COUNT(s->cpus)) {
                s->cpus[cpu] = 1;
            }
        }
        if (p) {
            s->axis_ns = ac_max(s->axis_ns, (double)p->wall_ns);
        }
    }
    for (size_t cpu = 0; cpu < AC_COUNT(s->cpus); cpu++) {
        seen += s->cpus[cpu];
    }
    s->lanes = ac_min(seen, MAX_LANES);
    for (size_t cpu = 0, at = 0; cpu < AC_COUNT(s->cpus); cpu++) { /* more CPUs than lanes share them */
        s->cpus[cpu] = s->cpus[cpu] ? (int)(at++ * (size_t)s->lanes / (size_t)seen) : -1;
        if (s->cpus[cpu] >= 0) {
            s->shared[s->cpus[cpu]]++;
        }
    }
    s->seen = seen;
}

static void add_segment(struct strips *s, const struct ac_profile *p, const struct ac_segment *segment) {
    enum ac_race_use use = ac_race_use_of(p, segment);
    int lane = segment->cpu >= 0 && segment->cpu < (int)AC_COUNT(s->cpus) ? s->cpus[segment->cpu] : -1;
    double cell_ns = s->axis_ns / s->cells;
    if (use == AC_RACE_IDLE || lane < 0) {
        return;
    }
    for (int cell = (int)((double)segment->from_ns / cell_ns); cell < s->cells; cell++) {
        double from = fmax((double)segment->from_ns, cell * cell_ns);
        double to = fmin((double)segment->to_ns, (cell + 1) * cell_ns);
        if (to <= from) {
            return;
        }
        s->use[lane][cell][use == AC_RACE_OVERHEAD] += to - from;
    }
}

static const char *glyph(const double use[2], double room, bool unicode) {
    static const char *const levels[] = {"·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double share = (use[0] + use[1]) / room;
    if (share < 0.06) {
        return unicode ? "·" : ".";
    }
    if (use[1] > use[0]) {
        return unicode ? "▒" : "+";
    }
    int level = ac_min(8, ac_max(1, (int)lround(share * 8)));
    return unicode ? levels[level] : level > 5 ? "#" : level > 2 ? "=" : "-";
}

/* What a line of the strips stands for. */
static void put_scale(const struct strips *s, const struct ac_text_style *style, struct ac_buf *buf) {
    int least = s->lanes ? s->seen / s->lanes : 1;
    bool uneven = s->lanes && s->seen % s->lanes;
    if (s->seen <= MAX_LANES) {
        ac_buf_str(buf, "\n  Each core");
    } else if (uneven) {
        ac_buf_printf(buf, "\n  Each line %d or %d cores,", least, least + 1);
    } else {
        ac_buf_printf(buf, "\n  Each line %d cores,", least);
    }
    ac_buf_printf(buf, " from 0 to %.2f s: %s computing, %s starting and pickling, %s idle\n",
                  s->axis_ns / 1e9, style->unicode ? "█" : "#", style->unicode ? "▒" : "+",
                  style->unicode ? "·" : ".");
}

static void put_strips(const struct ac_race *race, const struct ac_text_style *style, struct ac_buf *buf) {
    struct strips *s = ac_calloc(1, sizeof(*s));
    if (!s) {
        buf->err = -ENOMEM;
        return;
    }
    s->cells = ac_max(10, ac_min(style->width - NAME - 8, 100));
    find_lanes(race, s);
    put_scale(s, style, buf);
    for (size_t i = 0; i < race->count; i++) {
        const struct ac_race_contender *c = &race->contenders[i];
        memset(s->use, 0, sizeof(s->use));
        for (size_t k = 0; c->profile && k < c->profile->segment_count; k++) {
            add_segment(s, c->profile, &c->profile->segments[k]);
        }
        double cell_ns = s->axis_ns / s->cells;
        int cells = c->profile ? (int)ceil((double)c->profile->wall_ns / cell_ns) : 0;
        for (int lane = 0; lane < s->lanes && c->profile && !c->error; lane++) {
            ac_buf_printf(buf, "  %-*s", NAME, lane ? "" : c->name);
            for (int cell = 0; cell < ac_min(cells, s->cells); cell++) {
                ac_buf_str(buf, glyph(s->use[lane][cell], cell_ns * s->shared[lane], style->unicode));
            }
            ac_buf_str(buf, "\n");
        }
    }
    ac_free(s);
}

/* A cell of a Markdown table: a bar would end it, and nothing in it is markup. */
static void put_cell(struct ac_buf *buf, const char *text) {
    struct ac_buf safe = {0};
    put_safe(&safe, text);
    for (const char *at = ac_buf_text(&safe); *at; at++) {
        ac_buf_printf(buf, strchr("\\|<`*_[&~", *at) ? "\\%c" : "%c", *at);
    }
    buf->err = buf->err ? buf->err : safe.err;
    ac_buf_free(&safe);
}

/* For the terminal so wide, for Markdown where width is 0. */
static void put_note(const char *note, int width, struct ac_buf *buf) {
    if (note && width) {
        ac_buf_str(buf, "\n  Note: ");
        ac_put_wrapped(buf, note, width, 8);
    } else if (note) {
        ac_buf_str(buf, "\nNote: ");
        put_cell(buf, note);
        ac_buf_str(buf, "\n");
    }
}

int ac_report_race_text(const struct ac_race *race, const struct ac_text_style *style, struct ac_buf *buf) {
    ac_buf_str(buf, "\n  ");
    put_safe(buf, race->work);
    ac_buf_printf(buf, ", %s, %.4g usable CPU%s\n\n", race->python, race->usable,
                  race->usable == 1 ? "" : "s");
    for (size_t i = 0; i < race->count; i++) {
        if (!race->contenders[i].left_out) {
            put_contender(race, i, style, buf);
        }
    }
    if (race->winner >= 0) {
        put_strips(race, style, buf);
    }
    ac_race_left_out(race, "\n  Left out: ", ",\n            ", "\n", put_safe, buf);
    put_note(race->advice, style->width, buf);
    put_note(race->note, style->width, buf);
    ac_buf_str(buf, "\n");
    return buf->err;
}

static void put_seconds(struct ac_buf *buf, double seconds) {
    if (seconds >= 0) {
        ac_buf_printf(buf, "%.2f s", seconds);
    }
    ac_buf_str(buf, " | ");
}

static void put_markdown_figures(const struct ac_race_contender *c, struct ac_buf *buf) {
    put_wall(c, buf);
    ac_buf_str(buf, " | ");
    if (c->speedup > 0) {
        ac_buf_printf(buf, "%.2fx", c->speedup);
    }
    ac_buf_str(buf, " | ");
    put_seconds(buf, c->median.cpu_s);
    ac_buf_printf(buf, "%.1f | ", c->median.cores_used);
    put_seconds(buf, c->median.start_up_s);
    put_seconds(buf, c->median.pickling_s);
    ac_buf_printf(buf, "%.0f MB | ", (double)ac_max(c->median.peak_bytes, 0) / 1e6);
}

int ac_report_race_markdown(const struct ac_race *race, struct ac_buf *buf) {
    put_cell(buf, race->work);
    ac_buf_printf(buf, ", %s, %.4g usable CPUs\n\n", race->python, race->usable);
    ac_buf_str(buf, "| | wall | speed-up | CPU | cores | start-up | pickling | peak memory | why |\n"
                    "|---|---:|---:|---:|---:|---:|---:|---:|---|\n");
    for (size_t i = 0; i < race->count; i++) {
        const struct ac_race_contender *c = &race->contenders[i];
        if (c->left_out) {
            continue;
        }
        ac_buf_printf(buf, "| %s | ", c->name);
        if (c->error) {
            ac_buf_str(buf, "| | | | | | | ");
            put_cell(buf, c->error);
        } else {
            put_markdown_figures(c, buf);
            put_cell(buf, c->reason);
            ac_buf_str(buf, c->differs ? "; results differ" : "");
        }
        ac_buf_str(buf, " |\n");
    }
    ac_race_left_out(race, "\nLeft out: ", ", ", "\n", put_cell, buf);
    put_note(race->advice, 0, buf);
    put_note(race->note, 0, buf);
    return buf->err;
}
