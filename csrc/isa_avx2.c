/* The kernels for AVX2 and FMA (Haswell, Zen and later). Run only where dispatch.c finds both. */
#include "isa.h"

#ifdef CE_HAVE_AVX2
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define CE_ISA avx2
#include "simd/avx2.h"

#include "all_kernels.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
