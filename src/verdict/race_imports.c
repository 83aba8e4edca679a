/* race_imports.c - threads that a module starts while it is imported, and that end with the import, belong to
 * it: a script without a __main__ guard does all its work again in each fresh worker, and that is start-up,
 * not the race. The probe cannot tell, for their own stacks hold no import. */
#include "base/base.h"
#include "verdict/race.h"

#define SLACK_NS (30 * AC_NS_PER_MS) /* a few samples */

struct import {
    uint32_t thread;
    int64_t from_ns, to_ns;
};

struct imports {
    struct import *items;
    size_t count, cap;
};

static bool imports(const struct ac_profile *p, const struct ac_segment *s) {
    uint8_t activity = p->nodes[s->node].activity;
    return activity == AC_IMPORT || activity == AC_START_UP;
}

/* Each thread's stretches of importing; its segments come in order of time. */
static int find_imports(const struct ac_profile *p, struct imports *all) {
    for (size_t i = 0; i < p->segment_count; i++) {
        const struct ac_segment *s = &p->segments[i];
        struct import *last = NULL;
        if (!imports(p, s)) {
            continue;
        }
        for (size_t k = all->count; k-- > 0 && !last;) {
            last = all->items[k].thread == s->thread ? &all->items[k] : NULL;
        }
        if (last && s->from_ns <= last->to_ns + SLACK_NS) {
            last->to_ns = ac_max(last->to_ns, s->to_ns);
            continue;
        }
        int err = ac_grow(&all->items, &all->cap, all->count + 1, sizeof(*all->items));
        if (err) {
            return err;
        }
        all->items[all->count++] = (struct import){s->thread, s->from_ns, s->to_ns};
    }
    return 0;
}

static bool belongs(const struct ac_profile *p, uint32_t thread, const struct imports *all) {
    const struct ac_thread *t = &p->threads[thread];
    for (size_t i = 0; i < all->count; i++) {
        const struct import *one = &all->items[i];
        if (one->thread != thread && p->threads[one->thread].process == t->process &&
            t->from_ns >= one->from_ns - SLACK_NS && t->to_ns <= one->to_ns + SLACK_NS) {
            return true;
        }
    }
    return false;
}

int ac_race_mark_imports(struct ac_profile *slice) {
    struct imports all = {0};
    enum { BY_IMPORT = 1, BY_OTHERS = 2 };
    uint8_t *of_node = ac_calloc(slice->node_count, 1);
    int err = of_node ? find_imports(slice, &all) : -ENOMEM;
    for (size_t i = 0; !err && i < slice->segment_count; i++) {
        const struct ac_segment *s = &slice->segments[i];
        of_node[s->node] |= belongs(slice, s->thread, &all) ? BY_IMPORT : BY_OTHERS;
    }
    for (size_t i = 1; !err && i < slice->node_count; i++) {
        if (of_node[i] == BY_IMPORT && slice->nodes[i].activity == AC_WORK) {
            slice->nodes[i].activity = AC_IMPORT;
        }
    }
    ac_free(all.items);
    ac_free(of_node);
    return err;
}
