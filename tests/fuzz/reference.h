/* What every kernel should return, in long double and in the plainest way: formulas as in csrc/kernels.h's comments and in
 * tests/oracles.py, one element after the other. Each value comes with the size that its error is judged against. */
#ifndef CROSSENT_FUZZ_REFERENCE_H
#define CROSSENT_FUZZ_REFERENCE_H

#include <float.h>
#include <math.h>
#include <stddef.h>

typedef long double wide;

/* scale: errors are relative to the larger of this and |value|; unknown: nothing is promised here. */
struct expected {
    wide value, scale;
    int unknown;
};

static const struct expected UNKNOWN = {0, 0, 1};

static struct expected expect(wide value, wide scale) { return (struct expected){value, fabsl(scale), 0}; }
static struct expected expect_value(wide value) { return expect(value, value); }

/* 0 times anything but NaN is 0. */
static wide times(wide a, wide b)
{
    if ((a == 0 && !isnan(b)) || (b == 0 && !isnan(a))) {
        return 0;
    }
    return a * b;
}

static wide softplus(wide x) { return x > 0 ? x + log1pl(expl(-x)) : log1pl(expl(x)); }
static wide logistic(wide x) { return x >= 0 ? 1 / (1 + expl(-x)) : expl(x) / (1 + expl(x)); }

/* ---- rows ---- */

/* The softmax of a row. undefined: a NaN, a +inf or nothing but -inf, so that every probability is NaN. */
struct softmax_row {
    int undefined;
    wide max, rest; /* rest: the sum of exp(x - max) without one maximum */
    ptrdiff_t argmax;
};

static struct softmax_row softmax_of(const double *x, ptrdiff_t n)
{
    struct softmax_row row = {0, -INFINITY, 0, 0};
    for (ptrdiff_t j = 0; j < n; j++) {
        if (isnan(x[j])) {
            return (struct softmax_row){1, NAN, NAN, j};
        }
        if ((wide)x[j] > row.max) {
            row.max = x[j];
            row.argmax = j;
        }
    }
    row.undefined = !isfinite(row.max);
    for (ptrdiff_t j = 0; j < n && !row.undefined; j++) {
        row.rest += j == row.argmax ? 0 : expl((wide)x[j] - row.max);
    }
    return row;
}

static wide probability_of(const struct softmax_row *row, double x)
{
    return row->undefined ? NAN : expl(x - row->max) / (1 + row->rest);
}

static wide probability_of_others(const struct softmax_row *row, const double *x, ptrdiff_t j)
{
    wide e = expl(x[j] - row->max);
    return row->undefined ? NAN : (j == row->argmax ? row->rest : (1 + row->rest) - e) / (1 + row->rest);
}

static wide log_probability_of(const struct softmax_row *row, double x)
{
    return row->undefined ? NAN : (x - row->max) - log1pl(row->rest);
}

static struct expected logsumexp_of(const struct softmax_row *row)
{
    wide value = row->undefined ? row->max : row->max + log1pl(row->rest);
    return expect(value, row->undefined ? 0 : row->max);
}

/* Target of a row: a_c with loss = sum a_c (-log p_c), from a class index or from probabilities. */
struct row_target {
    ptrdiff_t index;    /* -1: prob */
    const double *prob; /* [n] */
    const double *class_weight;
    double smoothing;
    ptrdiff_t n;
};

static wide coefficient(const struct row_target *t, ptrdiff_t j)
{
    wide q = t->index >= 0 ? j == t->index : t->prob[j], s = t->smoothing;
    q = s == 0 ? q : (1 - s) * q + s / (wide)t->n;
    return t->class_weight ? q * t->class_weight[j] : q;
}

static wide sum_of_coefficients(const struct row_target *t)
{
    wide sum = 0;
    for (ptrdiff_t j = 0; j < t->n; j++) {
        sum += coefficient(t, j);
    }
    return sum;
}

static struct expected cross_entropy_of(const struct softmax_row *row, const double *x, const struct row_target *t)
{
    wide loss = 0;
    for (ptrdiff_t j = 0; j < t->n; j++) {
        loss += times(coefficient(t, j), -log_probability_of(row, x[j]));
    }
    return row->undefined ? expect_value(NAN) : expect_value(loss);
}

/* (A - a_j) p_j - a_j (1 - p_j): one coefficient alone leaves nothing to cancel, and no larger scale. */
static struct expected cross_entropy_grad(const struct softmax_row *row, const double *x, const struct row_target *t,
                                          wide total, ptrdiff_t j)
{
    wide a = coefficient(t, j), p = probability_of(row, x[j]), q = probability_of_others(row, x, j);
    wide grad = (total - a) * p - a * q;
    int one_hot = t->index >= 0 && t->smoothing == 0;
    return one_hot ? expect_value(grad) : expect(grad, fmaxl(fabsl(total * p), fabsl(a)));
}

static struct expected cross_entropy_hess(const struct softmax_row *row, const double *x, wide total, ptrdiff_t j)
{
    return expect_value(total * probability_of(row, x[j]) * probability_of_others(row, x, j));
}

/* ---- elements ---- */

struct element {
    double x, t, weight, pos_weight, smoothing, log_floor, eps;
    int log_target, is_float;
};

struct element_outcome {
    struct expected loss, grad, hess;
};

/* Of an element with a NaN. A weight of 0, or a target that is 0 or rounds to it (kl_div), may silence it. */
static struct element_outcome nan_outcome(const struct element *e)
{
    int silent = e->weight == 0 || (e->log_target ? e->t < -100 : e->t == 0);
    return (struct element_outcome){silent ? UNKNOWN : expect_value(NAN), UNKNOWN, UNKNOWN};
}

static struct element_outcome reference_bce(const struct element *e)
{
    if (isnan(e->x) || isnan(e->t)) {
        return nan_outcome(e);
    }
    double low = e->is_float ? (float)e->eps : e->eps, high = e->is_float ? 1 - (float)low : 1 - low;
    double p = e->x < low ? low : e->x > high ? high : e->x;
    wide floor = e->log_floor, log_p = logl(p), log_q = log1pl(-(wide)p), t = e->t, w = e->weight;
    wide loss = times(w, times(t, -fmaxl(log_p, floor)) + times(1 - t, -fmaxl(log_q, floor)));
    wide down = log_p < floor || p != e->x ? 0 : times(t, 1 / (wide)p);
    wide up = log_q < floor || p != e->x ? 0 : times(1 - t, 1 / (1 - (wide)p));
    struct element_outcome o = {expect_value(loss), expect(times(w, up - down), times(w, fmaxl(up, down))), UNKNOWN};
    /* the gradient jumps where a logarithm meets its floor; a slope may be infinite on the way */
    if (fabsl(log_p - floor) < 1e-5L * fabsl(floor) || fabsl(log_q - floor) < 1e-5L * fabsl(floor) || w == 0 ||
        fmaxl(up, down) > DBL_MAX / 64) {
        o.grad = UNKNOWN;
    }
    return o;
}

static struct element_outcome reference_bce_with_logits(const struct element *e)
{
    if (isnan(e->x) || isnan(e->t)) {
        return nan_outcome(e);
    }
    wide s = e->smoothing, t = s == 0 ? e->t : e->t * (1 - s) + s / 2, w = e->weight;
    wide negative = (1 - (wide)e->t) * (1 - s) + s / 2, positive = e->pos_weight * t; /* 1 - t would have lost digits */
    wide p = logistic(e->x), q = logistic(-(wide)e->x);
    wide loss = times(w, times(negative, softplus(e->x)) + times(positive, softplus(-(wide)e->x)));
    return (struct element_outcome){
        expect_value(loss),
        expect(w * (negative * p - positive * q), w * fmaxl(negative * p, positive * q)),
        expect_value(w * (negative + positive) * p * q),
    };
}

static struct element_outcome reference_kl_div(const struct element *e)
{
    wide t = e->log_target ? expl(e->t) : e->t, log_t = e->log_target ? e->t : logl(e->t), w = e->weight;
    if (isnan(e->x) || isnan(t)) {
        return nan_outcome(e);
    }
    if (t == 0) {
        return (struct element_outcome){expect_value(0), expect_value(0), UNKNOWN};
    }
    /* a difference that has lost more than four bits is not asked to be right to the last */
    wide loss = times(w, t * (log_t - e->x)), terms = isfinite(loss) ? w * t * (fabsl(log_t) + fabsl((wide)e->x)) : 0;
    struct expected near = expect(loss, terms / 16);
    near.unknown = e->log_target && log_t < -700; /* t is a subnormal number, or 0, on the way */
    return (struct element_outcome){near, expect_value(-w * t), UNKNOWN};
}

static struct element_outcome reference_mse(const struct element *e)
{
    wide gap = (wide)e->x - e->t, w = e->weight;
    if (isnan(gap)) {
        return nan_outcome(e);
    }
    struct element_outcome o = {expect_value(times(w, gap * gap)), expect_value(2 * w * gap), expect_value(2 * w)};
    if (isinf(gap) && w == 0) {
        o.grad = UNKNOWN;
    }
    return o;
}

#endif
