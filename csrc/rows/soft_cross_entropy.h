/* Cross-entropy of rows of logits from probabilities, or from class indices with smoothing or with the Hessian.
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
CE_INLINE W F(coefficients)(const struct F(soft_target) * s, ptrdiff_t j, ptrdiff_t left)
{
    W a = w_from(s->prob ? F(load_wide)(s->prob + j, left, 0) : vd_set_lane(vd_set1(0), s->t - j, 1));
    if (s->smoothing != 0) {
        vdm past = vd_eq(F(valid)(left), vd_set1(0));
        a = w_add(w_mul(a, s->keep), left < 8 ? w_select(past, w_set1(0), s->spread) : s->spread);
    }
    return s->class_weight ? w_mul(a, w_from(vd_load_part(s->class_weight + j, left, 0))) : a;
}

/* Sums over the classes, of one row in the first lane, or of eight rows. */
struct F(soft_sums) {
    W terms, all, below; /* a_c (m - x_c); a_c; a_c for c != argmax */
};

/* m - x must not overflow: a power of two for both. */
CE_INLINE vd F(unit_for)(vd max)
{
#if WIDE_PARTS == 2
    (void)max;
    return vd_set1(1);
#else
    return vd_select(vd_lt(vd_set1(0x1p1000), vd_abs(max)), vd_set1(0.25), vd_set1(1));
#endif
}

/* Class indices without class weights need the sum of m - x_c alone. gap: m - x_t; hit: t is the maximum. */
CE_INLINE struct F(soft_sums) F(smoothed_sums)(const struct F(soft_target) * s, W gap, W gaps, vdm hit)
{
    vdm none = vd_eq(w_round(s->keep), vd_set1(0)); /* 0 log 0 = 0 */
    W n = w_set1((double)s->n), others = w_set1((double)(s->n - 1)), zero = w_set1(0);
    struct F(soft_sums) sums = {w_select(none, zero, w_mul(s->keep, gap)), s->keep, w_select(hit, zero, s->keep)};
    if (s->smoothing != 0) {
        sums.terms = w_add(sums.terms, w_mul(s->spread, gaps));
        sums.all = w_add(sums.all, w_mul(s->spread, n));
        sums.below = w_add(sums.below, w_mul(s->spread, others));
    }
    return sums;
}

CE_STATIC struct F(soft_sums) F(smoothed_sum)(const T *x, const struct F(soft_target) * s, double max, ptrdiff_t argmax)
{
    struct vd2 gaps = {vd_set1(0), vd_set1(0)};
    vd unit = F(unit_for)(vd_set1(max));
    W top = w_from(vd_mul(vd_set1(max), unit));
    ptrdiff_t j = 0;
    for (; s->smoothing != 0 && j + 8 <= s->n; j += 8) {
        w_accumulate(&gaps, w_sub(top, w_from(vd_mul(F(load_wide)(x + j, 8, 0), unit))));
    }
    if (s->smoothing != 0 && j < s->n) {
        w_accumulate(&gaps, w_sub(top, w_from(vd_mul(F(load_wide)(x + j, s->n - j, max), unit))));
    }
    W gap = w_sub(top, w_from(vd_mul(vd_set1(x[s->t]), unit)));
    struct F(soft_sums) sums =
        F(smoothed_sums)(s, gap, F(sum_of_lanes)(gaps), vd_eq(vd_set1((double)s->t), vd_set1((double)argmax)));
    sums.terms = w_scale(sums.terms, vd_div(vd_set1(1), unit));
    return sums;
}

struct F(soft_lanes) {
    struct vd2 terms, all, below;
};

/* Classes j..j+7 of a row, of which `left` are left. */
CE_INLINE void F(add_soft)(struct F(soft_lanes) * sums, const T *x, const struct F(soft_target) * s, W top, vd unit,
                           ptrdiff_t j, ptrdiff_t left, ptrdiff_t argmax)
{
    W a = F(coefficients)(s, j, left);
    W down = w_sub(top, w_from(vd_mul(F(load_wide)(x + j, left, 0), unit)));
    vdm none = vd_eq(w_round(a), vd_set1(0)); /* 0 log 0 = 0 */
    w_accumulate(&sums->terms, w_select(none, w_set1(0), w_mul(a, down)));
    w_accumulate(&sums->all, a);
    w_accumulate(&sums->below, w_set_lane(a, argmax - j, 0));
}

CE_STATIC struct F(soft_sums) F(soft_sum)(const T *x, const struct F(soft_target) * s, double max, ptrdiff_t argmax)
{
    if (!s->prob && !s->class_weight) {
        return F(smoothed_sum)(x, s, max, argmax);
    }
    struct vd2 zero = {vd_set1(0), vd_set1(0)};
    struct F(soft_lanes) lanes = {zero, zero, zero};
    vd unit = F(unit_for)(vd_set1(max));
    W top = w_from(vd_mul(vd_set1(max), unit));
    ptrdiff_t j = 0;
    for (; j + 8 <= s->n; j += 8) {
        F(add_soft)(&lanes, x, s, top, unit, j, 8, argmax);
    }
    if (j < s->n) {
        F(add_soft)(&lanes, x, s, top, unit, j, s->n - j, argmax);
    }
    return (struct F(soft_sums)){w_scale(F(sum_of_lanes)(lanes.terms), vd_div(vd_set1(1), unit)),
                                 F(sum_of_lanes)(lanes.all), F(sum_of_lanes)(lanes.below)};
}

/* The losses: the terms and A log(1 + R / e). */
CE_INLINE vd F(soft_losses)(const struct F(soft_sums) * sums, vd log_hi, vd log_lo)
{
    struct vd2 terms = w_split(sums->terms), all = w_split(sums->all);
    vd tail = F(times_of)(log_hi, log_lo, all.hi);
    struct vd2 loss = vd_two_sum(terms.hi, tail);
    vd lost = vd_add(terms.lo, vd_add(loss.lo, vd_mul(all.lo, log_hi)));
    return vd_select(vd_lt(vd_abs(loss.hi), vd_set1(INFINITY)), vd_add(loss.hi, lost), loss.hi);
}

/* What turns e^(x - base) and a_c into gradient and Hessian; of one row, or of eight. */
struct F(soft_slopes) {
    W f, rise, inverse;    /* rise: f A / (R + e), inverse: 1 / (R + e) */
    W at_max, bend_at_max; /* gradient and Hessian at the maximum */
};

CE_INLINE struct F(soft_slopes) F(soft_slopes_of)(const struct F(soft_sums) * sums, W f, W inverse, W rest)
{
    W missing = w_mul(sums->all, rest);
    return (struct F(soft_slopes)){f, w_mul(f, w_mul(sums->all, inverse)), inverse,
                                   w_mul(f, w_sub(sums->below, missing)),
                                   w_mul(f, w_mul(missing, w_sub(w_set1(1), rest)))};
}

CE_INLINE vd F(soft_grad)(const struct F(soft_slopes) * s, W e, W a)
{
    return w_round(w_sub(w_mul(e, s->rise), w_mul(s->f, a)));
}

CE_INLINE vd F(soft_hess)(const struct F(soft_slopes) * s, W e)
{
    return w_round(w_mul(w_mul(e, s->rise), w_sub(w_set1(1), w_mul(e, s->inverse))));
}

/* What the gradient of one row is written from. */
struct F(soft_row) {
    const T *x;
    struct F(soft_target) target;
    struct F(soft_slopes) slopes;
    struct exp_shift_f64 shift;
    vd base;
    T *grad, *hess; /* NULL: not wanted. grad may be x: elements are read before they are written */
};

/* n vectors of eight classes (a constant) from j on, of which `left` are left. */
CE_INLINE void F(write_soft_vectors)(int n, const struct F(soft_row) * row, ptrdiff_t j, ptrdiff_t left)
{
    vd x[CE_INTERLEAVE];
    W e[CE_INTERLEAVE];
    for (int i = 0; i < n; i++) {
        x[i] = vd_sub(F(load_wide)(row->x + j + 8 * i, left, -INFINITY), row->base);
    }
    w_exp_shifted_of(n, x, &row->shift, e);
    for (int i = 0; i < n; i++) {
        vd slope = F(soft_grad)(&row->slopes, e[i], F(coefficients)(&row->target, j + 8 * i, left));
        F(store_wide)(row->grad + j + 8 * i, slope, left);
        if (row->hess) {
            F(store_wide)(row->hess + j + 8 * i, F(soft_hess)(&row->slopes, e[i]), left);
        }
    }
}

/* Gradient (and Hessian) of one row. */
CE_STATIC void F(write_soft)(const struct F(soft_row) * row, ptrdiff_t argmax)
{
    ptrdiff_t j = 0, n = row->target.n;
    for (; j + 8 * CE_INTERLEAVE <= n; j += 8 * CE_INTERLEAVE) {
        F(write_soft_vectors)(CE_INTERLEAVE, row, j, 8);
    }
    for (; j < n; j += 8) {
        F(write_soft_vectors)(1, row, j, n - j);
    }
    if (argmax >= n) {
        return; /* a row with NaN */
    }
    row->grad[argmax] = (T)F(first_lane)(w_round(row->slopes.at_max));
    if (row->hess) {
        row->hess[argmax] = (T)F(first_lane)(w_round(row->slopes.bend_at_max));
    }
}

/* The slopes of row i of a group. */
CE_STATIC struct F(soft_slopes)
    F(row_slopes)(const struct F(soft_sums) * sums, const struct F(group) * g, int i, double scale)
{
    double others_hi[8], others_lo[8];
    struct vd2 others = F(group_others)(g, i & ~7);
    vd_store(others_hi, others.hi);
    vd_store(others_lo, others.lo);
    return F(soft_slopes_of)(sums, w_set1(scale), w_pair(g->inv_hi[i], g->inv_lo[i]),
                             w_pair(others_hi[i & 7], others_lo[i & 7]));
}

CE_STATIC void F(rows_cross_entropy_soft)(const struct ce_row_loss *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    int step = ce_group_rows(n), wants_grad = a->grad.data != NULL;
    struct ce_guess own, *guess = ce_guess_of(a->guess, &own, 0);
    for (int64_t first = 0; first < a->n_rows; first += step) {
        struct F(group) g;
        double max[GROUP_MAX];
        ptrdiff_t argmax[GROUP_MAX];
        F(group_clear)(&g, ce_rows_left(first, a->n_rows, step));
        struct F(rows) x = F(pack_rows)(&a->input, first, g.n, n, F(scratch)(a->scratch, SCRATCH_INPUT, n)),
                       prob = {NULL, 0};
        if (a->prob.data) {
            prob = F(pack_rows)(&a->prob, first, g.n, n, F(scratch)(a->scratch, SCRATCH_PROB, n));
        }
        F(sum_below_max)(&g, x, n, max, argmax, NULL, NULL, guess);
        if (wants_grad) {
            F(group_inverses)(&g, 1);
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
            vd loss = F(soft_losses)(&sums, vd_set1(g.log_hi[i]), vd_set1(g.log_lo[i]));
            a->loss[r] = F(first_lane)(loss);
            if (grad_row) {
                struct F(soft_row) write = {row,
                                            s,
                                            F(row_slopes)(&sums, &g, i, F(row_scale)(a, r)),
                                            exp_shift_by_f64(g.shift[i]),
                                            vd_set1(g.base[i]),
                                            grad_row,
                                            hess_row};
                F(write_soft)(&write, argmax[i]);
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
