/* Which kernel sets csrc/dispatch.c finds usable on another processor and system than this one:
 *
 *     dispatch_test ECX EBX XCR0 VENDOR
 *
 * in hexadecimal: CPUID's leaf 1, register ECX, and leaf 7, register EBX; the registers that the operating system saves;
 * and leaf 0, register EBX. Prints the names, best first, and from how many threads on results are stored past the caches.
 * For x86-64, with -I tests/c/faked. */
#include "../../csrc/dispatch.c"

#include <stdio.h>

const struct ce_kernel_table ce_table_baseline = {.isa = "baseline"};
const struct ce_kernel_table ce_table_avx2 = {.isa = "avx2"};
const struct ce_kernel_table ce_table_avx512 = {.isa = "avx512"};

int main(int argc, char **argv)
{
    if (argc != 5) {
        return 2;
    }
    faked_1_ecx = (unsigned)strtoul(argv[1], NULL, 16);
    faked_7_ebx = (unsigned)strtoul(argv[2], NULL, 16);
    faked_xcr0 = (unsigned)strtoul(argv[3], NULL, 16);
    faked_0_ebx = (unsigned)strtoul(argv[4], NULL, 16);
    for (int i = 0; i < ce_n_tables(); ++i) {
        printf("%s\n", ce_table(i)->isa);
    }
    printf("%d\n", ce_least_streaming_threads());
    return 0;
}
