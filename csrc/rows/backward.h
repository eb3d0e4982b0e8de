/* The maps' own gradients: grad_input from grad_output and the map's output.
 *     softmax y:      grad_input_j = y_j (g_j - sum g_c y_c)
 *     log_softmax y:  grad_input_j = g_j - e^{y_j} sum g_c */

/* sum g_c y_c, or sum g_c where y is NULL. */
CE_STATIC W F(dot)(const T *g, const T *y, ptrdiff_t n)
{
    double total[2];
    struct vd2 sum = {vd_set1(0), vd_set1(0)};
    for (ptrdiff_t j = 0; j < n; j += 8) {
        W v = w_from(F(load_wide)(g + j, n - j, 0));
        w_accumulate(&sum, y ? w_mul(v, w_from(F(load_wide)(y + j, n - j, 0))) : v);
    }
    F(total_of)(sum, total);
    return w_pair(total[0], total[1]);
}

CE_STATIC void F(softmax_backward_row)(const T *g, const T *y, ptrdiff_t n, T *out)
{
    W sum = F(dot)(g, y, n);
    for (ptrdiff_t j = 0; j < n; j += 8) {
        W p = w_from(F(load_wide)(y + j, n - j, 0));
        F(store_wide)(out + j, w_round(w_mul(p, w_sub(w_from(F(load_wide)(g + j, n - j, 0)), sum))), n - j);
    }
}

CE_STATIC void F(log_softmax_backward_row)(const T *g, const T *y, ptrdiff_t n, T *out)
{
    W sum = F(dot)(g, NULL, n);
    for (ptrdiff_t j = 0; j < n; j += 8) {
        W p = w_exp(F(load_wide)(y + j, n - j, 0));
        F(store_wide)(out + j, w_round(w_sub(w_from(F(load_wide)(g + j, n - j, 0)), w_mul(p, sum))), n - j);
    }
}

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
