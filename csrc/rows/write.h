/* The second pass: rows written, past the cache where they will not be read again soon. */

/* Store a vector; whole vectors go past the cache when stream is set and p is aligned. */
CE_INLINE void F(put)(T *p, V v, ptrdiff_t n, int stream)
{
    if (n < LANES) {
        v_store_part(p, v, n);
    } else if (stream) {
        v_stream(p, v);
    } else {
        v_store(p, v);
    }
}

/* Elements before p is aligned to 64 bytes, for streaming. */
CE_INLINE ptrdiff_t F(head)(const T *p, ptrdiff_t n, int stream)
{
    ptrdiff_t head = stream ? (ptrdiff_t)((-(uintptr_t)p & 63) / sizeof(T)) : 0;
    return head < n ? head : n;
}

/* Run `step(j, n)` over the row: first up to alignment, then by whole vectors, then the rest. */
#define FOR_EACH_VECTOR(j, lanes, out, total, stream)                                                                  \
    for (ptrdiff_t j = 0, lanes = F(head)(out, total, stream) ? F(head)(out, total, stream)                            \
                                                              : ((total) < LANES ? (total) : LANES);                   \
         j < (total); j += lanes, lanes = (total) - j < LANES ? (total) - j : LANES)

/* exps * factor, rounded once (the product's own rounding is in lo). */
CE_INLINE V F(scaled)(V exps, V before, V hi, V lo)
{
    V e = v_mul(exps, before);
    return v_fma(e, hi, v_mul(e, lo));
}

CE_STATIC void F(write_scaled)(T *out, const T *exps, ptrdiff_t n, struct F(factor) f, int stream)
{
    V before = v_set1(f.before), hi = v_set1(f.hi), lo = v_set1(f.lo);
    FOR_EACH_VECTOR(j, lanes, out, n, stream)
    {
        F(put)(out + j, F(scaled)(v_load(exps + j), before, hi, lo), lanes, stream);
    }
}

/* x - (max + log(1 + R/e)), and -log(1 + R/e) itself where x is the maximum. */
struct F(log_shift) {
    V top, at_top;
    vd a, b; /* float: max + log for lanes 0-7, 8-15; double: its high part negated, its low part */
};

CE_INLINE V F(log_probability)(V x, const struct F(log_shift) * s)
{
#if WIDE_PARTS == 2
    V y = vf_narrow(vd_sub(vf_widen_lo(x), s->a), vd_sub(vf_widen_hi(x), s->b));
#else
    struct vd2 sum = vd_two_sum(x, s->a);
    /* -inf has no low part */
    V y = v_select(v_lt(sum.hi, v_set1(-T_MAX)), sum.hi, v_add(sum.hi, v_sub(sum.lo, s->b)));
#endif
    return v_select(v_eq(x, s->top), s->at_top, y);
}

/* lse of a row from its maximum: +-inf is its own, except that a NaN wins. */
CE_INLINE double F(lse_of)(double max, double log_hi, double log_lo, const T *x, ptrdiff_t n, ptrdiff_t stride)
{
    double lse[2] = {max, 0};
    if (fabs(max) <= T_MAX || max != max) {
        ce_add_pair(lse, log_hi, log_lo);
        return lse[0] + lse[1];
    }
    for (ptrdiff_t j = 0; j < n; j++) {
        if (x[j * stride] != x[j * stride]) {
            return x[j * stride];
        }
    }
    return max;
}
