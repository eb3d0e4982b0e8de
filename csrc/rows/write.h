/* The second pass: rows written, past the cache where they will not be read again soon. */

/* out[j], ..., out[j + lanes - 1] of a row, from what `row` points to. */
typedef V F(value_fn)(const void *row, ptrdiff_t j, ptrdiff_t lanes);

/* The whole row; past the cache, once aligned, when stream is set. */
CE_INLINE void F(write_row)(T *out, ptrdiff_t n, int stream, F(value_fn) * value, const void *row)
{
    ptrdiff_t j = 0;
    if (stream) {
        ptrdiff_t head = (ptrdiff_t)((-(uintptr_t)out & 63) / sizeof(T));
        head = head < n ? head : n;
        if (head) {
            v_store_part(out, value(row, 0, head), head);
        }
        for (j = head; j + LANES <= n; j += LANES) {
            v_stream(out + j, value(row, j, LANES));
        }
    } else {
        for (; j + LANES <= n; j += LANES) {
            v_store(out + j, value(row, j, LANES));
        }
    }
    if (j < n) {
        v_store_part(out + j, value(row, j, n - j), n - j);
    }
}

/* exps * factor, rounded once (the product's own rounding is in lo). */
CE_INLINE V F(scaled)(V exps, V before, V hi, V lo)
{
    V e = v_mul(exps, before);
    return v_fma(e, hi, v_mul(e, lo));
}

struct F(scaled_row) {
    const T *exps; /* readable up to whole vectors past the end */
    V before, hi, lo;
    ptrdiff_t
        special; /* an element that is not exps * factor but this (-1: none). It is put in on the way, for a store */
    T value;     /* to a line that has just been streamed would wait for memory */
};

CE_INLINE V F(scaled_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    const struct F(scaled_row) *r = (const struct F(scaled_row) *)row;
    V v = F(scaled)(v_load(r->exps + j), r->before, r->hi, r->lo);
    (void)lanes;
    return (size_t)(r->special - j) < LANES ? v_set_lane(v, r->special - j, r->value) : v;
}

/* Rows rarely end with a line: the line that two rows share is written in two parts, and must be there by then. Called
 * well before the row is written. */
CE_INLINE void F(prepare_row)(const T *out, ptrdiff_t n, int stream)
{
    if (stream) {
        CE_PREFETCH_TO_WRITE(out + n);
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

struct F(log_row) {
    const T *x;
    struct F(log_shift) shift;
};

CE_INLINE V F(log_probability_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    const struct F(log_row) *r = (const struct F(log_row) *)row;
    return F(log_probability)(lanes == LANES ? v_load(r->x + j) : v_load_part(r->x + j, lanes, 0), &r->shift);
}

CE_STATIC void F(write_log_probabilities)(T *out, const T *x, ptrdiff_t n, double max, double log_hi, double log_lo,
                                          int stream)
{
    double lse[2] = {max, 0};
    ce_add_pair(lse, log_hi, log_lo);
    struct F(log_row) row = {x, {v_set1((T)max), v_set1((T)-log_hi), vd_set1(-lse[0]), vd_set1(lse[1])}};
    if (WIDE_PARTS == 2) {
        row.shift.a = row.shift.b = vd_set1(lse[0] + lse[1]);
    }
    F(write_row)(out, n, stream, F(log_probability_at), &row);
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
