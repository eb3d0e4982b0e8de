/* Cross-entropy of rows of logits from class indices, with gradient and Hessian in the same pass.
 *
 * Target t of weight w, R the sum of the other exponentials:
 *     loss = w log(1 + R/e_t)
 *     d/dx_j = w p_j,              d/dx_t = -w R / (R + e_t)         (never p_t - 1)
 *     d2/dx_j2 = w p_j (1 - p_j),  1 - p_j = the sum of the others where p_j > 1/2 */

/* w times the loss of row i. A gap between two logits that no double holds may still be one times w. */
CE_STATIC double F(weighted_loss)(const struct F(group) * g, int i, double w)
{
    if (w == 1) {
        return g->log_hi[i] + g->log_lo[i];
    }
    if (g->log_hi[i] == INFINITY && g->logit[i] > -INFINITY) {
        return w * g->base[i] - w * g->logit[i];
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

/* The factor of each row's gradient; 0 where ignored, and in lanes without a row. */
CE_STATIC void F(index_scales)(const struct ce_row_loss *a, int64_t first, const struct F(group) * g,
                               double scale[GROUP_MAX])
{
    for (int i = g->n; i < GROUP_MAX; i++) {
        scale[i] = 0;
    }
    for (int i = 0; i < g->n; i++) {
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
        struct vd2 others = F(group_others)(g, i), product = vd_two_product(others.hi, f);
        vdm finite = vd_lt(vd_abs(product.hi), vd_set1(INFINITY));
        vd rest = vd_select(finite, vd_madd(others.lo, f, product.lo), vd_set1(0));
        vd_store(grads + i, vd_neg(vd_add(product.hi, rest)));
    }
}

/* 1 - p_j as the sum of the other probabilities. */
CE_STATIC W F(probability_of_others)(const T *x, ptrdiff_t n, ptrdiff_t j, const struct F(group) * g, int i)
{
    double total[2];
    struct vd2 sum = {vd_set1(0), vd_set1(0)};
    for (ptrdiff_t c = 0; c < n; c += 8) {
        w_accumulate(&sum, w_set_lane(F(wide_probabilities)(x, n, c, g, i), j - c, 0));
    }
    F(total_of)(sum, total);
    return w_pair(total[0], total[1]);
}

/* The diagonal of the Hessian. 1 - p is formed by subtraction only where p <= 1/2; at most one class has more. */
CE_STATIC void F(write_hessian)(T *hess, const T *x, ptrdiff_t n, const struct F(group) * g, int i, double scale)
{
    W f = w_set1(scale), one = w_set1(1);
    ptrdiff_t large = -1;
    for (ptrdiff_t j = 0; j < n; j += 8) {
        W p = F(wide_probabilities)(x, n, j, g, i);
        if (vd_any(vd_lt(vd_set1(0.5), w_round(p)))) {
            large = j;
        }
        F(store_wide)(hess + j, w_round(w_mul(f, w_mul(p, w_sub(one, p)))), n - j);
    }
    if (large < 0) {
        return;
    }
    for (ptrdiff_t j = large; j < n && j < large + 8; j++) {
        if (x[j] > x[large]) {
            large = j;
        }
    }
    W p = F(wide_probabilities)(x + large, 1, 0, g, i), others = F(probability_of_others)(x, n, large, g, i);
    hess[large] = (T)F(first_lane)(w_round(w_mul(f, w_mul(p, others))));
}

/* The target is left out of the sum. */
CE_STATIC void F(cross_entropy_index)(const struct ce_row_loss *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    struct F(shift_guess) guess = {0, 1};
    struct F(writer) w = F(writer_to)(&a->grad, n, a->stream);
    int step = a->grad.data || a->hess.data || !F(is_contiguous)(&a->input, n) ? ce_group_rows(n) : GROUP_MAX;
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        struct F(factors) f;
        double scale[GROUP_MAX], at_target[GROUP_MAX];
        F(group_clear)(&g, a->n_rows - first < step ? (int)(a->n_rows - first) : step);
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        struct F(rows) grad = F(rows_at)(&a->grad, first, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        for (int i = 0; i < g.n; i++) {
            const T *row = x.data + i * x.stride;
            struct F(exps) exps = {NULL, NULL};
            if (F(is_ignored)(a, first + i)) {
                continue;
            }
            if (a->grad.data || a->hess.data) {
                F(prepare_row)(&w, grad.data + i * grad.stride);
                exps = F(exps_of)(a->scratch, n, i);
            }
            ptrdiff_t t = (ptrdiff_t)a->target[first + i];
            struct F(row_sum) sum = F(sum_row)(row, n, t, exps, row + ROWS_AHEAD * x.stride, &guess);
            F(group_set)(&g, i, &sum, row[t]);
        }
        F(group_logs)(&g);
        F(group_losses)(a, first, &g);
        if (!a->grad.data) {
            continue;
        }
        struct F(rows) hess = F(rows_at)(&a->hess, first, n, F(scratch)(a->scratch, SCRATCH_HESS, n));
        F(group_inverses)(&g);
        F(index_scales)(a, first, &g, scale);
        F(target_grads)(&g, scale, at_target);
        F(group_factors)(&g, scale, &f);
        for (int i = 0; i < g.n; i++) {
            T *out = grad.data + i * grad.stride, *hess_out = a->hess.data ? hess.data + i * hess.stride : NULL;
            if (F(is_ignored)(a, first + i)) {
                F(write_zeros)(&w, out, n);
                if (hess_out) {
                    F(zero_row)(hess_out, n);
                }
                continue;
            }
            if (hess_out) {
                F(write_hessian)(hess_out, x.data + i * x.stride, n, &g, i, scale[i]);
            }
            struct F(special) at = {(ptrdiff_t)a->target[first + i], (T)at_target[i]};
            F(write_probabilities)(&w, out, F(exps_of)(a->scratch, n, i), n, &g, i, &f, scale[i], at);
        }
        F(unpack_rows)(&a->grad, first, g.n, n, grad);
        if (a->hess.data) {
            F(unpack_rows)(&a->hess, first, g.n, n, hess);
        }
    }
    F(finish_writing)(&w);
}
