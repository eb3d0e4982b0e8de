/* Every vector operation of one instruction set against scalar C, on random and special values.
 *
 * Compiled once for each: cc -I csrc -DCE_SIMD_HEADER='"simd/avx2.h"' -mavx2 -mfma ... simd_test.c -lm
 * with -DCE_FMA_EMULATED for the baseline. Prints one hash of the results that all instruction sets share, and one of
 * those that all but the baseline share; exits with 1 after the first lines of what went wrong. */
#define _GNU_SOURCE
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include CE_SIMD_HEADER

static uint64_t exact_hash = 0xcbf29ce484222325u, fused_hash = 0xcbf29ce484222325u;
static int failures;

static void mix(uint64_t *hash, uint64_t word)
{
    *hash = (*hash ^ word) * 0x100000001b3u;
    *hash ^= *hash >> 29;
}

static void fail(const char *operation, int lane, unsigned long long got, unsigned long long want)
{
    if (failures++ < 20) {
        printf("FAILED %s lane %d: got %llx, want %llx\n", operation, lane, got, want);
    }
}

/* splitmix64 */
static uint64_t next_random(void)
{
    static uint64_t state;
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Memory between two pages that cannot be touched. */
struct guarded {
    char *start, *end;
};

static struct guarded guarded_pages(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + page, page, PROT_READ | PROT_WRITE)) {
        perror("guard pages");
        exit(2);
    }
    return (struct guarded){p + page, p + 2 * page};
}

static float scalar_fma_f(float a, float b, float c) { return fmaf(a, b, c); }
static double scalar_fma_d(double a, double b, double c) { return fma(a, b, c); }

static int same_value(double a, double b) { return a == b ? signbit(a) == signbit(b) : a != a && b != b; }

static void expect_fused_f(const char *operation, int lane, float got, float a, float b, float c)
{
#ifdef CE_FMA_EMULATED
    float want = (float)((double)a * b + c);
#else
    float want = scalar_fma_f(a, b, c);
#endif
    if (!same_value(got, want)) {
        fail(operation, lane, (unsigned long long)(got * 0x1p30), (unsigned long long)(want * 0x1p30));
    }
}

/* Where the emulation promises something: products that neither overflow nor lose bits below 2^-1074. */
static int within_emulation(double a, double b, double c)
{
    double p = fabs(a * b);
    if (!isfinite(a) || !isfinite(b) || !isfinite(c)) {
        return !isinf(p) || isinf(a) || isinf(b);
    }
    return fabs(a) < 0x1p900 && fabs(b) < 0x1p900 && fabs(c) < 0x1p900 && p < 0x1p900 &&
           (p > 0x1p-900 || a == 0 || b == 0);
}

static void expect_fused_d(const char *operation, int lane, double got, double a, double b, double c)
{
    double want = scalar_fma_d(a, b, c);
#ifdef CE_FMA_EMULATED
    int near = want != 0 && fabs(got - want) <= fabs(nextafter(want, INFINITY) - want);
    if (near || !within_emulation(a, b, c)) {
        return;
    }
#else
    (void)within_emulation;
#endif
    if (same_value(got, want)) {
        return;
    }
    unsigned long long got_bits, want_bits;
    memcpy(&got_bits, &got, sizeof got);
    memcpy(&want_bits, &want, sizeof want);
    fail(operation, lane, got_bits, want_bits);
}

#define T float
#define UINT uint32_t
#define V vf
#define M vfm
#define LANES 16
#define MANTISSA_BITS 23
#define EXPONENT_MASK 0x7f800000u
#define SPECIAL_BITS                                                                                                   \
    0, 0x80000000u, 1, 0x80000001u, 0x007fffffu, 0x00800000u, 0x3f800000u, 0xbf800000u, 0x7f7fffffu, 0xff7fffffu,      \
        0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc01234u, 0x7f800001u, 0x3f7fffffu, 0x3f800001u
#define v(name) vf_##name
#define t(name) name##_f
#include "simd_test_lanes.h"
#undef T
#undef UINT
#undef V
#undef M
#undef LANES
#undef MANTISSA_BITS
#undef EXPONENT_MASK
#undef SPECIAL_BITS
#undef v
#undef t

#define T double
#define UINT uint64_t
#define V vd
#define M vdm
#define LANES 8
#define MANTISSA_BITS 52
#define EXPONENT_MASK 0x7ff0000000000000u
#define SPECIAL_BITS                                                                                                   \
    0, 0x8000000000000000u, 1, 0x8000000000000001u, 0x000fffffffffffffu, 0x0010000000000000u, 0x3ff0000000000000u,     \
        0xbff0000000000000u, 0x7fefffffffffffffu, 0xffefffffffffffffu, 0x7ff0000000000000u, 0xfff0000000000000u,       \
        0x7ff8000000000000u, 0xfff8000000001234u, 0x7ff0000000000001u, 0x3fefffffffffffffu, 0x3ff0000000000001u
#define v(name) vd_##name
#define t(name) name##_d
#include "simd_test_lanes.h"

static void expect_equal(const char *operation, int lane, double got, double want)
{
    if (!same_value(got, want)) {
        fail(operation, lane, bits_d(got), bits_d(want));
    }
    mix(&exact_hash, value_bits_d(want));
}

static void test_conversions(void)
{
    float f[16], narrow[16];
    double lo[8], hi[8];
    fill_f(f, 16);
    vf_store(narrow, vf_load(f));
    vd_store(lo, vf_widen_lo(vf_load(f)));
    vd_store(hi, vf_widen_hi(vf_load(f)));
    for (int i = 0; i < 16; i++) {
        expect_equal("widen", i, i < 8 ? lo[i] : hi[i - 8], (double)f[i]);
    }
    fill_d(lo, 8);
    fill_d(hi, 8);
    for (int i = 0; i < 8; i += 3) { /* into the range of float, subnormals included */
        hi[i] = ldexp(hi[i], -(int)(next_random() % 150));
    }
    vf_store(narrow, vf_narrow(vd_load(lo), vd_load(hi)));
    for (int i = 0; i < 16; i++) {
        expect_equal("narrow", i, (double)narrow[i], (double)(float)(i < 8 ? lo[i] : hi[i - 8]));
    }
}

static void test_reduce_add(void)
{
    double a[8];
    fill_d(a, 8);
    double want = ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
    expect_equal("reduce_add", -1, vd_reduce_add(vd_load(a)), want);
}

static void test_split(void)
{
    double a[8], exponent[8], mantissa[8];
    for (int i = 0; i < 8; i++) {
        a[i] = fabs(any_value_d());
        if (!isnormal(a[i])) {
            a[i] = i % 2 ? 0x1p-1022 : 0x1.fffffffffffffp1023;
        }
    }
    vd_store(exponent, vd_get_exponent(vd_load(a)));
    vd_store(mantissa, vd_get_mantissa(vd_load(a)));
    for (int i = 0; i < 8; i++) {
        int e;
        double m = frexp(a[i], &e);
        expect_equal("get_exponent", i, exponent[i], e - 1);
        expect_equal("get_mantissa", i, mantissa[i], 2 * m);
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 20000;
    struct guarded memory = guarded_pages();
    test_f(&memory, rounds);
    test_d(&memory, rounds);
    for (int k = 0; k < rounds; k++) {
        test_conversions();
        test_reduce_add();
        test_split();
    }
    printf("exact %016llx\nfused %016llx\n", (unsigned long long)exact_hash, (unsigned long long)fused_hash);
    if (failures) {
        printf("%d failures\n", failures);
    }
    return failures != 0;
}
