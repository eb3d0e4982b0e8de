/* Vectors for AVX-512 (f, bw, dq, vl): vf is 16 floats, vd is 8 doubles, one register each.
 *
 * Every instruction set offers these types and operations under the same names, with the same number of lanes, and every
 * operation is correctly rounded; so one text gives the same bits on all of them. vf_*(16 lanes) and vd_*(8 lanes):
 *
 *   load(p) store(p, v) stream(p, v)    unaligned; unaligned; 64-byte aligned, past the cache
 *   load_part(p, n, fill)               lanes 0..n-1 from p, the rest `fill`; reads nothing past p[n-1]
 *   store_part(p, v, n)                 writes lanes 0..n-1 only
 *   set1 add sub mul div neg abs        sqrt is not needed
 *   fma(a, b, c) fnma(a, b, c)          a * b + c and c - a * b, rounded once
 *   madd(a, b, c)                       a * b + c, rounded once or twice, whichever is faster: bits that may differ
 *                                       on an instruction set without FMA
 *   vd_product_error(a, b, p)           a * b - p for p = a * b rounded; 0 or NaN where p is not finite
 *   max(a, b) min(a, b)                 b where either is NaN
 *   lt(a, b) eq(a, b) -> mask           false where either is NaN;  any(mask), select(mask, if_true, if_false)
 *   add_where(mask, a, b)               a + b, or a; for a other than -0
 *   or3(a, b, c)                        the bits of all three
 *   set_lane(v, i, x)                   v with lane i replaced by x; v itself if i is not a lane
 *   lookup8(table, z)                   table[low three bits of z]
 *   exponent_bits(z)                    the bits of z above the low three, moved to the exponent field: 2^(z >> 3 - bias)
 *   power(table, z)                     as integers: z moved up so that all but its low three bits are the exponent field,
 *                                       plus table[low three bits]
 *   zip_lo(a, b) zip_hi(a, b)           lanes of a and b in turn, of their low halves or of their high halves
 *   zip_blocks_lo(a, b) zip_blocks_hi   the same within each block of 16 bytes
 *   Where CE_WHOLE_ROWS:
 *   even_blocks(a, b) odd_blocks(a, b)  blocks 0 and 2, or 1 and 3, of a, then of b
 *   join_halves(p, q)                   the halves lie at p and q
 *   Elsewhere:
 *   load_blocks(p, step) store_blocks(p, step, v)  the blocks lie at p, p + step, p + 2 step, p + 3 step
 *   equal_lanes(v, x)                   bit i: whether lane i equals x
 *   reduce_max(v)                       largest lane (NaN or not if a lane is NaN)
 *
 *   vf_widen_lo(v) vf_widen_hi(v)       lanes 0-7 and 8-15 as doubles;  vf_narrow(lo, hi) rounds them back
 *   vf_spread_even(v) vf_spread_odd(v)  every other lane as doubles times 2^-896, without a conversion: for zeros and
 *                                       positive normal floats with 20 bits of fraction; vd_zip_lo and hi restore the order
 *   vd_reduce_add(v)                    ((0+4)+(2+6)) + ((1+5)+(3+7))
 *   vd_load_f32(p) vd_store_f32(p, v)   eight floats as doubles, and back
 *   ce_stream_fence()                   what was streamed is visible to other threads after it
 *   vd_get_exponent(v) vd_get_mantissa(v)   of positive normal numbers: v = mantissa * 2^exponent, mantissa in [1, 2) */
#ifndef CROSSENT_SIMD_H
#define CROSSENT_SIMD_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "inline.h"

typedef __m512 vf;
typedef __m512d vd;
typedef __mmask16 vfm;
typedef __mmask8 vdm;

/* Vectors whose steps are worth interleaving by hand: of a chain of thirty dependent cycles the processor overlaps too few. */
#define CE_INTERLEAVE 4
/* Whether a step begins before the last one ends (sum_chunks.h); else they take turns, so many vectors at a time. With all four
 * begun first, registers are short: seventeen are stored and loaded again in each step, 9 % more where another thread shares
 * the core. */
#define CE_AHEAD 0
#define CE_TURN 2
/* How rows are turned (tiles.h): whole vectors of them; else blocks, which loads and stores put in their places. */
#define CE_WHOLE_ROWS 1
/* Whether softmax and log_softmax of tiles are made while those are turned into rows, and log_softmax of 32 classes and more from the
 * rows of logits (lanes_softmax.h); else in a pass before, which needs fewer registers. */
#define CE_LATE_MAPS 1
/* Longest rows of adjacent classes that go to lanes (lanes.h). Time by rows over time by lanes, in cache, cross-entropy,
 * log_softmax, softmax. Zen 5: 1.40, 1.24, 1.04 at 192 classes, 1.28, 1.16, 0.97 at 250; doubles 1.41, 1.22, 1.10 at 128, 1.16,
 * 1.00, 0.94 at 250. Emerald Rapids: 1.27, 1.00, 1.01 at 200, 1.04, 0.94, 0.81 at 240; doubles 1.31, 0.98, 1.02 at 100, 1.10,
 * 0.83, 0.86 at 128. Rows of whole blocks of 64 are better than others. */
#define CE_LANES_CLASSES_f32 224
#define CE_LANES_CLASSES_f64 128

/* All ones in the low n lanes; n may be anything. */
CE_INLINE unsigned ce_low_lanes(ptrdiff_t n, int lanes)
{
    return n <= 0 ? 0u : n >= lanes ? (1u << lanes) - 1u : (1u << n) - 1u;
}

CE_INLINE unsigned ce_one_lane(ptrdiff_t i, int lanes) { return (size_t)i < (size_t)lanes ? 1u << i : 0u; }

CE_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
CE_INLINE void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
CE_INLINE void vf_stream(float *p, vf v) { _mm512_stream_ps(p, v); }
CE_INLINE vf vf_set1(float x) { return _mm512_set1_ps(x); }
CE_INLINE vf vf_load_part(const float *p, ptrdiff_t n, float fill)
{
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), (__mmask16)ce_low_lanes(n, 16), p);
}
CE_INLINE void vf_store_part(float *p, vf v, ptrdiff_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)ce_low_lanes(n, 16), v);
}
CE_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
CE_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
CE_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
CE_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
CE_INLINE vf vf_neg(vf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
CE_INLINE vf vf_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
CE_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
CE_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
CE_INLINE vf vf_madd(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
CE_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
CE_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
CE_INLINE vf vf_or3(vf a, vf b, vf c)
{
    __m512i bits =
        _mm512_ternarylogic_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b), _mm512_castps_si512(c), 0xfe);
    return _mm512_castsi512_ps(bits);
}
CE_INLINE vfm vf_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
CE_INLINE vfm vf_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
CE_INLINE int vf_any(vfm m) { return m != 0; }
CE_INLINE vf vf_select(vfm m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
CE_INLINE vf vf_add_where(vfm m, vf a, vf b) { return _mm512_mask_add_ps(a, m, a, b); }
CE_INLINE vf vf_set_lane(vf v, ptrdiff_t i, float x)
{
    return _mm512_mask_mov_ps(v, (__mmask16)ce_one_lane(i, 16), _mm512_set1_ps(x));
}
CE_INLINE vf vf_lookup8(const float *table, vf z)
{
    /* Bit 3 of z must not matter: the table stands twice in the register. */
    vf t = _mm512_castpd_ps(_mm512_broadcast_f64x4(_mm256_loadu_pd((const double *)(const void *)table)));
    return _mm512_permutexvar_ps(_mm512_castps_si512(z), t);
}
CE_INLINE vf vf_exponent_bits(vf z)
{
    __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(z), 20);
    return _mm512_castsi512_ps(_mm512_and_si512(shifted, _mm512_set1_epi32(0x7f800000)));
}
CE_INLINE vf vf_power(const uint32_t *table, vf z)
{
    __m512i t = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)table));
    __m512i bits = _mm512_castps_si512(z);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(bits, 20), _mm512_permutexvar_epi32(bits, t)));
}
CE_INLINE vf vf_zip_lo(vf a, vf b)
{
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
CE_INLINE vf vf_zip_hi(vf a, vf b)
{
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
                                  b);
}
CE_INLINE vf vf_zip_blocks_lo(vf a, vf b) { return _mm512_unpacklo_ps(a, b); }
CE_INLINE vf vf_zip_blocks_hi(vf a, vf b) { return _mm512_unpackhi_ps(a, b); }
CE_INLINE vf vf_even_blocks(vf a, vf b) { return _mm512_shuffle_f32x4(a, b, 0x88); }
CE_INLINE vf vf_odd_blocks(vf a, vf b) { return _mm512_shuffle_f32x4(a, b, 0xdd); }
CE_INLINE vf vf_join_halves(const float *lo, const float *hi)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(lo)), _mm256_loadu_ps(hi), 1);
}
CE_INLINE unsigned vf_equal_lanes(vf v, float x) { return _mm512_cmp_ps_mask(v, _mm512_set1_ps(x), _CMP_EQ_OQ); }
CE_INLINE float vf_reduce_max(vf v) { return _mm512_reduce_max_ps(v); }
CE_INLINE vd vf_widen_lo(vf v) { return _mm512_cvtps_pd(_mm512_castps512_ps256(v)); }
CE_INLINE vd vf_widen_hi(vf v) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)); }
CE_INLINE vf vf_narrow(vd lo, vd hi)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo)), _mm512_cvtpd_ps(hi), 1);
}
/* A float's bits moved down by three are the high word of a double: 32 up and 3 down for the even lanes. */
CE_INLINE vd vf_spread_even(vf v) { return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castps_si512(v), 29)); }
CE_INLINE vd vf_spread_odd(vf v)
{
    return _mm512_castsi512_pd(_mm512_maskz_srli_epi32(0xaaaa, _mm512_castps_si512(v), 3));
}

CE_INLINE vd vd_load(const double *p) { return _mm512_loadu_pd(p); }
CE_INLINE void vd_store(double *p, vd v) { _mm512_storeu_pd(p, v); }
CE_INLINE void vd_stream(double *p, vd v) { _mm512_stream_pd(p, v); }
CE_INLINE vd vd_set1(double x) { return _mm512_set1_pd(x); }
CE_INLINE vd vd_load_part(const double *p, ptrdiff_t n, double fill)
{
    return _mm512_mask_loadu_pd(_mm512_set1_pd(fill), (__mmask8)ce_low_lanes(n, 8), p);
}
CE_INLINE void vd_store_part(double *p, vd v, ptrdiff_t n)
{
    _mm512_mask_storeu_pd(p, (__mmask8)ce_low_lanes(n, 8), v);
}
CE_INLINE vd vd_add(vd a, vd b) { return _mm512_add_pd(a, b); }
CE_INLINE vd vd_sub(vd a, vd b) { return _mm512_sub_pd(a, b); }
CE_INLINE vd vd_mul(vd a, vd b) { return _mm512_mul_pd(a, b); }
CE_INLINE vd vd_div(vd a, vd b) { return _mm512_div_pd(a, b); }
CE_INLINE vd vd_neg(vd a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }
CE_INLINE vd vd_abs(vd a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
CE_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }
CE_INLINE vd vd_fnma(vd a, vd b, vd c) { return _mm512_fnmadd_pd(a, b, c); }
CE_INLINE vd vd_product_error(vd a, vd b, vd p) { return _mm512_fmsub_pd(a, b, p); }
CE_INLINE vd vd_madd(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }
CE_INLINE vd vd_max(vd a, vd b) { return _mm512_max_pd(a, b); }
CE_INLINE vd vd_min(vd a, vd b) { return _mm512_min_pd(a, b); }
CE_INLINE vd vd_or3(vd a, vd b, vd c)
{
    __m512i bits =
        _mm512_ternarylogic_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(b), _mm512_castpd_si512(c), 0xfe);
    return _mm512_castsi512_pd(bits);
}
CE_INLINE vdm vd_lt(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
CE_INLINE vdm vd_eq(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
CE_INLINE int vd_any(vdm m) { return m != 0; }
CE_INLINE vd vd_select(vdm m, vd yes, vd no) { return _mm512_mask_blend_pd(m, no, yes); }
CE_INLINE vd vd_add_where(vdm m, vd a, vd b) { return _mm512_mask_add_pd(a, m, a, b); }
CE_INLINE vd vd_set_lane(vd v, ptrdiff_t i, double x)
{
    return _mm512_mask_mov_pd(v, (__mmask8)ce_one_lane(i, 8), _mm512_set1_pd(x));
}
CE_INLINE vd vd_lookup8(const double *table, vd z)
{
    return _mm512_permutexvar_pd(_mm512_castpd_si512(z), _mm512_loadu_pd(table));
}
CE_INLINE vd vd_exponent_bits(vd z)
{
    __m512i shifted = _mm512_slli_epi64(_mm512_castpd_si512(z), 49);
    return _mm512_castsi512_pd(_mm512_and_si512(shifted, _mm512_set1_epi64(0x7ff0000000000000)));
}
CE_INLINE vd vd_power(const uint64_t *table, vd z)
{
    __m512i bits = _mm512_castpd_si512(z);
    __m512i entry = _mm512_permutexvar_epi64(bits, _mm512_loadu_si512(table));
    return _mm512_castsi512_pd(_mm512_add_epi64(_mm512_slli_epi64(bits, 49), entry));
}
CE_INLINE vd vd_zip_lo(vd a, vd b) { return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b); }
CE_INLINE vd vd_zip_hi(vd a, vd b)
{
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b);
}
CE_INLINE vd vd_zip_blocks_lo(vd a, vd b) { return _mm512_unpacklo_pd(a, b); }
CE_INLINE vd vd_zip_blocks_hi(vd a, vd b) { return _mm512_unpackhi_pd(a, b); }
CE_INLINE vd vd_even_blocks(vd a, vd b) { return _mm512_shuffle_f64x2(a, b, 0x88); }
CE_INLINE vd vd_odd_blocks(vd a, vd b) { return _mm512_shuffle_f64x2(a, b, 0xdd); }
CE_INLINE vd vd_join_halves(const double *lo, const double *hi)
{
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(lo)), _mm256_loadu_pd(hi), 1);
}
CE_INLINE unsigned vd_equal_lanes(vd v, double x) { return _mm512_cmp_pd_mask(v, _mm512_set1_pd(x), _CMP_EQ_OQ); }
CE_INLINE double vd_reduce_max(vd v) { return _mm512_reduce_max_pd(v); }
CE_INLINE double vd_reduce_add(vd v)
{
    __m256d a = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}
CE_INLINE vd vd_get_exponent(vd v) { return _mm512_getexp_pd(v); }
CE_INLINE vd vd_get_mantissa(vd v) { return _mm512_getmant_pd(v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src); }

CE_INLINE vd vd_load_f32(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
CE_INLINE void vd_store_f32(float *p, vd v) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(v)); }
CE_INLINE void ce_stream_fence(void) { _mm_sfence(); }

#endif
