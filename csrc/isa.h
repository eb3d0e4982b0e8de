/* Which kernel sets this compiler can build for this target: one CE_HAVE_<ISA> for each, and the table it then defines.
 *
 * The isa_*.c files need a compiler that switches instruction sets by pragma inside one file (GCC, Clang); with any other
 * one the baseline is built alone. setup.py compiles a probe against this header and passes CE_NO_AVX2 or CE_NO_AVX512
 * where the version test below is met but the intrinsics or the assembler are missing.
 *
 * The isa_*.c files include this header, and with it the standard headers, before their target pragma, and that of the
 * intrinsics: what headers define must not be compiled for an instruction set that only some processors have. */
#ifndef CROSSENT_ISA_H
#define CROSSENT_ISA_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

/* 9: the first GCC and Clang that have every intrinsic in use (unaligned integer loads of AVX-512 among them). */
#if defined(__x86_64__) && ((defined(__clang__) && __clang_major__ >= 9) || (!defined(__clang__) && __GNUC__ >= 9))
#ifndef CE_NO_AVX2
#define CE_HAVE_AVX2 1
#endif
#ifndef CE_NO_AVX512
#define CE_HAVE_AVX512 1
#endif
#endif

/* Part of the base architecture on 64-bit ARM; GCC and Clang only, for the vector types. */
#if defined(__aarch64__) && defined(__GNUC__) && defined(__ARM_NEON)
#define CE_HAVE_NEON 1
#endif

/* Those that are not built have no definition, and nothing that asks for one. No #ifdef: all builds have the same baseline. */
extern const struct ce_kernel_table ce_table_baseline, ce_table_avx2, ce_table_avx512, ce_table_neon;

#endif
