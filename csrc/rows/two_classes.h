/* Rows of two classes, a row to a lane (lanes.h). Everything is a function of the gap d >= 0 between the two logits:
 *
 *     the larger     p = 1 / (1 + e^-d)         -log p = log(1 + e^-d)
 *     the smaller    p = e^-d / (1 + e^-d)      -log p = d + log(1 + e^-d)
 *
 * No maximum is looked for and no shift: one exponential, where lanes.h takes three. */

/* Of the rows of one vector: d and e^-d. */
struct F(gap) {
    W size[WIDE_PARTS], tail[WIDE_PARTS];
};

/* The order of the two does not matter. NaN where one of them is, or +inf, or where both are -inf. */
CE_INLINE struct F(gap) F(gap_between)(V a, V b)
{
    V larger = v_max(a, b),
      smaller = v_add(v_min(a, b), v_sub(larger, v_max(b, a))); /* max(a, b): b where one is NaN */
    vd high[WIDE_PARTS], low[WIDE_PARTS];
    struct F(gap) gap;
    F(widen)(larger, high);
    F(widen)(smaller, low);
    for (int k = 0; k < WIDE_PARTS; k++) {
        gap.size[k] = w_sub(w_from(high[k]), w_from(low[k]));
        gap.tail[k] = w_exp_minus(gap.size[k]);
    }
    return gap;
}

CE_INLINE W F(larger_probability)(W tail) { return w_join(F(wide_inverse)(vd_set1(1), vd_set1(0), w_split(tail))); }

/* What belongs to the larger and to the smaller logit, in the places of the logits. */
CE_INLINE void F(put_pair)(T *tile, const vd of_larger[WIDE_PARTS], const vd of_smaller[WIDE_PARTS])
{
    V a = v_load(tile), b = v_load(tile + LANES), larger = F(narrow)(of_larger), smaller = F(narrow)(of_smaller);
    v_store(tile, v_select(v_lt(a, b), smaller, larger));
    v_store(tile + LANES, v_select(v_lt(a, b), larger, smaller));
}

CE_INLINE void F(pair_probabilities)(T *tile)
{
    struct F(gap) gap = F(gap_between)(v_load(tile), v_load(tile + LANES));
    vd larger[WIDE_PARTS], smaller[WIDE_PARTS];
    for (int k = 0; k < WIDE_PARTS; k++) {
        W p = F(larger_probability)(gap.tail[k]);
        larger[k] = w_round(p);
        smaller[k] = w_round(w_mul(gap.tail[k], p));
    }
    F(put_pair)(tile, larger, smaller);
}

CE_INLINE void F(pair_log_probabilities)(T *tile)
{
    struct F(gap) gap = F(gap_between)(v_load(tile), v_load(tile + LANES));
    vd larger[WIDE_PARTS], smaller[WIDE_PARTS];
    for (int k = 0; k < WIDE_PARTS; k++) {
        W soft = w_log1p_unit(gap.tail[k]);
        larger[k] = vd_neg(w_round(soft));
        smaller[k] = vd_neg(w_round(w_add(gap.size[k], soft)));
    }
    F(put_pair)(tile, larger, smaller);
}

typedef void F(pair_fn)(T *tile);

CE_INLINE void F(map_pairs)(const struct ce_row_map *a, F(pair_fn) * map)
{
    struct F(batch) b;
    for (int64_t first = 0; first < a->n_rows; first += b.n * LANES) {
        F(batch_load)(&b, &a->input, first, a->n_rows, 2, a->distance, 1, a->scratch);
        F(ask_for_rows)(&a->output, first, b.n * LANES, a->n_rows, 2, a->distance != CE_NEAR);
        for (int k = 0; k < b.n; k++) {
            map(b.tile[k]);
        }
        F(tiles_store)(&a->output, first, a->n_rows, b.n, 2, b.tile, AS_IT_IS);
    }
}

CE_STATIC void F(two_softmax)(const struct ce_row_map *a) { F(map_pairs)(a, F(pair_probabilities)); }
CE_STATIC void F(two_log_softmax)(const struct ce_row_map *a) { F(map_pairs)(a, F(pair_log_probabilities)); }
