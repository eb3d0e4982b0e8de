/* Rows as contiguous memory: where they lie, if their classes are adjacent; else packed into scratch, a group at a time. */

struct F(rows) {
    T *data;
    ptrdiff_t stride;
};

CE_INLINE int F(is_contiguous)(const struct ce_matrix *m, int64_t n_classes)
{
    return m->class_stride == 1 || n_classes == 1;
}

CE_INLINE T *F(scratch)(void *scratch, int which, int64_t n_classes)
{
    size_t array = (size_t)ce_group_rows(n_classes) * (size_t)ce_padded_classes(n_classes);
    return (T *)((double *)scratch + (size_t)which * array);
}

CE_INLINE int F(are_packed)(const struct ce_matrix *input, const struct ce_matrix *output, int64_t n_classes)
{
    return !F(is_contiguous)(input, n_classes) || (output->data && !F(is_contiguous)(output, n_classes));
}

/* Rows in a group of arrays at this distance; in_scratch: packed rows, or exponentials, are. */
CE_INLINE int F(group_rows)(int64_t n_classes, enum ce_distance distance, int in_scratch)
{
    return in_scratch || distance > CE_FAR ? ce_group_rows(n_classes) : ce_near_group_rows(n_classes);
}

/* Shifts of the chunks of the group's rows, behind the arrays. */
CE_INLINE double *F(scratch_shifts)(void *scratch, int64_t n_classes)
{
    return (double *)scratch +
           (size_t)SCRATCH_ARRAYS * (size_t)ce_group_rows(n_classes) * (size_t)ce_padded_classes(n_classes);
}

/* Rows first..first+n-1, without reading them: where output may be written. */
CE_INLINE struct F(rows) F(rows_at)(const struct ce_matrix *m, int64_t first, int64_t n_classes, T *scratch)
{
    struct F(rows) rows = {scratch, ce_padded_classes(n_classes)};
    if (F(is_contiguous)(m, n_classes)) {
        rows.data = (T *)m->data + first * m->row_stride;
        rows.stride = m->row_stride;
    }
    return rows;
}

/* Rows first..first+n-1, read. */
CE_STATIC struct F(rows) F(pack_rows)(const struct ce_matrix *m, int64_t first, int n, int64_t n_classes, T *scratch)
{
    struct F(rows) rows = F(rows_at)(m, first, n_classes, scratch);
    if (rows.data != scratch) {
        return rows;
    }
    const T *x = (const T *)m->data + first * m->row_stride;
    for (int64_t c = 0; c < n_classes; c++) {
        for (int i = 0; i < n; i++) {
            scratch[i * rows.stride + c] = x[i * m->row_stride + c * m->class_stride];
        }
    }
    return rows;
}

/* Write back what was put into rows_at. */
CE_STATIC void F(unpack_rows)(const struct ce_matrix *m, int64_t first, int n, int64_t n_classes, struct F(rows) rows)
{
    if (F(is_contiguous)(m, n_classes)) {
        return;
    }
    T *y = (T *)m->data + first * m->row_stride;
    for (int64_t c = 0; c < n_classes; c++) {
        for (int i = 0; i < n; i++) {
            y[i * m->row_stride + c * m->class_stride] = rows.data[i * rows.stride + c];
        }
    }
}
