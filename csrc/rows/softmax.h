/* softmax, log_softmax and logsumexp over rows. */

/* The row's exponentials times (inv_hi + inv_lo) * times: probabilities, or a gradient's part of them; but `value` at
 * `special`. f is that product where no shift is undone. */
CE_STATIC void F(write_probabilities)(struct F(writer) * w, T *out, struct F(exps) exps, ptrdiff_t n,
                                      const struct F(group) * g, int i, const struct F(factors) * f, double times,
                                      struct F(special) special)
{
    for (ptrdiff_t start = 0; start < n; start += CHUNK) {
        double down = exps.chunk_shift[start / CHUNK] - g->shift[i];
        struct F(factors) lower;
        const struct F(factors) *of = f;
        if (down != 0) {
            F(set_factors)(&lower, i & 8, vd_set1(g->inv_hi[i]), vd_set1(g->inv_lo[i]), vd_set1(times), down);
            of = &lower;
        }
        struct F(scaled_row) row = {exps.values + start, v_set1(of->before[i]), v_set1(of->hi[i]), v_set1(of->lo[i])};
        F(write_row)(w, out + start, n - start < CHUNK ? n - start : CHUNK, F(scaled_at), &row,
                     (struct F(special)){special.at - start, special.value});
    }
}

CE_STATIC void F(softmax)(const struct ce_row_map *a)
{
    if (a->n_classes == 2) {
        F(two_softmax)(a);
        return;
    }
    if (F(fits_lanes)(&a->input, a->n_rows, a->n_classes, a->distance)) {
        F(lanes_softmax)(a);
        return;
    }
    static const double ones[GROUP_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    struct ce_guess own, *guess = ce_guess_of(a->guess, &own, 1);
    struct F(writer) w = F(writer_to)(&a->output, n, a->distance);
    int in_scratch = F(are_packed)(&a->input, &a->output, n) || a->input.data == a->output.data;
    int step = F(group_rows)(n, a->distance, in_scratch);
    ptrdiff_t ahead = ce_rows_ahead(n);
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        struct F(factors) f;
        struct F(row) rows[GROUP_MAX];
        F(group_clear)(&g, ce_rows_left(first, a->n_rows, step));
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        struct F(rows) out = F(rows_at)(&a->output, first, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        for (int i = 0; i < g.n; i++) {
            T *to = out.data + i * out.stride;
            F(prepare_row)(&w, to);
            rows[i] = (struct F(row)){.x = x.data + i * x.stride, .n = n, .excluded = -1};
            rows[i].ahead = F(ahead_of)(&w, rows[i].x + ahead * x.stride, &out, i);
            rows[i].exps = F(exps_for)(&w, rows[i].x, to, a->scratch, n, i);
        }
        F(sum_rows)(rows, g.n, n, guess);
        for (int i = 0; i < g.n; i++) {
            F(group_set)(&g, i, &rows[i].sum, -INFINITY);
        }
        F(group_inverses)(&g, 0);
        F(group_factors)(&g, ones, &f);
        for (int i = 0; i < g.n; i++) {
            F(write_probabilities)(&w, out.data + i * out.stride, rows[i].exps, n, &g, i, &f, 1,
                                   (struct F(special)){-1, 0});
        }
        F(unpack_rows)(&a->output, first, g.n, n, out);
    }
    F(finish_writing)(&w);
}

/* Sum the rows of a group without one maximum of each, and take the logarithms. max gets each row's maximum. out: where they
 * will be written; NULL: nowhere. */
CE_STATIC void F(sum_below_max)(struct F(group) * g, struct F(rows) x, ptrdiff_t n, double *max, ptrdiff_t *argmax,
                                const struct F(writer) * w, const struct F(rows) * out, struct ce_guess *guess)
{
    for (int i = 0; i < g->n; i++) { /* on its own: nothing waits for the last few steps of the search */
        max[i] = F(row_argmax)(x.data + i * x.stride, n, &argmax[i]);
    }
    struct F(row) rows[GROUP_MAX], *row = rows;
    for (int i = 0; i < g->n; i++, row++) {
        *row = (struct F(row)){.x = x.data + i * x.stride, .n = n, .excluded = argmax[i]};
        row->sum = F(sum_below)((T)max[i]);
        row->ahead.row = row->x + g->n * x.stride;
        if (out) {
            row->ahead = F(ahead_of)(w, row->ahead.row, out, i);
        }
    }
    F(sum_rows_below)(rows, g->n, n, guess);
    row = rows;
    for (int i = 0; i < g->n; i++, row++) {
        F(group_set)(g, i, &row->sum, (T)max[i]);
    }
    F(group_logs)(g);
}

CE_STATIC void F(log_softmax)(const struct ce_row_map *a)
{
    if (a->n_classes == 2) {
        F(two_log_softmax)(a);
        return;
    }
    if (F(fits_lanes)(&a->input, a->n_rows, a->n_classes, a->distance)) {
        F(lanes_log_softmax)(a);
        return;
    }
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    struct ce_guess own, *guess = ce_guess_of(a->guess, &own, 0);
    struct F(writer) w = F(writer_to)(&a->output, n, a->distance);
    int step = F(group_rows)(n, a->distance, F(are_packed)(&a->input, &a->output, n));
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        double max[GROUP_MAX];
        ptrdiff_t argmax[GROUP_MAX];
        F(group_clear)(&g, ce_rows_left(first, a->n_rows, step));
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        struct F(rows) out = F(rows_at)(&a->output, first, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        for (int i = 0; i < g.n; i++) {
            F(prepare_row)(&w, out.data + i * out.stride);
        }
        F(sum_below_max)(&g, x, n, max, argmax, &w, &out, guess);
        F(write_log_probabilities)(&w, out, x, n, argmax, &g);
        F(unpack_rows)(&a->output, first, g.n, n, out);
    }
    F(finish_writing)(&w);
}

CE_STATIC void F(logsumexp)(const struct ce_row_map *a)
{
    if (F(fits_lanes)(&a->input, a->n_rows, a->n_classes, CE_NEAR)) {
        F(lanes_logsumexp)(a);
        return;
    }
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    struct ce_guess own, *guess = ce_guess_of(a->guess, &own, 0);
    int step = F(group_rows)(n, a->distance, !F(is_contiguous)(&a->input, n));
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        double max[GROUP_MAX];
        ptrdiff_t argmax[GROUP_MAX];
        F(group_clear)(&g, ce_rows_left(first, a->n_rows, step));
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        F(sum_below_max)(&g, x, n, max, argmax, NULL, NULL, guess);
        for (int i = 0; i < g.n; i++) {
            ((T *)a->output.data)[(first + i) * a->output.row_stride] =
                (T)F(lse_of)(max[i], g.log_hi[i], g.log_lo[i], x.data + i * x.stride, n, 1);
        }
    }
}
