/* How much scratch memory a row kernel works in. */
#include "kernels.h"
#include "simd/inline.h"

#include "rows/layout.h"

size_t ce_scratch_bytes(int64_t n_classes)
{
    size_t arrays = SCRATCH_ARRAYS * (size_t)ce_group_rows(n_classes) * (size_t)ce_padded_classes(n_classes);
    size_t shifts = (size_t)ce_near_group_rows(n_classes) * (size_t)ce_chunks(n_classes);
    size_t bytes = (arrays + shifts) * sizeof(double);
    /* batch.h: tiles of logits, exponentials and probability targets, a register wide */
    size_t tiles = n_classes <= CHUNK ? 3 * 64 * (size_t)(n_classes > BATCH_CLASSES ? n_classes : BATCH_CLASSES) : 0;
    return bytes > tiles ? bytes : tiles;
}
