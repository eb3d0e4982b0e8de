/* Maps that treat every element alone. */

#if WIDE_PARTS == 2
#define SIGMOID_SHIFT -32
#define SIGMOID_ONE 0x1p32
#else
#define SIGMOID_SHIFT -64
#define SIGMOID_ONE 0x1p64
#endif

/* e^x / (1 + e^x), both 2^-SIGMOID_SHIFT times too large, so that the division alone makes subnormal results. Beyond 40
 * all are 1. Three roundings add up where the last place counts most, at small y just below a power of two; there
 * y = e^x - e^x y has two. The largest error is 1.83 ulp. */
CE_INLINE V F(sigmoid_of)(V x, const struct F(exp_shift) * shift)
{
    V scale, tail;
    F(exp_parts)(v_min(v_set1(40), x), shift, &scale, &tail);
    V e = v_madd(scale, tail, scale);
    V y = v_div(e, v_add(v_set1((T)SIGMOID_ONE), e));
    V exponential = v_mul(e, v_set1((T)(1 / SIGMOID_ONE)));
    return v_select(v_lt(y, v_set1((T)0.125)), v_fnma(exponential, y, exponential), y);
}

typedef V F(map_fn)(V, const struct F(exp_shift) *);

CE_INLINE void F(each_element)(const struct ce_element_map *a, F(map_fn) * map)
{
    const T *x = (const T *)a->input;
    T *y = (T *)a->output;
    struct F(exp_shift) shift = F(exp_shift_by)(SIGMOID_SHIFT);
    int64_t i = 0;
    for (; i + LANES <= a->n; i += LANES) {
        v_store(y + i, map(v_load(x + i), &shift));
    }
    ptrdiff_t n = (ptrdiff_t)(a->n - i);
    v_store_part(y + i, map(v_load_part(x + i, n, 0), &shift), n);
}

CE_STATIC void F(sigmoid)(const struct ce_element_map *a) { F(each_element)(a, F(sigmoid_of)); }

/* min(x, 0) - log(1 + e^-|x|) */
#if WIDE_PARTS == 2
CE_INLINE vd F(eight_log_sigmoids)(vd low, vd scale, vd rest)
{
    vd e = vd_mul(vd_add(scale, rest), vd_set1(1 / SIGMOID_ONE));
    return vd_sub(low, log1p_unit(e));
}

CE_INLINE V F(log_sigmoid_of)(V x, const struct F(exp_shift) * shift)
{
    V scale, tail, low = v_min(v_set1(0), x);
    F(exp_parts)(v_neg(v_abs(x)), shift, &scale, &tail);
    V rest = v_mul(scale, tail);
    return vf_narrow(F(eight_log_sigmoids)(vf_widen_lo(low), vf_widen_lo(scale), vf_widen_lo(rest)),
                     F(eight_log_sigmoids)(vf_widen_hi(low), vf_widen_hi(scale), vf_widen_hi(rest)));
}
#else
CE_INLINE V F(log_sigmoid_of)(V x, const struct F(exp_shift) * shift)
{
    (void)shift;
    struct vd2 soft = log1p_unit_wide(w_exp_minus(w_from(vd_abs(x))));
    vd low = vd_min(vd_set1(0), x);
    struct vd2 sum = vd_two_sum(low, vd_neg(soft.hi));
    vd rest = vd_sub(sum.lo, soft.lo);
    return vd_select(vd_eq(rest, rest), vd_add(sum.hi, rest), sum.hi); /* -inf has no rest */
}
#endif

CE_STATIC void F(log_sigmoid)(const struct ce_element_map *a) { F(each_element)(a, F(log_sigmoid_of)); }
#undef SIGMOID_SHIFT
#undef SIGMOID_ONE
