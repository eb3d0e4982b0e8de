/* The sum of binary cross-entropies of targets 0 and 1: the logarithm of one product, not a sum of logarithms.
 *
 * The factors, p where the target t is 1 and 1 - p where it is 0, are (1 - t) - p up to the sign. Their product is a pair
 * (hi, lo): hi alone is rounded by 2^-53 a factor, which is nothing in a sum of losses that are not small; with lo, which
 * takes the rounding errors of 1 - p and of the products, what is lost is 2^-106.
 *
 * A group whose targets are not all 0 or 1, or whose product falls below the floor of the logarithms (then a factor
 * may have), goes element by element. */

#ifndef CROSSENT_BCE_SUM_H
#define CROSSENT_BCE_SUM_H
#define BCE_GROUP 16   /* vectors in a product: ordinary losses keep it above the floor of -100 */
#define BCE_CHUNK 4096 /* elements to a logarithm */
/* Smaller means of a chunk need the pair, or every element for itself: for a relative error of 2^-44 (float) and 2^-60. */
#define BCE_SMALL_MEAN 0x1p-8
#define BCE_SMALL_MEAN_OF_PAIRS 0x1p-40
#define BCE_LOWEST_PRODUCT 0x1p-450 /* with its errors far from what is subnormal */
#define PREFETCH_AHEAD 4096         /* bytes */
#endif

/* The smallest and the largest number met, NaN aside. */
struct F(span) {
    V lowest, highest;
};

CE_INLINE void F(widen_span)(struct F(span) * s, V v)
{
    s->lowest = v_min(v, s->lowest);
    s->highest = v_max(v, s->highest);
}

CE_INLINE int F(leaves_unit)(struct F(span) s)
{
    return v_any(v_lt(s.lowest, v_set1(0))) || v_any(v_lt(v_set1(1), s.highest));
}

/* Whether an input or a target lies outside [0, 1]; NaN does not. */
CE_STATIC int F(outside_unit)(const struct ce_element_loss *a)
{
    const T *x = (const T *)a->input, *t = (const T *)a->target;
    struct F(span) span = {v_set1(0), v_set1(1)};
    int64_t i = 0;
    for (; i + LANES <= a->n; i += LANES) {
        F(widen_span)(&span, v_load(x + i));
        F(widen_span)(&span, v_load(t + i));
    }
    F(widen_span)(&span, v_load_part(x + i, (ptrdiff_t)(a->n - i), 0));
    F(widen_span)(&span, v_load_part(t + i, (ptrdiff_t)(a->n - i), 0));
    return F(leaves_unit)(span);
}

/* sum += the losses of n elements from the first on, each for itself. */
CE_STATIC void F(bce_each)(const struct ce_element_loss *a, int64_t first, int64_t n, struct vd2 *sum)
{
    const T *x = (const T *)a->input + first, *t = (const T *)a->target + first;
    struct vd2 part = {vd_set1(0), vd_set1(0)};
    for (int64_t i = 0; i < n; i += 8) {
        ptrdiff_t m = (ptrdiff_t)(n - i);
        struct F(elements) e = {F(load_wide)(x + i, m, 1), F(load_wide)(t + i, m, 1), vd_set1(1), vd_set1(1), a, 1, 0};
        W loss = F(bce_at)(&e).loss;
        w_accumulate(&part, w_select(vd_eq(F(valid)(m), vd_set1(0)), w_set1(0), loss));
    }
    w64_accumulate(sum, part);
}

/* p *= (1 - t) - x. The pair is exact to 2^-106; without it lo stays as it is. */
CE_INLINE void F(times_factor)(struct vd2 *p, vd other, vd x, const int pair)
{
    vd factor = vd_sub(other, x);
    if (!pair) {
        p->hi = vd_mul(p->hi, factor);
        return;
    }
    vd error = vd_sub(vd_sub(other, factor), x);
    struct vd2 product = vd_two_product(p->hi, factor);
    p->lo = vd_madd(p->lo, factor, vd_madd(p->hi, error, product.lo));
    p->hi = product.hi;
}

/* A product as mantissa * 2^exponent, positive. */
struct F(scaled) {
    struct vd2 mantissa;
    vd exponent;
};

CE_INLINE void F(times_product)(struct F(scaled) * s, struct vd2 p, const int pair)
{
    vd size = vd_abs(p.hi), mantissa = vd_get_mantissa(size), half = vd_set1(0.5);
    s->exponent = vd_add(s->exponent, vd_get_exponent(size));
    if (pair) {
        /* mantissa / p.hi is a power of two and the sign: exact */
        s->mantissa = vd2_mul(s->mantissa, (struct vd2){mantissa, vd_mul(p.lo, vd_div(mantissa, p.hi))});
    } else {
        s->mantissa.hi = vd_mul(s->mantissa.hi, mantissa);
    }
    vdm high = vd_lt(vd_set1(2), s->mantissa.hi);
    s->exponent = vd_select(high, vd_add(s->exponent, vd_set1(1)), s->exponent);
    s->mantissa.hi = vd_select(high, vd_mul(s->mantissa.hi, half), s->mantissa.hi);
    s->mantissa.lo = vd_select(high, vd_mul(s->mantissa.lo, half), s->mantissa.lo);
}

CE_INLINE struct vd2 F(log_of_product)(struct F(scaled) s)
{
    vd n, m = split_exponent(s.mantissa.hi, &n);
    struct vd2 f = vd_two_sum(vd_sub(m, vd_set1(1)), vd_mul(s.mantissa.lo, vd_div(m, s.mantissa.hi)));
    return log_reduced(vd_add(s.exponent, n), f.hi, f.lo);
}

/* One product for each eight lanes of V. */
CE_INLINE int F(bce_group)(const T *x, const T *t, V lowest, V highest, struct F(span) * span, struct vd2 *p,
                           const int pair)
{
    V soft = v_set1(0);
    for (int i = 0; i < BCE_GROUP; i++) {
        V v = v_load(x + i * LANES), z = v_load(t + i * LANES), other = v_sub(v_set1(1), z);
        CE_PREFETCH(x + i * LANES + PREFETCH_AHEAD / sizeof(T));
        CE_PREFETCH(t + i * LANES + PREFETCH_AHEAD / sizeof(T));
        F(widen_span)(span, v);
        soft = v_max(v_abs(v_mul(z, other)), soft);
        v = v_min(highest, v_max(lowest, v));
#if WIDE_PARTS == 2
        F(times_factor)(&p[0], vf_widen_lo(other), vf_widen_lo(v), pair);
        F(times_factor)(&p[1], vf_widen_hi(other), vf_widen_hi(v), pair);
#else
        F(times_factor)(&p[0], other, v, pair);
#endif
    }
    return !v_any(v_lt(v_set1(0), soft));
}

/* The sum of n <= BCE_CHUNK losses from the first on. */
CE_INLINE struct vd2 F(bce_products)(const struct ce_element_loss *a, int64_t first, int64_t n, struct F(span) * span,
                                     const int pair)
{
    const T *x = (const T *)a->input + first, *t = (const T *)a->target + first;
    V lowest = v_set1((T)a->eps), highest = v_set1((T)1 - (T)a->eps);
    vd one = vd_set1(1), zero = vd_set1(0);
    vd bottom = vd_max(w_round(w_exp(vd_set1(a->log_floor))), vd_set1(BCE_LOWEST_PRODUCT));
    struct vd2 sum = {zero, zero};
    struct F(scaled) all = {{one, zero}, zero};
    const int64_t group = BCE_GROUP * LANES;
    int64_t i = 0;
    for (; i + group <= n; i += group) {
        struct vd2 p[2] = {{one, zero}, {one, zero}};
        int hard = F(bce_group)(x + i, t + i, lowest, highest, span, p, pair);
        if (hard && vd_all(vd_lt(bottom, vd_abs(p[0].hi))) && vd_all(vd_lt(bottom, vd_abs(p[1].hi)))) {
            for (int part = 0; part < WIDE_PARTS; part++) {
                F(times_product)(&all, p[part], pair);
            }
        } else {
            F(bce_each)(a, first + i, group, &sum);
            for (int64_t j = i; j < i + group; j += LANES) {
                F(widen_span)(span, v_load(t + j));
            }
        }
    }
    if (i < n) {
        F(bce_each)(a, first + i, n - i, &sum);
        for (; i < n; i += LANES) {
            F(widen_span)(span, v_load_part(x + i, (ptrdiff_t)(n - i), 0));
            F(widen_span)(span, v_load_part(t + i, (ptrdiff_t)(n - i), 0));
        }
    }
    struct vd2 log_product = F(log_of_product)(all);
    w64_accumulate(&sum, (struct vd2){vd_neg(log_product.hi), vd_neg(log_product.lo)});
    return sum;
}

CE_INLINE int F(is_small)(struct vd2 sum, int64_t n, double mean) { return vd_reduce_add(sum.hi) < (double)n * mean; }

CE_STATIC struct vd2 F(bce_chunk)(const struct ce_element_loss *a, int64_t first, int64_t n, struct F(span) * span)
{
    struct vd2 sum = F(bce_products)(a, first, n, span, WIDE_PARTS == 1);
    if (WIDE_PARTS == 2 && F(is_small)(sum, n, BCE_SMALL_MEAN)) {
        sum = F(bce_products)(a, first, n, span, 1);
    }
    if (F(is_small)(sum, n, BCE_SMALL_MEAN_OF_PAIRS)) {
        sum = (struct vd2){vd_set1(0), vd_set1(0)};
        F(bce_each)(a, first, n, &sum);
    }
    return sum;
}

CE_STATIC void F(bce_sum)(const struct ce_element_loss *a)
{
    struct vd2 sum = {vd_set1(0), vd_set1(0)};
    struct F(span) span = {v_set1(0), v_set1(1)};
    for (int64_t i = 0; i < a->n; i += BCE_CHUNK) {
        w64_accumulate(&sum, F(bce_chunk)(a, i, a->n - i < BCE_CHUNK ? a->n - i : BCE_CHUNK, &span));
    }
    F(total_of)(sum, a->sum);
    if (a->outside_unit) {
        *a->outside_unit = F(leaves_unit)(span);
    }
}
