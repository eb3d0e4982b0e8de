/* What a problem's results should be, and whether they are. Part of kernels.c. */

static double largest(enum ce_dtype dtype) { return dtype == CE_F32 ? FLT_MAX : DBL_MAX; }

/* Where differences or products on the way may overflow though the result would not. */
static int is_huge(const struct problem *p, double x)
{
    return isfinite(x) && fabs(x) > largest(p->dtype) / (p->dtype == CE_F32 ? 64 : 0x1p30);
}

/* Where products on the way round to subnormal numbers though the result would not. */
static int is_tiny(const struct problem *p, double x) { return p->dtype == CE_F64 && x != 0 && fabs(x) < 0x1p-900; }

static int any_huge(const struct problem *p, const double *x, ptrdiff_t n)
{
    int huge = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        huge |= is_huge(p, x[i]);
    }
    return huge;
}

static int any_tiny(const struct problem *p, const double *x, ptrdiff_t n)
{
    int tiny = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        tiny |= is_tiny(p, x[i]);
    }
    return tiny;
}

static int all_finite(const double *x, ptrdiff_t n)
{
    int finite = 1;
    for (ptrdiff_t i = 0; i < n; i++) {
        finite &= isfinite(x[i]) != 0;
    }
    return finite;
}

/* A number near the largest one may be infinite on the way, before a small factor brings it back. */
static struct expected scaled(const struct problem *p, struct expected e, wide factor)
{
    int lifted = fabsl(factor) < 1 && e.scale > largest(p->dtype) / 64;
    return (struct expected){e.value * factor, e.scale * fabsl(factor), e.unknown || lifted};
}

/* ---- rows ---- */

static void expect_row_map(const struct problem *p, int r, struct expected *out)
{
    const double *x = p->input + (ptrdiff_t)r * p->classes;
    struct softmax_row row = softmax_of(x, p->classes);
    if (is_logsumexp(p)) {
        out[r] = logsumexp_of(&row);
        return;
    }
    out += (ptrdiff_t)r * p->classes;
    for (int c = 0; c < p->classes; c++) {
        out[c] =
            expect_value(!strcmp(p->name, "softmax") ? probability_of(&row, x[c]) : log_probability_of(&row, x[c]));
    }
}

static void expect_row_map_backward(const struct problem *p, int r, struct expected *out)
{
    ptrdiff_t at = (ptrdiff_t)r * p->classes;
    const double *g = p->input + at, *y = p->other + at;
    int is_softmax = !strcmp(p->name, "softmax_backward");
    int known = all_finite(g, p->classes) && all_finite(y, p->classes) && !any_huge(p, g, p->classes);
    wide sum = 0, size = 0;
    for (int c = 0; c < p->classes; c++) {
        wide term = is_softmax ? (wide)g[c] * y[c] : g[c];
        sum += term;
        size += fabsl(term);
    }
    for (int c = 0; c < p->classes; c++) {
        wide e = is_softmax ? (wide)y[c] : expl(y[c]);
        struct expected value = is_softmax ? expect(e * (g[c] - sum), e * (fabsl((wide)g[c]) + size))
                                           : expect(g[c] - e * sum, fabsl((wide)g[c]) + e * size);
        /* e^y rounds to 0 before a huge sum could lift it */
        out[at + c] = known && (is_softmax || y[c] > -700 || size < 1e9L) ? value : UNKNOWN;
    }
}

static struct row_target target_of(const struct problem *p, int r)
{
    return (struct row_target){
        p->soft ? -1 : (ptrdiff_t)p->target[r],
        p->other + (ptrdiff_t)r * p->classes,
        p->has_weight ? p->class_weight : NULL,
        p->smoothing,
        p->classes,
    };
}

/* A probability that rounds to a subnormal number before a large sum of targets or a factor lifts it. */
static struct expected unless_lifted(const struct problem *p, struct expected e, wide lift)
{
    wide normal = p->dtype == CE_F32 ? FLT_MIN : DBL_MIN;
    e.unknown |= fabsl(lift) > 2 && fabsl(e.value) < normal * fabsl(lift);
    return e;
}

static void expect_nll(const struct problem *p, int r, wide factor, struct expected *loss, struct expected *grad)
{
    ptrdiff_t t = (ptrdiff_t)p->target[r];
    wide w = p->has_weight ? p->class_weight[t] : 1;
    *loss = expect_value(times(w, -(wide)p->input[(ptrdiff_t)r * p->classes + t]));
    for (int c = 0; c < p->classes; c++) {
        grad[c] = expect_value(c == t ? -w * factor : 0);
    }
}

static void expect_row_loss(const struct problem *p, int r, struct expected *loss, struct expected *grad,
                            struct expected *hess)
{
    const double *x = p->input + (ptrdiff_t)r * p->classes;
    wide factor = p->grad_scale * (p->has_factor ? p->row_factor[r] : 1);
    if (!p->soft && p->target[r] == p->ignore_index) {
        *loss = expect_value(0);
        for (int c = 0; c < p->classes; c++) {
            grad[c] = hess[c] = expect_value(0);
        }
        return;
    }
    if (!strncmp(p->name, "nll", 3)) {
        expect_nll(p, r, factor, loss, grad);
        return;
    }
    struct row_target target = target_of(p, r);
    struct softmax_row row = softmax_of(x, p->classes);
    int one_hot = !p->soft && p->smoothing == 0;
    int known = one_hot || !any_huge(p, x, p->classes);
    if (p->soft) {
        known &= all_finite(target.prob, p->classes) && !any_tiny(p, target.prob, p->classes);
    }
    wide total = known ? sum_of_coefficients(&target) : 0;
    *loss = known ? cross_entropy_of(&row, x, &target) : UNKNOWN;
    for (int c = 0; c < p->classes; c++) {
        grad[c] = known ? scaled(p, cross_entropy_grad(&row, x, &target, total, c), factor) : UNKNOWN;
        hess[c] = known ? scaled(p, cross_entropy_hess(&row, x, total, c), factor) : UNKNOWN;
        grad[c] = unless_lifted(p, grad[c], total * factor);
        hess[c] = unless_lifted(p, hess[c], total * factor);
    }
}

/* ---- elements ---- */

static struct element_outcome element_outcome(const struct problem *p, const struct element *e)
{
    switch (p->name[0]) {
    case 'b':
        return has_input_of_probabilities(p) ? reference_bce(e) : reference_bce_with_logits(e);
    case 'k':
        return reference_kl_div(e);
    default:
        return reference_mse(e);
    }
}

static void expect_element_loss(const struct problem *p, int i, struct expected *loss, struct expected *grad,
                                struct expected *hess)
{
    struct element e = {p->input[i],
                        p->other[i],
                        p->has_weight ? p->weight[i] : 1,
                        p->has_pos_weight ? p->pos_weight[i] : 1,
                        p->smoothing,
                        p->log_floor,
                        p->eps,
                        p->log_target,
                        p->dtype == CE_F32};
    wide factor = p->grad_scale * (p->has_factor ? p->element_factor[i] : 1);
    struct element_outcome o = element_outcome(p, &e);
    *loss = o.loss;
    *grad = scaled(p, o.grad, factor);
    *hess = scaled(p, o.hess, factor);
    if (is_huge(p, e.x) || is_huge(p, e.t) || is_tiny(p, e.t) || fabsl(o.loss.value) > largest(p->dtype) / 64) {
        loss->unknown = grad->unknown = hess->unknown = 1;
    }
}

static struct expected sum_of(const struct expected *loss, int n)
{
    struct expected sum = {0, 0, 0};
    for (int i = 0; i < n; i++) {
        sum.value += loss[i].value;
        sum.scale += fmaxl(fabsl(loss[i].value), loss[i].scale);
        sum.unknown |= loss[i].unknown;
    }
    return sum;
}

/* The sum and the count of call_row_loss_sum. */
static int expect_row_loss_sum(const struct problem *p, struct expected *out)
{
    static struct expected loss[MAX_ELEMENTS], grad[MAX_ELEMENTS], hess[MAX_ELEMENTS];
    int count = 0;
    for (int r = 0; r < p->rows; r++) {
        int counts = p->target[r] != p->ignore_index;
        if (counts && (p->target[r] < 0 || p->target[r] >= p->classes)) {
            out[0] = expect_value(0);
            out[1] = expect_value(-1);
            return 2;
        }
        expect_row_loss(p, r, loss + r, grad, hess);
        loss[r].unknown = is_huge(p, (double)loss[r].value); /* infinite on the way */
        count += counts;
    }
    out[0] = sum_of(loss, p->rows);
    out[1] = expect_value(count);
    return 2;
}

/* ---- all of it, in the order of call_kernel ---- */

static int expect_losses(const struct problem *p, struct expected *out)
{
    static struct expected loss[MAX_ELEMENTS], grad[MAX_ELEMENTS], hess[MAX_ELEMENTS];
    int elements = p->rows * p->classes, losses = is_row_wise(p) ? p->rows : elements, n = 0;
    for (int i = 0; i < losses; i++) {
        if (is_row_wise(p)) {
            expect_row_loss(p, i, loss + i, grad + (ptrdiff_t)i * p->classes, hess + (ptrdiff_t)i * p->classes);
        } else {
            expect_element_loss(p, i, loss + i, grad + i, hess + i);
        }
    }
    if (p->wants_sum && !is_row_wise(p)) {
        out[n++] = sum_of(loss, losses);
    } else {
        memcpy(out, loss, (size_t)losses * sizeof *out);
        n = losses;
    }
    if (p->wants_grad) {
        memcpy(out + n, grad, (size_t)elements * sizeof *out);
        n += elements;
    }
    if (p->wants_hess) {
        memcpy(out + n, hess, (size_t)elements * sizeof *out);
        n += elements;
    }
    return n;
}

static int expect_all(const struct problem *p, struct expected *out)
{
    if (is_sum(p)) {
        return expect_row_loss_sum(p, out);
    }
    if (is_loss(p)) {
        return expect_losses(p, out);
    }
    for (int i = 0; i < p->classes && !is_row_wise(p); i++) {
        wide x = p->input[i];
        out[i] = expect_value(isnan(x) ? NAN : !strcmp(p->name, "sigmoid") ? logistic(x) : -softplus(-x));
    }
    for (int r = 0; r < p->rows && is_row_wise(p); r++) {
        if (!strcmp(p->signature, "row_map")) {
            expect_row_map(p, r, out);
        } else {
            expect_row_map_backward(p, r, out);
        }
    }
    return is_logsumexp(p) ? p->rows : p->rows * p->classes;
}

static int is_close(const struct problem *p, double got, const struct expected *e)
{
    wide limit = largest(p->dtype), eps = p->dtype == CE_F32 ? FLT_EPSILON : DBL_EPSILON;
    /* float64: pairs of numbers lose their low parts first, products of them a little more */
    wide smallest = p->dtype == CE_F32 ? 0x1p-149L : 0x1p-1066L;
    if (e->unknown) {
        return 1;
    }
    if (isnan(e->value) || isnan(got)) {
        return isnan(e->value) && isnan(got);
    }
    if (isinf(got) || isinf(e->value)) {
        return (got < 0) == (e->value < 0) && fabsl(e->value) > limit * (1 - TOLERANCE * eps);
    }
    return fabsl(got - e->value) <= TOLERANCE * (eps * fmaxl(fabsl(e->value), e->scale) + smallest);
}

static void judge(const struct problem *p, const char *isa, const struct results *got, const struct expected *expected,
                  int n)
{
    if (got->n != n) {
        fail(p, isa, "the number of results", 0, got->n, n);
    }
    for (int i = 0; i < n; i++) {
        if (!is_close(p, got->values[i], expected + i)) {
            fail(p, isa, "far from the reference", i, got->values[i], (double)expected[i].value);
        }
    }
}

/* NaNs of any payload are the same. */
static void same_bits(const struct problem *p, const char *isa, const struct results *got, const struct results *other)
{
    for (int i = 0; i < got->n; i++) {
        double a = got->values[i], b = other->values[i];
        if (memcmp(&a, &b, sizeof a) && !(isnan(a) && isnan(b))) {
            fail(p, isa, "other bits", i, a, b);
        }
    }
}
