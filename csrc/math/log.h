/* log(1 + q) and log(x) of doubles in two parts.
 *
 * bound: log1p_f64 0.70 ulp
 * bound: log_f64 0.62 ulp
 * bound: log1p_unit_f64 0.70 ulp
 *
 * y = 2^n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)];
 * log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)),  s = f / (2 + f), R the series of fdlibm's e_log.c (error 2^-58.4).
 * f - f^2/2 is kept in two parts, where fdlibm rounds it. The largest errors are just below sqrt(1/2), where -ln 2 cancels. */
#ifndef CROSSENT_LOG_H
#define CROSSENT_LOG_H

#define LN2_HI 0x1.62e42fefa0000p-1 /* 38 bits: n * LN2_HI is exact */
#define LN2_LO 0x1.cf79abc9e3b3ap-40

/* n ln 2 + log(1 + f + f_lo) for integer n, f in [-0.3, 0.42], |f_lo| <= ulp(f) or so. */
CE_INLINE struct vd2 log_reduced(vd n, vd f, vd f_lo)
{
    vd s = vd_div(f, vd_add(vd_set1(2.0), f));
    vd z = vd_mul(s, s);
    vd R = vd_madd(z, vd_set1(1.479819860511658591e-01), vd_set1(1.531383769920937332e-01));
    R = vd_madd(z, R, vd_set1(1.818357216161805012e-01));
    R = vd_madd(z, R, vd_set1(2.222219843214978396e-01));
    R = vd_madd(z, R, vd_set1(2.857142874366239149e-01));
    R = vd_madd(z, R, vd_set1(3.999999999940941908e-01));
    R = vd_madd(z, R, vd_set1(6.666666666666735130e-01));
    R = vd_mul(z, R);
    vd half = vd_set1(0.5);
    struct vd2 square = vd_two_product(f, f);
    vd half_square = vd_mul(half, square.hi);
    struct vd2 head = vd_fast_two_sum(f, vd_neg(half_square));
    vd lo = vd_madd(s, vd_add(half_square, R), vd_madd(vd_set1(-0.5), square.lo, head.lo));
    /* d/df log(1 + f) = 1 / (1 + f), near enough for a term of 2^-53 */
    vd slope = vd_madd(f, vd_sub(f, vd_set1(1.0)), vd_set1(1.0));
    lo = vd_madd(f_lo, slope, vd_madd(n, vd_set1(LN2_LO), lo));
    struct vd2 sum = vd_fast_two_sum(vd_mul(n, vd_set1(LN2_HI)), head.hi);
    return vd_fast_two_sum(sum.hi, vd_add(sum.lo, lo));
}

/* y = 2^n * m with m in [sqrt(1/2), sqrt(2)). */
CE_INLINE vd split_exponent(vd y, vd *n)
{
    vd m = vd_get_mantissa(y), e = vd_get_exponent(y);
    vdm high = vd_lt(vd_set1(1.4142135623730951), m);
    *n = vd_select(high, vd_add(e, vd_set1(1.0)), e);
    return vd_select(high, vd_mul(m, vd_set1(0.5)), m);
}

/* log(1 + q), q = q.hi + q.lo >= -1 (q.lo only where q >= -1/2); log1p(-1) = -inf; +inf and NaN stay. */
CE_INLINE struct vd2 log1p_wide(struct vd2 q)
{
    vd one = vd_set1(1.0), n;
    struct vd2 y = vd_two_sum(one, q.hi);
    y.lo = vd_add(y.lo, q.lo);
    vd f = vd_sub(split_exponent(y.hi, &n), one);
    /* y.lo * 2^-n: y.hi / m is the power of two, exactly */
    vd f_lo = vd_div(vd_mul(y.lo, vd_add(f, one)), y.hi);
    /* n = 0: 1 + f is 1 + q, and q itself has the bits that the sum has lost */
    vdm near = vd_eq(n, vd_set1(0.0));
    f = vd_select(near, q.hi, f);
    f_lo = vd_select(near, q.lo, f_lo);
    struct vd2 r = log_reduced(n, f, f_lo);
    vdm finite = vd_lt(q.hi, vd_set1(INFINITY)), zero = vd_eq(y.hi, vd_set1(0.0));
    r.hi = vd_select(zero, vd_set1(-INFINITY), vd_select(finite, r.hi, q.hi));
    r.lo = vd_select(zero, vd_set1(0.0), vd_select(finite, r.lo, vd_set1(0.0)));
    return r;
}

/* log(x) for x >= 0, subnormals included; log(0) = -inf; +inf and NaN stay. */
CE_INLINE struct vd2 log_wide(vd x)
{
    vd n;
    vdm tiny = vd_lt(x, vd_set1(0x1p-1022));
    vd y = vd_select(tiny, vd_mul(x, vd_set1(0x1p54)), x);
    vd f = vd_sub(split_exponent(y, &n), vd_set1(1.0));
    n = vd_select(tiny, vd_sub(n, vd_set1(54.0)), n);
    struct vd2 r = log_reduced(n, f, vd_set1(0.0));
    vdm finite = vd_lt(x, vd_set1(INFINITY));
    vdm zero = vd_eq(x, vd_set1(0.0));
    r.hi = vd_select(zero, vd_set1(-INFINITY), vd_select(finite, r.hi, x));
    r.lo = vd_select(zero, vd_set1(0.0), vd_select(finite, r.lo, vd_set1(0.0)));
    return r;
}

/* log(1 + q) for q >= 0, to 2^-33: enough for a result that is rounded to float.
 *
 * bound: log1p_short 1.2e-10 relative */
CE_INLINE vd log1p_short(vd q)
{
    vd one = vd_set1(1.0), n;
    vd y = vd_add(one, q);
    vd f = vd_sub(split_exponent(y, &n), one);
    f = vd_select(vd_eq(n, vd_set1(0.0)), q, f);
    vd s = vd_div(f, vd_add(vd_set1(2.0), f));
    vd z = vd_mul(s, s);
    vd R = vd_madd(z, vd_set1(1.818357216161805012e-01), vd_set1(2.222219843214978396e-01));
    R = vd_madd(z, R, vd_set1(2.857142874366239149e-01));
    R = vd_madd(z, R, vd_set1(3.999999999940941908e-01));
    R = vd_madd(z, R, vd_set1(6.666666666666735130e-01));
    vd half_square = vd_mul(vd_mul(vd_set1(0.5), f), f);
    vd tail = vd_sub(half_square, vd_mul(s, vd_madd(z, R, half_square)));
    vd r = vd_madd(n, vd_set1(LN2_HI + LN2_LO), vd_sub(f, tail));
    return vd_select(vd_lt(q, vd_set1(INFINITY)), r, q);
}

/* 2 atanh(s) for |s| <= 1/3, to 2^-38: Remez exchange in s^2. */
CE_INLINE vd twice_atanh(vd s)
{
    vd z = vd_mul(s, s), twice = vd_add(s, s);
    vd R = vd_madd(z, vd_set1(0x1.be179402394e9p-4), vd_set1(0x1.5f42415bb8aa5p-4));
    R = vd_madd(z, R, vd_set1(0x1.c8b9e0ec43cd6p-4));
    R = vd_madd(z, R, vd_set1(0x1.248a65be3e10ap-3));
    R = vd_madd(z, R, vd_set1(0x1.9999bcca14b04p-3));
    R = vd_madd(z, R, vd_set1(0x1.5555553b4bf00p-2));
    return vd_madd(vd_mul(twice, z), R, twice);
}

/* log(1 + r / e) for r >= 0, e > 0, to 2^-38, with one division: 2 atanh(s) with s = r / (2 e + r) where r <= e; else n ln 2
 * and the same of the quotient of the mantissas of r + e and e, s = (y - x) / (y + x).
 *
 * bound: log1p_ratio 3e-12 relative */
CE_INLINE vd log1p_ratio(vd r, vd e)
{
    vd sum = vd_add(r, e), y = vd_get_mantissa(sum), x = vd_get_mantissa(e);
    vdm large = vd_lt(e, r);
    vd above = vd_select(large, vd_sub(y, x), r), below = vd_select(large, vd_add(y, x), vd_add(sum, e));
    vd n = vd_select(large, vd_sub(vd_get_exponent(sum), vd_get_exponent(e)), vd_set1(0.0));
    return vd_madd(n, vd_set1(LN2_HI + LN2_LO), twice_atanh(vd_div(above, below)));
}

/* log(1 + q) for 0 <= q <= 1 in two parts. */
CE_INLINE struct vd2 log1p_unit_wide(struct vd2 q)
{
    vd one = vd_set1(1.0), half = vd_set1(0.5), zero = vd_set1(0.0);
    struct vd2 y = vd_fast_two_sum(one, q.hi);
    vdm high = vd_lt(vd_set1(1.4142135623730951), y.hi);
    vd f = vd_select(high, vd_sub(vd_mul(y.hi, half), one), q.hi);
    vd f_lo = vd_select(high, vd_mul(vd_add(y.lo, q.lo), half), q.lo);
    return log_reduced(vd_select(high, one, zero), f, f_lo);
}

/* log(1 + q) for 0 <= q <= 1, to 2^-33: 2 atanh(s), s = q / (2 + q) <= 1/3, by Remez exchange in s^2. One more term, as in
 * twice_atanh, would cost log_sigmoid 5 %.
 *
 * bound: log1p_unit 1.2e-10 relative */
CE_INLINE vd log1p_unit(vd q)
{
    vd s = vd_div(q, vd_add(vd_set1(2.0), q)), z = vd_mul(s, s), twice = vd_add(s, s);
    vd R = vd_madd(z, vd_set1(0x1.f1733ebc83223p-4), vd_set1(0x1.b6e6ccd029d4bp-4));
    R = vd_madd(z, R, vd_set1(0x1.2508b103cf334p-3));
    R = vd_madd(z, R, vd_set1(0x1.9996af961f969p-3));
    R = vd_madd(z, R, vd_set1(0x1.5555584c24fc0p-2));
    return vd_madd(vd_mul(twice, z), R, twice);
}

#endif
