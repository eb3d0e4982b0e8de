/* exp, in two parts and shifted by a power of two; one text for both dtypes.
 *
 *     e^x * 2^-shift = scale * (1 + tail),   scale = 2^(i/8 + n) to 21 (float) or 53 bits,   |tail| <= 0.0444
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
 * Results below 2^(1 - bias) are anything from 0 to that, and e^-inf is 0. NaN stays NaN. Needs x <= about 88 (709) above
 * shift * ln 2, and |shift| < 2^17. */

/* What a shift means for a vector of x: e^0 in eighths, and an x whose result is 0, as is that of every smaller one. */
struct F(exp_shift) {
    V one, nothing;
};

CE_INLINE double F(exp_eighths)(double shift) { return 8 * (F(EXP_BIAS) - shift); }
CE_INLINE T F(exp_one)(double shift) { return (T)(EXP_ZERO + F(EXP_EIGHTH) * F(exp_eighths)(shift)); }
CE_INLINE T F(exp_nothing)(double shift) { return (T)(-LN2_8 * F(exp_eighths)(shift)); }
CE_INLINE struct F(exp_shift) F(exp_shift_by)(double shift)
{
    return (struct F(exp_shift)){v_set1(F(exp_one)(shift)), v_set1(F(exp_nothing)(shift))};
}

/* The same of a vector of shifts. */
CE_INLINE struct F(exp_shift) F(exp_shift_of)(V shift)
{
    V eighths = v_mul(v_set1(8), v_sub(v_set1(F(EXP_BIAS)), shift));
    return (struct F(exp_shift)){v_madd(eighths, v_set1((T)F(EXP_EIGHTH)), v_set1((T)EXP_ZERO)),
                                 v_mul(eighths, v_set1((T)-LN2_8))};
}

/* The scales of n vectors (a constant), and r with tail = e^r - 1. Step by step, so that their chains of dependent operations
 * overlap. With `seen`, smaller x than `nothing` are not looked for: exp_in_range(*seen) says afterwards whether there were
 * any, or too large ones. */
CE_INLINE void F(exp_reduced_of)(int n, const V *x, const struct F(exp_shift) * s, V *seen, V *scale, V *r)
{
    V y[CE_INTERLEAVE], z[CE_INTERLEAVE], m[CE_INTERLEAVE];
    for (int i = 0; i < n; i++) {
        y[i] = seen ? x[i] : v_max(s->nothing, x[i]);
    }
    for (int i = 0; i < n; i++) {
        z[i] = v_madd(y[i], v_set1((T)(F(EXP_EIGHTH) * EIGHTHS_PER_E)), s->one);
    }
    for (int i = 0; i < n && seen; i += 2) {
        *seen = v_or3(*seen, z[i], z[i + 1 < n ? i + 1 : i]);
    }
    for (int i = 0; i < n; i++) {
        m[i] = v_sub(z[i], s->one);
        scale[i] = v_power(F(EXP_POWERS), z[i]);
    }
    for (int i = 0; i < n; i++) {
        r[i] = F(less_head)(y[i], m[i]);
    }
    for (int i = 0; i < n; i++) {
        r[i] = v_madd(m[i], v_set1(-F(STEP_LO)), r[i]);
    }
    for (int i = 0; i < n; i++) {
        r[i] = v_add(r[i], v_lookup8(F(EXP_POWER_ERROR), z[i]));
    }
}

/* Whether every x seen was neither too large nor so small that a power of two below those of T was needed. */
CE_INLINE int F(exp_in_range)(V seen)
{
    V middle = v_set1((T)(EXP_ZERO + F(EXP_EIGHTH) * F(EXP_EIGHTHS) / 2));
    V reach = v_set1((T)(F(EXP_EIGHTH) * (F(EXP_EIGHTHS) / 2 + 0.5)));
    V inside = v_select(v_lt(v_abs(v_sub(seen, middle)), reach), v_set1(1), v_set1(0)); /* 0 where it is NaN */
    return !v_any(v_lt(inside, v_set1(1)));
}

CE_INLINE void F(exp_parts_of)(int n, const V *x, const struct F(exp_shift) * s, V *seen, V *scale, V *tail)
{
    V r[CE_INTERLEAVE];
    F(exp_reduced_of)(n, x, s, seen, scale, r);
    F(expm1_small_of)(n, r, tail);
}

CE_INLINE void F(exp_parts)(V x, const struct F(exp_shift) * s, V *scale, V *tail)
{
    F(exp_parts_of)(1, &x, s, NULL, scale, tail);
}
