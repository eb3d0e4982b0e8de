# Drivers of the kernels that work on rows of classes, and their fast lanes.

# ---------------------------------------------------------------------------------------------------------------------
# Rows: an array as (outer, n_classes, inner); row number r is outer index r // inner and inner index r % inner

cdef struct rows:
    char *data
    ptrdiff_t outer_stride, class_stride, inner_stride  # in elements

cdef struct row_shape:
    int64_t n_rows, n_classes, inner
    int64_t plain_inner  # positions behind a class; inner is n_rows where that is 1
    int64_t n_blocks, rows_per_block, rows_per_span, blocks_per_span  # see cut_blocks
    ce_dtype dtype
    size_t itemsize


cdef row_shape shape_rows(int64_t outer, int64_t n_classes, int64_t inner, ce_dtype dtype) noexcept nogil:
    cdef row_shape shape
    cdef int64_t n = ROW_BLOCK_ELEMENTS // n_classes if n_classes else MAX_BLOCK_ROWS
    shape.n_rows = outer * inner
    shape.n_classes = n_classes
    # With the class axis last (inner == 1) all rows lie in one matrix: one outer index, n_rows inner ones.
    shape.inner = shape.n_rows if inner == 1 else inner
    shape.plain_inner = inner
    shape.dtype = dtype
    shape.itemsize = sizeof(float) if dtype == CE_F32 else sizeof(double)
    n = 1 if n < 1 else MAX_BLOCK_ROWS if n > MAX_BLOCK_ROWS else n
    cut_blocks(&shape, n - n % TILE_ROWS if n > TILE_ROWS else n)
    return shape


cdef void cut_blocks(row_shape *shape, int64_t n) noexcept nogil:
    """Into blocks of at most n rows, each of whole outer indices or a part of one, which is cut from its start.

    A tile is not filled beyond the end of an outer index: 49 positions of 1000 classes took 1.4 times as long where
    blocks of 64 began anywhere.
    """
    if n >= shape.n_rows:
        shape.rows_per_block = shape.rows_per_span = shape.n_rows
        shape.n_blocks = shape.blocks_per_span = 1
        return
    shape.rows_per_span = shape.inner if n < shape.inner else n - n % shape.inner
    shape.rows_per_block = n if n < shape.inner else shape.rows_per_span
    shape.blocks_per_span = (shape.rows_per_span + shape.rows_per_block - 1) // shape.rows_per_block
    shape.n_blocks = (shape.n_rows + shape.rows_per_span - 1) // shape.rows_per_span * shape.blocks_per_span


cdef inline rows no_rows() noexcept nogil:
    cdef rows result
    result.data = NULL
    result.outer_stride = result.class_stride = result.inner_stride = 0
    return result


cdef inline rows plain_rows(void *data, int64_t n_classes, int64_t inner) noexcept nogil:
    """Rows of a C-contiguous array (outer, n_classes, inner)."""
    cdef rows result
    result.data = <char *>data
    result.outer_stride = 0 if inner == 1 else n_classes * inner
    result.class_stride = 1 if n_classes == 1 else inner
    result.inner_stride = n_classes if inner == 1 else 1
    return result


cdef inline row_shape plain_shape(cnp.ndarray array, int axis, ce_dtype dtype) noexcept:
    """Of a C-contiguous array that is not empty, with the classes along an axis."""
    cdef int64_t inner = 1, n_classes = cnp.PyArray_DIM(array, axis)
    cdef int i
    for i in range(axis + 1, cnp.PyArray_NDIM(array)):
        inner *= cnp.PyArray_DIM(array, i)
    return shape_rows(cnp.PyArray_SIZE(array) // (n_classes * inner), n_classes, inner, dtype)


cdef rows strided_rows(cnp.ndarray array):
    """Rows of a three-dimensional array (outer, n_classes, inner)."""
    cdef rows result
    cdef ptrdiff_t itemsize = cnp.PyArray_ITEMSIZE(array)
    result.data = <char *>cnp.PyArray_DATA(array)
    result.outer_stride = cnp.PyArray_STRIDE(array, 0) // itemsize
    # NumPy leaves any number in the stride of an axis of length one; a kernel chooses its path by this one.
    result.class_stride = 1 if cnp.PyArray_DIM(array, 1) == 1 else cnp.PyArray_STRIDE(array, 1) // itemsize
    result.inner_stride = cnp.PyArray_STRIDE(array, 2) // itemsize
    if cnp.PyArray_DIM(array, 2) == 1:
        result.inner_stride = result.outer_stride
        result.outer_stride = 0
    return result


cdef inline ce_matrix matrix_at(const rows *array, const row_shape *shape, int64_t row) noexcept nogil:
    cdef ce_matrix matrix
    cdef int64_t outer = row // shape.inner
    cdef ptrdiff_t offset = outer * array.outer_stride + (row - outer * shape.inner) * array.inner_stride
    matrix.data = NULL if array.data == NULL else array.data + offset * <ptrdiff_t>shape.itemsize
    matrix.row_stride = array.inner_stride
    matrix.class_stride = array.class_stride
    return matrix


cdef inline int64_t run_length(const row_shape *shape, int64_t row, int64_t stop) noexcept nogil:
    """How many of the rows from `row` to `stop` go to the kernel together: those of one matrix, so of one outer index.

    Behind a class axis that is not last, those that are left over from whole tiles of 16 are a call of their own: the
    kernel takes a few rows one by one. 49 positions, as three tiles and a row, take 0.7 of the time of four tiles.
    """
    cdef int64_t in_outer = shape.inner - row % shape.inner
    cdef int64_t n = in_outer if in_outer < stop - row else stop - row
    return n - n % TILE_ROWS if shape.plain_inner > 1 and n > TILE_ROWS else n


cdef inline int64_t block_start(const row_shape *shape, int64_t block) noexcept nogil:
    cdef int64_t span = block // shape.blocks_per_span
    return span * shape.rows_per_span + (block - span * shape.blocks_per_span) * shape.rows_per_block


cdef inline int64_t block_stop(const row_shape *shape, int64_t block) noexcept nogil:
    return shape.n_rows if block + 1 == shape.n_blocks else block_start(shape, block + 1)


cdef inline ce_distance distance_of(const row_shape *shape, const void *output, const void *source,
                                    int n_threads) noexcept nogil:
    cdef int64_t n_bytes = shape.n_rows * shape.n_classes * <int64_t>shape.itemsize
    cdef bint soon_far = shape.plain_inner > 1 or shape.n_classes >= LONG_ROW
    if streams(n_bytes, output, source, n_threads):
        return CE_PAST_CACHES
    if n_bytes > STREAM_BYTES:
        return CE_IN_MEMORY
    return CE_FAR if soon_far and n_bytes > FAR_BYTES else CE_NEAR


cdef inline bint streams(int64_t n_bytes, const void *output, const void *source, int n_threads) noexcept nogil:
    # Over its own input an output is in the cache already.
    return output != source and n_bytes > STREAM_BYTES and n_threads >= streaming_threads


cdef int open_row_workspace(workspace *space, char *stack, int64_t n_blocks, size_t bytes_per_thread,
                            int n_threads) except -1:
    """With GUESS_BYTES more in front of each thread's scratch: what its calls of a kernel have learned of the rows."""
    cdef int thread
    open_workspace(space, stack, n_blocks, GUESS_BYTES + bytes_per_thread, n_threads)
    for thread in range(n_threads):
        memset(space.scratch + <size_t>thread * space.bytes_per_thread, 0, GUESS_BYTES)
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# row_map: softmax, log_softmax, logsumexp

cdef struct row_map_job:
    row_shape shape
    ce_row_map_fn *kernel
    rows input, output
    ce_distance distance


cdef void row_map_block(void *job_pointer, int64_t block, void *scratch) noexcept nogil:
    cdef row_map_job *job = <row_map_job *>job_pointer
    cdef ce_row_map args
    cdef int64_t row = block_start(&job.shape, block)
    cdef int64_t stop = block_stop(&job.shape, block)
    args.n_classes = job.shape.n_classes
    args.distance = job.distance
    args.guess = <ce_guess *>scratch
    args.scratch = <char *>scratch + GUESS_BYTES
    while row < stop:
        args.n_rows = run_length(&job.shape, row, stop)
        args.input = matrix_at(&job.input, &job.shape, row)
        args.output = matrix_at(&job.output, &job.shape, row)
        job.kernel(&args)
        row += args.n_rows


cdef int run_row_map(row_map_job *job, int kernel, int n_threads) except -1:
    cdef char stack[STACK_BYTES]
    cdef workspace space
    cdef row_shape *shape = &job.shape
    cdef int64_t work = shape.n_rows * shape.n_classes
    if work == 0:
        return 0
    n_threads = count_threads(n_threads, work, shape.n_blocks)
    if n_threads == 1:  # nothing is added up by blocks: log_softmax of 1024 x 1000 in one 2 % less than in 16
        cut_blocks(shape, shape.n_rows)
    open_row_workspace(&space, stack, 0, ce_scratch_bytes(shape.n_classes), n_threads)
    job.kernel = <ce_row_map_fn *>ce_kernel(active_table, kernel, shape.dtype)
    job.distance = distance_of(shape, job.output.data, job.input.data, n_threads)
    launch(row_map_block, job, shape.n_blocks, work, &space, n_threads)
    close_workspace(&space)
    return 0


def row_map(int kernel, cnp.ndarray input not None, cnp.ndarray output not None, int num_threads):
    """output (outer, n_classes or 1, inner) from input (outer, n_classes, inner)."""
    cdef row_map_job job
    job.shape = shape_rows(cnp.PyArray_DIM(input, 0), cnp.PyArray_DIM(input, 1), cnp.PyArray_DIM(input, 2),
                           dtype_of(input))
    job.input = strided_rows(input)
    job.output = strided_rows(output)
    run_row_map(&job, kernel, num_threads)


def fast_row_map(int kernel, input, axis, bint keepdims, bint wide, out, num_threads):
    """The map of a C-contiguous array over an axis; wide: the output has the input's shape."""
    cdef row_map_job job
    cdef cnp.ndarray array, output
    cdef int dtype = plain_dtype(input)
    cdef int n_threads = requested_threads(num_threads)
    cdef int class_axis
    if dtype < 0 or n_threads < 0:
        return None
    array = <cnp.ndarray>input
    class_axis = plain_axis(axis, cnp.PyArray_NDIM(array))
    if class_axis < 0 or cnp.PyArray_SIZE(array) == 0:
        return None
    if out is None:
        output = new_like(array) if wide else new_without(array, class_axis, keepdims)
    elif wide and is_plain_output(out, array):
        output = <cnp.ndarray>out
    else:
        return None
    job.shape = plain_shape(array, class_axis, <ce_dtype>dtype)
    job.input = plain_rows(cnp.PyArray_DATA(array), job.shape.n_classes, job.shape.plain_inner)
    job.output = plain_rows(cnp.PyArray_DATA(output), job.shape.n_classes if wide else 1, job.shape.plain_inner)
    run_row_map(&job, kernel, n_threads)
    return output if cnp.PyArray_NDIM(output) else output[()]


cdef cnp.ndarray new_without(cnp.ndarray array, int axis, bint keepdims):
    cdef cnp.npy_intp shape[64]  # NPY_MAXDIMS
    cdef int ndim = shape_with(array, axis, keepdims, shape)
    return cnp.PyArray_EMPTY(ndim, shape, cnp.PyArray_TYPE(array), 0)


# ---------------------------------------------------------------------------------------------------------------------
# row_map_backward

cdef struct row_map_backward_job:
    row_shape shape
    ce_row_map_backward_fn *kernel
    rows grad_output, output, grad_input


cdef void row_map_backward_block(void *job_pointer, int64_t block, void *scratch) noexcept nogil:
    cdef row_map_backward_job *job = <row_map_backward_job *>job_pointer
    cdef ce_row_map_backward args
    cdef int64_t row = block_start(&job.shape, block)
    cdef int64_t stop = block_stop(&job.shape, block)
    args.n_classes = job.shape.n_classes
    args.scratch = scratch
    while row < stop:
        args.n_rows = run_length(&job.shape, row, stop)
        args.grad_output = matrix_at(&job.grad_output, &job.shape, row)
        args.output = matrix_at(&job.output, &job.shape, row)
        args.grad_input = matrix_at(&job.grad_input, &job.shape, row)
        job.kernel(&args)
        row += args.n_rows


def row_map_backward(int kernel, cnp.ndarray grad_output not None, cnp.ndarray output not None,
                     cnp.ndarray grad_input not None, int num_threads):
    """grad_input from grad_output and the map's output, all (outer, n_classes, inner)."""
    cdef row_map_backward_job job
    cdef char stack[STACK_BYTES]
    cdef workspace space
    cdef int64_t work = cnp.PyArray_SIZE(output)
    if work == 0:
        return
    job.shape = shape_rows(cnp.PyArray_DIM(output, 0), cnp.PyArray_DIM(output, 1), cnp.PyArray_DIM(output, 2),
                           dtype_of(output))
    job.kernel = <ce_row_map_backward_fn *>ce_kernel(active_table, kernel, job.shape.dtype)
    job.grad_output = strided_rows(grad_output)
    job.output = strided_rows(output)
    job.grad_input = strided_rows(grad_input)
    num_threads = count_threads(num_threads, work, job.shape.n_blocks)
    open_workspace(&space, stack, 0, ce_scratch_bytes(job.shape.n_classes), num_threads)
    launch(row_map_backward_block, &job, job.shape.n_blocks, work, &space, num_threads)
    close_workspace(&space)


# ---------------------------------------------------------------------------------------------------------------------
# Class indices of every integer type, turned into int64 a block at a time

cdef struct indices:
    char *data
    ptrdiff_t stride  # in elements
    int itemsize
    bint is_signed

ctypedef fused index_t:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t


cdef inline void copy_indices(index_t *source, ptrdiff_t stride, int64_t n, int64_t *result) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if index_t is uint64_t:  # what does not fit must stay out of range; wrapped around it could be ignore_index
            result[i] = <int64_t>source[i * stride] if source[i * stride] <= <uint64_t>INT64_MAX else INT64_MAX
        else:
            result[i] = <int64_t>source[i * stride]


cdef const int64_t *load_indices(const indices *source, int64_t first, int64_t n, int64_t *buffer) noexcept nogil:
    """The indices first, first + 1, ... as int64: in place where they are that already, else in the buffer."""
    cdef char *data = source.data + first * source.stride * source.itemsize
    if source.itemsize == 8 and source.is_signed:
        if source.stride == 1:
            return <const int64_t *>data
        copy_indices(<int64_t *>data, source.stride, n, buffer)
    elif source.itemsize == 8:
        copy_indices(<uint64_t *>data, source.stride, n, buffer)
    elif source.itemsize == 4 and source.is_signed:
        copy_indices(<int32_t *>data, source.stride, n, buffer)
    elif source.itemsize == 4:
        copy_indices(<uint32_t *>data, source.stride, n, buffer)
    elif source.itemsize == 2 and source.is_signed:
        copy_indices(<int16_t *>data, source.stride, n, buffer)
    elif source.itemsize == 2:
        copy_indices(<uint16_t *>data, source.stride, n, buffer)
    elif source.is_signed:
        copy_indices(<int8_t *>data, source.stride, n, buffer)
    else:
        copy_indices(<uint8_t *>data, source.stride, n, buffer)
    return buffer


cdef indices plain_indices(cnp.ndarray array):
    """Of a C-contiguous array of integers or booleans."""
    cdef indices result
    result.data = <char *>cnp.PyArray_DATA(array)
    result.itemsize = <int>cnp.PyArray_ITEMSIZE(array)
    result.stride = 1
    result.is_signed = cnp.PyArray_ISSIGNED(array)
    return result


cdef indices indices_of(cnp.ndarray array):
    """Of a one-dimensional array of integers or booleans."""
    cdef indices result = plain_indices(array)
    if cnp.PyArray_DIM(array, 0) != 1:
        result.stride = cnp.PyArray_STRIDE(array, 0) // result.itemsize
    return result


cdef struct target_check:
    indices target
    int64_t n, n_classes, ignore_index
    const double *class_weight
    partial *partials


cdef void target_check_block(void *job_pointer, int64_t block, void *scratch) noexcept nogil:
    cdef target_check *job = <target_check *>job_pointer
    cdef int64_t buffer[TARGET_CHUNK]
    cdef double weights[TARGET_CHUNK]
    cdef double chunk[2]
    cdef const int64_t *target
    cdef partial *result = &job.partials[block]
    cdef int64_t first = block * TARGET_BLOCK
    cdef int64_t stop = first + TARGET_BLOCK if first + TARGET_BLOCK < job.n else job.n
    cdef int64_t i, n, valid
    result.hi = result.lo = 0
    result.valid = 0
    result.first_bad = -1
    while first < stop:
        n = TARGET_CHUNK if TARGET_CHUNK < stop - first else stop - first
        target = load_indices(&job.target, first, n, buffer)
        valid = active_table.count_targets(target, n, job.n_classes, job.ignore_index)
        if valid < 0:
            result.first_bad = first + find_bad(target, n, job.n_classes, job.ignore_index)
            break
        result.valid += valid
        if job.class_weight != NULL:
            for i in range(n):
                weights[i] = 0 if target[i] == job.ignore_index else job.class_weight[target[i]]
            active_table.sum_losses(weights, n, chunk)
            accumulate(result, chunk[0], chunk[1])
        first += n


cdef int64_t find_bad(const int64_t *target, int64_t n, int64_t n_classes, int64_t ignore_index) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if target[i] != ignore_index and <uint64_t>target[i] >= <uint64_t>n_classes:
            return i
    return -1


cdef int64_t run_target_check(target_check *job, int n_threads, double *denominator) except -2:
    """The index of the first target out of range, or -1; and the sum of the weights of those that count."""
    cdef char stack[STACK_BYTES]
    cdef workspace space
    cdef int64_t n_blocks = (job.n + TARGET_BLOCK - 1) // TARGET_BLOCK
    cdef int64_t block, valid = 0, first_bad = -1
    n_threads = count_threads(n_threads, job.n, n_blocks)
    open_workspace(&space, stack, n_blocks, 0, n_threads)
    job.partials = space.partials
    launch(target_check_block, job, n_blocks, job.n, &space, n_threads)
    for block in range(n_blocks):
        valid += space.partials[block].valid
        if first_bad < 0:
            first_bad = space.partials[block].first_bad
    denominator[0] = <double>valid if job.class_weight == NULL else sum_partials(space.partials, n_blocks)
    close_workspace(&space)
    return first_bad


def check_targets(cnp.ndarray target not None, int64_t n_classes, int64_t ignore_index, cnp.ndarray class_weight,
                  int num_threads):
    """(index of the first target that is neither a class nor ignore_index or -1, sum of the weights of the others).

    target: one-dimensional integers or booleans; class_weight: float64 (n_classes,), None is all ones.
    """
    cdef target_check job
    cdef double denominator
    cdef int64_t first_bad
    job.target = indices_of(target)
    job.n = cnp.PyArray_SIZE(target)
    job.n_classes = n_classes
    job.ignore_index = ignore_index
    job.class_weight = <const double *>data_or_null(class_weight)
    first_bad = run_target_check(&job, num_threads, &denominator)
    return first_bad, denominator


# ---------------------------------------------------------------------------------------------------------------------
# row_loss: cross_entropy, cross_entropy_soft, nll_loss

cdef struct row_loss_job:
    row_shape shape
    ce_row_loss_fn *kernel
    ce_row_loss_sum_fn *sum_kernel   # in its place for the sum of nll_loss with `check`
    rows input, prob, grad, hess
    indices target              # data is NULL with prob
    const double *class_weight
    const double *grad_output
    int64_t ignore_index
    double label_smoothing, grad_scale
    void *loss                  # the losses as an array of the dtype, or NULL: their sum
    bint check                  # the targets have not been looked at, and nothing is written but sums
    ce_distance distance
    size_t kernel_scratch
    partial *partials


cdef row_loss_job new_row_loss_job() noexcept nogil:
    cdef row_loss_job job
    job.input = job.prob = job.grad = job.hess = no_rows()
    job.target.data = NULL
    job.class_weight = job.grad_output = NULL
    job.ignore_index = -1
    job.label_smoothing = 0
    job.grad_scale = 1
    job.loss = NULL
    job.check = False
    return job


cdef void row_loss_block(void *job_pointer, int64_t block, void *scratch) noexcept nogil:
    cdef row_loss_job *job = <row_loss_job *>job_pointer
    cdef char *kernel_scratch = <char *>scratch + GUESS_BYTES
    cdef double *losses = <double *>(kernel_scratch + job.kernel_scratch)
    cdef int64_t *target_buffer = <int64_t *>(losses + job.shape.rows_per_block)
    cdef ce_row_loss args
    cdef double sum[2]
    cdef int64_t valid
    cdef int64_t first = block_start(&job.shape, block)
    cdef int64_t row = first
    cdef int64_t stop = block_stop(&job.shape, block)
    if job.loss != NULL and job.shape.dtype == CE_F64:
        losses = <double *>job.loss + first
    args.n_classes = job.shape.n_classes
    args.target = NULL
    args.class_weight = job.class_weight
    args.ignore_index = job.ignore_index
    args.label_smoothing = job.label_smoothing
    args.grad_scale = job.grad_scale
    args.grad_output = NULL
    args.distance = job.distance
    args.guess = <ce_guess *>scratch
    args.scratch = kernel_scratch
    job.partials[block].valid = 0
    job.partials[block].first_bad = -1
    while row < stop:
        args.n_rows = run_length(&job.shape, row, stop)
        args.input = matrix_at(&job.input, &job.shape, row)
        args.prob = matrix_at(&job.prob, &job.shape, row)
        args.grad = matrix_at(&job.grad, &job.shape, row)
        args.hess = matrix_at(&job.hess, &job.shape, row)
        args.loss = losses + (row - first)
        if job.target.data != NULL:
            args.target = load_indices(&job.target, row, args.n_rows, target_buffer)
        if job.check:
            valid = active_table.count_targets(args.target, args.n_rows, args.n_classes, job.ignore_index)
            if valid < 0:
                job.partials[block].first_bad = row
                return
            job.partials[block].valid += valid
        if job.grad_output != NULL:
            args.grad_output = job.grad_output + row
        job.kernel(&args)
        row += args.n_rows
    if job.loss == NULL:
        active_table.sum_losses(losses, stop - first, sum)
        job.partials[block].hi = sum[0]
        job.partials[block].lo = sum[1]
    elif job.shape.dtype == CE_F32:
        for row in range(first, stop):
            (<float *>job.loss)[row] = <float>losses[row - first]


cdef void nll_sum_block(void *job_pointer, int64_t block, void *scratch) noexcept nogil:
    cdef row_loss_job *job = <row_loss_job *>job_pointer
    cdef partial *result = &job.partials[block]
    cdef ce_row_loss args
    cdef double sum[2]
    cdef int64_t valid
    cdef int64_t row = block_start(&job.shape, block)
    cdef int64_t stop = block_stop(&job.shape, block)
    args.n_classes = job.shape.n_classes
    args.ignore_index = job.ignore_index
    result.hi = result.lo = 0
    result.valid = 0
    result.first_bad = -1
    while row < stop:
        args.n_rows = run_length(&job.shape, row, stop)
        args.input = matrix_at(&job.input, &job.shape, row)
        args.target = load_indices(&job.target, row, args.n_rows, <int64_t *>scratch)
        valid = job.sum_kernel(&args, sum)
        if valid < 0:
            result.first_bad = row
            return
        result.valid += valid
        accumulate(result, sum[0], sum[1])
        row += args.n_rows


cdef int64_t nll_block_rows(int64_t row_block, int64_t n_rows) noexcept nogil:
    cdef int64_t rows = n_rows // NLL_BLOCKS
    rows = LEAST_NLL_BLOCK_ROWS if rows < LEAST_NLL_BLOCK_ROWS else MAX_BLOCK_ROWS if rows > MAX_BLOCK_ROWS else rows
    return rows if rows > row_block else row_block


cdef bint run_row_loss(row_loss_job *job, int kernel, int n_threads, double *total, double *denominator) except -1:
    """Whether all targets are fit, which is found out if the job says so; their number is then the denominator."""
    cdef char stack[STACK_BYTES]
    cdef workspace space
    cdef row_shape *shape = &job.shape
    cdef int64_t work = shape.n_rows * shape.n_classes
    cdef int64_t block, valid = 0
    cdef block_fn *run_block = row_loss_block
    cdef bint fit = True
    total[0] = 0
    if work == 0:
        return True
    job.kernel = <ce_row_loss_fn *>ce_kernel(active_table, kernel, shape.dtype)
    job.kernel_scratch = 0 if kernel == NLL_LOSS else round_up(ce_scratch_bytes(shape.n_classes))
    if kernel == NLL_LOSS:
        cut_blocks(shape, nll_block_rows(shape.rows_per_block, shape.n_rows))
        if job.grad.data == NULL:
            work = shape.n_rows
        if job.check:
            run_block = nll_sum_block
            job.sum_kernel = <ce_row_loss_sum_fn *>ce_kernel(active_table, NLL_SUM, shape.dtype)
    n_threads = count_threads(n_threads, work, shape.n_blocks)
    job.distance = distance_of(shape, job.grad.data, job.input.data, n_threads)
    open_row_workspace(&space, stack, shape.n_blocks, job.kernel_scratch + shape.rows_per_block * 16, n_threads)
    job.partials = space.partials
    launch(run_block, job, shape.n_blocks, work, &space, n_threads)
    if job.loss == NULL:
        total[0] = sum_partials(space.partials, shape.n_blocks)
    if job.check:
        for block in range(shape.n_blocks):
            valid += space.partials[block].valid
            fit &= space.partials[block].first_bad < 0
        denominator[0] = <double>valid
    close_workspace(&space)
    return fit


def row_loss(int kernel, cnp.ndarray input not None, cnp.ndarray target, cnp.ndarray prob, cnp.ndarray class_weight,
             int64_t ignore_index, double label_smoothing, cnp.ndarray loss, double grad_scale,
             cnp.ndarray grad_output, cnp.ndarray grad, cnp.ndarray hess, int num_threads):
    """The sum of the losses; or 0.0 and the losses in `loss`. With grad and hess those are written too.

    input, prob, grad, hess: (outer, n_classes, inner); target: one-dimensional integers, checked; loss, grad_output
    (float64): contiguous with n_rows elements; class_weight: float64 (n_classes,). What is not wanted is None.
    """
    cdef row_loss_job job = new_row_loss_job()
    cdef double total
    job.shape = shape_rows(cnp.PyArray_DIM(input, 0), cnp.PyArray_DIM(input, 1), cnp.PyArray_DIM(input, 2),
                           dtype_of(input))
    job.input = strided_rows(input)
    if target is not None:
        job.target = indices_of(target)
    if prob is not None:
        job.prob = strided_rows(prob)
    if grad is not None:
        job.grad = strided_rows(grad)
    if hess is not None:
        job.hess = strided_rows(hess)
    job.class_weight = <const double *>data_or_null(class_weight)
    job.grad_output = <const double *>data_or_null(grad_output)
    job.ignore_index = ignore_index
    job.label_smoothing = label_smoothing
    job.grad_scale = grad_scale
    job.loss = data_or_null(loss)
    run_row_loss(&job, kernel, num_threads, &total, NULL)
    return total


def fast_row_loss(int kernel, int prob_kernel, input, target, weight, ignore_index, reduction, label_smoothing, axis,
                  out, num_threads):
    """The loss of a C-contiguous input with C-contiguous class indices or probabilities of its dtype."""
    cdef row_loss_job job
    cdef cnp.npy_intp loss_shape[64]  # NPY_MAXDIMS
    cdef cnp.ndarray array, target_array, loss
    cdef Derivatives wanted
    cdef double total, denominator
    cdef int dtype = plain_dtype(input)
    cdef int n_threads = requested_threads(num_threads)
    cdef int mode = reduction_mode(reduction)
    cdef int overflow = 0
    cdef int class_axis, ndim
    if (dtype < 0 or n_threads < 0 or mode < 0 or weight is not None or not is_plain(target)
            or not PyFloat_CheckExact(label_smoothing) or not PyLong_CheckExact(ignore_index)):
        return None
    array = <cnp.ndarray>input
    target_array = <cnp.ndarray>target
    ndim = cnp.PyArray_NDIM(array)
    class_axis = plain_axis(axis, ndim) if axis is not None else 1
    if ndim < 2 or class_axis < 0 or cnp.PyArray_SIZE(array) == 0:
        return None
    job = new_row_loss_job()
    job.shape = plain_shape(array, class_axis, <ce_dtype>dtype)
    job.input = plain_rows(cnp.PyArray_DATA(array), job.shape.n_classes, job.shape.plain_inner)
    job.label_smoothing = PyFloat_AS_DOUBLE(label_smoothing)
    job.ignore_index = PyLong_AsLongLongAndOverflow(ignore_index, &overflow)
    if overflow or not 0 <= job.label_smoothing <= 1:
        return None
    wanted = <Derivatives>out if type(out) is Derivatives else None
    if is_integer(target_array):
        if not has_shape_without(target_array, array, class_axis):
            return None
        job.target = plain_indices(target_array)
        job.check = mode != REDUCE_NONE and wanted is None
        denominator = 0
        if not job.check and check_fast_targets(&job, n_threads, &denominator) >= 0:
            return None
    elif prob_kernel >= 0 and job.ignore_index < 0 and is_same_plain(target_array, array):
        kernel = prob_kernel
        job.prob = plain_rows(cnp.PyArray_DATA(target_array), job.shape.n_classes, job.shape.plain_inner)
        denominator = <double>job.shape.n_rows
    else:
        return None

    if wanted is not None:
        if not wanted.prepare(array, target_array):
            return None
        job.grad = plain_rows(cnp.PyArray_DATA(wanted.grad), job.shape.n_classes, job.shape.plain_inner)
        if wanted.order > 1:
            job.hess = plain_rows(cnp.PyArray_DATA(wanted.hess), job.shape.n_classes, job.shape.plain_inner)
        job.grad_scale = wanted.scale * mean_factor(mode, denominator)
        out = None
    loss = None
    if mode == REDUCE_NONE:
        ndim = shape_with(array, class_axis, False, loss_shape)
        loss = fast_losses(out, ndim, loss_shape, array, target_array)
        if loss is None:
            return None
        job.loss = cnp.PyArray_DATA(loss)
    elif out is not None:
        return None
    if not run_row_loss(&job, kernel, n_threads, &total, &denominator):
        return None  # the slow lane finds the target and says what is wrong
    return reduced(mode, total, denominator, loss, wanted)


cdef int64_t check_fast_targets(row_loss_job *job, int n_threads, double *denominator) except -2:
    """As run_target_check, of the targets that the job points to."""
    cdef target_check check
    check.target = job.target
    check.n = job.shape.n_rows
    check.n_classes = job.shape.n_classes
    check.ignore_index = job.ignore_index
    check.class_weight = NULL
    return run_target_check(&check, n_threads, denominator)
