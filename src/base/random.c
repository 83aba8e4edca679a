/* random.c - xoroshiro128+ (Blackman and Vigna, 2018, public domain), seeded by splitmix64. For jitter only.
 */
#include "base/base.h"

void ac_random_seed(struct ac_random *random, uint64_t seed) {
    random->state[0] = ac_hash_mix(seed, 1);
    random->state[1] = ac_hash_mix(seed, 2) | 1; /* never all zero */
}

static uint64_t rotate(uint64_t x, int bits) {
    return x << bits | x >> (64 - bits);
}

uint64_t ac_random_next(struct ac_random *random) {
    uint64_t s0 = random->state[0];
    uint64_t s1 = random->state[1];
    uint64_t result = s0 + s1;
    s1 ^= s0;
    random->state[0] = rotate(s0, 24) ^ s1 ^ (s1 << 16);
    random->state[1] = rotate(s1, 37);
    return result;
}

double ac_random_unit(struct ac_random *random) {
    return (double)(ac_random_next(random) >> 11) * 0x1p-53;
}
