/* pool_work.h - workers for the tests of the pool, and shorthands. A message's kind says what to do with it.
 */
#ifndef AC_TEST_POOL_WORK_H
#define AC_TEST_POOL_WORK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "allcores/pool.h"

enum work {
    WORK_ECHO = 1, /* answer with the same parts */
    WORK_SLEEP,    /* part 0: int64_t ns; then answers nothing */
    WORK_CRASH,    /* part 0: int signal, or 1000 + exit code */
    WORK_SUM,      /* answer the sum of all bytes, uint64_t */
    WORK_MAKE,     /* part 0: uint64_t size: answers so many bytes of 0x5a */
    WORK_ITEMS,    /* part 0: uint32_t item to crash at; stages a uint32_t an item */
    WORK_KEEP,     /* keep a view of the arguments; a second one drops the first */
    WORK_LEAVE,    /* answer, then leave in order */
    WORK_WILD,     /* part 0: uint64_t seed: scribble over the segment, then answer */
    WORK_WILD_CRASH,
    WORK_BAD_RESULT, /* part 0: uint64_t which: answer with an offset or length that cannot be */
    WORK_SPIN,       /* part 0: int64_t ns of CPU */
    WORK_CONFIG,     /* answer what the parent has set as the configuration */
    WORK_SHARED,     /* part 0: uint64_t key: answer that shared message */
    WORK_GIVE,       /* part 0 ("given" on the way back): uint64_t: 1: a head that says too much, 2: only
                      * the first part; adds 1 to the last byte; answers with the block, "kept" where it cannot */
    WORK_RESERVE,    /* part 0: uint64_t size: take so much room and give it back; then answers nothing */
};

#if defined(__SANITIZE_THREAD__)
#define WORK_TSAN 1
#elif defined(__has_feature)
#define WORK_TSAN __has_feature(thread_sanitizer)
#else
#define WORK_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WORK_ASAN 1
#elif defined(__has_feature)
#define WORK_ASAN __has_feature(address_sanitizer)
#else
#define WORK_ASAN 0
#endif

/* TSan leaves a program little more than a terabyte in all. 0: the engine's own choice. */
#define WORK_CAPACITY (WORK_TSAN ? UINT64_C(8) << 30 : 0)

/* The loop of a worker; fits struct ac_fork. */
int work_main(const struct ac_spawn *spawn, void *arg);

/* A pool whose workers are forks. */
struct ac_pool *work_pool(int workers, bool respawn);
struct ac_pool *work_pool_with(int workers, struct ac_pool_options options);

uint64_t work_submit(struct ac_pool *pool, uint16_t kind, const void *data, size_t size);
/* Waits; asserts that it was DONE; returns how many bytes part 0 has, copied to buffer as far as it fits. */
size_t work_result(struct ac_pool *pool, uint64_t ticket, void *buffer, size_t size);
/* Waits; the state it came to. */
enum ac_task_state work_outcome(struct ac_pool *pool, uint64_t ticket);
/* A wild write: the task's word says now that it is in this phase. */
void work_overwrite(struct ac_pool *pool, uint64_t ticket, enum ac_task_state phase);
void work_valid(struct ac_pool *pool);
void work_wait_idle(struct ac_pool *pool, int workers);

/* What this process has of the world before a case; afterwards it must have that again, and no children. */
struct work_ledger {
    int fds, segments;
};
void work_ledger_open(struct work_ledger *ledger);
void work_ledger_close(const struct work_ledger *ledger);

/* A zygote forked from here, and options for pools whose workers it forks. stop: it ends by itself then. */
struct work_zygote {
    struct ac_zygote *zygote;
    pid_t pid;
};
struct ac_pool_options work_zygote_start(struct work_zygote *ret);
void work_zygote_stop(struct work_zygote *zygote);

#endif
