/* copy.c - moving large payloads at memory speed. Measured on the reference VM: memcpy into warm pages 11
 * GB/s, non-temporal stores 17-19, two threads 22-24; into pages that do not exist yet memcpy 1.4 (a fault
 * every 4 KiB), pwrite to the memfd 2.8-3.0. Below a megabyte or so non-temporal loses: the reader finds
 * nothing in its cache. */
#include <string.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "pool/segment.h"

#define STREAM_FROM  (UINT64_C(2) << 20)  /* bytes from which stores bypass the cache */
#define THREADS_FROM (UINT64_C(16) << 20) /* bytes from which a second thread pays for its start */
#define PWRITE_FROM  (UINT64_C(64) << 10) /* cold bytes from which a system call beats faults */

#if defined(__x86_64__)
static void stream(char *to, const char *from, size_t size) {
    size_t head = ac_min((size_t)(-(uintptr_t)to & 63), size);
    memcpy(to, from, head);
    to += head;
    from += head;
    size -= head;
    for (; size >= 64; size -= 64, to += 64, from += 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)from);
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(from + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(from + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(from + 48));
        _mm_stream_si128((__m128i *)(void *)to, a);
        _mm_stream_si128((__m128i *)(void *)(to + 16), b);
        _mm_stream_si128((__m128i *)(void *)(to + 32), c);
        _mm_stream_si128((__m128i *)(void *)(to + 48), d);
    }
    _mm_sfence(); /* streamed stores are not ordered by the release that publishes the block */
    memcpy(to, from, size);
}
#else
static void stream(char *to, const char *from, size_t size) {
    memcpy(to, from, size);
}
#endif

struct half {
    char *to;
    const char *from;
    size_t size;
};

static void *copy_half(void *arg) {
    struct half *half = arg;
    stream(half->to, half->from, half->size);
    return NULL;
}

static void copy_warm(char *to, const char *from, size_t size, uint32_t cpus) {
    pthread_t thread;
    size_t middle = size / 2 / 64 * 64;
    struct half second = {to + middle, from + middle, size - middle};
    if (size < STREAM_FROM) {
        memcpy(to, from, size);
    } else if (size < THREADS_FROM || cpus < 2 || pthread_create(&thread, NULL, copy_half, &second) != 0) {
        stream(to, from, size);
    } else {
        stream(to, from, middle);
        pthread_join(thread, NULL);
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
