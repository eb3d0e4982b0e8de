# Drivers of the kernels that work on elements, and their fast lanes.

# ---------------------------------------------------------------------------------------------------------------------
# element_map: sigmoid, log_sigmoid

cdef struct element_map_job:
    ce_element_map_fn *kernel
    char *input
    char *output
    int64_t n
    size_t itemsize


cdef void element_map_block(void *job_pointer, int64_t block, void *scratch) noexcept nogil:
    cdef element_map_job *job = <element_map_job *>job_pointer
    cdef ce_element_map args
    cdef int64_t first = block * ELEMENT_BLOCK
    args.n = ELEMENT_BLOCK if ELEMENT_BLOCK < job.n - first else job.n - first
    args.input = job.input + first * <int64_t>job.itemsize
    args.output = job.output + first * <int64_t>job.itemsize
    job.kernel(&args)


def element_map(int kernel, cnp.ndarray input not None, cnp.ndarray output not None, int num_threads):
    """output[i] from input[i]; both C-contiguous and of one shape."""
    cdef element_map_job job
    cdef workspace space
    cdef ce_dtype dtype = dtype_of(input)
    cdef int64_t n_blocks
    job.n = cnp.PyArray_SIZE(input)
    job.itemsize = cnp.PyArray_ITEMSIZE(input)
    job.kernel = <ce_element_map_fn *>ce_kernel(active_table, kernel, dtype)
    job.input = <char *>cnp.PyArray_DATA(input)
    job.output = <char *>cnp.PyArray_DATA(output)
    n_blocks = (job.n + ELEMENT_BLOCK - 1) // ELEMENT_BLOCK
    space.scratch = NULL
    space.bytes_per_thread = 0
    launch(element_map_block, &job, n_blocks, job.n, &space, count_threads(num_threads, job.n, n_blocks))


def fast_element_map(int kernel, input, out, num_threads):
    cdef int n_threads = requested_threads(num_threads)
    cdef cnp.ndarray output
    if n_threads < 0 or plain_dtype(input) < 0 or cnp.PyArray_NDIM(<cnp.ndarray>input) == 0:
        return None
    if out is None:
        output = new_like(<cnp.ndarray>input)
    elif is_plain_output(out, <cnp.ndarray>input):
        output = <cnp.ndarray>out
    else:
        return None
    element_map(kernel, <cnp.ndarray>input, output, n_threads)
    return output


# ---------------------------------------------------------------------------------------------------------------------
# element_loss: binary_cross_entropy, binary_cross_entropy_with_logits, kl_div, mse_loss

cdef struct element_loss_job:
    ce_element_loss_fn *kernel
    ce_dtype dtype
    ptrdiff_t itemsize
    int64_t n
    char *input
    char *target
    char *weight           # weight[i % weight_period], with a block more than a period in memory
    char *pos_weight
    int64_t weight_period, pos_weight_period
    double label_smoothing, log_floor, eps, grad_scale
    bint log_target
    bint check_unit        # input and target must lie in [0, 1]
    char *loss
    char *grad_output
    char *grad
    char *hess
    bint stream
    bint check_only        # whether they do, and nothing else
    partial *partials


cdef element_loss_job new_element_loss_job() noexcept nogil:
    cdef element_loss_job job
    job.weight = job.pos_weight = job.loss = job.grad_output = job.grad = job.hess = NULL
    job.weight_period = job.pos_weight_period = 1
    job.label_smoothing = job.eps = 0
    job.log_floor = -100
    job.grad_scale = 1
    job.log_target = job.check_unit = job.check_only = False
    return job


cdef inline char *at(char *data, ptrdiff_t offset) noexcept nogil:
    return NULL if data == NULL else data + offset


cdef void element_loss_block(void *job_pointer, int64_t block, void *scratch) noexcept nogil:
    cdef element_loss_job *job = <element_loss_job *>job_pointer
    cdef partial *result = &job.partials[block]
    cdef ce_element_loss args
    cdef double total[2]
    cdef int64_t first = block * ELEMENT_BLOCK
    cdef ptrdiff_t offset = first * job.itemsize
    cdef int outside = False
    args.n = ELEMENT_BLOCK if ELEMENT_BLOCK < job.n - first else job.n - first
    args.input = job.input + offset
    args.target = job.target + offset
    args.weight = at(job.weight, first % job.weight_period * job.itemsize)
    args.pos_weight = at(job.pos_weight, first % job.pos_weight_period * job.itemsize)
    args.label_smoothing = job.label_smoothing
    args.log_floor = job.log_floor
    args.eps = job.eps
    args.outside_unit = &outside if job.check_unit else NULL
    args.log_target = job.log_target
    args.loss = NULL if job.check_only else at(job.loss, offset)
    args.sum = NULL if job.check_only or job.loss != NULL else total
    args.grad_scale = job.grad_scale
    args.grad_output = at(job.grad_output, offset)
    args.grad = at(job.grad, offset)
    args.hess = at(job.hess, offset)
    args.stream = job.stream
    job.kernel(&args)
    result.first_bad = first if outside else -1
    if args.sum != NULL:
        result.hi = total[0]
        result.lo = total[1]


cdef bint any_bad(const partial *partials, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if partials[i].first_bad >= 0:
            return True
    return False


cdef int run_element_loss(element_loss_job *job, int kernel, bint check_first, int n_threads, double *total) except -1:
    """1 when it went through, 0 when a value lay outside [0, 1].

    check_first: look at all values before anything is written, because the outputs are the caller's memory.
    """
    cdef char stack[STACK_BYTES]
    cdef workspace space
    cdef int64_t n_blocks = (job.n + ELEMENT_BLOCK - 1) // ELEMENT_BLOCK
    cdef int passed = 1
    cdef char *output = job.grad if job.grad != NULL else job.loss
    job.kernel = <ce_element_loss_fn *>ce_kernel(active_table, kernel, job.dtype)
    n_threads = count_threads(n_threads, job.n, n_blocks)
    job.stream = output != NULL and streams(job.n * <int64_t>job.itemsize, output, job.input, n_threads)
    open_workspace(&space, stack, n_blocks, 0, n_threads)
    job.partials = space.partials
    total[0] = 0
    if job.check_unit and check_first:
        job.check_only = True
        launch(element_loss_block, job, n_blocks, job.n, &space, n_threads)
        passed = not any_bad(space.partials, n_blocks)
        job.check_unit = job.check_only = False
    if passed:
        launch(element_loss_block, job, n_blocks, job.n, &space, n_threads)
        passed = not any_bad(space.partials, n_blocks)
        if passed and job.loss == NULL:
            total[0] = sum_partials(space.partials, n_blocks)
    close_workspace(&space)
    return passed


def element_loss(int kernel, cnp.ndarray input not None, cnp.ndarray target not None, cnp.ndarray weight,
                 int64_t weight_period, cnp.ndarray pos_weight, int64_t pos_weight_period, double label_smoothing,
                 double log_floor, double eps, bint log_target, bint check_unit, bint check_first, cnp.ndarray loss,
                 double grad_scale, cnp.ndarray grad_output, cnp.ndarray grad, cnp.ndarray hess, int num_threads):
    """The sum of the losses, or 0.0 and the losses in `loss`; None when check_unit found a value outside [0, 1].

    check_first: look at all values before anything is written.

    All arrays are C-contiguous and of the input's dtype. A weight repeats after its period, and holds
    ELEMENT_BLOCK_SIZE elements more than that, unless the period is the number of elements. What is not wanted is None.
    """
    cdef element_loss_job job = new_element_loss_job()
    cdef double total
    job.dtype = dtype_of(input)
    job.itemsize = cnp.PyArray_ITEMSIZE(input)
    job.n = cnp.PyArray_SIZE(input)
    job.input = <char *>cnp.PyArray_DATA(input)
    job.target = <char *>cnp.PyArray_DATA(target)
    job.weight = <char *>data_or_null(weight)
    job.weight_period = weight_period
    job.pos_weight = <char *>data_or_null(pos_weight)
    job.pos_weight_period = pos_weight_period
    job.label_smoothing = label_smoothing
    job.log_floor = log_floor
    job.eps = eps
    job.log_target = log_target
    job.check_unit = check_unit
    job.loss = <char *>data_or_null(loss)
    job.grad_scale = grad_scale
    job.grad_output = <char *>data_or_null(grad_output)
    job.grad = <char *>data_or_null(grad)
    job.hess = <char *>data_or_null(hess)
    return total if run_element_loss(&job, kernel, check_first, num_threads, &total) else None


def fast_element_loss(int kernel, input, target, reduction, label_smoothing, log_floor, eps, bint log_target,
                      bint check_unit, out, num_threads):
    """The unweighted loss of two C-contiguous arrays of one shape and dtype."""
    cdef element_loss_job job
    cdef cnp.ndarray array, target_array, loss
    cdef Derivatives wanted
    cdef double total
    cdef int dtype = plain_dtype(input)
    cdef int n_threads = requested_threads(num_threads)
    cdef int mode = reduction_mode(reduction)
    cdef bint check_first = False
    if (dtype < 0 or n_threads < 0 or mode < 0 or not is_plain(target) or not PyFloat_CheckExact(label_smoothing)
            or not PyFloat_CheckExact(log_floor) or not PyFloat_CheckExact(eps)):
        return None
    array = <cnp.ndarray>input
    target_array = <cnp.ndarray>target
    if cnp.PyArray_NDIM(array) == 0 or not is_same_plain(target_array, array):
        return None
    job = new_element_loss_job()
    job.dtype = <ce_dtype>dtype
    job.itemsize = cnp.PyArray_ITEMSIZE(array)
    job.n = cnp.PyArray_SIZE(array)
    job.input = <char *>cnp.PyArray_DATA(array)
    job.target = <char *>cnp.PyArray_DATA(target_array)
    job.label_smoothing = PyFloat_AS_DOUBLE(label_smoothing)
    job.log_floor = PyFloat_AS_DOUBLE(log_floor)
    job.eps = PyFloat_AS_DOUBLE(eps)
    job.log_target = log_target
    job.check_unit = check_unit
    if not (0 <= job.label_smoothing <= 1 and 0 <= job.eps < 0.5 and job.log_floor <= 0):
        return None

    wanted = <Derivatives>out if type(out) is Derivatives else None
    if wanted is not None:
        check_first = wanted.out is not None
        if not wanted.prepare(array, target_array):
            return None
        job.grad = <char *>cnp.PyArray_DATA(wanted.grad)
        if wanted.order > 1:
            job.hess = <char *>cnp.PyArray_DATA(wanted.hess)
        job.grad_scale = wanted.scale * mean_factor(mode, <double>job.n)
        out = None
    loss = None
    if mode == REDUCE_NONE:
        check_first = check_first or out is not None
        loss = fast_losses(out, cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), array, target_array)
        if loss is None:
            return None
        job.loss = <char *>cnp.PyArray_DATA(loss)
    elif out is not None:
        return None
    if not run_element_loss(&job, kernel, check_first, n_threads, &total):
        return None
    return reduced(mode, total, <double>job.n, loss, wanted)
