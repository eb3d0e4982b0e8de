/* Tiles: LANES rows, tile[class * LANES + lane], made from the rows of a matrix and written back as such. Transposed in
 * registers where classes are adjacent, copied where rows are. */

/* `count` vectors as one long row of elements, shuffled perfectly: the element at i goes to 2 i modulo the length less 1.
 * So many steps rotate the bits of i as many places to the left, which is a transposition. */
CE_INLINE void F(shuffle)(V r[LANES], int count, int steps)
{
    for (int step = 0; step < steps; step++) {
        V shuffled[LANES];
        for (int i = 0; i < count / 2; i++) {
            shuffled[2 * i] = v_zip_lo(r[i], r[i + count / 2]);
            shuffled[2 * i + 1] = v_zip_hi(r[i], r[i + count / 2]);
        }
        for (int i = 0; i < count; i++) {
            r[i] = shuffled[i];
        }
    }
}

/* Element (i, j) to (j, i): within blocks of 16 bytes, of which a vector has four, then of the blocks. Of shuffles that stay
 * within a block AVX-512 does two a cycle, of others one: 1.5 cycles a vector, where `shuffle` takes 3.2. */
CE_INLINE void F(transpose)(V r[LANES])
{
    const int lanes = LANES / 4; /* of a block */
    for (int i = 0; i < LANES; i += lanes) {
        for (int step = 1; step < lanes; step *= 2) {
            V zipped[LANES / 4];
            for (int k = 0; k < lanes / 2; k++) {
                zipped[2 * k] = v_zip_blocks_lo(r[i + k], r[i + k + lanes / 2]);
                zipped[2 * k + 1] = v_zip_blocks_hi(r[i + k], r[i + k + lanes / 2]);
            }
            for (int k = 0; k < lanes; k++) {
                r[i + k] = zipped[k];
            }
        }
    }
    for (int k = 0; k < lanes; k++) {
        V *a = r + k, *b = a + lanes, *c = b + lanes, *d = c + lanes;
        V even_ab = v_even_blocks(*a, *b), odd_ab = v_odd_blocks(*a, *b);
        V even_cd = v_even_blocks(*c, *d), odd_cd = v_odd_blocks(*c, *d);
        *a = v_even_blocks(even_ab, even_cd);
        *b = v_even_blocks(odd_ab, odd_cd);
        *c = v_odd_blocks(even_ab, even_cd);
        *d = v_odd_blocks(odd_ab, odd_cd);
    }
}

/* LANES rows of `count` classes without a gap, `from`, transposed; steps: of the shuffle. */
CE_INLINE void F(turn)(const T *from, T *to, int count, int steps)
{
    V r[LANES];
    for (int i = 0; i < count; i++) {
        r[i] = v_load(from + i * LANES);
    }
    F(shuffle)(r, count, steps);
    for (int i = 0; i < count; i++) {
        v_store(to + i * LANES, r[i]);
    }
}

/* Whether that was possible: full tiles of 2, 4 or 8 classes, which need no more than their own vectors. */
CE_INLINE int F(turn_rows)(const struct ce_matrix *m, int n, ptrdiff_t n_classes, const T *from, T *to, int to_tile)
{
    if (m->row_stride != n_classes || m->class_stride != 1 || n != LANES) {
        return 0;
    }
    if (n_classes == 2) {
        F(turn)(from, to, 2, to_tile ? LANES_LOG2 : 1);
    } else if (n_classes == 4) {
        F(turn)(from, to, 4, to_tile ? LANES_LOG2 : 2);
    } else if (n_classes == 8) {
        F(turn)(from, to, 8, to_tile ? LANES_LOG2 : 3);
    } else {
        return 0;
    }
    return 1;
}

/* LANES classes of LANES rows into a tile, and back. */
CE_INLINE void F(load_block)(const T *x, ptrdiff_t row_stride, T *tile)
{
    V r[LANES];
    for (int i = 0; i < LANES; i++) {
        r[i] = v_load(x + i * row_stride);
    }
    F(transpose)(r);
    for (int k = 0; k < LANES; k++) {
        v_store(tile + k * LANES, r[k]);
    }
}

/* Fewer than LANES classes, or rows; the lanes past n are 0. */
CE_INLINE void F(load_few)(const T *x, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, T *tile)
{
    V r[LANES];
    for (int i = 0; i < LANES; i++) {
        r[i] = v_set1(0);
        if (i < n) {
            r[i] = v_load_part(x, n_classes, 0);
            x += row_stride;
        }
    }
    F(transpose)(r);
    for (int k = 0; k < LANES && k < n_classes; k++) {
        v_store(tile + k * LANES, r[k]);
    }
}

CE_INLINE void F(store_block)(T *y, ptrdiff_t row_stride, const T *tile)
{
    V r[LANES];
    for (int k = 0; k < LANES; k++) {
        r[k] = v_load(tile + k * LANES);
    }
    F(transpose)(r);
    for (int i = 0; i < LANES; i++) {
        v_store(y + i * row_stride, r[i]);
    }
}

/* Fewer than LANES classes, or rows. */
CE_INLINE void F(store_few)(T *y, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, const T *tile)
{
    V r[LANES];
    for (int k = 0; k < LANES; k++) {
        r[k] = k < n_classes ? v_load(tile + k * LANES) : v_set1(0);
    }
    F(transpose)(r);
    for (int i = 0; i < n; i++) {
        v_store_part(y, r[i], n_classes);
        y += row_stride;
    }
}

/* Where LANES classes begin, usually at c. The last ones of a row go with some before them once more: whole vectors take 2 to 7 %
 * less than parts. */
CE_INLINE ptrdiff_t F(whole_from)(ptrdiff_t c, ptrdiff_t n_classes)
{
    return c + LANES <= n_classes ? c : n_classes - LANES;
}

/* Rows first..first+n-1 into a tile; the lanes past n are 0. */
CE_STATIC void F(tile_load)(const struct ce_matrix *m, int64_t first, int n, ptrdiff_t n_classes, T *tile)
{
    const T *x = (const T *)m->data + first * m->row_stride;
    if (F(turn_rows)(m, n, n_classes, x, tile, 1)) {
        return;
    }
    if (m->class_stride == 1 && n_classes > 1) {
        if (n == LANES && n_classes >= LANES) {
            for (ptrdiff_t c = 0; c < n_classes; c += LANES) {
                ptrdiff_t at = F(whole_from)(c, n_classes);
                F(load_block)(x + at, m->row_stride, tile + at * LANES);
            }
        } else if (n == LANES) {
            F(load_few)(x, m->row_stride, LANES, n_classes, tile);
        } else {
            for (ptrdiff_t c = 0; c < n_classes; c += LANES) {
                F(load_few)(x + c, m->row_stride, n, n_classes - c, tile + c * LANES);
            }
        }
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

CE_STATIC void F(tile_store)(const struct ce_matrix *m, int64_t first, int n, ptrdiff_t n_classes, const T *tile)
{
    T *y = (T *)m->data + first * m->row_stride;
    if (F(turn_rows)(m, n, n_classes, tile, y, 0)) {
        return;
    }
    if (m->class_stride == 1 && n_classes > 1) {
        if (n == LANES && n_classes >= LANES) {
            for (ptrdiff_t c = 0; c < n_classes; c += LANES) {
                ptrdiff_t at = F(whole_from)(c, n_classes);
                F(store_block)(y + at, m->row_stride, tile + at * LANES);
            }
        } else if (n == LANES) {
            F(store_few)(y, m->row_stride, LANES, n_classes, tile);
        } else {
            for (ptrdiff_t c = 0; c < n_classes; c += LANES) {
                F(store_few)(y + c, m->row_stride, n, n_classes - c, tile + c * LANES);
            }
        }
    } else if (m->row_stride == 1) {
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            V v = v_load(tile + c * LANES);
            if (n == LANES) {
                v_store(y + c * m->class_stride, v);
            } else {
                v_store_part(y + c * m->class_stride, v, n);
            }
        }
    } else {
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            for (int i = 0; i < n; i++) {
                y[i * m->row_stride + c * m->class_stride] = tile[c * LANES + i];
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

CE_STATIC void F(tiles_store)(const struct ce_matrix *m, int64_t first, int64_t n_rows, int n_tiles,
                              ptrdiff_t n_classes, T *const tile[])
{
    if (F(are_planes)(m, first, n_rows, n_tiles)) {
        for (ptrdiff_t c = 0; c < n_classes; c++) {
            T *y = (T *)m->data + first + c * m->class_stride;
            for (int k = 0; k < n_tiles; k++) {
                v_store(y + k * LANES, v_load(tile[k] + c * LANES));
            }
        }
        return;
    }
    for (int k = 0; k < n_tiles; k++, first += LANES) {
        F(tile_store)(m, first, F(rows_of_tile)(first, n_rows), n_classes, tile[k]);
    }
}
