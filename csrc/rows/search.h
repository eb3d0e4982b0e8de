/* The largest logit of a row, and where it is. */

#define BLOCK (4 * LANES) /* classes that are looked at, or summed, at a time */

CE_STATIC T F(row_max)(const T *x, ptrdiff_t n)
{
    V m0 = v_set1(-INFINITY), m1 = m0, m2 = m0, m3 = m0;
    ptrdiff_t j = 0;
    for (; j + BLOCK <= n; j += BLOCK) {
        m0 = v_max(m0, v_load(x + j));
        m1 = v_max(m1, v_load(x + j + LANES));
        m2 = v_max(m2, v_load(x + j + 2 * LANES));
        m3 = v_max(m3, v_load(x + j + 3 * LANES));
    }
    for (; j < n; j += LANES) {
        m0 = v_max(m0, v_load_part(x + j, n - j, -INFINITY));
    }
    return v_reduce_max(v_max(v_max(m0, m1), v_max(m2, m3)));
}

/* The first of a block's classes that has this logit; BLOCK if none has. */
CE_INLINE int F(first_equal)(const T *block, T logit)
{
    uint64_t lanes = 0;
    for (int k = 0; k < BLOCK; k += LANES) {
        lanes |= (uint64_t)v_equal_lanes(v_load(block + k), logit) << k;
    }
    return lanes ? __builtin_ctzll(lanes) : BLOCK;
}

/* The maximum and its first class; for a row with NaN any number, and a class that is not NaN, or n. Each lane remembers the
 * block of its maximum; the last block overlaps the one before. */
CE_STATIC T F(row_argmax)(const T *x, ptrdiff_t n, ptrdiff_t *argmax)
{
    T padded[BLOCK];
    ptrdiff_t last = n - BLOCK;
    if (n < BLOCK) {
        for (int k = 0; k < BLOCK; k += LANES) {
            v_store(padded + k, v_load_part(x + k, n - k, -INFINITY));
        }
        x = padded;
        last = 0;
    }
    V m = v_set1(-INFINITY), at = v_set1(0), number = v_set1(0);
    for (ptrdiff_t j = 0; j < last + BLOCK; j += BLOCK) {
        const T *block = x + (j < last ? j : last);
        V a = v_max(v_load(block), v_load(block + LANES));
        V b = v_max(v_load(block + 2 * LANES), v_load(block + 3 * LANES));
        V top = v_max(a, b);
        at = v_select(v_lt(m, top), number, at);
        m = v_max(m, top);
        number = v_add(number, v_set1(1));
    }
    T max = v_reduce_max(m);
    T number_of_max = -v_reduce_max(v_select(v_eq(m, v_set1(max)), v_neg(at), v_set1(-INFINITY)));
    *argmax = n;
    if (number_of_max < INFINITY) {
        ptrdiff_t start = (ptrdiff_t)number_of_max * BLOCK;
        start = start < last ? start : last;
        int i = F(first_equal)(x + start, max);
        *argmax = i < BLOCK && start + i < n ? start + i : n; /* not where it should be: there is a NaN */
    }
    return max;
}
