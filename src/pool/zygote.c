/* zygote.c - asking a clean process to fork workers, and being that process.
 *
 * One request and one answer at a time on a SOCK_SEQPACKET socket: SPAWN carries the segment and the options'
 * descriptors there and a pidfd back; REAP names a worker whose pidfd says it has ended, and brings its wait
 * status back; END kills one whose pidfd found no room in our table of descriptors. The zygote is
 * single-threaded, waits for its parent's death (a pidfd) and its socket together, and ends when either
 * closes. Its workers hang on it by PDEATHSIG: whatever ends the parent ends the zygote, and the zygote's end
 * ends the workers, also in the middle of a task and also if the zygote itself is killed. */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "os/shared.h"
#include "os/syscalls.h"
#include "pool/segment.h"

enum request_kind { REQUEST_SPAWN = 1, REQUEST_REAP, REQUEST_END };
struct request {
    uint32_t kind;
    int32_t worker;   /* SPAWN */
    int32_t pid;      /* REAP, END */
    uint32_t present; /* SPAWN: bit i: descriptor i of options.fds is among those sent */
};
struct answer {
    int32_t error;
    int32_t pid;
    int32_t status;
};

struct ac_zygote {
    int fd;
    pthread_mutex_t lock;
    bool broken; /* an answer failed to come: what comes next may be a late one. We hang up then: a worker
                  * that we know nothing of must not live on */
};

#define ANSWER_NS (30 * AC_NS_PER_S)

int ac_zygote_socketpair(int *ret_parent_fd, int *ret_zygote_fd) {
    int fds[2];
    int error = ac_socket_pair(fds);
    if (error == 0) {
        *ret_parent_fd = fds[0];
        *ret_zygote_fd = fds[1];
    }
    return error;
}

int ac_zygote_open(int parent_fd, struct ac_zygote **ret) {
    struct ac_zygote *zygote = ac_calloc(1, sizeof(*zygote));
    if (zygote == NULL) {
        return -ENOMEM;
    }
    zygote->fd = parent_fd;
    pthread_mutex_init(&zygote->lock, NULL);
    *ret = zygote;
    return 0;
}

void ac_zygote_free(struct ac_zygote *zygote) {
    if (zygote != NULL) {
        close(zygote->fd);
        pthread_mutex_destroy(&zygote->lock);
        ac_free(zygote);
    }
}

static int ask_locked(struct ac_zygote *zygote, const struct request *request, const int *fds, size_t n_fds,
                      struct answer *ret, int *ret_fd) {
    size_t room = 1;
    int fd = -1;
    int error = zygote->broken ? -EPIPE : ac_socket_send(zygote->fd, request, sizeof(*request), fds, n_fds);
    if (error < 0) {
        return error == -ECONNRESET ? -EPIPE : error;
    }
    ssize_t got = ac_socket_receive(zygote->fd, ret, sizeof(*ret), &fd, &room, ANSWER_NS);
    if (got != sizeof(*ret)) {
        zygote->broken = true;
        shutdown(zygote->fd, SHUT_RDWR);
        if (got > 0 && room == 1) {
            close(fd);
        }
        return got == -ETIMEDOUT ? -ETIMEDOUT : -EPIPE;
    }
    *ret_fd = room == 1 ? fd : -1;
    return ret->error;
}

static int ask(struct ac_zygote *zygote, const struct request *request, const int *fds, size_t n_fds,
               struct answer *ret, int *ret_fd) {
    pthread_mutex_lock(&zygote->lock);
    int error = ask_locked(zygote, request, fds, n_fds, ret, ret_fd);
    pthread_mutex_unlock(&zygote->lock);
    return error;
}

int ac_zygote_spawn(void *arg, const struct ac_spawn *spawn, struct ac_spawned *ret) {
    struct request request = {.kind = REQUEST_SPAWN, .worker = spawn->worker};
    struct answer answer;
    int fds[1 + AC_POOL_SPAWN_FDS] = {spawn->segment_fd};
    size_t count = 1;
    int pidfd = -1;
    for (int i = 0; i < AC_POOL_SPAWN_FDS; i++) {
        if (spawn->fds[i] >= 0) {
            fds[count++] = spawn->fds[i];
            request.present |= 1u << i;
        }
    }
    int error = ask(arg, &request, fds, count, &answer, &pidfd);
    if (error < 0) {
        return error;
    }
    if (pidfd < 0) {
        request = (struct request){.kind = REQUEST_END, .pid = answer.pid};
        error = ask(arg, &request, NULL, 0, &answer, &pidfd);
        return error < 0 ? error : -EMFILE;
    }
    *ret = (struct ac_spawned){.pid = answer.pid, .pidfd = pidfd};
    return 0;
}

int ac_zygote_reap(void *arg, pid_t pid, int *ret_status) {
    struct request request = {.kind = REQUEST_REAP, .pid = pid};
    struct answer answer;
    int fd = -1;
    int error = ask(arg, &request, NULL, 0, &answer, &fd);
    if (error == 0) {
        *ret_status = answer.status;
    }
    return error == -EAGAIN ? error : 0; /* a zygote that is gone leaves its children to init */
}

/* --- In the zygote */
struct serving {
    int socket;
    int parent_pidfd;
    pid_t (*fork_fn)(void);
};

static void close_all(const int *fds, size_t count) {
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static void fill_spawn(const struct request *request, const int *fds, size_t count, pid_t guard,
                       struct ac_spawn *ret) {
    size_t at = 1;
    *ret = (struct ac_spawn){.segment_fd = fds[0], .worker = request->worker, .guard = guard};
    for (int i = 0; i < AC_POOL_SPAWN_FDS; i++) {
        ret->fds[i] = (request->present >> i & 1) != 0 && at < count ? fds[at++] : -1;
    }
}

/* 1 in the worker. */
static int serve_spawn(const struct serving *serving, const struct request *request, const int *fds,
                       size_t count, struct ac_spawn *ret_spawn) {
    struct answer answer = {.error = count > 0 ? 0 : -EBADMSG};
    int pidfd = -1;
    pid_t guard = getpid();
    pid_t pid = answer.error == 0 ? serving->fork_fn() : -1;
    if (pid == 0) {
        close(serving->socket);
        close(serving->parent_pidfd);
        fill_spawn(request, fds, count, guard, ret_spawn);
        return 1;
    }
    if (pid < 0) {
        answer.error = answer.error < 0 ? answer.error : errno != 0 ? -errno : -EAGAIN;
    } else {
        answer.pid = pid;
        answer.error = ac_pidfd_open(pid, &pidfd);
        if (answer.error < 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
    }
    close_all(fds, count);
    int error = ac_socket_send(serving->socket, &answer, sizeof(answer), &pidfd, pidfd >= 0 ? 1 : 0);
    if (pidfd >= 0) {
        close(pidfd);
    }
    return error;
}

static int serve_reap(const struct serving *serving, const struct request *request) {
    struct answer answer = {.pid = request->pid, .status = -1};
    bool end = request->kind == REQUEST_END;
    if (end) {
        ac_sys.kill(request->pid, SIGKILL);
    }
    pid_t got = ac_sys.wait4(request->pid, &answer.status, end ? 0 : WNOHANG, NULL);
    answer.error = got == 0 ? -EAGAIN : got < 0 ? -errno : 0;
    return ac_socket_send(serving->socket, &answer, sizeof(answer), NULL, 0);
}

/* One request. 0 go on, 1 in a new worker, negative: the socket is closed or speaks nonsense. */
static int serve_one(const struct serving *serving, struct ac_spawn *ret_spawn) {
    struct request request;
    int fds[AC_SOCKET_FDS];
    size_t count = AC_SOCKET_FDS;
    ssize_t got = ac_socket_receive(serving->socket, &request, sizeof(request), fds, &count, -1);
    if (got < 0) {
        return (int)got;
    }
    if (got != sizeof(request)) {
        close_all(fds, count);
        return got == 0 ? -EPIPE : -EBADMSG;
    }
    if (request.kind == REQUEST_SPAWN) {
        return serve_spawn(serving, &request, fds, count, ret_spawn);
    }
    close_all(fds, count);
    return request.kind == REQUEST_REAP || (request.kind == REQUEST_END && request.pid > 0)
               ? serve_reap(serving, &request)
               : -EBADMSG;
}

int ac_zygote_serve(int zygote_fd, pid_t parent, pid_t (*fork_fn)(void), struct ac_spawn *ret_spawn) {
    struct serving serving = {.socket = zygote_fd, .fork_fn = fork_fn != NULL ? fork_fn : fork};
    bool own = parent == 0;
    parent = own ? getppid() : parent;
    int error = ac_pidfd_open(parent, &serving.parent_pidfd);
    if (error < 0) {
        return error == -ESRCH ? 0 : error;
    }
    int got = own && getppid() != parent ? -EPIPE : 0; /* it died while we looked */
    while (got == 0) {
        struct pollfd polls[2] = {{.fd = zygote_fd, .events = POLLIN},
                                  {.fd = serving.parent_pidfd, .events = POLLIN}};
        int ready = ac_sys.poll(polls, 2, -1);
        if (ready < 0) {
            got = errno == EINTR ? 0 : -errno;
        } else if (polls[1].revents != 0) {
            got = -EPIPE;
        } else if (polls[0].revents != 0) {
            got = serve_one(&serving, ret_spawn);
        }
    }
    if (got == 1) {
        return 1;
    }
    close(serving.parent_pidfd);
    return got == -EPIPE || got == -ECONNRESET ? 0 : got;
}
