/* memfd.c - anonymous memory with a descriptor. It is made at its full size at once: pages exist only where
 * they were touched, so that "growing" needs no call and nobody can meet a changed size (SIGBUS) in mid-read.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "os/shared.h"
#include "os/syscalls.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int ac_memfd_create(const char *name, uint64_t size, int *ret_fd) {
    struct rlimit limit;
    if (ac_sys.prlimit(RLIMIT_FSIZE, NULL, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        size > limit.rlim_cur) {
        return -EFBIG; /* ftruncate would kill us for it (SIGXFSZ) */
    }
    int fd = ac_sys.memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -errno;
    }
    if (ac_sys.ftruncate(fd, (off_t)size) != 0 || ac_sys.fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        int error = -errno;
        ac_sys.close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

int ac_memfd_check(int fd, uint64_t *ret_size) {
    struct stat stat;
    int seals = ac_sys.fcntl(fd, F_GET_SEALS, 0);
    if (seals < 0 || (seals & SEALS) != SEALS) {
        return seals < 0 ? -errno : -EINVAL;
    }
    if (ac_sys.fstat(fd, &stat) != 0) {
        return -errno;
    }
    *ret_size = (uint64_t)stat.st_size;
    return 0;
}

int ac_memfd_map(int fd, uint64_t size, void **ret_base) {
    void *base = ac_sys.mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) {
        return -errno;
    }
    madvise(base, (size_t)size, MADV_DONTDUMP); /* a hint: a core file must not hold a terabyte of holes */
    *ret_base = base;
    return 0;
}

void ac_memfd_unmap(void *base, uint64_t size) {
    ac_sys.munmap(base, (size_t)size);
}

int ac_memfd_punch(int fd, uint64_t offset, uint64_t size) {
    int got;
    do {
        got = ac_sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    } while (got != 0 && errno == EINTR);
    return got == 0 ? 0 : -errno;
}

int ac_memfd_write(int fd, uint64_t offset, const void *data, size_t size) {
    const char *from = data;
    while (size > 0) {
        ssize_t put = ac_sys.pwrite(fd, from, size, (off_t)offset);
        if (put <= 0) {
            if (put < 0 && errno == EINTR) {
                continue;
            }
            return put < 0 ? -errno : -EIO;
        }
        from += put;
        offset += (uint64_t)put;
        size -= (size_t)put;
    }
    return 0;
}

uint64_t ac_memory_total(void) {
    struct sysinfo info;
    return sysinfo(&info) == 0 ? ((uint64_t)info.totalram + info.totalswap) * info.mem_unit : UINT64_MAX;
}

int64_t ac_memfd_used(int fd) {
    struct stat stat;
    return ac_sys.fstat(fd, &stat) == 0 ? (int64_t)stat.st_blocks * 512 : -errno;
}
