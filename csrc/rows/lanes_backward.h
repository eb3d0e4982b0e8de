/* The maps' gradients with a row to a lane (lanes.h): the sums in the very order of backward.h.
 *
 * There is little to compute, so rows that are adjacent are not copied into tiles: they are read twice where they lie. */

/* Class c of LANES rows, to the sum `at` of each vector. */
CE_INLINE void F(accumulate_class)(struct vd2 sums[WIDE_PARTS][8], int at, const struct F(backward_vectors) * t,
                                   int has_y, ptrdiff_t c)
{
    for (int i = 0; i < WIDE_PARTS; i++) {
        const T *y = has_y ? t->y + c * t->y_step + 8 * i : NULL;
        w_accumulate(&sums[i][at], F(products)(t->g + c * t->g_step + 8 * i, y, 8));
    }
}

/* Classes l, l + 8, ... below `whole`, a multiple of 32, to sum l. */
CE_INLINE void F(accumulate_whole)(struct vd2 sums[WIDE_PARTS][8], int l, const struct F(backward_vectors) * t,
                                   int has_y, ptrdiff_t whole)
{
    struct vd2 four[WIDE_PARTS][8];
    for (int k = 0; k < 4 * WIDE_PARTS; k++) {
        w_clear(&four[k / 4][k % 4]);
    }
    for (ptrdiff_t j = l; j < whole; j += 32) {
        for (int k = 0; k < 4; k++) {
            F(accumulate_class)(four, k, t, has_y, j + 8 * k);
        }
    }
    for (int k = 0; k < 4 * WIDE_PARTS; k++) {
        w_merge(&sums[k / 4][l], four[k / 4][k % 4]);
    }
}

/* The sums of the rows. Class j of one row is added in lane j mod 8 there; here that is a vector. */
CE_INLINE void F(sums_of_products)(const struct F(backward_vectors) * t, int has_y, ptrdiff_t n, W result[WIDE_PARTS])
{
    struct vd2 sums[WIDE_PARTS][8];
    ptrdiff_t whole = n & -(ptrdiff_t)32;
    for (int l = 0; l < ce_sums_in_use(n); l++) {
        for (int i = 0; i < WIDE_PARTS; i++) {
            w_clear(&sums[i][l]);
        }
        if (whole > 0) {
            F(accumulate_whole)(sums, l, t, has_y, whole);
        }
    }
    for (ptrdiff_t c = whole; c < n; c++) {
        F(accumulate_class)(sums, c & 7, t, has_y, c);
    }
    for (int i = 0; i < WIDE_PARTS; i++) {
        result[i] = F(sum_of_eight)(sums[i], n);
    }
}

typedef void F(backward_tiles)(int n_tiles, const struct F(backward_vectors) * t, ptrdiff_t n);

/* Whether a sum is scaled is a constant. */
CE_INLINE void F(write_times_rest)(int scaled, int n_tiles, const struct F(backward_vectors) * t, ptrdiff_t n,
                                   const struct F(split) * sum)
{
    for (ptrdiff_t c = 0; c < n; c++) {
        for (int k = 0; k < n_tiles; k++) {
            V g = v_load(t[k].g + c * t[k].g_step), y = v_load(t[k].y + c * t[k].y_step);
            V result = scaled ? F(times_rest_scaled)(y, g, &sum[k]) : F(times_rest)(y, g, &sum[k]);
            v_store(t[k].out + c * t[k].out_step, result);
        }
    }
}

CE_STATIC void F(softmax_backward_tiles)(int n_tiles, const struct F(backward_vectors) * t, ptrdiff_t n)
{
    struct F(split) sum[TILES];
    int scaled = 0;
    for (int k = 0; k < n_tiles; k++) {
        W sums[WIDE_PARTS];
        F(sums_of_products)(&t[k], 1, n, sums);
        sum[k] = F(split_sums)(sums);
        scaled |= F(any_scaled)(&sum[k]);
    }
    if (scaled) {
        F(write_times_rest)(1, n_tiles, t, n, sum);
    } else {
        F(write_times_rest)(0, n_tiles, t, n, sum);
    }
}

CE_STATIC void F(log_softmax_backward_tiles)(int n_tiles, const struct F(backward_vectors) * t, ptrdiff_t n)
{
    struct F(shifted_sum) sum[TILES][WIDE_PARTS];
    for (int k = 0; k < n_tiles; k++) {
        W sums[WIDE_PARTS];
        F(sums_of_products)(&t[k], 0, n, sums);
        for (int i = 0; i < WIDE_PARTS; i++) {
            sum[k][i] = F(shift_sum)(sums[i]);
        }
    }
    ptrdiff_t c = 0;
    for (; c + CE_INTERLEAVE <= n; c += CE_INTERLEAVE) {
        for (int k = 0; k < n_tiles; k++) {
            for (int i = 0; i < WIDE_PARTS; i++) {
                F(minus_share)(CE_INTERLEAVE, &t[k], c, 8 * i, 8, &sum[k][i]);
            }
        }
    }
    for (; c < n; c++) {
        for (int k = 0; k < n_tiles; k++) {
            for (int i = 0; i < WIDE_PARTS; i++) {
                F(minus_share)(1, &t[k], c, 8 * i, 8, &sum[k][i]);
            }
        }
    }
}

/* The next tiles where they lie, if all their rows are adjacent. */
CE_INLINE int F(lanes_in_place)(const struct ce_row_map_backward *a, int64_t first, int n_tiles,
                                struct F(backward_vectors) * t)
{
    const struct ce_matrix *g = &a->grad_output, *y = &a->output, *out = &a->grad_input;
    if (!F(are_planes)(g, first, a->n_rows, n_tiles) || !F(are_planes)(y, first, a->n_rows, n_tiles) ||
        !F(are_planes)(out, first, a->n_rows, n_tiles)) {
        return 0;
    }
    for (int k = 0; k < n_tiles; k++, first += LANES) {
        t[k] = (struct F(backward_vectors)){(const T *)g->data + first,
                                            (const T *)y->data + first,
                                            (T *)out->data + first,
                                            g->class_stride,
                                            y->class_stride,
                                            out->class_stride};
    }
    return 1;
}

/* As tiles, which grad_input overwrites. */
CE_STATIC void F(copied_tiles_backward)(const struct ce_row_map_backward *a, int64_t first, int n_tiles,
                                        struct F(backward_vectors) * t, F(backward_tiles) * backward)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    T *g[TILES] = {NULL}, *y[TILES] = {NULL};
    for (int k = 0; k < n_tiles; k++) {
        g[k] = (T *)a->scratch + 2 * k * n * LANES;
        y[k] = g[k] + n * LANES;
        t[k] = (struct F(backward_vectors)){g[k], y[k], g[k], LANES, LANES, LANES};
    }
    F(tiles_load)(&a->grad_output, first, a->n_rows, n_tiles, n, g);
    F(tiles_load)(&a->output, first, a->n_rows, n_tiles, n, y);
    backward(n_tiles, t, n);
    F(tiles_store)(&a->grad_input, first, a->n_rows, n_tiles, n, g, AS_IT_IS);
}

/* Memory is asked for whatever the arrays' size: so little is computed that of (4, 19, 160, 160) a third is saved, and within a
 * cache 2 % are lost. */
CE_STATIC void F(lanes_backward)(const struct ce_row_map_backward *a, F(backward_tiles) * backward)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    int n_tiles;
    for (int64_t first = 0; first < a->n_rows; first += n_tiles * LANES) {
        struct F(backward_vectors) t[TILES];
        n_tiles = F(tiles_at_once)(&a->output, first, a->n_rows, n, 1);
        int64_t rows = n_tiles * LANES;
        F(ask_for_rows)(&a->grad_output, first + rows, rows, a->n_rows, n, 1);
        F(ask_for_rows)(&a->output, first + rows, rows, a->n_rows, n, 1);
        F(ask_for_rows)(&a->grad_input, first, rows, a->n_rows, n, 1);
        if (F(lanes_in_place)(a, first, n_tiles, t)) {
            backward(n_tiles, t, n);
        } else {
            F(copied_tiles_backward)(a, first, n_tiles, t, backward);
        }
    }
}

/* Adjacent classes are worth a transposition up to so many: of 33 doubles it saves 40 %, of 100 nothing. */
#define LANES_CLASSES_BACKWARD 64

CE_STATIC void F(map_backward)(const struct ce_row_map_backward *a, F(backward_row) * row, F(backward_tiles) * tiles)
{
    const struct ce_matrix *m = a->output.class_stride == 1 ? &a->grad_output : &a->output;
    if ((m->class_stride != 1 || a->n_classes <= LANES_CLASSES_BACKWARD) &&
        F(fits_lanes)(m, a->n_rows, a->n_classes, CE_NEAR)) {
        F(lanes_backward)(a, tiles);
    } else {
        F(rows_backward)(a, row);
    }
}

CE_STATIC void F(softmax_backward)(const struct ce_row_map_backward *a)
{
    F(map_backward)(a, F(softmax_backward_row), F(softmax_backward_tiles));
}

CE_STATIC void F(log_softmax_backward)(const struct ce_row_map_backward *a)
{
    F(map_backward)(a, F(log_softmax_backward_row), F(log_softmax_backward_tiles));
}
