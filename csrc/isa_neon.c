/* The kernels for 64-bit ARM, whose base architecture has NEON and FMA: no target pragma, no check at run time. */
#include "isa.h"

#ifdef CE_HAVE_NEON
#include <arm_neon.h>

#define CE_ISA neon
#include "simd/neon.h"

#include "all_kernels.h"

#endif
