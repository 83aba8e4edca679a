/* bigpage THREADS SECONDS [RUNS]: the page of a made-up run on stdout; with RUNS, that of so many such runs
 * and one that failed. */
#include <stdio.h>
#include <stdlib.h>

#include "made_up.h"

int main(int argc, char **argv) {
    struct ac_profile *profile = NULL;
    struct ac_buf buf = {0};
    if (argc < 3 || made_up_profile((uint32_t)atoi(argv[1]), atoi(argv[2]), &profile)) {
        return 1;
    }
    int err = argc > 3 ? made_up_race(profile, (size_t)atoi(argv[3]), &buf) : made_up_page(profile, &buf);
    bool ok = !err && fwrite(buf.data, 1, buf.len, stdout) == buf.len;
    ac_buf_free(&buf);
    ac_profile_free(profile);
    return ok ? 0 : 1;
}
