/* The sum of exponentials of one row, read once or (from the L1 cache) twice.
 *
 * A row is taken in chunks of CHUNK classes: the chunk's maximum fixes the shift, then its exponentials are summed. When a
 * later chunk has a larger maximum the shift is raised, which multiplies what was summed by a power of two, exactly. So the
 * result does not depend on where the chunks lie, and a row longer than the cache is still read from memory once.
 *
 * Order of the sum (the contract's "fixed tree"): class j goes to lane j mod LANES; the lanes are added in a fixed tree at
 * the end of each chunk; chunks are added in order. Floats are summed in doubles; doubles in pairs of doubles. */

#define BLOCK (4 * LANES)
#define BASE_LIMIT 32768.0 /* larger logits are taken relative to the row's maximum, see row_base */

/* Running sum of scale * (1 + tail) over LANES lanes, wider than T. */
struct F(lane_sum) {
    vd a, b; /* float: lanes 0-7, 8-15; double: sum of scales, of tails */
    vd lost; /* double: rounding errors of both */
    V tails; /* sum of scale * tail since the last flush */
};

CE_INLINE struct F(lane_sum) F(lane_zero)(void)
{
    return (struct F(lane_sum)){vd_set1(0), vd_set1(0), vd_set1(0), v_set1(0)};
}

#if WIDE_PARTS == 2
CE_INLINE void F(lane_add)(struct F(lane_sum) * s, V scale, V tail)
{
    s->a = vd_add(s->a, vf_widen_lo(scale));
    s->b = vd_add(s->b, vf_widen_hi(scale));
    s->tails = v_madd(scale, tail, s->tails);
}

/* At most four tails are added in float: their rounding errors are 2^-28 of the sum. */
CE_INLINE void F(lane_flush)(struct F(lane_sum) * s)
{
    s->a = vd_add(s->a, vf_widen_lo(s->tails));
    s->b = vd_add(s->b, vf_widen_hi(s->tails));
    s->tails = v_set1(0);
}

CE_INLINE void F(lane_total)(const struct F(lane_sum) * s, double sum[2])
{
    sum[0] = vd_reduce_add(vd_add(s->a, s->b));
    sum[1] = 0;
}
#else
CE_INLINE void F(lane_add)(struct F(lane_sum) * s, V scale, V tail)
{
    struct vd2 t = vd_two_sum(s->a, scale);
    s->a = t.hi;
    s->lost = vd_add(s->lost, t.lo);
    s->tails = vd_madd(scale, tail, s->tails);
}

CE_INLINE void F(lane_flush)(struct F(lane_sum) * s)
{
    struct vd2 t = vd_two_sum(s->b, s->tails);
    s->b = t.hi;
    s->lost = vd_add(s->lost, t.lo);
    s->tails = vd_set1(0);
}

/* The tails are 4 % of the low part: the total is normalised. */
CE_INLINE void F(lane_total)(const struct F(lane_sum) * s, double sum[2])
{
    vd2_total((struct vd2){s->a, vd_add(s->b, s->lost)}, sum);
}
#endif

CE_STATIC T F(row_max)(const T *x, ptrdiff_t n)
{
    V m0 = v_set1(-INFINITY), m1 = m0, m2 = m0, m3 = m0;
    ptrdiff_t j = 0;
    for (; j + BLOCK <= n; j += BLOCK) {
        m0 = v_max(m0, v_load(x + j));
        m1 = v_max(m1, v_load(x + j + LANES));
        m2 = v_max(m2, v_load(x + j + 2 * LANES));
        m3 = v_max(m3, v_load(x + j + 3 * LANES));
    }
    for (; j < n; j += LANES) {
        m0 = v_max(m0, v_load_part(x + j, n - j, -INFINITY));
    }
    return v_reduce_max(v_max(v_max(m0, m1), v_max(m2, m3)));
}

/* The maximum and its first class (n, or any class, for a row with NaN). Each lane remembers the block of its maximum. */
CE_STATIC T F(row_argmax)(const T *x, ptrdiff_t n, ptrdiff_t *argmax)
{
    V m = v_set1(-INFINITY), at = v_set1(0), block = v_set1(0);
    ptrdiff_t j = 0;
    for (; j + BLOCK <= n; j += BLOCK) {
        V a = v_max(v_load(x + j), v_load(x + j + LANES));
        V b = v_max(v_load(x + j + 2 * LANES), v_load(x + j + 3 * LANES));
        V top = v_max(a, b);
        at = v_select(v_lt(m, top), block, at);
        m = v_max(m, top);
        block = v_add(block, v_set1(1));
    }
    for (ptrdiff_t k = j; k < n; k += LANES) {
        V top = v_load_part(x + k, n - k, -INFINITY);
        at = v_select(v_lt(m, top), block, at);
        m = v_max(m, top);
    }
    T max = v_reduce_max(m);
    V first = v_select(v_eq(m, v_set1(max)), v_neg(at), v_set1(-INFINITY));
    T block_of_max = -v_reduce_max(first);
    ptrdiff_t k = block_of_max < INFINITY ? (ptrdiff_t)block_of_max * BLOCK : n;
    while (k < n && x[k] != max) {
        k++;
    }
    *argmax = k;
    return max;
}

/* What one chunk's sum needs to know. */
struct F(chunk) {
    const T *x;
    ptrdiff_t n, excluded; /* class left out of the sum; any other value: none */
    T base;                /* subtracted from every logit */
    struct F(exp_shift) shift;
    T *exps;        /* where the exponentials go, rounded up to whole vectors; NULL: nowhere */
    const T *ahead; /* what will be read next */
};

CE_INLINE void F(add_vector)(V x, const struct F(chunk) * c, int has_base, int has_exps, ptrdiff_t j,
                             struct F(lane_sum) * s)
{
    V scale, tail;
    if (has_base) {
        x = v_sub(x, v_set1(c->base));
    }
    F(exp_parts)(x, &c->shift, &scale, &tail);
    F(lane_add)(s, scale, tail);
    if (has_exps) {
        v_store(c->exps + j, v_madd(scale, tail, scale));
    }
}

CE_INLINE void F(sum_chunk_as)(const struct F(chunk) * c, int has_base, int has_exps, double sum[2])
{
    struct F(lane_sum) s = F(lane_zero)();
    for (ptrdiff_t j = 0; j < c->n; j += BLOCK) {
        if (c->n - j >= BLOCK && (size_t)(c->excluded - j) >= BLOCK) {
            for (int k = 0; k < BLOCK; k += LANES) {
                CE_PREFETCH(c->ahead + j + k);
                F(add_vector)(v_load(c->x + j + k), c, has_base, has_exps, j + k, &s);
            }
        } else { /* the last block, or the one with the excluded class: those lanes become e^-inf = 0 */
            for (ptrdiff_t k = j; k < j + BLOCK && k < c->n; k += LANES) {
                CE_PREFETCH(c->ahead + k);
                V x = v_load_part(c->x + k, c->n - k, -INFINITY);
                F(add_vector)(v_set_lane(x, c->excluded - k, -INFINITY), c, has_base, has_exps, k, &s);
            }
        }
        F(lane_flush)(&s);
    }
    F(lane_total)(&s, sum);
}

CE_STATIC void F(sum_chunk)(const struct F(chunk) * c, double sum[2])
{
    if (c->base != 0) {
        F(sum_chunk_as)(c, 1, c->exps != NULL, sum);
    } else if (c->exps) {
        F(sum_chunk_as)(c, 0, 1, sum);
    } else {
        F(sum_chunk_as)(c, 0, 0, sum);
    }
}

/* The sum over classes other than `excluded` is (sum[0] + sum[1]) * 2^shift * e^base. */
struct F(row_sum) {
    double sum[2], shift;
    T base;
};

CE_INLINE double F(shift_for)(double max) { return rint(max * LOG2_E) - F(EXP_HEADROOM); }

/* Where the exponentials of a row go; NULL: not wanted. Chunk k of exps holds e^(x - base) * 2^-chunk_shift[k]. */
struct F(exps) {
    T *values;
    double *chunk_shift;
};

CE_INLINE void F(sum_next_chunk)(struct F(row_sum) * row, const T *x, ptrdiff_t n, ptrdiff_t start, ptrdiff_t excluded,
                                 struct F(exps) exps, const T *next_row)
{
    ptrdiff_t len = n - start < CHUNK ? n - start : CHUNK;
    double sum[2];
    struct F(chunk) c = {x + start, len, excluded - start, row->base, F(exp_shift_by)(row->shift), NULL, next_row};
    if (start + len < n) {
        c.ahead = x + start + len;
    }
    if (exps.values) {
        c.exps = exps.values + start;
        exps.chunk_shift[start / CHUNK] = row->shift;
    }
    F(sum_chunk)(&c, sum);
    ce_add_pair(row->sum, sum[0], sum[1]);
}

/* Too large for the reduction of exp. */
CE_INLINE int F(needs_base)(double m) { return fabs(m) > BASE_LIMIT && fabs(m) <= T_MAX; }

/* Sum one row whose maximum is known. Large logits are taken relative to it: x - base is exact wherever e^(x - base) is not 0. */
CE_STATIC struct F(row_sum)
    F(sum_row_below)(const T *x, ptrdiff_t n, T max, ptrdiff_t excluded, struct F(exps) exps, const T *next_row)
{
    struct F(row_sum) row = {{0, 0}, 0, F(needs_base)(max) ? max : 0};
    if (max != -INFINITY) {
        row.shift = F(shift_for)((double)max - row.base);
    }
    for (ptrdiff_t start = 0; start < n; start += CHUNK) {
        F(sum_next_chunk)(&row, x, n, start, excluded, exps, next_row);
    }
    return row;
}

/* Sum one row, raising the shift where a chunk has a new maximum. */
CE_STATIC struct F(row_sum)
    F(sum_row)(const T *x, ptrdiff_t n, ptrdiff_t excluded, struct F(exps) exps, const T *next_row)
{
    struct F(row_sum) row = {{0, 0}, 0, 0};
    double max = -INFINITY; /* of the chunks so far */
    for (ptrdiff_t start = 0; start < n; start += CHUNK) {
        double m = F(row_max)(x + start, n - start < CHUNK ? n - start : CHUNK);
        if (F(needs_base)(m)) {
            return F(sum_row_below)(x, n, F(row_max)(x, n), excluded, exps, next_row);
        }
        if (!(m <= max)) { /* also for NaN, which then spreads */
            double shift = F(shift_for)(m), down = max == -INFINITY ? 0 : ce_exp2(row.shift - shift);
            row.sum[0] *= down;
            row.sum[1] *= down;
            row.shift = shift;
            max = m;
        }
        F(sum_next_chunk)(&row, x, n, start, excluded, exps, next_row);
    }
    return row;
}
