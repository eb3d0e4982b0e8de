/* What the drivers do with vectors around the kernels: targets checked, losses added up. The same for both dtypes. */
#ifndef CROSSENT_AROUND_H
#define CROSSENT_AROUND_H

/* The sum of n numbers as total[0] + total[1], in eight fixed lanes so that the additions do not wait for each other. */
CE_STATIC void sum_losses(const double *values, int64_t n, double total[2])
{
    struct vd2 sum = {vd_set1(0), vd_set1(0)};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        struct vd2 s = vd_two_sum(sum.hi, vd_load(values + i));
        sum.hi = s.hi;
        sum.lo = vd_add(sum.lo, s.lo);
    }
    total[0] = total[1] = 0;
    if (i) {
        double hi[8], lo[8];
        vd_store(hi, sum.hi);
        vd_store(lo, sum.lo);
        for (int lane = 0; lane < 8; lane++) {
            ce_add_pair(total, hi[lane], lo[lane]);
        }
    }
    for (; i < n; i++) {
        ce_add_pair(total, values[i], 0);
    }
}

/* How many of n targets are not ignored; -1 if one of those is no class. */
CE_STATIC int64_t count_targets(const int64_t *target, int64_t n, int64_t n_classes, int64_t ignore_index)
{
    int64_t valid = 0, bad = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t counts = target[i] != ignore_index;
        valid += counts;
        bad |= counts & ((uint64_t)target[i] >= (uint64_t)n_classes);
    }
    return bad ? -1 : valid;
}

#endif
