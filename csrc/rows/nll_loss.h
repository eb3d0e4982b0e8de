/* Negative log-likelihood of log-probabilities: loss = -w x_t; the gradient is -w at the target and 0 elsewhere. */

/* Next to nothing is done for a row, so that many reads, which are rarely from a cache, are under way at a time. (Asking for
 * rows ahead of their turn was measured: it takes longer.) */
CE_INLINE void F(nll_rows)(const struct ce_row_loss *a, ptrdiff_t class_stride)
{
    const T *x = (const T *)a->input.data;
    const int64_t *target = a->target, ignore_index = a->ignore_index, n = a->n_rows;
    double *loss = a->loss;
    for (int64_t r = 0; r < n; r++) {
        loss[r] = target[r] == ignore_index ? 0 : -(double)x[target[r] * class_stride];
        x += a->input.row_stride;
    }
}

/* Weight 0 makes an infinite loss 0. Products in place of branches: an unpredictable one a row would cost more than the rest. */
CE_STATIC void F(nll_weigh)(const struct ce_row_loss *a)
{
    for (int64_t r = 0; r < a->n_rows; r++) {
        int64_t t = a->target[r] == a->ignore_index ? 0 : a->target[r];
        double w = a->class_weight[t], loss = a->loss[r];
        a->loss[r] = w == 0 && fabs(loss) == INFINITY ? 0 : w * loss;
    }
}

CE_STATIC void F(nll_grad)(const struct ce_row_loss *a)
{
    for (int64_t r = 0; r < a->n_rows; r++) {
        T *grad = (T *)a->grad.data + r * a->grad.row_stride;
        int64_t t = a->target[r];
        for (int64_t c = 0; c < a->n_classes; c++) {
            grad[c * a->grad.class_stride] = 0;
        }
        if (!F(is_ignored)(a, r)) {
            grad[t * a->grad.class_stride] = (T)(-(a->class_weight ? a->class_weight[t] : 1) * F(row_scale)(a, r));
        }
    }
}

CE_STATIC void F(nll_loss)(const struct ce_row_loss *a)
{
    if (a->input.class_stride == 1) {
        F(nll_rows)(a, 1);
    } else {
        F(nll_rows)(a, a->input.class_stride);
    }
    if (a->class_weight) {
        F(nll_weigh)(a);
    }
    if (a->grad.data) { /* which may be the input */
        F(nll_grad)(a);
    }
}
