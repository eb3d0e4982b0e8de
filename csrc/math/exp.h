/* exp, in two parts and shifted by a power of two; one text for both dtypes.
 *
 *     e^x * 2^-shift = scale * (1 + tail),   scale = 2^(i/8 + n) rounded to T,   |tail| <= 0.0444
 *
 * The two parts are never added where only a sum of exponentials is wanted: sum(scale) + sum(scale * tail), each in a wider
 * accumulator, keeps three bits more than T has. Where T itself is wanted, scale + scale * tail is rounded once.
 *
 * x is never rounded on the way: x - m * (ln 2 / 8) is exact under FMA (Cody and Waite, two constants), and the shift is an
 * integer power of two. A rounded x - max, as everybody else has it, costs up to |x - max| / 2 ulp.
 * Table of eighths after P. T. P. Tang, ACM TOMS 15 (1989) 144; eight entries are one register of floats on AVX2.
 *
 * bound: exp_parts_f32 2^-27 relative
 * bound: exp_parts_f64 1.5e-17 relative
 * bound: exp_f32 0.59 ulp
 * bound: exp_f64 0.60 ulp
 *
 * Results below 2^(1 - bias) are 0, and so is e^-inf. NaN stays NaN. Needs x <= about 88 (709) above shift * ln 2, and
 * |shift| < 2^17. */

/* What a shift means for a vector of x: the constants of the reduction, and the x below which the result is 0. */
struct F(exp_shift) {
    V magic, clamp;
};

CE_INLINE struct F(exp_shift) F(exp_shift_by)(double shift)
{
    struct F(exp_shift) s;
    double eighths = 8 * (F(EXP_BIAS) - shift);
    s.magic = v_set1((T)(F(EXP_MAGIC) + eighths));
    s.clamp = v_set1((T)((4 - eighths) * LN2_8));
    return s;
}

CE_INLINE void F(exp_parts)(V x, const struct F(exp_shift) * s, V *scale, V *tail)
{
    x = v_max(s->clamp, x);
    V z = v_madd(x, v_set1((T)EIGHTHS_PER_E), s->magic); /* low bits: m + 8 * (bias - shift) */
    V m = v_sub(z, s->magic);
    V r = v_fnma(m, v_set1(F(LN2_8_LO)), v_fnma(m, v_set1(F(LN2_8_HI)), x));
    *tail = v_add(F(expm1_small)(r), v_lookup8(F(EXP_TABLE_ERROR), z));
    *scale = v_mul(v_lookup8(F(EXP_TABLE), z), v_exponent_bits(z));
}
