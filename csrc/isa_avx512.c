/* The kernels for AVX-512 F, BW, DQ and VL (Skylake-X, Zen 4 and later). Run only where dispatch.c finds all four. */
#include "isa.h"

#ifdef CE_HAVE_AVX512
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#endif

#define CE_ISA avx512
#include "simd/avx512.h"

#include "all_kernels.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
