/* Numbers wider than T, for what is computed element by element: each result is rounded to T once, at the end.
 *
 * w32, for float: a vector of doubles. w64, for double: a vector of pairs of doubles; exp is good to 2^-65 relative, which
 * leaves room for a gradient like sigmoid(x) - target to lose some digits by cancellation, the logarithms to 2^-54.
 * Infinity in a pair: hi is infinite and lo is 0. */
#ifndef CROSSENT_WIDE_H
#define CROSSENT_WIDE_H

typedef vd w32;
typedef struct vd2 w64;

/* Pairs whose high part is not finite carry no low part. */
CE_INLINE w64 w64_tidy(struct vd2 a)
{
    a.lo = vd_select(vd_lt(vd_abs(a.hi), vd_set1(INFINITY)), a.lo, vd_set1(0));
    return a;
}

CE_INLINE w64 w64_from(vd a) { return (w64){a, vd_set1(0)}; }
CE_INLINE w64 w64_set1(double a) { return w64_from(vd_set1(a)); }
CE_INLINE vd w64_round(w64 a) { return vd_add(a.hi, a.lo); }
CE_INLINE w64 w64_select(vdm m, w64 a, w64 b) { return (w64){vd_select(m, a.hi, b.hi), vd_select(m, a.lo, b.lo)}; }
CE_INLINE w64 w64_add(w64 a, w64 b)
{
    struct vd2 s = vd_two_sum(a.hi, b.hi);
    return w64_tidy(vd_fast_two_sum(
        s.hi, vd_select(vd_lt(vd_abs(s.hi), vd_set1(INFINITY)), vd_add(s.lo, vd_add(a.lo, b.lo)), vd_set1(0))));
}
CE_INLINE w64 w64_sub(w64 a, w64 b) { return w64_add(a, (w64){vd_neg(b.hi), vd_neg(b.lo)}); }
CE_INLINE w64 w64_mul(w64 a, w64 b)
{
    struct vd2 p = vd_two_product(a.hi, b.hi);
    vd rest = vd_add(p.lo, vd_madd(a.hi, b.lo, vd_mul(a.lo, b.hi)));
    return w64_tidy(vd_fast_two_sum(p.hi, vd_select(vd_lt(vd_abs(p.hi), vd_set1(INFINITY)), rest, vd_set1(0))));
}
CE_INLINE w64 w64_div(w64 a, w64 b)
{
    vd q = vd_div(a.hi, b.hi);
    vd rest = vd_add(vd_fnma(q, b.hi, a.hi), vd_fnma(q, b.lo, a.lo));
    vd lo = vd_div(rest, b.hi);
    return w64_tidy(vd_fast_two_sum(q, vd_select(vd_lt(vd_abs(q), vd_set1(INFINITY)), lo, vd_set1(0))));
}

/* e^x * 2^-shift to about 2^-65: exp_parts with the reduced argument and its square in two parts. */
CE_INLINE w64 w64_exp_shifted(vd x, const struct exp_shift_f64 *s)
{
    vd y = vd_max(s->nothing, x);
    vd z = vd_madd(y, vd_set1(EXP_EIGHTH_f64 * EIGHTHS_PER_E), s->one);
    vd m = vd_sub(z, s->one);
    vd t = less_head_f64(y, m);
    struct vd2 step = vd_two_product(m, vd_set1(STEP_LO_f64));
    struct vd2 r = vd_two_sum(t, vd_neg(step.hi));
    r.lo = vd_sub(vd_sub(r.lo, step.lo), vd_mul(m, vd_set1(STEP_LOWEST_f64)));
    struct vd2 square = vd_two_product(r.hi, r.hi);
    vd c = vd_madd(vd_set1(0x1.a01fc6b418973p-16), r.hi, vd_set1(0x1.a01fb44ea92d3p-13));
    c = vd_madd(c, r.hi, vd_set1(0x1.6c16c162293d5p-10));
    c = vd_madd(c, r.hi, vd_set1(0x1.1111110a14f1fp-7));
    c = vd_madd(c, r.hi, vd_set1(0x1.555555555562bp-5));
    c = vd_madd(c, r.hi, vd_set1(0x1.55555555555fap-3));
    /* 1 + r + r^2/2 + c r^3, the small terms first */
    struct vd2 a = vd_fast_two_sum(r.hi, vd_mul(vd_set1(0.5), square.hi));
    vd small = vd_madd(c, vd_mul(square.hi, r.hi), vd_madd(vd_set1(0.5), square.lo, a.lo));
    small = vd_add(small, vd_madd(r.lo, r.hi, r.lo));
    struct vd2 tail = vd_fast_two_sum(a.hi, small);
    vd table_error = vd_lookup8(EXP_TABLE_ERROR_f64, z);
    tail.lo = vd_madd(tail.hi, table_error, vd_add(tail.lo, table_error));
    vd scale = vd_mul(vd_lookup8(EXP_TABLE_f64, z), vd_exponent_bits(z));
    struct vd2 p = vd_two_product(scale, tail.hi);
    struct vd2 e = vd_fast_two_sum(scale, p.hi);
    return vd_fast_two_sum(e.hi, vd_add(e.lo, vd_madd(scale, tail.lo, p.lo)));
}

/* n vectors (a constant). */
CE_INLINE void w64_exp_shifted_of(int n, const vd *x, const struct exp_shift_f64 *s, w64 *e)
{
    for (int i = 0; i < n; i++) {
        e[i] = w64_exp_shifted(x[i], s);
    }
}

/* e^x for x < 700, subnormal results included: those are computed 2^64 times too large. */
CE_INLINE w64 w64_exp(vd x)
{
    struct exp_shift_f64 near = exp_shift_by_f64(0), far = exp_shift_by_f64(-64), s;
    vdm tiny = vd_lt(x, vd_set1(-600.0));
    s.one = vd_select(tiny, far.one, near.one);
    s.nothing = vd_select(tiny, far.nothing, near.nothing);
    vd down = vd_select(tiny, vd_set1(0x1p-64), vd_set1(1.0));
    w64 e = w64_exp_shifted(x, &s);
    return (w64){vd_mul(e.hi, down), vd_mul(e.lo, down)};
}
/* e^-x for x >= 0, to 2^-55; 2^64 times too large on the way, for subnormal results. */
CE_INLINE w64 w64_exp_minus(w64 x)
{
    struct exp_shift_f64 shift = exp_shift_by_f64(-64);
    vd scale, tail, down = vd_set1(0x1p-64);
    exp_parts_f64(vd_neg(x.hi), &shift, &scale, &tail);
    struct vd2 e = vd_fast_two_sum(scale, vd_mul(scale, tail));
    return (w64){vd_mul(e.hi, down), vd_mul(vd_fnma(e.hi, x.lo, e.lo), down)};
}
CE_INLINE w64 w64_log1p(w64 q) { return log1p_wide(q); }
CE_INLINE w64 w64_log1p_unit(w64 q) { return log1p_unit_wide(q); }
CE_INLINE w64 w64_log1m(w64 p) { return log1p_wide((struct vd2){vd_neg(p.hi), vd_neg(p.lo)}); }
CE_INLINE w64 w64_log(vd x) { return log_wide(x); }

CE_INLINE w64 w64_join(struct vd2 a) { return a; }
CE_INLINE struct vd2 w64_split(w64 a) { return a; }
CE_INLINE w64 w64_scale(w64 a, vd power) { return (w64){vd_mul(a.hi, power), vd_mul(a.lo, power)}; }
CE_INLINE w64 w64_pair(double hi, double lo) { return (w64){vd_set1(hi), vd_set1(lo)}; }
CE_INLINE w64 w64_set_lane(w64 a, ptrdiff_t i, double x)
{
    return (w64){vd_set_lane(a.hi, i, x), vd_set_lane(a.lo, i, 0)};
}
/* sum += a, lane by lane; an infinite sum has no low part. */
CE_INLINE void w64_accumulate(struct vd2 *sum, w64 a)
{
    struct vd2 t = vd_two_sum(sum->hi, a.hi);
    vd lost = vd_select(vd_lt(vd_abs(t.hi), vd_set1(INFINITY)), vd_add(t.lo, a.lo), vd_set1(0));
    *sum = (struct vd2){t.hi, vd_add(sum->lo, lost)};
}

CE_INLINE void w64_clear(struct vd2 *sum) { sum->hi = sum->lo = vd_set1(0); }
CE_INLINE void w64_merge(struct vd2 *sum, struct vd2 a) { w64_accumulate(sum, a); }

CE_INLINE w32 w32_join(struct vd2 a) { return vd_add(a.hi, a.lo); }
CE_INLINE struct vd2 w32_split(w32 a) { return (struct vd2){a, vd_set1(0)}; }
CE_INLINE w32 w32_scale(w32 a, vd power) { return vd_mul(a, power); } /* of two */
CE_INLINE w32 w32_pair(double hi, double lo) { return vd_set1(hi + lo); }
CE_INLINE w32 w32_set_lane(w32 a, ptrdiff_t i, double x) { return vd_set_lane(a, i, x); }
CE_INLINE void w32_accumulate(struct vd2 *sum, w32 a) { sum->hi = vd_add(sum->hi, a); }
CE_INLINE void w32_clear(struct vd2 *sum) { sum->hi = vd_set1(0); } /* the low part is never looked at */
CE_INLINE void w32_merge(struct vd2 *sum, struct vd2 a) { sum->hi = vd_add(sum->hi, a.hi); }
CE_INLINE w32 w32_from(vd a) { return a; }
CE_INLINE w32 w32_set1(double a) { return vd_set1(a); }
CE_INLINE vd w32_round(w32 a) { return a; }
CE_INLINE w32 w32_select(vdm m, w32 a, w32 b) { return vd_select(m, a, b); }
CE_INLINE w32 w32_add(w32 a, w32 b) { return vd_add(a, b); }
CE_INLINE w32 w32_sub(w32 a, w32 b) { return vd_sub(a, b); }
CE_INLINE w32 w32_mul(w32 a, w32 b) { return vd_mul(a, b); }
CE_INLINE w32 w32_div(w32 a, w32 b) { return vd_div(a, b); }
CE_INLINE w32 w32_exp_shifted(vd x, const struct exp_shift_f64 *s)
{
    vd scale, tail;
    exp_parts_f64(x, s, &scale, &tail);
    return vd_madd(scale, tail, scale);
}
CE_INLINE void w32_exp_shifted_of(int n, const vd *x, const struct exp_shift_f64 *s, w32 *e)
{
    vd scale[CE_INTERLEAVE], tail[CE_INTERLEAVE];
    exp_parts_of_f64(n, x, s, NULL, scale, tail);
    for (int i = 0; i < n; i++) {
        e[i] = vd_madd(scale[i], tail[i], scale[i]);
    }
}
CE_INLINE w32 w32_exp(vd x)
{
    struct exp_shift_f64 s = exp_shift_by_f64(0);
    return w32_exp_shifted(x, &s);
}
CE_INLINE w32 w32_exp_minus(w32 x) { return w32_exp(vd_neg(x)); }
CE_INLINE w32 w32_log1p(w32 q) { return log1p_short(q); }
/* For 0 <= q <= 1; losses are added up before they are rounded to float.
 *
 * bound: w32_log1p_unit 3e-12 relative */
CE_INLINE w32 w32_log1p_unit(w32 q) { return twice_atanh(vd_div(q, vd_add(vd_set1(2), q))); }
/* For -1 <= q <= 0 as well. */
CE_INLINE w32 w32_log1m(w32 p) { return log1p_wide((struct vd2){vd_neg(p), vd_set1(0)}).hi; }
CE_INLINE w32 w32_log(vd x) { return log_wide(x).hi; }

#endif
