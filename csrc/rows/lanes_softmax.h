/* softmax, log_softmax and logsumexp with a row to a lane (lanes.h). */

/* A row of one class: `value`, and NaN where the logit is not finite. */
CE_STATIC void F(one_class)(const struct ce_row_map *a, T value)
{
    const T *x = (const T *)a->input.data;
    T *y = (T *)a->output.data;
    if (a->input.row_stride == 1 && a->output.row_stride == 1) {
        for (int64_t r = 0; r < a->n_rows; r++) {
            y[r] = value + (x[r] - x[r]);
        }
        return;
    }
    for (int64_t r = 0; r < a->n_rows; r++) {
        T logit = x[r * a->input.row_stride];
        y[r * a->output.row_stride] = value + (logit - logit);
    }
}

CE_STATIC void F(lanes_softmax)(const struct ce_row_map *a)
{
    static const double ones[GROUP_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    struct F(batch) b;
    struct F(factors) f[TILES] = {{{0}, {0}, {0}}};
    struct F(writer) w = F(tile_writer)(&a->output, n, a->distance);
    if (n == 1) {
        F(one_class)(a, 1);
        return;
    }
    for (int64_t first = 0; first < a->n_rows; first += b.n * LANES) {
        F(batch_load)(&b, &a->input, first, a->n_rows, n, a->distance, 1, a->scratch);
        F(ask_for_rows)(&a->output, first, b.n * LANES, a->n_rows, n, a->distance != CE_NEAR && !w.stream);
        struct F(tile_shift) shift[TILES];
        for (int k = 0; k < b.n; k++) {
            shift[k] = F(tile_shift_for)(F(tile_max)(b.tile[k], n), &b.g[k]);
        }
        for (int k = 0; k < b.n; k++) {
            F(tile_sum)(b.tile[k], n, &shift[k], b.exps[k], &b.g[k]);
        }
        /* Of all tiles before the first is written: a vector that was just stored in two halves is not to be had until both are
         * in the cache. */
        for (int k = 0; k < b.n; k++) {
            F(group_inverses)(&b.g[k], 0);
        }
        for (int k = 0; k < b.n; k++) {
            F(group_factors)(&b.g[k], ones, &f[k]);
        }
        for (int k = 0; k < b.n && !CE_LATE_MAPS; k++) {
            F(tile_scale)(b.exps[k], n, &f[k]);
        }
        F(tiles_write)(&w, &a->output, first, a->n_rows, b.n, n, b.exps, b.tile,
                       CE_LATE_MAPS ? (struct F(finish)){f, NULL} : AS_IT_IS);
    }
    F(finish_writing)(&w);
}

CE_STATIC void F(tile_log_probabilities)(T *tile, ptrdiff_t n_classes, const struct F(tile_lses) * s)
{
    for (ptrdiff_t c = 0; c < n_classes; c++) {
        v_store(tile + c * LANES, F(tile_log_probability)(v_load(tile + c * LANES), s));
    }
}

/* From so many adjacent classes on they are computed row by row, from the rows themselves: a tile need not be turned back. Xeons: 17
 * classes take 10 % longer, 24 as long, 64 and more 5 to 15 % less, up to 24 % past the second-level cache. Zen 5, with two units
 * that permute: 32 to 63 classes 7 to 14 % longer, 64 to 128 5 %, 160 4 % less. */
#define LOG_ROWS_CLASSES 64

struct F(lane_row) {
    const T *x;
    struct F(tile_lses) lse; /* the same in all lanes */
};

CE_INLINE V F(lane_log_probability_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    const struct F(lane_row) *r = (const struct F(lane_row) *)row;
    return F(tile_log_probability)(v_load_part(r->x + j, lanes, 0), &r->lse);
}

CE_STATIC void F(rows_log_probabilities)(struct F(writer) * w, const struct ce_row_map *a, int64_t first, int n_rows,
                                         const struct F(tile_lses) * s)
{
    T hi[LANES], minus_lo[LANES], confident[LANES], at_top[LANES];
    v_store(hi, s->hi);
    v_store(minus_lo, s->minus_lo);
    v_store(confident, s->confident);
    v_store(at_top, s->at_top);
    for (int i = 0; i < n_rows; i++) {
        const T *x = (const T *)a->input.data + (first + i) * a->input.row_stride;
        T *out = (T *)a->output.data + (first + i) * a->output.row_stride;
        struct F(tile_lses) lse = {v_set1(hi[i]), v_set1(minus_lo[i]), v_set1(confident[i]), v_set1(at_top[i])};
        struct F(lane_row) row = {x, lse};
        F(write_row)(w, out, a->n_classes, F(lane_log_probability_at), &row, (struct F(special)){-1, 0});
    }
}

CE_STATIC void F(lanes_log_softmax)(const struct ce_row_map *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    int by_rows = CE_LATE_MAPS && n >= LOG_ROWS_CLASSES && a->input.class_stride == 1 && a->output.class_stride == 1;
    struct F(batch) b;
    struct F(writer) w = F(tile_writer)(&a->output, n, a->distance);
    V max[TILES];
    struct F(tile_lses) lses[TILES];
    if (n == 1) {
        F(one_class)(a, 0);
        return;
    }
    for (int64_t first = 0; first < a->n_rows; first += b.n * LANES) {
        F(batch_load)(&b, &a->input, first, a->n_rows, n, a->distance, 1, a->scratch);
        F(ask_for_rows)(&a->output, first, b.n * LANES, a->n_rows, n, a->distance != CE_NEAR && !w.stream);
        F(batch_sum_below_max)(&b, n, !by_rows, max);
        for (int k = 0; k < b.n; k++) {
            lses[k] = F(tile_lses_of)(&b.g[k], max[k]);
        }
        for (int k = 0; k < b.n && by_rows; k++) {
            F(rows_log_probabilities)(&w, a, first + k * LANES, b.g[k].n, &lses[k]);
        }
        for (int k = 0; k < b.n && !CE_LATE_MAPS; k++) {
            F(tile_log_probabilities)(b.tile[k], n, &lses[k]);
        }
        if (!by_rows) {
            struct F(finish) finish = {NULL, CE_LATE_MAPS ? lses : NULL};
            F(tiles_write)(&w, &a->output, first, a->n_rows, b.n, n, b.tile, b.exps, finish);
        }
    }
    F(finish_writing)(&w);
}

/* The log-sum-exps of a tile's rows; of the tile, whatever else it lacks, the NaN are left. */
CE_INLINE void F(tile_logsumexps)(const struct F(group) * g, V max, const T *tile, ptrdiff_t n_classes, T *out,
                                  ptrdiff_t stride)
{
    T m[LANES];
    v_store(m, max);
    if (stride == 1 && !v_any(v_eq(v_abs(max), v_set1((T)INFINITY)))) {
        vd lse[WIDE_PARTS];
        for (int k = 0; k < WIDE_PARTS; k++) {
            struct vd2 sum = vd_two_sum(F(load_wide)(m + 8 * k, 8, 0), vd_load(g->log_hi + 8 * k));
            lse[k] = vd_add(sum.hi, vd_add(sum.lo, vd_load(g->log_lo + 8 * k)));
        }
        v_store_part(out, F(narrow)(lse), g->n);
        return;
    }
    for (int i = 0; i < g->n; i++) {
        out[i * stride] = (T)F(lse_of)(m[i], g->log_hi[i], g->log_lo[i], tile + i, n_classes, LANES);
    }
}

CE_STATIC void F(lanes_logsumexp)(const struct ce_row_map *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes, stride = a->output.row_stride;
    struct F(batch) b;
    V max[TILES];
    for (int64_t first = 0; first < a->n_rows; first += b.n * LANES) {
        F(batch_load)(&b, &a->input, first, a->n_rows, n, a->distance, 0, a->scratch);
        F(batch_sum_below_max)(&b, n, 0, max);
        for (int k = 0; k < b.n; k++) {
            T *out = (T *)a->output.data + (first + k * LANES) * stride;
            F(tile_logsumexps)(&b.g[k], max[k], b.tile[k], n, out, stride);
        }
    }
}
