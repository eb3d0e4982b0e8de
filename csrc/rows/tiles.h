/* Tiles: LANES rows, tile[class * LANES + lane], made from the rows of a matrix and written back as such. Turned where classes
 * are adjacent (turn.h), copied where rows are. */

/* Whether that was possible: full tiles of 2, 4 or 8 classes, which need no more than their own vectors. */
CE_INLINE int F(turn_rows)(const struct ce_matrix *m, int n, ptrdiff_t n_classes, const T *from, T *to, int to_tile,
                           struct F(finish) f)
{
    if (m->row_stride != n_classes || m->class_stride != 1 || n != LANES) {
        return 0;
    }
    if (!CE_WHOLE_ROWS && n_classes >= BLOCK_CLASSES) {
        return 0;
    }
    if (n_classes == 2) {
        F(turn)(from, to, 2, to_tile ? LANES_LOG2 : 1, f);
    } else if (n_classes == 4) {
        F(turn)(from, to, 4, to_tile ? LANES_LOG2 : 2, f);
    } else if (n_classes == 8) {
        F(turn)(from, to, 8, to_tile ? LANES_LOG2 : 3, f);
    } else {
        return 0;
    }
    return 1;
}

/* Rows first..first+n-1 into a tile; the lanes past n are 0. */
CE_STATIC void F(tile_load)(const struct ce_matrix *m, int64_t first, int n, ptrdiff_t n_classes, T *tile)
{
    const T *x = (const T *)m->data + first * m->row_stride;
    if (F(turn_rows)(m, n, n_classes, x, tile, 1, AS_IT_IS)) {
        return;
    }
    if (m->class_stride == 1 && n_classes > 1) {
        F(rows_to_tile)(x, m->row_stride, n, n_classes, tile);
    } else if (m->row_stride == 1) {
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            v_store(tile + c * LANES,
                    n == LANES ? v_load(x + c * m->class_stride) : v_load_part(x + c * m->class_stride, n, 0));
        }
    } else {
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            for (int i = 0; i < LANES; i++) {
                tile[c * LANES + i] = i < n ? x[i * m->row_stride + c * m->class_stride] : 0;
            }
        }
    }
}

CE_INLINE void F(tile_store)(const struct ce_matrix *m, int64_t first, int n, ptrdiff_t n_classes, const T *tile,
                             struct F(finish) f)
{
    T *y = (T *)m->data + first * m->row_stride;
    if (F(turn_rows)(m, n, n_classes, tile, y, 0, f)) {
        return;
    }
    if (m->class_stride == 1 && n_classes > 1) {
        F(tile_to_rows)(y, m->row_stride, n, n_classes, tile, f);
    } else if (m->row_stride == 1) {
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            V v = F(tile_at)(tile, c, f);
            if (n == LANES) {
                v_store(y + c * m->class_stride, v);
            } else {
                v_store_part(y + c * m->class_stride, v, n);
            }
        }
    } else {
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            T v[LANES];
            v_store(v, F(tile_at)(tile, c, f));
            for (int i = 0; i < n; i++) {
                y[i * m->row_stride + c * m->class_stride] = v[i];
            }
        }
    }
}

/* Rows of the tile that begins at `first`. */
CE_INLINE int F(rows_of_tile)(int64_t first, int64_t n_rows)
{
    return n_rows - first < LANES ? (int)(n_rows - first) : LANES;
}

/* Whether tiles can go class by class, not tile by tile. 19 planes 102,400 bytes apart lie in one set of the first-level cache;
 * its 12 lines are all under way when a 13th is asked for. Of several tiles a class takes several lines, in as many sets. */
CE_INLINE int F(are_planes)(const struct ce_matrix *m, int64_t first, int64_t n_rows, int n_tiles)
{
    return m->row_stride == 1 && m->class_stride != 1 && n_rows - first >= n_tiles * LANES;
}

/* Tiles of rows first.. of n_rows. */
CE_STATIC void F(tiles_load)(const struct ce_matrix *m, int64_t first, int64_t n_rows, int n_tiles, ptrdiff_t n_classes,
                             T *const tile[])
{
    if (F(are_planes)(m, first, n_rows, n_tiles)) {
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            const T *x = (const T *)m->data + first + c * m->class_stride;
            for (int k = 0; k < n_tiles; k++) {
                v_store(tile[k] + c * LANES, v_load(x + k * LANES));
            }
        }
        return;
    }
    for (int k = 0; k < n_tiles; k++, first += LANES) {
        F(tile_load)(m, first, F(rows_of_tile)(first, n_rows), n_classes, tile[k]);
    }
}

CE_INLINE void F(tiles_store)(const struct ce_matrix *m, int64_t first, int64_t n_rows, int n_tiles,
                              ptrdiff_t n_classes, T *const tile[], struct F(finish) f)
{
    if (F(are_planes)(m, first, n_rows, n_tiles)) {
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            T *y = (T *)m->data + first + c * m->class_stride;
            for (int k = 0; k < n_tiles; k++) {
                v_store(y + k * LANES, F(tile_at)(tile[k], c, F(finish_of)(f, k)));
            }
        }
        return;
    }
    for (int k = 0; k < n_tiles; k++, first += LANES) {
        F(tile_store)(m, first, F(rows_of_tile)(first, n_rows), n_classes, tile[k], F(finish_of)(f, k));
    }
}
