/* Constants of exp: powers of two at eighths, and the polynomial between them.
 *
 * Of floats EXP_POWERS[i] are the fraction bits of 2^(i/8), rounded to 20 of them, less i at their top, where the index lies
 * in what they are added to. EXP_POWER_ERROR[i] is the logarithm of 2^(i/8) over that.
 * LN2_8_HI has 20 (float) and 32 (double) bits, so that multiples up to 2^20 of it subtract from x exactly. */
#ifndef CROSSENT_EXP_CONSTANTS_H
#define CROSSENT_EXP_CONSTANTS_H

#define EIGHTHS_PER_E 11.541560327111707 /* 8 / ln 2 */
#define LN2_8 0.08664339756999316        /* ln 2 / 8 */
#define LOG2_E 1.4426950408889634

CE_STATIC const uint32_t EXP_POWERS_f32[8] = {0x00000000, 0xfffb95c0, 0xfff837f0, 0xfff5fed8,
                                              0xfff504f0, 0xfff56728, 0xfff74500, 0xfffac0c8};
CE_STATIC const float EXP_POWER_ERROR_f32[8] = {0x0p+0f,         0x1.bbc0cep-23f, 0x1.125002p-25f,  -0x1.07f47ep-23f,
                                                0x1.21e7c6p-22f, 0x1.573abep-23f, -0x1.e843fep-23f, -0x1.317d9ap-24f};
/* Of doubles EXP_POWERS[i] times 1 + i/8 is 2^(i/8) times a factor, the same for all eight. It was searched for, near 1, until
 * they all came within 2^-58.7 of doubles: so none has an error worth a second table. The polynomial takes it back. */
CE_STATIC const double EXP_POWERS_f64[8] = {0x1.00010115a838fp+0, 0x1.f04f4e75927f9p-1, 0x1.e71b509515190p-1,
                                            0x1.e2e73e2490e10p-1, 0x1.e2b9c2a35bad7p-1, 0x1.e5ec2823efd96p-1,
                                            0x1.ec0d5482fc990p-1, 0x1.f4d06c0f79623p-1};
/* Without a factor, and what is missing relative to what is there, for wide.h. */
CE_STATIC const double EXP_WIDE_POWERS_f64[8] = {0x1p+0,
                                                 0x1.f04d5c0dec9bep-1,
                                                 0x1.e719676b5f1bbp-1,
                                                 0x1.e2e5593378322p-1,
                                                 0x1.e2b7dddfefa67p-1,
                                                 0x1.e5ea402aa9e97p-1,
                                                 0x1.ec0b6661ea8c6p-1,
                                                 0x1.f4ce7521d7c4cp-1};
CE_STATIC const double EXP_WIDE_ERROR_f64[8] = {0x0p+0,
                                                -0x1.01b15eaa59348p-55,
                                                0x1.34d754db0abb6p-55,
                                                0x1.690cebb7aafb0p-56,
                                                -0x1.3b3efbf5e2228p-54,
                                                0x1.db72fc1f0eab4p-55,
                                                0x1.c1a7792cb3387p-55,
                                                0x1.4a385a63d07a7p-56};

#define EXP_MAGIC_f32 0x1.8p23 /* adding it leaves an integer in the low bits */
#define EXP_BIAS_f32 127
/* The largest exponential of a row lies between 2^MIN and 2^MAX, so that the others reach down to what is subnormal in the
 * result; a shift that is chosen for a row puts it in the middle. */
#define EXP_HEADROOM_MIN_f32 32
#define EXP_HEADROOM_f32 48
#define EXP_HEADROOM_MAX_f32 64
#define FACTOR_SMALL_f32 0x1p-100
#define EXP_MAGIC_f64 0x1.8p52
#define EXP_BIAS_f64 1023
#define EXP_HEADROOM_MIN_f64 64
#define EXP_HEADROOM_f64 96
#define EXP_HEADROOM_MAX_f64 128
#define FACTOR_SMALL_f64 0x1p-900

#define LN2_8_HI_f32 0x1.62e42p-4f
#define LN2_8_LO_f32 0x1.fdf474p-25f
#define LN2_8_HI_f64 0x1.62e42ff000000p-4
#define LN2_8_LO_f64 -0x1.718432a1b0e26p-38
#define LN2_8_LOWEST_f64 -0x1.9ff0342542fc3p-93

/* y - m LN2_8_HI rounded once: the product is exact in doubles. That of LN2_8_LO may be rounded without FMA: below 2^-5, or
 * 2^-18 in doubles, it moves the result by 2^-30 or 2^-71. */
CE_INLINE vf less_head_f32(vf y, vf m) { return vf_fnma(m, vf_set1(LN2_8_HI_f32), y); }
CE_INLINE vd less_head_f64(vd y, vd m) { return vd_madd(m, vd_set1(-LN2_8_HI_f64), y); }

/* What is left of r: less the rest of m ln(2)/8, and with what the power lacks. */
CE_INLINE vf less_rest_f32(vf r, vf m, vf z)
{
    return vf_add(vf_madd(m, vf_set1(-LN2_8_LO_f32), r), vf_lookup8(EXP_POWER_ERROR_f32, z));
}
CE_INLINE vd less_rest_f64(vd r, vd m, vd z)
{
    (void)z;
    return vd_madd(m, vd_set1(-LN2_8_LO_f64), r);
}

/* e^r - 1 for |r| <= ln(2)/16, by Remez exchange: (e^r - 1 - r) / r^2 with the error weighted by r^2. The relative error of e^r
 * is 2^-32.4. */
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

/* Of doubles e^r over the factor, less 1, by least squares at Chebyshev nodes with the coefficients rounded one after the
 * other: 2^-58.4. */
CE_INLINE vd expm1_small_f64(vd r)
{
    vd c = vd_madd(vd_set1(0x1.a026b77005184p-13), r, vd_set1(0x1.6c1b936ac49c6p-10));
    c = vd_madd(c, r, vd_set1(0x1.110ffead9a039p-7));
    c = vd_madd(c, r, vd_set1(0x1.5553fe801f42ep-5));
    c = vd_madd(c, r, vd_set1(0x1.5553fe8f2360cp-3));
    c = vd_madd(c, r, vd_set1(0x1.fffdfdd6b4134p-2));
    vd near = vd_madd(vd_set1(0x1.fffdfdd6b3e51p-1), r, vd_set1(-0x1.0114a60d75df3p-16));
    return vd_madd(c, vd_mul(r, r), near);
}

CE_INLINE void expm1_small_of_f64(int n, const vd *r, vd *result)
{
    for (int i = 0; i < n; i++) {
        result[i] = expm1_small_f64(r[i]);
    }
}

#endif
