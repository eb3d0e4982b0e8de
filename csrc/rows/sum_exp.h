/* Sums of exponentials of rows, read once or (from a cache) twice.
 *
 * A row is taken in chunks of CHUNK classes: the chunk's maximum fixes the shift, then its exponentials are summed. When a
 * later chunk has a larger maximum the shift is raised, which multiplies what was summed by a power of two, exactly. So the
 * result does not depend on where the chunks lie, and a row longer than the cache is still read from memory once. */

#define BASE_LIMIT 32768.0 /* larger logits are taken relative to the row's maximum, see sum_below */

CE_INLINE double F(shift_for)(double max) { return rint(max * LOG2_E) - F(EXP_HEADROOM); }

/* Too large for the reduction of exp. */
CE_INLINE int F(needs_base)(double m) { return fabs(m) > BASE_LIMIT && fabs(m) <= T_MAX; }

/* Sum rows whose maxima are known. Large logits are taken relative to it: x - base is exact wherever e^(x - base) is not 0. */
CE_INLINE struct F(row_sum) F(sum_below)(T max)
{
    struct F(row_sum) sum = {{0, 0}, 0, F(needs_base)(max) ? max : 0, 0};
    if (max != -INFINITY) {
        sum.shift = F(shift_for)((double)max - sum.base);
    }
    return sum;
}

CE_STATIC void F(sum_rows_below)(struct F(row) * rows, int n_rows, ptrdiff_t n, struct ce_guess *guess)
{
    while (n_rows > 0) {
        int batch = ce_next_batch(guess, n_rows), k = 0, fitted = 1;
        for (; k < batch && rows[k].sum.base == 0; k++) {
            rows[k].sum.trusted = 1;
        }
        if (k == 0) {
            F(add_classes)(rows, 1, 0, n, 0);
            guess->careful -= guess->careful > 0;
            rows++, n_rows--;
            continue;
        }
        F(add_classes)(rows, k, 0, n, 1);
        for (; k > 0; k--, rows++, n_rows--) {
            if (!rows->sum.trusted) {
                rows->sum.sum[0] = rows->sum.sum[1] = 0;
                F(add_classes)(rows, 1, 0, n, 0);
                rows->sum.trusted = 0;
                fitted = 0;
            }
        }
        ce_batch_fitted(guess, fitted);
    }
}

/* Sum one row with care, raising the shift where a chunk has a new maximum. */
CE_STATIC void F(sum_row_searching)(struct F(row) * row, ptrdiff_t n)
{
    row->sum = (struct F(row_sum)){{0, 0}, 0, 0, 0};
    double max = -INFINITY; /* of the chunks so far */
    for (ptrdiff_t start = 0; start < n; start += CHUNK) {
        double m = F(row_max)(row->x + start, F(chunk_size)(start, n));
        if (F(needs_base)(m)) {
            row->sum = F(sum_below)(F(row_max)(row->x, n));
            F(add_classes)(row, 1, 0, n, 0);
            return;
        }
        if (!(m <= max)) { /* also for NaN, which then spreads */
            double shift = F(shift_for)(m), down = max == -INFINITY ? 0 : ce_exp2(row->sum.shift - shift);
            row->sum.sum[0] *= down;
            row->sum.sum[1] *= down;
            row->sum.shift = shift;
            max = m;
        }
        F(add_classes)(row, 1, start, start + F(chunk_size)(start, n), 0);
    }
}

/* Whether the largest exponential is well inside the range of T: between an n-th of the sum and the sum, or that of the class
 * left out, 2^height. */
CE_INLINE int F(fits)(double sum, double n, double height)
{
    double high = ce_exp2(F(EXP_HEADROOM_MAX)), low = ce_exp2(F(EXP_HEADROOM_MIN)) * n;
    return sum < high && height < F(EXP_HEADROOM_MAX) && (sum > low || height > F(EXP_HEADROOM_MIN));
}

CE_INLINE void F(search_row)(struct F(row) * row, ptrdiff_t n, struct ce_guess *guess)
{
    F(sum_row_searching)(row, n);
    guess->shift = row->sum.shift;
    if (row->sum.base != 0 || !(fabs(row->sum.shift) < BASE_LIMIT)) {
        guess->careful = MISFIT_ROWS;
    }
}

CE_INLINE int F(row_fits)(const struct F(row) * row, ptrdiff_t n)
{
    double left_out = (size_t)row->excluded < (size_t)n ? row->x[row->excluded] : -INFINITY;
    return row->sum.trusted && F(fits)(row->sum.sum[0], (double)n, left_out * LOG2_E - row->sum.shift);
}

/* Sum rows whose largest logits are much like the last row's. */
CE_STATIC void F(sum_rows)(struct F(row) * rows, int n_rows, ptrdiff_t n, struct ce_guess *guess)
{
    while (n_rows > 0) {
        int batch = ce_next_batch(guess, n_rows), fitted = 1;
        if (batch == 0) {
            guess->careful--;
            F(search_row)(rows, n, guess);
            rows++, n_rows--;
            continue;
        }
        for (int k = 0; k < batch; k++) {
            rows[k].sum = (struct F(row_sum)){{0, 0}, guess->shift, 0, 1};
        }
        F(add_classes)(rows, batch, 0, n, 1);
        for (; batch > 0; batch--, rows++, n_rows--) {
            if (!F(row_fits)(rows, n)) {
                F(search_row)(rows, n, guess);
                fitted = 0;
            }
        }
        ce_batch_fitted(guess, fitted);
    }
}
