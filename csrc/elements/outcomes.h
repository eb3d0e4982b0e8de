/* What the losses that treat every element alone say of one, and the loop around them.
 * Eight at a time, in numbers wider than T (math/wide.h). */

/* What a loss says of one vector of elements: the loss with its weight, the slopes with respect to the input without. */
struct F(outcome) {
    W loss, grad, hess;
};

/* plain: there are no weights and no smoothing. slopes: grad and hess are wanted. */
struct F(elements) {
    vd x, t, weight, pos_weight;
    const struct ce_element_loss *a;
    int plain, slopes;
};

typedef struct F(outcome) F(element_fn)(const struct F(elements) *);

/* a * b with 0 times infinity 0: 0 log 0 = 0. A NaN stays. */
CE_INLINE W F(times_or_zero)(vd a, W b)
{
    vd size = w_round(b);
    W zero = w_select(vd_eq(size, size), w_set1(0), b);
    return w_select(vd_eq(a, vd_set1(0)), zero, w_mul(w_from(a), b));
}

CE_INLINE W F(weighted)(const struct F(elements) * e, W loss)
{
    return e->plain ? loss : F(times_or_zero)(e->weight, loss);
}

/* z sp(-x) a + (1 - z) sp(x) with sp(x) = max(x, 0) + log(1 + e^-|x|): (1 - z or a z) |x| + (1 + (a - 1) z) log(1 + e^-|x|).
 * grad = (1 - z) p - a z q,  hess = (1 + (a - 1) z) p q,  p = sigmoid(x), q = sigmoid(-x). */
CE_INLINE struct F(outcome) F(bce_with_logits_at)(const struct F(elements) * e)
{
    struct F(outcome) o = {w_set1(0), w_set1(0), w_set1(0)};
    double smoothing = e->plain ? 0 : e->a->label_smoothing;
    W z = w_from(e->t), one = w_set1(1), both = one;
    /* a slope may be a small difference of sigmoid and target: 2^-55 is not enough */
    W tail = e->slopes ? w_exp(vd_neg(vd_abs(e->x))) : w_exp_minus(w_from(vd_abs(e->x))), soft = w_log1p_unit(tail);
    if (smoothing != 0) {
        z = w_add(w_mul(z, w_sub(one, w_set1(smoothing))), w_set1(smoothing / 2));
    }
    W other = w_sub(one, z), hit = z;
    if (!e->plain) {
        hit = w_mul(w_from(e->pos_weight), z);
        both = w_add(one, w_mul(w_sub(w_from(e->pos_weight), one), z));
        soft = w_mul(both, soft);
    }
    vdm negative = vd_lt(e->x, vd_set1(0));
    W side = w_select(negative, hit, other);
    W linear = w_select(vd_eq(w_round(side), vd_set1(0)), w_set1(0), w_mul(side, w_from(vd_abs(e->x))));
    o.loss = F(weighted)(e, w_add(linear, soft));
    if (e->slopes) {
        /* neither sigmoid by subtraction from 1 */
        W near = w_div(one, w_add(one, tail)), far = w_mul(tail, near);
        W p = w_select(negative, far, near), q = w_select(negative, near, far);
        both = w_select(vd_eq(e->t, e->t), both, w_from(e->t)); /* a NaN stays */
        o.grad = w_sub(w_mul(other, p), w_mul(hit, q));
        o.hess = w_mul(both, w_mul(p, q));
    }
    return o;
}

/* -z max(log p, floor) - (1 - z) max(log(1 - p), floor); where a logarithm is at the floor, its slope is 0. */
CE_INLINE struct F(outcome) F(bce_at)(const struct F(elements) * e)
{
    struct F(outcome) o = {w_set1(0), w_set1(0), w_set1(0)};
    vd lowest = vd_set1((T)e->a->eps), highest = vd_set1((T)1 - (T)e->a->eps);
    vd p = vd_min(highest, vd_max(lowest, e->x)), zero = vd_set1(0);
    W z = w_from(e->t), other = w_sub(w_set1(1), z), floor = w_set1(e->a->log_floor);
    W log_p = w_log(p), log_q = w_log1m(w_from(p));
    vdm p_low = vd_lt(w_round(w_sub(log_p, floor)), zero), q_low = vd_lt(w_round(w_sub(log_q, floor)), zero);
    log_p = w_select(p_low, floor, log_p);
    log_q = w_select(q_low, floor, log_q);
    W loss = w_add(F(times_or_zero)(e->t, log_p), F(times_or_zero)(w_round(other), log_q));
    o.loss = F(weighted)(e, w_sub(w_set1(0), loss));
    if (!e->slopes) {
        return o;
    }
    W up = w_div(other, w_sub(w_set1(1), w_from(p))), down = w_div(z, w_from(p));
    up = w_select(q_low, w_set1(0), w_select(vd_eq(w_round(other), zero), w_set1(0), up));
    down = w_select(p_low, w_set1(0), w_select(vd_eq(e->t, zero), w_set1(0), down));
    o.grad = w_sub(up, down);
    /* clipped: the loss is constant there */
    o.grad = w_select(vd_eq(p, e->x), o.grad, w_select(vd_eq(e->x, e->x), w_set1(0), w_from(e->x)));
    return o;
}

/* t (log t - x), or e^t (t - x) for a target given as its logarithm. */
CE_INLINE struct F(outcome) F(kl_div_at)(const struct F(elements) * e)
{
    struct F(outcome) o;
    W t = e->a->log_target ? w_exp(e->t) : w_from(e->t);
    W log_t = e->a->log_target ? w_from(e->t) : w_log(e->t);
    vdm none = vd_eq(w_round(t), vd_set1(0));
    W nothing = w_select(vd_eq(e->x, e->x), w_set1(0), w_from(e->x)); /* a NaN stays */
    o.loss = F(weighted)(e, w_select(none, nothing, w_mul(t, w_sub(log_t, w_from(e->x)))));
    o.grad = w_sub(w_set1(0), t);
    o.hess = w_set1(0);
    return o;
}

CE_INLINE struct F(outcome) F(mse_at)(const struct F(elements) * e)
{
    struct F(outcome) o;
    W gap = w_sub(w_from(e->x), w_from(e->t));
    o.loss = w_mul(gap, gap);
    if (!e->plain) { /* the square alone may be too large */
        W small = w_mul(w_mul(w_from(e->weight), gap), gap);
        o.loss = w_select(vd_eq(e->weight, vd_set1(0)), F(weighted)(e, o.loss), small);
    }
    o.grad = w_add(gap, gap);
    o.hess = w_set1(2);
    return o;
}

/* n <= 8 elements from i on: weights, then either the loss or its sum, and the gradients. */
CE_INLINE void F(run_eight)(const struct ce_element_loss *a, F(element_fn) * at, int64_t i, ptrdiff_t n, int plain,
                            int slopes, struct vd2 *sum)
{
    const T *weight = plain ? NULL : (const T *)a->weight, *pos_weight = plain ? NULL : (const T *)a->pos_weight;
    const T *grad_output = (const T *)a->grad_output;
    struct F(elements) e = {.a = a, .plain = plain, .slopes = slopes};
    e.x = F(load_wide)((const T *)a->input + i, n, 0);
    e.t = F(load_wide)((const T *)a->target + i, n, 0);
    e.pos_weight = pos_weight ? F(load_wide)(pos_weight + i, n, 1) : vd_set1(1);
    e.weight = weight ? F(load_wide)(weight + i, n, 0) : vd_set1(1);
    struct F(outcome) o = at(&e);
    if (a->loss) {
        F(store_wide)((T *)a->loss + i, w_round(o.loss), n);
    } else if (n < 8) {
        w_accumulate(sum, w_select(vd_eq(F(valid)(n), vd_set1(0)), w_set1(0), o.loss));
    } else {
        w_accumulate(sum, o.loss);
    }
    if (!slopes) {
        return;
    }
    if (weight) { /* 0 makes an infinite slope 0 */
        o.grad = F(times_or_zero)(e.weight, o.grad);
        o.hess = w_mul(o.hess, w_from(e.weight));
    }
    W scale = w_set1(a->grad_scale);
    if (grad_output) {
        scale = w_mul(scale, w_from(F(load_wide)(grad_output + i, n, 0)));
    }
    if (a->grad) {
        F(store_wide)((T *)a->grad + i, w_round(w_mul(scale, o.grad)), n);
    }
    if (a->hess) {
        F(store_wide)((T *)a->hess + i, w_round(w_mul(scale, o.hess)), n);
    }
}

/* Sums of floats: so many additions to a lane in doubles, then with their rounding errors; thousands in doubles alone would
 * cost the last bits. */
#define SUM_VECTORS 16

CE_INLINE void F(run_all)(const struct ce_element_loss *a, F(element_fn) * at, int plain, int slopes)
{
    struct vd2 sum = {vd_set1(0), vd_set1(0)};
    for (int64_t i = 0; i < a->n;) {
        struct vd2 part = {vd_set1(0), vd_set1(0)};
        int64_t end = a->n - i < 8 * SUM_VECTORS ? a->n : i + 8 * SUM_VECTORS;
        for (; i + 8 <= end; i += 8) {
            F(run_eight)(a, at, i, 8, plain, slopes, &part);
        }
        if (i < end) {
            F(run_eight)(a, at, i, (ptrdiff_t)(end - i), plain, slopes, &part);
            i = end;
        }
        w64_accumulate(&sum, part);
    }
    if (a->sum) {
        F(total_of)(sum, a->sum);
    }
}

/* The usual cases without what they do not need. */
CE_INLINE void F(run_elements)(const struct ce_element_loss *a, F(element_fn) * at)
{
    int slopes = a->grad || a->hess;
    if (a->weight || a->pos_weight || a->label_smoothing != 0) {
        F(run_all)(a, at, 0, slopes);
    } else if (slopes) {
        F(run_all)(a, at, 1, 1);
    } else {
        F(run_all)(a, at, 1, 0);
    }
}
