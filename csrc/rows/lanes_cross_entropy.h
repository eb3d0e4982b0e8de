/* Cross-entropy from class indices with a row to a lane (lanes.h). */

/* Each lane's target from the tile into g->logit, -inf into its place. */
CE_STATIC void F(tile_take_targets)(const struct ce_row_loss *a, int64_t first, T *tile, struct F(group) * g)
{
    for (int i = 0; i < g->n; i++) {
        if (!F(is_ignored)(a, first + i)) {
            T *x = tile + a->target[first + i] * LANES + i;
            g->logit[i] = *x;
            *x = -INFINITY;
        }
    }
}

CE_STATIC void F(tile_losses)(const struct ce_row_loss *a, int64_t first, const struct F(group) * g)
{
    if (a->class_weight) {
        F(group_losses)(a, first, g);
        return;
    }
    for (int i = 0; i < g->n; i++) {
        a->loss[first + i] = a->target[first + i] == a->ignore_index ? 0 : g->log_hi[i] + g->log_lo[i];
    }
}

/* What the gradients of a tile are made of. */
struct F(tile_slope) {
    struct F(factors) others;
    double at_target[GROUP_MAX];
};

/* Step by step, as batch_logs, which e is from. */
CE_STATIC void F(batch_slopes)(const struct ce_row_loss *a, int64_t first, struct F(batch) * b,
                               struct vd2 e[TILES][WIDE_PARTS], struct F(tile_slope) * s)
{
    _Alignas(64) double scale[TILES][GROUP_MAX];
    for (int k = 0; k < b->n; k++) {
        F(index_scales)(a, first + k * LANES, b->g[k].n, scale[k]);
        F(group_inverses_of)(&b->g[k], 0, e[k]);
    }
    for (int k = 0; k < b->n; k++) {
        F(target_grads)(&b->g[k], scale[k], s[k].at_target);
    }
    for (int k = 0; k < b->n; k++) {
        F(group_factors)(&b->g[k], scale[k], &s[k].others);
    }
}

/* exps, which has the exponentials, gets the gradients. (Scaled on the way to the rows, and the targets put into those: 5 % less
 * to 5 % more.) */
CE_STATIC void F(tile_grads)(const struct ce_row_loss *a, int64_t first, int rows, ptrdiff_t n, T *exps,
                             const struct F(tile_slope) * s)
{
    F(tile_scale)(exps, n, &s->others);
    for (int i = 0; i < rows; i++) {
        if (F(is_ignored)(a, first + i)) {
            for (ptrdiff_t c = 0; c < n; c++) {
                exps[c * LANES + i] = 0;
            }
        } else {
            exps[a->target[first + i] * LANES + i] = (T)s->at_target[i];
        }
    }
}

/* A row of one class: loss and gradient are 0, and NaN where the logit is not finite. */
CE_STATIC void F(one_class_cross_entropy)(const struct ce_row_loss *a)
{
    const T *x = (const T *)a->input.data;
    T *grad = (T *)a->grad.data;
    for (int64_t r = 0; r < a->n_rows; r++) {
        double logit = x[r * a->input.row_stride], w = a->class_weight ? a->class_weight[0] : 1;
        a->loss[r] = a->target[r] == a->ignore_index ? 0 : w * (logit - logit);
    }
    for (int64_t r = 0; r < a->n_rows && grad; r++) {
        grad[r * a->grad.row_stride] = (T)(a->loss[r] * F(row_scale)(a, r));
    }
}

CE_STATIC void F(lanes_cross_entropy_index)(const struct ce_row_loss *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    struct F(batch) b;
    struct F(tile_slope) slope[TILES] = {{{{0}, {0}, {0}}, {0}}};
    struct F(writer) w = F(tile_writer)(&a->grad, n, a->distance);
    struct F(tile_shift) shift[TILES];
    if (n == 1) {
        F(one_class_cross_entropy)(a);
        return;
    }
    for (int64_t first = 0; first < a->n_rows; first += b.n * LANES) {
        F(batch_load)(&b, &a->input, first, a->n_rows, n, a->distance, a->grad.data != NULL, a->scratch);
        F(ask_for_rows)(&a->grad, first, b.n * LANES, a->n_rows, n, a->distance != CE_NEAR && !w.stream);
        for (int k = 0; k < b.n; k++) {
            shift[k] = F(tile_shift_for)(F(tile_max)(b.tile[k], n), &b.g[k]);
        }
        for (int k = 0; k < b.n; k++) {
            F(tile_take_targets)(a, first + k * LANES, b.tile[k], &b.g[k]);
        }
        for (int k = 0; k < b.n; k++) {
            F(tile_sum)(b.tile[k], n, &shift[k], a->grad.data ? b.exps[k] : NULL, &b.g[k]);
        }
        struct vd2 e[TILES][WIDE_PARTS];
        F(batch_logs)(&b, e);
        for (int k = 0; k < b.n; k++) {
            F(tile_losses)(a, first + k * LANES, &b.g[k]);
        }
        if (a->grad.data) {
            F(batch_slopes)(a, first, &b, e, slope);
        }
        for (int k = 0; k < b.n && a->grad.data; k++) {
            F(tile_grads)(a, first + k * LANES, b.g[k].n, n, b.exps[k], &slope[k]);
        }
        if (a->grad.data) {
            F(tiles_write)(&w, &a->grad, first, a->n_rows, b.n, n, b.exps, b.tile, AS_IT_IS);
        }
    }
    F(finish_writing)(&w);
}
