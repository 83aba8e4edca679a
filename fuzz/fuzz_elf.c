/* fuzz_elf.c - the ELF reader on any bytes. */
#include "base/base.h"
#include "probe/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"_PyRuntime", "Py_Version", "Py_Main"};
    uint64_t values[AC_COUNT(names)], address, bytes;
    struct ac_elf elf;
    if (ac__elf_open_memory(data, size, &elf) < 0)
        return 0;
    ac__elf_symbols(&elf, names, AC_COUNT(names), true, values);
    ac__elf_section(&elf, ".PyRuntime", &address, &bytes);
    ac__elf_address_of(&elf, 0, &address);
    ac__elf_address_of(&elf, size, &address);
    return 0;
}
