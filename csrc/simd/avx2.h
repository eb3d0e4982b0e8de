/* Vectors for AVX2 with FMA: vf is 16 floats, vd is 8 doubles, two registers each.
 * The operations, and what each promises, are listed in avx512.h; the bits are the same. */
#ifndef CROSSENT_SIMD_H
#define CROSSENT_SIMD_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "inline.h"

typedef struct {
    __m256 lo, hi;
} vf;
typedef struct {
    __m256d lo, hi;
} vd;
/* A mask is all ones in the lanes that are true. */
typedef struct {
    __m256 lo, hi;
} vfm;
typedef struct {
    __m256d lo, hi;
} vdm;

#define CE_INTERLEAVE 2 /* sixteen registers hold no more: 1 takes 3 to 5 % longer, 4 10 % */
#define CE_AHEAD 1      /* in turns Emerald Rapids 6 to 10 % longer, Cascade Lake 1 to 8 % less */
#define CE_TURN CE_INTERLEAVE
#define CE_LATE_MAPS 1
#define CE_WHOLE_ROWS 0 /* whole rows: cross_entropy and log_softmax of 10 to 100 classes 10 to 18 % more, softmax 22 */
/* As in avx512.h, Emerald Rapids: 1.43, 1.11, 1.05 at 144 classes, 1.06, 0.88, 0.82 at 191; doubles 1.19, 0.99, 1.03 at 100, 0.99,
 * 0.80, 0.77 at 128. */
#define CE_LANES_CLASSES_f32 160
#define CE_LANES_CLASSES_f64 112

#define CE_UNARY(type, name, half)                                                                                     \
    CE_INLINE type type##_##name(type a) { return (type){half(a.lo), half(a.hi)}; }
#define CE_BINARY(type, name, half)                                                                                    \
    CE_INLINE type type##_##name(type a, type b) { return (type){half(a.lo, b.lo), half(a.hi, b.hi)}; }
#define CE_TERNARY(type, name, half)                                                                                   \
    CE_INLINE type type##_##name(type a, type b, type c)                                                               \
    {                                                                                                                  \
        return (type){half(a.lo, b.lo, c.lo), half(a.hi, b.hi, c.hi)};                                                 \
    }
#define CE_COMPARE(type, name, compare, predicate)                                                                     \
    CE_INLINE type##m type##_##name(type a, type b)                                                                    \
    {                                                                                                                  \
        return (type##m){compare(a.lo, b.lo, predicate), compare(a.hi, b.hi, predicate)};                              \
    }

/* ---- 16 floats ---- */

CE_INLINE vf vf_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
CE_INLINE void vf_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}
CE_INLINE void vf_stream(float *p, vf v)
{
    _mm256_stream_ps(p, v.lo);
    _mm256_stream_ps(p + 8, v.hi);
}
CE_INLINE vf vf_set1(float x)
{
    __m256 v = _mm256_set1_ps(x);
    return (vf){v, v};
}

CE_INLINE __m256i ce_lane_numbers(int first)
{
    return _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
}

/* All ones in the low n lanes; n may be anything. */
CE_INLINE vfm ce_low_lanes_f(ptrdiff_t n)
{
    __m256i count = _mm256_set1_epi32(n <= 0 ? 0 : n >= 16 ? 16 : (int)n);
    return (vfm){_mm256_castsi256_ps(_mm256_cmpgt_epi32(count, ce_lane_numbers(0))),
                 _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, ce_lane_numbers(8)))};
}

CE_INLINE vf vf_load_part(const float *p, ptrdiff_t n, float fill)
{
    vfm low = ce_low_lanes_f(n);
    __m256 rest = _mm256_set1_ps(fill);
    __m256 lo = _mm256_maskload_ps(p, _mm256_castps_si256(low.lo));
    __m256 hi = _mm256_maskload_ps(p + 8, _mm256_castps_si256(low.hi));
    return (vf){_mm256_blendv_ps(rest, lo, low.lo), _mm256_blendv_ps(rest, hi, low.hi)};
}
CE_INLINE void vf_store_part(float *p, vf v, ptrdiff_t n)
{
    vfm low = ce_low_lanes_f(n);
    _mm256_maskstore_ps(p, _mm256_castps_si256(low.lo), v.lo);
    _mm256_maskstore_ps(p + 8, _mm256_castps_si256(low.hi), v.hi);
}

CE_BINARY(vf, add, _mm256_add_ps)
CE_BINARY(vf, sub, _mm256_sub_ps)
CE_BINARY(vf, mul, _mm256_mul_ps)
CE_BINARY(vf, div, _mm256_div_ps)
CE_BINARY(vf, max, _mm256_max_ps)
CE_BINARY(vf, min, _mm256_min_ps)
CE_TERNARY(vf, fma, _mm256_fmadd_ps)
CE_TERNARY(vf, fnma, _mm256_fnmadd_ps)
CE_TERNARY(vf, madd, _mm256_fmadd_ps)
CE_INLINE __m256 ce_neg_ps(__m256 a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
CE_INLINE __m256 ce_abs_ps(__m256 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
CE_UNARY(vf, neg, ce_neg_ps)
CE_UNARY(vf, abs, ce_abs_ps)

CE_INLINE __m256 ce_or3_ps(__m256 a, __m256 b, __m256 c) { return _mm256_or_ps(_mm256_or_ps(a, b), c); }
CE_TERNARY(vf, or3, ce_or3_ps)

CE_COMPARE(vf, lt, _mm256_cmp_ps, _CMP_LT_OQ)
CE_COMPARE(vf, eq, _mm256_cmp_ps, _CMP_EQ_OQ)
CE_INLINE int vf_any(vfm m) { return _mm256_movemask_ps(_mm256_or_ps(m.lo, m.hi)) != 0; }
CE_INLINE vf vf_select(vfm m, vf yes, vf no)
{
    return (vf){_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}
CE_INLINE vf vf_add_where(vfm m, vf a, vf b)
{
    return (vf){_mm256_add_ps(a.lo, _mm256_and_ps(m.lo, b.lo)), _mm256_add_ps(a.hi, _mm256_and_ps(m.hi, b.hi))};
}
CE_INLINE vf vf_set_lane(vf v, ptrdiff_t i, float x)
{
    __m256i lane = _mm256_set1_epi32((size_t)i < 16 ? (int)i : -1);
    vfm here = {_mm256_castsi256_ps(_mm256_cmpeq_epi32(lane, ce_lane_numbers(0))),
                _mm256_castsi256_ps(_mm256_cmpeq_epi32(lane, ce_lane_numbers(8)))};
    return vf_select(here, vf_set1(x), v);
}

CE_INLINE vf vf_lookup8(const float *table, vf z)
{
    /* The permutation reads only the low three bits of each index. */
    __m256 t = _mm256_loadu_ps(table);
    return (vf){_mm256_permutevar8x32_ps(t, _mm256_castps_si256(z.lo)),
                _mm256_permutevar8x32_ps(t, _mm256_castps_si256(z.hi))};
}
CE_INLINE __m256 ce_exponent_bits_ps(__m256 z)
{
    __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(z), 20);
    return _mm256_castsi256_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(0x7f800000)));
}
CE_UNARY(vf, exponent_bits, ce_exponent_bits_ps)

CE_INLINE __m256 ce_power_ps(__m256i table, __m256 z)
{
    __m256i bits = _mm256_castps_si256(z), entry = _mm256_permutevar8x32_epi32(table, bits);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(bits, 20), entry));
}
CE_INLINE vf vf_power(const uint32_t *table, vf z)
{
    __m256i t = _mm256_loadu_si256((const __m256i *)(const void *)table);
    return (vf){ce_power_ps(t, z.lo), ce_power_ps(t, z.hi)};
}

/* Lanes of a and b in turn. */
CE_INLINE vf ce_zip_f(__m256 a, __m256 b)
{
    __m256 even = _mm256_unpacklo_ps(a, b), odd = _mm256_unpackhi_ps(a, b);
    return (vf){_mm256_permute2f128_ps(even, odd, 0x20), _mm256_permute2f128_ps(even, odd, 0x31)};
}
CE_INLINE vf vf_zip_lo(vf a, vf b) { return ce_zip_f(a.lo, b.lo); }
CE_INLINE vf vf_zip_hi(vf a, vf b) { return ce_zip_f(a.hi, b.hi); }
CE_INLINE vf vf_zip_blocks_lo(vf a, vf b)
{
    return (vf){_mm256_unpacklo_ps(a.lo, b.lo), _mm256_unpacklo_ps(a.hi, b.hi)};
}
CE_INLINE vf vf_zip_blocks_hi(vf a, vf b)
{
    return (vf){_mm256_unpackhi_ps(a.lo, b.lo), _mm256_unpackhi_ps(a.hi, b.hi)};
}
CE_INLINE __m256 ce_two_blocks_ps(const float *p, ptrdiff_t step)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1);
}
CE_INLINE vf vf_load_blocks(const float *p, ptrdiff_t step)
{
    return (vf){ce_two_blocks_ps(p, step), ce_two_blocks_ps(p + 2 * step, step)};
}
CE_INLINE void vf_store_blocks(float *p, ptrdiff_t step, vf v)
{
    _mm_storeu_ps(p, _mm256_castps256_ps128(v.lo));
    _mm_storeu_ps(p + step, _mm256_extractf128_ps(v.lo, 1));
    _mm_storeu_ps(p + 2 * step, _mm256_castps256_ps128(v.hi));
    _mm_storeu_ps(p + 3 * step, _mm256_extractf128_ps(v.hi, 1));
}
CE_INLINE unsigned vf_equal_lanes(vf v, float x)
{
    vfm m = vf_eq(v, vf_set1(x));
    return (unsigned)_mm256_movemask_ps(m.lo) | (unsigned)_mm256_movemask_ps(m.hi) << 8;
}
CE_INLINE float vf_reduce_max(vf v)
{
    __m256 a = _mm256_max_ps(v.lo, v.hi);
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

CE_INLINE vd ce_widen_ps(__m256 v)
{
    return (vd){_mm256_cvtps_pd(_mm256_castps256_ps128(v)), _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))};
}
CE_INLINE __m256 ce_narrow_pd(vd v)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(v.lo)), _mm256_cvtpd_ps(v.hi), 1);
}
CE_INLINE vd vf_widen_lo(vf v) { return ce_widen_ps(v.lo); }
CE_INLINE vd vf_widen_hi(vf v) { return ce_widen_ps(v.hi); }
CE_INLINE vf vf_narrow(vd lo, vd hi) { return (vf){ce_narrow_pd(lo), ce_narrow_pd(hi)}; }
/* A float's bits moved down by three are the high word of a double: 32 up and 3 down for the even lanes. */
CE_INLINE __m256d ce_spread_even(__m256 v)
{
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castps_si256(v), 29));
}
CE_INLINE __m256d ce_spread_odd(__m256 v)
{
    const __m256i down = _mm256_setr_epi32(32, 3, 32, 3, 32, 3, 32, 3);
    return _mm256_castsi256_pd(_mm256_srlv_epi32(_mm256_castps_si256(v), down));
}
CE_INLINE vd vf_spread_even(vf v) { return (vd){ce_spread_even(v.lo), ce_spread_even(v.hi)}; }
CE_INLINE vd vf_spread_odd(vf v) { return (vd){ce_spread_odd(v.lo), ce_spread_odd(v.hi)}; }

/* ---- 8 doubles ---- */

CE_INLINE vd vd_load(const double *p) { return (vd){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
CE_INLINE void vd_store(double *p, vd v)
{
    _mm256_storeu_pd(p, v.lo);
    _mm256_storeu_pd(p + 4, v.hi);
}
CE_INLINE void vd_stream(double *p, vd v)
{
    _mm256_stream_pd(p, v.lo);
    _mm256_stream_pd(p + 4, v.hi);
}
CE_INLINE vd vd_set1(double x)
{
    __m256d v = _mm256_set1_pd(x);
    return (vd){v, v};
}

CE_INLINE vdm ce_low_lanes_d(ptrdiff_t n)
{
    __m256i count = _mm256_set1_epi64x((long long)n);
    return (vdm){_mm256_castsi256_pd(_mm256_cmpgt_epi64(count, _mm256_setr_epi64x(0, 1, 2, 3))),
                 _mm256_castsi256_pd(_mm256_cmpgt_epi64(count, _mm256_setr_epi64x(4, 5, 6, 7)))};
}

CE_INLINE vd vd_load_part(const double *p, ptrdiff_t n, double fill)
{
    vdm low = ce_low_lanes_d(n);
    __m256d rest = _mm256_set1_pd(fill);
    __m256d lo = _mm256_maskload_pd(p, _mm256_castpd_si256(low.lo));
    __m256d hi = _mm256_maskload_pd(p + 4, _mm256_castpd_si256(low.hi));
    return (vd){_mm256_blendv_pd(rest, lo, low.lo), _mm256_blendv_pd(rest, hi, low.hi)};
}
CE_INLINE void vd_store_part(double *p, vd v, ptrdiff_t n)
{
    vdm low = ce_low_lanes_d(n);
    _mm256_maskstore_pd(p, _mm256_castpd_si256(low.lo), v.lo);
    _mm256_maskstore_pd(p + 4, _mm256_castpd_si256(low.hi), v.hi);
}

CE_BINARY(vd, add, _mm256_add_pd)
CE_BINARY(vd, sub, _mm256_sub_pd)
CE_BINARY(vd, mul, _mm256_mul_pd)
CE_BINARY(vd, div, _mm256_div_pd)
CE_BINARY(vd, max, _mm256_max_pd)
CE_BINARY(vd, min, _mm256_min_pd)
CE_TERNARY(vd, fma, _mm256_fmadd_pd)
CE_TERNARY(vd, fnma, _mm256_fnmadd_pd)
CE_TERNARY(vd, product_error, _mm256_fmsub_pd)
CE_TERNARY(vd, madd, _mm256_fmadd_pd)
CE_INLINE __m256d ce_neg_pd(__m256d a) { return _mm256_xor_pd(a, _mm256_set1_pd(-0.0)); }
CE_INLINE __m256d ce_abs_pd(__m256d a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
CE_UNARY(vd, neg, ce_neg_pd)
CE_UNARY(vd, abs, ce_abs_pd)

CE_INLINE __m256d ce_or3_pd(__m256d a, __m256d b, __m256d c) { return _mm256_or_pd(_mm256_or_pd(a, b), c); }
CE_TERNARY(vd, or3, ce_or3_pd)

CE_COMPARE(vd, lt, _mm256_cmp_pd, _CMP_LT_OQ)
CE_COMPARE(vd, eq, _mm256_cmp_pd, _CMP_EQ_OQ)
CE_INLINE int vd_any(vdm m) { return _mm256_movemask_pd(_mm256_or_pd(m.lo, m.hi)) != 0; }
CE_INLINE vd vd_select(vdm m, vd yes, vd no)
{
    return (vd){_mm256_blendv_pd(no.lo, yes.lo, m.lo), _mm256_blendv_pd(no.hi, yes.hi, m.hi)};
}
CE_INLINE vd vd_add_where(vdm m, vd a, vd b)
{
    return (vd){_mm256_add_pd(a.lo, _mm256_and_pd(m.lo, b.lo)), _mm256_add_pd(a.hi, _mm256_and_pd(m.hi, b.hi))};
}
CE_INLINE vd vd_set_lane(vd v, ptrdiff_t i, double x)
{
    __m256i lane = _mm256_set1_epi64x((long long)i);
    vdm here = {_mm256_castsi256_pd(_mm256_cmpeq_epi64(lane, _mm256_setr_epi64x(0, 1, 2, 3))),
                _mm256_castsi256_pd(_mm256_cmpeq_epi64(lane, _mm256_setr_epi64x(4, 5, 6, 7)))};
    return vd_select(here, vd_set1(x), v);
}

/* AVX2 permutes only words of 32 bits by a variable. Eight numbers of 64 bits are two registers, of their low and of their high
 * words: each is permuted by z, and the two are put together. (Four numbers in each, permuted as pairs of words, and bit 2 of z
 * choosing: cross_entropy of 1000 doubles takes 18 % more, the other sums of exponentials of doubles 4 to 14 %.) */
struct ce_words {
    __m256i lo, hi;
};

CE_INLINE struct ce_words ce_words_of(const void *table)
{
    __m256 a = _mm256_loadu_ps((const float *)table), b = _mm256_loadu_ps((const float *)table + 8);
    __m256d lo = _mm256_castps_pd(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)));
    __m256d hi = _mm256_castps_pd(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
    return (struct ce_words){_mm256_castpd_si256(_mm256_permute4x64_pd(lo, _MM_SHUFFLE(3, 1, 2, 0))),
                             _mm256_castpd_si256(_mm256_permute4x64_pd(hi, _MM_SHUFFLE(3, 1, 2, 0)))};
}

CE_INLINE __m256i ce_lookup8_epi64(struct ce_words table, __m256d z)
{
    __m256i index = _mm256_shuffle_epi32(_mm256_castpd_si256(z), _MM_SHUFFLE(2, 2, 0, 0));
    __m256i lo = _mm256_permutevar8x32_epi32(table.lo, index), hi = _mm256_permutevar8x32_epi32(table.hi, index);
    return _mm256_blend_epi32(lo, hi, 0xaa);
}
CE_INLINE vd vd_lookup8(const double *table, vd z)
{
    struct ce_words words = ce_words_of(table);
    return (vd){_mm256_castsi256_pd(ce_lookup8_epi64(words, z.lo)), _mm256_castsi256_pd(ce_lookup8_epi64(words, z.hi))};
}
CE_INLINE __m256d ce_exponent_bits_pd(__m256d z)
{
    __m256i shifted = _mm256_slli_epi64(_mm256_castpd_si256(z), 49);
    return _mm256_castsi256_pd(_mm256_and_si256(shifted, _mm256_set1_epi64x(0x7ff0000000000000)));
}
CE_UNARY(vd, exponent_bits, ce_exponent_bits_pd)

CE_INLINE __m256d ce_power_pd(struct ce_words table, __m256d z)
{
    __m256i entry = ce_lookup8_epi64(table, z);
    return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_slli_epi64(_mm256_castpd_si256(z), 49), entry));
}
CE_INLINE vd vd_power(const uint64_t *table, vd z)
{
    struct ce_words words = ce_words_of(table);
    return (vd){ce_power_pd(words, z.lo), ce_power_pd(words, z.hi)};
}

CE_INLINE vd ce_zip_d(__m256d a, __m256d b)
{
    __m256d even = _mm256_unpacklo_pd(a, b), odd = _mm256_unpackhi_pd(a, b);
    return (vd){_mm256_permute2f128_pd(even, odd, 0x20), _mm256_permute2f128_pd(even, odd, 0x31)};
}
CE_INLINE vd vd_zip_lo(vd a, vd b) { return ce_zip_d(a.lo, b.lo); }
CE_INLINE vd vd_zip_hi(vd a, vd b) { return ce_zip_d(a.hi, b.hi); }
CE_INLINE vd vd_zip_blocks_lo(vd a, vd b)
{
    return (vd){_mm256_unpacklo_pd(a.lo, b.lo), _mm256_unpacklo_pd(a.hi, b.hi)};
}
CE_INLINE vd vd_zip_blocks_hi(vd a, vd b)
{
    return (vd){_mm256_unpackhi_pd(a.lo, b.lo), _mm256_unpackhi_pd(a.hi, b.hi)};
}
CE_INLINE __m256d ce_two_blocks_pd(const double *p, ptrdiff_t step)
{
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(p + step), 1);
}
CE_INLINE vd vd_load_blocks(const double *p, ptrdiff_t step)
{
    return (vd){ce_two_blocks_pd(p, step), ce_two_blocks_pd(p + 2 * step, step)};
}
CE_INLINE void vd_store_blocks(double *p, ptrdiff_t step, vd v)
{
    _mm_storeu_pd(p, _mm256_castpd256_pd128(v.lo));
    _mm_storeu_pd(p + step, _mm256_extractf128_pd(v.lo, 1));
    _mm_storeu_pd(p + 2 * step, _mm256_castpd256_pd128(v.hi));
    _mm_storeu_pd(p + 3 * step, _mm256_extractf128_pd(v.hi, 1));
}
CE_INLINE unsigned vd_equal_lanes(vd v, double x)
{
    vdm m = vd_eq(v, vd_set1(x));
    return (unsigned)_mm256_movemask_pd(m.lo) | (unsigned)_mm256_movemask_pd(m.hi) << 4;
}
CE_INLINE double vd_reduce_max(vd v)
{
    __m256d a = _mm256_max_pd(v.lo, v.hi);
    __m128d b = _mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_max_sd(b, _mm_unpackhi_pd(b, b)));
}
CE_INLINE double vd_reduce_add(vd v)
{
    __m256d a = _mm256_add_pd(v.lo, v.hi);
    __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}

CE_INLINE __m256d ce_get_exponent_pd(__m256d v)
{
    /* An integer below 2^52 put in the mantissa of 2^52 is that integer plus 2^52: AVX2 converts no 64-bit integers. */
    __m256i biased = _mm256_srli_epi64(_mm256_castpd_si256(v), 52);
    __m256d shifted = _mm256_castsi256_pd(_mm256_or_si256(biased, _mm256_set1_epi64x(0x4330000000000000)));
    return _mm256_sub_pd(shifted, _mm256_set1_pd(0x1p52 + 1023));
}
CE_INLINE __m256d ce_get_mantissa_pd(__m256d v)
{
    __m256d fraction = _mm256_and_pd(v, _mm256_castsi256_pd(_mm256_set1_epi64x(0x000fffffffffffff)));
    return _mm256_or_pd(fraction, _mm256_set1_pd(1.0));
}
CE_UNARY(vd, get_exponent, ce_get_exponent_pd)
CE_UNARY(vd, get_mantissa, ce_get_mantissa_pd)

#undef CE_UNARY
#undef CE_BINARY
#undef CE_TERNARY
#undef CE_COMPARE
CE_INLINE vd vd_load_f32(const float *p)
{
    return (vd){_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))};
}
CE_INLINE void vd_store_f32(float *p, vd v)
{
    _mm_storeu_ps(p, _mm256_cvtpd_ps(v.lo));
    _mm_storeu_ps(p + 4, _mm256_cvtpd_ps(v.hi));
}
CE_INLINE void ce_stream_fence(void) { _mm_sfence(); }

#endif
