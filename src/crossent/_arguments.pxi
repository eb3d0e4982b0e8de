# Looking at arguments without asking Python; part of the fast lane.

# ---------------------------------------------------------------------------------------------------------------------
# What value_and_grad asks for

@cython.final
@cython.freelist(8)
cdef class Derivatives:
    """The request for derivatives that value_and_grad hands to a loss in place of its `out`.

    order 1: the gradient; 2: the diagonal Hessian too. out, hess_out: where they go, or None. The fast lane leaves the
    arrays in grad and hess.
    """
    cdef readonly int order
    cdef readonly object out, hess_out, grad_output
    cdef cnp.ndarray grad, hess
    cdef double scale

    def __init__(self, int order, out, hess_out, grad_output):
        self.order = order
        self.out = out
        self.hess_out = hess_out
        self.grad_output = grad_output

    cdef bint prepare(self, cnp.ndarray input, cnp.ndarray target) except -1:
        """Set grad, hess and scale; False if what was asked for is not for the fast lane."""
        if self.grad_output is None:
            self.scale = 1
        elif PyFloat_CheckExact(self.grad_output):
            self.scale = PyFloat_AS_DOUBLE(self.grad_output)
        else:
            return False
        if self.out is None:
            self.grad = new_like(input)
        elif is_plain_output(self.out, input) and is_disjoint(<cnp.ndarray>self.out, target):
            self.grad = <cnp.ndarray>self.out
        else:
            return False
        if self.order > 1:
            if self.hess_out is not None:
                return False
            self.hess = new_like(input)
        return True


# ---------------------------------------------------------------------------------------------------------------------
# Looking at arguments without asking Python

cdef enum:
    REDUCE_NONE
    REDUCE_SUM
    REDUCE_MEAN

cdef str NONE = "none"
cdef str SUM = "sum"
cdef str MEAN = "mean"


cdef inline int reduction_mode(reduction) noexcept:
    # Literals of these words are one object each; another equal string takes the slow lane.
    if reduction is MEAN:
        return REDUCE_MEAN
    if reduction is SUM:
        return REDUCE_SUM
    if reduction is NONE:
        return REDUCE_NONE
    return -1


cdef inline double mean_factor(int mode, double denominator) noexcept nogil:
    """What a mean multiplies the gradient with; 0 where there is nothing to average."""
    if mode != REDUCE_MEAN:
        return 1
    return 1 / denominator if denominator != 0 else 0


cdef inline reduced(int mode, double total, double denominator, cnp.ndarray loss, Derivatives wanted):
    value = loss if mode == REDUCE_NONE else total / denominator if mode == REDUCE_MEAN else total
    if wanted is None:
        return value
    if wanted.order == 1:
        return value, wanted.grad
    return value, wanted.grad, wanted.hess


cdef inline ce_dtype dtype_of(cnp.ndarray array) noexcept:
    return CE_F32 if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32 else CE_F64


cdef inline void *data_or_null(cnp.ndarray array) noexcept:
    return NULL if array is None else cnp.PyArray_DATA(array)


cdef inline bint is_plain(array) noexcept:
    """An exact ndarray that is C-contiguous, aligned and of native byte order."""
    return cnp.PyArray_CheckExact(array) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array)


cdef inline int plain_dtype(array) noexcept:
    """CE_F32 or CE_F64 for a plain array of that dtype, else -1."""
    if not is_plain(array):
        return -1
    if cnp.PyArray_TYPE(<cnp.ndarray>array) == cnp.NPY_FLOAT32:
        return CE_F32
    if cnp.PyArray_TYPE(<cnp.ndarray>array) == cnp.NPY_FLOAT64:
        return CE_F64
    return -1


cdef inline bint is_integer(cnp.ndarray array) noexcept:
    return cnp.PyArray_ISINTEGER(array) or cnp.PyArray_ISBOOL(array)


cdef inline bint is_same_plain(cnp.ndarray array, cnp.ndarray other) noexcept:
    """Plain, and of the other's dtype and shape."""
    return (cnp.PyArray_ISCARRAY_RO(array) and cnp.PyArray_TYPE(array) == cnp.PyArray_TYPE(other)
            and cnp.PyArray_SAMESHAPE(array, other))


cdef inline bint is_disjoint(cnp.ndarray a, cnp.ndarray b) noexcept:
    """No byte in common; both contiguous."""
    cdef char *a_data = <char *>cnp.PyArray_DATA(a)
    cdef char *b_data = <char *>cnp.PyArray_DATA(b)
    return a_data + cnp.PyArray_NBYTES(a) <= b_data or b_data + cnp.PyArray_NBYTES(b) <= a_data


cdef inline bint is_plain_output(out, cnp.ndarray input) noexcept:
    """A plain writeable array like the input, that is all of the input's memory or none of it."""
    cdef cnp.ndarray array
    if not cnp.PyArray_CheckExact(out):
        return False
    array = <cnp.ndarray>out
    return (cnp.PyArray_ISWRITEABLE(array) and is_same_plain(array, input)
            and (cnp.PyArray_DATA(array) == cnp.PyArray_DATA(input) or is_disjoint(array, input)))


cdef inline int plain_axis(axis, int ndim) noexcept:
    """The axis counted from the front, or -1 when the slow lane has to look at it."""
    cdef int overflow = 0
    cdef long long value
    if not PyLong_CheckExact(axis):
        return -1
    value = PyLong_AsLongLongAndOverflow(axis, &overflow)
    if overflow or not -ndim <= value < ndim:
        return -1
    return <int>(value + ndim if value < 0 else value)


cdef inline bint has_shape_without(cnp.ndarray array, cnp.ndarray input, int axis) noexcept:
    """Whether the array has the input's shape without an axis."""
    cdef int i, ndim = cnp.PyArray_NDIM(input)
    if cnp.PyArray_NDIM(array) != ndim - 1:
        return False
    for i in range(ndim - 1):
        if cnp.PyArray_DIM(array, i) != cnp.PyArray_DIM(input, i if i < axis else i + 1):
            return False
    return True


cdef inline int shape_with(cnp.ndarray array, int axis, bint keepdims, cnp.npy_intp *shape) noexcept:
    """The array's shape without an axis, or with length one there; returns the number of dimensions."""
    cdef int i, n = 0
    for i in range(cnp.PyArray_NDIM(array)):
        if i != axis or keepdims:
            shape[n] = 1 if i == axis else cnp.PyArray_DIM(array, i)
            n += 1
    return n


cdef inline int requested_threads(num_threads) noexcept:
    """The number of threads asked for, or -1 when the slow lane has to look at it."""
    cdef int overflow = 0
    cdef long long value
    if num_threads is None:
        return threads_by_default()
    if not PyLong_CheckExact(num_threads):
        return -1
    value = PyLong_AsLongLongAndOverflow(num_threads, &overflow)
    return <int>value if not overflow and 1 <= value <= 1024 else -1


cdef inline cnp.ndarray new_like(cnp.ndarray array):
    return cnp.PyArray_EMPTY(cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), cnp.PyArray_TYPE(array), 0)


cdef cnp.ndarray fast_losses(out, int ndim, cnp.npy_intp *shape, cnp.ndarray input, cnp.ndarray target):
    """The array for the losses of reduction "none"; None if `out` is not plain or not apart from the operands."""
    cdef cnp.ndarray array
    if out is None:
        return cnp.PyArray_EMPTY(ndim, shape, cnp.PyArray_TYPE(input), 0)
    if not is_plain(out):
        return None
    array = <cnp.ndarray>out
    if (cnp.PyArray_NDIM(array) != ndim or not cnp.PyArray_CompareLists(cnp.PyArray_DIMS(array), shape, ndim)
            or cnp.PyArray_TYPE(array) != cnp.PyArray_TYPE(input) or not cnp.PyArray_ISWRITEABLE(array)
            or not is_disjoint(array, input) or not is_disjoint(array, target)):
        return None
    return array
