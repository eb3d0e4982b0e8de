/* Vectors for 64-bit ARM: vf is 16 floats, vd is 8 doubles, four registers each.
 * The operations, and what each promises, are listed in avx512.h; the bits are the same. */
#ifndef CROSSENT_SIMD_H
#define CROSSENT_SIMD_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "inline.h"

typedef struct {
    float32x4_t a, b, c, d;
} vf;
typedef struct {
    float64x2_t a, b, c, d;
} vd;
/* A mask is all ones in the lanes that are true. */
typedef struct {
    uint32x4_t a, b, c, d;
} vfm;
typedef struct {
    uint64x2_t a, b, c, d;
} vdm;

#define CE_INTERLEAVE 1 /* four registers to a vector are four chains */
#define CE_AHEAD 1
#define CE_TURN CE_INTERLEAVE
#define CE_LATE_MAPS 1
#define CE_WHOLE_ROWS 0
#define CE_LANES_CLASSES_f32 160 /* those of AVX2: not measured */
#define CE_LANES_CLASSES_f64 112

#define CE_UNARY(type, name, op)                                                                                       \
    CE_INLINE type type##_##name(type x) { return (type){op(x.a), op(x.b), op(x.c), op(x.d)}; }
#define CE_BINARY_TO(result, type, name, op)                                                                           \
    CE_INLINE result type##_##name(type x, type y)                                                                     \
    {                                                                                                                  \
        return (result){op(x.a, y.a), op(x.b, y.b), op(x.c, y.c), op(x.d, y.d)};                                       \
    }
#define CE_BINARY(type, name, op) CE_BINARY_TO(type, type, name, op)
#define CE_TERNARY_TO(result, type, name, op)                                                                          \
    CE_INLINE type type##_##name(result x, type y, type z)                                                             \
    {                                                                                                                  \
        return (type){op(x.a, y.a, z.a), op(x.b, y.b, z.b), op(x.c, y.c, z.c), op(x.d, y.d, z.d)};                     \
    }
#define CE_TERNARY(type, name, op) CE_TERNARY_TO(type, type, name, op)

/* The accumulator comes first in the intrinsics. */
CE_INLINE float32x4_t ce_fma_f32(float32x4_t a, float32x4_t b, float32x4_t c) { return vfmaq_f32(c, a, b); }
CE_INLINE float32x4_t ce_fnma_f32(float32x4_t a, float32x4_t b, float32x4_t c) { return vfmsq_f32(c, a, b); }
CE_INLINE float64x2_t ce_fma_f64(float64x2_t a, float64x2_t b, float64x2_t c) { return vfmaq_f64(c, a, b); }
CE_INLINE float64x2_t ce_fnma_f64(float64x2_t a, float64x2_t b, float64x2_t c) { return vfmsq_f64(c, a, b); }
CE_INLINE float64x2_t ce_fms_f64(float64x2_t a, float64x2_t b, float64x2_t c) { return vfmaq_f64(vnegq_f64(c), a, b); }
/* FMAX and FMIN return NaN where either is NaN; ours return the second operand, then and for zeros of both signs. */
CE_INLINE float32x4_t ce_max_f32(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
CE_INLINE float32x4_t ce_min_f32(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
CE_INLINE float64x2_t ce_max_f64(float64x2_t a, float64x2_t b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
CE_INLINE float64x2_t ce_min_f64(float64x2_t a, float64x2_t b) { return vbslq_f64(vcltq_f64(a, b), a, b); }

/* ---- 16 floats ---- */

CE_INLINE vf vf_load(const float *p)
{
    return (vf){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
CE_INLINE void vf_store(float *p, vf v)
{
    vst1q_f32(p, v.a);
    vst1q_f32(p + 4, v.b);
    vst1q_f32(p + 8, v.c);
    vst1q_f32(p + 12, v.d);
}
/* There is no store past the cache worth having: STNP is only a hint, and the cores detect streams by themselves. */
CE_INLINE void vf_stream(float *p, vf v) { vf_store(p, v); }
CE_INLINE vf vf_set1(float x)
{
    float32x4_t v = vdupq_n_f32(x);
    return (vf){v, v, v, v};
}

/* A loop meets the same n over and over, so that these branches are predicted. */
CE_INLINE float32x4_t ce_load_part_f32(const float *p, ptrdiff_t n, float fill)
{
    float32x4_t v = vdupq_n_f32(fill);
    if (n >= 4) {
        return vld1q_f32(p);
    }
    if (n >= 1) {
        v = vld1q_lane_f32(p, v, 0);
    }
    if (n >= 2) {
        v = vld1q_lane_f32(p + 1, v, 1);
    }
    if (n >= 3) {
        v = vld1q_lane_f32(p + 2, v, 2);
    }
    return v;
}
CE_INLINE void ce_store_part_f32(float *p, float32x4_t v, ptrdiff_t n)
{
    if (n >= 4) {
        vst1q_f32(p, v);
        return;
    }
    if (n >= 1) {
        vst1q_lane_f32(p, v, 0);
    }
    if (n >= 2) {
        vst1q_lane_f32(p + 1, v, 1);
    }
    if (n >= 3) {
        vst1q_lane_f32(p + 2, v, 2);
    }
}
CE_INLINE vf vf_load_part(const float *p, ptrdiff_t n, float fill)
{
    return (vf){ce_load_part_f32(p, n, fill), ce_load_part_f32(p + 4, n - 4, fill),
                ce_load_part_f32(p + 8, n - 8, fill), ce_load_part_f32(p + 12, n - 12, fill)};
}
CE_INLINE void vf_store_part(float *p, vf v, ptrdiff_t n)
{
    ce_store_part_f32(p, v.a, n);
    ce_store_part_f32(p + 4, v.b, n - 4);
    ce_store_part_f32(p + 8, v.c, n - 8);
    ce_store_part_f32(p + 12, v.d, n - 12);
}

CE_BINARY(vf, add, vaddq_f32)
CE_BINARY(vf, sub, vsubq_f32)
CE_BINARY(vf, mul, vmulq_f32)
CE_BINARY(vf, div, vdivq_f32)
CE_BINARY(vf, max, ce_max_f32)
CE_BINARY(vf, min, ce_min_f32)
CE_UNARY(vf, neg, vnegq_f32)
CE_UNARY(vf, abs, vabsq_f32)
CE_TERNARY(vf, fma, ce_fma_f32)
CE_TERNARY(vf, fnma, ce_fnma_f32)
CE_TERNARY(vf, madd, ce_fma_f32)
CE_INLINE float32x4_t ce_or3_f32(float32x4_t a, float32x4_t b, float32x4_t c)
{
    uint32x4_t bits = vorrq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b));
    return vreinterpretq_f32_u32(vorrq_u32(bits, vreinterpretq_u32_f32(c)));
}
CE_TERNARY(vf, or3, ce_or3_f32)
CE_BINARY_TO(vfm, vf, lt, vcltq_f32)
CE_BINARY_TO(vfm, vf, eq, vceqq_f32)
CE_TERNARY_TO(vfm, vf, select, vbslq_f32)
CE_INLINE int vf_any(vfm m) { return vmaxvq_u32(vorrq_u32(vorrq_u32(m.a, m.b), vorrq_u32(m.c, m.d))) != 0; }

CE_INLINE float32x4_t ce_add_where_f32(uint32x4_t m, float32x4_t a, float32x4_t b)
{
    return vaddq_f32(a, vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(b))));
}
CE_INLINE vf vf_add_where(vfm m, vf x, vf y)
{
    return (vf){ce_add_where_f32(m.a, x.a, y.a), ce_add_where_f32(m.b, x.b, y.b), ce_add_where_f32(m.c, x.c, y.c),
                ce_add_where_f32(m.d, x.d, y.d)};
}
CE_INLINE float32x4_t ce_set_lane_f32(float32x4_t v, uint32x4_t lane, uint32_t first, float x)
{
    static const uint32_t numbers[4] = {0, 1, 2, 3};
    uint32x4_t here = vceqq_u32(lane, vaddq_u32(vld1q_u32(numbers), vdupq_n_u32(first)));
    return vbslq_f32(here, vdupq_n_f32(x), v);
}
CE_INLINE vf vf_set_lane(vf v, ptrdiff_t i, float x)
{
    uint32x4_t lane = vdupq_n_u32((size_t)i < 16 ? (uint32_t)i : 16);
    return (vf){ce_set_lane_f32(v.a, lane, 0, x), ce_set_lane_f32(v.b, lane, 4, x), ce_set_lane_f32(v.c, lane, 8, x),
                ce_set_lane_f32(v.d, lane, 12, x)};
}

/* TBL looks up bytes: entry z is bytes 4z .. 4z + 3 of the table, made from z by one multiplication. */
CE_INLINE float32x4_t ce_lookup8_f32(uint8x16x2_t table, float32x4_t z)
{
    uint32x4_t index = vandq_u32(vreinterpretq_u32_f32(z), vdupq_n_u32(7));
    uint32x4_t bytes = vmlaq_u32(vdupq_n_u32(0x03020100), index, vdupq_n_u32(0x04040404));
    return vreinterpretq_f32_u8(vqtbl2q_u8(table, vreinterpretq_u8_u32(bytes)));
}
CE_INLINE vf vf_lookup8(const float *table, vf z)
{
    uint8x16x2_t t = {{vreinterpretq_u8_f32(vld1q_f32(table)), vreinterpretq_u8_f32(vld1q_f32(table + 4))}};
    return (vf){ce_lookup8_f32(t, z.a), ce_lookup8_f32(t, z.b), ce_lookup8_f32(t, z.c), ce_lookup8_f32(t, z.d)};
}
CE_INLINE float32x4_t ce_exponent_bits_f32(float32x4_t z)
{
    uint32x4_t shifted = vshlq_n_u32(vreinterpretq_u32_f32(z), 20);
    return vreinterpretq_f32_u32(vandq_u32(shifted, vdupq_n_u32(0x7f800000)));
}
CE_UNARY(vf, exponent_bits, ce_exponent_bits_f32)

CE_INLINE float32x4_t ce_power_f32(uint8x16x2_t table, float32x4_t z)
{
    uint32x4_t entry = vreinterpretq_u32_f32(ce_lookup8_f32(table, z));
    return vreinterpretq_f32_u32(vaddq_u32(vshlq_n_u32(vreinterpretq_u32_f32(z), 20), entry));
}
CE_INLINE vf vf_power(const uint32_t *table, vf z)
{
    uint8x16x2_t t = {{vreinterpretq_u8_u32(vld1q_u32(table)), vreinterpretq_u8_u32(vld1q_u32(table + 4))}};
    return (vf){ce_power_f32(t, z.a), ce_power_f32(t, z.b), ce_power_f32(t, z.c), ce_power_f32(t, z.d)};
}

CE_INLINE vf vf_zip_lo(vf a, vf b)
{
    return (vf){vzip1q_f32(a.a, b.a), vzip2q_f32(a.a, b.a), vzip1q_f32(a.b, b.b), vzip2q_f32(a.b, b.b)};
}
CE_INLINE vf vf_zip_hi(vf a, vf b)
{
    return (vf){vzip1q_f32(a.c, b.c), vzip2q_f32(a.c, b.c), vzip1q_f32(a.d, b.d), vzip2q_f32(a.d, b.d)};
}
CE_INLINE vf vf_zip_blocks_lo(vf a, vf b)
{
    return (vf){vzip1q_f32(a.a, b.a), vzip1q_f32(a.b, b.b), vzip1q_f32(a.c, b.c), vzip1q_f32(a.d, b.d)};
}
CE_INLINE vf vf_zip_blocks_hi(vf a, vf b)
{
    return (vf){vzip2q_f32(a.a, b.a), vzip2q_f32(a.b, b.b), vzip2q_f32(a.c, b.c), vzip2q_f32(a.d, b.d)};
}
CE_INLINE vf vf_load_blocks(const float *p, ptrdiff_t step)
{
    return (vf){vld1q_f32(p), vld1q_f32(p + step), vld1q_f32(p + 2 * step), vld1q_f32(p + 3 * step)};
}
CE_INLINE void vf_store_blocks(float *p, ptrdiff_t step, vf v)
{
    vst1q_f32(p, v.a);
    vst1q_f32(p + step, v.b);
    vst1q_f32(p + 2 * step, v.c);
    vst1q_f32(p + 3 * step, v.d);
}
CE_INLINE unsigned vf_equal_lanes(vf v, float x)
{
    static const uint32_t bits[4] = {1, 2, 4, 8};
    uint32x4_t bit = vld1q_u32(bits);
    vfm m = vf_eq(v, vf_set1(x));
    uint32x4_t low = vorrq_u32(vandq_u32(m.a, bit), vandq_u32(m.b, vshlq_n_u32(bit, 4)));
    uint32x4_t high = vorrq_u32(vandq_u32(m.c, vshlq_n_u32(bit, 8)), vandq_u32(m.d, vshlq_n_u32(bit, 12)));
    return vaddvq_u32(vorrq_u32(low, high));
}
CE_INLINE float vf_reduce_max(vf v) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(v.a, v.c), vmaxq_f32(v.b, v.d))); }

CE_INLINE vd ce_widen_f32(float32x4_t lo, float32x4_t hi)
{
    return (vd){vcvt_f64_f32(vget_low_f32(lo)), vcvt_high_f64_f32(lo), vcvt_f64_f32(vget_low_f32(hi)),
                vcvt_high_f64_f32(hi)};
}
CE_INLINE float32x4_t ce_narrow_f64(float64x2_t lo, float64x2_t hi) { return vcvt_high_f32_f64(vcvt_f32_f64(lo), hi); }
CE_INLINE vd vf_widen_lo(vf v) { return ce_widen_f32(v.a, v.b); }
CE_INLINE vd vf_widen_hi(vf v) { return ce_widen_f32(v.c, v.d); }
CE_INLINE vf vf_narrow(vd lo, vd hi)
{
    return (vf){ce_narrow_f64(lo.a, lo.b), ce_narrow_f64(lo.c, lo.d), ce_narrow_f64(hi.a, hi.b),
                ce_narrow_f64(hi.c, hi.d)};
}
/* A float's bits moved down by three are the high word of a double: 32 up and 3 down for the even lanes. */
CE_INLINE float64x2_t ce_spread_even(float32x4_t v)
{
    return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f32(v), 29));
}
CE_INLINE float64x2_t ce_spread_odd(float32x4_t v)
{
    const int32x4_t down = {-32, -3, -32, -3};
    return vreinterpretq_f64_u32(vshlq_u32(vreinterpretq_u32_f32(v), down));
}
CE_INLINE vd vf_spread_even(vf v)
{
    return (vd){ce_spread_even(v.a), ce_spread_even(v.b), ce_spread_even(v.c), ce_spread_even(v.d)};
}
CE_INLINE vd vf_spread_odd(vf v)
{
    return (vd){ce_spread_odd(v.a), ce_spread_odd(v.b), ce_spread_odd(v.c), ce_spread_odd(v.d)};
}

/* ---- 8 doubles ---- */

CE_INLINE vd vd_load(const double *p)
{
    return (vd){vld1q_f64(p), vld1q_f64(p + 2), vld1q_f64(p + 4), vld1q_f64(p + 6)};
}
CE_INLINE void vd_store(double *p, vd v)
{
    vst1q_f64(p, v.a);
    vst1q_f64(p + 2, v.b);
    vst1q_f64(p + 4, v.c);
    vst1q_f64(p + 6, v.d);
}
CE_INLINE void vd_stream(double *p, vd v) { vd_store(p, v); }
CE_INLINE vd vd_set1(double x)
{
    float64x2_t v = vdupq_n_f64(x);
    return (vd){v, v, v, v};
}

CE_INLINE float64x2_t ce_load_part_f64(const double *p, ptrdiff_t n, double fill)
{
    float64x2_t v = vdupq_n_f64(fill);
    if (n >= 2) {
        return vld1q_f64(p);
    }
    return n == 1 ? vld1q_lane_f64(p, v, 0) : v;
}
CE_INLINE void ce_store_part_f64(double *p, float64x2_t v, ptrdiff_t n)
{
    if (n >= 2) {
        vst1q_f64(p, v);
    } else if (n == 1) {
        vst1q_lane_f64(p, v, 0);
    }
}
CE_INLINE vd vd_load_part(const double *p, ptrdiff_t n, double fill)
{
    return (vd){ce_load_part_f64(p, n, fill), ce_load_part_f64(p + 2, n - 2, fill),
                ce_load_part_f64(p + 4, n - 4, fill), ce_load_part_f64(p + 6, n - 6, fill)};
}
CE_INLINE void vd_store_part(double *p, vd v, ptrdiff_t n)
{
    ce_store_part_f64(p, v.a, n);
    ce_store_part_f64(p + 2, v.b, n - 2);
    ce_store_part_f64(p + 4, v.c, n - 4);
    ce_store_part_f64(p + 6, v.d, n - 6);
}

CE_BINARY(vd, add, vaddq_f64)
CE_BINARY(vd, sub, vsubq_f64)
CE_BINARY(vd, mul, vmulq_f64)
CE_BINARY(vd, div, vdivq_f64)
CE_BINARY(vd, max, ce_max_f64)
CE_BINARY(vd, min, ce_min_f64)
CE_UNARY(vd, neg, vnegq_f64)
CE_UNARY(vd, abs, vabsq_f64)
CE_TERNARY(vd, fma, ce_fma_f64)
CE_TERNARY(vd, fnma, ce_fnma_f64)
CE_TERNARY(vd, product_error, ce_fms_f64)
CE_TERNARY(vd, madd, ce_fma_f64)
CE_INLINE float64x2_t ce_or3_f64(float64x2_t a, float64x2_t b, float64x2_t c)
{
    uint64x2_t bits = vorrq_u64(vreinterpretq_u64_f64(a), vreinterpretq_u64_f64(b));
    return vreinterpretq_f64_u64(vorrq_u64(bits, vreinterpretq_u64_f64(c)));
}
CE_TERNARY(vd, or3, ce_or3_f64)
CE_BINARY_TO(vdm, vd, lt, vcltq_f64)
CE_BINARY_TO(vdm, vd, eq, vceqq_f64)
CE_TERNARY_TO(vdm, vd, select, vbslq_f64)
CE_INLINE int vd_any(vdm m)
{
    return vmaxvq_u32(vreinterpretq_u32_u64(vorrq_u64(vorrq_u64(m.a, m.b), vorrq_u64(m.c, m.d)))) != 0;
}

CE_INLINE float64x2_t ce_add_where_f64(uint64x2_t m, float64x2_t a, float64x2_t b)
{
    return vaddq_f64(a, vreinterpretq_f64_u64(vandq_u64(m, vreinterpretq_u64_f64(b))));
}
CE_INLINE vd vd_add_where(vdm m, vd x, vd y)
{
    return (vd){ce_add_where_f64(m.a, x.a, y.a), ce_add_where_f64(m.b, x.b, y.b), ce_add_where_f64(m.c, x.c, y.c),
                ce_add_where_f64(m.d, x.d, y.d)};
}
CE_INLINE float64x2_t ce_set_lane_f64(float64x2_t v, uint64x2_t lane, uint64_t first, double x)
{
    static const uint64_t numbers[2] = {0, 1};
    uint64x2_t here = vceqq_u64(lane, vaddq_u64(vld1q_u64(numbers), vdupq_n_u64(first)));
    return vbslq_f64(here, vdupq_n_f64(x), v);
}
CE_INLINE vd vd_set_lane(vd v, ptrdiff_t i, double x)
{
    uint64x2_t lane = vdupq_n_u64((uint64_t)i);
    return (vd){ce_set_lane_f64(v.a, lane, 0, x), ce_set_lane_f64(v.b, lane, 2, x), ce_set_lane_f64(v.c, lane, 4, x),
                ce_set_lane_f64(v.d, lane, 6, x)};
}

/* Entry z is bytes 8z .. 8z + 7; no 64-bit multiplication exists, so the index is first copied to both 32-bit words. */
CE_INLINE float64x2_t ce_lookup8_f64(uint8x16x4_t table, float64x2_t z)
{
    uint32x4_t words = vreinterpretq_u32_f64(z);
    uint32x4_t index = vandq_u32(vtrn1q_u32(words, words), vdupq_n_u32(7));
    uint32x4_t first = vreinterpretq_u32_u64(vdupq_n_u64(0x0706050403020100));
    uint32x4_t bytes = vmlaq_u32(first, index, vdupq_n_u32(0x08080808));
    return vreinterpretq_f64_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes)));
}
CE_INLINE vd vd_lookup8(const double *table, vd z)
{
    uint8x16x4_t t = {{vreinterpretq_u8_f64(vld1q_f64(table)), vreinterpretq_u8_f64(vld1q_f64(table + 2)),
                       vreinterpretq_u8_f64(vld1q_f64(table + 4)), vreinterpretq_u8_f64(vld1q_f64(table + 6))}};
    return (vd){ce_lookup8_f64(t, z.a), ce_lookup8_f64(t, z.b), ce_lookup8_f64(t, z.c), ce_lookup8_f64(t, z.d)};
}
CE_INLINE float64x2_t ce_exponent_bits_f64(float64x2_t z)
{
    uint64x2_t shifted = vshlq_n_u64(vreinterpretq_u64_f64(z), 49);
    return vreinterpretq_f64_u64(vandq_u64(shifted, vdupq_n_u64(0x7ff0000000000000)));
}
CE_UNARY(vd, exponent_bits, ce_exponent_bits_f64)

CE_INLINE float64x2_t ce_power_f64(uint8x16x4_t table, float64x2_t z)
{
    uint64x2_t entry = vreinterpretq_u64_f64(ce_lookup8_f64(table, z));
    return vreinterpretq_f64_u64(vaddq_u64(vshlq_n_u64(vreinterpretq_u64_f64(z), 49), entry));
}
CE_INLINE vd vd_power(const uint64_t *table, vd z)
{
    uint8x16x4_t t = {{vreinterpretq_u8_u64(vld1q_u64(table)), vreinterpretq_u8_u64(vld1q_u64(table + 2)),
                       vreinterpretq_u8_u64(vld1q_u64(table + 4)), vreinterpretq_u8_u64(vld1q_u64(table + 6))}};
    return (vd){ce_power_f64(t, z.a), ce_power_f64(t, z.b), ce_power_f64(t, z.c), ce_power_f64(t, z.d)};
}

CE_INLINE vd vd_zip_lo(vd a, vd b)
{
    return (vd){vzip1q_f64(a.a, b.a), vzip2q_f64(a.a, b.a), vzip1q_f64(a.b, b.b), vzip2q_f64(a.b, b.b)};
}
CE_INLINE vd vd_zip_hi(vd a, vd b)
{
    return (vd){vzip1q_f64(a.c, b.c), vzip2q_f64(a.c, b.c), vzip1q_f64(a.d, b.d), vzip2q_f64(a.d, b.d)};
}
CE_INLINE vd vd_zip_blocks_lo(vd a, vd b)
{
    return (vd){vzip1q_f64(a.a, b.a), vzip1q_f64(a.b, b.b), vzip1q_f64(a.c, b.c), vzip1q_f64(a.d, b.d)};
}
CE_INLINE vd vd_zip_blocks_hi(vd a, vd b)
{
    return (vd){vzip2q_f64(a.a, b.a), vzip2q_f64(a.b, b.b), vzip2q_f64(a.c, b.c), vzip2q_f64(a.d, b.d)};
}
CE_INLINE vd vd_load_blocks(const double *p, ptrdiff_t step)
{
    return (vd){vld1q_f64(p), vld1q_f64(p + step), vld1q_f64(p + 2 * step), vld1q_f64(p + 3 * step)};
}
CE_INLINE void vd_store_blocks(double *p, ptrdiff_t step, vd v)
{
    vst1q_f64(p, v.a);
    vst1q_f64(p + step, v.b);
    vst1q_f64(p + 2 * step, v.c);
    vst1q_f64(p + 3 * step, v.d);
}
CE_INLINE unsigned vd_equal_lanes(vd v, double x)
{
    static const uint32_t bits[4] = {1, 2, 4, 8};
    uint32x4_t bit = vld1q_u32(bits);
    vdm m = vd_eq(v, vd_set1(x));
    uint32x4_t low = vcombine_u32(vmovn_u64(m.a), vmovn_u64(m.b)), high = vcombine_u32(vmovn_u64(m.c), vmovn_u64(m.d));
    return vaddvq_u32(vorrq_u32(vandq_u32(low, bit), vandq_u32(high, vshlq_n_u32(bit, 4))));
}
CE_INLINE double vd_reduce_max(vd v) { return vmaxvq_f64(vmaxq_f64(vmaxq_f64(v.a, v.c), vmaxq_f64(v.b, v.d))); }
CE_INLINE double vd_reduce_add(vd v)
{
    float64x2_t s = vaddq_f64(vaddq_f64(v.a, v.c), vaddq_f64(v.b, v.d));
    return vgetq_lane_f64(s, 0) + vgetq_lane_f64(s, 1);
}

CE_INLINE float64x2_t ce_get_exponent_f64(float64x2_t v)
{
    uint64x2_t biased = vshrq_n_u64(vreinterpretq_u64_f64(v), 52);
    return vsubq_f64(vcvtq_f64_u64(biased), vdupq_n_f64(1023.0));
}
CE_INLINE float64x2_t ce_get_mantissa_f64(float64x2_t v)
{
    uint64x2_t fraction = vandq_u64(vreinterpretq_u64_f64(v), vdupq_n_u64(0x000fffffffffffff));
    return vreinterpretq_f64_u64(vorrq_u64(fraction, vdupq_n_u64(0x3ff0000000000000)));
}
CE_UNARY(vd, get_exponent, ce_get_exponent_f64)
CE_UNARY(vd, get_mantissa, ce_get_mantissa_f64)

#undef CE_UNARY
#undef CE_BINARY
#undef CE_BINARY_TO
#undef CE_TERNARY
#undef CE_TERNARY_TO
CE_INLINE vd vd_load_f32(const float *p)
{
    float32x4_t lo = vld1q_f32(p), hi = vld1q_f32(p + 4);
    return (vd){vcvt_f64_f32(vget_low_f32(lo)), vcvt_high_f64_f32(lo), vcvt_f64_f32(vget_low_f32(hi)),
                vcvt_high_f64_f32(hi)};
}
CE_INLINE void vd_store_f32(float *p, vd v)
{
    vst1q_f32(p, vcvt_high_f32_f64(vcvt_f32_f64(v.a), v.b));
    vst1q_f32(p + 4, vcvt_high_f32_f64(vcvt_f32_f64(v.c), v.d));
}
CE_INLINE void ce_stream_fence(void) {}

#endif
