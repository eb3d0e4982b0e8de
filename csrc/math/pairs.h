/* Numbers as pairs of doubles, and their sums: what is added twice as precisely as doubles are.
 * Two-sum and two-product: Knuth; Dekker, Numer. Math. 18 (1971) 224. */
#ifndef CROSSENT_PAIRS_H
#define CROSSENT_PAIRS_H

/* A number as the unevaluated sum hi + lo, |lo| <= ulp(hi) or so. */
struct vd2 {
    vd hi, lo;
};

CE_INLINE struct vd2 vd_two_sum(vd a, vd b)
{
    vd s = vd_add(a, b), bb = vd_sub(s, a);
    return (struct vd2){s, vd_add(vd_sub(a, vd_sub(s, bb)), vd_sub(b, bb))};
}

/* a + b for |a| >= |b| or a = 0. */
CE_INLINE struct vd2 vd_fast_two_sum(vd a, vd b)
{
    vd s = vd_add(a, b);
    return (struct vd2){s, vd_sub(b, vd_sub(s, a))};
}

CE_INLINE struct vd2 vd_two_product(vd a, vd b)
{
    vd p = vd_mul(a, b);
    return (struct vd2){p, vd_product_error(a, b, p)};
}

CE_INLINE struct vd2 vd2_mul(struct vd2 a, struct vd2 b)
{
    struct vd2 p = vd_two_product(a.hi, b.hi);
    p.lo = vd_add(p.lo, vd_madd(a.hi, b.lo, vd_mul(a.lo, b.hi)));
    return p;
}

CE_INLINE int vd_all(vdm m) { return !vd_any(vd_lt(vd_select(m, vd_set1(1), vd_set1(0)), vd_set1(1))); }

/* sum[0] + sum[1] += hi + lo, whichever is larger. */
CE_INLINE void ce_add_pair(double sum[2], double hi, double lo)
{
    double s = sum[0] + hi, bb = s - sum[0];
    sum[1] += ((sum[0] - (s - bb)) + (hi - bb)) + lo;
    sum[0] = s;
}

/* The eight pairs added: lanes i and i + 4, then i and i + 2, then the two left; lo may be as large as hi. */
CE_STATIC void vd2_total(struct vd2 lanes, double total[2])
{
    double hi[8], lo[8];
    vd_store(hi, lanes.hi);
    vd_store(lo, lanes.lo);
    for (int width = 4; width >= 1; width /= 2) {
        for (int i = 0; i < width; i++) {
            double pair[2] = {hi[i], lo[i]};
            ce_add_pair(pair, hi[i + width], lo[i + width]);
            hi[i] = pair[0];
            lo[i] = pair[1];
        }
    }
    total[0] = hi[0] + lo[0];
    total[1] = (hi[0] - total[0]) + lo[0];
}

#endif
