/* The kernels of the losses that treat every element alone. */

/* Plain sums need no logarithm per element: the sum of logarithms is the logarithm of a product. Weights would be
 * exponents, so there must be none. */
CE_INLINE int F(is_plain_sum)(const struct ce_element_loss *a)
{
    return a->sum && !a->weight && !a->pos_weight && !a->grad_output && !a->hess && a->label_smoothing == 0;
}

/* Nothing is written where a number is outside. */
CE_STATIC void F(binary_cross_entropy)(const struct ce_element_loss *a)
{
    if (F(is_plain_sum)(a) && !a->grad && a->log_floor <= -LN2_HI) { /* factors above 1/2 are not held to the floor */
        F(bce_sum)(a);
        return;
    }
    int outside = a->outside_unit && F(outside_unit)(a);
    if (a->outside_unit) {
        *a->outside_unit = outside;
    }
    if (!outside && (a->loss || a->sum)) {
        F(run_elements)(a, F(bce_at));
    }
}

CE_STATIC void F(binary_cross_entropy_with_logits)(const struct ce_element_loss *a)
{
    if (F(is_plain_sum)(a)) {
        F(bce_with_logits_sum)(a);
    } else {
        F(run_elements)(a, F(bce_with_logits_at));
    }
}

CE_STATIC void F(kl_div)(const struct ce_element_loss *a) { F(run_elements)(a, F(kl_div_at)); }
CE_STATIC void F(mse_loss)(const struct ce_element_loss *a) { F(run_elements)(a, F(mse_at)); }
