/* Cross-entropy of rows of logits from probabilities, or from class indices with smoothing.
 *
 * a_c = w_c ((1 - s) q_c + s / C), A = sum a_c, m the maximum, R the sum of the other exponentials:
 *     loss = sum a_c (m - x_c) + A log(1 + R/e_m)           every term >= 0 for a >= 0
 *     d/dx_j = A p_j - a_j,   d/dx_m = sum_{c != m} a_c - A R / (R + e_m)
 *     d2/dx_j2 = A p_j (1 - p_j),  1 - p_m = R / (R + e_m)
 * A p_j - a_j loses digits where the two agree, so it is taken from exponentials wider than T. */

struct F(soft_target) {
    const T *prob; /* NULL: one-hot at t */
    ptrdiff_t t, n;
    double smoothing;
    W keep, spread;             /* 1 - s, s / C */
    const double *class_weight; /* NULL: ones */
};

CE_INLINE struct F(soft_target) F(soft_target_of)(const struct ce_row_loss *a, int64_t r, const T *prob)
{
    double s = a->label_smoothing;
    struct F(soft_target) target = {
        prob,           a->target ? (ptrdiff_t)a->target[r] : -1, (ptrdiff_t)a->n_classes, s, w_set1(1), w_set1(0),
        a->class_weight};
    if (s != 0) {
        target.keep = w_sub(w_set1(1), w_set1(s));
        target.spread = w_div(w_set1(s), w_set1((double)a->n_classes));
    }
    return target;
}

/* a_j..a_{j+7}; 0 past the last class. */
CE_INLINE W F(coefficients)(const struct F(soft_target) * s, ptrdiff_t j)
{
    W a = w_from(s->prob ? F(load_wide)(s->prob + j, s->n - j, 0) : vd_set_lane(vd_set1(0), s->t - j, 1));
    if (s->smoothing != 0) {
        vdm past = vd_eq(F(valid)(s->n - j), vd_set1(0));
        a = w_add(w_mul(a, s->keep), w_select(past, w_set1(0), s->spread));
    }
    return s->class_weight ? w_mul(a, w_from(vd_load_part(s->class_weight + j, s->n - j, 0))) : a;
}

/* Sums over the classes of one row, each as high and low part. */
struct F(soft_sums) {
    double terms[2], all[2], below[2]; /* a_c (m - x_c); a_c; a_c for c != argmax */
};

CE_STATIC struct F(soft_sums) F(soft_sum)(const T *x, const struct F(soft_target) * s, double max, ptrdiff_t argmax)
{
    struct vd2 zero = {vd_set1(0), vd_set1(0)}, terms = zero, all = zero, below = zero;
    double unit = fabs(max) > 0x1p1000 ? 0.25 : 1; /* m - x must not overflow */
    for (ptrdiff_t j = 0; j < s->n; j += 8) {
        W a = F(coefficients)(s, j);
        W down = w_sub(w_set1(max * unit), w_from(vd_mul(F(load_wide)(x + j, s->n - j, 0), vd_set1(unit))));
        vdm none = vd_eq(w_round(a), vd_set1(0)); /* 0 log 0 = 0 */
        w_accumulate(&terms, w_select(none, w_set1(0), w_mul(a, down)));
        w_accumulate(&all, a);
        w_accumulate(&below, w_set_lane(a, argmax - j, 0));
    }
    struct F(soft_sums) sums;
    F(total_of)(terms, sums.terms);
    F(total_of)(all, sums.all);
    F(total_of)(below, sums.below);
    sums.terms[0] /= unit;
    sums.terms[1] /= unit;
    return sums;
}

CE_INLINE double F(soft_loss)(const struct F(soft_sums) * sums, double log_hi, double log_lo)
{
    double loss[2] = {sums->terms[0], sums->terms[1]}, tail = F(times)(log_hi, log_lo, sums->all[0]);
    if (!(fabs(loss[0]) < INFINITY && fabs(tail) < INFINITY)) {
        return loss[0] + tail;
    }
    ce_add_pair(loss, tail, sums->all[1] * log_hi);
    return loss[0] + loss[1];
}

/* Gradient (and Hessian) of one row. grad may be x itself: each element is read before it is written. */
CE_STATIC void F(write_soft)(const struct ce_row_loss *a, int64_t r, const T *x, const struct F(group) * g, int i,
                             const struct F(soft_target) * s, const struct F(soft_sums) * sums, ptrdiff_t argmax,
                             T *grad, T *hess)
{
    W f = w_set1(F(row_scale)(a, r)), all = w_pair(sums->all[0], sums->all[1]);
    for (ptrdiff_t j = 0; j < s->n; j += 8) {
        W p = F(wide_probabilities)(x, s->n, j, g, i), weighted = w_mul(all, p);
        F(store_wide)(grad + j, w_round(w_mul(f, w_sub(weighted, F(coefficients)(s, j)))), s->n - j);
        if (hess) {
            F(store_wide)(hess + j, w_round(w_mul(f, w_mul(weighted, w_sub(w_set1(1), p)))), s->n - j);
        }
    }
    if (argmax >= s->n) {
        return; /* a row with NaN */
    }
    double others_hi[8], others_lo[8];
    struct vd2 others = F(group_others)(g, i & ~7);
    vd_store(others_hi, others.hi);
    vd_store(others_lo, others.lo);
    W rest = w_pair(others_hi[i & 7], others_lo[i & 7]), missing = w_mul(all, rest);
    W slope = w_sub(w_pair(sums->below[0], sums->below[1]), missing), bend = w_mul(missing, w_sub(w_set1(1), rest));
    grad[argmax] = (T)F(first_lane)(w_round(w_mul(f, slope)));
    if (hess) {
        hess[argmax] = (T)F(first_lane)(w_round(w_mul(f, bend)));
    }
}

CE_STATIC void F(cross_entropy_soft)(const struct ce_row_loss *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    int step = ce_group_rows(n), wants_grad = a->grad.data != NULL;
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        double max[GROUP_MAX];
        ptrdiff_t argmax[GROUP_MAX];
        F(group_clear)(&g, a->n_rows - first < step ? (int)(a->n_rows - first) : step);
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n)),
                       prob = {NULL, 0};
        if (a->prob.data) {
            prob = F(pack_rows)(&a->prob, first, g.n, n, F(scratch)(a->scratch, SCRATCH_PROB, n));
        }
        F(sum_below_max)(&g, x, n, max, argmax);
        if (wants_grad) {
            F(group_inverses)(&g);
        }
        struct F(rows) grad = F(rows_at)(&a->grad, first, n, F(scratch)(a->scratch, SCRATCH_INPUT, n));
        struct F(rows) hess = F(rows_at)(&a->hess, first, n, F(scratch)(a->scratch, SCRATCH_HESS, n));
        for (int i = 0; i < g.n; i++) {
            int64_t r = first + i;
            T *grad_row = wants_grad ? grad.data + i * grad.stride : NULL,
              *hess_row = a->hess.data ? hess.data + i * hess.stride : NULL;
            if (F(is_ignored)(a, r)) {
                a->loss[r] = 0;
                if (grad_row) {
                    F(zero_row)(grad_row, n);
                }
                if (hess_row) {
                    F(zero_row)(hess_row, n);
                }
                continue;
            }
            const T *row = x.data + i * x.stride;
            struct F(soft_target) s = F(soft_target_of)(a, r, a->prob.data ? prob.data + i * prob.stride : NULL);
            struct F(soft_sums) sums = F(soft_sum)(row, &s, max[i], argmax[i]);
            a->loss[r] = F(soft_loss)(&sums, g.log_hi[i], g.log_lo[i]);
            if (grad_row) {
                F(write_soft)(a, r, row, &g, i, &s, &sums, argmax[i], grad_row, hess_row);
            }
        }
        if (wants_grad) {
            F(unpack_rows)(&a->grad, first, g.n, n, grad);
        }
        if (a->hess.data) {
            F(unpack_rows)(&a->hess, first, g.n, n, hess);
        }
    }
}
