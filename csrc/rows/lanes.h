/* Short rows, and rows whose classes are not adjacent: one row to a lane, so that nothing is added across lanes.
 *
 * LANES rows are laid into scratch as a tile, tile[class * LANES + lane]: transposed in registers where classes are adjacent,
 * copied where rows are. The sum of a row is taken in the very order of sum_exp.h (class j in lane j mod LANES there is
 * accumulator j mod LANES here), so that the bits do not depend on the layout. */

/* Longest row of adjacent classes that is worth it. Nanoseconds an element of float cross-entropy, by rows and by lanes
 * (Zen 5): AVX-512 0.57 and 0.30 at 64 classes, 0.29 and 0.25 at 192, 0.22 and 0.24 at 400; AVX2 0.75 and 0.50, 0.45 and
 * 0.43, 0.37 and 0.41. With the gradient AVX2 is level at 150, log_softmax at 120. */
#define LANES_CLASSES 192

/* A tile must be one chunk. Few short rows would leave the lanes empty. */
CE_INLINE int F(fits_lanes)(const struct ce_matrix *m, int64_t n_rows, int64_t n_classes)
{
    if (n_classes > CHUNK || n_classes == 0) {
        return 0;
    }
    if (m->class_stride == 1 || n_classes == 1) {
        return n_classes <= LANES_CLASSES && n_rows > 3;
    }
    return 1;
}

/* The first of the two tiles is at SCRATCH_INPUT, the exponentials' follows it. */
CE_INLINE T *F(tile_exps)(T *tile, ptrdiff_t n_classes) { return tile + n_classes * LANES; }

/* Element (i, j) to (j, i): log2(LANES) perfect shuffles. */
CE_INLINE void F(transpose)(V r[LANES])
{
    for (int step = 1; step < LANES; step *= 2) {
        V shuffled[LANES];
        for (int i = 0; i < LANES / 2; i++) {
            shuffled[2 * i] = v_zip_lo(r[i], r[i + LANES / 2]);
            shuffled[2 * i + 1] = v_zip_hi(r[i], r[i + LANES / 2]);
        }
        for (int i = 0; i < LANES; i++) {
            r[i] = shuffled[i];
        }
    }
}

/* Rows first..first+n-1 into a tile; the lanes past n are 0. */
CE_STATIC void F(tile_load)(const struct ce_matrix *m, int64_t first, int n, ptrdiff_t n_classes, T *tile)
{
    const T *x = (const T *)m->data + first * m->row_stride;
    if (m->class_stride == 1 && n_classes > 1) {
        for (ptrdiff_t c = 0; c < n_classes; c += LANES) {
            V r[LANES];
            if (n == LANES && n_classes - c >= LANES) {
                for (int i = 0; i < LANES; i++) {
                    r[i] = v_load(x + i * m->row_stride + c);
                }
            } else {
                for (int i = 0; i < LANES; i++) {
                    r[i] = i < n ? v_load_part(x + i * m->row_stride + c, n_classes - c, 0) : v_set1(0);
                }
            }
            F(transpose)(r);
            for (int k = 0; k < LANES && c + k < n_classes; k++) {
                v_store(tile + (c + k) * LANES, r[k]);
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
    if (m->class_stride == 1 && n_classes > 1) {
        for (ptrdiff_t c = 0; c < n_classes; c += LANES) {
            V r[LANES];
            for (int k = 0; k < LANES; k++) {
                r[k] = c + k < n_classes ? v_load(tile + (c + k) * LANES) : v_set1(0);
            }
            F(transpose)(r);
            if (n == LANES && n_classes - c >= LANES) {
                for (int i = 0; i < LANES; i++) {
                    v_store(y + i * m->row_stride + c, r[i]);
                }
            } else {
                for (int i = 0; i < n; i++) {
                    v_store_part(y + i * m->row_stride + c, r[i], n_classes - c);
                }
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

CE_STATIC V F(tile_max)(const T *tile, ptrdiff_t n_classes)
{
    V m = v_set1(-INFINITY);
    for (ptrdiff_t c = 0; c < n_classes; c++) {
        m = v_max(m, v_load(tile + c * LANES));
    }
    return m;
}

/* What the lanes' maxima say about shift and base, as sum_row_below says it of one row. */
struct F(tile_shift) {
    struct F(exp_shift) shift;
    V base;
    int has_base;
};

/* Lanes with infinite or very large maxima: one at a time. */
CE_STATIC struct F(tile_shift) F(tile_shift_rare)(V max, struct F(group) * g)
{
    struct F(tile_shift) s;
    T m[LANES], base[LANES], magic[LANES], clamp[LANES];
    v_store(m, max);
    s.has_base = 0;
    for (int i = 0; i < LANES; i++) {
        base[i] = F(needs_base)(m[i]) ? m[i] : 0;
        s.has_base |= base[i] != 0;
        g->base[i] = base[i];
        g->shift[i] = m[i] == -INFINITY ? 0 : F(shift_for)((double)m[i] - base[i]);
        double eighths = 8 * (F(EXP_BIAS) - g->shift[i]);
        magic[i] = (T)(F(EXP_MAGIC) + eighths);
        clamp[i] = (T)(-eighths * LN2_8);
    }
    s.shift.magic = v_load(magic);
    s.shift.clamp = v_load(clamp);
    s.base = v_load(base);
    return s;
}

/* shift_for of eight maxima, and 8 * (bias - shift). Adding and subtracting 1.5 * 2^52 rounds to an integer. */
CE_INLINE vd F(eighths_for)(vd max, double *shift)
{
    vd round = vd_set1(0x1.8p52);
    vd n = vd_sub(vd_add(vd_mul(max, vd_set1(LOG2_E)), round), round);
    n = vd_sub(n, vd_set1(F(EXP_HEADROOM)));
    vd_store(shift, n);
    return vd_mul(vd_set1(8.0), vd_sub(vd_set1(F(EXP_BIAS)), n));
}

CE_STATIC struct F(tile_shift) F(tile_shift_for)(V max, struct F(group) * g)
{
    struct F(tile_shift) s;
    if (v_any(v_lt(v_set1((T)BASE_LIMIT), v_abs(max)))) {
        return F(tile_shift_rare)(max, g);
    }
    vd magic = vd_set1(F(EXP_MAGIC)), down = vd_set1(-LN2_8);
#if WIDE_PARTS == 2
    vd a = F(eighths_for)(vf_widen_lo(max), g->shift), b = F(eighths_for)(vf_widen_hi(max), g->shift + 8);
    s.shift.magic = vf_narrow(vd_add(magic, a), vd_add(magic, b));
    s.shift.clamp = vf_narrow(vd_mul(a, down), vd_mul(b, down));
#else
    vd a = F(eighths_for)(max, g->shift);
    s.shift.magic = vd_add(magic, a);
    s.shift.clamp = vd_mul(a, down);
#endif
    s.base = v_set1(0);
    s.has_base = 0;
    return s;
}

/* lane_add for a row to a lane: the doubles stay in the rows' order. */
CE_INLINE void F(tile_add)(struct F(lane_sum) * s, V scale, V tail)
{
#if WIDE_PARTS == 2
    s->a = vd_add(s->a, vf_widen_lo(scale));
    s->b = vd_add(s->b, vf_widen_hi(scale));
    s->tails = v_madd(scale, tail, s->tails);
#else
    F(lane_add)(s, scale, tail);
#endif
}

/* The accumulators added in the tree of lane_total; those past `used` are 0. */
CE_INLINE void F(tile_total)(struct F(lane_sum) s[LANES], int used, struct F(group) * g)
{
#if WIDE_PARTS == 2
    for (int i = 0; i < used; i++) {
        s[i].a = vd_add(s[i].a, s[i].tails_a);
        s[i].b = vd_add(s[i].b, s[i].tails_b);
    }
    for (int width = 8; width >= 1; width /= 2) {
        for (int i = 0; i < width && i + width < used; i++) {
            s[i].a = vd_add(s[i].a, s[i + width].a);
            s[i].b = vd_add(s[i].b, s[i + width].b);
        }
        used = used < width ? used : width;
    }
    vd_store(g->sum_hi, s[0].a);
    vd_store(g->sum_hi + 8, s[0].b);
#else
    for (int i = 0; i < used; i++) {
        s[i].b = vd_add(s[i].b, s[i].lost);
    }
    for (int width = 4; width >= 1; width /= 2) {
        for (int i = 0; i < width && i + width < used; i++) {
            struct vd2 t = vd_two_sum(s[i].a, s[i + width].a);
            s[i].a = t.hi;
            s[i].b = vd_add(s[i].b, vd_add(t.lo, s[i + width].b));
        }
        used = used < width ? used : width;
    }
    vd sum = vd_add(s[0].a, s[0].b);
    vd_store(g->sum_hi, sum);
    vd_store(g->sum_lo, vd_add(vd_sub(s[0].a, sum), s[0].b));
#endif
}

CE_INLINE void F(tile_sum_as)(const T *tile, ptrdiff_t n_classes, const struct F(tile_shift) * shift, int has_base,
                              T *exps, struct F(group) * g)
{
    struct F(lane_sum) s[LANES];
    for (ptrdiff_t block = 0; block < n_classes; block += BLOCK) {
        for (int l = 0; l < LANES && block + l < n_classes; l++) {
            struct F(lane_sum) sum = block ? s[l] : F(lane_zero)();
            for (ptrdiff_t c = block + l; c < block + BLOCK && c < n_classes; c += LANES) {
                V x = v_load(tile + c * LANES), scale, tail;
                if (has_base) {
                    x = v_sub(x, shift->base);
                }
                F(exp_parts)(x, &shift->shift, &scale, &tail);
                F(tile_add)(&sum, scale, tail);
                if (exps) {
                    v_store(exps + c * LANES, v_madd(scale, tail, scale));
                }
            }
            F(lane_flush)(&sum);
            s[l] = sum;
        }
    }
    F(tile_total)(s, n_classes < LANES ? (int)n_classes : LANES, g);
}

CE_STATIC void F(tile_sum)(const T *tile, ptrdiff_t n_classes, V max, T *exps, struct F(group) * g)
{
    struct F(tile_shift) shift = F(tile_shift_for)(max, g);
    if (shift.has_base) {
        F(tile_sum_as)(tile, n_classes, &shift, 1, exps, g);
    } else if (exps) {
        F(tile_sum_as)(tile, n_classes, &shift, 0, exps, g);
    } else {
        F(tile_sum_as)(tile, n_classes, &shift, 0, NULL, g);
    }
}

/* out = exps * inverse * times, lane by lane. */
CE_STATIC void F(tile_scale)(T *out, const T *exps, ptrdiff_t n_classes, const struct F(group) * g,
                             const double times[GROUP_MAX])
{
    struct F(factor) f[GROUP_MAX] = {{0, 0, 0}};
    T before[LANES], hi[LANES], lo[LANES];
    F(group_factors)(g, times, f);
    for (int i = 0; i < LANES; i++) {
        before[i] = f[i].before;
        hi[i] = f[i].hi;
        lo[i] = f[i].lo;
    }
    V b = v_load(before), h = v_load(hi), l = v_load(lo);
    for (ptrdiff_t c = 0; c < n_classes; c++) {
        v_store(out + c * LANES, F(scaled)(v_load(exps + c * LANES), b, h, l));
    }
}

/* Rows of the next tile, all lanes of the group in a known state. */
CE_INLINE void F(tile_begin)(struct F(group) * g, int64_t left)
{
    F(group_clear)(g, left < LANES ? (int)left : LANES);
    for (int i = 0; i < GROUP_MAX; i++) {
        g->logit[i] = -INFINITY;
    }
}

CE_STATIC void F(lanes_softmax)(const struct ce_row_map *a)
{
    static const double ones[GROUP_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    T *tile = (T *)a->scratch, *exps = F(tile_exps)(tile, n);
    for (int64_t first = 0; first < a->n_rows; first += LANES) {
        struct F(group) g;
        F(tile_begin)(&g, a->n_rows - first);
        F(tile_load)(&a->input, first, g.n, n, tile);
        F(tile_sum)(tile, n, F(tile_max)(tile, n), exps, &g);
        F(group_inverses)(&g);
        F(tile_scale)(exps, exps, n, &g, ones);
        F(tile_store)(&a->output, first, g.n, n, exps);
    }
}

/* Each lane's first class with its maximum: taken out of the tile, summed without, put back. NaN keeps class 0. */
CE_STATIC void F(tile_sum_below_max)(T *tile, ptrdiff_t n_classes, T max[LANES], struct F(group) * g)
{
    T argmax[LANES];
    V m = v_load(tile), at = v_set1(0);
    for (ptrdiff_t c = 1; c < n_classes; c++) {
        V x = v_load(tile + c * LANES);
        at = v_select(v_lt(m, x), v_set1((T)c), at);
        m = v_max(m, x);
    }
    v_store(argmax, at);
    v_store(max, m);
    T saved[LANES];
    for (int i = 0; i < LANES; i++) {
        T *x = tile + (ptrdiff_t)argmax[i] * LANES + i;
        g->logit[i] = max[i];
        saved[i] = *x;
        *x = *x == max[i] ? -INFINITY : *x;
    }
    F(tile_sum)(tile, n_classes, m, NULL, g);
    for (int i = 0; i < LANES; i++) {
        tile[(ptrdiff_t)argmax[i] * LANES + i] = saved[i];
    }
    F(group_logs)(g);
}

CE_STATIC void F(lanes_log_softmax)(const struct ce_row_map *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    T *tile = (T *)a->scratch;
    for (int64_t first = 0; first < a->n_rows; first += LANES) {
        struct F(group) g;
        T max[LANES], at_top[LANES];
        double hi[GROUP_MAX], lo[GROUP_MAX];
        F(tile_begin)(&g, a->n_rows - first);
        F(tile_load)(&a->input, first, g.n, n, tile);
        F(tile_sum_below_max)(tile, n, max, &g);
        for (int i = 0; i < LANES; i++) {
            double lse[2] = {max[i], 0};
            ce_add_pair(lse, g.log_hi[i], g.log_lo[i]);
            at_top[i] = (T)-g.log_hi[i];
            hi[i] = WIDE_PARTS == 2 ? lse[0] + lse[1] : -lse[0];
            lo[i] = lse[1];
        }
        struct F(log_shift) s = {v_load(max), v_load(at_top), vd_load(hi), vd_load(WIDE_PARTS == 2 ? hi + 8 : lo)};
        for (ptrdiff_t c = 0; c < n; c++) {
            v_store(tile + c * LANES, F(log_probability)(v_load(tile + c * LANES), &s));
        }
        F(tile_store)(&a->output, first, g.n, n, tile);
    }
}

CE_STATIC void F(lanes_logsumexp)(const struct ce_row_map *a)
{
    ptrdiff_t n = (ptrdiff_t)a->n_classes;
    T *tile = (T *)a->scratch;
    for (int64_t first = 0; first < a->n_rows; first += LANES) {
        struct F(group) g;
        T max[LANES];
        F(tile_begin)(&g, a->n_rows - first);
        F(tile_load)(&a->input, first, g.n, n, tile);
        F(tile_sum_below_max)(tile, n, max, &g);
        for (int i = 0; i < g.n; i++) {
            ((T *)a->output.data)[(first + i) * a->output.row_stride] =
                (T)F(lse_of)(max[i], g.log_hi[i], g.log_lo[i], tile + i, n, LANES);
        }
    }
}
