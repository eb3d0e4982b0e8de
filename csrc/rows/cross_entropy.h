/* Cross-entropy of rows of logits from class indices, with the gradient in the same pass.
 *
 * Target t of weight w, R the sum of the other exponentials:
 *     loss = w log(1 + R/e_t)
 *     d/dx_j = w p_j,  d/dx_t = -w R / (R + e_t)         (never p_t - 1)
 *
 * With the Hessian: soft_cross_entropy.h. */

/* w times the loss of row i. A gap between two logits that no double holds may still be one times w. */
CE_STATIC double F(weighted_loss)(const struct F(group) * g, int i, double w)
{
    if (w == 1) {
        return g->log_hi[i] + g->log_lo[i];
    }
    if (g->log_hi[i] == INFINITY && g->logit[i] > -INFINITY) {
        return w * (double)g->base[i] - w * (double)g->logit[i];
    }
    return F(times)(g->log_hi[i], g->log_lo[i], w);
}

/* The weighted losses of a group. Ignored rows get 0. */
CE_STATIC void F(group_losses)(const struct ce_row_loss *a, int64_t first, const struct F(group) * g)
{
    for (int i = 0; i < g->n; i++) {
        int64_t r = first + i;
        int ignored = F(is_ignored)(a, r);
        double w = a->class_weight && !ignored ? a->class_weight[a->target[r]] : 1;
        a->loss[r] = ignored ? 0 : F(weighted_loss)(g, i, w);
    }
}

/* The factor of each row's gradient; 0 where ignored, and in lanes without a row. To be called well before vectors of them are
 * read: a vector of what was just stored number by number waits for all that was stored before, and computed. */
CE_STATIC void F(index_scales)(const struct ce_row_loss *a, int64_t first, int n, double scale[GROUP_MAX])
{
    for (int i = n; i < GROUP_MAX; i++) {
        scale[i] = 0;
    }
    for (int i = 0; i < n; i++) {
        scale[i] = F(is_ignored)(a, first + i) ? 0 : a->grad_scale;
    }
    for (int i = 0; i < n && (a->grad_output || a->class_weight); i++) {
        int64_t r = first + i;
        scale[i] = F(is_ignored)(a, r) ? 0 : F(row_scale)(a, r);
        if (a->class_weight && scale[i] != 0) {
            scale[i] *= a->class_weight[a->target[r]];
        }
    }
}

/* The gradients at the targets, -scale R / (R + e), of the whole group. */
CE_STATIC void F(target_grads)(const struct F(group) * g, const double scale[GROUP_MAX], double grads[GROUP_MAX])
{
    for (int i = 0; i < g->n; i += 8) {
        vd f = vd_load(scale + i);
        struct vd2 others = F(group_others)(g, i), product = F(wide_product)(others.hi, f);
        vdm finite = vd_lt(vd_abs(product.hi), vd_set1(INFINITY));
        vd rest = vd_select(finite, vd_madd(others.lo, f, product.lo), vd_set1(0));
        vd_store(grads + i, vd_neg(vd_add(product.hi, rest)));
    }
}

/* The target is left out of the sum. */
CE_STATIC void F(cross_entropy_index)(const struct ce_row_loss *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    struct ce_guess own, *guess = ce_guess_of(a->guess, &own, 1);
    struct F(writer) w = F(writer_to)(&a->grad, n, a->distance);
    int in_scratch = F(are_packed)(&a->input, &a->grad, n) || a->input.data == a->grad.data;
    int step = in_scratch || a->grad.data ? F(group_rows)(n, a->distance, in_scratch) : GROUP_MAX;
    ptrdiff_t ahead = ce_rows_ahead(n);
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        struct F(factors) f;
        struct F(row) rows[GROUP_MAX];
        double scale[GROUP_MAX], at_target[GROUP_MAX];
        F(group_clear)(&g, ce_rows_left(first, a->n_rows, step));
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        struct F(rows) grad = F(rows_at)(&a->grad, first, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        if (a->grad.data) {
            F(index_scales)(a, first, g.n, scale);
        }
        int n_read = 0, number[GROUP_MAX];
        for (int i = 0; i < g.n; i++) {
            if (F(is_ignored)(a, first + i)) {
                continue;
            }
            struct F(row) *row = &rows[n_read];
            number[n_read++] = i;
            *row = (struct F(row)){.x = x.data + i * x.stride, .n = n, .excluded = (ptrdiff_t)a->target[first + i]};
            row->ahead.row = row->x + ahead * x.stride;
            if (a->grad.data) {
                T *to = grad.data + i * grad.stride;
                F(prepare_row)(&w, to);
                row->ahead = F(ahead_of)(&w, row->ahead.row, &grad, i);
                row->exps = F(exps_for)(&w, row->x, to, a->scratch, n, i);
            }
        }
        F(sum_rows)(rows, n_read, n, guess);
        for (int k = 0; k < n_read; k++) {
            F(group_set)(&g, number[k], &rows[k].sum, rows[k].x[rows[k].excluded]);
        }
        F(group_logs)(&g);
        F(group_losses)(a, first, &g);
        if (!a->grad.data) {
            continue;
        }
        F(group_inverses)(&g, 1);
        F(target_grads)(&g, scale, at_target);
        F(group_factors)(&g, scale, &f);
        for (int i = 0; i < g.n; i++) {
            T *out = grad.data + i * grad.stride;
            if (F(is_ignored)(a, first + i)) {
                F(write_zeros)(&w, out, n);
                continue;
            }
            struct F(special) at = {(ptrdiff_t)a->target[first + i], (T)at_target[i]};
            struct F(exps) exps = F(exps_for)(&w, x.data + i * x.stride, out, a->scratch, n, i);
            F(write_probabilities)(&w, out, exps, n, &g, i, &f, scale[i], at);
        }
        F(unpack_rows)(&a->grad, first, g.n, n, grad);
    }
    F(finish_writing)(&w);
}
