/* Vectors for any processor: vf is 16 floats, vd is 8 doubles, in parts of 16 bytes (GNU vector extensions, SSE2 on
 * x86) or, for a compiler without those, in plain scalars that it may vectorise. The operations are listed in avx512.h.
 *
 * Without FMA in hardware fma and fnma are emulated, so bits differ from the other instruction sets: floats go through
 * double, where the product is exact (rounded twice, to double and to float); doubles carry the rounding errors of the
 * product and of the sum along (faithful: right to 1 ulp of the fused result, whatever cancels). */
#ifndef CROSSENT_SIMD_H
#define CROSSENT_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "inline.h"

#if !defined(__GNUC__) && !defined(__clang__) && !defined(CE_NO_VECTOR_EXTENSIONS)
#define CE_NO_VECTOR_EXTENSIONS 1
#endif
#if defined(__SSE2__) && !defined(CE_NO_VECTOR_EXTENSIONS)
#include <emmintrin.h>
#define CE_SSE2 1
#endif

/* A part: ce_f floats and ce_d doubles, with the unsigned integers of the same width, ce_u and ce_w.
 * CE_PARTS_F(X, op) lists X(op, i) for the parts of a vf, CE_PARTS_D for those of a vd. CE_TRUE makes all ones of a
 * comparison. */
#ifndef CE_NO_VECTOR_EXTENSIONS
typedef float ce_f __attribute__((vector_size(16)));
typedef double ce_d __attribute__((vector_size(16)));
typedef uint32_t ce_u __attribute__((vector_size(16)));
typedef uint64_t ce_w __attribute__((vector_size(16)));
#define CE_PARTS_F(X, op) X(op, 0), X(op, 1), X(op, 2), X(op, 3)
#define CE_PARTS_D(X, op) X(op, 0), X(op, 1), X(op, 2), X(op, 3)
#define CE_TRUE(type, condition) ((type)(condition))
CE_INLINE ce_f ce_set1_f(float x) { return (ce_f){x, x, x, x}; }
CE_INLINE ce_d ce_set1_d(double x) { return (ce_d){x, x}; }
#else
typedef float ce_f;
typedef double ce_d;
typedef uint32_t ce_u;
typedef uint64_t ce_w;
#define CE_PARTS_D(X, op) X(op, 0), X(op, 1), X(op, 2), X(op, 3), X(op, 4), X(op, 5), X(op, 6), X(op, 7)
#define CE_PARTS_F(X, op)                                                                                              \
    CE_PARTS_D(X, op), X(op, 8), X(op, 9), X(op, 10), X(op, 11), X(op, 12), X(op, 13), X(op, 14), X(op, 15)
#define CE_TRUE(type, condition) ((condition) ? ~(type)0 : (type)0)
CE_INLINE ce_f ce_set1_f(float x) { return x; }
CE_INLINE ce_d ce_set1_d(double x) { return x; }
#endif

#define CE_INTERLEAVE 1
#define CE_AHEAD 0 /* nothing stays in registers anyway */
#define CE_TURN 1
#define CE_LATE_MAPS 0 /* softmax took 3 to 7 % longer, log_softmax 4 to 17 % */
#define CE_WHOLE_ROWS 0
/* As in avx512.h, Emerald Rapids: 1.25, 1.21, 1.13 at 200 classes, 0.92, 0.98, 0.89 at 240; doubles 1.12, 1.07, 1.14 at 100, 0.90,
 * 0.85, 0.87 at 128. */
#define CE_LANES_CLASSES_f32 200
#define CE_LANES_CLASSES_f64 112

enum {
    CE_F_LANES = sizeof(ce_f) / sizeof(float),
    CE_D_LANES = sizeof(ce_d) / sizeof(double),
    CE_F_PARTS = 16 / CE_F_LANES,
    CE_D_PARTS = 8 / CE_D_LANES
};

typedef struct {
    ce_f v[CE_F_PARTS];
} vf;
typedef struct {
    ce_d v[CE_D_PARTS];
} vd;
/* A mask is all ones in the lanes that are true. */
typedef struct {
    ce_u v[CE_F_PARTS];
} vfm;
typedef struct {
    ce_w v[CE_D_PARTS];
} vdm;

/* ---- parts ---- */

#define CE_COPY(to, from)                                                                                              \
    to result;                                                                                                         \
    memcpy(&result, from, sizeof result);                                                                              \
    return result

CE_INLINE ce_f ce_load_f(const float *p) { CE_COPY(ce_f, p); }
CE_INLINE ce_d ce_load_d(const double *p) { CE_COPY(ce_d, p); }
CE_INLINE ce_u ce_bits_f(ce_f a) { CE_COPY(ce_u, &a); }
CE_INLINE ce_w ce_bits_d(ce_d a) { CE_COPY(ce_w, &a); }
CE_INLINE ce_f ce_from_bits_f(ce_u a) { CE_COPY(ce_f, &a); }
CE_INLINE ce_d ce_from_bits_d(ce_w a) { CE_COPY(ce_d, &a); }
#undef CE_COPY

#define CE_ADD(a, b) ((a) + (b))
#define CE_SUB(a, b) ((a) - (b))
#define CE_MUL(a, b) ((a) * (b))
#define CE_DIV(a, b) ((a) / (b))
#define CE_MADD(a, b, c) ((a) * (b) + (c))
CE_INLINE ce_f ce_neg_f(ce_f a) { return ce_from_bits_f(ce_bits_f(a) ^ 0x80000000u); }
CE_INLINE ce_d ce_neg_d(ce_d a) { return ce_from_bits_d(ce_bits_d(a) ^ 0x8000000000000000u); }
CE_INLINE ce_f ce_abs_f(ce_f a) { return ce_from_bits_f(ce_bits_f(a) & 0x7fffffffu); }
CE_INLINE ce_d ce_abs_d(ce_d a) { return ce_from_bits_d(ce_bits_d(a) & 0x7fffffffffffffffu); }
CE_INLINE ce_f ce_or3_f(ce_f a, ce_f b, ce_f c) { return ce_from_bits_f(ce_bits_f(a) | ce_bits_f(b) | ce_bits_f(c)); }
CE_INLINE ce_d ce_or3_d(ce_d a, ce_d b, ce_d c) { return ce_from_bits_d(ce_bits_d(a) | ce_bits_d(b) | ce_bits_d(c)); }

#ifdef CE_SSE2
/* The compilers do not find these instructions in the general text below. */
CE_INLINE ce_u ce_lt_f(ce_f a, ce_f b) { return (ce_u)_mm_cmplt_ps(a, b); }
CE_INLINE ce_w ce_lt_d(ce_d a, ce_d b) { return (ce_w)_mm_cmplt_pd(a, b); }
CE_INLINE ce_u ce_eq_f(ce_f a, ce_f b) { return (ce_u)_mm_cmpeq_ps(a, b); }
CE_INLINE ce_w ce_eq_d(ce_d a, ce_d b) { return (ce_w)_mm_cmpeq_pd(a, b); }
#else
CE_INLINE ce_u ce_lt_f(ce_f a, ce_f b) { return CE_TRUE(ce_u, a < b); }
CE_INLINE ce_w ce_lt_d(ce_d a, ce_d b) { return CE_TRUE(ce_w, a < b); }
CE_INLINE ce_u ce_eq_f(ce_f a, ce_f b) { return CE_TRUE(ce_u, a == b); }
CE_INLINE ce_w ce_eq_d(ce_d a, ce_d b) { return CE_TRUE(ce_w, a == b); }
#endif

CE_INLINE ce_f ce_add_where_f(ce_u m, ce_f a, ce_f b) { return a + ce_from_bits_f(m & ce_bits_f(b)); }
CE_INLINE ce_d ce_add_where_d(ce_w m, ce_d a, ce_d b) { return a + ce_from_bits_d(m & ce_bits_d(b)); }
CE_INLINE ce_f ce_select_f(ce_u m, ce_f yes, ce_f no)
{
    return ce_from_bits_f((m & ce_bits_f(yes)) | (~m & ce_bits_f(no)));
}
CE_INLINE ce_d ce_select_d(ce_w m, ce_d yes, ce_d no)
{
    return ce_from_bits_d((m & ce_bits_d(yes)) | (~m & ce_bits_d(no)));
}

#ifdef CE_SSE2
CE_INLINE ce_f ce_max_f(ce_f a, ce_f b) { return _mm_max_ps(a, b); }
CE_INLINE ce_d ce_max_d(ce_d a, ce_d b) { return _mm_max_pd(a, b); }
CE_INLINE ce_f ce_min_f(ce_f a, ce_f b) { return _mm_min_ps(a, b); }
CE_INLINE ce_d ce_min_d(ce_d a, ce_d b) { return _mm_min_pd(a, b); }
#else
CE_INLINE ce_f ce_max_f(ce_f a, ce_f b) { return ce_select_f(ce_lt_f(b, a), a, b); }
CE_INLINE ce_d ce_max_d(ce_d a, ce_d b) { return ce_select_d(ce_lt_d(b, a), a, b); }
CE_INLINE ce_f ce_min_f(ce_f a, ce_f b) { return ce_select_f(ce_lt_f(a, b), a, b); }
CE_INLINE ce_d ce_min_d(ce_d a, ce_d b) { return ce_select_d(ce_lt_d(a, b), a, b); }
#endif

/* The low 26 bits of the significand go to *lo, so that products of halves are exact (Veltkamp 1968; Dekker,
 * A floating-point technique for extending the available precision, Numer. Math. 18, 1971). */
CE_INLINE ce_d ce_split_d(ce_d a, ce_d *lo)
{
    ce_d t = a * 134217729.0;
    ce_d hi = t - (t - a);
    *lo = a - hi;
    return hi;
}

/* NaN where a factor is infinite or beyond 2^996. */
CE_INLINE ce_d ce_dekker_error_d(ce_d a, ce_d b, ce_d product)
{
    ce_d a_lo, b_lo, a_hi = ce_split_d(a, &a_lo), b_hi = ce_split_d(b, &b_lo);
    return a_lo * b_lo - (((product - a_hi * b_hi) - a_lo * b_hi) - a_hi * b_lo);
}
CE_INLINE ce_d ce_product_error_d(ce_d a, ce_d b, ce_d product)
{
    ce_d error = ce_dekker_error_d(a, b, product);
    return ce_from_bits_d(ce_bits_d(error) & ce_eq_d(error, error));
}

CE_INLINE ce_d ce_fma_d(ce_d a, ce_d b, ce_d c)
{
    ce_d product = a * b, product_error = ce_dekker_error_d(a, b, product);
    ce_d sum = product + c;
    ce_d c_part = sum - product; /* TwoSum (Knuth): what of c, and so of product, is in the sum */
    ce_d sum_error = (product - (sum - c_part)) + (c - c_part);
    ce_d error = sum_error + product_error;
    /* NaN comes of infinities and of factors beyond 2^996: then the plain sum is the answer. So it is for error 0,
     * which would turn -0 into 0. */
    return ce_select_d(ce_lt_d(ce_set1_d(0.0), ce_abs_d(error)), sum + error, sum);
}
CE_INLINE ce_d ce_fnma_d(ce_d a, ce_d b, ce_d c) { return ce_fma_d(ce_neg_d(a), b, c); }

/* ---- what depends on how many lanes a part has ---- */

#ifndef CE_NO_VECTOR_EXTENSIONS

#ifdef CE_SSE2
CE_INLINE ce_d ce_widen_lo(ce_f a) { return _mm_cvtps_pd(a); }
CE_INLINE ce_d ce_widen_hi(ce_f a) { return _mm_cvtps_pd(_mm_movehl_ps(a, a)); }
CE_INLINE ce_f ce_narrow(ce_d lo, ce_d hi) { return _mm_movelh_ps(_mm_cvtpd_ps(lo), _mm_cvtpd_ps(hi)); }
CE_INLINE int ce_any(ce_u m) { return _mm_movemask_epi8((__m128i)m) != 0; }
CE_INLINE void ce_stream_f(float *p, ce_f a) { _mm_stream_ps(p, a); }
CE_INLINE void ce_stream_d(double *p, ce_d a) { _mm_stream_pd(p, a); }
#else
CE_INLINE ce_d ce_widen_lo(ce_f a) { return (ce_d){a[0], a[1]}; }
CE_INLINE ce_d ce_widen_hi(ce_f a) { return (ce_d){a[2], a[3]}; }
CE_INLINE ce_f ce_narrow(ce_d lo, ce_d hi) { return (ce_f){(float)lo[0], (float)lo[1], (float)hi[0], (float)hi[1]}; }
CE_INLINE int ce_any(ce_u m) { return (((ce_w)m)[0] | ((ce_w)m)[1]) != 0; }
CE_INLINE void ce_stream_f(float *p, ce_f a) { memcpy(p, &a, sizeof a); }
CE_INLINE void ce_stream_d(double *p, ce_d a) { memcpy(p, &a, sizeof a); }
#endif

CE_INLINE ce_f ce_fma_f(ce_f a, ce_f b, ce_f c)
{
    return ce_narrow(ce_widen_lo(a) * ce_widen_lo(b) + ce_widen_lo(c),
                     ce_widen_hi(a) * ce_widen_hi(b) + ce_widen_hi(c));
}
CE_INLINE vd vf_widen_lo(vf a)
{
    return (vd){{ce_widen_lo(a.v[0]), ce_widen_hi(a.v[0]), ce_widen_lo(a.v[1]), ce_widen_hi(a.v[1])}};
}
CE_INLINE vd vf_widen_hi(vf a)
{
    return (vd){{ce_widen_lo(a.v[2]), ce_widen_hi(a.v[2]), ce_widen_lo(a.v[3]), ce_widen_hi(a.v[3])}};
}
/* A float's bits moved down by three are the high word of a double (little-endian: the odd one). */
CE_INLINE ce_d ce_spread_even(ce_f a)
{
    ce_u high = (ce_u)a >> 3, spread = {0, high[0], 0, high[2]};
    return (ce_d)spread;
}
CE_INLINE ce_d ce_spread_odd(ce_f a)
{
    const ce_u odd = {0, ~0u, 0, ~0u};
    return (ce_d)((ce_u)a >> 3 & odd);
}
CE_INLINE vd vf_spread_even(vf a)
{
    return (vd){{ce_spread_even(a.v[0]), ce_spread_even(a.v[1]), ce_spread_even(a.v[2]), ce_spread_even(a.v[3])}};
}
CE_INLINE vd vf_spread_odd(vf a)
{
    return (vd){{ce_spread_odd(a.v[0]), ce_spread_odd(a.v[1]), ce_spread_odd(a.v[2]), ce_spread_odd(a.v[3])}};
}
CE_INLINE vf vf_narrow(vd lo, vd hi)
{
    return (vf){{ce_narrow(lo.v[0], lo.v[1]), ce_narrow(lo.v[2], lo.v[3]), ce_narrow(hi.v[0], hi.v[1]),
                 ce_narrow(hi.v[2], hi.v[3])}};
}
CE_INLINE int vf_any(vfm m) { return ce_any((m.v[0] | m.v[1]) | (m.v[2] | m.v[3])); }
CE_INLINE int vd_any(vdm m) { return ce_any((ce_u)((m.v[0] | m.v[1]) | (m.v[2] | m.v[3]))); }
CE_INLINE ce_f ce_zip_lo_f(ce_f a, ce_f b) { return (ce_f){a[0], b[0], a[1], b[1]}; }
CE_INLINE ce_f ce_zip_hi_f(ce_f a, ce_f b) { return (ce_f){a[2], b[2], a[3], b[3]}; }
CE_INLINE ce_d ce_zip_lo_d(ce_d a, ce_d b) { return (ce_d){a[0], b[0]}; }
CE_INLINE ce_d ce_zip_hi_d(ce_d a, ce_d b) { return (ce_d){a[1], b[1]}; }
#define CE_ZIP(type, t, T)                                                                                             \
    CE_INLINE type type##_zip_lo(type a, type b)                                                                       \
    {                                                                                                                  \
        return (type){{ce_zip_lo_##t(a.v[0], b.v[0]), ce_zip_hi_##t(a.v[0], b.v[0]), ce_zip_lo_##t(a.v[1], b.v[1]),    \
                       ce_zip_hi_##t(a.v[1], b.v[1])}};                                                                \
    }                                                                                                                  \
    CE_INLINE type type##_zip_hi(type a, type b)                                                                       \
    {                                                                                                                  \
        return (type){{ce_zip_lo_##t(a.v[2], b.v[2]), ce_zip_hi_##t(a.v[2], b.v[2]), ce_zip_lo_##t(a.v[3], b.v[3]),    \
                       ce_zip_hi_##t(a.v[3], b.v[3])}};                                                                \
    }                                                                                                                  \
    CE_INLINE type type##_zip_blocks_lo(type a, type b)                                                                \
    {                                                                                                                  \
        return (type){{ce_zip_lo_##t(a.v[0], b.v[0]), ce_zip_lo_##t(a.v[1], b.v[1]), ce_zip_lo_##t(a.v[2], b.v[2]),    \
                       ce_zip_lo_##t(a.v[3], b.v[3])}};                                                                \
    }                                                                                                                  \
    CE_INLINE type type##_zip_blocks_hi(type a, type b)                                                                \
    {                                                                                                                  \
        return (type){{ce_zip_hi_##t(a.v[0], b.v[0]), ce_zip_hi_##t(a.v[1], b.v[1]), ce_zip_hi_##t(a.v[2], b.v[2]),    \
                       ce_zip_hi_##t(a.v[3], b.v[3])}};                                                                \
    }                                                                                                                  \
    CE_INLINE type type##_load_blocks(const T *p, ptrdiff_t step)                                                      \
    {                                                                                                                  \
        return (type){{ce_load_##t(p), ce_load_##t(p + step), ce_load_##t(p + 2 * step), ce_load_##t(p + 3 * step)}};  \
    }                                                                                                                  \
    CE_INLINE void type##_store_blocks(T *p, ptrdiff_t step, type a)                                                   \
    {                                                                                                                  \
        for (int i = 0; i < 4; i++)                                                                                    \
            memcpy(p + i * step, &a.v[i], sizeof a.v[i]);                                                              \
    }
CE_ZIP(vf, f, float)
CE_ZIP(vd, d, double)
#undef CE_ZIP
CE_INLINE float vf_reduce_max(vf a)
{
    ce_f m = ce_max_f(ce_max_f(a.v[0], a.v[2]), ce_max_f(a.v[1], a.v[3]));
    float even = m[0] > m[2] ? m[0] : m[2], odd = m[1] > m[3] ? m[1] : m[3];
    return even > odd ? even : odd;
}
CE_INLINE double vd_reduce_max(vd a)
{
    ce_d m = ce_max_d(ce_max_d(a.v[0], a.v[2]), ce_max_d(a.v[1], a.v[3]));
    return m[0] > m[1] ? m[0] : m[1];
}
CE_INLINE double vd_reduce_add(vd a)
{
    ce_d s = (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
    return s[0] + s[1];
}

#else /* plain scalars */

CE_INLINE void ce_stream_f(float *p, ce_f a) { *p = a; }
CE_INLINE void ce_stream_d(double *p, ce_d a) { *p = a; }
CE_INLINE ce_f ce_fma_f(ce_f a, ce_f b, ce_f c) { return (float)((double)a * b + c); }
#define CE_WIDEN_LO(op, i) a.v[i]
#define CE_WIDEN_HI(op, i) a.v[i + 8]
CE_INLINE vd vf_widen_lo(vf a) { return (vd){{CE_PARTS_D(CE_WIDEN_LO, )}}; }
CE_INLINE vd vf_widen_hi(vf a) { return (vd){{CE_PARTS_D(CE_WIDEN_HI, )}}; }
#undef CE_WIDEN_LO
#undef CE_WIDEN_HI
#define CE_SPREAD(odd, i) a.v[2 * i + odd] * 0x1p-896
CE_INLINE vd vf_spread_even(vf a) { return (vd){{CE_PARTS_D(CE_SPREAD, 0)}}; }
CE_INLINE vd vf_spread_odd(vf a) { return (vd){{CE_PARTS_D(CE_SPREAD, 1)}}; }
#undef CE_SPREAD
CE_INLINE vf vf_narrow(vd lo, vd hi)
{
    vf a;
    for (int i = 0; i < 8; i++) {
        a.v[i] = (float)lo.v[i];
        a.v[i + 8] = (float)hi.v[i];
    }
    return a;
}
CE_INLINE int vf_any(vfm m)
{
    ce_u any = 0;
    for (int i = 0; i < 16; i++) {
        any |= m.v[i];
    }
    return any != 0;
}
CE_INLINE int vd_any(vdm m)
{
    ce_w any = 0;
    for (int i = 0; i < 8; i++) {
        any |= m.v[i];
    }
    return any != 0;
}
#define CE_ZIP(type, lanes, T)                                                                                         \
    CE_INLINE type type##_zip_lo(type a, type b)                                                                       \
    {                                                                                                                  \
        type r;                                                                                                        \
        for (int i = 0; i < (lanes); i++)                                                                              \
            r.v[i] = i % 2 ? b.v[i / 2] : a.v[i / 2];                                                                  \
        return r;                                                                                                      \
    }                                                                                                                  \
    CE_INLINE type type##_zip_hi(type a, type b)                                                                       \
    {                                                                                                                  \
        type r;                                                                                                        \
        for (int i = 0; i < (lanes); i++)                                                                              \
            r.v[i] = (i % 2 ? b : a).v[((lanes) + i) / 2];                                                             \
        return r;                                                                                                      \
    }                                                                                                                  \
    CE_INLINE type type##_zip_blocks_lo(type a, type b)                                                                \
    {                                                                                                                  \
        type r;                                                                                                        \
        for (int i = 0; i < (lanes); i++)                                                                              \
            r.v[i] = (i % 2 ? b : a).v[i / ((lanes) / 4) * ((lanes) / 4) + i % ((lanes) / 4) / 2];                     \
        return r;                                                                                                      \
    }                                                                                                                  \
    CE_INLINE type type##_zip_blocks_hi(type a, type b)                                                                \
    {                                                                                                                  \
        type r;                                                                                                        \
        for (int i = 0; i < (lanes); i++)                                                                              \
            r.v[i] = (i % 2 ? b : a).v[i / ((lanes) / 4) * ((lanes) / 4) + (((lanes) / 4) + i % ((lanes) / 4)) / 2];   \
        return r;                                                                                                      \
    }                                                                                                                  \
    CE_INLINE type type##_load_blocks(const T *p, ptrdiff_t step)                                                      \
    {                                                                                                                  \
        type r;                                                                                                        \
        for (int i = 0; i < (lanes); i++)                                                                              \
            r.v[i] = p[i / ((lanes) / 4) * step + i % ((lanes) / 4)];                                                  \
        return r;                                                                                                      \
    }                                                                                                                  \
    CE_INLINE void type##_store_blocks(T *p, ptrdiff_t step, type a)                                                   \
    {                                                                                                                  \
        for (int i = 0; i < (lanes); i++)                                                                              \
            p[i / ((lanes) / 4) * step + i % ((lanes) / 4)] = a.v[i];                                                  \
    }
CE_ZIP(vf, 16, float)
CE_ZIP(vd, 8, double)
#undef CE_ZIP
CE_INLINE float vf_reduce_max(vf a)
{
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            a.v[i] = ce_max_f(a.v[i], a.v[i + half]);
        }
    }
    return a.v[0];
}
CE_INLINE double vd_reduce_max(vd a)
{
    for (int half = 4; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            a.v[i] = ce_max_d(a.v[i], a.v[i + half]);
        }
    }
    return a.v[0];
}
CE_INLINE double vd_reduce_add(vd a)
{
    for (int half = 4; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            a.v[i] += a.v[i + half];
        }
    }
    return a.v[0];
}
#endif

/* fnma of floats negates a, which is exact. */
CE_INLINE ce_f ce_fnma_f(ce_f a, ce_f b, ce_f c) { return ce_fma_f(ce_neg_f(a), b, c); }

CE_INLINE ce_f ce_load_part_f(const float *p, ptrdiff_t n, float fill)
{
    float lanes[CE_F_LANES];
    if (n >= CE_F_LANES) {
        return ce_load_f(p);
    }
    for (int i = 0; i < CE_F_LANES; i++) {
        lanes[i] = i < n ? p[i] : fill;
    }
    return ce_load_f(lanes);
}
CE_INLINE ce_d ce_load_part_d(const double *p, ptrdiff_t n, double fill)
{
    double lanes[CE_D_LANES];
    if (n >= CE_D_LANES) {
        return ce_load_d(p);
    }
    for (int i = 0; i < CE_D_LANES; i++) {
        lanes[i] = i < n ? p[i] : fill;
    }
    return ce_load_d(lanes);
}

CE_INLINE ce_f ce_exponent_bits_f(ce_f z) { return ce_from_bits_f((ce_bits_f(z) << 20) & 0x7f800000u); }
CE_INLINE ce_d ce_exponent_bits_d(ce_d z) { return ce_from_bits_d((ce_bits_d(z) << 49) & 0x7ff0000000000000u); }
CE_INLINE ce_d ce_get_exponent_d(ce_d v)
{
    /* An integer below 2^52 put in the mantissa of 2^52 is that integer plus 2^52. */
    return ce_from_bits_d((ce_bits_d(v) >> 52) | 0x4330000000000000u) - (0x1p52 + 1023);
}
CE_INLINE ce_d ce_get_mantissa_d(ce_d v)
{
    return ce_from_bits_d((ce_bits_d(v) & 0x000fffffffffffffu) | 0x3ff0000000000000u);
}

/* ---- vectors of parts ---- */

#define CE_APPLY1(op, i) op(a.v[i])
#define CE_APPLY2(op, i) op(a.v[i], b.v[i])
#define CE_APPLY3(op, i) op(a.v[i], b.v[i], c.v[i])
#define CE_APPLY_LOAD(op, i) op(p + i * CE_LANES)
#define CE_APPLY_PART(op, i) op(p + i * CE_LANES, n - i * CE_LANES, fill)
#define CE_APPLY_SAME(op, i) op

/* Everything that reads the same for vf (T = float, s = f) and vd (T = double, s = d). */
#define CE_VECTOR(vec, mask, T, s, lanes, PARTS, word)                                                                 \
    CE_INLINE vec vec##_load(const T *p) { return (vec){{PARTS(CE_APPLY_LOAD, ce_load_##s)}}; }                        \
    CE_INLINE void vec##_store(T *p, vec a) { memcpy(p, &a, sizeof a); }                                               \
    CE_INLINE void vec##_stream(T *p, vec a)                                                                           \
    {                                                                                                                  \
        for (int i = 0; i < lanes / CE_LANES; i++)                                                                     \
            ce_stream_##s(p + i * CE_LANES, a.v[i]);                                                                   \
    }                                                                                                                  \
    CE_INLINE vec vec##_set1(T x)                                                                                      \
    {                                                                                                                  \
        const ce_##s part = ce_set1_##s(x);                                                                            \
        return (vec){{PARTS(CE_APPLY_SAME, part)}};                                                                    \
    }                                                                                                                  \
    CE_INLINE vec vec##_load_part(const T *p, ptrdiff_t n, T fill)                                                     \
    {                                                                                                                  \
        return (vec){{PARTS(CE_APPLY_PART, ce_load_part_##s)}};                                                        \
    }                                                                                                                  \
    CE_INLINE void vec##_store_part(T *p, vec a, ptrdiff_t n)                                                          \
    {                                                                                                                  \
        if (n > 0)                                                                                                     \
            memcpy(p, &a, n < lanes ? (size_t)n * sizeof(T) : sizeof a);                                               \
    }                                                                                                                  \
    CE_INLINE vec vec##_add(vec a, vec b) { return (vec){{PARTS(CE_APPLY2, CE_ADD)}}; }                                \
    CE_INLINE vec vec##_sub(vec a, vec b) { return (vec){{PARTS(CE_APPLY2, CE_SUB)}}; }                                \
    CE_INLINE vec vec##_mul(vec a, vec b) { return (vec){{PARTS(CE_APPLY2, CE_MUL)}}; }                                \
    CE_INLINE vec vec##_div(vec a, vec b) { return (vec){{PARTS(CE_APPLY2, CE_DIV)}}; }                                \
    CE_INLINE vec vec##_max(vec a, vec b) { return (vec){{PARTS(CE_APPLY2, ce_max_##s)}}; }                            \
    CE_INLINE vec vec##_min(vec a, vec b) { return (vec){{PARTS(CE_APPLY2, ce_min_##s)}}; }                            \
    CE_INLINE vec vec##_neg(vec a) { return (vec){{PARTS(CE_APPLY1, ce_neg_##s)}}; }                                   \
    CE_INLINE vec vec##_abs(vec a) { return (vec){{PARTS(CE_APPLY1, ce_abs_##s)}}; }                                   \
    CE_INLINE vec vec##_fma(vec a, vec b, vec c) { return (vec){{PARTS(CE_APPLY3, ce_fma_##s)}}; }                     \
    CE_INLINE vec vec##_fnma(vec a, vec b, vec c) { return (vec){{PARTS(CE_APPLY3, ce_fnma_##s)}}; }                   \
    CE_INLINE vec vec##_madd(vec a, vec b, vec c) { return (vec){{PARTS(CE_APPLY3, CE_MADD)}}; }                       \
    CE_INLINE vec vec##_or3(vec a, vec b, vec c) { return (vec){{PARTS(CE_APPLY3, ce_or3_##s)}}; }                     \
    CE_INLINE mask vec##_lt(vec a, vec b) { return (mask){{PARTS(CE_APPLY2, ce_lt_##s)}}; }                            \
    CE_INLINE mask vec##_eq(vec a, vec b) { return (mask){{PARTS(CE_APPLY2, ce_eq_##s)}}; }                            \
    CE_INLINE vec vec##_select(mask a, vec b, vec c) { return (vec){{PARTS(CE_APPLY3, ce_select_##s)}}; }              \
    CE_INLINE vec vec##_add_where(mask a, vec b, vec c) { return (vec){{PARTS(CE_APPLY3, ce_add_where_##s)}}; }        \
    CE_INLINE vec vec##_set_lane(vec a, ptrdiff_t i, T x)                                                              \
    {                                                                                                                  \
        T lane[lanes];                                                                                                 \
        vec##_store(lane, a);                                                                                          \
        if ((size_t)i < lanes)                                                                                         \
            lane[i] = x;                                                                                               \
        return vec##_load(lane);                                                                                       \
    }                                                                                                                  \
    CE_INLINE unsigned vec##_equal_lanes(vec a, T x)                                                                   \
    {                                                                                                                  \
        T lane[lanes];                                                                                                 \
        unsigned bits = 0;                                                                                             \
        vec##_store(lane, a);                                                                                          \
        for (int i = 0; i < lanes; i++)                                                                                \
            bits |= (unsigned)(lane[i] == x) << i;                                                                     \
        return bits;                                                                                                   \
    }                                                                                                                  \
    CE_INLINE vec vec##_lookup8(const T *table, vec z)                                                                 \
    {                                                                                                                  \
        word index[lanes];                                                                                             \
        T lane[lanes];                                                                                                 \
        memcpy(index, &z, sizeof z);                                                                                   \
        for (int i = 0; i < lanes; i++)                                                                                \
            lane[i] = table[index[i] & 7];                                                                             \
        return vec##_load(lane);                                                                                       \
    }                                                                                                                  \
    CE_INLINE vec vec##_power(const word *table, vec z)                                                                \
    {                                                                                                                  \
        word bits[lanes];                                                                                              \
        memcpy(bits, &z, sizeof z);                                                                                    \
        for (int i = 0; i < lanes; i++)                                                                                \
            bits[i] = (bits[i] << (sizeof(T) == 4 ? 20 : 49)) + table[bits[i] & 7];                                    \
        memcpy(&z, bits, sizeof z);                                                                                    \
        return z;                                                                                                      \
    }                                                                                                                  \
    CE_INLINE vec vec##_exponent_bits(vec a) { return (vec){{PARTS(CE_APPLY1, ce_exponent_bits_##s)}}; }

#define CE_LANES CE_F_LANES
CE_VECTOR(vf, vfm, float, f, 16, CE_PARTS_F, uint32_t)
#undef CE_LANES
#define CE_LANES CE_D_LANES
CE_VECTOR(vd, vdm, double, d, 8, CE_PARTS_D, uint64_t)
#undef CE_LANES
CE_INLINE vd vd_product_error(vd a, vd b, vd c) { return (vd){{CE_PARTS_D(CE_APPLY3, ce_product_error_d)}}; }
CE_INLINE vd vd_get_exponent(vd a) { return (vd){{CE_PARTS_D(CE_APPLY1, ce_get_exponent_d)}}; }
CE_INLINE vd vd_get_mantissa(vd a) { return (vd){{CE_PARTS_D(CE_APPLY1, ce_get_mantissa_d)}}; }

#undef CE_VECTOR
#undef CE_APPLY1
#undef CE_APPLY2
#undef CE_APPLY3
#undef CE_APPLY_LOAD
#undef CE_APPLY_PART
#undef CE_APPLY_SAME
#undef CE_ADD
#undef CE_SUB
#undef CE_MUL
#undef CE_DIV
#undef CE_MADD
#undef CE_TRUE
#undef CE_PARTS_F
#undef CE_PARTS_D
CE_INLINE vd vd_load_f32(const float *p)
{
    double wide[8];
    for (int i = 0; i < 8; i++) {
        wide[i] = p[i];
    }
    return vd_load(wide);
}
CE_INLINE void vd_store_f32(float *p, vd v)
{
    double wide[8];
    vd_store(wide, v);
    for (int i = 0; i < 8; i++) {
        p[i] = (float)wide[i];
    }
}
CE_INLINE void ce_stream_fence(void) {}

#endif
