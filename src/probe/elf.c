/* elf.c - see elf.h. Sections and symbols are read in blocks, names from a copy of the string table. */
#include "probe/elf.h"

#include <elf.h>
#include <string.h>

#include "base/base.h"
#include "os/syscalls.h"

#define SYMBOLS_MAX   (1u << 22) /* of one table */
#define STRINGS_MAX   (64u << 20)
#define BLOCK_SYMBOLS 1024u
#define NAMES_MAX     32u

static int read_at(const struct ac_elf *elf, uint64_t offset, void *buffer, size_t size) {
    if (offset > elf->size || size > elf->size - offset || offset > INT64_MAX - size)
        return -ENOEXEC;
    if (elf->data) {
        memcpy(buffer, elf->data + offset, size);
        return 0;
    }
    for (size_t done = 0; done < size;) {
        ssize_t n = ac_sys.pread(elf->fd, (char *)buffer + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOEXEC;
        done += (size_t)n;
    }
    return 0;
}

static int elf_open(struct ac_elf *elf) {
    Elf64_Ehdr header;
    int err = read_at(elf, 0, &header, sizeof header);
    if (err < 0)
        return err;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB ||
        (header.e_machine != EM_X86_64 && header.e_machine != EM_AARCH64) ||
        (header.e_type != ET_EXEC && header.e_type != ET_DYN))
        return -ENOEXEC;
    elf->fixed = header.e_type == ET_EXEC;
    elf->phoff = header.e_phoff;
    elf->phnum = header.e_phentsize == sizeof(Elf64_Phdr) ? header.e_phnum : 0;
    elf->shoff = header.e_shoff;
    elf->shnum = header.e_shentsize == sizeof(Elf64_Shdr) ? header.e_shnum : 0;
    elf->shstrndx = header.e_shstrndx;
    return 0;
}

int ac__elf_open(int fd, struct ac_elf *ret_elf) {
    struct ac_elf elf = {.fd = fd, .size = UINT64_MAX};
    int err = elf_open(&elf);
    if (err == 0)
        *ret_elf = elf;
    return err;
}

int ac__elf_open_memory(const void *data, size_t size, struct ac_elf *ret_elf) {
    struct ac_elf elf = {.fd = -1, .data = data, .size = size};
    int err = elf_open(&elf);
    if (err == 0)
        *ret_elf = elf;
    return err;
}

static int section_read(const struct ac_elf *elf, uint32_t index, Elf64_Shdr *ret_section) {
    if (index >= elf->shnum || elf->shoff > UINT64_MAX - (uint64_t)index * sizeof(Elf64_Shdr))
        return -ENOEXEC;
    return read_at(elf, elf->shoff + (uint64_t)index * sizeof(Elf64_Shdr), ret_section, sizeof *ret_section);
}

/* A string table, with a NUL put behind it. Freed by the caller. */
static int strings_read(const struct ac_elf *elf, const Elf64_Shdr *section, char **ret_text) {
    if (section->sh_type != SHT_STRTAB || section->sh_size > STRINGS_MAX)
        return -ENOEXEC;
    size_t size = (size_t)section->sh_size;
    if (elf->data && size > elf->size) /* an allocation no larger than what there is to read */
        return -ENOEXEC;
    char *text = ac_malloc(size + 1);
    if (!text)
        return -ENOMEM;
    int err = read_at(elf, section->sh_offset, text, size);
    if (err < 0) {
        ac_free(text);
        return err;
    }
    text[size] = '\0';
    *ret_text = text;
    return 0;
}

static int section_find(const struct ac_elf *elf, uint32_t type, Elf64_Shdr *ret_section) {
    for (uint32_t i = 0; i < elf->shnum; i++) {
        Elf64_Shdr section;
        int err = section_read(elf, i, &section);
        if (err < 0)
            return err;
        if (section.sh_type == type) {
            *ret_section = section;
            return 0;
        }
    }
    return -ENOENT;
}

struct lookup {
    const char *const *names;
    size_t count;
    uint64_t *values;
    size_t found;
};

static void symbol_match(struct lookup *lookup, const Elf64_Sym *symbol, const char *text, size_t size) {
    if (symbol->st_shndx == SHN_UNDEF || symbol->st_value == 0 || symbol->st_name >= size)
        return;
    const char *name = text + symbol->st_name;
    if (name[0] != '_' && name[0] != 'P')
        return; /* every name that we ask for starts so; most others do not */
    for (size_t i = 0; i < lookup->count; i++) {
        if (lookup->values[i] == 0 && strcmp(name, lookup->names[i]) == 0) {
            lookup->values[i] = symbol->st_value;
            lookup->found++;
        }
    }
}

static int symbols_scan(const struct ac_elf *elf, const Elf64_Shdr *table, const char *text, size_t size,
                        struct lookup *lookup) {
    Elf64_Sym block[BLOCK_SYMBOLS];
    uint64_t count = ac_min(table->sh_size / sizeof(Elf64_Sym), (uint64_t)SYMBOLS_MAX);
    for (uint64_t at = 0; at < count && lookup->found < lookup->count; at += BLOCK_SYMBOLS) {
        size_t n = (size_t)ac_min(count - at, (uint64_t)BLOCK_SYMBOLS);
        if (table->sh_offset > UINT64_MAX - at * sizeof(Elf64_Sym))
            return -ENOEXEC;
        int err = read_at(elf, table->sh_offset + at * sizeof(Elf64_Sym), block, n * sizeof(Elf64_Sym));
        if (err < 0)
            return err;
        for (size_t i = 0; i < n; i++)
            symbol_match(lookup, &block[i], text, size);
    }
    return 0;
}

static int symbols_in(const struct ac_elf *elf, uint32_t type, struct lookup *lookup) {
    Elf64_Shdr table, strings;
    char *text = NULL;
    int err = section_find(elf, type, &table);
    if (err == 0)
        err = section_read(elf, table.sh_link, &strings);
    if (err == 0)
        err = strings_read(elf, &strings, &text);
    if (err == 0)
        err = symbols_scan(elf, &table, text, (size_t)strings.sh_size, lookup);
    ac_free(text);
    return err;
}

int ac__elf_symbols(const struct ac_elf *elf, const char *const *names, size_t count, bool all,
                    uint64_t *ret_values) {
    uint64_t values[NAMES_MAX] = {0};
    struct lookup lookup = {names, ac_min(count, (size_t)NAMES_MAX), values, 0};
    int err = symbols_in(elf, SHT_DYNSYM, &lookup);
    if (err < 0 && err != -ENOENT && err != -ENOEXEC)
        return err;
    if (all && lookup.found < lookup.count) {
        err = symbols_in(elf, SHT_SYMTAB, &lookup);
        if (err < 0 && err != -ENOENT && err != -ENOEXEC)
            return err;
    }
    memcpy(ret_values, values, lookup.count * sizeof values[0]);
    return (int)lookup.found;
}

int ac__elf_section(const struct ac_elf *elf, const char *name, uint64_t *ret_address, uint64_t *ret_size) {
    Elf64_Shdr section;
    char *text = NULL;
    int err = section_read(elf, elf->shstrndx, &section);
    if (err == 0)
        err = strings_read(elf, &section, &text);
    if (err < 0)
        return err;
    size_t size = (size_t)section.sh_size;
    err = -ENOENT;
    for (uint32_t i = 0; i < elf->shnum && err == -ENOENT; i++) {
        int failed = section_read(elf, i, &section);
        if (failed < 0) {
            err = failed;
        } else if (section.sh_name < size && strcmp(text + section.sh_name, name) == 0) {
            *ret_address = section.sh_addr;
            *ret_size = section.sh_size;
            err = 0;
        }
    }
    ac_free(text);
    return err;
}

int ac__elf_address_of(const struct ac_elf *elf, uint64_t offset, uint64_t *ret_address) {
    for (uint32_t i = 0; i < elf->phnum; i++) {
        Elf64_Phdr segment;
        if (elf->phoff > UINT64_MAX - (uint64_t)i * sizeof segment)
            return -ENOEXEC;
        int err = read_at(elf, elf->phoff + (uint64_t)i * sizeof segment, &segment, sizeof segment);
        if (err < 0)
            return err;
        uint64_t from = segment.p_offset & ~(uint64_t)0xfff; /* the loader maps whole pages */
        if (segment.p_type == PT_LOAD && offset >= from &&
            offset - from < segment.p_filesz + (segment.p_offset - from)) {
            *ret_address = segment.p_vaddr - segment.p_offset + offset;
            return 0;
        }
    }
    return -ENOENT;
}
