/* elf.h - the little of ELF that the reader needs: where a symbol or a section of a target's binary lies.
 *
 * 64-bit little-endian x86-64 and AArch64 files. The file belongs to the target, so every number in it is
 * untrusted: reads are bounded, counts capped, and nothing is mapped (a file that shrinks costs an error, no
 * SIGBUS).
 */
#ifndef AC_PROBE_ELF_H
#define AC_PROBE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ac_elf {
    int fd;              /* read from here, */
    const uint8_t *data; /* or from memory when not NULL */
    uint64_t size;       /* of data; UINT64_MAX for a file */
    uint64_t phoff, shoff;
    uint16_t phnum, shnum, shstrndx;
    bool fixed; /* ET_EXEC: not relocated */
};

/* 0; -ENOEXEC not such a file; or what pread answered. The fd stays the caller's. */
int ac__elf_open(int fd, struct ac_elf *ret_elf);
int ac__elf_open_memory(const void *data, size_t size, struct ac_elf *ret_elf);

/* Values of `count` (at most 32) symbols, 0 where there is none; .dynsym, then, where names are still
 * missing, and `all` is set, .symtab. Returns the number that were found, or a negative errno. */
int ac__elf_symbols(const struct ac_elf *elf, const char *const *names, size_t count, bool all,
                    uint64_t *ret_values);
/* Address and size of a section, by name. -ENOENT: none. */
int ac__elf_section(const struct ac_elf *elf, const char *name, uint64_t *ret_address, uint64_t *ret_size);
/* The address that the file gives to the byte at `offset`: load bias = mapping's start - this. -ENOENT: not
 * loaded. */
int ac__elf_address_of(const struct ac_elf *elf, uint64_t offset, uint64_t *ret_address);

#endif
