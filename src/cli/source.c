/* source.c - lines of the user's files, for the snippet of a fix. The names come out of the target's memory
 * and the files belong to its user: regular files only, a limit on their size, a few kept. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "os/os.h"

#define MAX_FILES 32
#define MAX_BYTES (4u << 20)

struct file {
    char path[PATH_MAX];
    struct ac_buf text; /* newlines replaced by NUL */
};

struct ac_sources {
    struct file files[MAX_FILES];
    size_t count;
    char root[64], cwd[PATH_MAX];
};

int ac_sources_new(struct ac_sources **ret) {
    struct ac_sources *sources = ac_calloc(1, sizeof(*sources));
    if (!sources) {
        return -ENOMEM;
    }
    *ret = sources;
    return 0;
}

void ac_sources_at(struct ac_sources *sources, const char *root, const char *cwd) {
    ac_copy(sources->root, sizeof(sources->root), root);
    ac_copy(sources->cwd, sizeof(sources->cwd), cwd);
}

void ac_sources_path(const struct ac_sources *sources, const char *name, char *buffer, size_t size) {
    const char *base = *name == '/' ? "" : sources->cwd;
    snprintf(buffer, size, "%s%s%s%s", sources->root, base, *base ? "/" : "", name);
}

const char *ac_sources_cwd(const struct ac_sources *sources) {
    return sources->cwd;
}

/* A file that cannot be read is remembered as empty, so that it is tried once. */
static struct file *open_file(struct ac_sources *sources, const char *name) {
    char path[3 * PATH_MAX];
    ac_sources_path(sources, name, path, sizeof(path));
    for (size_t i = 0; i < sources->count; i++) {
        if (strcmp(sources->files[i].path, path) == 0) {
            return &sources->files[i];
        }
    }
    if (sources->count == MAX_FILES || strlen(path) >= PATH_MAX) {
        return NULL;
    }
    struct file *file = &sources->files[sources->count++];
    ac_copy(file->path, sizeof(file->path), path);
    if (ac_file_read(path, MAX_BYTES, &file->text)) {
        ac_buf_free(&file->text);
    }
    for (size_t i = 0; i < file->text.len; i++) {
        if (file->text.data[i] == '\n') {
            file->text.data[i] = '\0';
        }
    }
    return file;
}

const char *ac_sources_line(const char *name, int32_t line, void *arg) {
    struct ac_sources *sources = arg;
    struct file *file = *name && *name != '<' && line > 0 ? open_file(sources, name) : NULL;
    if (!file || !file->text.data) {
        return NULL;
    }
    const char *at = file->text.data;
    const char *end = at + file->text.len;
    for (int32_t i = 1; i < line && at < end; i++) {
        at += strlen(at) + 1;
    }
    return at < end ? at : NULL;
}

void ac_sources_free(struct ac_sources *sources) {
    if (sources) {
        for (size_t i = 0; i < sources->count; i++) {
            ac_buf_free(&sources->files[i].text);
        }
        ac_free(sources);
    }
}
