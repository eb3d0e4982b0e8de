/* Eight numbers of T at a time, as doubles. */

/* Up to eight numbers, the rest `fill`. */
CE_INLINE vd F(load_wide)(const T *p, ptrdiff_t n, double fill)
{
#if WIDE_PARTS == 2
    return n >= 8 ? vd_load_f32(p) : vf_widen_lo(vf_load_part(p, n, (float)fill));
#else
    return n >= 8 ? vd_load(p) : vd_load_part(p, n, fill);
#endif
}

CE_INLINE void F(store_wide)(T *p, vd v, ptrdiff_t n)
{
#if WIDE_PARTS == 2
    if (n >= 8) {
        vd_store_f32(p, v);
    } else {
        vf_store_part(p, vf_narrow(v, v), n);
    }
#else
    if (n >= 8) {
        vd_store(p, v);
    } else {
        vd_store_part(p, v, n);
    }
#endif
}

/* All lanes of a V, and back. */
CE_INLINE void F(widen)(V v, vd wide[WIDE_PARTS])
{
#if WIDE_PARTS == 2
    wide[0] = vf_widen_lo(v);
    wide[1] = vf_widen_hi(v);
#else
    wide[0] = v;
#endif
}

CE_INLINE V F(narrow)(const vd wide[WIDE_PARTS])
{
#if WIDE_PARTS == 2
    return vf_narrow(wide[0], wide[1]);
#else
    return wide[0];
#endif
}

/* Which of n lanes are elements: 1, else 0. */
CE_INLINE vd F(valid)(ptrdiff_t n)
{
    static const double ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    return vd_load_part(ones, n, 0);
}

/* The lanes of a sum, added in the tree of vd2_total; an infinite sum has no low part. */
CE_INLINE void F(total_of)(struct vd2 sum, double total[2])
{
    total[0] = vd_reduce_add(sum.hi);
    total[1] = 0;
    if (fabs(total[0]) < INFINITY) {
        vd2_total(sum, total);
    }
}

/* Sums over the classes of a row, class j in lane j mod 8: the lanes added, in every lane. */
CE_INLINE W F(sum_of_lanes)(struct vd2 sum)
{
#if WIDE_PARTS == 2
    return vd_set1(vd_reduce_add(sum.hi));
#else
    double total[2];
    F(total_of)(sum, total);
    return w_pair(total[0], total[1]);
#endif
}

/* The same with a row to a lane: class j in sum j mod 8. Of n classes so many are looked at. */
CE_INLINE W F(sum_of_eight)(struct vd2 sums[8], ptrdiff_t n)
{
    for (int width = ce_sums_in_use(n) / 2; width >= 1; width /= 2) {
        for (int i = 0; i < width; i++) {
            w_merge(&sums[i], sums[i + width]);
        }
    }
#if WIDE_PARTS == 2
    return sums[0].hi;
#else
    vdm finite = vd_lt(vd_abs(sums[0].hi), vd_set1(INFINITY));
    vd hi = vd_add(sums[0].hi, sums[0].lo), lo = vd_add(vd_sub(sums[0].hi, hi), sums[0].lo);
    return (W){vd_select(finite, hi, sums[0].hi), vd_select(finite, lo, vd_set1(0))};
#endif
}

CE_INLINE double F(first_lane)(vd v)
{
    double lanes[8];
    vd_store(lanes, v);
    return lanes[0];
}
