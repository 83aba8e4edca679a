/* replay.c - runs a fuzz target without libFuzzer: over the files named, or over made-up inputs, the same
 * each time. So every fuzz target is a quick unit test of any build as well. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "os/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 65536u
#define MADE_UP   3000

/* Words that look like small numbers, pointers into the input, or anything; that is what the targets read. */
static size_t input_make(struct ac_random *random, uint8_t *data) {
    size_t size = 64 + ac_random_next(random) % 4096;
    for (size_t at = 0; at + 8 <= size; at += 8) {
        uint64_t word = ac_random_next(random), kind = ac_random_next(random) % 8;
        if (kind < 3)
            word = 0x100000 + word % size / 8 * 8;
        else if (kind < 5)
            word %= 256;
        else if (kind == 5)
            word = 0;
        memcpy(data + at, &word, 8);
    }
    data[0] = (uint8_t)ac_random_next(random);
    data[1] = (uint8_t)ac_random_next(random);
    return size;
}

static int replay_file(const char *path) {
    struct ac_buf buf = {0};
    int err = ac_file_read(path, 1u << 24, &buf);
    if (err == 0)
        LLVMFuzzerTestOneInput((const uint8_t *)buf.data, buf.len);
    ac_buf_free(&buf);
    return err;
}

int main(int argc, char **argv) {
    static uint8_t data[INPUT_MAX];
    struct ac_random random;
    ac_random_seed(&random, 20261123);
    for (int i = 1; i < argc; i++)
        if (replay_file(argv[i]) < 0)
            return 1;
    for (int i = 0; argc == 1 && i < MADE_UP; i++) {
        size_t size = input_make(&random, data);
        uint8_t *copy = malloc(size); /* its own block, so that a read past the end is seen */
        if (!copy)
            return 1;
        memcpy(copy, data, size);
        LLVMFuzzerTestOneInput(copy, size);
        free(copy);
    }
    return 0;
}
