/* soft_cross_entropy.h with a row to a lane (lanes.h), eight rows at a time, and the choice between all four kernels of
 * cross-entropy. The operations on a row, and their order, are those of soft_cross_entropy.h. */

/* Eight rows of a tile. */
struct F(tile_soft) {
    const T *x, *prob;    /* tiles, at the first of the rows; prob: NULL with target */
    const T *rest;        /* the tile of logits without the maxima */
    vd target, at_target; /* class indices and their logits */
    vdm hit;              /* the target is the maximum */
    vd max;
    struct F(soft_target) common;
};

/* a_c of the rows. */
CE_INLINE W F(tile_coefficients)(const struct F(tile_soft) * s, ptrdiff_t c)
{
    vd hit = vd_select(vd_eq(s->target, vd_set1((double)c)), vd_set1(1), vd_set1(0));
    W a = w_from(s->prob ? F(load_wide)(s->prob + c * LANES, 8, 0) : hit);
    if (s->common.smoothing != 0) {
        a = w_add(w_mul(a, s->common.keep), s->common.spread);
    }
    return s->common.class_weight ? w_mul(a, w_set1(s->common.class_weight[c])) : a;
}

/* Whether class c is not the one that was taken for the maximum. */
CE_INLINE vdm F(tile_not_max)(const struct F(tile_soft) * s, ptrdiff_t c, vd x)
{
    return vd_eq(x, F(load_wide)(s->rest + c * LANES, 8, 0));
}

CE_STATIC struct F(soft_sums) F(tile_smoothed_sum)(const struct F(tile_soft) * s)
{
    struct vd2 gaps[8];
    vd unit = F(unit_for)(s->max);
    W top = w_from(vd_mul(s->max, unit));
    for (int l = 0; l < ce_sums_in_use(s->common.n); l++) {
        w_clear(&gaps[l]);
        for (ptrdiff_t c = l; c < s->common.n && s->common.smoothing != 0; c += 8) {
            w_accumulate(&gaps[l], w_sub(top, w_from(vd_mul(F(load_wide)(s->x + c * LANES, 8, 0), unit))));
        }
    }
    W gap = w_sub(top, w_from(vd_mul(s->at_target, unit)));
    struct F(soft_sums) sums = F(smoothed_sums)(&s->common, gap, F(sum_of_eight)(gaps, s->common.n), s->hit);
    sums.terms = w_scale(sums.terms, vd_div(vd_set1(1), unit));
    return sums;
}

CE_STATIC struct F(soft_sums) F(tile_soft_sum)(const struct F(tile_soft) * s)
{
    if (!s->prob && !s->common.class_weight) {
        return F(tile_smoothed_sum)(s);
    }
    struct vd2 terms[8], all[8], below[8];
    vd unit = F(unit_for)(s->max);
    W top = w_from(vd_mul(s->max, unit));
    for (int l = 0; l < ce_sums_in_use(s->common.n); l++) {
        w_clear(&terms[l]);
        w_clear(&all[l]);
        w_clear(&below[l]);
        for (ptrdiff_t c = l; c < s->common.n; c += 8) {
            vd x = F(load_wide)(s->x + c * LANES, 8, 0);
            W a = F(tile_coefficients)(s, c), down = w_sub(top, w_from(vd_mul(x, unit)));
            vdm none = vd_eq(w_round(a), vd_set1(0)); /* 0 log 0 = 0 */
            w_accumulate(&terms[l], w_select(none, w_set1(0), w_mul(a, down)));
            w_accumulate(&all[l], a);
            w_accumulate(&below[l], w_select(F(tile_not_max)(s, c, x), a, w_set1(0)));
        }
    }
    return (struct F(soft_sums)){w_scale(F(sum_of_eight)(terms, s->common.n), vd_div(vd_set1(1), unit)),
                                 F(sum_of_eight)(all, s->common.n), F(sum_of_eight)(below, s->common.n)};
}

/* The losses of rows i..i+7 of a group; 0 where ignored. */
CE_STATIC void F(tile_soft_losses)(const struct ce_row_loss *a, int64_t first, int i, const struct F(group) * g,
                                   const struct F(soft_sums) * sums)
{
    int n = g->n - i < 8 ? g->n - i : 8;
    double *loss = a->loss + first + i;
    vd_store_part(loss, F(soft_losses)(sums, vd_load(g->log_hi + i), vd_load(g->log_lo + i)), n);
    for (int k = 0; k < n && a->target; k++) {
        loss[k] = F(is_ignored)(a, first + i + k) ? 0 : loss[k];
    }
}

/* What the gradients of eight rows are written from. */
struct F(tile_slopes) {
    struct F(soft_slopes) slopes;
    struct exp_shift_f64 shift;
    vd base, at_max, bend_at_max;
    T *grad, *hess; /* tiles; NULL: not wanted. They may be `rest` and `x` */
};

/* n classes (a constant) from c on. */
CE_INLINE void F(tile_write_soft)(int n, const struct F(tile_soft) * s, const struct F(tile_slopes) * t, ptrdiff_t c)
{
    vd x[CE_INTERLEAVE];
    vdm not_max[CE_INTERLEAVE];
    W e[CE_INTERLEAVE];
    for (int i = 0; i < n; i++) {
        x[i] = F(load_wide)(s->x + (c + i) * LANES, 8, 0);
        not_max[i] = F(tile_not_max)(s, c + i, x[i]);
        x[i] = vd_sub(x[i], t->base);
    }
    w_exp_shifted_of(n, x, &t->shift, e);
    for (int i = 0; i < n; i++) {
        vd slope = F(soft_grad)(&t->slopes, e[i], F(tile_coefficients)(s, c + i));
        F(store_wide)(t->grad + (c + i) * LANES, vd_select(not_max[i], slope, t->at_max), 8);
        if (t->hess) {
            vd bend = F(soft_hess)(&t->slopes, e[i]);
            F(store_wide)(t->hess + (c + i) * LANES, vd_select(not_max[i], bend, t->bend_at_max), 8);
        }
    }
}

/* Gradient and Hessian of rows i..i+7 of a group. */
CE_STATIC void F(tile_soft_grads)(const struct F(tile_soft) * s, const struct F(group) * g, int i, vd scale,
                                  const struct F(soft_sums) * sums, T *grad, T *hess)
{
    W inverse = w_join((struct vd2){vd_load(g->inv_hi + i), vd_load(g->inv_lo + i)});
    struct F(tile_slopes) t;
    t.slopes = F(soft_slopes_of)(sums, w_from(scale), inverse, w_join(F(group_others)(g, i)));
    t.shift = exp_shift_of_f64(F(load_wide)(g->shift + i, 8, 0));
    t.base = F(load_wide)(g->base + i, 8, 0);
    t.at_max = w_round(t.slopes.at_max);
    t.bend_at_max = w_round(t.slopes.bend_at_max);
    t.grad = grad;
    t.hess = hess;
    ptrdiff_t c = 0;
    for (; c + CE_INTERLEAVE <= s->common.n; c += CE_INTERLEAVE) {
        F(tile_write_soft)(CE_INTERLEAVE, s, &t, c);
    }
    for (; c < s->common.n; c++) {
        F(tile_write_soft)(1, s, &t, c);
    }
}

/* Class indices, their logits, and whether they are the maxima. 0 in lanes without a row or target. */
CE_INLINE void F(tile_soft_targets)(struct F(tile_soft) * s, const struct ce_row_loss *a, int64_t first, int n)
{
    double target[8] = {0}, at_target[8] = {0}, rest[8] = {0};
    for (int i = 0; i < n && a->target; i++) {
        if (!F(is_ignored)(a, first + i)) {
            int64_t t = a->target[first + i];
            target[i] = (double)t;
            at_target[i] = s->x[t * LANES + i];
            rest[i] = s->rest[t * LANES + i];
        }
    }
    s->target = vd_load(target);
    s->at_target = vd_load(at_target);
    s->hit = vd_lt(vd_load(rest), s->at_target);
}

/* Rows first..first+n-1, which lie at i in a tile. */
CE_INLINE struct F(tile_soft)
    F(tile_soft_of)(const struct ce_row_loss *a, int64_t first, int n, const struct F(batch) * b, int k, int i, V max)
{
    T maxima[LANES];
    v_store(maxima, max);
    struct F(tile_soft) s = {
        .x = b->tile[k] + i,
        .prob = a->prob.data ? b->prob[k] + i : NULL,
        .rest = b->exps[k] + i,
        .max = F(load_wide)(maxima + i, 8, 0),
        .common = F(soft_target_of)(a, first, NULL),
    };
    F(tile_soft_targets)(&s, a, first, n);
    return s;
}

CE_INLINE vd F(tile_scales)(const struct ce_row_loss *a, int64_t first, int n)
{
    double scale[8] = {0};
    for (int i = 0; i < n; i++) {
        scale[i] = F(row_scale)(a, first + i);
    }
    return vd_load(scale);
}

/* Rows that are ignored: 0, whatever they hold. */
CE_STATIC void F(tile_zero_ignored)(const struct ce_row_loss *a, int64_t first, int n, T *tile)
{
    for (int i = 0; i < n; i++) {
        for (ptrdiff_t c = 0; c < a->n_classes && F(is_ignored)(a, first + i); c++) {
            tile[c * LANES + i] = 0;
        }
    }
}

CE_STATIC void F(lanes_cross_entropy_soft)(const struct ce_row_loss *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    struct F(batch) b;
    V max[TILES];
    for (int64_t batch = 0; batch < a->n_rows; batch += b.n * LANES) {
        F(batch_load)(&b, &a->input, batch, a->n_rows, n, a->distance, a->grad.data != NULL, a->scratch);
        F(ask_for_rows)(&a->prob, batch, b.n * LANES, a->n_rows, n, a->distance != CE_NEAR);
        F(ask_for_rows)(&a->grad, batch, b.n * LANES, a->n_rows, n, a->distance != CE_NEAR);
        F(ask_for_rows)(&a->hess, batch, b.n * LANES, a->n_rows, n, a->distance != CE_NEAR);
        F(batch_sum_below_max)(&b, n, 1, max);
        if (a->prob.data) {
            F(tiles_load)(&a->prob, batch, a->n_rows, b.n, n, b.prob);
        }
        for (int k = 0; k < b.n; k++) {
            int64_t first = batch + k * LANES;
            struct F(group) *g = &b.g[k];
            if (a->grad.data) {
                F(group_inverses)(g, 1);
            }
            for (int i = 0; i < g->n; i += 8) {
                int rows = g->n - i < 8 ? g->n - i : 8;
                struct F(tile_soft) s = F(tile_soft_of)(a, first + i, rows, &b, k, i, max[k]);
                struct F(soft_sums) sums = F(tile_soft_sum)(&s);
                F(tile_soft_losses)(a, first, i, g, &sums);
                if (a->grad.data) {
                    F(tile_soft_grads)(&s, g, i, F(tile_scales)(a, first + i, rows), &sums, b.exps[k] + i,
                                       a->hess.data ? b.tile[k] + i : NULL);
                }
            }
            if (a->grad.data) {
                F(tile_zero_ignored)(a, first, g->n, b.exps[k]);
            }
            if (a->hess.data) {
                F(tile_zero_ignored)(a, first, g->n, b.tile[k]);
            }
        }
        if (a->grad.data) {
            F(tiles_store)(&a->grad, batch, a->n_rows, b.n, n, b.exps, AS_IT_IS);
        }
        if (a->hess.data) {
            F(tiles_store)(&a->hess, batch, a->n_rows, b.n, n, b.tile, AS_IT_IS);
        }
    }
}

CE_STATIC void F(cross_entropy_soft)(const struct ce_row_loss *a)
{
    if (a->n_classes > 1 && F(fits_lanes)(&a->input, a->n_rows, a->n_classes, a->grad.data ? a->distance : CE_NEAR)) {
        F(lanes_cross_entropy_soft)(a);
    } else {
        F(rows_cross_entropy_soft)(a);
    }
}

CE_STATIC void F(cross_entropy)(const struct ce_row_loss *a)
{
    if (a->label_smoothing != 0 || a->hess.data) {
        F(cross_entropy_soft)(a);
    } else if (a->n_classes == 2) {
        F(two_cross_entropy)(a);
    } else if (F(fits_lanes)(&a->input, a->n_rows, a->n_classes, a->grad.data ? a->distance : CE_NEAR)) {
        F(lanes_cross_entropy_index)(a);
    } else {
        F(cross_entropy_index)(a);
    }
}
