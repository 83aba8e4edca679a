/* find.c - where a process keeps its Python runtime, and which version it is.
 *
 * The runtime is the symbol _PyRuntime of libpython or of the executable: in .dynsym of every build met so
 * far, stripped ones included; else in .symtab, as the section .PyRuntime (3.10+), or by the cookie
 * that 3.13+ starts its debug offsets with. The version is, in this order: in the debug offsets, in the
 * symbol Py_Version (3.11+), in the file's name, in the text that Py_GetVersion() left in memory.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/syscalls.h"
#include "probe/elf.h"
#include "probe/reader.h"

#define MODULES_MAX 8
#define AREAS_MAX   8           /* writable areas kept of one module */
#define AREA_BYTES  (16u << 20) /* looked through of each */
#define BLOCK       65536u

struct area {
    uint64_t from, to;
};

struct module {
    struct ac_mapping first; /* its first mapping */
    struct area areas[AREAS_MAX];
    size_t area_count;
    bool library; /* libpython, not the executable */
};

struct scan {
    char exe[512];
    struct module *modules;
    size_t count;
    uint64_t end; /* of the last mapping that belongs to a module: .bss follows it without a name */
    size_t end_module;
    bool musl, pypy, cuda;
};

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static struct module *module_of(struct scan *scan, const struct ac_mapping *mapping) {
    for (size_t i = 0; i < scan->count; i++)
        if (scan->modules[i].first.inode == mapping->inode &&
            scan->modules[i].first.dev_major == mapping->dev_major &&
            scan->modules[i].first.dev_minor == mapping->dev_minor)
            return &scan->modules[i];
    const char *base = base_name(mapping->path);
    bool library = strncmp(base, "libpython", 9) == 0;
    if (scan->count == MODULES_MAX ||
        (!library && strncmp(base, "python", 6) != 0 && strcmp(mapping->path, scan->exe) != 0))
        return NULL;
    struct module *module = &scan->modules[scan->count++];
    *module = (struct module){.first = *mapping, .library = library};
    return module;
}

static int scan_mapping(const struct ac_mapping *mapping, void *arg) {
    struct scan *scan = arg;
    struct module *module = NULL;
    if (mapping->path[0] == '/') {
        const char *base = base_name(mapping->path);
        scan->musl |= strncmp(base, "ld-musl", 7) == 0;
        scan->cuda |= strncmp(base, "libcuda.so", 10) == 0;
        scan->pypy |= strncmp(base, "libpypy", 7) == 0 || strncmp(base, "pypy", 4) == 0;
        module = module_of(scan, mapping);
    } else if ((mapping->path[0] == '\0' || strcmp(mapping->path, "[heap]") == 0) &&
               scan->end == mapping->from && scan->count) {
        module = &scan->modules[scan->end_module];
    }
    if (!module)
        return 0;
    scan->end = mapping->to;
    scan->end_module = (size_t)(module - scan->modules);
    if (mapping->writable && mapping->readable && module->area_count < AREAS_MAX)
        module->areas[module->area_count++] = (struct area){mapping->from, mapping->to};
    return 0;
}

/* --- looking through memory */

/* Calls `each` on blocks that overlap by `overlap` bytes; stops when it answers true. */
static bool module_search(const struct ac_py *py, const struct module *module, size_t overlap,
                          bool (*each)(const uint8_t *block, size_t size, uint64_t address, void *arg),
                          void *arg) {
    uint8_t *block = ac_malloc(BLOCK);
    bool found = false;
    for (size_t i = 0; block && !found && i < module->area_count; i++) {
        uint64_t to = ac_min(module->areas[i].to, module->areas[i].from + AREA_BYTES);
        for (uint64_t at = module->areas[i].from; !found && at + overlap < to; at += BLOCK - overlap) {
            size_t size = (size_t)ac_min(to - at, (uint64_t)BLOCK);
            if (ac_vm_read(py->pid, at, block, size) < 0)
                break;
            found = each(block, size, at, arg);
        }
    }
    ac_free(block);
    return found;
}

static bool find_cookie(const uint8_t *block, size_t size, uint64_t address, void *arg) {
    for (size_t at = 0; at + 24 <= size; at += 8) {
        uint64_t words[3];
        memcpy(words, block + at, sizeof words);
        uint32_t version = ac__layout_debug_version(words, AC_COUNT(words));
        if (version >> 24 == 3 && words[2] <= 1) {
            *(uint64_t *)arg = address + at;
            return true;
        }
    }
    return false;
}

/* "3.9.18 (main, ...": what sys.version shows. */
static bool find_version_text(const uint8_t *block, size_t size, uint64_t address, void *arg) {
    struct ac_py_version *version = arg;
    (void)address;
    for (size_t at = 0; at + 80 <= size; at++) {
        const uint8_t *p = memchr(block + at, '3', size - 80 - at);
        if (!p)
            return false;
        at = (size_t)(p - block);
        char text[81];
        int minor, micro, end = 0;
        memcpy(text, p, 80);
        text[80] = '\0';
        if (text[1] != '.' || (at && block[at - 1] != '\0'))
            continue;
        if (sscanf(text, "3.%2d.%2d%n", &minor, &micro, &end) == 2 && end > 0 &&
            strspn(text + end, "+abcr0123456789") + (size_t)end == strcspn(text, " ") && strstr(text, " (") &&
            (version->minor < 0 || version->minor == minor)) {
            version->minor = minor;
            version->micro = micro;
            return true;
        }
    }
    return false;
}

/* --- version */

/* 3.N from ".../python3.N" or "libpython3.N.so.1.0"; 0.0: it does not say. */
static void version_of_name(const char *path, struct ac_py_version *version) {
    const char *base = base_name(path);
    const char *at = strstr(base, "python");
    int major, minor;
    if (at && sscanf(at, "python%1d.%2d", &major, &minor) == 2) {
        version->major = major;
        version->minor = minor;
    }
}

static void version_of_hex(uint32_t hex, struct ac_py_version *version) {
    version->major = (int)(hex >> 24);
    version->minor = (int)(hex >> 16 & 0xff);
    version->micro = (int)(hex >> 8 & 0xff);
}

static void version_find(struct ac_py *py, const struct module *module, uint64_t version_symbol) {
    uint32_t hex;
    if (version_symbol && ac_vm_read(py->pid, version_symbol, &hex, sizeof hex) == 0 && hex >> 24 == 3) {
        version_of_hex(hex, &py->version);
        return;
    }
    version_of_name(module->first.path, &py->version);
    if (py->version.major != 0 && py->version.major != 3)
        return;
    struct ac_py_version text = {.minor = py->version.major ? py->version.minor : -1};
    if (module_search(py, module, 80, find_version_text, &text)) {
        py->version.major = 3;
        py->version.minor = text.minor;
        py->version.micro = text.micro;
    }
}

/* --- the runtime in one module */

enum { RUNTIME, VERSION, MAIN, SYMBOLS };
static const char *const symbol_names[SYMBOLS] = {"_PyRuntime", "Py_Version", "Py_Main"};

static int symbols_of(const struct module *module, int fd, uint64_t ret_addresses[SYMBOLS]) {
    struct ac_elf elf;
    uint64_t base, section, size;
    bool named = strstr(base_name(module->first.path), "python") != NULL;
    int err = ac__elf_open(fd, &elf);
    if (err == 0)
        err = ac__elf_address_of(&elf, module->first.offset, &base);
    if (err == 0) /* the whole symbol table only where it is likely to pay */
        err = ac__elf_symbols(&elf, symbol_names, SYMBOLS, named, ret_addresses);
    if (err < 0)
        return err;
    if (!ret_addresses[RUNTIME] && ac__elf_section(&elf, ".PyRuntime", &section, &size) == 0)
        ret_addresses[RUNTIME] = section;
    for (size_t i = 0; i < SYMBOLS; i++)
        if (ret_addresses[i])
            ret_addresses[i] += module->first.from - base;
    return 0;
}

static int module_symbols(const struct ac_py *py, const struct module *module,
                          uint64_t ret_addresses[SYMBOLS]) {
    int fd, err = ac_process_open_mapping(py->pid, &module->first, &fd);
    if (err < 0)
        return err;
    err = symbols_of(module, fd, ret_addresses);
    ac_sys.close(fd);
    return err;
}

/* With the runtime's address known: version and layout. */
static int runtime_use(struct ac_py *py, const struct module *module, uint64_t version_symbol) {
    uint64_t words[AC_DEBUG_WORDS] = {0};
    int err = ac_vm_read(py->pid, py->runtime, words, sizeof words);
    if (err < 0)
        return err == -EFAULT ? -EAGAIN : err;
    uint32_t hex = ac__layout_debug_version(words, AC_COUNT(words));
    if (hex) {
        version_of_hex(hex, &py->version);
        err = ac__layout_debug(words, AC_COUNT(words), &py->layout);
    } else {
        version_find(py, module, version_symbol);
        if (py->version.major == 0)
            return -EAGAIN; /* its version text is not written yet */
        err = py->version.major == 3 ? ac__layout_static(py->version.minor, &py->layout) : -ENOTSUP;
    }
    py->version.supported = err == 0;
    py->version.free_threaded = err == 0 && py->layout.free_threaded;
    return err;
}

static int runtime_in(struct ac_py *py, const struct module *module, bool *ret_old) {
    uint64_t addresses[SYMBOLS] = {0};
    int err = module_symbols(py, module, addresses);
    if (err == -ESRCH || err == -EPERM || err == -ENOMEM)
        return err;
    py->runtime = addresses[RUNTIME];
    if (py->runtime)
        return runtime_use(py, module, addresses[VERSION]);
    if (addresses[MAIN]) {
        *ret_old = true; /* 3.6 and older have no such symbol */
        version_of_name(module->first.path, &py->version);
    }
    return -ENOEXEC;
}

static int runtime_by_cookie(struct ac_py *py, const struct module *module) {
    if (!module_search(py, module, 24, find_cookie, &py->runtime))
        return -ENOEXEC;
    return runtime_use(py, module, 0);
}

static int modules_try(struct ac_py *py, const struct scan *scan) {
    bool old = false;
    int err = -ENOEXEC;
    for (int library = 1; library >= 0; library--)
        for (size_t i = 0; i < scan->count && err == -ENOEXEC; i++)
            if (scan->modules[i].library == (library == 1))
                err = runtime_in(py, &scan->modules[i], &old);
    for (size_t i = 0; i < scan->count && err == -ENOEXEC && !old; i++)
        err = runtime_by_cookie(py, &scan->modules[i]);
    return err == -ENOEXEC && (old || scan->pypy) ? -ENOTSUP : err;
}

int ac__runtime_find(struct ac_py *py) {
    struct scan scan = {.modules = ac_calloc(MODULES_MAX, sizeof(struct module))};
    if (!scan.modules)
        return -ENOMEM;
    int err = ac_process_exe(py->pid, scan.exe, sizeof scan.exe);
    if (err == 0)
        err = ac_process_maps(py->pid, scan_mapping, &scan);
    py->musl = scan.musl;
    py->version.cuda = scan.cuda;
    if (err == 0)
        err = modules_try(py, &scan);
    ac_free(scan.modules);
    return err == -EACCES ? -EPERM : err;
}
