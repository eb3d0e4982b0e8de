# Blocks of work, the threads they run in, the memory they share, and sums that do not depend on any of it.

# ---------------------------------------------------------------------------------------------------------------------
# Blocks and threads

ctypedef void block_fn(void *job, int64_t block, void *scratch) noexcept nogil

# What a block hands back; combined in the order of the blocks.
cdef struct partial:
    double hi, lo      # a compensated sum
    int64_t valid      # targets that count
    int64_t first_bad  # index of the first value that is out of range, or -1

# Partials and scratch memory of one call: [partial] * n_blocks, then bytes_per_thread for each thread.
cdef struct workspace:
    void *allocated
    partial *partials
    char *scratch
    size_t bytes_per_thread


cdef inline size_t round_up(size_t n) noexcept nogil:
    return (n + ALIGNMENT - 1) & ~<size_t>(ALIGNMENT - 1)


cdef int open_workspace(workspace *space, char *stack, int64_t n_blocks, size_t bytes_per_thread,
                        int n_threads) except -1:
    """Lay the workspace out in `stack` (STACK_BYTES long), or allocate it when it does not fit."""
    cdef size_t partial_bytes = round_up(<size_t>n_blocks * sizeof(partial))
    cdef size_t bytes = ALIGNMENT + partial_bytes
    cdef char *start = stack
    space.bytes_per_thread = round_up(bytes_per_thread)
    bytes += space.bytes_per_thread * <size_t>n_threads
    space.allocated = NULL
    if bytes > STACK_BYTES:
        space.allocated = PyMem_RawMalloc(bytes)
        if space.allocated == NULL:
            raise MemoryError(f"no memory for {bytes} bytes of workspace")
        start = <char *>space.allocated
    start = <char *>round_up(<size_t><uintptr_t>start)
    space.partials = <partial *>start
    space.scratch = start + partial_bytes
    return 0


cdef inline void close_workspace(workspace *space) noexcept nogil:
    if space.allocated != NULL:
        PyMem_RawFree(space.allocated)


cdef int count_threads(int requested, int64_t work, int64_t n_blocks) noexcept nogil:
    cdef int64_t n = work // THREAD_ELEMENTS
    if n <= 1 or requested <= 1 or forked or crossent_in_parallel():
        return 1
    if n > n_blocks:
        n = n_blocks
    return <int>n if n < requested else requested


cdef void for_blocks(block_fn *run, void *job, int64_t n_blocks, workspace *space, int n_threads) noexcept nogil:
    cdef int64_t block
    if n_threads <= 1:  # not a team of one: after a fork even that much of OpenMP is better left alone
        for block in range(n_blocks):
            run(job, block, space.scratch)
    else:
        for block in prange(n_blocks, num_threads=n_threads, schedule="static"):
            run(job, block, space.scratch + <size_t>threadid() * space.bytes_per_thread)


cdef inline void launch(block_fn *run, void *job, int64_t n_blocks, int64_t work, workspace *space,
                        int n_threads) noexcept:
    if work < GIL_ELEMENTS:
        for_blocks(run, job, n_blocks, space, 1)
    else:
        with nogil:
            for_blocks(run, job, n_blocks, space, n_threads)


# ---------------------------------------------------------------------------------------------------------------------
# Compensated sums (Knuth's TwoSum: s + e == a + b exactly)

cdef inline void two_sum(double a, double b, double *s, double *e) noexcept nogil:
    cdef double total = a + b
    cdef double b_part = total - a
    e[0] = (a - (total - b_part)) + (b - b_part)
    s[0] = total


cdef inline void accumulate(partial *total, double hi, double lo) noexcept nogil:
    cdef double error
    two_sum(total.hi, hi, &total.hi, &error)
    total.lo += error + lo


cdef double sum_partials(const partial *partials, int64_t n) noexcept nogil:
    cdef partial total
    cdef int64_t i
    total.hi = 0
    total.lo = 0
    for i in range(n):
        accumulate(&total, partials[i].hi, partials[i].lo)
    # TwoSum of an infinity leaves NaN in lo; hi is then already the sum.
    return total.hi + total.lo if isfinite(total.hi) else total.hi
