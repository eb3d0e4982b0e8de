/* Rows to be summed, and the loop that sums them: all kernels over longer rows spend their time here. */

/* The sum over classes other than `excluded` is (sum[0] + sum[1]) * 2^shift * e^base. */
struct F(row_sum) {
    double sum[2], shift;
    T base;
    int trusted; /* the shift was, and rightly: no logit is infinite or NaN, none very large */
};

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

/* A row to be summed; of its sum, shift and base are there before. */
struct F(row) {
    const T *x;
    ptrdiff_t n, excluded; /* class left out of the sum; any other value: none */
    struct F(exps) exps;
    struct F(ahead) ahead;
    struct F(row_sum) sum;
};

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

/* How rows are summed; constants. trusting: their shifts fit all logits, or it is noticed that they do not: two operations in
 * twenty less. */
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

/* The blocks of a chunk. Two are copies, with nothing where a class is left out and past the row's end: a choice of address, which
 * no processor can predict wrongly; a loop of its own for up to three vectors took 4 to 9 % of a row of 1000. */
struct F(blocks) {
    const T *x, *ahead, *ahead_out;
    ptrdiff_t whole, end, excluded_at; /* the last block begins at whole, and ends at end */
};
struct F(copies) {
    T excluding[BLOCK], last[BLOCK];
};

CE_INLINE const T *F(block_at)(const struct F(blocks) * b, ptrdiff_t j, const struct F(copies) * copies)
{
    const T *x = j == b->excluded_at ? copies->excluding : b->x + j;
    return j == b->whole ? copies->last : x;
}

CE_INLINE void F(ask_for_block)(const struct F(blocks) * b, ptrdiff_t j)
{
    F(prefetch_block)(b->ahead + j);
    if (b->ahead_out) {
        F(prefetch_block_to_write)(b->ahead_out + j);
    }
}

/* n classes of a row, from start on. */
struct F(chunk) {
    struct F(row) * row;
    ptrdiff_t start, n;
};

CE_INLINE struct F(blocks) F(blocks_of)(struct F(chunk) c, int has_base, struct F(copies) * copies)
{
    T nothing = has_base ? -INFINITY : F(exp_nothing)(c.row->sum.shift); /* its exponential is 0 */
    const struct F(ahead) *ahead = &c.row->ahead;
    ptrdiff_t whole = c.n & -(ptrdiff_t)BLOCK, rest = c.n - whole, excluded = c.row->excluded - c.start;
    struct F(blocks)
        b = {c.row->x + c.start, ahead->row, NULL, whole, rest ? whole + BLOCK : whole, excluded & -(ptrdiff_t)BLOCK};
    if (ahead->alongside) {
        b.ahead = ahead->out + c.start;
    } else if (c.start + c.n < c.row->n) {
        b.ahead = b.x + c.n;
        b.ahead_out = ahead->out ? ahead->out + c.start + c.n : NULL;
    } else if (ahead->out) {
        b.ahead_out = ahead->next_out;
    }
    for (int k = 0; k < BLOCK && rest; k += LANES) {
        const T *x = b.x + whole + k;
        V v = k + LANES <= rest ? v_load(x) : k < rest ? v_load_part(x, rest - k, nothing) : v_set1(nothing);
        v_store(copies->last + k, v);
    }
    if ((size_t)b.excluded_at < (size_t)whole) {
        for (int k = 0; k < BLOCK; k += LANES) {
            v_store(copies->excluding + k, v_load(b.x + b.excluded_at + k));
        }
        F(exclude)(copies->excluding, excluded - b.excluded_at, nothing);
    } else if (rest) {
        F(exclude)(copies->last, excluded - whole, nothing);
    }
    return b;
}

CE_INLINE void F(add_to_row)(struct F(row) * row, const struct F(lane_sum) * s, V seen, int trusting)
{
    double sum[2];
    F(lane_total)(s, sum);
    ce_add_pair(row->sum.sum, sum[0], sum[1]);
    row->sum.trusted &= trusting && F(exp_in_range)(seen);
}

/* A chunk of at most BLOCK classes. Only a few rows come here, the others go to lanes.h. */
CE_STATIC void F(sum_short_chunk)(struct F(row) * row, ptrdiff_t start, ptrdiff_t n, int trusting)
{
    T scales[BLOCK], tails[BLOCK], base = row->sum.base, *exps = row->exps.values;
    double row_shift = row->sum.shift;
    T nothing = base == 0 ? F(exp_nothing)(row_shift) : -INFINITY;
    struct F(exp_shift) shift = F(exp_shift_by)(row_shift);
    V seen = v_set1((T)EXP_ZERO);
    struct F(lane_sum) s = F(lane_zero)();
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        V v = v_load_part(row->x + start + j, n - j, nothing), scale, tail;
        v = v_sub(v_set_lane(v, row->excluded - start - j, nothing), v_set1(base));
        F(exp_parts_of)(1, &v, &shift, trusting ? &seen : NULL, &scale, &tail);
        v_store(scales + j, scale);
        v_store(tails + j, tail);
        if (exps) {
            v_store_part(exps + start + j, v_madd(scale, tail, scale), n - j);
        }
    }
    if (exps) {
        row->exps.chunk_shift[start / CHUNK] = row_shift;
    }
    int n_sums = F(short_sums)(n);
    for (ptrdiff_t j = 0; j < n; j += FLUSHED * n_sums) {
        for (ptrdiff_t k = j; k < n && k < j + FLUSHED * n_sums; k += n_sums) {
            F(lane_add)(&s, v_load_part(scales + k, n_sums, 0), v_load_part(tails + k, n_sums, 0));
        }
        F(lane_flush)(&s);
    }
    F(add_to_row)(row, &s, seen, trusting);
}

CE_INLINE ptrdiff_t F(chunk_size)(ptrdiff_t start, ptrdiff_t stop)
{
    return stop - start < CHUNK ? stop - start : CHUNK;
}

/* The next chunk of more than BLOCK classes, of this row or of the one after it. */
CE_INLINE struct F(chunk) F(chunk_after)(struct F(chunk) c, ptrdiff_t start, ptrdiff_t stop)
{
    c.start += c.n;
    if (stop - c.start <= BLOCK) {
        c.row++;
        c.start = start;
    }
    c.n = F(chunk_size)(c.start, stop);
    return c;
}

/* Adds the classes start..stop-1, more than BLOCK, of n_rows rows. The first step of a chunk begins before the last of the one
 * before it ends: a row of 1000 alone took a fifth of its time for beginning and ending. */
CE_INLINE void F(sum_long)(struct F(row) * rows, int n_rows, ptrdiff_t start, ptrdiff_t stop, struct F(manner) manner)
{
    struct F(copies) copies;
    struct F(halfway) now;
    T last_exps[BLOCK];
    struct F(chunk) c = {rows, start, F(chunk_size)(start, stop)};
    struct F(exp_shift) shift = F(exp_shift_by)(rows->sum.shift);
    struct F(blocks) blocks = F(blocks_of)(c, manner.base, &copies);
    V seen = v_set1((T)EXP_ZERO);
    const T *x = F(block_at)(&blocks, 0, &copies);
    F(begin_vectors)(0, CE_INTERLEAVE, x, &shift, rows->sum.base, manner, &seen, &now);
    while (c.row < rows + n_rows) {
        ptrdiff_t whole = blocks.whole, rest = c.n - whole;
        T base = c.row->sum.base;
        struct F(lane_sum) s = F(lane_zero)();
        T *exps = manner.exps ? c.row->exps.values + c.start : last_exps;
        if (manner.exps) {
            c.row->exps.chunk_shift[c.start / CHUNK] = c.row->sum.shift;
        }
        F(ask_for_block)(&blocks, 0);
        for (ptrdiff_t j = BLOCK;; j += BLOCK) { /* now is the first step of the block before j */
            F(ask_for_block)(&blocks, j);
            for (int k = STEP; k < BLOCK; k += STEP) {
                F(next_step)(x + k, &shift, base, manner, &seen, &now, exps, &s);
                exps += manner.exps ? STEP : 0;
            }
            if (j == blocks.end) {
                break;
            }
            x = F(block_at)(&blocks, j, &copies);
            F(next_step)(x, &shift, base, manner, &seen, &now, exps, &s);
            exps += manner.exps ? STEP : 0;
            if (manner.exps && j == whole) {
                exps = last_exps;
            }
            if (j % (FLUSHED * LANES) == 0) {
                F(lane_flush)(&s);
            }
        }
        struct F(chunk) next = F(chunk_after)(c, start, stop);
        V seen_here = seen;
        if (next.row < rows + n_rows) {
            seen = v_set1((T)EXP_ZERO);
            shift = F(exp_shift_by)(next.row->sum.shift);
            blocks = F(blocks_of)(next, manner.base, &copies);
            x = F(block_at)(&blocks, 0, &copies);
            F(next_step)(x, &shift, next.row->sum.base, manner, &seen, &now, exps, &s);
        } else {
            F(end_vectors)(0, CE_INTERLEAVE, &now, manner.exps, exps, &s);
        }
        for (int k = 0; manner.exps && k < rest; k += LANES) {
            v_store_part(c.row->exps.values + c.start + whole + k, v_load(last_exps + k), rest - k);
        }
        F(lane_flush)(&s);
        F(add_to_row)(c.row, &s, seen_here, manner.trusting);
        if (next.row != c.row && c.start + c.n < stop) {
            F(sum_short_chunk)(c.row, c.start + c.n, stop - c.start - c.n, manner.trusting);
        }
        c = next;
    }
}

/* Adds the classes start..stop-1 of rows alike. */
CE_STATIC void F(add_classes)(struct F(row) * rows, int n_rows, ptrdiff_t start, ptrdiff_t stop, int trusting)
{
    if (stop - start <= BLOCK) {
        for (int i = 0; i < n_rows; i++) {
            F(sum_short_chunk)(&rows[i], start, stop - start, trusting);
        }
    } else if (rows->sum.base != 0) {
        F(sum_long)(rows, n_rows, start, stop, (struct F(manner)){1, rows->exps.values != NULL, 0});
    } else if (rows->exps.values && trusting) {
        F(sum_long)(rows, n_rows, start, stop, (struct F(manner)){0, 1, 1});
    } else if (rows->exps.values) {
        F(sum_long)(rows, n_rows, start, stop, (struct F(manner)){0, 1, 0});
    } else if (trusting) {
        F(sum_long)(rows, n_rows, start, stop, (struct F(manner)){0, 0, 1});
    } else {
        F(sum_long)(rows, n_rows, start, stop, (struct F(manner)){0, 0, 0});
    }
}
