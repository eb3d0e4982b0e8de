/* Four doubles on every instruction set, for kernels that wait for memory more than they compute: vectors of 64 bytes lower
 * the clock of some processors (Skylake-X, Cascade Lake). Included after the vectors of an instruction set. */
#ifndef CROSSENT_QUAD_H
#define CROSSENT_QUAD_H

#ifndef CE_NO_VECTOR_EXTENSIONS
#define QUAD 4
#define QUAD_ZERO {0, 0, 0, 0}
typedef double quad __attribute__((vector_size(32)));
typedef float quad_f32 __attribute__((vector_size(16)));
#define QUAD_JOIN_f64(p) ((quad){(p)[0], (p)[1], (p)[2], (p)[3]})
#define QUAD_JOIN_f32(p) __builtin_convertvector(((quad_f32){(p)[0], (p)[1], (p)[2], (p)[3]}), quad)
#else /* one, then */
#define QUAD 1
#define QUAD_ZERO 0
typedef double quad;
#define QUAD_JOIN_f64(p) ((p)[0])
#define QUAD_JOIN_f32(p) ((double)(p)[0])
#endif

/* Four sums and their rounding errors. */
struct quad_sums {
    quad hi, lo;
};

/* A number more in each sum. */
CE_INLINE void quad_add(struct quad_sums *sums, const quad *numbers)
{
    quad s = sums->hi + *numbers, b = s - sums->hi;
    sums->lo += (sums->hi - (s - b)) + (*numbers - b);
    sums->hi = s;
}

/* All four added to total[0] + total[1]. */
CE_INLINE void quad_add_all(double total[2], const struct quad_sums *sums)
{
    double hi[QUAD], lo[QUAD];
    memcpy(hi, &sums->hi, sizeof hi);
    memcpy(lo, &sums->lo, sizeof lo);
    for (int i = 0; i < QUAD; i++) {
        ce_add_pair(total, hi[i], lo[i]);
    }
}

#endif
