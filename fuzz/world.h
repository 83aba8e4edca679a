/* world.h - a process whose memory is ours: process_vm_readv answers from a buffer, for fuzz targets and
 * tests. Included by one file of a program. */
#ifndef AC_FUZZ_WORLD_H
#define AC_FUZZ_WORLD_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "os/syscalls.h"

static struct {
    const uint8_t *data;
    size_t size;
    uint64_t base;        /* address of data[0] */
    bool folded;          /* every address is readable: it counts modulo size */
    void (*before)(void); /* called before each range is read */
    unsigned long calls;
} world;

static bool world_copy(uint64_t address, uint8_t *to, size_t size) {
    if (!world.folded) {
        if (address < world.base || address - world.base > world.size ||
            world.size - (address - world.base) < size)
            return false;
        memcpy(to, world.data + (address - world.base), size);
        return true;
    }
    for (size_t i = 0; i < size; i++)
        to[i] = world.data[(address + i) % world.size];
    return true;
}

static ssize_t world_readv(pid_t pid, const struct iovec *local, unsigned long n_local,
                           const struct iovec *remote, unsigned long n_remote, unsigned long flags) {
    ssize_t total = 0;
    (void)pid;
    (void)flags;
    world.calls++;
    for (unsigned long i = 0; i < n_local && i < n_remote; i++) {
        if (world.before)
            world.before();
        if (!world_copy((uint64_t)(uintptr_t)remote[i].iov_base, local[i].iov_base, remote[i].iov_len)) {
            if (total == 0) {
                errno = EFAULT;
                return -1;
            }
            break;
        }
        total += (ssize_t)remote[i].iov_len;
    }
    return total;
}

static void world_install(const void *data, size_t size, uint64_t base, bool folded) {
    memset(&world, 0, sizeof world);
    world.data = data;
    world.size = size;
    world.base = base;
    world.folded = folded;
    ac_sys.process_vm_readv = world_readv;
}

#endif
