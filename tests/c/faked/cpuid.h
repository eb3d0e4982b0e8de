/* A processor and an operating system by the command line: for tests/c/dispatch_test.c, instead of the compiler's header. */
#ifndef CE_FAKED_CPUID_H
#define CE_FAKED_CPUID_H

#include <stdlib.h>

static unsigned faked_0_ebx, faked_1_ecx, faked_7_ebx, faked_xcr0;

static int __get_cpuid(unsigned leaf, unsigned *eax, unsigned *ebx, unsigned *ecx, unsigned *edx)
{
    *eax = *edx = 0;
    *ebx = leaf == 0 ? faked_0_ebx : 0;
    *ecx = leaf == 1 ? faked_1_ecx : 0;
    return 1;
}

static int __get_cpuid_count(unsigned leaf, unsigned subleaf, unsigned *eax, unsigned *ebx, unsigned *ecx,
                             unsigned *edx)
{
    *eax = *ecx = *edx = 0;
    *ebx = leaf == 7 && subleaf == 0 ? faked_7_ebx : 0;
    return 1;
}

/* XGETBV, an illegal instruction where CPUID does not show OSXSAVE. */
static unsigned faked_read_xcr0_(void)
{
    if (!(faked_1_ecx & (1u << 27))) {
        abort();
    }
    return faked_xcr0;
}

/* Calls become faked_read_xcr0_(), and the definition becomes one of faked_read_xcr0_void(void), which nobody calls. */
#define read_xcr0(argument) faked_read_xcr0_##argument(argument)

#endif
