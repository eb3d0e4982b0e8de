/* Cross-entropy of two classes from class indices (two_classes.h): of the target t and the other class o, the loss
 * log(1 + e^(x_o - x_t)), the gradients -p_o and p_o. */

/* 1 where the target is the first class, -1 where it is the second, 0 where it is ignored or there is no row. */
CE_STATIC void F(pair_sides)(const struct ce_row_loss *a, int64_t first, int n, T sides[LANES])
{
    const int64_t *target = a->target + first;
    for (int i = n; i < LANES; i++) {
        sides[i] = 0;
    }
    for (int i = 0; i < n; i++) {
        sides[i] = target[i] == a->ignore_index ? 0 : target[i] == 0 ? 1 : -1;
    }
}

/* The losses, as logarithms of the group; with grad, the tile becomes the gradients. */
CE_INLINE void F(pair_losses)(T *tile, const T sides[LANES], const double scale[LANES], int grad, struct F(group) * g)
{
    V side = v_load(sides), zero = v_set1(0), a = v_load(tile), b = v_load(tile + LANES);
    V at_target = v_select(v_lt(zero, side), a, b), other = v_select(v_lt(zero, side), b, a);
    struct F(gap) gap = F(gap_between)(a, b);
    vd t[WIDE_PARTS], o[WIDE_PARTS], slope[WIDE_PARTS];
    F(widen)(at_target, t);
    F(widen)(other, o);
    v_store(g->logit, at_target);
    v_store(g->base, v_max(a, b));
    for (int k = 0; k < WIDE_PARTS; k++) {
        vdm below = vd_lt(t[k], o[k]);
        W soft = w_log1p_unit(gap.tail[k]);
        struct vd2 loss = w_split(w_select(below, w_add(gap.size[k], soft), soft));
        vd_store(g->log_hi + 8 * k, loss.hi);
        vd_store(g->log_lo + 8 * k, loss.lo);
        if (grad) {
            W p = F(larger_probability)(gap.tail[k]);
            p = w_select(below, p, w_mul(gap.tail[k], p));
            slope[k] = w_round(w_mul(w_from(vd_load(scale + 8 * k)), p));
        }
    }
    if (grad) {
        V up = v_select(v_eq(side, zero), zero, F(narrow)(slope));
        v_store(tile, v_select(v_lt(zero, side), v_neg(up), up));
        v_store(tile + LANES, v_select(v_lt(side, zero), v_neg(up), up));
    }
}

CE_STATIC void F(two_cross_entropy)(const struct ce_row_loss *a)
{
    struct F(batch) b;
    T sides[TILES][LANES];
    double scale[TILES][GROUP_MAX];
    for (int64_t first = 0; first < a->n_rows; first += b.n * LANES) {
        F(batch_load)(&b, &a->input, first, a->n_rows, 2, a->distance, a->grad.data != NULL, a->scratch);
        F(ask_for_rows)(&a->grad, first, b.n * LANES, a->n_rows, 2, a->distance != CE_NEAR);
        for (int k = 0; k < b.n; k++) {
            F(pair_sides)(a, first + k * LANES, b.g[k].n, sides[k]);
            if (a->grad.data) {
                F(index_scales)(a, first + k * LANES, b.g[k].n, scale[k]);
            }
        }
        for (int k = 0; k < b.n; k++) {
            if (a->grad.data) {
                F(pair_losses)(b.tile[k], sides[k], scale[k], 1, &b.g[k]);
            } else {
                F(pair_losses)(b.tile[k], sides[k], NULL, 0, &b.g[k]);
            }
        }
        for (int k = 0; k < b.n; k++) {
            F(tile_losses)(a, first + k * LANES, &b.g[k]);
        }
        if (a->grad.data) {
            F(tiles_store)(&a->grad, first, a->n_rows, b.n, 2, b.tile, AS_IT_IS);
        }
    }
}
