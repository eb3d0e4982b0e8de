/* Negative log-likelihood of log-probabilities: loss = -w x_t; the gradient is -w at the target and 0 elsewhere. */
CE_STATIC void F(nll_loss)(const struct ce_row_loss *a)
{
    const T *x = (const T *)a->input.data;
    for (int64_t r = 0; r < a->n_rows; r++) {
        int ignored = F(is_ignored)(a, r);
        int64_t t = ignored ? 0 : a->target[r];
        double w = a->class_weight ? a->class_weight[t] : 1;
        double logp = ignored ? 0 : x[r * a->input.row_stride + t * a->input.class_stride];
        a->loss[r] = ignored || (w == 0 && fabs(logp) == INFINITY) ? 0 : -w * logp;
        if (!a->grad.data) {
            continue;
        }
        T *grad = (T *)a->grad.data + r * a->grad.row_stride;
        for (int64_t c = 0; c < a->n_classes; c++) {
            grad[c * a->grad.class_stride] = 0;
        }
        if (!ignored) {
            grad[t * a->grad.class_stride] = (T)(-w * F(row_scale)(a, r));
        }
    }
}
