/* Which of the compiled kernel sets this machine can run, the slots of a set by number, and when it stores past the caches.
 *
 * Compiled for the base architecture only, and without state: the choice of a table is the caller's to make and to keep.
 *
 * A processor that has AVX-512 is not enough: the operating system must also save its registers when it switches threads,
 * and says so in XCR0, which XGETBV reads (Intel SDM, volume 1, sections 14.3 "Detection of AVX instructions" and 15.2
 * "Detection of AVX-512 Foundation instructions"). Builtins such as __builtin_cpu_supports did not always look there, so
 * the few lines that do are here. */
#include "isa.h"

#if defined(CE_HAVE_AVX2) || defined(CE_HAVE_AVX512)
#define CE_X86 1
#include <cpuid.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif
#endif

#ifdef CE_X86

/* CPUID leaf 0, register EBX: "Genu", which "ineIntel" follows. */
#define CPUID_0_EBX_INTEL 0x756e6547u
/* Bits of CPUID leaf 1, register ECX. */
#define CPUID_1_ECX_FMA (1u << 12)
#define CPUID_1_ECX_OSXSAVE (1u << 27)
#define CPUID_1_ECX_AVX (1u << 28)
/* Bits of CPUID leaf 7, subleaf 0, register EBX. */
#define CPUID_7_EBX_AVX2 (1u << 5)
#define CPUID_7_EBX_AVX512 ((1u << 16) | (1u << 17) | (1u << 30) | (1u << 31)) /* F, DQ, BW, VL */
/* State that the operating system saves: XMM and YMM; with them the mask registers and both halves of ZMM. */
#define XCR0_AVX 0x6u
#define XCR0_AVX512 0xe6u

static int has_all(unsigned have, unsigned wanted) { return (have & wanted) == wanted; }

/* XCR0, low half. Only where CPUID shows OSXSAVE: the instruction faults elsewhere. Spelt in bytes, because a compiler
 * that targets the base architecture may refuse the intrinsic. */
static unsigned read_xcr0(void)
{
    unsigned eax, edx;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(eax), "=d"(edx) : "c"(0));
    (void)edx;
    return eax;
}

/* Leaf 7's EBX if the processor and the operating system support AVX, AVX2 and FMA, else 0. */
static unsigned avx_features(unsigned *xcr0)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) {
        return 0;
    }
    if (!has_all(ecx, CPUID_1_ECX_OSXSAVE | CPUID_1_ECX_AVX | CPUID_1_ECX_FMA)) {
        return 0;
    }
    *xcr0 = read_xcr0();
    if (!has_all(*xcr0, XCR0_AVX) || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
        return 0;
    }
    return has_all(ebx, CPUID_7_EBX_AVX2) ? ebx : 0;
}

#ifdef CE_HAVE_AVX2
static int can_run_avx2(void)
{
    unsigned xcr0;
    return avx_features(&xcr0) != 0;
}
#endif

#ifdef CE_HAVE_AVX512
/* macOS saves the wide registers of a thread only from its first AVX-512 instruction on, and XCR0 does not show them
 * before that; the system's own word is in sysctl. */
static int os_saves_zmm(unsigned xcr0)
{
#ifdef __APPLE__
    int enabled = 0;
    size_t size = sizeof enabled;
    (void)xcr0;
    return sysctlbyname("hw.optional.avx512f", &enabled, &size, NULL, 0) == 0 && enabled;
#else
    return has_all(xcr0, XCR0_AVX512);
#endif
}

static int can_run_avx512(void)
{
    unsigned xcr0 = 0;
    return has_all(avx_features(&xcr0), CPUID_7_EBX_AVX512) && os_saves_zmm(xcr0);
}
#endif

#endif /* CE_X86 */

/* A store past the caches keeps one of a core's few line buffers (12 of Cascade Lake) until memory has the line, and a Xeon's
 * memory is far. Where the lines are asked for ahead instead, 65536 x 1000 floats take log_softmax 0.90 ns an element, not 1.09,
 * softmax 0.79 and 1.02, value and gradient 0.85 and 1.06, with one thread and with two of them. But then each line is read
 * before it is written, half as much traffic again: from some eight threads on, at 15 GB/s for each, a socket's six channels
 * would be the limit (not measured). Zen 5 stores faster past the caches with one thread. */
#define XEON_STREAMING_THREADS 8

int ce_least_streaming_threads(void)
{
#ifdef CE_HAVE_AVX512
    unsigned eax, ebx, ecx, edx;
    if (can_run_avx512() && __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == CPUID_0_EBX_INTEL) {
        return XEON_STREAMING_THREADS;
    }
#endif
    return 1;
}

enum { MAX_TABLES = 4 };

/* Fill `tables` best first; the number of them. */
static int usable_tables(const struct ce_kernel_table *tables[MAX_TABLES])
{
    int n = 0;
#ifdef CE_HAVE_AVX512
    if (can_run_avx512()) {
        tables[n++] = &ce_table_avx512;
    }
#endif
#ifdef CE_HAVE_AVX2
    if (can_run_avx2()) {
        tables[n++] = &ce_table_avx2;
    }
#endif
#ifdef CE_HAVE_NEON
    tables[n++] = &ce_table_neon;
#endif
    tables[n++] = &ce_table_baseline;
    return n;
}

int ce_n_tables(void)
{
    const struct ce_kernel_table *tables[MAX_TABLES];
    return usable_tables(tables);
}

const struct ce_kernel_table *ce_table(int i)
{
    const struct ce_kernel_table *tables[MAX_TABLES];
    return i >= 0 && i < usable_tables(tables) ? tables[i] : NULL;
}

struct kernel_entry {
    const char *name, *signature;
    size_t slot; /* offset of its CE_N_DTYPES function pointers in a table */
};

static const struct kernel_entry kernels[CE_N_KERNELS] = {
#define KERNEL(name, signature) {#name, #signature, offsetof(struct ce_kernel_table, name)},
#include "kernels.def"
#undef KERNEL
};

static const struct kernel_entry *find_kernel(int id) { return id >= 0 && id < CE_N_KERNELS ? &kernels[id] : NULL; }

const char *ce_kernel_name(int id)
{
    const struct kernel_entry *kernel = find_kernel(id);
    return kernel ? kernel->name : NULL;
}

const char *ce_kernel_signature(int id)
{
    const struct kernel_entry *kernel = find_kernel(id);
    return kernel ? kernel->signature : NULL;
}

ce_any_fn *ce_kernel(const struct ce_kernel_table *table, int id, enum ce_dtype dtype)
{
    const struct kernel_entry *kernel = find_kernel(id);
    ce_any_fn *function;
    if (!kernel || (int)dtype < 0 || (int)dtype >= CE_N_DTYPES) {
        return NULL;
    }
    /* memcpy: the slot has the type of its own signature, and a read through another pointer type would be undefined. */
    memcpy(&function, (const char *)table + kernel->slot + (size_t)dtype * sizeof function, sizeof function);
    return function;
}
