/* From a problem to a call of one instruction set's kernel, and its results. Part of kernels.c. */

static void check_kept(const struct problem *p, const char *isa, const struct placed *array, const double *values)
{
    for (int r = 0; r < array->rows; r++) {
        for (int c = 0; c < array->classes; c++) {
            double now = get(array, r, c), before = values[(ptrdiff_t)r * array->classes + c];
            if (memcmp(&now, &before, sizeof now) && !(isnan(now) && isnan(before))) {
                fail(p, isa, "an input was written", r * array->classes + c, now, before);
            }
        }
    }
}

static void collect(const struct problem *p, const char *isa, const struct placed *array, struct results *got)
{
    if (!get_all(array, got->values + got->n)) {
        fail(p, isa, "memory between the elements was written", got->n, 0, 0);
    }
    got->n += array->rows * array->classes;
}

/* The operands of a call. */
struct operands {
    struct placed input, other, output, hess;
    int overwrites; /* the output is the input */
};

static struct operands place_operands(const struct problem *p)
{
    struct operands o;
    int rows = p->rows, classes = p->classes;
    o.overwrites = p->in_place && (p->wants_grad || !is_loss(p));
    o.input = place(p->dtype, rows, classes, p->input_layout, p->at_end & 1);
    o.other = place(p->dtype, rows, classes, p->other_layout, p->at_end & 2);
    o.output =
        o.overwrites ? o.input : place(p->dtype, rows, is_logsumexp(p) ? 1 : classes, p->output_layout, p->at_end & 4);
    o.hess = place(p->dtype, rows, classes, p->hess_layout, p->at_end & 8);
    put_all(&o.input, p->input);
    put_all(&o.other, p->other);
    return o;
}

static void finish_operands(const struct problem *p, const char *isa, struct operands *o)
{
    if (!o->overwrites) {
        check_kept(p, isa, &o->input, p->input);
    }
    check_kept(p, isa, &o->other, p->other);
    free_rooms();
}

static struct ce_guess guess_of(const struct problem *p)
{
    return (struct ce_guess){p->guess, 0, p->guess == p->guess ? 4 : 0};
}

static void call_row_map(ce_any_fn *kernel, const struct problem *p, const struct operands *o, void *scratch)
{
    struct ce_guess guess = guess_of(p);
    struct ce_row_map a = {p->rows, p->classes, o->input.matrix, o->output.matrix, p->distance, &guess, scratch};
    ((ce_row_map_fn *)kernel)(&a);
}

static void call_row_map_backward(ce_any_fn *kernel, const struct problem *p, const struct operands *o, void *scratch)
{
    struct ce_row_map_backward a = {p->rows, p->classes, o->input.matrix, o->other.matrix, o->output.matrix, scratch};
    ((ce_row_map_backward_fn *)kernel)(&a);
}

static double total_of(const double sum[2]) { return isfinite(sum[0]) ? sum[0] + sum[1] : sum[0]; } /* as the driver */

/* The sum, and the number of targets that count: -1, and any sum, if one of them is no class. */
static void call_row_loss_sum(ce_any_fn *kernel, const struct problem *p, const struct operands *o, struct results *got)
{
    double sum[2];
    struct ce_row_loss a;
    memset(&a, 0, sizeof a);
    a.n_rows = p->rows;
    a.n_classes = p->classes;
    a.input = o->input.matrix;
    a.target = p->target;
    a.ignore_index = p->ignore_index;
    int64_t count = ((ce_row_loss_sum_fn *)kernel)(&a, sum);
    got->values[got->n++] = count < 0 ? 0 : total_of(sum);
    got->values[got->n++] = (double)count;
}

static void call_row_loss(ce_any_fn *kernel, const struct problem *p, const struct operands *o, void *scratch,
                          double *loss)
{
    struct ce_row_loss a;
    memset(&a, 0, sizeof a);
    a.n_rows = p->rows;
    a.n_classes = p->classes;
    a.input = o->input.matrix;
    if (p->soft) {
        a.prob = o->other.matrix;
    } else {
        a.target = p->target;
    }
    a.class_weight = p->has_weight ? p->class_weight : NULL;
    a.ignore_index = p->soft ? -100 : p->ignore_index;
    a.label_smoothing = p->smoothing;
    a.loss = loss;
    a.grad_scale = p->grad_scale;
    a.grad_output = p->has_factor ? p->row_factor : NULL;
    if (p->wants_grad) {
        a.grad = o->output.matrix;
    }
    if (p->wants_hess) {
        a.hess = o->hess.matrix;
    }
    struct ce_guess guess = guess_of(p);
    a.distance = p->distance;
    a.guess = &guess;
    a.scratch = scratch;
    ((ce_row_loss_fn *)kernel)(&a);
}

static void call_element_map(ce_any_fn *kernel, const struct problem *p, const struct operands *o)
{
    struct ce_element_map a = {p->classes, o->input.matrix.data, o->output.matrix.data};
    ((ce_element_map_fn *)kernel)(&a);
}

static void call_element_loss(ce_any_fn *kernel, const struct problem *p, const struct operands *o,
                              const struct placed *extra, void *loss, double sum[2])
{
    struct ce_element_loss a;
    memset(&a, 0, sizeof a);
    a.n = p->classes;
    a.input = o->input.matrix.data;
    a.target = o->other.matrix.data;
    a.weight = p->has_weight ? extra[0].matrix.data : NULL;
    a.pos_weight = p->has_pos_weight ? extra[1].matrix.data : NULL;
    a.label_smoothing = p->smoothing;
    a.log_floor = p->log_floor;
    a.eps = p->eps;
    a.log_target = p->log_target;
    a.loss = p->wants_sum ? NULL : loss;
    a.sum = p->wants_sum ? sum : NULL;
    a.grad_scale = p->grad_scale;
    a.grad_output = p->has_factor ? extra[2].matrix.data : NULL;
    a.grad = p->wants_grad ? o->output.matrix.data : NULL;
    a.hess = p->wants_hess ? o->hess.matrix.data : NULL;
    a.stream = p->distance == CE_PAST_CACHES;
    ((ce_element_loss_fn *)kernel)(&a);
}

static void run_rows(ce_any_fn *kernel, const struct problem *p, const char *isa, struct operands *o, int garbage,
                     struct results *got)
{
    size_t bytes = ce_scratch_bytes(p->classes);
    void *scratch = take_room(bytes, bytes % 64 == 0);
    memset(scratch, garbage, bytes);
    if (!strcmp(p->signature, "row_map")) {
        call_row_map(kernel, p, o, scratch);
    } else if (!strcmp(p->signature, "row_map_backward")) {
        call_row_map_backward(kernel, p, o, scratch);
    } else if (is_sum(p)) {
        call_row_loss_sum(kernel, p, o, got);
    } else {
        struct placed loss = place(CE_F64, p->rows, 1, CONTIGUOUS, p->at_end & 16);
        call_row_loss(kernel, p, o, scratch, (double *)loss.matrix.data);
        collect(p, isa, &loss, got);
    }
}

static void run_elements(ce_any_fn *kernel, const struct problem *p, const char *isa, struct operands *o,
                         struct results *got)
{
    if (!is_loss(p)) {
        call_element_map(kernel, p, o);
        return;
    }
    const double *values[] = {p->weight, p->pos_weight, p->element_factor};
    struct placed extra[3], loss = place(p->dtype, 1, p->classes, CONTIGUOUS, p->at_end & 16);
    double sum[2] = {0, 0};
    for (int i = 0; i < 3; i++) {
        extra[i] = place(p->dtype, 1, p->classes, CONTIGUOUS, p->at_end >> i & 1);
        put_all(&extra[i], values[i]);
    }
    call_element_loss(kernel, p, o, extra, loss.matrix.data, sum);
    for (int i = 0; i < 3; i++) {
        check_kept(p, isa, &extra[i], values[i]);
    }
    if (p->wants_sum) {
        got->values[got->n++] = total_of(sum);
    } else {
        collect(p, isa, &loss, got);
    }
}

/* All that a kernel returns, in this order: loss, or their sum; output or gradient; Hessian. */
static void call_kernel(const struct ce_kernel_table *table, const struct problem *p, struct results *got, int garbage)
{
    ce_any_fn *kernel = ce_kernel(table, p->id, p->dtype);
    struct operands o = place_operands(p);
    got->n = 0;
    n_calls++;
    if (is_row_wise(p)) {
        run_rows(kernel, p, table->isa, &o, garbage, got);
    } else {
        run_elements(kernel, p, table->isa, &o, got);
    }
    if (p->wants_grad || !is_loss(p)) {
        collect(p, table->isa, &o.output, got);
    }
    if (p->wants_hess) {
        collect(p, table->isa, &o.hess, got);
    }
    finish_operands(p, table->isa, &o);
}
