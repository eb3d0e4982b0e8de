/* Fuzz the kernels: from some bytes a call of a kernel, made on every instruction set and compared with long double.
 *
 *     the same bits on AVX2, AVX-512 and NEON, in any memory layout, whatever the scratch memory held
 *     within a few units in the last place of the reference, where that is defined
 *     nothing read outside the arrays (the sanitizers see it), nothing written between their elements, no input changed
 *
 * With clang's -fsanitize=fuzzer this is a libFuzzer target; with standalone.c a program of its own. See README.md. */
#define _DEFAULT_SOURCE 1 /* MAP_ANONYMOUS */

#include "reference.h"
#include "source.h"

/* Larger than what the library promises: this looks for wrong numbers, and tests/test_accuracy.py counts the digits. */
#define TOLERANCE 8

enum { MAX_ELEMENTS = 12000, MAX_RESULTS = 3 * MAX_ELEMENTS };

static unsigned long long n_calls, n_inputs;

static void print_count(void) { fprintf(stderr, "%llu inputs, %llu kernel calls\n", n_inputs, n_calls); }

struct problem {
    int id;
    enum ce_dtype dtype;
    const char *name, *signature;
    int rows, classes; /* elements: one row */
    int mood;
    double *input, *other, *weight, *pos_weight, *element_factor; /* [rows * classes] */
    double *class_weight, *row_factor;                            /* [classes], [rows] */
    int64_t *target;                                              /* [rows] */
    int64_t ignore_index;
    int has_weight, has_pos_weight, has_factor, log_target, wants_grad, wants_hess, wants_sum, in_place, soft;
    enum ce_distance distance;
    double guess; /* the shift of other rows before; NaN: none is known */
    double smoothing, log_floor, eps, grad_scale;
    enum layout input_layout, other_layout, output_layout, hess_layout;
    int at_end; /* a bit for each array */
};

struct results {
    int n;
    double values[MAX_RESULTS];
};

static void fail(const struct problem *p, const char *isa, const char *what, int index, double got, double wanted)
{
    fprintf(stderr, "%s %s on %s: %s at result %d: got %.17g, wanted %.17g\n", p->name,
            p->dtype == CE_F32 ? "float32" : "float64", isa, what, index, got, wanted);
    fprintf(stderr,
            "  %d x %d, layouts %d %d %d %d, at_end %d, mood %d, smoothing %g, weight %d, pos_weight %d, factor %d, "
            "grad %d, "
            "hess %d, sum %d, in place %d, distance %d, guess %g, log_target %d, floor %g, eps %g, scale %g\n",
            p->rows, p->classes, p->input_layout, p->other_layout, p->output_layout, p->hess_layout, p->at_end, p->mood,
            p->smoothing, p->has_weight, p->has_pos_weight, p->has_factor, p->wants_grad, p->wants_hess, p->wants_sum,
            p->in_place, p->distance, p->guess, p->log_target, p->log_floor, p->eps, p->grad_scale);
    print_count();
    abort();
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory) {
        abort();
    }
    return memory;
}

static int is_row_wise(const struct problem *p) { return strncmp(p->signature, "row", 3) == 0; }
static int is_loss(const struct problem *p) { return strstr(p->signature, "loss") != NULL; }
static int has_input_of_probabilities(const struct problem *p) { return !strcmp(p->name, "binary_cross_entropy"); }
static int is_sum(const struct problem *p) { return !strcmp(p->signature, "row_loss_sum"); }
static int is_logsumexp(const struct problem *p) { return !strcmp(p->name, "logsumexp"); }
static int has_hessian(const struct problem *p)
{
    return !strncmp(p->name, "cross_entropy", 13) || strstr(p->name, "with_logits") || !strcmp(p->name, "mse_loss");
}

/* ---- from bytes to a problem ---- */

static int draw_classes(struct source *s)
{
    static const int sides[] = {1,   2,   3,    4,    5,    7,    8,    9,    10,   15,   16,   17,
                                18,  31,  32,   33,   47,   48,   63,   64,   65,   96,   100,  127,
                                128, 129, 160,  191,  192,  193,  255,  256,  257,  300,  511,  512,
                                513, 700, 1000, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 5000, 9000};
    int side = choose(s, 256);
    int long_row = take_byte(s) < 4;
    return sides[side % (long_row ? 48 : 40)];
}

static void draw_shape(struct source *s, struct problem *p)
{
    static const int counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 40};
    p->classes = draw_classes(s);
    p->rows = counts[choose(s, 16)];
    if (!is_row_wise(p)) {
        p->rows = 1;
    }
    int most = choose(s, 8) ? 400 : 2000;
    while (p->rows > 1 && p->rows * p->classes > most) {
        p->rows--;
    }
}

static void draw_layouts(struct source *s, struct problem *p)
{
    int plain = take_byte(s) < 64;
    p->input_layout = plain ? CONTIGUOUS : (enum layout)choose(s, N_LAYOUTS);
    p->other_layout = plain ? CONTIGUOUS : (enum layout)choose(s, N_LAYOUTS);
    p->output_layout = plain ? CONTIGUOUS : (enum layout)choose(s, N_LAYOUTS);
    p->hess_layout = plain ? CONTIGUOUS : (enum layout)choose(s, N_LAYOUTS);
    p->at_end = take_byte(s);
    if (!is_row_wise(p)) {
        p->input_layout = p->other_layout = p->output_layout = p->hess_layout = CONTIGUOUS;
    }
}

static void draw_options(struct source *s, struct problem *p)
{
    static const double scales[] = {1, 1, 1.0 / 3, 1e-6, -2, 0}, smoothings[] = {0, 0, 0.1, 1, 0x1p-40};
    static const double floors[] = {-100, -INFINITY, -1, 0}, clips[] = {0, 0, 1e-7, 0.25};
    static const double guesses[] = {NAN, 0, -20, 40, 500, -1500, 32767, -32767};
    int bits = take_byte(s) | take_byte(s) << 8;
    p->has_weight = bits & 1 && !is_sum(p);
    p->has_pos_weight = bits >> 1 & 1 && strstr(p->name, "with_logits");
    p->has_factor = bits >> 2 & 1;
    p->wants_grad = is_loss(p) && !is_sum(p) && bits >> 3 & 1;
    p->wants_hess = p->wants_grad && bits >> 4 & 1 && has_hessian(p);
    p->wants_sum = bits >> 5 & 1;
    p->in_place = bits >> 6 & 1 && !is_logsumexp(p);
    p->distance = (enum ce_distance)(bits >> 10 & 3);
    p->distance = p->distance == CE_PAST_CACHES && p->in_place ? CE_IN_MEMORY : p->distance;
    p->guess = guesses[bits >> 12 & 7];
    p->log_target = bits >> 8 & 1 && !strcmp(p->name, "kl_div");
    p->soft = !strcmp(p->name, "cross_entropy_soft");
    p->grad_scale = scales[choose(s, 6)];
    p->smoothing = strncmp(p->name, "nll", 3) ? smoothings[choose(s, 5)] : 0;
    p->log_floor = floors[choose(s, 4)];
    p->eps = clips[choose(s, 4)];
    p->ignore_index = bits >> 9 & 1 ? -100 : choose(s, p->classes < 256 ? p->classes : 256);
}

/* Numbers that weigh: 0, 1, and some between. */
static double weight_of(struct source *s, enum ce_dtype dtype)
{
    int kind = take_byte(s);
    return kind < 32 ? 0 : kind < 64 ? 1 : rounded(dtype, uniform(s, 0, 3));
}

static double other_of(struct source *s, const struct problem *p, int mood)
{
    if (!strcmp(p->name, "mse_loss") || !strcmp(p->signature, "row_map_backward")) {
        double x = logit(s, p->dtype, mood, 3);
        return strcmp(p->name, "softmax_backward") ? (strcmp(p->name, "mse_loss") ? -fabs(x) : x) : fmin(fabs(x), 1);
    }
    if (p->log_target) {
        return -fabs(logit(s, p->dtype, mood, 30));
    }
    double q = probability(s, p->dtype, mood);
    return q;
}

static void draw_values(struct source *s, struct problem *p)
{
    static const double spreads[] = {1, 8, 1e-3, 60, 700};
    ptrdiff_t n = (ptrdiff_t)p->rows * p->classes;
    double spread = spreads[choose(s, 5)];
    int other_mood = choose(s, 8) ? choose(s, 3) : choose(s, N_MOODS);
    p->mood = choose(s, N_MOODS);
    for (ptrdiff_t i = 0; i < n; i++) {
        p->input[i] =
            has_input_of_probabilities(p) ? probability(s, p->dtype, p->mood) : logit(s, p->dtype, p->mood, spread);
        p->other[i] = other_of(s, p, other_mood);
        p->weight[i] = weight_of(s, p->dtype);
        p->pos_weight[i] = weight_of(s, p->dtype);
        p->element_factor[i] = rounded(p->dtype, uniform(s, -2, 2));
    }
    for (int c = 0; c < p->classes; c++) {
        p->class_weight[c] = weight_of(s, CE_F64);
    }
    for (int r = 0; r < p->rows; r++) {
        p->target[r] = choose(s, 6) ? (take_byte(s) << 8 | take_byte(s)) % p->classes : p->ignore_index;
        p->row_factor[r] = uniform(s, -3, 3);
    }
    if (is_sum(p) && choose(s, 4) == 0) {
        p->target[choose(s, p->rows)] = choose(s, 2) ? p->classes : -1;
    }
}

static struct problem draw_problem(struct source *s)
{
    struct problem p;
    memset(&p, 0, sizeof p);
    p.id = choose(s, CE_N_KERNELS);
    p.dtype = (enum ce_dtype)choose(s, CE_N_DTYPES);
    p.name = ce_kernel_name(p.id);
    p.signature = ce_kernel_signature(p.id);
    draw_shape(s, &p);
    draw_layouts(s, &p);
    draw_options(s, &p);
    size_t bytes = (size_t)p.rows * (size_t)p.classes * sizeof(double);
    double **arrays[] = {&p.input, &p.other, &p.weight, &p.pos_weight, &p.element_factor};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i] = allocate(bytes);
    }
    p.class_weight = allocate((size_t)p.classes * sizeof(double));
    p.row_factor = allocate((size_t)p.rows * sizeof(double));
    p.target = allocate((size_t)p.rows * sizeof(int64_t));
    draw_values(s, &p);
    return p;
}

static void free_problem(struct problem *p)
{
    void *arrays[] = {p->input,          p->other,        p->weight,     p->pos_weight,
                      p->element_factor, p->class_weight, p->row_factor, p->target};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        free(arrays[i]);
    }
}

#include "call.h"
#include "judge.h"

/* The same on contiguous arrays, one after the other from the start of their rooms. */
static struct problem laid_out_plainly(const struct problem *p)
{
    struct problem plain = *p;
    plain.input_layout = plain.other_layout = plain.output_layout = plain.hess_layout = CONTIGUOUS;
    plain.in_place = plain.at_end = 0;
    plain.distance = CE_NEAR;
    plain.guess = NAN;
    return plain;
}

/* Every instruction set, on the layouts drawn and on contiguous arrays. */
static void try_problem(const struct problem *p)
{
    static struct results first, other;
    static struct expected expected[MAX_RESULTS];
    struct problem plain = laid_out_plainly(p);
    int n = expect_all(p, expected), n_fused = 0;
    for (int i = 0; i < ce_n_tables(); i++) {
        const struct ce_kernel_table *table = ce_table(i);
        int rounds_twice = !strcmp(table->isa, "baseline");
        struct results *got = n_fused || rounds_twice ? &other : &first;
        call_kernel(table, p, got, 0x11 * (i + 1));
        judge(p, table->isa, got, expected, n);
        if (rounds_twice) {
            call_kernel(table, &plain, &first, 0xff);
        }
        same_bits(p, table->isa, got, &first);
        if (!rounds_twice) {
            call_kernel(table, &plain, &other, 0xff);
            same_bits(&plain, table->isa, &other, &first);
            n_fused++;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct source s = source_of(data, size);
    struct problem p = draw_problem(&s);
    if (!n_inputs++) {
        atexit(print_count);
    }
    try_problem(&p);
    free_problem(&p);
    return 0;
}
