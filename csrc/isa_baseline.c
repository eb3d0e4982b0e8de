/* The kernels for whatever the compiler targets by default: SSE2 on x86-64, plain C elsewhere. Always there. */
#include "isa.h"

#define CE_ISA baseline
#include "simd/baseline.h"

#include "all_kernels.h"
