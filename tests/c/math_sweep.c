/* The largest errors of the functions of csrc/math, one line for each: name, error, "ulp" or "relative".
 *
 * ./math_sweep STRIDE COUNT: exp of floats on every STRIDE-th of all bit patterns (1: all of them) against exp of
 * doubles; functions of doubles on COUNT random arguments against binary128 (-DCE_QUADMATH, -lquadmath) or long double.
 * Bounds are not judged here but by test_c.py, which reads them in the headers. Exits with 1 where a special value is
 * wrong.
 *
 * cc -I csrc -DCE_SIMD_HEADER='"simd/avx2.h"' -mavx2 -mfma -DCE_QUADMATH ... math_sweep.c -lquadmath -lm */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include CE_SIMD_HEADER

#include "all_math.h"

#ifdef CE_QUADMATH
typedef __float128 wide;
wide expq(wide), logq(wide), log1pq(wide);
#define wide_exp expq
#define wide_log logq
#define wide_log1p log1pq
#else
typedef long double wide;
#define wide_exp expl
#define wide_log logl
#define wide_log1p log1pl
#endif

/* ln 2 in two parts: integers of 17 bits times the first are exact. */
#define LN2_HEAD 0x1.62e42fefa0000p-1
#define LN2_REST 0x1.cf79abc9e3b3ap-40

/* e^x * 2^-shift; the difference x - shift * ln 2, rounded, would cost the result some bits. */
static wide shifted_exp(double x, double shift)
{
    return wide_exp((wide)x - (wide)shift * LN2_HEAD) * wide_exp(-(wide)shift * LN2_REST);
}

static int failures;

static void fail(const char *function, double x, double got)
{
    if (failures++ < 20) {
        printf("FAILED %s(%a) = %a\n", function, x, got);
    }
}

/* splitmix64 */
static uint64_t next_random(void)
{
    static uint64_t state;
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(double low, double high) { return low + (high - low) * (double)(next_random() >> 11) * 0x1p-53; }

/* Of either sign, magnitudes spread evenly over powers of two. */
static double spread(double low_exponent, double high_exponent)
{
    double exponent = floor(uniform(low_exponent, high_exponent)), x = ldexp(uniform(1, 2), (int)exponent);
    return next_random() & 1 ? x : -x;
}

struct worst {
    double error, at;
};

static void note(struct worst *worst, double error, double at)
{
    if (!(error <= worst->error)) { /* NaN too */
        *worst = (struct worst){error, at};
    }
}

static void report(const char *function, struct worst worst, const char *unit)
{
    printf("%s %.5g %s (at %a)\n", function, worst.error, unit, worst.at);
}

/* The distance of neighbours at |x|, for numbers of `digits` bits down to 2^min_exponent. */
static double ulp(double x, int digits, int min_exponent)
{
    int e;
    frexp(x, &e);
    return ldexp(1, e - digits > min_exponent ? e - digits : min_exponent);
}

static wide wide_abs(wide x) { return x < 0 ? -x : x; }
static double ulps_f64(double got, wide want)
{
    return (double)(wide_abs((wide)got - want) / ulp((double)want, 53, -1074)); /* in wide: 2^-1075 is no double */
}

/* ---- exp of floats ---- */

static struct worst rounded_f32, parts_f32;

/* The parts are measured where the scale is normal; where it is not, the result must be a tiny one. */
static void check_exp_f32(float x, double want, float scale, float tail, float rounded)
{
    double exact = (double)scale + (double)scale * tail;
    if (scale < 0x1p-126f) {
        if (!(want < 0x1.1p-126) || !(rounded >= 0 && rounded < 0x1.1p-126f)) {
            fail("exp_f32", x, rounded);
        }
        return;
    }
    uint64_t bits;
    memcpy(&bits, &want, sizeof bits);
    bits = (bits & 0x7ff0000000000000u) - (23ull << 52);
    double unit;
    memcpy(&unit, &bits, sizeof unit);
    note(&rounded_f32, fabs(rounded - want) / (unit < 0x1p-149 ? 0x1p-149 : unit), x);
    if (want >= 0x1p-126) {
        note(&parts_f32, fabs(exact - want) / want, x);
    }
}

static void exp_lanes_f32(const float *x, double shift, float *scale, float *tail, float *rounded)
{
    struct exp_shift_f32 s = exp_shift_by_f32(shift);
    vf v_scale, v_tail;
    exp_parts_f32(vf_load(x), &s, &v_scale, &v_tail);
    vf_store(scale, v_scale);
    vf_store(tail, v_tail);
    vf_store(rounded, vf_madd(v_scale, v_tail, v_scale));
}

/* Neighbours whose exponentials are all 0, or out of range, or round to 1. */
static int all_plain(const float x[16])
{
    return (fabsf(x[0]) > 110 && fabsf(x[15]) > 110) || (fabsf(x[0]) < 0x1p-26f && fabsf(x[15]) < 0x1p-26f);
}

static void sweep_exp_f32(uint64_t stride)
{
    float x[16], scale[16], tail[16], rounded[16];
    for (uint64_t u = 0; u < 0x100000000u; u += 16 * stride) {
        for (int i = 0; i < 16; i++) {
            uint32_t bits = (uint32_t)(u + (uint64_t)i * stride);
            memcpy(&x[i], &bits, sizeof bits);
        }
        if (all_plain(x) && u % 4096 >= 16) {
            continue; /* every 256th will do */
        }
        exp_lanes_f32(x, 0, scale, tail, rounded);
        for (int i = 0; i < 16; i++) {
            if (x[i] <= 88.5f) {
                check_exp_f32(x[i], exp(x[i]), scale[i], tail[i], rounded[i]);
            } else if (x[i] != x[i] && rounded[i] == rounded[i]) {
                fail("exp_f32", x[i], rounded[i]);
            }
        }
    }
}

/* The shift makes room: e^x * 2^-shift for every x that this leaves in range. */
static void shifted_exp_f32(int count)
{
    float x[16], scale[16], tail[16], rounded[16];
    for (int k = 0; k < count / 16; k++) {
        double shift = rint(spread(0, 17));
        for (int i = 0; i < 16; i++) {
            x[i] = (float)(shift * LN2_HEAD + uniform(-87, 88));
        }
        exp_lanes_f32(x, shift, scale, tail, rounded);
        for (int i = 0; i < 16; i++) {
            check_exp_f32(x[i], (double)shifted_exp(x[i], shift), scale[i], tail[i], rounded[i]);
        }
    }
}

/* ---- exp of doubles ---- */

static struct worst rounded_f64, parts_f64;

static void check_exp_f64(double x, wide want, double scale, double tail, double rounded)
{
    if (scale < 0x1p-1022) {
        if (!(want < 0x1.1p-1022) || !(rounded >= 0 && rounded < 0x1.1p-1022)) {
            fail("exp_f64", x, rounded);
        }
        return;
    }
    note(&rounded_f64, ulps_f64(rounded, want), x);
    if (want >= 0x1p-1022) {
        note(&parts_f64, (double)(wide_abs((wide)scale + (wide)scale * tail - want) / want), x);
    }
}

static void sweep_exp_f64(int count)
{
    double x[8], scale[8], tail[8], rounded[8];
    for (int k = 0; k < count / 8; k++) {
        double shift = k % 2 ? rint(spread(0, 17)) : 0;
        for (int i = 0; i < 8; i++) {
            x[i] = shift * LN2_HEAD + (i % 4 ? uniform(-715, 708) : spread(-60, 3));
        }
        struct exp_shift_f64 s = exp_shift_by_f64(shift);
        vd v_scale, v_tail;
        exp_parts_f64(vd_load(x), &s, &v_scale, &v_tail);
        vd_store(scale, v_scale);
        vd_store(tail, v_tail);
        vd_store(rounded, vd_madd(v_scale, v_tail, v_scale));
        for (int i = 0; i < 8; i++) {
            check_exp_f64(x[i], shifted_exp(x[i], shift), scale[i], tail[i], rounded[i]);
        }
    }
}

static void special_exp(void)
{
    static const float x[16] = {-INFINITY, NAN, -1e30f, -FLT_MAX, 0.0f, -0.0f, FLT_TRUE_MIN, -FLT_TRUE_MIN,
                                -104,      -87, -86,    1,        -1,   88,    0.5f,         -0.5f};
    float scale[16], tail[16], rounded[16];
    exp_lanes_f32(x, 0, scale, tail, rounded);
    for (int i = 0; i < 16; i++) {
        if (x[i] != x[i] ? rounded[i] == rounded[i] : x[i] < -100 ? rounded[i] != 0 : !(rounded[i] > 0)) {
            fail("exp_f32", x[i], rounded[i]);
        }
        if (fabsf(x[i]) < 1e-30f && rounded[i] != 1) {
            fail("exp_f32", x[i], rounded[i]);
        }
    }
    double y[8] = {-INFINITY, NAN, -1e300, -DBL_MAX, 0, -0.0, -746, -0x1p-1074}, parts[2][8];
    struct exp_shift_f64 s = exp_shift_by_f64(0);
    vd v_scale, v_tail;
    exp_parts_f64(vd_load(y), &s, &v_scale, &v_tail);
    vd_store(parts[0], v_scale);
    vd_store(parts[1], v_tail);
    for (int i = 0; i < 8; i++) {
        double got = parts[0][i] + parts[0][i] * parts[1][i];
        if (y[i] != y[i] ? got == got : got != (y[i] < -740 ? 0 : 1)) {
            fail("exp_f64", y[i], got);
        }
    }
}

/* ---- logits that a shift does not fit ---- */

/* One of 16 (or 8) logits is x, the others are in range. */
static int in_range_f32(float x, int lane, double shift)
{
    struct exp_shift_f32 s = exp_shift_by_f32(shift);
    float lanes[16];
    for (int i = 0; i < 16; i++) {
        lanes[i] = i == lane ? x : i % 5 == 0 ? exp_nothing_f32(shift) : (float)(shift * LN2_HEAD + i);
    }
    vf v = vf_load(lanes), seen = vf_set1((float)EXP_ZERO), scale, tail;
    exp_parts_of_f32(1, &v, &s, &seen, &scale, &tail);
    return exp_in_range_f32(seen);
}

static int in_range_f64(double x, int lane, double shift)
{
    struct exp_shift_f64 s = exp_shift_by_f64(shift);
    double lanes[8];
    for (int i = 0; i < 8; i++) {
        lanes[i] = i == lane ? x : i % 5 == 0 ? exp_nothing_f64(shift) : shift * LN2_HEAD + i;
    }
    vd v = vd_load(lanes), seen = vd_set1(EXP_ZERO), scale, tail;
    exp_parts_of_f64(1, &v, &s, &seen, &scale, &tail);
    return exp_in_range_f64(seen);
}

/* Every STRIDE-th float, but not more than eight million; every power of two and its neighbours, of either sign. */
static void sweep_in_range(uint64_t stride)
{
    static const double shifts[] = {0, -48, 60, -140, 46000, -46000};
    stride = stride < 509 ? 509 : stride;
    for (uint64_t u = 0; u < 0x100000000u; u += stride) {
        double shift = shifts[u / stride / 3 % 6]; /* each of them with either kind of float */
        uint32_t bits = (uint32_t)(u / stride % 3 ? u : (u & 0xff800000u) + u / stride % 5 - 2);
        float x;
        memcpy(&x, &bits, sizeof x);
        double over = (double)x - shift * LN2_HEAD;
        int inside = over > -88 && over < 88, outside = !(over > -88.1 && over < 89.5); /* NaN is outside */
        int got = in_range_f32(x, (int)(u / stride % 16), shift);
        if ((inside && !got) || (outside && got && x != exp_nothing_f32(shift))) {
            fail("exp_in_range_f32", x, got);
        }
        uint64_t wide_bits = next_random();
        double y;
        memcpy(&y, &wide_bits, sizeof y);
        over = y - shift * LN2_HEAD;
        inside = over > -709 && over < 709;
        outside = !(over > -709.2 && over < 710.6);
        got = in_range_f64(y, (int)(u / stride % 8), shift);
        if ((inside && !got) || (outside && got)) {
            fail("exp_in_range_f64", y, got);
        }
    }
    if (in_range_f32(INFINITY, 3, 0) || in_range_f32(-INFINITY, 3, 0) || in_range_f64(INFINITY, 3, 0) ||
        in_range_f64(-INFINITY, 3, 0) || in_range_f64(NAN, 3, 0)) {
        fail("exp_in_range", INFINITY, 1);
    }
}

/* ---- logarithms, and the wide exp ---- */

struct pair_sweep {
    const char *name, *wide_name; /* of the rounded result and of the pair */
    struct vd2 (*of)(struct vd2);
    wide (*reference)(wide);
    double (*argument)(void);
    double low_part; /* in ulps of the argument; not below -1/2, where 1 + q would leave nothing but it */
};

static void sweep_pair(const struct pair_sweep *sweep, int count)
{
    struct worst rounded = {0, 0}, both = {0, 0};
    double hi[8], lo[8], got_hi[8], got_lo[8];
    for (int k = 0; k < count / 8; k++) {
        for (int i = 0; i < 8; i++) {
            hi[i] = sweep->argument();
            lo[i] = hi[i] < -0.5 ? 0 : sweep->low_part * uniform(-0.5, 0.5) * ulp(hi[i], 53, -1074);
        }
        struct vd2 got = sweep->of((struct vd2){vd_load(hi), vd_load(lo)});
        vd_store(got_hi, got.hi);
        vd_store(got_lo, got.lo);
        for (int i = 0; i < 8; i++) {
            wide want = sweep->reference((wide)hi[i] + lo[i]), sum = (wide)got_hi[i] + got_lo[i];
            note(&rounded, ulps_f64(got_hi[i] + got_lo[i], want), hi[i]);
            if (wide_abs(want) >= 0x1p-900) {
                note(&both, (double)(wide_abs(sum - want) / wide_abs(want)), hi[i]);
            }
        }
    }
    if (sweep->name) {
        report(sweep->name, rounded, "ulp");
    }
    report(sweep->wide_name, both, "relative");
}

static double log1p_argument(void)
{
    switch (next_random() & 7) {
    case 0:
        return fabs(spread(-1074, 1024));
    case 1:
        return -1 + fabs(spread(-53, -1));
    case 2:
        return spread(-60, 0);
    case 3:
        return uniform(0.40, 0.43); /* around sqrt(2) - 1, where the power of two changes */
    case 4:
        return uniform(-0.31, -0.28);
    default:
        return uniform(-1, 8);
    }
}

static double log1p_short_argument(void) { return fabs(log1p_argument()); }
static double log1p_ratio_argument(void) { return fmin(log1p_short_argument(), 0x1p900); }

static double log1p_unit_argument(void)
{
    return next_random() & 3 ? uniform(0, 1) : next_random() & 1 ? uniform(0.40, 0.43) : fabs(spread(-900, 0));
}

static double log_argument(void)
{
    switch (next_random() & 3) {
    case 0:
        return fabs(spread(-1074, 1024));
    case 1:
        return 1 + spread(-53, -1);
    default:
        return uniform(0, 4);
    }
}

static double exp_argument(void) { return next_random() & 3 ? uniform(-600, 0) : -fabs(spread(-60, 3)); }

static struct vd2 log1p_pair(struct vd2 q) { return log1p_wide(q); }
static struct vd2 log1p_short_pair(struct vd2 q) { return (struct vd2){log1p_short(q.hi), vd_set1(0)}; }
static struct vd2 log1p_ratio_pair(struct vd2 q)
{
    vd e = vd_set1(uniform(0.5, 4)); /* r = q e is rounded, by less than 2^-52 */
    return (struct vd2){log1p_ratio(vd_mul(q.hi, e), e), vd_set1(0)};
}
static struct vd2 log1p_unit_short(struct vd2 q) { return (struct vd2){log1p_unit(q.hi), vd_set1(0)}; }
static struct vd2 log1p_unit_of_floats(struct vd2 q) { return (struct vd2){w32_log1p_unit(q.hi), vd_set1(0)}; }
static struct vd2 log_pair(struct vd2 x) { return log_wide(x.hi); }
static struct vd2 exp_pair(struct vd2 x) { return w64_exp(x.hi); }

static void expect(const char *function, vd got, double x, double want)
{
    double lanes[8];
    vd_store(lanes, got);
    if (lanes[0] != want && (lanes[0] == lanes[0] || want == want)) {
        fail(function, x, lanes[0]);
    }
}

static void special_logarithms(void)
{
    /* x, log1p(x), log(x) */
    static const double x[][3] = {{0, 0, -INFINITY},
                                  {INFINITY, INFINITY, INFINITY},
                                  {NAN, NAN, NAN},
                                  {-1, -INFINITY, NAN},
                                  {1, 0.69314718055994530942, 0}};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        vd v = vd_set1(x[i][0]), zero = vd_set1(0);
        struct vd2 y = log1p_wide((struct vd2){v, zero});
        expect("log1p_f64", vd_add(y.hi, y.lo), x[i][0], x[i][1]);
        if (x[i][0] < 0) {
            continue;
        }
        y = log_wide(v);
        expect("log_f64", vd_add(y.hi, y.lo), x[i][0], x[i][2]);
    }
}

int main(int argc, char **argv)
{
    uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 4099;
    int count = argc > 2 ? atoi(argv[2]) : 200000;
    const struct pair_sweep sweeps[] = {
        {"log1p_f64", "log1p_wide", log1p_pair, wide_log1p, log1p_argument, 0},
        {NULL, "log1p_wide", log1p_pair, wide_log1p, log1p_argument, 1},
        {NULL, "log1p_short", log1p_short_pair, wide_log1p, log1p_short_argument, 0},
        {NULL, "log1p_ratio", log1p_ratio_pair, wide_log1p, log1p_ratio_argument, 0},
        {NULL, "log1p_unit", log1p_unit_short, wide_log1p, log1p_unit_argument, 0},
        {NULL, "w32_log1p_unit", log1p_unit_of_floats, wide_log1p, log1p_unit_argument, 0},
        {"log1p_unit_f64", "log1p_unit_wide", log1p_unit_wide, wide_log1p, log1p_unit_argument, 1},
        {"log_f64", "log_wide", log_pair, wide_log, log_argument, 0},
        {"w64_exp_rounded", "w64_exp", exp_pair, wide_exp, exp_argument, 0},
    };
    special_exp();
    sweep_in_range(stride);
    sweep_exp_f32(stride);
    shifted_exp_f32(count);
    report("exp_f32", rounded_f32, "ulp");
    report("exp_parts_f32", parts_f32, "relative");
    sweep_exp_f64(count);
    report("exp_f64", rounded_f64, "ulp");
    report("exp_parts_f64", parts_f64, "relative");
    special_logarithms();
    for (size_t i = 0; i < sizeof sweeps / sizeof *sweeps; i++) {
        sweep_pair(&sweeps[i], count);
    }
    return failures != 0;
}
