/* What the row losses share: how a row is weighted, ignored and scaled. */

/* (hi + lo) * times, rounded once; 0 times infinity is 0 (a class of weight 0 costs nothing). */
CE_INLINE vd F(times_of)(vd hi, vd lo, vd times)
{
    struct vd2 product = vd_two_product(hi, times);
    vd rest = vd_madd(lo, times, product.lo);
    vd value = vd_select(vd_lt(vd_abs(product.hi), vd_set1(INFINITY)), vd_add(product.hi, rest), product.hi);
    vd nothing = vd_select(vd_eq(vd_abs(hi), vd_set1(INFINITY)), vd_set1(0), value);
    return vd_select(vd_eq(times, vd_set1(0)), nothing, value);
}

CE_STATIC double F(times)(double hi, double lo, double times)
{
    return F(first_lane)(F(times_of)(vd_set1(hi), vd_set1(lo), vd_set1(times)));
}

CE_INLINE int F(is_ignored)(const struct ce_row_loss *a, int64_t r)
{
    return a->target && a->target[r] == a->ignore_index;
}

CE_INLINE double F(row_scale)(const struct ce_row_loss *a, int64_t r)
{
    return a->grad_output ? a->grad_scale * a->grad_output[r] : a->grad_scale;
}

CE_STATIC void F(zero_row)(T *out, ptrdiff_t n)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        out[j] = 0;
    }
}

/* p_j..p_{j+7} of one row, wider than T. */
CE_INLINE W F(wide_probabilities)(const T *x, ptrdiff_t n, ptrdiff_t j, const struct F(group) * g, int i)
{
    struct exp_shift_f64 shift = exp_shift_by_f64(g->shift[i]);
    vd v = vd_sub(F(load_wide)(x + j, n - j, -INFINITY), vd_set1(g->base[i]));
    return w_mul(w_exp_shifted(v, &shift), w_pair(g->inv_hi[i], g->inv_lo[i]));
}
