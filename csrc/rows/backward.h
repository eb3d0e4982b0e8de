/* The maps' own gradients: grad_input from grad_output and the map's output.
 *     softmax y:      grad_input_j = y_j (g_j - sum g_c y_c)
 *     log_softmax y:  grad_input_j = g_j - e^{y_j} sum g_c */

/* g_j y_j of up to eight classes, or g_j where y is NULL. */
CE_INLINE W F(products)(const T *g, const T *y, ptrdiff_t n)
{
    W v = w_from(F(load_wide)(g, n, 0));
    return y ? w_mul(v, w_from(F(load_wide)(y, n, 0))) : v;
}

/* Their sum, in every lane. Four at a time, so that the additions do not wait for each other. */
CE_INLINE W F(sum_of_products)(const T *g, const T *y, ptrdiff_t n)
{
    struct vd2 zero = {vd_set1(0), vd_set1(0)}, sums[4] = {zero, zero, zero, zero};
    ptrdiff_t j = 0;
    for (; j + 32 <= n; j += 32) {
        for (int k = 0; k < 4; k++) {
            w_accumulate(&sums[k], F(products)(g + j + 8 * k, y ? y + j + 8 * k : NULL, 8));
        }
    }
    for (int k = 1; k < 4; k++) {
        w_merge(&sums[0], sums[k]);
    }
    for (; j < n; j += 8) {
        w_accumulate(&sums[0], F(products)(g + j, y ? y + j : NULL, n - j));
    }
    return F(sum_of_lanes)(sums[0]);
}

/* Sums of rows as two numbers of T, the second negated, times a power of two where a number less them may be too large. */
struct F(split) {
    V hi, minus_lo, unit, per_unit;
};

/* A sum to a lane. */
CE_INLINE struct F(split) F(split_sums)(const W sum[WIDE_PARTS])
{
    vd unit[WIDE_PARTS], per_unit[WIDE_PARTS], hi[WIDE_PARTS], minus_lo[WIDE_PARTS];
    struct F(split) s;
    W scaled[WIDE_PARTS];
    for (int k = 0; k < WIDE_PARTS; k++) {
        vdm large = vd_lt(vd_set1(T_MAX * T_EPSILON / 8), vd_abs(w_round(sum[k]))); /* T_MAX less it is not T_MAX */
        unit[k] = vd_select(large, vd_set1(0x1p-64), vd_set1(1));
        per_unit[k] = vd_select(large, vd_set1(0x1p64), vd_set1(1));
        scaled[k] = w_mul(sum[k], w_from(unit[k]));
        hi[k] = w_round(scaled[k]);
    }
    s.hi = F(narrow)(hi);
    F(widen)(s.hi, hi);
    for (int k = 0; k < WIDE_PARTS; k++) {
        vd rest = w_round(w_sub(w_from(hi[k]), scaled[k]));
        minus_lo[k] = vd_select(vd_lt(vd_abs(hi[k]), vd_set1(INFINITY)), rest, vd_set1(0));
    }
    s.minus_lo = F(narrow)(minus_lo);
    s.unit = F(narrow)(unit);
    s.per_unit = F(narrow)(per_unit);
    return s;
}

/* y (g - sum). The difference from the high part is exact where it cancels; the rest comes in with the product's rounding: by
 * two subtractions and a product the error was as much as 2.2 ulp. */
CE_INLINE V F(times_rest)(V y, V g, const struct F(split) * sum)
{
    return v_fma(y, v_sub(g, sum->hi), v_mul(y, sum->minus_lo));
}

CE_INLINE V F(times_rest_scaled)(V y, V g, const struct F(split) * sum)
{
    return v_mul(F(times_rest)(y, v_mul(g, sum->unit), sum), sum->per_unit);
}

CE_INLINE int F(any_scaled)(const struct F(split) * sum) { return v_any(v_lt(sum->unit, v_set1(1))); }

CE_STATIC void F(softmax_backward_row)(const T *g, const T *y, ptrdiff_t n, T *out)
{
    W sums[2];
    sums[0] = sums[1] = F(sum_of_products)(g, y, n);
    struct F(split) sum = F(split_sums)(sums);
    int scaled = F(any_scaled)(&sum);
    ptrdiff_t j = 0;
    for (; j + LANES <= n && !scaled; j += LANES) {
        v_store(out + j, F(times_rest)(v_load(y + j), v_load(g + j), &sum));
    }
    for (; j < n; j += LANES) {
        v_store_part(out + j, F(times_rest_scaled)(v_load_part(y + j, n - j, 0), v_load_part(g + j, n - j, 0), &sum),
                     n - j);
    }
}

/* e^y 2^-LOG_SHIFT: not subnormal where e^y is as T. */
#if WIDE_PARTS == 2
#define LOG_SHIFT 0
#else
#define LOG_SHIFT -64
#endif

/* sum times 2^LOG_SHIFT: either before it is multiplied, or after. */
struct F(shifted_sum) {
    struct exp_shift_f64 shift;
    W sum;
    vd after;
};

CE_INLINE struct F(shifted_sum) F(shift_sum)(W sum)
{
    vd down = vd_set1(ce_exp2(LOG_SHIFT)), one = vd_set1(1);
    vdm large = vd_lt(one, vd_abs(w_round(sum)));
    return (struct F(shifted_sum)){exp_shift_by_f64(LOG_SHIFT), w_scale(sum, vd_select(large, down, one)),
                                   vd_select(large, one, down)};
}

/* Where vectors of g, y and the result lie: vector i of g at g + i * g_step. */
struct F(backward_vectors) {
    const T *g, *y;
    T *out;
    ptrdiff_t g_step, y_step, out_step;
};

/* Of n vectors (a constant), c and those after it, eight numbers `at` a place, of which `left` are left: g - e^y sum. */
CE_INLINE void F(minus_share)(int n, const struct F(backward_vectors) * t, ptrdiff_t c, int at, ptrdiff_t left,
                              const struct F(shifted_sum) * s)
{
    vd x[CE_INTERLEAVE], scale[CE_INTERLEAVE], tail[CE_INTERLEAVE], from[CE_INTERLEAVE];
    for (int i = 0; i < n; i++) {
        x[i] = F(load_wide)(t->y + (c + i) * t->y_step + at, left, 0);
        from[i] = F(load_wide)(t->g + (c + i) * t->g_step + at, left, 0);
    }
    exp_parts_of_f64(n, x, &s->shift, NULL, scale, tail);
    for (int i = 0; i < n; i++) {
        W share = w_mul(w_join(vd_fast_two_sum(scale[i], vd_mul(scale[i], tail[i]))), s->sum);
        share = w_scale(share, s->after);
        F(store_wide)(t->out + (c + i) * t->out_step + at, w_round(w_sub(w_from(from[i]), share)), left);
    }
}

CE_STATIC void F(log_softmax_backward_row)(const T *g, const T *y, ptrdiff_t n, T *out)
{
    struct F(shifted_sum) sum = F(shift_sum)(F(sum_of_products)(g, NULL, n));
    struct F(backward_vectors) t = {g, y, out, 8, 8, 8};
    ptrdiff_t c = 0;
    for (; 8 * (c + CE_INTERLEAVE) <= n; c += CE_INTERLEAVE) {
        F(minus_share)(CE_INTERLEAVE, &t, c, 0, 8, &sum);
    }
    for (; 8 * c < n; c++) {
        F(minus_share)(1, &t, c, 0, n - 8 * c, &sum);
    }
}
#undef LOG_SHIFT

typedef void F(backward_row)(const T *g, const T *y, ptrdiff_t n, T *out);

CE_STATIC void F(rows_backward)(const struct ce_row_map_backward *a, F(backward_row) * row)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    int step = ce_group_rows(n);
    for (int64_t first = 0; first < a->n_rows; first += step) {
        int rows = ce_rows_left(first, a->n_rows, step);
        struct F(rows) g = F(pack_rows)(&a->grad_output, first, rows, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        struct F(rows) y = F(pack_rows)(&a->output, first, rows, n, F(scratch)(a->scratch, SCRATCH_PROB, n));
        struct F(rows) out = F(rows_at)(&a->grad_input, first, n, F(scratch)(a->scratch, SCRATCH_EXPS, n));
        for (int i = 0; i < rows; i++) {
            row(g.data + i * g.stride, y.data + i * y.stride, n, out.data + i * out.stride);
        }
        F(unpack_rows)(&a->grad_input, first, rows, n, out);
    }
}
