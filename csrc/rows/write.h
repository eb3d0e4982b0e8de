/* The second pass: rows written, past the cache where they will not be read again soon. */

/* out[j], ..., out[j + lanes - 1] of a row, from what `row` points to. */
typedef V F(value_fn)(const void *row, ptrdiff_t j, ptrdiff_t lanes);

/* Where rows are written one after the other. A store past the cache is one whole line; rows rarely end with a line, so
 * the first part of a line that two rows share waits here for the second. */
struct F(writer) {
    int stream;
    int n_waiting;
    T *line; /* where those that wait belong */
    T waiting[2 * LANES];
};

/* Rows that are packed and unpacked have no lines to wait for. */
CE_INLINE struct F(writer) F(writer_to)(const struct ce_matrix *output, int64_t n_classes, int stream)
{
    return (struct F(writer)){.stream = stream && F(is_contiguous)(output, n_classes)};
}

/* What waits for a row that does not come. */
CE_STATIC void F(write_waiting)(struct F(writer) * w)
{
    if (w->n_waiting) {
        v_store_part(w->line, v_load(w->waiting), w->n_waiting);
        w->n_waiting = 0;
    }
}

CE_INLINE void F(finish_writing)(struct F(writer) * w)
{
    F(write_waiting)(w);
    if (w->stream) {
        ce_stream_fence();
    }
}

/* An element that is not what the function says but `value`; at -1, none. It is put in on the way: a store to a line that
 * has just been streamed would wait for memory. */
struct F(special) {
    ptrdiff_t at;
    T value;
};

CE_INLINE V F(value_at)(F(value_fn) * value, const void *row, ptrdiff_t j, ptrdiff_t lanes, struct F(special) special)
{
    return v_set_lane(value(row, j, lanes), special.at - j, special.value);
}

/* The row's whole vectors from j on; returns where they end. */
CE_INLINE ptrdiff_t F(write_vectors)(T *out, ptrdiff_t j, ptrdiff_t n, int stream, F(value_fn) * value, const void *row,
                                     struct F(special) special)
{
    ptrdiff_t end = j + ((n - j) & -(ptrdiff_t)LANES);
    ptrdiff_t at = special.at < j || special.at >= end ? end : j + ((special.at - j) & -(ptrdiff_t)LANES);
    for (;;) {
        for (; j < at; j += LANES) {
            V v = value(row, j, LANES);
            if (stream) {
                v_stream(out + j, v);
            } else {
                v_store(out + j, v);
            }
        }
        if (j == end) {
            return end;
        }
        V v = F(value_at)(value, row, j, LANES, special);
        if (stream) {
            v_stream(out + j, v);
        } else {
            v_store(out + j, v);
        }
        j += LANES;
        at = end;
    }
}

/* The part of a streamed row that completes a line begun by the row before, or begins inside a line. */
CE_INLINE ptrdiff_t F(write_head)(struct F(writer) * w, T *out, ptrdiff_t n, F(value_fn) * value, const void *row,
                                  struct F(special) special)
{
    ptrdiff_t before = (ptrdiff_t)(((uintptr_t)out & 63) / sizeof(T)), head = LANES - before;
    if (w->n_waiting && w->line + w->n_waiting != out) {
        F(write_waiting)(w);
    }
    if (before == 0) {
        return 0;
    }
    head = head < n ? head : n;
    V v = F(value_at)(value, row, 0, head, special);
    if (w->n_waiting == before) {
        v_store(w->waiting + before, v);
        w->n_waiting = (int)(before + head);
        if (w->n_waiting == LANES) {
            v_stream(w->line, v_load(w->waiting));
            w->n_waiting = 0;
        }
    } else {
        v_store_part(out, v, head);
    }
    return head;
}

CE_INLINE void F(write_row)(struct F(writer) * w, T *out, ptrdiff_t n, F(value_fn) * value, const void *row,
                            struct F(special) special)
{
    if (!w->stream) {
        ptrdiff_t j = F(write_vectors)(out, 0, n, 0, value, row, special);
        if (j < n) {
            v_store_part(out + j, F(value_at)(value, row, j, n - j, special), n - j);
        }
        return;
    }
    ptrdiff_t j = F(write_vectors)(out, F(write_head)(w, out, n, value, row, special), n, 1, value, row, special);
    if (j < n) {
        v_store(w->waiting, F(value_at)(value, row, j, n - j, special));
        w->line = out + j;
        w->n_waiting = (int)(n - j);
    }
}

/* Called well before a row is written: without huge pages every few rows are a new page, whose address is looked up while
 * the row is summed. */
CE_INLINE void F(prepare_row)(const struct F(writer) * w, const T *out)
{
    if (w->stream) {
        CE_PREFETCH(out);
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
};

CE_INLINE V F(scaled_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    const struct F(scaled_row) *r = (const struct F(scaled_row) *)row;
    (void)lanes;
    return F(scaled)(v_load(r->exps + j), r->before, r->hi, r->lo);
}

CE_INLINE V F(zero_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    (void)row;
    (void)j;
    (void)lanes;
    return v_set1(0);
}

CE_STATIC void F(write_zeros)(struct F(writer) * w, T *out, ptrdiff_t n)
{
    F(write_row)(w, out, n, F(zero_at), NULL, (struct F(special)){-1, 0});
}

/* log p = x - lse, lse = max + log(1 + R/e). Of a confident maximum that is a small difference of large numbers, and beside
 * a very large one the logarithm is lost: there the maximum's log p is -log(1 + R/e) itself. */
#define CONFIDENT 0.5f
#define LARGE 0x1p20f

/* float: the sum max + log, twice; double: its high part negated, and its low part. */
struct F(lse) {
    vd a, b;
};

/* The logit that gets at_top for its log p: the maximum, or (NaN) none. */
CE_INLINE V F(top_apart)(V max, V at_top)
{
    V confident = v_select(v_lt(v_set1(-CONFIDENT), at_top), max, v_set1((T)NAN));
    return v_select(v_lt(v_set1(LARGE), v_abs(max)), max, confident);
}

CE_INLINE V F(minus_lse)(V x, const struct F(lse) * s)
{
#if WIDE_PARTS == 2
    return vf_narrow(vd_sub(vf_widen_lo(x), s->a), vd_sub(vf_widen_hi(x), s->b));
#else
    struct vd2 sum = vd_two_sum(x, s->a);
    /* -inf has no low part */
    return v_select(v_lt(sum.hi, v_set1(-T_MAX)), sum.hi, v_add(sum.hi, v_sub(sum.lo, s->b)));
#endif
}

struct F(log_row) {
    const T *x;
    struct F(lse) lse;
    V top, at_top;
};

/* Without a top: that is put in as an exception (a confident row has but one), or not needed. */
CE_INLINE V F(minus_lse_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    const struct F(log_row) *r = (const struct F(log_row) *)row;
#if WIDE_PARTS == 2
    if (lanes == LANES) { /* widened while it is loaded */
        return vf_narrow(vd_sub(vd_load_f32(r->x + j), r->lse.a), vd_sub(vd_load_f32(r->x + j + 8), r->lse.b));
    }
#endif
    return F(minus_lse)(v_load_part(r->x + j, lanes, 0), &r->lse);
}

CE_INLINE V F(log_probability_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    const struct F(log_row) *r = (const struct F(log_row) *)row;
    V x = v_load_part(r->x + j, lanes, 0);
    return v_select(v_eq(x, r->top), r->at_top, F(minus_lse)(x, &r->lse));
}

CE_STATIC void F(write_log_probabilities)(struct F(writer) * w, T *out, const T *x, ptrdiff_t n, double max,
                                          ptrdiff_t argmax, double log_hi, double log_lo)
{
    double lse[2] = {max, 0};
    ce_add_pair(lse, log_hi, log_lo);
    struct F(log_row) row = {x, {vd_set1(-lse[0]), vd_set1(lse[1])}, v_set1((T)max), v_set1((T)-log_hi)};
    if (WIDE_PARTS == 2) {
        row.lse.a = row.lse.b = vd_set1(lse[0] + lse[1]);
    }
    if (fabs(max) > LARGE) {
        F(write_row)(w, out, n, F(log_probability_at), &row, (struct F(special)){-1, 0});
    } else {
        struct F(special) top = {(T)-log_hi > -CONFIDENT ? argmax : -1, (T)-log_hi};
        F(write_row)(w, out, n, F(minus_lse_at), &row, top);
    }
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
