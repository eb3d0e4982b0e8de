/* Every kernel for one instruction set. The including isa_*.c has set the target, CE_ISA and the vector types. */
#include "all_math.h"
#include "math/quad.h"
#include "rows/layout.h"
#include "rows/guess.h"
#include "rows/around.h"
#include "simd/as_f32.h"
#include "kernels_once.h"
#include "simd/as_f64.h"
#include "kernels_once.h"

#define CE_STRING_(x) #x
#define CE_STRING(x) CE_STRING_(x)
#define CE_JOIN_(a, b) a##b
#define CE_JOIN(a, b) CE_JOIN_(a, b)

const struct ce_kernel_table CE_JOIN(ce_table_, CE_ISA) = {
    .isa = CE_STRING(CE_ISA),
    .sum_losses = sum_losses,
    .count_targets = count_targets,
#define KERNEL(name, signature) .name = {name##_f32, name##_f64},
#include "kernels.def"
#undef KERNEL
};
