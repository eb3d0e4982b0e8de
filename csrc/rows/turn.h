/* Rows of adjacent classes turned into a tile, tile[class * LANES + lane], and back. */

/* What a tile becomes on its way to rows: exponentials are multiplied by factors, logits made log-probabilities. Of several tiles,
 * the first of an array. */
struct F(finish) {
    const struct F(factors) * factors;
    const struct F(tile_lses) * lses;
};

#define AS_IT_IS ((struct F(finish)){NULL, NULL})

CE_INLINE struct F(finish) F(finish_of)(struct F(finish) f, int k)
{
    return (struct F(finish)){f.factors ? f.factors + k : NULL, f.lses ? f.lses + k : NULL};
}

/* Class c of a tile. */
CE_INLINE V F(tile_at)(const T *tile, ptrdiff_t c, struct F(finish) f)
{
    V v = v_load(tile + c * LANES);
    if (f.lses) {
        return F(tile_log_probability)(v, f.lses);
    }
    return f.factors ? F(scaled)(v, v_load(f.factors->before), v_load(f.factors->hi), v_load(f.factors->lo)) : v;
}

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

/* A block is 16 bytes of a row, a quarter of a vector. */
#define BLOCK_CLASSES (LANES / 4)

/* Within each of the four blocks of r[0], ..., r[BLOCK_CLASSES - 1]: element (i, j) to (j, i). */
CE_INLINE void F(transpose_in_blocks)(V *r)
{
    for (int step = 1; step < BLOCK_CLASSES; step *= 2) {
        V zipped[BLOCK_CLASSES];
        for (int k = 0; k < BLOCK_CLASSES / 2; k++) {
            zipped[2 * k] = v_zip_blocks_lo(r[k], r[k + BLOCK_CLASSES / 2]);
            zipped[2 * k + 1] = v_zip_blocks_hi(r[k], r[k + BLOCK_CLASSES / 2]);
        }
        for (int k = 0; k < BLOCK_CLASSES; k++) {
            r[k] = zipped[k];
        }
    }
}

/* LANES rows of `count` classes without a gap, or a tile, to the other; steps: of the shuffle. */
CE_INLINE void F(turn)(const T *from, T *to, int count, int steps, struct F(finish) f)
{
    V r[LANES];
    for (int i = 0; i < count; i++) {
        r[i] = F(tile_at)(from, i, f);
    }
    F(shuffle)(r, count, steps);
    for (int i = 0; i < count; i++) {
        v_store(to + i * LANES, r[i]);
    }
}

/* TURNED classes of LANES rows into a tile, LOADED of them at a time, and back: blocks go where they belong as wholes, elements
 * within blocks. Fewer classes, or fewer rows, are a part. */
#if CE_WHOLE_ROWS
#define LOADED (2 * BLOCK_CLASSES)
#define TURNED LANES

/* r[i], ..., r[i + 3 * BLOCK_CLASSES] as a matrix of blocks: (i, j) to (j, i). Of so many rows of blocks (a constant); the others
 * are 0. */
CE_INLINE void F(transpose_blocks)(V r[LANES], int n_blocks)
{
    for (int i = 0; i < BLOCK_CLASSES; i++) {
        V *a = r + i, *b = a + BLOCK_CLASSES, *c = b + BLOCK_CLASSES, *d = c + BLOCK_CLASSES;
        V even_ab = v_even_blocks(*a, *b), odd_ab = v_odd_blocks(*a, *b), even_cd = v_set1(0), odd_cd = even_cd;
        if (n_blocks > 2) {
            even_cd = v_even_blocks(*c, *d);
            odd_cd = v_odd_blocks(*c, *d);
        }
        *a = v_even_blocks(even_ab, even_cd);
        *b = v_even_blocks(odd_ab, odd_cd);
        *c = v_odd_blocks(even_ab, even_cd);
        *d = v_odd_blocks(odd_ab, odd_cd);
    }
}

/* With halves of vectors, which loads put in their places: cross_entropy of 33 to 100 classes takes 5 % less than with whole ones.
 * Stores do not gain. */
CE_INLINE void F(load_whole)(const T *x, ptrdiff_t row_stride, T *tile)
{
    const ptrdiff_t step = BLOCK_CLASSES * row_stride;
    V r[LOADED];
    for (int i = 0; i < BLOCK_CLASSES; i++, x += row_stride) {
        V a = v_join_halves(x, x + step), b = v_join_halves(x + 2 * step, x + 3 * step);
        r[i] = v_even_blocks(a, b);
        r[i + BLOCK_CLASSES] = v_odd_blocks(a, b);
    }
    F(transpose_in_blocks)(r);
    F(transpose_in_blocks)(r + BLOCK_CLASSES);
    for (int k = 0; k < LOADED; k++) {
        v_store(tile + k * LANES, r[k]);
    }
}

CE_INLINE void F(store_whole)(T *y, ptrdiff_t row_stride, const T *tile, struct F(finish) f)
{
    V r[LANES];
    for (int k = 0; k < LANES; k++) {
        r[k] = F(tile_at)(tile, k, f);
    }
    for (int i = 0; i < LANES; i += BLOCK_CLASSES) {
        F(transpose_in_blocks)(r + i);
    }
    F(transpose_blocks)(r, 4);
    for (int i = 0; i < LANES; i++) {
        v_store(y + i * row_stride, r[i]);
    }
}

/* Of up to n_blocks blocks of classes (a constant). */
CE_INLINE void F(load_blocks)(int n_blocks, const T *x, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, T *tile)
{
    V r[LANES];
    for (int i = 0; i < LANES; i++) {
        r[i] = v_set1(0);
        if (i < n) {
            r[i] = v_load_part(x, n_classes, 0);
            x += row_stride;
        }
    }
    F(transpose_blocks)(r, 4);
    for (int i = 0; i < n_blocks; i++) {
        F(transpose_in_blocks)(r + i * BLOCK_CLASSES);
    }
    for (int k = 0; k < n_blocks * BLOCK_CLASSES && k < n_classes; k++) {
        v_store(tile + k * LANES, r[k]);
    }
}

CE_INLINE void F(store_blocks)(int n_blocks, T *y, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, const T *tile,
                               struct F(finish) f)
{
    V r[LANES];
    for (int k = 0; k < LANES; k++) {
        r[k] = k < n_blocks * BLOCK_CLASSES && k < n_classes ? F(tile_at)(tile, k, f) : v_set1(0);
    }
    for (int i = 0; i < n_blocks; i++) {
        F(transpose_in_blocks)(r + i * BLOCK_CLASSES);
    }
    F(transpose_blocks)(r, n_blocks);
    for (int i = 0; i < n; i++) {
        v_store_part(y, r[i], n_classes);
        y += row_stride;
    }
}

CE_INLINE void F(load_part)(const T *x, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, T *tile)
{
    if (n_classes <= BLOCK_CLASSES) {
        F(load_blocks)(1, x, row_stride, n, n_classes, tile);
    } else if (n_classes <= 2 * BLOCK_CLASSES) {
        F(load_blocks)(2, x, row_stride, n, n_classes, tile);
    } else if (n_classes <= 3 * BLOCK_CLASSES) {
        F(load_blocks)(3, x, row_stride, n, n_classes, tile);
    } else {
        F(load_blocks)(4, x, row_stride, n, n_classes, tile);
    }
}

CE_INLINE void F(store_part)(T *y, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, const T *tile, struct F(finish) f)
{
    if (n_classes <= BLOCK_CLASSES) {
        F(store_blocks)(1, y, row_stride, n, n_classes, tile, f);
    } else if (n_classes <= 2 * BLOCK_CLASSES) {
        F(store_blocks)(2, y, row_stride, n, n_classes, tile, f);
    } else if (n_classes <= 3 * BLOCK_CLASSES) {
        F(store_blocks)(3, y, row_stride, n, n_classes, tile, f);
    } else {
        F(store_blocks)(4, y, row_stride, n, n_classes, tile, f);
    }
}
#else
#define LOADED BLOCK_CLASSES
#define TURNED BLOCK_CLASSES

/* At most a block. */
CE_INLINE void F(copy_part)(T *to, const T *from, ptrdiff_t n)
{
    for (ptrdiff_t k = 0; k < BLOCK_CLASSES && k < n; k++) {
        to[k] = from[k];
    }
}

CE_INLINE void F(load_whole)(const T *x, ptrdiff_t row_stride, T *tile)
{
    V r[BLOCK_CLASSES];
    for (int i = 0; i < BLOCK_CLASSES; i++) {
        r[i] = v_load_blocks(x + i * row_stride, BLOCK_CLASSES * row_stride);
    }
    F(transpose_in_blocks)(r);
    for (int k = 0; k < BLOCK_CLASSES; k++) {
        v_store(tile + k * LANES, r[k]);
    }
}

/* By way of whole blocks. */
CE_INLINE void F(load_part)(const T *x, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, T *tile)
{
    T rows[LANES * BLOCK_CLASSES] = {0}, turned[LANES * BLOCK_CLASSES];
    for (int i = 0; i < n; i++) {
        F(copy_part)(rows + i * BLOCK_CLASSES, x + i * row_stride, n_classes);
    }
    F(load_whole)(rows, BLOCK_CLASSES, turned);
    for (int k = 0; k < BLOCK_CLASSES && k < n_classes; k++) {
        v_store(tile + k * LANES, v_load(turned + k * LANES));
    }
}

CE_INLINE void F(store_whole)(T *y, ptrdiff_t row_stride, const T *tile, struct F(finish) f)
{
    V r[BLOCK_CLASSES];
    for (int k = 0; k < BLOCK_CLASSES; k++) {
        r[k] = F(tile_at)(tile, k, f);
    }
    F(transpose_in_blocks)(r);
    for (int i = 0; i < BLOCK_CLASSES; i++) {
        v_store_blocks(y + i * row_stride, BLOCK_CLASSES * row_stride, r[i]);
    }
}

CE_INLINE void F(store_part)(T *y, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, const T *tile, struct F(finish) f)
{
    T rows[LANES * BLOCK_CLASSES], turned[LANES * BLOCK_CLASSES] = {0};
    for (int k = 0; k < BLOCK_CLASSES && k < n_classes; k++) {
        v_store(turned + k * LANES, F(tile_at)(tile, k, f));
    }
    F(store_whole)(rows, BLOCK_CLASSES, turned, AS_IT_IS);
    for (int i = 0; i < n; i++) {
        F(copy_part)(y + i * row_stride, rows + i * BLOCK_CLASSES, n_classes);
    }
}
#endif

/* Where so many classes begin, usually at c. The last ones of a row go with some before them once more: whole vectors take 2 to 7 %
 * less than parts. */
CE_INLINE ptrdiff_t F(whole_from)(ptrdiff_t c, int n, ptrdiff_t n_classes)
{
    return c + n <= n_classes ? c : n_classes - n;
}

/* n rows of adjacent classes. */
CE_INLINE void F(rows_to_tile)(const T *x, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, T *tile)
{
    if (n == LANES && n_classes >= TURNED) {
        for (ptrdiff_t c = 0; c < n_classes; c += LOADED) {
            ptrdiff_t at = F(whole_from)(c, LOADED, n_classes);
            F(load_whole)(x + at, row_stride, tile + at * LANES);
        }
    } else if (n == LANES) {
        F(load_part)(x, row_stride, LANES, n_classes, tile);
    } else {
        for (ptrdiff_t c = 0; c < n_classes; c += TURNED) {
            F(load_part)(x + c, row_stride, n, n_classes - c, tile + c * LANES);
        }
    }
}

CE_INLINE void F(tile_to_rows)(T *y, ptrdiff_t row_stride, int n, ptrdiff_t n_classes, const T *tile,
                               struct F(finish) f)
{
    if (n == LANES && n_classes >= TURNED) {
        for (ptrdiff_t c = 0; c < n_classes; c += TURNED) {
            ptrdiff_t at = F(whole_from)(c, TURNED, n_classes);
            F(store_whole)(y + at, row_stride, tile + at * LANES, f);
        }
    } else if (n == LANES) {
        F(store_part)(y, row_stride, LANES, n_classes, tile, f);
    } else {
        for (ptrdiff_t c = 0; c < n_classes; c += TURNED) {
            F(store_part)(y + c, row_stride, n, n_classes - c, tile + c * LANES, f);
        }
    }
}
