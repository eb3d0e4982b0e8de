/* Maps and losses that treat every element alone. Eight at a time, in numbers wider than T (math/wide.h). */

/* e^-|x|, and sigmoid(x) and sigmoid(-x) from it, neither by subtraction from 1. */
struct F(sigmoids) {
    W tail, p, q;
};

CE_INLINE struct F(sigmoids) F(sigmoids_of)(vd x)
{
    struct F(sigmoids) s;
    s.tail = w_exp(vd_neg(vd_abs(x)));
    W whole = w_add(w_set1(1), s.tail), near = w_div(w_set1(1), whole), far = w_mul(s.tail, near);
    vdm negative = vd_lt(x, vd_set1(0));
    s.p = w_select(negative, far, near);
    s.q = w_select(negative, near, far);
    return s;
}

CE_STATIC void F(sigmoid)(const struct ce_element_map *a)
{
    const T *x = (const T *)a->input;
    T *y = (T *)a->output;
    for (int64_t i = 0; i < a->n; i += 8) {
        ptrdiff_t n = (ptrdiff_t)(a->n - i);
        F(store_wide)(y + i, w_round(F(sigmoids_of)(F(load_wide)(x + i, n, 0)).p), n);
    }
}

/* min(x, 0) - log(1 + e^-|x|) */
CE_STATIC void F(log_sigmoid)(const struct ce_element_map *a)
{
    const T *x = (const T *)a->input;
    T *y = (T *)a->output;
    for (int64_t i = 0; i < a->n; i += 8) {
        ptrdiff_t n = (ptrdiff_t)(a->n - i);
        vd v = F(load_wide)(x + i, n, 0);
        W soft = w_log1p(w_exp(vd_neg(vd_abs(v))));
        F(store_wide)(y + i, w_round(w_sub(w_from(vd_min(vd_set1(0), v)), soft)), n);
    }
}

/* What a loss says of one vector of elements. grad and hess are with respect to the input. */
struct F(outcome) {
    W loss, grad, hess;
};

struct F(elements) {
    vd x, t, pos_weight;
    const struct ce_element_loss *a;
};

typedef struct F(outcome) F(element_fn)(const struct F(elements) *);

/* a * b with 0 times infinity 0: 0 log 0 = 0. A NaN stays. */
CE_INLINE W F(times_or_zero)(vd a, W b)
{
    vd size = w_round(b);
    W zero = w_select(vd_eq(size, size), w_set1(0), b);
    return w_select(vd_eq(a, vd_set1(0)), zero, w_mul(w_from(a), b));
}

/* z sp(-x) a + (1 - z) sp(x) with sp(x) = max(x, 0) + log(1 + e^-|x|): (1 - z or a z) |x| + (1 + (a - 1) z) log(1 + e^-|x|).
 * grad = (1 - z) p - a z q,  hess = (1 + (a - 1) z) p q,  p = sigmoid(x), q = sigmoid(-x). */
CE_INLINE struct F(outcome) F(bce_with_logits_at)(const struct F(elements) * e)
{
    struct F(outcome) o;
    struct F(sigmoids) s = F(sigmoids_of)(e->x);
    double smoothing = e->a->label_smoothing;
    W z = w_from(e->t), one = w_set1(1);
    if (smoothing != 0) {
        z = w_add(w_mul(z, w_sub(one, w_set1(smoothing))), w_set1(smoothing / 2));
    }
    W other = w_sub(one, z), hit = w_mul(w_from(e->pos_weight), z);
    W both = w_add(one, w_mul(w_sub(w_from(e->pos_weight), one), z));
    W side = w_select(vd_lt(e->x, vd_set1(0)), hit, other);
    vd gap = vd_abs(e->x);
    W linear = w_select(vd_eq(w_round(side), vd_set1(0)), w_set1(0), w_mul(side, w_from(gap)));
    o.loss = w_add(linear, w_mul(both, w_log1p(s.tail)));
    o.grad = w_sub(w_mul(other, s.p), w_mul(hit, s.q));
    o.hess = w_mul(both, w_mul(s.p, s.q));
    return o;
}

/* -z max(log p, floor) - (1 - z) max(log(1 - p), floor); where a logarithm is at the floor, its slope is 0. */
CE_INLINE struct F(outcome) F(bce_at)(const struct F(elements) * e)
{
    struct F(outcome) o;
    vd lowest = vd_set1((T)e->a->eps), highest = vd_set1((T)1 - (T)e->a->eps);
    vd p = vd_min(highest, vd_max(lowest, e->x)), zero = vd_set1(0);
    W z = w_from(e->t), other = w_sub(w_set1(1), z), floor = w_set1(e->a->log_floor);
    W log_p = w_log(p), log_q = w_log1m(w_from(p));
    vdm p_low = vd_lt(w_round(w_sub(log_p, floor)), zero), q_low = vd_lt(w_round(w_sub(log_q, floor)), zero);
    log_p = w_select(p_low, floor, log_p);
    log_q = w_select(q_low, floor, log_q);
    W loss = w_add(F(times_or_zero)(e->t, log_p), F(times_or_zero)(w_round(other), log_q));
    o.loss = w_sub(w_set1(0), loss);
    W up = w_div(other, w_sub(w_set1(1), w_from(p))), down = w_div(z, w_from(p));
    up = w_select(q_low, w_set1(0), w_select(vd_eq(w_round(other), zero), w_set1(0), up));
    down = w_select(p_low, w_set1(0), w_select(vd_eq(e->t, zero), w_set1(0), down));
    o.grad = w_sub(up, down);
    /* clipped: the loss is constant there */
    o.grad = w_select(vd_eq(p, e->x), o.grad, w_select(vd_eq(e->x, e->x), w_set1(0), w_from(e->x)));
    o.hess = w_set1(0);
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
    o.loss = w_select(none, nothing, w_mul(t, w_sub(log_t, w_from(e->x))));
    o.grad = w_sub(w_set1(0), t);
    o.hess = w_set1(0);
    return o;
}

CE_INLINE struct F(outcome) F(mse_at)(const struct F(elements) * e)
{
    struct F(outcome) o;
    W gap = w_sub(w_from(e->x), w_from(e->t));
    o.loss = w_mul(gap, gap);
    o.grad = w_add(gap, gap);
    o.hess = w_set1(2);
    return o;
}

/* Sums of floats: SUM_VECTORS additions to a lane in doubles, then with their rounding errors; thousands in doubles alone
 * would cost the last bits. */
#define SUM_VECTORS 16

/* The loop around a loss: weights, then either the loss or its sum, and the gradients. */
CE_INLINE void F(run_elements)(const struct ce_element_loss *a, F(element_fn) * at)
{
    const T *x = (const T *)a->input, *t = (const T *)a->target, *weight = (const T *)a->weight;
    const T *pos_weight = (const T *)a->pos_weight, *grad_output = (const T *)a->grad_output;
    T *loss = (T *)a->loss, *grad = (T *)a->grad, *hess = (T *)a->hess;
    struct vd2 sum = {vd_set1(0), vd_set1(0)}, part = sum;
    for (int64_t i = 0; i < a->n; i += 8) {
        ptrdiff_t n = (ptrdiff_t)(a->n - i);
        struct F(elements) e = {F(load_wide)(x + i, n, 0), F(load_wide)(t + i, n, 0), vd_set1(1), a};
        if (pos_weight) {
            e.pos_weight = F(load_wide)(pos_weight + i, n, 1);
        }
        struct F(outcome) o = at(&e);
        vd w = weight ? F(load_wide)(weight + i, n, 0) : vd_set1(1);
        if (weight) {
            o.loss = F(times_or_zero)(w, o.loss);
        }
        if (loss) {
            F(store_wide)(loss + i, w_round(o.loss), n);
        } else {
            w_accumulate(&part, w_select(vd_eq(F(valid)(n), vd_set1(0)), w_set1(0), o.loss));
            if (i / 8 % SUM_VECTORS == SUM_VECTORS - 1 || n <= 8) {
                w64_accumulate(&sum, part);
                part = (struct vd2){vd_set1(0), vd_set1(0)};
            }
        }
        if (!grad && !hess) {
            continue;
        }
        if (weight) { /* 0 makes an infinite slope 0 */
            o.grad = F(times_or_zero)(w, o.grad);
            o.hess = w_mul(o.hess, w_from(w));
        }
        W scale = w_set1(a->grad_scale);
        if (grad_output) {
            scale = w_mul(scale, w_from(F(load_wide)(grad_output + i, n, 0)));
        }
        if (grad) {
            F(store_wide)(grad + i, w_round(w_mul(scale, o.grad)), n);
        }
        if (hess) {
            F(store_wide)(hess + i, w_round(w_mul(scale, o.hess)), n);
        }
    }
    if (a->sum) {
        F(total_of)(sum, a->sum);
    }
}

/* Plain sums need no logarithm per element: the sum of logarithms is the logarithm of a product. Weights would be
 * exponents, so there must be none. */
CE_INLINE int F(is_plain_sum)(const struct ce_element_loss *a)
{
    return a->sum && !a->weight && !a->pos_weight && !a->grad_output && !a->hess && a->label_smoothing == 0;
}

#include "bce_sum.h"

#include "bce_with_logits_sum.h"

/* Nothing is written where a number is outside. */
CE_STATIC void F(binary_cross_entropy)(const struct ce_element_loss *a)
{
    if (F(is_plain_sum)(a) && !a->grad) {
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
