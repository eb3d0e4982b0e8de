/* softmax, log_softmax and logsumexp over rows. */

/* The row's exponentials times (inv_hi + inv_lo) * times: probabilities, or a gradient's part of them; but `value` at
 * `special`. `factor` is that product where no shift is undone. */
CE_STATIC void F(write_probabilities)(T *out, struct F(exps) exps, ptrdiff_t n, const struct F(group) * g, int i,
                                      const struct F(factor) * factor, double times, ptrdiff_t special, T value,
                                      int stream)
{
    for (ptrdiff_t start = 0; start < n; start += CHUNK) {
        double down = exps.chunk_shift[start / CHUNK] - g->shift[i];
        struct F(factor) f[8] = {*factor};
        if (down != 0) {
            F(factors)(vd_set1(g->inv_hi[i]), vd_set1(g->inv_lo[i]), vd_set1(times), down, f);
        }
        struct F(scaled_row)
            row = {exps.values + start, v_set1(f->before), v_set1(f->hi), v_set1(f->lo), special - start, value};
        F(write_row)(out + start, n - start < CHUNK ? n - start : CHUNK, stream, F(scaled_at), &row);
    }
}

CE_STATIC void F(softmax)(const struct ce_row_map *a)
{
    if (F(fits_lanes)(&a->input, a->n_rows, a->n_classes)) {
        F(lanes_softmax)(a);
        return;
    }
    static const double ones[GROUP_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    struct F(shift_guess) guess = {0, 1};
    int step = ce_group_rows(n);
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        struct F(factor) f[GROUP_MAX];
        F(group_clear)(&g, a->n_rows - first < step ? (int)(a->n_rows - first) : step);
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        struct F(rows) out = F(rows_at)(&a->output, first, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        for (int i = 0; i < g.n; i++) {
            const T *row = x.data + i * x.stride;
            F(prepare_row)(out.data + i * out.stride, n, a->stream);
            struct F(row_sum) sum = F(sum_row)(row, n, -1, F(exps_of)(a->scratch, n, i), row + x.stride, &guess);
            F(group_set)(&g, i, &sum, -INFINITY);
        }
        F(group_inverses)(&g);
        F(group_factors)(&g, ones, f);
        for (int i = 0; i < g.n; i++) {
            F(write_probabilities)(out.data + i * out.stride, F(exps_of)(a->scratch, n, i), n, &g, i, f + i, 1, -1, 0,
                                   a->stream);
        }
        F(unpack_rows)(&a->output, first, g.n, n, out);
    }
    if (a->stream) {
        ce_stream_fence();
    }
}

/* Sum the rows of a group without one maximum of each, and take the logarithms. max gets each row's maximum. */
CE_STATIC void F(sum_below_max)(struct F(group) * g, struct F(rows) x, ptrdiff_t n, double *max, ptrdiff_t *argmax)
{
    for (int i = 0; i < g->n; i++) {
        const T *row = x.data + i * x.stride;
        struct F(exps) none = {NULL, NULL};
        T m = F(row_argmax)(row, n, &argmax[i]);
        struct F(row_sum) sum = F(sum_row_below)(row, n, m, argmax[i], none, row + x.stride);
        F(group_set)(g, i, &sum, m);
        max[i] = m;
    }
    F(group_logs)(g);
}

CE_STATIC void F(log_softmax)(const struct ce_row_map *a)
{
    if (F(fits_lanes)(&a->input, a->n_rows, a->n_classes)) {
        F(lanes_log_softmax)(a);
        return;
    }
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    int step = ce_group_rows(n);
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        double max[GROUP_MAX];
        ptrdiff_t argmax[GROUP_MAX];
        F(group_clear)(&g, a->n_rows - first < step ? (int)(a->n_rows - first) : step);
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        struct F(rows) out = F(rows_at)(&a->output, first, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        for (int i = 0; i < g.n; i++) {
            F(prepare_row)(out.data + i * out.stride, n, a->stream);
        }
        F(sum_below_max)(&g, x, n, max, argmax);
        for (int i = 0; i < g.n; i++) {
            F(write_log_probabilities)(out.data + i * out.stride, x.data + i * x.stride, n, max[i], g.log_hi[i],
                                       g.log_lo[i], a->stream);
        }
        F(unpack_rows)(&a->output, first, g.n, n, out);
    }
    if (a->stream) {
        ce_stream_fence();
    }
}

CE_STATIC void F(logsumexp)(const struct ce_row_map *a)
{
    if (F(fits_lanes)(&a->input, a->n_rows, a->n_classes)) {
        F(lanes_logsumexp)(a);
        return;
    }
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    int step = ce_group_rows(n);
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        double max[GROUP_MAX];
        ptrdiff_t argmax[GROUP_MAX];
        F(group_clear)(&g, a->n_rows - first < step ? (int)(a->n_rows - first) : step);
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        F(sum_below_max)(&g, x, n, max, argmax);
        for (int i = 0; i < g.n; i++) {
            ((T *)a->output.data)[(first + i) * a->output.row_stride] =
                (T)F(lse_of)(max[i], g.log_hi[i], g.log_lo[i], x.data + i * x.stride, n, 1);
        }
    }
}
