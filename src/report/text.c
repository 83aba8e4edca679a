/* text.c - the report as a tired user reads it: the verdict, what it rests on, the fix, where the time went.
 */
#include <math.h>
#include <string.h>

#include "report/names.h"
#include "report/report.h"
#include "verdict/evidence.h"

struct text {
    const struct ac_profile *profile;
    const struct ac_diagnosis *diagnosis;
    const struct ac_text_style *style;
    struct ac_buf *buf;
};

/* 256-colour codes near the Okabe-Ito palette: apart for colour-blind eyes too. */
static const int colors[AC_STATE_COUNT] = {36, 208, 32, 160, 74, 136, 175, 245, 245, 245};

static void paint(struct text *t, const char *code) {
    if (t->style->color) {
        ac_buf_printf(t->buf, "\033[%sm", code);
    }
}

/* A buffer of a moment: its failure is the report's. */
static void drop(struct text *t, struct ac_buf *temporary) {
    t->buf->err = t->buf->err ? t->buf->err : temporary->err;
    ac_buf_free(temporary);
}

/* A paragraph, every line indented. */
static void put_wrapped(struct text *t, const char *text, int indent, const char *first) {
    ac_buf_repeat(t->buf, " ", indent);
    ac_buf_str(t->buf, first);
    ac_put_wrapped(t->buf, text, t->style->width, indent + (int)strlen(first));
}

static void put_painted(struct text *t, const char *code, const char *text) {
    paint(t, code);
    ac_buf_str(t->buf, text);
    paint(t, "0");
}

/* The sentence, and the verdict's id at the right end of its line; below it where that is too long. */
static void headline(struct text *t) {
    const struct ac_verdict *v = &t->diagnosis->main;
    struct ac_buf tag = {0};
    struct ac_buf safe = {0};
    ac_buf_printf(&tag, "%s, %s", v->id, ac_confidence_names[v->confidence]);
    ac_buf_escaped(&safe, v->sentence, strlen(v->sentence));
    size_t width = (size_t)t->style->width;
    size_t taken = 2 + ac_text_width(ac_buf_text(&safe));
    if (taken + 2 + tag.len <= width) {
        ac_buf_str(t->buf, "  ");
        put_painted(t, "1", ac_buf_text(&safe));
        ac_buf_repeat(t->buf, " ", (int)(width - taken - tag.len));
    } else {
        paint(t, "1");
        put_wrapped(t, v->sentence, 2, "");
        paint(t, "0");
        ac_buf_str(t->buf, "  ");
    }
    put_painted(t, "2", ac_buf_text(&tag));
    ac_buf_str(t->buf, "\n");
    drop(t, &safe);
    drop(t, &tag);
}

static void put_code(struct text *t, const char *code) {
    while (*code) {
        size_t len = strcspn(code, "\n");
        struct ac_buf line = {0};
        ac_buf_bytes(&line, code, len);
        ac_buf_str(t->buf, "    ");
        paint(t, "36");
        ac_put_cut(t->buf, ac_buf_text(&line), (size_t)t->style->width - 4);
        paint(t, "0");
        ac_buf_str(t->buf, "\n");
        drop(t, &line);
        code += len + (code[len] == '\n');
    }
}

static void fix(struct text *t) {
    const struct ac_verdict *v = &t->diagnosis->main;
    if (v->fix_text) {
        ac_buf_str(t->buf, "\n");
        put_wrapped(t, v->fix_text, 2, "Fix: ");
    }
    if (v->fix_diff || v->fix_code) {
        put_code(t, v->fix_diff ? v->fix_diff : v->fix_code);
    }
    if (v->fix_withheld) {
        put_wrapped(t, v->fix_withheld, 2, "No patch: ");
    }
    if (v->fix_more) {
        put_wrapped(t, v->fix_more, 2, "");
    }
    for (size_t i = 0; i < t->diagnosis->also_count; i++) {
        const struct ac_verdict *also = &t->diagnosis->also[i];
        struct ac_buf line = {0};
        ac_buf_printf(&line, "%s (%s, %s)", also->sentence, also->id, ac_confidence_names[also->confidence]);
        put_wrapped(t, ac_buf_text(&line), 2, i ? "      " : "Also: ");
        drop(t, &line);
    }
}

/* --- where the time went */

static void bar(struct text *t, double share, int cells, int color) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int units = (int)lround(share * cells * 8);
    units = ac_max(units, share > 0 ? 1 : 0);
    int full = units / 8;
    char code[24];
    snprintf(code, sizeof(code), "38;5;%d", color);
    paint(t, code);
    if (t->style->unicode) {
        ac_buf_repeat(t->buf, "█", full);
        ac_buf_str(t->buf, eighths[units % 8]);
        full += units % 8 != 0;
    } else {
        full = ac_max((units + 4) / 8, 1);
        ac_buf_repeat(t->buf, "#", full);
    }
    paint(t, "0");
    ac_buf_repeat(t->buf, " ", cells - full);
}

/* "transform  batch.py:8", or for the GIL "transform behind transform". */
static void put_culprit(struct text *t, int state, size_t room) {
    struct ac_buf words = {0};
    const struct ac_profile *profile = t->profile;
    const struct ac_gil_pair *most = NULL;
    for (size_t i = 0; state == AC_GIL_WAIT && i < profile->pair_count; i++) {
        const struct ac_gil_pair *pair = &profile->pairs[i];
        bool named = pair->holder != UINT32_MAX && pair->waiter != UINT32_MAX;
        most = named && (!most || pair->ns > most->ns) ? pair : most;
    }
    const struct ac_spot *spot = &t->diagnosis->evidence->state_spots[state];
    if (most) {
        ac_put_function(&words, ac_profile_text(profile, profile->funcs[most->waiter].name));
        ac_buf_str(&words, " behind ");
        ac_put_function(&words, ac_profile_text(profile, profile->funcs[most->holder].name));
    } else if (spot->func != AC_NO_FUNC) {
        struct ac_place place = ac_place_of(profile, spot);
        ac_put_function(&words, place.function);
        ac_buf_printf(&words, "  %s:%d", ac_base_name(place.file), place.line);
    }
    ac_put_cut(t->buf, ac_buf_text(&words), room);
    drop(t, &words);
}

static void state_row(struct text *t, int state, double seconds, double share) {
    int cells = ac_max(5, ac_min(36, t->style->width - 66));
    ac_buf_printf(t->buf, "    %-9s ", ac_state_words[state]);
    bar(t, share, cells, colors[state]);
    ac_buf_printf(t->buf, " %8.1f s ", seconds);
    if (share < 0.005) {
        ac_buf_str(t->buf, "  <1 %  ");
    } else {
        ac_buf_printf(t->buf, "%4.0f %%  ", 100 * share);
    }
    int taken = 14 + cells + 20;
    put_culprit(t, state, (size_t)ac_max(0, t->style->width - taken));
    ac_buf_str(t->buf, "\n");
}

static void states(struct text *t) {
    const struct ac_evidence *e = t->diagnosis->evidence;
    int64_t ns[AC_STATE_COUNT];
    double total = 0;
    ac_profile_states(t->profile, ns);
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        total += (double)ns[s] / 1e9;
    }
    struct ac_buf line = {0};
    ac_buf_printf(&line, "Where %.1f thread-seconds of %u thread%s", total, e->lasting,
                  e->lasting == 1 ? "" : "s");
    if (e->threads > e->lasting) {
        ac_buf_printf(&line, " (and %u short-lived)", e->threads - e->lasting);
    }
    ac_buf_printf(&line, " went in %.1f s", e->wall_s);
    ac_buf_str(t->buf, "\n");
    put_wrapped(t, ac_buf_text(&line), 2, "");
    drop(t, &line);
    for (int s = 0; s < AC_STATE_COUNT; s++) {
        double seconds = (double)ns[s] / 1e9;
        if (total > 0 && (seconds / total >= 0.005 || seconds / e->wall_s >= 0.05)) {
            state_row(t, s, seconds, seconds / total);
        }
    }
}

/* One line a phase, where there are several. */
static void phases(struct text *t) {
    const struct ac_diagnosis *d = t->diagnosis;
    if (d->phase_count < 2) {
        return;
    }
    ac_buf_str(t->buf, "\n  Phase by phase\n");
    for (size_t i = 0; i < d->phase_count; i++) {
        const struct ac_phase *phase = &d->phases[i];
        struct ac_buf line = {0};
        ac_buf_printf(&line, "%.1f-%.1f s", phase->from_s, phase->to_s);
        ac_buf_printf(t->buf, "    %-14s %5.1f CPUs  ", ac_buf_text(&line), phase->cpus_used);
        ac_put_cut(t->buf, phase->sentence, (size_t)ac_max(t->style->width - 31, 10));
        ac_buf_str(t->buf, "\n");
        drop(t, &line);
    }
}

/* --- the small print */

static void method(struct text *t) {
    const struct ac_sampling *s = &t->profile->sampling;
    const struct ac_cpus *cpus = &t->profile->cpus;
    struct ac_buf line = {0};
    const struct ac_evidence *e = t->diagnosis->evidence;
    ac_buf_printf(&line, "CPUs: %d online, %.4g usable, %.1f used", cpus->online, cpus->usable, e->used);
    if (e->others >= 0.3) {
        ac_buf_printf(&line, ", %.1f by other programs", e->others);
    }
    ac_buf_str(&line, ".  ");
    ac_put_thousands(&line, s->samples);
    ac_buf_printf(&line, " samples at %.0f Hz, ", s->rate_hz);
    ac_put_thousands(&line, s->missed);
    ac_buf_str(&line, " missed");
    if (s->torn + s->read_errors > 0) {
        ac_buf_str(&line, ", ");
        ac_put_thousands(&line, s->torn + s->read_errors);
        ac_buf_str(&line, " failed");
    }
    ac_buf_printf(&line, ", sampler %.1f %% of a core",
                  100 * (double)s->sampler_cpu_ns / (double)ac_max(t->profile->wall_ns, 1));
    paint(t, "2");
    put_wrapped(t, ac_buf_text(&line), 2, "");
    paint(t, "0");
    drop(t, &line);
}

static void notes(struct text *t) {
    for (size_t i = 0; i < AC_LIMIT_BITS; i++) {
        if (t->profile->limits & (1u << i) && ac_limit_words[i]) {
            put_wrapped(t, ac_limit_words[i], 2, "Note: ");
        }
    }
    const char *last = "";
    for (size_t i = 0, told = 0; i < t->profile->process_count && told < 2; i++) {
        const struct ac_process *process = &t->profile->processes[i];
        const char *note = ac_profile_text(t->profile, process->note);
        if (*note && strcmp(note, last) != 0) {
            struct ac_buf line = {0};
            ac_buf_printf(&line, "process %d: %s", process->pid, note);
            put_wrapped(t, ac_buf_text(&line), 2, "Note: ");
            drop(t, &line);
            last = note;
            told++;
        }
    }
}

int ac_report_text(const struct ac_profile *profile, const struct ac_diagnosis *diagnosis,
                   const struct ac_text_style *style, struct ac_buf *buf) {
    struct text t = {profile, diagnosis, style, buf};
    ac_buf_str(buf, "\n");
    headline(&t);
    if (diagnosis->main.evidence) {
        put_wrapped(&t, diagnosis->main.evidence, 2, "");
    }
    fix(&t);
    phases(&t);
    states(&t);
    method(&t);
    notes(&t);
    ac_buf_str(buf, "\n");
    return buf->err;
}
