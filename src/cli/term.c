/* term.c - the terminal as the user has it, and our one-line messages. */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

const char ac_ptrace_help[] =
    "no right to read that process's memory, so no GIL and no stacks: run allcores as its user with "
    "/proc/sys/kernel/yama/ptrace_scope at 0, as root (sudo), or in Docker with --cap-add SYS_PTRACE";

bool ac_terminal_shows(int fd) {
    return isatty(fd) == 1;
}

/* PYTHON_COLORS, then NO_COLOR, then FORCE_COLOR, then TERM=dumb, then the terminal itself decides. */
static bool wants_color(int fd) {
    const char *python = getenv("PYTHON_COLORS");
    if (python && (strcmp(python, "0") == 0 || strcmp(python, "1") == 0)) {
        return *python == '1';
    }
    const char *no = getenv("NO_COLOR");
    if (no && *no) {
        return false;
    }
    const char *force = getenv("FORCE_COLOR");
    if (force && *force) {
        return true;
    }
    const char *term = getenv("TERM");
    return ac_terminal_shows(fd) && term && *term && strcmp(term, "dumb") != 0;
}

static int columns(int fd) {
    struct winsize size;
    int64_t width = 0;
    const char *text = getenv("COLUMNS");
    if (!text || ac_parse_i64(text, 1, 10000, &width)) {
        width = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 100;
    }
    return (int)ac_max(40, ac_min(width, 200));
}

struct ac_text_style ac_terminal_style(int fd) {
    setlocale(LC_CTYPE, "");
    return (struct ac_text_style){.width = columns(fd),
                                  .color = wants_color(fd),
                                  .unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0};
}

int ac_print(int fd, const struct ac_buf *buf) {
    if (buf->err) {
        return buf->err;
    }
    for (size_t done = 0; done < buf->len;) {
        ssize_t put = write(fd, buf->data + done, buf->len - done);
        if (put < 0 && errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

static void message(const char *format, va_list args) {
    struct ac_buf raw = {0};
    struct ac_buf line = {0};
    ac_buf_vprintf(&raw, format, args);
    ac_buf_str(&line, "allcores: ");
    ac_buf_escaped(&line, ac_buf_text(&raw), raw.len);
    ac_buf_str(&line, "\n");
    ac_progress_line("");
    ac_print(STDERR_FILENO, &line);
    ac_buf_free(&raw);
    ac_buf_free(&line);
}

int ac_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    message(format, args);
    va_end(args);
    return AC_EXIT_ERROR;
}

void ac_warn(const char *format, ...) {
    va_list args;
    va_start(args, format);
    message(format, args);
    va_end(args);
}

void ac_progress_line(const char *text) {
    static bool shown;
    if (!ac_terminal_shows(STDERR_FILENO) || (!*text && !shown)) {
        return;
    }
    struct ac_buf line = {0};
    ac_buf_printf(&line, "\r\033[K%s", text);
    ac_print(STDERR_FILENO, &line);
    ac_buf_free(&line);
    shown = *text != '\0';
}
