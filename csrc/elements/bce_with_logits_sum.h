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
 * doubles: hi + lo, to 2^-106. */
#if WIDE_PARTS == 2
#define EMPTY_PRODUCT 0
#define LOGIT_SHIFT -32
#define LOGIT_UNIT 0x1p-32 /* exponentials are computed 1 / LOGIT_UNIT times too large, for those that are subnormal */
#else
#define EMPTY_PRODUCT 1
#define LOGIT_SHIFT -64
#define LOGIT_UNIT 0x1p-64
#endif

/* What a group adds to. */
struct F(logit_sum) {
    struct vd2 product[WIDE_PARTS], linear;
};

/* product *= 1 + e, e = (scale + rest) LOGIT_UNIT. Returns 1 + e, and e in *e. */
CE_INLINE struct vd2 F(times_1_plus)(struct vd2 *product, vd scale, vd rest, struct vd2 *e)
{
    vd one = vd_set1(1), unit = vd_set1(LOGIT_UNIT);
#if WIDE_PARTS == 2
    *e = w64_from(vd_mul(vd_add(scale, rest), unit));
    product->hi = vd_add(product->hi, vd_madd(product->hi, e->hi, e->hi));
    return w64_from(vd_add(one, e->hi));
#else
    *e = vd_fast_two_sum(scale, rest);
    *e = (struct vd2){vd_mul(e->hi, unit), vd_mul(e->lo, unit)};
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

CE_INLINE V F(logits)(struct F(logit_sum) * sum, V x, V z, const struct F(exp_shift) * shift, vd factor, const int hard)
{
    V sign = v_madd(v_set1(-2), z, v_set1(1)), scale, tail;
    F(exp_parts)(hard ? v_mul(x, sign) : v_neg(v_abs(x)), shift, &scale, &tail);
    V rest = v_mul(scale, tail);
#if WIDE_PARTS == 2
    vd lo =
        F(eight_logits)(sum, 0, vf_widen_lo(scale), vf_widen_lo(rest), vf_widen_lo(x), vf_widen_lo(z), factor, hard);
    vd hi =
        F(eight_logits)(sum, 1, vf_widen_hi(scale), vf_widen_hi(rest), vf_widen_hi(x), vf_widen_hi(z), factor, hard);
    V grad = vf_narrow(lo, hi);
#else
    V grad = F(eight_logits)(sum, 0, scale, rest, x, z, factor, hard);
#endif
    return hard ? v_mul(sign, grad) : grad;
}

/* Lanes past the end: x = -inf and z = 0 cost nothing. */
CE_INLINE V F(load_logits)(const T *x, ptrdiff_t n) { return n >= LANES ? v_load(x) : v_load_part(x, n, -INFINITY); }
CE_INLINE V F(load_targets)(const T *t, ptrdiff_t n) { return n >= LANES ? v_load(t) : v_load_part(t, n, 0); }

/* Whether all targets are 0 or 1, and no e^s is too large. NaN is for the product to show. */
CE_INLINE int F(is_hard)(const T *x, const T *t, ptrdiff_t n)
{
    V soft = v_set1(0), top = v_set1(0);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        V z = F(load_targets)(t + i, n - i), other = v_sub(v_set1(1), z);
        soft = v_max(v_abs(v_mul(z, other)), soft);
        top = v_max(v_mul(F(load_logits)(x + i, n - i), v_sub(other, z)), top);
        CE_PREFETCH(x + i + PREFETCH_AHEAD / sizeof(T));
        CE_PREFETCH(t + i + PREFETCH_AHEAD / sizeof(T));
    }
    return !v_any(v_lt(v_set1(0), soft)) && !v_any(v_lt(v_set1((T)LOGIT_LARGEST), top));
}

/* grad: NULL for none. */
CE_INLINE void F(logit_group)(struct F(logit_sum) * sum, const T *x, const T *t, ptrdiff_t n, T *grad, vd factor,
                              int stream, const int hard)
{
    struct F(exp_shift) shift = F(exp_shift_by)(LOGIT_SHIFT);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        V z = F(load_targets)(t + i, n - i);
        V g = F(logits)(sum, F(load_logits)(x + i, n - i), z, &shift, factor, hard);
        if (!grad) {
            continue;
        }
        if (n - i < LANES) {
            v_store_part(grad + i, g, n - i);
        } else if (stream) {
            v_stream(grad + i, g);
        } else {
            v_store(grad + i, g);
        }
    }
}

CE_STATIC void F(hard_group)(struct F(logit_sum) * sum, const T *x, const T *t, ptrdiff_t n)
{
    F(logit_group)(sum, x, t, n, NULL, vd_set1(1), 0, 1);
}
CE_STATIC void F(soft_group)(struct F(logit_sum) * sum, const T *x, const T *t, ptrdiff_t n)
{
    F(logit_group)(sum, x, t, n, NULL, vd_set1(1), 0, 0);
}
CE_STATIC void F(hard_grad)(struct F(logit_sum) * sum, const T *x, const T *t, ptrdiff_t n, T *grad, vd factor,
                            int stream)
{
    F(logit_group)(sum, x, t, n, grad, factor, stream, 1);
}
CE_STATIC void F(soft_grad)(struct F(logit_sum) * sum, const T *x, const T *t, ptrdiff_t n, T *grad, vd factor,
                            int stream)
{
    F(logit_group)(sum, x, t, n, grad, factor, stream, 0);
}

CE_STATIC void F(bce_with_logits_sum)(const struct ce_element_loss *a)
{
    const T *x = (const T *)a->input, *t = (const T *)a->target;
    T *grad = (T *)a->grad;
    int stream = a->stream && ((uintptr_t)grad & 63) == 0;
    vd zero = vd_set1(0), one = vd_set1(1), factor = vd_set1(a->grad_scale);
    struct vd2 total = {zero, zero}, empty = {vd_set1(EMPTY_PRODUCT), zero};
#if WIDE_PARTS == 1
    struct F(scaled) product = {{one, zero}, zero};
#endif
    struct F(logit_sum) sum;
    sum.linear = total;
    for (int64_t i = 0; i < a->n; i += LOGIT_GROUP * LANES) {
        ptrdiff_t n = a->n - i < LOGIT_GROUP * LANES ? (ptrdiff_t)(a->n - i) : LOGIT_GROUP * LANES;
        int hard = F(is_hard)(x + i, t + i, n);
        for (int part = 0; part < WIDE_PARTS; part++) {
            sum.product[part] = empty;
        }
        if (grad) {
            (hard ? F(hard_grad) : F(soft_grad))(&sum, x + i, t + i, n, grad + i, factor, stream);
        } else {
            (hard ? F(hard_group) : F(soft_group))(&sum, x + i, t + i, n);
        }
#if WIDE_PARTS == 2
        vd lo = sum.product[0].hi, hi = sum.product[1].hi;
        w64_accumulate(&total, w64_from(log1p_short(vd_add(lo, vd_madd(lo, hi, hi)))));
#else
        /* NaN has no mantissa */
        vdm finite = vd_lt(sum.product[0].hi, vd_set1(INFINITY));
        sum.linear.hi = vd_add(sum.linear.hi, vd_select(finite, zero, sum.product[0].hi));
        sum.product[0].hi = vd_select(finite, sum.product[0].hi, one);
        sum.product[0].lo = vd_select(finite, sum.product[0].lo, zero);
        F(times_product)(&product, sum.product[0], 1);
        if ((i + n) % LOGIT_CHUNK == 0 || i + n == a->n) {
            w64_accumulate(&total, F(log_of_product)(product));
            product = (struct F(scaled)){{one, zero}, zero};
        }
#endif
    }
    w64_accumulate(&total, sum.linear);
    F(total_of)(total, a->sum);
    (void)one;
    if (stream) {
        ce_stream_fence();
    }
}
#undef EMPTY_PRODUCT
#undef LOGIT_UNIT
#undef LOGIT_SHIFT
