/* The maps' own gradients: grad_input from grad_output and the map's output.
 *     softmax y:      grad_input_j = y_j (g_j - sum g_c y_c)
 *     log_softmax y:  grad_input_j = g_j - e^{y_j} sum g_c */

/* g_j y_j of up to eight classes, or g_j where y is NULL. */
CE_INLINE W F(products)(const T *g, const T *y, ptrdiff_t n)
{
    W v = w_from(F(load_wide)(g, n, 0));
    return y ? w_mul(v, w_from(F(load_wide)(y, n, 0))) : v;
}

/* Their sum. Four at a time, so that the additions do not wait for each other. */
CE_INLINE W F(sum_of_products)(const T *g, const T *y, ptrdiff_t n)
{
    double total[2];
    struct vd2 zero = {vd_set1(0), vd_set1(0)}, sums[4] = {zero, zero, zero, zero};
    ptrdiff_t j = 0;
    for (; j + 32 <= n; j += 32) {
        for (int k = 0; k < 4; k++) {
            w_accumulate(&sums[k], F(products)(g + j + 8 * k, y ? y + j + 8 * k : NULL, 8));
        }
    }
    for (; j < n; j += 8) {
        w_accumulate(&sums[0], F(products)(g + j, y ? y + j : NULL, n - j));
    }
    for (int k = 1; k < 4; k++) {
        w_accumulate(&sums[0], w_join(sums[k]));
    }
    F(total_of)(sums[0], total);
    return w_pair(total[0], total[1]);
}

/* A row's sum as two numbers of T, times a power of two so that it is not too large for them. */
struct F(split) {
    V hi, lo, unit, per_unit;
};

CE_INLINE struct F(split) F(split_sum)(W sum)
{
    T hi[8], lo[8];
    double unit = fabs(F(first_lane)(w_round(sum))) > T_MAX / 16 ? 0x1p-64 : 1;
    W scaled = w_mul(sum, w_set1(unit));
    F(store_wide)(hi, w_round(scaled), 8);
    F(store_wide)(lo, w_round(w_sub(scaled, w_set1(hi[0]))), 8);
    int finite = fabs((double)hi[0]) <= T_MAX;
    return (struct F(split)){v_set1(hi[0]), v_set1(finite ? lo[0] : 0), v_set1((T)unit), v_set1((T)(1 / unit))};
}

/* y (g - sum): the difference in two parts, the product rounded once. */
CE_INLINE V F(times_rest)(V y, V g, const struct F(split) * sum)
{
    g = v_mul(g, sum->unit);
    V hi = v_sub(g, sum->hi), back = v_sub(hi, g);
    V lo = v_sub(v_sub(v_sub(g, v_sub(hi, back)), v_add(sum->hi, back)), sum->lo);
    lo = v_select(v_lt(v_abs(hi), v_set1(INFINITY)), lo, v_set1(0));
    return v_mul(v_fma(y, hi, v_mul(y, lo)), sum->per_unit);
}

CE_STATIC void F(softmax_backward_row)(const T *g, const T *y, ptrdiff_t n, T *out)
{
    struct F(split) sum = F(split_sum)(F(sum_of_products)(g, y, n));
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        v_store(out + j, F(times_rest)(v_load(y + j), v_load(g + j), &sum));
    }
    if (j < n) {
        v_store_part(out + j, F(times_rest)(v_load_part(y + j, n - j, 0), v_load_part(g + j, n - j, 0), &sum), n - j);
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

/* n vectors (a constant) of eight classes, of which `left` are left: g - e^y sum. */
CE_INLINE void F(minus_share)(int n, const T *g, const T *y, ptrdiff_t left, const struct F(shifted_sum) * s, T *out)
{
    vd x[CE_INTERLEAVE], scale[CE_INTERLEAVE], tail[CE_INTERLEAVE], from[CE_INTERLEAVE];
    for (int i = 0; i < n; i++) {
        x[i] = F(load_wide)(y + 8 * i, left, 0);
        from[i] = F(load_wide)(g + 8 * i, left, 0);
    }
    exp_parts_of_f64(n, x, &s->shift, scale, tail);
    for (int i = 0; i < n; i++) {
        W share = w_mul(w_join(vd_fast_two_sum(scale[i], vd_mul(scale[i], tail[i]))), s->sum);
        share = w_scale(share, s->after);
        F(store_wide)(out + 8 * i, w_round(w_sub(w_from(from[i]), share)), left);
    }
}

CE_STATIC void F(log_softmax_backward_row)(const T *g, const T *y, ptrdiff_t n, T *out)
{
    struct F(shifted_sum) sum = F(shift_sum)(F(sum_of_products)(g, NULL, n));
    ptrdiff_t j = 0;
    for (; j + 8 * CE_INTERLEAVE <= n; j += 8 * CE_INTERLEAVE) {
        F(minus_share)(CE_INTERLEAVE, g + j, y + j, 8, &sum, out + j);
    }
    for (; j < n; j += 8) {
        F(minus_share)(1, g + j, y + j, n - j, &sum, out + j);
    }
}
#undef LOG_SHIFT

CE_STATIC void F(map_backward)(const struct ce_row_map_backward *a, void (*row)(const T *, const T *, ptrdiff_t, T *))
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    int step = ce_group_rows(n);
    for (int64_t first = 0; first < a->n_rows; first += step) {
        int rows = a->n_rows - first < step ? (int)(a->n_rows - first) : step;
        struct F(rows) g = F(pack_rows)(&a->grad_output, first, rows, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        struct F(rows) y = F(pack_rows)(&a->output, first, rows, n, F(scratch)(a->scratch, SCRATCH_PROB, n));
        struct F(rows) out = F(rows_at)(&a->grad_input, first, n, F(scratch)(a->scratch, SCRATCH_EXPS, n));
        for (int i = 0; i < rows; i++) {
            row(g.data + i * g.stride, y.data + i * y.stride, n, out.data + i * out.stride);
        }
        F(unpack_rows)(&a->grad_input, first, rows, n, out);
    }
}

CE_STATIC void F(softmax_backward)(const struct ce_row_map_backward *a) { F(map_backward)(a, F(softmax_backward_row)); }
CE_STATIC void F(log_softmax_backward)(const struct ce_row_map_backward *a)
{
    F(map_backward)(a, F(log_softmax_backward_row));
}
