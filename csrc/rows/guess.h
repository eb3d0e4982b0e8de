/* How rows are tried together (sum_exp.h). Shared by both dtypes. */
#ifndef CROSSENT_GUESS_H
#define CROSSENT_GUESS_H

/* What is tried on the next rows: the shift that fitted those so far, and that a shift fits all of a row's logits. A row
 * that it fits needs no search for its maximum, nor for logits whose exponential is 0; a shift is a power of two, so that the
 * sum is the same. After a row that it did not fit, the next MISFIT_ROWS are taken with care, then one is tried, two, four. */
#define MISFIT_ROWS 16

/* `kept`, or at first, and where none is kept, `own`; careful: the first row is searched. */
CE_INLINE struct ce_guess *ce_guess_of(struct ce_guess *kept, struct ce_guess *own, int careful)
{
    *own = (struct ce_guess){0, careful, GROUP_MAX};
    if (!kept) {
        return own;
    }
    if (kept->batch == 0) {
        *kept = *own;
    }
    return kept;
}

CE_INLINE int ce_next_batch(const struct ce_guess *guess, int n_rows)
{
    return guess->careful ? 0 : guess->batch < n_rows ? guess->batch : n_rows;
}

CE_INLINE void ce_batch_fitted(struct ce_guess *guess, int fitted)
{
    guess->batch = fitted ? 2 * guess->batch < GROUP_MAX ? 2 * guess->batch : GROUP_MAX : 1;
    guess->careful = fitted ? 0 : MISFIT_ROWS;
}

#endif
