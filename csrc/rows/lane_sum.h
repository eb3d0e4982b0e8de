/* What exponentials are added up in.
 *
 * Order of the sum (the contract's "fixed tree"): class j goes to lane j mod LANES, or in a chunk of at most BLOCK classes to
 * lane j mod short_sums(), for the sake of lanes.h; the lanes are added in a fixed tree at the end of each chunk; chunks are
 * added in order. Floats are summed in doubles; doubles in pairs of doubles. */

/* Tails of a lane that are added in T before they join wider accumulators: their rounding errors are at most 2^-26 of the sum
 * (of doubles 2^-55). With four, rows took 3 to 6 % longer. */
#define FLUSHED 8

/* Accumulators of a chunk of n classes, at most BLOCK: in lanes.h each costs a flush, here fewer are a longer chain. One for
 * up to 64 floats would be 3 % faster there, and 30 % slower for a single row of 64; one for up to 16 doubles, not 8, is 4
 * to 13 % faster there, and a single row of 10 takes 0.17 us instead of 0.15. */
#define ONE_SUM 16
#define SHORT_SUMS 4
CE_INLINE int F(short_sums)(ptrdiff_t n) { return n <= ONE_SUM ? 1 : SHORT_SUMS; }

/* Running sum of scale * (1 + tail) over LANES lanes, wider than T. */
struct F(lane_sum) {
    vd a, b;             /* float: scales of the even and odd lanes, times 2^-896; double: sum of scales, of tails */
    vd tails_a, tails_b; /* float: tails of lanes 0-7, 8-15 */
    vd lost;             /* double: rounding errors of both */
    V tails;             /* sum of scale * tail since the last flush */
};

CE_INLINE struct F(lane_sum) F(lane_zero)(void)
{
    vd zero = vd_set1(0);
    return (struct F(lane_sum)){zero, zero, zero, zero, zero, v_set1(0)};
}

#if WIDE_PARTS == 2
CE_INLINE void F(lane_add)(struct F(lane_sum) * s, V scale, V tail)
{
    s->a = vd_add(s->a, vf_spread_even(scale));
    s->b = vd_add(s->b, vf_spread_odd(scale));
    s->tails = v_madd(scale, tail, s->tails);
}

CE_INLINE void F(lane_flush)(struct F(lane_sum) * s)
{
    s->tails_a = vd_add(s->tails_a, vf_widen_lo(s->tails));
    s->tails_b = vd_add(s->tails_b, vf_widen_hi(s->tails));
    s->tails = v_set1(0);
}

CE_INLINE void F(lane_total)(const struct F(lane_sum) * s, double sum[2])
{
    vd up = vd_set1(0x1p896);
    vd lo = vd_madd(vd_zip_lo(s->a, s->b), up, s->tails_a), hi = vd_madd(vd_zip_hi(s->a, s->b), up, s->tails_b);
    sum[0] = vd_reduce_add(vd_add(lo, hi));
    sum[1] = 0;
}
#else
/* A scale is neither negative nor NaN, so that the larger of two comes first at the price of one operation less. */
CE_INLINE void F(lane_add)(struct F(lane_sum) * s, V scale, V tail)
{
    struct vd2 t = vd_fast_two_sum(vd_max(s->a, scale), vd_min(s->a, scale));
    s->a = t.hi;
    s->lost = vd_add(s->lost, t.lo);
    s->tails = vd_madd(scale, tail, s->tails);
}

CE_INLINE void F(lane_flush)(struct F(lane_sum) * s)
{
    struct vd2 t = vd_two_sum(s->b, s->tails);
    s->b = t.hi;
    s->lost = vd_add(s->lost, t.lo);
    s->tails = vd_set1(0);
}

/* The tails are 4 % of the low part: the total is normalised. */
CE_INLINE void F(lane_total)(const struct F(lane_sum) * s, double sum[2])
{
    vd2_total((struct vd2){s->a, vd_add(s->b, s->lost)}, sum);
}
#endif
