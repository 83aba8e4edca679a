/* socket.c - packets that carry descriptors between related processes. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "os/os.h"
#include "os/shared.h"
#include "os/syscalls.h"

union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int) * AC_SOCKET_FDS)];
};

int ac_socket_pair(int ret_fds[2]) {
    return ac_sys.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) == 0 ? 0 : -errno;
}

int ac_socket_send(int fd, const void *data, size_t size, const int *fds, size_t n_fds) {
    union control control = {0};
    struct iovec part = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (n_fds > AC_SOCKET_FDS) {
        return -EINVAL;
    }
    if (n_fds > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
    }
    ssize_t put;
    do {
        put = ac_sys.sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : 0;
}

static void take_fds(struct msghdr *message, int *fds, size_t *n_fds) {
    size_t room = *n_fds;
    *n_fds = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            if (*n_fds < room) {
                fds[(*n_fds)++] = fd;
            } else {
                ac_sys.close(fd);
            }
        }
    }
}

static int wait_readable(int fd, int64_t timeout_ns) {
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    int64_t until = ac_now_ns() + timeout_ns;
    int got;
    do { /* a signal costs the caller nothing: it cannot tell whether an answer is still to come */
        int64_t left_ns = ac_max(until - ac_now_ns(), (int64_t)0);
        got = ac_sys.poll(&poll, 1, (int)((left_ns + AC_NS_PER_MS - 1) / AC_NS_PER_MS));
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got == 0 ? -ETIMEDOUT : 0;
}

ssize_t ac_socket_receive(int fd, void *buffer, size_t size, int *fds, size_t *n_fds, int64_t timeout_ns) {
    union control control;
    struct iovec part = {buffer, size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    if (timeout_ns >= 0) {
        int error = wait_readable(fd, timeout_ns);
        if (error < 0) {
            return error;
        }
    }
    ssize_t got;
    do {
        got = ac_sys.recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return -errno;
    }
    take_fds(&message, fds, n_fds);
    return got;
}
