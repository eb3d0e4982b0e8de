/* Groups of rows, and the scratch memory that they work in. Shared by every row kernel and both dtypes. */
#ifndef CROSSENT_LAYOUT_H
#define CROSSENT_LAYOUT_H

#define CHUNK 4096   /* classes summed with one shift */
#define GROUP_MAX 16 /* rows whose logarithms and divisions are done together, in vectors */

/* 2^n for an integer n <= 1023, subnormal where it must be; NaN stays. */
CE_INLINE double ce_exp2(double n)
{
    union {
        uint64_t bits;
        double value;
    } u;
    if (n != n) {
        return n;
    }
    u.bits = n < -1074 ? 0 : n < -1022 ? (uint64_t)1 << (int)(n + 1074) : (uint64_t)(n + 1023) << 52;
    return u.value;
}

/* Classes rounded up to whole vectors (and past a multiple of 4096 bytes, so that rows do not share cache sets). */
CE_INLINE ptrdiff_t ce_padded_classes(int64_t n_classes) { return (ptrdiff_t)((n_classes + 63) / 64 * 64 + 16); }

/* Rows in a group of so many classes together, not a function of the machine. Between the passes over a group nothing is under way
 * for some 250 cycles. */
CE_INLINE int ce_rows_of(ptrdiff_t classes, int64_t n_classes)
{
    ptrdiff_t rows = classes / ce_padded_classes(n_classes);
    return rows < 1 ? 1 : rows > GROUP_MAX ? GROUP_MAX : (int)rows;
}

/* As many as keep the exponentials, and the logits that they came from, in a first-level cache; that many wait in scratch. */
CE_INLINE int ce_group_rows(int64_t n_classes) { return ce_rows_of(4096, n_classes); }

/* Rows whose exponentials wait where they will be written, which a second-level cache holds. Zen 5, 1024 x 1000, beside the
 * other: 4 to 10 % less; in memory 4 to 10 % more. */
CE_INLINE int ce_near_group_rows(int64_t n_classes) { return ce_rows_of(16640, n_classes); }

/* Rows of the group that begins at first, of so many but for the last. */
CE_INLINE int ce_rows_left(int64_t first, int64_t n_rows, int most)
{
    return n_rows - first < most ? (int)(n_rows - first) : most;
}

/* How many rows ahead of the one that is summed memory is asked for: some ten KB of floats, at least two rows. Zen 5, arrays in
 * memory, beside two rows always: of 300 classes cross_entropy takes 8 % less, softmax and gradient 20 %; of 400 13, 9 and 16 %; of
 * 1000 5 %, 1 % more, and 6 % less. */
CE_INLINE ptrdiff_t ce_rows_ahead(ptrdiff_t n_classes) { return n_classes >= 2400 ? 2 : 1 + 2400 / n_classes; }

/* Eight sums over n classes, class j in sum j mod 8, of which so many are looked at. */
CE_INLINE int ce_sums_in_use(int64_t n_classes) { return n_classes > 4 ? 8 : n_classes > 2 ? 4 : 2; }

#define BATCH_CLASSES 256 /* of tiles that are worked on together (batch.h) */

CE_INLINE ptrdiff_t ce_chunks(int64_t n_classes) { return (ptrdiff_t)((n_classes + CHUNK - 1) / CHUNK); }

/* Arrays of GROUP rows that scratch memory holds: input packed, exponentials, probability targets packed, Hessian packed. */
enum { SCRATCH_INPUT, SCRATCH_EXPS, SCRATCH_PROB, SCRATCH_HESS, SCRATCH_ARRAYS };

#endif
