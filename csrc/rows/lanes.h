/* Short rows, and rows whose classes are not adjacent: one row to a lane, so that nothing is added across lanes.
 *
 * LANES rows are laid into scratch as a tile, tile[class * LANES + lane]: transposed in registers where classes are adjacent,
 * copied where rows are. The sum of a row is taken in the very order of lane_sum.h (class j in lane j mod LANES there is
 * accumulator j mod LANES here), so that the bits do not depend on the layout. */

/* Whether it is worth it. A tile must be one chunk; rows of adjacent classes, which are transposed, must not be too long, and
 * must fill the lanes: 9 rows of 16 take as long row by row. Up to BLOCK classes 4 do. Of others that are not adjacent 4 rows
 * of 16 are level, and one takes a fifth to a half of the time of a tile. Rows are streamed as they are, tiles by a detour: of
 * 128 classes or more and 134 MB rows are faster, by up to 30 % at 200. Rows that are far are asked for bit by bit while others
 * are summed, tiles in one go: 100 classes of floats, Cascade Lake, 3 to 14 % faster by rows, 150 15 to 27 %, 120 of doubles 34 to
 * 46 %; 60 of floats and 40 of doubles slower. */
#define LANES_CLASSES_STREAMED 120
#define LANES_CLASSES_FAR 64
CE_INLINE ptrdiff_t F(most_lanes_classes)(enum ce_distance distance)
{
    if (distance == CE_FAR || distance == CE_IN_MEMORY) {
        return LANES_CLASSES_FAR;
    }
    return distance == CE_PAST_CACHES ? LANES_CLASSES_STREAMED : F(CE_LANES_CLASSES);
}

CE_INLINE int F(fits_lanes)(const struct ce_matrix *m, int64_t n_rows, int64_t n_classes, enum ce_distance distance)
{
    int64_t lanes = (n_rows + LANES - 1) / LANES * LANES;
    if (n_classes > CHUNK || n_classes <= 1) {
        return n_classes == 1;
    }
    if (m->class_stride != 1) {
        return n_classes <= BLOCK ? n_rows > 1 : 4 * n_rows > LANES;
    }
    if (n_classes > F(most_lanes_classes)(distance)) {
        return 0;
    }
    return n_classes <= BLOCK ? n_rows > 3 : 8 * n_rows > 5 * lanes;
}

/* Four comparisons under way: 0.6 cycles a vector. Where each waits for the last it takes 1.5. */
CE_STATIC V F(tile_max)(const T *tile, ptrdiff_t n_classes)
{
    V none = v_set1(-INFINITY), m[4] = {none, none, none, none};
    ptrdiff_t c = 0;
    for (; c + 4 <= n_classes; c += 4) {
        for (int k = 0; k < 4; k++) {
            m[k] = v_max(m[k], v_load(tile + (c + k) * LANES));
        }
    }
    for (; c < n_classes; c++) {
        m[0] = v_max(m[0], v_load(tile + c * LANES));
    }
    return v_max(v_max(m[0], m[1]), v_max(m[2], m[3]));
}

/* What the lanes' maxima say about shift and base, as sum_below says it of one row. */
struct F(tile_shift) {
    struct F(exp_shift) shift;
    V base;
    int has_base;
};

/* Lanes with infinite or very large maxima: one at a time. */
CE_STATIC struct F(tile_shift) F(tile_shift_rare)(V max, struct F(group) * g)
{
    struct F(tile_shift) s;
    T m[LANES];
    v_store(m, max);
    s.has_base = 0;
    for (int i = 0; i < LANES; i++) {
        g->base[i] = F(needs_base)(m[i]) ? m[i] : 0;
        g->shift[i] = m[i] == -INFINITY ? 0 : (T)F(shift_for)((double)m[i] - g->base[i]);
        s.has_base |= g->base[i] != 0;
    }
    s.shift = F(exp_shift_of)(v_load(g->shift));
    s.base = v_load(g->base);
    return s;
}

/* Adding and subtracting 1.5 in the first place that T has rounds to an integer. */
CE_INLINE struct F(tile_shift) F(tile_shift_for)(V max, struct F(group) * g)
{
    if (v_any(v_lt(v_set1((T)BASE_LIMIT), v_abs(max)))) {
        return F(tile_shift_rare)(max, g);
    }
    V round = v_set1((T)(1.5 / T_EPSILON));
    V shift = v_sub(v_sub(v_madd(max, v_set1((T)LOG2_E), round), round), v_set1(F(EXP_HEADROOM)));
    v_store(g->shift, shift);
    return (struct F(tile_shift)){F(exp_shift_of)(shift), v_set1(0), 0};
}

/* The first n accumulators of a tile added in the tree of lane_total: ((0+8)+(4+12)) + ..., branch by branch for the sake of
 * registers. */
#if WIDE_PARTS == 2
CE_INLINE vd F(tile_tree)(ptrdiff_t n, const vd *s)
{
    vd sum = vd_set1(0);
    for (int i = 0; i < 2 && i < n; i++) {
        vd half = vd_set1(0);
        for (int j = i; j < 4 && j < n; j += 2) {
            vd quarter = j + 8 < n ? vd_add(s[j], s[j + 8]) : s[j];
            if (j + 4 < n) {
                quarter = vd_add(quarter, j + 12 < n ? vd_add(s[j + 4], s[j + 12]) : s[j + 4]);
            }
            half = j == i ? quarter : vd_add(half, quarter);
        }
        sum = i == 0 ? half : vd_add(sum, half);
    }
    return sum;
}

CE_INLINE void F(tile_total_of)(ptrdiff_t n, const vd *a, const vd *b, struct F(group) * g)
{
    vd_store(g->sum_hi, F(tile_tree)(n, a));
    vd_store(g->sum_hi + 8, F(tile_tree)(n, b));
}
#else
CE_INLINE void F(tile_total_of)(ptrdiff_t n, const vd *sum, const vd *rest, struct F(group) * g)
{
    vd a[LANES], b[LANES];
    for (int i = 0; i < LANES; i++) {
        a[i] = i < n ? sum[i] : vd_set1(0);
        b[i] = i < n ? rest[i] : vd_set1(0);
    }
    for (int width = n > 4 ? 4 : 2; width >= 1; width /= 2) {
        for (int i = 0; i < width; i++) {
            struct vd2 t = vd_two_sum(a[i], a[i + width]);
            a[i] = t.hi;
            b[i] = vd_add(b[i], vd_add(t.lo, b[i + width]));
        }
    }
    vd total = vd_add(a[0], b[0]);
    vd_store(g->sum_hi, total);
    vd_store(g->sum_lo, vd_add(vd_sub(a[0], total), b[0]));
}
#endif

/* After a lane's last class: the tails join the scales, which are put in the order of the rows. */
CE_INLINE void F(tile_close)(struct F(lane_sum) * s)
{
#if WIDE_PARTS == 2
    vd up = vd_set1(0x1p896), lo = vd_zip_lo(s->a, s->b), hi = vd_zip_hi(s->a, s->b);
    s->a = vd_madd(lo, up, s->tails_a);
    s->b = vd_madd(hi, up, s->tails_b);
#else
    s->b = vd_add(s->b, s->lost);
#endif
}

/* n classes (a constant), `step` apart, to one accumulator. */
CE_INLINE void F(tile_add)(int n, int step, const T *x, const struct F(tile_shift) * shift, int has_base, T *exps,
                           struct F(lane_sum) * s)
{
    V v[4], scale[4], tail[4];
    for (int i = 0; i < n; i++) {
        v[i] = v_load(x + i * step * LANES);
        if (has_base) {
            v[i] = v_sub(v[i], shift->base);
        }
    }
    for (int i = 0; i < n; i += CE_INTERLEAVE) {
        F(exp_parts_of)(n - i < CE_INTERLEAVE ? n - i : CE_INTERLEAVE, v + i, &shift->shift, NULL, scale + i, tail + i);
    }
    for (int i = 0; i < n; i++) {
        F(lane_add)(s, scale[i], tail[i]);
    }
    for (int i = 0; exps && i < n; i++) {
        v_store(exps + i * step * LANES, v_madd(scale[i], tail[i], scale[i]));
    }
}

/* Class j goes to accumulator j mod n_sums (a constant), a flush for every FLUSHED of its classes. */
CE_INLINE void F(tile_sum_as)(const T *tile, ptrdiff_t n_classes, int n_sums, const struct F(tile_shift) * shift,
                              int has_base, T *exps, struct F(group) * g)
{
    vd a[LANES], b[LANES];
    int l = 0;
    do {
        struct F(lane_sum) sum = F(lane_zero)();
        ptrdiff_t c = l;
        for (; c + 3 * n_sums < n_classes; c += 4 * n_sums) {
            F(tile_add)(4, n_sums, tile + c * LANES, shift, has_base, exps ? exps + c * LANES : NULL, &sum);
            if ((c - l + 4 * n_sums) % (FLUSHED * n_sums) == 0) {
                F(lane_flush)(&sum);
            }
        }
        for (; c < n_classes; c += n_sums) {
            F(tile_add)(1, n_sums, tile + c * LANES, shift, has_base, exps ? exps + c * LANES : NULL, &sum);
        }
        F(lane_flush)(&sum);
        F(tile_close)(&sum);
        a[l] = sum.a;
        b[l] = sum.b;
    } while (++l < n_sums && l < n_classes);
    if (n_classes >= n_sums) {
        F(tile_total_of)(n_sums, a, b, g);
    } else {
        F(tile_total_of)(n_classes, a, b, g);
    }
}

CE_INLINE void F(tile_sum_short)(const T *tile, ptrdiff_t n_classes, int n_sums, const struct F(tile_shift) * shift,
                                 T *exps, struct F(group) * g)
{
    if (shift->has_base) {
        F(tile_sum_as)(tile, n_classes, n_sums, shift, 1, exps, g);
    } else if (exps) {
        F(tile_sum_as)(tile, n_classes, n_sums, shift, 0, exps, g);
    } else {
        F(tile_sum_as)(tile, n_classes, n_sums, shift, 0, NULL, g);
    }
}

CE_STATIC void F(tile_sum)(const T *tile, ptrdiff_t n_classes, const struct F(tile_shift) * shift, T *exps,
                           struct F(group) * g)
{
    if (n_classes > BLOCK) {
        F(tile_sum_as)(tile, n_classes, LANES, shift, shift->has_base, exps, g);
    } else if (F(short_sums)(n_classes) > 1) {
        F(tile_sum_short)(tile, n_classes, SHORT_SUMS, shift, exps, g);
    } else {
        F(tile_sum_short)(tile, n_classes, 1, shift, exps, g);
    }
}

/* exps * factor, lane by lane. Not by way of tile_at: it would read the factors anew for each class, which may be stored over. */
CE_STATIC void F(tile_scale)(T *exps, ptrdiff_t n_classes, const struct F(factors) * f)
{
    V b = v_load(f->before), h = v_load(f->hi), l = v_load(f->lo);
    for (ptrdiff_t c = 0; c < n_classes; c++) {
        v_store(exps + c * LANES, F(scaled)(v_load(exps + c * LANES), b, h, l));
    }
}

/* The tile without the lanes' maxima; returns in how many classes a lane has its own. */
CE_INLINE V F(tile_without)(const T *tile, ptrdiff_t n_classes, V max, T *rest)
{
    V count = v_set1(0);
    for (ptrdiff_t c = 0; c < n_classes; c++) {
        V x = v_load(tile + c * LANES);
        v_store(rest + c * LANES, v_select(v_eq(x, max), v_set1(-INFINITY), x));
        count = v_add_where(v_eq(x, max), count, v_set1(1));
    }
    return count;
}

/* The same where a lane has its maximum more than once: without the first. */
CE_STATIC void F(tile_without_first)(const T *tile, ptrdiff_t n_classes, V max, T *rest)
{
    V in_place = v_set1(-INFINITY); /* of the next maximum */
    for (ptrdiff_t c = 0; c < n_classes; c++) {
        V x = v_load(tile + c * LANES);
        v_store(rest + c * LANES, v_select(v_eq(x, max), in_place, x));
        in_place = v_select(v_eq(x, max), max, in_place);
    }
}
