/* classify.c - system call number and arguments to a state; see classify.h.
 *
 * Two const tables, one an architecture. What is not listed is AC_OTHER, or AC_DISK when the kernel says that
 * the sleep is uninterruptible. */
#include "probe/classify.h"

enum call {
    CALL_OTHER,
    CALL_FILE,   /* read, write: a socket or pipe, or a file when the sleep is uninterruptible */
    CALL_DISK,   /* only ever a file */
    CALL_IO,     /* socket, pipe, epoll */
    CALL_PEER,   /* one connected socket */
    CALL_POLL,   /* args: fds, nfds; no fds is a sleep */
    CALL_SELECT, /* args: nfds, read, write, except; no fds is a sleep */
    CALL_SLEEP,
    CALL_LOCK,  /* semaphores, flock */
    CALL_FCNTL, /* a lock when it waits */
    CALL_FUTEX,
    CALL_RESTART, /* restart_syscall: the arguments are those of the call that was interrupted */
};

struct entry {
    uint16_t nr;
    uint8_t call;
};

static const struct entry x86_64[] = {
    {0, CALL_FILE},    {1, CALL_FILE},   {7, CALL_POLL},      {17, CALL_DISK},    {18, CALL_DISK},
    {19, CALL_FILE},   {20, CALL_FILE},  {23, CALL_SELECT},   {26, CALL_DISK},    {35, CALL_SLEEP},
    {40, CALL_FILE},   {42, CALL_PEER},  {43, CALL_IO},       {44, CALL_PEER},    {45, CALL_PEER},
    {46, CALL_PEER},   {47, CALL_PEER},  {65, CALL_LOCK},     {69, CALL_IO},      {70, CALL_IO},
    {72, CALL_FCNTL},  {73, CALL_LOCK},  {74, CALL_DISK},     {75, CALL_DISK},    {162, CALL_DISK},
    {202, CALL_FUTEX}, {208, CALL_DISK}, {219, CALL_RESTART}, {220, CALL_LOCK},   {230, CALL_SLEEP},
    {232, CALL_IO},    {242, CALL_IO},   {243, CALL_IO},      {270, CALL_SELECT}, {271, CALL_POLL},
    {275, CALL_FILE},  {276, CALL_IO},   {277, CALL_DISK},    {278, CALL_IO},     {281, CALL_IO},
    {288, CALL_IO},    {295, CALL_DISK}, {296, CALL_DISK},    {299, CALL_IO},     {306, CALL_DISK},
    {307, CALL_IO},    {326, CALL_DISK}, {327, CALL_FILE},    {328, CALL_FILE},   {333, CALL_DISK},
    {426, CALL_IO},    {441, CALL_IO},   {449, CALL_FUTEX},   {455, CALL_FUTEX},
};

static const struct entry aarch64[] = {
    {4, CALL_DISK},      {22, CALL_IO},    {25, CALL_FCNTL}, {32, CALL_LOCK},   {63, CALL_FILE},
    {64, CALL_FILE},     {65, CALL_FILE},  {66, CALL_FILE},  {67, CALL_DISK},   {68, CALL_DISK},
    {69, CALL_DISK},     {70, CALL_DISK},  {71, CALL_FILE},  {72, CALL_SELECT}, {73, CALL_POLL},
    {75, CALL_IO},       {76, CALL_FILE},  {77, CALL_IO},    {81, CALL_DISK},   {82, CALL_DISK},
    {83, CALL_DISK},     {84, CALL_DISK},  {98, CALL_FUTEX}, {101, CALL_SLEEP}, {115, CALL_SLEEP},
    {128, CALL_RESTART}, {182, CALL_IO},   {183, CALL_IO},   {188, CALL_IO},    {189, CALL_IO},
    {192, CALL_LOCK},    {193, CALL_LOCK}, {202, CALL_IO},   {203, CALL_PEER},  {206, CALL_PEER},
    {207, CALL_PEER},    {211, CALL_PEER}, {212, CALL_PEER}, {227, CALL_DISK},  {242, CALL_IO},
    {243, CALL_IO},      {267, CALL_DISK}, {269, CALL_IO},   {285, CALL_DISK},  {286, CALL_FILE},
    {287, CALL_FILE},    {292, CALL_DISK}, {426, CALL_IO},   {441, CALL_IO},    {449, CALL_FUTEX},
    {455, CALL_FUTEX},
};

static enum call find(const struct entry *table, size_t count, int64_t nr) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table[middle].nr == nr)
            return (enum call)table[middle].call;
        if (table[middle].nr < nr)
            low = middle + 1;
        else
            high = middle;
    }
    return CALL_OTHER;
}

static enum call call_of(enum ac_arch arch, int64_t nr) {
    return arch == AC_ARCH_AARCH64 ? find(aarch64, AC_COUNT(aarch64), nr)
                                   : find(x86_64, AC_COUNT(x86_64), nr);
}

/* The low bits of a futex operation: WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2. */
static bool is_futex_wait(uint64_t op) {
    uint64_t command = op & 0x7f;
    return (op & ~UINT64_C(0x1ff)) == 0 &&
           (command == 0 || command == 6 || command == 9 || command == 11 || command == 13);
}

/* restart_syscall stands for the calls that time out relatively: futex, poll, nanosleep. Only a futex has an
 * aligned address and then a waiting operation (with the private flag, as libc and CPython set it). */
static enum call restarted(const struct ac_syscall_state *call) {
    uint64_t first = call->args[0], second = call->args[1];
    if (first > 4096 && first % 4 == 0 && (second & 128) && is_futex_wait(second))
        return CALL_FUTEX;
    if (first <= 16 && call->args[2] > 4096)
        return CALL_SLEEP; /* clock_nanosleep: clock, flags, request */
    return CALL_POLL;
}

static enum call seen_through(enum ac_arch arch, const struct ac_syscall_state *call) {
    enum call kind = call_of(arch, call->nr);
    return kind == CALL_RESTART ? restarted(call) : kind;
}

bool ac_classify_futex(enum ac_arch arch, const struct ac_syscall_state *call, uint64_t *ret_address) {
    if (call->running || seen_through(arch, call) != CALL_FUTEX || call->nr == 449)
        return false;
    *ret_address = call->args[0];
    return true;
}

bool ac_classify_wants_stat(enum ac_arch arch, const struct ac_syscall_state *call) {
    enum call kind = seen_through(arch, call);
    return kind == CALL_FILE || kind == CALL_OTHER;
}

enum ac_state ac_classify(enum ac_arch arch, const struct ac_syscall_state *call, char letter) {
    if (letter == 'T' || letter == 't')
        return AC_OTHER;
    switch (seen_through(arch, call)) {
    case CALL_FILE: return letter == 'D' ? AC_DISK : AC_IO;
    case CALL_DISK: return AC_DISK;
    case CALL_PEER:
    case CALL_IO: return AC_IO;
    case CALL_POLL: return call->args[1] == 0 ? AC_SLEEP : AC_IO;
    case CALL_SELECT: return call->args[0] == 0 ? AC_SLEEP : AC_IO;
    case CALL_SLEEP: return AC_SLEEP;
    case CALL_LOCK:
    case CALL_FCNTL:
    case CALL_FUTEX: return AC_LOCK;
    case CALL_RESTART:
    case CALL_OTHER: break;
    }
    return letter == 'D' ? AC_DISK : AC_OTHER;
}

bool ac_classify_peer(enum ac_arch arch, const struct ac_syscall_state *call) {
    enum call kind = seen_through(arch, call);
    return kind == CALL_PEER || (kind == CALL_POLL && call->args[1] == 1);
}

bool ac_classify_epoll(enum ac_arch arch, const struct ac_syscall_state *call, int *ret_fd) {
    bool wait = arch == AC_ARCH_AARCH64 ? call->nr == 22 : call->nr == 232 || call->nr == 281;
    if (call->running || !(wait || call->nr == 441))
        return false;
    *ret_fd = (int)call->args[0];
    return true;
}

bool ac_classify_epoll_timeout(enum ac_arch arch, const struct ac_syscall_state *call, int64_t *ret_ns) {
    int fd;
    if (!ac_classify_epoll(arch, call, &fd) || call->nr == 441) /* there it is in memory */
        return false;
    *ret_ns = (int64_t)(int32_t)call->args[3] * 1000000; /* milliseconds */
    return *ret_ns > 0;
}

bool ac_classify_file(enum ac_arch arch, const struct ac_syscall_state *call, int *ret_fd) {
    if (call->running || seen_through(arch, call) != CALL_FILE)
        return false;
    *ret_fd = (int)call->args[0];
    return true;
}
