/* fuzz_recording.c - .allcores files. The first byte chooses: the rest is a file, or edits to the body of a
 * valid recording (three bytes each: where, and what to change there by), so that the fuzzer gets past zlib.
 * A profile that is accepted is diagnosed and told in every format: valid means safe for all of them. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "report/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADER 24 /* of the file, before the packed body */

static void tell(const struct ac_profile *profile) {
    const struct ac_text_style style = {.width = 80, .unicode = true};
    struct ac_diagnosis *diagnosis = NULL;
    struct ac_buf buf = {0};
    if (ac_diagnose(profile, NULL, NULL, &diagnosis) == 0) {
        ac_report_text(profile, diagnosis, &style, &buf);
        ac_report_json(profile, diagnosis, &buf);
        ac_report_pftrace(profile, diagnosis, &buf);
        const struct ac_run run = {"run", profile, diagnosis};
        ac_compare_text((struct ac_run[]){run, run}, &style, &buf);
        ac_compare_json((struct ac_run[]){run, run}, &buf);
        ac_compare_html((struct ac_run[]){run, run}, &(struct ac_html_options){0}, &buf);
    }
    ac_report_gecko(profile, &buf);
    ac_report_speedscope(profile, &buf);
    ac_report_folded(profile, &buf);
    ac_report_dump_json(profile, &buf);
    ac_buf_free(&buf);
    ac_diagnosis_free(diagnosis);
}

static void read_one(const void *file, size_t size) {
    struct ac_profile *profile = NULL;
    if (ac_recording_read(file, size, &profile) == 0) {
        ac_assert(ac_profile_valid(profile));
        tell(profile);
        ac_profile_free(profile);
    }
}

/* Two threads of one process, a stack of two frames, a cell, a pair, a segment, and what two CPUs did. */
static struct ac_profile *small_profile(void) {
    struct ac_profile *p = NULL;
    uint32_t funcs[2], frames[2], node;
    if (ac_profile_new(&p) < 0)
        return NULL;
    ac_profile_func(p, "work", "app.py", 1, &funcs[0]);
    ac_profile_func(p, "main", "app.py", 9, &funcs[1]);
    ac_profile_frame(p, funcs[0], 3, &frames[0]);
    ac_profile_frame(p, funcs[1], 12, &frames[1]);
    ac_profile_stack(p, frames, 2, &node);
    ac_grow(&p->processes, &p->process_cap, 1, sizeof(*p->processes));
    ac_grow(&p->threads, &p->thread_cap, 2, sizeof(*p->threads));
    p->wall_ns = p->processes[0].to_ns = AC_NS_PER_S;
    p->sampling.rate_hz = 200;
    p->cpus.online = p->cpus.affinity = 2;
    p->cpus.usable = 2;
    p->process_count = 1;
    for (p->thread_count = 0; p->thread_count < 2; p->thread_count++) {
        p->threads[p->thread_count] =
            (struct ac_thread){.merged = 1, .to_ns = AC_NS_PER_S, .alive_ns = AC_NS_PER_S};
        p->threads[p->thread_count].states_ns[AC_PYTHON] = AC_NS_PER_S;
    }
    ac_profile_cell(p, 0, node, AC_PYTHON, AC_KIND_BYTECODE, AC_NS_PER_S);
    ac_profile_pair(p, funcs[0], funcs[1], 1000);
    ac_profile_segment(p, &(struct ac_segment){.to_ns = AC_NS_PER_S, .node = node, .cpu = 1});
    for (int16_t cpu = 0; cpu < 2; cpu++) {
        ac_profile_busy(p, &(struct ac_busy){.to_ns = AC_NS_PER_S, .cpu = cpu, .share = 500}, 2);
    }
    return p;
}

static struct ac_buf valid, body_of_valid; /* that profile's recording; its body, unpacked */

static void make_valid(void) {
    struct ac_profile *profile = valid.len ? NULL : small_profile();
    if (profile) {
        uLongf len = 1u << 20;
        ac_recording_write(profile, &valid);
        ac_grow(&body_of_valid.data, &body_of_valid.cap, len, 1);
        uncompress((Bytef *)body_of_valid.data, &len, (const Bytef *)valid.data + HEADER, valid.len - HEADER);
        body_of_valid.len = len;
        ac_profile_free(profile);
    }
}

static void read_edited(const uint8_t *edits, size_t size) {
    make_valid();
    size_t len = body_of_valid.len;
    unsigned char *body = malloc(len);
    uLongf packed = compressBound(len);
    unsigned char *file = malloc(HEADER + packed);
    if (body && file) {
        memcpy(body, body_of_valid.data, len);
        for (size_t i = 0; i + 3 <= size; i += 3)
            body[(size_t)(edits[i] | edits[i + 1] << 8) % len] ^= edits[i + 2];
        memcpy(file, valid.data, HEADER);
        compress2(file + HEADER, &packed, body, len, 1);
        read_one(file, HEADER + packed);
    }
    free(body);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    if (data[0] % 4 == 0)
        read_one(data + 1, size - 1);
    else
        read_edited(data + 1, ac_min(size - 1, (size_t)3 * (data[0] % 16 + 1)));
    return 0;
}
