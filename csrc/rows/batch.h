/* Several tiles (lanes.h) on their way together: loaded, summed, written. */

/* Tiles that take each step together. The steps of a tile wait for each other, the logarithms for the sums, and vectors for
 * numbers that were stored one by one; those of several tiles do not. Of rows that are not adjacent half as many: more do not
 * gain. So many classes together stay in a first-level cache; with what they were read from and are written to, fewer: 64, 80 and
 * 128 classes of softmax, log_softmax and gradient took 4 to 9 % longer. */
#define TILES 8
#define BATCH_CLASSES_WRITTEN 160

CE_INLINE int F(tiles_at_once)(const struct ce_matrix *m, int64_t first, int64_t n_rows, ptrdiff_t n_classes,
                               int written)
{
    int64_t most = m->class_stride == 1 ? TILES / 2 : TILES, left = (n_rows - first + LANES - 1) / LANES;
    ptrdiff_t fit = (written ? BATCH_CLASSES_WRITTEN : BATCH_CLASSES) / n_classes;
    if (most > fit) {
        most = fit < 1 ? 1 : fit;
    }
    return (int)(most < left ? most : left);
}

struct F(batch) {
    int n; /* tiles */
    const struct ce_matrix *input;
    int64_t first; /* row */
    struct F(group) g[TILES];
    T *tile[TILES], *exps[TILES], *prob[TILES];
};

/* Arrays larger than the cache are asked for while other tiles are worked on: what will be read next, and where these will
 * be written. Short rows are read faster than a processor's own foresight reaches: log_softmax of 838860 x 10 took 13.4 ms,
 * then 6.5, cross_entropy 10.1 and 5.1. Of 4 MB and less it does not pay, but of planes from 2 MB on it does. Inline: a function
 * that does nothing but ask is taken for one without effect, and its calls are dropped. */
CE_INLINE void F(ask_for_rows)(const struct ce_matrix *m, int64_t first, int64_t rows, int64_t n_rows,
                               ptrdiff_t n_classes, int far)
{
    if (m->data == NULL || !far) {
        return;
    }
    const T *x = (const T *)m->data + first * m->row_stride;
    const ptrdiff_t line = 64 / (ptrdiff_t)sizeof(T);
    rows = rows < n_rows - first ? rows : n_rows - first;
    if (m->class_stride == 1 && m->row_stride == n_classes) {
        for (ptrdiff_t k = 0; k < rows * n_classes; k += line) {
            CE_PREFETCH(x + k);
        }
    } else if (m->row_stride == 1) {
        /* The last of a line's worth: where lines begin elsewhere, that of the first came with the rows before. Of (4, 19, 25601)
         * log_softmax took 35 ns a row with the first, 32 with the last. */
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            for (ptrdiff_t k = line - 1; k < rows + line - 1; k += line) {
                CE_PREFETCH(x + c * m->class_stride + (k < rows ? k : rows - 1));
            }
        }
    }
}

/* The next tiles. Their groups get what not every sum sets; lanes that no row uses are summed too. written: so will be as many. */
CE_STATIC void F(batch_load)(struct F(batch) * b, const struct ce_matrix *input, int64_t first, int64_t n_rows,
                             ptrdiff_t n_classes, enum ce_distance distance, int written, void *scratch)
{
    int n_tiles = F(tiles_at_once)(input, first, n_rows, n_classes, written);
    int64_t row = first;
    b->input = input;
    b->first = first;
    for (b->n = 0; b->n < n_tiles; b->n++, row += LANES) {
        struct F(group) *g = &b->g[b->n];
        g->n = F(rows_of_tile)(row, n_rows);
        for (int i = 0; i < LANES; i += 8) {
            vd_store(g->sum_lo + i, vd_set1(0));
        }
        v_store(g->base, v_set1(0));
        v_store(g->logit, v_set1(-INFINITY));
        b->tile[b->n] = (T *)scratch + 3 * b->n * n_classes * LANES;
        b->exps[b->n] = b->tile[b->n] + n_classes * LANES;
        b->prob[b->n] = b->exps[b->n] + n_classes * LANES; /* for who needs it */
    }
    F(tiles_load)(input, first, n_rows, b->n, n_classes, b->tile);
    F(ask_for_rows)(input, row, b->n * LANES, n_rows, n_classes, distance != CE_NEAR);
}

CE_INLINE V F(copied_at)(const void *row, ptrdiff_t j, ptrdiff_t lanes)
{
    (void)lanes;
    return v_load((const T *)row + j);
}

/* Tiles to where their rows belong. Past the cache go whole lines alone: the rows of a tile, put in order in `spare`, are one
 * long row where they have no gaps (tile_writer). */
CE_INLINE void F(tiles_write)(struct F(writer) * w, const struct ce_matrix *output, int64_t first, int64_t n_rows,
                              int n_tiles, ptrdiff_t n_classes, T *const tile[], T *const spare[], struct F(finish) f)
{
    if (!w->stream) {
        F(tiles_store)(output, first, n_rows, n_tiles, n_classes, tile, f);
        return;
    }
    for (int k = 0; k < n_tiles; k++, first += LANES) {
        struct ce_matrix rows = {spare[k], n_classes, 1};
        int n = F(rows_of_tile)(first, n_rows);
        F(tile_store)(&rows, 0, n, n_classes, tile[k], F(finish_of)(f, k));
        F(write_row)(w, (T *)output->data + first * n_classes, n * n_classes, F(copied_at), spare[k],
                     (struct F(special)){-1, 0});
    }
}

/* Past the cache go rows without gaps. Shorter ones gain nothing: log_softmax of 1677721 x 10 lost 1 %, doubles 5 %. */
CE_INLINE struct F(writer)
    F(tile_writer)(const struct ce_matrix *output, ptrdiff_t n_classes, enum ce_distance distance)
{
    int streams = n_classes > 16 && output->row_stride == n_classes;
    return F(writer_to)(output, n_classes, streams ? distance : CE_NEAR);
}

/* Each lane's maximum, and its logit; `rest`, which may be the tile, gets it without the first class that has it (NaN has none). */
CE_STATIC V F(batch_take_max)(struct F(batch) * b, int k, ptrdiff_t n_classes, T *rest)
{
    T *tile = b->tile[k];
    V max = F(tile_max)(tile, n_classes);
    if (v_any(v_lt(v_set1(1), F(tile_without)(tile, n_classes, max, rest)))) {
        if (rest == tile) {
            F(tile_load)(b->input, b->first + k * LANES, b->g[k].n, n_classes, tile);
        }
        F(tile_without_first)(tile, n_classes, max, rest);
    }
    v_store(b->g[k].logit, max);
    return max;
}

/* The exponentials of all tiles first: from there to the logarithms is a chain longer than what a processor looks ahead. All in
 * one go, cross_entropy of 3 to 20 classes took 10 % longer. */
CE_STATIC void F(batch_logs)(struct F(batch) * b, struct vd2 e[TILES][WIDE_PARTS])
{
    for (int k = 0; k < b->n; k++) {
        F(group_exps)(&b->g[k], 0, e[k]);
    }
    for (int k = 0; k < b->n; k++) {
        F(group_logs_of)(&b->g[k], 0, e[k]);
    }
}

/* The sums without the maxima, and the logarithms. b->exps gets the tiles without the maxima; if those are not to be kept, b->tile:
 * log_softmax of 64 classes and more 3 to 5 % less. */
CE_STATIC void F(batch_sum_below_max)(struct F(batch) * b, ptrdiff_t n_classes, int keep_tiles, V max[TILES])
{
    T **rest = keep_tiles ? b->exps : b->tile;
    struct F(tile_shift) shift[TILES];
    struct vd2 e[TILES][WIDE_PARTS];
    for (int k = 0; k < b->n; k++) {
        max[k] = F(batch_take_max)(b, k, n_classes, rest[k]);
        shift[k] = F(tile_shift_for)(max[k], &b->g[k]);
    }
    for (int k = 0; k < b->n; k++) {
        F(tile_sum)(rest[k], n_classes, &shift[k], NULL, &b->g[k]);
    }
    F(batch_logs)(b, e);
}
