/* Constants of exp: powers of two at eighths, and the polynomial between them.
 *
 * EXP_POWERS[i] are the fraction bits of 2^(i/8), rounded to 20 of them (float) or to 52, less i at their top, where the
 * index lies in what they are added to. EXP_POWER_ERROR[i] is the logarithm of 2^(i/8) over that.
 * EXP_C2.. are the coefficients of (e^r - 1 - r) / r^2 = c2 + c3 r + ... on |r| <= ln(2)/16, by Remez exchange with the
 * error weighted by r^2: the relative error of e^r is 2^-32.4 (float) and 2^-58.2 (double).
 * LN2_8_HI has 20 (float) and 32 (double) bits, so that multiples up to 2^20 of it subtract from x exactly.
 *
 * Eighths are counted in the last places of numbers from 2 to 4: k of them are 2 + k EXP_EIGHTH. Those from 0 to
 * EXP_EIGHTHS - 1 are what an exponent field holds, and differ from 2 in their low bits alone; any other number, below 2 or
 * above, has a bit that these have not (exp_in_range). */
#ifndef CROSSENT_EXP_CONSTANTS_H
#define CROSSENT_EXP_CONSTANTS_H

#define EIGHTHS_PER_E 11.541560327111707 /* 8 / ln 2 */
#define LN2_8 0.08664339756999316        /* ln 2 / 8 */
#define LOG2_E 1.4426950408889634

CE_STATIC const uint32_t EXP_POWERS_f32[8] = {0x00000000, 0xfffb95c0, 0xfff837f0, 0xfff5fed8,
                                              0xfff504f0, 0xfff56728, 0xfff74500, 0xfffac0c8};
CE_STATIC const float EXP_POWER_ERROR_f32[8] = {0x0p+0f,         0x1.bbc0cep-23f, 0x1.125002p-25f,  -0x1.07f47ep-23f,
                                                0x1.21e7c6p-22f, 0x1.573abep-23f, -0x1.e843fep-23f, -0x1.317d9ap-24f};
CE_STATIC const uint64_t EXP_POWERS_f64[8] = {0x0000000000000000, 0xffff72b83c7d517b, 0xffff06fe0a31b715,
                                              0xfffebfdad5362a27, 0xfffea09e667f3bcd, 0xfffeace5422aa0db,
                                              0xfffee89f995ad3ad, 0xffff5818dcfba487};
#define EXP_POWER_ERROR_f64 EXP_TABLE_ERROR_f64
/* The same as numbers, for wide.h; the error is so small that it is its own logarithm. */
CE_STATIC const double EXP_TABLE_f64[8] = {0x1p+0,
                                           0x1.172b83c7d517bp+0,
                                           0x1.306fe0a31b715p+0,
                                           0x1.4bfdad5362a27p+0,
                                           0x1.6a09e667f3bcdp+0,
                                           0x1.8ace5422aa0dbp+0,
                                           0x1.ae89f995ad3adp+0,
                                           0x1.d5818dcfba487p+0};
CE_STATIC const double EXP_TABLE_ERROR_f64[8] = {0x0p+0,
                                                 -0x1.01b15eaa59348p-55,
                                                 0x1.34d754db0abb6p-55,
                                                 0x1.690cebb7aafb0p-56,
                                                 -0x1.3b3efbf5e2228p-54,
                                                 0x1.db72fc1f0eab4p-55,
                                                 0x1.c1a7792cb3387p-55,
                                                 0x1.4a385a63d07a7p-56};

#define EXP_ZERO 2.0
#define EXP_EIGHTH_f32 0x1p-22
#define EXP_EIGHTHS_f32 2048
#define EXP_BIAS_f32 127
/* The largest exponential of a row lies between 2^MIN and 2^MAX, and so does their sum, so that the others reach down to what
 * is subnormal in the result; a shift that is chosen for a row makes it about 2^EXP_HEADROOM. */
#define EXP_HEADROOM_MIN_f32 32
#define EXP_HEADROOM_f32 48
#define EXP_HEADROOM_MAX_f32 80
#define FACTOR_SMALL_f32 0x1p-100
#define EXP_EIGHTH_f64 0x1p-51
#define EXP_EIGHTHS_f64 16384
#define EXP_BIAS_f64 1023
#define EXP_HEADROOM_MIN_f64 64
#define EXP_HEADROOM_f64 96
#define EXP_HEADROOM_MAX_f64 160
#define FACTOR_SMALL_f64 0x1p-900

#define LN2_8_HI_f32 0x1.62e42p-4f
#define LN2_8_LO_f32 0x1.fdf474p-25f
#define LN2_8_HI_f64 0x1.62e42ff000000p-4
#define LN2_8_LO_f64 -0x1.718432a1b0e26p-38
#define LN2_8_LOWEST_f64 -0x1.9ff0342542fc3p-93

/* What m, a number of eighths, is multiplied by. */
#define STEP_HI_f32 (LN2_8_HI_f32 / (float)EXP_EIGHTH_f32)
#define STEP_LO_f32 (LN2_8_LO_f32 / (float)EXP_EIGHTH_f32)
#define STEP_HI_f64 (LN2_8_HI_f64 / EXP_EIGHTH_f64)
#define STEP_LO_f64 (LN2_8_LO_f64 / EXP_EIGHTH_f64)
#define STEP_LOWEST_f64 (LN2_8_LOWEST_f64 / EXP_EIGHTH_f64)

/* y - m STEP_HI rounded once: the product is exact in doubles. That of STEP_LO may be rounded without FMA: below 2^-5, or
 * 2^-18 in doubles, it moves the result by 2^-30 or 2^-71. */
CE_INLINE vf less_head_f32(vf y, vf m) { return vf_fnma(m, vf_set1(STEP_HI_f32), y); }
CE_INLINE vd less_head_f64(vd y, vd m) { return vd_madd(m, vd_set1(-STEP_HI_f64), y); }

/* e^r - 1 for |r| <= ln(2)/16. */
CE_INLINE void expm1_small_of_f32(int n, const vf *r, vf *result)
{
    vf c[CE_INTERLEAVE], square[CE_INTERLEAVE];
    for (int i = 0; i < n; i++) {
        c[i] = vf_madd(vf_set1(0x1.555da8p-5f), r[i], vf_set1(0x1.555c78p-3f));
    }
    for (int i = 0; i < n; i++) {
        square[i] = vf_mul(r[i], r[i]);
    }
    for (int i = 0; i < n; i++) {
        c[i] = vf_madd(c[i], r[i], vf_set1(0.5f));
    }
    for (int i = 0; i < n; i++) {
        result[i] = vf_madd(c[i], square[i], r[i]);
    }
}

CE_INLINE vd expm1_small_f64(vd r)
{
    vd c = vd_madd(vd_set1(0x1.a02079be72d39p-13), r, vd_set1(0x1.6c1cc2890fc0ap-10));
    c = vd_madd(c, r, vd_set1(0x1.11111107cb255p-7));
    c = vd_madd(c, r, vd_set1(0x1.55555547f3084p-5));
    c = vd_madd(c, r, vd_set1(0x1.5555555555661p-3));
    c = vd_madd(c, r, vd_set1(0x1.000000000010fp-1));
    return vd_madd(c, vd_mul(r, r), r);
}

CE_INLINE void expm1_small_of_f64(int n, const vd *r, vd *result)
{
    for (int i = 0; i < n; i++) {
        result[i] = expm1_small_f64(r[i]);
    }
}

#endif
