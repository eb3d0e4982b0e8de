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

/* Rows in a group: as many as keep the exponentials, and the logits that they came from, in a first-level cache. At 1000
 * classes one row at a time costs 20 % more; 3, 7 and 16 rows measured within 5 %. Not a function of the machine. */
CE_INLINE int ce_group_rows(int64_t n_classes)
{
    ptrdiff_t rows = 4096 / ce_padded_classes(n_classes);
    return rows < 1 ? 1 : rows > GROUP_MAX ? GROUP_MAX : (int)rows;
}

/* How far ahead of the row that is summed memory is asked for. Two rows instead of one: the gradient at 65536 x 1000 took
 * 16.2 ms instead of 18.5, softmax 14.7 instead of 16.3; three and four rows measured the same as two. */
#define ROWS_AHEAD 2

/* Eight sums over n classes, class j in sum j mod 8, of which so many are looked at. */
CE_INLINE int ce_sums_in_use(int64_t n_classes) { return n_classes > 4 ? 8 : n_classes > 2 ? 4 : 2; }

#define BATCH_CLASSES 256 /* of tiles that are worked on together (lanes.h), so that they stay in a first-level cache */

CE_INLINE ptrdiff_t ce_chunks(int64_t n_classes) { return (ptrdiff_t)((n_classes + CHUNK - 1) / CHUNK); }

/* Arrays of GROUP rows that scratch memory holds: input packed, exponentials, probability targets packed, Hessian packed. */
enum { SCRATCH_INPUT, SCRATCH_EXPS, SCRATCH_PROB, SCRATCH_HESS, SCRATCH_ARRAYS };

#endif
