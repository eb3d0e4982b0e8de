/* What a kernel takes, and the table that holds one set of kernels per instruction set.
 *
 * A kernel is serial C: it works on one block of rows (or of elements), knows nothing of Python or of threads, allocates
 * nothing and cannot fail. Strides are counted in elements. "T" is float or double, the dtype of the table slot. */
#ifndef CROSSENT_KERNELS_H
#define CROSSENT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* A matrix of rows by classes seen through two strides: class_stride 1 is the class axis last, row_stride 1 the class axis first. */
struct ce_matrix {
    void *data;
    ptrdiff_t row_stride, class_stride;
};

/* Where arrays of rows lie, by their size: near the core; so far that they are asked for ahead of their turn; in no cache; there,
 * and the output is stored past them all. */
enum ce_distance { CE_NEAR, CE_FAR, CE_IN_MEMORY, CE_PAST_CACHES };

/* What a kernel has learned of the rows so far, for those of its next call: all 0 before the first. Only its speed depends on it. */
struct ce_guess {
    double shift;
    int careful, batch;
};

/* output[r, :] (or output[r, 0] for logsumexp) from input[r, :]. */
struct ce_row_map {
    int64_t n_rows, n_classes;
    struct ce_matrix input;  /* never written */
    struct ce_matrix output; /* may be input itself */
    enum ce_distance distance;
    struct ce_guess *guess; /* NULL: not kept */
    void *scratch;          /* ce_scratch_bytes(n_classes), aligned to 64 */
};

/* grad_input[r, :] from grad_output[r, :] and the map's output[r, :]. */
struct ce_row_map_backward {
    int64_t n_rows, n_classes;
    struct ce_matrix grad_output, output; /* never written */
    struct ce_matrix grad_input;          /* may be grad_output itself */
    void *scratch;
};

/* loss[r] from input[r, :] and a target that is either target[r] or prob[r, :]; with the gradient and the diagonal Hessian
 * with respect to input when grad.data and hess.data are not NULL. */
struct ce_row_loss {
    int64_t n_rows, n_classes;
    struct ce_matrix input;      /* never written, unless grad is the same memory */
    const int64_t *target;       /* [n_rows], each in [0, n_classes) or equal to ignore_index; NULL with prob */
    struct ce_matrix prob;       /* never written; data is NULL with target */
    const double *class_weight;  /* [n_classes], NULL is all ones */
    int64_t ignore_index;        /* such a row is never read: loss 0, gradient 0, Hessian 0 */
    double label_smoothing;      /* in [0, 1] */
    double *loss;                /* [n_rows], class weights included, nothing divided */
    double grad_scale;           /* factor on every row of grad and hess: 1 / denominator times a scalar grad_output */
    const double *grad_output;   /* [n_rows] further factor for each row, NULL is all ones */
    struct ce_matrix grad, hess; /* data NULL: not wanted; grad may be input itself */
    enum ce_distance distance;
    struct ce_guess *guess; /* NULL: not kept */
    void *scratch;
};

/* output[i] from input[i]; contiguous. */
struct ce_element_map {
    int64_t n;
    const void *input;
    void *output; /* may be input */
};

/* Loss of n contiguous elements. Exactly one of loss (an array of T) and sum (their sum as hi + lo) is not NULL. */
struct ce_element_loss {
    int64_t n;
    const void *input, *target;
    const void *weight;     /* [n] of T, NULL is all ones */
    const void *pos_weight; /* [n] of T, NULL is all ones (binary_cross_entropy_with_logits) */
    double label_smoothing; /* binary_cross_entropy_with_logits: target * (1 - s) + s / 2 */
    double log_floor;       /* binary_cross_entropy: the logarithms are not taken below this; -inf for exact */
    double eps;             /* binary_cross_entropy: input is clipped to [eps, 1 - eps]; 0 for exact */
    int *outside_unit; /* binary_cross_entropy, NULL: not asked. Set to whether a number of input or target is outside
                               [0, 1] (NaN is not); then nothing else is written but the sum, which means nothing.
                               With loss and sum both NULL there is only this check. */
    int log_target;    /* kl_div: target is given as its logarithm */
    void *loss;
    double *sum;             /* [2] */
    double grad_scale;       /* factor on every element of grad and hess */
    const void *grad_output; /* [n] of T, further factor for each element, NULL is all ones */
    void *grad, *hess;       /* [n] of T, NULL: not wanted; grad may be input itself */
    int stream;              /* the arrays are larger than all caches: store past them */
};

typedef void ce_row_map_fn(const struct ce_row_map *);
typedef void ce_row_map_backward_fn(const struct ce_row_map_backward *);
typedef void ce_row_loss_fn(const struct ce_row_loss *);
/* The sum of loss[r] as total[0] + total[1], and how many targets are not ignore_index, or -1 if one of those is no class:
 * they need not be checked before. Of the arguments input, target and ignore_index count. */
typedef int64_t ce_row_loss_sum_fn(const struct ce_row_loss *, double total[2]);
typedef void ce_element_map_fn(const struct ce_element_map *);
typedef void ce_element_loss_fn(const struct ce_element_loss *);

enum ce_dtype { CE_F32, CE_F64, CE_N_DTYPES };

/* The sum of n numbers as total[0] + total[1]: compensated, in an order that only n decides. */
typedef void ce_sum_losses_fn(const double *values, int64_t n, double total[2]);
/* How many of n targets are not ignore_index; -1 if one of those is not in [0, n_classes). */
typedef int64_t ce_count_targets_fn(const int64_t *target, int64_t n, int64_t n_classes, int64_t ignore_index);

/* One set of kernels: a slot for each line of kernels.def and each dtype, and what the drivers do around them. */
struct ce_kernel_table {
    const char *isa;
    ce_sum_losses_fn *sum_losses;
    ce_count_targets_fn *count_targets;
#define KERNEL(name, signature) ce_##signature##_fn *name[CE_N_DTYPES];
#include "kernels.def"
#undef KERNEL
};

/* The lines of kernels.def, in order, for looking a kernel up by name. */
enum ce_kernel_id {
#define KERNEL(name, signature) CE_KERNEL_##name,
#include "kernels.def"
#undef KERNEL
    CE_N_KERNELS
};

/* Seen from outside the module, so that the tests' programs can call the kernels that are installed. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

/* Scratch memory that a row kernel needs, for any dtype; the same on every instruction set. */
size_t ce_scratch_bytes(int64_t n_classes);

/* dispatch.c: the tables that were compiled in and that this processor and operating system can run, best first. */
int ce_n_tables(void);
const struct ce_kernel_table *ce_table(int i);
/* From how many threads on results that no cache holds are stored past the caches. */
int ce_least_streaming_threads(void);
const char *ce_kernel_name(int id);      /* NULL past the end */
const char *ce_kernel_signature(int id); /* "row_map", ... */
/* The slot of kernel `id` in a table, as the generic pointer that the driver casts to its signature's type. */
typedef void ce_any_fn(void);
ce_any_fn *ce_kernel(const struct ce_kernel_table *table, int id, enum ce_dtype dtype);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#endif
