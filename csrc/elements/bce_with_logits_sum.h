/* The sum of binary cross-entropies of logits, and the gradient with it: one exponential an element, no logarithm.
 *
 * Targets z of 0 and 1: the loss is log(1 + e^s) with s = (1 - 2 z) x, the gradient (1 - 2 z) e^s / (1 + e^s), and the sum
 * of the losses the logarithm of the product of 1 + e^s, as long as that does not overflow.
 * Any other group: (z or 1 - z) |x| + log(1 + e^-|x|), the same product of the second terms, and the sum of the first. */

#ifndef CROSSENT_BCE_WITH_LOGITS_SUM_H
#define CROSSENT_BCE_WITH_LOGITS_SUM_H
#define LOGIT_GROUP 16     /* vectors in a product */
#define LOGIT_CHUNK 4096   /* elements to a logarithm of doubles */
#define LOGIT_LARGEST 20.0 /* e^s of a product of 2 LOGIT_GROUP factors: no double overflows */
#endif

/* A product of eight lanes. Of floats: hi = product - 1, which keeps the digits of small e^s, and lo is not used. Of
 * doubles: hi + lo, to 2^-106.
 * Exponentials are computed 2^-LOGIT_SHIFT times too large, for those that are subnormal. */
#if WIDE_PARTS == 2
#define EMPTY_PRODUCT 0
#define LOGIT_SHIFT -32
#define LOGIT_UNIT 0x1p-32
#else
#define EMPTY_PRODUCT 1
#define LOGIT_SHIFT -64
#define LOGIT_UNIT 0x1p-64
#endif

/* Up to LOGIT_GROUP vectors of elements. */
struct F(logit_group) {
    const T *x, *t;
    ptrdiff_t n;
    T *grad;
    vd factor;  /* of the gradients */
    int stream; /* the gradients are aligned, and for memory */
};

/* What the groups add to. */
struct F(logit_sum) {
    struct vd2 product[WIDE_PARTS], linear;
};

/* product *= 1 + e, e = (scale + rest) LOGIT_UNIT. Returns 1 + e, and e in *e. */
CE_INLINE struct vd2 F(times_1_plus)(struct vd2 *product, vd scale, vd rest, struct vd2 *e)
{
    vd one = vd_set1(1), unit = vd_set1(LOGIT_UNIT);
#if WIDE_PARTS == 2
    vd large = vd_add(scale, rest);
    *e = w64_from(vd_mul(large, unit));
    product->hi = vd_madd(large, vd_madd(product->hi, unit, unit), product->hi);
    return w64_from(vd_madd(large, unit, one));
#else
    struct vd2 large = vd_fast_two_sum(scale, rest);
    *e = (struct vd2){vd_mul(large.hi, unit), vd_mul(large.lo, unit)};
    struct vd2 factor = vd_two_sum(one, e->hi);
    factor.lo = vd_add(factor.lo, e->lo);
    *product = vd2_mul(*product, factor);
    return factor;
#endif
}

/* a / b, rounded almost as if once. */
CE_INLINE vd F(quotient)(struct vd2 a, struct vd2 b)
{
#if WIDE_PARTS == 2
    return vd_div(a.hi, b.hi);
#else
    vd inverse = vd_div(vd_set1(1), b.hi), q = vd_mul(a.hi, inverse);
    vd rest = vd_add(vd_fnma(q, b.lo, vd_fnma(q, b.hi, a.hi)), a.lo);
    return vd_madd(rest, inverse, q);
#endif
}

/* The element is in the product by now: adds (z or 1 - z) |x|, nothing where the factor is 0. Returns the gradient. */
CE_INLINE vd F(soft_logit)(struct F(logit_sum) * sum, vd x, vd z, struct vd2 e, struct vd2 whole)
{
    vd one = vd_set1(1), zero = vd_set1(0), size = vd_abs(x), other = vd_sub(one, z);
    vdm negative = vd_lt(x, zero);
    vd side = vd_select(negative, z, other);
    vdm none = vd_eq(side, zero);
#if WIDE_PARTS == 2
    sum->linear.hi = vd_add(sum->linear.hi, vd_select(none, zero, vd_mul(side, size)));
    vd p = vd_select(negative, e.hi, one), q = vd_select(negative, one, e.hi);
    return F(quotient)((struct vd2){vd_fnma(z, q, vd_mul(other, p)), zero}, whole);
#else
    vd other_error = vd_select(negative, zero, vd_sub(vd_sub(one, other), z));
    struct vd2 linear = vd_two_product(side, size);
    linear.lo = vd_madd(other_error, size, linear.lo);
    linear.hi = vd_select(none, zero, linear.hi);
    linear.lo = vd_select(none, zero, linear.lo);
    struct vd2 total = vd_two_sum(sum->linear.hi, linear.hi);
    sum->linear = (struct vd2){total.hi, vd_add(sum->linear.lo, vd_add(total.lo, linear.lo))};
    /* p - z, p the numerator of sigmoid(x); with z = 1 or 0 nothing is lost */
    vd head = vd_fnma(z, whole.hi, vd_select(negative, e.hi, one));
    vd tail = vd_fnma(z, whole.lo, vd_select(negative, e.lo, zero));
    return F(quotient)(vd_two_sum(head, tail), whole);
#endif
}

/* The gradients times factor. */
CE_INLINE vd F(eight_logits)(struct F(logit_sum) * sum, int part, vd scale, vd rest, vd x, vd z, vd factor,
                             const int hard)
{
    struct vd2 e, whole = F(times_1_plus)(&sum->product[part], scale, rest, &e);
    return vd_mul(factor, hard ? F(quotient)(e, whole) : F(soft_logit)(sum, x, z, e, whole));
}

/* x, z: as in soft_logit. s: the exponent. Returns the gradients without the sign of a hard target. */
#if WIDE_PARTS == 2
CE_INLINE vd F(half_logits)(struct F(logit_sum) * sum, int part, vd s, vd x, vd z, vd factor)
{
    /* p - z may cancel: the exponentials of doubles */
    struct exp_shift_f64 shift = exp_shift_by_f64(LOGIT_SHIFT);
    vd scale, tail;
    exp_parts_f64(s, &shift, &scale, &tail);
    return F(eight_logits)(sum, part, scale, vd_mul(scale, tail), x, z, factor, 0);
}
#endif

CE_INLINE V F(logits)(struct F(logit_sum) * sum, V s, V x, V z, const struct F(exp_shift) * shift, vd factor,
                      const int hard)
{
#if WIDE_PARTS == 2
    if (!hard) {
        return vf_narrow(F(half_logits)(sum, 0, vf_widen_lo(s), vf_widen_lo(x), vf_widen_lo(z), factor),
                         F(half_logits)(sum, 1, vf_widen_hi(s), vf_widen_hi(x), vf_widen_hi(z), factor));
    }
#endif
    V scale, tail;
    F(exp_parts)(s, shift, &scale, &tail);
    V rest = v_mul(scale, tail);
#if WIDE_PARTS == 2
    vd none = vd_set1(0);
    vd lo = F(eight_logits)(sum, 0, vf_widen_lo(scale), vf_widen_lo(rest), none, none, factor, 1);
    vd hi = F(eight_logits)(sum, 1, vf_widen_hi(scale), vf_widen_hi(rest), none, none, factor, 1);
    return vf_narrow(lo, hi);
#else
    return F(eight_logits)(sum, 0, scale, rest, x, z, factor, hard);
#endif
}

/* Lanes past the end: x = -inf and z = 0 cost nothing. */
CE_INLINE V F(load_logits)(const T *x, ptrdiff_t n) { return n >= LANES ? v_load(x) : v_load_part(x, n, -INFINITY); }
CE_INLINE V F(load_targets)(const T *t, ptrdiff_t n) { return n >= LANES ? v_load(t) : v_load_part(t, n, 0); }

/* Whether all targets were 0 or 1, and no e^s too large. NaN is for the product to show. */
struct F(hardness) {
    V soft, top;
};

CE_INLINE int F(is_hard)(struct F(hardness) h)
{
    return !v_any(v_lt(v_set1(0), h.soft)) && !v_any(v_lt(v_set1((T)LOGIT_LARGEST), h.top));
}

/* s = (1 - 2 z) x and, if asked for, 1 - 2 z. */
CE_INLINE V F(hard_exponent)(struct F(hardness) * h, V x, V z, V *sign)
{
    V other = v_sub(v_set1(1), z);
    *sign = v_sub(other, z);
    V s = v_mul(*sign, x);
    h->soft = v_max(v_abs(v_mul(z, other)), h->soft);
    h->top = v_max(s, h->top);
    return s;
}

CE_STATIC int F(is_hard_group)(const struct F(logit_group) * g)
{
    struct F(hardness) h = {v_set1(0), v_set1(0)};
    V sign;
    for (ptrdiff_t i = 0; i < g->n; i += LANES) {
        F(hard_exponent)(&h, F(load_logits)(g->x + i, g->n - i), F(load_targets)(g->t + i, g->n - i), &sign);
    }
    return F(is_hard)(h);
}

/* Returns whether the group was hard, if it was taken for that. */
CE_INLINE int F(run_logits)(struct F(logit_sum) * sum, const struct F(logit_group) * g, const int hard, const int grad)
{
    struct F(exp_shift) shift = F(exp_shift_by)(LOGIT_SHIFT);
    struct F(hardness) h = {v_set1(0), v_set1(0)};
    struct F(logit_sum) local = *sum;
    vd factor = g->factor;
    for (ptrdiff_t i = 0; i < g->n; i += LANES) {
        ptrdiff_t n = g->n - i;
        V x = F(load_logits)(g->x + i, n), z = F(load_targets)(g->t + i, n), sign = z;
        CE_PREFETCH(g->x + i + PREFETCH_AHEAD / sizeof(T));
        CE_PREFETCH(g->t + i + PREFETCH_AHEAD / sizeof(T));
        V s = hard ? F(hard_exponent)(&h, x, z, &sign) : v_neg(v_abs(x));
        V slope = F(logits)(&local, s, x, z, &shift, factor, hard);
        if (!grad) {
            continue;
        }
        slope = hard ? v_mul(sign, slope) : slope;
        if (n < LANES) {
            v_store_part(g->grad + i, slope, n);
        } else if (g->stream) {
            v_stream(g->grad + i, slope);
        } else {
            v_store(g->grad + i, slope);
        }
    }
    *sum = local;
    return grad || F(is_hard)(h);
}

CE_STATIC int F(hard_logits)(struct F(logit_sum) * s, const struct F(logit_group) * g)
{
    return F(run_logits)(s, g, 1, 0);
}
CE_STATIC int F(soft_logits)(struct F(logit_sum) * s, const struct F(logit_group) * g)
{
    return F(run_logits)(s, g, 0, 0);
}
CE_STATIC int F(hard_logits_grad)(struct F(logit_sum) * s, const struct F(logit_group) * g)
{
    return F(run_logits)(s, g, 1, 1);
}
CE_STATIC int F(soft_logits_grad)(struct F(logit_sum) * s, const struct F(logit_group) * g)
{
    return F(run_logits)(s, g, 0, 1);
}

CE_INLINE void F(empty_product)(struct F(logit_sum) * sum)
{
    for (int part = 0; part < WIDE_PARTS; part++) {
        sum->product[part] = w64_set1(EMPTY_PRODUCT);
    }
}

/* sum += group. *hard: whether the last group was, and this one is. A group that is taken for hard and is not is done
 * again, unless gradients have been written, maybe over the input. */
CE_INLINE void F(add_logits)(struct F(logit_sum) * sum, const struct F(logit_group) * g, int *hard)
{
    F(empty_product)(sum);
    if (!g->grad && *hard) {
        *hard = F(hard_logits)(sum, g);
        if (*hard) {
            return;
        }
        F(empty_product)(sum);
    } else {
        *hard = F(is_hard_group)(g);
    }
    if (g->grad) {
        (*hard ? F(hard_logits_grad) : F(soft_logits_grad))(sum, g);
    } else {
        (*hard ? F(hard_logits) : F(soft_logits))(sum, g);
    }
}

/* Losses and gradients of a group one by one. */
CE_STATIC void F(each_logit)(const struct ce_element_loss *a, int64_t first, int64_t n, struct vd2 *total)
{
    for (int64_t i = first; i < first + n; i += 8) {
        ptrdiff_t left = (ptrdiff_t)(first + n - i);
        F(run_eight)(a, F(bce_with_logits_at), i, left < 8 ? left : 8, 1, 1, total);
    }
}

CE_STATIC void F(bce_with_logits_sum)(const struct ce_element_loss *a)
{
    T *grad = (T *)a->grad;
    int stream = a->stream && ((uintptr_t)grad & 63) == 0, hard = 1;
    vd zero = vd_set1(0);
    struct vd2 total = {zero, zero};
    struct F(logit_sum) sum;
    sum.linear = total;
#if WIDE_PARTS == 1
    struct F(scaled) product = {w64_set1(1), zero};
#endif
    for (int64_t i = 0; i < a->n; i += LOGIT_GROUP * LANES) {
        ptrdiff_t n = a->n - i < LOGIT_GROUP * LANES ? (ptrdiff_t)(a->n - i) : LOGIT_GROUP * LANES;
        const struct F(logit_group) g = {(const T *)a->input + i, (const T *)a->target + i, n,
                                         grad ? grad + i : NULL,  vd_set1(a->grad_scale),   stream};
#if WIDE_PARTS == 1
        if (grad && !F(is_hard_group)(&g)) { /* p - z may cancel: the exponentials of pairs */
            F(each_logit)(a, i, n, &total);
            F(empty_product)(&sum);
        } else {
            F(add_logits)(&sum, &g, &hard);
        }
#else
        F(add_logits)(&sum, &g, &hard);
#endif
#if WIDE_PARTS == 2
        vd lo = sum.product[0].hi, hi = sum.product[1].hi;
        w64_accumulate(&total, w64_from(log1p_short(vd_add(lo, vd_madd(lo, hi, hi)))));
#else
        /* NaN has no mantissa */
        vdm finite = vd_lt(sum.product[0].hi, vd_set1(INFINITY));
        sum.linear.hi = vd_add(sum.linear.hi, vd_select(finite, zero, sum.product[0].hi));
        F(times_product)(&product, w64_select(finite, sum.product[0], w64_set1(1)), 1);
        if ((i + n) % LOGIT_CHUNK == 0 || i + n == a->n) {
            w64_accumulate(&total, F(log_of_product)(product));
            product = (struct F(scaled)){w64_set1(1), zero};
        }
#endif
    }
    w64_accumulate(&total, sum.linear);
    F(total_of)(total, a->sum);
    if (stream) {
        ce_stream_fence();
    }
}
#undef EMPTY_PRODUCT
#undef LOGIT_UNIT
#undef LOGIT_SHIFT
