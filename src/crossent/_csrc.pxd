"""The C side (csrc/kernels.h) as Cython sees it."""
from libc.stdint cimport int64_t


cdef extern from "kernels.h" nogil:
    struct ce_matrix:
        void *data
        ptrdiff_t row_stride, class_stride

    enum ce_distance:
        CE_NEAR
        CE_FAR
        CE_IN_MEMORY
        CE_PAST_CACHES

    struct ce_guess:
        pass

    struct ce_row_map:
        int64_t n_rows, n_classes
        ce_matrix input, output
        ce_distance distance
        ce_guess *guess
        void *scratch

    struct ce_row_map_backward:
        int64_t n_rows, n_classes
        ce_matrix grad_output, output, grad_input
        void *scratch

    struct ce_row_loss:
        int64_t n_rows, n_classes
        ce_matrix input
        const int64_t *target
        ce_matrix prob
        const double *class_weight
        int64_t ignore_index
        double label_smoothing
        double *loss
        double grad_scale
        const double *grad_output
        ce_matrix grad, hess
        ce_distance distance
        ce_guess *guess
        void *scratch

    struct ce_element_map:
        int64_t n
        const void *input
        void *output

    struct ce_element_loss:
        int64_t n
        const void *input
        const void *target
        const void *weight
        const void *pos_weight
        double label_smoothing, log_floor, eps
        int *outside_unit
        int log_target
        void *loss
        double *sum
        double grad_scale
        const void *grad_output
        void *grad
        void *hess
        int stream

    # `noexcept`: a kernel is plain C and cannot fail.
    ctypedef void ce_row_map_fn(const ce_row_map *) noexcept
    ctypedef void ce_row_map_backward_fn(const ce_row_map_backward *) noexcept
    ctypedef void ce_row_loss_fn(const ce_row_loss *) noexcept
    ctypedef int64_t ce_row_loss_sum_fn(const ce_row_loss *, double *total) noexcept
    ctypedef void ce_element_map_fn(const ce_element_map *) noexcept
    ctypedef void ce_element_loss_fn(const ce_element_loss *) noexcept
    ctypedef void ce_any_fn() noexcept
    ctypedef void ce_sum_losses_fn(const double *values, int64_t n, double *total) noexcept
    ctypedef int64_t ce_count_targets_fn(const int64_t *target, int64_t n, int64_t n_classes,
                                         int64_t ignore_index) noexcept

    enum ce_dtype:
        CE_F32
        CE_F64

    struct ce_kernel_table:
        const char *isa
        ce_sum_losses_fn *sum_losses
        ce_count_targets_fn *count_targets

    size_t ce_scratch_bytes(int64_t n_classes)
    int ce_least_streaming_threads()
    int ce_n_tables()
    const ce_kernel_table *ce_table(int i)
    const char *ce_kernel_name(int id)
    const char *ce_kernel_signature(int id)
    ce_any_fn *ce_kernel(const ce_kernel_table *table, int id, ce_dtype dtype)
