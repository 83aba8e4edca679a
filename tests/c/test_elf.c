/* The ELF reader: a binary made here, and this test itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "probe/elf.h"

int PyTest_marker = 42; /* found in this program's own symbol table */

/* Headers, .shstrtab, .dynstr, .dynsym with two symbols, .PyRuntime; loaded at 0x400000. */
struct image {
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    Elf64_Shdr sections[5];
    Elf64_Sym symbols[3];
    char names[64], strings[64];
};

static void image_make(struct image *image) {
    static const char names[] = "\0.shstrtab\0.dynstr\0.dynsym\0.PyRuntime";
    static const char strings[] = "\0_PyRuntime\0Py_Version";
    memset(image, 0, sizeof *image);
    memcpy(image->names, names, sizeof names);
    memcpy(image->strings, strings, sizeof strings);
    Elf64_Ehdr *header = &image->header;
    memcpy(header->e_ident, ELFMAG, SELFMAG);
    header->e_ident[EI_CLASS] = ELFCLASS64;
    header->e_ident[EI_DATA] = ELFDATA2LSB;
    header->e_type = ET_DYN;
    header->e_machine = EM_AARCH64;
    header->e_phoff = offsetof(struct image, segment);
    header->e_phentsize = sizeof(Elf64_Phdr);
    header->e_phnum = 1;
    header->e_shoff = offsetof(struct image, sections);
    header->e_shentsize = sizeof(Elf64_Shdr);
    header->e_shnum = 5;
    header->e_shstrndx = 1;
    image->segment = (Elf64_Phdr){.p_type = PT_LOAD, .p_vaddr = 0x400000, .p_filesz = sizeof *image};
    image->sections[1] = (Elf64_Shdr){.sh_name = 1,
                                      .sh_type = SHT_STRTAB,
                                      .sh_offset = offsetof(struct image, names),
                                      .sh_size = sizeof names};
    image->sections[2] = (Elf64_Shdr){.sh_name = 11,
                                      .sh_type = SHT_STRTAB,
                                      .sh_offset = offsetof(struct image, strings),
                                      .sh_size = sizeof strings};
    image->sections[3] = (Elf64_Shdr){.sh_name = 19,
                                      .sh_type = SHT_DYNSYM,
                                      .sh_link = 2,
                                      .sh_offset = offsetof(struct image, symbols),
                                      .sh_size = sizeof image->symbols};
    image->sections[4] =
        (Elf64_Shdr){.sh_name = 27, .sh_type = SHT_PROGBITS, .sh_addr = 0x412340, .sh_size = 100};
    image->symbols[1] = (Elf64_Sym){.st_name = 1, .st_shndx = 4, .st_value = 0x412340};
    image->symbols[2] = (Elf64_Sym){.st_name = 12, .st_shndx = SHN_UNDEF, .st_value = 0x1};
}

static const char *const names[] = {"_PyRuntime", "Py_Version"};

static void finds_symbols_and_sections(void **state) {
    (void)state;
    struct image image;
    struct ac_elf elf;
    uint64_t values[2], address, size;
    image_make(&image);
    assert_int_equal(ac__elf_open_memory(&image, sizeof image, &elf), 0);
    assert_int_equal(ac__elf_symbols(&elf, names, 2, true, values), 1);
    assert_int_equal(values[0], 0x412340);
    assert_int_equal(values[1], 0); /* imported, not defined */
    assert_int_equal(ac__elf_section(&elf, ".PyRuntime", &address, &size), 0);
    assert_int_equal(address, 0x412340);
    assert_int_equal(size, 100);
    assert_int_equal(ac__elf_section(&elf, ".nothing", &address, &size), -ENOENT);
    assert_int_equal(ac__elf_address_of(&elf, 16, &address), 0);
    assert_int_equal(address, 0x400010);
    assert_int_equal(ac__elf_address_of(&elf, sizeof image, &address), -ENOENT);
}

/* Every byte of it set to 0xff in turn, every length: an answer, never a read outside. */
static void survives_damage(void **state) {
    (void)state;
    struct image image;
    struct ac_elf elf;
    uint64_t values[2], address, size;
    for (size_t i = 0; i < 2 * sizeof image; i++) {
        image_make(&image);
        size_t length = i < sizeof image ? sizeof image : i - sizeof image;
        if (i < sizeof image)
            ((uint8_t *)&image)[i] = 0xff;
        uint8_t *copy = ac_malloc(length + 1);
        memcpy(copy, &image, length);
        if (ac__elf_open_memory(copy, length, &elf) == 0) {
            ac__elf_symbols(&elf, names, 2, true, values);
            ac__elf_section(&elf, ".PyRuntime", &address, &size);
            ac__elf_address_of(&elf, 0, &address);
        }
        ac_free(copy);
    }
}

static void reads_a_real_file(void **state) {
    (void)state;
    static const char *const own[] = {"PyTest_marker", "Py_not_there"};
    struct ac_elf elf;
    uint64_t values[2], base;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ac__elf_open(fd, &elf), 0);
    assert_int_equal(ac__elf_symbols(&elf, own, 2, true, values), 1);
    assert_true(values[0] != 0);
    assert_int_equal(values[1], 0);
    assert_int_equal(ac__elf_address_of(&elf, 0, &base), 0);
    assert_int_equal(((uint64_t)(uintptr_t)&PyTest_marker - values[0]) % 4096, 0);
    close(fd);
}

static void refuses_what_is_no_elf(void **state) {
    (void)state;
    struct ac_elf elf;
    static const char text[4096] = "#!/bin/sh\n";
    assert_int_equal(ac__elf_open_memory(text, sizeof text, &elf), -ENOEXEC);
    assert_int_equal(ac__elf_open_memory(text, 0, &elf), -ENOEXEC);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_symbols_and_sections),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(reads_a_real_file),
        cmocka_unit_test(refuses_what_is_no_elf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
