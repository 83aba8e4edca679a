/* System calls to states, both architectures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe/classify.h"

enum { X86 = AC_ARCH_X86_64, ARM = AC_ARCH_AARCH64 };
#define STACK                     UINT64_C(0x7ffd12345678)
#define FUTEX_WAIT_BITSET_PRIVATE 0x89

struct row {
    int arch;
    int64_t nr;
    uint64_t args[3];
    char letter;
    enum ac_state state;
};

static const struct row rows[] = {
    {X86, 0, {3}, 'S', AC_IO},              /* read a pipe */
    {X86, 0, {3}, 'D', AC_DISK},            /* read a file */
    {X86, 17, {3}, 0, AC_DISK},             /* pread64 */
    {X86, 74, {3}, 'D', AC_DISK},           /* fsync */
    {X86, 7, {STACK, 1}, 0, AC_IO},         /* poll */
    {X86, 7, {0, 0}, 0, AC_SLEEP},          /* poll without fds */
    {X86, 23, {0}, 0, AC_SLEEP},            /* select without fds: time.sleep before 3.11 */
    {X86, 23, {5, STACK}, 0, AC_IO},        /* select */
    {X86, 230, {1, 1, STACK}, 0, AC_SLEEP}, /* clock_nanosleep: time.sleep */
    {X86, 232, {4}, 0, AC_IO},              /* epoll_wait */
    {X86, 281, {4}, 0, AC_IO},
    {X86, 45, {4}, 0, AC_IO}, /* recvfrom */
    {X86, 202, {STACK, FUTEX_WAIT_BITSET_PRIVATE}, 0, AC_LOCK},
    {X86, 61, {0}, 0, AC_OTHER}, /* wait4 */
    {X86, 61, {0}, 'T', AC_OTHER},
    {X86, 230, {1, 1, STACK}, 'T', AC_OTHER}, /* stopped */
    {X86, -1, {0}, 'D', AC_DISK},             /* page fault that reads a file */
    {X86, -1, {0}, 'S', AC_OTHER},
    {X86, 257, {0}, 'D', AC_DISK}, /* openat */
    {X86, 73, {3}, 0, AC_LOCK},    /* flock */
    {X86, 99999, {0}, 0, AC_OTHER},
    {X86, 219, {STACK, FUTEX_WAIT_BITSET_PRIVATE}, 0, AC_LOCK},
    {X86, 219, {STACK, 1}, 0, AC_IO}, /* a poll that was stopped and continued */
    {X86, 219, {0, 0}, 0, AC_SLEEP},
    {X86, 219, {1, 0, STACK}, 0, AC_SLEEP}, /* a nanosleep */
    {ARM, 63, {3}, 'S', AC_IO},
    {ARM, 63, {3}, 'D', AC_DISK},
    {ARM, 72, {0}, 0, AC_SLEEP},     /* pselect6 */
    {ARM, 73, {STACK, 2}, 0, AC_IO}, /* ppoll */
    {ARM, 22, {4}, 0, AC_IO},        /* epoll_pwait */
    {ARM, 98, {STACK, 0x80}, 0, AC_LOCK},
    {ARM, 115, {1, 0, STACK}, 0, AC_SLEEP},
    {ARM, 128, {STACK, FUTEX_WAIT_BITSET_PRIVATE}, 0, AC_LOCK},
    {ARM, 260, {0}, 0, AC_OTHER},
    {ARM, 82, {3}, 0, AC_DISK},
};

static struct ac_syscall_state call_of(const struct row *row) {
    return (struct ac_syscall_state){.nr = row->nr, .args = {row->args[0], row->args[1], row->args[2]}};
}

static void calls_have_states(void **state) {
    (void)state;
    for (size_t i = 0; i < AC_COUNT(rows); i++) {
        struct ac_syscall_state call = call_of(&rows[i]);
        enum ac_state got = ac_classify((enum ac_arch)rows[i].arch, &call, rows[i].letter);
        if (got != rows[i].state)
            fail_msg("row %zu: system call %d is %s", i, (int)rows[i].nr, ac_state_names[got]);
    }
}

static void a_futex_gives_its_address(void **state) {
    (void)state;
    struct ac_syscall_state call = {.nr = 202, .args = {STACK, FUTEX_WAIT_BITSET_PRIVATE}};
    uint64_t address = 0;
    assert_true(ac_classify_futex(AC_ARCH_X86_64, &call, &address));
    assert_int_equal(address, STACK);
    call.nr = 219;
    assert_true(ac_classify_futex(AC_ARCH_X86_64, &call, &address));
    call.args[1] = 3; /* a poll of three fds */
    assert_false(ac_classify_futex(AC_ARCH_X86_64, &call, &address));
    call = (struct ac_syscall_state){.running = true, .nr = 202};
    assert_false(ac_classify_futex(AC_ARCH_X86_64, &call, &address));
    call = (struct ac_syscall_state){.nr = 98, .args = {STACK, 0x80}};
    assert_true(ac_classify_futex(AC_ARCH_AARCH64, &call, &address));
    assert_false(ac_classify_futex(AC_ARCH_X86_64, &call, &address));
}

static void stat_is_read_only_where_it_matters(void **state) {
    (void)state;
    struct ac_syscall_state call = {.nr = 202, .args = {STACK, FUTEX_WAIT_BITSET_PRIVATE}};
    assert_false(ac_classify_wants_stat(AC_ARCH_X86_64, &call));
    call.nr = 0;
    assert_true(ac_classify_wants_stat(AC_ARCH_X86_64, &call));
    call.nr = -1;
    assert_true(ac_classify_wants_stat(AC_ARCH_X86_64, &call));
}

static void a_peer_is_told(void **state) {
    (void)state;
    struct ac_syscall_state call = {.nr = 45, .args = {5}};
    assert_true(ac_classify_peer(AC_ARCH_X86_64, &call));
    assert_int_equal(ac_classify(AC_ARCH_X86_64, &call, 0), AC_IO);
    call.nr = 207; /* recvfrom there, io_getevents' neighbour here */
    assert_true(ac_classify_peer(AC_ARCH_AARCH64, &call));
    call = (struct ac_syscall_state){.nr = 7, .args = {STACK, 1}}; /* a poll of one descriptor: a timeout */
    assert_true(ac_classify_peer(AC_ARCH_X86_64, &call));
    call.args[1] = 3;
    assert_false(ac_classify_peer(AC_ARCH_X86_64, &call));
    const int64_t others[] = {0, 43, 202, 232, 288}; /* read, accept, futex, epoll_wait, accept4 */
    for (size_t i = 0; i < AC_COUNT(others); i++) {
        call = (struct ac_syscall_state){.nr = others[i], .args = {5}};
        assert_false(ac_classify_peer(AC_ARCH_X86_64, &call));
    }
}

static void an_epoll_has_a_timeout(void **state) {
    (void)state;
    int64_t ns;
    struct ac_syscall_state call = {.nr = 232, .args = {5, STACK, 2, 700}};
    assert_true(ac_classify_epoll_timeout(AC_ARCH_X86_64, &call, &ns));
    assert_int_equal(ns, 700 * INT64_C(1000000));
    call.args[3] = (uint32_t)-1; /* the upper half of an int's register is anything */
    assert_false(ac_classify_epoll_timeout(AC_ARCH_X86_64, &call, &ns));
    call.nr = 441; /* epoll_pwait2: a struct in memory */
    call.args[3] = 700;
    assert_false(ac_classify_epoll_timeout(AC_ARCH_X86_64, &call, &ns));
    call.nr = 7; /* poll */
    assert_false(ac_classify_epoll_timeout(AC_ARCH_X86_64, &call, &ns));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_have_states),
        cmocka_unit_test(a_futex_gives_its_address),
        cmocka_unit_test(a_peer_is_told),
        cmocka_unit_test(an_epoll_has_a_timeout),
        cmocka_unit_test(stat_is_read_only_where_it_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
