/* The sum of exponentials of one row, read once or (from the L1 cache) twice.
 *
 * A row is taken in chunks of CHUNK classes: the chunk's maximum fixes the shift, then its exponentials are summed. When a
 * later chunk has a larger maximum the shift is raised, which multiplies what was summed by a power of two, exactly. So the
 * result does not depend on where the chunks lie, and a row longer than the cache is still read from memory once.
 *
 * Order of the sum (the contract's "fixed tree"): class j goes to lane j mod LANES, or in a chunk of at most BLOCK classes to
 * lane j mod short_sums(), for the sake of lanes.h; the lanes are added in a fixed tree at the end of each chunk; chunks are
 * added in order. Floats are summed in doubles; doubles in pairs of doubles. */

#define BLOCK (4 * LANES)
/* Tails of a lane that are added in T before they join wider accumulators: their rounding errors are at most 2^-26 of the sum
 * (of doubles 2^-55). With four, rows took 3 to 6 % longer. */
#define FLUSHED 8
#define BASE_LIMIT 32768.0 /* larger logits are taken relative to the row's maximum, see row_base */

/* Accumulators of a chunk of n classes, at most BLOCK: in lanes.h each costs a flush, here fewer are a longer chain. One for
 * up to 64 floats would be 3 % faster there, and 30 % slower for a single row of 64; one for up to 16 doubles, not 8, is 4
 * to 13 % faster there, and a single row of 10 takes 0.17 us instead of 0.15. */
#define ONE_SUM 16
#define SHORT_SUMS 4
CE_INLINE int F(short_sums)(ptrdiff_t n) { return n <= ONE_SUM ? 1 : SHORT_SUMS; }

/* Running sum of scale * (1 + tail) over LANES lanes, wider than T. */
struct F(lane_sum) {
    vd a, b;             /* float: scales of the even and odd lanes, times 2^-896; double: sum of scales, of tails */
    vd tails_a, tails_b; /* float: tails of lanes 0-7, 8-15 */
    vd lost;             /* double: rounding errors of both */
    V tails;             /* sum of scale * tail since the last flush */
};

CE_INLINE struct F(lane_sum) F(lane_zero)(void)
{
    vd zero = vd_set1(0);
    return (struct F(lane_sum)){zero, zero, zero, zero, zero, v_set1(0)};
}

#if WIDE_PARTS == 2
CE_INLINE void F(lane_add)(struct F(lane_sum) * s, V scale, V tail)
{
    s->a = vd_add(s->a, vf_spread_even(scale));
    s->b = vd_add(s->b, vf_spread_odd(scale));
    s->tails = v_madd(scale, tail, s->tails);
}

CE_INLINE void F(lane_flush)(struct F(lane_sum) * s)
{
    s->tails_a = vd_add(s->tails_a, vf_widen_lo(s->tails));
    s->tails_b = vd_add(s->tails_b, vf_widen_hi(s->tails));
    s->tails = v_set1(0);
}

CE_INLINE void F(lane_total)(const struct F(lane_sum) * s, double sum[2])
{
    vd up = vd_set1(0x1p896);
    vd lo = vd_madd(vd_zip_lo(s->a, s->b), up, s->tails_a), hi = vd_madd(vd_zip_hi(s->a, s->b), up, s->tails_b);
    sum[0] = vd_reduce_add(vd_add(lo, hi));
    sum[1] = 0;
}
#else
/* A scale is neither negative nor NaN, so that the larger of two comes first at the price of one operation less. */
CE_INLINE void F(lane_add)(struct F(lane_sum) * s, V scale, V tail)
{
    struct vd2 t = vd_fast_two_sum(vd_max(s->a, scale), vd_min(s->a, scale));
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

/* The first of a block's classes that has this logit; BLOCK if none has. */
CE_INLINE int F(first_equal)(const T *block, T logit)
{
    uint64_t lanes = 0;
    for (int k = 0; k < BLOCK; k += LANES) {
        lanes |= (uint64_t)v_equal_lanes(v_load(block + k), logit) << k;
    }
    return lanes ? __builtin_ctzll(lanes) : BLOCK;
}

/* The maximum and its first class; for a row with NaN any number, and a class that is not NaN, or n. Each lane remembers the
 * block of its maximum; the last block overlaps the one before. */
CE_STATIC T F(row_argmax)(const T *x, ptrdiff_t n, ptrdiff_t *argmax)
{
    T padded[BLOCK];
    ptrdiff_t last = n - BLOCK;
    if (n < BLOCK) {
        for (int k = 0; k < BLOCK; k += LANES) {
            v_store(padded + k, v_load_part(x + k, n - k, -INFINITY));
        }
        x = padded;
        last = 0;
    }
    V m = v_set1(-INFINITY), at = v_set1(0), number = v_set1(0);
    for (ptrdiff_t j = 0; j < last + BLOCK; j += BLOCK) {
        const T *block = x + (j < last ? j : last);
        V a = v_max(v_load(block), v_load(block + LANES));
        V b = v_max(v_load(block + 2 * LANES), v_load(block + 3 * LANES));
        V top = v_max(a, b);
        at = v_select(v_lt(m, top), number, at);
        m = v_max(m, top);
        number = v_add(number, v_set1(1));
    }
    T max = v_reduce_max(m);
    T number_of_max = -v_reduce_max(v_select(v_eq(m, v_set1(max)), v_neg(at), v_set1(-INFINITY)));
    *argmax = n;
    if (number_of_max < INFINITY) {
        ptrdiff_t start = (ptrdiff_t)number_of_max * BLOCK;
        start = start < last ? start : last;
        int i = F(first_equal)(x + start, max);
        *argmax = i < BLOCK && start + i < n ? start + i : n; /* not where it should be: there is a NaN */
    }
    return max;
}

/* What one chunk's sum needs to know. */
struct F(chunk) {
    const T *x;
    ptrdiff_t n, excluded; /* class left out of the sum; any other value: none */
    T base;                /* subtracted from every logit */
    double shift;
    int trusting;   /* the shift fits all its logits, or the sum says that it does not: two operations in twenty less */
    T *exps;        /* where the exponentials go; NULL: nowhere */
    const T *ahead; /* what will be read next */
    const T *ahead_out; /* what will be written next; NULL: not to be asked for */
};

/* Logits whose exponential is 0: what is past a row's end, or left out. */
CE_INLINE T F(nothing_of)(const struct F(chunk) * c) { return c->base == 0 ? F(exp_nothing)(c->shift) : -INFINITY; }

/* `nothing` in place of class i of a copied block, if it is there. */
CE_INLINE void F(exclude)(T block[BLOCK], ptrdiff_t i, T nothing)
{
    ptrdiff_t at = (size_t)i < BLOCK ? i & -(ptrdiff_t)LANES : 0;
    v_store(block + at, v_set_lane(v_load(block + at), i - at, nothing));
}

/* CE_INTERLEAVE vectors are a step; between the two halves of their exponentials they are this. */
#define STEP (CE_INTERLEAVE * LANES)
struct F(halfway) {
    V scale[CE_INTERLEAVE], r[CE_INTERLEAVE];
};

/* How a chunk is summed; constants. */
struct F(manner) {
    int base, exps, trusting;
};

/* Vectors i..i+n-1 (constants) of a step that begins at x. */
CE_INLINE void F(begin_vectors)(int i, int n, const T *x, const struct F(exp_shift) * shift, T base,
                                struct F(manner) manner, V *seen, struct F(halfway) * h)
{
    V v[CE_INTERLEAVE];
    for (int k = 0; k < n; k++) {
        v[k] = v_load(x + (i + k) * LANES);
        if (manner.base) {
            v[k] = v_sub(v[k], v_set1(base));
        }
    }
    F(exp_reduced_of)(n, v, shift, manner.trusting ? seen : NULL, h->scale + i, h->r + i);
}

/* One vector after the other: beside the step that begins, registers hold no more. */
CE_INLINE void F(end_vectors)(int i, int n, const struct F(halfway) * h, int has_exps, T *exps, struct F(lane_sum) * s)
{
    for (int k = i; k < i + n; k++) {
        V tail;
        F(expm1_small_of)(1, h->r + k, &tail);
        F(lane_add)(s, h->scale[k], tail);
        if (has_exps) {
            v_store(exps + k * LANES, v_madd(h->scale[k], tail, h->scale[k]));
        }
    }
}

/* Ends a step, whose exponentials go to exps, and begins the next, at x. */
CE_INLINE void F(next_step)(const T *x, const struct F(exp_shift) * shift, T base, struct F(manner) manner, V *seen,
                            struct F(halfway) * now, T *exps, struct F(lane_sum) * s)
{
    if (CE_AHEAD) {
        struct F(halfway) next;
        F(begin_vectors)(0, CE_INTERLEAVE, x, shift, base, manner, seen, &next);
        F(end_vectors)(0, CE_INTERLEAVE, now, manner.exps, exps, s);
        *now = next;
        return;
    }
    for (int i = 0; i < CE_INTERLEAVE; i += CE_TURN) {
        F(end_vectors)(i, CE_TURN, now, manner.exps, exps, s);
        F(begin_vectors)(i, CE_TURN, x, shift, base, manner, seen, now);
    }
}

CE_INLINE void F(prefetch_block)(const T *x)
{
    for (int k = 0; k < BLOCK; k += 64 / (int)sizeof(T)) {
        CE_PREFETCH(x + k);
    }
}

CE_INLINE void F(prefetch_block_to_write)(const T *x)
{
    for (int k = 0; k < BLOCK; k += 64 / (int)sizeof(T)) {
        CE_PREFETCH_TO_WRITE(x + k);
    }
}

CE_INLINE void F(ask_for_block)(const struct F(chunk) * c, ptrdiff_t j)
{
    F(prefetch_block)(c->ahead + j);
    if (c->ahead_out) {
        F(prefetch_block_to_write)(c->ahead_out + j);
    }
}

/* Of more than BLOCK classes. Returns whether the trusted shift fitted. The excluded class's block is a patched copy: a choice
 * of address, which no processor can predict wrongly. So is the last one, with nothing past the row's end: a loop of its own
 * for up to three vectors took 4 to 9 % of a row of 1000. */
CE_INLINE int F(sum_chunk_as)(const struct F(chunk) * c, struct F(manner) manner, double sum[2])
{
    T excluding[BLOCK], last[BLOCK], last_exps[BLOCK], nothing = F(nothing_of)(c);
    ptrdiff_t whole = c->n & -(ptrdiff_t)BLOCK, excluded_at = c->excluded & -(ptrdiff_t)BLOCK;
    ptrdiff_t end = c->n > whole ? whole + BLOCK : whole;
    for (int k = 0; k < BLOCK && end > whole; k += LANES) {
        v_store(last + k, v_load_part(c->x + whole + k, c->n - whole - k, nothing));
    }
    if ((size_t)excluded_at < (size_t)whole) {
        for (int k = 0; k < BLOCK; k += LANES) {
            v_store(excluding + k, v_load(c->x + excluded_at + k));
        }
        F(exclude)(excluding, c->excluded - excluded_at, nothing);
    } else if (end > whole) {
        F(exclude)(last, c->excluded - whole, nothing);
    }
    struct F(exp_shift) shift = F(exp_shift_by)(c->shift);
    struct F(lane_sum) s = F(lane_zero)();
    struct F(halfway) now;
    V seen = v_set1((T)EXP_ZERO);
    T *exps = manner.exps ? c->exps : last_exps;
    const T *x = excluded_at == 0 ? excluding : c->x;
    F(begin_vectors)(0, CE_INTERLEAVE, x, &shift, c->base, manner, &seen, &now);
    F(ask_for_block)(c, 0);
    for (ptrdiff_t j = BLOCK;; j += BLOCK) { /* now is the first step of the block before j */
        F(ask_for_block)(c, j);
        for (int k = STEP; k < BLOCK; k += STEP) {
            F(next_step)(x + k, &shift, c->base, manner, &seen, &now, exps, &s);
            exps += manner.exps ? STEP : 0;
        }
        if (j == end) {
            break;
        }
        x = j == excluded_at ? excluding : c->x + j;
        x = j == whole ? last : x;
        F(next_step)(x, &shift, c->base, manner, &seen, &now, exps, &s);
        exps += manner.exps ? STEP : 0;
        if (manner.exps && j == whole) {
            exps = last_exps;
        }
        if (j % (FLUSHED * LANES) == 0) {
            F(lane_flush)(&s);
        }
    }
    F(end_vectors)(0, CE_INTERLEAVE, &now, manner.exps, exps, &s);
    for (int k = 0; manner.exps && k < BLOCK && end > whole; k += LANES) {
        v_store_part(c->exps + whole + k, v_load(last_exps + k), c->n - whole - k);
    }
    F(lane_flush)(&s);
    F(lane_total)(&s, sum);
    return !manner.trusting || F(exp_in_range)(seen);
}

/* The same of at most BLOCK. Only a few rows come here, the others go to lanes.h. */
CE_STATIC int F(sum_short_chunk)(const struct F(chunk) * c, double sum[2])
{
    T scales[BLOCK], tails[BLOCK], nothing = F(nothing_of)(c);
    struct F(exp_shift) shift = F(exp_shift_by)(c->shift);
    V seen = v_set1((T)EXP_ZERO);
    struct F(lane_sum) s = F(lane_zero)();
    for (ptrdiff_t j = 0; j < c->n; j += LANES) {
        V v = v_set_lane(v_load_part(c->x + j, c->n - j, nothing), c->excluded - j, nothing), scale, tail;
        v = v_sub(v, v_set1(c->base));
        F(exp_parts_of)(1, &v, &shift, c->trusting ? &seen : NULL, &scale, &tail);
        v_store(scales + j, scale);
        v_store(tails + j, tail);
        if (c->exps) {
            v_store_part(c->exps + j, v_madd(scale, tail, scale), c->n - j);
        }
    }
    int n_sums = F(short_sums)(c->n);
    for (ptrdiff_t j = 0; j < c->n; j += FLUSHED * n_sums) {
        for (ptrdiff_t k = j; k < c->n && k < j + FLUSHED * n_sums; k += n_sums) {
            F(lane_add)(&s, v_load_part(scales + k, n_sums, 0), v_load_part(tails + k, n_sums, 0));
        }
        F(lane_flush)(&s);
    }
    F(lane_total)(&s, sum);
    return !c->trusting || F(exp_in_range)(seen);
}

CE_STATIC int F(sum_chunk)(const struct F(chunk) * c, double sum[2])
{
    if (c->n <= BLOCK) {
        return F(sum_short_chunk)(c, sum);
    }
    if (c->base != 0) {
        return F(sum_chunk_as)(c, (struct F(manner)){1, c->exps != NULL, 0}, sum);
    }
    if (c->exps) {
        return c->trusting ? F(sum_chunk_as)(c, (struct F(manner)){0, 1, 1}, sum)
                           : F(sum_chunk_as)(c, (struct F(manner)){0, 1, 0}, sum);
    }
    return c->trusting ? F(sum_chunk_as)(c, (struct F(manner)){0, 0, 1}, sum)
                       : F(sum_chunk_as)(c, (struct F(manner)){0, 0, 0}, sum);
}

/* The sum over classes other than `excluded` is (sum[0] + sum[1]) * 2^shift * e^base. */
struct F(row_sum) {
    double sum[2], shift;
    T base;
    int trusted; /* the shift was, and rightly: no logit is infinite or NaN, none very large */
};

CE_INLINE double F(shift_for)(double max) { return rint(max * LOG2_E) - F(EXP_HEADROOM); }

/* Where the exponentials of a row go; NULL: not wanted. Chunk k of exps holds e^(x - base) * 2^-chunk_shift[k]. */
struct F(exps) {
    T *values;
    double *chunk_shift;
};

/* What is asked for while a row is summed: the rest of this row, then `row`; and the rest of `out`, then `next_out`. Or, if
 * alongside, of `out` alone as much as has been summed. */
struct F(ahead) {
    const T *row, *out, *next_out; /* out: NULL, not to be asked for */
    int alongside;
};

/* Adds the chunk at `start` to the row; returns whether a trusted shift fitted. */
CE_INLINE int F(sum_next_chunk)(struct F(row_sum) * row, const T *x, ptrdiff_t n, ptrdiff_t start, ptrdiff_t excluded,
                                struct F(exps) exps, struct F(ahead) ahead, int trusting)
{
    ptrdiff_t len = n - start < CHUNK ? n - start : CHUNK;
    double sum[2];
    struct F(chunk) c = {x + start, len, excluded - start, row->base, row->shift, trusting, NULL, ahead.row, NULL};
    if (ahead.alongside) {
        c.ahead = ahead.out + start;
    } else if (start + len < n) {
        c.ahead = x + start + len;
        c.ahead_out = ahead.out ? ahead.out + start + len : NULL;
    } else if (ahead.out) {
        c.ahead_out = ahead.next_out;
    }
    if (exps.values) {
        c.exps = exps.values + start;
        exps.chunk_shift[start / CHUNK] = row->shift;
    }
    int fitted = F(sum_chunk)(&c, sum);
    ce_add_pair(row->sum, sum[0], sum[1]);
    return fitted;
}

/* Too large for the reduction of exp. */
CE_INLINE int F(needs_base)(double m) { return fabs(m) > BASE_LIMIT && fabs(m) <= T_MAX; }

/* Adds all chunks, or those up to the first that a trusted shift does not fit. */
CE_INLINE int F(sum_chunks)(struct F(row_sum) * row, const T *x, ptrdiff_t n, ptrdiff_t excluded, struct F(exps) exps,
                            struct F(ahead) ahead, int trusting)
{
    ptrdiff_t start = 0;
    while (start < n && F(sum_next_chunk)(row, x, n, start, excluded, exps, ahead, trusting)) {
        start += CHUNK;
    }
    return start >= n;
}

/* What is tried on the next row: the shift that fitted the rows so far, and that a shift fits all of a row's logits. A row
 * that it fits needs no search for its maximum, nor for logits whose exponential is 0; a shift is a power of two, so that the
 * sum is the same. After a row that it did not fit, the next MISFIT_ROWS are taken with care. */
#define MISFIT_ROWS 16
struct F(guess) {
    double shift;
    int careful;
};

/* Sum one row whose maximum is known. Large logits are taken relative to it: x - base is exact wherever e^(x - base) is not 0. */
CE_INLINE struct F(row_sum) F(sum_row_below)(const T *x, ptrdiff_t n, T max, ptrdiff_t excluded, struct F(exps) exps,
                                             struct F(ahead) ahead, struct F(guess) * guess)
{
    struct F(row_sum) row = {{0, 0}, 0, F(needs_base)(max) ? max : 0, 0};
    if (max != -INFINITY) {
        row.shift = F(shift_for)((double)max - row.base);
    }
    if (guess->careful == 0 && row.base == 0) {
        struct F(row_sum) trusted = row;
        trusted.trusted = F(sum_chunks)(&trusted, x, n, excluded, exps, ahead, 1);
        if (trusted.trusted) {
            return trusted;
        }
        guess->careful = MISFIT_ROWS;
    }
    F(sum_chunks)(&row, x, n, excluded, exps, ahead, 0);
    guess->careful -= guess->careful > 0;
    return row;
}

/* Sum one row with care, raising the shift where a chunk has a new maximum. */
CE_STATIC struct F(row_sum)
    F(sum_row_searching)(const T *x, ptrdiff_t n, ptrdiff_t excluded, struct F(exps) exps, struct F(ahead) ahead)
{
    struct F(row_sum) row = {{0, 0}, 0, 0, 0};
    double max = -INFINITY; /* of the chunks so far */
    for (ptrdiff_t start = 0; start < n; start += CHUNK) {
        double m = F(row_max)(x + start, n - start < CHUNK ? n - start : CHUNK);
        if (F(needs_base)(m)) {
            struct F(guess) none = {0, MISFIT_ROWS};
            return F(sum_row_below)(x, n, F(row_max)(x, n), excluded, exps, ahead, &none);
        }
        if (!(m <= max)) { /* also for NaN, which then spreads */
            double shift = F(shift_for)(m), down = max == -INFINITY ? 0 : ce_exp2(row.shift - shift);
            row.sum[0] *= down;
            row.sum[1] *= down;
            row.shift = shift;
            max = m;
        }
        F(sum_next_chunk)(&row, x, n, start, excluded, exps, ahead, 0);
    }
    return row;
}

/* Whether the largest exponential is well inside the range of T: between an n-th of the sum and the sum, or that of the class
 * left out, 2^height. */
CE_INLINE int F(fits)(double sum, double n, double height)
{
    double high = ce_exp2(F(EXP_HEADROOM_MAX)), low = ce_exp2(F(EXP_HEADROOM_MIN)) * n;
    return sum < high && height < F(EXP_HEADROOM_MAX) && (sum > low || height > F(EXP_HEADROOM_MIN));
}

/* Sum one row whose largest logit is much like the last row's. Inline: a result passed through memory cost 5 to 10 ns. */
CE_INLINE struct F(row_sum) F(sum_row)(const T *x, ptrdiff_t n, ptrdiff_t excluded, struct F(exps) exps,
                                       struct F(ahead) ahead, struct F(guess) * guess)
{
    if (guess->careful == 0) {
        double left_out = (size_t)excluded < (size_t)n ? x[excluded] : -INFINITY;
        double height = left_out * LOG2_E - guess->shift;
        struct F(row_sum) row = {{0, 0}, guess->shift, 0, 1};
        if (F(sum_chunks)(&row, x, n, excluded, exps, ahead, 1) && F(fits)(row.sum[0], (double)n, height)) {
            return row;
        }
        guess->careful = MISFIT_ROWS;
    }
    struct F(row_sum) row = F(sum_row_searching)(x, n, excluded, exps, ahead);
    guess->careful--;
    guess->shift = row.shift;
    if (row.base != 0 || !(fabs(row.shift) < BASE_LIMIT)) {
        guess->careful = MISFIT_ROWS;
    }
    return row;
}
