/* The second pass: rows written, past the cache where they will not be read again soon. */

/* out[j], ..., out[j + lanes - 1] of a row, from what `row` points to. */
typedef V F(value_fn)(const void *row, ptrdiff_t j, ptrdiff_t lanes);

/* Where rows are written one after the other. A store past the cache is one whole line; rows rarely end with a line, so
 * the first part of a line that two rows share waits here for the second. */
struct F(writer) {
    int stream, far;
    int n_waiting;
    T *line; /* where those that wait belong */
    T waiting[2 * LANES];
};

/* Rows that are packed and unpacked have no lines to wait for. */
CE_INLINE struct F(writer) F(writer_to)(const struct ce_matrix *output, int64_t n_classes, enum ce_distance distance)
{
    if (!F(is_contiguous)(output, n_classes)) {
        distance = CE_NEAR;
    }
    return (struct F(writer)){.stream = distance == CE_PAST_CACHES,
                              .far = distance == CE_FAR || distance == CE_IN_MEMORY};
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

CE_INLINE void F(put)(T *out, V v, int stream)
{
    if (stream) {
        v_stream(out, v);
    } else {
        v_store(out, v);
    }
}

/* The row's whole vectors from j on; returns where they end. */
CE_INLINE ptrdiff_t F(write_vectors)(T *out, ptrdiff_t j, ptrdiff_t n, int stream, F(value_fn) * value, const void *row,
                                     struct F(special) special)
{
    ptrdiff_t end = j + ((n - j) & -(ptrdiff_t)LANES);
    ptrdiff_t at = special.at < j || special.at >= end ? end : j + ((special.at - j) & -(ptrdiff_t)LANES);
    for (;;) {
        for (; j + 4 * LANES <= at; j += 4 * LANES) { /* log_softmax: 4 to 9 % less than one by one */
            V v[4];
            for (int k = 0; k < 4; k++) {
                v[k] = value(row, j + k * LANES, LANES);
            }
            for (int k = 0; k < 4; k++) {
                F(put)(out + j + k * LANES, v[k], stream);
            }
        }
        for (; j < at; j += LANES) {
            F(put)(out + j, value(row, j, LANES), stream);
        }
        if (j == end) {
            return end;
        }
        F(put)(out + j, F(value_at)(value, row, j, LANES, special), stream);
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

/* What is asked for while row i of a group is summed: the next row and, in arrays that are far, where this one and the next will
 * be written. In others where this one will be, alongside, and that alone: from a cache both at once take longer, up to 15 % where
 * it is the first. */
CE_INLINE struct F(ahead) F(ahead_of)(const struct F(writer) * w, const T *next_row, const struct F(rows) * out, int i)
{
    const T *to = out->data + i * out->stride;
    int alongside = !w->stream && !w->far;
    return (struct F(ahead)){next_row, w->far || alongside ? to : NULL, to + out->stride, alongside};
}

/* Where the exponentials of row i of a group, `row`, wait: where it will be written, `out`; in scratch if it is streamed
 * there, or if the logits lie there, which a shift that does not fit asks for once more. */
CE_INLINE struct F(exps)
    F(exps_for)(const struct F(writer) * w, const T *row, T *out, void *scratch, ptrdiff_t n, int i)
{
    double *chunk_shift = F(scratch_shifts)(scratch, n) + i * ce_chunks(n);
    if (!w->stream && out != row) {
        return (struct F(exps)){out, chunk_shift};
    }
    return (struct F(exps)){F(scratch)(scratch, SCRATCH_EXPS, n) + i * ce_padded_classes(n), chunk_shift};
}

/* exps * factor, rounded once (the product's own rounding is in lo). */
CE_INLINE V F(scaled)(V exps, V before, V hi, V lo)
{
    V e = v_mul(exps, before);
    return v_fma(e, hi, v_mul(e, lo));
}

struct F(scaled_row) {
    const T *exps;
    V before, hi, lo;
};

CE_INLINE V F(scaled_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    const struct F(scaled_row) *r = (const struct F(scaled_row) *)row;
    return F(scaled)(v_load_part(r->exps + j, lanes, 0), r->before, r->hi, r->lo);
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

/* log p = x - lse, lse = max + log(1 + R/e). Of a confident maximum that is a small difference of large numbers: there log p
 * is -log(1 + R/e) itself. */
#define CONFIDENT 0.5f
#define TO_EIGHTHS 0x1.8p49 /* adding it to a double leaves a multiple of 1/8 */

/* lse of LANES rows as two numbers of T, the first a multiple of 1/8 where T holds it; the second negated. */
struct F(lses) {
    V hi, minus_lo;
};

/* Of rows i, i + 1, ..., whose g->logit is the maximum. */
CE_INLINE struct F(lses) F(group_lses)(const struct F(group) * g, int i)
{
    struct vd2 lse[WIDE_PARTS];
    vd round = vd_set1(TO_EIGHTHS), hi[WIDE_PARTS], minus_lo[WIDE_PARTS];
    for (int k = 0; k < WIDE_PARTS; k++) {
        lse[k] = vd_two_sum(F(load_wide)(g->logit + i + 8 * k, 8, 0), vd_load(g->log_hi + i + 8 * k));
        lse[k].lo = vd_add(lse[k].lo, vd_load(g->log_lo + i + 8 * k));
        hi[k] = vd_sub(vd_add(lse[k].hi, round), round);
    }
    struct F(lses) s = {F(narrow)(hi), v_set1(0)};
    F(widen)(s.hi, hi);
    for (int k = 0; k < WIDE_PARTS; k++) {
        minus_lo[k] = vd_sub(vd_sub(hi[k], lse[k].hi), lse[k].lo);
    }
    s.minus_lo = F(narrow)(minus_lo);
    return s;
}

/* x - lse rounded once, without wider numbers. What x - lse_hi loses is had by subtracting again (Dekker's Fast2Sum), which is
 * exact whichever is larger: lse_hi is a multiple of the last place of x, but for logits of millions. Some additions are
 * multiply-adds, as there are cores with units for both. With x in two parts as lse is it takes one operation more, log_softmax
 * of 1000 classes 2 to 5 % longer; in doubles twice as long. */
CE_INLINE V F(minus_lse)(V x, V lse_hi, V minus_lse_lo, int finite)
{
    V one = v_set1(1), difference = v_sub(x, lse_hi);
    V lost = v_sub(x, v_add(difference, lse_hi));
    V lo = v_madd(lost, one, minus_lse_lo);
    if (finite) {
        return v_madd(difference, one, lo);
    }
    return v_madd(difference, one, v_min(lo, v_set1(T_MAX))); /* where x or the difference is -inf, lo is NaN or inf */
}

/* What the log-probabilities of LANES rows, one to a lane, are made of: x - lse, but at_top where x is a confident maximum. */
struct F(tile_lses) {
    V hi, minus_lo, confident, at_top;
};

CE_INLINE struct F(tile_lses) F(tile_lses_of)(const struct F(group) * g, V max)
{
    struct F(lses) s = F(group_lses)(g, 0);
    vd logs[WIDE_PARTS];
    for (int k = 0; k < WIDE_PARTS; k++) {
        logs[k] = vd_neg(vd_load(g->log_hi + 8 * k));
    }
    V at_top = F(narrow)(logs);
    V confident = v_select(v_lt(v_set1(-CONFIDENT), at_top), max, v_set1((T)NAN)); /* NaN: none */
    return (struct F(tile_lses)){s.hi, s.minus_lo, confident, at_top};
}

CE_INLINE V F(tile_log_probability)(V x, const struct F(tile_lses) * s)
{
    return v_select(v_eq(x, s->confident), s->at_top, F(minus_lse)(x, s->hi, s->minus_lo, 0));
}

struct F(log_row) {
    const T *x;
    V lse_hi, minus_lse_lo;
};

CE_INLINE V F(log_probability_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    const struct F(log_row) *r = (const struct F(log_row) *)row;
    return F(minus_lse)(v_load_part(r->x + j, lanes, 0), r->lse_hi, r->minus_lse_lo, 0);
}

CE_INLINE V F(finite_log_probability_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    const struct F(log_row) *r = (const struct F(log_row) *)row;
    return F(minus_lse)(v_load_part(r->x + j, lanes, 0), r->lse_hi, r->minus_lse_lo, 1);
}

/* Of the rows of a group. */
CE_STATIC void F(write_log_probabilities)(struct F(writer) * w, struct F(rows) out, struct F(rows) x, ptrdiff_t n,
                                          const ptrdiff_t argmax[GROUP_MAX], const struct F(group) * g)
{
    T hi[GROUP_MAX], minus_lo[GROUP_MAX];
    for (int i = 0; i < g->n; i += LANES) {
        struct F(lses) s = F(group_lses)(g, i);
        v_store(hi + i, s.hi);
        v_store(minus_lo + i, s.minus_lo);
    }
    for (int i = 0; i < g->n; i++) {
        T at_top = (T)-g->log_hi[i];
        struct F(log_row) row = {x.data + i * x.stride, v_set1(hi[i]), v_set1(minus_lo[i])};
        struct F(special) top = {at_top > -CONFIDENT ? argmax[i] : -1, at_top};
        if (g->trusted[i]) {
            F(write_row)(w, out.data + i * out.stride, n, F(finite_log_probability_at), &row, top);
        } else {
            F(write_row)(w, out.data + i * out.stride, n, F(log_probability_at), &row, top);
        }
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
