/* copy.c - moving large payloads at memory speed. Measured on the reference VM: memcpy into warm pages 11
 * GB/s, non-temporal stores 9, and 11 when they walk four pages side by side (four streams for the
 * prefetcher, which stops at a page's end), two threads of that 20-21; into pages that do not exist yet
 * memcpy 1.4 (a fault every 4 KiB), pwrite to the memfd 2.8-3.0. Below a megabyte or so non-temporal loses:
 * the reader finds nothing in its cache. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "base/atomics.h"
#include "os/shared.h"
#include "pool/segment.h"

#define STREAM_FROM  (UINT64_C(2) << 20)  /* bytes from which stores bypass the cache */
#define THREADS_FROM (UINT64_C(16) << 20) /* bytes from which a second thread pays for its start */
#define PWRITE_FROM  (UINT64_C(64) << 10) /* cold bytes from which a system call beats faults */

#if defined(__x86_64__)
static inline void stream_line(char *to, const char *from) {
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)from);
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(from + 16));
    __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(from + 32));
    __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(from + 48));
    _mm_stream_si128((__m128i *)(void *)to, a);
    _mm_stream_si128((__m128i *)(void *)(to + 16), b);
    _mm_stream_si128((__m128i *)(void *)(to + 32), c);
    _mm_stream_si128((__m128i *)(void *)(to + 48), d);
}

static void stream(char *to, const char *from, size_t size) {
    enum { LINE = 64, STEP = (int)AC__PAGE, ROUND = 4 * STEP };
    size_t head = ac_min((size_t)(-(uintptr_t)to & (LINE - 1)), size);
    memcpy(to, from, head);
    to += head;
    from += head;
    size -= head;
    for (; size >= ROUND; size -= ROUND, to += ROUND, from += ROUND) {
        for (size_t at = 0; at < STEP; at += LINE) {
            stream_line(to + at, from + at);
            stream_line(to + STEP + at, from + STEP + at);
            stream_line(to + 2 * STEP + at, from + 2 * STEP + at);
            stream_line(to + 3 * STEP + at, from + 3 * STEP + at);
        }
    }
    for (; size >= LINE; size -= LINE, to += LINE, from += LINE) {
        stream_line(to, from);
    }
    _mm_sfence(); /* streamed stores are not ordered by the release that publishes the block */
    memcpy(to, from, size);
}
#else
static void stream(char *to, const char *from, size_t size) {
    memcpy(to, from, size);
}
#endif

/* One copy by two threads: each takes the next piece until there is none, so that one that starts late, or
 * shares its CPU, does less. What the second wrote is ours to publish: its end is joined. */
struct job {
    char *to;
    const char *from;
    size_t size;
    _Atomic size_t next;
};
enum { PIECE = 1 << 20 };

static void *take_pieces(void *arg) {
    struct job *job = arg;
    for (;;) {
        size_t at = atomic_fetch_add_explicit(&job->next, PIECE, memory_order_relaxed);
        if (at >= job->size) {
            return NULL;
        }
        stream(job->to + at, job->from + at, ac_min(job->size - at, (size_t)PIECE));
    }
}

/* The program's signals are for its own threads. */
static bool start_quiet(pthread_t *ret_thread, void *(*run)(void *), void *arg) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) {
        return false;
    }
    pthread_attr_t elsewhere;
    bool placed = pthread_attr_init(&elsewhere) == 0;
    cpu_set_t cpus;
    int here = ac_cpu_now();
    if (placed && here >= 0 && here < CPU_SETSIZE && sched_getaffinity(0, sizeof(cpus), &cpus) == 0 &&
        CPU_COUNT(&cpus) >
            1) { /* queued behind us it would do nothing until the next balancing, 4 ms later */
        CPU_CLR((size_t)here, &cpus);
        pthread_attr_setaffinity_np(&elsewhere, sizeof(cpus), &cpus);
    }
    bool started = pthread_create(ret_thread, placed ? &elsewhere : NULL, run, arg) == 0;
    if (placed) {
        pthread_attr_destroy(&elsewhere);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void copy_warm(char *to, const char *from, size_t size, uint32_t cpus) {
    pthread_t thread;
    if (size < STREAM_FROM) {
        memcpy(to, from, size);
    } else if (size < THREADS_FROM || cpus < 2) {
        stream(to, from, size);
    } else {
        struct job job = {.to = to, .from = from, .size = size};
        bool helped = start_quiet(&thread, take_pieces, &job);
        take_pieces(&job);
        if (helped) {
            pthread_join(thread, NULL);
        }
    }
}

int ac__copy_in(struct ac__segment *segment, uint64_t offset, const void *data, size_t size,
                uint64_t touched) {
    uint64_t end = offset + size;
    uint64_t cold = ac_max(ac_min(ac__round_up(touched, AC__PAGE), end), offset);
    if (end - cold < PWRITE_FROM) {
        cold = end;
    }
    size_t warm = (size_t)(cold - offset);
    if (warm > 0) {
        copy_warm(segment->base + offset, data, warm, segment->head->usable_cpus);
    }
    return cold < end ? ac_memfd_write(segment->fd, cold, (const char *)data + warm, size - warm) : 0;
}
