/* A group of up to GROUP_MAX rows between its two passes: what the sums say, in vectors over the rows.
 *
 * With R the sum over the other classes and e the exponential of the class left out (the target, or one maximum):
 *     -log p = log(1 + R / e),   p_j = e_j / (R + e),   1 - p = R / (R + e)
 * all of which keep their relative accuracy however confident the row is. (log(1 + R/e) for the maximum: Blanchard, Higham
 * and Higham, IMA J. Numer. Anal. 41 (2021) 2311; the same for the target gives the loss.) */

/* Aligned: the gradient of 3 to 10 classes took 5 to 7 % longer. */
struct F(group) {
    _Alignas(64) int n, trusted[GROUP_MAX];
    _Alignas(64) double sum_hi[GROUP_MAX];
    double sum_lo[GROUP_MAX];
    T shift[GROUP_MAX], base[GROUP_MAX], logit[GROUP_MAX]; /* logit: of the class left out; -inf where none was */
    double log_hi[GROUP_MAX], log_lo[GROUP_MAX];           /* log(1 + R / e) */
    double inv_hi[GROUP_MAX], inv_lo[GROUP_MAX];           /* 1 / (R + e) */
};

/* Lanes that no row uses hold this: two classes, both logits 0, one of them left out. */
CE_STATIC void F(group_clear)(struct F(group) * g, int n)
{
    g->n = n;
    for (int i = 0; i < GROUP_MAX; i++) {
        g->sum_hi[i] = 1;
        g->sum_lo[i] = g->shift[i] = g->base[i] = g->logit[i] = 0;
    }
}

CE_INLINE void F(set_double)(const struct F(group) * g, double field[GROUP_MAX], int i, double value)
{
    if (g->n < 8) {
        vd_store(field, vd_set_lane(vd_load(field), i, value));
    } else {
        field[i] = value;
    }
}

CE_INLINE void F(set_number)(const struct F(group) * g, T field[GROUP_MAX], int i, T value)
{
    if (g->n < 8) {
        v_store(field, v_set_lane(v_load(field), i, value));
    } else {
        field[i] = value;
    }
}

/* The vectors of a small group are read next. Of numbers just stored one by one they would wait until all that was stored before
 * is in the cache: log_softmax and gradient of 1000 classes 3 to 4 % less. */
CE_INLINE void F(group_set)(struct F(group) * g, int i, const struct F(row_sum) * row, T logit)
{
    g->trusted[i] = row->trusted;
    F(set_double)(g, g->sum_hi, i, row->sum[0]);
    F(set_double)(g, g->sum_lo, i, row->sum[1]);
    F(set_number)(g, g->shift, i, (T)row->shift);
    F(set_number)(g, g->base, i, row->base);
    F(set_number)(g, g->logit, i, logit);
}

/* What belongs to rows of floats is exact enough as a double, of doubles as a pair. */
#if WIDE_PARTS == 2
CE_INLINE struct vd2 F(wide_product)(vd a, vd b) { return (struct vd2){vd_mul(a, b), vd_set1(0)}; }

/* 1 / (sum + e) */
CE_INLINE struct vd2 F(wide_inverse)(vd sum_hi, vd sum_lo, struct vd2 e)
{
    (void)sum_lo;
    return (struct vd2){vd_div(vd_set1(1.0), vd_add(sum_hi, e.hi)), vd_set1(0)};
}
#else
CE_INLINE struct vd2 F(wide_product)(vd a, vd b) { return vd_two_product(a, b); }

CE_INLINE struct vd2 F(wide_inverse)(vd sum_hi, vd sum_lo, struct vd2 e)
{
    struct vd2 s = vd_two_sum(sum_hi, e.hi);
    s.lo = vd_add(s.lo, vd_add(sum_lo, e.lo));
    vd inv = vd_div(vd_set1(1.0), s.hi);
    vd rest = vd_sub(vd_fnma(s.hi, inv, vd_set1(1.0)), vd_mul(s.lo, inv));
    return (struct vd2){inv, vd_mul(inv, rest)};
}
#endif

/* e = e^(logit - base) * 2^-shift of rows i..i+LANES-1, like the others' in the sum. */
CE_INLINE void F(group_exps)(const struct F(group) * g, int i, struct vd2 e[WIDE_PARTS])
{
    struct F(exp_shift) shift = F(exp_shift_of)(v_load(g->shift + i));
    V scale, tail;
    F(exp_parts)(v_sub(v_load(g->logit + i), v_load(g->base + i)), &shift, &scale, &tail);
#if WIDE_PARTS == 2
    vd lo = vf_widen_lo(scale), hi = vf_widen_hi(scale);
    e[0] = (struct vd2){vd_madd(lo, vf_widen_lo(tail), lo), vd_set1(0)};
    e[1] = (struct vd2){vd_madd(hi, vf_widen_hi(tail), hi), vd_set1(0)};
#else
    e[0] = vd_fast_two_sum(scale, vd_mul(scale, tail));
#endif
}

/* log(1 + R / e) where e is too small for T: base - logit + log(R 2^shift), whose bits do not depend on how it is shifted. */
CE_INLINE struct vd2 F(log_far)(const struct F(group) * g, int i)
{
    vd sum = vd_load(g->sum_hi + i), n;
    vd f = vd_sub(split_exponent(sum, &n), vd_set1(1));
    struct vd2 log_sum = log_reduced(vd_add(n, F(load_wide)(g->shift + i, 8, 0)), f, vd_set1(0));
    struct vd2 gap = vd_two_sum(F(load_wide)(g->base + i, 8, 0), vd_neg(F(load_wide)(g->logit + i, 8, 0)));
    struct vd2 far = vd_two_sum(gap.hi, log_sum.hi);
    struct vd2 r = vd_fast_two_sum(far.hi, vd_add(far.lo, vd_add(gap.lo, log_sum.lo)));
    vdm finite_sum = vd_lt(sum, vd_set1(INFINITY));
    r = (struct vd2){vd_select(finite_sum, r.hi, sum), vd_select(finite_sum, r.lo, vd_set1(0))};
    vdm finite_gap = vd_lt(gap.hi, vd_set1(INFINITY)); /* the gap itself may be too large for a double */
    return (struct vd2){vd_select(finite_gap, r.hi, gap.hi), vd_select(finite_gap, r.lo, vd_set1(0))};
}

/* log(1 + R / e) of eight rows. */
CE_INLINE struct vd2 F(log_ratio)(const struct F(group) * g, int i, struct vd2 e)
{
    vd sum = vd_load(g->sum_hi + i);
#if WIDE_PARTS == 2
    return (struct vd2){log1p_ratio(sum, e.hi), vd_set1(0)};
#else
    vd q = vd_div(sum, e.hi);
    vd rest = vd_add(vd_fnma(q, e.hi, sum), vd_fnma(q, e.lo, vd_load(g->sum_lo + i)));
    /* R / 0 and inf / e leave no rest worth having */
    vd lo = vd_select(vd_lt(q, vd_set1(0x1p900)), vd_div(rest, e.hi), vd_set1(0.0));
    return log1p_wide((struct vd2){q, lo});
#endif
}

/* Of those rows i..i+7 where e may be less than T holds to all digits, or R / e more than a double does. */
CE_STATIC void F(group_logs_far)(struct F(group) * g, int i, vdm far)
{
    vdm finite = vd_lt(vd_set1(-INFINITY), F(load_wide)(g->logit + i, 8, 0));
    struct vd2 f = F(log_far)(g, i);
    vd hi = vd_select(finite, f.hi, vd_set1(INFINITY)), lo = vd_select(finite, f.lo, vd_set1(0.0));
    vd_store(g->log_hi + i, vd_select(far, hi, vd_load(g->log_hi + i)));
    vd_store(g->log_lo + i, vd_select(far, lo, vd_load(g->log_lo + i)));
}

/* By R / e, which does not depend on the shift: where this is not so, e is at least 2^-96 (of doubles 2^-836). */
CE_INLINE vdm F(is_far)(vd e, vd sum) { return vd_lt(vd_mul(e, vd_set1(WIDE_PARTS == 2 ? 0x1p128 : 0x1p900)), sum); }

/* Of rows first..first+LANES-1, whose exponentials of the class left out are e. */
CE_INLINE void F(group_logs_of)(struct F(group) * g, int first, const struct vd2 e[WIDE_PARTS])
{
    for (int k = 0, i = first; k < WIDE_PARTS && i < g->n; k++, i += 8) {
        struct vd2 r = F(log_ratio)(g, i, e[k]);
        vdm far = F(is_far)(e[k].hi, vd_load(g->sum_hi + i));
        vd_store(g->log_hi + i, r.hi);
        vd_store(g->log_lo + i, r.lo);
        if (vd_any(far)) {
            F(group_logs_far)(g, i, far);
        }
    }
}

CE_INLINE void F(group_logs)(struct F(group) * g)
{
    for (int first = 0; first < g->n; first += LANES) {
        struct vd2 e[WIDE_PARTS];
        F(group_exps)(g, first, e);
        F(group_logs_of)(g, first, e);
    }
}

/* Of rows first..first+LANES-1 whose exponentials of the class left out are e; NULL: none was left out. */
CE_INLINE void F(group_inverses_of)(struct F(group) * g, int first, const struct vd2 *e)
{
    const struct vd2 none = {vd_set1(0), vd_set1(0)};
    for (int k = 0, i = first; k < WIDE_PARTS && i < g->n; k++, i += 8) {
        struct vd2 inverse = F(wide_inverse)(vd_load(g->sum_hi + i), vd_load(g->sum_lo + i), e ? e[k] : none);
        vd_store(g->inv_hi + i, inverse.hi);
        vd_store(g->inv_lo + i, inverse.lo);
    }
}

/* Whether a class was left out is a constant. */
CE_INLINE void F(group_inverses)(struct F(group) * g, int left_out)
{
    for (int first = 0; first < g->n; first += LANES) {
        struct vd2 e[WIDE_PARTS];
        if (left_out) {
            F(group_exps)(g, first, e);
        }
        F(group_inverses_of)(g, first, left_out ? e : NULL);
    }
}

/* A factor for each row as two numbers of T, and an exact power of two before it so that neither part underflows. Both have
 * the same sign: else that of an exponential times them would depend on whether the exponential is 0 or only nearly. */
struct F(factors) {
    _Alignas(64) T before[GROUP_MAX];
    T hi[GROUP_MAX], lo[GROUP_MAX];
};

/* Small factors take over the headroom of the exponentials. */
CE_STATIC void F(raise_factors)(double value[8], double low[8], double exponent, T before[8])
{
    for (int i = 0; i < 8; i++) {
        double up = 0;
        if (fabs(value[i]) < F(FACTOR_SMALL) && value[i] != 0) {
            up = -F(EXP_HEADROOM_MIN) - ilogb(value[i]);
            value[i] = ldexp(value[i], (int)up);
            low[i] = ldexp(low[i], (int)up);
        }
        before[i] = (T)ce_exp2(exponent - up);
    }
}

/* (hi + lo) * times * 2^exponent for rows i..i+7, exponent an integer <= 0. Inline: with AVX2's vectors passed by way of memory,
 * softmax of 10 classes took 15 % longer. */
CE_INLINE void F(set_factors)(struct F(factors) * f, int i, vd hi, vd lo, vd times, double exponent)
{
    struct vd2 product = F(wide_product)(hi, times);
    vd value = product.hi, low = vd_madd(lo, times, product.lo);
    F(store_wide)(f->before + i, vd_set1(ce_exp2(exponent)), 8);
    vd size = vd_select(vd_eq(value, vd_set1(0)), vd_set1(1), vd_abs(value)); /* lanes without a row hold 0 */
    if (vd_any(vd_lt(size, vd_set1(F(FACTOR_SMALL))))) {
        double values[8], lows[8];
        vd_store(values, value);
        vd_store(lows, low);
        F(raise_factors)(values, lows, exponent, f->before + i);
        value = vd_load(values);
        low = vd_load(lows);
    }
    F(store_wide)(f->hi + i, vd_mul(value, vd_set1(1 - T_EPSILON)), 8);
    low = vd_add(vd_sub(value, F(load_wide)(f->hi + i, 8, 0)), low);
    F(store_wide)(f->lo + i, vd_select(vd_lt(vd_abs(value), vd_set1(T_MAX)), low, vd_set1(0)), 8);
}

/* 1 / (R + e) * times[row] for every row of the group. */
CE_STATIC void F(group_factors)(const struct F(group) * g, const double times[GROUP_MAX], struct F(factors) * f)
{
    for (int i = 0; i < g->n; i += 8) {
        F(set_factors)(f, i, vd_load(g->inv_hi + i), vd_load(g->inv_lo + i), vd_load(times + i), 0);
    }
}

/* R / (R + e) of eight rows: 1 - p of the class left out. */
CE_INLINE struct vd2 F(group_others)(const struct F(group) * g, int i)
{
    vd sum = vd_load(g->sum_hi + i), inv = vd_load(g->inv_hi + i);
    struct vd2 r = F(wide_product)(sum, inv);
    r.lo = vd_add(r.lo, vd_madd(vd_load(g->sum_lo + i), inv, vd_mul(sum, vd_load(g->inv_lo + i))));
    return r;
}
