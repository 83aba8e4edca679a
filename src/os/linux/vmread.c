/* vmread.c - memory of another process by process_vm_readv, which never stops it. */
#include <limits.h>

#include "os/os.h"
#include "os/syscalls.h"

/* ENOMEM is process_vm_readv's word for a vanished address space as well as for our own shortage. */
static int vm_error(int error) {
    return error == ENOMEM ? -ESRCH : -error;
}

/* How many ranges the first `bytes` bytes fill whole. */
static int whole_ranges(const struct iovec *remote, size_t n, size_t bytes) {
    int whole = 0;
    for (size_t i = 0; i < n && bytes >= remote[i].iov_len; i++) {
        bytes -= remote[i].iov_len;
        whole++;
    }
    return whole;
}

int ac_vm_read_many(pid_t pid, const struct iovec *local, const struct iovec *remote, size_t n) {
    int done = 0;
    for (size_t from = 0; from < n; from += IOV_MAX) {
        size_t count = ac_min(n - from, (size_t)IOV_MAX);
        ssize_t got = ac_sys.process_vm_readv(pid, local + from, count, remote + from, count, 0);
        if (got < 0) {
            return done ? done : vm_error(errno);
        }
        int whole = whole_ranges(remote + from, count, (size_t)got);
        done += whole;
        if ((size_t)whole < count) {
            return done ? done : -EFAULT;
        }
    }
    return done;
}

int ac_vm_read(pid_t pid, uint64_t address, void *buffer, size_t size) {
    struct iovec local = {.iov_base = buffer, .iov_len = size};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
    int got = ac_vm_read_many(pid, &local, &remote, 1);
    return got < 0 ? got : got == 1 ? 0 : -EFAULT;
}
