/* profile.c - the tables behind an ac_profile: interning, caps, and the check of a profile that was read
 * back.
 *
 * Each table has a hash map in ac_profile_index. Frames, nodes and pairs have keys that are exact; strings,
 * functions and cells have hashed ones, so a hit is compared and a collision tries the next key.
 * What the words of a function's file say about its activity is activity.c's; the time line is timeline.c's.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "probe/profile_internal.h"

const char *const ac_state_names[AC_STATE_COUNT] = {"python", "gil_wait", "native", "no_cpu", "io",
                                                    "disk",   "lock",     "sleep",  "other",  "unknown"};
const char *const ac_activity_names[AC_ACTIVITY_COUNT] = {"work", "start_up", "import", "pickle", "ipc"};

/* Cells kept free for the root stack, so that a thread's time always finds a place. */
enum { CELLS_RESERVED = 32768, FUNC_CAP = AC_CAP_NODES, FRAME_CAP = AC_CAP_NODES };

#define grow(profile, table, need)                                                                           \
    ac_grow(&(profile)->table##s, &(profile)->table##_cap, (need), sizeof *(profile)->table##s)

static int append_string(struct ac_profile *profile, const char *text, size_t len, ac_str *ret_str) {
    int r = grow(profile, string, profile->string_count + 1);
    if (r < 0)
        return r;
    char *copy = ac_malloc(len + 1);
    if (!copy)
        return -ENOMEM;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    profile->strings[profile->string_count] = copy;
    *ret_str = (ac_str)profile->string_count++;
    return 0;
}

int ac_profile_string(struct ac_profile *profile, const char *text, size_t len, ac_str *ret_str) {
    const char *end = len > 0 ? memchr(text, '\0', len) : NULL;
    if (end)
        len = (size_t)(end - text);
    len = ac_min(len, (size_t)AC_MAX_STRING);
    if (len == 0) {
        *ret_str = 0;
        return 0;
    }
    uint64_t key = ac_hash_bytes(text, len);
    uint32_t found;
    for (; ac_map_get(&profile->index->strings, key, &found); key = ac_hash_mix(key, 1)) {
        const char *have = profile->strings[found];
        if (strncmp(have, text, len) == 0 && have[len] == '\0') {
            *ret_str = found;
            return 0;
        }
    }
    if (profile->string_count >= AC_CAP_STRINGS) {
        profile->limits |= AC_LIMIT_STACKS_MERGED;
        *ret_str = 0;
        return 0;
    }
    int r = append_string(profile, text, len, &found);
    if (r < 0)
        return r;
    *ret_str = found; /* a map that cannot grow only costs sharing */
    return ac_map_put(&profile->index->strings, key, found);
}

static int append_func(struct ac_profile *profile, const struct ac_func *func, uint32_t *ret_func) {
    int r = grow(profile, func, profile->func_count + 1);
    if (r == 0)
        r = ac_grow(&profile->index->func_traits, &profile->index->func_traits_cap, profile->func_count + 1,
                    sizeof *profile->index->func_traits);
    if (r < 0)
        return r;
    const char *name = profile->strings[func->name], *file = profile->strings[func->file];
    struct ac_func *have = &profile->funcs[profile->func_count];
    *have = *func;
    struct ac__trait trait = ac__activity_of(name, file);
    have->activity = trait.activity;
    profile->index->func_traits[profile->func_count] = trait;
    *ret_func = (uint32_t)profile->func_count++;
    return 0;
}

int ac_profile_func(struct ac_profile *profile, const char *name, const char *file, int32_t first_line,
                    uint32_t *ret_func) {
    struct ac_func func = {.first_line = first_line};
    int r = ac_profile_string(profile, name, strlen(name), &func.name);
    if (r == 0)
        r = ac_profile_string(profile, file, strlen(file), &func.file);
    if (r < 0)
        return r;
    uint64_t key = ac_hash_mix(((uint64_t)func.name << 32) | func.file, (uint64_t)(uint32_t)first_line);
    uint32_t found;
    for (; ac_map_get(&profile->index->funcs, key, &found); key = ac_hash_mix(key, 1)) {
        const struct ac_func *have = &profile->funcs[found];
        if (have->name == func.name && have->file == func.file && have->first_line == first_line) {
            *ret_func = found;
            return 0;
        }
    }
    if (profile->func_count >= FUNC_CAP) {
        profile->limits |= AC_LIMIT_STACKS_MERGED;
        *ret_func = 0;
        return 0;
    }
    r = append_func(profile, &func, &found);
    if (r < 0)
        return r;
    *ret_func = found;
    return ac_map_put(&profile->index->funcs, key, found);
}

int ac_profile_frame(struct ac_profile *profile, uint32_t func, int32_t line, uint32_t *ret_frame) {
    uint64_t key = ((uint64_t)func << 32) | (uint32_t)line;
    if (ac_map_get(&profile->index->frames, key, ret_frame))
        return 0;
    if (profile->frame_count >= FRAME_CAP) {
        profile->limits |= AC_LIMIT_STACKS_MERGED;
        *ret_frame = 0;
        return 0;
    }
    int r = grow(profile, frame, profile->frame_count + 1);
    if (r < 0)
        return r;
    profile->frames[profile->frame_count] = (struct ac_frame){.func = func, .line = line};
    *ret_frame = (uint32_t)profile->frame_count++;
    return ac_map_put(&profile->index->frames, key, *ret_frame);
}

/* The child of `parent` for `frame`; at the cap the parent itself stands for it. */
static int intern_node(struct ac_profile *profile, uint32_t parent, uint32_t frame, uint32_t *ret_node) {
    struct ac_profile_index *index = profile->index;
    uint64_t key = ((uint64_t)parent << 32) | frame;
    if (ac_map_get(&index->nodes, key, ret_node))
        return 0;
    if (profile->node_count >= AC_CAP_NODES) {
        profile->limits |= AC_LIMIT_STACKS_MERGED;
        *ret_node = parent;
        return 0;
    }
    int r = grow(profile, node, profile->node_count + 1);
    if (r == 0)
        r = ac_grow(&index->node_traits, &index->node_traits_cap, profile->node_count + 1,
                    sizeof *index->node_traits);
    if (r < 0)
        return r;
    struct ac__trait trait = ac__activity_below(index->node_traits[parent], parent == 0,
                                                index->func_traits[profile->frames[frame].func]);
    uint32_t node = (uint32_t)profile->node_count++;
    profile->nodes[node] = (struct ac_node){.parent = parent,
                                            .frame = frame,
                                            .depth = profile->nodes[parent].depth + 1,
                                            .activity = trait.activity};
    index->node_traits[node] = trait;
    *ret_node = node;
    return ac_map_put(&index->nodes, key, node);
}

int ac_profile_stack(struct ac_profile *profile, const uint32_t *frames, size_t count, uint32_t *ret_node) {
    uint32_t node = 0;
    for (size_t i = count; i-- > 0;) {
        /* Too deep: the middle goes, the root and the leaf tell most. */
        if (count > AC_MAX_DEPTH && i >= AC_MAX_DEPTH / 2 && i < count - AC_MAX_DEPTH / 2)
            continue;
        uint32_t below;
        int r = intern_node(profile, node, frames[i], &below);
        if (r < 0)
            return r;
        if (below == node)
            break;
        node = below;
    }
    *ret_node = node;
    return 0;
}

static uint64_t cell_key(uint32_t thread, uint32_t node, unsigned state, unsigned kind) {
    return ac_hash_mix(((uint64_t)thread << 32) | node, state << 8 | kind);
}

int ac_profile_cell(struct ac_profile *profile, uint32_t thread, uint32_t node, enum ac_state state,
                    enum ac_kind kind, int64_t ns) {
    if (node != 0 && profile->cell_count >= AC_CAP_CELLS - CELLS_RESERVED) {
        uint32_t known;
        if (!ac_map_get(&profile->index->cells, cell_key(thread, node, state, kind), &known))
            node = 0;
    }
    uint64_t key = cell_key(thread, node, state, kind);
    uint32_t found;
    for (; ac_map_get(&profile->index->cells, key, &found); key = ac_hash_mix(key, 1)) {
        struct ac_cell *cell = &profile->cells[found];
        if (cell->thread == thread && cell->node == node && cell->state == state && cell->kind == kind) {
            cell->ns += ns;
            return 0;
        }
    }
    if (profile->cell_count >= AC_CAP_CELLS - CELLS_RESERVED)
        profile->limits |= AC_LIMIT_STACKS_MERGED;
    if (profile->cell_count >= AC_CAP_CELLS)
        return 0;
    int r = grow(profile, cell, profile->cell_count + 1);
    if (r < 0)
        return r;
    profile->cells[profile->cell_count] = (struct ac_cell){
        .thread = thread, .node = node, .state = (uint8_t)state, .kind = (uint8_t)kind, .ns = ns};
    return ac_map_put(&profile->index->cells, key, (uint32_t)profile->cell_count++);
}

int ac_profile_pair(struct ac_profile *profile, uint32_t holder, uint32_t waiter, int64_t ns) {
    uint64_t key = ((uint64_t)holder << 32) | waiter;
    uint32_t found;
    if (profile->pair_count >= AC_CAP_PAIRS - 1 && !ac_map_get(&profile->index->pairs, key, &found)) {
        /* Full: what is left shares one pair, of functions not known. */
        holder = waiter = UINT32_MAX;
        key = UINT64_MAX;
    }
    if (ac_map_get(&profile->index->pairs, key, &found)) {
        profile->pairs[found].ns += ns;
        return 0;
    }
    int r = grow(profile, pair, profile->pair_count + 1);
    if (r < 0)
        return r;
    profile->pairs[profile->pair_count] = (struct ac_gil_pair){.holder = holder, .waiter = waiter, .ns = ns};
    return ac_map_put(&profile->index->pairs, key, (uint32_t)profile->pair_count++);
}

/* Entry 0 of each table: "", the function "", its frame, the root. */
static int put_zeroes(struct ac_profile *profile) {
    ac_str empty;
    uint32_t func, frame;
    int r = append_string(profile, "", 0, &empty);
    if (r == 0)
        r = ac_profile_func(profile, "", "", 0, &func);
    if (r == 0)
        r = ac_profile_frame(profile, func, 0, &frame);
    if (r == 0)
        r = grow(profile, node, 1);
    if (r == 0)
        r = ac_grow(&profile->index->node_traits, &profile->index->node_traits_cap, 1,
                    sizeof *profile->index->node_traits);
    if (r == 0)
        profile->node_count = 1;
    return r;
}

int ac_profile_new(struct ac_profile **ret_profile) {
    struct ac_profile *profile = ac_calloc(1, sizeof *profile);
    if (!profile)
        return -ENOMEM;
    profile->exit_code = -1;
    int r = -ENOMEM;
    profile->index = ac_calloc(1, sizeof *profile->index);
    if (profile->index)
        r = put_zeroes(profile);
    if (r < 0) {
        ac_profile_free(profile);
        return r;
    }
    *ret_profile = profile;
    return 0;
}

static void index_free(struct ac_profile_index *index) {
    if (!index)
        return;
    ac_map_free(&index->strings);
    ac_map_free(&index->funcs);
    ac_map_free(&index->frames);
    ac_map_free(&index->nodes);
    ac_map_free(&index->cells);
    ac_map_free(&index->pairs);
    ac_free(index->func_traits);
    ac_free(index->node_traits);
    ac_free(index);
}

void ac_profile_free(struct ac_profile *profile) {
    if (!profile)
        return;
    index_free(profile->index);
    for (size_t i = 0; i < profile->string_count; i++)
        ac_free(profile->strings[i]);
    ac_free(profile->strings);
    ac_free(profile->funcs);
    ac_free(profile->frames);
    ac_free(profile->nodes);
    ac_free(profile->processes);
    ac_free(profile->threads);
    ac_free(profile->cells);
    ac_free(profile->pairs);
    ac_free(profile->segments);
    ac_free(profile->busy);
    ac_free(profile);
}

const char *ac_profile_text(const struct ac_profile *profile, ac_str str) {
    if (str >= profile->string_count || !profile->strings[str])
        return "";
    return profile->strings[str];
}

double ac_profile_cores_used(const struct ac_profile *profile) {
    return profile->wall_ns > 0 ? (double)profile->cpu_ns / (double)profile->wall_ns : 0.0;
}

void ac_profile_states(const struct ac_profile *profile, int64_t ret_states_ns[AC_STATE_COUNT]) {
    memset(ret_states_ns, 0, AC_STATE_COUNT * sizeof *ret_states_ns);
    for (size_t i = 0; i < profile->thread_count; i++)
        for (int state = 0; state < AC_STATE_COUNT; state++)
            ret_states_ns[state] += profile->threads[i].states_ns[state];
}
