/* A hash of everything that each kernel of one instruction set computes, on fixed pseudo-random data.
 *
 * ./kernel_hash ISA prints "kernel dtype hash" for every kernel and dtype; ./kernel_hash ISA kernel prints a line for
 * each call of that kernel instead, which is where to look when two instruction sets differ. Exits with 3 if this
 * processor cannot run ISA. Compile with every .c file of csrc, or run it on the installed kernels: installed.py. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { MAX_CLASSES = 5003, MAX_ROWS = 17, PAD = 16, MAX_ITEMS = MAX_CLASSES * MAX_ROWS + PAD };

static const int sizes[] = {1, 2, 3, 10, 17, 31, 33, 64, 100, 1000, 5003};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

static uint64_t random_state;

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(double low, double high) { return low + (high - low) * (double)(next_random() >> 11) * 0x1p-53; }

/* ---- arrays of either dtype ---- */

struct array {
    enum ce_dtype dtype;
    void *data; /* aligned to 64 */
};

static void put(struct array a, ptrdiff_t i, double x)
{
    if (a.dtype == CE_F32) {
        ((float *)a.data)[i] = (float)x;
    } else {
        ((double *)a.data)[i] = x;
    }
}

static void mix(uint64_t *hash, uint64_t word)
{
    *hash = (*hash ^ word) * 0x100000001b3u;
    *hash ^= *hash >> 29;
}

/* Which NaN an operation returns differs between processors: all are one here. */
static void mix_double(uint64_t *hash, double x)
{
    uint64_t bits = 0x7ff8000000000000u;
    if (x == x) {
        memcpy(&bits, &x, sizeof bits);
    }
    mix(hash, bits);
}

static void mix_array(uint64_t *hash, struct array a, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        mix_double(hash, a.dtype == CE_F32 ? ((float *)a.data)[i] : ((double *)a.data)[i]);
    }
}

static struct array input, target, output, weight, pos_weight, grad_output, grad, hess;
static double row_loss[MAX_ROWS], row_grad_output[MAX_ROWS], class_weight[MAX_CLASSES];
static int64_t row_target[MAX_ROWS];
static void *scratch;

static void *allocate(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) {
        exit(2);
    }
    memset(p, 0, bytes);
    return p;
}

static void allocate_all(void)
{
    struct array *all[] = {&input, &target, &output, &weight, &pos_weight, &grad_output, &grad, &hess};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        all[i]->data = allocate(MAX_ITEMS * sizeof(double));
    }
    size_t most = 0;
    for (int i = 0; i < N_SIZES; i++) {
        most = ce_scratch_bytes(sizes[i]) > most ? ce_scratch_bytes(sizes[i]) : most;
    }
    scratch = allocate(most);
}

static void set_dtype(enum ce_dtype dtype)
{
    input.dtype = target.dtype = output.dtype = weight.dtype = pos_weight.dtype = grad_output.dtype = dtype;
    grad.dtype = hess.dtype = dtype;
}

/* ---- data: every row another difficulty ---- */

static double logit(int kind, enum ce_dtype dtype)
{
    static const double odd[] = {0.0, -0.0, 0x1p-149, -0x1p-140, 0x1p-1070, 1e-30, -1e-30, 88.5, -88.5, 3e38, -3e38};
    int rare = next_random() % 7 == 0;
    switch (kind) {
    case 1: /* one class far above */
        return rare ? uniform(10, 45) : uniform(-1, 1);
    case 2: /* wide */
        return dtype == CE_F32 ? uniform(-120, 90) : uniform(-900, 700);
    case 3:
        return rare ? -INFINITY : uniform(-8, 8);
    case 4: /* all the same */
        return 2.5;
    case 5:
        return rare ? NAN : uniform(-8, 8);
    case 6:
        return rare ? INFINITY : uniform(-8, 8);
    case 7:
        return odd[next_random() % (sizeof odd / sizeof *odd)];
    default:
        return uniform(-8, 8);
    }
}

static double probability(void)
{
    int exponent = -(int)(next_random() % 160); /* here: the order of a call's arguments is the compiler's */
    switch (next_random() % 8) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return ldexp(uniform(0.5, 1), exponent);
    case 3:
        return 1 - 0x1p-24 * (double)(1 + next_random() % 5);
    default:
        return uniform(0, 1);
    }
}

/* Item (r, c) of an array of n_rows rows is at r * row_stride + c * class_stride; row 0 is of that kind. */
static void fill_rows(int n_rows, int n_classes, const struct ce_matrix *m, int kind)
{
    for (int r = 0; r < n_rows; r++) {
        for (int c = 0; c < n_classes; c++) {
            ptrdiff_t i = r * m->row_stride + c * m->class_stride;
            put(input, i, logit((kind + r) % 8, input.dtype));
            put(target, i, probability());
            put(grad_output, i, uniform(-2, 2));
            put(output, i, 777);
            put(grad, i, 777);
            put(hess, i, 777);
        }
    }
    for (int r = 0; r < n_rows; r++) {
        row_target[r] = next_random() % 6 == 0 ? -100 : (int64_t)(next_random() % (uint64_t)n_classes);
        row_grad_output[r] = uniform(-3, 3);
        row_loss[r] = 777;
    }
    for (int c = 0; c < n_classes; c++) {
        class_weight[c] = c % 5 == 4 ? 0 : uniform(0, 2);
    }
}

static void fill_elements(int n, int logits)
{
    for (int i = 0; i < n; i++) {
        put(input, i, logits ? logit(i / 16 % 8, input.dtype) : probability());
        put(target, i, i / 32 % 2 ? probability() : (double)(next_random() & 1));
        put(weight, i, i % 11 == 5 ? 0 : uniform(0, 3));
        put(pos_weight, i, uniform(0.1, 4));
        put(grad_output, i, uniform(-2, 2));
        put(output, i, 777);
        put(grad, i, 777);
        put(hess, i, 777);
    }
}

static void log_targets(int n)
{
    for (int i = 0; i < n; i++) {
        put(target, i, next_random() % 9 ? uniform(-40, 0) : -INFINITY);
    }
}

/* ---- calls: each with other options, chosen by the bits of `variant` ---- */

struct shape {
    int n_rows, n_classes, classes_first;
};

static struct ce_matrix matrix(struct array a, struct shape s)
{
    return s.classes_first ? (struct ce_matrix){a.data, 1, s.n_rows} : (struct ce_matrix){a.data, s.n_classes, 1};
}

static enum ce_distance distance_of(int variant)
{
    static const enum ce_distance others[] = {CE_NEAR, CE_FAR, CE_IN_MEMORY};
    return variant & 1 ? CE_PAST_CACHES : others[variant / 2 % 3];
}

static void call_row_map(ce_any_fn *kernel, struct shape s, int variant, uint64_t *hash)
{
    struct ce_row_map a = {.n_rows = s.n_rows, .n_classes = s.n_classes, .scratch = scratch};
    a.distance = distance_of(variant);
    struct array out = variant & 2 ? input : output;
    a.input = matrix(input, s);
    a.output = matrix(out, s);
    ((ce_row_map_fn *)kernel)(&a);
    mix_array(hash, out, (ptrdiff_t)s.n_rows * s.n_classes);
}

/* logsumexp writes one number a row, and never over its input. */
static void call_logsumexp(ce_any_fn *kernel, struct shape s, int variant, uint64_t *hash)
{
    struct ce_row_map a = {.n_rows = s.n_rows, .n_classes = s.n_classes, .scratch = scratch};
    a.distance = distance_of(variant);
    a.input = matrix(input, s);
    a.output = (struct ce_matrix){output.data, 1, 1};
    ((ce_row_map_fn *)kernel)(&a);
    mix_array(hash, output, s.n_rows);
}

static void call_row_map_backward(ce_any_fn *kernel, struct shape s, int variant, uint64_t *hash)
{
    struct ce_row_map_backward a = {.n_rows = s.n_rows, .n_classes = s.n_classes, .scratch = scratch};
    struct array out = variant & 2 ? grad_output : grad;
    a.grad_output = matrix(grad_output, s);
    a.output = matrix(target, s);
    a.grad_input = matrix(out, s);
    ((ce_row_map_backward_fn *)kernel)(&a);
    mix_array(hash, out, (ptrdiff_t)s.n_rows * s.n_classes);
}

static void run_row_loss(ce_any_fn *kernel, struct shape s, int variant, int soft, uint64_t *hash)
{
    ptrdiff_t n = (ptrdiff_t)s.n_rows * s.n_classes;
    struct array out = variant & 8 ? input : grad;
    struct ce_row_loss a = {.n_rows = s.n_rows, .n_classes = s.n_classes, .ignore_index = -100, .scratch = scratch};
    a.input = matrix(input, s);
    if (soft) {
        a.prob = matrix(target, s);
    } else {
        a.target = row_target;
    }
    a.class_weight = variant & 1 ? class_weight : NULL;
    a.label_smoothing = variant & 2 ? 0.1 : 0;
    a.loss = row_loss;
    a.grad_scale = variant & 1 ? 1.0 / 3 : 1;
    a.grad_output = variant & 2 ? row_grad_output : NULL;
    if (variant & 4) {
        a.grad = matrix(out, s);
    }
    if ((variant & 12) == 12) {
        a.hess = matrix(hess, s);
    }
    a.distance = distance_of(variant);
    ((ce_row_loss_fn *)kernel)(&a);
    mix_array(hash, (struct array){CE_F64, row_loss}, s.n_rows);
    if (a.grad.data) {
        mix_array(hash, out, n);
    }
    if (a.hess.data) {
        mix_array(hash, hess, n);
    }
}

static void call_row_loss(ce_any_fn *kernel, struct shape s, int variant, uint64_t *hash)
{
    run_row_loss(kernel, s, variant, 0, hash);
}

static void call_row_loss_soft(ce_any_fn *kernel, struct shape s, int variant, uint64_t *hash)
{
    run_row_loss(kernel, s, variant, 1, hash);
}

/* With and without a target that is no class. */
static void call_row_loss_sum(ce_any_fn *kernel, struct shape s, int variant, uint64_t *hash)
{
    double sum[2];
    struct ce_row_loss a = {.n_rows = s.n_rows, .n_classes = s.n_classes, .ignore_index = -100};
    a.input = matrix(input, s);
    a.target = row_target;
    if (variant) {
        row_target[s.n_rows / 2] = s.n_classes;
    }
    int64_t count = ((ce_row_loss_sum_fn *)kernel)(&a, sum);
    mix_double(hash, (double)count);
    if (count >= 0) {
        mix_double(hash, sum[0]);
        mix_double(hash, isfinite(sum[0]) ? sum[1] : 0);
    }
}

static void call_element_map(ce_any_fn *kernel, struct shape s, int variant, uint64_t *hash)
{
    struct array out = variant & 2 ? input : output;
    struct ce_element_map a = {.n = s.n_classes, .input = input.data, .output = out.data};
    ((ce_element_map_fn *)kernel)(&a);
    mix_array(hash, out, s.n_classes);
}

static void call_element_loss(ce_any_fn *kernel, struct shape s, int variant, uint64_t *hash)
{
    double sum[2] = {0, 0};
    struct ce_element_loss a = {.n = s.n_classes, .input = input.data, .target = target.data, .grad_scale = 0.25};
    struct array out = variant & 8 ? input : grad;
    if (variant & 1) {
        a.loss = output.data;
    } else {
        a.sum = sum;
    }
    a.weight = variant & 2 ? weight.data : NULL;
    a.pos_weight = variant & 4 ? pos_weight.data : NULL;
    a.label_smoothing = variant & 2 ? 0.2 : 0;
    a.log_floor = variant & 4 ? -100 : -INFINITY;
    a.eps = variant & 2 ? 1e-7 : 0;
    a.log_target = (variant & 16) != 0;
    a.grad_output = variant & 4 ? grad_output.data : NULL;
    a.stream = variant & 1;
    if (variant & 12) {
        a.grad = out.data;
    }
    if ((variant & 12) == 12) {
        a.hess = hess.data;
    }
    ((ce_element_loss_fn *)kernel)(&a);
    mix_double(hash, sum[0]);
    mix_double(hash, sum[1]);
    if (a.loss) {
        mix_array(hash, output, s.n_classes);
    }
    if (a.grad) {
        mix_array(hash, out, s.n_classes);
    }
    if (a.hess) {
        mix_array(hash, hess, s.n_classes);
    }
}

/* ---- every kernel ---- */

typedef void call_fn(ce_any_fn *, struct shape, int variant, uint64_t *hash);

struct plan {
    const char *signature; /* or the name of one kernel, which comes first */
    call_fn *call;
    int variants, rows;
};

static const struct plan plans[] = {
    {"logsumexp", call_logsumexp, 2, 1},
    {"cross_entropy_soft", call_row_loss_soft, 16, 1},
    {"kl_div", call_element_loss, 32, 0},
    {"row_map", call_row_map, 4, 1},
    {"row_map_backward", call_row_map_backward, 4, 1},
    {"row_loss", call_row_loss, 16, 1},
    {"row_loss_sum", call_row_loss_sum, 2, 1},
    {"element_map", call_element_map, 4, 0},
    {"element_loss", call_element_loss, 16, 0},
};

static const struct plan *plan_of(int id)
{
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        if (!strcmp(plans[i].signature, ce_kernel_name(id)) || !strcmp(plans[i].signature, ce_kernel_signature(id))) {
            return &plans[i];
        }
    }
    fprintf(stderr, "kernel %s: no plan for the signature %s\n", ce_kernel_name(id), ce_kernel_signature(id));
    exit(2);
}

/* Fewer rows where they are long; of every kind all the same, if need be over several calls. */
static int row_count(int n_classes, int variant)
{
    return n_classes > 1000 ? 4 : n_classes == 1000 ? 8 : variant % 3 == 1 ? 1 : 17;
}

/* By the parity of the options: with each option, and without it, there are calls of either half of the kinds. */
static int first_kind(int n_classes, int variant, int classes_first)
{
    return n_classes > 1000 && __builtin_parity((unsigned)variant) != classes_first ? 4 : 0;
}

static uint64_t run_kernel(const struct ce_kernel_table *table, int id, enum ce_dtype dtype, int verbose)
{
    const struct plan *plan = plan_of(id);
    uint64_t all = 0;
    set_dtype(dtype);
    for (int variant = 0; variant < plan->variants; variant++) {
        for (int k = 0; k < N_SIZES; k++) {
            for (int classes_first = 0; classes_first <= plan->rows; classes_first++) {
                struct shape s = {row_count(sizes[k], variant), sizes[k], classes_first};
                struct ce_matrix layout = matrix(input, s);
                uint64_t hash = 0xcbf29ce484222325u;
                random_state = (uint64_t)(id * 1000 + variant * 20 + k);
                if (plan->rows) {
                    fill_rows(s.n_rows, s.n_classes, &layout, first_kind(sizes[k], variant, classes_first));
                } else {
                    fill_elements(s.n_classes, strstr(ce_kernel_name(id), "binary_cross_entropy") == NULL ||
                                                   strstr(ce_kernel_name(id), "logits") != NULL);
                }
                if (variant & 16) {
                    log_targets(s.n_classes);
                }
                plan->call(ce_kernel(table, id, dtype), s, variant, &hash);
                if (verbose) {
                    printf("%s f%d variant %d: %d x %d%s %016llx\n", ce_kernel_name(id), dtype == CE_F32 ? 32 : 64,
                           variant, s.n_rows, s.n_classes, classes_first ? " (classes first)" : "",
                           (unsigned long long)hash);
                }
                mix(&all, hash);
            }
        }
    }
    return all;
}

int main(int argc, char **argv)
{
    const struct ce_kernel_table *table = NULL;
    for (int i = 0; argc > 1 && i < ce_n_tables(); i++) {
        if (!strcmp(ce_table(i)->isa, argv[1])) {
            table = ce_table(i);
        }
    }
    if (!table) {
        fprintf(stderr, "this processor does not run the kernels for %s\n", argc > 1 ? argv[1] : "(give one)");
        return 3;
    }
    allocate_all();
    for (int id = 0; id < CE_N_KERNELS; id++) {
        for (int dtype = 0; dtype < CE_N_DTYPES; dtype++) {
            int verbose = argc > 2 && !strcmp(argv[2], ce_kernel_name(id));
            if (argc > 2 && !verbose) {
                continue;
            }
            uint64_t hash = run_kernel(table, id, (enum ce_dtype)dtype, verbose);
            if (argc <= 2) {
                printf("%s %s %016llx\n", ce_kernel_name(id), dtype == CE_F32 ? "f32" : "f64",
                       (unsigned long long)hash);
            }
        }
    }
    return 0;
}
