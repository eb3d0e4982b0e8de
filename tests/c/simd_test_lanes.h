/* The operations of one vector type against scalar C, lane by lane; included by simd_test.c with T, UINT (its bits),
 * V (vector), M (mask), LANES, v(name) and t(name) (names of the vector operations and of the tests). */

static UINT t(bits)(T x)
{
    UINT u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static T t(from_bits)(UINT u)
{
    T x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Which NaN comes out of arithmetic differs between processors: all are one here. */
static UINT t(value_bits)(T x) { return x != x ? t(bits)((T)NAN) : t(bits)(x); }

static void t(expect_bits)(const char *operation, int lane, UINT got, UINT want)
{
    if (got != want) {
        fail(operation, lane, (unsigned long long)got, (unsigned long long)want);
    }
}

static T t(any_value)(void)
{
    static const UINT specials[] = {SPECIAL_BITS};
    uint64_t r = next_random();
    switch (r & 7) {
    case 0:
    case 1:
        return t(from_bits)(specials[(r >> 8) % (sizeof specials / sizeof *specials)]);
    case 2:
        return t(from_bits)((UINT)next_random());
    default:
        return (T)ldexp((double)(int64_t)next_random() * 0x1p-63, (int)((r >> 8) % 24) - 12);
    }
}

static void t(fill)(T *p, int n)
{
    for (int i = 0; i < n; i++) {
        p[i] = t(any_value)();
    }
}

/* A result of arithmetic: NaN is NaN, all else is equal to the bit. */
#define EXPECT_LANES(operation, vector, expression)                                                                    \
    do {                                                                                                               \
        T got[LANES];                                                                                                  \
        v(store)(got, vector);                                                                                         \
        for (int i = 0; i < LANES; i++) {                                                                              \
            T want = (expression);                                                                                     \
            t(expect_bits)(operation, i, t(value_bits)(got[i]), t(value_bits)(want));                                  \
            mix(&exact_hash, t(value_bits)(want));                                                                     \
        }                                                                                                              \
    } while (0)

/* Bits that are only moved: the payload of a NaN too. */
#define EXPECT_BITS(operation, vector, expression)                                                                     \
    do {                                                                                                               \
        T got[LANES];                                                                                                  \
        v(store)(got, vector);                                                                                         \
        for (int i = 0; i < LANES; i++)                                                                                \
            t(expect_bits)(operation, i, t(bits)(got[i]), (expression));                                               \
    } while (0)

static void t(expect_mask)(const char *operation, M mask, const int *want)
{
    T got[LANES];
    int any = 0;
    v(store)(got, v(select)(mask, v(set1)(1), v(set1)(0)));
    for (int i = 0; i < LANES; i++) {
        t(expect_bits)(operation, i, got[i] == 1, (UINT)want[i]);
        any |= want[i];
    }
    t(expect_bits)("any", -1, (UINT)(v(any)(mask) != 0), (UINT)any);
}

static T t(magnitude)(T x) { return x < 0 || x == 0 ? 0 - x : x; }

static void t(test_arithmetic)(void)
{
    T a[LANES], b[LANES];
    int less[LANES], equal[LANES];
    t(fill)(a, LANES);
    t(fill)(b, LANES);
    for (int i = 0; i < LANES; i += 5) {
        b[i] = a[i];
    }
    V x = v(load)(a), y = v(load)(b);
    EXPECT_LANES("add", v(add)(x, y), a[i] + b[i]);
    EXPECT_LANES("sub", v(sub)(x, y), a[i] - b[i]);
    EXPECT_LANES("mul", v(mul)(x, y), a[i] * b[i]);
    EXPECT_LANES("div", v(div)(x, y), a[i] / b[i]);
    EXPECT_BITS("set1", v(set1)(a[0]), t(bits)(a[0]));
    EXPECT_BITS("neg", v(neg)(x), t(bits)(a[i]) ^ ((UINT)1 << (sizeof(T) * 8 - 1)));
    EXPECT_BITS("abs", v(abs)(x), t(bits)(a[i]) & ~((UINT)1 << (sizeof(T) * 8 - 1)));
    EXPECT_BITS("or3", v(or3)(x, y, v(set1)(b[1])), t(bits)(a[i]) | t(bits)(b[i]) | t(bits)(b[1]));
    EXPECT_BITS("max", v(max)(x, y), t(bits)(a[i] > b[i] ? a[i] : b[i]));
    EXPECT_BITS("min", v(min)(x, y), t(bits)(a[i] < b[i] ? a[i] : b[i]));
    for (int i = 0; i < LANES; i++) {
        less[i] = a[i] < b[i];
        equal[i] = a[i] == b[i];
    }
    t(expect_mask)("lt", v(lt)(x, y), less);
    t(expect_mask)("eq", v(eq)(x, y), equal);
    EXPECT_BITS("select", v(select)(v(lt)(x, y), x, y), t(bits)(less[i] ? a[i] : b[i]));
    EXPECT_LANES("add_where", v(add_where)(v(lt)(x, y), v(abs)(x), y), t(magnitude)(a[i]) + (less[i] ? b[i] : 0));
    EXPECT_BITS("zip_lo", v(zip_lo)(x, y), t(bits)((i % 2 ? b : a)[i / 2]));
    EXPECT_BITS("zip_hi", v(zip_hi)(x, y), t(bits)((i % 2 ? b : a)[(LANES + i) / 2]));
    const int lanes = LANES / 4; /* of a block */
    EXPECT_BITS("zip_blocks_lo", v(zip_blocks_lo)(x, y), t(bits)((i % 2 ? b : a)[i - i % lanes + i % lanes / 2]));
    EXPECT_BITS("zip_blocks_hi", v(zip_blocks_hi)(x, y),
                t(bits)((i % 2 ? b : a)[i - i % lanes + (lanes + i % lanes) / 2]));
#if CE_WHOLE_ROWS
    EXPECT_BITS("even_blocks", v(even_blocks)(x, y),
                t(bits)((i < LANES / 2 ? a : b)[i / lanes % 2 * 2 * lanes + i % lanes]));
    EXPECT_BITS("odd_blocks", v(odd_blocks)(x, y),
                t(bits)((i < LANES / 2 ? a : b)[i / lanes % 2 * 2 * lanes + lanes + i % lanes]));
    EXPECT_BITS("join_halves", v(join_halves)(a + 2, b + 1), t(bits)(i < LANES / 2 ? a[2 + i] : b[1 + i - LANES / 2]));
#else
    T apart[3 * LANES];
    for (int i = 0; i < 3 * LANES; i++) {
        apart[i] = (i % 2 ? a : b)[i / 2 % LANES];
    }
    EXPECT_BITS("load_blocks", v(load_blocks)(apart + 1, lanes + 3),
                t(bits)(apart[1 + i / lanes * (lanes + 3) + i % lanes]));
    v(store_blocks)(apart + 2, lanes + 1, x);
    EXPECT_BITS("store_blocks", v(load_blocks)(apart + 2, lanes + 1), t(bits)(a[i]));
#endif
}

/* One true lane, or none. */
static void t(test_any)(void)
{
    for (int lane = -1; lane < LANES; lane++) {
        int want[LANES];
        T a[LANES];
        for (int i = 0; i < LANES; i++) {
            want[i] = i == lane;
            a[i] = i == lane ? (T)-0.5 : (T)0.5;
        }
        t(expect_mask)("any", v(lt)(v(load)(a), v(set1)(0)), want);
    }
}

static void t(test_fma)(void)
{
    T a[LANES], b[LANES], c[LANES], fused[LANES], negated[LANES], loose[LANES];
    t(fill)(a, LANES);
    t(fill)(b, LANES);
    t(fill)(c, LANES);
    for (int i = 0; i < LANES; i += 2) { /* what is left of a product is its rounding error */
        c[i] = i % 4 ? a[i] * b[i] : -(a[i] * b[i]);
    }
    V x = v(load)(a), y = v(load)(b), z = v(load)(c);
    v(store)(fused, v(fma)(x, y, z));
    v(store)(negated, v(fnma)(x, y, z));
    v(store)(loose, v(madd)(x, y, z));
    for (int i = 0; i < LANES; i++) {
        t(expect_fused)("fma", i, fused[i], a[i], b[i], c[i]);
        t(expect_fused)("fnma", i, negated[i], -a[i], b[i], c[i]);
        T once = t(scalar_fma)(a[i], b[i], c[i]), twice = a[i] * b[i] + c[i];
        if (t(value_bits)(loose[i]) != t(value_bits)(once)) {
            t(expect_bits)("madd", i, t(value_bits)(loose[i]), t(value_bits)(twice));
        }
        mix(&fused_hash, t(value_bits)(fused[i]));
        mix(&fused_hash, t(value_bits)(negated[i]));
    }
}

static void t(test_lanes)(void)
{
    static const ptrdiff_t outside[] = {-1,
                                        -5,
                                        LANES,
                                        LANES + 3,
                                        -(ptrdiff_t)LANES,
                                        PTRDIFF_MIN,
                                        PTRDIFF_MAX,
                                        (ptrdiff_t)1 << 32,
                                        -((ptrdiff_t)1 << 32) + 1};
    T a[LANES], table[8];
    UINT z[LANES];
    t(fill)(a, LANES);
    t(fill)(table, 8);
    V x = v(load)(a);
    for (int lane = 0; lane < LANES; lane++) {
        EXPECT_BITS("set_lane", v(set_lane)(x, lane, table[0]), t(bits)(i == lane ? table[0] : a[i]));
    }
    for (size_t k = 0; k < sizeof outside / sizeof *outside; k++) {
        EXPECT_BITS("set_lane outside", v(set_lane)(x, outside[k], table[0]), t(bits)(a[i]));
    }
    for (int i = 0; i < LANES; i++) {
        z[i] = (UINT)next_random();
        memcpy(&a[i], &z[i], sizeof(T));
    }
    x = v(load)(a);
    EXPECT_BITS("lookup8", v(lookup8)(table, x), t(bits)(table[z[i] & 7]));
    UINT entries[8];
    for (int i = 0; i < 8; i++) {
        entries[i] = (UINT)next_random();
    }
    EXPECT_BITS("power", v(power)(entries, x), (UINT)((z[i] << (MANTISSA_BITS - 3)) + entries[z[i] & 7]));
    EXPECT_BITS("exponent_bits", v(exponent_bits)(x), (z[i] << (MANTISSA_BITS - 3)) & EXPONENT_MASK);
}

/* Two equal lanes, one or none. */
static void t(test_equal_lanes)(void)
{
    for (int lane = 0; lane <= LANES; lane++) {
        T a[LANES];
        UINT wanted = 0;
        for (int i = 0; i < LANES; i++) {
            int equal = i == lane || i == lane + 3;
            a[i] = equal ? (T)2 : i % 2 ? (T)NAN : (T)1;
            wanted |= (UINT)equal << i;
        }
        t(expect_bits)("equal_lanes", lane, (UINT)v(equal_lanes)(v(load)(a), 2), wanted);
    }
}

static void t(test_reduce_max)(void)
{
    T a[LANES];
    t(fill)(a, LANES);
    T want = -(T)INFINITY;
    for (int i = 0; i < LANES; i++) {
        if (a[i] != a[i]) {
            a[i] = 0;
        }
        want = a[i] > want ? a[i] : want;
    }
    /* + 0: either zero will do */
    t(expect_bits)("reduce_max", -1, t(bits)(v(reduce_max)(v(load)(a)) + 0), t(bits)(want + 0));
}

/* Lanes that are not asked for lie on pages that cannot be touched, or hold what must stay. */
static void t(test_part)(const struct guarded *memory)
{
    T a[LANES], fill = t(any_value)(), sentinel = (T)-12345;
    t(fill)(a, LANES);
    for (int n = 0; n <= LANES; n++) {
        T *at_end = (T *)(void *)memory->end - n, *at_start = (T *)(void *)memory->start;
        memcpy(at_end, a, (size_t)n * sizeof(T));
        EXPECT_BITS("load_part", v(load_part)(at_end, n, fill), t(bits)(i < n ? a[i] : fill));
        for (int i = 0; i < n; i++) {
            at_end[i] = sentinel;
        }
        v(store_part)(at_end, v(load)(a), n);
        t(expect_bits)("store_part at a page's end", n, memcmp(at_end, a, (size_t)n * sizeof(T)) != 0, 0);
        for (int i = 0; i < 2 * LANES; i++) {
            at_start[i] = sentinel;
        }
        v(store_part)(at_start, v(load)(a), n);
        t(expect_bits)("store_part", n, memcmp(at_start, a, (size_t)n * sizeof(T)) != 0, 0);
        for (int i = n; i < 2 * LANES; i++) {
            t(expect_bits)("store_part beyond", i, t(bits)(at_start[i]), t(bits)(sentinel));
        }
    }
    T *one_past = (T *)(void *)memory->end, *last = one_past - LANES;
    memcpy(last, a, sizeof a);
    EXPECT_BITS("load_part n < 0", v(load_part)(one_past, -3, fill), ((void)i, t(bits)(fill)));
    EXPECT_BITS("load_part n > lanes", v(load_part)(last, LANES + 7, fill), t(bits)(a[i]));
    EXPECT_BITS("load_part n huge", v(load_part)(last, PTRDIFF_MAX, fill), t(bits)(a[i]));
    v(store_part)(one_past, v(load)(a), -3);
    v(store_part)(last, v(set1)(sentinel), LANES + 7);
    EXPECT_BITS("store_part n > lanes", v(load)(last), ((void)i, t(bits)(sentinel)));
}

static void t(test_memory)(void)
{
    _Alignas(64) T to[LANES];
    T from[LANES + 1];
    t(fill)(from, LANES + 1);
    v(stream)(to, v(load)(from + 1));
    for (int i = 0; i < LANES; i++) {
        t(expect_bits)("stream", i, t(bits)(to[i]), t(bits)(from[i + 1]));
    }
    EXPECT_BITS("load unaligned", v(load)(from + 1), t(bits)(from[i + 1]));
}

static void t(test)(const struct guarded *memory, int rounds)
{
    t(test_any)();
    t(test_equal_lanes)();
    for (int k = 0; k < rounds; k++) {
        t(test_arithmetic)();
        t(test_fma)();
        t(test_lanes)();
        t(test_reduce_max)();
        t(test_memory)();
        if (k % 64 == 0) {
            t(test_part)(memory);
        }
    }
}

#undef EXPECT_LANES
#undef EXPECT_BITS
